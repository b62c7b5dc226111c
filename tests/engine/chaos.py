"""A process whose tasks do at random what a queue can do.

    python -m tests.engine.chaos URL NAME SEED

goes on until its stdin is closed, or it is killed. Errors that a caller must reckon with are passed
over; any other one ends it, with an exit code.
"""

from __future__ import annotations

import asyncio
import sys
import warnings
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from random import Random
from typing import Any

from tests.engine.traffic import Queue
from tests.subject import InFlightPolicy, Lease, LeasedKeyQError

KEYS = ("a", "b", "c", "d", "e")
POLICIES: tuple[InFlightPolicy, ...] = ("update", "reject", "buffer", "defer")
TASKS = 6
SESSION = 1.0  # seconds
CLAIM = 0.25


class Chaos:
    def __init__(self, queue: Queue, seed: int) -> None:
        self.queue = queue
        self.random = Random(seed)
        self.leases: list[Lease[str]] = []
        self.puts = 0

    def little(self, *more: float) -> float:
        return self.random.choice([0.001, 0.005, 0.02, *more])

    async def run(self) -> None:
        while True:
            with suppress(LeasedKeyQError, TimeoutError):
                await self.step()
            if self.random.random() < 0.2:
                await asyncio.sleep(self.little(0))

    async def step(self) -> None:
        random = self.random
        if self.leases and random.random() < 0.4:
            await self.use(random.choice(self.leases))
        elif random.random() < 0.15:
            await self.cancel(self.call())
        else:
            await self.call()

    async def cancel(self, call: Awaitable[Any]) -> None:
        """Begin a call, and cancel it soon."""
        task = asyncio.ensure_future(call)
        await asyncio.wait([task], timeout=self.little(0))
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled():
            task.result()

    async def call(self) -> None:
        queue, random = self.queue, self.random
        key = random.choice(KEYS)
        timeout = self.random.choice([0, 0, self.little(), 0.1])
        match random.randrange(20):
            case n if n < 7:
                self.puts += 1
                await queue.put(
                    key,
                    self.puts,
                    if_in_flight=random.choice(POLICIES),
                    delay=random.choice([0, 0, self.little()]),
                    timeout=timeout,
                )
            case n if n < 14:
                get: Callable[..., Any] = partial(queue.take, key) if n % 3 == 0 else queue.get
                _, _, lease = await get(timeout, lease_timeout=self.little(0.1, float("inf")))
                self.leases.append(lease)
            case 14:
                await queue.discard(key)
            case 15:
                await queue.join(timeout=timeout)
            case 16:
                await random.choice([queue.qsize, queue.inflight_size, queue.delayed_size])()
            case 17:
                await random.choice([queue.peek, queue.contains])(key)
            case 18:
                await random.choice([queue.available_items, queue.inflight_keys])()
            case 19:
                await random.choice([queue.available_keys, queue.delayed_keys])()

    async def use(self, lease: Lease[str]) -> None:
        queue, random = self.queue, self.random
        match random.randrange(8):
            case 0 | 1 | 2:
                self.leases.remove(lease)
                await queue.ack(lease)
            case 3:
                self.leases.remove(lease)
                await queue.release(lease, requeue_front=True)
            case 4:
                self.leases.remove(lease)
                await queue.release(lease, delay=random.choice([0, self.little()]))
            case 5:
                await queue.extend(lease, random.choice([None, self.little()]))
            case 6:
                await queue.refresh(lease)
            case 7:
                await random.choice([queue.superseded, queue.deadline])(lease)


async def until_stdin_ends() -> None:
    reader = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(reader)
    await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, sys.stdin)
    await reader.read()


async def main(url: str, name: str, seed: str, maxsize: str) -> None:
    options: dict[str, Any] = {"session_ttl": SESSION, "claim_timeout": CLAIM}
    queue = Queue(url, name, maxsize=int(maxsize), unavailable_timeout=60, **options)
    async with queue, asyncio.TaskGroup() as group:
        chaos = Chaos(queue, int(seed))
        tasks = [group.create_task(chaos.run()) for _ in range(TASKS)]
        await until_stdin_ends()
        for task in tasks:
            task.cancel()


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    asyncio.run(main(*sys.argv[1:]))
