"""CrossHair's verdicts, read word by word: "not confirmed" is not a pass."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.crosshair import contracts

MODULE = contracts.__name__
HOURS = 4  # a few minutes suffice, if the machine is not busy
pytestmark = [pytest.mark.deep, pytest.mark.timeout(0)]
CONTRACTS = [
    name
    for name, function in inspect.getmembers(contracts, inspect.isfunction)
    if "post: __return__" in (function.__doc__ or "")
]


def crosshair(command: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run it from the root of the project, until it has looked at all paths."""
    program = Path(sys.executable).parent / "crosshair"
    return subprocess.run(
        [str(program), command, *arguments, f"--per_condition_timeout={HOURS * 3600}"],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[2],
    )


def test_there_are_enough() -> None:
    assert len(CONTRACTS) >= 4


@pytest.mark.parametrize("name", CONTRACTS)
def test_confirmed_over_all_paths(name: str) -> None:
    result = crosshair("check", f"{MODULE}.{name}", "--report_all")
    verdicts = re.findall(r"(?:info|error): (.*)", result.stdout)
    assert verdicts == ["Confirmed over all paths."], result.stdout + result.stderr


def test_machine_and_model_behave_alike() -> None:
    result = crosshair("diffbehavior", f"{MODULE}.run_machine", f"{MODULE}.run_model")
    assert result.returncode == 0, result.stdout + result.stderr
    assert "No differences found." in result.stdout
    assert "All paths exhausted" in result.stdout, "it ran out of time"


def test_a_planted_difference_is_found() -> None:
    result = crosshair("diffbehavior", f"{MODULE}.run_machine", f"{MODULE}.run_broken_model")
    assert result.returncode == 1, result.stdout + result.stderr
    assert "Given: (first=" in result.stdout
