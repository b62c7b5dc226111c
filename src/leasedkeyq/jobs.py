"""Jobs: an item that is worked on in an ``async with``, and batches of items.

Built on a queue's public operations alone, so every queue that has them (`LeasingQueue`) gets
these, too. Nothing waits but in those operations; a lease is kept alive by a timer, not by a task.
"""

from __future__ import annotations

import sys
from asyncio import CancelledError, Task, TimerHandle, current_task, get_running_loop
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from logging import getLogger
from math import inf
from types import EllipsisType, TracebackType
from typing import (
    Any,
    Final,
    Generic,
    NamedTuple,
    NoReturn,
    Protocol,
    Self,
    TypeAlias,
    TypeVar,
)

from ._checks import delay_seconds, leased, seconds, text
from .errors import (
    InvalidLeaseError,
    LeaseAlreadyAcknowledgedError,
    LeaseLostError,
    QueueClosedError,
)
from .lease import Delivery, Lease

K = TypeVar("K")
V = TypeVar("V")
V_co = TypeVar("V_co", covariant=True)
Backoff: TypeAlias = Callable[[int], float]  # from an attempt to the seconds before the next

GONE: Final = (InvalidLeaseError, QueueClosedError)  # what says that a lease has ended
TOO_SHORT: Final = 0.001  # seconds: a third of a lease that nobody can keep alive
logger: Final = getLogger(__name__)


class LeasingQueue(Protocol[K, V_co]):
    """The operations that jobs, workers and batches are made of, as `LeasedKeyQueue` has them.

    The plain ones don't wait: a queue that is reached through a network begins the request, and
    answers by what it has heard so far.
    """

    async def get(
        self, timeout: float | None = None, *, lease_timeout: float | None = None
    ) -> tuple[K, V_co, Lease[K]]: ...
    async def take(
        self, key: K, timeout: float | None = None, *, lease_timeout: float | None = None
    ) -> tuple[K, V_co, Lease[K]]: ...
    async def ack(self, lease: Lease[K]) -> None: ...
    async def release(
        self, lease: Lease[K], *, requeue_front: bool = False, delay: float = 0
    ) -> None: ...
    async def extend(self, lease: Lease[K], timeout: float | None = None) -> None: ...
    async def refresh(self, lease: Lease[K]) -> V_co: ...
    def extend_nowait(self, lease: Lease[K], timeout: float | None = None) -> None: ...
    def superseded_nowait(self, lease: Lease[K]) -> bool: ...
    def deadline_nowait(self, lease: Lease[K]) -> float: ...


class DeadLetter(NamedTuple):
    """What is put into a queue of dead letters, under the item's own key."""

    value: Any
    attempts: int  # how often it was handed out
    error: BaseException | None  # what the last attempt came to, if anybody knows


class DeadLetterQueue(Protocol):
    async def put(self, key: Any, value: Any) -> None: ...


Bury: TypeAlias = Callable[[Any, Any, int, BaseException | None], Awaitable[object]]


