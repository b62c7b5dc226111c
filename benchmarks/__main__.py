"""Measures everything, on every Python of the machine: two minutes or so for each.

python -m benchmarks [--quick] [CASE ...]
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn
from rich.table import Table

import leasedkeyq

from . import plots, worker  # noqa: F401 (the worker knows all cases)
from .figures import FIGURES
from .pythons import PYTHONS, ROOT, fetch_public, run_cases
from .registry import CASES, QUICK, Found, Settings

DOCS = ROOT / "docs" / "_static" / "bench"

console = Console()


def measure(cases: Sequence[str], settings: Settings) -> dict[str, list[Found]]:
    """The results by Python version; shows how far it is."""
    results: dict[str, list[Found]] = {}
    columns = ("{task.description}", BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task("", total=len(PYTHONS) * len(cases))
        done = 0
        for version, python in PYTHONS.items():
            results[version] = []
            for message in run_cases(python, cases, settings):
                if isinstance(message, Found):
                    results[version].append(message)
                else:
                    progress.update(bar, description=f"{version} {message}", completed=done)
                    done += 1
            progress.update(bar, completed=done)
    return results


def results_table(results: Mapping[str, Sequence[Found]]) -> Table:
    """Everything that is a ratio: the median, and half the distance of the quartiles."""
    table = Table("case", "compared", *results)
    rows: dict[tuple[str, str], dict[str, str]] = {}
    for version, of_version in results.items():
        for found in of_version:
            if found.unit == "times":
                case = found.case if found.size is None else f"{found.case}, {found.size:,}"
                row = rows.setdefault((case, f"{found.subject} / {found.against}"), {})
                spread = (found.high - found.low) / 2
                row[version] = f"{found.value:.2f}" + (f" ±{spread:.2f}" if spread else "")
    for names, cells in rows.items():
        table.add_row(*names, *(cells.get(version, "") for version in results))
    return table


def figures_table(results: Mapping[str, Sequence[Found]]) -> tuple[Table, bool]:
    """The figures to reach, and whether all of them are."""
    table = Table("figure", "at most", *results)
    all_reached = True
    for figure in FIGURES:
        cells = []
        for of_version in results.values():
            value = figure.measured(of_version)
            reached = value is not None and value <= figure.bar
            all_reached = all_reached and reached
            if value is None:
                cells.append("not measured")
            else:
                cells.append(f"{value:.3f}" + ("" if reached else " [bold red]MISSED[/]"))
        table.add_row(figure.what, f"{figure.bar:.3g}", *cells)
    return table, all_reached


def write(results: Mapping[str, Sequence[Found]], folder: Path) -> None:
    """The results as JSON and as plots."""
    folder.mkdir(parents=True, exist_ok=True)
    rounded = {
        version: [
            asdict(found)
            | {name: float(f"{getattr(found, name):.4g}") for name in ("value", "low", "high")}
            for found in of_version
        ]
        for version, of_version in results.items()
    }
    figures = [
        asdict(figure)
        | {
            "measured": {
                version: None if (value := figure.measured(of_version)) is None else round(value, 3)
                for version, of_version in results.items()
            }
        }
        for figure in FIGURES
    ]
    content = {"leasedkeyq": leasedkeyq.__version__, "figures": figures, "found": rounded}
    text = json.dumps(content, indent=1) + "\n"
    folder.joinpath("results.json").write_text(text, encoding="utf-8")
    plots.draw(results, folder)
    console.print(f"written to {folder}")


def main(
    cases: Annotated[
        list[str] | None, typer.Argument(help=f"Which, if not all: {', '.join(CASES)}.")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="A look at small sizes only.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Fail if a figure is missed.")] = False,
    output: Annotated[
        Path | None, typer.Option(help="Where results and plots go. All, in full: to the docs.")
    ] = None,
) -> None:
    """Measure the queue next to what could be used in its place."""
    if unknown := set(cases or ()) - set(CASES):
        raise typer.BadParameter(f"no such case: {', '.join(sorted(unknown))}")
    if output is None and not cases and not quick:
        output = DOCS
    settings = replace(QUICK if quick else Settings(), public=str(fetch_public()))
    results = measure(cases or list(CASES), settings)
    console.print(results_table(results))
    table, all_reached = figures_table(results)
    console.print(table)
    if output is not None:
        write(results, output)
    raise typer.Exit(1 if strict and not all_reached else 0)


if __name__ == "__main__":
    typer.run(main)
