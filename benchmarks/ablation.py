"""Where the time of a cycle goes, and what single promises cost.

    make ablation

The tables show parts of put, get and ack next to the whole; what a timed lease adds to them; and
the same cycle by the queues of `variants.py`, next to the queue as it is.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from typing import Any, cast

from leasedkeyq import LeasedKeyQueue

from .measure import Block, Ratio, take_turns
from .subjects import Floor
from .variants import LEFT_OUT, OTHERWISE, Cut, variant

CYCLES = 2_000
WHOLE = "the whole cycle"
UNTIMED = "an untimed cycle"


async def bare(core: Any) -> None:
    for i in range(CYCLES):
        core.put(i, i, "update", 0.0)
        core.ack(core.get(None, None, 0.0)[2], 0.0)


async def plain(queue: asyncio.Queue[int]) -> None:
    for i in range(CYCLES):
        await queue.put(i)
        await queue.get()
        queue.task_done()


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
        "the core, without a shell": partial(bare, LeasedKeyQueue()._core),
        "the whole cycle of asyncio.Queue": partial(plain, asyncio.Queue()),
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


async def variants(table: dict[str, list[Cut]], **options: float) -> dict[str, Ratio]:
    queues = {name: variant(cuts) for name, cuts in [("as it is", []), *table.items()]}
    made = {name: make(**options) for name, make in queues.items()}
    blocks = {name: Block(partial(awaited, queue), CYCLES) for name, queue in made.items()}
    rounds = await take_turns(blocks, rounds=(40, 200))
    return {name: rounds.ratio(name, "as it is") for name in table}


async def measure() -> dict[str, dict[str, Ratio]]:
    return {
        "part of the cycle": await shares(),
        "an untimed cycle": await timed(),
        "left out": await variants(LEFT_OUT),
        "done otherwise": await variants(OTHERWISE),
        "done otherwise, timed leases": await variants(OTHERWISE, default_lease_timeout=60),
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
