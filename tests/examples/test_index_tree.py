"""The main job on a small tree: as a user runs it, interrupted, and with a wrong answer planted."""

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parents[2] / "examples" / "index_tree.py"
FILES = 30

# Runs the program with one thing changed in it.
CHANGED = f"""
import sys
import typer
sys.path.insert(0, {str(PROGRAM.parent)!r})
import index_tree
{{change}}
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


def count(what: str, output: str) -> int:
    """A number in the tables."""
    row = re.search(rf"│ {what} +│ +([\d,]+)", output)
    assert row is not None, output
    return int(row[1].replace(",", ""))


def test_every_file_is_indexed_and_every_fault_survived(tree: Path) -> None:
    code, output = finish(start(str(PROGRAM), str(tree), "--seed", "7", "--lease", "0.1"))

    assert code == 0, output
    assert "seed 7;" in output
    assert output.endswith("check against a plain walk: passed\n")
    assert count("files found", output) == count("files indexed", output) == FILES + 2
    faults = re.findall(r"│ ((?:worker|file) [\w ]+?) +│ +(\d+) │ +(\d+) │", output)
    assert len(faults) == 3, output
    assert all(int(injected) == int(survived) > 0 for _, injected, survived in faults), output
    ends = sum(count(end, output) for end in ("acks", "releases", "expiries"))
    assert count("leases", output) == ends


def test_a_wrong_digest_is_found(tree: Path) -> None:
    change = """
original = index_tree.Indexer.digest
async def digest(self, path, lease):
    digest = await original(self, path, lease)
    return "0" * 64 if path.name == "large.bin" else digest
index_tree.Indexer.digest = digest
"""
    code, output = finish(start("-c", CHANGED.format(change=change), str(tree), "--lease", "0.1"))

    assert code == 1, output
    assert "indexed wrongly:" in output
    assert "large.bin" in output.replace("\n", "")
    assert output.endswith("check against a plain walk: failed\n")


def test_a_file_that_nobody_indexed_is_found(tree: Path) -> None:
    change = """
original = index_tree.Indexer.put
async def put(self, path, revision):
    if path.name != "empty":
        await original(self, path, revision)
index_tree.Indexer.put = put
"""
    code, output = finish(start("-c", CHANGED.format(change=change), str(tree), "--lease", "0.1"))

    assert code == 1, output
    assert re.search(r"missing: \S+empty", output.replace("\n", "")), output


def test_a_fault_that_was_not_survived_is_found(tree: Path) -> None:
    change = """
async def put(self, path, revision):
    self.newest[path] = revision
    await self.queue.put(path, revision, if_in_flight="update")  # loses what comes meanwhile
index_tree.Indexer.put = put
"""
    code, output = finish(start("-c", CHANGED.format(change=change), str(tree), "--lease", "0.1"))

    assert code == 1, output
    assert "not survived: file put again while in work:" in output


def test_a_tree_too_small_for_every_fault_is_no_proof(tmp_path: Path) -> None:
    code, output = finish(start(str(PROGRAM), str(tmp_path)))

    assert code == 1, output
    assert output.count("never happened:") == 3


def test_ctrl_c_in_the_middle_of_a_job_prints_what_there_is(tree: Path) -> None:
    change = """
original = index_tree.Indexer.inject
async def inject(self, fault, path, revision):
    if fault is index_tree.Fault.STALLED:
        print("stalling", flush=True)
    await original(self, fault, path, revision)
index_tree.Indexer.inject = inject
"""
    program = start("-c", CHANGED.format(change=change), str(tree), "--lease", "60")
    assert program.stdout is not None
    while program.stdout.readline() != "stalling\n":
        assert program.poll() is None
    program.send_signal(signal.SIGINT)
    code, output = finish(program)

    assert code == 130, output
    assert count("files found", output) >= 1
    assert count("leases", output) >= 1
    assert output.endswith("check against a plain walk: interrupted, not checked\n")


def test_ctrl_c_at_the_start_leaves_no_traceback(tree: Path) -> None:
    program = start(str(PROGRAM), str(tree), "--lease", "60")
    assert program.stdout is not None
    assert program.stdout.readline().startswith("seed ")
    program.send_signal(signal.SIGINT)
    code, output = finish(program)

    assert code == 130, output
    assert output.endswith("check against a plain walk: interrupted, not checked\n")
