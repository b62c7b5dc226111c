"""From each rule to what proves it, what carries it out and what tests it.

The rules are in ``docs/assurance/requirements.toml``. Everything that they are traced to is read
from its own source: properties and actions from the specification, the models that check them
from the ``*.cfg`` files beside it, definitions from the package, claims from the tests' markers.
"""

from __future__ import annotations

import ast
import csv
import re
import tomllib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from spec import mutants as changes
from spec import tlc

ROOT = Path(__file__).parents[2]
SPEC = ROOT / "spec"
RULES = ROOT / "docs" / "assurance" / "requirements.toml"


@dataclass(frozen=True)
class Rule:
    id: str
    text: str
    code: tuple[str, ...]
    properties: tuple[str, ...] = ()
    actions: tuple[str, ...] = ()
    beyond: str = ""

    @property
    def group(self) -> str:
        return self.id.rpartition("-")[0]


@cache
def groups() -> dict[str, str]:
    titles: dict[str, str] = tomllib.loads(RULES.read_text(encoding="utf-8"))["groups"]
    return titles


@cache
def rules() -> dict[str, Rule]:
    table = tomllib.loads(RULES.read_text(encoding="utf-8"))["rules"]
    return {
        name: Rule(
            id=name,
            text=row["text"],
            code=tuple(row["code"]),
            properties=tuple(row.get("properties", ())),
            actions=tuple(row.get("actions", ())),
            beyond=row.get("beyond", ""),
        )
        for name, row in table.items()
    }


@cache
def spec_definitions() -> dict[str, str]:
    """What the specification and its models define, each with the comment before it."""
    names = ["leasedkeyq.tla", "linkedlist.tla"]
    modules = [*(SPEC / name for name in names), *sorted(SPEC.glob("MC*.tla"))]
    text = "\n".join(module.read_text(encoding="utf-8") for module in modules)
    found = re.findall(r"((?:^\\\*.*\n)*)^(\w+)(?:\([^)]*\))? *==", text, re.MULTILINE)
    return {
        name: " ".join(line.removeprefix("\\*").strip() for line in comment.splitlines())
        for comment, name in found
    }


@cache
def spec_actions() -> frozenset[str]:
    """The names in the next-state relation."""
    text = (SPEC / "leasedkeyq.tla").read_text(encoding="utf-8")
    body = re.search(r"^Next == (.*?)\n\n", text, re.MULTILINE | re.DOTALL)
    assert body is not None
    return frozenset(re.findall(r"[A-Z]\w+", body[1])) & spec_definitions().keys()


@cache
def models() -> dict[str, tuple[str, ...]]:
    """The models that check each property.

    Those that are meant to fail prove nothing of the design, nor do those that only print, or
    that have not been searched to the end yet.
    """
    checked: dict[str, list[str]] = {}
    for model in tlc.manifest():
        if model.exit_code == tlc.HOLDS and model.module != "MCdump" and model.distinct:
            for name in _checked_by(model.text):
                checked.setdefault(name, []).append(model.name)
    return {name: tuple(names) for name, names in checked.items()}


def _checked_by(config: str) -> Iterator[str]:
    section = ""
    for word in re.findall(r"\S+", re.sub(r"\\\*.*", "", config)):
        if word.isupper():
            section = word
        elif section in {"INVARIANT", "INVARIANTS", "PROPERTY", "PROPERTIES"}:
            yield word


@cache
def definitions() -> dict[str, str]:
    """The classes, functions and methods of the package, and the file of each."""
    found = {}
    for path in sorted((ROOT / "src" / "leasedkeyq").glob("*.py")):
        for name in _defined(ast.parse(path.read_text(encoding="utf-8")).body, ""):
            found[name] = path.name
    return found


def _defined(body: list[ast.stmt], prefix: str) -> Iterator[str]:
    for node in body:
        if isinstance(node, ast.ClassDef):
            yield prefix + node.name
            yield from _defined(node.body, f"{prefix}{node.name}.")
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield prefix + node.name


@cache
def tests() -> dict[str, tuple[str, ...]]:
    """The tests that claim each rule, by their pytest ids (parameters left out)."""
    claims: dict[str, list[str]] = {}
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for test, claimed in claims_in(path.read_text(encoding="utf-8")):
            for rule in dict.fromkeys(claimed):
                claims.setdefault(rule, []).append(f"{path.relative_to(ROOT)}::{test}")
    return {rule: tuple(dict.fromkeys(ids)) for rule, ids in claims.items()}


