"""Random steps on a queue: it stays level with the model, and all of its API is used."""

from __future__ import annotations

from collections import Counter

from hypothesis.stateful import run_state_machine_as_test

from tests import subject
from tests.stateful.mirror import RARE, operations, used
from tests.stateful.queue_machine import QueueMachine


def test_queue(census: Counter[str]) -> None:
    run_state_machine_as_test(QueueMachine)
    managed = {"__aenter__", "__aexit__"}
    assert used(census, "queue") >= operations(subject.LeasedKeyQueue) | managed
    assert [state for state in RARE if not census[state]] == []
