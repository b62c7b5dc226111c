"""Keep a mirror of a folder, from real file events; the latest state of each file wins.

    python examples/watch_files.py SOURCE MIRROR    mirror until Ctrl-C
    python examples/watch_files.py                  a demonstration in a temporary folder

The watcher puts the path of every file that changed. However often a file changes while it waits
for its turn, it is one item. A change that comes while the file is being copied is deferred: when
the copy is done, the file is copied once more, so the mirror never ends up with an old state, and
no file is copied twice at the same time.
"""

import asyncio
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer
from watchfiles import awatch

from leasedkeyq import LeasedKeyQueue, QueueClosedError

# The key is a path within the source. There is nothing to say about it: what counts is the state
# of the file at the time when it is copied.
Changes = LeasedKeyQueue[Path, None]
Report = Callable[[Path, str], None]


async def watch(source: Path, queue: Changes, stop: asyncio.Event) -> None:
    """Put what was there from the start, and then whatever changes."""
    listed = False
    async for events in awatch(
        source, stop_event=stop, debounce=50, step=10, rust_timeout=50, yield_on_timeout=True
    ):
        changed = {Path(path) for _, path in events}
        if not listed:  # the watcher is at work by now, so no file can slip in between
            changed |= files_in(source)
            listed = True
        for path in sorted(changed):
            await queue.put(path.relative_to(source), None, if_in_flight="defer")


async def mirror(source: Path, target: Path, queue: Changes, report: Report) -> None:
    """Bring one file after the other up to date."""
    with suppress(QueueClosedError):  # no more is wanted
        while True:
            path, _, lease = await queue.get()
            done = await asyncio.to_thread(bring_up_to_date, source / path, target / path)
            report(path, done)
            await queue.ack(lease)


def files_in(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.is_file()}


def bring_up_to_date(file: Path, copy: Path) -> str:
    if file.is_file():
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, copy)
        return "copied"
    if file.is_dir():
        copy.mkdir(parents=True, exist_ok=True)
        return "made"
    if copy.is_dir():
        shutil.rmtree(copy)
    else:
        copy.unlink(missing_ok=True)
    return "removed"


async def run(source: Path, target: Path, stop: asyncio.Event, report: Report) -> None:
    """Mirror until told to stop."""
    source = await asyncio.to_thread(source.resolve)  # as the events name it
    async with Changes() as queue, asyncio.TaskGroup() as tasks:
        for _ in range(4):
            tasks.create_task(mirror(source, target, queue, report))
        await watch(source, queue, stop)
        await queue.close()


async def demonstrate(folder: Path) -> None:
    """Write one file a hundred times; see how often it is copied, and what comes of it."""
    file, copy = folder / "source" / "notes", folder / "mirror" / "notes"
    stop, started = asyncio.Event(), asyncio.Event()
    copies = 0

    def report(path: Path, done: str) -> None:
        nonlocal copies
        copies += 1
        started.set()
        if copy.read_text() == "revision 100":
            stop.set()

    file.parent.mkdir()
    file.write_text("revision 0")
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(run(file.parent, copy.parent, stop, report))
        await started.wait()
        for revision in range(1, 101):
            file.write_text(f"revision {revision}")
            await asyncio.sleep(0.002)
    print(f"100 revisions, copied {copies} times; mirrored: {copy.read_text()}")


def main(
    source: Annotated[Path | None, typer.Argument(exists=True, file_okay=False)] = None,
    target: Annotated[Path | None, typer.Argument(file_okay=False)] = None,
) -> None:
    """Keep a mirror of a folder; without arguments, demonstrate it."""
    if source is None:
        with tempfile.TemporaryDirectory() as folder:
            asyncio.run(demonstrate(Path(folder)))
    elif target is None:
        raise typer.BadParameter("where is the mirror to be?")
    else:
        asyncio.run(run(source, target, asyncio.Event(), lambda path, done: print(done, path)))


if __name__ == "__main__":
    typer.run(main)
