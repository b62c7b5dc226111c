"""Keep a mirror of a folder, from real file events; the latest state of each file wins.

    python examples/watch_files.py SOURCE MIRROR    mirror until Ctrl-C
    python examples/watch_files.py                  a demonstration in a temporary folder

The watcher puts the path of every file that changed. However often a file changes while it waits
for its turn, it is one item. A change that comes while the file is being copied is deferred: when
the copy is done, the file is copied once more, so the mirror never ends up with an old state, and
no file is copied twice at the same time.
"""

import asyncio
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer
from watchfiles import awatch

from leasedkeyq import LeasedKeyQueue, QueueClosedError

WORKERS = 4

Report = Callable[[Path, str], None]


class Mirror:
    """The key is a path within the source. There is nothing to say about it: what counts is the
    state of the file at the time when it is copied."""

    def __init__(self, source: Path, target: Path, report: Report) -> None:
        self.source, self.target = source.resolve(), target.resolve()
        if self.source.is_relative_to(self.target):
            raise ValueError(f"{source} lies in its mirror, {target}")
        self.report = report
        self.queue = LeasedKeyQueue[Path, None]()

    async def run(self) -> None:
        """Mirror until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for _ in range(WORKERS):
                tasks.create_task(self.work())
            try:
                await self.watch()
            finally:
                await self.queue.close()

    async def watch(self) -> None:
        """Put what was there from the start, and then whatever changes."""
        listed = False
        async for events in awatch(
            self.source,
            watch_filter=None,
            ignore_permission_denied=True,
            debounce=50,
            step=10,
            rust_timeout=50,
            yield_on_timeout=True,
        ):
            await self.put(Path(path) for _, path in events)
            if not listed:  # the watcher is at work by now, so no file can slip in between
                await self.put(files_in(self.source))
                listed = True

    async def put(self, paths: Iterable[Path]) -> None:
        for path in sorted(filter(self.is_original, paths)):
            await self.queue.put(path.relative_to(self.source), None, if_in_flight="defer")

    def is_original(self, path: Path) -> bool:
        """Not in the mirror, which may be in the source: it would hold a mirror of itself."""
        return not Path(os.path.realpath(path)).is_relative_to(self.target)

    async def work(self) -> None:
        """Bring one file after the other up to date."""
        with suppress(QueueClosedError):  # no more is wanted
            while True:
                path, _, lease = await self.queue.get()
                file, copy = self.source / path, self.target / path
                try:
                    done = await asyncio.to_thread(bring_up_to_date, file, copy)
                except OSError as error:
                    done = f"failed ({error.strerror})"
                self.report(path, done)
                if done == "made":  # a folder is moved with all that is in it, in one event
                    await self.put(files_in(file))
                await self.queue.ack(lease)


def files_in(folder: Path) -> Iterable[Path]:
    return (Path(parent, name) for parent, _, names in os.walk(folder) for name in names)


def bring_up_to_date(file: Path, copy: Path) -> str:
    if copy.is_dir() and not file.is_dir():
        shutil.rmtree(copy)
    elif copy.is_file() and not file.is_file():
        copy.unlink()
    if file.is_file():
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, copy)
        return "copied"
    if file.is_dir():
        copy.mkdir(parents=True, exist_ok=True)
        return "made"
    return "removed"


async def demonstrate(folder: Path) -> None:
    """Write one file a hundred times; see how often it is copied, and what comes of it."""
    file, copy = folder / "source" / "notes", folder / "mirror" / "notes"
    started, finished = asyncio.Event(), asyncio.Event()
    copies = 0

    def report(path: Path, done: str) -> None:
        nonlocal copies
        copies += 1
        started.set()
        if copy.read_text() == "revision 100":
            finished.set()

    file.parent.mkdir()
    file.write_text("revision 0")
    mirroring = asyncio.create_task(Mirror(file.parent, copy.parent, report).run())
    await started.wait()
    for revision in range(1, 101):
        file.write_text(f"revision {revision}")
        await asyncio.sleep(0.002)
    await finished.wait()
    mirroring.cancel()
    await asyncio.wait([mirroring])
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
        with suppress(KeyboardInterrupt):
            mirror = Mirror(source, target, lambda path, done: print(done, repr(str(path))))
            asyncio.run(mirror.run())


if __name__ == "__main__":
    typer.run(main)
