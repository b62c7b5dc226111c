"""How far the queue has come: what is due at ``now``, whether it is open, and its end.

Every operation begins with `Phases._enter`; one that may have taken the last of something ends with
`Phases._conclude`.
"""

from __future__ import annotations

from collections.abc import Iterable

from ._deadlines import in_order
from ._moves import Moves
from ._records import (
    CLOSED,
    COME,
    DONE,
    END,
    ENDED,
    EXPIRED,
    FRONT,
    LEFT,
    OPEN,
    RELEASED,
    SHUT,
    Entry,
    Grant,
    Phase,
    Waiter,
)
from ._table import ABSENT
from .errors import QueueClosedError


class Phases(Moves):
    """What operations begin and end with. A part of `Machine`."""

    __slots__ = ()

    @property
    def busy(self) -> bool:
        """Whether an operation is under way, so that no other may begin."""
        return self._busy

    def _enter(self, now: float, allowed: Phase = CLOSED) -> None:
        """Begin an operation, which sets ``_busy`` back when it is over.

        No other is under way, what is due is carried out, and the end of the queue has come no
        further than is ``allowed``.
        """
        if self._busy:
            raise called_from_within()
        self._busy = True
        try:
            if now >= self.deadlines.soonest:
                self._reap(now)
            if self._phase is not OPEN:
                self._check_phase(allowed)
        except BaseException:
            self._busy = False
            raise

    def _check_phase(self, allowed: Phase) -> None:
        if self._phase is CLOSED and allowed is not CLOSED:
            raise QueueClosedError(
                "the queue is closed: only the introspection methods still answer"
            )
        if self._phase is SHUT and allowed is OPEN:
            raise QueueClosedError(
                "the queue is shut down: it takes no more puts, and works off what it holds"
            )

    def _reap(self, now: float) -> None:
        for deadline in self.deadlines.due(now):
            due = deadline.time
            if isinstance(deadline, Grant):
                entry = deadline.entry
                if self.outbox.events is not None:
                    self._tell("expire", now, entry.key, deadline.version, deadline.number)
                self._expiries += 1
                self._return(deadline, EXPIRED, END, 0.0, now)
            else:
                assert isinstance(deadline, Entry)
                if due == COME:
                    continue  # a lease that was due before has brought the value into the line
                entry = deadline
                self._ripen(entry, now)
            if entry.state.lined and entry.since > due:
                entry.since = due  # whenever it is that somebody looks
        self._reckon()
        if self._end_matters:
            self._conclude(now)

    # -- the end -----------------------------------------------------------------

    def _shut(self, now: float, action: str) -> None:
        if self._phase is not OPEN:
            return
        self._phase = SHUT
        if self.outbox.events is not None:
            self._tell(action, now)
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

    def _close(self, now: float, action: str) -> None:
        if self.outbox.events is not None:
            self._tell(action, now)
        drained = DONE if self._drained() else ENDED
        self._revoke_slots()
        joined = DONE if self._items == 0 else ENDED
        outcomes = {"drain": drained, "join": joined}
        for waiter in [*self._waiters.values()]:
            self._wake(waiter, outcomes.get(waiter.kind, ENDED))
        self._phase = CLOSED
        self._recalls += len(self._grants)
        for grant in [*self._grants][::-1]:
            if grant.waiter is not None:
                grant.waiter.outcome = ENDED
                grant.waiter.grant = None
            self._return(grant, RELEASED, FRONT, 0.0, now)
        for entry in sorted(self.deadlines, key=in_order):  # all leases have ended
            assert isinstance(entry, Entry)
            self._ripen(entry, now)
        self.deadlines.clear()
        self._waits.clear()
        self._end_matters = False

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
        if self._joiners.first is not None and self._drained():
            for waiter in [*self._joiners]:
                if waiter.caller.cancelled():
                    self._pass_over(waiter, now)
            if [waiter for waiter in self._joiners if waiter.kind == "drain"]:
                self._close(now, "end")
        self._end_matters = self._phase is SHUT or self._joiners.first is not None

    def __del__(self) -> None:
        """Undo the links: they are reference cycles, and the collector may be off."""
        for grant in self._grants:
            if grant.waiter is not None:
                grant.waiter.grant = None
                grant.waiter.outcome = LEFT
            grant.value = grant.waiter = grant.older = None
        for waiter in [*self._waiters.values(), *self._slots.values()]:
            waiter.outcome = LEFT  # its coroutine may yet be closed
            waiter.limit = None
        for entry in self._keys:
            entry.value = entry.chain = None
            if entry.takers is not None:
                entry.takers.clear()
        for calls in (self._returned, self._arrived, self._getters, self._putters, self._joiners):
            calls.clear()
        self.deadlines.clear()
        self._waits.clear()


def called_from_within() -> RuntimeError:
    return RuntimeError(
        "the queue was called from within one of its own operations, by a key's __hash__ or __eq__,"
        " a finalizer or a signal handler: it changed nothing; call it when that is over (a handler"
        " of signal.signal must catch this, or it breaks that operation off)"
    )
