"""Run targets of the Makefile, two at a time, and say in the end how long each took.

    python -m tools.steps [--record FILE] TARGET ... [--alone TARGET ...]

What a target prints is shown if it fails. Of one that does not the last line is in the table, for
that is where pytest and the others say what they counted. Targets after `--alone` wait until the
rest is done, and have the machine for themselves. `--record` writes the table to a file, with the
date and the commit.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tools.on import ROOT, git

console = Console(soft_wrap=True)


@dataclass
class Step:
    target: str
    status: int
    seconds: float
    output: str

    @property
    def said(self) -> str:
        """The last line, without colours and rulers."""
        plain = re.sub(r"\x1b\[[0-9;]*m|[^\n\x20-\x7e]", "", self.output)
        lines = [line.strip(" =-|") for line in plain.splitlines()]
        return next((line for line in reversed(lines) if line), "")


def run(target: str, jobs: int, running: set[str]) -> Step:
    """One step; with others beside it, it keeps to one processor."""
    command = ["make", "--no-print-directory", target]
    if jobs > 1:
        command.append("XDIST=-n0")
    running.add(target)
    started = time.monotonic()
    done = subprocess.run(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    step = Step(target, done.returncode, time.monotonic() - started, done.stdout)
    running.discard(target)
    if step.status:
        console.rule(f"[bold red]{target} failed")
        console.print(escape(step.output), highlight=False)
        console.rule(f"repeat it with: [bold]make {target}")
    else:
        beside = f"[dim]; running: {', '.join(sorted(running))}" if running else ""
        console.print(f"[green]{target}[/] {step.seconds:.0f} s{beside}", highlight=False)
    return step


def run_all(targets: list[str], jobs: int) -> list[Step]:
    running: set[str] = set()
    with ThreadPoolExecutor(jobs) as pool:
        return [*pool.map(lambda target: run(target, jobs, running), targets)]


def record(path: Path, steps: list[Step], seconds: float) -> None:
    """The run in TOML; a string of JSON is one of TOML too."""

    def quoted(text: str) -> str:
        return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'

    machine = f"{os.cpu_count()} processors, {platform.system()} {platform.machine()}"
    changed = bool(git("status", "--porcelain", "--untracked-files=no"))
    lines = [
        "# The last run of `make deep`, which writes this file.",
        f"date = {time.strftime('%Y-%m-%d')}",
        f"commit = {quoted(git('rev-parse', 'HEAD'))}",
        f"changed = {str(changed).lower()}  # since that commit",
        f"machine = {quoted(machine)}",
        f"seconds = {seconds:.0f}",
    ]
    for step in steps:
        lines += [
            "",
            "[[step]]",
            f"target = {quoted(step.target)}",
            f"passed = {str(not step.status).lower()}",
            f"seconds = {step.seconds:.0f}",
            f"said = {quoted(step.said)}",
        ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("targets", nargs="+", metavar="TARGET")
    parser.add_argument("--alone", nargs="+", default=[], metavar="TARGET")
    parser.add_argument("--record", type=Path)
    options = parser.parse_args()
    started = time.monotonic()
    steps = run_all(options.targets, jobs=2) + run_all(options.alone, jobs=1)
    seconds = time.monotonic() - started
    table = Table("step", "seconds", "", "what it said")
    for step in steps:
        verdict = "[red]FAILED" if step.status else "[green]ok"
        table.add_row(step.target, f"{step.seconds:.0f}", verdict, escape(step.said))
    table.add_section()
    failed = [step.target for step in steps if step.status]
    table.add_row("in all", f"{seconds:.0f}", "[red]FAILED" if failed else "[green]ok", "")
    console.print(table)
    for target in failed:
        console.print(f"repeat it with: [bold]make {target}")
    if options.record:
        record(options.record, steps, seconds)
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
