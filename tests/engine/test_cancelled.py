"""Calls that are cancelled at any moment around a put: nothing is lost, nothing stays behind."""

from __future__ import annotations

import asyncio
from functools import partial
from random import Random
from typing import Any

import pytest

from tests.engine.server import PATIENCE, Server
from tests.engine.traffic import Queue, waiting, within

ROUNDS = 16  # of the loop, about what a put and its wake-up take


async def cancel_around_puts(server: Server, name: str, times: int, seed: int) -> None:
    random = Random(seed)
    async with (
        Queue(server.url, name, default_lease_timeout=PATIENCE) as gets,
        Queue(server.url, name, default_lease_timeout=PATIENCE) as puts,
    ):
        caught = 0
        for number in range(times):
            key = f"{number}"
            calls: list[Any] = [gets.get, partial(gets.take, key), puts.get]
            getting = asyncio.ensure_future(calls[number % 3]())
            if number % 2:
                await asyncio.sleep(0)
            putting = asyncio.create_task(puts.put(key, number))
            await wait_a_moment(number, random)
            getting.cancel()
            await putting
            try:
                got = await getting
            except asyncio.CancelledError:
                got = await within(PATIENCE, puts.get())
            else:
                caught += 1
            assert got[:2] == (key, number)
            await puts.ack(got[2])
        assert 0 < caught < times, "cancelled always too early, or always too late"
        found = await puts._look()
        assert (found.stats.available, found.stats.in_flight, found.waiting) == (0, 0, 0)


async def wait_a_moment(number: int, random: Random) -> None:
    """Every offset in turn: rounds of the loop, or a bit of time."""
    offset = number % (2 * ROUNDS)
    if offset < ROUNDS:
        for _ in range(offset):
            await asyncio.sleep(0)
    else:
        await asyncio.sleep(random.uniform(0, 0.001))


async def test_a_cancelled_get_loses_nothing(server: Server, name: str) -> None:
    await cancel_around_puts(server, name, 600, 1)


@pytest.mark.deep
@pytest.mark.timeout(900)
async def test_ten_thousand_cancelled_gets_lose_nothing(server: Server, name: str) -> None:
    await cancel_around_puts(server, name, 10_000, 2)


async def test_a_put_cancelled_under_way_has_happened_or_has_not(server: Server, name: str) -> None:
    """Where the server had it already nobody can take it back; but never half of it."""
    random = Random(3)
    async with Queue(server.url, name, maxsize=1, default_lease_timeout=PATIENCE) as queue:
        happened = 0
        for number in range(200):
            await queue.put(f"first {number}", 1)
            putting = asyncio.create_task(queue.put(f"second {number}", 2))
            await asyncio.sleep(0)
            _, _, lease = await queue.get()
            acking = asyncio.create_task(queue.ack(lease))
            await wait_a_moment(number, random)
            putting.cancel()
            await acking
            await asyncio.gather(putting, return_exceptions=True)
            if await queue.qsize() or not putting.cancelled():
                happened += 1
                key, _, lease = await within(PATIENCE, queue.get())
                assert key == f"second {number}"
                await queue.ack(lease)
            found = await queue._look()
            assert (found.stats.in_flight, found.stats.available, found.waiting) == (0, 0, 0)
        assert 0 < happened < 200


async def test_a_cancelled_put_that_waits_leaves_nothing_behind(server: Server, name: str) -> None:
    async with Queue(server.url, name, maxsize=1, default_lease_timeout=PATIENCE) as queue:
        await queue.put("first", 1)
        for number in range(50):
            putting = asyncio.create_task(queue.put(f"second {number}", 2))
            await waiting(queue, 1)
            putting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await putting
        assert await queue.available_keys() == {"first"}
        await waiting(queue, 0)
        await queue.ack((await queue.get())[2])
        await within(PATIENCE, queue.put("third", 3))
        assert await queue.available_keys() == {"third"}


async def test_a_timeout_at_the_moment_of_a_put_loses_nothing(server: Server, name: str) -> None:
    async with Queue(server.url, name, default_lease_timeout=PATIENCE) as queue:
        for number in range(100):
            getting = asyncio.create_task(queue.get(timeout=0.002))
            await asyncio.sleep(0.0005 * (number % 8))
            await queue.put("key", number)
            try:
                _, value, lease = await getting
            except TimeoutError:
                _, value, lease = await within(PATIENCE, queue.get())
            assert value == number
            await queue.ack(lease)
