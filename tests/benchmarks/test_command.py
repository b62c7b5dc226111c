"""`make bench`, it measures both builds on each Python, and says what came of it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.cases import CASES, Found
from benchmarks.figures import FIGURES
from benchmarks.rivals import COMPILED, PLAIN, PURE
from tools.on import ROOT

RESULTS = ROOT / "docs" / "_static" / "bench" / "results.json"


def bench(*arguments: str) -> tuple[int, str]:
    finished = subprocess.run(
        [sys.executable, "-m", "benchmarks", *arguments],
        cwd=ROOT,
        env=os.environ | {"COLUMNS": "200"},  # so that no name is divided
        capture_output=True,
        text=True,
        check=False,
    )
    return finished.returncode, finished.stdout + finished.stderr


@pytest.mark.deep
@pytest.mark.timeout(1200)
def test_every_case_finds_something_of_both_builds(tmp_path: Path) -> None:
    results = tmp_path / "results.json"
    code, output = bench("--quick", "--output", str(results))
    assert code == 0, output
    content = json.loads(results.read_text())
    for rows in content["found"].values():
        found = [Found(**row) for row in rows]
        assert {one.case for one in found} == {*CASES}
        for case in CASES:
            assert {one.subject for one in found if one.case == case} - {PLAIN} == {COMPILED, PURE}
        assert all(one.low <= one.value <= one.high for one in found)
    figures = content["figures"]
    measured = [one["what"] for one in figures if None not in one["measured"].values()]
    assert len(measured) > len(figures) / 2  # the others are of sizes that a quick run leaves out
    assert [what for what in measured if what not in output] == []


def test_an_unknown_case_is_refused() -> None:
    code, output = bench("--quick", "speed of light")
    assert code == 2
    assert "speed of light" in output


def test_an_unknown_python_is_refused() -> None:
    code, output = bench("--python", "2.7")
    assert code == 2
    assert "2.7" in output


def test_the_docs_show_a_whole_measurement() -> None:
    content = json.loads(RESULTS.read_text())
    assert [figure["what"] for figure in content["figures"]] == [one.what for one in FIGURES]
    for figure in content["figures"]:
        assert None not in figure["measured"].values(), figure["what"]


def test_every_case_says_what_it_measures() -> None:
    for case in CASES.values():
        assert case.__doc__
