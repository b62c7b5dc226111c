"""`LeasedKeyQueue`: the coroutines. Each is the shell's operation, and a wait where it has one.

This file stays pure Python in every build: compiled coroutines are slower.
"""

from __future__ import annotations

from asyncio import Future
from types import TracebackType
from typing import TYPE_CHECKING, Generic, Self, TypeVar, cast

from ._checks import InFlightPolicy
from ._records import Waiter
from ._shell import Shell
from .jobs import Jobs
from .lease import Delivery, Lease
from .observing import Observer

K = TypeVar("K")
V = TypeVar("V")


class LeasedKeyQueue(Shell, Jobs, Generic[K, V]):
    """A dict and a FIFO in one, whose items are leased to consumers.

    ``default_lease_timeout``: how long a lease lasts, in seconds, when ``get`` and ``take`` are
    not told otherwise; ``None`` or ``math.inf`` is for ever. ``maxsize``: how many items the queue
    holds at most, those in flight included; zero or less is no bound. ``if_in_flight``: the policy
    of a ``put`` that names none. ``observer``: is called as ``observer(queue, events)`` after each
    operation that something came of, with a list of `Event`; None costs nothing. It may do what it
    likes: if it raises, the error goes to the exception handler of the loop.

    Raises TypeError if the timeout or maxsize is no number or the observer can't be called,
    ValueError if the timeout is NaN, zero or less or the policy is unknown. Where the cost of an
    operation is O(1), several leases on one key (by "buffer") add O(leases on that key).

    A queue belongs to the event loop in which it is first used; any use from another loop is a
    RuntimeError, and so is a call from within one of its own operations (by the ``__hash__`` or
    ``__eq__`` of a key, or by a finalizer). It is not thread-safe. Spec: ``Init``.
    """

    __slots__ = ()

    if TYPE_CHECKING:  # what the shell has as well, by the types of this queue

        def put_nowait(
            self,
            key: K,
            value: V,
            *,
            if_in_flight: InFlightPolicy | None = None,
            delay: float = 0,
        ) -> None: ...
        def get_nowait(self, *, lease_timeout: float | None = None) -> Delivery[K, V]: ...
        def take_nowait(self, key: K, *, lease_timeout: float | None = None) -> Delivery[K, V]: ...
        def ack_nowait(self, lease: Lease[K]) -> None: ...
        def release_nowait(
            self, lease: Lease[K], *, requeue_front: bool = False, delay: float = 0
        ) -> None: ...
        def extend_nowait(self, lease: Lease[K], timeout: float | None = None) -> None: ...
        def superseded_nowait(self, lease: Lease[K]) -> bool: ...
        def deadline_nowait(self, lease: Lease[K]) -> float: ...

    def __init__(
        self,
        *,
        default_lease_timeout: float | None = None,
        maxsize: int = 0,
        if_in_flight: InFlightPolicy = "update",
        observer: Observer | None = None,
    ) -> None:
        super().__init__(default_lease_timeout, maxsize, if_in_flight, observer)

    # -- producers -------------------------------------------------------------

    async def put(
        self,
        key: K,
        value: V,
        *,
        if_in_flight: InFlightPolicy | None = None,
        delay: float = 0,
        timeout: float | None = None,
    ) -> None:
        """Put a value under a key. Waits only for a slot of a full queue.

        An absent key joins the line at the back; one that waits takes the value and keeps its
        place. When the key is in flight, ``if_in_flight`` decides: ``"update"`` gives the value to
        the newest in-flight copy, ``"reject"`` raises, ``"buffer"`` adds a second copy at the
        back, ``"defer"`` holds the value back until no lease on the key is live; ``None`` is the
        queue's own policy. ``delay``: seconds before which the value is not handed out; where it
        meets another of its key the earlier time holds. ``timeout``: how long to wait for a slot,
        in seconds; ``None`` waits for ever, zero or less not at all.

        Raises KeyAlreadyInFlightError (only with "reject"), TimeoutError, QueueClosedError,
        ValueError for an unknown policy or a bad number, TypeError for an unhashable key or no
        number. A put that raises or is cancelled has not happened. O(1). Spec: ``Put``, ``Resume``.
        """
        waiter = self._put(key, value, if_in_flight, delay, timeout)
        if waiter is not None:
            await self._wait(waiter)

    async def discard(self, key: K) -> bool:
        """Remove what waits of a key, in the line, delayed or deferred; False if nothing does.

        What is in flight is not touched. Raises QueueClosedError, TypeError for an unhashable key.
        O(1). Spec: ``Discard``.
        """
        return self._do(self._machine.discard, key)

    # -- consumers -------------------------------------------------------------

    async def get(
        self, timeout: float | None = None, *, lease_timeout: float | None = None
    ) -> Delivery[K, V]:
        """Lease the item at the front; wait for one if there is none.

        ``timeout``: how long to wait, in seconds, whatever happens meanwhile; ``None`` waits for
        ever, zero or less not at all. ``lease_timeout``: how long the lease lasts; ``None`` is the
        queue's default, ``math.inf`` for ever. Its clock starts when this call returns. Calls are
        served in the order of their arrival; one that is cancelled takes nothing with it.

        Returns ``(key, value, lease)``. Raises TimeoutError, QueueClosedError (also once the queue
        is shut down and holds nothing more), TypeError or ValueError for a bad timeout. O(1).
        Spec: ``Get``, ``Resume``.
        """
        call = self._get(timeout, lease_timeout)
        if isinstance(call, Waiter):
            return cast("Delivery[K, V]", await self._wait(call))
        return call

    async def take(
        self, key: K, timeout: float | None = None, *, lease_timeout: float | None = None
    ) -> Delivery[K, V]:
        """Lease the available copy of a key, wherever it stands; wait if there is none.

        The arguments are those of `get`. A copy that is in flight or delayed is waited for;
        waiting for one key costs nothing to the traffic of the others.

        Returns ``(key, value, lease)``. Raises as `get` does (QueueClosedError once the queue is
        shut down and holds nothing of the key), and TypeError for an unhashable key. O(1).
        Spec: ``Take``, ``Resume``.
        """
        call = self._take(key, timeout, lease_timeout)
        if isinstance(call, Waiter):
            return cast("Delivery[K, V]", await self._wait(call))
        return call

    async def _wait(self, waiter: Waiter) -> object:
        """The one way to wait: until the machine has something for the call."""
        future = cast("Future[None]", waiter.caller)
        try:
            await future
            return self._resume(waiter)
        except BaseException:
            self._leave(waiter)  # which does nothing if the call has resumed
            raise

    # -- leases ----------------------------------------------------------------

    async def ack(self, lease: Lease[K]) -> None:
        """Acknowledge a lease: its item is done with, and gone for good.

        A value that was deferred meanwhile becomes available at the back, once no other lease on
        the key is live.

        Raises LeaseAlreadyAcknowledgedError, LeaseExpiredError (its deadline has come, whether or
        not anybody has noticed), InvalidLeaseError (released, another queue's, unknown),
        QueueClosedError, TypeError if it is no `Lease`. O(1). Spec: ``Ack``.
        """
        self.ack_nowait(lease)

    async def release(
        self, lease: Lease[K], *, requeue_front: bool = False, delay: float = 0
    ) -> None:
        """Give a leased item back: to the back of the line, to its front, or after a delay.

        If a newer value was deferred, the item takes it. If a copy of the key waits already,
        nothing is duplicated: that copy keeps its place and takes the newer of the two values, and
        the earlier of the two times.

        Raises as `ack` does, and ValueError or TypeError for a bad delay, or one together with
        ``requeue_front``. O(1). Spec: ``Release``.
        """
        self.release_nowait(lease, requeue_front=requeue_front, delay=delay)

    async def extend(self, lease: Lease[K], timeout: float | None = None) -> None:
        """Restart the clock of a lease: its new deadline is now + timeout.

        ``timeout``: in seconds; ``None`` is the duration that the lease was granted with,
        ``math.inf`` means that it runs out no more.

        Raises as `ack` does, and TypeError or ValueError for a bad timeout. O(1).
        Spec: ``Extend``.
        """
        self.extend_nowait(lease, timeout)

    async def refresh(self, lease: Lease[K]) -> V:
        """The value of the leased copy as it stands, which a put may have replaced.

        Raises as `ack` does. O(1). Spec: ``Refresh``.
        """
        return cast("V", self._do(self._machine.refresh, lease))

    async def superseded(self, lease: Lease[K]) -> bool:
        """Whether a newer value of the key was put than was last seen through this lease.

        Seen at its delivery or by `refresh`; wherever the newer value went. Raises as `ack` does.
        O(1). Spec: ``Superseded``.
        """
        return self._do(self._machine.superseded, lease)

    async def deadline(self, lease: Lease[K]) -> float:
        """When a lease runs out, by the clock of the loop; ``math.inf`` for never.

        Raises as `ack` does. O(1). Spec: no action.
        """
        return self._do(self._machine.deadline, lease)

    # -- the end ---------------------------------------------------------------

    async def join(self, timeout: float | None = None) -> None:
        """Wait until the queue holds no item: all that was put is acknowledged or discarded.

        Raises TimeoutError, QueueClosedError (closed with something left in it), TypeError or
        ValueError for a bad timeout. O(1). Spec: ``Join``.
        """
        waiter = self._do(self._machine.join, timeout)
        if waiter is not None:
            await self._wait(waiter)

    async def shutdown(self) -> None:
        """Take no more puts, and let everything else go on until nothing is left.

        Puts raise QueueClosedError from now on, those that wait included; a get or take does when
        nothing can come to it any more. A second call does nothing. O(waiting calls).
        Spec: ``Shutdown``.
        """
        self._do(self._machine.shutdown)

    async def drain(self, timeout: float | None = None) -> bool:
        """Shut down, wait until all but what is delayed is worked off, and close.

        Returns whether it was; if the timeout runs out first, or the queue is closed meanwhile,
        what was in flight is back in the queue. A drain that is cancelled leaves the queue shut
        down. Raises TypeError or ValueError for a bad timeout. O(waiting calls), and its end costs
        what `close` does. Spec: ``Drain``.
        """
        call = self._do(self._machine.drain, timeout)
        if isinstance(call, Waiter):
            return bool(await self._wait(call))
        return call

    async def close(self) -> None:
        """Close the queue: every lease and delay ends, and every blocked call raises.

        What was in flight becomes available again, the oldest in front. From now on only the
        introspection methods answer, so that what is left can be saved. A second call does
        nothing. O(n log n) for n leases, delays and waiting calls. Spec: ``Close``.
        """
        self._do(self._machine.close)

    async def start(self) -> None:
        """Check that the queue is open. There is nothing to start, and no need to call it.

        Raises QueueClosedError if the queue is closed. O(1). Spec: no action.
        """
        self._do(self._machine.start)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    # -- introspection: works on a closed queue too ----------------------------

    async def peek(self, key: K) -> V | None:
        """The value of a key's available copy, or None.

        Raises TypeError for an unhashable key. O(1). Spec: ``Available``.
        """
        return cast("V | None", self._do(self._machine.peek, key))

    async def contains(self, key: K) -> bool:
        """Whether a copy of the key is available.

        Raises TypeError for an unhashable key. O(1). Spec: ``Available``.
        """
        return self._do(self._machine.contains, key)

    async def available_keys(self) -> set[K]:
        """The keys that have an available copy. O(size of the result). Spec: ``Available``."""
        return self._do(self._machine.available_keys)

    async def available_items(self) -> list[tuple[K, V]]:
        """The line, front first, to be saved or shown. O(size of the result). Spec: ``Line``."""
        return self._do(self._machine.available_items)

    async def delayed_keys(self) -> set[K]:
        """The keys whose waiting copy is delayed. O(delays and timed leases). Spec: ``Delayed``."""
        return self._do(self._machine.delayed_keys)

    async def inflight_keys(self) -> set[K]:
        """The keys that are in flight. O(leases). Spec: ``InFlight``."""
        return self._do(self._machine.inflight_keys)

    async def qsize(self) -> int:
        """How many items are available. O(1). Spec: ``Available``."""
        return self._do(self._machine.qsize)

    async def delayed_size(self) -> int:
        """How many items are delayed. O(1). Spec: ``Delayed``."""
        return self._do(self._machine.delayed_size)

    async def inflight_size(self) -> int:
        """How many items are in flight: leased, or on their way to a call. O(1).

        Spec: ``InFlight``.
        """
        return self._do(self._machine.inflight_size)
