"""The queue keeps its word in every order of steps, and a broken one is found out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.stateful.broken import BUGS, planted
from tests.stateful.schedules import SCENARIOS, explore

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


@pytest.mark.parametrize("name", SCENARIOS)
def test_every_schedule(name: str, record_property: Callable[[str, object], None]) -> None:
    played = explore(SCENARIOS[name])
    assert played > 1
    record_property("schedules", f"{name}|{played}")


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
