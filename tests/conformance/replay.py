"""Every step of the specification and every refused call, carried out by a machine."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from tests.conformance.graph import Label, State
from tests.conformance.machines import Machine


@dataclass
class Count:
    """What a replay came to."""

    replayed: int = 0
    refused: int = 0
    mismatches: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return (
            f"{self.replayed:,} transitions replayed, {self.refused:,} calls refused, "
            f"{len(self.mismatches)} mismatches"
        )

    def differs(self, state: State, label: Label, found: object, expected: object) -> None:
        path = "; ".join(" ".join(step) for step in (*state.path, label))
        self.mismatches.append(f"after {path}:\n  found     {found}\n  expected  {expected}")


def replay(machine: type[Machine], states: Iterable[State]) -> Count:
    """Carry out every step from each of the states, and every call that is refused there."""
    count = Count()
    for state in states:
        if len(count.mismatches) > 20:
            break
        for label, after in state.steps:
            count.replayed += 1
            try:
                found = machine().follow(state.path).follow([label]).seen
            except Exception as raised:  # noqa: BLE001 (whatever it is, it is a mismatch)
                count.differs(state, label, repr(raised), "to be carried out")
                continue
            if found != after.seen:
                count.differs(state, label, found, after.seen)
        if len(count.mismatches) > 20:
            break
        it = machine().follow(state.path)
        it.check()
        expected = state.settled.seen
        for label, error in state.refused:
            count.refused += 1
            try:
                it.do(label)
            except Exception as raised:  # noqa: BLE001 (compared by its type)
                if type(raised).__name__ != error:
                    count.differs(state, label, repr(raised), error)
            else:
                count.differs(state, label, "carried out", error)
            if it.seen != expected:
                count.differs(state, label, it.seen, expected)
        shown = it.introspection()
        if shown != state.introspection:
            count.differs(state, ("introspection",), shown, state.introspection)
    return count
