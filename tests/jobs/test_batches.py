"""Batches: waiting for more, whole leases for all, and nothing lost at whatever point."""

from __future__ import annotations

import asyncio
import gc
import weakref
from asyncio import CancelledError
from collections.abc import Callable
from math import inf, nan
from typing import Any

import pytest

from tests.jobs.slow import SlowQueue, slow
from tests.subject import (
    InvalidLeaseError,
    LeaseAlreadyAcknowledgedError,
    LeasedKeyQueue,
    LeaseExpiredError,
    QueueClosedError,
)
from tests.virtual import jump, quiet, running, ticks

Queue = LeasedKeyQueue[str, Any]


async def a_queue(*keys: str, **options: Any) -> Queue:
    queue = Queue(**options)
    for key in keys:
        await queue.put(key, key.upper())
    return queue


def keys(batch: list[Any]) -> str:
    return "".join(key for key, _, _ in batch)


async def left(queue: Queue) -> str:
    assert await queue.inflight_size() == 0
    assert running().timers() == []
    return "".join(key for key, _ in await queue.available_items())


async def put_later(queue: Queue, *keys: str, every: float = 1) -> None:
    for key in keys:
        await asyncio.sleep(every)
        await queue.put(key, key.upper())


# -- get_many --------------------------------------------------------------------------------------


async def test_it_takes_what_is_there_up_to_the_most_and_does_not_wait_for_more() -> None:
    queue = await a_queue(*"abcde")
    assert keys(await queue.get_many(3)) == "abc"
    assert keys(await queue.get_many(3)) == "de"
    assert running().time() == 0


async def test_it_waits_for_the_first_and_no_longer() -> None:
    queue = await a_queue()
    putting = asyncio.create_task(put_later(queue, "a", "b"))
    ((key, value, lease),) = await queue.get_many(10)
    assert (key, value, lease.key, lease.attempt) == ("a", "A", "a", 1)
    assert running().time() == 1
    await putting


async def test_nothing_in_time_is_a_timeout() -> None:
    queue = await a_queue()
    with pytest.raises(TimeoutError, match=r"within 5\.0 s"):
        await queue.get_many(10, 5, linger=100)
    assert running().time() == 5
    with pytest.raises(TimeoutError):
        await queue.get_many(10, timeout=0)
    assert running().time() == 5


@pytest.mark.parametrize("lease_timeout", [None, 2, 0.001])
async def test_it_lingers_for_more(lease_timeout: float | None) -> None:
    queue = await a_queue()
    putting = asyncio.create_task(put_later(queue, *"abcdefgh"))
    batch = await queue.get_many(10, linger=3.5, lease_timeout=lease_timeout)
    if lease_timeout == 0.001:  # too short to be kept alive
        assert keys(batch) == "a"
        assert running().time() == 1
    else:
        assert keys(batch) == "abcd"
        assert running().time() == 4.5
    putting.cancel()


async def test_it_lingers_no_longer_than_until_it_is_full() -> None:
    queue = await a_queue("a")
    putting = asyncio.create_task(put_later(queue, *"bcde"))
    assert keys(await queue.get_many(3, linger=inf)) == "abc"
    assert running().time() == 2
    await putting


async def test_it_takes_what_is_there_when_the_time_is_over() -> None:
    queue = await a_queue("a")

    async def late() -> None:
        await asyncio.sleep(1)
        for key in "bc":
            await queue.put(key, key)

    putting = asyncio.create_task(late())
    assert keys(await queue.get_many(10, linger=1)) in ("abc", "a")
    await putting


@pytest.mark.parametrize("linger", [0, 5, 100])
async def test_every_lease_is_whole_when_it_returns(linger: float) -> None:
    queue = await a_queue("a")
    putting = asyncio.create_task(put_later(queue, *"bcde"))
    batch = await queue.get_many(10, linger=linger, lease_timeout=4)
    now = running().time()
    assert now == linger
    assert [await queue.deadline(lease) - now for _, _, lease in batch] == [4] * len(batch)
    assert [lease.attempt for _, _, lease in batch] == [1] * len(batch)
    await putting


