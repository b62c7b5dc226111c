"""Queues on a server, as ``python -m leasedkeyq top`` shows them: `OnServer`.

It is no client of the queues: it opens no session, and asks the machine of each what there is to be
seen, which changes nothing. So it needs nobody else to be connected.
"""

from __future__ import annotations

import asyncio
from functools import partial
from math import inf
from typing import Any, Final
from urllib.parse import urlsplit

from redis.asyncio import ConnectionPool, Redis, RedisCluster
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisError

from .._checks import text
from ..engine.codec import Text
from ..engine.looking import COUNTS, Flying, Looking
from ..engine.store import Reply
from ..stats import Stats
from ..top import KEY_LIMIT, Frame, LeaseSeen, QueueSeen, SourceError
from .source import source_of
from .store import SCRIPT, SHA

PATIENCE: Final = 5.0  # seconds for an answer, until another connection is made
PAUSE: Final = 0.5  # seconds between two attempts
SETTINGS: Final = {"socket_timeout": PATIENCE, "socket_connect_timeout": PATIENCE}
NOTHING: Final = Stats(**dict.fromkeys(COUNTS, 0), oldest_available_age=None, oldest_lease_age=None)


class GoneError(SourceError):
    """There is no queue of that name."""


class OnServer:
    """Queues of these names on the server with that URL, which may be a node of a cluster.

    At first whatever is wrong is told. From the first frame on it is waited for: the server may
    come back, and a queue may be made again.
    """

    def __init__(self, url: str, names: tuple[str, ...]) -> None:
        address = urlsplit(url)
        self.title = f"{address.scheme}://{address.netloc.rpartition('@')[2]}{address.path}"
        if not names:
            raise SourceError(f"{self.title}: say which queues, by their names")
        try:
            source = source_of(url)
        except ValueError as error:
            raise SourceError(f"{self.title} is no URL of a server: {error}") from error
        self.trouble = "the server is slow"
        self._url = url
        settings = {**SETTINGS, "retry": Retry(NoBackoff(), 0), **source.settings}
        pool = ConnectionPool(connection_class=source.kind, **settings)
        self._client: Redis | RedisCluster = Redis.from_pool(pool)
        self._known = False  # there has been an answer
        self._looking = {
            name: Looking(partial(self._ask, f"lkq:{{{name}}}".encode())) for name in names
        }
        self._shown = False

    async def frame(self, leases: int) -> Frame:
        while True:
            try:
                if not self._known:
                    await self._meet()
                seen = [await self._look(name, leases) for name in self._looking]
            except (RedisError, OSError) as error:
                why = f"{type(error).__name__}: {error}"
                if not self._shown:
                    raise SourceError(f"{self.title} does not answer: {why}") from error
                self.trouble = why
                await asyncio.sleep(PAUSE)
            else:
                self._shown = True
                self.trouble = "the server is slow"
                return Frame(self.title, asyncio.get_running_loop().time(), tuple(seen))

    async def _meet(self) -> None:
        """The first words with the server: is it a node of a cluster?"""
        told: dict[str, Any] = await self._client.info("cluster")
        if told["cluster_enabled"]:
            await self._client.aclose()
            self._client = RedisCluster.from_url(self._url, **SETTINGS)
        self._known = True

    async def _look(self, name: str, leases: int) -> QueueSeen:
        try:
            seen = await self._looking[name].look(leases)
        except GoneError:
            if not self._shown:
                raise
            return QueueSeen(name, "gone", None, NOTHING, ())
        held = tuple(map(_lease, seen.held))
        return QueueSeen(name, seen.phase, seen.maxsize or None, seen.stats, held, seen.sessions)

    async def _ask(self, base: bytes, op: str, *args: Any) -> Reply:
        words = (1, base, "top", 0, 0, op, *args)
        reply: Reply = [b"again"]
        while reply[0] == b"again":
            try:
                reply = await self._client.execute_command("EVALSHA", SHA, *words)
            except NoScriptError:
                reply = await self._client.execute_command("EVAL", SCRIPT, *words)
        name = base.decode()[5:-1]
        if reply[0] == b"gone":
            raise GoneError(f"there is no queue {name} at {self.title}")
        if reply[0] != b"ok":
            why = b" ".join(reply[1:]).decode(errors="replace")
            raise SourceError(f"queue {name} at {self.title} is of another version: {why}")
        return reply

    async def close(self) -> None:
        await self._client.aclose()


def _lease(one: Flying) -> LeaseSeen:
    try:
        key = text(Text().decode(one.key))
    except UnicodeDecodeError:
        key = text(one.key)
    left = None if one.left == inf else one.left
    return LeaseSeen(key[:KEY_LIMIT], one.attempt, one.age, left)
