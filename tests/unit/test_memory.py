"""Memory, with the garbage collector off: what is done with is freed at once.

Values and keys here can be watched through weak references. Only CPython promises to free
at once, and only the supported CPythons run these tests.
"""

import asyncio
import gc
import sys
import weakref
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from typing import Any

import pytest

from tests.subject import Lease, LeasedKeyQueue
from tests.unit.steps import blocked, drain, lease, outcome, snapshot
from tests.virtual import jump, run, running, ticks


class Thing:
    """A key or a value that can be watched."""


Queue = LeasedKeyQueue[Any, Any]


@pytest.fixture(autouse=True)
def no_collector(untraced: None) -> Iterator[None]:
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


async def after_delay(queue: Queue, key: Thing, value: Thing) -> Lease[Thing]:
    await queue.put(key, value, delay=1)
    jump(1)
    await queue.release(await lease(queue), delay=1)
    jump(1)
    return await lease(queue)


async def after_refresh(queue: Queue, key: Thing, value: Thing) -> Lease[Thing]:
    granted = await after_update(queue, key, value)
    await queue.refresh(granted)
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
    after_delay,
    after_refresh,
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


@pytest.mark.req("COST-5", "OUT-1")
@pytest.mark.parametrize("end", ["replaced", "discarded"])
@pytest.mark.parametrize("state", ["available", "delayed", "leased", "deferred", "buffered"])
async def test_a_value_that_is_replaced_or_discarded_is_freed_at_once(state: str, end: str) -> None:
    queue = Queue()
    policy: Any = {"deferred": "defer", "buffered": "buffer"}.get(state, "update")
    delay = 5 if state == "delayed" else 0
    await queue.put("k", 0, delay=delay)
    if state not in ("available", "delayed"):
        await lease(queue)
    value = Thing()
    alive = watch(value)
    await queue.put("k", value, if_in_flight=policy, delay=delay)
    del value
    assert alive() == 1
    if end == "replaced" or state == "leased":
        await queue.put("k", 1, if_in_flight=policy, delay=delay)
    else:
        assert await queue.discard("k")
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


@pytest.mark.req("COST-5", "WAIT-7", "BOUND-5")
@pytest.mark.parametrize("end", ["cancel", "timeout", "close", "zero"])
@pytest.mark.parametrize("kind", ["take", "put"])
async def test_what_a_call_that_failed_held_is_freed_at_once(kind: str, end: str) -> None:
    queue = Queue(maxsize=1)
    await queue.put("other", 1)
    key, value = Thing(), Thing()
    alive = watch(key, value)
    timeout = 0 if end == "zero" else 5
    call: Any = queue.take(key, timeout)
    if kind == "put":
        call.close()
        call = queue.put(key, value, timeout=timeout)
    if end == "zero":
        with pytest.raises(TimeoutError):
            await call
    else:
        waiting = await blocked(call)
        if end == "cancel":
            waiting.cancel()
        elif end == "close":
            await queue.close()
        await asyncio.wait([waiting])
        assert waiting.cancelled() or waiting.exception()
        del waiting
    del key, value, call
    await ticks(2)
    assert alive() == 0


# -- many -----------------------------------------------------------------------------


# A leak of one block each would show ten times over.
MANY, FEW = 3_000, 300


async def flat(use: Callable[[int], Coroutine[Any, Any, object]], warm_up: int = 100) -> None:
    """Used many times, the queue holds no more memory than before, and leaves no garbage."""
    gc.collect()
    await use(warm_up)
    gc.collect()
    before = sys.getallocatedblocks()
    await use(MANY)
    assert sys.getallocatedblocks() - before < FEW
    assert gc.collect() < FEW


@pytest.mark.req("COST-5")
@pytest.mark.parametrize("kind", ["get", "take", "put", "join"])
async def test_many_timeouts_leave_no_garbage(kind: str) -> None:
    """gh-80111, gh-124958."""
    queue = Queue(maxsize=1)
    if kind in ("put", "join"):
        await queue.put("other", 1)

    async def time_out(number: int) -> None:
        calls: dict[str, Callable[[], Coroutine[Any, Any, object]]] = {
            "get": lambda: queue.get(0.5),
            "take": lambda: queue.take("k", 0.5),
            "put": lambda: queue.put("k", 1, timeout=0.5),
            "join": lambda: queue.join(0.5),
        }
        for _ in range(number):
            try:
                await calls[kind]()
            except TimeoutError:
                continue

    await flat(time_out)


@pytest.mark.req("COST-5", "WAIT-7", "BOUND-5")
async def test_many_cancellations_leave_no_garbage() -> None:
    queue = Queue(maxsize=1)

    async def cancel(number: int) -> None:
        for count in range(number):
            calls = [queue.get(9), queue.take("k"), queue.put("k", 2, timeout=9)]
            chosen: Any = calls.pop(count % 3)
            for call in calls:
                call.close()
            if count % 3 == 2:
                queue.put_nowait("other", 1)
            task = asyncio.create_task(chosen)
            await ticks(1)
            if count % 2 and count % 3 == 2:
                await queue.discard("other")  # so it has a slot reserved
            elif count % 2:
                queue.put_nowait("k", count)  # or a copy
            task.cancel()
            await asyncio.wait([task])
            await queue.discard("other")
            await queue.discard("k")
            del calls, chosen, call, task
            assert await queue.inflight_size() == 0

    await flat(cancel)


