"""A job: how it ends, whatever ends it, and how its lease is kept alive or is lost."""

# ruff: noqa: PT012 (what is tested here are blocks)
from __future__ import annotations

import asyncio
import gc
import logging
import weakref
from asyncio import CancelledError, current_task
from collections.abc import Callable
from contextlib import suppress
from math import inf, nan
from typing import Any

import pytest

from tests.jobs.slow import SlowQueue, slow
from tests.subject import (
    InvalidLeaseError,
    LeaseAlreadyAcknowledgedError,
    LeasedKeyQError,
    LeasedKeyQueue,
    LeaseExpiredError,
    LeaseLostError,
    QueueClosedError,
)
from tests.virtual import jump, quiet, running, ticks

Queue = LeasedKeyQueue[str, Any]


async def a_queue(*keys: str, **options: Any) -> Queue:
    queue = Queue(**options)
    for key in keys or ("a",):
        await queue.put(key, key.upper())
    return queue


async def left(queue: Queue) -> list[str]:
    """The line, once nothing is in flight any more."""
    assert await queue.inflight_size() == 0
    assert running().timers() == []
    return [key for key, _ in await queue.available_items()]


def cancelling() -> int:
    task = current_task()
    assert task is not None
    return task.cancelling()


# -- what a job is ---------------------------------------------------------------------------------


async def test_a_job_has_what_get_returns_and_counts_the_deliveries() -> None:
    queue = await a_queue("a", "b")
    for attempt in (1, 2):
        async with queue.job() as job:
            assert (job.key, job.value, job.attempt) == ("a", "A", attempt)
            assert job.lease.key == "a"
            assert not job.settled
            await job.release(requeue_front=True)
    async with queue.job(key="b") as job:
        assert job.key == "b"
    assert await left(queue) == ["a"]


async def test_a_job_waits_as_get_and_take_do() -> None:
    queue = await a_queue()
    with pytest.raises(TimeoutError):
        async with queue.job(timeout=3, key="b"):
            pass
    assert running().time() == 3
    async with queue.job(timeout=0):
        with pytest.raises(TimeoutError):
            async with queue.job(0):
                pass
    await queue.close()
    with pytest.raises(QueueClosedError):
        async with queue.job():
            pass


async def test_none_is_a_key_like_any_other() -> None:
    queue = LeasedKeyQueue[str | None, int]()
    await queue.put("a", 1)
    await queue.put(None, 2)
    async with queue.job(key=None) as job:
        assert job.value == 2


async def test_a_job_is_for_one_block() -> None:
    queue = await a_queue("a", "b")
    job = queue.job()
    async with job:
        with pytest.raises(RuntimeError, match="one `async with`"):
            await job.__aenter__()
    with pytest.raises(RuntimeError, match="one `async with`"):
        async with job:
            pass
    assert await left(queue) == ["b"]


async def test_a_job_needs_a_task_and_takes_nothing_without_one() -> None:
    queue = await a_queue()
    failed = running().create_future()

    def enter() -> None:
        with pytest.raises(RuntimeError, match="in a task"):
            queue.job().__aenter__().send(None)
        failed.set_result(None)

    running().call_soon(enter)
    await failed
    assert await left(queue) == ["a"]


# -- how it ends -----------------------------------------------------------------------------------


async def test_left_normally_it_acks() -> None:
    queue = await a_queue()
    async with queue.job():
        await asyncio.sleep(1)
    assert await left(queue) == []


@pytest.mark.parametrize("backoff", [None, lambda attempt: 10 * attempt])
async def test_an_exception_releases_and_goes_on_as_it_is(
    backoff: Callable[[int], float] | None,
) -> None:
    queue = await a_queue("a", "b")
    error = ZeroDivisionError()
    with pytest.raises(ZeroDivisionError) as caught:
        async with queue.job(backoff=backoff):
            raise error
    assert caught.value is error
    assert not hasattr(error, "__notes__")
    if backoff:
        assert await left(queue) == ["b"]
        await asyncio.sleep(9)
        assert await left(queue) == ["b"]
        await asyncio.sleep(1)
    assert await left(queue) == ["b", "a"]


