"""The benchmark of the queue on a server measures every figure, and says what came of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.engine import FIGURES, FULL, RESULTS, Found, of, table
from tools.on import ROOT


def bench(*arguments: str) -> tuple[int, str]:
    command = [sys.executable, "-m", "benchmarks.engine", *arguments]
    wide = {**os.environ, "COLUMNS": "240"}
    done = subprocess.run(command, cwd=ROOT, env=wide, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def test_every_figure_is_measured(tmp_path: Path) -> None:
    results = tmp_path / "engine.json"
    code, output = bench("--quick", "--output", str(results))
    assert code == 0, output
    for one in json.loads(results.read_text())["found"]:
        assert one["what"] in output
        assert one["low"] <= one["value"]
    for what in ("alone", "64 tasks", "waiting process", "beside 100 items", "due at once"):
        assert what in output, output
    assert "bars missed: " in output


def test_the_docs_show_a_whole_measurement() -> None:
    content = json.loads(RESULTS.read_text())
    assert len(content["found"]) == len(FIGURES) + len(FULL.sizes) - 2


def test_an_unknown_figure_is_refused() -> None:
    code, output = bench("speed of light")
    assert code == 2
    assert "speed of light" in output


@pytest.mark.parametrize(
    ("value", "at_least", "missed"), [(1, False, False), (3, False, True), (1, True, True)]
)
def test_a_bar_is_missed_on_one_side(value: float, at_least: bool, missed: bool) -> None:
    found = of("what", [value, value], bar=2, at_least=at_least)
    assert found.missed == missed
    assert ("MISSED" in str([*table([found]).columns[1].cells])) == missed


def test_without_a_bar_nothing_is_missed() -> None:
    assert not Found("what", 9, 9, 9).missed


def test_every_figure_says_what_it_measures() -> None:
    assert all(figure.__doc__ for figure in FIGURES.values())