@pytest.mark.parametrize("lease_timeout", [3, 30, None])
async def test_its_values_are_as_they_stand_when_it_returns(lease_timeout: float | None) -> None:
    """And nothing is superseded that nobody has seen."""
    queue = await a_queue(*"ab")
    filling = asyncio.create_task(queue.get_many(4, linger=5, lease_timeout=lease_timeout))
    await put_later(queue, *"cba", every=1.2)
    await queue.put("a", "newest")
    batch = await filling
    assert [value for _, value, _ in batch] == ["newest", "B", "C"]
    assert [await queue.superseded(lease) for _, _, lease in batch] == [False] * 3
    await queue.put("c", "later")
    assert [await queue.superseded(lease) for _, _, lease in batch] == [False, False, True]


async def test_untimed_leases_stay_untimed() -> None:
    queue = await a_queue("a")
    ((_, _, lease),) = await queue.get_many(10, linger=5)
    assert await queue.deadline(lease) == inf


async def test_what_runs_out_while_the_loop_is_blocked_is_not_in_the_batch() -> None:
    queue = await a_queue("a")

    async def block() -> None:
        await asyncio.sleep(1)
        await queue.put("b", 1)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await queue.put("c", 1)
        jump(3)  # longer than the lease on a, which is then given to nobody but this call

    blocking = asyncio.create_task(block())
    batch = await queue.get_many(10, linger=1.5, lease_timeout=3)
    assert len({key for key, _, _ in batch}) == len(batch)
    assert sorted(keys(batch) + await left_in_line(queue)) == ["a", "b", "c"]
    for _, _, lease in batch:
        assert await queue.deadline(lease) == running().time() + 3
    await blocking


async def left_in_line(queue: Queue) -> str:
    return "".join(key for key, _ in await queue.available_items())


@pytest.mark.parametrize("timeout", [None, 50])
async def test_a_batch_that_has_run_out_as_a_whole_is_begun_anew(timeout: float | None) -> None:
    queue = await a_queue("a")

    async def steal() -> None:
        await asyncio.sleep(0.5)
        running().call_later(2, jump, 9)
        _, _, lease = await queue.take("a")  # it has waited longer than the call that lingers
        await queue.ack(lease)
        await asyncio.sleep(5)
        await queue.put("b", 1)

    stealing = asyncio.create_task(steal())
    ((key, _, lease),) = await queue.get_many(10, timeout, linger=4, lease_timeout=6)
    assert key == "b"
    assert await queue.deadline(lease) == running().time() + 6
    await stealing


async def test_begun_anew_it_waits_for_what_is_left_of_its_time() -> None:
    queue = await a_queue("a")

    async def steal() -> None:
        await asyncio.sleep(0.5)
        running().call_later(2, jump, 9)
        _, _, lease = await queue.take("a")  # it has waited longer than the call that lingers
        await queue.ack(lease)

    stealing = asyncio.create_task(steal())
    with pytest.raises(TimeoutError):
        await queue.get_many(10, 20, linger=4, lease_timeout=6)
    assert running().time() == 20
    await stealing


async def test_on_a_closed_queue_it_raises_and_nobody_has_a_lease_of_it() -> None:
    queue = await a_queue("a")
    task = asyncio.create_task(queue.get_many(10, linger=50))
    await asyncio.sleep(1)
    assert await queue.inflight_keys() == {"a"}
    await queue.close()
    with pytest.raises(QueueClosedError) as caught:
        await task
    assert not hasattr(caught.value, "__notes__")
    assert await left(queue) == "a"
    with pytest.raises(QueueClosedError):
        await queue.get_many(10)


async def test_on_a_queue_that_was_shut_down_it_takes_what_is_left() -> None:
    queue = await a_queue(*"ab")
    await queue.shutdown()
    batch = await queue.get_many(10, linger=1)
    assert keys(batch) == "ab"
    await queue.ack_many(lease for _, _, lease in batch)
    with pytest.raises(QueueClosedError):
        await queue.get_many(10)


@pytest.mark.parametrize(
    ("arguments", "options", "error"),
    [
        ((0,), {}, ValueError),
        ((-1,), {}, ValueError),
        ((True,), {}, TypeError),
        ((2.5,), {}, TypeError),
        ((1, "1"), {}, TypeError),
        ((1, nan), {}, ValueError),
        ((1,), {"linger": -1}, ValueError),
        ((1,), {"linger": nan}, ValueError),
        ((1,), {"linger": None}, TypeError),
        ((1,), {"lease_timeout": 0}, ValueError),
    ],
)
async def test_bad_numbers_take_nothing(
    arguments: Any, options: Any, error: type[Exception]
) -> None:
    queue = await a_queue("a")
    with pytest.raises(error):
        await queue.get_many(*arguments, **options)
    assert await left(queue) == "a"


