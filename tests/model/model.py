"""The reference model: what the queue means, in lists and dicts, and nothing clever.

It is what the implementation is held against, so it is written from the meaning
of the queue alone and looks for whatever it needs from end to end. Operations
are named, and take and return, as the core's do. It shares nothing with the
package, its errors included, so `engine` makes a queue of its own of it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass
from itertools import count
from math import inf, isnan
from numbers import Real
from typing import TypeAlias

from tests.model.errors import (
    InvalidLeaseError,
    KeyAlreadyInFlightError,
    LeaseAlreadyAcknowledgedError,
    LeaseExpiredError,
    QueueClosedError,
)

POLICIES = ("update", "reject", "buffer", "defer")
ANY = object()  # the key that a `get` waits for


@dataclass(frozen=True)
class Lease:
    """What the consumer holds: equal by value, so one that was rebuilt is as good."""

    number: int  # rises with every grant
    key: Hashable


@dataclass(eq=False)
class Copy:
    """A value of a key; of two, the one with the higher version was put later."""

    key: Hashable
    value: object
    version: int

    def merge(self, other: Copy) -> None:
        """Keep the newer of two values: nothing is ever merged backwards."""
        if other.version > self.version:
            self.value, self.version = other.value, other.version


@dataclass(eq=False)
class Call:
    """A `get` or a `take` that could not be served at once."""

    key: Hashable
    duration: float  # of the lease that it will have
    deadline: float  # of its wait
    cancelled: bool = False  # from then on it is offered nothing
    grant: Grant | None = None  # reserved for it until it resumes
    error: Exception | None = None  # with which it resumes

    def wants(self, copy: Copy) -> bool:
        waits = not (self.cancelled or self.grant or self.error)
        return waits and self.key in (ANY, copy.key)


@dataclass(eq=False)
class Grant:
    """A copy in flight: under a lease, or reserved for a call that has not resumed."""

    lease: Lease
    copy: Copy
    duration: float
    deadline: float = inf  # set when the consumer has the lease, not while it is reserved


Delivery: TypeAlias = tuple[Hashable, object, Lease]


class Model:
    """The queue, with the time passed in."""

    def __init__(self, default_lease_timeout: float | None = None) -> None:
        self.default = inf if default_lease_timeout is None else _lasting(default_lease_timeout)
        self.returned: deque[Copy] = deque()  # the first part of the line
        self.arrived: deque[Copy] = deque()  # the rest of it
        self.deferred: dict[Hashable, Copy] = {}
        self.grants: dict[int, Grant] = {}  # in flight, by number
        self.calls: list[Call] = []  # that have not resumed, the oldest first
        self.ended: dict[int, type[Exception]] = {}  # what a late ack of each lease raises
        self.closed = False
        self.versions, self.numbers = count(1), count(1)

    # -- producers and consumers

    def put(self, key: Hashable, value: object, policy: str, now: float) -> None:
        if policy not in POLICIES:
            raise ValueError(policy)
        self._enter(now)
        available, in_flight = self._available(key), self._in_flight(key)
        if in_flight and policy == "reject":
            raise KeyAlreadyInFlightError(key)
        copy = Copy(key, value, next(self.versions))
        if available:
            available.merge(copy)
        elif in_flight and policy == "update":
            newest = max((grant.copy for grant in in_flight), key=lambda copy: copy.version)
            self.deferred.get(key, newest).merge(copy)
        elif in_flight and policy == "defer":
            self.deferred[key] = copy
        else:
            self.deferred.pop(key, None)
            self._line_up(copy, "back")

    def get(
        self, timeout: float | None, lease_timeout: float | None, now: float
    ) -> Delivery | Call:
        return self.take(ANY, timeout, lease_timeout, now)

    def take(
        self, key: Hashable, timeout: float | None, lease_timeout: float | None, now: float
    ) -> Delivery | Call:
        wait = inf if timeout is None else _seconds(timeout)
        duration = self.default if lease_timeout is None else _lasting(lease_timeout)
        self._enter(now)
        copy = self._available(key)
        if copy:
            (self.returned if copy in self.returned else self.arrived).remove(copy)
            return self._deliver(self._grant(copy, duration), now)
        if wait <= 0:
            raise TimeoutError
        self.calls.append(Call(key, duration, now + wait))
        return self.calls[-1]

    def resume(self, call: Call, now: float) -> Delivery:
        """The call takes what its wait has come to."""
        self.calls.remove(call)
        if call.error:
            raise call.error
        assert call.grant, "a call resumes when it is served, and not before"
        self.expire(now)
        return self._deliver(call.grant, now)

    def cancel(self, call: Call, now: float) -> None:
        """The call leaves, whatever it was given; what was reserved goes to the front."""
        call.cancelled = True
        self.calls.remove(call)
        if call.grant:
            self.expire(now)
            self._give_back(call.grant, "front", InvalidLeaseError)

    def time_out(self, now: float) -> None:
        """The waits that are too long end; a copy that is due goes out before that."""
        self.expire(now)
        for call in self.calls:
            if call.deadline <= now and not call.grant and not call.error:
                call.error = TimeoutError()

    # -- leases

    def ack(self, lease: Lease, now: float) -> None:
        self._enter(now)
        key = self._end(self._find(lease), LeaseAlreadyAcknowledgedError).key
        if key in self.deferred and not self._in_flight(key):
            self._line_up(self.deferred.pop(key), "back")

    def release(self, lease: Lease, requeue_front: bool, now: float) -> None:
        self._enter(now)
        place = "front" if requeue_front else "back"
        self._give_back(self._find(lease), place, InvalidLeaseError)

    def extend(self, lease: Lease, timeout: float | None, now: float) -> None:
        duration = None if timeout is None else _lasting(timeout)
        self._enter(now)
        grant = self._find(lease)
        grant.deadline = now + (grant.duration if duration is None else duration)

    def expire(self, now: float) -> None:
        """End the leases that are due, in the order of their deadlines."""
        due = [grant for grant in self.grants.values() if grant.deadline <= now]
        for grant in sorted(due, key=lambda grant: (grant.deadline, grant.lease.number)):
            self._give_back(grant, "end of the returned", LeaseExpiredError)

    # -- life

    def start(self, now: float) -> None:
        self._enter(now)

    def close(self, now: float) -> None:
        self.expire(now)
        self.closed = True
        for call in self.calls:
            call.error, call.grant = call.error or QueueClosedError(), None
        for number in sorted(self.grants, reverse=True):
            self._give_back(self.grants[number], "front", InvalidLeaseError)

    # -- introspection

    def peek(self, key: Hashable, now: float) -> object:
        self.expire(now)
        copy = self._available(key)
        return copy.value if copy else None

    def contains(self, key: Hashable, now: float) -> bool:
        return key in self.available_keys(now)

    def available_keys(self, now: float) -> set[Hashable]:
        self.expire(now)
        return {copy.key for copy in self._line()}

    def inflight_keys(self, now: float) -> set[Hashable]:
        self.expire(now)
        return {grant.copy.key for grant in self.grants.values()}

    def qsize(self, now: float) -> int:
        self.expire(now)
        return len(self._line())

    def inflight_size(self, now: float) -> int:
        self.expire(now)
        return len(self.grants)

    # -- what they have in common

    def _enter(self, now: float) -> None:
        self.expire(now)
        if self.closed:
            raise QueueClosedError

    def _line(self) -> list[Copy]:
        return [*self.returned, *self.arrived]

    def _available(self, key: Hashable) -> Copy | None:
        return next((copy for copy in self._line() if key in (ANY, copy.key)), None)

    def _in_flight(self, key: Hashable) -> list[Grant]:
        return [grant for grant in self.grants.values() if grant.copy.key == key]

    def _line_up(self, copy: Copy, place: str) -> None:
        """Offer a copy to the call that has waited longest, or else to the line."""
        call = next((call for call in self.calls if call.wants(copy)), None)
        if call:
            call.grant = self._grant(copy, call.duration)
        elif place == "front":
            self.returned.appendleft(copy)
        else:
            (self.arrived if place == "back" else self.returned).append(copy)

    def _grant(self, copy: Copy, duration: float) -> Grant:
        grant = Grant(Lease(next(self.numbers), copy.key), copy, duration)
        self.grants[grant.lease.number] = grant
        return grant

    def _deliver(self, grant: Grant, now: float) -> Delivery:
        """The consumer has the lease, and the value as it is now: its clock starts."""
        grant.deadline = now + grant.duration
        return grant.copy.key, grant.copy.value, grant.lease

    def _find(self, lease: Lease) -> Grant:
        if not isinstance(lease, Lease):
            raise TypeError(lease)
        grant = self.grants.get(lease.number)
        if grant is None or grant.lease != lease:
            raise self.ended.get(lease.number, InvalidLeaseError)
        return grant

    def _end(self, grant: Grant, error: type[Exception]) -> Copy:
        self.ended[grant.lease.number] = error
        return self.grants.pop(grant.lease.number).copy

    def _give_back(self, grant: Grant, place: str, error: type[Exception]) -> None:
        """End a lease whose value must stay: in the copy there is, or in the line."""
        copy = self._end(grant, error)
        if copy.key in self.deferred:
            copy.merge(self.deferred.pop(copy.key))
        available = self._available(copy.key)
        if available:
            available.merge(copy)
        else:
            self._line_up(copy, place)


def _seconds(value: object) -> float:
    if not isinstance(value, Real):
        raise TypeError(value)
    try:
        seconds = float(value)
    except OverflowError:  # an int that is longer than any wait
        return inf if value == abs(value) else -inf
    if isnan(seconds):
        raise ValueError(value)
    return seconds


def _lasting(value: object) -> float:
    seconds = _seconds(value)
    if seconds <= 0:
        raise ValueError(value)
    return seconds
