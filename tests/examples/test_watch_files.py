"""The mirror ends up with the latest state of each file, on real files and real events."""

import asyncio
import os
import random
import re
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from watchfiles._rust_notify import WatchfilesRustInternalError

from examples import watch_files
from tests import virtual

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
        [write(".git/index", "what editors and tools hide")],
    ],
    ids=["one file", "many files", "removed", "moved in", "hidden"],
)
async def test_latest_state_wins(tmp_path: Path, changes: list[Change]) -> None:
    source, target = tmp_path / "source", tmp_path / "mirror"
    source.mkdir()
    await mirror_while(source, target, changes)


def test_what_was_a_file_may_be_a_folder_and_the_other_way_round(tmp_path: Path) -> None:
    file, copy = tmp_path / "source", tmp_path / "mirror"
    for _ in range(2):
        assert watch_files.bring_up_to_date(file, copy) == "removed"
        assert not copy.exists()
        file.write_text("a file")
        assert watch_files.bring_up_to_date(file, copy) == "copied"
        assert copy.read_text() == "a file"
        file.unlink()
        file.mkdir()
        assert watch_files.bring_up_to_date(file, copy) == "made"
        write("in it", "then")(copy)
        file.rmdir()
        file.write_text("a file again")
        assert watch_files.bring_up_to_date(file, copy) == "copied"
        assert copy.read_text() == "a file again"
        file.unlink()


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
    monkeypatch.setattr(watch_files, "PAUSE", 0)
    source, target = tmp_path / "source", tmp_path / "mirror"
    source.mkdir()
    changes = [write("secret", "no"), write("public", "yes")]
    await mirror_while(source, target, changes, expected="secret: failed (Permission denied)")


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        (os.mkfifo, r"SpecialFileError\(.*mirror.* is a named pipe.*\)"),
        (lambda path: path.symlink_to("."), r"OSError\(.*rmtree.*\)"),
    ],
)
async def test_what_fails_says_why_though_no_system_call_has_failed(
    kind: Change, why: str, tmp_path: Path
) -> None:
    """Something is in the way that the mirror has not put there."""
    source, target = tmp_path / "source", tmp_path / "mirror \udcff"
    write("it", "to be copied")(source)
    target.mkdir()
    kind(target / "it")
    said = asyncio.Queue[str]()
    mirror = watch_files.Mirror(source, target, lambda _, done: said.put_nowait(done))
    mirroring = asyncio.create_task(mirror.run())
    while not (done := await said.get()).startswith("failed"):
        pass
    mirroring.cancel()
    await asyncio.wait([mirroring])
    assert re.fullmatch(rf"failed \({why}\)", done)
    assert done.isascii()  # so that it can be printed, whatever name is in it


async def test_a_mirror_in_its_source_is_not_mirrored(tmp_path: Path) -> None:
    tmp_path.joinpath("link").symlink_to("mirror")
    said = await mirror_while(tmp_path, tmp_path / "mirror", [write("notes", "once")])
    assert not any("mirror" in line or "link" in line for line in said)


def write_unnamable(folder: Path) -> None:
    """A file whose name is not UTF-8, which the watcher reports by an error, and a folder."""
    folder.joinpath("bad \udcff").write_text("unnamable")
    folder.joinpath("bad folder \udcff").mkdir(exist_ok=True)
    folder.joinpath("bad folder \udcff", "in it").write_text("unnamable")


