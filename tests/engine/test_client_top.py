"""`python -m leasedkeyq top redis://... orders`: what is shown of queues on a server."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.engine import server as servers
from tests.engine.conftest import Start
from tests.engine.local import Bytes
from tests.engine.server import PATIENCE, Cluster, Server, until
from tests.subject import PACKAGE, module

if TYPE_CHECKING:
    from leasedkeyq.__main__ import source_of
    from leasedkeyq.redis import RedisLeasedKeyQueue as Queue
    from leasedkeyq.top import EndedError, SourceError
else:
    Queue = module("redis").RedisLeasedKeyQueue
    top = module("top")
    EndedError, SourceError = top.EndedError, top.SourceError
    source_of = module("__main__").source_of


async def test_a_frame_has_sizes_ages_calls_and_clients(server: Server, name: str) -> None:
    source, both = source_of(server.url, (name,)), [Queue[str, int](server.url, name, maxsize=20)]
    both.append(Queue[str, int](server.url, name, maxsize=20))
    async with both[0] as queue, both[1]:
        for key in "abc":
            await queue.put(key, 1)
        await queue.get(lease_timeout=60)
        await queue.release((await queue.get(lease_timeout=60))[2], requeue_front=True)
        await queue.get(lease_timeout=float("inf"))
        taking = asyncio.create_task(queue.take("none"))
        await until_waiting(queue, 1)
        frame = await source.frame(50)
        (seen,) = frame.queues
        assert frame.title == server.url
        assert (seen.name, seen.phase, seen.maxsize, seen.sessions) == (name, "open", 20, 2)
        stats = seen.stats
        assert (stats.available, stats.in_flight, stats.puts, stats.waiting_takes) == (1, 2, 3, 1)
        assert 0 <= (stats.oldest_lease_age or -1) <= PATIENCE
        first, second = seen.leases
        assert (first.key, first.attempt) == ("'a'", 1)
        assert 60 - PATIENCE < (first.left or 0) <= 60
        assert (second.key, second.attempt, second.left) == ("'b'", 2, None)
        assert first.age == stats.oldest_lease_age
        assert len((await source.frame(1)).queues[0].leases) == 1
        taking.cancel()
    await source.close()


async def until_waiting(queue: Any, number: int) -> None:
    while (await queue._look()).waiting != number:  # noqa: ASYNC110 (the server is asked)
        await asyncio.sleep(0.001)


async def test_to_look_needs_nobody_and_changes_nothing(start: Start, name: str) -> None:
    """Nobody is connected, the machine is not even loaded, and not a byte is another one."""
    server = await asyncio.to_thread(start, servers.plain())
    async with Queue[bytes, int](server.url, name, keys=Bytes()) as queue:
        await queue.put(b"\xff", 1)
        await queue.put(b"b", 1)
        held = (await queue.get())[2]
    assert held.key == b"\xff"
    server.ask("FUNCTION", "FLUSH")
    server.ask("SCRIPT", "FLUSH")

    def kept() -> dict[bytes, bytes]:
        return {key: server.ask("DUMP", key) for key in server.ask("KEYS", "*")}

    before = kept()
    source = source_of(server.url, (name,))
    for _ in range(2):
        (seen,) = (await source.frame(50)).queues
        assert (seen.stats.available, seen.stats.releases, seen.sessions) == (2, 1, 0)
    assert kept() == before
    assert server.ask("FUNCTION", "LIST") == []
    await source.close()


async def test_a_key_that_is_no_text_is_shown_as_bytes(server: Server, name: str) -> None:
    async with Queue[bytes, int](server.url, name, keys=Bytes()) as queue:
        await queue.put(b"\xff" * 100, 1)
        await queue.get()
        source = source_of(server.url, (name,))
        (lease,) = (await source.frame(50)).queues[0].leases
        assert lease.key == repr(b"\xff" * 100)[:200]
        await source.close()


async def test_what_is_due_is_carried_out_though_nobody_else_is_there(
    server: Server, name: str
) -> None:
    """More than one call carries out."""
    async with Queue[str, int](server.url, name) as queue:
        await asyncio.gather(*[queue.put(f"{number}", 1) for number in range(450)])
        await asyncio.gather(*[queue.get(lease_timeout=0.2) for _ in range(450)])
        queue._store.suspect()  # and is not there any more
        await asyncio.sleep(0.3)
        source = source_of(server.url, (name,))
        (seen,) = (await source.frame(50)).queues
        counts = (seen.stats.available, seen.stats.in_flight, seen.stats.expiries)
        assert counts == (450, 0, 450)
        await source.close()


async def test_a_server_that_goes_away_and_comes_back_is_waited_for(
    start: Start, name: str
) -> None:
    server = await asyncio.to_thread(start, servers.append_only("always"))
    async with Queue[str, int](server.url, name) as queue:
        await queue.put("a", 1)
    source = source_of(server.url, (name,))
    assert (await source.frame(5)).queues[0].stats.available == 1
    await asyncio.to_thread(server.kill)
    looking = asyncio.create_task(source.frame(5))
    await until(lambda: "ConnectionError" in source.trouble)
    assert not looking.done()
    await asyncio.to_thread(server.start)
    assert (await asyncio.wait_for(looking, PATIENCE)).queues[0].stats.available == 1
    assert source.trouble == "the server is slow"
    server.ask("FLUSHALL")
    (seen,) = (await source.frame(5)).queues
    assert (seen.phase, seen.stats.puts, seen.leases) == ("gone", 0, ())
    async with Queue[str, int](server.url, name) as queue:
        await queue.put("b", 1)
        assert (await source.frame(5)).queues[0].phase == "open"
    await source.close()


async def test_queues_of_a_cluster_are_found_from_any_node(cluster: Cluster, name: str) -> None:
    names = tuple(f"{name}-{number}" for number in range(4))
    for one in names:
        async with Queue[str, int](cluster.url, one) as queue:
            await queue.put("a", 1)
    assert len({cluster.owner(cluster.slot(f"lkq:{{{one}}}")) for one in names}) > 1
    source = source_of(cluster.nodes[2].url, names)
    for _ in range(2):
        seen = (await source.frame(5)).queues
        assert [(one.name, one.stats.available) for one in seen] == [(one, 1) for one in names]
    await source.close()


async def test_what_cannot_be_seen_is_said(server: Server, name: str) -> None:
    async def said(url: str, *names: str) -> str:
        with pytest.raises(SourceError) as raised:  # noqa: PT012 (both may raise it)
            source = source_of(url, names)
            try:
                await source.frame(5)
            finally:
                await source.close()
        assert not isinstance(raised.value, EndedError)
        return str(raised.value)

    assert "say which queues" in await said(server.url)
    assert "there is no queue none at unix://" in await said(server.url, "none")
    assert "is no URL of a server" in await said("http://localhost", "orders")
    told = await said("redis://user:secret@127.0.0.1:1/0?password=secret", "orders")
    assert told.startswith("redis://127.0.0.1:1/0 does not answer: ConnectionError")
    assert "secret" not in told
    assert "AUTH" in await said(f"{server.url}?password=wrong", "orders")
    newer = "redis.call('SET', KEYS[1], cmsgpack.pack('3', 'more'))"
    server.ask("EVAL", newer, 1, f"lkq:{{{name}}}:meta")
    assert "of another version: schema 3" in await said(server.url, name)


async def test_the_command_shows_a_server(start: Start) -> None:
    """All of it, as a user has it."""
    server = await asyncio.to_thread(servers.with_port)
    try:
        async with Queue[str, int](server.url, "orders") as queue:
            await queue.put("a", 1)
            await queue.put("b", 1)
            await queue.get()
            line = [sys.executable, "-m", PACKAGE, "top", "--once", server.url, "orders"]
            done = await asyncio.to_thread(
                subprocess.run, line, capture_output=True, text=True, check=True
            )
        shown = [text.rstrip() for text in done.stdout.splitlines()]
        assert shown[0] == server.url
        assert shown[2].split()[:3] == ["queue", "avail", "leased"]
        assert shown[3].split()[:3] == ["orders", "1", "1"]
        assert shown[6].split()[-2:] == ["orders", "'a'"]
    finally:
        await asyncio.to_thread(server.remove)