@pytest.mark.req("LEASE-10", "COST-5")
async def test_many_cycles_leave_memory_flat() -> None:
    """0.0.7: 127 bytes an ack, for ever. By every way in which a lease can end."""
    queue = Queue(default_lease_timeout=50)

    async def cycle(number: int) -> None:
        for _ in range(number):
            queue.put_nowait("k", None)
            queue.ack_nowait(queue.get_nowait()[2])
            waiting = asyncio.create_task(queue.get(9))
            await ticks(1)
            await queue.put("k", None)
            await queue.release((await waiting)[2])
            await queue.ack(await lease(queue))
            await queue.put("k", None, delay=1)
            jump(1)
            await queue.get(lease_timeout=1)
            jump(1)
            await queue.ack((await queue.take("k"))[2])

    await flat(cycle)


@pytest.mark.req("LEASE-10", "COST-4", "COST-2", "OUT-2")
async def test_many_durations_and_delays_leave_memory_flat() -> None:
    """Each used once: lanes that are idle are swept out."""
    queue, duration = Queue(), 0

    async def cycle(number: int) -> None:
        nonlocal duration
        for _ in range(5 * number):
            duration += 1
            queue.put_nowait("k", 1, delay=duration)
            assert await queue.discard("k")
            queue.put_nowait("k", 1)
            queue.ack_nowait(queue.get_nowait(lease_timeout=duration)[2])

    await flat(cycle)


# -- the queue --------------------------------------------------------------------------


@pytest.mark.req("EXP-8", "COST-5")
def test_a_dropped_queue_frees_all_that_it_held() -> None:
    """Keys in every state, calls of every kind that wait or have something reserved, timers."""

    async def main() -> Callable[[], int]:
        queue, things, held = Queue(maxsize=9), list[Thing](), list[Any]()

        def thing() -> Thing:
            things.append(Thing())
            return things[-1]

        plain, deferred, buffered, released = [thing() for _ in range(4)]
        queue.put_nowait(thing(), thing(), delay=5)
        queue.put_nowait(plain, thing())
        held.append(queue.take_nowait(plain, lease_timeout=5))
        queue.put_nowait(deferred, thing())
        held.append(queue.take_nowait(deferred))
        queue.put_nowait(deferred, thing(), if_in_flight="defer", delay=7)
        for _ in range(3):
            queue.put_nowait(buffered, thing(), if_in_flight="buffer")
            held.append(queue.take_nowait(buffered, lease_timeout=7))
        queue.put_nowait(buffered, thing(), if_in_flight="buffer", delay=5)
        queue.put_nowait(released, thing())
        queue.release_nowait(queue.take_nowait(released)[2], requeue_front=True)
        held += [queue.take(thing(), 9), queue.join(9), queue.take(plain), queue.get(8)]
        held[-1].send(None) if await queue.qsize() == 0 else held.pop().close()
        queue.put_nowait(thing(), thing())
        held += [queue.put(thing(), thing(), timeout=timeout) for timeout in (8, None)]
        for call in held:
            if asyncio.iscoroutine(call):
                call.send(None)
        assert await queue.discard(released)  # so a put has a slot reserved
        assert len(snapshot(queue).slots) == 1
        assert len(running().timers()) == 1
        alive = watch(queue, *things)
        assert alive() == len(things) + 1
        things.clear()
        del queue, plain, deferred, buffered, released, call
        held.clear()
        await ticks(1)
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


@pytest.mark.req("COST-6")
@pytest.mark.parametrize(
    "what", ["available", "delayed", "leased", "timed", "returned", "buffered", "waiting"]
)
def test_a_dropped_crowd_neither_recurses_nor_crashes(what: str) -> None:
    """gh-27678: a chain of links, each freed by the one before."""

    async def main() -> Callable[[], int]:
        queue, first, last, calls = Queue(), Thing(), Thing(), list[Any]()
        await queue.put("first", first)
        for number in range(100_000 if what == "available" else 20_000):
            match what:
                case "available" | "delayed":
                    queue.put_nowait(number, None, delay=9 if what == "delayed" else 0)
                case "waiting":
                    calls.append(queue.take(number, 5))
                    calls[-1].send(None)
                case "buffered":
                    queue.put_nowait("k", None, if_in_flight="buffer")
                    queue.take_nowait("k")
                case _:
                    queue.put_nowait(number, None)
                    timeout = 5 if what == "timed" else None
                    granted = queue.take_nowait(number, lease_timeout=timeout)[2]
                    if what == "returned":
                        queue.release_nowait(granted, requeue_front=True)
        await queue.put("last", last)
        return watch(queue, first, last)

    assert run(main())() == 0


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
