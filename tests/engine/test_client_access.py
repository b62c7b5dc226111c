"""TLS, users and passwords: redis-py's own settings, on both connections."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trustme
from redis.asyncio import Redis

from tests.docs.manual import DOCS, blocks
from tests.engine import server as servers
from tests.engine.conftest import Start
from tests.engine.proxy import Proxy
from tests.engine.server import LOOPBACK, PATIENCE, Server, until
from tests.engine.traffic import waiting, within
from tests.subject import module

if TYPE_CHECKING:
    from leasedkeyq.__main__ import source_of
    from leasedkeyq.redis import QueueUnavailableError
    from leasedkeyq.redis import RedisLeasedKeyQueue as Queue
    from leasedkeyq.top import SourceError
else:
    QueueUnavailableError = module("redis").QueueUnavailableError
    Queue = module("redis").RedisLeasedKeyQueue
    SourceError, source_of = module("top").SourceError, module("__main__").source_of


# -- TLS -----------------------------------------------------------------------------------------


class Authority:
    """Who vouches for the server, and in a file what a client must know of that."""

    def __init__(self, folder: Path) -> None:
        self.authority = trustme.CA()
        self.file = folder / "authority.pem"
        self.authority.cert_pem.write_to_path(str(self.file))

    def context(self, *, asks: bool = False) -> ssl.SSLContext:
        """The server's; `asks`: it wants the client to have a certificate, too."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.authority.issue_cert(LOOPBACK).configure_cert(context)
        if asks:
            context.verify_mode = ssl.CERT_REQUIRED
            self.authority.configure_trust(context)
        return context

    def client(self, folder: Path) -> str:
        """The settings of a client that has one."""
        issued, file = self.authority.issue_cert("worker.example"), folder / "client.pem"
        issued.private_key_and_cert_chain_pem.write_to_path(str(file))
        return f"&ssl_certfile={file}&ssl_keyfile={file}"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
async def secure(server: Server, authority: Authority) -> AsyncIterator[Proxy]:
    async with Proxy(server, tls=authority.context()) as proxy:
        yield proxy


async def test_everything_goes_through_tls(secure: Proxy, authority: Authority, name: str) -> None:
    url = f"{secure.url}?ssl_ca_certs={authority.file}"
    assert url.startswith("rediss://")
    async with Queue[str, Any](url, name) as queue:
        await queue.put("key", "x" * 500_000)  # more than one record holds
        _, value, lease = await queue.get()
        assert value == "x" * 500_000
        getting = asyncio.create_task(queue.get())
        await waiting(queue, 1)
        await queue.put("other", 2)  # of which it hears on the other connection
        assert (await within(PATIENCE, getting))[1] == 2
        secure.cut()
        await queue.ack(lease)
        getting = asyncio.create_task(queue.get())
        await waiting(queue, 1)
        await queue.put("third", 3)
        assert (await within(PATIENCE, getting))[1] == 3
    assert secure.connections == 4
    await until(lambda: not secure.links, "the end of its connections")
    source = source_of(url, (name,))
    assert (await source.frame(1)).queues[0].stats.puts == 3
    await source.close()


async def test_a_client_of_redis_py_brings_its_tls_with_it(
    secure: Proxy, authority: Authority, name: str
) -> None:
    client = Redis(host=LOOPBACK, port=secure.port, ssl=True, ssl_ca_certs=str(authority.file))
    async with client, Queue[str, int](client, name) as queue:
        await queue.put("key", 1)
        assert (await queue.get())[1] == 1


async def test_a_server_that_nobody_vouches_for_is_not_spoken_to(
    secure: Proxy, tmp_path: Path, name: str
) -> None:
    for url in (f"{secure.url}?ssl_ca_certs={Authority(tmp_path).file}", secure.url):
        queue = Queue[str, int](url, name, unavailable_timeout=1)
        with pytest.raises(QueueUnavailableError, match="CERTIFICATE_VERIFY_FAILED") as caught:
            await queue.put("key", 1)
        assert caught.value.outcome == "not done"
        await queue.close()
        with pytest.raises(SourceError, match="CERTIFICATE_VERIFY_FAILED"):
            await source_of(url, (name,)).frame(1)
    assert not secure.commands


async def test_a_server_may_want_a_certificate_of_the_client(
    server: Server, authority: Authority, tmp_path: Path, name: str
) -> None:
    async with Proxy(server, tls=authority.context(asks=True)) as proxy:
        url = f"{proxy.url}?ssl_ca_certs={authority.file}"
        queue = Queue[str, int](url, name, unavailable_timeout=1)
        with pytest.raises(QueueUnavailableError) as caught:
            await queue.put("key", 1)
        assert caught.value.outcome == "not done"
        await queue.close()
        async with Queue[str, int](url + authority.client(tmp_path), name) as queue:
            await queue.put("key", 1)
            assert (await queue.get())[1] == 1


