#!/usr/bin/env python3
"""Copy the package into another source tree, and check such a copy later.

    python vendor.py copy DEST     make DEST a copy of the package, or bring it up to date
    python vendor.py check DEST    compare a copy with the manifest in it

DEST is the directory of the package to be, such as ``src/acme/_vendor/keyed_queue``; its name is
the name that the package is imported by. The copy holds the licence and a manifest: the version,
the commit that it was made from, and the SHA-256 of every file. Nothing but Python is needed; the
check needs neither network nor clone, only this file and the copy.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent
PACKAGE = ROOT / "src" / "leasedkeyq"
MANIFEST = "VENDORED.json"


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def files_in(directory: Path) -> dict[str, Path]:
    """What a copy consists of, by relative path; not the manifest, nor what Python caches."""
    return {
        path.relative_to(directory).as_posix(): path
        for path in sorted(directory.rglob("*"))
        if path.is_file() and path.name != MANIFEST and "__pycache__" not in path.parts
    }


def version() -> str:
    text = (PACKAGE / "__init__.py").read_text(encoding="utf-8")
    found = re.search(r'^__version__ = "(.+)"$', text, re.MULTILINE)
    if found is None:
        raise SystemExit(f"{PACKAGE} does not say which version it is")
    return found[1]


def commit() -> str | None:
    """The commit of the sources, marked if they have changed since; None outside a clone."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(ROOT), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    if not (ROOT / ".git").exists():
        return None
    try:
        head = git("rev-parse", "HEAD")
        changed = git("status", "--porcelain", "--", str(PACKAGE), str(ROOT / "LICENSE"))
    except (OSError, subprocess.CalledProcessError):
        return None
    return f"{head} and changes" if changed else head


def differences(destination: Path) -> list[str]:
    """What is not as the manifest says, one line a file."""
    try:
        manifest = json.loads((destination / MANIFEST).read_text(encoding="utf-8"))
        expected: dict[str, str] = manifest["files"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        return [f"{MANIFEST}: cannot be read ({error!r})"]
    present = files_in(destination)
    return [
        *(f"{name}: missing" for name in expected if name not in present),
        *(f"{name}: not in the manifest" for name in present if name not in expected),
        *(
            f"{name}: changed"
            for name in expected
            if name in present and digest(present[name]) != expected[name]
        ),
    ]


def copy(destination: Path) -> None:
    name = destination.resolve().name
    if not name.isidentifier():
        raise SystemExit(f"{name!r} cannot be imported: give the package another name")
    if destination.exists() and any(destination.iterdir()):
        lost = differences(destination)
        if lost:
            raise SystemExit(
                f"{destination} is not an untouched copy, and would be lost:\n" + "\n".join(lost)
            )
        shutil.rmtree(destination)
    destination.mkdir(parents=True, exist_ok=True)
    for file, path in {**files_in(PACKAGE), "LICENSE": ROOT / "LICENSE"}.items():
        target = destination / file
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    manifest = {
        "package": "leasedkeyq",
        "version": version(),
        "commit": commit(),
        "files": {file: digest(path) for file, path in files_in(destination).items()},
    }
    text = json.dumps(manifest, indent=2) + "\n"
    (destination / MANIFEST).write_text(text, encoding="utf-8")
    print(f"leasedkeyq {manifest['version']} is in {destination}")


def check(destination: Path) -> None:
    found = differences(destination)
    if found:
        raise SystemExit(f"{destination} differs from its manifest:\n" + "\n".join(found))
    print(f"{destination} is as it was copied")


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("command", choices=["copy", "check"])
    parser.add_argument("destination", metavar="DEST", type=Path)
    options = parser.parse_args(arguments)
    {"copy": copy, "check": check}[options.command](options.destination)


if __name__ == "__main__":
    main()
