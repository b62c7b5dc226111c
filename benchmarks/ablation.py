"""What single promises cost: the core with one of them left out, next to the core as it is.

    python -m benchmarks.ablation

Each line of `LEFT_OUT` is cut from the source of the core, and put, get and ack are timed
without asyncio. None of these cores may be used for anything else.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from types import ModuleType
from typing import Any

from .measure import Block, Ratio, take_turns

CYCLES = 2_000

# What is given up, and the pieces of source that go, each with what stands there instead.
LEFT_OUT: dict[str, list[tuple[str, str]]] = {
    "the guard against keys that call the queue": [
        (
            """        self.due = _BUSY
        try:
            anchor = self._keys.setdefault""",
            """        try:
            anchor = self._keys.setdefault""",
        ),
        (
            """            self.due = _BUSY
            try:
                del self._keys[lease._key""",
            """            try:
                del self._keys[lease._key""",
        ),
    ],
    "the index of live leases": [
        ("        self._leases[number] = copy\n        if duration", "        if duration"),
        ("            del self._leases[lease._number]\n            if", "            if"),
    ],
    "the numbers of grants": [
        (
            "self._number = number = self._number + 1\n        copy._standing = self._l",
            "number = 1\n        copy._standing = self._l",
        ),
    ],
    "the check that a lease is one": [
        (
            """        try:
            live = lease._standing is self._leased
        except AttributeError:
            live = False  # it is no lease at all
        if not live:
            lease = self._find(lease)
""",
            "",
        ),
    ],
}


def variant(name: str, cuts: list[tuple[str, str]]) -> ModuleType:
    """The core, made anew from its source without the pieces."""
    core = importlib.import_module("leasedkeyq._core")
    source = inspect.getsource(core)
    for piece, instead in cuts:
        if source.count(piece) != 1:
            raise LookupError(f"{name}: the core no longer has {piece!r}")
        source = source.replace(piece, instead)
    module = ModuleType(f"leasedkeyq._core_without_{len(sys.modules)}")
    module.__package__ = "leasedkeyq"
    sys.modules[module.__name__] = module
    exec(compile(source, module.__name__, "exec"), module.__dict__)
    return module


def cycles(module: ModuleType) -> Callable[[], Any]:
    async def run() -> None:
        core = module.Core()
        for i in range(CYCLES):
            core.put(i, i, "update", 0.0)
            core.ack(core.get(None, None, 0.0)[2], 0.0)

    return run


async def measure() -> dict[str, Ratio]:
    modules = {"as it is": variant("as it is", [])}
    modules |= {name: variant(name, cuts) for name, cuts in LEFT_OUT.items()}
    blocks = {name: Block(cycles(module), CYCLES) for name, module in modules.items()}
    rounds = await take_turns(blocks, rounds=(40, 200))
    return {name: rounds.ratio(name, "as it is") for name in LEFT_OUT}


def main() -> None:
    from rich.console import Console  # noqa: PLC0415 (the Pythons that are measured lack it)
    from rich.table import Table  # noqa: PLC0415 (the Pythons that are measured lack it)

    from .pythons import PYTHONS, ROOT  # noqa: PLC0415 (the Pythons that are measured lack it)

    table = Table("left out", *PYTHONS)
    rows: dict[str, list[str]] = {name: [] for name in LEFT_OUT}
    console = Console()
    with console.status("measuring"):
        for python in PYTHONS.values():
            command = [python, "-m", "benchmarks.ablation", "--here"]
            environment = {"PYTHONPATH": str(ROOT / "src")}
            done = subprocess.run(
                command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True
            )
            for name, ratio in json.loads(done.stdout).items():
                rows[name].append(f"{ratio['median']:.2f} ({ratio['low']:.2f}–{ratio['high']:.2f})")
    for name, cells in rows.items():
        table.add_row(name, *cells)
    console.print(table)


if __name__ == "__main__":
    if sys.argv[1:] == ["--here"]:
        ratios = asyncio.run(measure())
        print(json.dumps({name: asdict(ratio) for name, ratio in ratios.items()}))
    else:
        main()
