"""The honest alternative: the same queue, its line kept by `collections.OrderedDict`.

It has our API and means the same by it (a test holds the two against each other), so
what is compared is how the state is kept and nothing else. Two ordered dicts are the line, a
dict holds the live leases, a heap their deadlines. An item is its value and its version.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from heapq import heapify, heappop, heappush
from itertools import count
from math import inf
from typing import Any
from uuid import uuid4

from leasedkeyq import (
    InvalidLeaseError,
    KeyAlreadyInFlightError,
    LeaseAlreadyAcknowledgedError,
    LeaseExpiredError,
    QueueClosedError,
)

Entry = tuple[Any, int]  # a value and its version
Line = OrderedDict[Any, Entry]
Delivery = tuple[Any, Any, "Lease"]

POLICIES = ("update", "reject", "buffer", "defer")


class Lease:
    """A live lease, and its value. ``ended`` says how it ended."""

    __slots__ = ("deadline", "duration", "ended", "key", "number", "older", "prefix", "value")

    def __init__(self, prefix: str, number: int, key: Any, value: Entry, duration: float) -> None:
        self.prefix = prefix
        self.number = number
        self.key = key
        self.value = value
        self.duration = duration
        self.deadline = inf
        self.ended: type[Exception] | None = None
        self.older: Lease | None = None  # the live lease on the key with the next older value

    @property
    def token(self) -> str:
        return f"{self.prefix}{self.number:012x}"

    def __lt__(self, other: Lease) -> bool:  # in the heap
        return self.number < other.number


class Call:
    """A get or take that waits."""

    __slots__ = ("calls", "duration", "future", "lease", "ticket")

    def __init__(
        self,
        calls: OrderedDict[int, Call],
        ticket: int,
        duration: float,
        future: asyncio.Future[None],
    ) -> None:
        self.calls = calls  # where it stands while it waits
        self.ticket = ticket
        self.duration = duration
        self.future = future
        self.lease: Lease | None = None  # once reserved


class OrderedQueue:
    def __init__(self, *, default_lease_timeout: float | None = None) -> None:
        self._default = inf if default_lease_timeout is None else default_lease_timeout
        self._returned: Line = OrderedDict()
        self._arrived: Line = OrderedDict()
        self._deferred: dict[Any, Entry] = {}
        self._in_flight: dict[Any, Lease] = {}  # of each key the lease with the newest value
        self._leases: dict[int, Lease] = {}
        self._heap: list[tuple[float, Lease]] = []  # with entries that hold no more
        self._soonest = inf
        self._getters: OrderedDict[int, Call] = OrderedDict()
        self._takers: dict[Any, OrderedDict[int, Call]] = {}
        self._next_version = count(1).__next__
        self._next_number = count(1).__next__
        self._next_ticket = count(1).__next__
        self._prefix = str(uuid4())[:24]
        self._closed = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._armed = inf

    # -- operations ------------------------------------------------------------

    async def put(self, key: Any, value: Any, *, if_in_flight: str = "update") -> None:
        if if_in_flight not in POLICIES:
            raise ValueError(if_in_flight)
        self._enter()
        lease = self._in_flight.get(key) if self._in_flight else None
        if lease is not None and if_in_flight == "reject":
            raise KeyAlreadyInFlightError(key)
        entry = (value, self._next_version())
        if key in self._arrived:
            self._arrived[key] = entry
        elif self._returned and key in self._returned:
            self._returned[key] = entry
        elif lease is None:
            if self._getters or self._takers:
                self._offer(key, entry, self._arrived)
            else:
                self._arrived[key] = entry
        elif if_in_flight == "buffer":
            self._deferred.pop(key, None)
            self._offer(key, entry, self._arrived)
        elif if_in_flight == "defer" or key in self._deferred:
            self._deferred[key] = entry
        else:
            lease.value = entry
        self._arm()

    async def get(
        self, timeout: float | None = None, *, lease_timeout: float | None = None
    ) -> Delivery:
        self._enter()
        duration = self._default if lease_timeout is None else lease_timeout
        line = self._returned or self._arrived
        if not line:
            return await self._wait(self._getters, timeout, duration)
        key, entry = line.popitem(last=False)
        return self._start(self._grant(key, entry, duration))

    async def take(
        self, key: Any, timeout: float | None = None, *, lease_timeout: float | None = None
    ) -> Delivery:
        self._enter()
        duration = self._default if lease_timeout is None else lease_timeout
        entry = self._arrived.pop(key, None) or self._returned.pop(key, None)
        if entry is not None:
            return self._start(self._grant(key, entry, duration))
        if timeout is not None and timeout <= 0:
            raise TimeoutError
        calls = self._takers.get(key)
        if calls is None:
            calls = self._takers[key] = OrderedDict()
        try:
            return await self._wait(calls, timeout, duration)
        finally:
            if not calls and self._takers.get(key) is calls:
                del self._takers[key]

    async def ack(self, lease: Lease) -> None:
        self._enter()
        self._end(self._live(lease), LeaseAlreadyAcknowledgedError)
        if self._deferred and lease.key not in self._in_flight:
            entry = self._deferred.pop(lease.key, None)
            if entry is not None:
                self._offer(lease.key, entry, self._arrived)
        self._arm()

    async def release(self, lease: Lease, *, requeue_front: bool = False) -> None:
        self._enter()
        line = self._returned if requeue_front else self._arrived
        self._return(self._live(lease), InvalidLeaseError, line, front=requeue_front)
        self._arm()

    async def extend(self, lease: Lease, timeout: float | None = None) -> None:
        self._enter()
        lease = self._live(lease)
        self._set_deadline(lease, lease.duration if timeout is None else timeout)
        self._arm()

    async def close(self) -> None:
        if self._closed:
            return
        self._enter()
        for calls in (self._getters, *self._takers.values()):
            for call in calls.values():
                if not call.future.done():
                    call.future.set_exception(QueueClosedError())
            calls.clear()
        self._closed = True
        for lease in reversed([*self._leases.values()]):
            self._return(lease, InvalidLeaseError, self._returned, front=True)
        self._heap.clear()
        self._soonest = inf
        self._arm()

    # -- introspection ---------------------------------------------------------

    async def available_keys(self) -> set[Any]:
        self._look()
        return {*self._returned, *self._arrived}

    async def inflight_keys(self) -> set[Any]:
        self._look()
        return {*self._in_flight}

    async def qsize(self) -> int:
        self._look()
        return len(self._returned) + len(self._arrived)

    async def inflight_size(self) -> int:
        self._look()
        return len(self._leases)

    async def peek(self, key: Any) -> Any:
        self._look()
        entry = self._arrived.get(key) or self._returned.get(key)
        return None if entry is None else entry[0]

    # -- how it is done --------------------------------------------------------

    def _enter(self) -> None:
        if self._closed:
            raise QueueClosedError
        self._look()

    def _look(self) -> None:
        """Check the loop, and end the leases that are due."""
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            if self._loop is not None:
                raise RuntimeError("another loop")
            self._loop = loop
        if self._soonest < inf and self._soonest <= loop.time():
            self._expire(loop.time())

    def _expire(self, now: float) -> None:
        heap = self._heap
        while heap:
            deadline, lease = heap[0]
            if lease.ended is not None or lease.deadline != deadline:
                heappop(heap)
            elif deadline <= now:
                heappop(heap)
                self._return(lease, LeaseExpiredError, self._returned)
            else:
                break
        self._soonest = heap[0][0] if heap else inf
        self._arm()

    def _grant(self, key: Any, entry: Entry, duration: float) -> Lease:
        lease = Lease(self._prefix, self._next_number(), key, entry, duration)
        self._leases[lease.number] = lease
        newest = self._in_flight.setdefault(key, lease)
        if newest is not lease:
            self._chain(newest, lease)
        return lease

    def _chain(self, newest: Lease, lease: Lease) -> None:
        """Another live lease on the key: the newest value comes first."""
        version = lease.value[1]
        if version > newest.value[1]:
            self._in_flight[lease.key], lease.older = lease, newest
            return
        while newest.older is not None and newest.older.value[1] > version:
            newest = newest.older
        newest.older, lease.older = lease, newest.older

    def _end(self, lease: Lease, how: type[Exception]) -> None:
        del self._leases[lease.number]
        newest = self._in_flight.pop(lease.key)
        if newest is lease:
            if lease.older is not None:
                self._in_flight[lease.key] = lease.older
        else:
            self._in_flight[lease.key] = newest
            while newest.older is not lease:
                assert newest.older is not None
                newest = newest.older
            newest.older = lease.older
        lease.older = None
        lease.ended = how

    def _start(self, lease: Lease) -> Delivery:
        """The lease's clock starts: it is delivered."""
        if lease.duration < inf:
            self._set_deadline(lease, lease.duration)
        return lease.key, lease.value[0], lease

    def _set_deadline(self, lease: Lease, duration: float) -> None:
        assert self._loop is not None
        lease.deadline = deadline = self._loop.time() + duration
        if deadline < inf:
            if len(self._heap) > 2 * len(self._leases) + 64:
                self._heap = [
                    (other.deadline, other)
                    for other in self._leases.values()
                    if other.deadline < inf and other is not lease
                ]
                heapify(self._heap)
            heappush(self._heap, (deadline, lease))
            self._soonest = min(self._soonest, deadline)

    def _return(
        self, lease: Lease, how: type[Exception], line: Line, *, front: bool = False
    ) -> None:
        key = lease.key
        self._end(lease, how)
        entry = lease.value
        deferred = self._deferred.pop(key, None)
        if deferred is not None and deferred[1] > entry[1]:
            entry = deferred
        for there in (self._returned, self._arrived):
            if key in there:
                if entry[1] > there[key][1]:
                    there[key] = entry
                return
        self._offer(key, entry, line, front=front)

    def _offer(self, key: Any, entry: Entry, line: Line, *, front: bool = False) -> None:
        """To the call that has waited longest, or into the line."""
        getter = self._first(self._getters)
        taker = self._first(self._takers.get(key))
        if getter is None or (taker is not None and taker.ticket < getter.ticket):
            getter = taker
        if getter is None:
            line[key] = entry
            if front:
                line.move_to_end(key, last=False)
        else:
            del getter.calls[getter.ticket]
            getter.lease = self._grant(key, entry, getter.duration)
            getter.future.set_result(None)

    def _first(self, calls: OrderedDict[int, Call] | None) -> Call | None:
        while calls:
            call = calls[next(iter(calls))]
            if not call.future.done():
                return call
            del calls[call.ticket]  # cancelled, and about to leave
        return None

    def _live(self, lease: Lease) -> Lease:
        """The lease itself; or the live one that a lease made of token and key stands for."""
        if not isinstance(lease, Lease):
            raise TypeError(lease)
        if lease.ended is not None:
            raise lease.ended
        live = self._leases.get(lease.number)
        if live is not lease and (
            live is None or live.prefix != lease.prefix or live.key != lease.key
        ):
            raise InvalidLeaseError
        return live

    async def _wait(
        self, calls: OrderedDict[int, Call], timeout: float | None, duration: float
    ) -> Delivery:
        if timeout is not None and timeout <= 0:
            raise TimeoutError
        assert self._loop is not None
        future = self._loop.create_future()
        call = Call(calls, self._next_ticket(), duration, future)
        calls[call.ticket] = call
        timer = None if timeout is None else self._loop.call_later(timeout, self._give_up, call)
        self._arm()
        try:
            await future
        except BaseException:
            calls.pop(call.ticket, None)
            if call.lease is not None and not self._closed:
                self._look()
                self._return(call.lease, InvalidLeaseError, self._returned, front=True)
            self._arm()
            raise
        finally:
            if timer is not None:
                timer.cancel()
        if self._closed:
            raise QueueClosedError
        self._look()
        assert call.lease is not None
        try:
            return self._start(call.lease)
        finally:
            self._arm()

    def _give_up(self, call: Call) -> None:
        self._look()
        if not call.future.done():
            call.calls.pop(call.ticket, None)
            call.future.set_exception(TimeoutError())
        self._arm()

    def _arm(self) -> None:
        """One timer, for the next deadline, and only while a call waits."""
        soonest = self._soonest if self._getters or self._takers else inf
        if soonest != self._armed:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            self._armed = soonest
            if soonest < inf:
                assert self._loop is not None
                self._timer = self._loop.call_at(soonest, self._ring)

    def _ring(self) -> None:
        self._timer = None
        self._armed = inf
        self._look()
        self._arm()
