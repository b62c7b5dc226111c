"""The linked list next to a plain list, and the deadlines next to a sorted one."""

from __future__ import annotations

from math import inf
from typing import Any, ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule

from tests import subject
from tests.stateful.mirror import CENSUS, Counted, outcome, picks


class ListMachine(Counted):
    """Two lists and the nodes between them: a node is in one at most."""

    package: ClassVar[Any] = subject

    def __init__(self) -> None:
        super().__init__()
        self.module = self.package.module("_linkedlist")
        self.lists = [self.module.LinkedList(), self.module.LinkedList()]
        self.twins: list[list[Any]] = [[], []]
        self.nodes: list[Any] = []
        self.lines = [
            f"from {self.package.PACKAGE}._linkedlist import LinkedList, Node",
            "",
            "lists = [LinkedList(), LinkedList()]",
            "nodes = []",
        ]

    def node(self, pick: int) -> int:
        """One of the nodes so far, or a new one."""
        if not self.nodes or pick == 9:
            self.nodes.append(self.module.Node())
            self.lines.append("nodes.append(Node())")
        return pick % len(self.nodes)

    def operate(self, which: int, method: str, *index: int) -> None:
        """A node that is not where it should be is refused, and nothing changes."""
        CENSUS[f"list: {method}"] += 1
        twin = self.twins[which]
        nodes = [self.nodes[i] for i in index]
        arguments = ", ".join(f"nodes[{i}]" for i in index)
        linked = [*self.twins[0], *self.twins[1]]
        misplaced = any(
            node not in twin if method in ("unlink", "move_last") else node in linked
            for node in nodes
        )
        result = outcome(getattr(self.lists[which], method), *nodes)
        call = f"lists[{which}].{method}({arguments})"
        if misplaced:
            CENSUS["list: refused"] += 1
            self.lines += ["try:", f"    {call}", "except RuntimeError:", "    pass"]
            self.lines += ["else:", "    raise AssertionError('not refused')"]
        else:
            self.lines.append(call)
            if method in ("unlink", "move_last"):
                twin.remove(nodes[0])
            if method in ("link_last", "move_last"):
                twin.append(nodes[0])
            elif method == "link_first":
                twin.insert(0, nodes[0])
            elif method == "clear":
                twin.clear()
        expected = "RuntimeError" if misplaced else "NoneType"
        if type(result.error).__name__ != expected:
            raise AssertionError(f"{call} came to {result}\n\n{self.program()}") from result.error

    @rule(which=st.integers(0, 1), pick=picks)
    def link_last(self, which: int, pick: int) -> None:
        self.operate(which, "link_last", self.node(pick))

    @rule(which=st.integers(0, 1), pick=picks)
    def link_first(self, which: int, pick: int) -> None:
        self.operate(which, "link_first", self.node(pick))

    @rule(which=st.integers(0, 1), pick=picks)
    def unlink(self, which: int, pick: int) -> None:
        self.operate(which, "unlink", self.node(pick))

    @rule(which=st.integers(0, 1), pick=picks)
    def move_last(self, which: int, pick: int) -> None:
        self.operate(which, "move_last", self.node(pick))

    @rule(which=st.integers(0, 1))
    def clear(self, which: int) -> None:
        self.operate(which, "clear")

    @invariant()
    def agree(self) -> None:
        """Forwards, backwards, at both ends; and an unlinked node knows nobody."""
        for index, (linked, twin) in enumerate(zip(self.lists, self.twins, strict=True)):
            order = [self.nodes.index(node) for node in twin]
            shown = [self.nodes.index(node) for node in linked]
            backwards: list[int] = []
            node = linked.last
            while node is not None and len(backwards) <= len(twin):
                backwards.append(self.nodes.index(node))
                node = node._prev
            if shown != order or backwards[::-1] != order:
                line = f"assert [nodes.index(node) for node in lists[{index}]] == {order}"
                line += f"\nafter = [{', '.join(f'nodes[{i}]' for i in order)}, None]"
                line += "\nassert all(a is None or a._prev is b for b, a in zip(after, after[1:]))"
                raise AssertionError(f"{shown} for {order}\n\n{self.program(line)}")
            check = f"lists[{index}].check_invariants()"
            if result := outcome(linked.check_invariants).error:
                raise AssertionError(f"{result}\n\n{self.program(check)}") from result
        for index, node in enumerate(self.nodes):
            alone = node not in self.twins[0] and node not in self.twins[1]
            if alone and (node._list, node._prev, node._next) != (None, None, None):
                line = f"assert nodes[{index}]._next is nodes[{index}]._prev is None"
                raise AssertionError(f"an unlinked node has neighbours\n\n{self.program(line)}")

    def program(self, *lines: str) -> str:
        return "\n".join([*self.lines, *lines])


