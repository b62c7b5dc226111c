"""`stats` of an engine: the same type as in memory, and the same numbers."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from tests.engine.local import Engine, local_queue
from tests.engine.server import PATIENCE, Server
from tests.engine.test_client import Make, make  # noqa: F401 (a fixture)
from tests.subject import KeyAlreadyInFlightError, LeasedKeyQueue, QueueClosedError, Stats, module

if TYPE_CHECKING:
    from leasedkeyq.engine.looking import Looking
    from leasedkeyq.redis import RedisLeasedKeyQueue
else:
    Looking = module("engine.looking").Looking
    RedisLeasedKeyQueue = module("redis").RedisLeasedKeyQueue

POLICIES = ("update", "reject", "buffer", "defer")
NOTHING = {name: 0 for name in Stats.__dataclass_fields__ if not name.endswith("_age")}
SLOW = 2.0  # seconds by which ages may differ, on a machine that is busy


def counts(stats: Stats) -> dict[str, Any]:
    return {name: value for name, value in asdict(stats).items() if not name.endswith("_age")}


async def twin_step(random: Random, memory: Any, engine: Any, held: list[tuple[Any, Any]]) -> None:
    """The same operation on both, with the same outcome."""
    key, policy = random.choice("abcde"), random.choice(POLICIES)
    do = random.choice(("put", "put", "put", "get", "get", "take", "ack", "release", "discard"))
    if do in ("ack", "release") and not held:
        return
    pair = held.pop(random.randrange(len(held))) if do in ("ack", "release") else None
    front = random.random() < 0.5
    delay = random.choice((0, 0, 3600))
    came_to: list[Any] = []
    for number, queue in enumerate((memory, engine)):
        try:
            match do:
                case "put":
                    await queue.put(key, 0, if_in_flight=policy, delay=delay, timeout=0)
                    came_to.append("ok")
                case "get":
                    came_to.append(await queue.get(0, lease_timeout=3600))
                case "take":
                    came_to.append(await queue.take(key, 0.001))
                case "ack":
                    assert pair is not None
                    came_to.append(await queue.ack(pair[number]))
                case "release":
                    assert pair is not None
                    came_to.append(await queue.release(pair[number], requeue_front=front))
                case "discard":
                    came_to.append(await queue.discard(key))
        except (TimeoutError, KeyAlreadyInFlightError) as error:
            came_to.append(type(error))
    if isinstance(came_to[0], tuple):
        assert came_to[0][0] == came_to[1][0]
        held.append((came_to[0][2], came_to[1][2]))
    else:
        assert came_to[0] == came_to[1], do


@pytest.mark.parametrize("maxsize", [0, 4])
async def test_the_same_operations_come_to_the_same_statistics(
    server: Server, name: str, maxsize: int
) -> None:
    random = Random(maxsize)
    memory = LeasedKeyQueue[str, int](maxsize=maxsize)
    memory.stats()  # from now on its ages are exact
    held: list[tuple[Any, Any]] = []
    async with RedisLeasedKeyQueue[str, int](server.url, name, maxsize=maxsize) as engine:
        for _ in range(400):
            await twin_step(random, memory, engine, held)
            here, there = memory.stats(), await engine.stats()
            assert type(there) is Stats
            assert counts(here) == counts(there)
            for age in ("oldest_available_age", "oldest_lease_age"):
                one, other = getattr(here, age), getattr(there, age)
                assert (one is None) == (other is None)
                assert abs((one or 0) - (other or 0)) < SLOW
        stats = await engine.stats()
        seen = [stats.replaced, stats.deliveries, stats.acks, stats.releases, stats.timeouts]
        assert min(*seen, stats.discards, stats.puts) > 0, "too little has happened"
        await memory.close()
        await engine.close_for_all()
        assert counts(memory.stats()) == counts(await engine.stats())


async def test_what_waits_is_counted_by_its_kind(make: Make) -> None:  # noqa: F811
    queue = make(maxsize=1)
    assert asdict(await queue.stats()) == NOTHING | {
        "oldest_available_age": None,
        "oldest_lease_age": None,
    }
    await queue.put("a", 1)
    _, _, lease = await queue.get()
    waiting = [queue.get(), queue.get(), queue.take("a"), queue.put("b", 1), queue.join()]
    tasks = [asyncio.create_task(call) for call in waiting]
    while (seen := await queue._look()).waiting != 5:  # noqa: ASYNC110 (the server is asked)
        await asyncio.sleep(0.001)
    stats = seen.stats
    assert (stats.waiting_gets, stats.waiting_takes, stats.waiting_puts) == (2, 1, 1)
    assert (seen.phase, seen.maxsize, seen.sessions) == ("open", 1, 1)
    await queue.ack(lease)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


async def test_how_leases_end(make: Make) -> None:  # noqa: F811
    queue, leaves = make(), make()
    for key in "abcd":
        await queue.put(key, 1)
    await queue.ack((await queue.get())[2])
    await queue.get(lease_timeout=0.01)
    await queue.get(PATIENCE, lease_timeout=60)
    while (await queue.stats()).expiries != 1:  # noqa: ASYNC110 (the server is asked)
        await asyncio.sleep(0.005)
    await leaves.get(lease_timeout=60)
    await leaves.close()  # which gives back what it has
    stats = await queue.stats()
    ends = (stats.acks, stats.releases, stats.expiries, stats.in_flight)
    assert ends == (1, 1, 1, 1)
    assert stats.deliveries == sum(ends)


async def test_a_timeout_is_counted(make: Make) -> None:  # noqa: F811
    queue = make()
    for call in (queue.get(0), queue.get(0.01), queue.join(0.01)):
        try:
            await call
        except TimeoutError:
            continue
    assert (await queue.stats()).timeouts == 1


# -- the longest leases, of many -------------------------------------------------------------------


async def test_the_oldest_of_many_leases_is_found(server: Server, name: str) -> None:
    """More than the server looks through in one call: the client remembers their numbers."""
    asked: list[str] = []
    async with RedisLeasedKeyQueue[str, int](server.url, name, maxsize=0) as queue:
        await asyncio.gather(*[queue.put(f"{number}", number) for number in range(1200)])
        leases = [(await queue.get(lease_timeout=3600))[2] for _ in range(1200)]

        async def ask(op: str, *args: Any) -> Any:
            asked.append(op)
            return await queue._do(op, *args)

        looking = Looking(ask)
        assert (await looking.look(0)).held == ()
        assert asked == ["stats"]
        seen = await looking.look(5)
        assert [one.key for one in seen.held] == [b"0", b"1", b"2", b"3", b"4"]
        assert asked[1] == "stats"
        assert asked.count("numbers") >= 2
        ages = [one.age for one in seen.held]
        assert ages == sorted(ages, reverse=True)
        assert seen.stats.oldest_lease_age == ages[0]
        assert all(3590 < one.left <= 3600 and one.attempt == 1 for one in seen.held)
        asked.clear()
        await asyncio.gather(*[queue.ack(lease) for lease in leases[:3] + leases[4:20]])
        seen = await looking.look(2)
        assert [one.key for one in seen.held] == [b"3", b"20"]
        assert asked == ["stats"]  # it knew them
        await asyncio.gather(*[queue.put(f"new {number}", 0) for number in range(600)])
        await asyncio.gather(*[queue.get() for _ in range(600)])
        await asyncio.gather(*[queue.ack(lease) for lease in [leases[3], *leases[20:]]])
        asked.clear()
        (oldest,) = (await looking.look(1)).held
        assert oldest.key == b"new 0"
        assert asked.count("stats") == 3  # of those that it knew none is left
        await queue.close_for_all()
        assert (await looking.look(1)).held == ()


async def test_whoever_looks_asks_for_the_numbers_of_the_rest() -> None:
    """On an engine that looks through one copy at most, a page at a time."""
    engine = Engine()
    queue = local_queue(engine)
    for key in "abc":
        await queue.put(key, 1)
    leases = []
    for number in range(3):
        leases.append((await queue.get(lease_timeout=60))[2])
        assert (await queue.stats()).in_flight == number + 1
        assert (await queue._look(3)).held[0].key == b"a"
    assert [one.key for one in (await queue._look(9)).held] == [b"a", b"b", b"c"]
    await queue.ack(leases[0])
    assert [one.key for one in (await queue._look(1)).held] == [b"b"]
    await queue.close_for_all()
    with pytest.raises(QueueClosedError):
        await queue.get()
    assert (await queue.stats()).in_flight == 0
    await queue.close()


async def test_whoever_looks_forgets_what_has_ended() -> None:
    """Otherwise every look asked about all that had ever been."""
    engine = Engine()
    queue = local_queue(engine)
    for key in "abcde":
        await queue.put(key, 1)
    leases = [(await queue.get(lease_timeout=60))[2] for _ in range(5)]
    asked: list[int] = []

    async def ask(op: str, *args: Any) -> Any:
        if op == "stats":
            asked.append(len(args) - 1)
        return await queue._do(op, *args)

    looking = Looking(ask)
    assert [one.key for one in (await looking.look(2)).held] == [b"a", b"b"]
    for left, lease in enumerate(leases[:3]):
        await queue.ack(lease)
        await looking.look(1)
        asked.clear()
        await looking.look(1)
        assert asked == [4 - left]
    await queue.close_for_all()