def claims_in(source: str) -> Iterator[tuple[str, list[str]]]:
    """The functions of a test module, and the rules that each claims."""
    module = ast.parse(source)
    everywhere = [
        rule
        for node in module.body
        if isinstance(node, ast.Assign) and _is_pytestmark(node)
        for rule in _claimed(node.value)
    ]
    yield from _tests_in(module.body, everywhere)


def _is_pytestmark(node: ast.Assign) -> bool:
    return any(isinstance(t, ast.Name) and t.id == "pytestmark" for t in node.targets)


def _tests_in(body: list[ast.stmt], inherited: list[str]) -> Iterator[tuple[str, list[str]]]:
    for node in body:
        if isinstance(node, ast.ClassDef):
            own = inherited + [r for d in node.decorator_list for r in _claimed(d)]
            for name, claimed in _tests_in(node.body, own):
                yield f"{node.name}::{name}", claimed
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            # A state machine's rules and invariants may claim as well as its tests.
            yield node.name, inherited + [r for d in node.decorator_list for r in _claimed(d)]


def _claimed(node: ast.expr) -> list[str]:
    """The rules named in ``pytest.mark.req(...)`` anywhere in an expression."""
    return [
        argument.value
        for call in ast.walk(node)
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Attribute)
        and call.func.attr == "req"
        for argument in call.args
        if isinstance(argument, ast.Constant) and isinstance(argument.value, str)
    ]


# -- what the manual shows ---------------------------------------------------------------------


