"""What the benchmarks found: drawn anew from their results whenever the manual is built."""

from __future__ import annotations

import base64
import json
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import plots
from benchmarks.registry import Found

RESULTS = Path(__file__).parents[1] / "_static" / "bench" / "results.json"


def load() -> dict[str, Any] | None:
    """The results of the last full run, if there was one."""
    if not RESULTS.exists():
        return None
    content: dict[str, Any] = json.loads(RESULTS.read_text(encoding="utf-8"))
    return content


def figures() -> str:
    """The figures that the queue is held to, and what was measured on each Python."""
    content = load()
    if content is None:
        return "This manual was built before the first full measurement."
    versions = list(content["found"])
    lines = [
        "| what | at most | " + " | ".join(versions) + " |",
        "| --- | ---: |" + " ---: |" * len(versions),
    ]
    for figure in content["figures"]:
        measured = [figure["measured"].get(version) for version in versions]
        cells = ["–" if value is None else f"{value:.3g}" for value in measured]
        lines.append(f"| {figure['what']} | {figure['bar']:.3g} | {' | '.join(cells)} |")
    return "\n".join(lines)


def pictures() -> str:
    """The plots, as images within the page."""
    content = load()
    if content is None:
        return ""
    results = {
        version: [Found(**found) for found in of_version]
        for version, of_version in content["found"].items()
    }
    with tempfile.TemporaryDirectory() as folder:
        plots.draw(results, Path(folder))
        drawn = sorted(Path(folder).glob("*.svg"))
        return "\n".join(
            f'<figure class="picture plot"><img alt="{path.stem.replace("_", " ")}" src="data:'
            f'image/svg+xml;base64,{base64.b64encode(path.read_bytes()).decode()}"/></figure>'
            for path in drawn
        )
