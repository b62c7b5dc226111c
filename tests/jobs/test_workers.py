"""Workers: retries and their end, what stops them and what must not, and a good end."""

# ruff: noqa: PT012 (what is tested here are blocks)
from __future__ import annotations

import asyncio
import gc
import logging
import weakref
from asyncio import CancelledError, current_task
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from inspect import signature
from math import nan
from typing import Any

import pytest

from tests.subject import (
    DeadLetter,
    Job,
    LeasedKeyQueue,
    LeaseLostError,
    QueueClosedError,
    backoff,
    run_workers,
)
from tests.virtual import VirtualLoop, jump, quiet, running, ticks

Queue = LeasedKeyQueue[str, Any]
AnyJob = Job[str, Any]
Handler = Callable[[AnyJob], Awaitable[object]]


async def a_queue(*keys: str, **options: Any) -> Queue:
    queue = Queue(**options)
    for key in keys or ("a",):
        await queue.put(key, key.upper())
    return queue


async def work_off(queue: Queue, handler: Handler, **options: Any) -> None:
    """Run workers until everything is done with, retries included."""
    await queue.shutdown()
    await run_workers(queue, handler, **options)


async def left(queue: Queue) -> list[str]:
    assert await queue.inflight_size() == 0
    assert running().timers() == []
    return [key for key, _ in await queue.available_items()]


def start(queue: Queue, handler: Handler, **options: Any) -> asyncio.Task[None]:
    return asyncio.create_task(run_workers(queue, handler, **options))


class Log:
    """A handler that notes when it is called and does what it is told."""

    def __init__(self, what: Callable[[AnyJob], Awaitable[object]] | None = None) -> None:
        self.calls: list[tuple[str, int]] = []
        self.times: list[float] = []
        self.what = what

    async def __call__(self, job: AnyJob) -> None:
        self.calls.append((job.key, job.attempt))
        self.times.append(running().time())
        if self.what:
            await self.what(job)


async def fail(job: AnyJob) -> None:
    raise ZeroDivisionError(f"at {job.attempt}")


# -- the pool --------------------------------------------------------------------------------------


@pytest.mark.parametrize("concurrency", [1, 3, 8])
async def test_so_many_are_at_work_at_once(concurrency: int) -> None:
    queue = await a_queue(*"abcdefgh")
    log = Log(lambda job: asyncio.sleep(1))
    await work_off(queue, log, concurrency=concurrency)
    assert [key for key, _ in log.calls] == [*"abcdefgh"]
    assert running().time() == -(-8 // concurrency)
    assert await left(queue) == []


async def test_a_handler_that_never_waits_leaves_the_others_their_turn() -> None:
    queue = await a_queue(*map(str, range(100)))
    workers = set()

    async def handler(job: AnyJob) -> None:
        workers.add(current_task())

    running_workers = start(queue, handler, concurrency=4)
    await ticks(5)
    assert await queue.qsize() > 0
    assert len(workers) == 4
    running_workers.cancel()
    await asyncio.wait([running_workers])
    assert running_workers.cancelled()


async def test_leases_are_kept_alive_while_the_handler_runs() -> None:
    queue = await a_queue()
    log = Log(lambda job: asyncio.sleep(100))
    await work_off(queue, log, lease_timeout=3)
    assert log.calls == [("a", 1)]


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"concurrency": 0}, ValueError),
        ({"concurrency": True}, TypeError),
        ({"concurrency": 1.5}, TypeError),
        ({"max_attempts": 0}, ValueError),
        ({"max_attempts": "5"}, TypeError),
        ({"timeout_per_job": "1"}, TypeError),
        ({"timeout_per_job": nan}, ValueError),
        ({"lease_timeout": 0}, ValueError),
    ],
)
async def test_bad_numbers_are_refused(options: Any, error: type[Exception]) -> None:
    queue = await a_queue()
    with pytest.raises(error):
        await run_workers(queue, Log(), **options)
    assert await left(queue) == ["a"]


