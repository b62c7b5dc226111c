"""The tests on a changed package: those that know the changed module, until one fails.

cosmic-ray has just written its change, so the module is the file that was written last.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

UNIT, JOBS, OBSERVERS = ("tests/unit",), ("tests/jobs",), ("tests/observers",)
MACHINES = ("tests/stateful/test_mirrors.py",)
SEEING = ("__main__", "_screen", "checking", "observing", "otel", "recording", "top")
KNOWN_BY = dict.fromkeys(("jobs", "workers"), JOBS) | dict.fromkeys(SEEING, OBSERVERS)
OPTIONS = ("-x", "-q", "-n0", "-p", "no:cacheprovider", "--timeout=60")
NOT_PYTHON = "not Python"


def last_written(source: Path) -> Path:
    return max(source.rglob("*.py"), key=lambda path: path.stat().st_mtime_ns)


def tests(module: str) -> tuple[str, ...]:
    """Whatever uses the module; in front, what most likely notices."""
    return KNOWN_BY.get(module, UNIT + MACHINES + JOBS + OBSERVERS)


def main() -> None:
    changed = last_written(Path("src"))
    try:
        compile(changed.read_bytes(), changed, "exec")
    except SyntaxError:  # a bar or star in the parameters is an operator to cosmic-ray
        print(NOT_PYTHON)
        sys.exit(1)
    command = [sys.executable, "-m", "pytest", *tests(changed.stem), *OPTIONS]
    os.execv(sys.executable, command)


if __name__ == "__main__":
    main()