@pytest.mark.parametrize("mirror", ["mirror", "source/mirror"])
async def test_a_name_that_is_not_utf8_is_left_out_and_named(
    tmp_path: Path, mirror: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the start and later; the watcher dies of it, and what changes then is still seen."""
    monkeypatch.setattr(watch_files, "RESTART", 0.1)
    source, target = tmp_path / "source", tmp_path / mirror
    source.mkdir()
    write_unnamable(source)
    write("gone", "soon")(source)
    said = asyncio.Queue[str]()
    mirroring = asyncio.create_task(
        watch_files.Mirror(
            source, target, lambda path, done: said.put_nowait(f"{path}: {done}")
        ).run()
    )

    async def wait_for(*expected: str) -> None:
        missing = {*expected}
        while missing:
            hearing = asyncio.ensure_future(said.get())
            await asyncio.wait([hearing, mirroring], return_when=asyncio.FIRST_COMPLETED)
            if mirroring.done():
                mirroring.result()
            missing.discard(await hearing)

    left_out = [
        f"{name}: left out (its name is not UTF-8)"
        for name in ("bad \udcff", "bad folder \udcff", "bad folder \udcff/in it")
    ]
    await wait_for("gone: copied", *left_out)
    for round_ in range(3):
        write_unnamable(source)
        write(f"new {round_}", "yes")(source)
        await wait_for(f"new {round_}: copied", *left_out)
    write_unnamable(source)
    (source / "gone").unlink()
    await wait_for("gone: removed")
    mirroring.cancel()
    await asyncio.wait([mirroring])
    assert mirroring.cancelled()
    assert sorted(path.name for path in target.iterdir()) == ["new 0", "new 1", "new 2"]


def test_names_of_folders_that_could_not_be_watched_are_refused(tmp_path: Path) -> None:
    source, bad = tmp_path / "source", tmp_path / "bad \udcff"
    source.mkdir()
    bad.mkdir()
    with pytest.raises(ValueError, match=r"'.*bad \\udcff' cannot be watched"):
        watch_files.Mirror(bad, source, lambda *_: None)
    with pytest.raises(ValueError, match=r"'.*bad \\udcff' in its source"):
        watch_files.Mirror(source, source / "bad \udcff", lambda *_: None)
    watch_files.Mirror(source, bad, lambda *_: None)


def watcher_that_fails(message: str) -> Callable[[Path], AsyncIterator[set[tuple[int, str]]]]:
    async def events_in(_: Path) -> AsyncIterator[set[tuple[int, str]]]:
        if message:
            error = WatchfilesRustInternalError(message)
            raise ExceptionGroup("of the watcher", [error])
        yield set()

    return events_in


async def test_a_watcher_that_always_gives_up_at_once_does_not_end_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch_files, "events_in", watcher_that_fails("Unable to decode path"))
    monkeypatch.setattr(watch_files, "RESTART", 0)
    source, target = tmp_path / "source", tmp_path / "mirror"
    source.mkdir()
    changes = [write("gone", "soon"), write("notes", "yes"), lambda _: (source / "gone").unlink()]
    await mirror_while(source, target, changes)


async def test_a_watcher_that_fails_otherwise_ends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch_files, "events_in", watcher_that_fails("No space left on device"))
    mirror = watch_files.Mirror(tmp_path, tmp_path / "mirror", lambda *_: None)
    with pytest.raises(ExceptionGroup) as raised:
        await mirror.run()
    assert raised.group_contains(WatchfilesRustInternalError, match="No space left")


async def test_a_watcher_that_fails_as_it_is_cancelled_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A task group that has an error and is cancelled raises the error alone."""
    at_work = asyncio.Event()

    async def events(_: Path) -> AsyncIterator[set[tuple[int, str]]]:
        yield set()
        at_work.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            error = WatchfilesRustInternalError("Unable to decode path")
            raise ExceptionGroup("unhandled errors in a TaskGroup", [error]) from None

    monkeypatch.setattr(watch_files, "events_in", events)
    mirroring = asyncio.create_task(
        watch_files.Mirror(tmp_path, tmp_path / "mirror", lambda *_: None).run()
    )
    await at_work.wait()
    mirroring.cancel()
    _, still = await asyncio.wait([mirroring], timeout=20)
    assert not still
    assert mirroring.cancelled()


@pytest.mark.parametrize("target", ["source", ".", "source/../../source/.."])
def test_a_source_in_its_mirror_is_refused(tmp_path: Path, target: str) -> None:
    (tmp_path / "source").mkdir()
    with pytest.raises(ValueError, match="lies in its mirror"):
        watch_files.Mirror(tmp_path / "source", tmp_path / target, lambda *_: None)


@pytest.mark.parametrize("given", [0, 2])
def test_ctrl_c_ends_it_without_a_traceback(
    given: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(main: Coroutine[Any, Any, None]) -> None:
        main.close()
        raise KeyboardInterrupt

    monkeypatch.setattr(asyncio, "run", interrupted)
    watch_files.main(*[str(tmp_path), str(tmp_path / "mirror")][:given])


async def test_the_demonstration_needs_few_copies(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    await watch_files.demonstrate(tmp_path)
    said = re.fullmatch(
        r"100 revisions, copied (\d+) times; mirrored: revision 100\n", capsys.readouterr().out
    )
    assert said is not None
    assert 1 <= int(said[1]) < 100


@pytest.mark.parametrize("stops", [False, True])
def test_nothing_is_missed_whatever_the_schedule(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stops: bool
) -> None:
    """Files change, copies take their time and fail, and it is stopped, all at random."""

    async def schedule(seed: int) -> bool:
        rng = random.Random(seed)
        stuck = stops and rng.random() < 0.2
        files, copies, tries = dict[str, int](), dict[str, int](), Counter[str]()
        busy, said = set[str](), dict[str, str]()
        mirror = watch_files.Mirror(
            tmp_path, tmp_path / "mirror", lambda path, done: said.update({str(path): done})
        )

        async def to_thread(_: object, file: Path, copy: Path) -> str:
            name = file.name
            assert name not in busy, "copied twice at the same time"
            busy.add(name)
            tries[name] += 1
            state = files[name]
            await asyncio.sleep(rng.choice([0, 0.01, 0.3, 1000 * stuck]))
            busy.remove(name)
            if name == "bad" or rng.random() < 0.1:
                raise PermissionError(13, "Permission denied")
            copies[name] = state
            return "copied"

        async def watch() -> None:
            for state in range(40):
                name = rng.choice(["a", "b", "c", "bad"])
                files[name] = state
                tries[name] = 0
                await mirror.queue.put(Path(name), None)
                await asyncio.sleep(rng.choice([0, 0, 0.05, 0.2]))
            await mirror.queue.join()

        monkeypatch.setattr(asyncio, "to_thread", to_thread)
        monkeypatch.setattr(mirror, "watch", watch)
        running = asyncio.create_task(mirror.run())
        if stops:
            await asyncio.sleep(rng.uniform(0, 3))
            running.cancel()
        stopped = asyncio.get_running_loop().time()
        await asyncio.wait([running])
        assert running.cancelled() == stops
        took = asyncio.get_running_loop().time() - stopped
        for name in files:
            assert said[name] in {"copied", "left"} or tries[name] >= watch_files.ATTEMPTS, name
            assert said[name] != "copied" or copies[name] == files[name], name
        if not stops:
            assert said["bad"] == "failed (Permission denied)"
            assert "left" not in said.values()
        assert not stops or took <= watch_files.GRACE + virtual.TICK
        return stops and took >= watch_files.GRACE - virtual.TICK

    assert {virtual.run(schedule(seed)) for seed in range(100)} == {False, stops}
