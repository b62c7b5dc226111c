"""tests/stateful, pointed at the machine on the server: the same rules, the same schedules."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.timeout(0)


def run(*arguments: str) -> None:
    environment = os.environ | {
        "LEASEDKEYQ_UNDER_TEST": "tests.engine.subject",
        "HYPOTHESIS_PROFILE": "ci",
    }
    command = [sys.executable, "-m", "pytest", "-q", "-n0", *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr


def test_some_schedules() -> None:
    run("tests/stateful/test_schedules.py", "-k", "double or slot or key")


@pytest.mark.deep
@pytest.mark.parametrize("part", ["machine", "queue"])
def test_machines(part: str) -> None:
    run("tests/stateful/test_mirrors.py", "-k", part)


@pytest.mark.deep
def test_every_schedule() -> None:
    run("tests/stateful/test_schedules.py")
