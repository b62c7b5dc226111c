"""Keep a mirror of a folder, from real file events; the latest state of each file wins.

    python examples/watch_files.py SOURCE MIRROR    mirror until Ctrl-C
    python examples/watch_files.py                  a demonstration in a temporary folder

The watcher puts the path of every file that changed. However often a file changes while it waits
for its turn, it is one item. A change that comes while the file is being copied is deferred: when
the copy is done, the file is copied once more, so the mirror never ends up with an old state, and
no file is copied twice at the same time. What fails is tried again, after longer and longer pauses
that no new change waits for. In the end what is in the line is worked off.

What has a name that is not UTF-8 is left out, and named: the watcher cannot tell of it. It gives up
with an error instead, so it is started anew, and whatever may have changed meanwhile is put again.
"""

import asyncio
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

from watchfiles import awatch
from watchfiles._rust_notify import WatchfilesRustInternalError

from leasedkeyq import LeasedKeyQueue

WORKERS = 4
ATTEMPTS = 5
PAUSE = 0.05  # seconds, doubled with every attempt
GRACE = 5.0  # seconds, in which to work off the line in the end
RESTART = 1.0  # seconds, after which a watcher that gave up is started anew

events_in = partial(
    awatch,
    watch_filter=None,
    ignore_permission_denied=True,
    debounce=50,
    rust_timeout=50,
    yield_on_timeout=True,
)
Report = Callable[[Path, str], object]


class Mirror:
    """The key is a path within the source. There is nothing to say about it: what counts is the
    state of the file at the time when it is copied."""

    def __init__(self, source: Path, target: Path, report: Report) -> None:
        self.source, self.target = source.resolve(strict=True), target.resolve()
        if self.source.is_relative_to(self.target):
            raise ValueError(f"{source} lies in its mirror, {target}")
        if not is_utf8(self.source):
            raise ValueError(f"{str(source)!a} cannot be watched: its name is not UTF-8")
        if self.target.is_relative_to(self.source) and not is_utf8(self.target):
            raise ValueError(f"{str(target)!a} in its source has a name that is not UTF-8")
        self.report = report
        self.known = set[Path]()  # what may be in the mirror
        self.queue = LeasedKeyQueue[Path, None](if_in_flight="defer")

    async def run(self) -> None:
        """Mirror until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for _ in range(WORKERS):
                tasks.create_task(self.work())
            try:
                await self.watch()
            finally:
                await self.queue.drain(GRACE)
                for path, _ in await self.queue.available_items():
                    self.report(path, "left")

    async def watch(self) -> None:
        """Put what was there from the start, and then whatever changes."""
        while True:
            unseen = True  # until the watcher is at work, so that no file can slip in between
            try:
                async for events in events_in(self.source):
                    if unseen:
                        await self.put_all()
                        unseen = False
                    for _, path in events:
                        await self.put(Path(path))
            except* WatchfilesRustInternalError as errors:
                if "Unable to decode path" not in str(errors.exceptions):
                    raise
            task = asyncio.current_task()
            if task and task.cancelling():  # in the very moment: the group of errors left that out
                raise asyncio.CancelledError
            if unseen:  # it gave up at once, and may do so again
                await self.put_all()
            await asyncio.sleep(RESTART)

    async def put_all(self) -> None:
        """Put what there is, and what there was before."""
        for path in {*self.known}:
            await self.queue.put(path, None)
        await self.put(self.source)

    async def put(self, changed: Path) -> None:
        """Put a file, or a folder with all that is in it: a folder is moved in one event."""
        for path in all_of(changed, but=self.target):
            if is_utf8(path):
                await self.queue.put(path.relative_to(self.source), None)
            else:
                self.report(path.relative_to(self.source), "left out (its name is not UTF-8)")

    async def work(self) -> None:
        """Bring one file after the other up to date."""
        async for path, _, lease in self.queue:
            file, copy, again = self.source / path, self.target / path, False
            self.known.add(path)
            try:
                done = await asyncio.to_thread(bring_up_to_date, file, copy)
            except OSError as error:
                done, again = f"failed ({error.strerror or ascii(error)})", lease.attempt < ATTEMPTS
            if again:
                self.queue.release_nowait(lease, delay=PAUSE * 2**lease.attempt)
            else:
                self.queue.ack_nowait(lease)
                if done == "removed":
                    self.known.discard(path)
                self.report(path, done)


def all_of(path: Path, but: Path) -> list[Path]:
    """A file, or a folder with all that is in it, but for what is in the mirror: that would be
    mirrored into itself, and so on."""
    walk = (Path(parent, name) for parent, dirs, files in os.walk(path) for name in dirs + files)
    return [each for each in [path, *walk] if not Path(os.path.realpath(each)).is_relative_to(but)]


def is_utf8(path: Path) -> bool:
    """Python puts surrogates for the bytes of a name that are not."""
    return not any("\ud800" <= letter <= "\udfff" for letter in str(path))


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
    file.parent.mkdir()
    reports, copies = asyncio.Queue[str](), 0
    mirror = Mirror(file.parent, copy.parent, lambda path, done: reports.put_nowait(done))
    mirroring = asyncio.create_task(mirror.run())
    await reports.get()  # the folder is made
    for revision in range(1, 101):
        file.write_text(f"revision {revision}")
        await asyncio.sleep(0.002)
    while not copy.exists() or copy.read_text() != "revision 100":
        copies += await reports.get() == "copied"
    mirroring.cancel()
    await asyncio.wait([mirroring])
    print(f"100 revisions, copied {copies} times; mirrored: {copy.read_text()}")


def main(*arguments: str) -> None:
    if not arguments:
        with suppress(KeyboardInterrupt), tempfile.TemporaryDirectory() as folder:
            asyncio.run(demonstrate(Path(folder)))
    elif len(arguments) != 2:
        raise SystemExit(__doc__)
    else:
        source, target = map(Path, arguments)
        mirror = Mirror(source, target, lambda path, done: print(done, ascii(str(path))))
        with suppress(KeyboardInterrupt):
            asyncio.run(mirror.run())


if __name__ == "__main__":
    main(*sys.argv[1:])
