"""Measuring by turns: whoever is compared runs in the same second, on the same processor."""

from __future__ import annotations

import gc
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from statistics import quantiles
from time import thread_time

Block = Callable[[], Awaitable[object]]

# A round is one turn of each. There are at least, and at most, so many of them; in between it
# ends when the quartiles of the ratios have come this close to the median. A turn is long
# against the clock's own cost, and short against the changes of the machine's mood.
FEWEST, MOST = 30, 300
CLOSE_ENOUGH = 0.06


@dataclass(frozen=True)
class Ratio:
    """How many times the baseline's time something took: over the rounds, the median and
    the quartiles of what each round said."""

    median: float
    low: float
    high: float
    rounds: int

    @classmethod
    def of(cls, times: list[float], baseline: list[float]) -> Ratio:
        ratios = [time / base for time, base in zip(times, baseline, strict=True)]
        low, middle, high = quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
        return cls(middle, low, high, len(ratios))

    @property
    def spread(self) -> float:
        return (self.high - self.low) / self.median


async def take_turns(
    blocks: Mapping[str, Block],
    *,
    baseline: str,
    fewest: int = FEWEST,
    most: int = MOST,
    collector: bool = True,
) -> dict[str, Ratio]:
    """Run the blocks in turn, round after round; how each compares with the baseline.

    The time is the processor's that this thread had, so that it does not count what other
    programs took. What exists already is frozen: the garbage collector finds only what the
    blocks make, and with ``collector=False`` it does not run at all.
    """
    times: dict[str, list[float]] = {name: [] for name in blocks}
    names = list(blocks)
    for name in names:
        await blocks[name]()  # the first time is never typical
    gc.collect()
    gc.freeze()
    if not collector:
        gc.disable()
    try:
        for turn in range(most):
            first = turn % len(names)  # nobody always comes after the same one
            for name in names[first:] + names[:first]:
                block = blocks[name]
                started = thread_time()
                await block()
                times[name].append(thread_time() - started)
            if turn + 1 >= fewest and (turn + 1) % 10 == 0:
                ratios = [Ratio.of(times[name], times[baseline]) for name in names]
                if max(ratio.spread for ratio in ratios) < CLOSE_ENOUGH:
                    break
    finally:
        gc.enable()
        gc.unfreeze()
    return {name: Ratio.of(times[name], times[baseline]) for name in names}
