"""Index a tree of files with workers that fail on purpose, and show that nothing is lost.

    python examples/index_tree.py [FOLDER]

A producer puts every file's path into the queue, which has a bound; the value is the revision of
the file that is to be indexed. Workers digest the files. Meanwhile things go wrong, at random:
workers are cancelled in the middle of a job, workers stall until their lease has run out, jobs
fail once or always, files change while they are being worked on. In the end the index is compared
with a plain walk of the same tree.
"""

import os
import signal

if __name__ == "__main__":
    # Ctrl-C during the imports, or after the last word, leaves quietly.
    signal.signal(signal.SIGINT, lambda *_: os._exit(130))

import asyncio
import hashlib
import logging
import random
import sysconfig
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.box import SIMPLE
from rich.console import Console
from rich.progress import Progress
from rich.table import Column, Table

from leasedkeyq import Event, Job, LeasedKeyQueue, backoff, run_workers

PASSED_OVER = {"__pycache__", "site-packages"}  # rewritten at any time; not the standard library
STANDARD_LIBRARY = Path(sysconfig.get_path("stdlib"))
MAXSIZE = 1000
ATTEMPTS = 8  # after which a file is given up
ENDS = ("ack", "release", "expire")  # of a lease

console = Console(markup=False, emoji=False, highlight=False)  # a file may have any name
say = partial(console.print, soft_wrap=True)


class Fault(Enum):
    CANCELLED = "worker cancelled in the middle of a job"
    STALLED = "worker stalled past its lease"
    FAILED = "job failed for once"
    HOPELESS = "job failed for good: a dead letter"
    PUT_AGAIN = "file put again while in work"


def walk(folder: Path) -> Iterator[Path]:
    """The regular files of a tree that are within reach, always in the same order."""
    for parent, folders, files in os.walk(folder):
        folders[:] = sorted(set(folders) - PASSED_OVER)
        paths = (Path(parent, name) for name in sorted(files))
        yield from filter(os.path.isfile, paths)  # Path.is_file() may raise


