"""A queue with a bound: puts that wait for a slot."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.subject import KeyAlreadyInFlightError, LeasedKeyQueue, QueueClosedError
from tests.unit.steps import (
    blocked,
    check,
    lease,
    line,
    outcome,
    outcomes,
    put_leased,
    snapshot,
)
from tests.virtual import jump, quiet, running, ticks

Queue = LeasedKeyQueue[str, int]


async def full(size: int = 1) -> tuple[Queue, Any]:
    """A queue whose only items are in flight, and the last of the leases."""
    queue = Queue(maxsize=size)
    return queue, [await put_leased(queue, f"held {number}", 0) for number in range(size)][-1]


@pytest.mark.req("BOUND-1", "BOUND-2")
@pytest.mark.parametrize("what", ["available", "delayed", "leased", "buffered", "slot"])
async def test_whatever_waits_or_is_in_flight_takes_a_slot(what: str) -> None:
    queue = Queue(maxsize=2)
    await queue.put("other", 1, timeout=0)
    match what:
        case "available":
            await queue.put("k", 1)
        case "delayed":
            await queue.put("k", 1, delay=5)
        case "leased":
            await put_leased(queue, "k", 1)
        case "buffered":
            await queue.take("other")
            await queue.put("other", 2, if_in_flight="buffer")
        case "slot":
            await queue.put("k", 1)
            await blocked(queue.put("waited", 1))
            await queue.discard("k")
    with pytest.raises(TimeoutError):
        await queue.put("more", 1, timeout=0)
    with pytest.raises(asyncio.QueueFull):
        queue.put_nowait("more", 1)
    check(queue)


@pytest.mark.req("BOUND-2", "BOUND-6")
async def test_a_put_that_needs_no_slot_never_begins_to_wait() -> None:
    queue = Queue(maxsize=3)
    await queue.put("available", 1)
    await queue.put("delayed", 1, delay=5)
    await put_leased(queue, "leased", 1)
    waiting = await blocked(queue.put("new", 1))
    for key in ("available", "delayed", "leased"):
        for policy in ("update", "defer"):
            await queue.put(key, 2, if_in_flight=policy, timeout=0)
    with pytest.raises(KeyAlreadyInFlightError):
        await queue.put("leased", 2, if_in_flight="reject")
    with pytest.raises(TimeoutError):
        await queue.put("leased", 2, if_in_flight="buffer", timeout=0)
    assert not waiting.done()
    waiting.cancel()
    await outcome(waiting)


@pytest.mark.req("BOUND-7")
@pytest.mark.parametrize("maxsize", [0, -1, -(10**30)])
async def test_without_a_bound_no_put_waits(maxsize: int) -> None:
    queue = Queue(maxsize=maxsize)
    for number in range(1000):
        queue.put_nowait(str(number), 0)
    assert await queue.qsize() == 1000


# Every way in which a slot becomes free.
FREES: dict[str, Callable[[Queue, Any], Awaitable[object]]] = {
    "ack": lambda queue, held: queue.ack(held),
    "discard": lambda queue, held: release_and_discard(queue, held),
    "release beside a copy": lambda queue, held: queue.release(held, delay=3),
    "expiry beside a copy": lambda queue, held: expire(queue, held),
}


async def release_and_discard(queue: Queue, held: Any) -> None:
    await queue.release(held)
    await queue.discard(held.key)


async def expire(queue: Queue, held: Any) -> None:
    await queue.extend(held, 1)
    jump(1)
    await queue.qsize()


@pytest.mark.req("BOUND-3", "BOUND-4", "WAIT-2")
@pytest.mark.parametrize("way", FREES)
async def test_a_slot_that_becomes_free_goes_to_the_put_that_has_waited_longest(way: str) -> None:
    queue = Queue(maxsize=2)
    held = await put_leased(queue, "k", 1)
    if way.endswith("copy"):
        await queue.put("k", 2, if_in_flight="buffer")
    else:
        await queue.put("other", 1)
    waiting = [await blocked(queue.put(key, 0)) for key in "abc"]
    await FREES[way](queue, held)
    with pytest.raises(asyncio.QueueFull):  # nobody barges in
        queue.put_nowait("barging", 0)
    assert [*snapshot(queue).slots] == [1]
    await ticks(3)
    assert [task.done() for task in waiting] == [True, False, False]
    assert await queue.contains("a")
    for task in waiting[1:]:
        task.cancel()
    await outcomes(waiting)
    check(queue)


@pytest.mark.req("BOUND-6")
async def test_a_copy_that_comes_back_always_has_its_place() -> None:
    for back in ("release", "expire", "ack"):
        queue, held = await full()
        await queue.put("held 0", 1, if_in_flight="defer")
        waiting = await blocked(queue.put("new", 1))
        match back:
            case "release":
                await queue.release(held)
            case "expire":
                await expire(queue, held)
            case "ack":  # a deferred value takes the slot of the last lease
                await queue.ack(held)
        await quiet()
        assert (line(queue), waiting.done()) == (["held 0"], False)
        await queue.ack(await lease(queue))
        await waiting
        assert line(queue) == ["new"]


@pytest.mark.req("BOUND-4", "OP-1")
@pytest.mark.parametrize(
    ("policy", "needs"), [("update", False), ("defer", False), ("buffer", True), ("reject", None)]
)
async def test_a_slot_that_is_not_needed_goes_to_the_next(policy: Any, needs: bool | None) -> None:
    """Two slots come free; the key of the second put is in flight when it resumes."""
    queue = Queue(maxsize=2)
    leases = [await put_leased(queue, key, 0) for key in "ab"]
    calls = [queue.put("k", 1), queue.put("k", 2, if_in_flight=policy), queue.put("z", 3)]
    for call in calls:
        call.send(None)
    for held in leases:
        await queue.ack(held)
    assert snapshot(queue).slots == (1, 2)
    with pytest.raises(StopIteration):
        calls[0].send(None)
    await queue.take("k", 0)
    with pytest.raises(KeyAlreadyInFlightError if needs is None else StopIteration):
        calls[1].send(None)
    assert snapshot(queue).slots == (() if needs else (3,))
    with pytest.raises(asyncio.QueueFull):
        queue.put_nowait("barging", 0)
    calls[2].close()
    check(queue)


@pytest.mark.req("BOUND-5")
@pytest.mark.parametrize("reserved", [False, True])
async def test_a_put_that_is_cancelled_has_not_happened(reserved: bool) -> None:
    queue, held = await full()
    waiting = await blocked(queue.put("k", 1, timeout=9))
    heir = await blocked(queue.put("heir", 1))
    if reserved:
        await queue.ack(held)
    waiting.cancel()
    assert isinstance(await outcome(waiting), asyncio.CancelledError)
    if not reserved:
        await queue.ack(held)
    await heir
    assert (line(queue), running().timers()) == (["heir"], [])


@pytest.mark.req("BOUND-5", "WAIT-9", "WAIT-11", "WAIT-13")
async def test_a_put_times_out_and_has_not_happened() -> None:
    queue, held = await full()
    waiting = await blocked(queue.put("longer", 1, timeout=9))
    with pytest.raises(TimeoutError):
        await queue.put("k", 1, timeout=3)
    assert running().time() == 3
    assert running().timers() == [9]
    await queue.ack(held)
    await waiting
    assert line(queue) == ["longer"]
    assert running().timers() == []


@pytest.mark.req("WAIT-12", "BOUND-3")
async def test_a_slot_that_is_reserved_when_the_timeout_fires_is_used() -> None:
    queue, held = await full()
    waiting = await blocked(queue.put("k", 1, timeout=3))
    await queue.ack(held)
    jump(100)
    await waiting
    assert line(queue) == ["k"]


@pytest.mark.req("WAIT-12", "BOUND-3", "EXP-1")
async def test_a_slot_that_becomes_free_with_the_timeout_comes_first() -> None:
    queue = Queue(maxsize=2)
    await put_leased(queue, "k", 1, lease_timeout=3)
    await queue.put("k", 2, if_in_flight="buffer")
    await queue.put("new", 1, timeout=3)
    assert line(queue) == ["k", "new"]


@pytest.mark.req("BOUND-4", "DELAY-1")
async def test_the_delay_of_a_put_that_waited_runs_from_when_it_is_carried_out() -> None:
    queue, held = await full()
    waiting = await blocked(queue.put("k", 1, delay=5))
    await asyncio.sleep(18)
    await queue.ack(held)
    await waiting
    (late,) = snapshot(queue).delayed
    assert (late.key, late.time) == ("k", 23)


@pytest.mark.req("BOUND-5", "BOUND-1", "WAIT-7")
async def test_cancelled_at_every_tick_around_a_free_slot() -> None:
    """Once, and twice up to two ticks later; the heir has the slot, or the victim has put."""
    for freed, cancelled, gap in itertools.product(range(4), range(6), (None, 0, 1, 2)):
        queue, held = await full()
        tasks = {}
        for tick in range(10):
            if tick == 1:
                tasks = {key: asyncio.create_task(queue.put(key, 1)) for key in ("victim", "heir")}
            if tick == freed + 2:
                await queue.ack(held)
            if tasks and tick in (cancelled + 1, cancelled + 1 + (gap or 0)):
                tasks["victim"].cancel()
            check(queue)
            await ticks(1)
        result = await outcome(tasks["victim"])
        if result is None:
            assert (line(queue), tasks["heir"].done()) == (["victim"], False)
            tasks["heir"].cancel()
            await outcome(tasks["heir"])
        else:
            assert isinstance(result, asyncio.CancelledError)
            assert (line(queue), tasks["heir"].done()) == (["heir"], True), (freed, cancelled, gap)


@pytest.mark.req("END-7", "END-3")
@pytest.mark.parametrize("end", ["close", "shutdown"])
@pytest.mark.parametrize("reserved", [False, True])
async def test_a_put_that_waits_ends_with_the_queue(end: str, reserved: bool) -> None:
    queue, held = await full()
    waiting = await blocked(queue.put("k", 1))
    if reserved:
        await queue.ack(held)
    await (queue.close() if end == "close" else queue.shutdown())
    assert isinstance(await outcome(waiting), QueueClosedError)
    state = snapshot(queue)
    assert (state.waiting, state.slots, "k" in line(queue)) == ((), (), False)


@pytest.mark.req("BOUND-1")
async def test_producers_and_consumers_pass_a_narrow_queue_in_order() -> None:
    queue, got = Queue(maxsize=3), list[int]()

    async def produce() -> None:
        for number in range(200):
            await queue.put(str(number), number)

    async def consume() -> None:
        while len(got) < 200:
            _, value, held = await queue.get()
            got.append(value)
            await asyncio.sleep(value % 3)
            assert sum([await queue.qsize(), await queue.inflight_size()]) <= 3
            await queue.ack(held)

    consumers = [asyncio.create_task(consume()) for _ in range(2)]
    await produce()
    await queue.join()
    assert got == list(range(200))
    for task in consumers:
        task.cancel()
    await outcomes(consumers)
