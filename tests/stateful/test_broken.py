"""Machines and schedules are held against broken queues, and must find each of them out.

The notes that a machine leaves of it must run.
"""

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
from tests.stateful.schedules import SCENARIOS, explore
from tests.subject import PACKAGE

# Each is a lost wake-up or a lost item in some order only.
LOSSES = [
    "put, then cancel the woken waiter: the item is lost [bpo-23812, tornado#2826]",
    "a call that is being cancelled is offered a copy [anyio#146, go#37852]",
    "a copy that comes back wakes no take",
    "a get with a long timeout hides a lease that runs out sooner [beanstalkd#174]",
    "only one of the calls that are served is woken",
    "a cancelled call stays in the queue [trio#548, aiohttp#9670]",
    "what the timer ends is told to nobody",
]


def find(machine: type[RuleBasedStateMachine], package: Any) -> tuple[int, BaseException]:
    """Run a machine on a broken package: the steps it took, and what it found."""
    steps = 0

    class Counting(machine):  # type: ignore[valid-type, misc]
        def check_invariants(self, *arguments: Any, **options: Any) -> None:
            nonlocal steps
            steps += 1
            super().check_invariants(*arguments, **options)

    Counting.package = package
    # As in the default profile, but the same steps every time, and the first failure will do.
    hasty = settings(
        phases=[Phase.generate], database=None, report_multiple_bugs=False, derandomize=True
    )
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


@pytest.mark.parametrize("what", LOSSES)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # broken indeed
def test_loss_is_found(what: str, tmp_path: Path) -> None:
    number = next(number for number, bug in enumerate(BUGS) if bug.what == what)
    package = planted(BUGS[number], 100 + number, tmp_path)
    found = []
    for name, scenario in SCENARIOS.items():
        try:
            explore(scenario, package)
        except AssertionError:
            found.append(name)
            break
    assert found, f"no schedule finds it: {what}"
