"""The sources as pages of the manual, so that every rule leads to what holds it, line by line."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Place:
    """Where something is defined."""

    path: str
    line: int
    comment: str = ""

    def link(self, text: str) -> str:
        return f"[{text}](source:{self.path}#L{self.line})"


def shown() -> list[Path]:
    """The files that the manual shows."""
    code = ("src/leasedkeyq/**/*.py", "src/leasedkeyq/**/*.lua", "spec/*.tla", "tests/**/*.py")
    patterns = (*code, "spec/*.toml", "docs/_static/bench/*.json", "docs/assurance/*.toml")
    return sorted({path for pattern in patterns for path in ROOT.glob(pattern)})


def _read(pattern: str) -> Iterator[tuple[str, str]]:
    for path in sorted(ROOT.glob(pattern)):
        yield str(path.relative_to(ROOT)), path.read_text(encoding="utf-8")


@cache
def definitions() -> dict[str, Place]:
    """The classes, functions and methods of the package."""
    paths = sorted((ROOT / "src" / "leasedkeyq").glob("*.py"))
    return {name: place for path in paths for name, place in _definitions_in(path).items()}


@cache
def _definitions_in(path: Path) -> dict[str, Place]:
    shown = str(path.relative_to(ROOT))
    body = ast.parse(path.read_text(encoding="utf-8")).body
    return {name: Place(shown, node.lineno) for name, node, _ in _defined(body, "", ".")}


def of_object(thing: object) -> Place | None:
    """A class, function or method of the package, by the module that it says that it is from."""
    module, name = getattr(thing, "__module__", ""), getattr(thing, "__qualname__", "")
    folder = ROOT.joinpath("src", *module.split("."))
    path = folder / "__init__.py" if folder.is_dir() else folder.with_suffix(".py")
    return _definitions_in(path).get(name) if path.is_file() else None


@cache
def spec_definitions() -> dict[str, Place]:
    """What the specification and its models define, each with the comment before it."""
    found = {}
    for path, text in _read("spec/*.tla"):
        for match in re.finditer(r"((?:^\\\*.*\n)*)^(\w+)(?:\([^)]*\))? *==", text, re.MULTILINE):
            comment = " ".join(re.findall(r"^\\\* ?(.*)$", match[1], re.MULTILINE))
            line = text.count("\n", 0, match.start(2)) + 1
            if match[2] not in found or path == "spec/leasedkeyq.tla":
                found[match[2]] = Place(path, line, comment)
    return found


@cache
def tests() -> dict[str, dict[str, Place]]:
    """The tests that claim each rule, by their pytest ids (parameters left out)."""
    claims: dict[str, dict[str, Place]] = {}
    for path, text in _read("tests/**/*.py"):
        for name, node, claimed in claims_in(text):
            for rule in claimed:
                claims.setdefault(rule, {})[f"{path}::{name}"] = Place(path, node.lineno)
    return claims


Definition = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def claims_in(source: str) -> Iterator[tuple[str, Definition, list[str]]]:
    """The functions of a module, and the rules that each claims with `pytest.mark.req`."""
    body = ast.parse(source).body
    marks = [node.value for node in body if isinstance(node, ast.Assign) and _is_mark(node)]
    for name, node, around in _defined(body, "", "::"):
        nodes = [*marks, *(mark for each in (*around, node) for mark in each.decorator_list)]
        if not isinstance(node, ast.ClassDef):
            yield name, node, [rule for mark in nodes for rule in _claimed(mark)]


def _is_mark(node: ast.Assign) -> bool:
    return any(isinstance(t, ast.Name) and t.id == "pytestmark" for t in node.targets)


def _defined(
    body: list[ast.stmt], prefix: str, dot: str, *around: ast.ClassDef
) -> Iterator[tuple[str, Definition, tuple[ast.ClassDef, ...]]]:
    for node in body:
        if isinstance(node, Definition):
            yield prefix + node.name, node, around
        if isinstance(node, ast.ClassDef):
            yield from _defined(node.body, f"{prefix}{node.name}{dot}", dot, *around, node)


def _claimed(node: ast.expr) -> list[str]:
    """The rules named in `pytest.mark.req(...)` anywhere in an expression."""
    return [
        argument.value
        for call in ast.walk(node)
        if isinstance(call, ast.Call) and getattr(call.func, "attr", "") == "req"
        for argument in call.args
        if isinstance(argument, ast.Constant) and isinstance(argument.value, str)
    ]
