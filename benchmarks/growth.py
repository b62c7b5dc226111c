"""What an operation costs when there is much: of items, of waiting calls, of leases."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from itertools import cycle as repeat
from time import thread_time
from typing import Any

from .measure import Block, Ratio, take_turns
from .registry import Found, Settings, case
from .speed import FEW_KEYS, KEYS, LONG, leased_cycle
from .subjects import ORDERED, OURS, PLAIN, PUBLIC, Leased

SMALLEST = 1_000  # what larger sizes are compared with


# -- items ---------------------------------------------------------------------


def leased_drain(queue: Leased, keys: list[str], times: int) -> Block:
    async def run() -> None:
        for _ in range(times):
            for key in keys:
                await queue.put(key, key)
            for _ in keys:
                _, _, lease = await queue.get()
                await queue.ack(lease)

    return Block(run, len(keys) * times)


def plain_drain(queue: asyncio.Queue[str], keys: list[str], times: int) -> Block:
    async def run() -> None:
        for _ in range(times):
            for key in keys:
                await queue.put(key)
            for _ in keys:
                await queue.get()
                queue.task_done()

    return Block(run, len(keys) * times)


@case
async def items(settings: Settings) -> AsyncIterator[Found]:
    """A queue is filled and drained; the time for each item, with the collector frozen."""
    queues = settings.queues()

    def blocks_of(size: int, times: int) -> dict[str, Block]:
        keys = [f"key-{number}" for number in range(size)]
        leased = {name: leased_drain(queues[name](), keys, times) for name in (OURS, ORDERED)}
        return {PLAIN: plain_drain(asyncio.Queue(), keys, times), **leased}

    few = blocks_of(SMALLEST, times=5)
    for size in settings.sizes:
        many = blocks_of(size, times=max(1, 5_000 // size))
        blocks = {f"few: {name}": block for name, block in few.items()} | many
        rounds = await take_turns(blocks, rounds=settings.rounds_of(size), collecting=False)
        growth = {name: rounds.ratios(name, f"few: {name}") for name in many}
        for name in many:
            ratio = Ratio.of(growth[name])
            yield Found.ratio("items", name, f"{SMALLEST:,} items", ratio, size)
        yield Found.ratio("items", OURS, ORDERED, rounds.ratio(OURS, ORDERED), size)
        both = [a / b for a, b in zip(growth[OURS], growth[ORDERED], strict=True)]
        yield Found.ratio("items, growth", OURS, ORDERED, Ratio.of(both), size)


# -- what lies or waits beside -------------------------------------------------


Crowd = Callable[[Any, int], AbstractAsyncContextManager[None]]


@asynccontextmanager
async def tasks_of(coroutines: Iterator[Any]) -> AsyncIterator[list[asyncio.Task[Any]]]:
    """Tasks that have begun, and are cancelled at the end."""
    tasks = [asyncio.create_task(coroutine) for coroutine in coroutines]
    await asyncio.sleep(0)
    try:
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def blocked_takers(queue: Leased, count: int) -> AsyncIterator[None]:
    """Takes of keys that never come."""
    async with tasks_of(queue.take(("never", number)) for number in range(count)):
        yield


@asynccontextmanager
async def live_leases(queue: Leased, count: int) -> AsyncIterator[None]:
    leases = []
    for number in range(count):
        await queue.put(number, None)
        leases.append((await queue.get())[2])
    yield


def yielding_cycle(queue: Leased) -> Block:
    """0.0.7 wakes everybody at a put: it pays when they get their turn."""

    async def run() -> None:
        for key in FEW_KEYS[:5]:
            await queue.put(key, key)
            _, _, lease = await queue.get()
            await queue.ack(lease)
            await asyncio.sleep(0)

    return Block(run, 5)


async def beside(
    name: str, settings: Settings, sizes: tuple[int, ...], crowd: Crowd, **options: float
) -> AsyncIterator[Found]:
    """The cycle on a queue that has a crowd, and on one that has not."""
    for size in sizes:
        for subject, make in settings.queues().items():
            public = subject == PUBLIC
            if public and (options or size > settings.public_waiting):
                continue
            cycle = yielding_cycle if public else leased_cycle
            crowded = make(**options)
            async with crowd(crowded, size):
                blocks = {"alone": cycle(make(**options)), subject: cycle(crowded)}
                limits = settings.long_rounds if public else settings.rounds
                rounds = await take_turns(blocks, rounds=limits)
            yield Found.ratio(name, subject, "alone", rounds.ratio(subject, "alone"), size)


@case
async def takers(settings: Settings) -> AsyncIterator[Found]:
    """The cycle beside blocked takes of other keys."""
    async for found in beside("takers", settings, settings.waiting, blocked_takers):
        yield found


@case
async def leases(settings: Settings) -> AsyncIterator[Found]:
    """The cycle under timed leases beside other live timed leases."""
    crowd = live_leases
    options = {"default_lease_timeout": LONG}
    async for found in beside("leases", settings, settings.leases, crowd, **options):
        yield found


@case
async def getters(settings: Settings) -> AsyncIterator[Found]:
    """A hand-over to the first of many blocked getters, who then waits again."""

    async def leased_worker(queue: Leased) -> None:
        while True:
            _, _, lease = await queue.get()
            await queue.ack(lease)

    async def plain_worker(queue: asyncio.Queue[Any]) -> None:
        while True:
            await queue.get()
            queue.task_done()

    def leased_feed(queue: Leased, keys: tuple[str, ...]) -> Block:
        async def run() -> None:
            for key in keys:
                await queue.put(key, key)
                await asyncio.sleep(0)

        return Block(run, len(keys))

    def plain_feed(queue: asyncio.Queue[Any]) -> Block:
        async def run() -> None:
            for key in KEYS:
                await queue.put(key)
                await asyncio.sleep(0)

        return Block(run, len(KEYS))

    makers: dict[str, Callable[..., Any]] = {PLAIN: asyncio.Queue, **settings.queues()}
    for size in settings.waiting:
        for subject, make in makers.items():
            if subject == PUBLIC and size > settings.public_waiting:
                continue
            work = plain_worker if subject == PLAIN else leased_worker
            one, many = make(), make()
            async with (
                tasks_of(work(one) for _ in range(1)),
                tasks_of(work(many) for _ in range(size)),
            ):
                if subject == PLAIN:
                    blocks = {"one getter": plain_feed(one), subject: plain_feed(many)}
                else:
                    keys = FEW_KEYS[:5] if subject == PUBLIC else KEYS
                    blocks = {
                        "one getter": leased_feed(one, keys),
                        subject: leased_feed(many, keys),
                    }
                limits = settings.long_rounds if subject == PUBLIC else settings.rounds
                rounds = await take_turns(blocks, rounds=limits)
            ratio = rounds.ratio(subject, "one getter")
            yield Found.ratio("getters", subject, "one getter", ratio, size)


@case
async def durations(settings: Settings) -> AsyncIterator[Found]:
    """The cycle under leases of many different durations, beside as many live leases."""
    standing = max(settings.durations)

    async def block(queue: Leased, different: int) -> Block:
        lengths = repeat([LONG + number for number in range(different)])
        for number in range(standing):
            await queue.put(number, None)
            await queue.get(lease_timeout=next(lengths))

        async def run() -> None:
            for key in KEYS:
                await queue.put(key, key)
                _, _, lease = await queue.get(lease_timeout=next(lengths))
                await queue.ack(lease)

        return Block(run, len(KEYS))

    for different in settings.durations:
        blocks: dict[str, Block] = {}
        for name in (OURS, ORDERED):
            make = settings.queues()[name]
            blocks[f"one: {name}"] = await block(make(), 1)
            blocks[name] = await block(make(), different)
        rounds = await take_turns(blocks, rounds=settings.rounds)
        for name in (OURS, ORDERED):
            ratio = rounds.ratio(name, f"one: {name}")
            yield Found.ratio("durations", name, "one duration", ratio, different)


# -- many at once --------------------------------------------------------------


@asynccontextmanager
async def adjustable_clock() -> AsyncIterator[Callable[[float], None]]:
    """A way to put the running loop's clock forward."""
    loop = asyncio.get_running_loop()
    real, ahead = loop.time, 0.0

    def forward(seconds: float) -> None:
        nonlocal ahead
        ahead += seconds

    loop.time = lambda: real() + ahead  # type: ignore[method-assign]
    try:
        yield forward
    finally:
        loop.time = real  # type: ignore[method-assign]


