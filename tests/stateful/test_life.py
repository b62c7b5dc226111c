"""The life of one key, whole: every event in every state, the machine next to the model.

Chance alone seldom comes by some cells of the table, so these steps are not left to it: each way
into a state, each event there, and then all that shows what has become of the key. Every wrong cell
is planted, and found by the ways that lead to it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product
from typing import Any, TypeAlias

import pytest

from tests import subject
from tests.model.model import POLICIES, Model
from tests.stateful.broken import pure
from tests.stateful.cells import wrong_cells
from tests.stateful.mirror import Outcome, outcome, plain

Step: TypeAlias = tuple[Any, ...]  # an operation, and what it is given but for the time
Way: TypeAlias = tuple[Step, ...]

OTHER = ("put", "b", 0, "update", 0, None)  # so that the line has an order
TIMES = (0, 2, 5)  # delays; each of them may have come, or be the earlier one


def put(policy: str, delay: float) -> Step:
    return "put", "a", object(), policy, delay, None


# By state: a key comes into it with one lease or two, with its time to come or none.
HELD = {"buffer": "BUFFERED", "defer": "DEFERRED"}
TAKE = ("take", "a", 0, None)


def ways() -> Iterator[tuple[str, Way]]:
    """Each way into a state, with its name."""
    yield "ABSENT", ()
    yield "ABSENT", (("take", "a", None, None),)
    for delay in TIMES:
        yield "DELAYED" if delay else "AVAILABLE", (OTHER, put("update", delay), OTHER)
    for leases in (1, 2):
        leased = (put("update", 0), TAKE, *(put("buffer", 0), TAKE) * (leases - 1))
        yield "LEASED", leased
        for (policy, state), delay in product(HELD.items(), TIMES):
            late = "_DELAYED" if delay and policy == "buffer" else ""
            yield state + late, (*leased, OTHER, put(policy, delay), OTHER)


def events() -> Iterator[tuple[str, Way]]:
    """What may happen to a key, by the table's names of it."""
    for policy, delay in product(POLICIES, TIMES):
        yield f"put {policy}", (put(policy, delay),)
    for lease in (0, 1):  # the older of two, or the newer
        yield "ack", (("ack", lease),)
        yield "return", (("release", lease, True, 0),)
        for delay in TIMES:
            yield "return", (("release", lease, False, delay),)
    yield "ripen", (("wait", 3),)
    yield "discard", (("discard", "a"),)
    yield "grant", (TAKE,)
    yield "grant", (("get", 0, None),)


def aftermath() -> Iterator[Way]:
    """What shows the state that a key has come to, next to a look at it."""
    yield ()
    yield (put("update", 0),)
    yield (put("reject", 4),)
    yield (("ack", 0), ("ack", 1))
    yield (("release", 1, False, 0), put("defer", 3), ("wait", 9), ("release", 0, True, 0))
    yield (("discard", "a"), put("buffer", 4), ("wait", 4))


class Pair:
    """A machine and a model, to which the same is done."""

    def __init__(self, package: Any) -> None:
        self.machine = package.module("_machine").Machine()
        self.model = Model()
        self.leases: list[tuple[Any, Any]] = []
        self.now = 0.0

    def do(self, step: Step) -> None:
        method, *given = step
        if method == "wait":
            self.now += given[0]
            method, given = "reap", []
        twins = [*given]
        if method in ("ack", "release"):
            if given[0] >= len(self.leases):
                return
            given[0], twins[0] = self.leases[given[0]]
        actual = outcome(getattr(self.machine, method), *given, self.now)
        expected = outcome(getattr(self.model, method), *twins, self.now)
        assert self.shown(actual) == self.shown(expected)
        if isinstance(expected.value, tuple):
            self.leases.append((actual.value[2], expected.value[2]))

    def look(self) -> None:
        assert plain(self.machine.snapshot(self.now)) == plain(self.model.snapshot(self.now))
        self.machine.check_invariants()

    @staticmethod
    def shown(came_to: Outcome) -> object:
        value = came_to.value
        if type(value).__name__ == "Waiter":
            return "it waits"
        return came_to.failure, value[:2] if isinstance(value, tuple) else value


def differs(package: Any, way: Way, event: Way, after: Way) -> bool:
    pair = Pair(package)
    try:
        for step in way:
            pair.do(step)
        for step in (*event, *after):
            pair.do(step)
            pair.look()
    except AssertionError:
        return True
    return False


def lives(state: str = "", event: str = "") -> list[tuple[Way, Way, Way]]:
    """All that there are; or those in which this happens in that state."""
    begin = [way for name, way in ways() if name == state or not state]
    happen = [what for name, what in events() if name == event or not event]
    return [*product(begin, happen, aftermath())]


def test_every_event_in_every_state() -> None:
    """All of it agrees with the model."""
    assert [life for life in lives() if differs(subject, *life)] == []


def test_every_wrong_cell_of_the_table_is_found(
    record_property: Callable[[str, object], None],
) -> None:
    cells = [*wrong_cells(pure().module("_table"))]
    missed = []
    for cell in cells:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(cell.state, "moves", cell.moves())
            chosen = lives(cell.state.name, cell.event.removesuffix(" last"))
            if not any(differs(pure(), *life) for life in chosen):
                missed.append(cell.what)
    record_property("cells", f"{len(cells)}|{len(cells) - len(missed)}")
    assert len(cells) > 500
    assert missed == []
