"""Measures the queue on a server next to the server's own PING, in a minute or so.

python -m benchmarks.engine [--quick] [--strict] [--output FILE] [FIGURE ...]

PING goes over the very connection that the queue uses. Both take turns of some hundredths of a
second, and what counts is the median of the ratios of neighbours: times of different moments are
never compared.
"""

from __future__ import annotations

import asyncio
import json
import platform
import sys
import time
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path
from statistics import median, quantiles
from typing import Annotated, Any, TypeAlias

import typer
from rich.console import Console
from rich.table import Table

from leasedkeyq.redis import RedisLeasedKeyQueue
from tools.on import ROOT, git
from tools.server import Server

Queue: TypeAlias = RedisLeasedKeyQueue[str, Any]
LONG = 3600.0  # seconds: a lease that does not end
RESULTS = ROOT / "docs" / "_static" / "bench" / "engine.json"
TASKS = 64
SLOW = 200  # microseconds
NAMES = count(1)

console = Console()


@dataclass(frozen=True)
class Scale:
    rounds: int
    block: int  # units in a turn
    hand_overs: int
    sizes: tuple[int, ...]
    due: int  # leases that end at once


FULL = Scale(rounds=40, block=200, hand_overs=2_000, sizes=(1, 1_000, 100_000), due=100_000)
QUICK = Scale(rounds=3, block=20, hand_overs=40, sizes=(1, 100), due=300)


@dataclass(frozen=True)
class Found:
    """What was measured, with its quartiles; `bar` is what it may be."""

    what: str
    value: float
    low: float
    high: float
    bar: float | None = None
    at_least: bool = False
    note: str = ""

    @property
    def missed(self) -> bool:
        if self.bar is None:
            return False
        return self.value < self.bar if self.at_least else self.value > self.bar


def of(what: str, ratios: list[float], **named: Any) -> Found:
    low, middle, high = quantiles(ratios, n=4, method="inclusive")
    return Found(what, middle, low, high, **named)


# -- what is timed --------------------------------------------------------------------------------


@asynccontextmanager
async def opened(server: Server, **options: Any) -> AsyncIterator[Queue]:
    name = f"bench-{next(NAMES)}"
    async with Queue(server.url, name, default_lease_timeout=LONG, **options) as queue:
        yield queue


def pinging(queue: Queue) -> Callable[[], Awaitable[Any]]:
    """One PING on the queue's own connection for commands."""
    link: Any = queue._store._link  # type: ignore[attr-defined]
    return lambda: link._ask("PING")


async def cycles(queue: Queue, prefix: str, times: int) -> None:
    for number in range(times):
        key = f"{prefix}{number}"
        await queue.put(key, number)
        _, _, lease = await queue.take(key) if prefix else await queue.get()
        await queue.ack(lease)


async def timed(work: Awaitable[Any]) -> float:
    started = time.perf_counter()
    await work
    return time.perf_counter() - started


async def repeated(what: Callable[[], Awaitable[Any]], times: int) -> None:
    for _ in range(times):
        await what()


async def in_tasks(work: Callable[[int], Awaitable[Any]]) -> None:
    async with asyncio.TaskGroup() as group:
        for number in range(TASKS):
            group.create_task(_as_coroutine(work(number)))


async def _as_coroutine(work: Awaitable[Any]) -> None:
    await work


# -- figures --------------------------------------------------------------------------------------

Figure: TypeAlias = Callable[[Server, Scale], AsyncIterator[Found]]
FIGURES: dict[str, Figure] = {}


def figure(function: Figure) -> Figure:
    FIGURES[function.__name__] = function
    return function


@figure
async def alone(server: Server, scale: Scale) -> AsyncIterator[Found]:
    """Put, get and ack, one after the other, in PINGs."""
    async with opened(server) as queue:
        ping = pinging(queue)
        await cycles(queue, "", scale.block)
        ratios, pings = [], []
        for _ in range(scale.rounds):
            pings.append(await timed(repeated(ping, 2 * scale.block)) / (2 * scale.block))
            cycle = await timed(cycles(queue, "", scale.block)) / scale.block
            ratios.append(cycle / pings[-1])
        note = f"a PING takes {median(pings) * 1e6:.0f} us"
        yield of("put + get + ack alone, in PINGs", ratios, bar=6.5, note=note)


