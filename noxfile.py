"""The test matrix: the built wheel, on every supported CPython this machine has.

Nothing here sees the source tree as a package. The wheel is built from the sdist, installed
into an environment made from the lock, and the tests run against that.
"""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import findpython
import nox

SUPPORTED = ("3.11", "3.12", "3.13", "3.14")
ROOT = Path(__file__).parent
DIST = ROOT / ".nox" / "dist"
VENDORED_AS = "acme._vendor.keyed_queue"
EXAMPLES_NEED = ("aiohttp", "rich", "typer", "watchfiles")
FIRST_PROGRAM = """
import asyncio, leasedkeyq

async def main():
    async with leasedkeyq.LeasedKeyQueue(default_lease_timeout=30) as queue:
        await queue.put("key", "value")
        key, value, lease = await queue.get()
        await queue.ack(lease)
        print(leasedkeyq.__version__, leasedkeyq.__file__, key, value)

asyncio.run(main())
"""

nox.options.default_venv_backend = "uv"
nox.options.reuse_venv = "yes"
nox.options.stop_on_first_error = True
nox.options.sessions = ["unit", "coverage", "vendored"]

# Only what is on the machine: never fetch an interpreter.
os.environ["UV_PYTHON_DOWNLOADS"] = "never"


def installed_pythons() -> dict[str, str]:
    """Return the newest release of each supported minor version, oldest version first.

    Only names like python3.12 are tried, for each trial starts a process. pyenv's shims among
    them lead to the real interpreter, or fail and are dropped. Environments are passed over:
    they are some other project's, or our own.
    """
    names = {f"python{minor}": minor for minor in SUPPORTED}
    candidates = {
        python
        for provider in findpython.Finder().setup_providers()
        for python in provider.find_pythons()
        if python.name in names
    }
    # The one that .venv was made with may lie where nobody looks.
    ours = f"python{sys.version_info.major}.{sys.version_info.minor}"
    candidates.add(findpython.PythonVersion(Path(sys.base_prefix, "bin", ours)))

    found: dict[str, str] = {}
    valid = filter(findpython.PythonVersion.is_valid, candidates)
    for python in sorted(valid, key=lambda python: (python.version, python.executable)):
        plain = python.implementation == "cpython" and not python.freethreaded
        in_environment = Path(python.interpreter.parent.parent, "pyvenv.cfg").exists()
        if plain and not python.is_prerelease and not in_environment:
            found[names[python.name]] = str(python.interpreter)
    return found


logging.getLogger("findpython").setLevel(logging.WARNING)
PYTHONS = installed_pythons()
NEWEST = list(PYTHONS.values())[-1]

on_every_python = nox.parametrize(
    "python", [nox.param(path, id=minor) for minor, path in PYTHONS.items()]
)


def install(session: nox.Session, *packages: str) -> None:
    """Make the environment exactly the lock (nothing of the last run stays), plus `packages`."""
    lock = "requirements/test.txt"
    session.run_install("uv", "pip", "sync", "--quiet", "--require-hashes", lock)
    if packages:
        session.install("--no-deps", *packages)


def install_wheel(session: nox.Session) -> None:
    (wheel,) = DIST.glob("*.whl")
    install(session, str(wheel))
    session.run(
        "python",
        "-c",
        "import leasedkeyq, sys, sysconfig; "
        "print(sys.version.split()[0], leasedkeyq.__version__, leasedkeyq.__file__); "
        "assert leasedkeyq.__file__.startswith(sysconfig.get_path('purelib')), 'not the wheel'",
    )


@nox.session(venv_backend="none")
def build(session: nox.Session) -> None:
    """Build the sdist, and from it the wheel."""
    missing = ", ".join(minor for minor in SUPPORTED if minor not in PYTHONS)
    for minor, path in PYTHONS.items():
        session.log(f"CPython {minor}: {path}")
    session.log(f"not on this machine: {missing or 'none'}")
    shutil.rmtree(DIST, ignore_errors=True)
    # The backend comes from the lock, not from a fresh download.
    command = (sys.executable, "-m", "build", "--no-isolation", "--outdir", str(DIST))
    session.run(*command, silent=True)


@nox.session(requires=["build"])
@on_every_python
def unit(session: nox.Session) -> None:
    """Run the unit tests against the installed wheel."""
    install_wheel(session)
    session.run("pytest", "--quiet", "-n", "2", "tests/unit", *session.posargs)


@nox.session(requires=["build"])
@on_every_python
def pin(session: nox.Session) -> None:
    """Write down anew what every operation costs, where that was meant to change."""
    install_wheel(session)
    session.run("python", "-m", "tests.unit.cost", "--pin")


@nox.session(requires=["build"], python=NEWEST, name="coverage")
def coverage_(session: nox.Session) -> None:
    """Hold the unit tests to every line and every branch of the package."""
    install_wheel(session)
    session.run("coverage", "run", "-m", "pytest", "--quiet", "tests/unit", *session.posargs)
    session.run("coverage", "report")


@nox.session(python=NEWEST)
def vendored(session: nox.Session) -> None:
    """Run the tests against a copy under another name, the original being absent."""
    install(session)
    tree = Path(session.create_tmp()) / "vendored"
    shutil.rmtree(tree, ignore_errors=True)
    copy = tree.joinpath(*VENDORED_AS.split("."))
    for command in ("copy", "check"):
        session.run("python", str(ROOT / "vendor.py"), command, str(copy))
    for package in copy.parents[:2]:
        (package / "__init__.py").touch()

    session.env.update(
        LEASEDKEYQ_UNDER_TEST=VENDORED_AS,
        PYTHONPATH=str(tree),
        MYPYPATH=str(tree),
    )
    session.run(
        "python",
        "-c",
        "import importlib.util as u; "
        f"print(u.find_spec('{VENDORED_AS}').origin); "
        "assert u.find_spec('leasedkeyq') is None, 'the original is importable'",
    )
    session.run("pytest", "--quiet", "-n", "2", "tests/unit", "tests/stateful", *session.posargs)


@nox.session(requires=["build"], python=NEWEST)
def release(session: nox.Session) -> None:
    """Hold what would be released against the tree; install it where nothing else is; use it."""
    (wheel,) = DIST.glob("*.whl")
    (sdist,) = DIST.glob("*.tar.gz")
    package = ROOT / "src" / "leasedkeyq"
    sources = {f"leasedkeyq/{path.name}" for path in package.iterdir() if path.is_file()}
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}
    if packed != sources:
        session.error(f"the wheel and the tree differ in {sorted(packed ^ sources)}")
    with tarfile.open(sdist) as archive:
        unpacked = {name.partition("/")[2] for name in archive.getnames()}
    command = ["git", "ls-files", "-z"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    tracked = {name for name in listed.split("\0") if name and not name.startswith(".")}
    if missing := sorted(tracked - unpacked):
        session.error(f"the sdist lacks {missing}")

    session.run_install("uv", "pip", "sync", "--quiet", "--allow-empty-requirements", os.devnull)
    session.install("--no-deps", str(wheel))
    session.run("uv", "pip", "check")
    session.run("python", "-I", "-c", FIRST_PROGRAM)

    # The examples use what others have made; the queue still has nothing but itself.
    session.install("--constraint", "requirements/dev.txt", *EXAMPLES_NEED)
    for example in sorted((ROOT / "examples").glob("*.py")):
        session.log(f"-- {example.name}")
        session.run("python", "-I", str(example), silent=True)