async def test_the_backoff_is_of_this_attempt() -> None:
    queue = await a_queue()
    starts = []
    for _ in range(3):
        with suppress(ZeroDivisionError):
            async with queue.job(backoff=lambda attempt: 10**attempt):
                starts.append(running().time())
                raise ZeroDivisionError
    assert starts == [0, 10, 110]


@pytest.mark.parametrize(
    ("broken", "what"),
    [
        (lambda attempt: 1 / 0, "ZeroDivisionError: division by zero"),
        (lambda attempt: -1, "ValueError: delay must be"),
        (lambda attempt: nan, "ValueError: delay must be"),
        (lambda attempt: None, "TypeError: delay must be"),
    ],
)
async def test_a_broken_backoff_is_a_note_and_no_delay(
    broken: Callable[[int], float], what: str
) -> None:
    queue = await a_queue()
    with pytest.raises(KeyError) as caught:
        async with queue.job(backoff=broken):
            raise KeyError
    (note,) = caught.value.__notes__
    assert note.startswith(f"Its backoff failed: {what}")
    assert await left(queue) == ["a"]


async def test_a_cancellation_releases_to_the_front_at_once() -> None:
    queue = await a_queue("a", "b")

    async def work() -> None:
        async with queue.job(backoff=lambda attempt: 100):
            await asyncio.sleep(10)

    task = asyncio.create_task(work())
    await quiet()
    task.cancel("enough")
    with pytest.raises(CancelledError) as caught:
        await task
    assert not hasattr(caught.value, "__notes__")
    assert task.cancelled()
    assert await left(queue) == ["a", "b"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, GeneratorExit, SystemExit])
async def test_what_is_no_exception_releases_to_the_front(error: type[BaseException]) -> None:
    queue = await a_queue("a", "b")
    with pytest.raises(error):
        async with queue.job(backoff=lambda attempt: 100):
            raise error
    assert await left(queue) == ["a", "b"]


async def test_a_cancellation_that_comes_with_the_result_is_a_cancellation() -> None:
    """The body's last await is over, and the task is cancelled before it comes to."""
    queue = await a_queue("a", "b")
    done = running().create_future()

    async def work() -> None:
        async with queue.job():
            await done

    task = asyncio.create_task(work())
    await quiet()
    done.set_result(None)
    task.cancel()
    with pytest.raises(CancelledError):
        await task
    assert await left(queue) == ["a", "b"]


async def test_a_cancellation_that_the_body_swallows_is_no_end_of_it() -> None:
    queue = await a_queue("a", "b")

    async def work() -> None:
        async with queue.job():
            with suppress(CancelledError):
                await asyncio.sleep(10)
        await asyncio.sleep(0)

    task = asyncio.create_task(work())
    await quiet()
    task.cancel()
    await task
    assert await left(queue) == ["b"]


@pytest.mark.parametrize("end", ["expires", "is acked", "is released", "is closed"])
@pytest.mark.parametrize("cancel", [True, False])
async def test_an_error_or_a_cancellation_stays_what_it_is_when_the_lease_has_ended(
    end: str, cancel: bool
) -> None:
    queue = await a_queue()

    async def work() -> None:
        async with queue.job(lease_timeout=5, keep_alive=False) as job:
            match end:
                case "expires":
                    jump(6)
                case "is acked":
                    await queue.ack(job.lease)
                case "is released":
                    await queue.release(job.lease)
                case "is closed":
                    await queue.close()
            if cancel:
                await asyncio.sleep(100)
            raise KeyError

    task = asyncio.create_task(work())
    await ticks(2)
    task.cancel()
    with pytest.raises(CancelledError if cancel else KeyError) as caught:
        await task
    if not cancel:
        (note,) = caught.value.__notes__
        assert note.startswith("Its item could not be released: ")
    assert task.cancelled() == cancel


