"""`stats`: what it shows, in the cases by name; that it is so in any order, tests/stateful says."""

import asyncio
from dataclasses import FrozenInstanceError, asdict
from math import inf
from typing import Any

import pytest

from tests.subject import LeasedKeyQueue, QueueClosedError, Stats
from tests.unit.steps import blocked, check, lease, put_leased
from tests.virtual import jump, quiet, ticks

Queue = LeasedKeyQueue[str, Any]
NOTHING = Stats(**dict.fromkeys(Stats.__dataclass_fields__, 0)).__dict__ | {
    "oldest_available_age": None,
    "oldest_lease_age": None,
}


def shown(queue: Queue) -> dict[str, Any]:
    """What is not nothing."""
    stats = asdict(queue.stats())
    return {name: stats[name] for name in stats if stats[name] != NOTHING[name]}


def ages(queue: Queue) -> tuple[float | None, float | None]:
    stats = queue.stats()
    return stats.oldest_available_age, stats.oldest_lease_age


@pytest.mark.req("STAT-7")
async def test_a_new_queue_has_nothing_to_show() -> None:
    stats = Queue().stats()
    assert asdict(stats) == NOTHING
    with pytest.raises(FrozenInstanceError):
        stats.puts = 1  # type: ignore[misc]


async def test_it_may_be_awaited_and_need_not() -> None:
    queue = Queue()
    await queue.put("a", 1)
    stats = queue.stats()
    assert stats.puts == 1
    assert await stats is stats
    assert await queue.stats() == stats


@pytest.mark.req("STAT-1")
async def test_what_there_is() -> None:
    queue = Queue(maxsize=4)
    await put_leased(queue, "a", 1)
    await queue.put("a", 2, if_in_flight="defer")
    await queue.put("b", 1, delay=5)
    await queue.put("c", 1)
    await queue.put("d", 1)
    begun = (queue.put("e", 1), queue.take("b"), queue.take("z"))
    tasks: list[asyncio.Task[Any]] = [await blocked(call) for call in begun]
    there = {"available": 2, "delayed": 1, "deferred": 1, "in_flight": 1}
    there |= {"waiting_puts": 1, "waiting_takes": 2, "puts": 5, "deliveries": 1}
    assert shown(queue).items() >= there.items()
    for _ in range(2):
        await lease(queue)
    tasks += [await blocked(queue.get()), await blocked(queue.get())]
    stats = queue.stats()
    assert (stats.available, stats.in_flight, stats.waiting_gets) == (0, 3, 2)
    for task in tasks:
        task.cancel()
    assert queue.stats().waiting_gets == 2  # until they have gone
    await ticks(2)
    stats = queue.stats()
    assert (stats.waiting_gets, stats.waiting_takes, stats.waiting_puts) == (0, 0, 0)


@pytest.mark.req("STAT-1", "STAT-3")
async def test_a_copy_on_its_way_is_in_flight_and_not_delivered() -> None:
    queue = Queue()
    call = await blocked(queue.get())
    assert shown(queue) == {"waiting_gets": 1}
    await queue.put("a", 1)
    assert shown(queue) == {"in_flight": 1, "puts": 1, "oldest_lease_age": 0}
    call.cancel()
    await ticks(2)
    assert shown(queue) == {"available": 1, "puts": 1, "oldest_available_age": 0}
    await lease(queue)
    assert (queue.stats().deliveries, queue.stats().acks) == (1, 0)


@pytest.mark.req("STAT-2")
async def test_what_becomes_of_a_value() -> None:
    queue = Queue()
    for value in range(3):  # in the line
        await queue.put("a", value)
    assert shown(queue).items() >= {"puts": 3, "replaced": 2, "available": 1}.items()
    held = await lease(queue)
    await queue.put("a", 3)  # in flight
    assert queue.stats().replaced == 3
    await queue.put("a", 4, if_in_flight="defer")
    await queue.put("a", 5, if_in_flight="defer")  # the deferred one
    assert (queue.stats().replaced, queue.stats().deferred) == (4, 1)
    await queue.release(held)  # which takes the deferred one
    assert (queue.stats().replaced, queue.stats().deferred) == (5, 0)
    held = await lease(queue)
    await queue.put("a", 6, if_in_flight="buffer")
    await queue.release(held)  # and the newer one is left
    assert queue.stats().replaced == 6
    held = await lease(queue)
    await queue.put("a", 7, if_in_flight="defer")
    assert await queue.discard("a")
    await queue.ack(held)
    counts = {"puts": 8, "replaced": 6, "discards": 1, "acks": 1}
    assert shown(queue) == counts | {"deliveries": 3, "releases": 2}


@pytest.mark.req("STAT-3")
async def test_how_leases_end() -> None:
    queue = Queue()
    for key in "abcde":
        await put_leased(queue, key, 1, lease_timeout=5 if key == "c" else inf)
    await queue.ack(await put_leased(queue, "f", 1))
    await queue.release(await put_leased(queue, "g", 1), delay=9)
    jump(5)
    counts = {"deliveries": 7, "acks": 1, "releases": 1, "expiries": 1, "in_flight": 4}
    assert shown(queue).items() >= counts.items()
    await queue.close()
    counts |= {"in_flight": 0, "available": 6}
    assert {**NOTHING, **shown(queue)}.items() >= counts.items()


