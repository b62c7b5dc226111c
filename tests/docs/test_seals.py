"""No rule changes without what holds it, and nothing that holds a rule without the rule."""

from __future__ import annotations

from dataclasses import replace

import pytest

from docs._ext import seals
from docs._ext import traceability as trace

RULES = list(trace.rules().values())


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_rule_is_sealed(rule: trace.Rule) -> None:
    assert seals.sealed().get(rule.id) == seals.seal(rule), (
        f"{rule.id}, or what proves or tests it, has changed. Its text is: {rule.text!r}"
        " Is that still what the queue does? If so, run `make seal`; if not, change the rule."
    )


def test_no_seal_is_left_of_a_rule_that_has_gone() -> None:
    assert seals.sealed().keys() == trace.rules().keys()


MODULE = r"""
\* What it does.
Get(c) ==
    /\ open
    /\ Move(c, "head")  \* first in

Move(c, place) == line' = Without(line, place)

----
(* Nothing of this
Hidden == TRUE
*)
FirstIn == [][\A c \in Calls : Get(c) => TRUE]_vars
====
"""


def told(module: str, *names: str) -> list[str]:
    return [*seals.closure(names, seals.spec_bodies([seals.without_comments(module)]))]


def test_a_definition_is_told_with_all_that_it_rests_on() -> None:
    assert told(MODULE, "FirstIn") == [
        r"FirstIn == [][\A c \in Calls : Get(c) => TRUE]_vars",
        r'Get(c) == /\ open /\ Move(c, "head")',
        r"Move(c, place) == line' = Without(line, place)",
    ]
    assert told(MODULE, "Hidden") == []


def test_comments_and_layout_are_no_part_of_it() -> None:
    other = MODULE.replace("first in", "whoever").replace("\n    /\\", "\n  /\\")
    assert told(other, "FirstIn") == told(MODULE, "FirstIn")


def test_a_change_far_below_is_part_of_it() -> None:
    other = MODULE.replace("Without(line, place)", "line")
    assert told(other, "FirstIn") != told(MODULE, "FirstIn")


@pytest.mark.parametrize("rule", [trace.rules()["LINE-3"], trace.rules()["IN-1"]])
def test_another_wording_breaks_the_seal(rule: trace.Rule) -> None:
    assert seals.seal(replace(rule, text=rule.text + " Or not.")) != seals.seal(rule)


def test_another_test_breaks_the_seal_of_a_rule_that_only_tests_hold() -> None:
    rule = trace.rules()["IN-1"]
    assert rule.beyond
    assert seals.seal(rule) != seals.seal(replace(rule, beyond=""))