@case
async def expiry(settings: Settings) -> AsyncIterator[Found]:
    """Many leases run out at once; the time for each, in the operation that finds them."""

    def block(queue: Leased, size: int, forward: Callable[[float], None]) -> Block:
        async def run() -> float:
            for number in range(size):
                await queue.put(number, None)
            for _ in range(size):
                await queue.get()
            forward(2 * LONG)
            started = thread_time()
            left = await queue.qsize()
            elapsed = thread_time() - started
            assert left == size
            for _ in range(size):
                _, _, lease = await queue.get()
                await queue.ack(lease)
            return elapsed

        return Block(run, size)

    async with adjustable_clock() as forward:
        for size in settings.expiring:
            blocks: dict[str, Block] = {}
            for name in (OURS, ORDERED):
                make = settings.queues()[name]
                few = make(default_lease_timeout=LONG)
                blocks[f"few: {name}"] = block(few, SMALLEST, forward)
                blocks[name] = block(make(default_lease_timeout=LONG), size, forward)
            rounds = await take_turns(blocks, rounds=settings.rounds_of(size))
            for name in (OURS, ORDERED):
                growth = rounds.ratio(name, f"few: {name}")
                yield Found.ratio("expiry", name, f"{SMALLEST:,} leases", growth, size)
            yield Found.ratio("expiry", OURS, ORDERED, rounds.ratio(OURS, ORDERED), size)


@case
async def cancellation(settings: Settings) -> AsyncIterator[Found]:
    """One of many waiting gets is cancelled, wherever it stands, and another comes."""
    few, picks = min(settings.waiting), 50

    def block(queue: Any, tasks: list[asyncio.Task[Any]]) -> Block:
        rng = random.Random(len(tasks))

        async def run() -> None:
            for _ in range(picks):
                place = rng.randrange(len(tasks))
                tasks[place].cancel()
                tasks[place] = asyncio.create_task(queue.get())
                await asyncio.sleep(0)
            await asyncio.sleep(0)

        return Block(run, picks)

    for size in settings.waiting:
        blocks: dict[str, Block] = {}
        async with AsyncExitStack() as stack:
            for name in (OURS, ORDERED, PLAIN):
                for label, count in ((f"few: {name}", few), (name, size)):
                    make = asyncio.Queue if name == PLAIN else settings.queues()[name]
                    queue: Any = make()
                    calls = (queue.get() for _ in range(count))
                    tasks = await stack.enter_async_context(tasks_of(calls))
                    blocks[label] = block(queue, tasks)
            rounds = await take_turns(blocks, rounds=settings.long_rounds)
        for name in (OURS, ORDERED, PLAIN):
            ratio = rounds.ratio(name, f"few: {name}")
            yield Found.ratio("cancellation", name, f"{few} calls", ratio, size)
