"""Workers: a handler that is called for each item, with retries, an end to them, and a good end.

Built on jobs, and so on a queue's public operations alone.
"""

from __future__ import annotations

from asyncio import (
    FIRST_EXCEPTION,
    CancelledError,
    Task,
    create_task,
    current_task,
    sleep,
    timeout,
    wait,
)
from collections.abc import Awaitable, Callable
from functools import partial
from inspect import isawaitable
from logging import INFO, WARNING
from random import Random
from typing import Any, Final, Generic, TypeAlias, TypeVar

from ._checks import seconds, text
from .errors import LeaseAlreadyAcknowledgedError, LeaseLostError, QueueClosedError
from .jobs import Backoff, Bury, DeadLetterQueue, Job, LeasingQueue, count, line, logger

K = TypeVar("K")
V = TypeVar("V")
Handler: TypeAlias = Callable[[Job[K, V]], Awaitable[object]]


def backoff(
    first: float = 1, cap: float = 60, *, factor: float = 2, seed: int | str | None = None
) -> Backoff:
    """Pauses that grow with the attempts, drawn at random: so-called full jitter.

    The pause after attempt n is anything from zero to ``first * factor ** (n - 1)`` seconds, and to
    ``cap`` at most. ``seed``: an int or str, for the same pauses each time. Any other function from
    an attempt to seconds will do as well.

    Raises TypeError or ValueError for bad numbers.
    """
    for name, value in [("first", first), ("cap", cap), ("factor", factor)]:
        if seconds(name, value) < 0:
            raise ValueError(f"{name} must be zero or more, not {value!r}")
    random = Random(seed)

    def pause(attempt: int) -> float:
        try:
            most = first * float(factor) ** (attempt - 1)
        except OverflowError:
            most = cap
        return random.uniform(0, min(most, cap))

    return pause


DEFAULT_BACKOFF: Final = backoff()
RAISED_BY_THE_LOOP: Final = (SystemExit, KeyboardInterrupt)  # at once, as well as by the task


async def run_workers(
    queue: LeasingQueue[K, V],
    handler: Handler[K, V],
    *,
    concurrency: int = 8,
    lease_timeout: float | None = 30,
    max_attempts: int = 5,
    backoff: Backoff | None = DEFAULT_BACKOFF,
    dead_letter: DeadLetterQueue | Bury | None = None,
    timeout_per_job: float | None = None,
) -> None:
    """Call ``await handler(job)`` for each item, ``concurrency`` at a time, until the queue ends.

    Leases last ``lease_timeout`` seconds and are kept alive while the handler runs. When it
    returns, the item is acknowledged. When it raises, or takes longer than ``timeout_per_job``
    seconds, the item comes back after ``backoff(attempt)`` seconds (None: at once); but if that was
    delivery number ``max_attempts``, it is given up. So is an item that was handed out as often
    and of which nobody ever came to an end: it is not run again.

    An item that is given up goes to ``dead_letter``, and then out of the queue. That is another
    queue, into which a `DeadLetter` is put under the same key, or is called as ``await
    dead_letter(key, value, attempts, error)``. If that fails, the item comes back after a pause.
    Without it the item is logged as an error, and gone.

    Returns when the queue was shut down or drained and nothing can come any more, or was closed. To
    cancel it stops it at once: every item that is worked on is back in front, in the order of the
    leases. A handler that raises stops nobody, even if it raises asyncio.CancelledError without
    being cancelled. What else is no Exception, such as SystemExit, stops all as a cancellation
    does, and comes out. So does an error that is not the handler's: of the queue itself, or a
    TypeError for a handler that returns nothing to await.

    Raises TypeError or ValueError for bad numbers, TypeError for what can't be called.
    """
    pause = DEFAULT_BACKOFF if backoff is None else backoff
    for name, function in {"handler": handler, "backoff": pause}.items():
        if not callable(function):
            raise TypeError(f"{name} must be a function, not {function!r}")
    if not (dead_letter is None or callable(dead_letter) or hasattr(dead_letter, "put")):
        raise TypeError(f"dead_letter must be a queue or an async function, not {dead_letter!r}")
    most = count("concurrency", concurrency)
    if timeout_per_job is not None:
        timeout_per_job = seconds("timeout_per_job", timeout_per_job)
    pool = _Pool(handler, count("max_attempts", max_attempts), timeout_per_job)
    get = partial(queue.get, None, lease_timeout=lease_timeout)
    await pool.run(most, partial(Job, queue, get, True, backoff, dead_letter))


