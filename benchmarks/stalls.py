"""How long the loop is held up."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Callable
from itertools import count
from statistics import quantiles
from time import thread_time
from typing import Any

from .measure import Ratio
from .registry import Found, Settings, case
from .speed import LONG
from .subjects import PLAIN, PUBLIC, Leased

WORKERS = 20
PUTS = WORKERS // 2  # each time that the loop goes round: a worker has an item for two rounds
TIMES_ROUND = 2_000


async def leased_load(queue: Leased, loaded: int) -> Callable[[int], Any]:
    """Workers that get, do something else for a moment, and ack; and so many items to do."""

    async def work() -> None:
        while True:
            _, _, lease = await queue.get()
            await asyncio.sleep(0)
            await queue.ack(lease)

    for number in range(loaded):
        await queue.put(-number, None)
    workers = [asyncio.create_task(work()) for _ in range(WORKERS)]

    async def put(number: int) -> None:
        assert workers  # they live as long as this
        await queue.put(number, None)

    return put


async def plain_load(queue: asyncio.Queue[Any], loaded: int) -> Callable[[int], Any]:
    async def work() -> None:
        while True:
            await queue.get()
            await asyncio.sleep(0)
            queue.task_done()

    for number in range(loaded):
        await queue.put(-number)
    workers = [asyncio.create_task(work()) for _ in range(WORKERS)]

    async def put(number: int) -> None:
        assert workers
        await queue.put(number)

    return put


async def rounds_of_the_loop(put: Callable[[int], Any], numbers: count[int]) -> list[float]:
    """How long the loop took each time that it went round under the load, in milliseconds."""
    taken = []
    await asyncio.sleep(0)
    for _ in range(TIMES_ROUND):
        started = thread_time()
        for _ in range(PUTS):
            await put(next(numbers))
        await asyncio.sleep(0)
        taken.append(1000 * (thread_time() - started))
    return taken


@case
async def stalls(settings: Settings) -> AsyncIterator[Found]:
    """How long the loop takes to go round while it is busy with a queue: leases have deadlines,
    and the garbage collector does what it always does."""
    times = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999, "worst": 1.0}
    makers: dict[str, Callable[..., Any]] = {PLAIN: asyncio.Queue, **settings.queues()}
    seen: dict[tuple[str, str], list[float]] = {
        (name, quantile): [] for name in makers for quantile in times
    }
    for _ in range(settings.long_rounds[1]):
        for name, make in makers.items():
            if name == PLAIN:
                put = await plain_load(make(), settings.loaded)
            elif name == PUBLIC:
                put = await leased_load(make(), settings.loaded)
            else:
                put = await leased_load(make(default_lease_timeout=LONG), settings.loaded)
            taken = sorted(await rounds_of_the_loop(put, count()))
            for quantile, share in times.items():
                place = min(int(share * len(taken)), len(taken) - 1)
                seen[name, quantile].append(taken[place])
            others = asyncio.all_tasks() - {asyncio.current_task()}
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)
            gc.collect()
    for (name, quantile), values in seen.items():
        low, median, high = quantiles(values, n=4, method="inclusive")
        case = f"stall, {quantile}"
        yield Found(case, name, "nothing", None, median, low, high, len(values), unit="ms")
        if name != PLAIN:
            ratios = [a / b for a, b in zip(values, seen[PLAIN, quantile], strict=True)]
            yield Found.ratio(case, name, PLAIN, Ratio.of(ratios))
