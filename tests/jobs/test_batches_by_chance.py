"""Consumers of batches by chance: cancelled at any point, blocked, on a slow queue and another."""

from __future__ import annotations

import asyncio
from asyncio import AbstractEventLoop
from collections import Counter
from collections.abc import Callable
from random import Random

import pytest

from tests import virtual
from tests.jobs.conftest import pytest_asyncio_loop_factories
from tests.jobs.slow import SlowQueue
from tests.subject import Lease, LeasedKeyQError, QueueClosedError


class Recorded(SlowQueue):
    """It notes what was acked, were the call cancelled thereafter."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__(before, after)
        self.acked: Counter[str] = Counter()

    def ack_nowait(self, lease: Lease[str]) -> None:
        super().ack_nowait(lease)
        self.acked[lease.key] += 1


class World:
    def __init__(self, random: Random) -> None:
        self.random = random
        slow = random.random() < 0.4
        self.queue = Recorded(*random.choices([0, 1, 2], k=2) if slow else (0, 0))
        self.blocked = random.random() < 0.4
        self.exact = not (slow or self.blocked)
        self.items = random.randrange(1, 12)

    async def produce(self) -> None:
        for number in range(self.items):
            await asyncio.sleep(self.random.choice([0, 0, 0.5, 1]))
            await self.queue.put(str(number), number)

    async def block(self) -> None:
        for _ in range(4 if self.blocked else 0):
            await asyncio.sleep(self.random.choice([0.5, 1, 2]))
            virtual.jump(self.random.choice([0.5, 1, 3, 6]))

    async def consume(self) -> None:
        loop = virtual.running()
        while True:
            most, timeout = self.random.randrange(1, 6), self.random.choice([None, 0, 1, 10])
            linger, duration = self.random.choice([0, 0.5, 1, 3, 8]), self.random.choice([1, 2, 5])
            began = loop.time()
            try:
                batch = await self.queue.get_many(
                    most, timeout, linger=linger, lease_timeout=duration
                )
            except TimeoutError:
                await asyncio.sleep(0.5)
                continue
            except QueueClosedError:
                return
            leases = [lease for _, _, lease in batch]
            assert 1 <= len(batch) <= most
            assert len({lease.key for lease in leases}) == len(batch)
            if self.exact:
                assert timeout is None or loop.time() <= began + timeout + linger + 2 * loop.tick
                lengths = [self.queue.deadline_nowait(lease) - loop.time() for lease in leases]
                assert lengths == pytest.approx([duration] * len(batch))
            await asyncio.sleep(self.random.choice([0, 0.2, 0.9]))
            try:
                await self.queue.ack_many(leases)
            except LeasedKeyQError:
                assert not self.exact

    async def live(self) -> None:
        others = [asyncio.create_task(self.produce()), asyncio.create_task(self.block())]
        consumers = [
            asyncio.create_task(self.consume()) for _ in range(self.random.randrange(1, 4))
        ]
        for _ in range(self.random.randrange(6)):
            await asyncio.sleep(self.random.choice([0, 0.5, 1, 2]))
            await virtual.ticks(self.random.randrange(6))
            victim = self.random.choice(consumers)
            victim.cancel()
            if self.random.random() < 0.3:
                await virtual.ticks(1)
                victim.cancel()
            consumers.append(asyncio.create_task(self.consume()))
        await asyncio.wait(others)
        await self.queue.shutdown()
        await asyncio.wait(consumers, timeout=200)
        assert not any(task.exception() for task in consumers if not task.cancelled())
        await asyncio.sleep(10)  # leases of cancelled consumers run out
        await self.queue.close()
        left = [key for key, _ in await self.queue.available_items()]
        assert Counter(left) + self.queue.acked == Counter(map(str, range(self.items)))
        assert virtual.running().timers() == []
        assert len(asyncio.all_tasks()) == 1


@pytest.mark.parametrize("loop", pytest_asyncio_loop_factories().values())
@pytest.mark.parametrize(
    "seeds", [range(200), pytest.param(range(200, 10_000), marks=pytest.mark.deep)]
)
def test_each_item_is_acked_once_or_left(
    loop: Callable[[], AbstractEventLoop], seeds: range
) -> None:
    for seed in seeds:

        async def main(seed: int = seed) -> None:
            try:
                await World(Random(seed)).live()
            except BaseException as error:
                error.add_note(f"seed {seed}")
                raise

        with asyncio.Runner(loop_factory=loop) as runner:
            runner.run(main())
