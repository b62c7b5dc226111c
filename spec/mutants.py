"""Mutants of the specification: does TLC notice when a rule is changed?

    python -m spec.mutants            every mutant of `mutants.toml` (make spec-mutants)
    python -m spec.mutants --sample   a few, one of each kind of rule
    python -m spec.mutants WORD ...   those whose names contain one of the words

A mutant is `leasedkeyq.tla` with a piece of text replaced by another; what the queue promises is
in `properties.tla`, and is never changed. `mutants.toml` says which property must see the mutant,
and in which model; that property is checked alone, so one that has lost its teeth shows at once.
And every property must be the one that sees some mutant.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import tomllib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from spec import tlc

CHANGED = tlc.SPEC / "leasedkeyq.tla"


@dataclass
class Mutant:
    """The specification with a change, and what must see it."""

    name: str
    old: str
    new: str
    by: tuple[str, str]  # a model, and the property that is violated there
    sample: bool = False

    @property
    def source(self) -> str:
        source = CHANGED.read_text()
        if source.count(self.old) != 1:
            raise ValueError(f"{self.name}: not in one place: {self.old}")
        return source.replace(self.old, self.new)

    def seen(self) -> tlc.Result:
        """What TLC says, with the one property checked."""
        name, due = self.by
        (model,) = (model for model in tlc.manifest() if model.name == name)
        model.check = [due]
        with tempfile.TemporaryDirectory(prefix="mutant-") as scratch:
            for module in tlc.SPEC.glob("*.tla"):
                shutil.copy(module, scratch)
            Path(scratch, CHANGED.name).write_text(self.source)
            return model.run(directory=Path(scratch), limit=600)


def mutants() -> list[Mutant]:
    """Every mutant, in the order of the file."""
    entries = tomllib.loads((tlc.SPEC / "mutants.toml").read_text())["mutant"]
    return [Mutant(**entry) for entry in entries]


def unseen() -> set[str]:
    """The properties that see no mutant."""
    kinds = (tlc.contents()[kind] for kind in ("invariants", "properties"))
    due = {name for kind in kinds for group in kind.values() for name in group}
    tabled = {name for model in tlc.manifest() if model.fails for name in model.check}
    return due - tabled - {mutant.by[1] for mutant in mutants()}


def main(arguments: list[str] | None = None) -> int:
    """Try the mutants; 0 if each is seen by the property that is to see it."""
    parser = argparse.ArgumentParser(prog="spec.mutants")
    parser.add_argument("words", nargs="*", metavar="WORD", help="a part of a mutant's name")
    parser.add_argument("--sample", action="store_true", help="a few of them")
    options = parser.parse_args(arguments)
    every = mutants()
    chosen = [
        mutant
        for mutant in every
        if (mutant.sample or not options.sample)
        and any(word in mutant.name for word in options.words or [""])
    ]
    survived = []

    def judge(mutant: Mutant) -> None:
        result, (model, due) = mutant.seen(), mutant.by
        # TLC does not name a property of what happens in the end.
        killed = result.exit_code in (tlc.INVARIANT, tlc.PROPERTY) and result.violated in (due, "")
        if not killed:
            survived.append(mutant)
        fate = f"{due} in {model}" if killed else f"NOT SEEN by {due} in {model}: {result.meaning}"
        print(f"{mutant.name}: {fate}", flush=True)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(judge, chosen))
    toothless = unseen()
    print(f"{len(chosen)} mutants of {len(every)}, {len(chosen) - len(survived)} seen")
    for mutant in survived:
        print(f'to see it again: python -m spec.mutants "{mutant.name}"')
    for name in sorted(toothless):
        print(f"sees no mutant: {name}")
    return 1 if survived or toothless else 0


if __name__ == "__main__":
    sys.exit(main())
