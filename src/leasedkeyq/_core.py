"""The machine: it decides everything, and it does nothing else.

This file knows no asyncio and reads no clock. An operation is a synchronous
call that is given ``now`` and either happens whole or raises and changes
nothing. What came of it for others is left in three places for the shell to act
upon: ``settled``, the waiting calls whose wait is over; ``alarm``, the time at
which `Core.time_out` wants to be called; and ``lost``, values that newer ones
have replaced, to be dropped when the operation is over, since their finalizers
are the user's code. The operations bear the names of the actions in
``spec/leasedkeyq.tla``.

A value is in a copy, and a copy is a `Lease`: one that waits in the line has yet
to be granted. ``_keys`` maps a key to its first copy, the *anchor*. Most keys
never have more than that one, and are *plain*. What else a key may have is in
an `Item`, made when it is first needed, which the anchor leads to for as long as
the key is known, even when the anchor itself has ended. The states of a key and what leads
from one to the other are in `_key.TRANSITIONS`.

Invariants, asserted by `Core.check_invariants`:

I1  Every key in ``_keys`` is in one of the five states; an ABSENT one has a `take`
    that waits for it, or one that has left and not yet cleared it away.
I2  The line is ``_returned`` (copies that came back) and then ``_arrived``: it
    holds exactly the available copies.
I3  ``_leases`` holds exactly the live leases, reserved ones included, by grant
    number in rising order; each is known to its item, or is a plain anchor.
I4  The values of one key have different versions; a deferred one is the newest.
I5  Several live leases on one key are kept in the order of their versions, with
    the available copy's place among them marked.
I6  No call waits for a copy that is available (eager matching).
I7  Every waiting call is in ``_calls``, and in one list, in the order of arrival.
    A reserved copy's standing is the call that is to resume with it.
I8  Exactly the delivered leases with a finite duration have a deadline, and
    ``due`` is None only if there is none, and otherwise not later than the first.
I9  A closed queue has no live lease, no waiting call and no deadline.
I10 ``_surplus`` is the number of copies less the number of keys.
I11 ``alarm`` is infinity unless a call waits, and then not later than the first
    deadline of any lease or wait.
"""

from __future__ import annotations

from collections import deque
from math import inf, isnan
from numbers import Real
from typing import Final, Generic, Literal, TypeAlias, TypeVar, cast, get_args

from ._call import CLOSED, LEFT, PATIENT, RESERVED, TIMED_OUT, WAITING, Alarm, Call
from ._deadlines import Deadlines
from ._invariants import check_invariants, dump
from ._key import (
    ABSENT,
    ADD,
    ADOPT,
    AVAILABLE,
    BUFFERED,
    DEFER,
    LEASED,
    MERGE,
    NOTHING,
    PROMOTE,
    REFUSE,
    REPLACE,
    REVISE,
    TRANSITIONS,
    Crowd,
    Item,
    KeyState,
    new_copy,
)
from ._linkedlist import LinkedList
from .errors import (
    InvalidLeaseError,
    KeyAlreadyInFlightError,
    LeaseAlreadyAcknowledgedError,
    LeaseExpiredError,
    QueueClosedError,
)
from .lease import Copy, Lease, Standing, new_prefix, parse_token

K = TypeVar("K")
V = TypeVar("V")

InFlightPolicy: TypeAlias = Literal["update", "reject", "buffer", "defer"]
POLICIES: Final[tuple[str, ...]] = get_args(InFlightPolicy)
Delivery: TypeAlias = tuple[K, V, Lease[K]]

_ANY: Final = object()  # the key of a call that takes any
_BUSY: Final = -inf  # ``due`` while the queue is closed, or waits for a key's own code
_UPDATE: Final = "update"  # the same object as the default of the shell's ``put``


def _too_late(key: object, timeout: float | None) -> TimeoutError:
    what = "nothing" if key is _ANY else f"no copy of key {key!r}"
    return TimeoutError(f"{what} became available within {timeout} s")


def seconds(name: str, value: object) -> float:
    """A number of seconds as a float. TypeError if it is none, ValueError for NaN."""
    if type(value) is not float and not isinstance(value, Real):
        raise TypeError(f"{name} must be a number of seconds or None, not {value!r}")
    try:
        number = float(value)
    except OverflowError:
        number = inf if cast(int, value) > 0 else -inf
    if isnan(number):
        raise ValueError(f"{name} must be a number of seconds or None, not NaN")
    return number


