"""What a benchmark is: a case, how much of it to do, and what it found."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from functools import cache

from .measure import Ratio, Rounds
from .subjects import Leased, leased_queues


@dataclass(frozen=True)
class Found:
    """How many times as long as another a subject took; or so many bytes, or milliseconds.

    ``low`` and ``high`` are the quartiles of the rounds, ``value`` is their median. ``size``:
    of what the subject had to cope with, where that is varied.
    """

    case: str
    subject: str
    against: str
    size: int | None
    value: float
    low: float
    high: float
    rounds: int
    unit: str = "times"

    @classmethod
    def ratio(
        cls, case: str, subject: str, against: str, ratio: Ratio, size: int | None = None
    ) -> Found:
        return cls(case, subject, against, size, ratio.median, ratio.low, ratio.high, ratio.rounds)


@dataclass(frozen=True)
class Settings:
    """How much of everything."""

    public: str | None = None  # the folder that 0.0.7 was installed in
    rounds: tuple[int, int] = (30, 100)  # at least, at most: of a millisecond or so
    long_rounds: tuple[int, int] = (5, 5)
    longest_rounds: tuple[int, int] = (3, 3)
    sizes: tuple[int, ...] = (1_000, 10_000, 100_000, 1_000_000)
    waiting: tuple[int, ...] = (10, 100, 1_000, 10_000, 100_000)
    public_waiting: int = 1_000  # more take 0.0.7 for ever
    leases: tuple[int, ...] = (1_000, 10_000, 100_000, 1_000_000)
    durations: tuple[int, ...] = (1, 10, 100, 1_000, 10_000)
    expiring: tuple[int, ...] = (1_000, 10_000, 100_000)
    counted: int = 50_000  # items, leases or calls whose bytes are counted
    loaded: int = 100_000  # items in the queue while the loop's stalls are watched

    def rounds_of(self, size: int) -> tuple[int, int]:
        """For blocks that work through so many items."""
        return self.long_rounds if size < 100_000 else self.longest_rounds

    def queues(self) -> dict[str, Callable[..., Leased]]:
        return _queues(self.public)


QUICK = Settings(
    rounds=(4, 10),
    long_rounds=(3, 3),
    sizes=(1_000, 2_000),
    waiting=(10, 1_000),
    public_waiting=10,
    leases=(1_000, 10_000),
    durations=(1, 1_000),
    expiring=(1_000, 2_000),
    counted=2_000,
    loaded=1_000,
)

_queues = cache(leased_queues)

Case = Callable[[Settings], AsyncIterator[Found]]
CASES: dict[str, Case] = {}  # in the order in which they are run


def case(function: Case) -> Case:
    """Decorate an async generator of what it found; its name is the case's."""
    CASES[function.__name__] = function
    return function


def versus(case: str, rounds: Rounds, against: str, size: int | None = None) -> list[Found]:
    """Every subject of some rounds compared with one of them."""
    return [
        Found.ratio(case, subject, against, rounds.ratio(subject, against), size)
        for subject in rounds.seconds
        if subject != against
    ]
