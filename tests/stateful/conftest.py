"""How long the machines run, and what they met.

pytest tests/stateful                              a minute or so
HYPOTHESIS_PROFILE=ci pytest tests/stateful        the same steps every time (as where CI is set)
make deep-stateful                                 a million steps
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator

import pytest
from hypothesis import HealthCheck, settings
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tests.stateful.mirror import CENSUS

# A slow machine is no failure, and neither is a rule that had nothing to work on.
_patient = settings(
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
settings.register_profile("default", _patient, max_examples=200, stateful_step_count=50)
settings.register_profile(
    "ci", _patient, max_examples=200, stateful_step_count=50, derandomize=True, database=None
)
settings.register_profile(
    "deep", _patient, max_examples=5_500, stateful_step_count=100, database=None
)
PROFILE = os.environ.get("HYPOTHESIS_PROFILE", "ci" if os.environ.get("CI") else "default")
settings.load_profile(PROFILE)


def pytest_itemcollected(item: pytest.Item) -> None:
    """Many steps are no hang, however busy the machine is."""
    if "stateful" in item.path.parts:
        item.add_marker(pytest.mark.timeout(0 if PROFILE == "deep" else 900))


@pytest.fixture
def census(record_property: Callable[[str, object], None]) -> Iterator[Counter[str]]:
    """What the machines did and met during a test, for the table at the end."""
    CENSUS.clear()
    yield CENSUS
    for what, times in CENSUS.items():
        record_property(f"census {what}", times)


# Tests record rows of these tables, with the fields divided by bars.
TABLES = {
    "bug": ("planted bug", "found by", "steps", "seconds"),
    "schedules": ("scenario", "schedules"),
    "cells": ("wrong cells of the table", "found"),
}


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what the tests recorded."""
    counted: Counter[str] = Counter()
    rows: dict[str, list[list[str]]] = {name: [] for name in TABLES}
    for report in [*terminalreporter.getreports("passed"), *terminalreporter.getreports("")]:
        if report.when != "teardown":
            continue  # the last report of a test has all that was recorded
        for name, value in report.user_properties:
            if name in TABLES:
                rows[name].append(escape(str(value)).split("|"))
            elif name.startswith("census "):
                counted[name.removeprefix("census ")] += int(str(value))
    console = Console(width=120)
    if counted:
        table = Table("what the machines did and met", "times")
        for what, times in sorted(counted.items()):
            table.add_row(what, f"{times:,}")
        console.print(table)
    for name, headings in TABLES.items():
        if rows[name]:
            table = Table(*headings)
            for row in sorted(rows[name]):
                table.add_row(*row)
            console.print(table)
    if rows["schedules"]:
        console.print(f"schedules played: {sum(int(row[1]) for row in rows['schedules']):,}")
