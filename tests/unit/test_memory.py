"""Memory, with the garbage collector off: what is done with is freed at once.

Values and keys here can be watched through weak references. Only CPython promises to free
at once, and only the supported CPythons run these tests.
"""

import asyncio
import contextlib
import gc
import sys
import weakref
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from tests.subject import Lease, LeasedKeyQueue, module
from tests.unit.steps import blocked, drain, lease, outcome
from tests.virtual import jump, quiet, run, running, ticks


class Thing:
    """A key or a value that can be watched."""


Queue = LeasedKeyQueue[Any, Any]


@pytest.fixture(autouse=True)
def no_collector(untraced: None) -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def watch(*things: object) -> Callable[[], int]:
    """A function that says how many of the things are alive."""
    watched = [weakref.ref(thing) for thing in things]
    return lambda: sum(thing() is not None for thing in watched)


# -- one item -------------------------------------------------------------------------


async def plainly(queue: Queue, key: Thing, value: Thing) -> Lease[Thing]:
    await queue.put(key, value)
    return await lease(queue)


async def by_take(queue: Queue, key: Thing, value: Thing) -> Lease[Thing]:
    await queue.put(key, value)
    return (await queue.take(key))[2]


async def after_a_wait(queue: Queue, key: Thing, value: Thing) -> Lease[Thing]:
    waiting = asyncio.create_task(queue.take(key, 5, lease_timeout=5))
    await ticks(1)
    await queue.put(key, value)
    return (await waiting)[2]


async def timed(queue: Queue, key: Thing, value: Thing) -> Lease[Thing]:
    await queue.put(key, value)
    granted = await lease(queue, lease_timeout=5)
    await queue.extend(granted, 9)
    return granted


async def after_release(queue: Queue, key: Thing, value: Thing) -> Lease[Thing]:
    await queue.put(key, value)
    await queue.release(await lease(queue))
    return await lease(queue)


async def after_expiry(queue: Queue, key: Thing, value: Thing) -> Lease[Thing]:
    await queue.put(key, value)
    await queue.get(lease_timeout=1)
    jump(1)
    return await lease(queue)


async def after_defer(queue: Queue, key: Thing, value: Thing) -> Lease[Thing]:
    await queue.put(key, None)
    granted = await lease(queue)
    await queue.put(key, value, if_in_flight="defer")
    await queue.ack(granted)
    return await lease(queue)


async def after_buffer(queue: Queue, key: Thing, value: Thing) -> Lease[Thing]:
    await queue.put(key, None)
    leases = [await lease(queue)]
    for _ in range(3):
        await queue.put(key, value, if_in_flight="buffer")
        leases.append(await lease(queue))
    for granted in leases[:3]:
        await queue.ack(granted)
    return leases[3]


async def after_update(queue: Queue, key: Thing, value: Thing) -> Lease[Thing]:
    await queue.put(key, Thing())
    granted = await lease(queue)
    await queue.put(key, value)
    return granted


async def after_cancelled_reservation(queue: Queue, key: Thing, value: Thing) -> Lease[Thing]:
    waiting = await blocked(queue.get())
    await queue.put(key, value)
    waiting.cancel()
    await outcome(waiting)
    return await lease(queue)


WAYS = [
    plainly,
    by_take,
    after_a_wait,
    timed,
    after_release,
    after_expiry,
    after_defer,
    after_buffer,
    after_update,
    after_cancelled_reservation,
]


@pytest.mark.req("COST-5", "LEASE-10")
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
@pytest.mark.parametrize("rebuilt", [False, True])
async def test_what_was_acked_is_freed_at_once(
    way: Callable[[Queue, Thing, Thing], Awaitable[Lease[Thing]]], rebuilt: bool
) -> None:
    """Value and key, although the consumer still holds nothing but the queue."""
    queue = Queue()
    key, value = Thing(), Thing()
    alive = watch(key, value)
    granted = await way(queue, key, value)
    await ticks(1)  # the loop lets go of the task that it has just woken us for
    del value
    assert alive() == 2
    if rebuilt:
        granted = Lease(token=granted.token, key=key)
    await queue.ack(granted)
    assert alive() == 1  # the value is gone though the lease is held
    del key, granted
    assert alive() == 0


