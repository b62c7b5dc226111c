"""The way to one queue on a server: `RedisStore`, over the link of the process to that server.

What is asked in one turn of the loop goes in few calls, each of many requests: most of what a call
costs, here and there, is the same for one as for many.
"""

from __future__ import annotations

import hashlib
import re
import warnings
from asyncio import AbstractEventLoop, TimerHandle
from bisect import insort
from collections.abc import Iterable, Sequence
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
BATCH: Final = 32  # requests in one call: the server is to begin while others are still made
BULK: Final = 100_000  # bytes in one call, or one request


# Redis 6 wraps the error of a command in one of the script.
WRAPPED: Final = re.compile(r"ERR Error running script .*@user_script: ?\d+: -(?=[A-Z]+ )")


def _by_order(request: Request) -> int:
    return request.order


class Confirming(list[Request]):
    """Requests that were carried out, and wait until that is durable."""


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
        self._pending: list[Request] = []  # until the end of this turn, or held back; in order
        self._order = 0
        self._functions = True  # the server has them
        self._full = False  # it had no memory for a put: what is none must not go along with it
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
        pending = self._pending
        pending.append(request)
        if self._ready:
            if len(pending) == 1:
                self._flow_soon()
            elif len(pending) == BATCH:
                self._flow_now()

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
            self._error((), error)
        elif not self._ready and self._greeting is None:
            self._greeting = self._owner.greeting()
            self._transmit([self._greeting])

    def heard(self, message: bytes) -> None:
        word, _, number = message.partition(b" ")
        self._owner.told(word, int(number or 0))

    def link_down(self, unanswered: list[Any]) -> None:
        self._ready = self._loading = self._confirming = False
        greeting, self._greeting = self._greeting, None
        if greeting is not None:
            greeting.answered = True
        unconfirmed, self._unconfirmed = self._unconfirmed, []
        for command in unanswered:
            if isinstance(command, Confirming):
                unconfirmed += command
            elif command is not None:
                self._put_off(request for request in command if request is not greeting)
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

    def _flow_soon(self) -> None:
        assert self._link is not None
        self._link.soon(self)

    def _flow_now(self) -> None:
        assert self._link is not None
        self._link.flush()

    def flow(self) -> None:
        """Send what is pending, in calls of many requests."""
        while self._pending and self._ready:
            self._transmit(self._next())

    def _next(self) -> list[Request]:
        """The first that is pending, and those behind it that may be in one call with it."""
        pending, length = self._pending, 0
        session, is_put = pending[0].session, pending[0].op == "put"
        for request in pending[:BATCH]:
            if request.session != session or (self._full and (request.op == "put") != is_put):
                break
            length += 1
        batch = pending[:length]
        del pending[:length]
        return batch

    def _transmit(self, requests: list[Request]) -> None:
        link = self._link
        assert link is not None
        function = f"{FUNCTION}_oom"
        words: list[Any] = []
        for request in requests:
            op, args = request.op, request.args
            request.sent += 1
            if op == "put":
                function = FUNCTION
            words += (request.number, op, len(args), *args)
        done = self._owner.done()
        if len(requests) > 1:
            words[:0] = (0, done, "batch")
        else:
            words[1:3] = (done, requests[0].op)
        if requests[0].op == "open":
            words.append("SPUBLISH" if link.sharded else "PUBLISH")
        head = ("FCALL", function) if self._functions else ("EVALSHA", SHA)
        data = packed(*head, 1, self.base, requests[0].session, *words)
        if len(data) > BULK and len(requests) > 1:
            half = len(requests) // 2
            for request in requests:
                request.sent -= 1
            self._transmit(requests[:half])
            self._transmit(requests[half:])
        else:
            link.write(data, self, requests)

    def reply(self, command: Any, reply: Any) -> None:
        if command is None:
            self._loaded(reply)
        elif isinstance(command, Confirming):
            self._has_confirmed(command, reply)
        elif type(reply) is not list:
            self._error(command, str(reply))
        elif command[0] is self._greeting:
            self._is_greeted(command, reply)
        else:
            self._full = self._full and command[0].op != "put"
            if len(command) == 1:
                reply = [reply]
            answered = self._owner.answered
            for request, one in zip(command, reply, strict=True):
                answered(request, one if type(one) is list else [one])

    def _is_greeted(self, command: list[Request], reply: Any) -> None:
        if reply[0] == b"again":
            self._transmit(command)  # ahead of what is held back
            return
        self._owner.answered(command[0], reply)
        if command[0] is self._greeting:  # and the session is open: send what was held back
            self._greeting = None
            self._ready, self._full, self._trouble = True, False, ""
            self._flow_soon()

    def _error(self, requests: Sequence[Request], error: str) -> None:
        """The server has answered with an error of its own, and carried nothing out."""
        error = WRAPPED.sub("", error)
        code = error.split(" ", 1)[0]
        if code == "MOVED":
            self._hold(requests)
            host, _, port = error.split(" ")[2].rpartition(":")
            self._move((host, int(port)))
        elif code == "NOSCRIPT" or "Function not found" in error:
            self._hold(requests)
            self._load()
        elif "unknown command" in error and "FCALL" in error.upper():
            self._functions = False
            self._hold(requests)
            self.greet()
        elif code in PASSING:
            self._hold(requests)
            self._trouble = error
            self._later(code in ELSEWHERE)
        else:
            self._fail(requests, code, error)

    def _fail(self, requests: Sequence[Request], code: str, error: str) -> None:
        """The server will not do it."""
        refused = code in REFUSALS
        failure = QueueUnavailableError(
            f"the server of queue {self.name!r} answers: {error}; "
            + ("nothing was done" if refused else "nobody knows what was done"),
            "not done" if refused else "unknown",
        )
        if not requests or requests[0] is self._greeting:
            self._owner.refused(failure)
            return
        if code == "OOM":
            self._full = True
            self._put_off(request for request in requests if request.op != "put")
            requests = [request for request in requests if request.op == "put"]
            self._flow_soon()
        for request in requests:
            self._owner.failed(request, failure)

    def _hold(self, requests: Sequence[Request]) -> None:
        """Send them again later; they were not carried out."""
        self._ready = False
        if requests and requests[0] is self._greeting:
            requests[0].answered = True
            self._greeting = None
        else:
            for request in requests:
                request.sent -= 1
            self._put_off(requests)

    def _put_off(self, requests: Iterable[Request]) -> None:
        """They are to be sent again, in their place."""
        for request in requests:
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
            self._error((), str(reply))
        else:
            self.greet()

    # -- how durable it is -----------------------------------------------------------------------

    def _confirm(self) -> None:
        if self._unconfirmed and self._link is not None and self._link.up:
            self._confirming = True
            batch, self._unconfirmed = Confirming(self._unconfirmed), []
            limit = max(1, round(self._patience * 500))  # milliseconds: half of it
            wait = ("WAITAOF", 1, 0) if self._durable == "fsync" else ("WAIT", 1)
            self._link.write(packed(*wait, limit), self, batch)

    def _has_confirmed(self, batch: Confirming, reply: Any) -> None:
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
