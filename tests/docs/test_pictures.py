"""Pictures show what their sources say, all of it."""

from __future__ import annotations

import re
from pathlib import Path

from docs._ext import pictures
from tests.docs.manual import DOCS
from tests.subject import module


def test_every_move_that_leads_elsewhere_is_an_arrow() -> None:
    arrows = re.findall(r'(\w+) -> (\w+) \[fontsize=11 label="(.*?)"\]', pictures.life())
    drawn = set()
    for state, target, label in arrows:
        for line in label.split("\\n"):
            events = [line]
            if line.startswith("put"):
                policies = line.removeprefix("put").strip() or "update, reject, buffer, defer"
                events = [f"put {policy}" for policy in policies.split(", ")]
            drawn |= {(state, event, target) for event in events}
    assert drawn == {
        (state.name, event, target.name)
        for state, moves in module("_table").TABLE.items()
        for event, move in moves.items()
        for target in (move.next, move.later)
        if target not in {state, None}
    }


def test_the_folded_table_has_every_cell() -> None:
    rows = pictures.life_table().splitlines()[2:]
    assert len(rows) == sum(len(moves) for moves in module("_table").TABLE.values())


def files() -> list[Path]:
    return sorted(pictures.PACKAGE.rglob("*.py"))


def test_the_architecture_shows_every_module_and_every_import() -> None:
    names = {path: path.relative_to(pictures.PACKAGE).as_posix() for path in files()}
    modules = {path: re.sub(r"(/__init__)?\.py$", "", name) for path, name in names.items()}
    drawn = set(re.findall(r'"([\w.]+)" -> "([\w.]+)"', pictures.modules()))
    named = set()
    for path, name in modules.items():
        source = path.read_text("utf-8")
        found = re.findall(r"^ *from (\.+)([\w.]+) import", source, re.MULTILINE)
        found += re.findall(r"^ *from (\.+) import (\w+)(?:  #.*)?$", source, re.MULTILINE)
        assert len(found) == len(re.findall(r"^ *from \.", source, re.MULTILINE)), path
        for dots, imported in found:
            folder = path.parents[len(dots) - 1] / imported.replace(".", "/")
            file = folder / "__init__.py" if folder.is_dir() else folder.with_suffix(".py")
            named.add((name.replace("/", "."), modules[file].replace("/", ".")))
    assert named == drawn
    page = (DOCS / "architecture.md").read_text(encoding="utf-8")
    explained = set(re.findall(r"^\| `([\w.]+)` \|", page, re.MULTILINE))
    packages = {"__init__", "engine"}  # which hold nothing
    assert explained == {name.replace("/", ".") for name in modules.values()} - packages


def test_the_machine_knows_no_asyncio() -> None:
    """What the architecture page says of it."""
    seen, left = set(), {"_machine"}
    while left:
        name = left.pop()
        seen.add(name)
        left |= set(pictures.imports()[name]) - seen
        source = (pictures.PACKAGE / f"{name}.py").read_text(encoding="utf-8")
        assert not re.search(r"^\s*(import|from) (asyncio|time)", source, re.MULTILINE), name
