#!/usr/bin/env python3
"""Copy the package into another source tree, and check such a copy later.

    python vendor.py copy DEST     make DEST a copy of the package, or bring it up to date
    python vendor.py check DEST    compare a copy with the manifest in it

DEST is the directory of the package to be, such as ``src/acme/_vendor/keyed_queue``; its name is
the name that the package is imported by. The copy holds the licence and a manifest: the version,
the commit that it was made from, the SHA-256 of every file, and that of all this, its seal. Nothing
but Python is needed; the check needs neither network nor clone, only this file and the copy.

A seal is no signature. Who can write a manifest can seal it, and the check then finds only what
contradicts itself: a file that is listed and not there, a path out of the copy, a version that the
files do not have. Against him, copy again from a clone at the commit, and compare the seals: from
the same files of the same commit comes the same seal.
"""

from __future__ import annotations

import hashlib
import json
import keyword
import marshal
import os
import re
import shutil
import subprocess
import sys
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from pathlib import Path
from typing import Any
from unicodedata import normalize

ROOT = Path(__file__).resolve().parent
PACKAGE = ROOT / "src" / "leasedkeyq"
MANIFEST = "VENDORED.json"
REPLACEABLE = re.compile(rf"(\w+/)*__pycache__/|{MANIFEST}: (changed|wrong)")  # by an update
LISTED = re.compile(r"(\w+/)*\w+(\.\w+)?")  # the files of a copy, and none outside of it
COMMIT = re.compile(r"([0-9a-f]{40}|[0-9a-f]{64})( and changes)?")
SOURCES = (".py", ".lua", ".typed")  # what a copy consists of
CACHE = re.compile(r"((?:\w+/)*)__pycache__/(\w+)\.([\w-]+)(?:\.opt-([12]))?\.pyc")


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def seal(manifest: dict[str, Any]) -> str:
    """The sum of the rest of a manifest, so that a changed version or commit shows."""
    return digest(json.dumps({**manifest, "seal": None}, sort_keys=True).encode())


def sources() -> dict[str, Path]:
    """What a copy consists of: the source alone, whatever was compiled from it here."""
    paths = [path for path in sorted(PACKAGE.rglob("*")) if path.suffix in SOURCES]
    return {
        **{path.relative_to(PACKAGE).as_posix(): path for path in paths},
        "LICENSE": ROOT / "LICENSE",
    }


def version(package: Path) -> str | None:
    """What the files say; None if they say nothing."""
    text = (package / "__init__.py").read_text(encoding="utf-8", errors="replace")
    found = re.search(r'^__version__ = "(.+)"$', text, re.MULTILINE)
    return found[1] if found else None


