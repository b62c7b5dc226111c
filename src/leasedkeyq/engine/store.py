"""What the shell asks of an engine: a `Store`, which carries requests to a queue's machine.

The machine is somewhere else and has its own clock. Each request is carried out there in one step,
and answered with a list whose first element is a word. A store delivers requests in the order in
which it was given them. When a connection is lost it makes another, lets its owner greet, and then
sends again what was not answered, in order, under the same numbers: the machine knows those that it
has carried out, and answers them as before.
"""

from __future__ import annotations

from asyncio import AbstractEventLoop
from collections.abc import Callable
from math import inf
from typing import Any, Protocol, TypeAlias

Reply: TypeAlias = list[Any]  # of bytes, and of ints where an engine has them


class Request:
    """One operation on its way, and what is to be done with the answer."""

    __slots__ = (
        *("op", "args", "then", "caller", "session", "number", "floor", "order"),
        *("asked", "sent", "answered"),
    )

    def __init__(
        self, op: str, args: tuple[Any, ...], then: Callable[[Any, bytes, Reply], None]
    ) -> None:
        self.op = op
        self.args = args
        self.then = then  # called with this, the word and the whole reply as soon as that comes
        self.caller: Any = None  # the future of whoever waits for it
        self.session = ""
        self.number = 0  # in the session; 0 is for what may be done twice, and is not remembered
        self.floor = 0  # the number of the latest request before it
        self.order = 0  # for the store
        self.asked = inf  # loop time
        self.sent = 0  # how often
        self.answered = False


class Owner(Protocol):
    """The shell, as its store sees it."""

    @property
    def session(self) -> str:
        """16 hex digits."""

    @property
    def opened(self) -> bool:
        """Whether the machine knows the session."""

    @property
    def known(self) -> bool:
        """Whether the queue has been reached before."""

    def greeting(self) -> Request:
        """What to send first on a new connection: an ``open``, or a ``hello``."""

    def done(self) -> int:
        """Every request up to this number is answered."""

    def answered(self, request: Request, reply: Reply) -> None:
        """The machine has answered."""

    def failed(self, request: Request, error: Exception) -> None:
        """The request is at its end without an answer of the machine."""

    def told(self, word: bytes, number: int) -> None:
        """The machine says something by itself: ``ready``, ``alarm`` or ``dropped``."""

    def refused(self, error: Exception) -> None:
        """The engine will not have this client: nothing that waits to be sent will be."""


class Store(Protocol):
    """The way to one queue. Nothing here waits but `leave`."""

    def enter(self, owner: Owner, loop: AbstractEventLoop) -> None:
        """Begin to connect, and to keep connected."""

    def send(self, request: Request) -> None:
        """Deliver it behind all that was given before."""

    def withdraw(self, request: Request) -> bool:
        """Take back what was never sent. False if it may be under way."""

    def greet(self) -> None:
        """Greet anew, and hold back all else until the session is open."""

    @property
    def connected(self) -> bool:
        """Whether what is sent now can be expected to arrive."""

    @property
    def trouble(self) -> str:
        """Why there is no connection, for a message."""

    def suspect(self) -> None:
        """No answer has come for too long: make another connection."""

    def listen(self) -> None:
        """Make sure that what the machine says by itself would be heard."""

    def confirm(self, request: Request) -> None:
        """Answer ``ok`` as soon as what was done so far is as durable as was asked for."""

    def part(self) -> None:
        """Be done with it, for now: connections that nobody else needs are closed."""

    async def leave(self) -> None:
        """The same for good, and wait until they are."""