@pytest.mark.req("COST-5")
@pytest.mark.parametrize("state", ["available", "leased", "deferred", "buffered"])
async def test_a_replaced_value_is_freed_at_once(state: str) -> None:
    queue = Queue()
    policy: Any = "defer" if state == "deferred" else "buffer" if state == "buffered" else "update"
    await queue.put("k", 0)
    if state != "available":
        await lease(queue)
    value = Thing()
    alive = watch(value)
    await queue.put("k", value, if_in_flight=policy)
    del value
    assert alive() == 1
    await queue.put("k", 1, if_in_flight=policy)
    assert alive() == 0


@pytest.mark.req("COST-5", "KEY-4")
@pytest.mark.parametrize("end", ["release", "expiry", "close", "cancel"])
async def test_a_value_that_lost_to_a_newer_one_is_freed_at_once(end: str) -> None:
    queue = Queue()
    value = Thing()
    alive = watch(value)
    waiting = await blocked(queue.get())
    await queue.put("k", value)
    del value
    granted = None if end == "cancel" else (await waiting)[2]
    await queue.put("k", 1, if_in_flight="defer")
    match end:
        case "release":
            assert granted is not None
            await queue.release(granted)
        case "expiry":
            assert granted is not None
            await queue.extend(granted, 1)
            jump(1)
            await queue.qsize()
        case "close":
            await queue.close()
        case "cancel":
            waiting.cancel()
            await outcome(waiting)
    del waiting
    await ticks(1)  # the loop lets go of it too
    assert alive() == 0
    assert await queue.peek("k") == 1


@pytest.mark.req("COST-5", "WAIT-7")
@pytest.mark.parametrize("end", ["cancel", "timeout", "close", "zero"])
async def test_the_key_of_a_take_that_failed_is_freed_at_once(end: str) -> None:
    queue = Queue()
    key = Thing()
    alive = watch(key)
    if end == "zero":
        with pytest.raises(TimeoutError):
            await queue.take(key, 0)
    else:
        waiting = await blocked(queue.take(key, 5))
        if end == "cancel":
            waiting.cancel()
        elif end == "close":
            await queue.close()
        await asyncio.wait([waiting])
        assert waiting.cancelled() or waiting.exception()
        del waiting
    del key
    await ticks(2)
    assert alive() == 0


# -- many -----------------------------------------------------------------------------


@pytest.mark.req("COST-5")
async def test_ten_thousand_timeouts_leave_no_garbage() -> None:
    """gh-80111, gh-124958."""
    queue = Queue()

    async def time_out(number: int) -> None:
        for _ in range(number):
            try:
                await (queue.get(0.5) if number % 2 else queue.take("k", 0.5))
            except TimeoutError:
                continue

    await time_out(10)
    gc.collect()
    before = sys.getallocatedblocks()
    await time_out(5000)
    await time_out(5001)
    assert sys.getallocatedblocks() - before < 100
    assert gc.collect() < 100


@pytest.mark.req("COST-5", "WAIT-7")
async def test_ten_thousand_cancellations_leave_no_garbage() -> None:
    queue = Queue()

    async def cancel(number: int) -> None:
        for count in range(number):
            waiting = asyncio.create_task(queue.get(9) if count % 2 else queue.take("k"))
            await ticks(1)
            if count % 3:
                await queue.put("k", count)
            waiting.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await waiting
            del waiting
            if await queue.qsize():
                await queue.ack(await lease(queue))

    await cancel(20)
    gc.collect()
    before = sys.getallocatedblocks()
    await cancel(10_000)
    assert sys.getallocatedblocks() - before < 200
    assert gc.collect() < 100


