"""What is measured. Each case is an async generator of what it found; its name is the case's."""

from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from itertools import cycle as repeat
from typing import Any

from .measure import Block, Ratio, collector, take_turns
from .rivals import ORDERED, PLAIN, Builds, OrderedQueue, Queue

# A turn works through these: half a millisecond or so of the queue's time.
KEYS = tuple(f"key-{number}" for number in range(200))
FEW_KEYS = KEYS[:20]
LONG = 3600.0  # seconds: a deadline that does not come
FEW = 1_000  # items, which more are compared with


@dataclass(frozen=True)
class Found:
    """How many times as long as another a subject took; ``low`` and ``high`` are the quartiles of
    the rounds, ``value`` is their median. ``size``: of what the subject had to cope with."""

    case: str
    subject: str
    against: str
    size: int | None
    value: float
    low: float
    high: float

    @classmethod
    def ratio(
        cls, case: str, subject: str, against: str, ratio: Ratio, size: int | None = None
    ) -> Found:
        return cls(case, subject, against, size, ratio.median, ratio.low, ratio.high)


@dataclass(frozen=True)
class Settings:
    """Of which builds, and how much of everything."""

    folders: Mapping[str, str]  # that each build lies in
    rounds: tuple[int, int] = (30, 100)  # at least, at most: of a millisecond or so
    long_rounds: tuple[int, int] = (5, 5)
    takers: tuple[int, ...] = (1_000, 100_000)
    leases: tuple[int, ...] = (1_000, 1_000_000)
    items: tuple[int, ...] = (100_000, 1_000_000)
    counted: int = 50_000  # items whose bytes are counted


QUICK: dict[str, Any] = {
    "rounds": (4, 10),
    "long_rounds": (3, 3),
    "takers": (1_000,),
    "leases": (1_000,),
    "items": (2_000,),
    "counted": 2_000,
}

Case = Callable[[Settings, Builds], AsyncIterator[Found]]
CASES: dict[str, Case] = {}  # in the order in which they are run


def case(function: Case) -> Case:
    CASES[function.__name__] = function
    return function


async def turns(
    case: str, blocks: dict[str, Block], settings: Settings, against: str = PLAIN
) -> list[Found]:
    """Every subject compared with one of them."""
    rounds = await take_turns(blocks, rounds=settings.rounds)
    return [
        Found.ratio(case, name, against, rounds.ratio(name, against))
        for name in blocks
        if name != against
    ]


# -- the cycle -------------------------------------------------------------------


def leased_cycle(queue: Queue, **options: float) -> Block:
    async def run() -> None:
        for key in KEYS:
            await queue.put(key, key)
            _, _, lease = await queue.get(**options)
            await queue.ack(lease)

    return Block(run, len(KEYS))


def plain_cycle(queue: asyncio.Queue[Any]) -> Block:
    async def run() -> None:
        for key in KEYS:
            await queue.put(key)
            await queue.get()
            queue.task_done()

    return Block(run, len(KEYS))


@case
async def cycle(settings: Settings, builds: Builds) -> AsyncIterator[Found]:
    """Put, get and ack with nobody waiting."""
    blocks = {PLAIN: plain_cycle(asyncio.Queue())}
    blocks |= {build: leased_cycle(make()) for build, make in builds.items()}
    for found in await turns("cycle", blocks, settings):
        yield found


@case
async def nowait_cycle(settings: Settings, builds: Builds) -> AsyncIterator[Found]:
    """The same by the plain methods."""

    def leased(queue: Queue) -> Block:
        async def run() -> None:
            for key in KEYS:
                queue.put_nowait(key, key)
                _, _, lease = queue.get_nowait()
                queue.ack_nowait(lease)

        return Block(run, len(KEYS))

    def plain(queue: asyncio.Queue[Any]) -> Block:
        async def run() -> None:
            for key in KEYS:
                queue.put_nowait(key)
                queue.get_nowait()
                queue.task_done()

        return Block(run, len(KEYS))

    blocks = {PLAIN: plain(asyncio.Queue())}
    blocks |= {build: leased(make()) for build, make in builds.items()}
    for found in await turns("nowait_cycle", blocks, settings):
        yield found


