"""The way to one queue on a server: `RedisStore`, over the link of the process to that server."""

from __future__ import annotations

import hashlib
import re
import warnings
from asyncio import AbstractEventLoop, TimerHandle
from bisect import insort
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

from hiredis import ReplyError

from ..engine.store import Owner, Request
from ..errors import QueueUnavailableError
from .source import Address, Source
from .wire import Link, link_to, packed

Durability: TypeAlias = Literal["fsync", "replica"] | None

FUNCTION: Final = "leasedkeyq2"
SOURCE: Final = Path(__file__).with_name("machine.lua").read_bytes()
SCRIPT: Final = SOURCE.partition(b"\n")[2]  # for servers without functions
SHA: Final = hashlib.sha1(SCRIPT, usedforsecurity=False).hexdigest()

# Errors that pass: the server starts, changes its role, moves a slot or runs a slow script.
PASSING: Final = frozenset(
    ("LOADING", "READONLY", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "ASK", "BUSY", "UNBLOCKED")
)
ELSEWHERE: Final = ("READONLY", "MASTERDOWN")  # after which a Sentinel knows better
REFUSALS: Final = ("OOM", "NOAUTH", "WRONGPASS", "NOPERM", "NOREPLICAS", "MISCONF")
PAUSE: Final = 0.1  # seconds before another attempt


# Redis 6 wraps the error of a command in one of the script.
WRAPPED: Final = re.compile(r"ERR Error running script .*@user_script: ?\d+: -(?=[A-Z]+ )")


def _by_order(request: Request) -> int:
    return request.order


