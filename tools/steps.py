"""Run targets of the Makefile, two at a time, and say in the end how long each took.

    python -m tools.steps [--record FILE [--fresh]] TARGET ... [--alone TARGET ...]

What a target prints is shown if it fails. Of one that does not the last line is in the table, for
that is where pytest and the others say what they counted. Targets after `--alone` wait until the
rest is done, and have the machine for themselves.

`--record` writes each step into a file as soon as it ends. One that has passed there is run again
only if something has changed that it depends on (tools/record.py), or with `--fresh`.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tools.on import ROOT
from tools.record import Record, Step, digest

console = Console(soft_wrap=True)


def run(target: str, jobs: int, running: set[str], record: Record | None, fresh: bool) -> Step:
    """One step; with others beside it, it keeps to one processor."""
    inputs = digest(target) if record else ""
    if record and not fresh and (kept := record.passed(target, inputs)):
        console.print(f"[green]{target}[/] unchanged since {kept.since}", highlight=False)
        return kept
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
    if record:
        record.write(step, inputs)
    if step.status:
        console.rule(f"[bold red]{target} failed")
        console.print(escape(step.output), highlight=False)
        console.rule(f"repeat it with: [bold]make {target}")
    else:
        beside = f"[dim]; running: {', '.join(sorted(running))}" if running else ""
        console.print(f"[green]{target}[/] {step.seconds:.0f} s{beside}", highlight=False)
    return step


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("targets", nargs="+", metavar="TARGET")
    parser.add_argument("--alone", nargs="+", default=[], metavar="TARGET")
    parser.add_argument("--record", type=Path)
    parser.add_argument("--fresh", action="store_true")
    options = parser.parse_args()
    record = Record(options.record) if options.record else None
    running: set[str] = set()
    steps: list[Step] = []
    started = time.monotonic()
    for jobs, targets in ((2, options.targets), (1, options.alone)):
        with ThreadPoolExecutor(jobs) as pool:
            each = partial(run, jobs=jobs, running=running, record=record, fresh=options.fresh)
            steps += pool.map(each, targets)
    seconds = time.monotonic() - started
    table = Table("step", "seconds", "", "what it said")
    for step in steps:
        verdict = "[red]FAILED" if step.status else f"[green]ok[/] {step.since and 'unchanged'}"
        table.add_row(step.target, f"{step.seconds:.0f}", verdict, escape(step.said))
    table.add_section()
    failed = [step.target for step in steps if step.status]
    table.add_row("in all", f"{seconds:.0f}", "[red]FAILED" if failed else "[green]ok", "")
    console.print(table)
    for target in failed:
        console.print(f"repeat it with: [bold]make {target}")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
