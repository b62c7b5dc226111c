"""The connections of a process to one server: one for commands, one for what the server says.

They are made and greeted by redis-py, and then read here: redis-py awaits the answer to each
command, which is a third of what the server can do. What there is to write in one turn of the loop
is written at its end, or as soon as there is a lot of it, and the answers come in the order of the
commands.
"""

from __future__ import annotations

import asyncio
from asyncio import AbstractEventLoop, BaseTransport, Future, Task, Transport
from collections import deque
from collections.abc import Callable
from typing import Any, Final, Protocol
from weakref import WeakKeyDictionary

from hiredis import Reader, ReplyError, pack_command
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import RedisError

from .source import Address, Source

CONNECT: Final = 5  # seconds, for both connections and what is asked on them first
FIRST_PAUSE, LONGEST_PAUSE = 0.02, 1.0  # seconds between attempts to connect


def packed(*command: Any) -> bytes:
    data: bytes = pack_command(command)
    return data


class Tenant(Protocol):
    """Whoever uses a link: the store of one queue."""

    channel: bytes

    def link_up(self) -> None:
        """There are connections."""

    def subscribed(self, error: str | None) -> None:
        """The server will say on the channel what there is to say, or says why it won't."""

    def heard(self, message: bytes) -> None:
        """It has said something on the channel."""

    def flow(self) -> None:
        """Write what there is to write, if `Link.soon` was asked for that."""

    def reply(self, command: Any, reply: Any) -> None:
        """The answer to a command."""

    def link_down(self, unanswered: list[Any]) -> None:
        """The connections are lost, and these commands, in order, are without an answer."""

    def unreachable(self) -> None:
        """An attempt to connect has failed; there will be others."""


class Line(asyncio.Protocol):
    """One connection: takes over from redis-py when that has made and greeted it."""

    def __init__(self, receive: Callable[[Any], None], lost: Callable[[str], None]) -> None:
        self.receive = receive
        self.lost = lost
        self.connection: AbstractConnection | None = None
        self.transport: Transport | None = None
        self.reader = Reader()
        self.said = 0  # how many answers or messages have come

    async def connect(self, connection: AbstractConnection) -> None:
        made: Any = connection
        await made.connect()
        self.connection = connection
        self.transport = made._writer.transport
        self.streams: Any = made._writer.transport.get_protocol()
        made._writer.transport.set_protocol(self)

    def write(self, data: bytes) -> None:
        if self.transport is not None:
            self.transport.write(data)

    def data_received(self, data: bytes) -> None:
        reader = self.reader
        reader.feed(data)
        while self.transport is not None and (reply := reader.gets()) is not False:
            self.said += 1
            self.receive(reply)

    def connection_made(self, transport: BaseTransport) -> None:
        """TLS tells it anew; there is nothing to do."""

    def connection_lost(self, error: Exception | None) -> None:
        self.streams.connection_lost(error)
        if self.transport is not None:
            self.transport = None
            self.lost(f"the connection was lost ({error or 'closed by the server'})")

    def pause_writing(self) -> None:
        self.streams.pause_writing()

    def resume_writing(self) -> None:
        self.streams.resume_writing()

    async def close(self) -> None:
        connection, self.connection = self.connection, None
        transport, self.transport = self.transport, None
        if transport is not None:
            transport.abort()
        if connection is not None:
            await connection.disconnect(nowait=True)


