"""The figures to reach, and whether they are reached."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .registry import Found
from .subjects import ORDERED, OURS, PLAIN, PUBLIC


@dataclass(frozen=True)
class Figure:
    """At most ``bar``: a median that one of the cases finds."""

    what: str
    case: str
    subject: str
    against: str
    size: int | None
    bar: float

    def measured(self, results: Sequence[Found]) -> float | None:
        for found in results:
            if (found.case, found.subject, found.against, found.size, found.unit) == (
                self.case,
                self.subject,
                self.against,
                self.size,
                "times",
            ):
                return found.value
        return None


FIGURES = [
    Figure("put + get + ack / asyncio.Queue's cycle", "cycle", OURS, PLAIN, None, 1.6),
    Figure("the same / 0.0.7", "cycle", OURS, PUBLIC, None, 1 / 6),
    Figure("hand-over / asyncio.Queue's", "hand_over", OURS, PLAIN, None, 1.4),
    Figure("timed lease / untimed", "timed", OURS, "untimed", None, 1.25),
    Figure("beside 100,000 takers / alone", "takers", OURS, "alone", 100_000, 1.1),
    Figure("beside 1,000,000 timed leases / alone", "leases", OURS, "alone", 1_000_000, 1.2),
    Figure("per item at 1,000,000 / at 1,000", "items", OURS, "1,000 items", 1_000_000, 1.5),
    Figure("the same / OrderedDict's", "items, growth", OURS, ORDERED, 1_000_000, 1.0),
    Figure("per item at 1,000,000 / OrderedDict's", "items", OURS, ORDERED, 1_000_000, 1.0),
    Figure("10,000 lease durations / one", "durations", OURS, "one duration", 10_000, 1.5),
    Figure("bytes of an item / OrderedDict's", "an available item", OURS, ORDERED, None, 1.0),
]