def lease_seconds(name: str, value: object) -> float:
    """The same for a lease, which must last some time: zero or less is a ValueError."""
    if type(value) is float and value > 0:  # as nearly always
        return value
    number = seconds(name, value)
    if number <= 0:
        raise ValueError(f"{name} must be more than zero seconds, not {value!r}")
    return number


class Core(Generic[K, V]):
    """The queue without the waiting. Every operation is atomic.

    ``now`` is the time, in seconds, on a clock that does not go back. Nothing
    depends on it while ``due`` is None, unless the operation sets a deadline.
    """

    __slots__ = (
        "_acked",
        "_arrived",
        "_calls",
        "_closed",
        "_deadlines",
        "_default",
        "_expired",
        "_getters",
        "_keys",
        "_leased",
        "_leases",
        "_number",
        "_prefix",
        "_released",
        "_returned",
        "_surplus",
        "_ticket",
        "_version",
        "_waits",
        "alarm",
        "due",
        "lost",
        "news",
        "settled",
    )

    def __init__(self, default_lease_timeout: float | None = None) -> None:
        self._keys: dict[K, Lease[K]] = {}  # to the anchors
        self._returned: LinkedList[Lease[K]] = LinkedList()
        self._arrived: LinkedList[Lease[K]] = LinkedList()
        self._surplus = 0
        self._leases: dict[int, Lease[K]] = {}
        self._deadlines: Deadlines[Lease[K]] = Deadlines()
        self._calls: dict[int, Call[K, V]] = {}  # that wait, by ticket
        self._getters: LinkedList[Call[K, V]] = LinkedList()
        self._waits: Deadlines[Alarm[K, V]] = Deadlines()
        self._closed = False

        # The time from which an operation must look before it acts: the soonest
        # deadline of a lease, or any time at all while the queue is closed or a
        # key's own code runs. One test serves all three.
        self.due: float | None = None
        self.alarm = inf
        self.settled: deque[Call[K, V]] = deque()
        self.lost: list[object] = []
        self.news = False  # one of the three has changed; the shell resets it

        self._number = 0  # of the latest grant, and so on: nothing ever gets one twice
        self._version = 0
        self._ticket = 0
        self._prefix = new_prefix()
        self._leased, self._acked, self._released, self._expired = (
            Standing(name, self._prefix)
            for name in ("leased", "acknowledged", "released", "expired")
        )
        self._default = inf
        if default_lease_timeout is not None:
            self._default = lease_seconds("default_lease_timeout", default_lease_timeout)

    # -- producers -------------------------------------------------------------

    def put(self, key: K, value: V, policy: str, now: float) -> None:
        """Put, by the "put" entries of `TRANSITIONS`. O(1)."""
        if policy is not _UPDATE and policy not in POLICIES:
            raise ValueError(f"if_in_flight must be one of {POLICIES}, not {policy!r}")
        due = self.due
        if due is not None and now >= due:
            due = self._enter(now)
        copy: Lease[K] = Copy()
        copy._key = key
        copy._value = value
        copy._item = copy._standing = None
        self.due = _BUSY
        try:
            anchor = self._keys.setdefault(key, copy)
        finally:
            self.due = due
        if anchor is not copy:
            self._put_again(anchor, value, policy)
        elif (
            self._getters.first is not None  # a take can't wait for a key that was absent
            and (call := self._longest_waiting(self._getters)) is not None
        ):
            copy._list = None
            self._reserve(copy, call)
        else:  # self._arrived.link_last(copy), written out
            copy._list = line = self._arrived
            copy._next = None
            copy._prev = last = line.last
            line.last = copy
            if last is None:
                line.first = copy
            else:
                last._next = copy

    def _put_again(self, anchor: Lease[K], value: V, policy: str) -> None:
        """Put on a key that the queue knows."""
        step, _ = TRANSITIONS[self._state(anchor)]["put " + policy]
        if step is REFUSE:
            raise KeyAlreadyInFlightError(
                f"key {anchor._key!r} is in flight and if_in_flight is 'reject': put it again"
                " once its lease has ended, or choose another policy"
            )
        # What is replaced outlives the changes: its finalizer is the user's code.
        _lost: object
        if anchor._item is None and (step is REPLACE or step is REVISE):
            _lost, anchor._value = anchor._value, value
            return
        item = self._item_of(anchor)
        self._version = version = self._version + 1
        if step is DEFER:
            _lost, item.deferred, item.version = item.deferred, value, version
        elif step is ADD:
            _lost, item.deferred = item.deferred, NOTHING
            self._surplus += 1
            if isinstance(item.leases, Crowd):
                item.leases.mark_newest()
            self._line_up(new_copy(item, value, version), self._arrived)
        else:
            copy = cast("Lease[K]", item.available) if step is REPLACE else item.newest()
            _lost, copy._value, copy._version = copy._value, value, version
            if step is REPLACE and isinstance(item.leases, Crowd):
                item.leases.mark_newest()

    # -- consumers -------------------------------------------------------------

    def get(
        self, timeout: float | None, lease_timeout: float | None, now: float
    ) -> Delivery[K, V] | Call[K, V]:
        """Get: lease the copy at the front of the line, or wait for one. O(1)."""
        if timeout is not None:
            timeout = seconds("timeout", timeout)
        if lease_timeout is None:
            duration = self._default
        else:
            duration = lease_seconds("lease_timeout", lease_timeout)
        if self.due is not None and now >= self.due:
            self._enter(now)
        line = self._returned
        copy = line.first
        if copy is None:
            line = self._arrived
            copy = line.first
            if copy is None:
                if timeout is not None and timeout <= 0:
                    raise _too_late(_ANY, timeout)
                return self._wait(self._getters, None, duration, timeout, now)
        # line.unlink(copy), self._grant(copy) and self._set_deadline(copy), written out
        line.first = after = copy._next
        if after is None:
            line.last = None
        else:
            after._prev = None
        copy._list = copy._next = None
        copy._number = self._number = number = self._number + 1
        copy._standing = self._leased
        if copy._item is not None:
            copy._item.admit(copy)
        self._leases[number] = copy
        if duration != inf:
            self._deadlines.add(copy, duration, now)
            self.due = self._deadlines.soonest
            if self._calls:
                self._reckon()
        return copy._key, copy._value, copy

    def take(
        self, key: K, timeout: float | None, lease_timeout: float | None, now: float
    ) -> Delivery[K, V] | Call[K, V]:
        """Take: lease the available copy of the key, or wait for one. O(1)."""
        if timeout is not None:
            timeout = seconds("timeout", timeout)
        if lease_timeout is None:
            duration = self._default
        else:
            duration = lease_seconds("lease_timeout", lease_timeout)
        due = self.due
        if due is not None and now >= due:
            due = self._enter(now)
        self.due = _BUSY
        try:
            anchor = self._keys.get(key)
            if anchor is None and (timeout is None or timeout > 0):
                anchor = self._keys[key] = new_copy(Item(key), NOTHING, 0)  # only to wait on
                self._surplus -= 1
        finally:
            self.due = due
        if anchor is None:
            raise _too_late(key, timeout)
        item = anchor._item
        copy = anchor if item is None else item.available
        if copy is not None and copy._standing is None:
            copy._list.unlink(copy)
            self._grant(copy)
            if duration != inf:
                self._set_deadline(copy, duration, now)
            return copy._key, copy._value, copy
        if timeout is not None and timeout <= 0:
            raise _too_late(key, timeout)
        item = self._item_of(anchor)
        if item.takers is None:
            item.takers = LinkedList()
        return self._wait(item.takers, item, duration, timeout, now)

    def _wait(
        self,
        calls: LinkedList[Call[K, V]],
        item: Item[K, V] | None,
        duration: float,
        timeout: float | None,
        now: float,
    ) -> Call[K, V]:
        self._ticket = ticket = self._ticket + 1
        call: Call[K, V] = Call()
        self._calls[ticket] = call
        call.ticket = ticket
        call.item = item
        call.duration = duration
        call.timeout = timeout
        call.alarm = call.lease = None
        call.caller = PATIENT
        call.outcome = WAITING
        # calls.link_last(call), written out
        call._list = calls
        call._next = None
        call._prev = last = calls.last
        calls.last = call
        if last is None:
            calls.first = call
        else:
            last._next = call
        if timeout is not None and timeout != inf:
            call.alarm = Alarm(call)
            self._waits.add(call.alarm, timeout, now)
            self._reckon()
        elif self.due is not None:
            self._reckon()
        return call

    def resume(self, call: Call[K, V], now: float) -> Delivery[K, V]:
        """Resume: a call whose wait is over gets its lease, which starts now, or its error."""
        if call.outcome is RESERVED:
            if self.due is not None and now >= self.due:
                self._enter(now)
            lease, call.lease = call.lease, None
            call.outcome = LEFT
            lease._standing = self._leased
            if call.duration != inf:
                self._set_deadline(lease, call.duration, now)
            return lease._key, lease._value, lease
        outcome = call.outcome
        if outcome not in (TIMED_OUT, CLOSED):
            raise RuntimeError(f"the call has nothing to resume with: {outcome.name}")
        call.outcome = LEFT
        self._tidy(call.item)
        if outcome is CLOSED:
            raise QueueClosedError("the queue was closed while the call waited")
        raise _too_late(_ANY if call.item is None else call.item.key, call.timeout)

    def cancel(self, call: Call[K, V], now: float) -> None:
        """Cancel: a call that waits, or has a copy reserved, leaves nothing behind. O(1)."""
        if call.outcome is WAITING:
            self._dismiss(call)
        elif call.outcome is RESERVED:
            if self.due is not None and now >= self.due:
                self._enter(now)
            lease, call.lease = call.lease, None
            lost = self._return(lease, self._released, self._returned, front=True)
            del lost
        call.outcome = LEFT
        self._tidy(call.item)

    def time_out(self, now: float) -> None:
        """TimeOut: end the leases and the waits that are due. The shell's timer calls it."""
        if self.due is not None and now >= self.due:
            self._enter(now)
        for alarm in self._waits.due(now):
            self._dismiss(alarm.call)
            alarm.call.outcome = TIMED_OUT
            self.settled.append(alarm.call)
        self.alarm = inf
        self.news = True
        self._reckon()

    # -- leases ----------------------------------------------------------------

    def ack(self, lease: Lease[K], now: float) -> None:
        """Ack: the leased copy is gone for good. O(1)."""
        due = self.due
        if due is not None and now >= due:
            due = self._enter(now)
        try:
            live = lease._standing is self._leased
        except AttributeError:
            live = False  # it is no lease at all
        if not live:
            lease = self._find(lease)
        item = lease._item
        if item is None:
            self.due = _BUSY
            try:
                del self._keys[lease._key]  # runs the key's own code: before any change
            finally:
                self.due = due
            # self._end(lease, self._acked), written out
            del self._leases[lease._number]
            if lease._list is not None:
                if self._deadlines.remove(lease):
                    self.due = None
                if self._calls:
                    self._reckon()
            value = lease._value
            lease._value = None
            lease._standing = self._acked
        else:
            last = item.leases is lease
            step, after = TRANSITIONS[item.state()]["ack last" if last else "ack"]
            if after is ABSENT and item.takers is None:
                self._forget(item)
            else:
                self._surplus -= 1
            if not last:
                item.leases.leave(lease)
            value = self._end(lease, self._acked)
            if step is PROMOTE:
                copy = new_copy(item, item.deferred, item.version)
                item.deferred = NOTHING
                self._surplus += 1
                self._line_up(copy, self._arrived)
        del value  # not before every change is made: its finalizer is the user's code

    def release(self, lease: Lease[K], requeue_front: object, now: float) -> None:
        """Release: the leased copy becomes available, at the back or the front. O(1)."""
        front = bool(requeue_front)
        if self.due is not None and now >= self.due:
            self._enter(now)
        if type(lease) is not Copy or lease._standing is not self._leased:
            lease = self._find(lease)
        line = self._returned if front else self._arrived
        lost = self._return(lease, self._released, line, front)
        del lost

    def extend(self, lease: Lease[K], timeout: float | None, now: float) -> None:
        """Extend: restart the lease's clock. O(1)."""
        if timeout is not None:
            timeout = lease_seconds("timeout", timeout)
        if self.due is not None and now >= self.due:
            self._enter(now)
        if type(lease) is not Copy or lease._standing is not self._leased:
            lease = self._find(lease)
        granted: float = inf if lease._list is None else lease._list.duration
        if lease._item is not None:
            granted = lease._item.durations.get(lease._number, granted)
        if timeout is None:
            timeout = granted
        elif timeout != granted:
            self._item_of(lease).durations[lease._number] = granted
        if lease._list is not None:
            self._drop_deadline(lease)
        self._set_deadline(lease, timeout, now)

    def expire(self, now: float) -> None:
        """Expire: end the leases that are due, each as by a release. O(1) each.

        In the order of deadlines, then of grants; to the end of the returned part.
        What every operation does first, and all that introspection, which is never
        refused, does.
        """
        if self.due is not None and now >= self.due and self.due is not _BUSY:
            self.lost += [
                self._return(lease, self._expired, self._returned)
                for lease in self._deadlines.due(now)
            ]
            self.due = self._deadlines.soonest if self._deadlines.soonest < inf else None
            self.news = True
            self._reckon()

    # -- the whole queue -------------------------------------------------------

    def start(self, now: float) -> None:
        """Nothing to start: the check that the queue is open."""
        if self.due is not None and now >= self.due:
            self._enter(now)

    def close(self, now: float) -> None:
        """Close: every call and every lease ends; the oldest grant comes out in front.

        O(leases and calls).
        """
        if self._closed:
            return
        if self.due is not None and now >= self.due:
            self._enter(now)
        for call in [*self._calls.values()]:
            self._dismiss(call)
            call.outcome = CLOSED
            self.settled.append(call)
            self.news = True
        leases = [*self._leases.values()]
        for lease in leases:
            if isinstance(lease._standing, Call):
                lease._standing.outcome = CLOSED
                lease._standing.lease = None
        lost = [
            self._return(lease, self._released, self._returned, front=True)
            for lease in reversed(leases)
        ]
        self._deadlines.clear()
        self._waits.clear()
        self._closed = True
        self.due = _BUSY
        del lost

    # -- introspection: works on a closed queue --------------------------------

    def peek(self, key: K, now: float) -> V | None:
        """The available value of the key, or None. O(1)."""
        self.expire(now)
        copy = self._available(key)
        return None if copy is None else copy._value

    def contains(self, key: K, now: float) -> bool:
        """Whether a copy of the key is available. O(1)."""
        self.expire(now)
        return self._available(key) is not None

    def available_keys(self, now: float) -> set[K]:
        """The keys that have an available copy. O(result)."""
        self.expire(now)
        return self._set([copy._key for line in (self._returned, self._arrived) for copy in line])

    def inflight_keys(self, now: float) -> set[K]:
        """The keys that have a live lease, or a reserved copy. O(leases)."""
        self.expire(now)
        return self._set([lease._key for lease in self._leases.values()])

    def qsize(self, now: float) -> int:
        """How many copies are available. O(1)."""
        self.expire(now)
        return len(self._keys) + self._surplus - len(self._leases)

    def inflight_size(self, now: float) -> int:
        """How many copies are leased or reserved. O(1)."""
        self.expire(now)
        return len(self._leases)

    # -- how it is done --------------------------------------------------------

    def _enter(self, now: float) -> float | None:
        """What an operation does first when ``due`` has come; returns the next ``due``."""
        if self._closed:
            raise QueueClosedError(
                "the queue is closed: only the introspection methods still answer"
            )
        if self.due is _BUSY:
            raise RuntimeError(
                "the queue was called from within a key's own __hash__ or __eq__, for which it is"
                " waiting; nothing has changed"
            )
        self.expire(now)
        return self.due

    def _state(self, anchor: Lease[K]) -> KeyState:
        if anchor._item is not None:
            state: KeyState = anchor._item.state()
            return state
        return AVAILABLE if anchor._standing is None else LEASED

    def _available(self, key: K) -> Lease[K] | None:
        due, self.due = self.due, _BUSY
        try:
            anchor = self._keys.get(key)
        finally:
            self.due = due
        if anchor is None or self._state(anchor) not in (AVAILABLE, BUFFERED):
            return None
        return anchor if anchor._item is None else anchor._item.available

    def _set(self, keys: list[K]) -> set[K]:
        due, self.due = self.due, _BUSY
        try:
            return set(keys)
        finally:
            self.due = due

    def _item_of(self, anchor: Lease[K]) -> Item[K, V]:
        """The item that a leased anchor leads to, made now if the key was plain so far."""
        item: Item[K, V] | None = anchor._item
        if item is None:
            anchor._item = item = Item(anchor._key)
            item.leases = anchor
            anchor._version = 0  # older than whatever will join it
        return item

    def _line_up(self, copy: Lease[K], line: LinkedList[Lease[K]], front: bool = False) -> None:
        """Make a copy of an item available: to the longest waiting call, or in the line."""
        item: Item[K, V] = copy._item
        item.available = copy
        call = self._claimant(item) if self._calls else None
        if call is not None:
            self._reserve(copy, call)
        elif front:
            line.link_first(copy)
        else:
            line.link_last(copy)

    def _claimant(self, item: Item[K, V]) -> Call[K, V] | None:
        """The call that has waited longest among those that want a copy of the item."""
        getter = self._longest_waiting(self._getters)
        if item.takers is None:
            return getter
        taker = self._longest_waiting(item.takers)
        if getter is None or (taker is not None and taker.ticket < getter.ticket):
            return taker
        return getter

    def _longest_waiting(self, calls: LinkedList[Call[K, V]]) -> Call[K, V] | None:
        while (call := calls.first) is not None and call.caller.cancelled():
            self._dismiss(call)
        return call

    def _dismiss(self, call: Call[K, V]) -> None:
        """Take a call out of the waiting ones."""
        calls: LinkedList[Call[K, V]] = call._list
        calls.unlink(call)
        if call.item is not None and calls.first is None:
            call.item.takers = None
        del self._calls[call.ticket]
        if call.alarm is not None:
            self._silence(call.alarm)
            call.alarm = None
        call.outcome = LEFT
        if self.alarm != inf:
            self._reckon()

    def _silence(self, alarm: Alarm[K, V]) -> None:
        """Drop the deadline of a wait, unless it has been met."""
        if alarm._list is not None:
            self._waits.remove(alarm)

    def _reserve(self, copy: Lease[K], call: Call[K, V]) -> None:
        """Hand a copy to a waiting call, the first in its list, which is to resume."""
        # self._dismiss(call), written out for the first in a list
        calls = call._list
        calls.first = after = call._next
        call._list = call._next = None
        if after is not None:
            after._prev = None
        else:
            calls.last = None
            if call.item is not None:
                call.item.takers = None
        del self._calls[call.ticket]
        if call.alarm is not None:
            self._silence(call.alarm)
            call.alarm = None
        if self.alarm != inf:
            self._reckon()
        # self._grant(copy), written out, but for the standing
        copy._number = self._number = number = self._number + 1
        copy._standing = call
        if copy._item is not None:
            copy._item.admit(copy)
        self._leases[number] = copy
        call.lease = copy
        call.outcome = RESERVED
        self.settled.append(call)
        self.news = True

    def _grant(self, copy: Lease[K]) -> None:
        """Turn an available copy, out of the line by now, into a live lease."""
        copy._number = self._number = number = self._number + 1
        copy._standing = self._leased
        if copy._item is not None:
            copy._item.admit(copy)
        self._leases[number] = copy

    def _set_deadline(self, lease: Lease[K], duration: float, now: float) -> None:
        if duration != inf:
            self._deadlines.add(lease, duration, now)
            self.due = self._deadlines.soonest
        if self._calls:
            self._reckon()

    def _drop_deadline(self, lease: Lease[K]) -> None:
        if self._deadlines.remove(lease):
            self.due = None
        if self._calls:
            self._reckon()

    def _end(self, lease: Lease[K], standing: Standing) -> V:
        """End a live lease of an item, which a crowd has let go before. Returns its value."""
        del self._leases[lease._number]
        if lease._list is not None:
            self._drop_deadline(lease)
        item: Item[K, V] = lease._item
        item.durations.pop(lease._number, None)
        item.leases = item.leases.remaining() if isinstance(item.leases, Crowd) else None
        value: V = lease._value
        lease._value = None
        lease._standing = standing
        return value

    def _return(
        self,
        lease: Lease[K],
        standing: Standing,
        line: LinkedList[Lease[K]],
        front: bool = False,
    ) -> object:
        """End a live lease and make its copy available, by the "return" entries.

        Returns the value that lost to a newer one, for the caller to drop when
        every change is made.
        """
        item = self._item_of(lease)
        last = item.leases is lease
        step, _ = TRANSITIONS[item.state()]["return last" if last else "return"]
        crowd = item.leases if isinstance(item.leases, Crowd) else None
        waiting = item.available
        outdated = step is ADOPT or (waiting is not None and lease._version < waiting._version)
        if crowd is not None:
            if step is MERGE and outdated:
                crowd.leave(lease)
            else:
                crowd.turn_back(lease)
                if outdated:
                    crowd.mark_newest()
        version = lease._version
        value = self._end(lease, standing)
        lost: object = value
        if waiting is not None:  # MERGE
            self._surplus -= 1
            if not outdated:
                lost, waiting._value, waiting._version = waiting._value, value, version
            return lost
        if outdated:  # ADOPT
            value, version = cast(V, item.deferred), item.version
            item.deferred = NOTHING
        self._line_up(new_copy(item, value, version), line, front)
        return lost

    def _find(self, lease: Lease[K]) -> Lease[K]:
        """The live lease that a rebuilt one stands for, or the reason why there is none."""
        if not isinstance(lease, Lease):
            raise TypeError(f"a Lease is needed, as get and take return it, not {lease!r}")
        standing = lease._standing
        if standing is None:
            number = parse_token(self._prefix, lease._number)
            found = None if number is None else self._leases.get(number)
            if found is None or found._standing is not self._leased:
                raise InvalidLeaseError(
                    f"{lease!r} is not live in this queue: it has ended, or was never granted here"
                )
            due, self.due = self.due, _BUSY
            try:
                same = found._key is lease._key or bool(found._key == lease._key)
            finally:
                self.due = due
            if not same:
                raise InvalidLeaseError(
                    f"{lease!r} names another key than the one its token was granted for"
                )
            return found
        if standing is self._acked:
            raise LeaseAlreadyAcknowledgedError(
                f"{lease!r} was acknowledged already: there is nothing left to do"
            )
        if standing is self._expired:
            raise LeaseExpiredError(
                f"{lease!r} ran out before this call: its item went back to the queue and may be"
                " with another consumer; discard the work, or make it safe to repeat"
            )
        if standing is self._released:
            raise InvalidLeaseError(f"{lease!r} was released already: get or take its item anew")
        raise InvalidLeaseError(f"{lease!r} is another queue's: use it there")

    def _forget(self, item: Item[K, V]) -> None:
        """Take a key that has, or will have, nothing left out of the map."""
        due, self.due = self.due, _BUSY
        try:
            del self._keys[item.key]
        finally:
            self.due = due
        item.forgotten = True

    def _tidy(self, item: Item[K, V] | None) -> None:
        """Forget the key of a take that has left, if it was known for that only."""
        if (
            item is not None
            and not item.forgotten
            and item.takers is None
            and item.state() is ABSENT
        ):
            self._forget(item)
            self._surplus += 1

    def _reckon(self) -> None:
        """Bring ``alarm`` up to date. It may stay too early, but never too late.

        So a deadline that moves away costs nothing: the shell's timer finds
        nothing due, once, and is armed anew.
        """
        soonest = min(self._deadlines.next(), self._waits.next()) if self._calls else inf
        if soonest < self.alarm or soonest == inf != self.alarm:
            self.alarm = soonest
            self.news = True

    def __del__(self) -> None:
        """Undo the links: they are reference cycles, and the collector may be off."""
        reserved = []
        for copy in [*self._returned, *self._arrived, *self._leases.values()]:
            if isinstance(copy._standing, Call):
                reserved.append(copy._standing)
                copy._standing = self._released
            item = copy._item
            if item is not None:
                if isinstance(item.leases, Crowd):
                    item.leases.ranks.clear()
                item.leases = item.available = None
                item.deferred = NOTHING
        for call in [*self._calls.values(), *reserved]:
            call.outcome = LEFT  # its coroutine may yet be closed
            call.alarm = call.lease = None
            if call.item is not None and call.item.takers is not None:
                call.item.takers.clear()
                call.item.takers = None
            call.item = None
        self._returned.clear()
        self._arrived.clear()
        self._getters.clear()
        self._deadlines.clear()
        self._waits.clear()

    def check_invariants(self) -> None:
        """Assert I1 to I11, and show the state when one fails. O(n), for tests."""
        check_invariants(self)

    def dump(self) -> str:
        """The state in words, for tests and bug reports. O(n)."""
        return dump(self)
