"""What the first public release, 0.0.7, promised in its own tests still holds.

Behaviour only: its private attributes, its reaper task and its records of leases are gone.
Where that release waited in real time, time is virtual here, so that "some time later" can
be said exactly.
"""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.subject import (
    InvalidLeaseError,
    KeyAlreadyInFlightError,
    Lease,
    LeaseAlreadyAcknowledgedError,
    LeasedKeyQueue,
    QueueClosedError,
    module,
)
from tests.unit.steps import check

Queue = LeasedKeyQueue[str, int]
Got = tuple[str, int, Lease[str]]


@pytest.fixture
async def queue() -> AsyncIterator[Queue]:
    """A queue without default timeout, whose invariants hold at the end."""
    queue = Queue()
    yield queue
    check(queue)


async def put_all(queue: Queue, *keys: str) -> None:
    for value, key in enumerate(keys, start=1):
        await queue.put(key, value)


# -- basics -----------------------------------------------------------------------------


async def test_a_new_queue_is_empty(queue: Queue) -> None:
    assert (await queue.qsize(), await queue.inflight_size()) == (0, 0)
    assert (await queue.available_keys(), await queue.inflight_keys()) == (set(), set())


async def test_an_item_moves_from_available_to_in_flight(queue: Queue) -> None:
    await put_all(queue, "a", "b")
    key, value, lease = await queue.get()
    assert (key, value, lease.key) == ("a", 1, "a")
    assert (await queue.qsize(), await queue.inflight_size()) == (1, 1)


async def test_first_in_is_first_out(queue: Queue) -> None:
    await put_all(queue, "first", "second", "third")
    assert [(await queue.get())[0] for _ in range(3)] == ["first", "second", "third"]


async def test_a_put_on_an_available_key_updates_it(queue: Queue) -> None:
    await put_all(queue, "a", "a")
    assert await queue.qsize() == 1
    assert (await queue.get())[1] == 2


async def test_peek_shows_a_value_and_leaves_it(queue: Queue) -> None:
    await put_all(queue, "a", "b")
    assert [await queue.peek(key) for key in ("a", "b", "none")] == [1, 2, None]
    assert await queue.qsize() == 2


async def test_contains_is_about_available_keys_only(queue: Queue) -> None:
    await put_all(queue, "a")
    assert await queue.contains("a")
    assert not await queue.contains("b")
    await queue.get()
    assert not await queue.contains("a")


async def test_the_keys_of_both_sides_follow_get_and_ack(queue: Queue) -> None:
    await put_all(queue, "a", "b", "c")
    leases = [(await queue.get())[2] for _ in range(2)]
    assert await queue.available_keys() == {"c"}
    assert await queue.inflight_keys() == {"a", "b"}
    await queue.ack(leases[0])
    assert await queue.inflight_keys() == {"b"}
    await queue.release(leases[1])
    assert await queue.inflight_keys() == set()


# -- leases -----------------------------------------------------------------------------


async def test_ack_removes_an_item_for_good(queue: Queue) -> None:
    await put_all(queue, "a")
    await queue.ack((await queue.get())[2])
    assert (await queue.qsize(), await queue.inflight_size()) == (0, 0)
    assert not await queue.contains("a")


async def test_an_invented_lease_is_invalid(queue: Queue) -> None:
    await put_all(queue, "a")
    await queue.get()
    for use in (queue.ack, queue.release):
        with pytest.raises(InvalidLeaseError):
            await use(Lease(token="invented", key="a"))


async def test_an_acked_lease_cannot_be_used_again(queue: Queue) -> None:
    await put_all(queue, "a")
    lease = (await queue.get())[2]
    await queue.ack(lease)
    for use in (queue.ack, queue.release):
        with pytest.raises(LeaseAlreadyAcknowledgedError):
            await use(lease)


async def test_a_second_release_is_invalid_and_duplicates_nothing(queue: Queue) -> None:
    await put_all(queue, "a")
    lease = (await queue.get())[2]
    await queue.release(lease)
    with pytest.raises(InvalidLeaseError):
        await queue.release(lease)
    assert await queue.qsize() == 1