@figure
async def together(server: Server, scale: Scale) -> AsyncIterator[Found]:
    """64 tasks on one connection: operations a second, next to PINGs a second."""
    async with opened(server) as queue:
        ping, each = pinging(queue), max(1, scale.block // 10)
        ratios, rates, pings = [], [], []
        for _ in range(scale.rounds):
            took = await timed(in_tasks(lambda _: repeated(ping, 3 * each)))
            pings.append(TASKS * 3 * each / took)
            took = await timed(in_tasks(lambda number: cycles(queue, f"{number}-", each)))
            rates.append(TASKS * 3 * each / took)
            ratios.append(rates[-1] / pings[-1])
        note = f"{median(rates):,.0f} operations a second, {median(pings):,.0f} PINGs"
        what = f"operations a second of {TASKS} tasks, in PINGs a second"
        yield of(what, ratios, bar=0.25, at_least=True, note=note)


CONSUMER = """
import asyncio, sys, time, warnings
warnings.simplefilter("ignore")
from benchmarks.engine import LONG, Queue

async def main(url, name, times):
    async with Queue(url, name, default_lease_timeout=LONG) as queue:
        for _ in range(int(times)):
            _, sent, lease = await queue.get()
            print(time.monotonic() - sent, flush=True)
            await queue.ack(lease)

asyncio.run(main(*sys.argv[1:]))
"""


async def somebody_waits(queue: Queue) -> None:
    while not (await queue.stats()).waiting_gets:
        pass


@figure
async def handed_over(server: Server, scale: Scale) -> AsyncIterator[Found]:
    """From the call of put in one process to the return of a get that waits in another."""
    async with opened(server) as queue:
        ping = pinging(queue)
        consumer = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-c", CONSUMER, server.url, queue.name, str(scale.hand_overs)),
            cwd=ROOT,
            stdout=asyncio.subprocess.PIPE,
        )
        assert consumer.stdout is not None
        pings, took = [], []
        for number in range(scale.hand_overs):
            await somebody_waits(queue)
            pings.append(await timed(ping()))
            await queue.put(f"{number}", time.monotonic())
            took.append(float(await consumer.stdout.readline()))
        await consumer.wait()
        ratios = [one / median(pings) for one in took]
        note = f"{median(took) * 1e6:.0f} us in the median"
        yield of("hand-over to a waiting process, in PINGs", ratios, bar=11, note=note)


@figure
async def server_time(server: Server, scale: Scale) -> AsyncIterator[Found]:
    """What a call costs the server beside many items and leases, in those beside few."""
    spent: dict[int, list[float]] = {size: [] for size in scale.sizes}
    async with _filled(server, scale.sizes) as queues:
        for _ in range(scale.rounds):
            for size, queue in queues.items():
                server.ask("CONFIG", "RESETSTAT")
                await cycles(queue, "cycle-", scale.block)
                spent[size].append(per_call(server))
    few = scale.sizes[0]
    for size in scale.sizes[1:]:
        ratios = [many / one for many, one in zip(spent[size], spent[few], strict=True)]
        note = f"{median(spent[few]):.1f} us and {median(spent[size]):.1f} us a call"
        what = f"server's time a call beside {size:,} items and leases, in that beside {few}"
        yield of(what, ratios, bar=1.5, note=note)


def per_call(server: Server) -> float:
    """Microseconds of the server for a call of the machine."""
    calls, spent = 0, 0
    for line in server.ask("INFO", "commandstats").decode().splitlines():
        name, _, rest = line.partition(":")
        if name in ("cmdstat_fcall", "cmdstat_evalsha"):
            fields = dict(part.split("=") for part in rest.split(","))
            calls, spent = calls + int(fields["calls"]), spent + int(fields["usec"])
    return spent / calls


@asynccontextmanager
async def _filled(server: Server, sizes: tuple[int, ...]) -> AsyncIterator[dict[int, Queue]]:
    """Queues that hold so many items, and as many leases."""
    queues: dict[int, Queue] = {}
    try:
        for size in sizes:
            queue = queues[size] = Queue(server.url, f"bench-{next(NAMES)}")
            await queue.start()
            await fill(queue, 2 * size)
            await lease(queue, size, LONG)
        yield queues
    finally:
        for queue in queues.values():
            await queue.close()


async def fill(queue: Queue, number: int) -> None:
    for begin in range(0, number, 500):
        keys = range(begin, min(begin + 500, number))
        await asyncio.gather(*(queue.put(f"item-{key}", key) for key in keys))


async def lease(queue: Queue, number: int, duration: float) -> None:
    for begin in range(0, number, 500):
        times = min(500, number - begin)
        await asyncio.gather(*(queue.get(lease_timeout=duration) for _ in range(times)))


