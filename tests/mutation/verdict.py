"""What became of the mutants: the score, and those that survived without leave."""

from __future__ import annotations

import csv
import re
import tomllib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mutmut.mutation.data import SourceFileMutationData
from mutmut.mutation.diff_apply import get_diff_for_mutant
from mutmut.stats import status_by_exit_code
from mutmut.utils.file_utils import walk_mutatable_files
from rich.console import Console
from rich.table import Table

HERE = Path(__file__).parent
LISTED = HERE / "survivors.toml"
RECORD = HERE / "record.csv"
FOUND = {"killed", "timeout"}  # a mutant that never ends is noticed


@dataclass(frozen=True)
class Change:
    """A mutant by what it is, since its number shifts with the source."""

    where: str  # "_core.Core.put"
    old: str
    new: str

    def __str__(self) -> str:
        return f"{self.where}\n  - {self.old}\n  + {self.new}"


@dataclass
class Leave:
    """An entry of the list: what may survive, there or anywhere, and why nobody can tell."""

    why: str
    where: str = ""
    old: str = ""
    new: str = ""
    blind_to: str = ""  # a pattern: what differs in nothing else
    used: int = 0

    def covers(self, change: Change) -> bool:
        if self.blind_to:
            return re.sub(self.blind_to, "", change.old) == re.sub(self.blind_to, "", change.new)
        return change == Change(self.where or change.where, self.old, self.new)


def change_of(name: str, path: Path) -> Change:
    """The lines that differ, of a mutant like ``leasedkeyq._core.xǁCoreǁput__mutmut_3``."""
    _, module, function = name.partition("__mutmut_")[0].split(".")
    where = ".".join([module, *re.split("ǁ", function.removeprefix("x_").removeprefix("xǁ"))])
    lines = get_diff_for_mutant(name, path=path).splitlines()[2:]
    old, new = (" ".join(x[1:].strip() for x in lines if x[0] == sign) for sign in "-+")
    return Change(where, old, new)


def mutants() -> Iterator[tuple[Path, str, str]]:
    """Of each mutant its file, its name and its fate."""
    for path in walk_mutatable_files():
        data = SourceFileMutationData(path=path)
        data.load()
        for name, code in data.exit_code_by_key.items():
            yield path, name, status_by_exit_code[code]


def judge(whole: bool) -> int:
    """Print the score and what may not survive. 0 if there is no such thing."""
    leaves = [Leave(**entry) for entry in tomllib.loads(LISTED.read_text())["survivor"]]
    counts: dict[str, Counter[str]] = {}
    unexplained = []
    for path, name, fate in mutants():
        count = counts.setdefault(path.name, Counter())
        if fate == "not checked":
            continue
        count["mutants"] += 1
        if fate in FOUND:
            count["found"] += 1
            continue
        change = change_of(name, path)
        leave = next((leave for leave in leaves if leave.covers(change)), None)
        if leave:
            leave.used += 1
            count["listed"] += 1
        else:
            unexplained.append(f"{fate}: {name}\n{change}")
    rows = [
        (module, c["mutants"], c["found"], c["listed"], c["mutants"] - c["found"] - c["listed"])
        for module, c in sorted(counts.items())
        if c["mutants"]
    ]
    headings = ("module", "mutants", "found by the tests", "listed with a reason", "neither")
    table = Table(*headings)
    for row in rows:
        table.add_row(*map(str, row))
    console = Console(width=100)
    console.print(table)
    total, found, listed, _ = (sum(column) for column in list(zip(*rows, strict=True))[1:])
    console.print(f"score: {found} of {total}, {found / total:.1%}; {listed} more are listed")
    for text in unexplained:
        print(text)
    unused = [leave for leave in leaves if not leave.used] if whole else []
    for leave in unused:
        print(f"listed, and not met any more: {leave.where or leave.blind_to} {leave.new}")
    if whole:
        with RECORD.open("w", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows([headings, *rows])
    return int(bool(unexplained or unused))
