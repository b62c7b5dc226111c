"""The machine: it decides everything, and it does nothing else.

This file knows no asyncio and reads no clock. An operation is a synchronous call that is given
``now`` and either happens whole or raises and changes nothing; it bears the name of its action in
``spec/leasedkeyq.tla``. Each has one shape: validate, begin (nothing else is under way, what is due
is carried out, the queue is open), look up, change, tell. What came of it for others is in the
`Outbox`. Each key moves by `TABLE`: effect and next state are both taken from it, and where the
waiting value of a key stands follows from its state.

Invariants, asserted by `Machine.check_invariants`:

I1  A key is known if its state is not ABSENT, or a take that waits for it has not gone on yet.
I2  The line is ``_returned`` (copies that came back) and then ``_arrived``: it holds exactly the
    entries whose state is AVAILABLE or BUFFERED.
I3  ``_grants`` holds exactly the copies in flight, by number; those of a key are the chain at its
    entry, the newest value first. A key has one if and only if its state says so.
I4  The values of one key have different versions, none above ``newest``; a deferred one is the
    newest.
I5  A value has a time, and a deadline for it, if it is delayed or deferred and its time has not
    come; a lease has one if it was delivered with a finite duration.
I6  No call waits for a copy that is available, and no put for a slot that is free.
I7  A call that waits is in ``_waiters``, and in one list, in the order of arrival. What is reserved
    for a call leads to it, and it back.
I8  ``_items`` counts the copies that wait or are in flight and the slots reserved for puts; it
    never exceeds ``_maxsize``.
I9  A shut queue has no put that waits, and no call to which nothing can come any more; a closed one
    has nothing in flight, deferred or delayed, no call that waits, and no deadline.
I10 ``alarm`` is infinity unless a call waits, and then not later than the first deadline of any
    lease, delay or wait.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from math import inf
from typing import Any, Final, TypeAlias

from ._checks import bound, delay_seconds, lease_seconds, leased, put_event, seconds, text
from ._deadlines import Deadline, Deadlines
from ._keys import KeyMap
from ._linkedlist import LinkedList
from ._records import (
    Copy,
    Entry,
    Event,
    Flight,
    Grant,
    Held,
    Outbox,
    Outcome,
    Snapshot,
    Standing,
    Wait,
    Waiter,
)
from ._table import (
    ABSENT,
    ADD,
    AVAILABLE,
    BUFFERED,
    BUFFERED_DELAYED,
    DEFERRED,
    DELAYED,
    DROP,
    LEASED,
    MERGE,
    REFUSE,
    RETURN,
    REVISE,
    TABLE,
    State,
)
from .errors import (
    InvalidLeaseError,
    KeyAlreadyInFlightError,
    LeaseAlreadyAcknowledgedError,
    LeaseExpiredError,
    QueueClosedError,
)
from .lease import Issuer, Lease, lease_of

Delivery: TypeAlias = tuple[Any, Any, Lease[Any]]


class Phase(Enum):
    """How far the end of the queue has come."""

    OPEN = "open"
    SHUT = "shut"
    CLOSED = "closed"


class Place(Enum):
    """Where in the line a copy goes."""

    FRONT = "the front of the first part"
    END = "the end of the first part"
    BACK = "the back of the line"


class WouldWait(Exception):  # noqa: N818 (it never leaves the package)
    """An operation that must not wait has nothing to return."""


OPEN, SHUT, CLOSED = Phase
FRONT, END, BACK = Place
LIVE, ACKED, RELEASED, EXPIRED = Standing
WAITING, RESERVED, DONE, TIMED_OUT, ENDED, LEFT = Outcome
AT_ONCE: Final = 0  # the delay of a put or release that names none
NOWAIT: Final = float("-inf")  # this very object is the timeout of an operation that must not wait
LEASES, VALUES = 0, 1  # ranks of deadlines: what falls due at one time, in this order


class Machine:
    """The queue without the waiting. Every operation is atomic.

    ``now`` is the time, in seconds, on a clock that does not go back. Nothing depends on it while
    ``timed`` is false, unless the operation sets a deadline.
    """

    __slots__ = (
        *("outbox", "_default", "_maxsize", "_event", "_phase", "_busy", "_ending"),
        *("_keys", "_returned", "_arrived", "_grants", "_deadlines", "_items", "_late", "_issuer"),
        *("_waiters", "_getters", "_putters", "_joiners", "_slots", "_waits"),
        *("_version", "_number", "_ticket"),
    )

    def __init__(
        self,
        default_lease_timeout: float | None = None,
        maxsize: int = 0,
        if_in_flight: str = "update",
    ) -> None:
        self._default = inf
        if default_lease_timeout is not None:
            self._default = lease_seconds("default_lease_timeout", default_lease_timeout)
        self._maxsize = bound(maxsize)
        self._event = put_event(if_in_flight)
        self.outbox = Outbox()
        self._issuer = Issuer()
        self._phase = OPEN
        self._busy = False  # an operation is under way
        self._ending = False  # a join waits or the queue is shut: what has ended must be looked for

        self._keys = KeyMap()
        self._returned = LinkedList()  # of entries
        self._arrived = LinkedList()
        self._items = 0
        self._late = 0  # how many of them are delayed
        self._grants: dict[int, Grant] = {}
        self._deadlines = Deadlines()  # of leases and delays

        self._waiters: dict[int, Waiter] = {}  # by ticket
        self._getters = LinkedList()  # of waiters
        self._putters = LinkedList()
        self._joiners = LinkedList()  # joins and drains
        self._slots: dict[int, Waiter] = {}  # puts that have a slot reserved, by ticket
        self._waits = Deadlines()

        self._version = self._number = self._ticket = 0  # the latest that was given

    @property
    def timed(self) -> bool:
        """Whether the outcome of an operation may depend on the time."""
        return self._deadlines.soonest != inf

    @property
    def busy(self) -> bool:
        """Whether an operation is under way, so that no other may begin."""
        return self._busy

    # -- producers -------------------------------------------------------------

    def put(
        self,
        key: object,
        value: object,
        policy: object,
        delay: object,
        timeout: object,
        now: float,
    ) -> Waiter | None:
        """Put, by the "put" moves of `TABLE`, or wait for a slot. O(1)."""
        event = self._event if policy is None else put_event(policy)
        pause = 0.0 if delay is AT_ONCE else delay_seconds(delay)
        wait = inf if timeout is None else seconds("timeout", timeout)
        if self._busy or self._phase is not OPEN or now >= self._deadlines.soonest:
            self._begin(now, puts=True)
        self._busy = True
        try:
            if self._store(key, value, event, pause, now):
                return None
            if wait <= 0:
                raise _too_late("put", key, timeout)
            waiter = self._wait("put", self._putters, key, timeout, wait, now)
            waiter.put = value, event, pause
            return waiter
        finally:
            self._busy = False

    def _store(self, key: object, value: object, event: str, delay: float, now: float) -> bool:
        """Carry a put out, unless it needs a slot and none is free."""
        entry = self._keys.find(key)
        if entry is None:
            if self._items >= self._maxsize:
                return False
            entry = self._keys.add(key)
        effect, next_, later = TABLE[entry.state][event]
        if effect is REFUSE:
            raise KeyAlreadyInFlightError(
                f"key {text(key)} is in flight and if_in_flight is 'reject': put it again"
                " once its lease has ended, or choose another policy"
            )
        if effect is ADD:
            if self._items >= self._maxsize:
                return False
            self._items += 1
        self._version = version = entry.newest = self._version + 1
        if self.outbox.events is not None:
            self._tell("put", now, key, version, detail=event)
        if effect is REVISE:
            newest = entry.newest_grant()
            self._drop(newest.value)
            newest.value, newest.version, newest.attempts = value, version, 0
        else:
            if entry.value is not None:
                self._drop(entry.value)
            entry.value, entry.version, entry.attempts = value, version, 0
            if delay > 0 or entry.time is not None:
                self._set_time(entry, delay, now)
            self._move(entry, next_ if entry.time is None else later, BACK, now)
        return True

    def discard(self, key: object, now: float) -> bool:
        """Discard: what waits of the key is gone; False if there was nothing. O(1)."""
        if self._busy or self._phase is not OPEN or now >= self._deadlines.soonest:
            self._begin(now)
        self._busy = True
        try:
            entry = self._keys.find(key)
            if entry is None or "discard" not in TABLE[entry.state]:
                return False
            state = TABLE[entry.state]["discard"].next
            if state is ABSENT and entry.takers is None:
                self._keys.remove(entry)  # runs the key's own code: before any change
            if self.outbox.events is not None:
                self._tell("discard", now, key, entry.version)
            if entry.list is not None:
                entry.list.unlink(entry)
            self._unset_time(entry)
            self._drop(entry.value)
            entry.value = None
            if entry.state is not DEFERRED:
                self._free_slot()
            self._move(entry, state, BACK, now)
            if self._ending:
                self._conclude(now, entry)
            return True
        finally:
            self._busy = False

    # -- consumers -------------------------------------------------------------

    def get(self, timeout: object, lease_timeout: object, now: float) -> Delivery | Waiter:
        """Get: lease the copy at the front of the line, or wait for one. O(1)."""
        wait = inf if timeout is None else seconds("timeout", timeout)
        duration = self._default
        if lease_timeout is not None:
            duration = lease_seconds("lease_timeout", lease_timeout)
        if self._busy or self._phase is not OPEN or now >= self._deadlines.soonest:
            self._begin(now)
        self._busy = True
        try:
            line = self._returned if self._returned.first is not None else self._arrived
            entry: Entry | None = line.first
            if entry is not None:
                line.unlink(entry)
                return self._deliver(self._grant(entry, duration), now, "get")
            if self._phase is SHUT and self._items == 0:
                raise _nothing_comes("more")
            if wait <= 0:
                raise _too_late("get", None, timeout)
            waiter = self._wait("get", self._getters, None, timeout, wait, now)
            waiter.duration = duration
            return waiter
        finally:
            self._busy = False

    def take(
        self, key: object, timeout: object, lease_timeout: object, now: float
    ) -> Delivery | Waiter:
        """Take: lease the available copy of the key, or wait for one. O(1)."""
        wait = inf if timeout is None else seconds("timeout", timeout)
        duration = self._default
        if lease_timeout is not None:
            duration = lease_seconds("lease_timeout", lease_timeout)
        if self._busy or self._phase is not OPEN or now >= self._deadlines.soonest:
            self._begin(now)
        self._busy = True
        try:
            entry = self._keys.find(key)
            if entry is not None and entry.list is not None:
                entry.list.unlink(entry)
                return self._deliver(self._grant(entry, duration), now, "take")
            if self._phase is SHUT and (entry is None or entry.state is ABSENT):
                raise _nothing_comes(f"of key {text(key)}")
            if wait <= 0:
                raise _too_late("take", key, timeout)
            if entry is None:
                entry = self._keys.add(key)  # only to wait on
            if entry.takers is None:
                entry.takers = LinkedList()
            waiter = self._wait("take", entry.takers, key, timeout, wait, now)
            waiter.duration = duration
            waiter.entry = entry
            return waiter
        finally:
            self._busy = False

    # -- calls that wait -------------------------------------------------------

    def _wait(
        self,
        kind: str,
        calls: LinkedList,
        key: object,
        timeout: object,
        wait: float,
        now: float,
    ) -> Waiter:
        """A call begins to wait."""
        self._ticket = ticket = self._ticket + 1
        waiter = self._waiters[ticket] = Waiter(ticket, kind, key, timeout)
        calls.link_last(waiter)
        if wait != inf:
            waiter.deadline = Deadline(waiter, 0, ticket)
            self._waits.add(waiter.deadline, wait, now)
        if self.outbox.events is not None:
            self._tell(kind, now, key, ticket=ticket, detail=timeout)
        self._reckon()
        return waiter

    def resume(self, waiter: Waiter, now: float) -> Delivery | bool | None:
        """Resume: a call whose wait is over returns what it has come to, or raises. O(1)."""
        outcome = waiter.outcome
        if outcome is WAITING or outcome is LEFT:
            raise RuntimeError(f"the call has nothing to resume with: {outcome.name}")
        if self._busy or now >= self._deadlines.soonest:
            self._enter(now)
        self._busy = True
        try:
            grant, waiter.grant = waiter.grant, None
            waiter.outcome = LEFT
            if grant is not None:
                grant.waiter = None
                return self._deliver(grant, now, "resume", waiter.ticket)
            if self.outbox.events is not None:
                self._tell("resume", now, waiter.key, ticket=waiter.ticket, detail=outcome.name)
            if outcome is RESERVED:
                self._resume_put(waiter, now)
                return None
            if waiter.kind == "drain":
                return outcome is DONE
            if outcome is DONE:
                return None
            self._tidy(waiter)
            if outcome is TIMED_OUT:
                raise _too_late(waiter.kind, waiter.key, waiter.timeout)
            raise QueueClosedError(
                "the queue was closed while the call waited"
                if self._phase is CLOSED
                else "the queue was shut down, and nothing can come to the call any more"
            )
        finally:
            self._busy = False

    def _resume_put(self, waiter: Waiter, now: float) -> None:
        """Put, with the slot that is reserved; what is not needed of it goes to the next."""
        assert waiter.put is not None
        value, event, delay = waiter.put
        del self._slots[waiter.ticket]
        self._items -= 1
        try:
            self._store(waiter.key, value, event, delay, now)
        finally:
            self._offer_slots()
            if self._ending:
                self._conclude(now)

    def cancel(self, waiter: Waiter, now: float) -> None:
        """Cancel: a call that waits, or has something reserved, leaves nothing behind. O(1).

        While another operation is under way the call is put aside, in the outbox.
        """
        if self._busy:
            self.outbox.left.append(waiter)
            self.outbox.changed = True
            return
        self._busy = True
        try:
            grant, waiter.grant = waiter.grant, None
            outcome, waiter.outcome = waiter.outcome, LEFT
            if outcome is WAITING:
                self._dismiss(waiter)
            if now >= self._deadlines.soonest:
                self._reap(now)
            if self.outbox.events is not None and outcome is not LEFT:
                self._tell("cancel", now, waiter.key, ticket=waiter.ticket)
            if grant is not None:
                self._return(grant, RELEASED, FRONT, 0.0, now)
            elif outcome is RESERVED:
                del self._slots[waiter.ticket]
                self._free_slot()
            if self._ending:
                self._conclude(now)
            self._tidy(waiter)
        finally:
            self._busy = False

    def time_out(self, now: float) -> None:
        """TimeOut: reap, and end the waits that are due. The shell's timer calls it."""
        self._enter(now)
        self._busy = True
        try:
            drains = False
            for deadline in self._waits.due(now):
                waiter = deadline.owner
                assert isinstance(waiter, Waiter)
                drains = drains or waiter.kind == "drain"
                self._wake(waiter, TIMED_OUT)
            if drains:
                self._close(now)
            self.outbox.alarm = inf
            self.outbox.changed = True
            self._reckon()
            if self.outbox.events is not None:
                self._tell("time_out", now)
        finally:
            self._busy = False

    # -- leases ----------------------------------------------------------------

    def ack(self, lease: object, now: float) -> None:
        """Ack: the leased copy is gone for good. O(1)."""
        if self._busy or self._phase is not OPEN or now >= self._deadlines.soonest:
            self._begin(now)
        self._busy = True
        try:
            grant = self._live(lease)
            entry = grant.entry
            last = entry.leases is grant and grant.older is None
            effect, next_, later = TABLE[entry.state]["ack last" if last else "ack"]
            state = next_ if entry.time is None else later
            if state is ABSENT and entry.takers is None:
                self._keys.remove(entry)  # runs the key's own code: before any change
            if self.outbox.events is not None:
                self._tell("ack", now, entry.key, grant.version, grant.number)
            value = self._end(grant, ACKED)  # dropped when this returns, and nothing is under way
            if effect is DROP:
                self._free_slot()
            self._move(entry, state, BACK, now)
            if self._ending:
                self._conclude(now, entry)
        finally:
            self._busy = False
        del value

    def release(self, lease: object, requeue_front: object, delay: object, now: float) -> None:
        """Release: the leased copy comes back, at once or after a delay. O(1)."""
        place = FRONT if requeue_front else BACK
        pause = 0.0 if delay is AT_ONCE else delay_seconds(delay)
        if place is FRONT and pause > 0:
            raise ValueError(
                f"a release with a delay of {pause} s can't go to the front: leave out either"
                " delay or requeue_front"
            )
        if self._busy or self._phase is not OPEN or now >= self._deadlines.soonest:
            self._begin(now)
        self._busy = True
        try:
            grant = self._live(lease)
            if self.outbox.events is not None:
                self._tell("release", now, grant.entry.key, grant.version, grant.number)
            self._return(grant, RELEASED, place, pause, now)
            if self._ending:
                self._conclude(now)
        finally:
            self._busy = False

    def extend(self, lease: object, timeout: object, now: float) -> None:
        """Extend: restart the lease's clock. O(1)."""
        duration = None if timeout is None else lease_seconds("timeout", timeout)
        if self._busy or self._phase is not OPEN or now >= self._deadlines.soonest:
            self._begin(now)
        self._busy = True
        try:
            grant = self._live(lease)
            self._stop_clock(grant)
            self._start_clock(grant, grant.duration if duration is None else duration, now)
            if self.outbox.events is not None:
                self._tell("extend", now, grant.entry.key, None, grant.number, detail=duration)
        finally:
            self._busy = False

    def refresh(self, lease: object, now: float) -> object:
        """Refresh: the value of the leased copy as it stands has been seen. O(1)."""
        grant = self._look_up(lease, now)
        grant.seen = grant.version
        if self.outbox.events is not None:
            self._tell("refresh", now, grant.entry.key, grant.version, grant.number)
        return grant.value

    def superseded(self, lease: object, now: float) -> bool:
        """Whether a newer value than was seen through the lease has been accepted. O(1)."""
        grant = self._look_up(lease, now)
        return grant.seen < grant.entry.newest

    def deadline(self, lease: object, now: float) -> float:
        """When the lease runs out; infinity for never. O(1)."""
        deadline = self._look_up(lease, now).deadline
        return inf if deadline is None else deadline.time

    # -- time ------------------------------------------------------------------

    def reap(self, now: float) -> None:
        """Reap: end the leases that are due, let the delays that are due ripen. O(1) each.

        In the order of time; at equal times leases in the order of their grants, then values in
        the order of their versions. Every operation does so first, and all introspection.
        """
        if self._busy or now >= self._deadlines.soonest:
            self._enter(now)

    def _reap(self, now: float) -> None:
        for deadline in self._deadlines.due(now):
            owner = deadline.owner
            if isinstance(owner, Grant):
                if self.outbox.events is not None:
                    self._tell("expire", now, owner.entry.key, owner.version, owner.number)
                self._return(owner, EXPIRED, END, 0.0, now)
            elif isinstance(owner, Entry) and owner.time is deadline:
                # (Not so if a lease that was due before has brought the value into the line.)
                self._ripen(owner, now)
        self._reckon()
        if self._ending:
            self._conclude(now)

    def _ripen(self, entry: Entry, now: float) -> None:
        self._unset_time(entry)
        if self.outbox.events is not None:
            self._tell("ripen", now, entry.key, entry.version)
        self._move(entry, TABLE[entry.state]["ripen"].next, BACK, now)

    # -- the whole queue -------------------------------------------------------

    def start(self, now: float) -> None:
        """Nothing to start: the check that the queue is not closed."""
        self._begin(now)

    def join(self, timeout: object, now: float) -> Waiter | None:
        """Join: wait until the queue holds nothing. O(1)."""
        wait = inf if timeout is None else seconds("timeout", timeout)
        self._enter(now)
        self._busy = True
        try:
            if self._items == 0:
                return None
            if self._phase is CLOSED:
                raise QueueClosedError(
                    f"the queue was closed with {self._items} items left in it: nobody will work"
                    " them off; available_items() shows them"
                )
            if wait <= 0:
                raise _too_late("join", None, timeout)
            waiter = self._wait("join", self._joiners, None, timeout, wait, now)
            self._ending = True
            return waiter
        finally:
            self._busy = False

    def shutdown(self, now: float) -> None:
        """Shutdown: no more puts; calls end as soon as nothing can come to them. O(calls)."""
        self._enter(now)
        self._busy = True
        try:
            self._shut(now)
        finally:
            self._busy = False

    def drain(self, timeout: object, now: float) -> Waiter | bool:
        """Drain: shut down, and close as soon as what is not delayed is worked off. O(calls)."""
        wait = inf if timeout is None else seconds("timeout", timeout)
        self._enter(now)
        self._busy = True
        try:
            if self._phase is CLOSED:
                return self._items == 0
            self._shut(now)
            if self._drained():
                self._close(now)
                return True
            if wait <= 0:
                self._close(now)
                return False
            return self._wait("drain", self._joiners, None, timeout, wait, now)
        finally:
            self._busy = False

    def close(self, now: float) -> None:
        """Close: every call, lease and delay ends; the oldest grant comes out in front.

        O(n log n) for n calls, leases and delays.
        """
        self._enter(now)
        self._busy = True
        try:
            if self._phase is not CLOSED:
                self._close(now)
        finally:
            self._busy = False

    def _shut(self, now: float) -> None:
        if self._phase is not OPEN:
            return
        self._phase = SHUT
        if self.outbox.events is not None:
            self._tell("shutdown", now)
        for waiter in [*self._putters]:
            self._wake(waiter, ENDED)
        self._revoke_slots()
        for waiter in [*self._waiters.values()]:
            if waiter.entry is not None and waiter.entry.state is ABSENT:
                self._wake(waiter, ENDED)
        self._conclude(now)

    def _revoke_slots(self) -> None:
        self._items -= len(self._slots)
        for waiter in self._slots.values():
            waiter.outcome = ENDED
        self._slots.clear()

    def _close(self, now: float) -> None:
        drained = DONE if self._drained() else ENDED
        for waiter in [*self._waiters.values()]:
            self._wake(waiter, drained if waiter.kind == "drain" else ENDED)
        self._revoke_slots()
        self._phase = CLOSED
        if self.outbox.events is not None:
            self._tell("close", now)
        for grant in [*reversed(self._grants.values())]:
            if grant.waiter is not None:
                grant.waiter.outcome = ENDED
                grant.waiter.grant = None
            self._return(grant, RELEASED, FRONT, 0.0, now)
        for deadline in sorted(self._deadlines, key=Deadline.key):
            if isinstance(deadline.owner, Entry):
                self._ripen(deadline.owner, now)
        self._deadlines.clear()
        self._waits.clear()
        self._ending = False

    def _drained(self) -> bool:
        """Whether nothing is in the line, in flight or deferred."""
        line = self._returned.first is not None or self._arrived.first is not None
        return not line and not self._grants

    def _conclude(self, now: float, entry: Entry | None = None) -> None:
        """After a change: end the calls that wait for the end, or to which nothing can come.

        ``entry``: the key that may have lost its last value.
        """
        calls: Iterable[Waiter] = ()
        if self._items == 0:
            calls = [*self._waiters.values()]
        elif self._phase is SHUT and entry is not None and entry.state is ABSENT:
            calls = [*(entry.takers or ())]
        for waiter in calls:
            if waiter.kind == "join":
                self._wake(waiter, DONE)
            elif self._phase is SHUT and waiter.kind != "drain":
                self._wake(waiter, ENDED)
        if self._phase is SHUT and self._joiners.first is not None and self._drained():
            if any(waiter.kind == "drain" for waiter in self._joiners):
                self._close(now)
        self._ending = self._phase is SHUT or self._joiners.first is not None

    # -- introspection: works on a closed queue --------------------------------

    def peek(self, key: object, now: float) -> object:
        """The available value of the key, or None. O(1)."""
        entry = self._available(key, now)
        return None if entry is None else entry.value

    def contains(self, key: object, now: float) -> bool:
        """Whether a copy of the key is available. O(1)."""
        return self._available(key, now) is not None

    def available_keys(self, now: float) -> set[Any]:
        """The keys that have an available copy. O(result)."""
        return self._distinct([entry.key for entry in self._line(now)])

    def available_items(self, now: float) -> list[tuple[Any, Any]]:
        """The line, front first. O(result)."""
        return [(entry.key, entry.value) for entry in self._line(now)]

    def delayed_keys(self, now: float) -> set[Any]:
        """The keys whose waiting copy is delayed. O(delays and timed leases)."""
        self.reap(now)
        owners = [deadline.owner for deadline in self._deadlines]
        held = [owner for owner in owners if isinstance(owner, Entry)]
        return self._distinct([entry.key for entry in held if entry.state is not DEFERRED])

    def inflight_keys(self, now: float) -> set[Any]:
        """The keys that have a live lease, or a reserved copy. O(leases)."""
        self.reap(now)
        return self._distinct([grant.entry.key for grant in self._grants.values()])

    def qsize(self, now: float) -> int:
        """How many copies are available. O(1)."""
        self.reap(now)
        return self._items - len(self._grants) - len(self._slots) - self._late

    def delayed_size(self, now: float) -> int:
        """How many copies are delayed. O(1)."""
        self.reap(now)
        return self._late

    def inflight_size(self, now: float) -> int:
        """How many copies are leased or reserved. O(1)."""
        self.reap(now)
        return len(self._grants)

    def snapshot(self, now: float) -> Snapshot:
        """The whole state, in the words of the specification. O(n)."""
        self.reap(now)
        entries = [*self._keys]
        delayed = [_held(one) for one in entries if one.state in (DELAYED, BUFFERED_DELAYED)]
        deferred = [_held(one) for one in entries if one.state is DEFERRED]
        return Snapshot(
            phase=self._phase.value,
            puts=self._version,
            returned=tuple(_copy(entry) for entry in self._returned),
            arrived=tuple(_copy(entry) for entry in self._arrived),
            delayed=tuple(sorted(delayed, key=Held.order)),
            deferred=tuple(sorted(deferred, key=Held.order)),
            flight=tuple(_flight(grant) for grant in self._grants.values()),
            waiting=tuple(_wait(waiter) for waiter in self._waiters.values()),
            slots=tuple(sorted(self._slots)),
        )

    def check_invariants(self) -> None:
        """Assert I1 to I10, and show the state when one fails. O(n), for tests."""
        try:
            for part in (self._returned, self._arrived, self._getters, self._putters):
                part.check_invariants()
            self._joiners.check_invariants()
            self._deadlines.check_invariants()
            self._waits.check_invariants()
            self._check_keys()
            self._check_calls()
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self!r}") from error

    def _check_keys(self) -> None:
        """I1 to I5, and what I8 and I9 say of them."""
        line = [*self._returned, *self._arrived]
        flight: list[Grant] = []
        waiting = 0
        for entry in self._keys:
            chain = [*entry.grants()]
            flight += chain
            state = entry.state
            assert state is not ABSENT or entry.newest == 0 or entry.value is None, "I1"
            assert (state in (AVAILABLE, BUFFERED)) == any(entry is one for one in line), "I2"
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
            late = state in (DELAYED, BUFFERED_DELAYED)
            assert late <= (entry.time is not None) <= (late or state is DEFERRED), "I5"
            if entry.time is not None:
                assert entry.time.owner is entry and entry.time.list is not None, "I5"
                assert entry.time.number == entry.version, "I5"
        assert len(line) + self._late == waiting, "I2"
        assert {id(grant) for grant in flight} == {id(g) for g in self._grants.values()}, "I3"
        assert [*self._grants] == sorted(self._grants), "I3"
        assert self._items == waiting + len(flight) + len(self._slots) <= self._maxsize, "I8"
        for number, grant in self._grants.items():
            assert grant.number == number and grant.standing is LIVE, "I3"
            deadline = grant.deadline
            timed = grant.waiter is None and (deadline is not None)
            assert (deadline is not None) == timed, "I5"
            if deadline is not None:
                assert deadline.owner is grant and deadline.list is not None, "I5"
        owners = sum(entry.time is not None for entry in self._keys)
        owners += sum(grant.deadline is not None for grant in self._grants.values())
        assert owners == sum(1 for _ in self._deadlines), "I5"
        if self._phase is CLOSED:
            assert not self._grants and not owners and not self._waiters, "I9"
            assert not [*self._waits] and not self._late, "I9"

    def _check_calls(self) -> None:
        """I6, I7, I9 and I10. A call that is cancelled may stay until it is met or cleared away."""
        lists = [self._getters, self._putters, self._joiners]
        lists += [entry.takers for entry in self._keys if entry.takers is not None]
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
            assert waiter.outcome is WAITING and waiter.grant is None, "I7"
            assert (entry is None) == (waiter.kind != "take"), "I7"
            assert gone or waiter.kind != "get" or empty, "I6"
            assert gone or entry is None or entry.list is None, "I6"
            assert gone or waiter.kind != "put" or self._items >= self._maxsize, "I6"
            assert waiter.kind != "join" or self._items > 0, "I6"
            if self._phase is SHUT:
                assert waiter.kind != "put", "I9"
                assert entry is None or entry.state is not ABSENT, "I9"
                assert waiter.kind == "drain" or self._items > 0, "I9"
        for grant in self._grants.values():
            if grant.waiter is not None:
                assert grant.waiter.outcome is RESERVED and grant.waiter.grant is grant, "I7"
        for ticket, waiter in self._slots.items():
            assert waiter.ticket == ticket and waiter.outcome is RESERVED, "I7"
        timed = {id(w.deadline) for w in waiting.values() if w.deadline is not None}
        assert timed == {id(deadline) for deadline in self._waits}, "I7"
        soonest = min((d.time for d in (*self._deadlines, *self._waits)), default=inf)
        assert self.outbox.alarm <= (soonest if waiting else inf), "I10"
        assert waiting or self.outbox.alarm == inf, "I10"

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

    # -- how it is done --------------------------------------------------------

    def _begin(self, now: float, puts: bool = False) -> None:
        """What an operation does first, unless it sees at once that there is nothing to do."""
        self._enter(now)
        if self._phase is CLOSED:
            raise QueueClosedError(
                "the queue is closed: only the introspection methods still answer"
            )
        if self._phase is SHUT and puts:
            raise QueueClosedError(
                "the queue is shut down: it takes no more puts, and works off what it holds"
            )

    def _enter(self, now: float) -> None:
        """Nothing else is under way, and what is due is carried out."""
        if self._busy:
            raise RuntimeError(
                "the queue was called from within one of its own operations, by a key's __hash__"
                " or __eq__ or by a finalizer: it changed nothing; call it when that is over"
            )
        if now >= self._deadlines.soonest:
            self._busy = True
            try:
                self._reap(now)
            finally:
                self._busy = False

    def _tell(
        self,
        action: str,
        now: float,
        key: object = None,
        version: int | None = None,
        number: int | None = None,
        ticket: int | None = None,
        detail: object = None,
    ) -> None:
        assert self.outbox.events is not None
        self.outbox.events.append(Event(action, now, key, version, number, ticket, detail))

    def _drop(self, value: object) -> None:
        """Let a value go when the operation is over: its finalizer is the user's code."""
        self.outbox.dropped.append(value)
        self.outbox.changed = True

    def _move(self, entry: Entry, state: State, place: Place, now: float) -> None:
        """Put a key into its next state, and its waiting value where that has it.

        A copy that becomes available is handed over to the call that has waited longest among
        those that want it, or takes its place in the line.
        """
        was, entry.state = entry.state, state
        if was is DELAYED or was is BUFFERED_DELAYED:
            self._late -= 1
            place = BACK
        if state is AVAILABLE or state is BUFFERED:
            if entry.list is None:
                waiter = self._claimant(entry) if self._waiters else None
                if waiter is not None:
                    self._hand_over(entry, waiter, now)
                elif place is BACK:
                    self._arrived.link_last(entry)
                elif place is END:
                    self._returned.link_last(entry)
                else:
                    self._returned.link_first(entry)
        elif state is DELAYED or state is BUFFERED_DELAYED:
            self._late += 1

    def _set_time(self, entry: Entry, delay: float, now: float) -> None:
        """Give the waiting value now + delay, or its own time if that is earlier.

        To be called before the key moves: its state tells whether a value waited before.
        """
        due = now + delay if delay > 0 else -inf
        time = entry.time
        if entry.state is not ABSENT and entry.state is not LEASED:
            if time is None:
                return  # its time had come
            if due >= time.time:
                time.number = entry.version
                return
            self._unset_time(entry)
        if due > now:
            entry.time = time = Deadline(entry, VALUES, entry.version)
            self._deadlines.add(time, delay, now)
            self._reckon()

    def _unset_time(self, entry: Entry) -> None:
        time, entry.time = entry.time, None
        if time is not None:
            time.owner = None
            if time.list is not None:  # it is not, while a reap carries it out
                self._deadlines.remove(time)

    def _start_clock(self, grant: Grant, duration: float, now: float) -> None:
        if duration != inf:
            grant.deadline = deadline = Deadline(grant, LEASES, grant.number)
            self._deadlines.add(deadline, duration, now)
            self._reckon()

    def _stop_clock(self, grant: Grant) -> None:
        deadline, grant.deadline = grant.deadline, None
        if deadline is not None:
            deadline.owner = None
            if deadline.list is not None:
                self._deadlines.remove(deadline)

    def _grant(self, entry: Entry, duration: float) -> Grant:
        """Turn the waiting copy of a key, which is out of the line, into one in flight."""
        entry.state = TABLE[entry.state]["grant"].next
        self._number = number = self._number + 1
        grant = self._grants[number] = Grant.__new__(Grant)
        grant.number = number
        grant.issuer = self._issuer
        grant.entry = entry
        grant.value, entry.value = entry.value, None
        grant.version = entry.version
        grant.attempts = entry.attempts
        grant.duration = duration
        grant.deadline = grant.waiter = None
        grant.standing = LIVE
        entry.admit(grant)
        return grant

    def _deliver(
        self, grant: Grant, now: float, action: str, ticket: int | None = None
    ) -> Delivery:
        """The consumer has the lease, and the value as it stands: its clock starts."""
        grant.attempts = grant.attempt = grant.attempts + 1
        grant.seen = grant.version
        if grant.duration != inf:
            self._start_clock(grant, grant.duration, now)
        key = grant.entry.key
        if self.outbox.events is not None:
            self._tell(action, now, key, grant.version, grant.number, ticket, grant.duration)
        return key, grant.value, lease_of(grant)

    def _end(self, grant: Grant, standing: Standing) -> object:
        """A copy is no longer in flight. Returns its value."""
        del self._grants[grant.number]
        if grant.deadline is not None:
            self._stop_clock(grant)
        grant.entry.dismiss(grant)
        grant.waiter = None
        grant.standing = standing
        value, grant.value = grant.value, None
        return value

    def _return(
        self, grant: Grant, standing: Standing, place: Place, delay: float, now: float
    ) -> None:
        """A copy in flight comes back, by the "return" moves of `TABLE`."""
        entry = grant.entry
        last = entry.leases is grant and grant.older is None
        effect, next_, later = TABLE[entry.state]["return last" if last else "return"]
        value = self._end(grant, standing)
        if effect is RETURN or entry.version < grant.version:
            value, entry.value = entry.value, value
            entry.version, entry.attempts = grant.version, grant.attempts
        if value is not None:
            self._drop(value)
        if delay > 0 or entry.time is not None:
            self._set_time(entry, delay, now)
        self._move(entry, next_ if entry.time is None else later, place, now)
        if effect is MERGE:
            self._free_slot()

    def _look_up(self, lease: object, now: float) -> Grant:
        """The live lease that somebody asks about."""
        self._begin(now)
        self._busy = True
        try:
            return self._live(lease)
        finally:
            self._busy = False

    def _live(self, lease: object) -> Grant:
        """The live lease that the caller holds, or the reason why there is none."""
        held = leased(lease)
        grant: Grant | None = held._grant
        if grant is None:
            return self._rebuilt(held)
        if grant.issuer is not self._issuer:
            raise InvalidLeaseError(f"{text(held)} is another queue's: use it there")
        if grant.standing is LIVE:
            return grant
        if grant.standing is ACKED:
            raise LeaseAlreadyAcknowledgedError(
                f"{text(held)} was acknowledged already: there is nothing left to do"
            )
        if grant.standing is EXPIRED:
            raise LeaseExpiredError(
                f"{text(held)} ran out before this call: its item went back to the queue and may"
                " be with another consumer; discard the work, or make it safe to repeat"
            )
        raise InvalidLeaseError(f"{text(held)} was released already: get or take its item anew")

    def _rebuilt(self, lease: Lease[Any]) -> Grant:
        """The live lease that a rebuilt one stands for."""
        number = self._issuer.number(lease.token)
        grant = None if number is None else self._grants.get(number)
        if grant is None or grant.waiter is not None:
            raise InvalidLeaseError(
                f"{text(lease)} is not live in this queue: it has ended, or was never granted here"
            )
        if not self._keys.same(grant.entry.key, lease.key):
            raise InvalidLeaseError(
                f"{text(lease)} names another key than the one its token was granted for"
            )
        return grant

    def _available(self, key: object, now: float) -> Entry | None:
        self.reap(now)
        self._busy = True
        try:
            entry = self._keys.find(key)
        finally:
            self._busy = False
        return entry if entry is not None and entry.list is not None else None

    def _line(self, now: float) -> list[Entry]:
        self.reap(now)
        return [*self._returned, *self._arrived]

    def _distinct(self, keys: list[object]) -> set[Any]:
        self._busy = True
        try:
            return self._keys.distinct(keys)
        finally:
            self._busy = False

    # -- calls that wait, from within ------------------------------------------

    def _claimant(self, entry: Entry) -> Waiter | None:
        """The call that has waited longest among those that want a copy of the key."""
        getter = self._longest_waiting(self._getters)
        if entry.takers is None:
            return getter
        taker = self._longest_waiting(entry.takers)
        if getter is None or (taker is not None and taker.ticket < getter.ticket):
            return taker
        return getter

    def _longest_waiting(self, calls: LinkedList) -> Waiter | None:
        waiter: Waiter | None = calls.first
        while waiter is not None and waiter.caller.cancelled():
            self._dismiss(waiter)
            waiter = calls.first
        return waiter

    def _hand_over(self, entry: Entry, waiter: Waiter, now: float) -> None:
        """Give a copy to a call that waits: it is reserved until the call resumes."""
        waiter.grant = grant = self._grant(entry, waiter.duration)
        grant.waiter = waiter
        self._wake(waiter, RESERVED)
        if self.outbox.events is not None:
            self._tell("reserve", now, entry.key, grant.version, grant.number, waiter.ticket)

    def _wake(self, waiter: Waiter, outcome: Outcome) -> None:
        """The wait of a call is over."""
        self._dismiss(waiter)
        waiter.outcome = outcome
        self.outbox.woken.append(waiter)
        self.outbox.changed = True

    def _dismiss(self, waiter: Waiter) -> None:
        """Take a call out of the waiting ones."""
        calls = waiter.list
        assert calls is not None
        calls.unlink(waiter)
        if waiter.entry is not None and calls.first is None:
            waiter.entry.takers = None
        del self._waiters[waiter.ticket]
        deadline, waiter.deadline = waiter.deadline, None
        if deadline is not None:
            deadline.owner = None
            if deadline.list is not None:
                self._waits.remove(deadline)
        waiter.outcome = LEFT
        if not self._waiters:
            self._reckon()

    def _free_slot(self) -> None:
        """There is one item less: its slot goes to the put that has waited longest."""
        self._items -= 1
        if self._putters.first is not None:
            self._offer_slots()

    def _offer_slots(self) -> None:
        while self._items < self._maxsize:
            waiter = self._longest_waiting(self._putters)
            if waiter is None:
                return
            self._items += 1
            self._slots[waiter.ticket] = waiter
            self._wake(waiter, RESERVED)

    def _tidy(self, waiter: Waiter) -> None:
        """Forget the key of a take that has left, if it was known for that only."""
        entry = waiter.entry
        if entry is not None and entry.state is ABSENT and entry.takers is None:
            if self._keys.find(entry.key) is entry:
                self._keys.remove(entry)

    def _reckon(self) -> None:
        """Bring the alarm up to date. It may stay too early, but never too late.

        So a deadline that moves away costs nothing: the shell's timer finds nothing due, once, and
        is armed anew.
        """
        soonest = inf
        if self._waiters:
            soonest = min(self._deadlines.next(), self._waits.next())
        if soonest < self.outbox.alarm or soonest == inf != self.outbox.alarm:
            self.outbox.alarm = soonest
            self.outbox.changed = True

    def __del__(self) -> None:
        """Undo the links: they are reference cycles, and the collector may be off."""
        for grant in self._grants.values():
            if grant.waiter is not None:
                grant.waiter.grant = None
            grant.waiter = grant.older = None
            grant.deadline = None
        for waiter in [*self._waiters.values(), *self._slots.values()]:
            waiter.outcome = LEFT  # its coroutine may yet be closed
            waiter.deadline = None
        for entry in self._keys:
            entry.leases = entry.time = None
            if entry.takers is not None:
                entry.takers.clear()
                entry.takers = None
        for calls in (self._returned, self._arrived, self._getters, self._putters, self._joiners):
            calls.clear()
        self._deadlines.clear()
        self._waits.clear()


