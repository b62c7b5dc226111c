"""Looking at the queue: introspection, the snapshot, and the invariants.

It carries out what is due, and changes nothing else. All of it works on a closed queue, but what
is asked about a lease: none is live there.
"""

from __future__ import annotations

from itertools import islice
from math import inf
from typing import Any, Final

from ._checks import leased, text
from ._phases import Phases
from ._records import (
    ACKED,
    CLOSED,
    COME,
    EXPIRED,
    LIVE,
    RESERVED,
    SHUT,
    WAITING,
    Copy,
    Entry,
    Flight,
    Grant,
    Held,
    Holding,
    Overview,
    Snapshot,
    Wait,
    Waiter,
)
from ._table import ABSENT, AVAILABLE, DEFERRED, DELAYED, LEASED
from .errors import InvalidLeaseError, LeaseAlreadyAcknowledgedError, LeaseExpiredError
from .lease import Lease
from .stats import Stats

GAPS: Final = 1000  # places of leases that have ended, at which nobody takes offence


class Inspection(Phases):
    """What can be seen of a queue. A part of `Machine`."""

    __slots__ = ()

    def reap(self, now: float) -> None:
        """Reap: end the leases that are due, let the delays that are due ripen. O(1) each.

        In the order of time; at equal times leases in the order of their grants, then values in
        the order of their versions. Every operation does so first, and all introspection.
        """
        self._enter(now)
        self._busy = False

    def superseded(self, lease: object, now: float) -> bool:
        """Whether a newer value than was seen through the lease has been accepted. O(1)."""
        self._enter(now, SHUT)
        try:
            grant = self._live(lease)
            return grant.seen < grant.entry.newest
        finally:
            self._busy = False

    def deadline(self, lease: object, now: float) -> float:
        """When the lease runs out; infinity for never. O(1)."""
        self._enter(now, SHUT)
        try:
            return self._live(lease).time
        finally:
            self._busy = False

    def peek(self, key: object, now: float) -> object:
        """The available value of the key, or None. O(1)."""
        self._enter(now)
        try:
            entry = self._keys.find(key)
            return entry.value if entry is not None and entry.state.lined else None
        finally:
            self._busy = False

    def contains(self, key: object, now: float) -> bool:
        """Whether a copy of the key is available. O(1)."""
        self._enter(now)
        try:
            entry = self._keys.find(key)
            return entry is not None and entry.state.lined
        finally:
            self._busy = False

    def available_keys(self, now: float) -> set[Any]:
        """The keys that have an available copy. O(result)."""
        self._enter(now)
        try:
            return self._keys.distinct([entry.key for entry in self._line()])
        finally:
            self._busy = False

    def available_items(self, now: float) -> list[tuple[Any, Any]]:
        """The line, front first. O(result)."""
        self._enter(now)
        try:
            return [(entry.key, entry.value) for entry in self._line()]
        finally:
            self._busy = False

    def delayed_keys(self, now: float) -> set[Any]:
        """The keys whose waiting copy is delayed. O(delays and timed leases)."""
        self._enter(now)
        try:
            held = [one for one in self.deadlines if isinstance(one, Entry)]
            return self._keys.distinct([one.key for one in held if one.state.delayed])
        finally:
            self._busy = False

    def inflight_keys(self, now: float) -> set[Any]:
        """The keys that have a live lease, or a reserved copy. O(leases)."""
        self._enter(now)
        try:
            return self._keys.distinct([grant.entry.key for grant in self._grants])
        finally:
            self._busy = False

    def qsize(self, now: float) -> int:
        """How many copies are available. O(1)."""
        self.reap(now)
        return self._available()

    def delayed_size(self, now: float) -> int:
        """How many copies are delayed. O(1)."""
        self.reap(now)
        return self._delayed

    def inflight_size(self, now: float) -> int:
        """How many copies are leased or reserved. O(1)."""
        self.reap(now)
        return len(self._grants)

    def stats(self, now: float) -> Stats:
        """How much there is, what has been, and how old it is. O(1), amortised.

        What an operation would have to count on top of what it does anyway is not counted, but
        follows: an ack is a grant that has ended in no other way, and a value was replaced if it
        has gone in no other way.
        """
        self._enter(now)
        try:
            available, in_flight = self._available(), len(self._grants)
            acks = self._acks()
            return Stats(
                available=available,
                delayed=self._delayed,
                deferred=self._deferred,
                in_flight=in_flight,
                waiting_gets=len(self._waiters) - sum(self._others.values()),
                waiting_takes=self._others["take"],
                waiting_puts=self._others["put"],
                puts=self._version,
                replaced=self._version - self._values() - acks - self._discards,
                deliveries=self._number - self._undelivered,
                acks=acks,
                releases=self._releases,
                expiries=self._expiries,
                discards=self._discards,
                timeouts=self._timeouts,
                oldest_available_age=self._age([self._returned.first, self._arrived.first], now),
                oldest_lease_age=self._age([self._first_grant()], now),
            )
        finally:
            self._busy = False

    def overview(self, leases: int, now: float) -> Overview:
        """What a person wants to see, with so many of the oldest leases. O(leases)."""
        self._enter(now)
        try:
            self._first_grant()
            held = [_holding(grant, now) for grant in islice(self._grants, leases)]
            return Overview(self._phase.value, self._maxsize, held)
        finally:
            self._busy = False

    def _available(self) -> int:
        return self._items - len(self._grants) - len(self._slots) - self._delayed

    def _values(self) -> int:
        """How many values there are."""
        return self._items - len(self._slots) + self._deferred

    def _acks(self) -> int:
        ended = self._number - len(self._grants)
        return ended - self._releases - self._expiries - self._recalls

    def _first_grant(self) -> Grant | None:
        """The oldest copy in flight. O(1), amortised over the grants.

        A dict keeps the places of what was deleted, and the first is found by going through them:
        so now and then they are given up.
        """
        if not self._grants:
            return None
        first = next(iter(self._grants))
        if first.number - self._packed > 2 * len(self._grants) + GAPS:
            self._packed = first.number
            self._grants = dict.fromkeys(self._grants)
        return first

    def _age(self, oldest: list[Entry | Grant | None], now: float) -> float | None:
        since = [one.since for one in oldest if one is not None]
        return now - min(since) if since else None

    def _line(self) -> list[Entry]:
        return [*self._returned, *self._arrived]

    def _live(self, lease: object) -> Grant:
        """The live lease that the caller holds, or the reason why there is none."""
        given: Lease[Any] = lease if type(lease) is Lease else leased(lease)
        grant: Grant | None = given._grant
        if grant is None:
            return self._rebuilt(given)
        if grant.issuer is not self._issuer:
            raise InvalidLeaseError(f"{text(given)} is another queue's: use it there")
        if grant.standing is LIVE:
            return grant
        if grant.standing is ACKED:
            raise LeaseAlreadyAcknowledgedError(
                f"{text(given)} was acknowledged already: there is nothing left to do"
            )
        if grant.standing is EXPIRED:
            raise LeaseExpiredError(
                f"{text(given)} ran out before this call: its item went back to the queue and may"
                " be with another consumer; discard the work, or make it safe to repeat"
            )
        raise InvalidLeaseError(f"{text(given)} was released already: get or take its item anew")

    def _rebuilt(self, lease: Lease[Any]) -> Grant:
        """The live lease that a rebuilt one stands for."""
        entry = self._keys.find(lease.key)
        for grant in () if entry is None else entry.grants():
            if grant.token() == lease.token and grant.waiter is None:
                return grant
        raise InvalidLeaseError(
            f"{text(lease)} is not live in this queue: it has ended, or was never granted here for"
            " this key"
        )

    # -- the whole state ---------------------------------------------------------

    def snapshot(self, now: float) -> Snapshot:
        """The whole state, in the words of the specification. O(n)."""
        self._enter(now)
        try:
            entries = [*self._keys]
            delayed = [_held(one) for one in entries if one.state.delayed]
            deferred = [_held(one) for one in entries if one.state is DEFERRED]
            return Snapshot(
                phase=self._phase.value,
                puts=self._version,
                returned=tuple(_copy(entry) for entry in self._returned),
                arrived=tuple(_copy(entry) for entry in self._arrived),
                delayed=tuple(sorted(delayed, key=Held.order)),
                deferred=tuple(sorted(deferred, key=Held.order)),
                flight=tuple(_flight(grant) for grant in self._grants),
                waiting=tuple(_wait(waiter) for waiter in self._waiters.values()),
                slots=tuple(sorted(self._slots)),
            )
        finally:
            self._busy = False

    def check_invariants(self) -> None:
        """Assert I1 to I11, and show the state when one fails. O(n), for tests."""
        try:
            for part in (self._returned, self._arrived, self._getters, self._putters):
                part.check_invariants()
            self._joiners.check_invariants()
            self.deadlines.check_invariants()
            self._waits.check_invariants()
            self._check_keys()
            self._check_calls()
            self._check_counts()
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self!r}") from error

    def _check_keys(self) -> None:
        """I1 to I5, and what I8 and I9 say of them."""
        line = [*self._returned, *self._arrived]
        flight: list[Grant] = []
        waiting = 0
        falls_due = {id(deadline) for deadline in self.deadlines}
        owners = leftovers = 0
        for entry in self._keys:
            chain = [*entry.grants()]
            flight += chain
            state = entry.state
            leftovers += state is ABSENT and entry.takers is None
            assert state.lined == any(entry is one for one in line), "I2"
            assert bool(chain) == (state not in (ABSENT, AVAILABLE, DELAYED)), "I3"
            waits = state not in (ABSENT, LEASED)
            versions = [grant.version for grant in chain]
            assert versions == sorted(set(versions), reverse=True), "I3"
            if waits:
                assert entry.version not in versions, "I4"
                assert state is not DEFERRED or entry.version == entry.newest, "I4"
                versions.append(entry.version)
            else:
                assert entry.value is None, "I4"
            assert max(versions, default=0) <= entry.newest <= self._version, "I4"
            waiting += waits and state is not DEFERRED
            timed = entry.time != COME
            assert state.delayed <= timed <= state.held, "I5"
            assert timed == (id(entry) in falls_due), "I5"
            owners += timed
        assert leftovers <= self._keys.leftovers, "I1"
        assert len(line) + self._delayed == waiting, "I2"
        assert len(flight) == len(self._grants), "I3"
        assert {*flight} == {*self._grants}, "I3"
        numbers = [grant.number for grant in self._grants]
        assert numbers == sorted(numbers), "I3"
        assert self._items == waiting + len(flight) + len(self._slots) <= self._maxsize, "I8"
        for grant in flight:
            assert grant.standing is LIVE, "I3"
            timed = grant.time != inf
            assert timed <= (grant.waiter is None), "I5"
            assert timed == (id(grant) in falls_due), "I5"
            owners += timed
        assert owners == len(falls_due), "I5"
        if self._phase is CLOSED:
            assert owners == len(self._grants) == len(self._waiters) == self._delayed == 0, "I9"
            assert not [*self._waits], "I9"

    def _check_calls(self) -> None:
        """I6, I7, I9 and I10. A call that is cancelled may stay until it is met or cleared away."""
        lists = [self._getters, self._putters, self._joiners]
        for takers in [entry.takers for entry in self._keys]:
            if takers is not None:
                assert takers.count >= max(1, len([*takers])), "I1"
                lists.append(takers)
        for calls in lists:
            calls.check_invariants()
            tickets = [waiter.ticket for waiter in calls]
            assert tickets == sorted(tickets), "I7"
        waiting = {waiter.ticket: waiter for calls in lists for waiter in calls}
        assert waiting == self._waiters, "I7"
        empty = self._returned.first is None and self._arrived.first is None
        for waiter in waiting.values():
            gone = waiter.caller.cancelled()
            entry = waiter.entry
            assert (waiter.outcome, waiter.grant) == (WAITING, None), "I7"
            assert (entry is None) == (waiter.kind != "take"), "I7"
            assert gone or waiter.kind != "get" or empty, "I6"
            assert gone or entry is None or not entry.state.lined, "I6"
            assert gone or waiter.kind != "put" or self._items >= self._maxsize, "I6"
            assert waiter.kind != "join" or self._items > 0, "I6"
            if self._phase is SHUT:
                assert waiter.kind != "put", "I9"
                assert entry is None or entry.state is not ABSENT, "I9"
                assert waiter.kind == "drain" or self._items > 0, "I9"
        for grant in self._grants:
            if grant.waiter is not None:
                assert (grant.waiter.outcome, grant.waiter.grant) == (RESERVED, grant), "I7"
        for ticket, waiter in self._slots.items():
            assert (waiter.ticket, waiter.outcome) == (ticket, RESERVED), "I7"
        timed = {id(waiter.limit) for waiter in waiting.values() if waiter.limit is not None}
        assert timed == {id(limit) for limit in self._waits}, "I7"
        soonest = min((d.time for d in (*self.deadlines, *self._waits)), default=inf)
        assert self.outbox.alarm <= (soonest if waiting else inf), "I10"
        assert waiting or self.outbox.alarm == inf, "I10"

    def _check_counts(self) -> None:
        """I11."""
        states = [entry.state for entry in self._keys]
        assert self._delayed == sum(state.delayed for state in states), "I11"
        assert self._deferred == sum(state is DEFERRED for state in states), "I11"
        kinds = [waiter.kind for waiter in self._waiters.values()]
        assert self._others == {kind: kinds.count(kind) for kind in self._others}, "I11"
        reserved = sum(grant.waiter is not None for grant in self._grants)
        assert reserved <= self._undelivered <= self._number, "I11"
        assert min(self._releases, self._expiries, self._recalls, self._acks()) >= 0, "I11"
        gone = self._version - self._values() - self._acks()
        assert 0 <= self._discards <= gone, "I11"
        assert 0 <= self._timeouts <= self._ticket, "I11"

    def __repr__(self) -> str:
        """The state in words."""
        lines = [f"{self._phase.value}, items={self._items}, alarm={self.outbox.alarm}"]
        for name, calls in (("returned", self._returned), ("arrived", self._arrived)):
            lines.append(f"{name}: {[entry.key for entry in calls]}")
        for entry in self._keys:
            grants = [(grant.number, grant.standing.name, grant.value) for grant in entry.grants()]
            lines.append(f"{entry.key!r}: {entry.state.name} {entry.value!r} leases={grants}")
        lines += [f"{wait.kind} {wait.ticket}: {wait.key!r}" for wait in self._waiters.values()]
        return "\n".join(lines)


def _copy(entry: Entry) -> Copy:
    return Copy(entry.key, entry.value, entry.version, entry.attempts)


def _held(entry: Entry) -> Held:
    return Held(*_copy(entry), entry.time)


def _flight(grant: Grant) -> Flight:
    return Flight(
        grant.number,
        grant.entry.key,
        grant.value,
        grant.version,
        grant.attempts,
        None if grant.waiter is None else grant.waiter.ticket,
        grant.time,
    )


def _holding(grant: Grant, now: float) -> Holding:
    attempt = grant.attempt if grant.waiter is None else 0
    return Holding(grant.entry.key, attempt, now - grant.since, grant.time - now)


def _wait(waiter: Waiter) -> Wait:
    until = inf if waiter.limit is None else waiter.limit.time
    return Wait(waiter.ticket, waiter.kind, waiter.key, until)
