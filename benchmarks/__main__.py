"""Measures both builds on every Python of the machine: two minutes or so for each.

python -m benchmarks [--quick] [CASE ...]
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn
from rich.table import Table

from tools.on import ROOT, built, fits, git, pythons

from .cases import CASES, QUICK, Found
from .figures import FIGURES, PGO
from .rivals import COMPILED, PURE

RESULTS = ROOT / "docs" / "_static" / "bench" / "results.json"

console = Console()


def with_pgo(python: Path) -> bool:
    question = "import sysconfig; print(sysconfig.get_config_var('CONFIG_ARGS'))"
    done = subprocess.run([python, "-c", question], capture_output=True, text=True, check=True)
    return "--enable-optimizations" in done.stdout


def measured_pythons() -> dict[str, tuple[str, Path]]:
    """By name its minor version and its path; one built with PGO besides, if there is one."""
    found = {
        f"{minor} {PGO}" if with_pgo(path) else minor: (minor, path)
        for minor, path in pythons().items()
    }
    for minor in pythons():
        for folder in os.get_exec_path():
            path, name = Path(folder, f"python{minor}"), f"{minor} {PGO}"
            if name not in found and path.exists() and fits(path, minor) and with_pgo(path):
                found = {name: (minor, path), **found}
    return found


def run_cases(
    python: Path, cases: Sequence[str], settings: dict[str, Any]
) -> Iterator[str | Found]:
    """What the worker prints: the name of a case as it begins, and what it found."""
    command = [str(python), "-m", "benchmarks.worker", json.dumps([*cases]), json.dumps(settings)]
    environment = {**os.environ, "PYTHONHASHSEED": "0"}
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


def measure(
    versions: Sequence[str], cases: Sequence[str], scale: dict[str, Any]
) -> dict[str, list[Found]]:
    """The results by Python; shows how far it is."""
    results: dict[str, list[Found]] = {}
    columns = ("{task.description}", BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task("", total=len(versions) * len(cases))
        for version in versions:
            minor, python = measured_pythons()[version]
            progress.update(bar, description=f"{version}: building")
            folders = {build: str(built(build, minor)) for build in (COMPILED, PURE)}
            results[version] = []
            for message in run_cases(python, cases, {"folders": folders, **scale}):
                if isinstance(message, Found):
                    results[version].append(message)
                else:
                    progress.update(bar, description=f"{version}: {message}")
                    progress.advance(bar, message != cases[0])
            progress.advance(bar)
    return results


def figures_table(results: Mapping[str, Sequence[Found]]) -> tuple[Table, list[str]]:
    """The figures that were measured next to their bars, and which miss them."""
    table = Table("figure", "build", "at most", *results, "median")
    missed = []
    for figure in FIGURES:
        if (middle := figure.middle(results)) is None:
            continue
        cells = []
        for version, value in {
            **{version: figure.measured(found) for version, found in results.items()},
            "median": middle,
        }.items():
            mark = " [bold red]MISSED[/]" if value and figure.missed(version, value) else ""
            cells.append("" if value is None else f"{value:.2f}{mark}")
        if figure.missed("median", middle):
            missed.append(f"{figure.what}, {figure.build}")
        bar = "" if figure.bar is None else f"{figure.bar:.3g}"
        bar += "" if figure.pgo_bar is None else f" ({PGO}: {figure.pgo_bar:.3g})"
        table.add_row(figure.what, figure.build, bar, *cells)
    return table, missed


def write(results: Mapping[str, Sequence[Found]], path: Path) -> None:
    """One line for each figure and for each thing found."""

    def rounded(value: float | None) -> float | None:
        return None if value is None else float(f"{value:.3g}")

    figures = [
        {
            **asdict(figure),
            "measured": {
                version: rounded(figure.measured(found)) for version, found in results.items()
            },
            "median": rounded(figure.middle(results)),
        }
        for figure in FIGURES
    ]
    found = {
        version: [
            asdict(found)
            | {name: rounded(getattr(found, name)) for name in ("value", "low", "high")}
            for found in of_version
        ]
        for version, of_version in results.items()
    }

    def lines(rows: Sequence[object]) -> str:
        return "[\n" + ",\n".join(f"  {json.dumps(row)}" for row in rows) + "\n ]"

    parts = [f' "{version}": {lines(rows)}' for version, rows in found.items()]
    text = (
        f'{{\n"date": "{time.strftime("%Y-%m-%d")}",\n"commit": "{git("rev-parse", "HEAD")}",\n'
        f'"figures": {lines(figures)},\n"found": {{\n' + ",\n".join(parts) + "\n}}\n"
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    console.print(f"written to {path}")


def main(
    cases: Annotated[
        list[str] | None, typer.Argument(help=f"Which, if not all: {', '.join(CASES)}.")
    ] = None,
    python: Annotated[
        list[str] | None, typer.Option(help="On which Python, if not on all (3.13).")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="A look at small sizes only.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Fail if a bar is missed.")] = False,
    output: Annotated[
        Path | None, typer.Option(help="Where the results go. All, in full: to the docs.")
    ] = None,
) -> None:
    """Measure both builds of the queue next to what could be used in its place."""
    if unknown := set(cases or ()) - set(CASES):
        raise typer.BadParameter(f"no such case: {', '.join(sorted(unknown))}")
    if unknown := set(python or ()) - set(measured_pythons()):
        raise typer.BadParameter(f"no such Python: {', '.join(sorted(unknown))}")
    if output is None and not (cases or python or quick):
        output = RESULTS
    scale = QUICK if quick else {}
    results = measure(python or [*measured_pythons()], cases or [*CASES], scale)
    table, missed = figures_table(results)
    console.print(table)
    if output is not None:
        write(results, output)
    console.print(f"bars missed: {'; '.join(missed) or 'none'}")
    raise typer.Exit(1 if strict and missed else 0)


if __name__ == "__main__":
    typer.run(main)