def commit() -> str | None:
    """The commit of the sources, marked if they have changed since; None outside a clone."""
    # A hook of another repository is told by variables where that one is.
    here = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(ROOT), *arguments]
        done = subprocess.run(command, env=here, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    try:
        (ROOT / ".git").stat()
        head = git("rev-parse", "HEAD")
        changed = git("status", "--porcelain", "--", str(PACKAGE), str(ROOT / "LICENSE"))
    except (OSError, subprocess.CalledProcessError):
        return None
    return f"{head} and changes" if changed else head


def regular(path: Path) -> bool:
    """Whether it is a file that can be opened and read to its end, and that lies where it seems."""
    return path.is_file() and not path.is_symlink()


def compiled(source: Path, cache: Path, tag: str, level: int) -> bool:
    """Whether Python, which runs what it has cached, runs the source."""
    if not regular(source):
        return False
    try:
        code = compile(source.read_bytes(), source, "exec", dont_inherit=True, optimize=level)
        same: bool = marshal.loads(cache.read_bytes()[16:]) == code
    except (EOFError, SyntaxError, TypeError, ValueError):
        return False
    return same and tag == sys.implementation.cache_tag


def contradictions(manifest: dict[str, Any], destination: Path) -> list[str]:
    """What is wrong with a manifest, whoever has sealed it."""
    found = [
        f"lists {name!r}, which is no file of a copy"
        for name in manifest["files"]
        if not LISTED.fullmatch(name)
    ]
    if "__init__.py" not in manifest["files"]:
        found.append("lists no __init__.py")
    said, package, made_from = (manifest.get(what) for what in ("version", "package", "commit"))
    if package != "leasedkeyq":
        found.append(f"package {package}")
    if made_from is not None and not COMMIT.fullmatch(str(made_from)):
        found.append(f"commit {made_from}")
    if regular(destination / "__init__.py"):
        actual = version(destination)
        if actual is not None and actual != said:
            found.append(f"version {said}, and the files have {actual}")
    return found


def differences(destination: Path) -> list[str]:
    """What is not as the manifest says, one line a file. Nothing outside of the copy is looked at,
    and nothing but files is opened: a FIFO would block, and a device may have no end."""
    if (destination / MANIFEST).is_symlink():
        return [f"{MANIFEST}: a symbolic link"]
    if (destination / MANIFEST).exists() and not regular(destination / MANIFEST):
        return [f"{MANIFEST}: cannot be read (it is no file)"]
    try:
        manifest = json.loads((destination / MANIFEST).read_text(encoding="utf-8"))
        expected: dict[str, str] = {**manifest["files"]}
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        return [f"{MANIFEST}: cannot be read ({error!r})"]
    found = []
    if manifest.get("seal") != seal(manifest):
        found.append(f"{MANIFEST}: changed")
    elif wrong := contradictions(manifest, destination):
        found += [f"{MANIFEST}: wrong ({what})" for what in wrong]
    expected = {name: sum_ for name, sum_ in expected.items() if LISTED.fullmatch(name)}
    found += [f"{name}: missing" for name in expected if not (destination / name).exists()]
    for path in [destination, *sorted(destination.rglob("*"))]:
        name = path.relative_to(destination).as_posix()
        cache = CACHE.fullmatch(name)
        if path.is_symlink():
            found.append(f"{name}: a symbolic link")
        elif path.is_dir():
            if name in expected:
                found.append(f"{name}: a folder")
            try:
                os.scandir(path).close()
            except OSError as error:  # over which rglob has passed in silence
                found.append(f"{name}: cannot be looked into ({error.strerror})")
        elif not path.is_file():
            found.append(f"{name}: neither a file nor a folder")
        elif name == MANIFEST:
            continue
        elif cache and (source := f"{cache[1]}{cache[2]}.py") in expected:
            if not compiled(destination / source, path, cache[3], int(cache[4] or 0)):
                found.append(f"{name}: not what this Python compiles the source to")
        elif name not in expected:
            found.append(f"{name}: not in the manifest")
        elif digest(path.read_bytes()) != expected[name]:
            found.append(f"{name}: changed")
    return found


def copy(destination: Path) -> None:
    name = destination.resolve().name
    # An import looks for the normal form of a name, and for no other.
    if not name.isidentifier() or keyword.iskeyword(name) or name != normalize("NFKC", name):
        raise SystemExit(f"{name!r} cannot be imported: give the package another name")
    if destination.exists() and any(destination.iterdir()):
        lost = [line for line in differences(destination) if not REPLACEABLE.match(line)]
        if lost:
            raise SystemExit(
                f"{destination} is not an untouched copy, and would be lost:\n" + "\n".join(lost)
            )
        shutil.rmtree(destination)
    destination.mkdir(parents=True, exist_ok=True)
    for file, path in sources().items():
        (destination / file).parent.mkdir(exist_ok=True)
        shutil.copyfile(path, destination / file)
    manifest = {
        "package": "leasedkeyq",
        "version": version(PACKAGE),
        "commit": commit(),
        "files": {file: digest((destination / file).read_bytes()) for file in sources()},
    }
    manifest["seal"] = seal(manifest)
    (destination / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", "utf-8")
    print(f"leasedkeyq {manifest['version']} is in {destination}")


def check(destination: Path) -> None:
    found = differences(destination)
    if found:
        raise SystemExit(f"{destination} differs from its manifest:\n" + "\n".join(found))
    print(f"{destination} is as it was copied")


def main(arguments: list[str] | None = None) -> None:
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=["copy", "check"])
    parser.add_argument("destination", metavar="DEST", type=Path)
    options = parser.parse_args(arguments)
    try:
        {"copy": copy, "check": check}[options.command](options.destination)
    except OSError as error:
        raise SystemExit(f"{options.command} has failed: {error}") from None


if __name__ == "__main__":
    main()