class DeadlinesMachine(Counted):
    """Set, drop and meet deadlines of many durations, on a clock that stands or goes on."""

    package: ClassVar[Any] = subject

    def __init__(self) -> None:
        super().__init__()
        self.module = self.package.module("_deadlines")
        self.deadlines = self.module.Deadlines()
        self.now = 0.0
        self.nodes: list[Any] = []
        self.twins: dict[int, float] = {}  # deadlines by the number of their node
        self.latest = -inf  # time that any of them was set at
        self.lines = [
            f"from {self.package.PACKAGE}._deadlines import Deadlines, Timed",
            "from math import inf",
            "",
            "deadlines = Deadlines()",
            "nodes = []",
        ]

    def require(self, true: bool, line: str) -> None:
        if not true:
            raise AssertionError("\n".join(["the deadlines disagree", "", *self.lines, line]))

    # More durations than lanes are kept idle, so that lanes are swept out.
    @rule(duration=st.integers(1, 40) | st.sampled_from([1, 2, 3]), back=st.integers(-9, 1))
    def add(self, duration: int, back: int) -> None:
        """A clock that goes back is taken to stand still."""
        now = self.now - max(back, 0)
        CENSUS["deadlines: add"] += 1
        node = self.module.Timed()
        node._number = len(self.nodes)
        self.nodes.append(node)
        self.lines.append(f"nodes.append(Timed()); nodes[-1]._number = {node._number}")
        self.lines.append(f"deadlines.add(nodes[-1], {duration}, {now})")
        self.deadlines.add(node, duration, now)
        self.latest = max(now, self.latest)
        self.twins[node._number] = self.latest + duration

    @rule()
    def pass_through_many_durations(self) -> None:
        """Lanes that are idle are kept, but no more than some and the number of those in use."""
        self.lines += [
            "for duration in range(100, 160):",
            "    passing = Timed()",
            f"    deadlines.add(passing, duration, {self.now}); deadlines.remove(passing)",
        ]
        for duration in range(100, 160):
            passing = self.module.Timed()
            self.deadlines.add(passing, duration, self.now)
            self.deadlines.remove(passing)
        self.latest = max(self.now, self.latest)
        limit = 2 * len(self.nodes) + 20
        self.require(
            len(self.deadlines._lanes) <= limit, f"assert len(deadlines._lanes) <= {limit}"
        )

    @rule(pick=picks)
    def add_again(self, pick: int) -> None:
        """A node that has a deadline is refused, and keeps it."""
        if self.twins:
            number = sorted(self.twins)[pick % len(self.twins)]
            call = f"deadlines.add(nodes[{number}], 1, {self.now})"
            result = outcome(self.deadlines.add, self.nodes[number], 1, self.now)
            line = f"try:\n    {call}\nexcept RuntimeError:\n    pass\nelse:\n    assert False"
            self.require(isinstance(result.error, RuntimeError), line)
            self.lines.append(line)

    @rule(pick=picks)
    def remove(self, pick: int) -> None:
        if not self.nodes:
            return
        CENSUS["deadlines: remove"] += 1
        number = sorted(self.twins or [0])[pick % max(1, len(self.twins))]
        node = self.nodes[number]
        call = f"deadlines.remove(nodes[{number}])"
        result = outcome(self.deadlines.remove, node)
        known = self.twins.pop(number, None) is not None
        if known:
            line = f"assert not ({call} and {bool(self.twins)}), 'others are left'"
            self.require(result.error is None and not (result.value and self.twins), line)
        else:
            line = f"try:\n    {call}\nexcept RuntimeError:\n    pass\nelse:\n    assert False"
            self.require(isinstance(result.error, RuntimeError), line)
        self.lines.append(line)

    @rule(ahead=st.integers(0, 12) | st.just(50))
    def due(self, ahead: int) -> None:
        CENSUS["deadlines: due"] += 1
        self.now += ahead
        shown = [node._number for node in self.deadlines.due(self.now)]
        due = [number for number, deadline in self.twins.items() if deadline <= self.now]
        expected = sorted(due, key=lambda number: (self.twins[number], number))
        for number in due:
            del self.twins[number]
        line = f"assert [n._number for n in deadlines.due({self.now})] == {expected}"
        self.require(shown == expected, line)
        self.lines.append(line)

    @rule()
    def next(self) -> None:
        CENSUS["deadlines: next"] += 1
        line = f"assert deadlines.next() == {min(self.twins.values(), default=inf)}"
        self.require(self.deadlines.next() == min(self.twins.values(), default=inf), line)
        self.lines.append(line)

    @rule(really=picks)
    def clear(self, really: int) -> None:
        if really == 5:
            CENSUS["deadlines: clear"] += 1
            self.lines.append("deadlines.clear()")
            self.deadlines.clear()
            self.twins.clear()

    @invariant()
    def agree(self) -> None:
        shown = sorted((node._number, node._deadline) for node in self.deadlines)
        self.require(shown == sorted(self.twins.items()), "print(list(deadlines)); 1 / 0")
        soonest = min(self.twins.values(), default=inf)
        self.require(self.deadlines.soonest <= soonest, f"assert deadlines.soonest <= {soonest}")
        result = outcome(self.deadlines.check_invariants)
        self.require(result.error is None, "deadlines.check_invariants()")