class Job(Generic[K, V]):
    """An item under lease, for as long as an ``async with`` lasts. Made by `Jobs.job`.

    ``key``, ``value`` and ``lease`` are what ``get`` returned; ``attempt`` says how often the value
    has been handed out, this time included. They are there once the block is entered.
    """

    __slots__ = (
        *("__weakref__", "key", "value", "lease", "attempt"),
        *("_queue", "_get", "_keep_alive", "_backoff", "_bury"),
        *("_task", "_cancels", "_timer", "_duration", "_lost", "_settled"),
    )

    key: K
    value: V
    lease: Lease[K]
    attempt: int

    def __init__(
        self,
        queue: LeasingQueue[K, V],
        get: Callable[[], Awaitable[Delivery[K, V]]],
        keep_alive: bool = True,
        backoff: Backoff | None = None,
        bury: DeadLetterQueue | Bury | None = None,
    ) -> None:
        self._queue = queue
        self._get: Callable[[], Awaitable[Delivery[K, V]]] | None = get
        self._keep_alive = keep_alive
        self._backoff = backoff
        self._bury = bury
        self._task: Task[Any] | None = None  # that works on it
        self._timer: TimerHandle | None = None
        self._lost: Exception | None = None  # why the body was cancelled
        self._settled = False  # acked, released, given up, or known to be lost

    # -- in the body ---------------------------------------------------------------

    @property
    def settled(self) -> bool:
        """Whether there is nothing left to do when the body is left."""
        return self._settled

    async def ack(self) -> None:
        """Be done with the item already now.

        Raises LeaseLostError, LeaseAlreadyAcknowledgedError. O(1).
        """
        await self._settle(self._queue.ack(self.lease))

    async def release(self, *, requeue_front: bool = False, delay: float | None = None) -> None:
        """Give the item back already now; ``delay=None`` is the backoff's, or none to the front.

        Raises LeaseLostError, LeaseAlreadyAcknowledgedError, and as ``release`` of the queue does
        for bad arguments. O(1).
        """
        if delay is None:
            delay = 0 if requeue_front else self.pause()
        operation = self._queue.release(self.lease, requeue_front=requeue_front, delay=delay)
        await self._settle(operation)

    async def dead_letter(self, error: BaseException | None = None) -> None:
        """Give the item up already now: to the workers' ``dead_letter``, then out of the queue.

        ``error``: why; the one that is being handled if it is left out. Without workers, or if they
        have no ``dead_letter``, it is logged as an error. If a newer value of the key has come
        meanwhile, that stays. If the dead letter fails, its error comes out and nothing is settled.

        Raises LeaseLostError, LeaseAlreadyAcknowledgedError. O(1).
        """
        self.superseded()  # raises if the item is not ours to bury
        error = sys.exception() if error is None else error
        if self._bury is None:
            logger.error(
                "gave up key %s after %s attempts", text(self.key), self.attempt, exc_info=error
            )
        elif callable(self._bury):
            await self._bury(self.key, self.value, self.attempt, error)
        else:
            await self._bury.put(self.key, DeadLetter(self.value, self.attempt, error))
        if await self._took_a_newer_value():
            await self.release(delay=0)  # it was not tried yet
        else:
            await self.ack()

    async def _took_a_newer_value(self) -> bool:
        """Whether a put has replaced the value of this copy, were it by one that equals it."""
        if not self.superseded():
            return False
        await self._queue.refresh(self.lease)  # to see it makes it no longer a newer one,
        return not self.superseded()  # unless it is elsewhere

    def superseded(self) -> bool:
        """Whether a newer value of the key was put than was last seen by this job.

        Raises LeaseLostError, LeaseAlreadyAcknowledgedError. O(1).
        """
        try:
            return self._queue.superseded_nowait(self.lease)
        except GONE as error:
            self._gone(error)

    async def refresh(self) -> V:
        """The value as it stands, which a put may have replaced; ``value`` from now on.

        Raises LeaseLostError, LeaseAlreadyAcknowledgedError. O(1).
        """
        try:
            self.value = await self._queue.refresh(self.lease)
        except GONE as error:
            self._gone(error)
        return self.value

    async def _settle(self, operation: Awaitable[None]) -> None:
        """Carry out what ends the lease. Whatever else comes of it, the lease is kept alive."""
        self._disarm()
        try:
            await operation
        except GONE as error:
            self._gone(error)
        except LeaseAlreadyAcknowledgedError:
            self._settled = True
            raise
        except BaseException:
            self._watch()
            raise
        self._settled = True

    def _gone(self, error: Exception) -> NoReturn:
        """The lease has ended, and it was not this job that ended it."""
        if self._settled and self._lost is None:
            raise error
        self._disarm()
        self._settled = True
        raise self._loss() from error

    def _loss(self) -> LeaseLostError:
        return LeaseLostError(
            f"the lease on key {text(self.key)} was lost before its job was over: the item is back"
            " in the queue, and may be with another consumer"
        )

    # -- its beginning and its end ---------------------------------------------------

    async def __aenter__(self) -> Self:
        get, self._get = self._get, None
        if get is None:
            raise RuntimeError("a job is for one `async with`: ask the queue for another")
        task = current_task()
        if task is None:
            raise RuntimeError("a job must be entered in a task: it is told if the lease is lost")
        self.key, self.value, self.lease = await get()
        self.attempt = self.lease.attempt
        self._task, self._cancels = task, task.cancelling()
        self._duration = inf
        if self._keep_alive:
            self._duration = _left(self._queue, self.lease)
            self._watch()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._disarm()
        task, self._task = self._task, None
        lost, self._lost = self._lost, None
        if lost is not None and task is not None:
            # As asyncio.timeout does it: the cancellation was ours, unless there is another.
            ours = task.uncancel() <= self._cancels and isinstance(error, CancelledError)
            if error is None or ours:
                raise self._loss() from lost
            error.add_note(f"Meanwhile the lease was lost: {line(lost)}")
        elif not self._settled:
            self._settled = True
            if error is None:
                await self._finish()
            else:
                await self._give_back(error)

    async def _finish(self) -> None:
        """The body has come to its end: ack."""
        try:
            await self._queue.ack(self.lease)
        except LeaseAlreadyAcknowledgedError:
            pass  # by a hand other than this job's
        except GONE as error:
            raise self._loss() from error
        except BaseException as error:
            await self._give_back(error)
            raise

    async def _give_back(self, error: BaseException) -> None:
        """The body has come to grief: release, and let nothing hide the error."""
        try:
            if isinstance(error, Exception):
                await self._queue.release(self.lease, delay=self.pause(error))
            else:
                await self._queue.release(self.lease, requeue_front=True)
        except CancelledError as cancelled:
            if isinstance(error, Exception):
                await self._give_back(cancelled)  # to the front, now
            raise
        except Exception as failure:  # noqa: BLE001 (it is told, next to what matters more)
            error.add_note(f"Its item could not be released: {line(failure)}")

    def pause(self, error: BaseException | None = None) -> float:
        """How long the item is to rest, by the backoff, which may raise; not if it is told why."""
        if self._backoff is None:
            return 0
        try:
            return delay_seconds(self._backoff(self.attempt))
        except Exception as failure:
            if error is None:
                raise
            error.add_note(f"Its backoff failed: {line(failure)}")
            return 0

    # -- keeping the lease alive -------------------------------------------------------

    def _watch(self) -> None:
        """Look at the lease when a third of its time has passed, or of what is left of that."""
        if self._duration != inf and self._task is not None:
            left = _left(self._queue, self.lease)
            if left != inf:
                pause = max(left - self._duration * 2 / 3, left / 3)
                self._timer = get_running_loop().call_later(pause, self._beat)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _beat(self) -> None:
        """Extend the lease. If that is too late, the body is cancelled at its next await."""
        self._timer = None
        try:
            if _left(self._queue, self.lease) <= self._duration:
                self._queue.extend_nowait(self.lease)  # unless it was extended for longer
        except LeaseAlreadyAcknowledgedError:
            return  # by a hand other than this job's
        except GONE as error:
            self._lost = error
            self._settled = True
            assert self._task is not None
            self._task.cancel()
            return
        except BaseException:
            self._watch()  # there is time for another try
            raise
        self._watch()


