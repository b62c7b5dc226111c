"""The main job on a small tree: as a user runs it, interrupted, and with a wrong answer planted."""

import asyncio
import os
import random
import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer

from examples import index_tree
from tests import virtual

PROGRAM = Path(index_tree.__file__)
FILES = 20

# Runs the program, which says when it waits.
STALLING = f"""
import sys
import typer
sys.path.insert(0, {str(PROGRAM.parent)!r})
import index_tree
original = index_tree.Indexer.inject
async def inject(self, fault, job):
    if fault is index_tree.Fault.STALLED:
        print("stalling", flush=True)
    await original(self, fault, job)
index_tree.Indexer.inject = inject
typer.run(index_tree.main)
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for number in range(FILES):
        file = tmp_path / f"folder {number % 3}" / f"[bold]{number}.txt"
        file.parent.mkdir(exist_ok=True)
        file.write_text("x" * number)
    tmp_path.joinpath("large.bin").write_bytes(bytes(1_000_000))
    tmp_path.joinpath("empty").touch()
    tmp_path.joinpath("dangling").symlink_to("nowhere")
    tmp_path.joinpath("__pycache__").mkdir()
    tmp_path.joinpath("__pycache__", "passed over").touch()
    return tmp_path


def start(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )


def finish(program: subprocess.Popen[str]) -> tuple[int, str]:
    """The exit code and what was printed; nothing may have gone to stderr."""
    output, errors = program.communicate(timeout=60)
    assert errors == ""
    return program.returncode, output


Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the program here, in virtual time, in which to read takes at random up to two leases."""

    def run(folder: Path, seed: int = 7) -> tuple[int, str]:
        rng = random.Random(seed)

        async def to_thread(function: Callable[..., Any], *arguments: Any) -> Any:
            await asyncio.sleep(rng.choice([0, 0, 0, 0.05, 0.2]))
            return function(*arguments)

        monkeypatch.setattr(index_tree, "MAXSIZE", rng.choice([0, 1, 5]))
        monkeypatch.setattr(asyncio, "run", virtual.run)
        monkeypatch.setattr(asyncio, "to_thread", to_thread)
        with pytest.raises(typer.Exit) as exited:
            index_tree.main(folder, workers=rng.randint(1, 8), lease=0.1, seed=seed)
        return exited.value.exit_code, capsys.readouterr().out

    return run


def count(what: str, output: str) -> int:
    """A number in the summary."""
    row = re.search(rf"^ *{what} +([\d,]+)", output, re.MULTILINE)
    assert row is not None, output
    return int(row[1].replace(",", ""))


def assert_passed(code: int, output: str) -> None:
    assert code == 0, output
    assert output.endswith("check against a plain walk: passed\n")
    faults = re.findall(r" (\d+) +(\d+) *$", output, re.MULTILINE)
    assert len(faults) == len(index_tree.Fault), output
    assert all(injected == survived for injected, survived in faults), output
    injected = sum(int(injected) for injected, _ in faults)
    assert injected >= min(len(faults), count("found", output))
    ends = sum(count(end, output) for end in index_tree.ENDS)
    assert count("lease", output) == ends
    assert count("indexed", output) + count("given up", output) == count("found", output)


def test_every_file_is_indexed_and_every_fault_survived(tree: Path) -> None:
    code, output = finish(start(str(PROGRAM), str(tree), "--seed", "7", "--lease", "0.1"))

    assert_passed(code, output)
    assert "seed 7;" in output
    assert count("found", output) == FILES + 2
    assert count("given up", output) == 1


