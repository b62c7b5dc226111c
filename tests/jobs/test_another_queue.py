"""Any queue that has the operations gets jobs, workers and batches: here one that is far away."""

# ruff: noqa: PT012 (what is tested here are blocks)
from __future__ import annotations

import asyncio
from collections import Counter
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from tests.jobs.conftest import pytest_asyncio_loop_factories
from tests.subject import Job, Lease, LeasedKeyQueue, LeaseLostError, module, run_workers
from tests.virtual import jump, ticks

if TYPE_CHECKING:
    from leasedkeyq.jobs import Jobs
else:
    Jobs = module("jobs").Jobs


class Remote(Jobs):
    """Nothing but the operations that are asked for. Each takes a while to arrive."""

    def __init__(self, **options: Any) -> None:
        self.queue = LeasedKeyQueue[str, int](**options)
        self.random = Random(1)

    async def travel(self) -> None:
        await ticks(self.random.randrange(3))

    async def get(
        self, timeout: float | None = None, *, lease_timeout: float | None = None
    ) -> tuple[str, int, Lease[str]]:
        await self.travel()
        return await self.queue.get(timeout, lease_timeout=lease_timeout)

    async def take(
        self, key: str, timeout: float | None = None, *, lease_timeout: float | None = None
    ) -> tuple[str, int, Lease[str]]:
        await self.travel()
        return await self.queue.take(key, timeout, lease_timeout=lease_timeout)

    async def ack(self, lease: Lease[str]) -> None:
        await self.travel()
        await self.queue.ack(lease)
        await self.travel()

    async def release(
        self, lease: Lease[str], *, requeue_front: bool = False, delay: float = 0
    ) -> None:
        await self.travel()
        await self.queue.release(lease, requeue_front=requeue_front, delay=delay)
        await self.travel()

    async def extend(self, lease: Lease[str], timeout: float | None = None) -> None:
        await self.travel()
        await self.queue.extend(lease, timeout)

    async def refresh(self, lease: Lease[str]) -> int:
        await self.travel()
        return await self.queue.refresh(lease)

    def extend_nowait(self, lease: Lease[str], timeout: float | None = None) -> None:
        self.queue.extend_nowait(lease, timeout)

    def superseded_nowait(self, lease: Lease[str]) -> bool:
        return self.queue.superseded_nowait(lease)

    def deadline_nowait(self, lease: Lease[str]) -> float:
        return self.queue.deadline_nowait(lease)


async def test_a_job_on_it_is_kept_alive_and_lost_as_on_any() -> None:
    remote = Remote()
    await remote.queue.put("a", 1)
    async with remote.job(lease_timeout=3) as job:
        await asyncio.sleep(10)
        await remote.queue.put("a", 2)
        assert job.superseded()
        assert await job.refresh() == 2
        await job.release()
    with pytest.raises(LeaseLostError):
        async with remote.job(key="a", lease_timeout=3):
            jump(4)
            await asyncio.sleep(10)


@pytest.mark.parametrize("loop", pytest_asyncio_loop_factories().values())
def test_workers_and_batches_on_it_lose_nothing(loop: Any) -> None:
    async def main() -> None:
        for seed in range(20):
            await live(Random(seed))

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(main())


async def live(random: Random) -> None:
    remote, dead, done = Remote(), LeasedKeyQueue[str, Any](), Counter[str]()
    for number in range(12):
        await remote.queue.put(str(number), number)

    async def handler(job: Job[str, int]) -> None:
        await asyncio.sleep(random.randrange(3))
        if random.random() < 0.3:
            raise ZeroDivisionError
        done[job.key] += 1

    async def work() -> None:
        await run_workers(
            remote, handler, concurrency=3, lease_timeout=5, max_attempts=4, dead_letter=dead
        )

    for _ in range(4):
        workers = asyncio.create_task(work())
        await asyncio.sleep(random.randrange(3))
        await ticks(random.randrange(9))
        workers.cancel()
        await asyncio.wait([workers])
        assert await remote.queue.inflight_size() == 0
        lingering = asyncio.create_task(remote.get_many(3, linger=1, lease_timeout=5))
        await ticks(random.randrange(9))
        lingering.cancel()
        await asyncio.wait([lingering])
        if not lingering.cancelled():  # it was full at once
            for _, _, lease in lingering.result():
                await remote.release(lease)
        assert await remote.queue.inflight_size() == 0
    await remote.queue.shutdown()
    await work()
    given_up = {key for key, _ in await dead.available_items()}
    assert {*done} | given_up == {str(number) for number in range(12)}
