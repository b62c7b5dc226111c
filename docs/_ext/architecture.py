"""Who imports whom, read from the sources."""

from __future__ import annotations

import ast
from pathlib import Path

from docs._ext import diagram

PACKAGE = Path(__file__).parents[2] / "src" / "leasedkeyq"


def imports() -> dict[str, list[str]]:
    """The modules of the package, and of each the modules that it needs to run."""
    found = {}
    for path in sorted(PACKAGE.glob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        found[path.stem] = [
            node.module
            for node in tree.body  # not those that only the type checker follows
            if isinstance(node, ast.ImportFrom) and node.level == 1 and node.module
        ]
    return found


def draw() -> str:
    graph = imports()
    states = [
        diagram.State(
            f"{name}.py",
            f"{len((PACKAGE / f'{name}.py').read_text(encoding='utf-8').splitlines())} lines",
            [
                diagram.Row(f"imports {needed}", "", f"{needed}.py")
                for needed in needs
                if (name, needed) in _reduce(graph)
            ],
        )
        for name, needs in sorted(graph.items(), key=lambda item: (-_depth(graph, item[0]), item))
    ]
    return diagram.draw("The modules of the package; a line leads to what is imported", states)


def _depth(graph: dict[str, list[str]], name: str) -> int:
    """The length of the longest chain of imports that begins here."""
    return max((1 + _depth(graph, needed) for needed in graph[name]), default=0)


def _reduce(graph: dict[str, list[str]]) -> set[tuple[str, str]]:
    """The imports that no chain of others implies: the picture needs no more."""

    def behind(name: str) -> set[str]:
        return set(graph[name]).union(*(behind(needed) for needed in graph[name]))

    return {
        (name, needed)
        for name, needs in graph.items()
        for needed in needs
        if not any(needed in behind(other) for other in needs if other != needed)
    }