class Jobs:
    """What any queue with the operations of `LeasingQueue` gets: jobs, batches, ``async for``."""

    __slots__ = ()

    def __aiter__(self) -> Self:
        """`get` again and again, until that raises QueueClosedError. Spec: ``Get``."""
        return self

    async def __anext__(self: LeasingQueue[K, V]) -> Delivery[K, V]:
        try:
            return await self.get()
        except QueueClosedError:
            raise StopAsyncIteration from None

    def job(
        self: LeasingQueue[K, V],
        timeout: float | None = None,
        key: K | EllipsisType = ...,
        lease_timeout: float | None = None,
        keep_alive: bool = True,
        backoff: Backoff | None = None,
    ) -> Job[K, V]:
        """An ``async with`` around the work on one item: the next one, or that of ``key``.

        Left normally, it acks. By an exception it releases, after ``backoff(attempt)`` seconds (at
        once if it is None), and the exception goes on as it is. By a cancellation it releases to
        the front. ``keep_alive``: the lease is extended while the body runs. If it is lost all the
        same, the body is cancelled at its next await and LeaseLostError comes out.

        ``timeout`` and ``lease_timeout`` are those of `get`. On entering it raises as `get` and
        `take` do, on leaving LeaseLostError if there was no lease any more, and nothing else was
        raised. O(1). Spec: no action of its own.
        """
        if isinstance(key, EllipsisType):
            get = partial(self.get, timeout, lease_timeout=lease_timeout)
        else:
            get = partial(self.take, key, timeout, lease_timeout=lease_timeout)
        return Job(self, get, keep_alive, backoff)

    async def get_many(
        self: LeasingQueue[K, V],
        max_items: int,
        timeout: float | None = None,
        *,
        lease_timeout: float | None = None,
        linger: float = 0,
    ) -> list[Delivery[K, V]]:
        """Lease up to ``max_items``: wait for the first, then up to ``linger`` seconds for more.

        The other arguments are those of `get`. The clocks of all leases start when this returns,
        and the values are as they stand then. A call that raises or is cancelled has taken nothing:
        what it had is back in front, in order.

        Returns a list of what `get` returns, one at least. Raises as `get` does, and TypeError or
        ValueError for bad numbers. O(n), and O(n) for each third of a lease that it lingers.
        Spec: no action of its own.
        """
        most = count("max_items", max_items)
        if (patience := seconds("linger", linger)) < 0:
            raise ValueError(f"linger must be zero seconds or more, not {linger!r}")
        wait = timeout
        end = inf if timeout is None else _now() + seconds("timeout", timeout)
        batch: list[Delivery[K, V]] = []
        try:
            while not batch:  # so again if the loop was blocked until all leases had run out
                batch.append(await self.get(wait, lease_timeout=lease_timeout))
                await _fill(self, batch, most, lease_timeout, patience)
                wait = None if timeout is None else max(end - _now(), 0)
        except BaseException as error:
            for _, _, lease in reversed(batch):
                try:
                    await self.release(lease, requeue_front=True)
                except GONE:
                    pass  # it is back already
                except (Exception, CancelledError) as failure:  # noqa: BLE001 (on to the others)
                    error.add_note(f"{text(lease)} could not be released: {line(failure)}")
            raise
        return batch

    async def ack_many(self: LeasingQueue[K, V], leases: Iterable[Lease[K]]) -> None:
        """Acknowledge many leases. If some can't be, all the others are, and the first error comes
        out, with a note for each of the rest.

        Raises as `ack` does. O(n). Spec: no action of its own.
        """
        first: Exception | None = None
        for lease in [leased(lease) for lease in leases]:
            try:
                await self.ack(lease)
            except Exception as error:  # noqa: BLE001 (it is raised when all had their turn)
                if first is None:
                    first = error
                else:
                    first.add_note(f"Also: {line(error)}")
        if first is not None:
            try:
                raise first
            finally:
                del first  # an error whose traceback leads to itself would not be freed at once


