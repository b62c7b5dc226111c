"""Pictures, laid out by Graphviz, of the things themselves: the table by which the machine works,
and the imports of the package."""

from __future__ import annotations

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

from docs._ext.sources import ROOT
from leasedkeyq._table import TABLE

PACKAGE = ROOT / "src" / "leasedkeyq"


def draw(dot: str, title: str) -> str:
    """A graph as a picture that can stand in a page and takes the page's colours."""
    command = [str(Path(sys.executable).with_name("graphviz-pure")), "-Tsvg"]
    look = "bgcolor=transparent; node [fontname=Arial]; edge [fontname=Arial]"
    graph = f'digraph "{title}" {{ {look}; {dot} }}'
    run = subprocess.run(command, input=graph, capture_output=True, text=True, check=True)
    return f'<div class="picture">{run.stdout[run.stdout.index("<svg") :]}</div>'


def life() -> str:
    """The life of a key; what leads back to the same state is left to the table."""
    ways: dict[tuple[str, str], list[str]] = {}
    for state, event, _, targets in cells():
        for target in targets:
            if target != state:
                ways.setdefault((state, target), []).append(event)
    lines = [
        f'{state} -> {target} [fontsize=11 label="{_together(events)}"]'
        for (state, target), events in ways.items()
    ]
    return "rankdir=TB; node [shape=box style=rounded]; " + "; ".join(lines)


def _together(events: list[str]) -> str:
    """The events of one arrow; the policies of put in one line."""
    policies = [event.removeprefix("put ") for event in events if event.startswith("put ")]
    others = [event for event in events if not event.startswith("put ")]
    put = "put" if len(policies) == 4 else f"put {', '.join(policies)}"
    return "\\n".join([put] * bool(policies) + others)


def cells() -> list[tuple[str, str, str, list[str]]]:
    """The table: state, event, effect, and the states that it can lead to."""
    names = {state: state.name for state in TABLE}
    found = []
    for state, moves in TABLE.items():
        for event, move in moves.items():
            targets = [names[to] for to in dict.fromkeys((move.next, move.later)) if to in names]
            found.append((state.name, event, move.effect.name, targets))
    return found


def life_table() -> str:
    lines = ["| state | event | effect | next |", "| --- | --- | --- | --- |"]
    lines += [
        f"| {state} | {event} | {effect.lower()} | {' or '.join(targets) or '–'} |"
        for state, event, effect, targets in cells()
    ]
    return "\n".join(lines)


def dotted(path: Path) -> str:
    """The name of a module, below that of the package."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and parts[1:] else parts)


def targets(path: Path, node: ast.ImportFrom) -> list[str]:
    """Which modules a relative import names."""
    folder = path.relative_to(PACKAGE).parts[: -node.level]
    names = [node.module] if node.module else [alias.name for alias in node.names]
    return [".".join([*folder, name]) for name in names]


@cache
def imports() -> dict[str, dict[str, bool]]:
    """Of each module those that it imports from the package, and whether for more than types."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        typing = [
            n for n in tree.body if isinstance(n, ast.If) and "TYPE_CHECKING" in ast.dump(n.test)
        ]
        only = {node for branch in typing for node in ast.walk(branch)}
        relative = [n for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and n.level]
        found[dotted(path)] = {to: n not in only for n in relative for to in targets(path, n)}
    return found


def modules() -> str:
    lines = ["node [shape=box style=rounded]"]
    files = {dotted(path): path for path in PACKAGE.rglob("*.py")}
    for name, needs in imports().items():
        number = len(files[name].read_text(encoding="utf-8").splitlines())
        lines.append(f'"{name}" [label="{name}\\n{number} lines"]')
        lines += [
            f'"{name}" -> "{to}" [style={"solid" if real else "dashed"}]'
            for to, real in needs.items()
        ]
    return "; ".join(lines)


PICTURES = {
    "life": (life, "The states of a key, and what leads from one to another"),
    "modules": (modules, "The modules of the package; an arrow leads to what is imported"),
}
