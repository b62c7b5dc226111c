"""The machines are held against broken queues: each must be found out, and its notes must run."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

from tests.stateful.broken import BUGS, Bug, planted
from tests.subject import PACKAGE


def find(machine: type[RuleBasedStateMachine], package: Any) -> tuple[int, BaseException]:
    """Run a machine on a broken package: the steps it took, and what it found."""
    steps = 0

    class Counting(machine):  # type: ignore[valid-type, misc]
        def check_invariants(self, *arguments: Any, **options: Any) -> None:
            nonlocal steps
            steps += 1
            super().check_invariants(*arguments, **options)

    Counting.package = package
    # As in the default profile, but content with the first failure that comes.
    hasty = settings(phases=[Phase.generate], database=None, report_multiple_bugs=False)
    try:
        run_state_machine_as_test(Counting, settings=hasty)
    except AssertionError as failure:
        return steps, failure
    pytest.fail(f"{machine.__name__} has not found it in {steps} steps")


@pytest.fixture(autouse=True)
def swept() -> Iterator[None]:
    """What a broken queue leaves behind is not the next test's."""
    yield
    gc.collect()


def program(failure: BaseException) -> str:
    """What follows the first empty line of the message."""
    return str(failure).partition("\n\n")[2]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # broken indeed
@pytest.mark.parametrize("number", range(len(BUGS)), ids=[bug.what for bug in BUGS])
def test_broken(
    number: int, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    bug: Bug = BUGS[number]
    package = planted(bug, number, tmp_path)
    started = time.perf_counter()
    steps, failure = find(bug.machine, package)
    seconds = time.perf_counter() - started
    record_property("bug", f"{bug.what}|{bug.machine.__name__}|{steps:,}|{seconds:.1f}")

    steps_on_paper = program(failure)
    with pytest.raises(BaseException) as raised:  # noqa: PT011 (in whatever way it comes to light)
        exec(compile(steps_on_paper, "<failure>", "exec"), {"__name__": "failure"})
    assert raised.type is not SystemExit
    healthy = steps_on_paper.replace(package.PACKAGE, PACKAGE)
    with suppress(SystemExit):  # where the keys' own code runs at other times
        exec(compile(healthy, "<failure>", "exec"), {"__name__": "failure"})