async def _fill(
    queue: LeasingQueue[K, V],
    batch: list[Delivery[K, V]],
    most: int,
    lease_timeout: float | None,
    patience: float,
) -> None:
    """Wait for more, and keep alive meanwhile what is there."""
    third = _left(queue, batch[0][2]) / 3
    if third < TOO_SHORT:
        patience = 0
    end, beat = _now() + patience, _now() + third
    while len(batch) < most:
        wait = max(min(end, beat) - _now(), 0)
        try:
            batch.append(await queue.get(wait, lease_timeout=lease_timeout))
        except TimeoutError:
            if _now() >= end:
                break
        if _now() >= beat:
            await _renew(queue, batch, timed=True)
            beat = _now() + third
    if patience > 0:
        await _renew(queue, batch, timed=third != inf)


async def _renew(queue: LeasingQueue[K, V], batch: list[Delivery[K, V]], *, timed: bool) -> None:
    """Start the clocks of all leases anew, and look at the values once more: they may have been
    replaced meanwhile. The leases that are lost are no longer in the batch."""
    kept: list[Delivery[K, V]] = []
    for key, _, lease in batch:
        try:
            if timed:
                await queue.extend(lease)
            kept.append((key, await queue.refresh(lease), lease))
        except InvalidLeaseError:
            continue
    batch[:] = kept


def _left(queue: LeasingQueue[K, V], lease: Lease[K]) -> float:
    """How long a lease still lasts: not at all if it has ended."""
    try:
        return max(queue.deadline_nowait(lease) - _now(), 0)
    except (*GONE, LeaseAlreadyAcknowledgedError):
        return 0


def count(name: str, value: object) -> int:
    """A number of things, one at least. TypeError if it is no int, ValueError if it is less."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name} must be an int, not {value!r}")
    if value < 1:
        raise ValueError(f"{name} must be one or more, not {value}")
    return value


def _now() -> float:
    return get_running_loop().time()


def line(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"