@pytest.mark.parametrize("at", [0, 1, 1.5, 2])
async def test_cancelled_at_any_point_everything_is_back_in_front_in_order(at: float) -> None:
    for offset in range(8):
        queue = await a_queue("a", "b")
        putting = asyncio.create_task(put_later(queue, "c", "d"))
        task = asyncio.create_task(queue.get_many(5, linger=2.5, lease_timeout=2))
        await asyncio.sleep(at)
        await ticks(offset)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        await putting
        assert await left(queue) == "abcd"


@slow
async def test_cancelled_where_operations_take_time_nothing_stays_in_flight(
    make: Callable[[], SlowQueue],
) -> None:
    outcomes = set()
    for offset in range(24):
        queue = make()
        for key in "abc":
            await queue.put(key, 1)
        task = asyncio.create_task(queue.get_many(3, linger=1, lease_timeout=1))
        await ticks(offset)
        task.cancel()
        await ticks(1)
        task.cancel()  # in the midst of giving back, perhaps
        await asyncio.wait([task])
        outcomes.add(task.cancelled())
        if task.cancelled():
            await asyncio.sleep(1)  # the one whose release was cancelled has run out
            assert sorted(await left(queue)) == ["a", "b", "c"]
        else:
            assert keys(task.result()) == "abc"
    assert outcomes == {True, False}


async def test_what_cannot_be_given_back_is_told_and_the_rest_is() -> None:
    class Broken(Queue):
        async def release(self, lease: Any, **options: Any) -> None:
            if lease.key == "b":
                raise ConnectionError("no")
            await super().release(lease, **options)

    queue = Broken(default_lease_timeout=5)
    for key in "abc":
        await queue.put(key, 1)
    task = asyncio.create_task(queue.get_many(9, linger=9))
    await quiet()
    task.cancel()
    with pytest.raises(CancelledError) as caught:
        await task
    (note,) = caught.value.__notes__
    assert note.endswith("could not be released: ConnectionError: no")
    assert await left_in_line(queue) == "ac"


# -- ack_many --------------------------------------------------------------------------------------


async def test_all_are_acked() -> None:
    queue = await a_queue(*"abc")
    batch = await queue.get_many(3)
    await queue.ack_many([lease for _, _, lease in batch])
    await queue.ack_many([])
    assert await left(queue) == ""


async def test_those_that_can_be_are_acked_and_the_first_error_tells_of_the_others() -> None:
    queue = await a_queue(*"abcd")
    _, _, first = await queue.get(lease_timeout=5)
    rest = [lease for _, _, lease in await queue.get_many(3)]
    await asyncio.sleep(5)
    await queue.ack(rest[1])
    with pytest.raises(LeaseExpiredError) as caught:
        await queue.ack_many([first, *rest])
    assert caught.value.__notes__[0].startswith("Also: LeaseAlreadyAcknowledgedError: ")
    assert len(caught.value.__notes__) == 1
    assert await left(queue) == "a"
    with pytest.raises(LeaseAlreadyAcknowledgedError):
        await queue.ack_many(rest)


async def test_what_is_no_lease_is_refused_before_any_is_acked() -> None:
    queue = await a_queue("a")
    batch = await queue.get_many(1)
    bad: Any = [batch[0][2], batch[0]]
    with pytest.raises(TypeError):
        await queue.ack_many(bad)
    await queue.ack(batch[0][2])


async def test_an_error_of_ack_many_holds_nothing() -> None:
    queue = await a_queue("a", "b")
    leases = [lease for _, _, lease in await queue.get_many(2)]
    await queue.ack_many(leases)
    gc.collect()
    gc.disable()
    try:
        errors = []
        try:
            await queue.ack_many(leases)
        except LeaseAlreadyAcknowledgedError as error:
            errors.append(weakref.ref(error))
        assert [error() for error in errors] == [None]
    finally:
        gc.enable()


async def test_another_queues_lease_is_refused() -> None:
    queue, other = await a_queue("a"), await a_queue("a")
    with pytest.raises(InvalidLeaseError):
        await other.ack_many([(await queue.get())[2]])