def test_nothing_is_lost_whatever_the_schedule(
    tree: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files change while they wait, are worked on, or have been given back."""
    original = index_tree.Indexer.produce

    async def produce(self: index_tree.Indexer) -> None:
        await original(self)
        rng = random.Random(self.seed)
        for path in rng.choices([*self.newest], k=50):
            await asyncio.sleep(rng.choice([0, 0.01, 0.1]))
            await self.put(path, self.newest[path] + 1)

    monkeypatch.setattr(index_tree.Indexer, "produce", produce)
    for seed in range(15):
        assert_passed(*run(tree, seed))


def test_a_file_that_cannot_be_read_is_given_up(
    tree: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = Counter[str]()

    def refuse(self: Path, mode: str) -> None:
        reads[self.name] += 1
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    assert_passed(*run(tree))
    hopeless, *others = sorted(reads.values())
    assert hopeless == 1  # by the check
    assert min(others) >= index_tree.ATTEMPTS
    assert max(others) <= index_tree.ATTEMPTS + 2  # it was put again at its first attempt


@pytest.mark.parametrize("files", [0, 1, 2])
def test_a_small_tree_meets_what_faults_it_can(tmp_path: Path, run: Run, files: int) -> None:
    for number in range(files):
        tmp_path.joinpath(str(number)).touch()
    assert_passed(*run(tmp_path))


def test_a_folder_may_have_any_name(tree: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tree / "[" / "] a b; echo :warning: \udcff"
    folder.mkdir(parents=True)
    folder.joinpath("[bold]").touch()
    monkeypatch.setattr(index_tree, "digest", wrong_digest)
    code, output = run(folder)

    assert code == 1, output
    assert repr(str(folder)) in output.replace("\n", "")
    assert "indexed wrongly:" in output
    assert "[/] a b; echo :warning: ?/[bold]" in output.replace("\n", "")


def test_what_is_out_of_reach_is_passed_over(
    tree: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a folder that may be listed and not entered (which means nothing to root)."""
    stat = os.stat

    def refuse(path: Any, *arguments: Any, **options: Any) -> os.stat_result:
        if not isinstance(path, int) and Path(path).parent == tree / "folder 1":
            raise PermissionError(13, "Permission denied", str(path))
        return stat(path, *arguments, **options)

    monkeypatch.setattr(os, "stat", refuse)
    code, output = run(tree)
    assert_passed(code, output)
    assert count("found", output) == FILES - 7 + 2


def wrong_digest(path: Path) -> str:
    """Another for the workers than for the check, which is made when the loop has ended."""
    return "0" if asyncio._get_running_loop() else "1"


async def forget(self: index_tree.Indexer, path: Path, revision: int) -> None:
    if path.name != "empty":
        self.newest[path] = revision
        await self.queue.put(path, revision)


async def update(self: index_tree.Indexer, path: Path, revision: int) -> None:
    self.newest[path] = revision
    await self.queue.put(path, revision, if_in_flight="update")  # loses what comes meanwhile


async def do_nothing(*_: object) -> None:
    pass


async def bury_all(self: index_tree.Indexer, job: Any) -> None:
    await job.dead_letter()


@pytest.mark.parametrize(
    ("method", "planted", "problem"),
    [
        ("put", forget, r"missing: \S+empty"),
        ("put", update, "not survived: file put again while in work:"),
        ("put", update, "not indexed anew:"),
        ("inject", do_nothing, "not survived: worker stalled past its lease:"),
        ("inject", do_nothing, "not given up:"),
        ("bury", do_nothing, "not survived: job failed for good"),
        ("handle", bury_all, r"wrongly given up: \S+empty"),
    ],
)
def test_what_is_wrong_is_found(
    tree: Path,
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
    method: str,
    planted: Callable[..., object],
    problem: str,
) -> None:
    monkeypatch.setattr(index_tree.Indexer, method, planted)
    code, output = run(tree)
    assert code == 1, output
    assert re.search(problem, output.replace("\n", "")), output
    assert output.endswith(" problems\n")


def test_ctrl_c_in_the_middle_of_a_job_prints_what_there_is(tree: Path) -> None:
    program = start("-c", STALLING, str(tree), "--lease", "60")
    assert program.stdout is not None
    while program.stdout.readline() != "stalling\n":
        assert program.poll() is None
    program.send_signal(signal.SIGINT)
    code, output = finish(program)

    assert code == 130, output
    assert count("found", output) >= 1
    assert count("lease", output) >= 1
    assert output.endswith("check against a plain walk: interrupted, not checked\n")


def test_ctrl_c_at_the_start_leaves_no_traceback(tree: Path) -> None:
    program = start(str(PROGRAM), str(tree), "--lease", "60")
    assert program.stdout is not None
    assert program.stdout.readline().startswith("seed ")
    program.send_signal(signal.SIGINT)
    code, output = finish(program)

    assert code == 130, output
    assert output.endswith("check against a plain walk: interrupted, not checked\n")
