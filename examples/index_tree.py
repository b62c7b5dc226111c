"""Index a tree of files with workers that fail on purpose, and show that nothing is lost.

    python examples/index_tree.py [FOLDER]

A producer puts every file's path into the queue, which has a bound; the value is the revision of
the file that is to be indexed. Workers lease a path, digest the file, enter the digest into the
index and acknowledge. Meanwhile things go wrong, at random: workers are cancelled in the middle of
a job, workers stall until their lease has run out, jobs fail and are tried again after a pause,
files change while they are being worked on. In the end the index is compared with a plain walk of
the same tree.
"""

import os
import signal

if __name__ == "__main__":
    # Ctrl-C during the imports, or after the last word, leaves quietly.
    signal.signal(signal.SIGINT, lambda *_: os._exit(130))

import asyncio
import hashlib
import random
import sysconfig
from collections import Counter
from collections.abc import Iterator
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Annotated, NamedTuple

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn

from leasedkeyq import Lease, LeasedKeyQueue, LeaseExpiredError

CHUNK = 1 << 18
PASSED_OVER = {"__pycache__", "site-packages"}  # rewritten at any time; not the standard library
STANDARD_LIBRARY = Path(sysconfig.get_path("stdlib"))
UNREADABLE = "unreadable"
ENDS = ("acks", "releases", "expiries")  # of a lease
MAXSIZE = 1000
ATTEMPTS = 4  # after which a file that cannot be read is given up
PAUSE = 0.01  # seconds, doubled with every attempt

console = Console(markup=False, emoji=False)  # a file may have any name


class Fault(Enum):
    CANCELLED = "worker cancelled in the middle of a job"
    STALLED = "worker stalled past its lease"
    FAILED = "job failed for once"
    PUT_AGAIN = "file put again while in work"


class Entry(NamedTuple):
    """What the index says of a file."""

    revision: int
    digest: str
    attempt: int


def walk(folder: Path) -> Iterator[Path]:
    """The regular files of a tree that are within reach, always in the same order."""
    for parent, folders, files in os.walk(folder):
        folders[:] = sorted(set(folders) - PASSED_OVER)
        paths = (Path(parent, name) for name in sorted(files))
        yield from filter(os.path.isfile, paths)  # Path.is_file() may raise


def deal_faults(seed: int) -> Iterator[Fault | None]:
    """What is to go wrong with the next file: at first one fault of each kind, so that a small
    tree meets them all, then one of each kind in every hundred files."""
    rng = random.Random(seed)
    hand: list[Fault | None] = [*Fault]
    while True:
        rng.shuffle(hand)
        yield from hand
        hand = [*Fault, *[None] * (100 - len(Fault))]


