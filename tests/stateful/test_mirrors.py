"""Random steps: whatever is done, each stays level with the model, and all of it is used."""

from __future__ import annotations

from collections import Counter

from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from tests import subject
from tests.stateful.machine_mirror import MachineMirror
from tests.stateful.mirror import RARE, operations, used
from tests.stateful.parts_mirror import DeadlinesMirror, ListMirror
from tests.stateful.queue_mirror import QueueMirror


def fewer() -> settings:
    """For the parts, which have less to get into."""
    return settings(max_examples=settings().max_examples // 4)


def test_list(census: Counter[str]) -> None:
    run_state_machine_as_test(ListMirror, settings=fewer())
    assert used(census, "list") >= operations(subject.module("_linkedlist").LinkedList)
    assert census["list: refused"]


def test_deadlines(census: Counter[str]) -> None:
    run_state_machine_as_test(DeadlinesMirror, settings=fewer())
    assert used(census, "deadlines") >= operations(subject.module("_deadlines").Deadlines)


def test_machine(census: Counter[str]) -> None:
    run_state_machine_as_test(MachineMirror)
    assert used(census, "machine") >= operations(subject.module("_machine").Machine)
    assert [state for state in RARE if not census[state]] == []


def test_queue(census: Counter[str]) -> None:
    run_state_machine_as_test(QueueMirror)
    assert used(census, "queue") >= operations(subject.LeasedKeyQueue)
    assert [state for state in RARE if not census[state]] == []
