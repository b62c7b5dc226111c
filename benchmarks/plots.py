"""The results as pictures, for the docs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure as Canvas

from .registry import Found
from .subjects import FLOOR, ORDERED, OURS, PLAIN, PUBLIC

Results = Mapping[str, Sequence[Found]]  # by Python version

COLOURS = {
    OURS: "#1f6feb",
    ORDERED: "#d97706",
    PUBLIC: "#b91c1c",
    PLAIN: "#6b7280",
    FLOOR: "#cbd5e1",
}
GROWTH = {
    "items": ("items in the queue", "time per item / at 1,000 items"),
    "takers": ("blocked takes of other keys", "cycle / cycle alone"),
    "getters": ("blocked gets", "hand-over / with one get"),
    "leases": ("live timed leases", "cycle / cycle alone"),
    "durations": ("different lease durations", "cycle / with one duration"),
    "expiry": ("leases that expire at once", "time per lease / with 1,000"),
    "cancellation": ("waiting gets", "one cancelled / the same with few"),
}
BARS = {
    "cycle": "put + get + ack / asyncio.Queue's put + get + task_done",
    "hand_over": "hand-over to a blocked get / asyncio.Queue's",
}
OPERATIONS = ("put + take + ack", "get + release", "put on an available key", "extend")
FOOTPRINT = (
    "an available item",
    "a live lease",
    "a live timed lease",
    "a waiting get and its task",
    "a waiting take and its task",
)
STALLS = ("p50", "p99", "p99.9", "worst")


def draw(results: Results, folder: Path) -> None:
    """Draw a picture for everything that was measured."""
    settings: Any = {
        "svg.hashsalt": "leasedkeyq",  # the same results give the same file
        "svg.fonttype": "none",
        "font.size": 9,
        "axes.spines.top": False,
        "axes.spines.right": False,
    }
    with mpl.rc_context(settings):
        for case, title in BARS.items():
            selected = [(subject, case, PLAIN, "times") for subject in COLOURS]
            bars(results, folder / f"{case}.svg", title, selected, by_subject=True)
        rows = [(OURS, case, PLAIN, "times") for case in OPERATIONS]
        rows += [(ORDERED, case, PLAIN, "times") for case in OPERATIONS]
        bars(results, folder / "operations.svg", "time / asyncio.Queue's cycle", rows)
        rows = [(name, what, "nothing", "bytes") for what in FOOTPRINT for name in COLOURS]
        bars(results, folder / "memory.svg", "bytes allocated", rows)
        rows = [(name, f"stall, {q}", "nothing", "ms") for q in STALLS for name in COLOURS]
        title = "how long the loop takes to go round under load, ms"
        bars(results, folder / "stalls.svg", title, rows)
        for case, (x_label, y_label) in GROWTH.items():
            lines(results, folder / f"{case}.svg", case, x_label, y_label)


def panels(results: Results, height: float) -> tuple[Canvas, Sequence[Any]]:
    """One panel for each Python, side by side, on one scale."""
    canvas = Canvas(figsize=(3.2 * len(results) + 1, height), layout="constrained")
    axes = canvas.subplots(1, len(results), sharex=True, sharey=True, squeeze=False)[0]
    for panel, version in zip(axes, results, strict=True):
        panel.set_title(f"CPython {version}")
    return canvas, axes


def save(canvas: Canvas, path: Path) -> None:
    canvas.savefig(path, metadata={"Date": None})
    # matplotlib ends some lines in blanks.
    text = path.read_text(encoding="utf-8")
    path.write_text("\n".join(line.rstrip() for line in text.splitlines()) + "\n", "utf-8")


def bars(
    results: Results,
    path: Path,
    title: str,
    selected: Sequence[tuple[str, str, str, str]],
    *,
    by_subject: bool = False,
) -> None:
    """A bar for each (subject, case, against, unit) that was found, with its quartiles."""
    found = {
        version: {(f.subject, f.case, f.against, f.unit): f for f in list_}
        for version, list_ in results.items()
    }
    rows = [row for row in selected if any(row in of_version for of_version in found.values())]
    if not rows:
        return
    canvas, axes = panels(results, 0.24 * len(rows) + 1.1)
    labels = [row[0] if by_subject else f"{row[1]}: {row[0]}" for row in rows]
    for panel, of_version in zip(axes, found.values(), strict=True):
        for place, row in enumerate(rows):
            if (bar := of_version.get(row)) is not None:
                spread = [[max(0, bar.value - bar.low)], [max(0, bar.high - bar.value)]]
                panel.barh(place, bar.value, xerr=spread, color=COLOURS[row[0]], height=0.7)
                panel.annotate(
                    f" {bar.value:,.3g}" if bar.value < 1000 else f" {bar.value:,.0f}",
                    (bar.high, place),
                    va="center",
                    fontsize=7,
                )
        panel.margins(x=0.18)
    axes[0].set_yticks(range(len(rows)), labels)
    axes[0].invert_yaxis()
    canvas.supxlabel(title, fontsize=9)
    save(canvas, path)


def lines(results: Results, path: Path, case: str, x_label: str, y_label: str) -> None:
    """A line for each subject over the sizes, and a band from quartile to quartile."""
    found = [f for of_version in results.values() for f in of_version if f.case == case]
    if not found:
        return
    canvas, axes = panels(results, 3.0)
    for panel, of_version in zip(axes, results.values(), strict=True):
        for subject, colour in COLOURS.items():
            points = [
                f
                for f in of_version
                if f.case == case and f.subject == subject and f.against not in COLOURS
            ]
            if points:
                sizes = [f.size for f in points]
                panel.plot(sizes, [f.value for f in points], "o-", color=colour, label=subject)
                low, high = [f.low for f in points], [f.high for f in points]
                panel.fill_between(sizes, low, high, color=colour, alpha=0.2, linewidth=0)
        panel.set_xscale("log")
        if max(f.value for f in found) > 4:
            panel.set_yscale("log")
        else:
            panel.set_ylim(bottom=0)
        panel.grid(visible=True, alpha=0.3)
    axes[0].set_ylabel(y_label)
    axes[-1].legend(frameon=False, fontsize=8)
    canvas.supxlabel(x_label, fontsize=9)
    save(canvas, path)
