"""What the benchmarks found, as tables and bars that need no more than the page itself."""

from __future__ import annotations

import html
import json
from typing import Any

from docs._ext.sources import ROOT

RESULTS = ROOT / "docs" / "_static" / "bench" / "results.json"


def load() -> dict[str, Any]:
    content: dict[str, Any] = json.loads(RESULTS.read_text(encoding="utf-8"))
    return content


def version() -> str:
    """The Python that the page shows: the newest that was measured."""
    return list(load()["found"])[-1]


def figures() -> str:
    """The figures that the queue is held to; one that is missed says so."""
    found = load()
    lines = [f"| CPython {version()} | at most | measured | |", "| --- | ---: | ---: | --- |"]
    for figure in found["figures"]:
        measured = figure["measured"].get(version())
        if measured is None:
            continue
        verdict = "**missed**" if measured > figure["bar"] else "kept"
        lines.append(f"| {figure['what']} | {figure['bar']:.3g} | {measured:.3g} | {verdict} |")
    return "\n".join(lines)


def chart(case: str, against: str) -> str:
    """A bar for each subject of a case, or for each size if it was measured at several."""
    rows = [
        row
        for row in load()["found"][version()]
        if (row["case"], row["against"]) == (case, against)
        and (row["size"] is None or row["subject"] == "leasedkeyq")
    ]
    longest = max(row["value"] for row in rows)
    lines = [
        f"<tr><th>{html.escape(_label(row))}</th>"
        f'<td><div style="width:{100 * row["value"] / longest:.0f}%"></div></td>'
        f"<td>{row['value']:.2f}</td></tr>"
        for row in rows
    ]
    return f'<table class="bars">{"".join(lines)}</table>'


def _label(row: dict[str, Any]) -> str:
    return f"{row['size']:,}" if row["size"] else str(row["subject"])
