"""A copy of the package under another name, in a tree from which the original is out of reach."""

from __future__ import annotations

import hashlib
import json
import os
import py_compile
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
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


TAG = sys.implementation.cache_tag
OUTSIDE = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}  # of any hook


def python(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run nothing but Python: no site-packages, no environment."""
    command = [sys.executable, "-I", "-S", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def vendor(*arguments: object) -> subprocess.CompletedProcess[str]:
    return python(ROOT / "vendor.py", *arguments)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("once") / "vendored_queue"
    assert vendor("copy", made).returncode == 0
    return made


@pytest.fixture
def copy(made: Path, tmp_path: Path) -> Path:
    return shutil.copytree(made, tmp_path / "acme" / "vendored_queue")


def test_copy_works_where_the_original_is_not(copy: Path) -> None:
    run = python("-c", PROGRAM, copy.parents[1])
    assert (run.stdout, run.stderr) == ("key 1 acme.vendored_queue._queue\n", "")


def test_manifest_says_what_was_copied(copy: Path) -> None:
    manifest = json.loads((copy / "VENDORED.json").read_text())
    package = ROOT / "src" / "leasedkeyq"
    paths = [path for suffix in ("py", "lua") for path in package.rglob(f"*.{suffix}")]
    sources = {path.relative_to(package).as_posix(): path for path in paths}
    sources["py.typed"] = package / "py.typed"
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


def commit(folder: Path) -> str:
    """Make a repository of a folder; what is its commit."""

    def git(*arguments: str) -> str:
        command = ["git", "-c", "user.name=n", "-c", "user.email=e", *arguments]
        done = subprocess.run(
            command, cwd=folder, env=OUTSIDE, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    git("init", "-q")
    git("add", ".")
    git("commit", "-q", "--allow-empty", "-m", folder.name)
    return git("rev-parse", "HEAD")


def test_the_commit_is_that_of_the_sources_in_a_hook_of_another_repository(tmp_path: Path) -> None:
    """Git tells its hooks, and whoever they call, by variables where they are."""
    clone, other = tmp_path / "clone", tmp_path / "other"
    shutil.copytree(ROOT / "src" / "leasedkeyq", clone / "src" / "leasedkeyq")
    for file in ["LICENSE", "vendor.py"]:
        shutil.copy(ROOT / file, clone)
    other.mkdir()
    made_from, _ = commit(clone), commit(other)
    hook = {"GIT_DIR": str(other / ".git"), "GIT_INDEX_FILE": str(other / ".git" / "index")}
    command = [sys.executable, str(clone / "vendor.py"), "copy", str(tmp_path / "copy")]
    subprocess.run(command, cwd=other, env=OUTSIDE | hook, capture_output=True, check=True)
    manifest = json.loads((tmp_path / "copy" / "VENDORED.json").read_text())
    assert manifest["commit"] == made_from


@pytest.mark.parametrize("optimised", [[], ["-O"], ["-OO"]])
def test_check_accepts_an_untouched_copy_that_was_used(copy: Path, optimised: list[str]) -> None:
    assert python(*optimised, "-c", PROGRAM, copy.parents[1]).returncode == 0
    assert list(copy.glob("__pycache__/lease.*.pyc"))
    assert vendor("check", copy).stdout == f"{copy} is as it was copied\n"


def write(name: str, text: str = "") -> Callable[[Path], object]:
    def tamper(copy: Path) -> None:
        (copy / name).parent.mkdir(exist_ok=True)
        (copy / name).write_text(text)

    return tamper


def remove(name: str) -> Callable[[Path], object]:
    return lambda copy: (copy / name).unlink()


def link(name: str) -> Callable[[Path], object]:
    """A link takes the place of something, and leads to the very same thing."""

    def tamper(copy: Path) -> None:
        (copy / name).rename(copy.parent / "elsewhere")
        (copy / name).symlink_to(copy.parent / "elsewhere")

    return tamper


def cache(name: str, source: str = "") -> Callable[[Path], object]:
    """Something else was compiled, and Python is not to ask the source whether it is the same."""

    def tamper(copy: Path) -> None:
        (copy.parent / "other.py").write_text(source)
        unchecked = py_compile.PycInvalidationMode.UNCHECKED_HASH
        target = str(copy / "__pycache__" / name)
        py_compile.compile(str(copy.parent / "other.py"), target, invalidation_mode=unchecked)

    return tamper


def say(**what: object) -> Callable[[Path], object]:
    """The manifest says something else."""

    def tamper(copy: Path) -> None:
        manifest = json.loads((copy / "VENDORED.json").read_text())
        (copy / "VENDORED.json").write_text(json.dumps({**manifest, **what}))

    return tamper


def reseal(**what: object) -> Callable[[Path], object]:
    """The manifest says something else, and its seal is made anew."""

    def tamper(copy: Path) -> None:
        manifest = {**json.loads((copy / "VENDORED.json").read_text()), **what, "seal": None}
        text = json.dumps(manifest, sort_keys=True)
        manifest["seal"] = hashlib.sha256(text.encode()).hexdigest()
        (copy / "VENDORED.json").write_text(json.dumps(manifest))

    return tamper


def list_too(copy: Path, name: str) -> None:
    """The manifest lists one more file, with its right sum where there is one, and is resealed."""
    manifest = json.loads((copy / "VENDORED.json").read_text())
    try:
        data = (copy / name).read_bytes()
    except (OSError, ValueError):
        data = b""
    files = {**manifest["files"], name: hashlib.sha256(data).hexdigest()}
    reseal(files=files)(copy)


def special(name: str, kind: str = "FIFO") -> Callable[[Path], object]:
    """What blocks whoever opens it, or has no end, takes the place of a file."""

    def tamper(copy: Path) -> None:
        path = copy / name
        path.parent.mkdir(exist_ok=True)
        path.unlink(missing_ok=True)
        if kind == "FIFO":
            os.mkfifo(path)
        else:
            here = os.open(copy, os.O_RDONLY)  # the whole path may be too long for a socket
            with socket.socket(socket.AF_UNIX) as server:
                server.bind(f"/proc/self/fd/{here}/{name}" if sys.platform == "linux" else name)
            os.close(here)

    return tamper


def folder(name: str) -> Callable[[Path], object]:
    def tamper(copy: Path) -> None:
        (copy / name).unlink()
        (copy / name).mkdir()

    return tamper


@pytest.mark.parametrize(
    ("tamper", "line"),
    [
        (write("lease.py"), "lease.py: changed"),
        (write("LICENSE"), "LICENSE: changed"),
        (remove("lease.py"), "lease.py: missing"),
        (write("patch.py"), "patch.py: not in the manifest"),
        (write("lease.pyc"), "lease.pyc: not in the manifest"),
        (write("lease.so"), "lease.so: not in the manifest"),
        (write("lease/__init__.py"), "lease/__init__.py: not in the manifest"),
        (write("more/VENDORED.json"), "more/VENDORED.json: not in the manifest"),
        (write("__pycache__/lease.py"), "__pycache__/lease.py: not in the manifest"),
        (cache(f"patch.{TAG}.pyc"), f"__pycache__/patch.{TAG}.pyc: not in the manifest"),
        (cache(f"lease.{TAG}.pyc"), f"__pycache__/lease.{TAG}.pyc: not what this Python"),
        (write(f"__pycache__/lease.{TAG}.pyc"), f"__pycache__/lease.{TAG}.pyc: not what"),
        (cache(f"lease.{TAG}.opt-2.pyc"), f"__pycache__/lease.{TAG}.opt-2.pyc: not what this"),
        (cache("lease.cpython-27.pyc"), "__pycache__/lease.cpython-27.pyc: not what this Python"),
        (link("lease.py"), "lease.py: a symbolic link"),
        (link("VENDORED.json"), "VENDORED.json: a symbolic link"),
        (link(""), ".: a symbolic link"),
        (lambda copy: (copy / "more").symlink_to(".."), "more: a symbolic link"),
        (lambda copy: (copy / "gone").symlink_to("nowhere"), "gone: a symbolic link"),
        (special("pipe"), "pipe: neither a file nor a folder"),
        (special("socket", "socket"), "socket: neither a file nor a folder"),
        (special("lease.py"), "lease.py: neither a file nor a folder"),
        (special("__pycache__"), "__pycache__: neither a file nor a folder"),
        (special(f"__pycache__/lease.{TAG}.pyc"), f"__pycache__/lease.{TAG}.pyc: neither a file"),
        (special("VENDORED.json"), "VENDORED.json: cannot be read"),
        (folder("lease.py"), "lease.py: a folder"),
        (reseal(version="9.9.9"), "VENDORED.json: wrong (version 9.9.9, and the files have "),
        (reseal(version=None), "VENDORED.json: wrong (version None, and the files have "),
        (reseal(commit=7), "VENDORED.json: wrong (commit 7)"),
        (reseal(commit="the newest"), "VENDORED.json: wrong (commit the newest)"),
        (reseal(package="queue"), "VENDORED.json: wrong (package queue)"),
        (say(version="9.9.9"), "VENDORED.json: changed"),
        (say(commit="0" * 40), "VENDORED.json: changed"),
        (say(seal=None), "VENDORED.json: changed"),
        (say(more="than this"), "VENDORED.json: changed"),
        (remove("VENDORED.json"), "VENDORED.json: cannot be read"),
        *((say(files=files), "VENDORED.json: cannot be read") for files in [None, 1, "all", [1]]),
        *(
            (write("VENDORED.json", text), "VENDORED.json: cannot be read")
            for text in ["", "{}", "[]", "null", '"files"', "[" * 100_000]
        ),
    ],
)
def test_check_says_what_differs(copy: Path, tamper: Callable[[Path], object], line: str) -> None:
    tamper(copy)
    checked = vendor("check", copy)
    assert checked.returncode == 1
    first, *lines = checked.stderr.splitlines()
    assert first == f"{copy} differs from its manifest:"
    assert [said[: len(line)] for said in lines] == [line]


@pytest.mark.parametrize(
    "name",
    [
        *["../x", "../vendored_queue/lease.py", "/etc/hosts", "/", "", ".", "..", "./lease.py"],
        *["engine/../lease.py", "engine//x.py", "engine/", "C:/x", "a\\b", "null\0", "line\n"],
    ],
)
def test_check_looks_at_nothing_outside(copy: Path, name: str) -> None:
    list_too(copy, name)
    checked = vendor("check", copy)
    assert checked.returncode == 1
    assert checked.stderr.splitlines() == [
        f"{copy} differs from its manifest:",
        f"VENDORED.json: wrong (lists {name!r}, which is no file of a copy)",
    ]


def test_a_file_whose_source_cannot_be_opened_is_not_what_it_compiles_to(copy: Path) -> None:
    cache(f"lease.{TAG}.pyc")(copy)
    special("lease.py")(copy)
    assert vendor("check", copy).stderr.splitlines()[1:] == [
        f"__pycache__/lease.{TAG}.pyc: not what this Python compiles the source to",
        "lease.py: neither a file nor a folder",
    ]


@pytest.mark.parametrize("commit", [None, "0" * 40, f"{'a' * 40} and changes", "b" * 64])
def test_a_seal_does_not_show_what_only_the_original_can(copy: Path, commit: str | None) -> None:
    """It is no signature: here it is that of a manifest that was written anew."""
    (copy / "lease.py").write_text("# a quick fix\n")
    reseal(commit=commit)(copy)
    list_too(copy, "lease.py")
    assert vendor("check", copy).returncode == 0


def test_check_opens_nothing_through_a_link(copy: Path) -> None:
    """What it leads to would block."""
    os.mkfifo(copy.parent / "pipe")
    cache(f"__init__.{TAG}.pyc")(copy)
    (copy / "__init__.py").unlink()
    (copy / "__init__.py").symlink_to(copy.parent / "pipe")
    assert vendor("check", copy).stderr.splitlines()[1:] == [
        "__init__.py: a symbolic link",
        f"__pycache__/__init__.{TAG}.pyc: not what this Python compiles the source to",
    ]
    (copy / "VENDORED.json").unlink()
    (copy / "VENDORED.json").symlink_to(copy.parent / "pipe")
    assert vendor("check", copy).stderr.splitlines()[1:] == ["VENDORED.json: a symbolic link"]


def test_the_same_sources_have_the_same_seal(tmp_path: Path) -> None:
    """Outside a clone, in which somebody might commit between the two."""
    shutil.copytree(ROOT / "src" / "leasedkeyq", tmp_path / "src" / "leasedkeyq")
    for file in ["LICENSE", "vendor.py"]:
        shutil.copy(ROOT / file, tmp_path)
    seals = set()
    for name in ["one", "another"]:
        assert python(tmp_path / "vendor.py", "copy", tmp_path / name).returncode == 0
        seals.add(json.loads((tmp_path / name / "VENDORED.json").read_text())["seal"])
    assert len(seals) == 1


def test_check_takes_nothing_for_no_copy(tmp_path: Path) -> None:
    (tmp_path / "VENDORED.json").write_text('{"package": "leasedkeyq", "files": {}}')
    reseal()(tmp_path)
    assert vendor("check", tmp_path).stderr.splitlines()[1:] == [
        "VENDORED.json: wrong (lists no __init__.py)"
    ]


BLIND = """
import os, runpy, sys
scandir = os.scandir
def scandir_but_hidden(path="."):
    if str(path).endswith("hidden"):
        raise PermissionError(13, "Permission denied", path)
    return scandir(path)
os.scandir = scandir_but_hidden
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def test_a_folder_that_cannot_be_looked_into_is_a_difference(copy: Path) -> None:
    """Its owner can, and root can: so it is acted."""
    write("hidden/patch.py")(copy)
    assert vendor("check", copy).stderr.splitlines()[1:] == ["hidden/patch.py: not in the manifest"]
    assert python("-c", BLIND, ROOT / "vendor.py", "check", copy).stderr.splitlines()[1:] == [
        "hidden: cannot be looked into (Permission denied)"
    ]


@pytest.mark.parametrize("files", [{"lease.py": None}, {"../vendored_queue/lease.py": "0"}, {}])
def test_check_believes_no_manifest_that_leaves_files_out(copy: Path, files: object) -> None:
    say(files=files)(copy)
    checked = vendor("check", copy)
    assert "errors.py: not in the manifest" in checked.stderr.splitlines()
    assert "VENDORED.json: changed" in checked.stderr.splitlines()


def test_what_cannot_be_read_is_named(copy: Path) -> None:
    checked = vendor("copy", copy / "lease.py" / "below")
    assert checked.returncode == 1
    assert len(checked.stderr.splitlines()) == 1
    assert "lease.py" in checked.stderr


def test_compiled_files_are_not_copied(tmp_path: Path) -> None:
    package = tmp_path / "src" / "leasedkeyq"
    shutil.copytree(ROOT / "src" / "leasedkeyq", package)
    for made in ["lease.c", "lease.so", "lease.pxd", "__pycache__/lease.pyc"]:
        (package / made).parent.mkdir(exist_ok=True)
        (package / made).touch()
    for file in ["LICENSE", "vendor.py"]:
        shutil.copy(ROOT / file, tmp_path)
    copy = tmp_path / "acme"
    assert python(tmp_path / "vendor.py", "copy", copy).returncode == 0
    suffixes = {path.suffix for path in copy.rglob("*") if path.is_file()}
    assert suffixes == {".py", ".lua", ".typed", ".json", ""}
    assert json.loads((copy / "VENDORED.json").read_text())["commit"] is None


def test_copy_brings_an_untouched_copy_up_to_date(copy: Path) -> None:
    manifest = json.loads((copy / "VENDORED.json").read_text())
    (copy / "old.py").write_text("")  # a file that an older version had
    manifest["files"]["old.py"] = hashlib.sha256(b"").hexdigest()
    del manifest["seal"]  # which it had not either
    (copy / "VENDORED.json").write_text(json.dumps(manifest))
    cache("lease.cpython-27.pyc")(copy)
    assert vendor("copy", copy).returncode == 0
    assert not (copy / "old.py").exists()
    assert vendor("check", copy).returncode == 0


def test_copy_loses_no_change_of_yours(copy: Path) -> None:
    (copy / "lease.py").write_text("# a quick fix\n")
    refused = vendor("copy", copy)
    assert refused.returncode == 1
    assert "lease.py: changed" in refused.stderr
    assert (copy / "lease.py").read_text() == "# a quick fix\n"


@pytest.mark.parametrize("name", ["match", "type", "_"])
def test_a_word_that_is_a_keyword_in_places_can_be_imported(tmp_path: Path, name: str) -> None:
    assert vendor("copy", tmp_path / "acme" / name).returncode == 0
    run = python("-c", PROGRAM.replace("vendored_queue", name), tmp_path)
    assert (run.stdout, run.stderr) == (f"key 1 acme.{name}._queue\n", "")


def test_copy_replaces_a_wrong_manifest(copy: Path) -> None:
    reseal(version="9.9.9", commit="the newest")(copy)
    assert vendor("copy", copy).returncode == 0
    assert vendor("check", copy).returncode == 0


def test_copy_overwrites_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "thesis.txt").write_text("all of it")
    assert vendor("copy", tmp_path / "precious").returncode == 1
    assert (tmp_path / "precious" / "thesis.txt").read_text() == "all of it"


@pytest.mark.parametrize(
    "name", ["keyed-queue", "class", "None", "await", "1st", "a b", "\ufb01le", "\uff43lass"]
)
def test_name_must_be_importable(tmp_path: Path, name: str) -> None:
    refused = vendor("copy", tmp_path / name)
    assert refused.returncode == 1
    assert "cannot be imported" in refused.stderr
    assert list(tmp_path.iterdir()) == []
