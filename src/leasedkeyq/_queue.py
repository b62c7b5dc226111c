"""`LeasedKeyQueue`: the asyncio shell around the core.

The shell makes no decision. It reads the loop's clock once for each operation,
holds one future for each waiting call and at most one timer, and sees to it
that a call that is cancelled leaves the core. Everything else is the core's.
"""

from __future__ import annotations

import sys
from asyncio import (
    AbstractEventLoop,
    BaseEventLoop,
    InvalidStateError,
    TimerHandle,
    get_running_loop,
)
from collections.abc import Callable
from math import inf
from threading import get_ident
from time import get_clock_info
from types import TracebackType
from typing import Any, Generic, NoReturn, TypeVar
from weakref import ref

from ._call import Call
from ._core import Core, Delivery, InFlightPolicy
from .lease import Lease

K = TypeVar("K")
V = TypeVar("V")
T = TypeVar("T")

# Until 3.12 get_running_loop makes a system call each time, so put, get and ack
# ask the loop for the thread that it runs in: None when it does not run.
_CHEAP = sys.version_info >= (3, 12)


class _Nowhere:
    """Stands for a loop of which that is not known: the check is made the long way."""

    _thread_id = None


class LeasedKeyQueue(Generic[K, V]):
    """A dict and a FIFO in one, whose items are leased to consumers.

    ``default_lease_timeout``: how long a lease lasts, in seconds, when ``get``
    and ``take`` are not told otherwise; ``None`` or ``math.inf`` is for ever.

    Raises TypeError if it is no real number, ValueError if it is NaN, zero or less.

    A queue belongs to the event loop in which it is first used; any use from
    another loop is a RuntimeError. It is not thread-safe. Spec: ``Init``.
    """

    __slots__ = (
        "__weakref__",
        "_armed",
        "_core",
        "_home",
        "_loop",
        "_patient",
        "_timer",
    )

    def __init__(self, *, default_lease_timeout: float | None = None) -> None:
        self._core: Core[K, V] = Core(default_lease_timeout)
        self._patient = default_lease_timeout is None or default_lease_timeout == inf
        self._loop: Any = None
        self._home: Any = _Nowhere  # the loop, if it tells the thread that it runs in
        self._timer: TimerHandle | None = None
        self._armed = inf  # the time that the timer is set for; infinity without one

    # -- lifecycle -------------------------------------------------------------

    async def start(self) -> None:
        """Check that the queue is open. There is nothing to start, and no need to call it.

        Raises QueueClosedError if the queue is closed. O(1). Spec: no action.
        """
        self._check_loop()
        try:
            self._core.start(self._loop.time())
        finally:
            self._settle()

    async def close(self) -> None:
        """Close the queue: every lease ends and every blocked call raises.

        What was in flight becomes available again, the oldest in front. From now
        on only the introspection methods answer, so that what is left can be
        saved. A second call does nothing. O(leases and waiting calls).
        Spec: ``Close``.
        """
        self._check_loop()
        try:
            self._core.close(self._loop.time())
        finally:
            self._settle()

    async def __aenter__(self) -> LeasedKeyQueue[K, V]:
        await self.start()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    # -- producers -------------------------------------------------------------

    async def put(self, key: K, value: V, *, if_in_flight: InFlightPolicy = "update") -> None:
        """Put a value under a key. Never waits.

        An absent key joins the line at the back; an available one takes the
        value and keeps its place. When the key is in flight, ``if_in_flight``
        decides: ``"update"`` gives the value to the newest in-flight copy,
        ``"reject"`` raises, ``"buffer"`` adds a second copy at the back, and
        ``"defer"`` holds the value back until no lease on the key is live.

        Raises KeyAlreadyInFlightError (only with "reject"), QueueClosedError,
        ValueError for an unknown policy, TypeError for an unhashable key. O(1).
        Spec: ``Put``.
        """
        if get_running_loop() is not self._loop if _CHEAP else get_ident() != self._home._thread_id:
            self._check_loop()
        core = self._core
        try:
            core.put(key, value, if_in_flight, 0.0 if core.due is None else self._loop.time())
        finally:
            if core.news:
                self._settle()

    # -- consumers -------------------------------------------------------------

    async def get(
        self, timeout: float | None = None, *, lease_timeout: float | None = None
    ) -> Delivery[K, V]:
        """Lease the item at the front; wait for one if there is none.

        ``timeout``: how long to wait, in seconds, whatever happens meanwhile;
        ``None`` waits for ever, zero or less not at all. ``lease_timeout``: how
        long the lease lasts; ``None`` is the queue's default, ``math.inf`` for
        ever. Its clock starts when this call returns. Calls are served in the
        order of their arrival; one that is cancelled takes nothing with it.

        Returns ``(key, value, lease)``. Raises TimeoutError, QueueClosedError,
        TypeError or ValueError for a bad timeout. O(1). Spec: ``Get``, ``Resume``.
        """
        if get_running_loop() is not self._loop if _CHEAP else get_ident() != self._home._thread_id:
            self._check_loop()
        core = self._core
        try:
            outcome = core.get(
                timeout,
                lease_timeout,
                0.0
                if core.due is None and self._patient and timeout is None and lease_timeout is None
                else self._loop.time(),
            )
        finally:
            if core.news:
                self._settle()
        if type(outcome) is tuple:
            return outcome
        call: Any = outcome
        call.caller = future = self._loop.create_future()
        try:
            await future
        except BaseException:
            self._cancel(call)
            raise
        try:  # self._resume(call), written out
            return core.resume(
                call, 0.0 if core.due is None and call.duration == inf else self._loop.time()
            )
        finally:
            if core.news:
                self._settle()

    async def take(
        self, key: K, timeout: float | None = None, *, lease_timeout: float | None = None
    ) -> Delivery[K, V]:
        """Lease the available copy of a key, wherever it stands; wait if there is none.

        The arguments are those of `get`. A copy that is in flight is waited for;
        waiting for one key costs nothing to the traffic of the others.

        Returns ``(key, value, lease)``. Raises TimeoutError, QueueClosedError,
        TypeError or ValueError for a bad timeout, TypeError for an unhashable
        key. O(1). Spec: ``Take``, ``Resume``.
        """
        self._check_loop()
        core = self._core
        try:
            outcome = core.take(key, timeout, lease_timeout, self._loop.time())
        finally:
            self._settle()
        if type(outcome) is tuple:
            return outcome
        call: Any = outcome
        call.caller = future = self._loop.create_future()
        try:
            await future
        except BaseException:
            self._cancel(call)
            raise
        return self._resume(call)

    def _cancel(self, call: Call[K, V]) -> None:
        """The caller was cancelled, or closed as a coroutine: nothing may stay with the call."""
        try:
            self._core.cancel(call, self._loop.time())
        finally:
            self._settle()

    def _resume(self, call: Call[K, V]) -> Delivery[K, V]:
        core = self._core
        try:
            return core.resume(
                call, 0.0 if core.due is None and call.duration == inf else self._loop.time()
            )
        finally:
            if core.news:
                self._settle()

    # -- leases ----------------------------------------------------------------

    async def ack(self, lease: Lease[K]) -> None:
        """Acknowledge a lease: its item is done with, and gone for good.

        A value that was deferred meanwhile becomes available at the back, once
        no other lease on the key is live.

        Raises LeaseAlreadyAcknowledgedError, LeaseExpiredError (its deadline has
        come, whether or not anybody has noticed), InvalidLeaseError (released,
        another queue's, unknown), QueueClosedError, TypeError if it is no
        `Lease`. O(1). Spec: ``Ack``.
        """
        if get_running_loop() is not self._loop if _CHEAP else get_ident() != self._home._thread_id:
            self._check_loop()
        core = self._core
        try:
            core.ack(lease, 0.0 if core.due is None else self._loop.time())
        finally:
            if core.news:
                self._settle()

    async def release(self, lease: Lease[K], *, requeue_front: bool = False) -> None:
        """Give a leased item back: to the back of the line, or to its front.

        If a newer value was deferred, the item takes it. If a copy of the key is
        available already, nothing is duplicated: that copy keeps its place and
        takes the newer of the two values.

        Raises as `ack` does. O(1). Spec: ``Release``.
        """
        self._check_loop()
        try:
            self._core.release(lease, requeue_front, self._loop.time())
        finally:
            self._settle()

    async def extend(self, lease: Lease[K], timeout: float | None = None) -> None:
        """Restart the clock of a lease: its new deadline is now + timeout.

        ``timeout``: in seconds; ``None`` is the duration that the lease was
        granted with, ``math.inf`` means that it runs out no more.

        Raises as `ack` does, and TypeError or ValueError for a bad timeout. O(1).
        Spec: ``Extend``.
        """
        self._check_loop()
        try:
            self._core.extend(lease, timeout, self._loop.time())
        finally:
            self._settle()

    # -- introspection: works on a closed queue too ----------------------------

    async def peek(self, key: K) -> V | None:
        """The value of a key's available copy, or None.

        Raises TypeError for an unhashable key. O(1). Spec: ``Available``.
        """
        return self._look(self._core.peek, key)

    async def contains(self, key: K) -> bool:
        """Whether a copy of the key is available.

        Raises TypeError for an unhashable key. O(1). Spec: ``Available``.
        """
        return self._look(self._core.contains, key)

    async def available_keys(self) -> set[K]:
        """The keys that have an available copy. O(size of the result). Spec: ``Available``."""
        return self._look(self._core.available_keys)

    async def inflight_keys(self) -> set[K]:
        """The keys that are in flight. O(leases). Spec: ``InFlight``."""
        return self._look(self._core.inflight_keys)

    async def qsize(self) -> int:
        """How many items are available. O(1). Spec: ``Available``."""
        return self._look(self._core.qsize)

    async def inflight_size(self) -> int:
        """How many items are in flight: leased, or on their way to a call. O(1).

        Spec: ``InFlight``.
        """
        return self._look(self._core.inflight_size)

    def _look(self, method: Callable[..., T], *arguments: object) -> T:
        self._check_loop()
        try:
            return method(*arguments, self._loop.time())
        finally:
            self._settle()

    # -- what the shell does ---------------------------------------------------

    def _check_loop(self) -> None:
        """The queue belongs to the loop that it first worked in."""
        loop = get_running_loop()
        if self._loop is None:
            self._loop = loop
            if isinstance(loop, BaseEventLoop):
                self._home = loop
        elif loop is not self._loop:
            raise RuntimeError(
                f"{self!r} belongs to the event loop in which it was first used, and this is"
                " another: use one queue for each loop"
            )

    def _settle(self, not_before: float = -inf) -> None:
        """Wake the calls whose wait is over, and set the timer as the core wants it."""
        core = self._core
        if not core.news:
            return
        core.news = False
        loop = self._loop
        while core.settled:
            future: Any = core.settled.popleft().caller
            try:
                future.set_result(None)
            except InvalidStateError:
                pass  # cancelled meanwhile: it will come to by itself
            except RuntimeError:
                if not loop.is_closed():
                    raise  # otherwise nobody is left to be woken
        if core.alarm != self._armed:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            self._armed = core.alarm
            if core.alarm != inf and not loop.is_closed():
                self._timer = loop.call_at(max(core.alarm, not_before), _ring, ref(self))
        if core.lost:
            core.lost.clear()  # last: what it frees may call the queue

    def _time_out(self) -> None:
        """The timer has fired; up to one resolution of the clock early, as asyncio may."""
        now = self._loop.time()
        early = now < self._armed
        self._timer = None
        self._armed = inf
        try:
            self._core.time_out(now)
        finally:
            self._settle(now + _resolution(self._loop) if early else -inf)

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"{self!r} lives in one event loop and cannot be copied or pickled")

    def __repr__(self) -> str:
        return f"<{type(self).__name__} at {id(self):#x}>"


def _resolution(loop: AbstractEventLoop | None) -> float:
    """The step of a loop's clock, in seconds."""
    resolution: float = getattr(loop, "_clock_resolution", get_clock_info("monotonic").resolution)
    return resolution


def _ring(queue: ref[LeasedKeyQueue[Any, Any]]) -> None:
    """The timer's callback. It holds no reference, so a dropped queue is freed at once."""
    alive = queue()
    if alive is not None:
        alive._time_out()
