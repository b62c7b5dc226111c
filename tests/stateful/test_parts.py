"""Random steps on the parts: each stays level with its model, and all of it is used."""

from __future__ import annotations

from collections import Counter

from hypothesis.stateful import run_state_machine_as_test

from tests import subject
from tests.stateful.core_machine import CoreMachine
from tests.stateful.list_machine import DeadlinesMachine, ListMachine
from tests.stateful.mirror import operations, used


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
