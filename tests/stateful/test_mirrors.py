"""Random steps: whatever is done, each stays level with the model, and all of it is used."""

from __future__ import annotations

import gc
from collections import Counter

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from tests import subject
from tests.stateful.deadlines_mirror import DeadlinesMirror
from tests.stateful.machine_mirror import MachineMirror
from tests.stateful.mirror import RARE, Mirror, operations, used
from tests.stateful.queue_mirror import QueueMirror


def assert_deep(census: Counter[str]) -> None:
    """A deep run takes its steps, and meets every rare state; a quick one prints what it met."""
    if settings().max_examples > 1_000:
        assert sum(times for what, times in census.items() if what.startswith("steps: ")) > 500_000
        assert [state for state in RARE if not census[state]] == []


def test_deadlines(census: Counter[str]) -> None:
    fewer = settings(max_examples=settings().max_examples // 4)  # it has less to get into
    run_state_machine_as_test(DeadlinesMirror, settings=fewer)
    assert used(census, "deadlines") >= operations(subject.module("_deadlines").Deadlines)


def test_machine(census: Counter[str]) -> None:
    run_state_machine_as_test(MachineMirror)
    assert used(census, "machine") >= operations(subject.module("_machine").Machine)
    assert_deep(census)


# Made of the others, and held to what they promise in tests/jobs and tests/unit.
ELSEWHERE = {"job", "get_many", "ack_many", "superseded_nowait", "deadline_nowait"}


def test_queue(census: Counter[str]) -> None:
    run_state_machine_as_test(QueueMirror)
    assert used(census, "queue") >= operations(subject.LeasedKeyQueue) - ELSEWHERE
    assert_deep(census)


@pytest.mark.parametrize("machine", [MachineMirror, QueueMirror])
def test_in_a_run_the_collector_has_no_turn(machine: type[Mirror]) -> None:
    """It would end the values of earlier runs, here and there, and no failure could be repeated."""
    turns: list[bool] = []

    class Watched(machine):  # type: ignore[valid-type, misc]
        def check_invariants(self, *arguments: object, **options: object) -> None:
            turns.append(gc.isenabled())
            super().check_invariants(*arguments, **options)

    run_state_machine_as_test(Watched, settings=settings(max_examples=3, database=None))
    assert turns
    assert not any(turns)
    assert gc.isenabled()
