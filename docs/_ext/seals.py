"""A rule is sealed together with what holds it, so that neither changes without the other.

    python -m docs._ext.seals    seal every rule anew, and name those that had changed (make seal)

The seal of a rule is a fingerprint of its text, of its properties and actions in the
specification with all that these are defined by, and of the tests that claim it if the
specification is silent on it. When one of them changes, the seal no longer fits: somebody has to
read the rule again before it is sealed anew. Layout is no part of a seal.
"""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterable, Iterator
from functools import cache
from hashlib import sha256

from docs._ext import traceability as trace

SEALS = trace.ROOT / "docs" / "assurance" / "seals.toml"
HEAD = "# Which wording of each rule goes with which proof and tests. Written by `make seal`.\n\n"


def without_comments(module: str) -> str:
    """A TLA+ module without its comments."""
    return re.sub(r"\(\*.*?\*\)|\\\*.*?$", "", module, flags=re.MULTILINE | re.DOTALL)


def spec_bodies(modules: Iterable[str]) -> dict[str, str]:
    """Each definition of the modules, on one line; the first of a name counts."""
    found: dict[str, str] = {}
    for module in modules:
        pieces = re.split(r"^(?=\w+(?:\([^)]*\))? *==)|^-{4,}|^={4,}", module, flags=re.MULTILINE)
        for piece in pieces:
            if head := re.match(r"\w+(?=(?:\([^)]*\))? *==)", piece):
                found.setdefault(head[0], " ".join(piece.split()))
    return found


@cache
def _spec() -> dict[str, str]:
    modules = ["leasedkeyq.tla", "linkedlist.tla", "MCpolicies.tla"]
    return spec_bodies(without_comments((trace.SPEC / name).read_text()) for name in modules)


def closure(names: Iterable[str], bodies: dict[str, str]) -> Iterator[str]:
    """The definitions of the names, and of all that these are defined by."""
    wanted, seen = sorted(names), set[str]()
    while wanted:
        name = wanted.pop()
        if name in bodies and name not in seen:
            seen.add(name)
            wanted += re.findall(r"\w+", bodies[name])
    return (bodies[name] for name in sorted(seen))


@cache
def _tests_in(file: str) -> dict[str, str]:
    """The source of the functions of a test file, decorators included, by their pytest ids."""
    found: dict[str, str] = {}
    source = (trace.ROOT / file).read_text(encoding="utf-8")
    lines = source.splitlines()

    def walk(body: list[ast.stmt], prefix: str) -> None:
        for node in body:
            if isinstance(node, ast.ClassDef):
                walk(node.body, f"{prefix}::{node.name}")
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                first = min([node.lineno, *(part.lineno for part in node.decorator_list)])
                text = "\n".join(lines[first - 1 : node.end_lineno])
                found[f"{prefix}::{node.name}"] = " ".join(text.split())

    walk(ast.parse(source).body, file)
    return found


def seal(rule: trace.Rule) -> str:
    """The fingerprint of a rule and of what holds it, as they are now."""
    parts = [rule.text, *closure((*rule.properties, *rule.actions), _spec())]
    if rule.beyond:
        tests = trace.tests().get(rule.id, ())
        parts += sorted(_tests_in(test.partition("::")[0])[test] for test in tests)
    return sha256("\n".join(parts).encode()).hexdigest()[:16]


def sealed() -> dict[str, str]:
    """The seals as they were last written."""
    return tomllib.loads(SEALS.read_text(encoding="utf-8")) if SEALS.exists() else {}


def main() -> None:
    old, new = sealed(), {rule.id: seal(rule) for rule in trace.rules().values()}
    for name, text in ((rule.id, rule.text) for rule in trace.rules().values()):
        if old.get(name) != new[name]:
            print(f"{name}: {text}")
    SEALS.write_text(HEAD + "".join(f'{name} = "{value}"\n' for name, value in new.items()))


if __name__ == "__main__":
    main()