@pytest.mark.parametrize(
    "options", [{"handler": None}, {"backoff": 5}, {"dead_letter": []}, {"dead_letter": 0}]
)
async def test_what_cannot_be_called_is_refused_before_an_item_is_harmed(options: Any) -> None:
    queue = await a_queue()
    with pytest.raises(TypeError, match=f"{next(iter(options))} must be a"):
        await run_workers(queue, **{"handler": fail, **options})
    assert await left(queue) == ["a"]


def test_the_defaults_are_those_of_the_manual() -> None:
    defaults = {name: p.default for name, p in signature(run_workers).parameters.items()}
    assert defaults["concurrency"] == 8
    assert defaults["lease_timeout"] == 30
    assert defaults["max_attempts"] == 5
    assert defaults["dead_letter"] is defaults["timeout_per_job"] is None
    assert all(0 <= defaults["backoff"](attempt) <= min(2**attempt / 2, 60) for attempt in (1, 9))


# -- retries, and their end ------------------------------------------------------------------------


async def test_a_failed_item_comes_back_after_the_backoff_of_its_attempt() -> None:
    queue = await a_queue("a", "b")

    async def handler(job: AnyJob) -> None:
        if job.key == "a" and job.attempt < 4:
            raise ZeroDivisionError

    log = Log(handler)
    await work_off(queue, log, concurrency=1, backoff=lambda attempt: 10**attempt)
    assert log.calls == [("a", 1), ("b", 1), ("a", 2), ("a", 3), ("a", 4)]
    assert log.times == [0, 0, 10, 110, 1110]
    assert await left(queue) == []


async def test_without_backoff_it_comes_back_at_once_and_behind_the_others() -> None:
    queue = await a_queue("a", "b")
    log = Log(fail)
    await work_off(queue, log, concurrency=1, backoff=None, max_attempts=2)
    assert log.calls == [("a", 1), ("b", 1), ("a", 2), ("b", 2)]
    assert running().time() == 0


@pytest.mark.parametrize("max_attempts", [1, 3])
async def test_the_last_attempt_that_fails_is_given_up_at_once(max_attempts: int) -> None:
    queue = await a_queue()
    buried: list[Any] = []

    async def bury(key: str, value: Any, attempts: int, error: BaseException | None) -> None:
        buried.append((running().time(), key, value, attempts, str(error)))

    log = Log(fail)
    options = {"max_attempts": max_attempts, "backoff": lambda attempt: 10, "dead_letter": bury}
    await work_off(queue, log, **options)
    assert [attempt for _, attempt in log.calls] == [*range(1, max_attempts + 1)]
    end = 10 * (max_attempts - 1)
    assert buried == [(end, "a", "A", max_attempts, f"at {max_attempts}")]
    assert running().time() == end
    assert await left(queue) == []


async def test_a_dead_letter_queue_gets_the_value_and_why() -> None:
    queue, dead = await a_queue(), Queue()
    await work_off(queue, fail, max_attempts=2, backoff=None, dead_letter=dead)
    ((key, letter),) = await dead.available_items()
    assert isinstance(letter, DeadLetter)
    assert (key, letter.value, letter.attempts, repr(letter.error)) == (
        "a",
        "A",
        2,
        "ZeroDivisionError('at 2')",
    )


async def test_without_a_dead_letter_it_is_logged_with_the_error(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    queue = await a_queue()
    await work_off(queue, fail, max_attempts=2, backoff=None)
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("INFO", "attempt 1 at key 'a' failed"),
        ("INFO", "attempt 2 at key 'a' failed"),
        ("ERROR", "gave up key 'a' after 2 attempts"),
    ]
    assert all("ZeroDivisionError" in (record.exc_text or "") for record in caplog.records)
    assert await left(queue) == []


