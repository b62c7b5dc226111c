"""The calls that wait, in the order of their arrival, and when the next of them wants to be woken.

Nothing here knows what they wait for: that is for `_moves` to say.
"""

from __future__ import annotations

from math import inf
from typing import Final

from ._checks import text
from ._deadlines import Deadlines
from ._records import LEFT, Calls, Entry, Event, Limit, Outbox, Outcome, Waiter

NOWAIT: Final = float("-inf")  # this very object is the timeout of an operation that must not wait


class WouldWait(Exception):  # noqa: N818 (it never leaves the package)
    """An operation that must not wait has nothing to return."""


class Waiting:
    """The waiters of a queue, by kind, and its deadlines. A part of `Machine`."""

    __slots__ = (
        *("outbox", "deadlines", "_waits", "_ticket"),
        *("_waiters", "_others", "_getters", "_putters", "_joiners"),
    )

    def __init__(self) -> None:
        self.outbox = Outbox()
        self.deadlines = Deadlines()  # of leases and delays
        self._waits = Deadlines()
        self._ticket = 0  # the latest that was given
        self._waiters: dict[int, Waiter] = {}  # by ticket
        self._others = dict.fromkeys(("take", "put", "join", "drain"), 0)  # how many, gets apart
        self._getters = Calls()
        self._putters = Calls()
        self._joiners = Calls()  # joins and drains

    def _begin_to_wait(
        self,
        kind: str,
        calls: Calls,
        key: object,
        wait: float,
        now: float,
        detail: object = None,
    ) -> Waiter:
        """A call begins to wait."""
        self._ticket = ticket = self._ticket + 1
        waiter = self._waiters[ticket] = Waiter(ticket, kind, key, wait)
        calls.link_last(waiter)
        if calls is not self._getters:
            self._others[kind] += 1
        if wait != inf:
            waiter.limit = Limit(waiter)
            self._waits.add(waiter.limit, wait, now)
        if self.outbox.events is not None:
            self._tell(kind, now, key, ticket=ticket, detail=(wait, detail))
        if wait != inf or self.deadlines.soonest != inf:
            self._reckon()
        return waiter

    def _longest_waiting(self, calls: Calls, now: float) -> Waiter | None:
        waiter = calls.first
        while waiter is not None and waiter.caller.cancelled():
            self._pass_over(waiter, now)
            waiter = calls.first
        return waiter

    def _pass_over(self, waiter: Waiter, now: float) -> None:
        """A call that is being cancelled is met, and does not wait any more."""
        self._dismiss(waiter)
        if self.outbox.events is not None:
            self._tell("gone", now, waiter.key, ticket=waiter.ticket)

    def _claimant(self, entry: Entry, now: float) -> Waiter | None:
        """The call that has waited longest among those that want a copy of the key."""
        getter = self._longest_waiting(self._getters, now)
        if entry.takers is None:
            return getter
        taker = self._longest_waiting(entry.takers, now)
        if getter is None or (taker is not None and taker.ticket < getter.ticket):
            return taker
        return getter

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
        if calls is not self._getters:
            self._others[waiter.kind] -= 1
        del self._waiters[waiter.ticket]
        limit, waiter.limit = waiter.limit, None
        if limit is not None and limit.list is not None:
            self._waits.remove(limit)
        waiter.outcome = LEFT
        if self.outbox.alarm != inf:
            self._reckon()

    def _reckon(self) -> None:
        """Bring the alarm up to date. It may stay too early, but never too late.

        So a deadline that moves away costs nothing: the shell's timer finds nothing due, once, and
        is armed anew.
        """
        soonest = inf
        if self._waiters:
            soonest = min(self.deadlines.next(), self._waits.next())
        if soonest < self.outbox.alarm or soonest == inf != self.outbox.alarm:
            self.outbox.alarm = soonest
            self.outbox.changed = True

    def _drop(self, value: object) -> None:
        """Let a value go when the operation is over: its finalizer is the user's code."""
        self.outbox.dropped.append(value)
        self.outbox.changed = True

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
        self.outbox.changed = True


def too_late(kind: str, key: object, timeout: object, wait: float) -> Exception:
    """What a call raises that would not wait, or no longer."""
    if timeout is NOWAIT:
        return WouldWait()
    what = {
        "get": "nothing became available",
        "take": f"no copy of key {text(key)} became available",
        "put": f"the queue is full, and no slot for key {text(key)} became free",
        "join": "the queue was not worked off",
    }[kind]
    return TimeoutError(f"{what} within {wait} s")
