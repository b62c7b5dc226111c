"""Deadlines: what falls due next, in O(1) for each deadline.

Deadlines that are set with one duration fall due in the order in which they were set, so each
duration has a list of its own (a *lane*), and setting, dropping and meeting a deadline cost O(1).
A heap of lanes finds the soonest: O(log d), amortised, for d durations in use at once, paid only
when the soonest deadline of a lane has passed or a new duration comes in.

Invariants, asserted by `Deadlines.check_invariants`:

D1  Along a lane the times never fall.
D2  A lane that holds a deadline has exactly one entry in the heap, whose time is not later than
    the lane's first; the lane of those that never fall due has none.
D3  ``soonest`` is not later than any deadline; it is infinity if the heap is empty.
"""

from __future__ import annotations

from collections.abc import Iterator
from heapq import heapify, heappop, heappush, heapreplace
from math import inf
from operator import methodcaller
from typing import Final

from ._linkedlist import LinkedList, Node

# Idle lanes are kept, since most queues use the same durations again and again, but never more of
# them than this and the number of lanes in use.
IDLE_LANES: Final = 16


class Deadline(Node):
    """What can fall due. Each kind of it says what goes first of that which is due at one time."""

    __slots__ = ("time",)

    time: float

    def order(self) -> tuple[float, int, int]:
        """Its time, the rank of its kind, and its number among its kind: the lowest goes first."""
        raise NotImplementedError


in_order: Final = methodcaller("order")


class Lane(LinkedList):
    """The deadlines that were set with one duration, soonest first."""

    __slots__ = ("queued",)

    first: Deadline | None

    def __init__(self) -> None:
        self.first = self.last = None
        self.queued = False  # has an entry in the heap


class Deadlines:
    """A set of deadlines. ``soonest`` is never later than the first to fall due."""

    __slots__ = ("_heap", "_lanes", "_latest", "_serial", "_sweep_at", "soonest")

    def __init__(self) -> None:
        self._lanes: dict[float, Lane] = {}
        self._heap: list[tuple[float, int, Lane]] = []
        self._serial = 0  # keeps the heap from ever comparing two lanes
        self._sweep_at = IDLE_LANES
        self._latest = -inf  # the latest ``now`` at which a deadline was set
        self.soonest = inf

    def add(self, deadline: Deadline, duration: float, now: float) -> None:
        """Set an unlinked deadline to ``now + duration``: O(1)."""
        lane = self._lanes.get(duration)
        if lane is None:
            lane = self._open(duration)
        lane.link_last(deadline)
        if now < self._latest:
            now = self._latest  # a clock that steps back breaks no order (D1, D2)
        self._latest = now
        deadline.time = now + duration
        if lane.first is deadline and duration != inf:
            if not lane.queued:
                self._serial += 1
                heappush(self._heap, (deadline.time, self._serial, lane))
                lane.queued = True
            self.soonest = self._heap[0][0]

    def remove(self, deadline: Deadline) -> None:
        """Drop a deadline: O(1). The heap hears of it later."""
        lane = deadline.list
        if lane is None:
            raise RuntimeError(f"{deadline!r} is not set")
        lane.unlink(deadline)
        if lane.first is None and len(self._heap) == 1 and self._heap[0][2] is lane:
            self.soonest = inf  # nothing else falls due

    def due(self, now: float) -> list[Deadline]:
        """Remove and return what is due at ``now``: by time, rank and number.

        O(1) for each deadline, and O(log d) for each lane that had one.
        """
        found: list[Deadline] = []
        while self._heap and self._heap[0][0] <= now:
            lane = self._heap[0][2]
            while lane.first is not None and lane.first.time <= now:
                found.append(lane.first)
                lane.unlink(lane.first)
            self._correct_top()
        if len(found) > 1:
            found.sort(key=in_order)
        return found

    def next(self) -> float:
        """The soonest deadline, exactly, or infinity: O(log d), amortised."""
        heap = self._heap
        while heap and (heap[0][2].first is None or heap[0][2].first.time > heap[0][0]):
            self._correct_top()
        return self.soonest

    def _correct_top(self) -> None:
        """Make the top entry of the heap true, or drop it if its lane is empty."""
        _, serial, lane = self._heap[0]
        if lane.first is None:
            heappop(self._heap)
            lane.queued = False
        else:
            heapreplace(self._heap, (lane.first.time, serial, lane))
        self.soonest = self._heap[0][0] if self._heap else inf

    def _open(self, duration: float) -> Lane:
        """A lane for a duration that has none; idle lanes are swept out at times."""
        if len(self._lanes) >= self._sweep_at:
            self._lanes = {d: lane for d, lane in self._lanes.items() if lane.first is not None}
            self._heap = [entry for entry in self._heap if entry[2].first is not None]
            heapify(self._heap)
            self.soonest = self._heap[0][0] if self._heap else inf
            self._sweep_at = 2 * len(self._lanes) + IDLE_LANES
        lane = self._lanes[duration] = Lane()
        return lane

    def clear(self) -> None:
        """Drop every deadline: O(n), without recursion."""
        for lane in self._lanes.values():
            lane.clear()
        self._lanes.clear()
        self._heap.clear()
        self.soonest = inf

    def __iter__(self) -> Iterator[Deadline]:
        """Every deadline, lane by lane."""
        for lane in self._lanes.values():
            yield from lane

    def check_invariants(self) -> None:
        """Assert D1 to D3: O(n), for tests."""
        queued = [entry[2] for entry in self._heap]
        assert len(set(map(id, queued))) == len(queued), "D2"
        for duration, lane in self._lanes.items():
            lane.check_invariants()
            times = [deadline.time for deadline in lane]
            assert times == sorted(times), "D1"
            assert lane.queued == any(lane is other for other in queued), "D2"
            assert lane.queued or not times or duration == inf, "D2"
            assert not times or self.soonest <= times[0], "D3"
        for number, (time, _, lane) in enumerate(self._heap):
            assert lane.first is None or time <= lane.first.time, "D2"
            assert time >= self._heap[(number - 1) // 2 if number else 0][0], "D2"
        assert self._heap or self.soonest == inf, "D3"
