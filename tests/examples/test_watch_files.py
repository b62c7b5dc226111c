"""The mirror ends up with the latest state of each file, on real files and real events."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from examples import watch_files

Change = Callable[[Path], object]


def write(name: str, text: str) -> Change:
    def change(source: Path) -> None:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text(text)

    return change


def contents(folder: Path) -> dict[str, str | None]:
    """What is in a folder but links and its mirror; None for a folder, and for all in a change."""
    try:
        return {
            path.relative_to(folder).as_posix(): None if path.is_dir() else path.read_text()
            for path in folder.rglob("*")
            if not path.is_symlink() and "mirror" not in path.relative_to(folder).parts
        }
    except FileNotFoundError:
        return {}


async def mirror_while(
    source: Path, target: Path, changes: list[Change], expected: str | None = None
) -> list[str]:
    """Mirror, change the files once the watcher runs, and stop when the mirror is right.

    There is nothing to wait for but events: a mirror that never gets there runs into the timeout
    of the test.
    """
    write("there from the start", "yes")(source)
    started, reports = asyncio.Event(), asyncio.Queue[str]()
    said: list[str] = []

    def report(path: Path, done: str) -> None:
        started.set()
        reports.put_nowait(f"{path}: {done}")

    mirroring = asyncio.create_task(watch_files.Mirror(source, target, report).run())
    await started.wait()
    for change in changes:
        change(source)
    while contents(target) != contents(source) or expected not in [None, *said]:
        said.append(await reports.get())
    mirroring.cancel()
    await asyncio.wait([mirroring])
    assert mirroring.cancelled()
    return said


@pytest.mark.parametrize(
    "changes",
    [
        [write("notes", f"revision {n}") for n in range(50)],
        [write(f"many/file {n % 5}", f"revision {n}") for n in range(50)],
        [write("gone", "soon"), write("other", "stays"), lambda source: (source / "gone").unlink()],
        [
            lambda source: write("deep/down", "moved")(source.parent),
            lambda source: (source.parent / "deep").rename(source / "deep"),
        ],
        [
            write("file", "to be a folder"),
            lambda source: (source / "file").unlink(),
            write("file/in it", "now"),
        ],
        [
            write("folder/in it", "still"),
            lambda source: (source / "folder").rename(source.parent / "elsewhere"),
            write("folder", "now a file"),
        ],
        [write(".git/index", "what editors and tools hide")],
    ],
    ids=["one file", "many files", "removed", "moved in", "to folder", "to file", "hidden"],
)
async def test_latest_state_wins(tmp_path: Path, changes: list[Change]) -> None:
    source, target = tmp_path / "source", tmp_path / "mirror"
    source.mkdir()
    await mirror_while(source, target, changes)


async def test_one_unreadable_file_does_not_end_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = watch_files.bring_up_to_date

    def bring_up_to_date(file: Path, copy: Path) -> str:
        if file.name == "secret":
            file.unlink(missing_ok=True)  # so that the mirror can be right in the end
            raise PermissionError(13, "Permission denied", str(file))
        return original(file, copy)

    monkeypatch.setattr(watch_files, "bring_up_to_date", bring_up_to_date)
    source, target = tmp_path / "source", tmp_path / "mirror"
    source.mkdir()
    changes = [write("secret", "no"), write("public", "yes")]
    await mirror_while(source, target, changes, expected="secret: failed (Permission denied)")


async def test_a_mirror_in_its_source_is_not_mirrored(tmp_path: Path) -> None:
    tmp_path.joinpath("link").symlink_to("mirror")
    said = await mirror_while(tmp_path, tmp_path / "mirror", [write("notes", "once")])
    assert not any("mirror" in line or "link" in line for line in said)


@pytest.mark.parametrize("target", ["source", ".", "source/../../source/.."])
def test_a_source_in_its_mirror_is_refused(tmp_path: Path, target: str) -> None:
    (tmp_path / "source").mkdir()
    with pytest.raises(ValueError, match="lies in its mirror"):
        watch_files.Mirror(tmp_path / "source", tmp_path / target, lambda *_: None)


async def test_change_during_the_copy_is_copied_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The watcher puts a file that is just being copied: one more copy follows, not at once."""
    mirror = watch_files.Mirror(tmp_path / "source", tmp_path / "mirror", lambda *_: None)
    file, copies = mirror.source / "notes", 0

    async def copy(function: object, source: Path, target: Path) -> str:
        nonlocal copies
        copies += 1
        if copies == 1:
            await mirror.put([file])
            assert await mirror.queue.qsize() == 0
        else:
            await mirror.queue.close()
        return "copied"

    monkeypatch.setattr(asyncio, "to_thread", copy)
    await mirror.put([file])
    await mirror.work()
    assert copies == 2
