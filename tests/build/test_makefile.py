"""What is given to make reaches the programs as it is, whatever characters are in it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tools.on import ROOT

ECHO = f"""#!{sys.executable}
import json, sys
print(json.dumps(sys.argv[1:]))
"""

VARIABLES = """
import os
demanded, forbidden = (os.environ.get(f"LEASEDKEYQ_{no}EXTENSIONS", "") for no in ("", "NO_"))
print(f"demanded: {demanded!r}, forbidden: {forbidden!r}")
"""


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """The Makefile, and an environment with a Python that says what it is called with."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    made = tmp_path / ".venv" / "made-from-test"
    (tmp_path / "requirements").mkdir()
    (tmp_path / "requirements" / "test.txt").touch()
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    made.touch()
    os.utime(tmp_path / "requirements" / "test.txt", (0, 0))
    python = tmp_path / ".venv" / "bin" / "python"
    python.write_text(ECHO)
    python.chmod(0o755)
    return tmp_path


def make(clone: Path, *arguments: str, **variables: str) -> list[str]:
    """What Python is called with, by a make that nothing but these variables reaches."""
    ours = ("MAKE", "MFLAGS", "DIR", "DEST", "ENGINE")
    others = {k: v for k, v in os.environ.items() if not k.startswith(ours)}
    command = ["make", "PYTHON=.venv/bin/python", *arguments]
    done = subprocess.run(
        command, cwd=clone, env=others | variables, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert not (clone / "made").exists(), "a part of the name was run"
    called: list[str] = json.loads(done.stdout)
    return called


NAMES = [
    "plain",
    "two  blanks",
    "blanks after  ",
    "semi; touch made",
    "quo'te",
    'quo"te',
    "a $b",
    "$HOME",
    "$$",
    "$(shell touch made)",
    "${shell touch made}",
    "$$(touch made)",
    "$(touch made)",
    "`touch made`",
    "$@",
    "[brackets]",
    "{a,b}",
    "(a)",
    "*",
    "?",
    "~",
    "#hash",
    "a%b",
    "a=b",
    "a & b | c > made",
    "back\\slash\\",
    "one\nline\nmore",
    "-dash",
    "größer",
]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("engine", [[], ["ENGINE=redis"]])
def test_a_folder_may_have_any_name(clone: Path, name: str, engine: list[str]) -> None:
    program = ["-m", "examples.index_tree" + "_redis" * len(engine)]
    assert make(clone, "run", f"DIR={name}", *engine) == [*program, "--", name]
    assert make(clone, "run", *engine, DIR=name) == [*program, "--", name]


@pytest.mark.parametrize("name", NAMES)
def test_a_copy_may_be_made_anywhere(clone: Path, name: str) -> None:
    assert make(clone, "vendor", f"DEST={name}") == ["vendor.py", "copy", "--", name]
    assert make(clone, "vendor", DEST=name) == ["vendor.py", "copy", "--", name]


def test_without_a_folder_there_is_a_default(clone: Path) -> None:
    assert make(clone, "run") == ["-m", "examples.index_tree"]
    assert make(clone, "run", "DIR=") == ["-m", "examples.index_tree"]
    assert make(clone, "run", "ENGINE=redis") == ["-m", "examples.index_tree_redis"]


@pytest.mark.parametrize("folder", ["a  b", "quo'te", "semi; touch made", "(a)", "*"])
def test_python_may_lie_in_any_folder(clone: Path, folder: str) -> None:
    (clone / folder).mkdir()
    python = shutil.copy(clone / ".venv" / "bin" / "python", clone / folder)
    assert make(clone, "vendor", "DEST=acme", f"PYTHON={python}")[-1] == "acme"
    assert make(clone, "help", f"PYTHON={python}")[0] == "-c"


@pytest.mark.parametrize("demanded", ["0", "1"])
def test_the_environment_is_pure_whatever_is_demanded(clone: Path, demanded: str) -> None:
    for name in ("pip", "uv"):
        program = clone / ".venv" / "bin" / name
        program.write_text(f"#!{sys.executable}\n{VARIABLES}")
        program.chmod(0o755)
    os.utime(clone / ".venv" / "made-from-test", (0, 0))
    os.utime(clone / "requirements" / "test.txt")
    done = subprocess.run(
        ["make", "PYTHON=.venv/bin/python", ".venv/made-from-test"],
        cwd=clone,
        env=os.environ | {"LEASEDKEYQ_EXTENSIONS": demanded},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == "demanded: '', forbidden: '1'"


def test_without_a_destination_nothing_is_copied(clone: Path) -> None:
    with pytest.raises(AssertionError, match="DEST is the directory of the copy to be"):
        make(clone, "vendor")