class Link:
    """Both connections to one server, for all queues of a loop that are there.

    It connects anew whenever they are lost, for as long as anybody uses it. Then the old connection
    for commands is ended at the server first: nothing that it still had to read is carried out
    after what is sent on the new one.
    """

    def __init__(
        self, loop: AbstractEventLoop, source: Source, address: Address | None, forget: Any
    ) -> None:
        self.loop = loop
        self.source = source
        self.address = address
        self.forget = forget
        self.tenants: dict[bytes, Tenant] = {}  # by channel
        self.up = False
        self.why = "it was not connected yet"
        self.info: dict[str, str] = {}  # what the server says of itself
        self.connects = 0
        self.commands = Line(self._reply, self.lose)
        self.ears = Line(self._hear, self.lose)
        self._expected: deque[tuple[Any, Any]] = deque()  # who asked, and what
        self._subscribing: deque[tuple[Tenant, bytes]] = deque()
        self._out: list[bytes] = []
        self._flowing: list[Tenant] = []  # that have something to write at the end of this turn
        self._flushing = False  # at the end of this turn
        self._old: tuple[str, int] | None = None  # run and connection that may still have to read
        self._change = asyncio.Event()  # the connections are lost, or nobody uses them any more
        self._pinged, self._pinged_at = -1, 0.0  # how much was heard when that was asked for
        self._task: Task[None] = loop.create_task(self._keep())

    # -- those who use it ----------------------------------------------------------------

    def join(self, tenant: Tenant) -> None:
        self.tenants[tenant.channel] = tenant
        if self.up:
            tenant.link_up()

    def move(self, tenant: Tenant, channel: bytes) -> None:
        """The session of a tenant has another name."""
        if self.up:
            self.ears.write(packed(self._verb("UNSUBSCRIBE"), tenant.channel))
        del self.tenants[tenant.channel]
        tenant.channel = channel
        self.tenants[channel] = tenant

    def part(self, tenant: Tenant) -> list[Any]:
        """Returns the commands of the tenant that are without an answer; it will hear of none."""
        unanswered = [command for one, command in self._expected if one is tenant]
        self._expected = deque(
            (_NOBODY, None) if one is tenant else (one, command) for one, command in self._expected
        )
        if self.tenants.get(tenant.channel) is tenant:
            del self.tenants[tenant.channel]
            if self.up:
                self.ears.write(packed(self._verb("UNSUBSCRIBE"), tenant.channel))
        if not self.tenants:
            self.forget(self)
            self._change.set()
            if not self.up:
                self._task.cancel()
        return unanswered

    async def parted(self) -> None:
        """Wait until the connections are closed, if nobody uses them."""
        if not self.tenants:
            await asyncio.wait([self._task])

    # -- commands ------------------------------------------------------------------------

    def write(self, data: bytes, tenant: Any, command: Any) -> None:
        """Send a command. The answer goes to ``tenant.reply(command, answer)``."""
        self._expected.append((tenant, command))
        self._out.append(data)
        self._flush_soon()

    def soon(self, tenant: Tenant) -> None:
        """Have the tenant write at the end of this turn."""
        self._flowing.append(tenant)
        self._flush_soon()

    def _flush_soon(self) -> None:
        if not self._flushing:
            self._flushing = True
            self.loop.call_soon(self.flush)

    def flush(self) -> None:
        """Write all that there is now."""
        flowing, self._flowing = self._flowing, []
        self._flushing = True
        try:
            for tenant in flowing:
                tenant.flow()
        finally:
            self._flushing = False
        out, self._out = self._out, []
        if out:
            self.commands.write(b"".join(out))

    def _reply(self, reply: Any) -> None:
        tenant, command = self._expected.popleft()
        if tenant is None:
            if not command.done():
                command.set_result(reply)
        elif tenant is not _NOBODY:
            tenant.reply(command, reply)

    async def _ask(self, *command: Any) -> Any:
        """A command of the link's own."""
        answer: Future[Any] = self.loop.create_future()
        self.write(packed(*command), None, answer)
        return await answer

    # -- what the server says --------------------------------------------------------------

    def _verb(self, verb: str) -> str:
        return f"S{verb}" if self.sharded else verb

    @property
    def clustered(self) -> bool:
        return self.info.get("cluster_enabled") == "1"

    @property
    def sharded(self) -> bool:
        """Whether a channel belongs to a node of a cluster, as a key does."""
        return self.clustered and not self.info.get("redis_version", "").startswith(("5.", "6."))

    def subscribe(self, tenant: Tenant) -> None:
        self._subscribing.append((tenant, tenant.channel))
        self.ears.write(packed(self._verb("SUBSCRIBE"), tenant.channel))

    def _hear(self, said: Any) -> None:
        if isinstance(said, ReplyError):
            self._subscribed(str(said))
        elif said[0] in (b"message", b"smessage"):
            tenant = self.tenants.get(said[1])
            if tenant is not None:
                tenant.heard(said[2])
        elif said[0] in (b"subscribe", b"ssubscribe"):
            self._subscribed(None)

    def _subscribed(self, error: str | None) -> None:
        """The next of the answers to what was subscribed."""
        if self._subscribing:
            tenant, channel = self._subscribing.popleft()
            if self.tenants.get(channel) is tenant:
                tenant.subscribed(error)

    def listen(self) -> None:
        """Make sure that somebody is at the other end of what is only listened to."""
        if self.up:
            now = self.loop.time()
            if self.ears.said != self._pinged:
                self._pinged, self._pinged_at = self.ears.said, now
                self.ears.write(packed("PING"))
            elif now > self._pinged_at + CONNECT:
                self.lose("it has nothing to say any more")

    # -- the connections -------------------------------------------------------------------

    def lose(self, why: str) -> None:
        """Make other connections: with these there is something wrong."""
        self.why = why
        self.up = False
        self._change.set()

    async def _keep(self) -> None:
        """Connect, and wait until that is over, again and again."""
        pause = FIRST_PAUSE
        try:
            while self.tenants or not self.connects:
                self._change.clear()
                try:
                    async with asyncio.timeout(CONNECT):
                        await self._connect()
                except Exception as error:  # noqa: BLE001 (whatever it is, it is told)
                    self.why = f"{type(error).__name__}: {error}".strip(": ")
                    await self._end()
                    for tenant in [*self.tenants.values()]:
                        tenant.unreachable()
                    await asyncio.sleep(pause)
                    pause = min(pause * 2, LONGEST_PAUSE)
                    continue
                pause = FIRST_PAUSE
                self.connects += 1
                for tenant in [*self.tenants.values()]:
                    tenant.link_up()
                await self._change.wait()
                await self._end()
                if self.tenants:
                    await asyncio.sleep(FIRST_PAUSE)
        finally:
            self.up = False
            await self._end()

    async def _connect(self) -> None:
        self.commands = Line(self._reply, self.lose)
        self.ears = Line(self._hear, self.lose)
        await self.ears.connect(self.source.dial(self.address))
        await self.commands.connect(self.source.dial(self.address))
        self._subscribing.clear()
        self._pinged = -1
        said = await self._checked("INFO")
        lines = said.decode(errors="replace").splitlines()
        self.info = dict(line.split(":", 1) for line in lines if ":" in line)
        me = await self._checked("CLIENT", "ID")
        run = self.info.get("run_id", "")
        if self._old is not None and self._old[0] == run:
            await self._answered("CLIENT", "KILL", "ID", self._old[1])  # or it is gone already
        self._old = run, me
        if self.clustered:
            slots = await self._checked("CLUSTER", "SLOTS")
            self.source.learn((slot[2][0].decode(), slot[2][1]) for slot in slots if slot[2][0])
        if self._change.is_set():
            raise EOFError(self.why)
        self.up = True

    async def _checked(self, *command: Any) -> Any:
        """The answer to a command that must be allowed."""
        answer = await self._answered(*command)
        if isinstance(answer, ReplyError):
            raise RedisError(str(answer))
        return answer

    async def _answered(self, *command: Any) -> Any:
        """The answer to a command; EOFError if a connection is lost before it comes."""
        asking = self.loop.create_task(self._ask(*command))
        losing = self.loop.create_task(self._change.wait())
        try:
            await asyncio.wait([asking, losing], return_when=asyncio.FIRST_COMPLETED)
            if not asking.done():
                raise EOFError(self.why)
            return asking.result()
        finally:
            asking.cancel()
            losing.cancel()

    async def _end(self) -> None:
        """The connections are at their end; what was asked on them has no answer."""
        self.up = False
        await self.ears.close()
        await self.commands.close()
        unanswered: dict[Tenant, list[Any]] = {}
        for tenant, command in self._expected:
            if tenant not in (None, _NOBODY):
                unanswered.setdefault(tenant, []).append(command)
        self._expected.clear()
        self._out.clear()
        for tenant in [*self.tenants.values()]:
            tenant.link_down(unanswered.get(tenant, []))


_NOBODY: Final = object()  # asked, and has left
_LINKS: WeakKeyDictionary[AbstractEventLoop, dict[Any, Link]] = WeakKeyDictionary()


def link_to(loop: AbstractEventLoop, source: Source, address: Address | None) -> Link:
    """The one link of a loop to a server."""
    links = _LINKS.setdefault(loop, {})
    identity = (source.identity, address)

    def forget(link: Link) -> None:
        if links.get(identity) is link:
            del links[identity]

    if identity not in links:
        links[identity] = Link(loop, source, address, forget)
    return links[identity]