@pytest.mark.req("LEASE-10", "COST-5")
def test_a_million_cycles_leave_the_memory_of_the_core_flat() -> None:
    """0.0.7: 127 bytes an ack, for ever. Of ten cycles one is released, and one expires first."""
    core: Any = module("_core").Core(50)

    def cycle(number: int, now: float) -> None:
        put, get, ack = core.put, core.get, core.ack
        for _ in range(number // 10):
            for key in range(8):
                put(key, key, "update", now)
                ack(get(None, None, now)[2], now)
            put("released", None, "update", now)
            core.release(get(None, None, now)[2], False, now)
            ack(get(None, None, now)[2], now)
            put("expired", None, "update", now)
            get(None, 1, now)
            now += 1
            ack(get(None, None, now)[2], now)

    cycle(10_000, 0.0)
    before = sys.getallocatedblocks()
    cycle(1_000_000, 1e6)
    assert sys.getallocatedblocks() - before < 100
    assert gc.collect() < 100


@pytest.mark.req("LEASE-10", "COST-5")
async def test_a_hundred_thousand_cycles_leave_the_memory_of_the_queue_flat() -> None:
    """The same on the loop, half of the cycles through a call that waits."""
    queue = Queue(default_lease_timeout=50)

    async def cycle(number: int) -> None:
        for _ in range(number // 4):
            await queue.put("k", None)
            await queue.ack(await lease(queue))
            waiting = asyncio.create_task(queue.get(9))
            await ticks(1)
            await queue.put("k", None)
            await queue.release((await waiting)[2])
            await queue.ack(await lease(queue))
            await queue.put("k", None)
            await queue.get(lease_timeout=1)
            await queue.ack((await queue.take("k"))[2])

    await cycle(1000)
    before = sys.getallocatedblocks()
    await cycle(100_000)
    assert sys.getallocatedblocks() - before < 200
    assert gc.collect() < 100


@pytest.mark.req("LEASE-10", "COST-4")
async def test_thirty_thousand_durations_leave_memory_flat() -> None:
    queue = Queue()

    async def cycle(first: int, number: int) -> None:
        for duration in range(first, first + number):
            await queue.put("k", 1)
            await queue.ack(await lease(queue, lease_timeout=1 + duration))

    await cycle(0, 1000)
    before = sys.getallocatedblocks()
    await cycle(1000, 30_000)
    assert sys.getallocatedblocks() - before < 500


# -- the queue --------------------------------------------------------------------------


@pytest.mark.req("EXP-8", "COST-5")
def test_a_dropped_queue_frees_all_that_it_held() -> None:
    """Whatever the state of its keys, with calls that wait, and with leases that are timed."""

    async def main() -> Callable[[], int]:
        queue, things = Queue(), [Thing() for _ in range(20)]
        keys = iter(things)
        for _ in range(2):  # available
            await queue.put(next(keys), next(keys))
        plain = next(keys)
        await queue.put(plain, next(keys))
        held = [(await queue.take(plain, lease_timeout=5))[2]]
        deferred = next(keys)
        await queue.put(deferred, next(keys))
        held.append((await queue.take(deferred))[2])
        await queue.put(deferred, next(keys), if_in_flight="defer")
        buffered = next(keys)
        for _ in range(3):
            await queue.put(buffered, next(keys), if_in_flight="buffer")
            held.append((await queue.take(buffered, lease_timeout=7))[2])
        await queue.put(buffered, next(keys), if_in_flight="buffer")
        released = next(keys)
        await queue.put(released, next(keys))
        await queue.release((await queue.take(released))[2], requeue_front=True)
        waited_for = next(keys)
        call = queue.take(waited_for, 9)
        call.send(None)
        assert len(running().timers()) == 1
        things = things[: len(things) - len([*keys])]
        alive = watch(queue, *things)
        assert alive() == len(things) + 1
        del queue, things, keys, plain, deferred, buffered, released, waited_for, call
        held.clear()
        assert running().timers() == []
        return alive

    assert run(main())() == 0


@pytest.mark.req("EXP-8")
def test_a_queue_is_freed_although_its_leases_are_held() -> None:
    async def main() -> tuple[Callable[[], int], list[Lease[Any]]]:
        queue, value = Queue(), Thing()
        alive = watch(queue, value)
        await queue.put("k", value)
        held = [await lease(queue, lease_timeout=5)]
        await queue.put("k", 1, if_in_flight="buffer")
        held.append(await lease(queue))
        return alive, held

    alive, held = run(main())
    assert [granted.key for granted in held] == ["k", "k"]
    assert alive() <= 1  # the value of a lease that never ended goes with the lease
    held.clear()
    assert alive() == 0


@pytest.mark.req("EXP-8", "COST-5")
def test_a_dropped_core_lets_go_of_the_calls_that_wait() -> None:
    """Calls in one list hold each other; so do a call and its deadline."""

    class Caller:
        def cancelled(self) -> bool:
            return False

    core: Any = module("_core").Core()
    callers = [Caller() for _ in range(6)]
    calls = [core.take("k", 5, None, 0.0) for _ in range(3)]
    calls += [core.get(5, None, 0.0) for _ in range(3)]
    for number in range(6):
        calls[number].caller = callers[number]
    core.put("reserved", 1, "update", 0.0)
    alive = watch(*callers)
    calls.clear()
    callers.clear()
    assert alive() == 6
    del core
    assert alive() == 0


@pytest.mark.req("COST-6")
def test_a_dropped_million_of_items_neither_recurses_nor_crashes() -> None:
    """gh-27678: a chain of a million links, each freed by the one before."""

    async def main() -> Callable[[], int]:
        queue = Queue()
        first, last = Thing(), Thing()
        await queue.put("first", first)
        for number in range(1_000_000):
            await queue.put(number, None)
        await queue.put("last", last)
        return watch(queue, first, last)

    assert run(main())() == 0


@pytest.mark.req("COST-6")
@pytest.mark.parametrize("what", ["leased", "timed", "returned", "buffered", "waiting"])
def test_a_dropped_crowd_of_leases_and_calls_neither_recurses_nor_crashes(what: str) -> None:
    async def main() -> Callable[[], int]:
        queue, value, calls = Queue(), Thing(), []
        await queue.put("first", value)
        for number in range(50_000):
            if what == "waiting":
                calls.append(queue.take(number, 5))
                calls[-1].send(None)
                continue
            await queue.put("k" if what == "buffered" else number, None, if_in_flight="buffer")
            granted = (await queue.get(lease_timeout=5 if what == "timed" else None))[2]
            if what == "returned":
                await queue.release(granted, requeue_front=True)
        return watch(queue, value)

    alive = run(main())
    assert alive() == 0


@pytest.mark.req("COST-5", "CLOSE-5")
async def test_a_closed_queue_is_freed_too() -> None:
    queue, value = Queue(default_lease_timeout=5), Thing()
    alive = watch(queue, value)
    await queue.put("k", value)
    await queue.get()
    waiting = await blocked(queue.get())
    await queue.close()
    await outcome(waiting)
    del queue, value, waiting
    await quiet()
    assert alive() == 0


@pytest.mark.req("COST-5")
async def test_an_exception_keeps_nothing_alive() -> None:
    queue, value = Queue(), Thing()
    alive = watch(value)
    await queue.put("k", value)
    granted = await lease(queue)
    await queue.ack(granted)
    for call in (queue.ack(granted), queue.get(0), queue.take("k", 0)):
        with pytest.raises(Exception, match=r"."):
            await call
    del value
    assert alive() == 0
    assert await drain(queue) == []
