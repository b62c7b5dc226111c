"""The proxy does what the tests of faults believe that it does."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from tests.engine.proxy import Fate, Proxy
from tests.engine.server import LOOPBACK, Server, until

SOON = 20  # seconds, for what takes none


class Client:
    """One connection, and commands in a line of text."""

    async def connect(self, proxy: Proxy) -> Client:
        self.reader, self.writer = await asyncio.open_connection(LOOPBACK, proxy.port)
        return self

    async def ask(self, *words: str) -> bytes:
        """The first line of the reply; nothing if there is none."""
        command = "".join(f"${len(word)}\r\n{word}\r\n" for word in words)
        self.writer.write(f"*{len(words)}\r\n{command}".encode())
        try:
            return await asyncio.wait_for(self.reader.readline(), SOON)
        except ConnectionError:
            return b""

    def close(self) -> None:
        self.writer.close()


def once(fate: Fate) -> Iterator[Fate | None]:
    yield fate
    while True:
        yield None


@pytest.mark.parametrize(
    ("fate", "executed"), [(Fate.BEFORE, False), (Fate.LATE, True), (Fate.AFTER, True)]
)
@pytest.mark.parametrize("seed", range(6))  # nothing, a part or all of it arrives
async def test_a_cut_is_where_it_should_be(
    server: Server, name: str, fate: Fate, executed: bool, seed: int
) -> None:
    async with Proxy(server, seed) as proxy:
        fates = once(fate)
        proxy.plan = lambda request: next(fates) if request == (fate is not Fate.AFTER) else None
        client = await Client().connect(proxy)
        reply = await client.ask("INCR", name)
        assert not reply.endswith(b"\r\n")
        client.close()
        await until(lambda: not proxy.links)
        assert proxy.cuts == {fate: 1}
        assert server.ask("GET", name) == (b"1" if executed else None)
        again = await Client().connect(proxy)
        assert await again.ask("GET", name) == (b"$1\r\n" if executed else b"$-1\r\n")
        again.close()
        assert proxy.connections == 2


async def test_commands_are_counted_however_they_arrive(server: Server, name: str) -> None:
    async with Proxy(server) as proxy:
        client = await Client().connect(proxy)
        command = f"*2\r\n$4\r\nINCR\r\n${len(name)}\r\n{name}\r\n".encode()
        client.writer.write(command * 3)
        for byte in range(len(command)):
            await asyncio.sleep(0.001)
            client.writer.write(command[byte : byte + 1])
        for number in range(4):
            assert await client.reader.readline() == f":{number + 1}\r\n".encode()
        assert proxy.commands == {"INCR": 4}
        client.close()


async def test_what_is_stalled_arrives_in_the_end(server: Server, name: str) -> None:
    async with Proxy(server) as proxy:
        client = await Client().connect(proxy)
        assert await client.ask("INCR", name) == b":1\r\n"
        with proxy.stalled():
            asking = asyncio.create_task(client.ask("INCR", name))
            done, _ = await asyncio.wait([asking], timeout=0.1)
            assert not done
        assert await asking == b":2\r\n"
        client.close()


async def test_an_unreachable_server_cuts_what_there_is(server: Server, name: str) -> None:
    async with Proxy(server) as proxy:
        client = await Client().connect(proxy)
        assert await client.ask("INCR", name) == b":1\r\n"
        async with proxy.unreachable():
            assert await client.ask("INCR", name) == b""
            other = await Client().connect(proxy)
            assert await other.ask("INCR", name) == b""
            other.close()
        client.close()
        third = await Client().connect(proxy)
        assert await third.ask("INCR", name) == b":2\r\n"
        third.close()
