"""Costs that are counted, so that an accidental O(n) or one allocation more turns this red.

What is counted, and how, is in cost.py, which runs in a process of its own. When a count
has changed and the change is meant: `make pin-costs`.
"""

import inspect
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.subject import LeasedKeyQueue
from tests.unit import cost

SMALL, LARGE = cost.SIZES
ROOT = Path(__file__).parents[2]
OPERATIONS = [*cost.OPERATIONS, *cost.HUNGRY, "a wait that runs out"]


@pytest.fixture(scope="module")
def measured() -> dict[str, Any]:
    """What a fresh process counts."""
    process = subprocess.run(
        [sys.executable, "-m", "tests.unit.cost"],
        check=True,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ | {"PYTHONHASHSEED": "0"},
    )
    result: dict[str, Any] = json.loads(process.stdout)
    return result


@pytest.mark.req("COST-1")
@pytest.mark.parametrize("operation", OPERATIONS)
def test_the_instructions_of_an_operation_do_not_grow(
    measured: dict[str, Any], operation: str
) -> None:
    """A hundred times the items, leases and waiting calls, and not one instruction more."""
    small, large = (measured["counts"][str(size)][operation] for size in cost.SIZES)
    assert small["instructions"] > 0
    assert small["instructions"] == large["instructions"]


@pytest.mark.req("COST-1", "COST-4")
@pytest.mark.parametrize("operation", OPERATIONS[:-1])
def test_the_memory_of_an_operation_does_not_grow(measured: dict[str, Any], operation: str) -> None:
    """Neither what it keeps, nor what it needs meanwhile, give or take an object or two.

    A copy of anything that is a thousand long would take eight thousand bytes.
    """
    small, large = (measured["counts"][str(size)][operation] for size in cost.SIZES)
    assert small["blocks"] == large["blocks"]
    assert large["peak"] <= small["peak"] + 256


@pytest.mark.req("COST-3")
def test_an_expiry_costs_the_same_for_each_lease(measured: dict[str, Any]) -> None:
    expiries = {int(number): count for number, count in measured["expiries"].items()}
    few, some, many = sorted(expiries)
    slope = (expiries[some] - expiries[few]) / (some - few)
    assert abs((expiries[many] - expiries[some]) / (many - some) - slope) < slope / 50


@pytest.mark.req("COST-2")
def test_the_instructions_hardly_grow_with_the_durations_in_use(measured: dict[str, Any]) -> None:
    """A heap is C code: what is left of O(log d) is nothing that could be counted here."""
    for operation, (few, many) in measured["durations"].items():
        assert many <= few + 100, operation


def test_every_method_that_does_not_list_keys_or_close_is_counted() -> None:
    methods = {name for name, _ in inspect.getmembers(LeasedKeyQueue, inspect.iscoroutinefunction)}
    public = {name for name in methods if not name.startswith("_")}
    counted = {name.split(",")[0].split()[0] for name in OPERATIONS}
    assert public - counted == {"available_keys", "inflight_keys", "close"}


# A version of Python that is not in the file yet has nothing to be compared with.
@pytest.mark.parametrize(
    "version", [version for version in cost.pinned() if version == cost.VERSION]
)
def test_the_counts_are_those_that_are_pinned(measured: dict[str, Any], version: str) -> None:
    counts = measured["counts"][str(SMALL)]
    now = {
        name: [count[what] for what in ("instructions", "blocks") if what in count]
        for name, count in counts.items()
    }
    assert now == cost.pinned()[version], "if it is meant: make pin-costs"


def test_some_version_is_pinned_with_every_operation() -> None:
    assert cost.pinned()
    for version, counts in cost.pinned().items():
        assert [*counts] == OPERATIONS, f"Python {version}: make pin-costs"


@pytest.mark.usefixtures("untraced")
def test_the_counters_count() -> None:
    """A list that grows is seen by each of them."""
    kept: list[object] = []
    # The interpreter takes a block for itself now and then, so it is the median that counts.
    assert statistics.median(cost.blocks(lambda: None) for _ in range(9)) == 0
    assert cost.blocks(lambda: kept.extend(object() for _ in range(1000))) >= 1000
    assert cost.instructions(lambda: kept.clear()) == 0
