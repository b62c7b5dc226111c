"""`make bench`, at a small scale: it measures on every Python, and says what it found."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.figures import FIGURES
from benchmarks.plots import BARS, GROWTH, OPERATIONS
from benchmarks.registry import CASES, Found
from benchmarks.subjects import FLOOR, ORDERED, OURS, PUBLIC
from noxfile import PYTHONS

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "docs" / "_static" / "bench" / "results.json"


def bench(*arguments: str, module: str = "benchmarks") -> tuple[int, str]:
    finished = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return finished.returncode, finished.stdout + finished.stderr


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("bench")
    code, output = bench("--quick", "--output", str(folder), "cycle", "takers", "memory")
    assert code == 0, output
    return folder, output


def test_every_rival_is_measured_on_every_python(measured: tuple[Path, str]) -> None:
    folder, _ = measured
    found = json.loads(folder.joinpath("results.json").read_text())["found"]
    assert list(found) == list(PYTHONS)
    for of_version in found.values():
        results = [Found(**result) for result in of_version]
        cycle = {found.subject for found in results if found.case == "cycle"}
        assert cycle == {OURS, ORDERED, PUBLIC, FLOOR}
        assert all(found.low <= found.value <= found.high for found in results)
        assert {found.case for found in results} >= {"cycle", "takers", "an available item"}


def test_plots_are_drawn_of_what_was_measured(measured: tuple[Path, str]) -> None:
    folder, _ = measured
    plots = {plot.stem for plot in folder.glob("*.svg")}
    assert plots == {"cycle", "takers", "memory"}
    assert "CPython" in folder.joinpath("cycle.svg").read_text()


def test_each_figure_is_shown_with_its_bar(measured: tuple[Path, str]) -> None:
    folder, output = measured
    shown = json.loads(folder.joinpath("results.json").read_text())["figures"]
    assert [figure["what"] for figure in shown] == [figure.what for figure in FIGURES]
    values = shown[0]["measured"]
    assert values.keys() == PYTHONS.keys()
    for value in values.values():
        assert f"{value:.3f}" in output
        assert (value > FIGURES[0].bar) == bool(re.search(rf"{value:.3f} MISSED", output))
    assert "not measured" in output


def test_what_is_not_measured_is_no_success_when_strict() -> None:
    code, output = bench("--quick", "--strict", "timed")
    assert code == 1, output
    assert "not measured" in output


def test_an_unknown_case_is_refused() -> None:
    code, output = bench("--quick", "speed of light")
    assert code == 2
    assert "speed of light" in output


def test_the_docs_show_a_whole_measurement() -> None:
    content = json.loads(RESULTS.read_text())
    for figure in content["figures"]:
        assert None not in figure["measured"].values(), figure["what"]
    for of_version in content["found"].values():
        assert {found["case"] for found in of_version} >= {*GROWTH, *BARS, *OPERATIONS}


def test_every_case_says_what_it_measures() -> None:
    for case in CASES.values():
        assert case.__doc__