def digest(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None


def deal_faults(seed: int) -> Iterator[Fault | None]:
    """What is to go wrong with the next file: at first one fault of each kind, so that a small
    tree meets them all, then one of each kind in every hundred files."""
    rng = random.Random(seed)
    hand: list[Fault | None] = [*Fault]
    while True:
        rng.shuffle(hand)
        yield from hand
        hand = [*Fault, *[None] * (100 - len(Fault))]


@dataclass
class Indexer:
    folder: Path
    workers: int
    lease_timeout: float
    seed: int
    index: dict[Path, tuple[str, Job[Path, int]]] = field(default_factory=dict)  # digests
    dead: set[Path] = field(default_factory=set)  # given up
    planned: dict[Path, Fault] = field(default_factory=dict)
    met: set[Path] = field(default_factory=set)  # files whose fault has happened
    newest: dict[Path, int] = field(default_factory=dict)  # the last revision that was put
    count: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        # With "defer" no file is ever worked on twice at once, and no revision is missed.
        self.queue = LeasedKeyQueue[Path, int](
            maxsize=MAXSIZE, if_in_flight="defer", observer=self.observe
        )

    async def run(self, progress: Progress) -> None:
        self.progress, self.bar = progress, progress.add_task("indexing", total=None)
        async with asyncio.TaskGroup() as group:
            work = run_workers(
                self.queue,
                self.handle,
                concurrency=self.workers,
                lease_timeout=self.lease_timeout,
                max_attempts=ATTEMPTS,
                backoff=backoff(0.01, cap=0.1, seed=self.seed),
                dead_letter=self.bury,
            )
            group.create_task(work)
            await self.produce()
            await self.queue.join()  # until then a file may be put again
            await self.queue.shutdown()

    async def produce(self) -> None:
        for path, fault in zip(walk(self.folder), deal_faults(self.seed), strict=False):
            self.planned |= {path: fault} if fault else {}
            await self.put(path, 1)

    async def put(self, path: Path, revision: int) -> None:
        self.newest[path] = revision
        await self.queue.put(path, revision)

    async def handle(self, job: Job[Path, int]) -> None:
        """What a worker does with a file. Whatever goes wrong, it is delivered again."""
        fault = self.planned.get(job.key)
        if fault is not None and (job.key not in self.met or fault is Fault.HOPELESS):
            self.met.add(job.key)
            await self.inject(fault, job)
        # In another thread. A large file takes its time; the lease is kept alive meanwhile.
        found = await asyncio.to_thread(digest, job.key)
        if found is None:
            raise OSError(f"cannot read {job.key}")
        await job.ack()
        # Only the holder of a live lease comes here.
        self.index[job.key] = found, job

    async def inject(self, fault: Fault, job: Job[Path, int]) -> None:
        match fault:
            case Fault.CANCELLED:
                worker = asyncio.current_task()
                assert worker is not None
                worker.cancel()  # at its next await
            case Fault.STALLED:
                await self.queue.extend(job.lease, 0.001)  # its next heartbeat is too late
                await asyncio.sleep(2 * self.lease_timeout)
            case Fault.FAILED | Fault.HOPELESS:
                raise OSError
            case Fault.PUT_AGAIN:
                await self.put(job.key, job.value + 1)

    async def bury(self, path: Path, *_: object) -> None:
        self.dead.add(path)

    def observe(self, _: object, events: Sequence[Event]) -> None:
        """The queue tells what happens: each event with a number is one of a lease."""
        for event in events:
            if event.number is not None:
                self.count["lease" if event.action in ("get", "resume") else event.action] += 1
        done = len(self.index) + len(self.dead)
        self.progress.update(self.bar, completed=done, total=len(self.newest))

    def survived(self, path: Path) -> bool:
        """Whether a file that met a fault was delivered again, to the end that it should have."""
        if path not in self.index:
            return path in self.dead
        _, job = self.index[path]
        return job.value == self.newest[path] and job.value + job.attempt > 2

    def problems(self) -> Iterator[str]:
        """Compare the index with a plain walk of the tree, one file after the other."""
        expected = {path: digest(path) for path in walk(self.folder)}
        expected |= {path: None for path, fault in self.planned.items() if fault is Fault.HOPELESS}
        for path in sorted(expected.keys() | self.index.keys() | self.dead):
            found, job = self.index.get(path, (None, None))
            if (path in self.dead) != (expected.get(path) is None):
                yield f"{'wrongly' if path in self.dead else 'not'} given up: {path}"
            elif found is None and path not in self.dead:
                yield f"missing: {path}"
            elif found != expected.get(path):
                yield f"indexed wrongly: {path}"
            elif job is not None and job.value != self.newest[path]:
                yield f"not indexed anew: {path}"
        for path, fault in self.planned.items():
            if path not in self.met or not self.survived(path):
                yield f"not survived: {fault.value}: {path}"
        if (ended := sum(self.count[end] for end in ENDS)) != self.count["lease"]:
            yield f"{self.count['lease']} leases, of which {ended} ended"

    def summary(self) -> Table:
        """What happened so far."""
        numbers = [Column(name, justify="right") for name in ("times", "survived")]
        table = Table(Column(min_width=40), *numbers, box=SIMPLE)
        counts = {"found": len(self.newest), "indexed": len(self.index), "given up": len(self.dead)}
        for what, number in (counts | {end: self.count[end] for end in ("lease", *ENDS)}).items():
            table.add_row(what, f"{number:,}")
        table.add_section()
        for fault in Fault:
            hit = [path for path in self.met if self.planned[path] is fault]
            table.add_row(fault.value, f"{len(hit):,}", f"{sum(map(self.survived, hit)):,}")
        return table


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
        say(f"seed {seed}; passing over {passed_over} in {str(folder)!r}")
        with Progress(console=console) as progress:
            asyncio.run(indexer.run(progress))
        with console.status("checking against a plain walk"):
            problems = list(indexer.problems())
        verdict, code = (f"failed, {len(problems):,} problems", 1) if problems else ("passed", 0)
    except KeyboardInterrupt:
        verdict, code = "interrupted, not checked", 130
    finally:
        signal.signal(signal.SIGINT, quietly)

    console.print(indexer.summary())
    for problem in problems[:20]:
        say(problem.encode(errors="replace").decode())
    style = "bold red" if code else "bold green"
    console.print("check against a plain walk:", verdict, style=style)
    raise typer.Exit(code)


if __name__ == "__main__":
    logging.getLogger("leasedkeyq").setLevel(logging.ERROR)  # lost leases are no news here
    typer.run(main)