async def test_release_requeues_at_the_back_or_in_front(queue: Queue) -> None:
    await put_all(queue, "a", "b", "c")
    a, b = [(await queue.get())[2] for _ in range(2)]
    await queue.release(a, requeue_front=False)
    await queue.release(b, requeue_front=True)
    assert [(await queue.get())[0] for _ in range(3)] == ["b", "c", "a"]


async def test_several_leases_live_side_by_side(queue: Queue) -> None:
    await put_all(queue, "a", "b", "c")
    leases = [(await queue.get())[2] for _ in range(3)]
    assert len({lease.token for lease in leases}) == 3
    await queue.ack(leases[0])
    await queue.release(leases[1])
    assert (await queue.qsize(), await queue.inflight_size()) == (1, 1)
    await queue.ack(leases[2])
    assert await queue.inflight_size() == 0


async def test_a_lease_is_frozen_and_its_token_has_the_form_of_a_uuid(queue: Queue) -> None:
    await put_all(queue, "a")
    lease = (await queue.get())[2]
    assert len(lease.token) == 36
    with pytest.raises(AttributeError):
        lease.token = "other"  # type: ignore[misc]
    assert module("lease").Lease is Lease


# -- policies ---------------------------------------------------------------------------


async def test_update_is_the_default_and_survives_a_release(queue: Queue) -> None:
    await put_all(queue, "a")
    lease = (await queue.get())[2]
    await queue.put("a", 2)
    await queue.put("a", 3, if_in_flight="update")
    await queue.release(lease)
    assert (await queue.get())[1] == 3


async def test_reject_raises(queue: Queue) -> None:
    await put_all(queue, "a")
    await queue.get()
    with pytest.raises(KeyAlreadyInFlightError):
        await queue.put("a", 2, if_in_flight="reject")


async def test_buffer_adds_a_copy_that_outlives_the_ack(queue: Queue) -> None:
    await put_all(queue, "a")
    lease = (await queue.get())[2]
    await queue.put("a", 2, if_in_flight="buffer")
    assert await queue.qsize() == 1
    await queue.ack(lease)
    assert (await queue.get())[1] == 2


async def test_a_release_beside_a_buffered_copy_leaves_one(queue: Queue) -> None:
    await put_all(queue, "a")
    lease = (await queue.get())[2]
    await queue.put("a", 2, if_in_flight="buffer")
    await queue.release(lease)
    assert await queue.qsize() == 1
    assert (await queue.get())[1] == 2


# -- blocking ---------------------------------------------------------------------------


async def test_get_waits_for_an_item(queue: Queue) -> None:
    waiting = asyncio.create_task(queue.get())
    await asyncio.sleep(1)
    assert not waiting.done()
    await put_all(queue, "a")
    assert (await waiting)[:2] == ("a", 1)


async def test_take_waits_for_its_own_key(queue: Queue) -> None:
    await put_all(queue, "other")
    waiting = asyncio.create_task(queue.take("a"))
    await asyncio.sleep(1)
    assert not waiting.done()
    await queue.put("a", 7)
    assert (await waiting)[:2] == ("a", 7)


async def test_take_waits_while_its_key_is_in_flight(queue: Queue) -> None:
    await put_all(queue, "a")
    lease = (await queue.get())[2]
    waiting = asyncio.create_task(queue.take("a", timeout=5))
    await asyncio.sleep(1)
    assert not waiting.done()
    await queue.release(lease)
    assert (await waiting)[:2] == ("a", 1)


async def test_a_wait_times_out_or_is_served_before(queue: Queue) -> None:
    for call in (queue.get(timeout=0.1), queue.take("a", timeout=0.1)):
        with pytest.raises(asyncio.TimeoutError):
            await call

    async def put_later() -> None:
        await asyncio.sleep(0.05)
        await put_all(queue, "a")

    for call in (queue.get(timeout=1.0), queue.take("a", timeout=1.0)):
        later = asyncio.create_task(put_later())
        key, value, lease = await call
        await later
        assert (key, value) == ("a", 1)
        await queue.ack(lease)