@figure
async def all_at_once(server: Server, scale: Scale) -> AsyncIterator[Found]:
    """The longest call of the server when very many leases are due in the same moment."""
    async with opened(server, session_ttl=LONG) as queue:  # no sign of life comes between
        filling = await timed(fill(queue, scale.due))
        duration = 3 * filling + 1
        leasing = await timed(lease(queue, scale.due, duration))
        await asyncio.sleep(duration)
        server.ask("CONFIG", "SET", "slowlog-max-len", 10_000, "slowlog-log-slower-than", SLOW)
        server.ask("CONFIG", "RESETSTAT")
        back = await queue.qsize()
        server.ask("CONFIG", "SET", "slowlog-log-slower-than", -1)
        slow = [one[2] / 1000 for one in server.ask("SLOWLOG", "GET", -1) if one[3][0] == b"FCALL"]
        usual = per_call(server) / 1000
        most = sorted(slow)[len(slow) * 99 // 100] if slow else usual
        assert back == scale.due
        assert leasing < duration, "the first leases ended before the last were granted"
        yield Found(
            f"longest call with {scale.due:,} leases due at once, in ms",
            max(slow, default=SLOW / 1000),
            usual,
            most,
            bar=10,
            note=f"{usual:.1f} ms in the mean, 99 of 100 take {most:.1f} ms at most",
        )


# -- what came of it ------------------------------------------------------------------------------


def table(found: list[Found]) -> Table:
    shown = Table("figure", "measured", "quartiles", "bar", "")
    for one in found:
        bar = "" if one.bar is None else f"{'at least' if one.at_least else 'at most'} {one.bar:g}"
        mark = " [bold red]MISSED" if one.missed else ""
        quartiles = f"{one.low:.2f} to {one.high:.2f}"
        shown.add_row(one.what, f"{one.value:.2f}{mark}", quartiles, bar, one.note)
    return shown


def write(found: list[Found], server: str, path: Path) -> None:
    """For the docs: a line for each figure."""

    def rounded(one: Found) -> dict[str, Any]:
        numbers = {name: float(f"{getattr(one, name):.3g}") for name in ("value", "low", "high")}
        return {**asdict(one), **numbers, "missed": one.missed}

    rows = ",\n".join(f"  {json.dumps(rounded(one))}" for one in found)
    head = {
        "date": time.strftime("%Y-%m-%d"),
        "commit": git("rev-parse", "HEAD"),
        "python": platform.python_version(),
        "server": server,
    }
    lines = ",\n".join(f" {json.dumps(name)}: {json.dumps(said)}" for name, said in head.items())
    path.write_text(f'{{\n{lines},\n "found": [\n{rows}\n ]\n}}\n', encoding="utf-8")
    console.print(f"written to {path}")


def version() -> str:
    """Which server it is."""
    with Server() as server:
        lines = server.ask("INFO", "server").decode().splitlines()
    said = dict(line.split(":", 1) for line in lines if ":" in line)
    if "valkey_version" in said:
        return f"Valkey {said['valkey_version']}"
    return f"Redis {said['redis_version']}"


async def measure(names: list[str], scale: Scale) -> list[Found]:
    found = []
    for name in names:
        with console.status(name), Server() as server:
            found += [one async for one in FIGURES[name](server, scale)]
    return found


def main(
    figures: Annotated[
        list[str] | None, typer.Argument(help="Which, if not all; their names are functions here.")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="A look at small sizes only.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Fail if a bar is missed.")] = False,
    output: Annotated[
        Path | None, typer.Option(help="Where the results go. All, in full: to the docs.")
    ] = None,
) -> None:
    """Measure the queue on a server of its own, next to the server's PING."""
    if unknown := set(figures or ()) - set(FIGURES):
        raise typer.BadParameter(f"no such figure: {', '.join(sorted(unknown))}")
    warnings.filterwarnings("ignore", message=".* has no append-only file")
    found = asyncio.run(measure(figures or [*FIGURES], QUICK if quick else FULL))
    console.print(table(found))
    if output is None and not (figures or quick):
        output = RESULTS
    if output is not None:
        write(found, version(), output)
    missed = [one.what for one in found if one.missed]
    console.print(f"bars missed: {'; '.join(missed) or 'none'}")
    raise typer.Exit(1 if strict and missed else 0)


if __name__ == "__main__":
    typer.run(main)
