"""Where the time of a cycle goes, and what single promises cost.

    python -m benchmarks.ablation

The first table shows parts of put, get and ack next to the whole. For the second, each line of
`LEFT_OUT` is cut from the source of the core, and the cycle is timed without asyncio, next to
the core as it is. None of these cores may be used for anything else.
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
from functools import partial
from types import ModuleType
from typing import Any, cast

from leasedkeyq import LeasedKeyQueue

from .measure import Block, Ratio, take_turns
from .subjects import Floor

CYCLES = 2_000
WHOLE = "the whole cycle"
UNTIMED = "an untimed cycle"

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
            """self._number = number = self._number + 1
        copy._standing = self._leased
        if copy._item is not None:
            copy._item.admit(copy)
        self._leases[number] = copy
        if duration""",
            """number = 1
        copy._standing = self._leased
        if copy._item is not None:
            copy._item.admit(copy)
        self._leases[number] = copy
        if duration""",
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


class IdleCore:
    """A core that does nothing, at once: what is left is the shell's own work."""

    due = None
    news = False

    def put(self, key: object, value: object, policy: str, now: float) -> None:
        pass

    def get(self, timeout: object, lease_timeout: object, now: float) -> tuple[None, None, None]:
        return None, None, None

    def ack(self, lease: object, now: float) -> None:
        pass


async def awaited(queue: LeasedKeyQueue[int, int]) -> None:
    for i in range(CYCLES):
        await queue.put(i, i)
        await queue.ack((await queue.get())[2])


def parts() -> dict[str, Callable[[], Any]]:
    """The whole cycle, and what may be told apart in it."""
    idle: LeasedKeyQueue[int, int] = LeasedKeyQueue()
    idle._core = cast(Any, IdleCore())

    async def floor(queue: Floor = Floor()) -> None:  # noqa: B008 (emptied by each run)
        for i in range(CYCLES):
            await queue.put(i, i)
            await queue.get()
            await queue.ack(i)

    return {
        WHOLE: partial(awaited, LeasedKeyQueue()),
        "three awaits and one dict, no queue": floor,
        "the shell, over a core that does nothing": partial(awaited, idle),
        "the core, without a shell": cycles(importlib.import_module("leasedkeyq._core")),
    }


async def shares() -> dict[str, Ratio]:
    blocks = {name: Block(run, CYCLES) for name, run in parts().items()}
    rounds = await take_turns(blocks, rounds=(40, 200))
    return {name: rounds.ratio(name, WHOLE) for name in blocks if name != WHOLE}


async def timed() -> dict[str, Ratio]:
    """What makes a timed lease dearer: `get` needs the time for its deadline, `ack` to obey one."""
    untimed, queue = LeasedKeyQueue[int, int](), LeasedKeyQueue[int, int](default_lease_timeout=60)
    loop = asyncio.get_running_loop()

    async def with_clock() -> None:
        for i in range(CYCLES):
            await untimed.put(i, i)
            loop.time()
            loop.time()
            await untimed.ack((await untimed.get())[2])

    rounds = await take_turns(
        {
            UNTIMED: Block(partial(awaited, untimed), CYCLES),
            "and the clock read twice": Block(with_clock, CYCLES),
            "and a deadline kept": Block(partial(awaited, queue), CYCLES),
        },
        rounds=(40, 200),
    )
    return {name: rounds.ratio(name, UNTIMED) for name in rounds.seconds if name != UNTIMED}


async def promises() -> dict[str, Ratio]:
    modules = {"as it is": variant("as it is", [])}
    modules |= {name: variant(name, cuts) for name, cuts in LEFT_OUT.items()}
    blocks = {name: Block(cycles(module), CYCLES) for name, module in modules.items()}
    rounds = await take_turns(blocks, rounds=(40, 200))
    return {name: rounds.ratio(name, "as it is") for name in LEFT_OUT}


async def measure() -> dict[str, dict[str, Ratio]]:
    return {
        "part of the cycle": await shares(),
        "an untimed cycle": await timed(),
        "left out of the core": await promises(),
    }


def main() -> None:
    from rich.console import Console  # noqa: PLC0415 (the Pythons that are measured lack it)
    from rich.table import Table  # noqa: PLC0415 (the Pythons that are measured lack it)

    from .pythons import PYTHONS, ROOT  # noqa: PLC0415 (the Pythons that are measured lack it)

    tables: dict[str, dict[str, list[str]]] = {}
    console = Console()
    with console.status("measuring"):
        for python in PYTHONS.values():
            command = [python, "-m", "benchmarks.ablation", "--here"]
            environment = {"PYTHONPATH": str(ROOT / "src")}
            done = subprocess.run(
                command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True
            )
            for title, ratios in json.loads(done.stdout).items():
                rows = tables.setdefault(title, {})
                for name, ratio in ratios.items():
                    cell = f"{ratio['median']:.2f} ({ratio['low']:.2f}–{ratio['high']:.2f})"
                    rows.setdefault(name, []).append(cell)
    for title, rows in tables.items():
        table = Table(title, *PYTHONS)
        for name, cells in rows.items():
            table.add_row(name, *cells)
        console.print(table)


if __name__ == "__main__":
    if sys.argv[1:] == ["--here"]:
        found = asyncio.run(measure())
        print(
            json.dumps(
                {
                    title: {name: asdict(ratio) for name, ratio in ratios.items()}
                    for title, ratios in found.items()
                }
            )
        )
    else:
        main()