def _too_late(kind: str, key: object, timeout: object) -> Exception:
    """What a call raises that would not wait, or no longer."""
    if timeout is NOWAIT:
        return WouldWait()
    what = {
        "get": "nothing became available",
        "take": f"no copy of key {text(key)} became available",
        "put": f"the queue is full, and no slot for key {text(key)} became free",
        "join": "the queue was not worked off",
    }[kind]
    return TimeoutError(f"{what} within {timeout} s")


def _nothing_comes(what: str) -> QueueClosedError:
    return QueueClosedError(f"the queue was shut down, and nothing {what} can come to this call")


def _copy(entry: Entry) -> Copy:
    return Copy(entry.key, entry.value, entry.version, entry.attempts)


def _held(entry: Entry) -> Held:
    return Held(*_copy(entry), -inf if entry.time is None else entry.time.time)


def _flight(grant: Grant) -> Flight:
    return Flight(
        grant.number,
        grant.entry.key,
        grant.value,
        grant.version,
        grant.attempts,
        None if grant.waiter is None else grant.waiter.ticket,
        inf if grant.deadline is None else grant.deadline.time,
    )


def _wait(waiter: Waiter) -> Wait:
    until = inf if waiter.deadline is None else waiter.deadline.time
    return Wait(waiter.ticket, waiter.kind, waiter.key, until)