class _Pool(Generic[K, V]):
    """The workers of one call, each a task."""

    def __init__(
        self,
        handler: Handler[K, V],
        max_attempts: int,
        timeout_per_job: float | None,
    ) -> None:
        self.owner = this_task()
        self.cancels = self.owner.cancelling()
        self.handler = handler
        self.max_attempts = max_attempts
        self.timeout_per_job = timeout_per_job
        self.stopped = False
        self.misuse: TypeError | None = None
        self.tokens: dict[Task[Any], str] = {}  # of the latest lease that a worker had
        self.unburied: dict[
            K, BaseException
        ] = {}  # why, of items whose dead letter came to nothing

    async def run(self, concurrency: int, job: Callable[[], Job[K, V]]) -> None:
        error = await self.end([create_task(self.work(job)) for _ in range(concurrency)])
        if error is not None:
            try:
                raise error
            finally:
                del error  # a traceback that leads to itself would not be freed at once

    async def end(self, workers: list[Task[None]]) -> BaseException | None:
        """Wait until all workers have ended. What one of them ends with ends the others, too."""
        stopped: BaseException | None = None
        try:
            await wait(workers, return_when=FIRST_EXCEPTION)
        except CancelledError as error:
            stopped = error
        self.stopped = True
        del self.owner  # which will hold an error that leads to this
        # The latest lease first: what comes back to the front is in order then.
        for worker in sorted(workers, key=lambda task: self.tokens.pop(task, ""), reverse=True):
            worker.cancel()
        while not all(worker.done() for worker in workers):
            try:
                await wait(workers)
            except CancelledError as error:  # once more, but nobody is left behind
                stopped = error
        errors = [raised for w in workers if not w.cancelled() and (raised := w.exception())]
        for other in errors[1:]:
            errors[0].add_note(f"Another worker ended with {line(other)}")
        if not errors or (stopped is not None and isinstance(errors[0], RAISED_BY_THE_LOOP)):
            return stopped
        return errors[0]

    @property
    def stopping(self) -> bool:
        return self.stopped or self.owner.cancelling() > self.cancels

    async def work(self, job: Callable[[], Job[K, V]]) -> None:
        """What one worker does."""
        while not self.stopping:
            try:
                await sleep(0)  # a handler that never waits must not keep the loop to itself
                await self.do(job())
            except QueueClosedError:
                return
            except (LeaseLostError, LeaseAlreadyAcknowledgedError) as error:
                logger.warning("%s", error)
            except CancelledError:
                if self.stopping:
                    raise
            while this_task().cancelling() and not self.stopping:
                this_task().uncancel()  # the handler has cancelled its own task, nobody else has

    async def do(self, job: Job[K, V]) -> None:
        """Wait for an item, and do with it what is to be done."""
        error: BaseException | None = None
        failed: BaseException | None = None
        try:
            async with job:
                self.tokens[this_task()] = job.lease.token
                error = self.unburied.pop(job.key, None)
                if job.attempt <= self.max_attempts:
                    error = await failure(self.handle(job))
                    if error is None:
                        return
                    if self.misuse is not None:
                        raise self.misuse
                    level = WARNING if job.settled else INFO
                    what = "attempt %s at key %s failed"
                    logger.log(level, what, job.attempt, text(job.key), exc_info=error)
                    if job.settled:
                        return
                elif error is None:
                    error = LeaseLostError(
                        f"key {text(job.key)} was handed out {job.attempt} times, and nobody came"
                        " to an end of it"
                    )
                if job.attempt >= self.max_attempts:
                    job.superseded()  # raises if the item is not ours any more
                    self.unburied[job.key] = error
                    failed = await failure(job.dead_letter(error))
                    if failed is None:
                        self.unburied.pop(job.key, None)
                        return
                    if job.settled:
                        raise failed  # the lease is lost
                    what = "the dead letter of key %s failed: it comes back"
                    logger.error(what, text(job.key), exc_info=failed)
                await job.release(delay=job.pause(error))
        finally:
            del error, failed  # a traceback that leads to itself would not be freed at once

    async def handle(self, job: Job[K, V]) -> None:
        async with timeout(self.timeout_per_job):
            work: object = self.handler(job)
            if not isawaitable(work):
                self.misuse = TypeError(f"a handler is to be awaited, not to return {work!r}")
                raise self.misuse
            await work


async def failure(work: Awaitable[object]) -> BaseException | None:
    """What code of the user's comes to; only a cancellation of the task itself goes on."""
    try:
        await work
    except Exception as error:  # noqa: BLE001 (it is what is asked for)
        return error
    except CancelledError as error:
        if this_task().cancelling():
            raise
        return error
    return None


def this_task() -> Task[Any]:
    task = current_task()
    assert task is not None
    return task
