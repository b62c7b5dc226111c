"""What is measured. Each case yields what it found as soon as it has found it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .measure import Block, Ratio, take_turns
from .subjects import FLOOR, OURS, PLAIN, Floor, Leased, leased_queues

# One turn works through these: a millisecond or less of the queue's time.
KEYS = tuple(f"key-{number}" for number in range(200))
LONG = 3600.0  # seconds: a lease with a deadline that does not come


@dataclass(frozen=True)
class Found:
    """One result: how many times the baseline's time (or bytes, or ms) a subject took."""

    case: str
    subject: str
    against: str
    size: int | None
    value: float
    low: float
    high: float
    rounds: int
    unit: str = "times"


def found(
    case: str, ratios: dict[str, Ratio], against: str, size: int | None = None
) -> Iterable[Found]:
    for subject, ratio in ratios.items():
        if subject != against:
            yield Found(
                case, subject, against, size, ratio.median, ratio.low, ratio.high, ratio.rounds
            )


@dataclass(frozen=True)
class Settings:
    """How much of everything: the full measure, or a quick look."""

    rival: str | None = None  # the folder that 0.0.7 was installed in
    takers: tuple[int, ...] = (50_000,)

    def leased(self) -> dict[str, Callable[..., Leased]]:
        return leased_queues(None if self.rival is None else Path(self.rival))


Case = Callable[[Settings], AsyncIterator[Found]]
CASES: dict[str, Case] = {}


def case(function: Case) -> Case:
    CASES[function.__name__] = function
    return function


# -- the cycle -----------------------------------------------------------------


def leased_cycle(queue: Leased) -> Block:
    async def block() -> None:
        for key in KEYS:
            await queue.put(key, key)
            _, _, lease = await queue.get()
            await queue.ack(lease)

    return block


def plain_cycle(queue: asyncio.Queue[Any]) -> Block:
    async def block() -> None:
        for key in KEYS:
            await queue.put(key)
            await queue.get()
            queue.task_done()

    return block


def floor_cycle(queue: Floor) -> Block:
    async def block() -> None:
        for key in KEYS:
            await queue.put(key, key)
            await queue.get()
            await queue.ack(key)

    return block


@case
async def cycle(settings: Settings) -> AsyncIterator[Found]:
    """Put, get and ack with nobody waiting."""
    blocks = {PLAIN: plain_cycle(asyncio.Queue()), FLOOR: floor_cycle(Floor())}
    for name, make in settings.leased().items():
        blocks[name] = leased_cycle(make())
    ratios = await take_turns(blocks, baseline=PLAIN)
    for result in found("cycle", ratios, PLAIN):
        yield result


@case
async def timed(settings: Settings) -> AsyncIterator[Found]:
    """The same under leases that have a deadline."""
    make = settings.leased()[OURS]
    queue = make()

    async def lease_timeout_given() -> None:
        for key in KEYS:
            await queue.put(key, key)
            _, _, lease = await queue.get(lease_timeout=LONG)
            await queue.ack(lease)

    blocks = {
        "untimed": leased_cycle(make()),
        "default_lease_timeout": leased_cycle(make(default_lease_timeout=LONG)),
        "lease_timeout": lease_timeout_given,
    }
    for result in found("timed", await take_turns(blocks, baseline="untimed"), "untimed"):
        yield result


# -- the hand-over -------------------------------------------------------------

Answer = Callable[[], Coroutine[Any, Any, None]]


def leased_ping_pong(there: Leased, back: Leased) -> tuple[Answer, Block]:
    async def answer() -> None:
        while True:
            key, _, lease = await there.get()
            await there.ack(lease)
            await back.put(key, key)

    async def block() -> None:
        for key in KEYS:
            await there.put(key, key)
            _, _, lease = await back.get()
            await back.ack(lease)

    return answer, block


def plain_ping_pong(there: asyncio.Queue[Any], back: asyncio.Queue[Any]) -> tuple[Answer, Block]:
    async def answer() -> None:
        while True:
            key = await there.get()
            there.task_done()
            await back.put(key)

    async def block() -> None:
        for key in KEYS:
            await there.put(key)
            await back.get()
            back.task_done()

    return answer, block


@case
async def hand_over(settings: Settings) -> AsyncIterator[Found]:
    """The cycle through a blocked get: two tasks that wait for each other in turn."""
    blocks: dict[str, Block] = {}
    async with asyncio.TaskGroup() as group:
        tasks = []
        answer, blocks[PLAIN] = plain_ping_pong(asyncio.Queue(), asyncio.Queue())
        tasks.append(group.create_task(answer()))
        for name, make in settings.leased().items():
            answer, blocks[name] = leased_ping_pong(make(), make())
            tasks.append(group.create_task(answer()))
        ratios = await take_turns(blocks, baseline=PLAIN)
        for task in tasks:
            task.cancel()
    for result in found("hand_over", ratios, PLAIN):
        yield result


# -- beside many waiting calls -------------------------------------------------


@asynccontextmanager
async def blocked_takers(queue: Leased, count: int) -> AsyncIterator[None]:
    """So many takes of keys that never come."""
    tasks = [asyncio.create_task(queue.take(("never", number))) for number in range(count)]
    await asyncio.sleep(0)
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@case
async def takers(settings: Settings) -> AsyncIterator[Found]:
    """The cycle beside blocked takes of other keys."""
    make = settings.leased()[OURS]
    for count in settings.takers:
        crowded = make()
        async with blocked_takers(crowded, count):
            blocks = {"alone": leased_cycle(make()), OURS: leased_cycle(crowded)}
            ratios = await take_turns(blocks, baseline="alone")
        for result in found("takers", ratios, "alone", count):
            yield result
