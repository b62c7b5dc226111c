"""Runs cases on every Python of the machine, and fetches the public package that has our name."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from noxfile import PYTHONS

from .registry import Found, Settings

ROOT = Path(__file__).parent.parent
PUBLIC = ROOT / ".venv" / "leasedkeyq-0.0.7"


def fetch_public() -> Path:
    """Install the public 0.0.7, by its hash, where nobody imports it by accident."""
    lock = ROOT / "requirements" / "rival.txt"
    stamp = PUBLIC / lock.name
    if not stamp.exists() or stamp.read_bytes() != lock.read_bytes():
        options = ["--quiet", "--no-deps", "--require-hashes", "--upgrade", "--target", str(PUBLIC)]
        command = ["pip", "install", *options, "-r", str(lock)]
        subprocess.run([sys.executable, "-m", *command], check=True)
        stamp.write_bytes(lock.read_bytes())
    return PUBLIC


def run_cases(python: str, cases: Sequence[str], settings: Settings) -> Iterator[str | Found]:
    """What the worker prints: the name of a case as it begins, and each result."""
    command = [
        python,
        "-m",
        "benchmarks.worker",
        json.dumps([*cases]),
        json.dumps(asdict(settings)),
    ]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "PYTHONHASHSEED": "0"}
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
    ) as worker:
        assert worker.stdout is not None
        try:
            for line in worker.stdout:
                message = json.loads(line)
                yield message if isinstance(message, str) else Found(**message)
        except BaseException:
            worker.kill()
            raise
    if worker.returncode:
        raise subprocess.CalledProcessError(worker.returncode, command)


__all__ = ["PYTHONS", "ROOT", "fetch_public", "run_cases"]
