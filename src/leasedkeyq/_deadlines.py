"""Deadlines: what falls due next, in O(1) for each deadline.

Deadlines that are set with one duration fall due in the order in which they
were set, so each duration has a list of its own (a *lane*) and setting,
dropping and meeting a deadline cost O(1). A heap of lanes finds the soonest:
O(log d), amortised, for d durations in use at once, paid only when the soonest
deadline of a lane has passed or a new duration comes in.

Invariants, asserted by `Deadlines.check_invariants`:

D1  Along a lane the deadlines never fall.
D2  A lane that holds anything has exactly one entry in the heap, and the
    entry's time is not later than the lane's first deadline.
D3  ``soonest`` is the time at the top of the heap, or infinity: no deadline
    is earlier than it.
"""

from __future__ import annotations

from collections.abc import Iterator
from heapq import heapify, heappop, heappush, heapreplace
from math import inf
from operator import attrgetter
from typing import Any, Generic, TypeVar

from ._linkedlist import LinkedList, Node


class Timed(Node):
    """A node with a deadline; ``_number`` orders those with the same deadline."""

    __slots__ = ("_deadline", "_number")

    _deadline: float
    _number: Any


T = TypeVar("T", bound=Timed)

_by_deadline = attrgetter("_deadline", "_number")

# Idle lanes are kept, since most queues use the same durations again and again,
# but never more of them than this and the number of lanes in use.
_IDLE_LANES = 16


class Lane(LinkedList[T]):
    """The nodes whose deadlines were set with one duration, soonest first."""

    __slots__ = ("duration", "queued")

    def __init__(self, duration: float) -> None:
        super().__init__()
        self.duration = duration
        self.queued = False  # has an entry in the heap


class Deadlines(Generic[T]):
    """A set of deadlines. `soonest` is never later than the first to fall due."""

    __slots__ = ("_heap", "_lanes", "_latest", "_serial", "_sweep_at", "soonest")

    def __init__(self) -> None:
        self._lanes: dict[float, Lane[T]] = {}
        self._heap: list[tuple[float, int, Lane[T]]] = []
        self._serial = 0  # keeps the heap from ever comparing two lanes
        self._sweep_at = _IDLE_LANES
        self._latest = -inf  # the latest ``now`` at which a deadline was set
        self.soonest = inf

    def add(self, node: T, duration: float, now: float) -> None:
        """Set the deadline of an unlinked node to ``now + duration``: O(1)."""
        if node._list is not None:
            raise RuntimeError(f"{node!r} is linked already")
        lane = self._lanes.get(duration)
        if lane is None:
            lane = self._open(duration)
        if now < self._latest:
            now = self._latest  # a clock that steps back breaks no order (D1, D2)
        self._latest = now
        node._deadline = deadline = now + duration
        # lane.link_last(node), written out
        node._list = lane
        node._next = None
        node._prev = last = lane.last
        lane.last = node
        if last is None:
            lane.first = node
            if not lane.queued:
                self._enqueue(lane, deadline)
        else:
            last._next = node

    def remove(self, node: T) -> bool:
        """Drop the deadline of a node: O(1). The heap hears of it later.

        Returns True if no deadline is left, as far as can be told in O(1): always
        when all deadlines in use have one duration.
        """
        lane = node._list
        if lane is None:
            raise RuntimeError(f"{node!r} has no deadline")
        # lane.unlink(node), written out
        before, after = node._prev, node._next
        node._list = node._prev = node._next = None
        if after is None:
            lane.last = before
        else:
            after._prev = before
        if before is not None:
            before._next = after
            return False
        lane.first = after
        return after is None and len(self._heap) == 1

    def due(self, now: float) -> list[T]:
        """Remove and return the nodes due at ``now``: by deadline, then by number.

        O(1) for each node, and O(log d) for each lane that had one.
        """
        found: list[T] = []
        heap = self._heap
        while heap and heap[0][0] <= now:
            lane = heap[0][2]
            while (node := lane.first) is not None and node._deadline <= now:
                lane.unlink(node)
                found.append(node)
            self._settle_top()
        if len(found) > 1:
            found.sort(key=_by_deadline)
        return found

    def next(self) -> float:
        """The soonest deadline, exactly, or infinity: O(log d), amortised."""
        heap = self._heap
        while heap and (heap[0][2].first is None or heap[0][2].first._deadline > heap[0][0]):
            self._settle_top()
        return self.soonest

    def _settle_top(self) -> None:
        """Make the top entry of the heap true, or drop it if its lane is empty."""
        heap = self._heap
        _, serial, lane = heap[0]
        if lane.first is None:
            heappop(heap)
            lane.queued = False
        else:
            heapreplace(heap, (lane.first._deadline, serial, lane))
        self.soonest = heap[0][0] if heap else inf

    def _enqueue(self, lane: Lane[T], deadline: float) -> None:
        self._serial += 1
        heappush(self._heap, (deadline, self._serial, lane))
        lane.queued = True
        self.soonest = self._heap[0][0]

    def _open(self, duration: float) -> Lane[T]:
        """A lane for a duration that has none; idle lanes are swept out at times."""
        if len(self._lanes) >= self._sweep_at:
            self._lanes = {d: lane for d, lane in self._lanes.items() if lane.first is not None}
            self._heap = [entry for entry in self._heap if entry[2].first is not None]
            heapify(self._heap)
            self.soonest = self._heap[0][0] if self._heap else inf
            self._sweep_at = 2 * len(self._lanes) + _IDLE_LANES
        lane = self._lanes[duration] = Lane(duration)
        return lane

    def clear(self) -> None:
        """Drop every deadline: O(n), without recursion."""
        for lane in self._lanes.values():
            lane.clear()
        self._lanes.clear()
        self._heap.clear()
        self.soonest = inf

    def __iter__(self) -> Iterator[T]:
        """Every node with a deadline, lane by lane."""
        for lane in self._lanes.values():
            yield from lane

    def check_invariants(self) -> None:
        """Assert D1 to D3: O(n), for tests."""
        queued = [entry[2] for entry in self._heap]
        assert len(set(map(id, queued))) == len(queued), "D2"
        for lane in self._lanes.values():
            lane.check_invariants()
            deadlines = [node._deadline for node in lane]
            assert deadlines == sorted(deadlines), "D1"
            assert lane.queued == any(lane is other for other in queued), "D2"
            assert lane.queued or not deadlines, "D2"
        for time, _, lane in self._heap:
            assert lane.first is None or time <= lane.first._deadline, "D2"
        assert self.soonest == (self._heap[0][0] if self._heap else inf), "D3"
        assert all(self.soonest <= time for time, _, _ in self._heap), "D3"