@case
async def timed(settings: Settings, builds: Builds) -> AsyncIterator[Found]:
    """The cycle under leases that have a deadline."""
    for build, make in builds.items():
        blocks = {
            "untimed": leased_cycle(make()),
            build: leased_cycle(make(default_lease_timeout=LONG)),
        }
        for found in await turns("timed", blocks, settings, "untimed"):
            yield found


# -- calls that wait ---------------------------------------------------------------


@asynccontextmanager
async def tasks_of(coroutines: Iterator[Any]) -> AsyncIterator[None]:
    """Tasks that have begun, and are cancelled at the end."""
    tasks = [asyncio.create_task(coroutine) for coroutine in coroutines]
    await asyncio.sleep(0)
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@case
async def hand_over(settings: Settings, builds: Builds) -> AsyncIterator[Found]:
    """The cycle through a blocked get: two tasks that wait for each other in turn."""

    def leased(there: Queue, back: Queue) -> tuple[Any, Block]:
        async def answer() -> None:
            while True:
                key, _, lease = await there.get()
                await there.ack(lease)
                await back.put(key, key)

        async def run() -> None:
            for key in FEW_KEYS:
                await there.put(key, key)
                _, _, lease = await back.get()
                await back.ack(lease)

        return answer(), Block(run, len(FEW_KEYS))

    def plain(there: asyncio.Queue[Any], back: asyncio.Queue[Any]) -> tuple[Any, Block]:
        async def answer() -> None:
            while True:
                key = await there.get()
                there.task_done()
                await back.put(key)

        async def run() -> None:
            for key in FEW_KEYS:
                await there.put(key)
                await back.get()
                back.task_done()

        return answer(), Block(run, len(FEW_KEYS))

    pairs = {PLAIN: plain(asyncio.Queue(), asyncio.Queue())}
    pairs |= {build: leased(make(), make()) for build, make in builds.items()}
    async with tasks_of(answer for answer, _ in pairs.values()):
        blocks = {name: block for name, (_, block) in pairs.items()}
        for found in await turns("hand_over", blocks, settings):
            yield found


@case
async def full(settings: Settings, builds: Builds) -> AsyncIterator[Found]:
    """A put that waits for a slot, next to `asyncio.Queue(maxsize=1)`."""

    async def leased_producer(queue: Queue) -> None:
        for key in repeat(KEYS):
            await queue.put(key, key)

    async def plain_producer(queue: asyncio.Queue[Any]) -> None:
        for key in repeat(KEYS):
            await queue.put(key)

    def leased(queue: Queue) -> Block:
        async def run() -> None:
            for _ in FEW_KEYS:
                _, _, lease = await queue.get()
                await queue.ack(lease)
                await asyncio.sleep(0)

        return Block(run, len(FEW_KEYS))

    def plain(queue: asyncio.Queue[Any]) -> Block:
        async def run() -> None:
            for _ in FEW_KEYS:
                await queue.get()
                queue.task_done()
                await asyncio.sleep(0)

        return Block(run, len(FEW_KEYS))

    rival: asyncio.Queue[Any] = asyncio.Queue(maxsize=1)
    queues = {build: make(maxsize=1) for build, make in builds.items()}
    producers = [plain_producer(rival), *map(leased_producer, queues.values())]
    async with tasks_of(iter(producers)):
        blocks = {PLAIN: plain(rival), **{name: leased(queue) for name, queue in queues.items()}}
        for found in await turns("full", blocks, settings):
            yield found


# -- delays ------------------------------------------------------------------------


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
async def delayed(settings: Settings, builds: Builds) -> AsyncIterator[Found]:
    """A put with a delay, and a discard, next to the two without a delay."""

    def block(queue: Queue, **options: float) -> Block:
        async def run() -> None:
            for key in KEYS:
                await queue.put(key, key, **options)
                await queue.discard(key)

        return Block(run, len(KEYS))

    for build, make in builds.items():
        blocks = {"at once": block(make()), build: block(make(), delay=LONG)}
        for found in await turns("delayed", blocks, settings, "at once"):
            yield found


@case
async def ripening(settings: Settings, builds: Builds) -> AsyncIterator[Found]:
    """Many items put with a delay, which ripen, are got and acknowledged; and without a delay."""

    def block(queue: Queue, forward: Callable[[float], None], **options: float) -> Block:
        async def run() -> None:
            for key in KEYS:
                await queue.put(key, key, **options)
            forward(2 * LONG)
            for _ in KEYS:
                _, _, lease = await queue.get()
                await queue.ack(lease)

        return Block(run, len(KEYS))

    async with adjustable_clock() as forward:
        for build, make in builds.items():
            blocks = {"at once": block(make(), forward), build: block(make(), forward, delay=LONG)}
            for found in await turns("ripening", blocks, settings, "at once"):
                yield found


