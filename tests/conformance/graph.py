"""The transitions of the specification, as TLC writes them out (``spec/MCdump.tla``)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Any, TypeAlias

from spec import tlc

Label: TypeAlias = tuple[str, ...]  # an operation and its arguments: ("put", "k1", "update")
Seen: TypeAlias = tuple[Any, ...]  # a state, as `read_state` returns it

POLICIES = ("update", "reject", "buffer", "defer")


@dataclass
class State:
    """A state of the model: how to get there, where to go from there, and what is refused."""

    text: str
    path: tuple[Label, ...] = ()
    steps: list[tuple[Label, State]] = field(default_factory=list)
    refused: list[tuple[Label, str]] = field(default_factory=list)
    introspection: str = ""

    @cached_property
    def seen(self) -> Seen:
        return read_state(self.text)

    @cached_property
    def settled(self) -> State:
        """What is left once the due leases have ended."""
        return next((after for label, after in self.steps if label == ("expire",)), self)


@cache
def load(policy: str) -> list[State]:
    """The whole graph, with paths of the least length from the initial state."""
    states: dict[str, State] = {}

    def state(text: str) -> State:
        if text not in states:
            states[text] = State(text)
        return states[text]

    def read(line: str) -> None:
        kind, *parts = (
            line.strip().strip('"').replace('\\"', "").replace("<< >>", "<<>>").split("~")
        )
        if kind == "state":
            text, refused, introspection = parts
            here = state(text)
            here.introspection = introspection
            for call in re.findall(r"<<(.*?)>>", refused):
                *label, error = call.split(", ")
                here.refused.append((tuple(label), error))
            return
        operation, before, after = parts
        label = tuple(operation.split())
        here, new = state(before), after not in states
        there = state(after)
        if new:
            there.path = (*here.path, label)
        here.steps.append((label, there))

    model = next(model for model in tlc.manifest() if model.name == f"MCdump_{policy}")
    result = tlc.run(model.module, tlc.SPEC / f"{model.name}.cfg", workers=1, on_print=read)
    complaints = [*model.complaints(result)]
    assert not complaints, complaints
    assert len(states) == model.distinct, len(states)
    assert sum(len(state.steps) for state in states.values()) == model.generated - 1
    return [*states.values()]


def without_ends(states: list[State]) -> list[State]:
    """One state of each kind that differ only in how the leases of the past have ended."""
    kinds: dict[str, State] = {}
    for state in states:
        kinds.setdefault(state.text[state.text.index("{") : state.text.rindex("}")], state)
    return [*kinds.values()]


def read_state(text: str) -> Seen:
    """``(returned, arrived, flight, deferred, waiting, open)`` from the text of a state.

    Copies are ``(key, rank)``, those in flight ``(call, key, left, rank)``, waiting calls
    ``(call, left, wanted key)``; a rank is a version's place among those of its key, and what
    is deferred is ``{key: rank}``.
    """
    text = text[text.index("{") : text.rindex("}") + 1]
    text = re.sub(r"[A-Za-z]\w*", r"'\g<0>'", text)
    for old, new in (("<<>>", "()"), ("<<", "("), (">>", ",)"), ("{", "("), ("}", ",)")):
        text = text.replace(old, new)
    text = re.sub(r"\(([^()]*:>[^()]*)\)", r"{\1}", text).replace(":>", ":").replace("@@", ",")
    (seen,) = eval(text, {"__builtins__": {}})
    returned, arrived, flight, deferred, waiting, is_open = seen
    held_back = {key: rank for key, rank in deferred.items() if rank}
    return returned, arrived, flight, held_back, waiting, is_open == "TRUE"