async def test_a_poison_item_of_which_only_expiries_come_is_given_up_unrun() -> None:
    """Whoever works on it blocks the loop until the lease has run out."""
    queue, dead = await a_queue("a", "b"), Queue()

    async def handler(job: AnyJob) -> None:
        if job.key == "a":
            jump(31)
            await asyncio.sleep(0)

    log = Log(handler)
    await work_off(queue, log, max_attempts=3, dead_letter=dead)
    assert log.calls.count(("b", 1)) == 1
    assert [call for call in log.calls if call[0] == "a"] == [("a", 1), ("a", 2), ("a", 3)]
    ((key, letter),) = await dead.available_items()
    assert (key, letter.value, letter.attempts) == ("a", "A", 4)
    assert isinstance(letter.error, LeaseLostError)
    assert str(letter.error).startswith("key 'a' was handed out 4 times, and nobody came to an end")


async def test_a_worker_that_died_counts_as_an_attempt() -> None:
    queue, dead = await a_queue(), Queue()
    for _ in range(5):
        await queue.get(lease_timeout=1)
    log = Log()
    await asyncio.sleep(1)
    await work_off(queue, log, dead_letter=dead)
    assert log.calls == []
    assert await dead.contains("a")


async def test_a_newer_value_has_attempts_of_its_own() -> None:
    queue, dead = await a_queue(if_in_flight="defer"), Queue()

    async def handler(job: AnyJob) -> None:
        if job.value == "A":
            if job.attempt == 2:
                await queue.put("a", "newer")
            raise ZeroDivisionError

    log = Log(handler)
    workers = start(queue, log, max_attempts=2, backoff=None, dead_letter=dead)
    await queue.join()
    await queue.shutdown()
    await workers
    assert log.calls == [("a", 1), ("a", 2), ("a", 1)]
    ((_, letter),) = await dead.available_items()
    assert letter.value == "A"


async def test_a_handler_that_takes_too_long_has_failed() -> None:
    queue, dead = await a_queue(), Queue()
    log = Log(lambda job: asyncio.sleep(100))
    options: Any = {"max_attempts": 2, "backoff": lambda attempt: 1, "dead_letter": dead}
    await work_off(queue, log, timeout_per_job=5, **options)
    assert log.times == [0, 6]
    ((_, letter),) = await dead.available_items()
    assert isinstance(letter.error, TimeoutError)


async def test_a_timeout_in_the_moment_of_a_loss_is_a_loss(
    caplog: pytest.LogCaptureFixture,
) -> None:
    queue = await a_queue()

    async def handler(job: AnyJob) -> None:
        if job.attempt == 1:
            jump(31)
            await asyncio.sleep(100)

    log = Log(handler)
    await work_off(queue, log, timeout_per_job=31)
    assert log.calls == [("a", 1), ("a", 2)]
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage().startswith("the lease on key 'a' was lost before its job was over")


@pytest.mark.parametrize("broken", [lambda attempt: 1 / 0, lambda attempt: -1])
async def test_a_broken_backoff_is_no_delay_and_told(
    broken: Any, caplog: pytest.LogCaptureFixture
) -> None:
    queue, dead = await a_queue("a", "b"), Queue()
    log = Log(fail)
    await work_off(queue, log, concurrency=1, max_attempts=2, backoff=broken, dead_letter=dead)
    assert log.calls == [("a", 1), ("b", 1), ("a", 2), ("b", 2)]
    assert await dead.qsize() == 2


