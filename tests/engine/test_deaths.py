"""Processes that are killed or hang with leases, with calls that wait, with a reserved copy."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.engine.puppets import Puppet, PuppetError
from tests.engine.server import PATIENCE, Server, until
from tests.engine.traffic import Queue, waiting, within

LEASE = 0.5
CLAIM = 0.5  # until a reserved copy is taken from a client that does not ask for it
TTL = 1.5  # of a session without a sign of life
SLACK = 3  # what a busy machine may add
TIMES: dict[str, Any] = {"session_ttl": TTL, "claim_timeout": CLAIM, "default_lease_timeout": LEASE}


@pytest.fixture
async def queue(server: Server, name: str) -> AsyncIterator[Queue]:
    async with Queue(server.url, name, **TIMES) as queue:
        yield queue


@pytest.fixture
async def puppet(server: Server, name: str) -> AsyncIterator[Puppet]:
    async with Puppet(server.url, name, **TIMES) as puppet:
        yield puppet


@asynccontextmanager
async def takes(at_least: float, at_most: float) -> AsyncIterator[None]:
    """The body takes as long."""
    begin = time.monotonic()
    yield
    assert at_least - 0.05 <= time.monotonic() - begin <= at_most + SLACK


async def test_the_lease_of_a_killed_process_ends_by_its_time(queue: Queue, puppet: Puppet) -> None:
    await queue.put("key", 1)
    assert (await puppet.do("get"))[:2] == ["key", 1]
    puppet.kill()
    async with takes(0, LEASE):
        key, value, lease = await within(PATIENCE, queue.get())
    assert (key, value, lease.attempt) == ("key", 1, 2)


async def test_a_lease_for_ever_ends_with_the_process(queue: Queue, puppet: Puppet) -> None:
    await queue.put("key", 1)
    await puppet.do("get", lease_timeout=float("inf"))
    puppet.kill()
    async with takes(0, TTL):
        assert (await within(PATIENCE, queue.get()))[0] == "key"


async def test_a_lease_for_ever_outlasts_the_silence_of_its_holder_while_it_lives(
    queue: Queue, puppet: Puppet
) -> None:
    await queue.put("key", 1)
    _, _, token, _ = await puppet.do("get", lease_timeout=float("inf"))
    with pytest.raises(TimeoutError):
        await queue.get(timeout=2 * TTL)
    await puppet.do("ack", token)


async def test_a_killed_waiter_costs_the_next_one_nothing(
    queue: Queue, server: Server, name: str
) -> None:
    puppets = [Puppet(server.url, name, **TIMES) for _ in range(3)]
    for number, puppet in enumerate(puppets):
        await puppet.__aenter__()
        puppet.begin("get")
        await waiting(queue, number + 1)
    getting = asyncio.create_task(queue.get())
    await waiting(queue, 4)
    for puppet in puppets:
        puppet.kill()
        await puppet.process.wait()
    clients = f"lkq:{{{name}}}:"
    await until(
        lambda: len(server.ask("PUBSUB", "CHANNELS", f"{clients}*")) == 1, "the end of the dead"
    )
    async with takes(0, 0):
        await queue.put("key", 1)
        assert (await within(PATIENCE, getting))[2].attempt == 1
    for puppet in puppets:
        await puppet.__aexit__(None, None, None)


async def test_a_copy_reserved_for_a_hung_process_goes_on_after_the_claim(
    queue: Queue, puppet: Puppet
) -> None:
    """And the hung one, when it goes on, waits anew and is served."""
    hung = puppet.begin("get")
    await waiting(queue, 1)
    puppet.stop()
    getting = asyncio.create_task(queue.get())
    await waiting(queue, 2)
    async with takes(CLAIM, CLAIM):
        await queue.put("key", 1)
        _, value, lease = await within(PATIENCE, getting)
    assert (value, lease.attempt) == (1, 1)
    puppet.go_on()
    await waiting(queue, 1)
    await queue.put("other", 2)
    assert (await within(PATIENCE, hung))[:2] == ["other", 2]


async def test_a_copy_reserved_for_a_process_that_is_killed_goes_on(
    queue: Queue, puppet: Puppet
) -> None:
    puppet.begin("get")
    await waiting(queue, 1)
    puppet.stop()
    await queue.put("key", 1)
    assert await queue.inflight_size() == 1
    puppet.kill()
    async with takes(0, CLAIM):
        assert (await within(PATIENCE, queue.get()))[2].attempt == 1


async def test_a_slot_reserved_for_a_hung_process_goes_on(server: Server, name: str) -> None:
    bounded: dict[str, Any] = {**TIMES, "maxsize": 1}
    async with (
        Queue(server.url, name, **bounded) as queue,
        Puppet(server.url, name, **bounded) as p,
    ):
        await queue.put("first", 1)
        hung = p.begin("put", "hung", 2)
        await waiting(queue, 1)
        p.stop()
        putting = asyncio.create_task(queue.put("next", 3))
        await waiting(queue, 2)
        _, _, lease = await queue.get()
        async with takes(0, CLAIM):
            await queue.ack(lease)
            await within(PATIENCE, putting)
        p.go_on()
        assert await queue.available_keys() == {"next"}
        await queue.ack((await queue.get())[2])
        await within(PATIENCE, hung)
        assert await queue.available_keys() == {"hung"}


async def test_a_hung_holder_learns_that_its_lease_is_gone(queue: Queue, puppet: Puppet) -> None:
    await queue.put("key", 1)
    _, _, token, attempt = await puppet.do("get")
    assert attempt == 1
    puppet.stop()
    _, _, lease = await within(PATIENCE, queue.get(lease_timeout=PATIENCE))
    assert lease.attempt == 2
    assert lease.token > token  # a fencing token
    late = puppet.begin("ack", token)
    puppet.go_on()
    with pytest.raises(PuppetError) as caught:
        await within(PATIENCE, late)
    assert caught.value.name in ("LeaseExpiredError", "InvalidLeaseError")
    await queue.ack(lease)


async def test_a_process_that_hangs_longer_than_its_session_comes_back(
    queue: Queue, puppet: Puppet
) -> None:
    hung = puppet.begin("get")
    await waiting(queue, 1)
    puppet.stop()
    await waiting(queue, 0)  # it was taken for dead, and that was seen without anybody's asking
    puppet.go_on()
    await queue.put("key", 1)
    assert (await within(PATIENCE, hung))[:2] == ["key", 1]


async def test_leases_of_fifty_killed_jobs_reach_a_waiting_call_on_time(
    queue: Queue, puppet: Puppet
) -> None:
    for number in range(50):
        await queue.put(f"{number}", number)
    for _ in range(50):
        await puppet.do("get")
    puppet.kill()
    async with takes(0, LEASE):
        got = [await within(PATIENCE, queue.get(lease_timeout=PATIENCE)) for _ in range(50)]
    assert [value for _, value, _ in got] == list(range(50))
