"""The reference is complete: each method with its errors, its cost and its place in the spec."""

from __future__ import annotations

import inspect
import re

import pytest

from docs._ext import assurance, sources
from tests import subject
from tests.docs.manual import DOCS

QUEUE = subject.LeasedKeyQueue
METHODS = [name for name in dir(QUEUE) if not name.startswith("_")]
NEVER_RAISE = {
    "available_items",
    "available_keys",
    "close",
    "delayed_keys",
    "delayed_size",
    "inflight_keys",
    "inflight_size",
    "qsize",
}
each_method = pytest.mark.parametrize("name", METHODS)


def doc(name: str) -> str:
    return inspect.getdoc(getattr(QUEUE, name)) or ""


def test_every_method_and_every_public_name_is_on_the_page() -> None:
    page = (DOCS / "reference.md").read_text(encoding="utf-8")
    directive = r"^\.\. auto\w+:: leasedkeyq\.(?:LeasedKeyQueue\.)?(\w+)$"
    shown = set(re.findall(directive, page, re.MULTILINE))
    public = {name for name in subject.__all__ if name not in {"PACKAGE", "module"}}
    assert shown == public | set(METHODS)
    assert len(METHODS) == 35


@each_method
def test_method_states_its_cost(name: str) -> None:
    assert re.search(r"\bO\([^)]+\)", doc(name))


@each_method
def test_method_states_its_errors(name: str) -> None:
    errors = re.search(r"Raises|Error|QueueFull|QueueEmpty", doc(name))
    refers = doc(name).startswith(f"`{name.removesuffix('_nowait')}`")  # to the coroutine's
    assert bool(errors or refers) != (name in NEVER_RAISE)


@each_method
def test_method_names_its_place_in_the_spec(name: str) -> None:
    (said,) = re.findall(r"Spec: (.*?)\.(?:\s|$)", doc(name).replace("\n", " "))
    named = set(re.findall(r"``(\w+)``", said))
    assert named or said.startswith("no action")
    assert named <= {*assurance.spec_actions(), *sources.spec_definitions()}
