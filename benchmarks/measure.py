"""Measuring by turns: whoever is compared runs in the same second, on the same processor."""

from __future__ import annotations

import gc
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import quantiles
from time import thread_time

# Enough is measured when the quartiles of every ratio are this close together, or the rounds
# have come to their end.
CLOSE_ENOUGH = 0.04


@dataclass(frozen=True)
class Block:
    """Something to measure. ``run`` does so many units of it; if it takes the time by itself,
    since not all that it does is to be measured, it returns the seconds."""

    run: Callable[[], Awaitable[float | None]]
    units: int


@dataclass(frozen=True)
class Ratio:
    """Over all rounds, the median and the quartiles of how many times the other's time a
    subject took in the same round."""

    median: float
    low: float
    high: float
    rounds: int

    @classmethod
    def of(cls, ratios: list[float]) -> Ratio:
        low, median, high = quantiles(ratios, n=4, method="inclusive")
        return cls(median, low, high, len(ratios))

    @property
    def spread(self) -> float:
        return (self.high - self.low) / self.median


@dataclass(frozen=True)
class Rounds:
    """What every block took for a unit, round by round."""

    seconds: dict[str, list[float]]

    def ratios(self, subject: str, against: str) -> list[float]:
        pairs = zip(self.seconds[subject], self.seconds[against], strict=True)
        return [time / other for time, other in pairs]

    def ratio(self, subject: str, against: str) -> Ratio:
        return Ratio.of(self.ratios(subject, against))

    def settled(self, against: str) -> bool:
        return all(self.ratio(name, against).spread < CLOSE_ENOUGH for name in self.seconds)


@contextmanager
def collector(*, running: bool) -> Iterator[None]:
    """Freeze what exists: the garbage collector finds only what is made from now on, and if
    it is not ``running`` nothing at all."""
    gc.collect()
    gc.freeze()
    if not running:
        gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.unfreeze()


async def take_turns(
    blocks: Mapping[str, Block], *, rounds: tuple[int, int], collecting: bool = True
) -> Rounds:
    """Run the blocks in turn, round after round, at least and at most so many rounds.

    The first block is the one that the others are compared with when it comes to the question
    whether it is enough. Time is the processor's that this thread had: what other programs
    took meanwhile is not in it.
    """
    fewest, most = rounds
    names = list(blocks)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for name in names:
        await blocks[name].run()  # the first time is never typical
    with collector(running=collecting):
        for turn in range(most):
            first = turn % len(names)  # nobody always comes after the same one
            for name in names[first:] + names[:first]:
                block = blocks[name]
                started = thread_time()
                own = await block.run()
                elapsed = thread_time() - started
                seconds[name].append((elapsed if own is None else own) / block.units)
            done = turn + 1
            if done >= fewest and done % 10 == 0 and Rounds(seconds).settled(names[0]):
                break
    return Rounds(seconds)
