"""The state of the queue, and the moves that its operations are made of.

Each key moves by `TABLE`: effect and next state are both taken from it, and where the waiting value
of a key stands follows from its state.

Invariants, asserted by `Machine.check_invariants`:

I1  A key is known if its state is not ABSENT, or a take that waits for it has not gone on yet. One
    whose own code raised when it was to be forgotten may be left over.
I2  The line is ``_returned`` (copies that came back) and then ``_arrived``: it holds exactly the
    entries whose state is AVAILABLE or BUFFERED.
I3  ``_grants`` holds exactly the copies in flight, in the order of the grants; those of a key are
    the chain at its entry, the newest value first. A key has one if and only if its state says so.
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
I11 ``_delayed``, ``_deferred`` and ``_others`` are what one would count. No counter of what has
    been is less than zero or what is there, and neither is one that follows from the others.
"""

from __future__ import annotations

from math import inf
from typing import Any

from ._checks import bound, lease_seconds, put_event, text
from ._deadlines import Deadline
from ._keys import KeyMap
from ._records import (
    BACK,
    COME,
    END,
    LIVE,
    OPEN,
    RESERVED,
    Entry,
    Grant,
    Line,
    Place,
    Standing,
    Waiter,
    lead_to,
)
from ._table import (
    ABSENT,
    ADD,
    LEASED,
    MERGE,
    ON_GRANT,
    ON_RETURN,
    ON_RETURN_LAST,
    ON_RIPEN,
    POLICIES,
    REFUSE,
    RETURN,
    REVISE,
    State,
)
from ._tokens import Issuer
from ._waiting import Waiting
from .errors import KeyAlreadyInFlightError
from .lease import Delivery, Lease


