"""No rule without a proof and a test, no claim to a rule that is not there."""

from __future__ import annotations

import pytest

from docs._ext import traceability as trace

RULES = list(trace.rules().values())
each_rule = pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)


@each_rule
def test_rule_is_tested(rule: trace.Rule) -> None:
    assert trace.tests().get(rule.id), f"no test claims {rule.id}: {rule.text}"


@each_rule
def test_rule_is_proved_or_says_why_not(rule: trace.Rule) -> None:
    assert bool(rule.properties) != bool(rule.beyond), "name properties, or why there are none"


@each_rule
def test_properties_are_checked_by_a_model(rule: trace.Rule) -> None:
    for name in rule.properties:
        assert name in trace.spec_definitions(), f"the specification has no {name}"
        assert trace.models().get(name), f"no model checks {name}"


@each_rule
def test_actions_are_those_of_the_specification(rule: trace.Rule) -> None:
    assert set(rule.actions) <= trace.spec_actions()


@each_rule
def test_code_is_there(rule: trace.Rule) -> None:
    assert rule.code
    assert set(rule.code) <= trace.definitions().keys()


@each_rule
def test_rule_belongs_to_a_group(rule: trace.Rule) -> None:
    assert rule.group in trace.groups()


def test_every_claim_is_to_a_known_rule() -> None:
    unknown = {rule: tests for rule, tests in trace.tests().items() if rule not in trace.rules()}
    assert unknown == {}


def test_every_checked_property_proves_a_rule() -> None:
    """What the models check without need is a rule that is missing, or a waste.

    TypeOK is about the specification itself.
    """
    proving = {name for rule in RULES for name in rule.properties}
    assert trace.models().keys() - proving == {"TypeOK"}


CLAIMS = """
import pytest

pytestmark = [pytest.mark.slow, pytest.mark.req("ALL-1")]


@pytest.mark.req("ONE-1", "ONE-2")
@pytest.mark.parametrize("x", [pytest.param(1, marks=pytest.mark.req("ONE-3"))])
def test_one(x): ...


@pytest.mark.req("GROUP-1")
class TestGroup:
    @pytest.mark.req("TWO-1")
    async def test_two(self): ...


def test_three():
    '@pytest.mark.req("NONE-1")'
"""


def test_claims_are_found_wherever_a_marker_may_stand() -> None:
    assert {test: sorted(claimed) for test, claimed in trace.claims_in(CLAIMS)} == {
        "test_one": ["ALL-1", "ONE-1", "ONE-2", "ONE-3"],
        "TestGroup::test_two": ["ALL-1", "GROUP-1", "TWO-1"],
        "test_three": ["ALL-1"],
    }