class Indexer:
    def __init__(self, folder: Path, workers: int, lease_timeout: float, seed: int) -> None:
        self.folder = folder
        self.workers = workers
        self.lease_timeout = lease_timeout
        self.seed = seed
        self.index: dict[Path, Entry] = {}
        self.planned: dict[Path, Fault] = {}  # goes wrong at the file's first lease
        self.injected: dict[Path, Fault] = {}
        self.newest: dict[Path, int] = {}  # the last revision that was put
        self.count: Counter[str] = Counter()
        # With "defer" no file is ever worked on twice at once, and no revision is missed.
        self.queue = LeasedKeyQueue[Path, int](
            default_lease_timeout=lease_timeout, maxsize=MAXSIZE, if_in_flight="defer"
        )

    async def run(self, progress: Progress) -> None:
        self.show = partial(progress.update, progress.add_task("indexing", total=None))
        async with self.queue, asyncio.TaskGroup() as group:
            for _ in range(self.workers):
                group.create_task(self.employ())
            await self.produce()
            await self.queue.join()
            await self.queue.shutdown()

    async def produce(self) -> None:
        for path, fault in zip(walk(self.folder), deal_faults(self.seed), strict=False):
            if fault is not None:
                self.planned[path] = fault
            await self.put(path, 1)

    async def put(self, path: Path, revision: int) -> None:
        self.newest[path] = revision
        await self.queue.put(path, revision)

    async def employ(self) -> None:
        """Keep one worker at work to the end: when it has been cancelled, take on another."""
        cancelled = True
        while cancelled:
            async with asyncio.TaskGroup() as group:
                worker = group.create_task(self.work())
            cancelled = worker.cancelled()

    async def work(self) -> None:
        async for path, revision, lease in self.queue:
            self.count["leases"] += 1
            self.count["redeliveries"] += lease.attempt > 1
            try:
                digest = await self.digest(path, lease)
                self.queue.extend_nowait(lease)  # a put of what is in flight needs no slot
                if fault := self.planned.pop(path, None):
                    await self.inject(fault, path, revision)
                self.queue.ack_nowait(lease)
            except LeaseExpiredError:
                self.count["expiries"] += 1  # too late: the file is somebody else's by now
            except OSError:
                self.give_back(lease, delay=PAUSE * 2**lease.attempt)
            except BaseException:
                self.give_back(lease)  # cancelled
                raise
            else:
                # Only the holder of a live lease comes here.
                self.count["acks"] += 1
                self.index[path] = Entry(revision, digest, lease.attempt)
                self.show(completed=len(self.index), total=len(self.newest))

    def give_back(self, lease: Lease[Path], delay: float = 0) -> None:
        try:
            self.queue.release_nowait(lease, requeue_front=not delay, delay=delay)
        except LeaseExpiredError:
            self.count["expiries"] += 1
        else:
            self.count["releases"] += 1

    async def digest(self, path: Path, lease: Lease[Path]) -> str:
        """Read in other threads. A large file takes its time, so the lease is kept alive."""
        digest = hashlib.sha256()
        try:
            with path.open("rb") as file:
                while chunk := await asyncio.to_thread(file.read, CHUNK):
                    self.queue.extend_nowait(lease)
                    digest.update(chunk)
        except OSError:
            if lease.attempt < ATTEMPTS:
                raise
            return UNREADABLE
        return digest.hexdigest()

    async def inject(self, fault: Fault, path: Path, revision: int) -> None:
        self.injected[path] = fault
        match fault:
            case Fault.CANCELLED:
                worker = asyncio.current_task()
                assert worker is not None
                worker.cancel()
                await asyncio.sleep(0)
            case Fault.STALLED:
                await asyncio.sleep(1.2 * self.lease_timeout)
            case Fault.FAILED:
                raise OSError
            case Fault.PUT_AGAIN:
                await self.put(path, revision + 1)

    def survived(self, path: Path) -> bool:
        """Whether a file that met a fault was delivered again, and its newest revision indexed."""
        entry = self.index.get(path)
        if entry is None or entry.revision != self.newest[path]:
            return False
        return entry.attempt > 1 or entry.revision > 1

    def problems(self) -> Iterator[str]:
        """Compare the index with a plain walk of the tree, one file after the other."""
        expected = {path: plain_digest(path) for path in walk(self.folder)}
        for path in expected.keys() | self.index.keys():
            entry = self.index.get(path)
            if entry is None:
                yield f"missing: {path}"
            elif entry.digest != expected.get(path):
                yield f"indexed wrongly: {path}"
            elif entry.revision != self.newest[path]:
                yield f"not indexed anew: {path}"
        for path, fault in self.injected.items():
            if not self.survived(path):
                yield f"not survived: {fault.value}: {path}"
        for path, fault in self.planned.items():
            yield f"never happened: {fault.value}: {path}"
        ended = sum(self.count[end] for end in ENDS)
        if ended != self.count["leases"]:
            yield f"{self.count['leases']} leases, of which {ended} ended"

    def summary(self) -> Iterator[str]:
        """What happened so far."""
        counts = {"files found": len(self.newest), "files indexed": len(self.index)}
        for what in ("leases", *ENDS, "redeliveries"):
            counts[what] = self.count[what]
        yield from (f"{what:<40}{number:>8,}" for what, number in counts.items())
        for fault in Fault:
            hit = [path for path in self.injected if self.injected[path] is fault]
            survived = sum(map(self.survived, hit))
            yield f"{fault.value:<40}{len(hit):>8,} times, survived {survived:,} times"


def plain_digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return UNREADABLE


def main(
    folder: Annotated[
        Path, typer.Argument(help="The tree to index.", exists=True, file_okay=False, readable=True)
    ] = STANDARD_LIBRARY,
    workers: Annotated[int, typer.Option(help="How many work at once.", min=1)] = 8,
    lease: Annotated[float, typer.Option(help="Seconds that a lease lasts.", min=0.01)] = 0.25,
    seed: Annotated[int | None, typer.Option(help="Repeat the faults of an earlier run.")] = None,
) -> None:
    """Index a tree of files with workers that fail on purpose; check that nothing is lost."""
    seed = random.randrange(1_000_000) if seed is None else seed
    indexer = Indexer(folder, workers, lease, seed)
    problems: list[str] = []
    quietly = signal.getsignal(signal.SIGINT)
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        passed_over = " and ".join(sorted(PASSED_OVER))
        console.print(f"seed {seed}; passing over {passed_over} in {str(folder)!r}")
        columns = ("{task.description}", BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=console) as progress:
            asyncio.run(indexer.run(progress))
        with console.status("checking against a plain walk"):
            problems = list(indexer.problems())
        verdict, code = ("failed", 1) if problems else ("passed", 0)
    except KeyboardInterrupt:
        verdict, code = "interrupted, not checked", 130
    finally:
        signal.signal(signal.SIGINT, quietly)

    console.print(*indexer.summary(), sep="\n")
    for problem in problems[:20]:
        console.print(problem.encode(errors="replace").decode())
    if len(problems) > 20:
        console.print(f"... and {len(problems) - 20:,} more")
    console.print(f"check against a plain walk: {verdict}")
    raise typer.Exit(code)


if __name__ == "__main__":
    typer.run(main)
