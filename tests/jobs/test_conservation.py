"""Whatever comes together, nothing is lost.

Chance decides what handlers do, when producers put and by which policy, when the loop is blocked,
whether dead letters fail, when workers are stopped and begin anew, and how the queue ends. Then
each value that was accepted is acked, given up, replaced, discarded or still there.
"""

from __future__ import annotations

import asyncio
from asyncio import CancelledError, current_task
from collections import Counter, defaultdict
from contextlib import suppress
from random import Random
from typing import Any

import pytest

from tests import virtual
from tests.jobs.conftest import pytest_asyncio_loop_factories
from tests.subject import (
    DeadLetter,
    Job,
    Lease,
    LeasedKeyQueue,
    QueueClosedError,
    run_workers,
)

MOST = 3  # attempts


class Queue(LeasedKeyQueue[str, int]):
    """It notes which values were acked."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.acked: Counter[int] = Counter()

    def ack_nowait(self, lease: Lease[Any]) -> None:
        grant = lease._grant
        assert grant is not None
        value: Any = grant.value  # as it stands, which nobody may have seen
        super().ack_nowait(lease)
        self.acked[value] += 1


class Grave(LeasedKeyQueue[str, DeadLetter]):
    """It notes which values were put into it, newer ones of their key notwithstanding."""

    def __init__(self) -> None:
        super().__init__()
        self.values: set[int] = set()

    async def put(self, key: str, value: DeadLetter, **options: Any) -> None:
        await super().put(key, value, **options)
        self.values.add(value.value)


class World:
    def __init__(self, random: Random) -> None:
        self.random = random
        policy = random.choice(["update", "defer", "buffer", "reject"])
        self.queue = Queue(maxsize=random.choice([0, 0, 3]), if_in_flight=policy)
        self.policy = policy
        self.keys = random.choice(["ab", "abcdefghijklmnopqrstuvwxyz"])
        self.newest: dict[str, int] = {}
        self.version = 0
        self.discarded: set[int] = set()
        self.buried: Counter[int] = Counter()
        self.seen: set[int] = set()  # by a handler
        self.done: set[int] = set()  # as a handler says
        self.wrong: list[str] = []
        self.at_work: dict[str, list[Job[str, int]]] = defaultdict(list)
        self.blocked = random.random() < 0.4
        self.grave = Grave()

    def time(self, most: int = 6) -> float:
        return self.random.randrange(most + 1) / 2

    async def pause(self, most: int = 6) -> None:
        await asyncio.sleep(self.time(most))

    async def produce(self) -> None:
        for _ in range(12):
            await self.pause(3)
            key = self.random.choice(self.keys)
            self.version += 1
            version = self.version
            try:
                await self.queue.put(key, version, delay=self.random.choice([0, 0, 2]))
            except QueueClosedError:
                return
            except Exception:  # noqa: BLE001 (refused: in flight)
                continue
            self.newest[key] = version  # accepted just now, however long it has waited
            if self.random.random() < 0.05 and await self.queue.discard(key):
                self.discarded.add(self.newest[key])

    async def block(self) -> None:
        for _ in range(4 if self.blocked else 0):
            await self.pause(12)
            virtual.jump(self.time(12))

    async def handle(self, job: Job[str, int]) -> None:
        if job.attempt > MOST:
            self.wrong.append("poison is run")
        others = [other for other in self.at_work[job.key] if not other.settled]
        if others and not (self.blocked or self.policy == "buffer"):
            self.wrong.append("two at work on a key")
        self.at_work[job.key].append(job)
        self.seen.add(job.value)
        try:
            await self.act(job)
            self.seen.add(job.value)
            self.done.add(job.value)
        finally:
            self.at_work[job.key].remove(job)

    async def act(self, job: Job[str, int]) -> None:
        await self.pause()
        match self.random.randrange(14):
            case 0:
                raise KeyError
            case 1:
                await asyncio.sleep(100)  # too long
            case 2:
                raise CancelledError
            case 3:
                task = current_task()
                assert task is not None
                task.cancel()
                await self.pause()
            case 4:
                self.done.add(job.value)
                await job.ack()
                await self.pause()
            case 5:
                await job.release(delay=self.time())
            case 6:
                await job.dead_letter(ValueError())
            case 7:
                await job.refresh()
                await self.pause()
                raise ZeroDivisionError
            case 8:
                with suppress(CancelledError):
                    await asyncio.sleep(5)
                await self.pause()
            case 9:
                if job.superseded():
                    await job.release(requeue_front=True)
            case 10:
                async with asyncio.timeout(self.time()):
                    await self.pause()
            case 11:
                async with asyncio.TaskGroup() as group:
                    group.create_task(self.pause())
            case _:
                pass

    async def bury(self, key: str, value: int, attempts: int, error: BaseException | None) -> None:
        if not isinstance(error, ValueError if attempts < MOST else BaseException):
            self.wrong.append(f"given up after {attempts} attempts: {error}")
        await self.pause(2)
        if self.random.random() < 0.3:
            raise ConnectionError
        self.buried[value] += 1

    async def live(self, end: str) -> None:
        options: dict[str, Any] = {
            "concurrency": self.random.choice([1, 3]),
            "lease_timeout": self.random.choice([3, 30, None]),
            "max_attempts": MOST,
            "backoff": lambda attempt: self.time(4),
            "timeout_per_job": self.random.choice([None, 20]),
            "dead_letter": self.random.choice([self.bury, self.grave]),
        }
        others = [asyncio.create_task(self.produce()) for _ in range(2)]
        others.append(asyncio.create_task(self.block()))
        for _ in range(3):
            workers = asyncio.create_task(run_workers(self.queue, self.handle, **options))
            await self.pause(20)
            workers.cancel()
            await asyncio.wait([workers])
            assert workers.cancelled()
            assert await self.queue.inflight_size() == 0
            await self.batch()
        workers = asyncio.create_task(run_workers(self.queue, self.handle, **options))
        await self.pause(20)
        match end:
            case "shutdown":
                await self.queue.shutdown()
            case "drain":
                await self.queue.drain()
            case "drain in time":
                await self.queue.drain(self.time(20))
            case "close":
                await self.queue.close()
            case "join":
                await asyncio.wait(others)
                await self.queue.join()
                await self.queue.shutdown()
        await asyncio.wait([workers, *others])
        assert workers.exception() is None
        for other in others:
            assert other.exception() is None
        if end in ("shutdown", "join"):
            assert await self.queue.qsize() + await self.queue.delayed_size() == 0

    async def batch(self) -> None:
        """Somebody takes a few, and is killed or not."""
        task = asyncio.create_task(
            self.queue.get_many(
                3, self.time(4), linger=self.time(4), lease_timeout=self.time(3) + 1
            )
        )
        await self.pause(6)
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled() and not task.exception():
            self.done.update(value for _, value, _ in task.result())
            with suppress(Exception):  # some may have run out
                await self.queue.ack_many(lease for _, _, lease in task.result())

    async def nothing_is_lost(self) -> None:
        await self.queue.close()
        left = {value for _, value in await self.queue.available_items()}
        given_up = {*self.buried} | self.grave.values
        gone = {*self.queue.acked} | given_up
        for key, version in self.newest.items():
            assert version in gone | left | self.discarded, (key, version)
        unseen = {*self.queue.acked} - given_up - self.done
        assert not unseen or (self.policy == "update" and not unseen & self.seen), unseen
        assert self.wrong == []
        assert not {*self.queue.acked} & left, "it was done with, and came back"
        assert len(asyncio.all_tasks()) == 1
        assert virtual.running().timers() == []


@pytest.mark.parametrize("end", ["shutdown", "drain", "drain in time", "close", "join"])
@pytest.mark.parametrize("loop", pytest_asyncio_loop_factories().values())
@pytest.mark.parametrize(
    "seeds",
    [range(20), pytest.param(range(20, 1000), marks=[pytest.mark.deep, pytest.mark.timeout(0)])],
)
def test_nothing_is_lost(loop: Any, end: str, seeds: range) -> None:
    for seed in seeds:

        async def main(seed: int = seed) -> None:
            world = World(Random(f"{end} {seed}"))
            async with asyncio.timeout(10_000):
                await world.live(end)
            await world.nothing_is_lost()

        try:
            with asyncio.Runner(loop_factory=loop) as runner:
                runner.run(main())
        except BaseException as error:
            error.add_note(f"seed {seed}")
            raise