async def test_several_consumers_are_all_served(queue: Queue) -> None:
    served: list[str] = []

    async def consume() -> None:
        key, _, lease = await queue.get()
        served.append(key)
        await queue.ack(lease)

    consumers = [asyncio.create_task(consume()) for _ in range(3)]
    await asyncio.sleep(0.01)
    await put_all(queue, "a", "b", "c")
    await asyncio.gather(*consumers)
    assert served == ["a", "b", "c"]


async def test_several_takes_of_one_key_are_all_served(queue: Queue) -> None:
    served: list[int] = []

    async def consume() -> None:
        _, value, lease = await queue.take("a")
        served.append(value)
        await queue.ack(lease)

    consumers = [asyncio.create_task(consume()) for _ in range(3)]
    for value in range(3):
        await asyncio.sleep(0.01)
        await queue.put("a", value)
    await asyncio.gather(*consumers)
    assert served == [0, 1, 2]


async def test_a_waiting_call_can_be_cancelled(queue: Queue) -> None:
    for call in (queue.get(), queue.take("a")):
        waiting = asyncio.create_task(call)
        await asyncio.sleep(0.01)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting


# -- many at once -----------------------------------------------------------------------


async def test_many_producers_and_consumers_lose_and_repeat_nothing(queue: Queue) -> None:
    consumed: list[int] = []

    async def produce(first: int) -> None:
        for number in range(first, first + 30):
            await queue.put(f"task {number}", number)
            await asyncio.sleep(0.001)

    async def consume() -> None:
        while True:
            try:
                _, value, lease = await queue.get(timeout=0.2)
            except TimeoutError:
                return
            await asyncio.sleep(0.001)
            consumed.append(value)
            await queue.ack(lease)

    producers = [produce(first) for first in (0, 100, 200)]
    await asyncio.gather(*producers, *(consume() for _ in range(5)))
    assert sorted(consumed) == [*range(30), *range(100, 130), *range(200, 230)]
    assert await queue.inflight_size() == 0


async def test_takes_that_wait_for_different_keys_are_served_in_any_order(queue: Queue) -> None:
    calls = {key: asyncio.create_task(queue.take(key, timeout=1.0)) for key in "abc"}
    await asyncio.sleep(0.01)
    await put_all(queue, "c", "a", "b")
    assert {key: (await call)[1] for key, call in calls.items()} == {"c": 1, "a": 2, "b": 3}


async def test_of_puts_on_one_key_at_once_the_last_wins(queue: Queue) -> None:
    await asyncio.gather(*(queue.put("shared", value) for value in (1, 2, 3)))
    assert await queue.qsize() == 1
    assert (await queue.get())[1] == 3


async def test_acks_and_releases_at_once_do_not_disturb_each_other(queue: Queue) -> None:
    await put_all(queue, *map(str, range(10)))
    leases = [(await queue.get())[2] for _ in range(10)]
    await asyncio.gather(*map(queue.ack, leases[:5]), *map(queue.release, leases[5:]))
    assert (await queue.qsize(), await queue.inflight_size()) == (5, 0)


async def test_what_is_released_again_and_again_does_not_hide_the_rest(queue: Queue) -> None:
    await put_all(queue, *map(str, range(50)))
    processed: set[int] = set()

    async def consume() -> None:
        while len(processed) < 25:
            _, value, lease = await queue.get(timeout=0.5)
            if value % 2:
                await queue.ack(lease)
                processed.add(value)
            else:
                await queue.release(lease)
            await asyncio.sleep(0)

    await asyncio.gather(*(consume() for _ in range(3)))
    assert processed == set(range(1, 51, 2))
    assert await queue.qsize() == 25


# -- timeouts of leases -----------------------------------------------------------------


