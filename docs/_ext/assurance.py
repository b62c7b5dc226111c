"""From each rule to what proves it, what carries it out and what tests it.

The rules are in ``docs/assurance/requirements.toml``; what they are traced to is read from its own
source. The parts of the assurance case that follow from it are written here, as Markdown.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from docs._ext.sources import ROOT, Place, definitions, spec_definitions, tests
from spec import tlc

RULES = ROOT / "docs" / "assurance" / "requirements.toml"
DEEP = ROOT / "docs" / "assurance" / "deep.toml"


@dataclass(frozen=True)
class Rule:
    id: str
    text: str
    code: Sequence[str]
    properties: Sequence[str] = ()
    actions: Sequence[str] = ()
    beyond: str = ""

    @property
    def group(self) -> str:
        return self.id.rpartition("-")[0]


def _load(path: Path) -> dict[str, Any]:
    return tomllib.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


@cache
def groups() -> dict[str, str]:
    titles: dict[str, str] = _load(RULES)["groups"]
    return titles


@cache
def rules() -> dict[str, Rule]:
    table: dict[str, dict[str, Any]] = _load(RULES)["rules"]
    return {name: Rule(name, **row) for name, row in table.items()}


@cache
def spec_actions() -> frozenset[str]:
    """The names in the next-state relation."""
    text = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "spec").glob("*.tla"))
    bodies = re.findall(r"^Next == (.*?)\n\n", text, re.MULTILINE | re.DOTALL)
    return frozenset(re.findall(r"[A-Z]\w+", " ".join(bodies))) & spec_definitions().keys()


@cache
def models() -> dict[str, list[str]]:
    """The models that check each property, and hold."""
    checked: dict[str, list[str]] = {}
    for model in tlc.manifest():
        if model.exit_code == tlc.HOLDS and model.distinct:
            for name in model.checked("invariants") + model.checked("properties"):
                checked.setdefault(name, []).append(model.name)
    return checked


# -- what the manual shows ---------------------------------------------------------------------


def _links(places: Mapping[str, Place]) -> str:
    return ", ".join(place.link(f"`{name}`") for name, place in places.items())


def _cell(text: str) -> str:
    return text.replace("|", "&#124;")


def rule_text(rule: Rule) -> str:
    """A rule, with all that it is traced to but its tests."""
    lines = [f"({rule.id})=", f"**{rule.id}** {rule.text}", ""]
    spec = spec_definitions()
    if rule.properties:
        lines.append(f"- proved by {_links({name: spec[name] for name in rule.properties})}")
    if rule.actions:
        lines.append(f"- speaks of {_links({name: spec[name] for name in rule.actions})}")
    if rule.beyond:
        lines.append(f"- not in the specification: {rule.beyond}")
    lines.append(f"- carried out by {_links({name: definitions()[name] for name in rule.code})}")
    return "\n".join(lines)


def rule_tests(rule: Rule) -> str:
    """The tests that claim a rule, file by file."""
    files: dict[str, dict[str, Place]] = {}
    for test, place in tests().get(rule.id, {}).items():
        files.setdefault(place.path, {})[test.partition("::")[2]] = place
    return "\n".join(f"- `{path}`: {_links(places)}" for path, places in files.items())


def properties() -> str:
    """The properties that the models check, in the specification's own words."""
    lines = ["| property | what it says |", "| --- | --- |"]
    words = ""
    for name, place in spec_definitions().items():
        words = place.comment or words  # a comment may stand before the property's auxiliaries
        if name in models():
            text = re.sub(r"`(\w+)'", r"`\1`", re.sub(r"^\d+\. ", "", words))
            lines.append(f"| {place.link(f'`{name}`')} | {_cell(text)} |")
            words = ""
    return "\n".join(lines)


def evidence() -> str:
    """The models, with the numbers that a run must find again exactly."""
    lines = ["| model | what it says | distinct states |", "| --- | --- | ---: |"]
    for model in tlc.manifest():
        holds = model.exit_code == tlc.HOLDS
        number = f"{model.distinct:,}" if holds else "must fail"
        lines.append(f"| `{model.name}` | {model.says} | {number} |")
    total = sum(model.distinct for model in tlc.manifest() if model.exit_code == tlc.HOLDS)
    lines.append(f"| total | | {total:,} |")
    return "\n".join(lines)


def totals() -> str:
    """How much there is, and the command that reproduces it."""
    models = [model for model in tlc.manifest() if model.exit_code == tlc.HOLDS and model.distinct]
    failing = [model for model in tlc.manifest() if model.exit_code != tlc.HOLDS]
    proved = [rule for rule in rules().values() if rule.properties]
    claims = {test for claimed in tests().values() for test in claimed}
    states = f"{sum(model.distinct for model in models):,} in {len(models)} models"
    rows = [
        ("states of the design in which every property of their model holds", states, "spec"),
        ("models in which a guarantee must fail, and does", len(failing), "spec"),
        ("rules, each with its code and tests", len(rules()), "test"),
        ("of them proved by properties of the specification", len(proved), "spec"),
        ("tests that claim a rule", len(claims), "test"),
    ]
    lines = ["| evidence | how much | reproduce |", "| --- | --- | --- |"]
    lines += [f"| {what} | {amount} | `make {command}` |" for what, amount, command in rows]
    return "\n".join(lines)


def deep() -> str:
    """The last run of each deep step, as it was written down."""
    if not (steps := _load(DEEP).get("step")):
        return "No deep run has been recorded on this version yet."
    machines = "; ".join(dict.fromkeys(step["machine"] for step in steps))
    minutes = round(sum(step["seconds"] for step in steps) / 60)
    record = "[record](source:docs/assurance/deep.toml)"
    lines = [
        f"{minutes} minutes of steps, of which two ran at a time, on {machines} ({record}).\n",
        "| step | seconds | when and on what | what it said |",
        "| --- | ---: | --- | --- |",
    ]
    for step in steps:
        commit = f"`{step['commit'][:7]}`" + ", changed since" * step["changed"]
        verdict = "" if step["passed"] else "**failed**: "
        said = verdict + _cell(step["said"])
        lines.append(
            f"| {step['target']} | {step['seconds']:,} | {step['date']} {commit} | {said} |"
        )
    makefile = (ROOT / "Makefile").read_text().replace("\\\n", " ")
    (wanted,) = re.findall(r"^DEEP_STEPS := (.*)", makefile, re.MULTILINE)
    done = {step["target"] for step in steps}
    if lacking := [name for name in [*wanted.split(), "bench"] if name not in done]:
        lines.append(f"\nNot recorded yet: {', '.join(f'`{name}`' for name in lacking)}.")
    return "\n".join(lines)


PARTS: dict[str, Callable[[], str]] = {
    part.__name__: part for part in (properties, evidence, totals, deep)
}
