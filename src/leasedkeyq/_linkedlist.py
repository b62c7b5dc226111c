"""The intrusive doubly-linked list: every order in the queue is one of these.

A node carries its own links, so that a handle on the node is enough to unlink it in O(1), with no
search and no hashing. The list ends in ``None`` on both sides, not in a sentinel: an empty list is
part of no reference cycle.

Invariants, asserted by `LinkedList.check_invariants`:

L1  ``first`` is None if and only if ``last`` is None.
L2  Following ``next`` from ``first`` ends at ``last``; ``prev`` is its inverse.
L3  ``node.list`` is this list for the nodes reached so, and for no others.
L4  A node with ``list`` None is in no list.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


class Node:
    """What a list can hold. A node is in at most one list at a time.

    Whoever makes one sets ``list`` to None. (A class without ``__init__`` is made three times as
    fast, in C.)
    """

    __slots__ = ("list", "next", "prev")

    list: LinkedList | None
    prev: Node | None
    next: Node | None


class LinkedList:
    """A doubly-linked list of nodes. Every operation but iteration and `clear` is O(1)."""

    __slots__ = ("first", "last")

    first: Node | None
    last: Node | None

    def __init__(self) -> None:
        self.first = self.last = None

    def link_last(self, node: Node) -> None:
        """Put an unlinked node at the end; a linked one is a RuntimeError."""
        if node.list is not None:
            raise RuntimeError(f"{node!r} is linked already")
        last = self.last
        node.list = self
        node.next = None
        node.prev = last
        self.last = node
        if last is None:
            self.first = node
        else:
            last.next = node

    def link_first(self, node: Node) -> None:
        """Put an unlinked node at the front; a linked one is a RuntimeError."""
        if node.list is not None:
            raise RuntimeError(f"{node!r} is linked already")
        first = self.first
        node.list = self
        node.prev = None
        node.next = first
        self.first = node
        if first is None:
            self.last = node
        else:
            first.prev = node

    def unlink(self, node: Node) -> None:
        """Take a node out; one that is not in this list is a RuntimeError."""
        if node.list is not self:
            raise RuntimeError(f"{node!r} is not linked here")
        before, after = node.prev, node.next
        if before is None:
            self.first = after
        else:
            before.next = after
        if after is None:
            self.last = before
        else:
            after.prev = before
        node.list = node.prev = node.next = None

    def clear(self) -> None:
        """Unlink every node, one after the other: O(n), without recursion."""
        node = self.first
        self.first = self.last = None
        while node is not None:
            after = node.next
            node.list = node.prev = node.next = None
            node = after

    def __iter__(self) -> Iterator[Any]:  # of which kind, is for the owner of the list to say
        """From first to last. The list must not change meanwhile."""
        node = self.first
        while node is not None:
            yield node
            node = node.next

    def check_invariants(self) -> None:
        """Assert L1 to L3 for this list: O(n), for tests."""
        assert (self.first is None) == (self.last is None), "L1"
        before: Node | None = None
        for node in self:
            assert node.list is self, "L3"
            assert node.prev is before, "L2"
            before = node
        assert before is self.last, "L2"
