"""The deadlines next to a sorted list."""

from __future__ import annotations

from math import inf
from typing import Any, ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule

from tests import subject
from tests.stateful.mirror import CENSUS, Counted, outcome, picks

# Something that can fall due, as the program that is printed has it too.
NUMBERED = """\
class Numbered(Deadline):
    def __init__(self, rank, number):
        self.list, self.rank, self.number = None, rank, number

    def order(self):
        return self.time, self.rank, self.number
"""


class DeadlinesMirror(Counted):
    """Set, drop and meet deadlines of many durations, on a clock that stands or goes on."""

    package: ClassVar[Any] = subject
    lines: list[str]  # each step as a line of a program

    def __init__(self) -> None:
        super().__init__()
        self.module = self.package.module("_deadlines")
        self.deadlines = self.module.Deadlines()
        names = {"Deadline": self.module.Deadline}
        exec(NUMBERED, names)
        self.numbered: Any = names["Numbered"]
        self.now = 0.0
        self.nodes: list[Any] = []
        self.twins: dict[int, tuple[float, int, int]] = {}  # what is set: time, rank and number
        self.latest = -inf  # time that any of them was set at
        self.durations: dict[int, float] = {}  # of those that are set
        self.most = 0  # durations that were in use at once
        self.lines = [
            f"from {self.package.PACKAGE}._deadlines import Deadline, Deadlines",
            "from math import inf",
            NUMBERED,
            "deadlines, nodes = Deadlines(), []",
        ]

    # More durations than lanes are kept idle, so that lanes are swept out.
    def program(self) -> str:
        return "\n".join(self.lines)

    def require(self, true: bool, line: str) -> None:
        if not true:
            raise AssertionError("\n".join(["this does not hold:", "", *self.lines, line]))
        self.lines.append(line)

    def refuse(self, error: BaseException | None, call: str) -> None:
        line = f"try:\n    {call}\nexcept RuntimeError:\n    pass\nelse:\n    assert False"
        self.require(isinstance(error, RuntimeError), line)

    @rule(
        duration=st.integers(1, 60) | st.sampled_from([1, 2, 3, inf]),
        rank=st.integers(0, 1),
        back=st.integers(-9, 1),
    )
    def add(self, duration: float, rank: int, back: int) -> None:
        """A clock that goes back is taken to stand still."""
        now = self.now - max(back, 0)
        CENSUS["deadlines: add"] += 1
        number = len(self.nodes)
        node = self.numbered(rank, number)
        self.nodes.append(node)
        self.lines.append(f"nodes.append(Numbered({rank}, {number}))")
        self.lines.append(f"deadlines.add(nodes[-1], {duration}, {now})")
        self.deadlines.add(node, duration, now)
        self.latest = max(now, self.latest)
        self.twins[number] = self.latest + duration, rank, number
        self.durations[number] = duration
        self.most = max(self.most, len({self.durations[number] for number in self.twins}))

    @rule(first=st.integers(20, 99), step=st.sampled_from([1, -1]), kept=st.integers(0, 30))
    def pass_through_many_durations(self, first: int, step: int, kept: int) -> None:
        """Lanes that are idle are kept, but no more than some and the number of those in use.

        Before they are swept out, their times stand above, between and below those that stay.
        """
        for i in range(60):
            self.add(first + i * step if step > 0 else first + 60 - i, 0, 0)
            if i >= kept:
                self.drop(len(self.nodes) - 1)
        lanes, limit = len(self.deadlines._lanes), 2 * self.most + 16
        self.require(lanes <= limit, f"assert len(deadlines._lanes) <= {limit}")
        entries = len(self.deadlines._heap)
        self.require(entries <= limit, f"assert len(deadlines._heap) <= {limit}")

    @rule(pick=picks)
    def add_again(self, pick: int) -> None:
        """A node that has a deadline is refused, and keeps it."""
        if self.twins:
            number = sorted(self.twins)[pick % len(self.twins)]
            call = f"deadlines.add(nodes[{number}], 1, {self.now})"
            result = outcome(self.deadlines.add, self.nodes[number], 1, self.now)
            self.refuse(result.error, call)

    @rule(pick=st.integers(0, 99))
    def remove(self, pick: int) -> None:
        if self.nodes:
            set_now = sorted(self.twins) if pick % 5 else range(len(self.nodes))
            self.drop([*(set_now or [0])][pick % max(1, len(set_now))])

    def drop(self, number: int) -> None:
        CENSUS["deadlines: remove"] += 1
        call = f"deadlines.remove(nodes[{number}])"
        error = outcome(self.deadlines.remove, self.nodes[number]).error
        if self.twins.pop(number, None):
            self.require(error is None, call)
        else:
            self.refuse(error, call)

    @rule(ahead=st.integers(0, 12) | st.just(50))
    def due(self, ahead: int) -> None:
        CENSUS["deadlines: due"] += 1
        self.now += ahead
        shown = [node.number for node in self.deadlines.due(self.now)]
        due = sorted(twin for twin in self.twins.values() if twin[0] <= self.now)
        expected = [number for _, _, number in due]
        for number in expected:
            del self.twins[number]
        line = f"assert [n.number for n in deadlines.due({self.now})] == {expected}"
        self.require(shown == expected, line)

    @rule()
    def next(self) -> None:
        CENSUS["deadlines: next"] += 1
        soonest = min(self.twins.values(), default=(inf,))[0]
        self.require(self.deadlines.next() == soonest, f"assert deadlines.next() == {soonest}")

    @rule(really=picks)
    def clear(self, really: int) -> None:
        if really == 5:
            CENSUS["deadlines: clear"] += 1
            self.lines.append("deadlines.clear()")
            self.deadlines.clear()
            self.twins.clear()

    @invariant()
    def agree(self) -> None:
        shown = sorted((node.number, node.time) for node in self.deadlines)
        expected = sorted((number, time) for time, _, number in self.twins.values())
        line = f"assert sorted((n.number, n.time) for n in deadlines) == {expected}"
        self.require(shown == expected, line)
        soonest = min(self.twins.values(), default=(inf,))[0]
        self.require(self.deadlines.soonest <= soonest, f"assert deadlines.soonest <= {soonest}")
        health = outcome(self.deadlines.check_invariants)
        self.require(health.error is None, "deadlines.check_invariants()")