def _code(names: tuple[str, ...]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def requirements() -> str:
    """Every rule, with all that it is traced to."""
    lines: list[str] = []
    for group, title in groups().items():
        lines += [f"## {title}", ""]
        for rule in rules().values():
            if rule.group == group:
                lines += [*_rule(rule), ""]
    return "\n".join(lines)


def _rule(rule: Rule) -> list[str]:
    lines = [f"({rule.id})=", f"**{rule.id}** {rule.text}", ""]
    lines += [
        f"- proved by `{name}`, checked in {_code(models().get(name, ()))}"
        for name in rule.properties
    ]
    if rule.actions:
        lines.append(f"- speaks of the spec's {_code(rule.actions)}")
    if rule.beyond:
        lines.append(f"- not in the specification: {rule.beyond}")
    for file, names in _by(rule.code, lambda name: definitions()[name]).items():
        lines.append(f"- carried out in `{file}` by {_code(names)}")
    for file, ids in _by(tests().get(rule.id, ()), lambda test: test.partition("::")[0]).items():
        lines.append(f"- tested in `{file}` by")
        lines += [f"  - `{test.partition('::')[2]}`" for test in ids]
    return lines


def _by(names: Iterable[str], key: Callable[[str], str]) -> dict[str, tuple[str, ...]]:
    found: dict[str, list[str]] = {}
    for name in names:
        found.setdefault(key(name), []).append(name)
    return {group: tuple(members) for group, members in found.items()}


def matrix() -> str:
    """One line a rule."""
    lines = ["| rule | properties | models | tests |", "| --- | --- | --- | --- |"]
    for rule in rules().values():
        checked = {m for p in rule.properties for m in models().get(p, ())}
        lines.append(
            f"| [{rule.id}](#{rule.id}) | {_code(rule.properties) or '–'} "
            f"| {len(checked) or '–'} | {len(tests().get(rule.id, ()))} |"
        )
    return "\n".join(lines)


def summary() -> str:
    """The numbers behind the matrix."""
    proved = [rule for rule in rules().values() if rule.properties]
    claims = {test for claimed in tests().values() for test in claimed}
    used = {p for rule in proved for p in rule.properties}
    return (
        f"{len(rules())} rules. {len(proved)} are proved by {len(used)} properties of the"
        f" specification; the other {len(rules()) - len(proved)} concern what it does not model,"
        f" and each says why. {len(claims)} tests claim a rule, and every rule is claimed.\n"
    )


def properties() -> str:
    """The properties that the models check, in the specification's own words."""
    lines = ["| property | what it says |", "| --- | --- |"]
    words = ""
    for name, comment in spec_definitions().items():
        words = comment or words  # a comment may stand before the property's auxiliaries
        if name in models():
            if not words:
                raise LookupError(f"the specification has no sentence on {name}")
            text = re.sub(r"`(\w+)'", r"`\1`", re.sub(r"^\d+\. ", "", words))
            lines.append(f"| `{name}` | {text} |")
            words = ""
    return "\n".join(lines)


def evidence() -> str:
    """The models, with the numbers that a run must find again exactly."""
    lines = ["| model | what it says | distinct states | steps |", "| --- | --- | ---: | ---: |"]
    for model in tlc.manifest():
        numbers = f"{model.distinct:,} | {model.generated:,}"
        if model.exit_code != tlc.HOLDS:
            numbers = "must fail | "
        elif not model.distinct:
            numbers = "not searched yet | "
        lines.append(f"| `{model.name}` | {model.says} | {numbers} |")
    holding = [model for model in tlc.manifest() if model.exit_code == tlc.HOLDS]
    distinct = sum(model.distinct for model in holding)
    generated = sum(model.generated for model in holding)
    lines.append(f"| total | | {distinct:,} | {generated:,} |")
    return "\n".join(lines)


def mutants() -> str:
    """For each property how many mutants it kills, and one that it alone does."""
    killers = tomllib.loads(changes.KILLERS.read_text(encoding="utf-8"))
    kills = Counter(due for _, due in killers.values())
    lines = [
        "| property | pinned as the killer of | only killer of | in |",
        "| --- | ---: | --- | --- |",
    ]
    for due, (name, model, bounds) in changes.SOLE.items():
        told = name.replace("|", r"\|")
        where = "; ".join(f"`{part}`" for part in (model, *bounds.values()))
        lines.append(f"| `{due}` | {kills[due]} | `{told}` | {where} |")
    lines.append(f"| total | {kills.total()} | | |")
    return "\n".join(lines)


def recorded(file: str) -> list[dict[str, str]]:
    """The rows of a table that a check has written down."""
    with (ROOT / "tests" / file).open(encoding="utf-8", newline="") as table:
        return list(csv.DictReader(table))


def recorded_steps() -> str:
    rows = {row["what"]: row["how many"] for row in recorded("stateful/deep.csv")}
    return rows["steps: all"]


def recorded_mutants() -> str:
    rows = recorded("mutation/record.csv")
    made, found, listed = (
        sum(int(row[column]) for row in rows)
        for column in ("mutants", "found by the tests", "listed with a reason")
    )
    return f"{made:,}: {found:,} found by a test, {listed:,} that no caller can tell"


def totals() -> str:
    """How much evidence there is, and the command that reproduces it."""
    holding = [model for model in tlc.manifest() if model.exit_code == tlc.HOLDS]
    replayed = [model for model in holding if model.module == "MCdump"]
    searched = [model for model in holding if model.module != "MCdump" and not model.deep]
    deep = [model for model in holding if model.module != "MCdump" and model.deep]
    failing = [model for model in tlc.manifest() if model.exit_code != tlc.HOLDS]
    recorded = (ROOT / "tests" / "conformance" / "test_traces.py").read_text(encoding="utf-8")
    found = re.search(r"^RUNS, EVENTS = ([\d_]+), ([\d_]+)$", recorded, re.MULTILINE)
    assert found is not None
    runs, events = map(int, found.groups())
    coverage = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    least = coverage["tool"]["coverage"]["report"]["fail_under"]
    claims = {test for claimed in tests().values() for test in claimed}
    rows = [
        (
            "states of the design in which every property of their model holds",
            f"{sum(model.distinct for model in searched):,} in {len(searched)} models",
            "make spec",
        ),
        (
            "counterexamples found where a guarantee must fail",
            f"{len(failing)} models",
            "make spec",
        ),
        (
            "states of the design from which every step is carried out by the code",
            f"{sum(model.distinct for model in replayed):,} in {len(replayed)} models",
            "make conformance",
        ),
        (
            "recorded runs of the code that TLC must accept as the design's",
            f"{runs:,} runs, {events:,} events",
            "make conformance",
        ),
        (
            "changes to the design that a property must notice",
            f"{len(tomllib.loads(changes.KILLERS.read_text(encoding='utf-8')))}",
            "make spec-mutants",
        ),
        ("tests that claim a rule", f"{len(claims)}", "make test"),
        ("lines and branches run by the unit tests alone", f"{least} %", "make coverage"),
        ("random steps in one run, without a difference", recorded_steps(), "make stateful-deep"),
        ("changes to the code", recorded_mutants(), "make mutants"),
    ]
    if states := sum(model.distinct for model in deep):
        what, _, _ = rows[0]
        rows.insert(1, (what, f"{states:,} in a larger model", "make spec-deep"))
    lines = ["| evidence | how much | reproduce |", "| --- | --- | --- |"]
    lines += [f"| {what} | {amount} | `{command}` |" for what, amount, command in rows]
    return "\n".join(lines)


PARTS: dict[str, Callable[[], str]] = {
    "requirements": requirements,
    "matrix": matrix,
    "summary": summary,
    "properties": properties,
    "evidence": evidence,
    "mutants": mutants,
    "totals": totals,
}
