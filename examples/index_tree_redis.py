"""Index a tree of files with workers in four processes, some of which are killed, on a server that
is restarted meanwhile; and show that nothing is lost.

    python -m examples.index_tree_redis [FOLDER]

This process starts a server of its own, which writes all that it does to a file, and puts every
file's path into a queue on it. The value is the revision of the file that is to be indexed. Worker
processes digest the files, and enter the digests into an index on the same server. Meanwhile things
go wrong: processes are killed by `kill -9` in the middle of a job, and others take their place; the
server is killed and started again; jobs fail, and are tried again; files are put once more while
they are being worked on. In the end the index is compared with a plain walk of the tree.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
from collections import Counter
from collections.abc import Iterator
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Annotated, Any, TypeAlias, TypedDict

import typer
from redis.asyncio import Redis
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn

from examples.index_tree import PASSED_OVER, STANDARD_LIBRARY, console, digest, walk
from leasedkeyq import Job, backoff, run_workers
from leasedkeyq.redis import RedisLeasedKeyQueue
from tools.on import ROOT
from tools.server import Server

NAME = "files"  # of the queue
INDEX = "index"  # a hash: of each revision of a file the digest
MET = "met"  # a hash: files that have met their fault
SEEN = "seen"  # a hash: what the workers have counted
MAXSIZE = 1000
LEASE = 2.0  # seconds, after which others have what a dead process had
AT_ONCE = 4  # jobs in one process
ATTEMPTS = 50  # for no file is to be given up
UNREADABLE = "unreadable"


class Fault(Enum):
    KILLED = "process killed in the middle of a job"
    RESTARTED = "server killed and started again"
    FAILED = "job failed for once"
    PUT_AGAIN = "file put again while in work"


class Task(TypedDict):
    """What the queue holds of a file."""

    revision: int
    fault: str  # that it is to meet once


class Paths:
    """A codec: file names need not be text."""

    tag = b"P"

    def encode(self, path: Path, /) -> bytes:
        return os.fsencode(path)

    def decode(self, data: bytes, /) -> Path:
        return Path(os.fsdecode(data))


Queue: TypeAlias = RedisLeasedKeyQueue[Path, Task]


def queue_on(url: str) -> Queue:
    # With "defer" no file is ever worked on twice at once, and no revision is missed.
    return RedisLeasedKeyQueue(
        url,
        NAME,
        keys=Paths(),
        default_lease_timeout=LEASE,
        maxsize=MAXSIZE,
        if_in_flight="defer",
        unavailable_timeout=60,
    )


def deal_faults(seed: int) -> Iterator[Fault | None]:
    """What is to go wrong with the next file: at first one fault of each kind, so that a small
    tree meets them all, then all but the restart in every 400 files."""
    rng = random.Random(seed)
    hand: list[Fault | None] = [*Fault]
    while True:
        rng.shuffle(hand)
        yield from hand
        hand = [Fault.KILLED, Fault.FAILED, Fault.PUT_AGAIN, *[None] * 397]


# -- a worker process --------------------------------------------------------------------------


async def work(url: str) -> None:
    async with queue_on(url) as queue, Redis.from_url(url) as index:

        async def handle(job: Job[Path, Task]) -> None:
            await index.hincrby(SEEN, "deliveries", 1)
            if job.attempt > 1:
                await index.hincrby(SEEN, "redeliveries", 1)
            found = await asyncio.to_thread(digest, job.key) or UNREADABLE
            fault = job.value["fault"]
            if fault and not await index.hexists(MET, os.fsencode(job.key)):
                print(fault, os.fsencode(job.key).hex(), flush=True)
                if fault == Fault.PUT_AGAIN.name:
                    await queue.put(job.key, {"revision": 2, "fault": ""})
                await index.hset(MET, os.fsencode(job.key), fault)
                if fault == Fault.KILLED.name:
                    await asyncio.Event().wait()  # that is, for the end
                if fault == Fault.FAILED.name:
                    raise OSError
            await index.hset(INDEX, entry(job.key, job.value["revision"]), found)

        await run_workers(
            queue,
            handle,
            concurrency=AT_ONCE,
            lease_timeout=LEASE,
            max_attempts=ATTEMPTS,
            backoff=backoff(0.1, 1),
        )


def entry(path: Path, revision: int) -> bytes:
    return b"%d " % revision + os.fsencode(path)


# -- the process that starts the others ----------------------------------------------------------


class Indexer:
    def __init__(self, folder: Path, processes: int, seed: int) -> None:
        self.folder = folder
        self.processes = processes
        self.seed = seed
        self.server = Server(appendonly="yes", appendfsync="always")
        self.planned: dict[Path, Fault | None] = {}  # of every file that was put
        self.happened: set[tuple[Fault, str]] = set()  # with the files that met it
        self.index: dict[Any, Any] = {}  # of bytes
        self.seen: dict[str, int] = {}

    async def run(self, progress: Progress) -> None:
        show = partial(progress.update, progress.add_task("indexing", total=None))
        async with queue_on(self.server.url) as queue, asyncio.TaskGroup() as group:
            for _ in range(self.processes):
                group.create_task(self.employ())
            showing = group.create_task(self.report(queue, show))
            for path, fault in zip(walk(self.folder), deal_faults(self.seed), strict=False):
                self.planned[path] = fault
                await queue.put(path, {"revision": 1, "fault": fault.name if fault else ""})
            await queue.join()
            await queue.shutdown()  # which ends the workers
            showing.cancel()
        async with Redis.from_url(self.server.url) as index:
            self.index = await index.hgetall(INDEX)
            seen: dict[Any, Any] = await index.hgetall(SEEN)
        self.seen = {name.decode(): int(number) for name, number in seen.items()}

    async def report(self, queue: Queue, show: partial[None]) -> None:
        while True:
            await asyncio.sleep(0.1)
            left = await queue.qsize() + await queue.inflight_size() + await queue.delayed_size()
            show(completed=len(self.planned) - left, total=len(self.planned))

    async def employ(self) -> None:
        """Keep one process at work to the end: when it has been killed, start another."""
        killed = True
        while killed:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "examples.index_tree_redis",
                *("--work", self.server.url),
                cwd=ROOT,
                stdout=asyncio.subprocess.PIPE,
                start_new_session=True,  # Ctrl-C is for this process, which ends the others
            )
            try:
                killed = await self.watch(process)
            finally:
                if process.returncode is None:
                    process.kill()
                await process.wait()
            if not killed and process.returncode:
                raise RuntimeError(f"a worker process ended with {process.returncode}")

    async def watch(self, process: asyncio.subprocess.Process) -> bool:
        """Do to a process what is planned; whether it was killed."""
        assert process.stdout is not None
        killed = False
        while line := await process.stdout.readline():
            name, path = line.decode().split()
            fault = Fault[name]
            self.happened.add((fault, path))
            if fault is Fault.KILLED and not killed:
                process.kill()
                killed = True
            if fault is Fault.RESTARTED:
                await asyncio.to_thread(self.server.restart)
        await process.wait()
        return killed

    def problems(self) -> Iterator[str]:
        """Compare the index with a plain walk of the tree, one file after the other."""
        expected = {path: digest(path) or UNREADABLE for path in walk(self.folder)}
        for path, fault in self.planned.items():
            revision = 2 if fault is Fault.PUT_AGAIN else 1
            found = self.index.pop(entry(path, revision), None)
            if found is None:
                yield f"missing: {path}"
            elif found.decode() != expected.get(path):
                yield f"indexed wrongly: {path}"
            if revision == 2:
                self.index.pop(entry(path, 1), None)  # it may have been passed over
        for path in expected.keys() - self.planned.keys():
            yield f"never put: {path}"
        for name in self.index:
            yield f"never put: {os.fsdecode(name)}"
        for path, planned in self.planned.items():
            if planned and (planned, os.fsencode(path).hex()) not in self.happened:
                yield f"never happened: {planned.value}: {path}"

    def summary(self) -> Iterator[str]:
        counts = {"files found": len(self.planned), "worker processes": self.processes, **self.seen}
        met = Counter(fault for fault, _ in self.happened)
        counts |= {fault.value: met[fault] for fault in Fault}
        yield from (f"{what:<40}{number:>8,}" for what, number in counts.items())


def main(
    folder: Annotated[
        Path, typer.Argument(help="The tree to index.", exists=True, file_okay=False, readable=True)
    ] = STANDARD_LIBRARY,
    processes: Annotated[int, typer.Option(help="How many work at once.", min=1)] = 4,
    seed: Annotated[int | None, typer.Option(help="Repeat the faults of an earlier run.")] = None,
    work_for: Annotated[str, typer.Option("--work", hidden=True)] = "",
) -> None:
    """Index a tree of files with processes that are killed; check that nothing is lost."""
    if work_for:
        asyncio.run(work(work_for))
        return
    seed = random.randrange(1_000_000) if seed is None else seed
    indexer = Indexer(folder, processes, seed)
    columns = ("{task.description}", BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    try:
        passed_over = " and ".join(sorted(PASSED_OVER))
        console.print(f"seed {seed}; passing over {passed_over} in {str(folder)!r}")
        with indexer.server, Progress(*columns, console=console) as progress:
            asyncio.run(indexer.run(progress))
    except KeyboardInterrupt:
        console.print("interrupted, not checked")
        raise typer.Exit(130) from None
    with console.status("checking against a plain walk"):
        problems = list(indexer.problems())
    console.print(*indexer.summary(), sep="\n")
    for problem in problems[:20]:
        console.print(problem.encode(errors="replace").decode())
    if len(problems) > 20:
        console.print(f"... and {len(problems) - 20:,} more")
    console.print(f"check against a plain walk: {'failed' if problems else 'passed'}")
    raise typer.Exit(1 if problems else 0)


if __name__ == "__main__":
    typer.run(main)