class RedisStore:
    """Writes the requests of one queue, and sorts out what is answered."""

    def __init__(
        self, source: Source, name: str, durable: Durability, unavailable_timeout: float
    ) -> None:
        self.base = f"lkq:{{{name}}}"
        self.name = name
        self.channel = b""
        self._source = source
        self._durable = durable
        self._patience = unavailable_timeout
        self._owner: Any = None
        self._loop: Any = None
        self._link: Link | None = None
        self._ready = False  # the session is open, and nothing is held back
        self._greeting: Request | None = None
        self._pending: list[Request] = []  # held back, in order
        self._order = 0
        self._functions = True  # the server has them
        self._loading = False
        self._warned = False
        self._timer: TimerHandle | None = None
        self._unconfirmed: list[Request] = []
        self._confirming = False
        self._trouble = ""
        self.retries = 0

    # -- the Store -------------------------------------------------------------------------

    def enter(self, owner: Owner, loop: AbstractEventLoop) -> None:
        self._owner, self._loop = owner, loop
        self._move(self._source.next())

    def send(self, request: Request) -> None:
        self._order += 1
        request.order = self._order
        if self._ready:
            self._transmit(request)
        else:
            insort(self._pending, request, key=_by_order)

    def withdraw(self, request: Request) -> bool:
        if request.sent or request not in self._pending:
            return False
        self._pending.remove(request)
        return True

    def greet(self) -> None:
        self._ready = False
        link = self._link
        if link is None or not link.up:
            return
        channel = f"{self.base}:{self._owner.session}".encode()
        if channel != self.channel:
            link.move(self, channel)
        self._greeting = None
        link.subscribe(self)

    @property
    def connected(self) -> bool:
        return self._ready

    @property
    def trouble(self) -> str:
        if self._trouble:
            return self._trouble
        if self._link is None or self._link.up:
            return "it has not answered in time"
        return self._link.why

    @property
    def connects(self) -> int:
        """How often the connections were made."""
        return 0 if self._link is None else self._link.connects

    def suspect(self) -> None:
        if self._link is not None and self._link.up:
            self._link.lose("it has not answered in time")

    def listen(self) -> None:
        if self._link is not None:
            self._link.listen()

    def confirm(self, request: Request) -> None:
        self._unconfirmed.append(request)
        if not self._confirming:
            self._confirm()

    def part(self) -> None:
        link, self._link = self._link, None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if link is not None:
            self.link_down(link.part(self))
        self._pending.clear()

    async def leave(self) -> None:
        link = self._link
        assert link is not None
        self.part()
        await link.parted()

    # -- finding the server ------------------------------------------------------------------

    def _move(self, address: Address | None) -> None:
        """The queue is to be found there."""
        self._ready = False
        link, self._link = self._link, None
        if link is not None:
            self.link_down(link.part(self))
        self.channel = f"{self.base}:{self._owner.session}".encode()
        self._link = link_to(self._loop, self._source, address)
        self._link.join(self)

    # -- the link ------------------------------------------------------------------------------

    def link_up(self) -> None:
        assert self._link is not None
        error = self._unfit(self._link.info)
        if error is None:
            self.greet()
        elif self._owner.known and self._link.info.get("role") != "master":
            self._later()  # a failover is under way
        else:
            self._owner.refused(error)

    def subscribed(self, error: str | None) -> None:
        if error is not None:
            self._error(None, error)
        elif not self._ready and self._greeting is None:
            self._greeting = self._owner.greeting()
            self._transmit(self._greeting)

    def heard(self, message: bytes) -> None:
        word, _, number = message.partition(b" ")
        self._owner.told(word, int(number or 0))

    def link_down(self, unanswered: list[Any]) -> None:
        self._ready = self._loading = self._confirming = False
        greeting, self._greeting = self._greeting, None
        if greeting is not None:
            greeting.answered = True
        for command in unanswered:
            if isinstance(command, Request) and command is not greeting:
                self.retries += 1
                insort(self._pending, command, key=_by_order)
        unconfirmed, self._unconfirmed = self._unconfirmed, []
        for command in unanswered:
            if isinstance(command, list):  # of requests that a WAIT was for
                unconfirmed += command
        for request in unconfirmed:
            self._owner.failed(request, self._not_confirmed("the connection was lost"))

    def unreachable(self) -> None:
        if len(self._source.known) > 1 and self._timer is None:
            self._timer = self._loop.call_later(PAUSE, self._look_elsewhere)

    def _look_elsewhere(self) -> None:
        """A node has failed: another may have its slots by now, or know who has."""
        self._timer = None
        if self._link is not None and not self._link.up:
            self._trouble = self._link.why
            self._move(self._source.next())

    # -- commands --------------------------------------------------------------------------------

    def _transmit(self, request: Request) -> None:
        link = self._link
        assert link is not None
        request.sent += 1
        op, owner = request.op, self._owner
        if not self._functions:
            head: tuple[Any, ...] = ("EVALSHA", SHA)
        else:
            head = ("FCALL", FUNCTION if op == "put" else f"{FUNCTION}_oom")
        session, number, args = request.session, request.number, request.args
        if op == "open":
            args = (*args, "SPUBLISH" if link.sharded else "PUBLISH")
        data = packed(*head, 1, self.base, session, number, owner.done(), op, *args)
        link.write(data, self, request)

    def reply(self, command: Any, reply: Any) -> None:
        if type(reply) is list and isinstance(command, Request):
            if command is self._greeting and reply[0] == b"again":
                self._transmit(command)  # ahead of what is held back
                return
            self._owner.answered(command, reply)
            if command is self._greeting:  # and the session is open
                self._greeting = None
                self._flow()
        elif isinstance(command, Request):
            self._error(command, str(reply))
        elif isinstance(command, list):
            self._has_confirmed(command, reply)
        else:
            self._loaded(reply)

    def _flow(self) -> None:
        """The session is open: send what was held back."""
        self._ready, self._trouble = True, ""
        pending, self._pending = self._pending, []
        for request in pending:
            self._transmit(request)

    def _error(self, request: Request | None, error: str) -> None:
        """The server has answered with an error of its own, and carried nothing out."""
        error = WRAPPED.sub("", error)
        code = error.split(" ", 1)[0]
        if code == "MOVED":
            self._hold(request)
            host, _, port = error.split(" ")[2].rpartition(":")
            self._move((host, int(port)))
        elif code == "NOSCRIPT" or "Function not found" in error:
            self._hold(request)
            self._load()
        elif "unknown command" in error and "FCALL" in error.upper():
            self._functions = False
            self._hold(request)
            self.greet()
        elif code in PASSING:
            self._hold(request)
            self._trouble = error
            self._later(code in ELSEWHERE)
        else:
            refused = code in REFUSALS
            failure = QueueUnavailableError(
                f"the server of queue {self.name!r} answers: {error}; "
                + ("nothing was done" if refused else "nobody knows what was done"),
                "not done" if refused else "unknown",
            )
            if request is None or request is self._greeting:
                self._owner.refused(failure)
            else:
                self._owner.failed(request, failure)

    def _hold(self, request: Request | None) -> None:
        """Send it again later; it was not carried out."""
        self._ready = False
        if request is None:
            return
        if request is self._greeting:
            request.answered = True
            self._greeting = None
        else:
            request.sent -= 1
            self.retries += 1
            insort(self._pending, request, key=_by_order)

    def _later(self, elsewhere: bool = True) -> None:
        """Greet anew after a pause, perhaps on another connection."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(PAUSE, self._again, elsewhere)

    def _again(self, elsewhere: bool) -> None:
        self._timer = None
        if elsewhere and self._link is not None:
            self._link.lose("the server is no primary any more")
        elif self._link is not None and self._greeting is None:
            self.greet()

    def _load(self) -> None:
        """The server does not have the machine: hand it over."""
        if not self._loading and self._link is not None:
            self._loading = True
            command = (
                ("FUNCTION", "LOAD", SOURCE) if self._functions else ("SCRIPT", "LOAD", SCRIPT)
            )
            self._link.write(packed(*command), self, None)

    def _loaded(self, reply: Any) -> None:
        self._loading = False
        if isinstance(reply, ReplyError) and "already exists" not in str(reply):
            self._error(None, str(reply))
        else:
            self.greet()

    # -- how durable it is -----------------------------------------------------------------------

    def _confirm(self) -> None:
        if self._unconfirmed and self._link is not None and self._link.up:
            self._confirming = True
            batch, self._unconfirmed = self._unconfirmed, []
            limit = max(1, round(self._patience * 500))  # milliseconds: half of it
            wait = ("WAITAOF", 1, 0) if self._durable == "fsync" else ("WAIT", 1)
            self._link.write(packed(*wait, limit), self, batch)

    def _has_confirmed(self, batch: list[Request], reply: Any) -> None:
        self._confirming = False
        if isinstance(reply, ReplyError):
            error = str(reply)
        elif (reply[0] if isinstance(reply, list) else reply) < 1:
            error = "it was not confirmed in time"
        else:
            error = ""
        for request in batch:
            if error:
                self._owner.failed(request, self._not_confirmed(error))
            else:
                self._owner.answered(request, [b"ok"])
        self._confirm()

    def _not_confirmed(self, why: str) -> QueueUnavailableError:
        what = "on disk" if self._durable == "fsync" else "on a replica"
        return QueueUnavailableError(
            f"the put into queue {self.name!r} was carried out, but may not be {what}: {why}; to"
            " put the same again does no harm",
            "unknown",
        )

    # -- what the server must be -----------------------------------------------------------------

    def _unfit(self, info: dict[str, str]) -> Exception | None:
        """What speaks against this server, if anything does."""
        why = ""
        policy = info.get("maxmemory_policy", "noeviction")
        if policy != "noeviction":
            why = f"its maxmemory-policy is {policy}, which would lose items: set it to noeviction"
        elif info.get("role", "master") != "master":
            why = "it is a replica, which takes no writes: connect to its primary"
        elif self._durable == "fsync" and info.get("aof_enabled") == "0":
            why = "durable='fsync' needs its append-only file: set appendonly to yes"
        elif info.get("aof_enabled") == "0" and not self._warned:
            self._warned = True
            try:
                warnings.warn(
                    f"the server of queue {self.name!r} has no append-only file: what is in the"
                    " queue is lost when it restarts (appendonly yes)",
                    stacklevel=2,
                )
            except UserWarning as warning:  # whoever makes errors of warnings wants it so
                return warning
        if not why:
            return None
        said = f"the server of queue {self.name!r} is not fit: {why}"
        return QueueUnavailableError(said, "not done")
