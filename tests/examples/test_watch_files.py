"""The mirror ends up with the latest state of each file, on real files and real events."""

import asyncio
import shutil
from pathlib import Path

import pytest

from examples import watch_files


async def mirror_while(source: Path, target: Path, changes: list[tuple[str, str | None]]) -> None:
    """Mirror, change the files once the watcher runs, and stop when the mirror is right.

    There is nothing to wait for but events: a mirror that never gets there runs into the timeout
    of the test.
    """
    source.joinpath("there from the start").write_text("yes")
    wanted = {"there from the start": "yes", **{name: text for name, text in changes if text}}
    for name, text in changes:
        if text is None:
            wanted.pop(name, None)
    removed = {name for name, text in changes if text is None}
    stop, started = asyncio.Event(), asyncio.Event()

    def report(path: Path, done: str) -> None:
        started.set()
        if done == "removed":
            removed.discard(path.as_posix())
        if contents(target) == wanted and not removed:
            stop.set()

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(watch_files.run(source, target, stop, report))
        await started.wait()
        for name, text in changes:
            file = source / name
            if text is None:
                file.unlink()
            else:
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(text)
    assert contents(target) == wanted


def contents(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): path.read_text()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize(
    "changes",
    [
        [("notes", f"revision {n}") for n in range(50)],
        [(f"many/file {n % 5}", f"revision {n}") for n in range(50)],
        [("gone", "soon"), ("other", "stays"), ("gone", None)],
    ],
    ids=["one file many times", "many files", "a file that is removed"],
)
async def test_latest_state_wins(tmp_path: Path, changes: list[tuple[str, str | None]]) -> None:
    source, target = tmp_path / "source", tmp_path / "mirror"
    source.mkdir()
    await mirror_while(source, target, changes)


async def test_change_during_the_copy_is_copied_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The watcher puts a file that is just being copied: one more copy follows, not at once."""
    queue = watch_files.Changes()
    file, copies = Path("notes"), 0

    async def copy(function: object, source: Path, target: Path) -> str:
        nonlocal copies
        copies += 1
        if copies == 1:
            await queue.put(file, None, if_in_flight="defer")
            assert await queue.qsize() == 0
        else:
            await queue.close()
        return "copied"

    monkeypatch.setattr(asyncio, "to_thread", copy)
    await queue.put(file, None, if_in_flight="defer")
    mirroring = watch_files.mirror(tmp_path, tmp_path / "mirror", queue, lambda *_: None)
    await mirroring
    assert copies == 2


def test_folders_are_mirrored_and_removed_too(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "mirror"
    source.mkdir()
    assert watch_files.bring_up_to_date(source, target) == "made"
    (source / "file").touch()
    assert watch_files.bring_up_to_date(source / "file", target / "file") == "copied"
    shutil.rmtree(source)
    assert watch_files.bring_up_to_date(source, target) == "removed"
    assert not target.exists()
    assert watch_files.bring_up_to_date(source / "file", target / "file") == "removed"