# -- much of everything ------------------------------------------------------------

Crowd = Callable[[Queue, int], AbstractAsyncContextManager[None]]


async def beside(
    case: str,
    settings: Settings,
    builds: Builds,
    sizes: tuple[int, ...],
    crowd: Crowd,
    **options: float,
) -> AsyncIterator[Found]:
    """The cycle on a queue that has a crowd, and on one that has not."""
    for size in sizes:
        for build, make in builds.items():
            crowded = make(**options)
            async with crowd(crowded, size):
                blocks = {"alone": leased_cycle(make(**options)), build: leased_cycle(crowded)}
                rounds = await take_turns(blocks, rounds=settings.rounds)
            yield Found.ratio(case, build, "alone", rounds.ratio(build, "alone"), size)


@case
async def takers(settings: Settings, builds: Builds) -> AsyncIterator[Found]:
    """The cycle beside blocked takes of other keys."""

    @asynccontextmanager
    async def crowd(queue: Queue, count: int) -> AsyncIterator[None]:
        async with tasks_of(queue.take(("never", number)) for number in range(count)):
            yield

    async for found in beside("takers", settings, builds, settings.takers, crowd):
        yield found


@case
async def leases(settings: Settings, builds: Builds) -> AsyncIterator[Found]:
    """The cycle under timed leases beside other live timed leases."""

    @asynccontextmanager
    async def crowd(queue: Queue, count: int) -> AsyncIterator[None]:
        for number in range(count):
            await queue.put(number, None)
            await queue.get()
        yield

    options = {"default_lease_timeout": LONG}
    async for found in beside("leases", settings, builds, settings.leases, crowd, **options):
        yield found


@case
async def items(settings: Settings, builds: Builds) -> AsyncIterator[Found]:
    """A queue is filled and drained; the time for each item, with the collector frozen."""

    def leased(queue: Queue, keys: list[str], times: int) -> Block:
        async def run() -> None:
            for _ in range(times):
                for key in keys:
                    await queue.put(key, key)
                for _ in keys:
                    _, _, lease = await queue.get()
                    await queue.ack(lease)

        return Block(run, len(keys) * times)

    def plain(queue: asyncio.Queue[str], keys: list[str], times: int) -> Block:
        async def run() -> None:
            for _ in range(times):
                for key in keys:
                    await queue.put(key)
                for _ in keys:
                    await queue.get()
                    queue.task_done()

        return Block(run, len(keys) * times)

    def blocks_of(size: int, times: int) -> dict[str, Block]:
        keys = [f"key-{number}" for number in range(size)]
        blocks = {PLAIN: plain(asyncio.Queue(), keys, times)}
        return blocks | {build: leased(make(), keys, times) for build, make in builds.items()}

    few = blocks_of(FEW, times=5)
    for size in settings.items:
        many = blocks_of(size, times=1)
        blocks = {f"few: {name}": block for name, block in few.items()} | many
        rounds = await take_turns(blocks, rounds=settings.long_rounds, collecting=False)
        for name in many:
            ratio = rounds.ratio(name, f"few: {name}")
            yield Found.ratio("items", name, f"{FEW:,} items", ratio, size)


@case
async def memory(settings: Settings, builds: Builds) -> AsyncIterator[Found]:
    """Bytes allocated for an available item, key and value not counted."""
    keys = [f"key-{number}" for number in range(settings.counted)]

    async def bytes_of(queue: Any, fill: Callable[[Any], Awaitable[object]]) -> float:
        with collector(running=False):
            tracemalloc.start()
            before, _ = tracemalloc.get_traced_memory()
            await fill(queue)
            after, _ = tracemalloc.get_traced_memory()
            tracemalloc.stop()
        return (after - before) / len(keys)

    async def fill(queue: Any) -> None:
        for key in keys:
            await queue.put(key, key)

    ordered = await bytes_of(OrderedQueue(), fill)
    for build, make in builds.items():
        ratio = await bytes_of(make(), fill) / ordered
        yield Found("memory", build, ORDERED, None, ratio, ratio, ratio)