async def test_a_lease_that_runs_out_gives_its_item_back_in_front() -> None:
    async with Queue(default_lease_timeout=0.2) as queue:
        await put_all(queue, "a", "b", "c")
        await queue.get()
        await asyncio.sleep(0.3)
        assert await queue.qsize() == 3
        assert (await queue.get(timeout=0.1))[:2] == ("a", 1)


async def test_a_timeout_of_its_own_overrides_the_default() -> None:
    async with Queue(default_lease_timeout=10.0) as queue:
        await put_all(queue, "a")
        await queue.get(lease_timeout=0.2)
        await asyncio.sleep(0.3)
        assert await queue.qsize() == 1


async def test_a_lease_without_timeout_does_not_run_out(queue: Queue) -> None:
    await put_all(queue, "timed", "untimed")
    await queue.get(lease_timeout=0.2)
    await queue.get()
    await asyncio.sleep(3000)
    assert await queue.available_keys() == {"timed"}
    assert await queue.inflight_keys() == {"untimed"}


@pytest.mark.parametrize("end", ["ack", "release"])
async def test_a_lease_that_has_ended_does_not_run_out(end: str) -> None:
    async with Queue(default_lease_timeout=0.5) as queue:
        await put_all(queue, "a")
        lease = (await queue.get())[2]
        if end == "ack":
            await queue.ack(lease)
        else:
            await queue.release(lease, requeue_front=True)
        before = await queue.qsize()
        await asyncio.sleep(0.6)
        assert (await queue.qsize(), await queue.inflight_size()) == (before, 0)


async def test_leases_run_out_each_at_its_own_time() -> None:
    async with Queue(default_lease_timeout=1.0) as queue:
        await put_all(queue, "fast", "slow", "default")
        for timeout in (0.1, 0.5, None):
            await queue.get(lease_timeout=timeout)
        for pause, left in ((0.2, {"slow", "default"}), (0.5, {"default"}), (0.5, set())):
            await asyncio.sleep(pause)
            assert await queue.inflight_keys() == left


async def test_an_expired_item_has_the_value_of_an_update_in_flight() -> None:
    async with Queue(default_lease_timeout=0.2) as queue:
        await put_all(queue, "a")
        await queue.get()
        await queue.put("a", 200, if_in_flight="update")
        await asyncio.sleep(0.3)
        assert (await queue.get())[1] == 200


async def test_an_expiry_serves_a_take_that_waits() -> None:
    async with Queue(default_lease_timeout=0.2) as queue:
        await put_all(queue, "a")
        await queue.get()
        assert (await queue.take("a", timeout=1.0))[:2] == ("a", 1)


async def test_many_leases_run_out_at_once() -> None:
    async with Queue(default_lease_timeout=0.1) as queue:
        await put_all(queue, *map(str, range(20)))
        for _ in range(20):
            await queue.get()
        await asyncio.sleep(0.3)
        assert (await queue.qsize(), await queue.inflight_size()) == (20, 0)


# -- closing ----------------------------------------------------------------------------


async def test_a_closed_queue_refuses_work() -> None:
    queue = Queue()
    await put_all(queue, "a", "b")
    await queue.get()
    await queue.close()
    for call in (queue.put("c", 1), queue.get(), queue.take("a")):
        with pytest.raises(QueueClosedError):
            await call


async def test_close_returns_what_is_in_flight_and_keeps_what_is_not() -> None:
    queue = Queue(default_lease_timeout=10.0)
    await queue.start()
    await put_all(queue, "a", "b", "c", "d")
    for _ in range(2):
        await queue.get()
    await queue.close()
    assert await queue.available_keys() == {"a", "b", "c", "d"}
    assert (await queue.qsize(), await queue.inflight_size()) == (4, 0)


async def test_the_context_manager_closes() -> None:
    async with Queue(default_lease_timeout=0.2) as queue:
        await put_all(queue, "a")
        await queue.get()
    assert await queue.available_keys() == {"a"}
    with pytest.raises(QueueClosedError):
        await queue.put("b", 1)
