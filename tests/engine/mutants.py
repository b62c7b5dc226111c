"""Bugs planted in the machine on the server, one at a time, by rule: is each of them found?

    python -m tests.engine.mutants              all of them, and a table of those that live
    python -m tests.engine.mutants --every 10   each tenth
    python -m tests.engine.mutants --show 123   what one of them changes

A mutant is one change of one place of `machine.lua`: a cell of the table of a key's life, an
operator, a constant, or a statement that is left out. It is found if the replay of the
specification or a test of test_machine.py or test_batches.py goes wrong with it, or nothing comes
back.
"""

from __future__ import annotations

import argparse
import inspect
import re
import sys
import time
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.conformance import graph
from tests.conformance.replay import DiffersError
from tests.engine import test_batches, test_machine
from tests.engine.machine import SOURCE, RedisMachine, Wire, on_a_test_clock
from tests.engine.replay import RedisEngine, replay
from tests.engine.server import Server

PATIENCE: Final = 60  # seconds in which a call must come back
MODELS: Final = ("MCdump_stop", "MCdump_mixed", "MCdump_bound", "MCdump_buffer")

# Those that live, by the line and what becomes of it, and why that is no bug.
EXPLAINED: Final = {
    (row["line"], row["becomes"]): row["why"]
    for row in tomllib.loads(Path(__file__).with_suffix(".toml").read_text())["alive"]
}

SWAPS: Final = {
    " == ": (" ~= ",),
    " ~= ": (" == ",),
    " < ": (" <= ", " > "),
    " <= ": (" < ",),
    " > ": (" >= ", " < "),
    " >= ": (" > ",),
    " + ": (" - ",),
    " - ": (" + ",),
    " and ": (" or ",),
    " or ": (" and ",),
    "not ": ("",),
    "true": ("false",),
    "false": ("true",),
    "math.min": ("math.max",),
    "math.max": ("math.min",),
    "'head'": ("'back'",),
    "'back'": ("'head'",),
    "'end'": ("'back'",),
    "INF": ("0",),
    "-INF": ("INF",),
    "ZPOPMIN": ("ZPOPMAX",),
    "ZPOPMAX": ("ZPOPMIN",),
}
NUMBER: Final = re.compile(r"(?<![\w.'])[0-9]+(?![\w.'])")
CELL: Final = re.compile(r"\{'[A-Z]+'(?:, (?:'[A-Z_]+'|nil))*\}")
STATES: Final = ("AVAILABLE", "LEASED", "DEFERRED", "BUFFERED", "DELAYED")
# A statement on a line of its own, which can be left out.
STATEMENT: Final = re.compile(r"^ +(?:call\(.*\)|\w+\(.*\)|[\w.]+(?:, [\w.]+)* = .*[^,{(])$")


@dataclass(frozen=True)
class Mutant:
    number: int
    line: int
    kind: str
    before: str
    after: str

    def __str__(self) -> str:
        after = self.after.strip() or "(left out)"
        return f"{self.number} line {self.line}, {self.kind}: {self.before.strip()}  ->  {after}"

    @property
    def place(self) -> tuple[str, str]:
        """What it is known by, wherever the line stands."""
        return self.before.strip(), self.after.strip()

    def planted(self, source: str) -> str:
        lines = source.split("\n")
        assert lines[self.line - 1] == self.before
        lines[self.line - 1] = self.after
        return "\n".join(lines)


def mutants(source: str) -> list[Mutant]:
    """All of them, in the order of the source."""
    found: list[Mutant] = []
    in_comment = False
    for number, line in enumerate(source.split("\n"), 1):
        in_comment = (in_comment or "--[[" in line) and "]]" not in line
        code = line.partition("--")[0].rstrip()
        if not in_comment and code.strip() and not code.startswith("#!") and "]]" not in line:
            for kind, after in changes(code):
                if after != code:
                    found.append(Mutant(len(found), number, kind, line, after))
    return found


def changes(code: str) -> Iterator[tuple[str, str]]:
    if cell := CELL.search(code):
        words = cell[0][1:-1].split(", ")
        for place in range(1, len(words)):
            other = next(f"'{state}'" for state in STATES if f"'{state}'" not in words)
            changed = [*words[:place], other, *words[place + 1 :]]
            yield "cell", code.replace(cell[0], "{" + ", ".join(changed) + "}")
        yield "cell", re.sub(r"'(REVISE|REFUSE|ADD)'", "'OTHER'", code)
        return
    for old, instead in SWAPS.items():
        for place in (match.start() for match in re.finditer(re.escape(old), code)):
            for new in instead:
                yield "operator", code[:place] + new + code[place + len(old) :]
    for match in NUMBER.finditer(code):
        yield "constant", code[: match.start()] + str(int(match[0]) + 1) + code[match.end() :]
    if STATEMENT.match(code) and "function" not in code:
        yield "statement", ""


