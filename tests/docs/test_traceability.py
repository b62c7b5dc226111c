"""No rule without a proof and a test, no claim to a rule that is not there."""

from __future__ import annotations

from pathlib import Path

import pytest

from docs._ext import assurance, sources
from tools.record import Record, Step

RULES = assurance.rules()


def test_every_rule_is_tested() -> None:
    assert [rule for rule in RULES if not sources.tests().get(rule)] == []


def test_every_claim_is_to_a_known_rule() -> None:
    assert {rule: tests for rule, tests in sources.tests().items() if rule not in RULES} == {}


def test_every_rule_is_proved_or_says_why_not() -> None:
    assert [r.id for r in RULES.values() if bool(r.properties) == bool(r.beyond)] == []


def test_every_property_of_a_rule_is_checked_by_a_model() -> None:
    named = {(rule.id, name) for rule in RULES.values() for name in rule.properties}
    assert {(rule, name) for rule, name in named if name not in sources.spec_definitions()} == set()
    assert {(rule, name) for rule, name in named if name not in assurance.models()} == set()


def test_every_checked_property_proves_a_rule() -> None:
    """What the models check without need is a rule that is missing, or a waste.

    TypeOK is about the specification itself.
    """
    proving = {name for rule in RULES.values() for name in rule.properties}
    assert assurance.models().keys() - proving == {"TypeOK"}


def test_actions_are_those_of_the_specification() -> None:
    actions = assurance.spec_actions()
    assert [r.id for r in RULES.values() if not actions.issuperset(r.actions)] == []


def test_the_code_of_every_rule_is_there() -> None:
    code = {(rule.id, name) for rule in RULES.values() for name in rule.code}
    assert {(rule, name) for rule, name in code if name not in sources.definitions()} == set()
    assert all(rule.code for rule in RULES.values())


def test_every_rule_belongs_to_a_group() -> None:
    assert {rule.group for rule in RULES.values()} == assurance.groups().keys()


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
    'pytest.mark.req("NONE-1")'
"""


def test_claims_are_found_wherever_a_marker_may_stand() -> None:
    assert {test: sorted(claimed) for test, _, claimed in sources.claims_in(CLAIMS)} == {
        "test_one": ["ALL-1", "ONE-1", "ONE-2", "ONE-3"],
        "TestGroup::test_two": ["ALL-1", "GROUP-1", "TWO-1"],
        "test_three": ["ALL-1"],
    }


def test_the_record_of_the_deep_run_says_what_failed_and_what_was_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(assurance, "DEEP", tmp_path / "deep.toml")
    assert assurance.deep() == "No deep run has been recorded on this version yet."
    record = Record(assurance.DEEP)
    record.write(Step("crosshair", 0, 60, "8 passed"), "")
    record.write(Step("lint", 1, 60, "1 error"), "")
    about, *table, lacking = assurance.deep().splitlines()
    assert about.startswith("2 minutes of steps")
    assert [row.rpartition(" | ")[2] for row in table[3:5]] == [
        "8 passed |",
        "**failed**: 1 error |",
    ]
    assert "`deep-spec`, `mutants`" in lacking
    assert lacking.endswith("`bench`.")
    assert "crosshair" not in lacking
    assert "lint" not in lacking
