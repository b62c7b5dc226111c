"""Bytes: of an available item, a live lease, a waiting call."""

from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from .measure import collector
from .registry import Found, Settings, case
from .speed import LONG
from .subjects import ORDERED, PLAIN, PUBLIC


@dataclass(frozen=True)
class Filling:
    run: Callable[[], Awaitable[object]]
    count: int


async def bytes_each(filling: Filling) -> float:
    """What is allocated by a filling for each of what it makes."""
    with collector(running=False):
        tracemalloc.start()
        before, _ = tracemalloc.get_traced_memory()
        kept = await filling.run()
        after, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    del kept
    return (after - before) / filling.count


def fillings(queue: Any, keys: list[str], *, plain: bool) -> dict[str, Filling]:
    """What is put into a fresh queue, by what is then counted."""
    few_keys = keys[: len(keys) // 10]  # tasks are large, and slow to count

    async def items() -> None:
        for key in keys:
            if plain:
                await queue.put((key, key))
            else:
                await queue.put(key, key)

    async def leases() -> list[Any]:
        leases: list[Any] = [None] * len(keys)  # eight bytes each, for everybody
        for place, key in enumerate(keys):
            await queue.put(key, key)
            _, _, leases[place] = await queue.get()
        return leases

    async def gets() -> list[Any]:
        tasks = [asyncio.create_task(queue.get()) for _ in few_keys]
        await asyncio.sleep(0)
        return tasks

    async def takes() -> list[Any]:
        tasks = [asyncio.create_task(queue.take(key)) for key in few_keys]
        await asyncio.sleep(0)
        return tasks

    found = {
        "an available item": Filling(items, len(keys)),
        "a waiting get and its task": Filling(gets, len(few_keys)),
    }
    if not plain:
        found["a live lease"] = Filling(leases, len(keys))
        found["a waiting take and its task"] = Filling(takes, len(few_keys))
    return found


@case
async def memory(settings: Settings) -> AsyncIterator[Found]:
    """Bytes allocated for each, keys and values not counted."""
    keys = [f"key-{number}" for number in range(settings.counted)]
    found: dict[tuple[str, str], float] = {}

    async def count(what: str, name: str, filling: Filling) -> None:
        found[what, name] = await bytes_each(filling)
        waiting = asyncio.all_tasks() - {asyncio.current_task()}
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)

    makers: dict[str, Callable[..., Any]] = {PLAIN: asyncio.Queue, **settings.queues()}
    for name, make in makers.items():
        plain = name == PLAIN
        for what in fillings(None, keys, plain=plain):
            await count(what, name, fillings(make(), keys, plain=plain)[what])
        if name not in (PLAIN, PUBLIC):
            queue = make(default_lease_timeout=LONG)
            timed = fillings(queue, keys, plain=False)["a live lease"]
            await count("a live timed lease", name, timed)

    for (what, name), size in found.items():
        yield Found(what, name, "nothing", None, size, size, size, 1, unit="bytes")
        if name != ORDERED and (what, ORDERED) in found:
            ratio = size / found[what, ORDERED]
            yield Found(what, name, ORDERED, None, ratio, ratio, ratio, 1)
