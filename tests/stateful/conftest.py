"""How long the machines run, and what they met.

pytest tests/stateful                              a minute or so
HYPOTHESIS_PROFILE=ci pytest tests/stateful        the same steps every time (as where CI is set)
make stateful-deep                                 a million steps, and every planted bug
"""

from __future__ import annotations

import csv
import os
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic

import pytest
from hypothesis import HealthCheck, settings
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tests.stateful.mirror import CENSUS, RARE

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
    "deep", _patient, max_examples=3_000, stateful_step_count=100, database=None
)
PROFILE = os.environ.get("HYPOTHESIS_PROFILE", "ci" if os.environ.get("CI") else "default")
settings.load_profile(PROFILE)
DEEP = Path(__file__).with_name("deep.csv")
STARTED = monotonic()


def pytest_itemcollected(item: pytest.Item) -> None:
    """Many steps are no hang, however busy the machine is."""
    if "stateful" in item.path.parts:
        item.add_marker(pytest.mark.timeout(900))


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
    if PROFILE == "deep" and not terminalreporter.getreports("failed"):
        record(counted, terminalreporter.config.getoption("hypothesis_seed"))
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


def record(counted: Counter[str], seed: object) -> None:
    """The record of a clean run of the deep profile, if it was a whole one."""
    steps = {name: n for name, n in counted.items() if name.startswith("steps: ")}
    if sum(steps.values()) < 1_000_000:
        return
    rare = {state: counted[state] for state in RARE}
    rows = {
        "command": f"make stateful-deep SEED={seed}",
        "examples of each machine": settings().max_examples,
        **steps,
        "steps: all": sum(steps.values()),
        **rare,
        "seconds": round(monotonic() - STARTED),
    }
    with DEEP.open("w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(("what", "how many"))
        table.writerows((what, f"{n:,}" if isinstance(n, int) else n) for what, n in rows.items())