@pytest.mark.parametrize("end", ["expires", "is released", "is closed"])
async def test_left_normally_without_a_lease_it_raises_the_loss(end: str) -> None:
    queue = await a_queue()
    with pytest.raises(LeaseLostError, match="the lease on key 'a' was lost") as caught:
        async with queue.job(lease_timeout=5, keep_alive=False) as job:
            match end:
                case "expires":
                    await asyncio.sleep(5)
                case "is released":
                    await queue.release(job.lease)
                case "is closed":
                    await queue.close()
    assert isinstance(caught.value, LeasedKeyQError)
    assert isinstance(caught.value.__cause__, InvalidLeaseError | QueueClosedError)
    assert await left(queue) == ["a"]


async def test_left_normally_after_another_hand_has_acked_it_is_content() -> None:
    queue = await a_queue()
    async with queue.job(lease_timeout=3) as job:
        await queue.ack(job.lease)
        await asyncio.sleep(10)  # and the beat is, too
    assert await left(queue) == []


async def test_an_ack_that_fails_gives_the_item_back() -> None:
    class Broken(Queue):
        async def ack(self, lease: Any) -> None:
            raise ConnectionError

    queue = Broken()
    await queue.put("a", 1)
    with pytest.raises(ConnectionError):
        async with queue.job(lease_timeout=5):
            pass
    assert await left(queue) == ["a"]


# -- settled early ---------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [None, KeyError, CancelledError])
@pytest.mark.parametrize("how", ["ack", "release", "to the front", "later", "dead letter"])
async def test_what_is_settled_early_is_left_alone(
    how: str, error: type[BaseException] | None
) -> None:
    queue = await a_queue("a", "b", default_lease_timeout=3)
    with suppress(KeyError, CancelledError):
        async with queue.job(backoff=lambda attempt: 50) as job:
            match how:
                case "ack":
                    await job.ack()
                case "release":
                    await job.release(delay=0)
                case "to the front":
                    await job.release(requeue_front=True)
                case "later":
                    await job.release()
                case "dead letter":
                    await job.dead_letter()
            assert job.settled
            assert running().timers() == []
            after = {"release": ["b", "a"], "to the front": ["a", "b"]}.get(how, ["b"])
            assert await left(queue) == after
            await asyncio.sleep(10)
            if error:
                raise error
    assert await left(queue) == after
    await asyncio.sleep(40)
    assert await left(queue) == (["b", "a"] if how == "later" else after)


async def test_to_settle_twice_raises_as_the_queue_does() -> None:
    queue = await a_queue("a", "b")
    async with queue.job() as job:
        await job.ack()
        with pytest.raises(LeaseAlreadyAcknowledgedError):
            await job.ack()
        with pytest.raises(LeaseAlreadyAcknowledgedError):
            await job.dead_letter()
    async with queue.job() as job:
        await job.release()
        with pytest.raises(InvalidLeaseError) as caught:
            await job.release()
        assert not isinstance(caught.value, LeaseLostError)
    assert await left(queue) == ["b"]


@pytest.mark.parametrize(
    "use",
    [
        lambda job: job.ack(),
        lambda job: job.release(),
        lambda job: job.dead_letter(),
        lambda job: job.refresh(),
        lambda job: asyncio.sleep(0, job.superseded()),
    ],
)
@pytest.mark.parametrize("end", ["expires", "is closed"])
async def test_every_use_of_a_lost_lease_is_the_loss(use: Callable[[Any], Any], end: str) -> None:
    queue = await a_queue()
    with pytest.raises(LeaseLostError) as caught:
        async with queue.job(lease_timeout=3) as job:
            if end == "expires":
                jump(4)
            else:
                await queue.close()
            await use(job)
    assert not hasattr(caught.value, "__notes__")
    assert await left(queue) == ["a"]


async def test_a_job_that_is_told_twice_of_its_loss_ends_once() -> None:
    """The body is cancelled, and its clean-up wants to ack."""
    queue = await a_queue()
    with pytest.raises(LeaseLostError) as caught:
        async with queue.job(lease_timeout=3) as job:
            jump(4)
            try:
                await asyncio.sleep(10)
            finally:
                await job.ack()
    (note,) = caught.value.__notes__
    assert note.startswith("Meanwhile the lease was lost: LeaseExpiredError")
    assert cancelling() == 0


