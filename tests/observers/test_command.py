"""``python -m leasedkeyq check``, as a user runs it."""

from __future__ import annotations

import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.subject import PACKAGE, FileRecorder, LeasedKeyQueue, module
from tests.virtual import run

command: Any = module("__main__")


@pytest.fixture
def sound(tmp_path: Path) -> Path:
    """A record of some thousand events."""
    path = tmp_path / "run.jsonl"

    async def main() -> None:
        with FileRecorder(path) as recorder:
            queue = LeasedKeyQueue[int, int](observer=recorder)
            for number in range(1500):
                await queue.put(number % 7, number)
                _, _, lease = await queue.get()
                await queue.ack(lease)

    run(main())
    return path


@pytest.fixture
def wrong(sound: Path) -> Path:
    """The same, but that one ack is missing."""
    lines = sound.read_text("utf-8").splitlines(keepends=True)
    del lines[300]
    path = sound.with_name("wrong.jsonl")
    path.write_text("".join(lines), "utf-8")
    return path


def python(*arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, *map(str, arguments)]
    return subprocess.run(line, capture_output=True, text=True, check=False, **options)


def test_a_record_is_checked(sound: Path, wrong: Path, tmp_path: Path) -> None:
    done = python("-m", PACKAGE, "check", sound)
    assert (done.returncode, done.stdout) == (0, "4,501 events: a behaviour of the queue\n")
    done = python("-m", PACKAGE, "check", wrong)
    assert done.returncode == 1
    assert done.stdout.startswith(f"{wrong}, line 320: this does not follow\n    get key=")
    assert "the state before it:\n    phase     open\n" in done.stdout
    done = python("-m", PACKAGE, "check", tmp_path / "nothing")
    assert done.returncode == 2
    assert done.stderr.strip().endswith(f"No such file or directory: '{tmp_path / 'nothing'}'")
    done = python("-m", PACKAGE, "check", __file__)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"cannot be checked: {__file__}, line 1: is no line of a record" in done.stderr


def test_it_is_run_by_the_name_of_the_package(
    sound: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delitem(sys.modules, command.__name__)
    monkeypatch.setattr(sys, "argv", [PACKAGE, "check", str(sound)])
    with pytest.raises(SystemExit) as exited:
        runpy.run_module(PACKAGE, run_name="__main__")
    assert exited.value.code == 0
    assert capsys.readouterr().out == "4,501 events: a behaviour of the queue\n"


def test_an_empty_file_among_several_adds_nothing(sound: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty.jsonl"
    empty.touch()
    assert module("checking").check([sound, empty]).accepted


def test_a_vendored_copy_checks_with_nothing_but_python(sound: Path, tmp_path: Path) -> None:
    source = Path(module("checking").__file__).parent
    not_source = shutil.ignore_patterns("__pycache__", "*.so", "*.pyd")
    shutil.copytree(source, tmp_path / "acme" / "queues", ignore=not_source)
    program = f"""
import runpy, sys
sys.path.insert(0, {str(tmp_path)!r})
sys.argv = ["queues", "check", {str(sound)!r}]
runpy.run_module("acme.queues", None, "__main__")
"""
    any_build = {k: v for k, v in os.environ.items() if k != "LEASEDKEYQ_EXTENSIONS"}
    done = python("-I", "-S", "-c", program, env=any_build)
    assert (done.returncode, done.stdout) == (0, "4,501 events: a behaviour of the queue\n")
    assert done.stderr.count("events, ") == 4  # the progress, in lines


def test_the_help_says_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exited:
        command.main(["--help"])
    assert exited.value.code == 0
    said = capsys.readouterr().out
    assert f"usage: python -m {PACKAGE} " in said
    assert "is a record a behaviour of the queue?" in said
    with pytest.raises(SystemExit):
        command.main(["check", "--help"])
    assert "exit codes: 0 the record is a behaviour of the queue" in capsys.readouterr().out
    with pytest.raises(SystemExit) as exited:
        command.main([])
    assert exited.value.code == 2


def test_the_progress_with_and_without_rich(
    sound: Path,
    wrong: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert command.main(["check", str(sound)]) == 0
    assert capsys.readouterr().out == "4,501 events: a behaviour of the queue\n"
    monkeypatch.setitem(sys.modules, "rich.console", None)
    assert command.main(["check", str(sound)]) == 0
    assert command.main(["check", str(wrong)]) == 1
    assert command.main(["check", "/no/such/file"]) == 2
    out, err = capsys.readouterr()
    assert out.startswith("4,501 events: a behaviour of the queue\n")
    told = [line for line in err.splitlines() if line.endswith(" %")]
    fifths = ["1,000 events, 20 %", "2,000 events, 40 %", "3,000 events, 60 %"]
    assert told[:4] == [*fifths, "4,000 events, 80 %"]


def test_it_can_be_interrupted(
    sound: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "check", interrupt)
    assert command.main(["check", str(sound)]) == 130
    assert capsys.readouterr().err.strip().endswith("interrupted")
