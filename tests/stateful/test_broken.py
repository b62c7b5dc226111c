"""Machines and schedules are held against broken queues, and must find each of them out.

The notes that a machine leaves of it must run.
"""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

from tests.stateful.broken import BUGS, Bug, pure
from tests.stateful.keys import Trouble
from tests.stateful.schedules import SCENARIOS, explore
from tests.subject import PACKAGE

# A lost wake-up or a lost item, in some orders only, and the scenario that must find it.
LOSSES = {
    "put, then cancel the woken waiter: lost [bpo-23812, tornado#2826]": "two waiters and a put",
    "a call that is leaving is offered a copy [anyio#146]": "double cancel",
    "a copy that comes back wakes no take": "release, defer and a waiting take",
    "a long wait hides a lease that runs out sooner [beanstalkd#174]": (
        "a short lease under a long wait"
    ),
    "only one of the calls that are served is woken": "hand-over and timeout",
    "a cancelled call stays in the queue [trio#548, aiohttp#9670]": (
        "a worker killed during a lease"
    ),
    "what the timer ends is told to nobody": "expiry and ack",
    "a slot is not passed on after a cancelled put": "a reserved slot and a cancelled put",
    "a ripened value is offered to nobody": "ripening against a cancelled get",
    "calls of a shut queue end too late": "shutdown against expiry",
    "drain forgets what is in flight, and so what is deferred": (
        "drain against a release with a delay"
    ),
}
# What a quick run does not find surely enough, or soon enough, or not with a program that shows it:
# a weakness of the machines.
TOO_RARE = {
    "shutdown lets puts go on that have a slot",
    "a second ack does not say that it is the second",
    "a key's own code may call the queue in the midst of a put",
    "an unlinked node keeps its neighbours",
}
# What the machines do not find in their 30,000 steps, and the unit test that does.
BY_UNIT = {
    "calls that time out together do so in any order": (
        "test_machine.py::test_waits_that_end_together_end_in_the_order_of_their_arrival"
    ),
    "a slot that is not needed after all is not passed on": (
        "test_bound.py::test_a_slot_that_is_not_needed_goes_to_the_next"
    ),
    "drain waits for what is delayed": (
        "test_end.py::test_drain_waits_until_nothing_is_in_the_line_deferred_or_in_flight"
    ),
    "an extension is told by the next operation only": "test_api.py",
}
# What takes the machines thousands of steps.
SLOW = {
    "a join that waits is not told of the end",
    "a take of a shut queue does not see that its key is gone",
    "a key that raises where a call put aside ends replaces what another came to (machine)",
    "a value that was put later is due later, too",
    "peek shows what it was before the leases ended that are due",
    "drain forgets what is in flight, and so what is deferred",
    "close loses what is delayed",
    "timeout=0 waits",
    "a queue that is dropped keeps its values",
    "calls of a shut queue end too late",
    "shutdown ends calls too soon",
    "leases that are due end in the order of the grants",
    "a value deferred without a delay waits as long as the failed one",
    "a delay postpones what is due sooner",
}
# A share is planted in each quick run, the rest in the deep one. (The cells of the table are all
# planted in each: test_life.py.)
QUICK = {bug.what for bug in BUGS[::5]} - SLOW - TOO_RARE
ALL = [
    pytest.param(bug, id=bug.what, marks=[] if bug.what in QUICK else [pytest.mark.deep])
    for bug in BUGS
    if bug.what not in BY_UNIT
]


def find(machine: type[RuleBasedStateMachine]) -> tuple[int, BaseException]:
    """Run a machine on the broken package: the steps it took, and what it found."""
    steps = 0

    class Counting(machine):  # type: ignore[valid-type, misc]
        def check_invariants(self, *arguments: object, **options: object) -> None:
            nonlocal steps
            steps += 1
            super().check_invariants(*arguments, **options)

    Counting.package = pure()
    # The same steps every time, and the first failure will do.
    hasty = settings(
        max_examples=600,
        stateful_step_count=50,
        phases=[Phase.generate],
        database=None,
        report_multiple_bugs=False,
        derandomize=True,
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
    Trouble.disarm()
    gc.collect()


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.what)
def test_every_bug_has_its_place(bug: Bug, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it overrides is still there."""
    bug.plant(monkeypatch)


def test_what_is_said_of_bugs_is_of_those_that_there_are() -> None:
    assert {*LOSSES, *TOO_RARE, *BY_UNIT, *SLOW} <= {bug.what for bug in BUGS}


def run(program: str) -> None:
    exec(compile(program, "<failure>", "exec"), {"__name__": "failure"})


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # broken indeed
@pytest.mark.parametrize("bug", ALL)
def test_broken(bug: Bug, record_property: Callable[[str, object], None]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        bug.plant(patch)
        started = time.perf_counter()
        steps, failure = find(bug.machine)
        seconds = time.perf_counter() - started
        record_property("bug", f"{bug.what}|{bug.machine.__name__}|{steps:,}|{seconds:.1f}")
        program = str(failure).partition("\n\n")[2]
        with pytest.raises(BaseException) as raised:  # noqa: PT011 (in whatever way it comes out)
            run(program)
        assert raised.type is not SystemExit or bug.what in TOO_RARE
    if "there is no order for that" in str(failure):
        return  # a program that has no other end
    with suppress(SystemExit):  # where the users' own code runs at other times
        run(program.replace(pure().PACKAGE, PACKAGE))


@pytest.mark.deep
@pytest.mark.parametrize(("what", "test"), BY_UNIT.items())
def test_found_by_a_unit_test(what: str, test: str) -> None:
    command = ["-m", "pytest", "-q", "-p", "tests.stateful.planted", f"tests/unit/{test}"]
    for planted in (what, ""):
        done = subprocess.run(
            [sys.executable, *(command if planted else [*command[:3], command[-1]])],
            cwd=Path(__file__).parents[2],
            env=os.environ | {"BUG": planted},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == bool(planted), done.stdout


@pytest.mark.parametrize(("what", "scenario"), LOSSES.items())
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # broken indeed
def test_loss_is_found(what: str, scenario: str, monkeypatch: pytest.MonkeyPatch) -> None:
    next(bug for bug in BUGS if bug.what == what).plant(monkeypatch)
    with pytest.raises(AssertionError, match="after: "):
        explore(SCENARIOS[scenario], pure())