class Lab:
    """A server to plant mutants on; another one when one of them has hung it up."""

    def __init__(self) -> None:
        self.source = SOURCE.read_text()
        self.server = Server().start()

    def leave(self) -> None:
        self.server.remove()

    def found_by(self, mutant: Mutant | None, models: tuple[str, ...] = MODELS) -> str:
        """What shows it; nothing if it lives."""
        source = self.source if mutant is None else mutant.planted(self.source)
        wires: list[Wire] = []
        self.server.ask("FLUSHALL")
        try:
            wires.append(self.wire(source, listens=True))
            for name in models[:2]:
                if self.differs(wires[0], name):
                    return name
            wires[0].ask(("PUNSUBSCRIBE", "lkq:*"))
            wires.append(self.wire(source, listens=False))
            if test := self.fails(wires[1]):
                return test
            wires[0].ask(("PSUBSCRIBE", "lkq:*"))
            for name in models[2:]:
                if self.differs(wires[0], name):
                    return name
        except (TimeoutError, ConnectionError):
            self.server.kill()
            self.server.start()
            return "no answer"
        except Exception as error:  # noqa: BLE001 (whatever it is, it shows the mutant)
            return f"{type(error).__name__}: {error}"[:60]
        finally:
            for wire in wires:
                wire.socket.close()
        return ""

    def wire(self, source: str, *, listens: bool) -> Wire:
        wire = Wire(str(self.server.socket), on_a_test_clock(source), listens=listens)
        wire.socket.settimeout(PATIENCE)
        return wire

    def differs(self, wire: Wire, name: str) -> bool:
        class Planted(RedisMachine):
            pass

        class Engine(RedisEngine):
            make: Any = Planted
            strangers: Any = None

        Planted._connect = staticmethod(lambda: wire)
        try:
            replay(Engine, graph.load(name), share=2, explain=False)
        except DiffersError:
            return True
        return False

    def fails(self, wire: Wire) -> str:
        for name, test in tests_of_the_machine():
            try:
                test(wire)
            except AssertionError:
                return name
        return ""


def tests_of_the_machine() -> Iterator[tuple[str, Callable[[Wire], None]]]:
    """Those of the machine by itself, each to be called with a connection."""
    found = inspect.getmembers(test_machine, inspect.isfunction)
    found += inspect.getmembers(test_batches, inspect.isfunction)
    for name, test in found:
        if not name.startswith("test_"):
            continue
        wanted = [*inspect.signature(test).parameters]
        marks = [m for m in getattr(test, "pytestmark", []) if m.name == "parametrize"]
        for value in marks[0].args[1] if marks else [None]:

            def call(
                wire: Wire, test: Any = test, wanted: list[str] = wanted, value: Any = value
            ) -> None:
                given: dict[str, Any] = {"wire": wire}
                if "queue" in wanted:
                    given["queue"] = test_machine.Queue(wire)
                arguments = [given.get(name, value) for name in wanted]
                test(*arguments)

            yield name, call


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.engine.mutants", description=__doc__)
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--start", type=int, default=0)
    parser.add_argument("--show", type=int)
    parser.add_argument("numbers", nargs="*", type=int)
    options = parser.parse_args()
    lab = Lab()
    try:
        planted = mutants(lab.source)
        if options.show is not None:
            print(planted[options.show])
            return 0
        chosen = [planted[n] for n in options.numbers] or planted[options.start :: options.every]
        alive = 0
        if wrong := lab.found_by(None):
            raise AssertionError(f"{wrong} is wrong without a mutant")
        for mutant in chosen:
            begun = time.monotonic()
            by = lab.found_by(mutant)
            alive += not by
            took = time.monotonic() - begun
            by = by or EXPLAINED.get(mutant.place, "LIVES")
            print(f"{by:45} {took:5.1f} s  {mutant}", flush=True)
        print(f"{len(chosen) - alive} of {len(chosen)} found, of {len(planted)}")
        return 1 if alive else 0
    finally:
        lab.leave()


if __name__ == "__main__":
    sys.exit(main())
