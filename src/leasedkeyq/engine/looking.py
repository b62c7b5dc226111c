"""What is to be seen of a queue on an engine: `Looking` asks its machine for it."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, fields
from math import inf
from typing import Any, Final, NamedTuple, TypeAlias

from ..stats import Stats
from .session import seconds_of
from .store import Reply

AT_ONCE: Final = 1000  # numbers that are asked about in one request, next to those that are wanted
COUNTS: Final = [field.name for field in fields(Stats) if not field.name.endswith("_age")]
CALLS: Final = [f"waiting_{kind}s" for kind in ("get", "take", "put", "join", "drain")]

Ask: TypeAlias = Callable[..., Awaitable[Reply]]


class Flying(NamedTuple):
    """A copy in flight; ``attempt`` is 0 until it is delivered. ``age``, ``left``: in seconds."""

    number: int
    key: bytes
    attempt: int
    age: float
    left: float


@dataclass(frozen=True)
class Seen:
    """A queue at one moment, which is ``now`` by the machine's clock."""

    now: float  # seconds
    phase: str
    maxsize: int  # 0: there is none
    sessions: int
    waiting: int  # calls of all kinds
    stats: Stats
    held: tuple[Flying, ...]  # the longest ones


class Looking:
    """Looks at one queue, again and again. ``ask`` takes an operation and its arguments.

    The machine counts what there is, and has no index of the copies in flight by age, for which
    every grant would pay. If they are few it looks through them. Otherwise whoever looks finds out
    their numbers, which rise, and from then on asks after the lowest of these: it is the oldest
    until it has ended. So a look is O(log n), amortised over the grants.
    """

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._known: list[int] = []  # rising; whatever else is in flight was granted later

    async def look(self, leases: int) -> Seen:
        """With so many of the leases that have been held for the longest time."""
        known = self._known
        while True:
            some = known[: leases + AT_ONCE]
            seen = _seen(await self._ask("stats", leases, *some))
            live = [one.number for one in seen.held]
            if len(live) >= min(leases, seen.stats.in_flight):
                last = live[-1] if live else inf if leases else -inf
                known[: bisect_right(known, last)] = live
                return seen
            known[: len(some)] = live
            if len(known) == len(live):
                known[:] = sorted(await self._numbers())

    async def _numbers(self) -> set[int]:
        found: set[int] = set()
        cursor: Any = 0
        while True:
            _, cursor, *numbers = await self._ask("numbers", cursor)
            found.update(map(int, numbers))
            if int(cursor) == 0:
                return found


def _seen(reply: Reply) -> Seen:
    said = {name.decode(): what for name, what in zip(reply[1::2], reply[2::2], strict=True)}
    held = tuple(
        Flying(int(number), key, int(attempt), seconds_of(age), seconds_of(left))
        for number, key, attempt, age, left in said["leases"]
    )
    waits = said["oldest_available_age"]
    stats = Stats(
        **{name: int(said[name]) for name in COUNTS},
        oldest_available_age=seconds_of(waits) if waits else None,
        oldest_lease_age=held[0].age if held else None,
    )
    return Seen(
        now=seconds_of(said["now"]),
        phase=said["phase"].decode(),
        maxsize=int(said["maxsize"]),
        sessions=int(said["sessions"]),
        waiting=sum(int(said[name]) for name in CALLS),
        stats=stats,
        held=held,
    )
