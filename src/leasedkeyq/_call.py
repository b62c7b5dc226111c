"""The calls that wait: a `get` or `take` that found nothing to lease."""

from __future__ import annotations

from enum import Enum
from typing import Any, Final, Generic, Protocol, TypeVar

from ._deadlines import Timed
from ._key import Item
from ._linkedlist import Node

K = TypeVar("K")
V = TypeVar("V")


class Caller(Protocol):
    """Whoever waits for a call, to the core: an `asyncio.Future` is one."""

    def cancelled(self) -> bool:
        """True from the moment when nothing may be offered to the call any more."""


class _Patient:
    """A caller that never leaves: the core's own, until the shell sets another."""

    def cancelled(self) -> bool:
        return False


PATIENT: Final = _Patient()


class Outcome(Enum):
    """What has become of a waiting call."""

    WAITING = "waiting"
    RESERVED = "a copy is reserved for it until it resumes"
    TIMED_OUT = "its timeout ran out first"
    CLOSED = "the queue was closed"
    LEFT = "it has resumed, or was cancelled"


# Bound once: until 3.12, to look a member up in its class takes as long as to work with it.
WAITING, RESERVED, TIMED_OUT, CLOSED, LEFT = Outcome


class Call(Node, Generic[K, V]):
    """A `get` or `take` that waits. It is made empty, without a step of Python."""

    __slots__ = ("alarm", "caller", "duration", "item", "lease", "outcome", "ticket", "timeout")

    __init__ = object.__init__

    # The core fills these in.
    ticket: int  # rises with the order of arrival
    item: Item[K, V] | None  # what a take waits for; None for a get
    duration: float  # of the lease it will be granted
    timeout: float | None
    alarm: Alarm[K, V] | None
    caller: Caller
    lease: Any  # the `Lease`, while a copy is reserved
    outcome: Outcome


class Alarm(Timed, Generic[K, V]):
    """The deadline of a call's wait."""

    __slots__ = ("call",)

    def __init__(self, call: Call[K, V]) -> None:
        super().__init__()
        self.call = call
        self._number = call.ticket