# -- the dead letter -------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [KeyError, QueueClosedError, CancelledError, LeaseLostError])
async def test_a_dead_letter_that_fails_loses_nothing(
    error: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    queue = await a_queue()
    buried: list[Any] = []

    async def bury(key: str, value: Any, attempts: int, why: BaseException | None) -> None:
        buried.append((attempts, str(why)))
        if attempts < 4:
            raise error("no")

    log = Log(fail)
    options: Any = {"max_attempts": 2, "backoff": lambda attempt: 10, "dead_letter": bury}
    await work_off(queue, log, **options)
    assert log.calls == [("a", 1), ("a", 2)]
    assert buried == [(2, "at 2"), (3, "at 2"), (4, "at 2")]  # the last error of the handler
    assert running().time() == 30
    assert await left(queue) == []
    messages = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert messages == ["the dead letter of key 'a' failed: it comes back"] * 2


async def test_a_full_dead_letter_queue_is_waited_for_with_the_lease_alive() -> None:
    queue, dead = await a_queue(), Queue(maxsize=1)
    await dead.put("full", 0)
    workers = start(queue, fail, max_attempts=1, dead_letter=dead, lease_timeout=3)
    await asyncio.sleep(20)
    assert await queue.inflight_keys() == {"a"}
    async with dead.job(0):
        pass
    await queue.drain()
    await workers
    assert [key for key, _ in await dead.available_items()] == ["a"]


async def test_a_cancellation_around_a_dead_letter_loses_nothing() -> None:
    for offset in range(12):
        queue = await a_queue()
        buried: list[str] = []

        async def bury(key: str, *_: Any, buried: list[str] = buried) -> None:
            await ticks(2)
            buried.append(key)
            await ticks(2)

        workers = start(queue, fail, max_attempts=1, dead_letter=bury)
        await ticks(offset)
        workers.cancel()
        await asyncio.wait([workers])
        assert workers.cancelled()
        assert await left(queue) == ["a"] or buried == ["a"]


async def test_a_lease_that_is_lost_to_a_slow_dead_letter_is_a_loss() -> None:
    queue = await a_queue()
    buried: list[int] = []

    async def bury(key: str, value: Any, attempts: int, error: Any) -> None:
        buried.append(attempts)
        if attempts == 1:
            jump(40)
            with suppress(CancelledError):
                await asyncio.sleep(100)

    await work_off(queue, fail, max_attempts=1, dead_letter=bury)
    assert buried == [1, 2]  # twice, but never not at all
    assert await left(queue) == []


async def test_a_dead_letter_that_the_loss_of_the_lease_cuts_short_keeps_the_last_error() -> None:
    queue = await a_queue()
    buried: list[str] = []

    async def bury(key: str, value: Any, attempts: int, error: Any) -> None:
        if attempts == 1:
            jump(40)
            await asyncio.sleep(100)
        buried.append(str(error))

    log = Log(fail)
    await work_off(queue, log, max_attempts=1, dead_letter=bury)
    assert buried == ["at 1"]
    assert log.calls == [("a", 1)]


@pytest.mark.parametrize("policy", ["update", "defer", "buffer"])
async def test_the_same_value_put_once_more_is_not_given_up_unseen(policy: Any) -> None:
    """As in a queue whose keys say it all, and whose values are None."""
    queue = Queue(if_in_flight=policy)
    await queue.put("a", None)
    buried: list[int] = []

    async def bury(key: str, value: Any, attempts: int, error: Any) -> None:
        if not buried:
            await queue.put("a", None)
        buried.append(attempts)

    log = Log(fail)
    workers = start(queue, log, max_attempts=1, dead_letter=bury)
    await queue.join()
    await queue.shutdown()
    await workers
    assert log.calls == [("a", 1), ("a", 1)]
    assert buried == [1, 1]


async def test_what_another_hand_has_acked_is_not_given_up_at_the_last_attempt(
    caplog: pytest.LogCaptureFixture,
) -> None:
    queue, dead = await a_queue(), Queue()

    async def handler(job: AnyJob) -> None:
        await queue.ack(job.lease)
        raise ZeroDivisionError

    await work_off(queue, handler, max_attempts=1, dead_letter=dead)
    assert await dead.qsize() == 0
    assert [record.levelname for record in caplog.records] == ["WARNING"]


async def test_what_is_not_ours_any_more_is_not_given_up() -> None:
    queue = await a_queue()
    buried: list[int] = []

    async def bury(key: str, value: Any, attempts: int, error: Any) -> None:
        buried.append(attempts)

    async def handler(job: AnyJob) -> None:
        if job.attempt == 1:
            jump(31)
        await job.dead_letter()

    await work_off(queue, handler, dead_letter=bury)
    assert buried == [2]


# -- settled by the handler ------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["ack", "release", "dead letter", "by hand"])
@pytest.mark.parametrize("error", [None, KeyError])
async def test_what_the_handler_has_settled_is_left_alone(
    how: str, error: type[Exception] | None, caplog: pytest.LogCaptureFixture
) -> None:
    queue, dead = await a_queue(), Queue()

    async def handler(job: AnyJob) -> None:
        match how:
            case "ack":
                await job.ack()
            case "release":
                if job.attempt < 3:
                    await job.release(delay=7)
            case "dead letter":
                await job.dead_letter(ValueError("hopeless"))
            case "by hand":
                await queue.ack(job.lease)
        if error and job.attempt < 3:
            raise error

    log = Log(handler)
    await work_off(queue, log, dead_letter=dead)
    assert len(log.calls) == (3 if how == "release" else 1)
    assert running().time() == (14 if how == "release" else 0)
    assert await left(queue) == []
    letters = await dead.available_items()
    assert [repr(letter.error) for _, letter in letters] == (
        ["ValueError('hopeless')"] if how == "dead letter" else []
    )
    shown = {record.levelname for record in caplog.records}
    assert shown == ({"WARNING"} if error else set())


async def test_a_handler_that_gave_the_item_away_by_hand_loses_it() -> None:
    queue = await a_queue()

    async def handler(job: AnyJob) -> None:
        if job.attempt == 1:
            await queue.release(job.lease)

    log = Log(handler)
    await work_off(queue, log)
    assert log.calls == [("a", 1), ("a", 2)]


# -- what must stop nobody -------------------------------------------------------------------------


async def cancels_itself(job: AnyJob) -> None:
    task = current_task()
    assert task is not None
    task.cancel()
    await asyncio.sleep(0)


async def cancels_itself_and_returns(job: AnyJob) -> None:
    task = current_task()
    assert task is not None
    task.cancel()


async def awaits_what_is_cancelled(job: AnyJob) -> None:
    future = running().create_future()
    future.cancel()
    await future


async def group(job: AnyJob) -> None:
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(fail(job))


async def loses(job: AnyJob) -> None:
    jump(31)
    await asyncio.sleep(1)


async def closes_another(job: AnyJob) -> None:
    queue = Queue()
    await queue.close()
    await queue.get()


async def gets_a_loss_elsewhere(job: AnyJob) -> None:
    queue = await a_queue()
    async with queue.job() as other:
        await queue.release(other.lease)


@pytest.mark.parametrize("concurrency", [1, 2])
@pytest.mark.parametrize(
    "handler",
    [
        fail,
        cancels_itself,
        cancels_itself_and_returns,
        awaits_what_is_cancelled,
        group,
        loses,
        closes_another,
        gets_a_loss_elsewhere,
    ],
)
async def test_a_handler_that_fails_stops_nobody(handler: Handler, concurrency: int) -> None:
    queue, dead = await a_queue("bad", *"abcdef"), Queue()

    async def mixed(job: AnyJob) -> None:
        if job.key == "bad":
            await handler(job)
        else:
            await asyncio.sleep(1)

    log = Log(mixed)
    options: Any = {"max_attempts": 3, "backoff": lambda attempt: 1, "dead_letter": dead}
    await work_off(queue, log, concurrency=concurrency, **options)
    assert {key for key, _ in log.calls} == {"bad", *"abcdef"}
    assert await left(queue) == []
    returned = handler is cancels_itself_and_returns
    assert [key for key, _ in await dead.available_items()] == ([] if returned else ["bad"])
    runs = [attempt for key, attempt in log.calls if key == "bad"]
    assert runs == ([1] if returned else [1, 2, 3])
    if handler in (fail, awaits_what_is_cancelled, group, closes_another, gets_a_loss_elsewhere):
        ((_, letter),) = await dead.available_items()
        assert letter.attempts == 3
        assert not isinstance(letter.error, LeaseLostError) or handler is gets_a_loss_elsewhere


# -- what stops all --------------------------------------------------------------------------------


class Stop(BaseException):
    pass


@pytest.mark.parametrize("how", ["handler", "dead letter", "backoff"])
async def test_a_base_exception_stops_all_and_comes_out_as_it_is(how: str) -> None:
    queue = await a_queue(*"abcdef")
    stop = Stop()

    async def bury(*_: Any) -> None:
        raise stop

    def pause(attempt: int) -> float:
        raise stop

    async def handler(job: AnyJob) -> None:
        await asyncio.sleep(1)
        if job.key == "b":
            if how == "handler":
                raise stop
            raise KeyError
        await asyncio.sleep(10)

    options: Any = {"max_attempts": 1 if how == "dead letter" else 2}
    with pytest.raises(Stop) as caught:
        await run_workers(queue, handler, concurrency=3, dead_letter=bury, backoff=pause, **options)
    assert caught.value is stop
    assert running().time() == 1
    shown = await left(queue)
    assert sorted(shown) == [*"abcdef"]
    assert shown[-3:] == [*"def"]


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
def test_what_ends_the_program_ends_it_without_a_complaint(error: type[BaseException]) -> None:
    """The loop raises it at once, and the runner then cancels all tasks."""
    left: list[Any] = []

    async def main() -> None:
        queue = await a_queue(*"abc")

        async def handler(job: AnyJob) -> None:
            await asyncio.sleep(1)
            if job.key == "b":
                raise error
            await asyncio.sleep(10)

        try:
            await run_workers(queue, handler, concurrency=2)
        finally:
            left.extend(await queue.available_items())

    complaints: list[Any] = []
    loop = VirtualLoop()
    with pytest.raises(error), asyncio.Runner(loop_factory=lambda: loop) as runner:
        loop.set_exception_handler(lambda _, context: complaints.append(context))
        runner.run(main())
    gc.collect()
    assert [key for key, _ in left] == ["a", "b", "c"]
    assert complaints == []


async def test_of_two_base_exceptions_one_comes_out_and_tells_of_the_other() -> None:
    queue = await a_queue("a", "b")

    async def handler(job: AnyJob) -> None:
        await asyncio.sleep(1)
        raise Stop(job.key)

    with pytest.raises(Stop) as caught:
        await run_workers(queue, handler, concurrency=2)
    assert caught.value.args == ("a",)
    assert caught.value.__notes__ == ["Another worker ended with Stop: b"]
    assert sorted(await left(queue)) == ["a", "b"]


async def test_a_handler_that_cannot_be_awaited_stops_all_before_it_does_harm() -> None:
    queue, dead = await a_queue(*"abc"), Queue()
    with pytest.raises(TypeError, match="a handler is to be awaited, not to return 'A'"):
        await run_workers(
            queue, lambda job: job.value, concurrency=1, backoff=None, dead_letter=dead
        )
    assert await left(queue) == ["b", "c", "a"]
    assert await dead.qsize() == 0


async def test_a_handler_may_be_any_callable_that_returns_an_awaitable() -> None:
    queue = await a_queue()
    seen = []

    async def handle(prefix: str, job: AnyJob) -> None:
        seen.append(prefix + job.key)

    await work_off(queue, partial(handle, "key "))
    assert seen == ["key a"]


async def test_an_error_of_the_queue_itself_stops_all() -> None:
    class Broken(Queue):
        async def ack(self, lease: Any) -> None:
            raise ConnectionError

    queue = Broken()
    await queue.put("a", 1)
    with pytest.raises(ConnectionError):
        await run_workers(queue, Log(), backoff=None)
    assert await left(queue) == ["a"]


# -- the end ---------------------------------------------------------------------------------------


async def test_to_cancel_it_gives_everything_back_in_order_and_at_once() -> None:
    queue = await a_queue(*"abcdef")
    workers = start(queue, Log(lambda job: asyncio.sleep(100)), concurrency=4)
    await asyncio.sleep(5)
    assert await queue.inflight_size() == 4
    workers.cancel()
    await asyncio.wait([workers])
    assert workers.cancelled()
    assert running().time() == 5
    assert await left(queue) == [*"abcdef"]
    assert len(asyncio.all_tasks()) == 1


async def test_to_cancel_it_at_any_point_leaves_nothing_behind() -> None:
    for offset in range(10):
        queue = await a_queue(*"abc")
        done: set[str] = set()

        async def handler(job: AnyJob, done: set[str] = done) -> None:
            await asyncio.sleep(0)
            done.add(job.key)

        workers = start(queue, handler, concurrency=2)
        await ticks(offset)
        workers.cancel()
        await asyncio.wait([workers])
        assert workers.cancelled()
        assert not done & set(await left(queue))
        assert done | set(await left(queue)) == {*"abc"}
        assert len(asyncio.all_tasks()) == 1


async def test_idle_workers_are_cancelled_too() -> None:
    queue = Queue()
    workers = start(queue, Log())
    await asyncio.sleep(1)
    workers.cancel()
    await asyncio.wait([workers])
    assert workers.cancelled()
    await queue.put("a", 1)
    assert await left(queue) == ["a"]


async def test_a_handler_that_swallows_the_cancellation_is_waited_for_and_gets_no_more() -> None:
    queue = await a_queue("a", "b")

    async def handler(job: AnyJob) -> None:
        with suppress(CancelledError):
            await asyncio.sleep(100)
        await asyncio.sleep(5)  # a clean-up

    log = Log(handler)
    workers = start(queue, log, concurrency=1)
    await asyncio.sleep(1)
    workers.cancel()
    await quiet()
    assert not workers.done()
    workers.cancel()  # once more: it waits all the same
    await asyncio.wait([workers])
    assert workers.cancelled()
    assert running().time() == pytest.approx(6, abs=1e-3)
    assert log.calls == [("a", 1)]
    assert await left(queue) == ["b"]


async def test_a_timeout_around_it_stops_it() -> None:
    queue = await a_queue("a", "b")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(5):
            await run_workers(queue, Log(lambda job: asyncio.sleep(100)))
    assert await left(queue) == ["a", "b"]


async def test_in_a_task_group_it_is_stopped_with_the_others() -> None:
    queue = await a_queue("a", "b")
    with pytest.raises(ExceptionGroup) as caught:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(run_workers(queue, Log(lambda job: asyncio.sleep(100))))
            await asyncio.sleep(1)
            raise KeyError
    assert [type(error) for error in caught.value.exceptions] == [KeyError]
    assert await left(queue) == ["a", "b"]


async def test_when_the_loop_ends_every_task_is_cancelled_and_no_handler_begins() -> None:
    """`asyncio.run` cancels the workers one by one, and the task that runs them with them."""
    queue = await a_queue("a", "b")
    log = Log(lambda job: asyncio.sleep(100))
    workers = start(queue, log, concurrency=1)
    await asyncio.sleep(1)
    for task in asyncio.all_tasks() - {current_task()}:
        task.cancel()
    await asyncio.wait([workers])
    assert workers.cancelled()
    assert log.calls == [("a", 1)]
    assert await left(queue) == ["a", "b"]


async def test_a_worker_that_is_cancelled_alone_goes_on() -> None:
    queue = await a_queue("a", "b")
    log = Log(lambda job: asyncio.sleep(1))
    workers = start(queue, log, concurrency=1)
    await asyncio.sleep(0.5)
    (worker,) = asyncio.all_tasks() - {current_task(), workers}
    worker.cancel()
    await queue.drain()
    await workers
    assert log.calls == [("a", 1), ("a", 2), ("b", 1)]


async def test_shutdown_lets_it_finish_retries_included() -> None:
    queue = await a_queue("a", "b")

    async def handler(job: AnyJob) -> None:
        await asyncio.sleep(1)
        if job.attempt < 3:
            raise KeyError

    log = Log(handler)
    workers = start(queue, log, backoff=lambda attempt: 10)
    await quiet()
    await queue.shutdown()
    await workers
    assert sorted(log.calls) == [(key, attempt) for key in "ab" for attempt in (1, 2, 3)]
    assert await left(queue) == []


async def test_drain_lets_it_finish_and_leaves_pending_retries_to_be_saved() -> None:
    queue = await a_queue("a", "b")

    async def handler(job: AnyJob) -> None:
        await asyncio.sleep(1)
        if job.key == "a":
            raise KeyError

    log = Log(handler)
    workers = start(queue, log, backoff=lambda attempt: 10)
    await quiet()
    assert await queue.drain()
    await workers
    assert running().time() == pytest.approx(1, abs=1e-3)
    assert await left(queue) == ["a"]


async def test_a_drain_that_runs_out_of_time_ends_it_with_the_next_beats() -> None:
    queue = await a_queue("a", "b")
    log = Log(lambda job: asyncio.sleep(1000))
    workers = start(queue, log, concurrency=1, lease_timeout=30)
    await quiet()
    assert not await queue.drain(timeout=5)
    await workers
    assert running().time() <= 5 + 10
    assert await left(queue) == ["a", "b"]


async def test_on_a_closed_queue_it_returns_at_once() -> None:
    queue = await a_queue()
    await queue.close()
    log = Log()
    await run_workers(queue, log)
    assert log.calls == []


# -- memory ----------------------------------------------------------------------------------------


class Thing:
    pass


@pytest.mark.parametrize("error", [None, KeyError, Stop])
async def test_an_idle_worker_holds_nothing_of_the_last_job(
    error: type[BaseException] | None,
) -> None:
    queue = Queue()
    things: list[weakref.ref[Thing]] = []

    async def handler(job: AnyJob) -> None:
        if error:
            raise error

    gc.collect()
    gc.disable()
    try:
        workers = start(queue, handler, concurrency=1, max_attempts=1, dead_letter=bury_nowhere)
        thing = Thing()
        things.append(weakref.ref(thing))
        await queue.put("a", thing)
        del thing
        await quiet()
        if error is Stop:
            assert workers.done()
            with pytest.raises(Stop):
                await workers
            await queue.discard("a")
            del workers
        assert things[0]() is None
        if error is not Stop:
            workers.cancel()
            await asyncio.wait([workers])
    finally:
        gc.enable()


async def bury_nowhere(*_: Any) -> None:
    pass


# -- pauses ----------------------------------------------------------------------------------------


def test_the_pauses_are_drawn_from_a_range_that_doubles_up_to_the_cap() -> None:
    pause = backoff(first=2, cap=20, seed=1)
    for attempt, most in enumerate([2, 4, 8, 16, 20, 20], 1):
        drawn = [pause(attempt) for _ in range(500)]
        assert 0 <= min(drawn) < most * 0.05
        assert most * 0.95 < max(drawn) <= most
        assert most * 0.4 < sum(drawn) / len(drawn) < most * 0.6


def test_a_seed_makes_the_pauses_the_same_and_none_does_not() -> None:
    def draw(**options: Any) -> list[float]:
        pause = backoff(**options)
        return [pause(attempt) for attempt in range(1, 9)]

    assert draw(seed=7) == draw(seed=7) == draw(seed=7)
    assert draw(seed="a") == draw(seed="a") != draw(seed=7)
    assert draw() != draw()
    assert draw(seed=7) == draw(first=1, cap=60, factor=2, seed=7)
    assert draw(seed=7) != draw(first=1, cap=30, factor=2, seed=7)


def test_no_attempt_is_too_late_for_a_pause() -> None:
    pause = backoff(first=1, cap=60)
    for attempt in (1024, 1025, 10**6):
        assert 0 <= pause(attempt) <= 60
    assert backoff(first=3, factor=1, cap=3, seed=1)(10**6) <= 3
    assert backoff(first=0)(5) == 0


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"first": -1}, ValueError),
        ({"cap": nan}, ValueError),
        ({"factor": -1}, ValueError),
        ({"cap": None}, TypeError),
        ({"first": "1"}, TypeError),
    ],
)
def test_bad_numbers_make_no_pauses(options: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        backoff(**options)