@pytest.mark.req("STAT-4")
async def test_timeouts_are_of_those_who_waited() -> None:
    queue = Queue(maxsize=1)
    await put_leased(queue, "a", 1)
    for call in (queue.get(0), queue.take("a", -1), queue.put("b", 1, timeout=0)):
        with pytest.raises(TimeoutError):
            await call
    assert queue.stats().timeouts == 0
    for call in (queue.get(1), queue.take("a", 1), queue.put("b", 1, timeout=1), queue.join(1)):
        with pytest.raises(TimeoutError):
            await call
    assert queue.stats().timeouts == 4
    assert not await queue.drain(1)
    assert queue.stats().timeouts == 5


@pytest.mark.req("STAT-5")
async def test_an_item_is_as_old_as_its_stay_in_the_line() -> None:
    queue = Queue()
    assert ages(queue) == (None, None)
    await queue.put("a", 1)
    await asyncio.sleep(2)
    await queue.put("b", 1)
    await queue.put("a", 2)  # it keeps its place, and its age
    await asyncio.sleep(3)
    assert ages(queue) == (5, None)
    held = await lease(queue)
    assert ages(queue) == (3, 0)
    await asyncio.sleep(1)
    assert ages(queue) == (4, 1)
    await queue.ack(held)
    assert ages(queue) == (4, None)
    await queue.discard("b")
    assert ages(queue) == (None, None)


@pytest.mark.req("STAT-5")
async def test_an_item_is_back_since_its_deadline_whoever_looks_when() -> None:
    queue = Queue()
    await put_leased(queue, "a", 1, lease_timeout=5)
    await queue.put("b", 1, delay=7)
    jump(9)
    assert ages(queue) == (4, None)
    await queue.take("a", 0)
    assert ages(queue) == (2, 0)


@pytest.mark.req("STAT-5")
async def test_an_item_in_front_is_as_old_as_the_one_behind_it() -> None:
    queue = Queue()
    for key in "ab":
        await put_leased(queue, key, 1, lease_timeout=1)
    jump(3)
    held = await lease(queue)
    jump(4)
    await queue.release(held, requeue_front=True)
    assert ages(queue) == (6, None)
    assert await queue.available_items() == [("a", 1), ("b", 1)]


@pytest.mark.req("STAT-5")
async def test_the_oldest_lease_is_the_one_that_was_granted_first() -> None:
    queue = Queue()
    first = await put_leased(queue, "a", 1)
    jump(2)
    second = await put_leased(queue, "b", 1)
    jump(2)
    assert ages(queue) == (None, 4)
    await queue.extend(first, 9)
    assert ages(queue) == (None, 4)
    await queue.ack(first)
    assert ages(queue) == (None, 2)
    await queue.release(second)
    assert ages(queue) == (0, None)
    call = await blocked(queue.take("c"))
    await queue.put("c", 1)
    jump(3)
    assert ages(queue)[1] == 3
    await call
    assert ages(queue)[1] == 0


@pytest.mark.req("STAT-6")
async def test_an_age_that_nobody_measured_is_too_high_and_never_too_low() -> None:
    jump(100)
    queue = Queue()
    await queue.put("a", 1)  # when the clock is noted
    jump(2)
    await queue.put("b", 1)
    await queue.get()
    jump(3)
    assert ages(queue) == (5, 5)  # and 3 it is, for both
    await queue.put("c", 1)
    jump(1)
    await queue.put("d", 1)
    await queue.discard("b")
    jump(2)
    assert ages(queue) == (3, 8)
    await queue.take("c")
    assert ages(queue) == (2, 8)


@pytest.mark.req("STAT-6")
async def test_under_an_observer_ages_are_exact() -> None:
    queue = Queue(observer=lambda *_: None)
    await queue.start()
    jump(2)
    await queue.put("a", 1)
    await queue.put("b", 1)
    jump(1)
    await queue.get()
    jump(1)
    assert ages(queue) == (2, 1)


@pytest.mark.req("STAT-6")
async def test_what_is_timed_is_measured() -> None:
    queue = Queue(default_lease_timeout=30)
    call = await blocked(queue.get())
    jump(5)
    await quiet()
    await queue.put("a", 1)
    await call
    jump(1)
    await queue.put("b", 1)
    jump(2)
    assert ages(queue) == pytest.approx((2, 3))


@pytest.mark.req("STAT-7")
async def test_it_looks_at_a_closed_queue_too_and_carries_out_what_is_due() -> None:
    queue = Queue()
    await put_leased(queue, "a", 1, lease_timeout=1)
    jump(1)
    assert queue.stats().expiries == 1
    await queue.close()
    with pytest.raises(QueueClosedError):
        await queue.put("a", 2)
    assert shown(queue).keys() >= {"available", "expiries", "puts"}


@pytest.mark.req("STAT-5", "STAT-7")
async def test_leases_that_have_ended_are_not_gone_through_for_ever() -> None:
    queue = Queue()
    last = None
    for key in map(str, range(5000)):
        held = await put_leased(queue, key, 1)
        if key == "4000":
            last = held
            jump(1)
        else:
            await queue.ack(held)
    before = queue._machine._grants
    assert ages(queue) == (None, 1)
    assert queue._machine._grants == before
    assert queue._machine._grants is not before
    assert last is not None
    await put_leased(queue, "new", 1)
    kept = queue._machine._grants
    assert ages(queue) == (None, 1)
    assert queue._machine._grants is kept
    await queue.ack(last)
    assert ages(queue) == (None, 0)
    check(queue)


@pytest.mark.req("STAT-7")
async def test_an_observer_can_ask() -> None:
    seen: list[int] = []
    queue = Queue(observer=lambda queue, _: seen.append(queue.stats().available))
    await queue.put("a", 1)
    await queue.put("b", 1)
    await lease(queue)
    assert seen == [1, 2, 1]
