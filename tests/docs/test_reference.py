"""The reference is complete: each method with its errors, its cost and its place in the spec."""

from __future__ import annotations

import inspect
import re

import pytest

from docs._ext import traceability
from tests import subject
from tests.docs.manual import DOCS

METHODS = [
    name
    for name, method in vars(subject.LeasedKeyQueue).items()
    if inspect.iscoroutinefunction(method) and not name.startswith("_")
]
NEVER_RAISE = {
    "available_keys",
    "inflight_keys",
    "qsize",
    "inflight_size",
    "close",
}
each_method = pytest.mark.parametrize("name", METHODS)


def doc(name: str) -> str:
    return inspect.getdoc(getattr(subject.LeasedKeyQueue, name)) or ""


def test_every_method_and_every_public_name_is_on_the_page() -> None:
    page = (DOCS / "reference.md").read_text(encoding="utf-8")
    shown = set(re.findall(r"auto\w+:: leasedkeyq\.(?:LeasedKeyQueue\.)?(\w+)", page))
    public = {name for name in subject.__all__ if name not in {"PACKAGE", "module"}}
    assert shown == public | set(METHODS)
    assert len(METHODS) == 14


@each_method
def test_method_states_its_cost(name: str) -> None:
    assert re.search(r"\bO\([^)]+\)", doc(name))


@each_method
def test_method_states_its_errors(name: str) -> None:
    assert ("Raises" in doc(name)) != (name in NEVER_RAISE)


@each_method
def test_method_names_its_place_in_the_spec(name: str) -> None:
    (said,) = re.findall(r"Spec: (.*?)\.", doc(name).replace("\n", " "))
    if said == "no action":
        assert name == "start"
        return
    named = set(re.findall(r"``(\w+)``", said))
    assert named
    assert named <= {*traceability.spec_actions(), *traceability.spec_definitions()}