# -- users and passwords -------------------------------------------------------------------------


def make_the_user_of_the_guide(server: Server) -> None:
    """As docs/howto/redis.md does."""
    (line,) = [block.text for block in blocks(DOCS / "howto" / "redis.md") if "ACL" in block.text]
    words = line.replace("\\\n", " ").split()
    if server.ask("COMMAND", "INFO", "WAITAOF") == [None]:
        words.remove("+waitaof")
    server.ask(*words)


@pytest.fixture
async def guarded(start: Start) -> Server:
    """A server that lets nobody do anything without a password."""
    server = await asyncio.to_thread(start, servers.plain())
    make_the_user_of_the_guide(server)
    server.ask("ACL", "SETUSER", "default", "resetkeys", "resetchannels", "-@all", "+ping", "+acl")
    return server


async def test_a_user_needs_no_more_rights_than_the_guide_says(guarded: Server, name: str) -> None:
    url = f"{guarded.url}?username=orders&password=secret"
    async with Queue[str, int](url, name) as queue, Queue[str, int](url, name) as other:
        await queue.put("key", 1)
        await queue.put("late", 1, delay=3600)
        _, _, lease = await other.get(lease_timeout=60)
        await queue.put("key", 2, if_in_flight="buffer")
        await other.extend(lease)
        getting = asyncio.create_task(other.take("third", PATIENCE))
        await waiting(queue, 1)
        await queue.put("third", 3)
        await other.ack((await within(PATIENCE, getting))[2])
        other._store.suspect()  # it connects anew, and ends the old connection
        await other.release(lease, requeue_front=True)
        assert await queue.available_items() == [("key", 2)]
        assert await queue.delayed_keys() == {"late"}
        with pytest.raises(TimeoutError):
            await queue.take("none", 0.01)
        assert not await queue.drain(0.01)
        assert (await queue.stats()).puts == 4
    source = source_of(url, (name,))
    assert (await source.frame(1)).queues[0].phase == "closed"
    await source.close()
    said = [entry for entry in guarded.ask("ACL", "LOG") if b"orders" in entry]
    assert said == [], "it tried what it may not do"


@pytest.mark.parametrize("durable", ["fsync", "replica"])
async def test_a_user_of_the_guide_may_wait_for_its_puts(
    start: Start, name: str, durable: Any
) -> None:
    server = await asyncio.to_thread(start, servers.append_only("always"))
    make_the_user_of_the_guide(server)
    url = f"{server.url}?username=orders&password=secret"
    async with Queue[str, int](url, name, durable=durable, unavailable_timeout=1) as queue:
        if durable == "fsync":
            await queue.put("key", 1)
        else:
            with pytest.raises(QueueUnavailableError, match="may not be on a replica"):
                await queue.put("key", 1)
        assert await queue.qsize() == 1


async def test_a_wrong_password_is_said_and_not_shown(guarded: Server, name: str) -> None:
    for who, times in (("orders", 2), ("nobody", 1)):
        url = f"{guarded.url}?username={who}&password=guessed"
        queue = Queue[str, int](url, name, unavailable_timeout=1)
        for _ in range(times):
            with pytest.raises(QueueUnavailableError, match="invalid username-password") as caught:
                await queue.put("key", 1)
            assert caught.value.outcome == "not done"
            assert "guessed" not in str(caught.value)
        await queue.close()
        with pytest.raises(SourceError, match="invalid username-password"):
            await source_of(url, (name,)).frame(1)
    queue = Queue[str, int](guarded.url, name, unavailable_timeout=1)
    with pytest.raises(QueueUnavailableError, match="no permissions"):
        await queue.start()
    await queue.close()


async def test_a_password_that_is_right_again_is_taken(guarded: Server, name: str) -> None:
    """Connections that are there stay; others are tried again until one is made."""
    url = f"{guarded.url}?username=orders&password=secret"
    async with Queue[str, int](url, name, unavailable_timeout=PATIENCE) as queue:
        await queue.put("key", 1)
        guarded.ask("ACL", "SETUSER", "orders", "<secret", ">other")
        queue._store.suspect()
        getting = asyncio.create_task(queue.get())
        await until(lambda: "invalid username-password" in queue._store.trouble)
        assert not getting.done()
        guarded.ask("ACL", "SETUSER", "orders", ">secret")
        assert (await within(PATIENCE, getting))[1] == 1
