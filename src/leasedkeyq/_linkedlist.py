"""The intrusive doubly-linked list: every order in the queue is one of these.

A node carries its own links, so that a handle on the node is enough to unlink
it in O(1), with no search and no hashing. The list ends in ``None`` on both
sides, not in a sentinel: an empty list is part of no reference cycle.

Invariants, asserted by `LinkedList.check_invariants`:

L1  ``first`` is None if and only if ``last`` is None.
L2  Following ``_next`` from ``first`` ends at ``last``; ``_prev`` is its inverse.
L3  ``node._list`` is this list for the nodes reached so, and for no others.
L4  A node with ``_list`` None is in no list and has no neighbours.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Generic, TypeVar


class Node:
    """What a list can hold. A node is in at most one list at a time."""

    __slots__ = ("_list", "_next", "_prev")

    _list: Any  # the list that holds the node, or None
    _prev: Any
    _next: Any

    def __init__(self) -> None:
        self._list = self._prev = self._next = None


N = TypeVar("N", bound=Node)


class LinkedList(Generic[N]):
    """A doubly-linked list of nodes. Every operation but iteration is O(1)."""

    __slots__ = ("first", "last")

    first: N | None
    last: N | None

    def __init__(self) -> None:
        self.first = self.last = None

    def link_last(self, node: N) -> None:
        """Put an unlinked node at the end; a linked one is a RuntimeError."""
        if node._list is not None:
            raise RuntimeError(f"{node!r} is linked already")
        node._list = self
        node._next = None
        node._prev = last = self.last
        self.last = node
        if last is None:
            self.first = node
        else:
            last._next = node

    def link_first(self, node: N) -> None:
        """Put an unlinked node at the front; a linked one is a RuntimeError."""
        if node._list is not None:
            raise RuntimeError(f"{node!r} is linked already")
        node._list = self
        node._prev = None
        node._next = first = self.first
        self.first = node
        if first is None:
            self.last = node
        else:
            first._prev = node

    def unlink(self, node: N) -> None:
        """Take a node out; one that is not in this list is a RuntimeError."""
        if node._list is not self:
            raise RuntimeError(f"{node!r} is not linked here")
        before, after = node._prev, node._next
        if before is None:
            self.first = after
        else:
            before._next = after
        if after is None:
            self.last = before
        else:
            after._prev = before
        node._list = node._prev = node._next = None

    def move_last(self, node: N) -> None:
        """Take a node from wherever it stands in this list to the end."""
        self.unlink(node)
        self.link_last(node)

    def clear(self) -> None:
        """Unlink every node, one after the other: O(n), without recursion."""
        node = self.first
        self.first = self.last = None
        while node is not None:
            after = node._next
            node._list = node._prev = node._next = None
            node = after

    def __iter__(self) -> Iterator[N]:
        """From first to last. The list must not change meanwhile."""
        node = self.first
        while node is not None:
            yield node
            node = node._next

    def check_invariants(self) -> None:
        """Assert L1 to L4 for this list: O(n), for tests."""
        assert (self.first is None) == (self.last is None), "L1"
        before: N | None = None
        for node in self:
            assert node._list is self, "L3"
            assert node._prev is before, "L2"
            before = node
        assert before is self.last, "L2"