async def test_a_release_with_bad_arguments_begins_no_beat() -> None:
    queue = await a_queue()
    async with queue.job(lease_timeout=3, keep_alive=False) as job:
        with pytest.raises(ValueError, match="delay"):
            await job.release(delay=-1)
        assert running().timers() == []


async def test_a_release_with_bad_arguments_changes_nothing_and_the_lease_stays_alive() -> None:
    queue = await a_queue()
    async with queue.job(lease_timeout=3) as job:
        with pytest.raises(ValueError, match="delay"):
            await job.release(delay=-1)
        with pytest.raises(ValueError, match="front"):
            await job.release(delay=1, requeue_front=True)
        assert not job.settled
        await asyncio.sleep(10)
    assert await left(queue) == []


async def test_a_release_by_a_broken_backoff_says_so() -> None:
    queue = await a_queue()
    async with queue.job(backoff=lambda attempt: 1 / 0) as job:
        with pytest.raises(ZeroDivisionError):
            await job.release()
        await job.release(requeue_front=True)
    assert await left(queue) == ["a"]


async def test_given_up_without_a_dead_letter_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    queue = await a_queue()
    with pytest.raises(KeyError):
        async with queue.job() as job:
            try:
                raise KeyError
            except KeyError:
                await job.dead_letter()
                raise
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert record.getMessage() == "gave up key 'a' after 1 attempts"
    assert record.exc_info
    assert record.exc_info[0] is KeyError


# -- a newer value ---------------------------------------------------------------------------------


async def test_a_newer_value_is_seen_and_fetched() -> None:
    queue = await a_queue()
    async with queue.job() as job:
        assert not job.superseded()
        await queue.put("a", "newer")
        assert job.superseded()
        assert job.value == "A"
        assert await job.refresh() == "newer"
        assert job.value == "newer"
        assert not job.superseded()


@pytest.mark.parametrize("policy", ["update", "defer", "buffer"])
async def test_a_newer_value_is_not_given_up_with_the_old_one(policy: Any) -> None:
    queue = await a_queue()
    async with queue.job() as job:
        await queue.put("a", "newer", if_in_flight=policy)
        await job.dead_letter()
    async with queue.job(timeout=0) as job:
        assert (job.value, job.attempt) == ("newer", 1)
    assert await left(queue) == []


async def test_with_buffer_what_is_given_up_does_not_come_back() -> None:
    queue = await a_queue()
    async with queue.job() as job:
        await queue.put("a", "newer", if_in_flight="buffer")
        async with queue.job():
            pass
        await job.dead_letter()
    assert await left(queue) == []


# -- kept alive ------------------------------------------------------------------------------------


async def test_a_lease_is_kept_alive_by_one_timer_and_no_task() -> None:
    queue = await a_queue(default_lease_timeout=3)
    async with queue.job() as job:
        tasks = len(asyncio.all_tasks())
        for second in range(1, 60):
            await asyncio.sleep(1)
            await quiet()
            assert await queue.deadline(job.lease) >= second + 2
            assert len(running().timers()) == 1
            assert len(asyncio.all_tasks()) == tasks
    assert await left(queue) == []


async def test_a_lease_survives_a_loop_that_is_blocked_for_less_than_two_thirds_of_it() -> None:
    queue = await a_queue()
    async with queue.job(lease_timeout=3):
        for _ in range(10):
            await asyncio.sleep(2.5)
            jump(1.9)
    assert await left(queue) == []


@pytest.mark.parametrize("lease_timeout", [None, inf])
async def test_a_lease_that_never_ends_needs_no_timer(lease_timeout: float | None) -> None:
    queue = await a_queue()
    async with queue.job(lease_timeout=lease_timeout):
        assert running().timers() == []


async def test_a_lease_that_was_extended_for_longer_is_not_cut_short() -> None:
    queue = await a_queue()
    async with queue.job(lease_timeout=3) as job:
        await queue.extend(job.lease, 100)
        await asyncio.sleep(50)
        assert await queue.deadline(job.lease) == 100
        await asyncio.sleep(100)
        await queue.extend(job.lease, inf)
        await asyncio.sleep(2)
        assert running().timers() == []
        await asyncio.sleep(100)
    assert await left(queue) == []


