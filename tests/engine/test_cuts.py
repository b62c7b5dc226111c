"""Connections that break anywhere: no request is doubled or lost, and none fails."""

from __future__ import annotations

import asyncio
from random import Random
from typing import Any

import pytest

from tests.engine.proxy import Fate, Proxy, every_so_often
from tests.engine.server import PATIENCE, Server
from tests.engine.traffic import Queue, Traffic, waiting, within

QUICK = 25
# Where every third attempt to connect fails it may take some of them.
LONG: dict[str, Any] = {"default_lease_timeout": PATIENCE, "unavailable_timeout": PATIENCE}


async def cut(server: Server, name: str, most: int, seed: int) -> Traffic:
    """Traffic, until so many connections were cut."""
    traffic = Traffic()
    async with (
        Proxy(server, seed) as proxy,
        Queue(proxy.url, name, **LONG) as queue,
    ):
        proxy.plan = every_so_often(seed, 0.05, most)
        await traffic.run(queue, queue, lambda: proxy.cuts.total() < most)
        assert proxy.cuts.total() == most
        if most > QUICK:
            assert min(proxy.cuts[fate] for fate in Fate) > most / 10
        assert await queue.qsize() == await queue.inflight_size() == 0
    return traffic


async def test_cuts_neither_lose_nor_double_a_request(server: Server, name: str) -> None:
    (await cut(server, name, QUICK, 1)).assert_exactly_once()


@pytest.mark.deep
@pytest.mark.timeout(600)
async def test_a_thousand_cuts_neither_lose_nor_double_a_request(server: Server, name: str) -> None:
    (await cut(server, name, 1_000, 2)).assert_exactly_once()


class Careful:
    """Does to each item what a consumer can do, and knows what must come of it."""

    def __init__(self, queue: Queue, seed: int) -> None:
        self.queue = queue
        self.random = Random(seed)
        self.attempts: dict[str, int] = {}
        self.values: dict[str, int] = {}
        self.acked: set[str] = set()

    async def put(self, key: str) -> None:
        self.values[key] = 1
        delay = self.random.choice([0, 0, 0.01])
        await self.queue.put(key, 1, delay=delay, if_in_flight="reject")

    async def work(self) -> None:
        while True:
            key, value, lease = await self.queue.get()
            self.attempts[key] = self.attempts.get(key, 0) + 1
            assert key not in self.acked, "delivered after its ack"
            assert (lease.attempt, value) == (self.attempts[key], self.values[key])
            while await self.step(key, lease):
                pass

    async def step(self, key: str, lease: Any) -> bool:
        """One thing of many; whether it holds the lease afterwards."""
        queue = self.queue
        match self.random.randrange(7):
            case 0:
                await queue.release(lease, requeue_front=self.random.random() < 0.5)
                return False
            case 1:
                await queue.release(lease, delay=0.01)
                return False
            case 2:
                await queue.extend(lease)
                return True
            case 3 if not await queue.superseded(lease):
                self.attempts[key] = 0  # a newer value counts from one
                self.values[key] += 1
                await queue.put(key, self.values[key], if_in_flight="update")
                assert await queue.superseded(lease)
                assert await queue.refresh(lease) == self.values[key]
                assert not await queue.superseded(lease)
                return True
            case 4:
                assert not await queue.discard(key)
                return True
            case _:
                self.acked.add(key)
                await queue.ack(lease)
                return False


async def cut_everything(server: Server, name: str, most: int, seed: int) -> None:
    async with (
        Proxy(server, seed) as proxy,
        Queue(proxy.url, name, maxsize=5, **LONG) as queue,
    ):
        careful = Careful(queue, seed)
        proxy.plan = every_so_often(seed, 0.05, most)
        async with asyncio.TaskGroup() as group:
            workers = [group.create_task(careful.work()) for _ in range(4)]
            number = 0
            while proxy.cuts.total() < most:
                number += 1
                await careful.put(f"key {number}")
            await queue.join(timeout=PATIENCE)
            for worker in workers:
                worker.cancel()
        assert careful.acked == careful.values.keys()


async def test_cuts_change_no_answer_of_any_operation(server: Server, name: str) -> None:
    await cut_everything(server, name, QUICK, 3)


@pytest.mark.deep
@pytest.mark.timeout(600)
async def test_a_thousand_cuts_change_no_answer_of_any_operation(server: Server, name: str) -> None:
    await cut_everything(server, name, 1_000, 4)


async def test_a_call_that_waits_survives_a_cut(server: Server, name: str) -> None:
    """Nothing is put while the connections break, and everything after that arrives."""
    async with (
        Proxy(server) as proxy,
        Queue(proxy.url, name) as waits,
        Queue(server.url, name) as puts,
    ):
        getting = [asyncio.create_task(waits.get()) for _ in range(10)]
        await waiting(puts, 10)
        proxy.cut()
        for number in range(10):
            await puts.put(f"{number}", number)
        got = await within(PATIENCE, asyncio.gather(*getting))
        assert [value for _, value, _ in got] == list(range(10))


async def test_a_server_out_of_reach_for_a_while_is_waited_for(server: Server, name: str) -> None:
    async with Proxy(server) as proxy, Queue(proxy.url, name) as queue:
        async with proxy.unreachable():
            putting = asyncio.create_task(queue.put("key", 1))
            await asyncio.sleep(0.3)
            assert not putting.done()
        await within(PATIENCE, putting)
        assert await queue.available_keys() == {"key"}


async def test_a_stalled_connection_does_not_hold_up_a_timeout(server: Server, name: str) -> None:
    async with Proxy(server) as proxy, Queue(proxy.url, name, **LONG) as queue:
        assert await queue.qsize() == 0
        with proxy.stalled(), pytest.raises(TimeoutError):
            await within(3, queue.get(timeout=0.2))
        await queue.put("key", 1)
        assert (await within(PATIENCE, queue.get()))[0] == "key"
