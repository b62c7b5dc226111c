"""A copy of the package under another name, in a tree from which the original is out of reach."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.manual import ROOT

PROGRAM = """
import asyncio, importlib.util, sys
sys.path.insert(0, sys.argv[1])
assert importlib.util.find_spec("leasedkeyq") is None, "the original is importable"
from acme.vendored_queue import LeasedKeyQueue, LeaseExpiredError

async def main():
    async with LeasedKeyQueue() as queue:
        await queue.put("key", 1)
        key, value, lease = await queue.get()
        await queue.ack(lease)
        print(key, value, type(queue).__module__)

asyncio.run(main())
"""


def vendor(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run the script with nothing but Python: no site-packages, no environment."""
    return subprocess.run(
        [sys.executable, "-I", "-S", str(ROOT / "vendor.py"), *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    made = tmp_path / "acme" / "vendored_queue"
    assert vendor("copy", made).returncode == 0
    return made


def test_copy_works_where_the_original_is_not(copy: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-I", "-S", "-c", PROGRAM, str(copy.parents[1])],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (run.stdout, run.stderr) == ("key 1 acme.vendored_queue._queue\n", "")


def test_manifest_says_what_was_copied(copy: Path) -> None:
    manifest = json.loads((copy / "VENDORED.json").read_text())
    package = ROOT / "src" / "leasedkeyq"
    sources = {path.name: path for path in package.iterdir() if path.is_file()}
    sources["LICENSE"] = ROOT / "LICENSE"
    assert manifest["files"] == {
        name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in sources.items()
    }
    assert f'__version__ = "{manifest["version"]}"' in sources["__init__.py"].read_text()
    git = ["git", "-C", str(ROOT), "rev-parse", "HEAD"]
    if (ROOT / ".git").exists():
        head = subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip()
        assert manifest["commit"].partition(" ")[0] == head
    else:
        assert manifest["commit"] is None


def test_check_accepts_an_untouched_copy_that_was_used(copy: Path) -> None:
    (copy / "__pycache__").mkdir()
    (copy / "__pycache__" / "lease.cpython-311.pyc").write_bytes(b"")
    assert vendor("check", copy).returncode == 0


def change(copy: Path) -> None:
    (copy / "lease.py").write_text("")


def remove(copy: Path) -> None:
    (copy / "lease.py").unlink()


def add(copy: Path) -> None:
    (copy / "patch.py").write_text("")


@pytest.mark.parametrize(
    ("tamper", "line"),
    [
        (change, "lease.py: changed"),
        (remove, "lease.py: missing"),
        (add, "patch.py: not in the manifest"),
    ],
)
def test_check_says_which_file_differs(copy: Path, tamper: object, line: str) -> None:
    assert callable(tamper)
    tamper(copy)
    checked = vendor("check", copy)
    assert checked.returncode == 1
    assert checked.stderr.splitlines()[1:] == [line]


@pytest.mark.parametrize("text", [None, "", "{}", "[]"])
def test_check_needs_a_manifest(copy: Path, text: str | None) -> None:
    (copy / "VENDORED.json").unlink()
    if text is not None:
        (copy / "VENDORED.json").write_text(text)
    checked = vendor("check", copy)
    assert checked.returncode == 1
    assert "VENDORED.json: cannot be read" in checked.stderr


def test_copy_brings_an_untouched_copy_up_to_date(copy: Path) -> None:
    manifest = json.loads((copy / "VENDORED.json").read_text())
    (copy / "old.py").write_text("")  # a file that an older version had
    manifest["files"]["old.py"] = hashlib.sha256(b"").hexdigest()
    (copy / "VENDORED.json").write_text(json.dumps(manifest))
    assert vendor("copy", copy).returncode == 0
    assert not (copy / "old.py").exists()
    assert vendor("check", copy).returncode == 0


def test_copy_loses_no_change_of_yours(copy: Path) -> None:
    (copy / "lease.py").write_text("# a quick fix\n")
    refused = vendor("copy", copy)
    assert refused.returncode == 1
    assert "lease.py: changed" in refused.stderr
    assert (copy / "lease.py").read_text() == "# a quick fix\n"


def test_copy_overwrites_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "thesis.txt").write_text("all of it")
    assert vendor("copy", tmp_path / "precious").returncode == 1
    assert (tmp_path / "precious" / "thesis.txt").read_text() == "all of it"


def test_name_must_be_importable(tmp_path: Path) -> None:
    refused = vendor("copy", tmp_path / "keyed-queue")
    assert refused.returncode == 1
    assert "cannot be imported" in refused.stderr
    assert list(tmp_path.iterdir()) == []
