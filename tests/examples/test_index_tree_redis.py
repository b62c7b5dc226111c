"""The main job on a server: with processes that are killed, and with a wrong answer planted."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from examples import index_tree_redis
from examples.index_tree_redis import Fault
from tools.on import ROOT

PROGRAM = [sys.executable, "-m", "examples.index_tree_redis"]
FILES = 40


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for number in range(FILES - 1):
        file = tmp_path / f"folder {number % 3}" / f"[bold]{number}.txt"
        file.parent.mkdir(exist_ok=True)
        file.write_text("x" * number)
    tmp_path.joinpath("no text \udcff").touch()
    return tmp_path


def count(what: str, output: str) -> int:
    found = re.search(rf"^{what} +([\d,]+)", output, re.MULTILINE)
    assert found, output
    return int(found[1].replace(",", ""))


def test_nothing_is_lost_to_killed_processes_and_a_killed_server(tree: Path) -> None:
    command = [*PROGRAM, str(tree), "--processes", "3"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert count("files found", done.stdout) == FILES
    for fault in Fault:
        assert count(fault.value, done.stdout) >= 1
    assert count("redeliveries", done.stdout) >= 2
    assert done.stdout.endswith("check against a plain walk: passed\n")


def test_a_wrong_digest_is_found(
    tree: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(index_tree_redis, "digest", lambda path: "another")
    with pytest.raises(typer.Exit) as left:
        index_tree_redis.main(tree, processes=2, seed=1, work_for="")
    output = capsys.readouterr().out
    assert left.value.exit_code == 1
    assert "indexed wrongly:" in output
    assert f"... and {FILES - 20} more" in output
    assert output.endswith("check against a plain walk: failed\n")


def test_what_was_not_put_or_not_done_is_found(tree: Path) -> None:
    indexer = index_tree_redis.Indexer(tree, processes=1, seed=1)
    indexer.server.remove()
    indexer.planned = {tree / "no text \udcff": Fault.KILLED}
    indexer.index = {b"1 somewhere": b"digest"}
    problems = [problem.partition(":")[0] for problem in indexer.problems()]
    assert problems == ["missing", *["never put"] * FILES, "never happened"]


def test_ctrl_c_ends_all_processes() -> None:
    with subprocess.Popen(PROGRAM, cwd=ROOT, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        assert program.stdout.readline().startswith("seed ")
        program.send_signal(signal.SIGINT)
        output, _ = program.communicate(timeout=60)
    assert program.returncode == 130, output
    assert output.endswith("interrupted, not checked\n")
