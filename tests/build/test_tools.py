"""What runs the checks: a step that fails is named, and the record of a run can be read."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tools.on import ROOT, digest, pythons, selected
from tools.steps import Step, record


def test_a_failing_step_is_shown_with_what_repeats_it(tmp_path: Path) -> None:
    written = tmp_path / "record.toml"
    command = ["-m", "tools.steps", "--record", str(written), "no-such-step", "--alone", "help"]
    done = subprocess.run(
        [sys.executable, *command], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "repeat it with: make no-such-step" in done.stdout
    content = tomllib.loads(written.read_text())
    assert [(step["target"], step["passed"]) for step in content["step"]] == [
        ("no-such-step", False),
        ("help", True),
    ]
    assert len(content["commit"]) == 40


@pytest.mark.parametrize(
    ("output", "said"),
    [
        ("one\n\x1b[1m===== 3 passed in 1 s =====\x1b[0m\n\n", "3 passed in 1 s"),
        ("│ of it │\n└───────┘\n", "of it"),
        ("", ""),
    ],
)
def test_a_step_says_its_last_line(output: str, said: str) -> None:
    assert Step("target", 0, 1.0, output).said == said


def test_a_record_holds_whatever_is_said(tmp_path: Path) -> None:
    step = Step("target", 0, 1.5, 'a "quoted" \\ line\n')
    record(tmp_path / "record.toml", [step], 1.5)
    (read,) = tomllib.loads((tmp_path / "record.toml").read_text())["step"]
    assert read["said"] == 'a "quoted" \\ line'


def test_words_for_pythons() -> None:
    assert selected("all") == [*selected("others"), *selected("newest")] == [*pythons()]
    with pytest.raises(SystemExit, match=r"there is no Python 2\.7 here"):
        selected("2.7")


def test_a_digest_depends_on_the_source(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("hatch_build.py", "pyproject.toml", "README.md"):
        (tmp_path / name).write_text(name)
    source = tmp_path / "src" / "module.py"
    source.parent.mkdir()
    monkeypatch.setattr("tools.on.ROOT", tmp_path)
    digests = set()
    for text in ("one", "two"):
        source.write_text(text)
        digests.add(digest())
    assert len(digests) == 2
