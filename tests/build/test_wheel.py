"""What would be released: all that it should hold, on a machine with a compiler and without one."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from tools.on import ROOT, uv

PACKAGE = ROOT / "src" / "leasedkeyq"
NO_COMPILER = {"CC": "/no/such/compiler"}
FIRST_PROGRAM = """
import asyncio, leasedkeyq

async def main():
    async with leasedkeyq.LeasedKeyQueue(default_lease_timeout=30) as queue:
        await queue.put("key", "value")
        key, value, lease = await queue.get()
        await queue.ack(lease)
        print(leasedkeyq.__compiled__, key, value)

asyncio.run(main())
"""


def build(
    target: str, folder: Path, source: Path = ROOT, variables: dict[str, str] | None = None
) -> tuple[Path, str]:
    """Build an sdist or a wheel; where it is, and what was said."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", str(folder)]
    done = subprocess.run(
        command,
        cwd=source,
        env=os.environ | (variables or {}),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert not done.returncode, done.stdout
    (result,) = folder.glob("*.whl" if target == "wheel" else "*.tar.gz")
    return result, done.stdout


def installed(wheel: Path, folder: Path) -> Path:
    """The Python of an environment that holds the wheel and nothing else."""
    uv("venv", "--python", sys.executable, folder)
    uv("pip", "install", "--no-deps", "--offline", "--python", folder, wheel)
    uv("pip", "check", "--python", folder)
    return folder / "bin" / "python"


def answer(python: Path, program: str, **variables: str) -> str:
    """What a program prints, in an environment without our own variables."""
    others = {k: v for k, v in os.environ.items() if not k.startswith(("LEASEDKEYQ", "PYTHON"))}
    command = [str(python), "-c", program]
    done = subprocess.run(
        command, env=others | variables, cwd="/", capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or done.stderr.strip().splitlines()[-1]


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("sdist", tmp_path_factory.mktemp("sdist"))[0]


@pytest.fixture(scope="module")
def unpacked(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    (top,) = folder.iterdir()
    return top


def test_the_sdist_holds_what_is_tracked(unpacked: Path) -> None:
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    tracked = {name for name in listed.split("\0") if name and not name.startswith(".")}
    assert {name for name in tracked if (ROOT / name).exists()} - {
        path.relative_to(unpacked).as_posix() for path in unpacked.rglob("*")
    } == set()


def test_a_pure_wheel_holds_the_package_and_runs_where_nothing_else_is(
    unpacked: Path, tmp_path: Path
) -> None:
    wheel, said = build("wheel", tmp_path, unpacked, {"LEASEDKEYQ_NO_EXTENSIONS": "1"})
    assert wheel.name.endswith("-py3-none-any.whl")
    assert "extension modules" not in said
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}
    sources = {path for path in PACKAGE.rglob("*") if path.suffix in (".py", ".lua", ".typed")}
    assert packed == {path.relative_to(PACKAGE.parent).as_posix() for path in sources}
    assert answer(installed(wheel, tmp_path / "env"), FIRST_PROGRAM) == "False key value"


def test_without_a_compiler_the_wheel_is_pure_and_says_so(tmp_path: Path) -> None:
    wheel, said = build("wheel", tmp_path, variables=NO_COMPILER)
    assert wheel.name.endswith("-py3-none-any.whl")
    assert "is built without extension modules: there is no C compiler" in said


def test_extension_modules_that_are_demanded_are_not_left_out(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="was to be compiled: there is no C compiler"):
        build("wheel", tmp_path, variables={"LEASEDKEYQ_EXTENSIONS": "1", **NO_COMPILER})


@pytest.mark.parametrize("compiler", [{}, NO_COMPILER])
def test_extension_modules_cannot_be_demanded_and_forbidden(
    compiler: dict[str, str], tmp_path: Path
) -> None:
    both = {"LEASEDKEYQ_EXTENSIONS": "1", "LEASEDKEYQ_NO_EXTENSIONS": "1"}
    with pytest.raises(AssertionError, match="are both set, and contradict each other"):
        build("wheel", tmp_path, variables={**both, **compiler})


@pytest.mark.deep
@pytest.mark.timeout(600)
def test_pip_compiles_what_it_finds_a_compiler_for(sdist: Path, tmp_path: Path) -> None:
    """As a user does it: pip fetches what the build needs."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("LEASEDKEYQ")}
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "-w", str(tmp_path), str(sdist)]
    subprocess.run(command, env=environment, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    python = installed(wheel, tmp_path / "env")
    assert answer(python, FIRST_PROGRAM) == "True key value"
    assert answer(python, FIRST_PROGRAM, LEASEDKEYQ_NO_EXTENSIONS="1") == "False key value"
