"""The reference model: what the queue means, in lists and dicts, and nothing clever.

It is what the implementation is held against, in the tests and, by ``python -m leasedkeyq check``,
in the records of real runs. So it is written from the meaning of the queue alone, and looks for
whatever it needs from end to end. Operations are named, and take and return, as the machine's do.
It shares nothing with the package, its errors included.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Hashable as Key
from dataclasses import dataclass, field, replace
from itertools import chain
from math import inf, isnan
from numbers import Real
from typing import Any, NamedTuple, TypeAlias

POLICIES = ("update", "reject", "buffer", "defer")
COUNTED = ("replaced", "deliveries", "acks", "releases", "expiries", "discards", "timeouts")
ANY = None  # the key that a `get` waits for, and no key of any test
AT_ONCE = -inf  # the time of a value that was not delayed
FRONT, END, BACK = "front", "end of the returned", "back"  # places in the line


class LeasedKeyQError(Exception):
    """The errors of the public API, by the names and the kinship that it gives them."""


class KeyAlreadyInFlightError(LeasedKeyQError):
    pass


class InvalidLeaseError(LeasedKeyQError):
    pass


class LeaseExpiredError(InvalidLeaseError):
    pass


class LeaseAlreadyAcknowledgedError(LeasedKeyQError):
    pass


class QueueClosedError(LeasedKeyQError):
    pass


@dataclass(frozen=True)
class Lease:
    """What the consumer holds: equal by value, so one that was rebuilt is as good."""

    number: int  # rises with every grant
    key: Key
    attempt: int = field(default=0, compare=False)


@dataclass(eq=False)
class Copy:
    """A value of a key; of two, the one with the higher version was put later."""

    key: Key
    value: object
    version: int
    time: float = AT_ONCE  # before which it is not handed out
    attempts: int = 0  # how often it was handed out
    since: float = 0  # in the line

    def merge(self, other: Copy) -> Copy:
        """The newest value wins, with its own count, and the earliest time wins."""
        if other.version > self.version:
            self.value, self.version, self.attempts = other.value, other.version, other.attempts
        self.time = min(self.time, other.time)
        return self


@dataclass(eq=False)
class Grant:
    """A copy in flight: under a lease, or reserved for a waiter that has not resumed."""

    lease: Lease
    copy: Copy
    duration: float
    ticket: int | None = None  # of the waiter that it is reserved for
    deadline: float = inf  # set when the consumer has the lease, not while it is reserved
    seen: int = 0  # the version that the consumer has seen
    since: float = 0  # when it was delivered; and until then, when it was reserved


@dataclass(eq=False)
class Waiter:
    """A call that could not be answered at once."""

    ticket: int  # by arrival
    kind: str  # get, take, put, join or drain
    deadline: float  # of its wait
    key: Key = None
    asks: Any = None  # a take: the duration of its lease; a put: value, policy and delay
    outcome: str = "WAITING"  # RESERVED, TIMED_OUT, ENDED, DONE, LEFT
    cancelled: bool = False  # from then on it is offered nothing
    grant: Grant | None = None  # what a take has reserved; a put has a slot

    @property
    def waits(self) -> bool:
        return self.outcome == "WAITING" and not self.cancelled


Delivery: TypeAlias = tuple[Key, object, Lease]
Seconds: TypeAlias = float | None
Policy: TypeAlias = str | None
Rows: TypeAlias = tuple[tuple[Any, ...], ...]


class Snapshot(NamedTuple):
    """The whole state, in the words of the specification and in the order of the machine."""

    phase: str  # open, shut, closed
    puts: int  # versions given so far
    returned: Rows  # key, value, version, attempts; the front first
    arrived: Rows  # the same
    delayed: Rows  # the same and the time, if that has not come; the soonest first
    deferred: Rows  # the same
    flight: Rows  # number, key, value, version, attempts, ticket, deadline
    waiting: Rows  # ticket, kind, key, deadline
    slots: tuple[int, ...]  # tickets of puts


class Model:
    """The queue, with the time passed in."""

    def __init__(
        self, default_lease_timeout: Seconds = None, maxsize: int = 0, if_in_flight: str = "update"
    ) -> None:
        self.default = inf if default_lease_timeout is None else _lasting(default_lease_timeout)
        if type(maxsize) is not int:
            raise TypeError(maxsize)
        self.maxsize = maxsize if maxsize > 0 else inf
        self.policy = _known(if_in_flight)
        self.phase = "open"
        self.returned: OrderedDict[Key, Copy] = OrderedDict()  # the first part of the line
        self.arrived: OrderedDict[Key, Copy] = OrderedDict()  # the rest of it
        self.delayed: dict[Key, Copy] = {}
        self.deferred: dict[Key, Copy] = {}
        self.grants: dict[int, Grant] = {}  # in flight, by number
        self.waiters: list[Waiter] = []  # that have not resumed, the oldest first
        self.ended: dict[int, type[Exception]] = {}  # what a late ack of each lease raises
        self.newest: dict[Key, int] = {}  # version that was ever accepted for a key
        self.puts = self.granted = self.tickets = 0  # given so far: versions, numbers, tickets
        self.counts: Counter[str] = Counter()  # what has been, by the names in `stats`
        self.now = self.moment = 0.0  # of the operation, and of what happens: earlier if it was due

    def tell(self, action: str, **what: object) -> None:
        """Something happens: what the machine tells its observer. For whoever holds a record."""

    def meet(self) -> None:
        """A call is about to be chosen: whoever knows of calls that have left marks them now."""

    # -- producers and consumers

    def put(
        self, key: Key, value: object, policy: Policy, delay: float, timeout: Seconds, now: float
    ) -> Waiter | None:
        policy = self.policy if policy is None else _known(policy)
        delay, wait = _delay(delay), _wait(timeout)
        self._enter(now)
        if self.phase == "shut":
            raise QueueClosedError
        waiting = self._available(key) or self.delayed.get(key)
        adds = not waiting and (policy == "buffer" or not self._in_flight(key))
        if adds and self._items() >= self.maxsize:
            return self._begin_to_wait("put", wait, now, key, (value, policy, delay))
        self._accept(key, value, policy, delay, now)
        return None

    def get(self, timeout: Seconds, lease_timeout: Seconds, now: float) -> Delivery | Waiter:
        return self.take(ANY, timeout, lease_timeout, now)

    def take(
        self, key: Key, timeout: Seconds, lease_timeout: Seconds, now: float
    ) -> Delivery | Waiter:
        wait = _wait(timeout)
        duration = self.default if lease_timeout is None else _lasting(lease_timeout)
        self._enter(now)
        if copy := self._available(key):
            self._leave_line(copy)
            return self._deliver(self._grant(copy, duration), now, _getting(key))
        if self.phase == "shut" and not self._may_come(key):
            raise QueueClosedError
        return self._begin_to_wait(_getting(key), wait, now, key, duration)

    def resume(self, waiter: Waiter, now: float) -> Delivery | bool | None:
        """The call takes what its wait has come to."""
        self.reap(now)
        self.waiters.remove(waiter)
        outcome, waiter.outcome = waiter.outcome, "LEFT"
        self.counts["timeouts"] += outcome == "TIMED_OUT"
        assert outcome != "WAITING", "a call resumes when its wait is over, and not before"
        if not waiter.grant:
            self.tell("resume", ticket=waiter.ticket, outcome=outcome)
        if waiter.kind == "drain":
            return outcome == "DONE"
        if outcome in ("TIMED_OUT", "ENDED"):
            raise TimeoutError if outcome == "TIMED_OUT" else QueueClosedError
        if waiter.grant:
            return self._deliver(waiter.grant, now, "resume", ticket=waiter.ticket)
        if waiter.kind == "put":
            value, policy, delay = waiter.asks
            try:
                self._accept(waiter.key, value, policy, delay, now)
            finally:
                self._settle()  # the slot may be free again
        return None

    def cancel(self, waiter: Waiter, now: float) -> None:
        """The call leaves, whatever it was given; what was reserved goes to the next."""
        outcome = "LEFT" if waiter.cancelled else waiter.outcome
        self.tell("cancel", ticket=waiter.ticket, outcome=outcome)
        waiter.cancelled = True
        self.reap(now)
        self.waiters.remove(waiter)
        waiter.outcome = "LEFT"
        if waiter.grant:
            self._give_back(waiter.grant, FRONT, InvalidLeaseError, AT_ONCE, now)
        self._settle()

    def time_out(self, now: float) -> None:
        """The waits that are too long end; what is due is carried out before that."""
        self.reap(now)
        self.tell("time_out")
        self.meet()
        late = [waiter for waiter in self.waiters if waiter.waits and waiter.deadline <= now]
        for waiter in late:
            waiter.outcome = "TIMED_OUT"
        if any(waiter.kind == "drain" for waiter in late):
            self._close("end")

    # -- leases

    def ack(self, lease: Lease, now: float) -> None:
        grant = self._find(lease, now)
        self.tell("ack", **_told(grant))
        key = self._end(grant, LeaseAlreadyAcknowledgedError).key
        self.counts["acks"] += 1
        if key in self.deferred and not self._in_flight(key):
            self._store(self.deferred.pop(key), BACK, now)
        self._settle()

    def release(self, lease: Lease, requeue_front: bool, delay: float, now: float) -> None:
        delay = _delay(delay)
        if requeue_front and delay:
            raise ValueError(delay)
        place, time = FRONT if requeue_front else BACK, now + delay if delay else AT_ONCE
        grant = self._find(lease, now)
        self.tell("release", **_told(grant), front=place == FRONT, delay=delay)
        self.counts["releases"] += 1
        self._give_back(grant, place, InvalidLeaseError, time, now)
        self._settle()

    def extend(self, lease: Lease, timeout: Seconds, now: float) -> None:
        duration = None if timeout is None else _lasting(timeout)
        grant = self._find(lease, now)
        grant.deadline = now + (grant.duration if duration is None else duration)
        self.tell("extend", key=grant.copy.key, lease=grant.lease.number, duration=duration)

    def refresh(self, lease: Lease, now: float) -> object:
        grant = self._find(lease, now)
        grant.seen = grant.copy.version
        self.tell("refresh", **_told(grant))
        return grant.copy.value

    def superseded(self, lease: Lease, now: float) -> bool:
        grant = self._find(lease, now)
        return self.newest[grant.copy.key] > grant.seen

    def deadline(self, lease: Lease, now: float) -> float:
        return self._find(lease, now).deadline

    def discard(self, key: Key, now: float) -> bool:
        self._enter(now)
        copy = self._available(key) or self.delayed.get(key) or self.deferred.get(key)
        if copy is None:
            return False
        self.tell("discard", key=key, version=copy.version)
        self.counts["discards"] += 1
        for part in (self.returned, self.arrived, self.delayed, self.deferred):
            part.pop(key, None)
        self._settle()
        return True

    def reap(self, now: float) -> None:
        """Carry out what is due, in the order of time: leases end, what is held ripens."""
        self.now = now
        while due := [
            *[(grant.deadline, 0, n) for n, grant in self.grants.items() if grant.deadline <= now],
            *[(copy.time, 1, copy.version) for copy in self._held() if AT_ONCE < copy.time <= now],
        ]:
            self.moment, ripens, number = min(due)
            if ripens:
                self._ripen(next(copy for copy in self._held() if copy.version == number))
            else:
                lost = self.grants[number]
                self.tell("expire", **_told(lost))
                self.counts["expiries"] += 1
                self._give_back(lost, END, LeaseExpiredError, AT_ONCE, now)
        self.moment = now
        self._settle()

    # -- life

    def start(self, now: float) -> None:
        self._enter(now)

    def join(self, timeout: Seconds, now: float) -> Waiter | None:
        wait = _wait(timeout)
        self.reap(now)
        if self._items() == 0:
            return None
        self._enter(now)
        return self._begin_to_wait("join", wait, now)

    def shutdown(self, now: float, action: str = "shutdown") -> None:
        self.reap(now)
        if self.phase == "open":
            self.phase = "shut"
            self.tell(action)
            for waiter in self.waiters:
                if waiter.kind == "put" and waiter.outcome in ("WAITING", "RESERVED"):
                    waiter.outcome = "ENDED"
            self._settle()

    def drain(self, timeout: Seconds, now: float) -> Waiter | bool:
        wait = _wait(timeout)
        self.reap(now)
        if self.phase == "closed":
            return not self._work()
        if self._work() and wait > 0:
            waiter = self._begin_to_wait("drain", wait, now)
            self.shutdown(now, "shut")
            return waiter
        done = not self._work()
        self.tell("drain", wait=wait, drained=done)
        self.shutdown(now, "shut")
        self._close("end")
        return done

    def close(self, now: float) -> None:
        self.reap(now)
        if self.phase != "closed":
            self._close("close")

    # -- introspection

    def peek(self, key: Key, now: float) -> object:
        return dict(self.available_items(now)).get(key)

    def contains(self, key: Key, now: float) -> bool:
        return key in self.available_keys(now)

    def available_items(self, now: float) -> list[tuple[Key, object]]:
        self.reap(now)
        return [(copy.key, copy.value) for copy in self._line()]

    def available_keys(self, now: float) -> set[Key]:
        return {key for key, _ in self.available_items(now)}

    def inflight_keys(self, now: float) -> set[Key]:
        self.reap(now)
        return {grant.copy.key for grant in self.grants.values()}

    def delayed_keys(self, now: float) -> set[Key]:
        self.reap(now)
        return {*self.delayed}

    def qsize(self, now: float) -> int:
        return len(self.available_items(now))

    def inflight_size(self, now: float) -> int:
        self.reap(now)
        return len(self.grants)

    def delayed_size(self, now: float) -> int:
        return len(self.delayed_keys(now))

    def stats(self, now: float) -> dict[str, float | None]:
        """By the names that the package gives them."""
        self.reap(now)
        waiting = Counter(waiter.kind for waiter in self.waiters if waiter.waits)
        line = [copy.since for copy in self._line()]
        leases = [self.grants[number].since for number in [*sorted(self.grants)][:1]]
        shown: dict[str, float | None] = {
            "available": len(line),
            "delayed": len(self.delayed),
            "deferred": len(self.deferred),
            "in_flight": len(self.grants),
            **{f"waiting_{kind}s": waiting[kind] for kind in ("get", "take", "put")},
            "puts": self.puts,
            **{name: self.counts[name] for name in COUNTED},
        }
        shown["oldest_available_age"] = now - min(line) if line else None
        shown["oldest_lease_age"] = now - min(leases) if leases else None
        return shown

    def alarm(self) -> float:
        """When `time_out` must be called at the latest, so that no call is told late."""
        moments = [waiter.deadline for waiter in self.waiters if waiter.waits]
        if any(waiter.waits and waiter.kind in ("get", "take", "put") for waiter in self.waiters):
            moments += [grant.deadline for grant in self.grants.values()]
            moments += [copy.time for copy in self.delayed.values()]
        return min(moments, default=inf)

    def snapshot(self, now: float) -> Snapshot:
        self.reap(now)
        flight = [(n, *_shown(g.copy), g.ticket, g.deadline) for n, g in self.grants.items()]
        waiting = [(w.ticket, w.kind, w.key, w.deadline) for w in self.waiters if w.waits]
        return Snapshot(
            self.phase,
            self.puts,
            tuple(map(_shown, self.returned.values())),
            tuple(map(_shown, self.arrived.values())),
            _by_time(self.delayed),
            _by_time(self.deferred),
            tuple(flight),
            tuple(waiting),
            tuple(waiter.ticket for waiter in self._slots()),
        )

    # -- what they have in common

    def _enter(self, now: float) -> None:
        self.reap(now)
        if self.phase == "closed":
            raise QueueClosedError

    def _accept(self, key: Key, value: object, policy: str, delay: float, now: float) -> None:
        """Put a value where it belongs: the first that fits."""
        in_flight, available = self._in_flight(key), self._available(key)
        if in_flight and policy == "reject":
            raise KeyAlreadyInFlightError
        self.puts += 1
        self.newest[key] = self.puts
        self.tell("put", key=key, version=self.puts, policy=policy, delay=delay)
        new = Copy(key, value, self.puts, now + delay if delay else AT_ONCE)
        if available:
            self._merge(available, new)
        elif key in self.delayed:
            self._store(self._merge(self.delayed.pop(key), new), BACK, now)
        elif in_flight and policy == "update" and key not in self.deferred:
            self._merge(max(in_flight, key=lambda copy: copy.version), new)
        else:
            if key in self.deferred:
                self._merge(new, self.deferred.pop(key))
            if in_flight and policy != "buffer":
                self.deferred[key] = new
            else:
                self._store(new, BACK, now)

    def _begin_to_wait(
        self, kind: str, wait: float, now: float, key: Key = None, asks: Any = None
    ) -> Waiter:
        if wait <= 0:
            raise TimeoutError
        self.tickets += 1
        self.waiters.append(Waiter(self.tickets, kind, now + wait, key, asks))
        what: dict[str, object] = {}
        if kind in ("take", "put"):
            what["key"] = key
        if kind in ("get", "take"):
            what["duration"] = asks
        if kind == "put":
            _, what["policy"], what["delay"] = asks
        self.tell(kind, ticket=self.tickets, wait=wait, **what)
        return self.waiters[-1]

    def _merge(self, copy: Copy, other: Copy) -> Copy:
        """Of two values one stays, and one is replaced."""
        self.counts["replaced"] += 1
        return copy.merge(other)

    def _line(self) -> list[Copy]:
        return [*self.returned.values(), *self.arrived.values()]

    def _held(self) -> list[Copy]:
        return [*self.delayed.values(), *self.deferred.values()]

    def _leave_line(self, copy: Copy) -> None:
        (self.returned if copy.key in self.returned else self.arrived).pop(copy.key)

    def _available(self, key: Key) -> Copy | None:
        if key is ANY:
            return next(chain(self.returned.values(), self.arrived.values()), None)
        return self.returned.get(key) or self.arrived.get(key)

    def _in_flight(self, key: Key) -> list[Copy]:
        return [grant.copy for grant in self.grants.values() if key in (ANY, grant.copy.key)]

    def _slots(self) -> list[Waiter]:
        return [w for w in self.waiters if w.kind == "put" and w.outcome == "RESERVED"]

    def _work(self) -> int:
        """What a drain waits for; a deferred value has a copy in flight before it."""
        return len(self.returned) + len(self.arrived) + len(self.grants)

    def _items(self) -> int:
        return self._work() + len(self.delayed) + len(self._slots())

    def _may_come(self, key: Key) -> bool:
        copies = [*self._line(), *self.delayed.values(), *self._in_flight(ANY)]
        return any(key in (ANY, copy.key) for copy in copies)

    def _settle(self) -> None:
        """After an operation no call waits for what is there, or for what cannot come."""
        self.meet()
        for waiter in filter(lambda waiter: waiter.waits, self.waiters):
            if waiter.kind == "put" and self._items() < self.maxsize:
                waiter.outcome = "RESERVED"
            elif waiter.kind in ("get", "take") and self.phase == "shut":
                waiter.outcome = "WAITING" if self._may_come(waiter.key) else "ENDED"
        for waiter in filter(lambda waiter: waiter.waits, self.waiters):
            if waiter.kind == "join" and self._items() == 0:
                waiter.outcome = "DONE"
        if not self._work() and any(w.waits and w.kind == "drain" for w in self.waiters):
            self._close("end")

    def _close(self, action: str) -> None:
        """Every wait ends, and everything goes back into the line."""
        self.phase = "closed"
        self.tell(action)
        well = {"drain": not self._work(), "join": not self._work() and not self.delayed}
        for waiter in self.waiters:
            if waiter.outcome in ("WAITING", "RESERVED"):
                waiter.outcome = "DONE" if well.get(waiter.kind) else "ENDED"
                waiter.grant = None
        for number in sorted(self.grants, reverse=True):
            self._give_back(self.grants[number], FRONT, InvalidLeaseError, AT_ONCE, -inf)
        for copy in sorted(self.delayed.values(), key=lambda copy: (copy.time, copy.version)):
            self._ripen(copy)

    def _ripen(self, copy: Copy) -> None:
        """The time of a copy has come; a deferred one goes on waiting for the lease to end."""
        self.tell("ripen", key=copy.key, version=copy.version)
        copy.time = AT_ONCE
        if copy.key in self.delayed:
            self._line_up(self.delayed.pop(copy.key), BACK)

    def _store(self, copy: Copy, place: str, now: float) -> None:
        if copy.time > now:
            self.delayed[copy.key] = copy
        else:
            self._line_up(copy, place)

    def _line_up(self, copy: Copy, place: str) -> None:
        """Offer a copy to the call that has waited longest, or else to the line."""
        copy.time = AT_ONCE
        self.meet()
        for waiter in self.waiters:
            if waiter.waits and waiter.kind in ("get", "take") and waiter.key in (ANY, copy.key):
                waiter.outcome, waiter.grant = "RESERVED", self._grant(copy, waiter.asks)
                waiter.grant.ticket = waiter.ticket
                self.tell("reserve", **_told(waiter.grant), ticket=waiter.ticket)
                return
        part = self.arrived if place == BACK else self.returned
        copy.since = self.moment
        if place == FRONT and self.returned:  # it counts as long as the one behind it
            copy.since = min(copy.since, next(iter(self.returned.values())).since)
        part[copy.key] = copy
        part.move_to_end(copy.key, last=place != FRONT)

    def _grant(self, copy: Copy, duration: float) -> Grant:
        self.granted += 1
        grant = Grant(Lease(self.granted, copy.key), copy, duration, since=self.now)
        self.grants[self.granted] = grant
        return grant

    def _deliver(self, grant: Grant, now: float, action: str, **what: object) -> Delivery:
        """The consumer has the lease, and the value as it is now: its clock starts."""
        copy = grant.copy
        copy.attempts += 1
        self.counts["deliveries"] += 1
        what = {**_told(grant), "duration": grant.duration, "attempt": copy.attempts, **what}
        self.tell(action, **what)
        grant.ticket, grant.deadline, grant.seen = None, now + grant.duration, copy.version
        grant.since = now
        return copy.key, copy.value, replace(grant.lease, attempt=copy.attempts)

    def _find(self, lease: Lease, now: float) -> Grant:
        self._enter(now)
        if not isinstance(lease, Lease):
            raise TypeError(lease)
        grant = self.grants.get(lease.number)
        if grant is None or grant.lease != lease or grant.ticket:
            raise self.ended.get(lease.number, InvalidLeaseError)
        return grant

    def _end(self, grant: Grant, error: type[Exception]) -> Copy:
        self.ended[grant.lease.number] = error
        return self.grants.pop(grant.lease.number).copy

    def _give_back(
        self, grant: Grant, place: str, error: type[Exception], time: float, now: float
    ) -> None:
        """End a lease whose value must stay: in the copy that waits, or as one that does."""
        copy = self._end(grant, error)
        copy.time = time
        if copy.key in self.deferred:
            self._merge(copy, self.deferred.pop(copy.key))
        if available := self._available(copy.key):
            self._merge(available, copy)
        elif copy.key in self.delayed:
            self._store(self._merge(self.delayed.pop(copy.key), copy), BACK, now)
        else:
            self._store(copy, place, now)


def _getting(key: Key) -> str:
    return "get" if key is ANY else "take"


def _told(grant: Grant) -> dict[str, object]:
    return {"key": grant.copy.key, "version": grant.copy.version, "lease": grant.lease.number}


def _known(policy: str) -> str:
    if policy not in POLICIES:
        raise ValueError(policy)
    return policy


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


def _wait(value: object) -> float:
    return inf if value is None else _seconds(value)


def _lasting(value: object) -> float:
    if _seconds(value) <= 0:
        raise ValueError(value)
    return _seconds(value)


def _delay(value: object) -> float:
    if _seconds(value) < 0:
        raise ValueError(value)
    return _seconds(value)


def _shown(copy: Copy) -> tuple[Any, ...]:
    return copy.key, copy.value, copy.version, copy.attempts


def _by_time(copies: dict[Key, Copy]) -> Rows:
    rows = [(*_shown(copy), copy.time) for copy in copies.values()]
    return tuple(sorted(rows, key=lambda row: (row[4], row[2])))
