"""What the benchmarks found, as tables and bars that need no more than the page itself."""

from __future__ import annotations

import html
import json
from typing import Any

from docs._ext.sources import ROOT

ENGINE = ROOT / "docs" / "_static" / "bench" / "engine.json"
RESULTS = ROOT / "docs" / "_static" / "bench" / "results.json"
BUILDS = ("compiled", "pure")


def load() -> dict[str, Any]:
    content: dict[str, Any] = json.loads(RESULTS.read_text(encoding="utf-8"))
    return content


def version() -> str:
    """The Python that the page shows: the newest that was measured, as most have it."""
    return [name for name in map(str, load()["found"]) if "PGO" not in name][-1]


def figures() -> str:
    """The figures that the queue is held to; one that is missed says so."""
    found = load()
    rows: dict[str, dict[str, str]] = {}
    for figure in found["figures"]:
        measured, bar = figure["measured"].get(version()), figure["bar"]
        if measured is not None:
            missed = bar is not None and round(measured, 2) > bar
            cell = f"**missed: {measured:.2f}**" if missed else f"{measured:.2f}"
            cell += f" of {bar:.3g}" if bar is not None else ""
            rows.setdefault(figure["what"], {})[figure["build"]] = cell
    run = f"CPython {version()}, {found['date']}, commit `{found['commit'][:10]}`"
    lines = [
        f"{run}. What was measured, of what was to be reached at most.\n",
        "| what | " + " | ".join(BUILDS) + " |",
        "| --- " * (1 + len(BUILDS)) + "|",
    ]
    for what, cells in rows.items():
        lines.append(f"| {what} | " + " | ".join(cells.get(build, "") for build in BUILDS) + " |")
    return "\n".join(lines)


def engine() -> str:
    """What was measured of the queue on a server; a bar that is missed says so."""
    found = json.loads(ENGINE.read_text(encoding="utf-8"))
    run = f"CPython {found['python']}, {found['server']}, {found['date']}"
    lines = [
        f"{run}, commit `{found['commit'][:10]}`.\n",
        "| what | measured | bar | |",
        "| --- | --- | --- | --- |",
    ]
    for one in found["found"]:
        cell = f"**missed: {one['value']:g}**" if one["missed"] else f"{one['value']:g}"
        bar = f"{'at least' if one['at_least'] else 'at most'} {one['bar']:g}"
        lines.append(f"| {one['what']} | {cell} | {bar} | {one['note']} |")
    return "\n".join(lines)


def chart(case: str, against: str) -> str:
    """A bar for what a case is compared with, and for each thing that was found of it."""
    bars = {against: 1.0}
    for row in load()["found"][version()]:
        if (row["case"], row["against"]) == (case, against):
            size = f", {row['size']:,}" if row["size"] else ""
            bars[row["subject"] + size] = row["value"]
    longest = max(bars.values())
    lines = [
        f"<tr><th>{html.escape(name)}</th>"
        f'<td><div style="width:{100 * value / longest:.0f}%"></div></td>'
        f"<td>{value:.2f}</td></tr>"
        for name, value in bars.items()
    ]
    return f'<table class="bars">{"".join(lines)}</table>'
