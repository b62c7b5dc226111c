"""Who waits is silent: no polling."""

from __future__ import annotations

import asyncio
from collections import Counter

from tests.engine.proxy import Proxy
from tests.engine.server import PATIENCE, Server
from tests.engine.traffic import Queue, waiting, within

CALLS = 1_000
TTL = 2.0  # seconds; a quarter of it lies between two signs of life
IDLE = 2.0


async def test_a_thousand_calls_that_wait_send_nothing_but_a_heartbeat(
    server: Server, name: str
) -> None:
    async with (
        Proxy(server) as proxy,
        Queue(proxy.url, name, session_ttl=TTL) as waits,
        Queue(server.url, name) as puts,
    ):
        getting = [asyncio.create_task(waits.get()) for _ in range(CALLS)]
        await waiting(puts, CALLS)
        before = Counter(proxy.commands)
        await asyncio.sleep(IDLE)
        sent = Counter(proxy.commands) - before
        beats = IDLE / (TTL / 4)
        assert 1 <= sent.total() <= 2 * (beats + 1), sent  # one on either connection
        for number in range(CALLS):
            await puts.put(f"{number}", number)
        got = await within(PATIENCE, asyncio.gather(*getting))
        assert [value for _, value, _ in got] == list(range(CALLS))  # in the order of arrival
        assert proxy.connections == 2


async def test_any_number_of_queues_and_tasks_share_two_connections(
    server: Server, name: str
) -> None:
    async with Proxy(server) as proxy:
        queues = [Queue(proxy.url, f"{name}-{number}") for number in range(10)]
        for queue in queues:
            await queue.put("key", 1)
        await asyncio.gather(*(queue.get() for queue in queues for _ in range(1)))
        assert proxy.connections == 2
        for queue in queues:
            await queue.close()


async def test_one_put_wakes_one_process(server: Server, name: str) -> None:
    """The others hear nothing of it."""
    async with (
        Proxy(server) as proxy,
        Queue(server.url, name) as puts,
        Queue(server.url, name) as first,
        Queue(proxy.url, name) as second,
    ):
        getting = [asyncio.create_task(first.get())]
        await waiting(puts, 1)
        getting.append(asyncio.create_task(second.get()))
        await waiting(puts, 2)
        before = proxy.commands.total()
        await puts.put("key", 1)
        await within(PATIENCE, getting[0])
        await puts.qsize()
        assert proxy.commands.total() == before
        await puts.put("other", 2)
        await within(PATIENCE, getting[1])
