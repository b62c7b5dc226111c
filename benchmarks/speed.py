"""What an operation costs with nothing else going on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from typing import Any

from .measure import Block, take_turns
from .registry import Found, Settings, case, versus
from .subjects import FLOOR, ORDERED, OURS, PLAIN, PUBLIC, Floor, Leased

# A turn works through these: half a millisecond or so of the queue's time.
KEYS = tuple(f"key-{number}" for number in range(200))
FEW_KEYS = KEYS[:20]
LONG = 3600.0  # seconds: the duration of a lease whose deadline does not come

Answer = Callable[[], Coroutine[Any, Any, None]]


# -- the cycle -----------------------------------------------------------------


def leased_cycle(queue: Leased, keys: Sequence[str] = KEYS) -> Block:
    async def run() -> None:
        for key in keys:
            await queue.put(key, key)
            _, _, lease = await queue.get()
            await queue.ack(lease)

    return Block(run, len(keys))


def plain_cycle(queue: asyncio.Queue[Any]) -> Block:
    async def run() -> None:
        for key in KEYS:
            await queue.put(key)
            await queue.get()
            queue.task_done()

    return Block(run, len(KEYS))


def floor_cycle(queue: Floor) -> Block:
    async def run() -> None:
        for key in KEYS:
            await queue.put(key, key)
            await queue.get()
            await queue.ack(key)

    return Block(run, len(KEYS))


@case
async def cycle(settings: Settings) -> AsyncIterator[Found]:
    """Put, get and ack with nobody waiting."""
    blocks = {PLAIN: plain_cycle(asyncio.Queue()), FLOOR: floor_cycle(Floor())}
    for name, make in settings.queues().items():
        blocks[name] = leased_cycle(make(), FEW_KEYS if name == PUBLIC else KEYS)
    rounds = await take_turns(blocks, rounds=settings.rounds)
    for found in versus("cycle", rounds, PLAIN):
        yield found
    if PUBLIC in blocks:
        yield Found.ratio("cycle", OURS, PUBLIC, rounds.ratio(OURS, PUBLIC))
    yield Found.ratio("cycle", OURS, ORDERED, rounds.ratio(OURS, ORDERED))


@case
async def timed(settings: Settings) -> AsyncIterator[Found]:
    """The cycle under leases that have a deadline."""

    def argument_cycle(queue: Leased) -> Block:
        async def run() -> None:
            for key in KEYS:
                await queue.put(key, key)
                _, _, lease = await queue.get(lease_timeout=LONG)
                await queue.ack(lease)

        return Block(run, len(KEYS))

    for name, make in settings.queues().items():
        if name == PUBLIC:
            continue
        blocks = {
            "untimed": leased_cycle(make()),
            name: leased_cycle(make(default_lease_timeout=LONG)),
            f"{name}, lease_timeout given": argument_cycle(make()),
        }
        rounds = await take_turns(blocks, rounds=settings.rounds)
        for found in versus("timed", rounds, "untimed"):
            yield found


# -- the hand-over -------------------------------------------------------------


def leased_ping_pong(there: Leased, back: Leased) -> tuple[Answer, Block]:
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

    return answer, Block(run, len(FEW_KEYS))


def plain_ping_pong(there: asyncio.Queue[Any], back: asyncio.Queue[Any]) -> tuple[Answer, Block]:
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

    return answer, Block(run, len(FEW_KEYS))


@case
async def hand_over(settings: Settings) -> AsyncIterator[Found]:
    """The cycle through a blocked get: two tasks that wait for each other in turn."""
    pairs = {PLAIN: plain_ping_pong(asyncio.Queue(), asyncio.Queue())}
    for name, make in settings.queues().items():
        pairs[name] = leased_ping_pong(make(), make())
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(answer()) for answer, _ in pairs.values()]
        blocks = {name: block for name, (_, block) in pairs.items()}
        rounds = await take_turns(blocks, rounds=settings.rounds)
        for task in tasks:
            task.cancel()
    for found in versus("hand_over", rounds, PLAIN):
        yield found


# -- the other operations ------------------------------------------------------


def take_block(queue: Leased) -> Block:
    async def run() -> None:
        for key in KEYS:
            await queue.put(key, key)
            _, _, lease = await queue.take(key)
            await queue.ack(lease)

    return Block(run, len(KEYS))


async def release_block(queue: Leased) -> Block:
    for key in KEYS:
        await queue.put(key, key)

    async def run() -> None:
        for _ in KEYS:
            _, _, lease = await queue.get()
            await queue.release(lease)

    return Block(run, len(KEYS))


async def replace_block(queue: Leased) -> Block:
    for key in KEYS:
        await queue.put(key, key)

    async def run() -> None:
        for key in KEYS:
            await queue.put(key, key)

    return Block(run, len(KEYS))


async def extend_block(queue: Any) -> Block:
    for key in KEYS:
        await queue.put(key, key)
    leases = [(await queue.get(lease_timeout=LONG))[2] for _ in KEYS]

    async def run() -> None:
        for lease in leases:
            await queue.extend(lease)

    return Block(run, len(leases))


@case
async def operations(settings: Settings) -> AsyncIterator[Found]:
    """The other operations, in units of asyncio.Queue's cycle."""
    queues = settings.queues()
    table: dict[str, dict[str, Block]] = {
        "put + take + ack": {name: take_block(make()) for name, make in queues.items()},
        "get + release": {name: await release_block(make()) for name, make in queues.items()},
        "put on an available key": {
            name: await replace_block(make()) for name, make in queues.items()
        },
        "extend": {
            name: await extend_block(make()) for name, make in queues.items() if name != PUBLIC
        },
    }
    for operation, blocks in table.items():
        blocks[PLAIN] = plain_cycle(asyncio.Queue())
        for found in versus(operation, await take_turns(blocks, rounds=settings.rounds), PLAIN):
            yield found
