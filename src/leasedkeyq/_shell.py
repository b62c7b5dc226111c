"""The synchronous half of the asyncio shell: futures, and one timer.

It makes no decision. It reads the loop's clock, carries the operation out on the machine, and then
empties the outbox: wakes the calls whose wait is over, arms the timer, cancels the calls that left
meanwhile, and lets values go. The coroutines over it are in `_queue`.
"""

from __future__ import annotations

from asyncio import (
    AbstractEventLoop,
    InvalidStateError,
    QueueEmpty,
    QueueFull,
    TimerHandle,
    get_running_loop,
)
from collections.abc import Callable
from math import inf, nan
from typing import Any, NoReturn, TypeVar
from weakref import ref

from ._checks import AT_ONCE, InFlightPolicy, text
from ._machine import Machine
from ._records import WAITING, Event, Overview, Waiter
from ._telling import Telling
from ._waiting import NOWAIT, WouldWait
from .lease import Delivery, Lease
from .stats import Stats

T = TypeVar("T")


class Shell(Telling):
    """What a queue does without waiting. To be subclassed by `LeasedKeyQueue`."""

    __slots__ = ("__weakref__", "_armed", "_deadlines", "_noted", "_timer")

    def __init__(
        self,
        default_lease_timeout: float | None,
        maxsize: int,
        if_in_flight: InFlightPolicy,
        observer: Callable[[Any, list[Event]], object] | None,
    ) -> None:
        machine = Machine(default_lease_timeout, maxsize, if_in_flight)
        super().__init__(machine, default_lease_timeout not in (None, inf))
        self._deadlines = self._machine.deadlines
        self._timer: TimerHandle | None = None
        self._armed = inf  # the time that the timer is set for; infinity without one
        self._noted = 0.0  # a time that has been, which will do where nothing depends on the time
        self.observer = observer
        if self._outbox.events is not None:
            config = (default_lease_timeout, maxsize, if_in_flight)
            self._outbox.events.append(Event("init", 0.0, detail=config))

    # -- operations that never wait ---------------------------------------------

    def put_nowait(
        self,
        key: Any,
        value: Any,
        *,
        if_in_flight: InFlightPolicy | None = None,
        delay: float = 0,
    ) -> None:
        """`put`, or asyncio.QueueFull if it would have to wait for a slot. O(1). Spec: ``Put``."""
        try:
            self._put(key, value, if_in_flight, delay, NOWAIT)
        except WouldWait:
            raise QueueFull(
                f"the queue is full, and has no slot for key {text(key)}: await put(), or put it"
                " again when something was acknowledged"
            ) from None

    def get_nowait(self, *, lease_timeout: float | None = None) -> Delivery[Any, Any]:
        """`get`, or asyncio.QueueEmpty if nothing is available. O(1). Spec: ``Get``."""
        try:
            call = self._get(NOWAIT, lease_timeout)
        except WouldWait:
            raise QueueEmpty("nothing is available: await get(), or ask later") from None
        assert not isinstance(call, Waiter)
        return call

    def take_nowait(self, key: Any, *, lease_timeout: float | None = None) -> Delivery[Any, Any]:
        """`take`, or asyncio.QueueEmpty if the key is not available. O(1). Spec: ``Take``."""
        try:
            call = self._take(key, NOWAIT, lease_timeout)
        except WouldWait:
            raise QueueEmpty(
                f"no copy of key {text(key)} is available: await take(), or ask later"
            ) from None
        assert not isinstance(call, Waiter)
        return call

    def ack_nowait(self, lease: Lease[Any]) -> None:
        """`ack`, as a plain method. O(1). Spec: ``Ack``."""
        now = self._now(True)
        try:
            self._machine.ack(lease, now)
        finally:
            self._empty_outbox()

    def release_nowait(
        self, lease: Lease[Any], *, requeue_front: bool = False, delay: float = 0
    ) -> None:
        """`release`, as a plain method. O(1). Spec: ``Release``."""
        self._do(self._machine.release, lease, requeue_front, delay)

    def extend_nowait(self, lease: Lease[Any], timeout: float | None = None) -> None:
        """`extend`, as a plain method. O(1). Spec: ``Extend``."""
        self._do(self._machine.extend, lease, timeout)

    def superseded_nowait(self, lease: Lease[Any]) -> bool:
        """`superseded`, as a plain method. O(1). Spec: ``Superseded``."""
        return self._do(self._machine.superseded, lease)

    def deadline_nowait(self, lease: Lease[Any]) -> float:
        """`deadline`, as a plain method. O(1). Spec: no action."""
        return self._do(self._machine.deadline, lease)

    # -- looking at it -----------------------------------------------------------

    def stats(self) -> Stats:
        """How much is in the queue, what has become of the rest, and how old it is.

        It is a plain method, for observers and whoever else cannot wait; it may be awaited all the
        same, as the rest of the introspection is. The first call has every operation read the clock
        from then on, so that ages are exact: make it when the queue is new, if you want them.
        O(1). Spec: no action.
        """
        self._exact = True
        self._untimed = nan
        return self._do(self._machine.stats)

    def _overview(self, leases: int) -> Overview:
        """For `top`. O(leases)."""
        return self._do(self._machine.overview, leases)

    # -- what the coroutines are made of -----------------------------------------

    def _put(
        self, key: object, value: object, policy: object, delay: object, timeout: object
    ) -> Waiter | None:
        now = self._now(delay is AT_ONCE and (timeout is None or timeout is NOWAIT))
        try:
            waiter = self._machine.put(key, value, policy, delay, timeout, now)
            if waiter is not None:
                self._accompany(waiter)
            return waiter
        finally:
            self._empty_outbox()

    def _get(self, timeout: object, lease_timeout: object) -> Delivery[Any, Any] | Waiter:
        now = self._now(lease_timeout is None and (timeout is None or timeout is NOWAIT))
        try:
            call = self._machine.get(timeout, lease_timeout, now)
            if type(call) is Waiter:
                self._accompany(call)
            return call
        finally:
            self._empty_outbox()

    def _take(
        self, key: object, timeout: object, lease_timeout: object
    ) -> Delivery[Any, Any] | Waiter:
        now = self._now(lease_timeout is None and (timeout is None or timeout is NOWAIT))
        try:
            call = self._machine.take(key, timeout, lease_timeout, now)
            if type(call) is Waiter:
                self._accompany(call)
            return call
        finally:
            self._empty_outbox()

    def _do(self, operation: Callable[..., T], *arguments: object) -> T:
        """Any other operation of the machine."""
        now = self._now()
        try:
            outcome = operation(*arguments, now)
            if isinstance(outcome, Waiter):
                self._accompany(outcome)
            return outcome
        finally:
            self._empty_outbox()

    def _accompany(self, waiter: Waiter) -> None:
        """Give a call that waits a future, which is done if something has come for it by now.

        (A signal handler or finalizer may have used the queue since the call began to wait.)
        """
        future = self._loop.create_future()
        waiter.caller = future
        if waiter.outcome is not WAITING and not future.done():
            future.set_result(None)

    def _resume(self, waiter: Waiter) -> Delivery[Any, Any] | bool | None:
        """The wait of a call is over."""
        now = self._now(waiter.duration == inf and waiter.kind != "put")  # which may have a delay
        try:
            return self._machine.resume(waiter, now)
        finally:
            self._empty_outbox()

    def _leave(self, waiter: Waiter) -> None:
        """A call was cancelled, or closed as a coroutine: nothing may stay with it."""
        try:
            self._machine.cancel(waiter, self._read_clock())
        finally:
            self._empty_outbox()

    # -- the loop ------------------------------------------------------------------

    def _now(self, untimed: bool = False) -> float:
        """The time, after a check that the queue's own loop runs.

        ``untimed``: the operation sets no deadline. If none is set either, the clock is not read:
        a time that has been will do.
        """
        try:
            running = get_running_loop()
        except RuntimeError:
            raise RuntimeError(
                f"no running event loop: {self!r} can be used within one only, by its coroutines"
                " and callbacks"
            ) from None
        if running is not self._loop:
            self._adopt(running)
        if untimed and self._deadlines.soonest == self._untimed:
            return self._noted
        return self._read_clock()

    def _read_clock(self) -> float:
        """The time. The loop need not run: a coroutine may be closed when it is over."""
        self._noted = self._loop.time()
        return self._noted

    def _adopt(self, running: AbstractEventLoop) -> None:
        """The queue belongs to the loop that it first worked in."""
        if self._loop is None:
            self._loop = running
            self._read_clock()
        if running is not self._loop:
            raise RuntimeError(
                f"{self!r} belongs to the event loop in which it was first used, and this is"
                " another: use one queue for each loop"
            )

    def _empty_outbox(self, not_before: float = -inf) -> None:
        """Empty the outbox. An operation that is under way does so itself when it is over."""
        outbox, loop = self._outbox, self._loop
        while outbox.changed and not self._machine.busy:
            outbox.changed = False
            if outbox.events:
                self._tell_observer()
            while outbox.woken:
                caller = outbox.woken.popleft().caller
                try:
                    caller.set_result(None)
                except InvalidStateError:
                    pass  # cancelled meanwhile: it will come to by itself
                except RuntimeError:
                    if not loop.is_closed():
                        raise  # otherwise nobody is left to be woken
            while outbox.left:
                self._machine.cancel(outbox.left.popleft(), self._read_clock())
            if outbox.alarm != self._armed:
                self._arm(max(outbox.alarm, not_before))
            if outbox.dropped:
                outbox.dropped.clear()  # last: what it frees may call the queue

    def _arm(self, alarm: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._armed = self._outbox.alarm
        if alarm != inf and not self._loop.is_closed():
            self._timer = self._loop.call_at(alarm, _ring, ref(self))

    def _time_out(self) -> None:
        """The timer has fired; up to one resolution of the clock early, as asyncio may."""
        now = self._read_clock()
        early = now < self._armed
        self._timer = None
        self._armed = inf
        try:
            self._machine.time_out(now)
        finally:
            self._empty_outbox(now + _resolution(self._loop) if early else -inf)

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"{self!r} lives in one event loop and cannot be copied or pickled")

    def __repr__(self) -> str:
        return f"<{type(self).__name__} at {id(self):#x}>"


def _resolution(loop: AbstractEventLoop) -> float:
    """The step of a loop's clock, in seconds. One that does not tell is uvloop: a millisecond."""
    resolution: float = getattr(loop, "_clock_resolution", 0.001)
    return resolution


def _ring(queue: ref[Shell]) -> None:
    """The timer's callback. It holds no reference, so a dropped queue is freed at once."""
    alive = queue()
    if alive is not None:
        alive._time_out()