async def test_an_extension_that_fails_is_told_to_the_loop_and_tried_again() -> None:
    class Broken(Queue):
        def extend_nowait(self, lease: Any, timeout: float | None = None) -> None:
            if len(complaints) < 2:
                raise ConnectionError
            super().extend_nowait(lease, timeout)

    complaints: list[Any] = []
    running().set_exception_handler(lambda _, context: complaints.append(context["exception"]))
    queue = Broken(default_lease_timeout=9)
    await queue.put("a", 1)
    async with queue.job() as job:
        await asyncio.sleep(8)
        assert [type(error) for error in complaints] == [ConnectionError] * 2
        assert await queue.deadline(job.lease) > 9
        await asyncio.sleep(100)
    assert await left(queue) == []


async def test_without_keep_alive_the_lease_ends_in_its_time() -> None:
    queue = await a_queue()
    with pytest.raises(LeaseLostError):
        async with queue.job(lease_timeout=3, keep_alive=False):
            assert running().timers() == []
            await asyncio.sleep(3)
    assert await left(queue) == ["a"]


# -- lost ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["blocked", "closed", "released"])
async def test_a_lost_lease_cancels_the_body_at_its_next_await(how: str) -> None:
    queue = await a_queue()
    reached = []
    with pytest.raises(LeaseLostError) as caught:
        async with queue.job(lease_timeout=3) as job:
            if how == "blocked":
                jump(4)
            elif how == "closed":
                await queue.close()
            else:
                await queue.release(job.lease)
            reached.append("before")
            try:
                await asyncio.sleep(100)
            except CancelledError:
                reached.append("cancelled")
                raise
            reached.append("after")
    assert reached == ["before", "cancelled"]
    assert running().time() <= 4.1
    assert isinstance(caught.value.__cause__, InvalidLeaseError | QueueClosedError)
    assert cancelling() == 0
    await asyncio.sleep(0)  # nothing of the cancellation is left
    assert await left(queue) == ["a"]


async def test_a_lost_lease_is_told_once_and_spares_the_new_one() -> None:
    queue = await a_queue()
    with pytest.raises(LeaseLostError):
        async with queue.job(lease_timeout=3):
            jump(4)
            async with queue.job(0) as mine:
                with suppress(CancelledError):
                    await asyncio.sleep(10)
                assert mine.attempt == 2
    assert await left(queue) == []
    assert cancelling() == 0


async def test_a_body_that_swallows_the_loss_is_told_when_it_ends() -> None:
    queue = await a_queue()
    with pytest.raises(LeaseLostError) as caught:
        async with queue.job(lease_timeout=3):
            jump(4)
            with suppress(CancelledError):
                await asyncio.sleep(10)
    assert isinstance(caught.value.__cause__, LeaseExpiredError)
    assert cancelling() == 0


async def test_a_body_that_never_awaits_is_told_when_it_ends_and_not_later() -> None:
    queue = await a_queue()
    with pytest.raises(LeaseLostError):
        async with queue.job(lease_timeout=3):
            jump(4)
    assert cancelling() == 0
    await asyncio.sleep(10)


async def test_an_error_in_the_midst_of_the_loss_goes_on_as_it_is() -> None:
    queue = await a_queue()
    with pytest.raises(KeyError) as caught:
        async with queue.job(lease_timeout=3):
            jump(4)
            try:
                await asyncio.sleep(10)
            except CancelledError:
                raise KeyError from None
    (note,) = caught.value.__notes__
    assert note.startswith("Meanwhile the lease was lost: LeaseExpiredError: ")
    assert cancelling() == 0


async def test_a_lease_that_has_run_out_on_entering_is_a_loss() -> None:
    class Late(Queue):
        async def get(self, *arguments: Any, **options: Any) -> Any:
            delivery = await super().get(*arguments, **options)
            jump(5)
            return delivery

    queue = Late()
    await queue.put("a", 1)
    with pytest.raises(LeaseLostError):
        async with queue.job(lease_timeout=3):
            await asyncio.sleep(10)
    assert running().time() == 5
    assert await left(queue) == ["a"]


