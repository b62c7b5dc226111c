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
    """The plots, as images within the page: for each case one a Python, beside or below another.

    So they are as narrow as a phone, and stand side by side where there is room.
    """
    content = load()
    if content is None:
        return ""
    drawn: dict[str, list[str]] = {}
    for version, of_version in content["found"].items():
        with tempfile.TemporaryDirectory() as folder:
            plots.draw({version: [Found(**found) for found in of_version]}, Path(folder))
            for path in sorted(Path(folder).glob("*.svg")):
                data = base64.b64encode(path.read_bytes()).decode()
                name = path.stem.replace("_", " ")
                drawn.setdefault(name, []).append(
                    f'<img alt="{name}, CPython {version}" src="data:image/svg+xml;base64,{data}"/>'
                )
    return "\n".join(
        f'<figure class="plots"><figcaption>{name}</figcaption>{"".join(images)}</figure>'
        for name, images in drawn.items()
    )
