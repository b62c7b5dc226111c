"""The machine: it decides everything, and it does nothing else.

No file of it knows asyncio or reads a clock. An operation is a synchronous call that is given
``now`` and either happens whole or raises and changes nothing, but that what was due by then is
carried out; it bears the name of its action in ``spec/leasedkeyq.tla``. Each has one shape:
validate, enter (nothing else is under way, what is due is carried out, the queue is open), look
up, change, tell. What came of it for others is in the `Outbox`.
"""

from __future__ import annotations

from math import inf
from typing import Any

from ._checks import AT_ONCE, delay_seconds, lease_seconds, put_event, seconds, text
from ._inspection import Inspection
from ._records import (
    ACKED,
    BACK,
    CLOSED,
    COME,
    DONE,
    FRONT,
    LEFT,
    OPEN,
    RELEASED,
    RESERVED,
    RESUMED,
    SHUT,
    TIMED_OUT,
    WAITING,
    Limit,
    Takers,
    Waiter,
)
from ._table import ABSENT, DISCARD, DROP, ON_ACK, ON_ACK_LAST, ON_DISCARD, POLICIES, Move
from ._waiting import too_late
from .errors import (
    QueueClosedError,
)
from .lease import Delivery


class Machine(Inspection):
    """The queue without the waiting. Every operation is atomic.

    ``now`` is the time, in seconds, on a clock that does not go back. Nothing but ages depends on
    it while ``deadlines.soonest`` is infinity, unless the operation sets a deadline; an earlier
    time will do then.
    """

    __slots__ = ()

    # -- producers ---------------------------------------------------------------

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
        self._enter(now, OPEN)
        try:
            if self._store(key, value, event, pause, now):
                return None
            if wait <= 0:
                raise too_late("put", key, timeout, wait)
            waiter = self._begin_to_wait(
                "put", self._putters, key, wait, now, (POLICIES[event], pause)
            )
            waiter.put = value, event, pause
            return waiter
        finally:
            self._busy = False

    def discard(self, key: object, now: float) -> bool:
        """Discard: what waits of the key is gone; False if there was nothing. O(1)."""
        self._enter(now, SHUT)
        try:
            entry = self._keys.find(key)
            if entry is None:
                return False
            move: Move | None = entry.state.moves[ON_DISCARD]
            if move is None:
                return False
            state = move.next
            if state is ABSENT and entry.takers is None:
                self._keys.remove(entry)  # runs the key's own code: before any change
            if self.outbox.events is not None:
                self._tell("discard", now, key, entry.version)
            self._discards += 1
            if entry.state.lined:
                self._leave_line(entry)
            else:
                self._unset_time(entry)
            self._drop(entry.value)
            entry.value = None
            if move.effect is DISCARD:
                self._free_slot(now)
            self._move(entry, state, BACK, now)
            if self._end_matters:
                self._conclude(now, entry)
            return True
        finally:
            self._busy = False

    # -- consumers ---------------------------------------------------------------

    def get(
        self, timeout: object, lease_timeout: object, now: float
    ) -> Delivery[Any, Any] | Waiter:
        """Get: lease the copy at the front of the line, or wait for one. O(1)."""
        wait = inf if timeout is None else seconds("timeout", timeout)
        duration = self._default
        if lease_timeout is not None:
            duration = lease_seconds("lease_timeout", lease_timeout)
        self._enter(now, SHUT)
        try:
            line = self._returned if self._returned.first is not None else self._arrived
            entry = line.first
            if entry is not None:
                line.unlink(entry)
                return self._deliver(self._grant(entry, duration), now, "get")
            if self._phase is SHUT and self._items == 0:
                raise _nothing_comes("more")
            if wait <= 0:
                raise too_late("get", None, timeout, wait)
            waiter = self._begin_to_wait("get", self._getters, None, wait, now, duration)
            waiter.duration = duration
            return waiter
        finally:
            self._busy = False

    def take(
        self, key: object, timeout: object, lease_timeout: object, now: float
    ) -> Delivery[Any, Any] | Waiter:
        """Take: lease the available copy of the key, or wait for one. O(1)."""
        wait = inf if timeout is None else seconds("timeout", timeout)
        duration = self._default
        if lease_timeout is not None:
            duration = lease_seconds("lease_timeout", lease_timeout)
        self._enter(now, SHUT)
        try:
            entry = self._keys.find(key)
            if entry is not None and entry.state.lined:
                self._leave_line(entry)
                return self._deliver(self._grant(entry, duration), now, "take")
            if self._phase is SHUT and (entry is None or entry.state is ABSENT):
                raise _nothing_comes(f"of key {text(key)}")
            if wait <= 0:
                raise too_late("take", key, timeout, wait)
            if entry is None:
                entry = self._keys.add(key)  # only to wait on
            if entry.takers is None:
                entry.takers = Takers()
            entry.takers.count += 1
            waiter = self._begin_to_wait("take", entry.takers, key, wait, now, duration)
            waiter.duration = duration
            waiter.entry = entry
            return waiter
        finally:
            self._busy = False

    # -- calls that wait ---------------------------------------------------------

    def resume(self, waiter: Waiter, now: float) -> Delivery[Any, Any] | bool | None:
        """Resume: a call whose wait is over returns what it has come to, or raises. O(1)."""
        self._enter(now)
        try:
            outcome = waiter.outcome
            if outcome is WAITING or outcome is LEFT or outcome is RESUMED:
                raise RuntimeError(f"the call has nothing to resume with: {outcome.name}")
            grant, waiter.grant = waiter.grant, None
            waiter.outcome = RESUMED
            self._tidy(waiter)
            if grant is not None:
                grant.waiter = None
                self._undelivered -= 1
                return self._deliver(grant, now, "resume", waiter.ticket)
            if self.outbox.events is not None:
                self._tell("resume", now, waiter.key, ticket=waiter.ticket, detail=outcome.name)
            if outcome is RESERVED:
                self._resume_put(waiter, now)
                return None
            if outcome is TIMED_OUT:
                self._timeouts += 1
            if waiter.kind == "drain":
                return outcome is DONE
            if outcome is DONE:
                return None
            if outcome is TIMED_OUT:
                raise too_late(waiter.kind, waiter.key, None, waiter.timeout)
            end = "closed" if self._phase is CLOSED else "shut down"
            raise QueueClosedError(f"the queue was {end} while the call waited")
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
            self._offer_slots(now)
            if self._end_matters:
                self._conclude(now)

    def cancel(self, waiter: Waiter, now: float) -> None:
        """Cancel: a call that waits, or has something reserved, leaves nothing behind. O(1).

        One that has resumed has done so already. While another operation is under way the call is
        put aside, in the outbox.
        """
        if waiter.outcome is RESUMED:
            return
        if self._busy:
            self.outbox.left.append(waiter)
            self.outbox.changed = True
            return
        self._enter(-inf)
        try:
            grant, waiter.grant = waiter.grant, None
            outcome, waiter.outcome = waiter.outcome, LEFT
            if outcome is WAITING:
                self._dismiss(waiter)
            if self.outbox.events is not None:
                how = outcome.name
                self._tell("cancel", now, waiter.key, ticket=waiter.ticket, detail=how)
            if now >= self.deadlines.soonest:
                self._reap(now)
            if grant is not None:
                self._recalls += 1
                self._return(grant, RELEASED, FRONT, 0.0, now)
            elif outcome is RESERVED:
                del self._slots[waiter.ticket]
                self._free_slot(now)
            if self._end_matters:
                self._conclude(now)
            self._tidy(waiter)
        finally:
            self._busy = False

    def time_out(self, now: float) -> None:
        """TimeOut: reap, and end the waits that are due. The shell's timer calls it."""
        self._enter(now)
        try:
            if self.outbox.events is not None:
                self._tell("time_out", now)
            closes = False
            for deadline in self._waits.due(now):
                assert isinstance(deadline, Limit)
                waiter = deadline.waiter
                if waiter.kind == "drain" and waiter.caller.cancelled():
                    self._pass_over(waiter, now)
                    continue
                closes = closes or waiter.kind == "drain"
                self._wake(waiter, TIMED_OUT)
            if closes:
                self._close(now, "end")
            self.outbox.alarm = inf
            self.outbox.changed = True
            self._reckon()
        finally:
            self._busy = False

    # -- leases ------------------------------------------------------------------

    def ack(self, lease: object, now: float) -> None:
        """Ack: the leased copy is gone for good. O(1)."""
        self._enter(now, SHUT)
        try:
            grant = self._live(lease)
            entry = grant.entry
            last = entry.chain is grant and grant.older is None
            move = entry.state.moves[ON_ACK_LAST if last else ON_ACK]
            state = move.next if entry.time == COME else move.later
            if state is ABSENT and entry.takers is None:
                self._keys.remove(entry)  # runs the key's own code: before any change
            if self.outbox.events is not None:
                self._tell("ack", now, entry.key, grant.version, grant.number)
            value = self._leave_flight(grant, ACKED)  # let go when nothing is under way
            if move.effect is DROP:
                entry.state = state
                self._free_slot(now)
            else:
                self._move(entry, state, BACK, now)
            if self._end_matters:
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
        self._enter(now, SHUT)
        try:
            grant = self._live(lease)
            if self.outbox.events is not None:
                how = (place is FRONT, pause)
                self._tell("release", now, grant.entry.key, grant.version, grant.number, detail=how)
            self._releases += 1
            self._return(grant, RELEASED, place, pause, now)
            if self._end_matters:
                self._conclude(now)
        finally:
            self._busy = False

    def extend(self, lease: object, timeout: object, now: float) -> None:
        """Extend: restart the lease's clock. O(1)."""
        duration = None if timeout is None else lease_seconds("timeout", timeout)
        self._enter(now, SHUT)
        try:
            grant = self._live(lease)
            self._set_clock(grant, grant.duration if duration is None else duration, now)
            if self.outbox.events is not None:
                self._tell("extend", now, grant.entry.key, None, grant.number, detail=duration)
        finally:
            self._busy = False

    def refresh(self, lease: object, now: float) -> object:
        """Refresh: the value of the leased copy as it stands has been seen. O(1)."""
        self._enter(now, SHUT)
        try:
            grant = self._live(lease)
            grant.seen = grant.version
            if self.outbox.events is not None:
                self._tell("refresh", now, grant.entry.key, grant.version, grant.number)
            return grant.value
        finally:
            self._busy = False

    # -- the whole queue ---------------------------------------------------------

    def start(self, now: float) -> None:
        """Nothing to start: the check that the queue is not closed."""
        self._enter(now, SHUT)
        self._busy = False

    def join(self, timeout: object, now: float) -> Waiter | None:
        """Join: wait until the queue holds nothing. O(1)."""
        wait = inf if timeout is None else seconds("timeout", timeout)
        self._enter(now)
        try:
            if self._items == 0:
                return None
            if self._phase is CLOSED:
                raise QueueClosedError(
                    f"the queue was closed with {self._items} items left in it: nobody will work"
                    " them off; available_items() shows them"
                )
            if wait <= 0:
                raise too_late("join", None, timeout, wait)
            waiter = self._begin_to_wait("join", self._joiners, None, wait, now)
            self._end_matters = True
            return waiter
        finally:
            self._busy = False

    def shutdown(self, now: float) -> None:
        """Shutdown: no more puts; calls end as soon as nothing can come to them. O(calls)."""
        self._enter(now)
        try:
            self._shut(now, "shutdown")
        finally:
            self._busy = False

    def drain(self, timeout: object, now: float) -> Waiter | bool:
        """Drain: shut down, and close as soon as what is not delayed is worked off. O(calls)."""
        wait = inf if timeout is None else seconds("timeout", timeout)
        self._enter(now)
        try:
            if self._phase is CLOSED:
                return self._items == 0
            if not self._drained() and wait > 0:
                waiter = self._begin_to_wait("drain", self._joiners, None, wait, now)
                self._shut(now, "shut")
                return waiter
            drained = self._drained()
            if self.outbox.events is not None:
                self._tell("drain", now, detail=(wait, drained))
            self._shut(now, "shut")
            self._close(now, "end")
            return drained
        finally:
            self._busy = False

    def close(self, now: float) -> None:
        """Close: every call, lease and delay ends; the oldest grant comes out in front.

        O(n log n) for n calls, leases and delays.
        """
        self._enter(now)
        try:
            if self._phase is not CLOSED:
                self._close(now, "close")
        finally:
            self._busy = False


def _nothing_comes(what: str) -> QueueClosedError:
    return QueueClosedError(f"the queue was shut down, and nothing {what} can come to this call")