class Moves(Waiting):
    """What the operations do to keys, values and leases. A part of `Machine`."""

    __slots__ = (
        *("_default", "_maxsize", "_event", "_phase", "_busy", "_end_matters"),
        *("_keys", "_returned", "_arrived", "_grants", "_items", "_delayed", "_deferred", "_slots"),
        *("_issuer", "_packed", "_version", "_number"),
        *("_undelivered", "_releases", "_expiries", "_recalls", "_discards", "_timeouts"),
    )

    def __init__(
        self,
        default_lease_timeout: float | None = None,
        maxsize: int = 0,
        if_in_flight: str = "update",
    ) -> None:
        super().__init__()
        self._issuer = Issuer()
        self._phase = OPEN
        self._busy = False  # an operation is under way
        self._end_matters = False  # a join waits, or the queue is shut: what ended is looked for

        self._keys = KeyMap()
        self._returned = Line()  # of copies that came back
        self._arrived = Line()
        self._items = 0
        self._delayed = 0  # how many of them are delayed
        self._deferred = 0  # values, which are no items
        self._grants: dict[Grant, None] = {}  # as a set that has an order
        self._packed = 0  # grants up to this number have no place in it, unless they are live
        self._slots: dict[int, Waiter] = {}  # puts that have a slot reserved, by ticket
        self._version = self._number = 0  # the latest that was given
        # What has been, as far as it follows from nothing else (`Inspection.stats`).
        self._undelivered = 0  # grants that did not come to be leases, or not yet
        self._releases = self._expiries = self._recalls = 0  # how they ended, if not by an ack
        self._discards = self._timeouts = 0

        self._default = inf
        if default_lease_timeout is not None:
            self._default = lease_seconds("default_lease_timeout", default_lease_timeout)
        self._maxsize = bound(maxsize)
        self._event = put_event(if_in_flight)

    # -- values and leases -------------------------------------------------------

    def _store(self, key: object, value: object, event: int, delay: float, now: float) -> bool:
        """Carry a put out, unless it needs a slot and none is free."""
        entry = self._keys.find(key)
        if entry is None:
            if self._items >= self._maxsize:
                return False
            entry = self._keys.add(key)
        move = entry.state.moves[event]
        effect = move.effect
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
            self._tell("put", now, key, version, detail=(POLICIES[event], delay))
        if effect is REVISE:
            newest = entry.chain
            assert newest is not None
            self._drop(newest.value)
            newest.value, newest.version, newest.attempts = value, version, 0
            entry.state = move.next
        else:
            if entry.value is not None:
                self._drop(entry.value)
            entry.value, entry.version, entry.attempts = value, version, 0
            if delay > 0 or entry.time != COME:
                self._set_time(entry, delay, now)
            self._move(entry, move.next if entry.time == COME else move.later, BACK, now)
        return True

    def _move(self, entry: Entry, state: State, place: Place, now: float) -> None:
        """Put a key into its next state, and its waiting value where that has it.

        A copy that becomes available is handed over to the call that has waited longest among
        those that want it, or takes its place in the line.
        """
        was, entry.state = entry.state, state
        if was.held:
            if was.delayed:
                self._delayed -= 1
                place = BACK
            else:
                self._deferred -= 1
        if state.lined:
            if entry.list is None:
                waiter = self._claimant(entry, now) if self._waiters else None
                if waiter is not None:
                    self._hand_over(entry, waiter, now)
                    return
                entry.since = now
                if place is BACK:
                    self._arrived.link_last(entry)
                elif place is END:
                    self._returned.link_last(entry)
                else:
                    self._put_in_front(entry)
        elif state.held:
            if state.delayed:
                self._delayed += 1
            else:
                self._deferred += 1

    def _leave_line(self, entry: Entry) -> None:
        line = entry.list
        assert line is not None
        line.unlink(entry)

    def _put_in_front(self, entry: Entry) -> None:
        """It counts as long as the one behind it: so the first of a list is always its oldest."""
        second = self._returned.first
        if second is not None and second.since < entry.since:
            entry.since = second.since
        self._returned.link_first(entry)

    def _grant(self, entry: Entry, duration: float) -> Grant:
        """Turn the waiting copy of a key, which is out of the line, into one in flight."""
        move = entry.state.moves[ON_GRANT]
        entry.state = move.next
        grant = Grant()
        self._grants[grant] = None
        self._number = grant.number = self._number + 1
        grant.issuer = self._issuer
        grant.prefix = self._issuer.prefix
        grant.entry = entry
        grant.value, entry.value = entry.value, None
        grant.version = entry.version
        grant.attempts = entry.attempts
        grant.duration = duration
        grant.list = grant.waiter = None
        grant.time = inf
        grant.standing = LIVE
        if entry.chain is None:
            entry.chain = grant
            grant.older = None
        else:
            entry.admit(grant)
        return grant

    def _deliver(
        self, grant: Grant, now: float, action: str, ticket: int | None = None
    ) -> Delivery[Any, Any]:
        """The consumer has the lease, and the value as it stands: its clock starts."""
        grant.attempts = grant.attempt = grant.attempts + 1
        grant.seen = grant.version
        grant.since = now
        if grant.duration != inf:
            self._set_clock(grant, grant.duration, now)
        key = grant.entry.key
        if self.outbox.events is not None:
            how = (grant.duration, grant.attempt)
            self._tell(action, now, key, grant.version, grant.number, ticket, how)
        lease: Lease[Any] = Lease.__new__(Lease)  # its fields are filled in when asked for
        lead_to(lease, grant)
        return key, grant.value, lease

    def _leave_flight(self, grant: Grant, standing: Standing) -> object:
        """A copy is no longer in flight. Returns its value."""
        del self._grants[grant]
        if grant.list is not None:
            self._unset(grant)
        entry = grant.entry
        if entry.chain is grant:
            entry.chain = grant.older
        else:
            entry.dismiss(grant)
        grant.waiter = None
        grant.standing = standing
        value, grant.value = grant.value, None
        return value

    def _return(
        self, grant: Grant, standing: Standing, place: Place, delay: float, now: float
    ) -> None:
        """A copy in flight comes back, by the "return" moves of `TABLE`."""
        entry = grant.entry
        last = entry.chain is grant and grant.older is None
        move = entry.state.moves[ON_RETURN_LAST if last else ON_RETURN]
        value = self._leave_flight(grant, standing)
        if move.effect is RETURN or entry.version < grant.version:
            value, entry.value = entry.value, value
            entry.version, entry.attempts = grant.version, grant.attempts
        if value is not None:
            self._drop(value)
        if delay > 0 or entry.time != COME:
            self._set_time(entry, delay, now)
        self._move(entry, move.next if entry.time == COME else move.later, place, now)
        if move.effect is MERGE:
            self._free_slot(now)

    # -- time --------------------------------------------------------------------

    def _set_time(self, entry: Entry, delay: float, now: float) -> None:
        """Give the waiting value now + delay, or its own time if that is earlier.

        To be called before the key moves: its state tells whether a value waited before.
        """
        due = now + delay if delay > 0 else COME
        if entry.state is not ABSENT and entry.state is not LEASED:
            if due >= entry.time:
                return
            self._unset_time(entry)
        if due > now:
            self._set(entry, delay, now)

    def _unset_time(self, entry: Entry) -> None:
        if entry.time != COME:
            entry.time = COME
            self._unset(entry)

    def _set_clock(self, grant: Grant, duration: float, now: float) -> None:
        """The lease lasts so long from now on, whatever it was to last."""
        self._unset(grant)
        grant.time = inf
        if duration != inf:
            self._set(grant, duration, now)

    def _set(self, deadline: Deadline, duration: float, now: float) -> None:
        self.deadlines.add(deadline, duration, now)
        if self._waiters:
            self._reckon()

    def _unset(self, deadline: Deadline) -> None:
        if deadline.list is not None:  # it is in none, while a reap carries it out
            self.deadlines.remove(deadline)
            if self.outbox.alarm != inf:
                self._reckon()

    def _ripen(self, entry: Entry, now: float) -> None:
        self._unset_time(entry)
        if self.outbox.events is not None:
            self._tell("ripen", now, entry.key, entry.version)
        move = entry.state.moves[ON_RIPEN]
        self._move(entry, move.next, BACK, now)

    # -- slots and calls ---------------------------------------------------------

    def _hand_over(self, entry: Entry, waiter: Waiter, now: float) -> None:
        """Give a copy to a call that waits: it is reserved until the call resumes."""
        waiter.grant = grant = self._grant(entry, waiter.duration)
        grant.waiter = waiter
        grant.since = now
        self._undelivered += 1
        self._wake(waiter, RESERVED)
        if self.outbox.events is not None:
            self._tell("reserve", now, entry.key, grant.version, grant.number, waiter.ticket)

    def _free_slot(self, now: float) -> None:
        """There is one item less: its slot goes to the put that has waited longest."""
        self._items -= 1
        if self._putters.first is not None:
            self._offer_slots(now)

    def _offer_slots(self, now: float) -> None:
        while self._items < self._maxsize:
            waiter = self._longest_waiting(self._putters, now)
            if waiter is None:
                return
            self._items += 1
            self._slots[waiter.ticket] = waiter
            self._wake(waiter, RESERVED)

    def _tidy(self, waiter: Waiter) -> None:
        """A call goes on: the key of a take is forgotten, if it was known for that only."""
        entry, waiter.entry = waiter.entry, None
        if entry is None:
            return
        takers = entry.takers
        assert takers is not None
        takers.count -= 1
        if takers.count == 0:
            entry.takers = None
            if entry.state is ABSENT:
                self._keys.forget(entry)
