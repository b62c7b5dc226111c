"""The figures to reach, and whether they are reached."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from .cases import FEW, Found
from .rivals import COMPILED, ORDERED, PLAIN, PURE

PGO = "PGO"  # in the name of a Python that was built with profile-guided optimization


@dataclass(frozen=True)
class Figure:
    """What a case finds of one build: at most ``bar``, in the median over the Pythons."""

    what: str
    build: str
    case: str
    against: str
    size: int | None
    bar: float | None  # None: no bar was set
    pgo_bar: float | None = None  # on a Python built with PGO, if it is another

    def measured(self, results: Sequence[Found]) -> float | None:
        wanted = (self.case, self.build, self.against, self.size)
        for found in results:
            if (found.case, found.subject, found.against, found.size) == wanted:
                return found.value
        return None

    def missed(self, version: str, value: float) -> bool:
        bar = self.pgo_bar if PGO in version and self.pgo_bar is not None else self.bar
        return bar is not None and round(value, 2) > bar

    def middle(self, results: Mapping[str, Sequence[Found]]) -> float | None:
        """The median over the Pythons, those with PGO left out unless there are no others."""
        values = {version: self.measured(found) for version, found in results.items()}
        plain = [value for version, value in values.items() if value and PGO not in version]
        found = plain or [value for value in values.values() if value]
        return median(found) if found else None


# What, its case, what it is compared with, its size; the bars of the two builds, and with PGO.
_ROWS: list[tuple[str, str, str, int | None, float | None, float | None, float | None]] = [
    ("put + get + ack / put + get + task_done", "cycle", PLAIN, None, 1.1, 2.35, 1.0),
    ("hand-over to a blocked get / asyncio.Queue's", "hand_over", PLAIN, None, 1.1, 1.5, 1.0),
    ("timed lease / untimed", "timed", "untimed", None, 1.55, 1.5, None),
    ("beside 100,000 takers / alone", "takers", "alone", 100_000, 1.1, 1.1, None),
    ("beside 1,000,000 timed leases / alone", "leases", "alone", 1_000_000, 1.2, 1.2, None),
    ("per item at 1,000,000 / at 1,000", "items", f"{FEW:,} items", 1_000_000, 1.5, 1.5, None),
    ("bytes of an available item / OrderedDict's", "memory", ORDERED, None, 1.0, 1.0, None),
    ("the cycle of *_nowait / asyncio.Queue's", "nowait_cycle", PLAIN, None, None, None, None),
    ("a put that waits for a slot / asyncio.Queue's", "full", PLAIN, None, None, None, None),
    ("put with a delay + discard / without", "delayed", "at once", None, None, None, None),
    ("put, ripen, get, ack / put, get, ack", "ripening", "at once", None, None, None, None),
]
FIGURES = [
    Figure(what, build, case, against, size, bar, pgo if build == COMPILED else None)
    for what, case, against, size, compiled_bar, pure_bar, pgo in _ROWS
    for build, bar in ((COMPILED, compiled_bar), (PURE, pure_bar))
]
