"""A server whose clock is set: what was to end ends early or late, and nothing is lost."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import TypeAlias

import pytest

from tests.engine import server as servers
from tests.engine.conftest import Start
from tests.engine.record import MACHINE
from tests.engine.server import PATIENCE, Server
from tests.engine.traffic import Queue, Traffic, waiting, within
from tests.subject import InvalidLeaseError

HOUR = 3600
STEP = "step"  # a key: by how many seconds the clock is wrong
CLOCK = f"""
local function clock(args)
    local time = call('TIME')
    return (time[1] + (call('GET', '{STEP}') or 0)) * 1000000 + time[2]
end
"""
Step: TypeAlias = Callable[[int], Awaitable[None]]


@pytest.fixture
def stepping(start: Start) -> Server:
    """A server with the machine, whose clock can be set."""
    server = start(servers.plain())
    found = re.compile(r"\nlocal function clock\(.*?\nend\n", re.DOTALL)
    source, clocks = found.subn(lambda _: CLOCK, MACHINE.read_text("utf-8"))
    assert clocks == 1
    server.ask("FUNCTION", "LOAD", source)
    return server


@pytest.fixture
def step(stepping: Server) -> Step:
    async def step(seconds: int) -> None:
        await asyncio.to_thread(stepping.ask, "INCRBY", STEP, seconds)

    return step


async def test_a_step_forward_ends_leases_and_delays_early(
    stepping: Server, name: str, step: Step
) -> None:
    async with (
        Queue(stepping.url, name, default_lease_timeout=PATIENCE) as one,
        Queue(stepping.url, name, default_lease_timeout=PATIENCE) as other,
    ):
        await one.put("key", 1)
        _, _, lease = await one.get()
        await one.put("later", 2, delay=PATIENCE)
        getting = [asyncio.create_task(other.get()) for _ in range(2)]
        await waiting(one, 2)
        await step(HOUR)
        await one.qsize()  # somebody looks
        got = await within(PATIENCE, asyncio.gather(*getting))
        assert {(key, got.attempt) for key, _, got in got} == {("key", 2), ("later", 1)}
        with pytest.raises(InvalidLeaseError):
            await one.ack(lease)
        for _, _, held in got:
            assert held.token > lease.token
            await other.ack(held)


async def test_a_step_back_ends_leases_late_and_tokens_go_on_rising(
    stepping: Server, name: str, step: Step
) -> None:
    async with Queue(stepping.url, name, default_lease_timeout=0.2) as queue:
        await queue.put("key", 1)
        _, _, lease = await queue.get()
        await step(-HOUR)
        with pytest.raises(TimeoutError):
            await queue.get(timeout=0.5)
        await queue.extend(lease)  # it lives, and lasts from now on
        _, _, again = await within(PATIENCE, queue.get())
        assert again.attempt == 2
        assert again.token > lease.token
        await queue.ack(again)


async def test_calls_that_wait_outlast_a_step(stepping: Server, name: str, step: Step) -> None:
    """They wait by the clock of their own process, whatever the server's says."""
    async with Queue(stepping.url, name) as gets, Queue(stepping.url, name) as puts:
        for seconds in (HOUR, -2 * HOUR):
            getting = asyncio.create_task(gets.get(timeout=PATIENCE))
            await waiting(puts, 1)
            await step(seconds)
            await puts.put("key", seconds)
            _, value, lease = await within(PATIENCE, getting)
            assert value == seconds
            await gets.ack(lease)


@pytest.mark.parametrize("seconds", [HOUR, -HOUR])
async def test_traffic_loses_nothing_to_steps(
    stepping: Server, name: str, step: Step, seconds: int
) -> None:
    traffic = Traffic()
    async with Queue(stepping.url, name) as queue, asyncio.TaskGroup() as group:

        async def steps() -> None:
            for _ in range(5):
                await traffic.progress(20)
                await step(seconds)

        stepped = group.create_task(steps())
        await traffic.run(queue, queue, lambda: not stepped.done())
    if seconds > 0:
        traffic.assert_nothing_lost()
    else:
        traffic.assert_exactly_once()
