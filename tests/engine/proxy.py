"""A proxy between client and server that cuts, stalls, counts, and leads elsewhere."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from enum import Enum
from random import Random
from ssl import SSLContext
from types import TracebackType
from typing import TypeAlias

from tests.engine.server import LOOPBACK, Server, until

CHUNK = 1 << 16
LATE = 0.03  # seconds: after a cut, what was under way arrives


class Fate(Enum):
    """What can become of bytes that are under way."""

    BEFORE = "cut before execution"  # perhaps in the midst of a request
    LATE = "cut, and executed afterwards"
    AFTER = "cut between execution and reply"  # perhaps in the midst of it


Plan: TypeAlias = Callable[[bool], Fate | None]  # is it a request? what is to become of it


def every_so_often(seed: int, chance: float, most: int) -> Plan:
    """Cuts of all kinds at random, so many and no more."""
    random = Random(seed)
    left = most

    def plan(request: bool) -> Fate | None:
        nonlocal left
        if not left or random.random() > chance:
            return None
        left -= 1
        return random.choice([Fate.BEFORE, Fate.LATE]) if request else Fate.AFTER

    return plan


class Proxy:
    """Clients use `url`; whatever they send goes to `target`, as long as nothing else is said.

    With `tls` it speaks that to its clients, and plainly to the server.
    """

    def __init__(self, target: Server, seed: int = 1, tls: SSLContext | None = None) -> None:
        self.target = target  # may be changed: new connections go to another one then
        self.tls = tls
        self.refuses = False  # new connections are cut at once
        self.plan: Plan = lambda request: None
        self.random = Random(seed)
        self.cuts: Counter[Fate] = Counter()
        self.commands: Counter[str] = Counter()  # by their first word
        self.connections = 0  # that there ever were
        self.links: set[Link] = set()
        self.open = asyncio.Event()
        self.open.set()

    @property
    def url(self) -> str:
        return f"{'rediss' if self.tls else 'redis'}://{LOOPBACK}:{self.port}"

    async def __aenter__(self) -> Proxy:
        self.listener = await asyncio.start_server(self.accept, LOOPBACK, 0, ssl=self.tls)
        self.port: int = self.listener.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.refuses = True
        self.listener.close()
        self.open.set()
        for link in [*self.links]:
            link.cut()
        await until(lambda: not self.links, "the end of all connections")

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self.open.wait()
        if self.refuses:
            writer.transport.abort()
            return
        self.connections += 1
        try:
            there = await asyncio.open_unix_connection(str(self.target.socket))
        except OSError:
            writer.transport.abort()
            return
        link = Link(self, (reader, writer), there)
        self.links.add(link)
        try:
            await link.run()
        finally:
            self.links.discard(link)

    def cut(self) -> None:
        """Cut every connection that there is."""
        for link in [*self.links]:
            link.cut()

    @contextmanager
    def stalled(self) -> Iterator[None]:
        """Nothing gets through, and no connection breaks."""
        self.open.clear()
        try:
            yield
        finally:
            self.open.set()

    @asynccontextmanager
    async def unreachable(self) -> AsyncIterator[None]:
        """No server, as far as clients can see."""
        self.refuses = True
        self.cut()
        try:
            yield
        finally:
            self.refuses = False


Stream: TypeAlias = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Link:
    """One connection, on both its sides."""

    def __init__(self, proxy: Proxy, client: Stream, server: Stream) -> None:
        self.proxy = proxy
        self.client = client
        self.server = server
        self.unread = b""  # the beginning of a command whose end is still to come

    async def run(self) -> None:
        ways = [asyncio.create_task(self.pump(True)), asyncio.create_task(self.pump(False))]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self.cut()
            await asyncio.gather(*ways, return_exceptions=True)

    def cut(self) -> None:
        for _, writer in (self.client, self.server):
            writer.transport.abort()

    async def pump(self, request: bool) -> None:
        (reader, _), (_, writer) = (
            (self.client, self.server) if request else (self.server, self.client)
        )
        proxy = self.proxy
        try:
            while chunk := await reader.read(CHUNK):
                await proxy.open.wait()
                if request:
                    self.count(chunk)
                fate = proxy.plan(request)
                if fate is not None:
                    proxy.cuts[fate] += 1
                    await self.meet(fate, chunk, writer)
                    return
                writer.write(chunk)
                await writer.drain()
        except OSError:
            pass  # cut from elsewhere

    async def meet(self, fate: Fate, chunk: bytes, writer: asyncio.StreamWriter) -> None:
        part = self.proxy.random.choice([0, self.proxy.random.randrange(len(chunk)), len(chunk)])
        if fate is Fate.LATE:
            self.client[1].transport.abort()
            await asyncio.sleep(LATE)
        elif fate is Fate.BEFORE:
            part = min(part, len(chunk) - 1)
        elif part == len(chunk):
            part = 0
        writer.write(chunk if fate is Fate.LATE else chunk[:part])
        await writer.drain()
        await asyncio.sleep(0)

    def count(self, chunk: bytes) -> None:
        """Take the commands apart: arrays of strings, each with its length before it."""
        text = self.unread + chunk
        at = 0
        while (end := text.find(b"\r\n", at)) >= 0 and text[at : at + 1] == b"*":
            here, words = end + 2, []
            for _ in range(int(text[at + 1 : end])):
                end = text.find(b"\r\n", here)
                if end < 0:
                    break
                size = int(text[here + 1 : end])
                words.append(text[end + 2 : end + 2 + size])
                here = end + 2 + size + 2
            if end < 0 or here > len(text):
                break
            self.proxy.commands[words[0].decode().upper()] += 1
            at = here
        self.unread = text[at:]