# -- in asyncio.timeout, TaskGroup and other jobs --------------------------------------------------


@pytest.mark.parametrize("both", [False, True])
async def test_a_timeout_around_a_job(both: bool) -> None:
    """It fires before the loss is noticed, or in the same moment."""
    queue = await a_queue("a", "b")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(4), queue.job(lease_timeout=3):
            if both:
                jump(4)
            await asyncio.sleep(10)
    assert cancelling() == 0
    assert await left(queue) == ["a", "b"]


@pytest.mark.parametrize("both", [False, True])
async def test_a_timeout_within_a_job(both: bool) -> None:
    queue = await a_queue("a", "b")
    with pytest.raises(LeaseLostError if both else TimeoutError):
        async with queue.job(lease_timeout=3), asyncio.timeout(4):
            if both:
                jump(4)
            await asyncio.sleep(10)
    assert cancelling() == 0
    assert await left(queue) == (["a", "b"] if both else ["b", "a"])


async def test_a_timeout_that_is_caught_within_a_job_does_not_end_it() -> None:
    queue = await a_queue()
    async with queue.job(lease_timeout=3):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(4):
                await asyncio.sleep(10)
        await asyncio.sleep(10)
    assert await left(queue) == []


@pytest.mark.parametrize("lose", [False, True])
async def test_a_cancellation_next_to_a_loss_is_a_cancellation(lose: bool) -> None:
    queue = await a_queue()

    async def work() -> None:
        async with queue.job(lease_timeout=3):
            await asyncio.sleep(10)

    task = asyncio.create_task(work())
    await quiet()
    if lose:
        jump(4)
        running().call_soon(task.cancel)
    else:
        task.cancel()
    with pytest.raises(CancelledError):
        await task
    assert task.cancelled()
    assert task.cancelling() == 1
    assert await left(queue) == ["a"]


async def test_a_loss_within_a_cancellation_that_was_there_before() -> None:
    """A job in the clean-up of a task that is being cancelled."""
    queue = await a_queue()
    told = []

    async def work() -> None:
        try:
            await asyncio.sleep(10)
        finally:
            with pytest.raises(LeaseLostError):
                async with queue.job(lease_timeout=3):
                    jump(4)
                    await asyncio.sleep(10)
            told.append(cancelling())

    task = asyncio.create_task(work())
    await quiet()
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert told == [1]


async def test_a_task_group_within_a_job() -> None:
    queue = await a_queue("a", "b")
    children: list[asyncio.Task[None]] = []
    with pytest.raises(LeaseLostError):
        async with queue.job(lease_timeout=3), asyncio.TaskGroup() as group:
            children.append(group.create_task(asyncio.sleep(100)))
            jump(4)
            await asyncio.sleep(0)
    assert children[0].cancelled()
    assert cancelling() == 0

    async def fail() -> None:
        raise KeyError

    with pytest.raises(ExceptionGroup) as caught:  # the user's own group, as it is
        async with queue.job(), asyncio.TaskGroup() as group:
            group.create_task(fail())
            await asyncio.sleep(100)
    assert [type(error) for error in caught.value.exceptions] == [KeyError]
    assert cancelling() == 0
    assert await left(queue) == ["b", "a"]


async def test_jobs_in_a_task_group() -> None:
    """One fails, and the others are cancelled, and so give their items back to the front."""
    queue = await a_queue("a", "b", "c")

    async def work() -> None:
        async with queue.job(lease_timeout=3) as job:
            await asyncio.sleep(1)
            if job.key == "b":
                raise KeyError

    with pytest.raises(ExceptionGroup) as caught:
        async with asyncio.TaskGroup() as group:
            for _ in range(2):
                group.create_task(work())
            group.create_task(asyncio.sleep(100))
    assert [type(error) for error in caught.value.exceptions] == [KeyError]
    assert await left(queue) == ["c", "b"]


