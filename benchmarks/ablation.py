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
from dataclasses import asdict
from typing import Any, cast

from leasedkeyq import LeasedKeyQueue

from .measure import Block, Ratio, take_turns
from .speed import KEYS, LONG, floor_cycle, leased_cycle, plain_cycle
from .subjects import Floor
from .variants import LEFT_OUT, OTHERWISE, Cut, variant

ROUNDS = (200, 1_000)
WHOLE = "the whole cycle"
UNTIMED = "an untimed cycle"


def bare_cycle(core: Any) -> Block:
    async def run() -> None:
        for key in KEYS:
            core.put(key, key, "update", 0.0)
            core.ack(core.get(None, None, 0.0)[2], 0.0)

    return Block(run, len(KEYS))


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


def parts() -> dict[str, Block]:
    """The whole cycle, and what may be told apart in it."""
    idle: LeasedKeyQueue[str, str] = LeasedKeyQueue()
    idle._core = cast(Any, IdleCore())
    return {
        WHOLE: leased_cycle(LeasedKeyQueue()),
        "three awaits and one dict, no queue": floor_cycle(Floor()),
        "the shell, over a core that does nothing": leased_cycle(idle),
        "the core, without a shell": bare_cycle(LeasedKeyQueue()._core),
        "the whole cycle of asyncio.Queue": plain_cycle(asyncio.Queue()),
    }


async def shares() -> dict[str, Ratio]:
    rounds = await take_turns(parts(), rounds=ROUNDS)
    return {name: rounds.ratio(name, WHOLE) for name in rounds.seconds if name != WHOLE}


async def timed() -> dict[str, Ratio]:
    """What makes a timed lease dearer: `get` needs the time for its deadline, `ack` to obey one."""
    untimed: LeasedKeyQueue[str, str] = LeasedKeyQueue()
    loop = asyncio.get_running_loop()

    async def with_clock() -> None:
        for key in KEYS:
            await untimed.put(key, key)
            loop.time()
            loop.time()
            _, _, lease = await untimed.get()
            await untimed.ack(lease)

    rounds = await take_turns(
        {
            UNTIMED: leased_cycle(untimed),
            "and the clock read twice": Block(with_clock, len(KEYS)),
            "and a deadline kept": leased_cycle(LeasedKeyQueue(default_lease_timeout=LONG)),
        },
        rounds=ROUNDS,
    )
    return {name: rounds.ratio(name, UNTIMED) for name in rounds.seconds if name != UNTIMED}


async def variants(table: dict[str, list[Cut]], **options: float) -> dict[str, Ratio]:
    queues = {name: variant(cuts) for name, cuts in [("as it is", []), *table.items()]}
    blocks = {name: leased_cycle(make(**options)) for name, make in queues.items()}
    rounds = await take_turns(blocks, rounds=ROUNDS)
    return {name: rounds.ratio(name, "as it is") for name in table}


async def measure() -> dict[str, dict[str, Ratio]]:
    return {
        "part of the cycle": await shares(),
        "an untimed cycle": await timed(),
        "left out": await variants(LEFT_OUT),
        "done otherwise": await variants(OTHERWISE),
        "done otherwise, timed leases": await variants(OTHERWISE, default_lease_timeout=LONG),
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
