"""Run a command on a Python of this machine, against the built wheel and never against the source.

    python -m tools.on [--build BUILD] PYTHON -- COMMAND ...

PYTHON is a version such as 3.12, or `newest`, `others`, `all`. BUILD is

    pure       the wheel without extension modules
    compiled   the wheel with them
    checked    likewise, but whoever uses None as an object raises, and does not crash
    vendored   a copy under another name, the original being absent

The command is a tool of the lock, or `python`, of an environment of that Python.

Environments are made from `requirements/test.txt`; wheels lie unpacked where only PYTHONPATH leads.
Both are made when they are first needed, and again when what they are made from has changed.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from zipfile import ZipFile

ROOT = Path(__file__).parents[1]
HOME = ROOT / ".venv"  # where all of this is kept
LOCK = ROOT / "requirements" / "test.txt"
SUPPORTED = ("3.11", "3.12", "3.13", "3.14")
VENDORED_AS = "acme._vendor.keyed_queue"
# Both variables in each, or one that is set by whoever calls would contradict the other.
DEMANDED = {"LEASEDKEYQ_EXTENSIONS": "1", "LEASEDKEYQ_NO_EXTENSIONS": ""}
BUILDS = {
    "pure": {"LEASEDKEYQ_EXTENSIONS": "", "LEASEDKEYQ_NO_EXTENSIONS": "1"},
    "compiled": DEMANDED,
    "checked": {
        **DEMANDED,
        "LEASEDKEYQ_NONECHECK": "1",
        # Soon compiled, and a method that is passed as a value (hatch_build.py) is an error.
        "CFLAGS": "-O1 -g0 -Werror=incompatible-pointer-types",
    },
    "vendored": {
        "LEASEDKEYQ_EXTENSIONS": "",
        "LEASEDKEYQ_NO_EXTENSIONS": "",
        "LEASEDKEYQ_UNDER_TEST": VENDORED_AS,
    },
}


@cache
def pythons() -> dict[str, Path]:
    """The Python of each supported minor version, oldest first.

    The one that .venv was made with, one of pyenv's, or one on the path. A free-threaded or a trial
    build does not count, and neither does another project's environment.
    """
    found = {}
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"), "versions")
    for minor in SUPPORTED:
        name = f"python{minor}"
        places = [Path(sys.base_prefix, "bin"), *sorted(pyenv.glob(f"{minor}.*/bin"), reverse=True)]
        for place in [*places, *map(Path, os.get_exec_path())]:
            if (place / name).exists() and fits(place / name, minor):
                found[minor] = place / name
                break
    return found


def fits(python: Path, minor: str) -> bool:
    """Is it what its name says? (A shim of pyenv may lead nowhere.)"""
    question = (
        "import sys, sysconfig; v = sys.version_info; "
        f"sys.exit('%d.%d' % v[:2] != {minor!r} or v.releaselevel != 'final' or "
        "sys.prefix != sys.base_prefix or bool(sysconfig.get_config_var('Py_GIL_DISABLED')))"
    )
    return not subprocess.run([python, "-c", question], capture_output=True, check=False).returncode


def selected(which: str) -> list[str]:
    """The versions that a word means."""
    *others, newest = pythons()
    words = {"all": [*others, newest], "newest": [newest], "others": others}
    if which not in words and which not in pythons():
        raise SystemExit(f"there is no Python {which} here, only {', '.join(pythons())}")
    return words.get(which, [which])


def git(*arguments: str) -> str:
    command = ["git", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def uv(*arguments: str | Path, **variables: str) -> None:
    # Only what is on the machine: never fetch an interpreter.
    environment = {**os.environ, "UV_PYTHON_DOWNLOADS": "never", **variables}
    program = Path(sys.executable).with_name("uv")
    subprocess.run([program, *arguments, "--quiet"], cwd=ROOT, env=environment, check=True)


def environment(minor: str) -> Path:
    """The directory of the programs of an environment that is exactly the lock."""
    folder = HOME / f"python{minor}"
    stamp = folder / "made-from"
    content = f"{pythons()[minor]}\n{LOCK.read_text()}"
    if not stamp.exists() or stamp.read_text() != content:
        uv("venv", "--clear", "--python", pythons()[minor], folder)
        uv("pip", "sync", "--require-hashes", "--python", folder, LOCK)
        stamp.write_text(content)
    return folder / "bin"


def digest() -> str:
    """Of everything that a wheel is made from, the tools included."""
    found = hashlib.sha256(LOCK.read_bytes())
    files = [ROOT / "hatch_build.py", ROOT / "pyproject.toml", ROOT / "README.md"]
    for path in sorted([*files, *(ROOT / "src").rglob("*")]):
        if path.suffix in (".py", ".pxd", ".lua", ".toml", ".md"):
            found.update(f"{path.relative_to(ROOT)} {path.stat().st_size}\n".encode())
            found.update(path.read_bytes())
    return found.hexdigest()[:12]


def built(build: str, minor: str) -> Path:
    """A directory that holds the unpacked wheel, or the copy."""
    name = f"{build}-{minor}" if build in ("compiled", "checked") else build
    folder = HOME / "builds" / f"{name}-{digest()}"
    if not folder.exists():
        folder.parent.mkdir(exist_ok=True)
        for old in folder.parent.glob(f"{name}-*"):
            shutil.rmtree(old)
        with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
            make = vendor if build == "vendored" else build_wheel
            make(Path(scratch, "made"), environment(minor) / "python", BUILDS[build])
            Path(scratch, "made").rename(folder)
    return folder


def build_wheel(target: Path, python: Path, variables: dict[str, str]) -> None:
    """The backend comes from the lock, and not from a fresh download."""
    quietly(
        [python, "-m", "hatchling", "build", "-t", "wheel", "-d", target], os.environ | variables
    )
    (wheel,) = target.glob("*.whl")
    with ZipFile(wheel) as archive:
        archive.extractall(target)


def vendor(target: Path, python: Path, variables: dict[str, str]) -> None:
    copy = target.joinpath(*VENDORED_AS.split("."))
    for command in ("copy", "check"):
        quietly([python, ROOT / "vendor.py", command, copy], os.environ | variables)
    for package in copy.parents[:2]:
        (package / "__init__.py").touch()


def quietly(command: list[str | Path], variables: dict[str, str]) -> None:
    """What it prints is of interest only if it fails."""
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(done.stdout)


CHECK = """
import importlib.util, os, sys
package = importlib.import_module(sys.argv[1])
print(f"== Python {sys.version.split()[0]}, {os.path.relpath(package.__file__)}")
assert package.__file__.startswith(sys.argv[2] + os.sep), "it is not the one that was built"
assert package.__compiled__ == (sys.argv[3] == "True"), "it is not the build that was asked for"
if package.__name__ != "leasedkeyq":
    assert importlib.util.find_spec("leasedkeyq") is None, "the original is importable"
"""


def run(minor: str, build: str, command: list[str]) -> int:
    """The command's status."""
    programs, folder = environment(minor), built(build, minor)
    variables = {
        **os.environ,
        **BUILDS[build],
        "PATH": os.pathsep.join([str(programs), os.environ["PATH"]]),
        "PYTHONPATH": str(folder),
        "MYPYPATH": str(folder),
    }
    package = variables.get("LEASEDKEYQ_UNDER_TEST", "leasedkeyq")
    compiled = bool(BUILDS[build]["LEASEDKEYQ_EXTENSIONS"])
    quick_look = [str(programs / "python"), "-c", CHECK, package, str(folder), str(compiled)]
    for line in (quick_look, [str(programs / command[0]), *command[1:]]):
        if status := subprocess.run(line, cwd=ROOT, env=variables, check=False).returncode:
            return status
    return 0


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--build", choices=BUILDS, default="pure")
    parser.add_argument("which", metavar="PYTHON")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    for minor in selected(options.which):
        if status := run(minor, options.build, options.command[options.command[0] == "--" :]):
            sys.exit(status)


if __name__ == "__main__":
    main()