async def test_a_loss_in_a_task_group_is_an_error_of_that_child() -> None:
    queue = await a_queue("a", "b")

    async def work(lose: bool) -> None:
        async with queue.job(lease_timeout=3 if lose else None):
            await asyncio.sleep(10)

    with pytest.raises(ExceptionGroup) as caught:
        async with asyncio.TaskGroup() as group:
            group.create_task(work(True))
            group.create_task(work(False))
            await asyncio.sleep(0)
            jump(4)
    assert [type(error) for error in caught.value.exceptions] == [LeaseLostError]
    assert await left(queue) == ["b", "a"]


@pytest.mark.parametrize("outer", [3, 100])
@pytest.mark.parametrize("inner", [3, 100])
async def test_a_job_within_a_job(outer: float, inner: float) -> None:
    """Each loss comes out of its own; the outer one also if both are lost."""
    queue = await a_queue("a", "b")
    with suppress(LeaseLostError):
        async with queue.job(lease_timeout=outer) as one:
            try:
                async with queue.job(lease_timeout=inner):
                    jump(50)
                    await asyncio.sleep(0)
                    await asyncio.sleep(0)
                    assert outer == inner == 100
            except LeaseLostError:
                assert inner == 3
                assert outer == 100
    assert one.settled
    assert cancelling() == 0
    await queue.close()
    lost = [key for key, timeout in (("a", outer), ("b", inner)) if timeout == 3]
    shown = await left(queue)
    assert set(lost) <= set(shown)


# -- a queue that is elsewhere: its operations take time, in which a cancellation can strike -------


@slow
async def test_a_cancellation_at_any_point_leaves_nothing_in_flight(
    make: Callable[[], SlowQueue],
) -> None:
    for offset in range(7):
        queue = make()
        await queue.put("a", 1)

        async def work(queue: SlowQueue = queue) -> None:
            async with queue.job(lease_timeout=50):
                await asyncio.sleep(0)

        task = asyncio.create_task(work())
        await ticks(offset)
        task.cancel()
        await asyncio.wait([task])
        acked = not await left(queue)
        assert task.cancelled() or acked


@slow
async def test_a_cancellation_in_the_release_is_a_cancellation(
    make: Callable[[], SlowQueue],
) -> None:
    for offset in range(9):
        queue = make()
        await queue.put("a", 1)

        async def work(queue: SlowQueue = queue) -> None:
            async with queue.job(lease_timeout=50, backoff=lambda attempt: 10):
                raise KeyError

        task = asyncio.create_task(work())
        await ticks(offset)
        late = task.done()
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled() != late
        if late:
            assert isinstance(task.exception(), KeyError)
        await asyncio.sleep(10)
        assert await left(queue) == ["a"]


async def test_a_second_cancellation_in_the_release_is_one_too() -> None:
    queue = SlowQueue(before=3)
    await queue.put("a", 1)

    async def work() -> None:
        async with queue.job(lease_timeout=5):
            await asyncio.sleep(100)

    task = asyncio.create_task(work())
    await quiet()
    for _ in range(2):
        task.cancel()
        await ticks(1)
    await asyncio.wait([task])
    assert task.cancelled()
    await asyncio.sleep(5)  # the release was not to be: the lease runs out
    assert await left(queue) == ["a"]


# -- memory ----------------------------------------------------------------------------------------


class Thing:
    pass


@pytest.mark.parametrize("end", [None, KeyError, CancelledError, "lost", "early"])
async def test_a_job_that_is_over_holds_nothing(end: Any) -> None:
    queue = Queue()
    thing = Thing()
    dead = weakref.ref(thing)
    await queue.put("a", thing)
    del thing
    gc.collect()
    gc.disable()
    try:
        with suppress(KeyError, CancelledError, LeaseLostError):
            async with queue.job(lease_timeout=3) as job:
                if end == "lost":
                    jump(4)
                    await asyncio.sleep(1)
                elif end == "early":
                    await job.ack()
                elif end is not None:
                    raise end
        leased = weakref.ref(job)
        del job
        assert leased() is None
        await queue.discard("a")
        assert dead() is None
    finally:
        gc.enable()
    assert running().timers() == []
