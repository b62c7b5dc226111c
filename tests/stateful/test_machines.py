"""Random steps: every machine stays level with its model, and uses all there is to use."""

from __future__ import annotations

import inspect
from collections import Counter
from typing import Any

from hypothesis.stateful import run_state_machine_as_test

from tests import subject
from tests.stateful.core_machine import CoreMachine
from tests.stateful.list_machine import DeadlinesMachine, ListMachine
from tests.stateful.mirror import RARE
from tests.stateful.queue_machine import QueueMachine

# Not part of the meaning of a queue: what it remembers, and what proof needs.
NO_OPERATIONS = {"check_invariants", "dump"}


def operations(of: type[Any]) -> set[str]:
    """The public methods of a class."""
    methods = inspect.getmembers(of, inspect.isroutine)
    return {name for name, _ in methods if not name.startswith("_")} - NO_OPERATIONS


def used(census: Counter[str], kind: str) -> set[str]:
    return {name.removeprefix(f"{kind}: ") for name in census if name.startswith(f"{kind}: ")}


def test_list(census: Counter[str]) -> None:
    run_state_machine_as_test(ListMachine)
    assert used(census, "list") >= operations(subject.module("_linkedlist").LinkedList)
    assert census["list: refused"]


def test_deadlines(census: Counter[str]) -> None:
    run_state_machine_as_test(DeadlinesMachine)
    assert used(census, "deadlines") >= operations(subject.module("_deadlines").Deadlines)


def test_core(census: Counter[str]) -> None:
    run_state_machine_as_test(CoreMachine)
    assert used(census, "core") >= operations(subject.module("_core").Core)


def test_queue(census: Counter[str]) -> None:
    run_state_machine_as_test(QueueMachine)
    managed = {"__aenter__", "__aexit__"}
    assert used(census, "queue") >= operations(subject.LeasedKeyQueue) | managed
    assert [state for state in RARE if not census[state]] == []
