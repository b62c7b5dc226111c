"""Producers and consumers that keep an account of every item, while things go wrong."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

from tests.engine.server import PATIENCE, until
from tests.subject import module

if TYPE_CHECKING:
    from leasedkeyq.redis import QueueUnavailableError, RedisLeasedKeyQueue
else:
    RedisLeasedKeyQueue = module("redis").RedisLeasedKeyQueue
    QueueUnavailableError = module("redis").QueueUnavailableError

__all__ = ["Queue", "QueueUnavailableError", "Traffic", "waiting", "within"]

Queue: TypeAlias = RedisLeasedKeyQueue[str, Any]


class Traffic:
    """Every key is put once, under `reject`: a put that is carried out twice is an error at once,
    if the first copy is in flight, and a second delivery if it is gone."""

    def __init__(self, producers: int = 4, consumers: int = 4) -> None:
        self.producers = producers
        self.consumers = consumers
        self.accepted: dict[str, float] = {}  # loop time at which the put had returned
        self.unknown: set[str] = set()  # the put has raised, and may have been carried out
        self.delivered: Counter[str] = Counter()
        self.acked: set[str] = set()
        self.late: Counter[str] = Counter()  # acks that were refused, by the name of the error
        self.attempts: Counter[int] = Counter()

    async def run(self, there: Queue, here: Queue, goes_on: Callable[[], bool]) -> None:
        """Produce as long as it is to go on, and consume until nothing is left."""
        async with asyncio.TaskGroup() as group:
            consuming = [group.create_task(self.consume(here)) for _ in range(self.consumers)]
            async with asyncio.TaskGroup() as producing:
                for number in range(self.producers):
                    producing.create_task(self.produce(there, f"{number}", goes_on))
            await here.join(timeout=PATIENCE)
            for task in consuming:
                task.cancel()

    async def produce(self, queue: Queue, prefix: str, goes_on: Callable[[], bool]) -> None:
        number = 0
        while goes_on():
            number += 1
            key = f"{prefix}-{number}"
            try:
                await queue.put(key, number, if_in_flight="reject")
            except QueueUnavailableError:
                self.unknown.add(key)
            else:
                self.accepted[key] = asyncio.get_running_loop().time()

    async def consume(self, queue: Queue) -> None:
        while True:
            key, number, lease = await queue.get()
            assert key.endswith(f"-{number}")
            self.delivered[key] += 1
            self.attempts[lease.attempt] += 1
            try:
                await queue.ack(lease)
            except module("errors").LeasedKeyQError as error:
                self.late[type(error).__name__] += 1
            else:
                self.acked.add(key)

    async def progress(self, number: int) -> None:
        """Until so many more items are done with."""
        enough = len(self.acked) + number
        await until(lambda: len(self.acked) >= enough, "progress")

    @property
    def lost(self) -> set[str]:
        return self.accepted.keys() - self.delivered.keys()

    def assert_exactly_once(self) -> None:
        """Every put that returned was delivered once and acknowledged, and nothing else was."""
        assert self.unknown == set()
        assert self.lost == set()
        assert {key: n for key, n in self.delivered.items() if n > 1} == {}
        assert self.delivered.keys() == self.accepted.keys() == self.acked
        assert self.late == {}
        assert set(self.attempts) <= {1}

    def assert_nothing_lost(self) -> None:
        assert self.lost == set()
        assert self.delivered.keys() <= self.accepted.keys() | self.unknown


async def waiting(queue: Any, number: int) -> None:
    """Until so many calls wait at the server."""
    end = time.monotonic() + PATIENCE
    while (await queue._look()).waiting != number:
        assert time.monotonic() < end, f"there are never {number} calls that wait"
        await asyncio.sleep(0.005)


async def within(seconds: float, awaitable: Any) -> Any:
    """What it comes to, which must not take longer."""
    return await asyncio.wait_for(awaitable, seconds)
