"""Prints the ratios that matter most, on every Python of the machine, in half a minute.

python -m benchmarks.cycle
"""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from .pythons import PYTHONS, run_cases
from .registry import Settings

CASES = ["cycle", "timed", "takers", "hand_over"]


def main() -> None:
    console = Console()
    table = Table("Python", "case", "subject", "against", "median", "quartiles")
    with console.status("") as status:
        for version, python in PYTHONS.items():
            for result in run_cases(python, CASES, Settings(waiting=(50_000,))):
                if isinstance(result, str):
                    status.update(f"{version}: {result}")
                else:
                    table.add_row(
                        version,
                        result.case if result.size is None else f"{result.case} {result.size:,}",
                        result.subject,
                        result.against,
                        f"{result.value:.2f}",
                        f"{result.low:.2f}–{result.high:.2f}",
                    )
            table.add_section()
    console.print(table)


if __name__ == "__main__":
    main()
