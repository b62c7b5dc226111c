"""`top`: what a program lets be seen, how it is asked, and what the screen shows of it.

What needs a socket has a real one, and a real loop; the rest runs in virtual time.
"""

from __future__ import annotations

import asyncio
import errno
import io
import json
import os
import pty
import signal
import socket
import stat
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from math import inf
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from tests.subject import PACKAGE, LeasedKeyQueue, Stats, module
from tests.virtual import jump, running, ticks

top: Any = module("top")
screen: Any = module("_screen")
command: Any = module("__main__")
Queue = LeasedKeyQueue[Any, Any]


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the programs of these tests are found, and no others; its path is short."""
    place = tmp_path_factory.mktemp("run")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(place))
    return place / "leasedkeyq"


@pytest.fixture(params=["unix", "loopback"])
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "loopback":
        monkeypatch.setattr(top, "has_unix_sockets", lambda: False)
    return str(request.param)


def stats(**given: Any) -> Stats:
    names = Stats.__dataclass_fields__
    return Stats(**{name: None if name.endswith("_age") else 0 for name in names} | given)


def queue_seen(name: str = "orders", **given: Any) -> Any:
    known = {"phase": "open", "maxsize": None, "leases": ()}
    return top.QueueSeen(name=name, **{**known, "stats": stats(), **given})


def frame(*queues: Any, time: float = 0) -> Any:
    return top.Frame("shop.py, pid 7", time, queues)


async def ask(**what: Any) -> dict[str, Any]:
    """What `answer` says, with nothing in between."""
    queues, token = what.pop("queues", {}), what.pop("token", "")
    said: dict[str, Any] = json.loads(top.answer(json.dumps(what).encode(), queues, token))
    return said


# -- what is answered --------------------------------------------------------------------


async def test_an_answer_has_it_all() -> None:
    queue = Queue(maxsize=9)
    await queue.start()
    queue.stats()
    await queue.put("a", 1)
    await queue.put("b", 1)
    await queue.take("a", 0, lease_timeout=30)
    jump(10)
    await queue.get(0)
    said = await ask(protocol=1, leases=5, queues={"orders": queue})
    assert said["protocol"] == 1
    assert (said["program"], said["pid"]) == (Path(sys.argv[0]).name, os.getpid())
    assert said["time"] == running().time()
    (shown,) = said["queues"]
    assert (shown["name"], shown["phase"], shown["maxsize"]) == ("orders", "open", 9)
    assert shown["stats"] == asdict(queue.stats())
    assert shown["leases"] == [["'a'", 1, 10, 20], ["'b'", 1, 0, None]]
    said = await ask(protocol=1, leases=1, queues={"orders": queue, "others": Queue()})
    assert [len(shown["leases"]) for shown in said["queues"]] == [1, 0]
    assert said["queues"][1]["maxsize"] is None


async def test_a_copy_on_its_way_is_shown_without_an_attempt() -> None:
    queue = Queue()
    call = asyncio.create_task(queue.get(lease_timeout=5))
    await ticks(1)
    await queue.put("a" * 1000, 1)
    said = await ask(protocol=1, leases=5, queues={"orders": queue})
    assert said["queues"][0]["leases"] == [["'" + "a" * 199, 0, 0, None]]
    await call


async def test_what_is_no_request_is_told_so() -> None:
    for request in (b"", b"GET / HTTP/1.1\r\n", b"[]\n", b"{}\n", b'{"protocol": 1, "leases": []}'):
        assert json.loads(top.answer(request, {}))["error"] == "this is no request"
    said = await ask(protocol=2)
    assert said == {"protocol": 1, "error": "the program speaks protocol 1, and not 2"}
    said = json.loads(top.answer(b'{"protocol": 1, "token": "y"}', {}, "x"))
    assert said["error"] == "the token is wrong"
    assert (await ask(protocol=1, leases=-5))["queues"] == []


def test_a_frame_is_made_of_an_answer() -> None:
    row = ["'a'", 2, 1.5, None]
    queue = {"name": "orders", "phase": "shut", "maxsize": 5, "stats": {}, "leases": [row]}
    told = {"protocol": 1, "program": "shop.py", "pid": 7, "time": 3, "queues": [queue]}
    expected = queue_seen(phase="shut", maxsize=5, leases=(top.LeaseSeen("'a'", 2, 1.5, None),))
    assert top.frame_of(json.dumps(told).encode()) == frame(expected, time=3)
    queue["stats"] = {"available": 3, "what a newer program counts": 5}  # which has what is said
    (seen,) = top.frame_of(json.dumps(told).encode(), ("orders",)).queues
    assert seen.stats == stats(available=3)
    with pytest.raises(top.SourceError, match="there is no queue mails, but orders"):
        top.frame_of(json.dumps(told).encode(), ("orders", "mails"))
    for said in (b"HTTP/1.1 400", b"[]", b"{}", b'{"queues": [{}]}'):
        with pytest.raises(top.SourceError, match="what answers is no program with queues"):
            top.frame_of(said)
    with pytest.raises(top.SourceError, match="the program answers: no"):
        top.frame_of(b'{"error": "no"}')


# -- the socket ------------------------------------------------------------------------------


def test_a_program_is_seen_through_its_socket(kind: str, home: Path) -> None:
    async def main() -> None:
        queue = Queue()
        async with top.serve(orders=queue) as place:
            assert place == home / f"{os.getpid()}.sock"
            found = place.lstat()
            assert stat.S_ISSOCK(found.st_mode) == (kind == "unix")
            assert stat.S_IMODE(found.st_mode) == 0o600
            assert stat.S_IMODE(home.lstat().st_mode) == 0o700  # noqa: ASYNC240
            source, other = (
                command.source_of(None),
                command.source_of(str(os.getpid()), ("orders",)),
            )
            await queue.put("a", 1)
            seen = await source.frame(5)
            assert seen.title == f"{Path(sys.argv[0]).name}, pid {os.getpid()}"
            assert [one.stats.available for one in seen.queues] == [1]
            await queue.get()
            (one,) = (await source.frame(5)).queues
            assert [lease.key for lease in one.leases] == ["'a'"]
            assert (await other.frame(0)).queues[0].leases == ()
            await other.close()
        assert not place.exists()
        with pytest.raises(top.EndedError, match="the program has ended, or is done"):
            await source.frame(5)
        await source.close()

    asyncio.run(main())


def test_each_place_has_one_program(kind: str, home: Path, tmp_path: Path) -> None:
    async def main() -> None:
        async with top.serve() as first, top.serve(a=Queue()) as second:
            assert [first.name, second.name] == [f"{os.getpid()}.sock", f"{os.getpid()}-1.sock"]
            with pytest.raises(top.SourceError, match="there are several: say which") as raised:
                command.source_of(None)
            assert str(first) in str(raised.value)
            source = command.source_of(str(second))
            assert (await source.frame(0)).queues[0].name == "a"
            await source.close()
            with pytest.raises(FileExistsError, match="somebody listens, or it is no socket"):
                async with top.serve(first):
                    pass
        file = tmp_path / "file"
        file.touch()
        with pytest.raises(FileExistsError):
            async with top.serve(file):
                pass
        assert file.exists()

    asyncio.run(main())


def left_behind(place: Path, kind: str) -> Path:
    """What a program leaves that was killed."""
    with socket.socket(socket.AF_UNIX if kind == "unix" else socket.AF_INET) as there:
        if kind == "unix":
            there.bind(str(place))
        else:
            there.bind(("127.0.0.1", 0))
            top._write_address(place, there.getsockname()[1], "token")
    return place


def test_what_a_killed_program_leaves_is_cleared_away(
    kind: str, home: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    home.mkdir(mode=0o700)
    gone = left_behind(home / "99999999.sock", kind)
    own = left_behind(home / f"{os.getpid()}.sock", kind)
    elsewhere = left_behind(tmp_path_factory.mktemp("x") / "s", kind)

    async def main() -> None:
        with pytest.raises(top.SourceError, match=r"nobody listens at .*has ended"):
            await top.Program(gone).frame(0)
        async with top.serve() as place, top.serve(elsewhere):
            assert place == own
            assert top.programs() == [own]
            assert not gone.exists()

    asyncio.run(main())
    assert [*home.iterdir()] == []
    assert not elsewhere.exists()


def test_a_program_that_stops_lets_go_of_who_looks(kind: str) -> None:
    async def main() -> None:
        async with top.serve() as place:
            source = top.Program(place)
            await source.frame(0)
            reader, writer = await top.Program(place)._connected()
            writer.write(b"x" * 100_000)  # which is no line
            assert await reader.read() == b""
            writer.close()
        with pytest.raises(top.EndedError):
            await source.frame(0)
        await source.close()

    asyncio.run(main())


def test_who_has_too_much_to_say_is_no_program(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    monkeypatch.setattr(top, "LINE_LIMIT", 100)
    monkeypatch.setattr(top, "answer", lambda *_: b"x" * 10_000)

    async def main() -> None:
        async with top.serve(tmp_path_factory.mktemp("x") / "s") as place:
            source = top.Program(place)
            with pytest.raises(top.SourceError, match="has too much to say"):
                await source.frame(0)
            await source.close()

    asyncio.run(main())


def test_a_queue_of_another_loop_is_refused() -> None:
    queue = Queue()
    asyncio.run(queue.start())

    async def main() -> None:
        with pytest.raises(RuntimeError, match="belongs to the event loop"):
            async with top.serve(orders=queue):
                pass

    asyncio.run(main())


def test_a_path_that_is_no_good_is_an_error(tmp_path: Path) -> None:
    async def main() -> None:
        with pytest.raises(OSError, match=f"cannot listen at {tmp_path}") as raised:
            async with top.serve(tmp_path / "none" / "s"):
                pass
        assert raised.value.errno == errno.ENOENT

    asyncio.run(main())


def test_the_directory_must_be_private(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home.mkdir(mode=0o755)
    home.chmod(0o755)
    with pytest.raises(PermissionError, match="must be a directory that is this user's alone"):
        top._private_folder()
    home.chmod(0o700)
    assert top._private_folder() == home
    uid = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: uid + 1)
    with pytest.raises(PermissionError):
        top._private_folder()
    monkeypatch.delattr(os, "getuid")
    assert top._private_folder() == home
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    assert top.folder().name == "leasedkeyq-user"
    monkeypatch.setattr(os, "getuid", lambda: 12, raising=False)
    assert top.folder().name == "leasedkeyq-12"


def test_what_leads_nowhere_is_said(tmp_path: Path) -> None:
    with pytest.raises(top.SourceError, match="no program of this user lets its queues be looked"):
        command.source_of(None)
    with pytest.raises(top.SourceError, match="no process 123 of this user"):
        command.source_of("123")
    with pytest.raises(top.SourceError, match="none is not there"):
        command.source_of(str(tmp_path / "none"))
    with pytest.raises(top.SourceError, match="redis://here: say which queues"):
        command.source_of("redis://user:secret@here")
    file = tmp_path / "file"
    for content in ("", "[]", '{"port": 1}'):
        file.write_text(content)
        with pytest.raises(top.SourceError, match=f"{file} leads to no program"):
            asyncio.run(command.source_of(str(file)).frame(0))


def test_a_url_leads_to_a_server(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (
        command.source_of("redis://user:secret@here:1/2", ("orders",)).title == "redis://here:1/2"
    )
    monkeypatch.setitem(sys.modules, f"{PACKAGE}.redis.top", None)
    with pytest.raises(top.SourceError, match="redis-py: pip install redis"):
        command.source_of("redis://here", ("orders",))


# -- the screen --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        *((0, "0"), (7, "7"), (99_999, "99,999"), (99_999.6, "100k"), (123_456, "123k")),
        *((1_234_567, "1.23M"), (12_345_678, "12.3M"), (5e9, "5G"), (2.5e13, "2.5e+04G")),
    ],
)
def test_numbers_are_short(number: float, shown: str) -> None:
    assert screen.size(number) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        *((None, "-"), (0.04, "0.0s"), (99.94, "99.9s"), (100, "1m 40s"), (3599, "59m 59s")),
        *((3600, "1h 0m"), (86_399, "23h 59m"), (90_000, "1d 1h"), (86_400 * 99, "99d 0h")),
    ],
)
def test_ages_are_short(seconds: float | None, shown: str) -> None:
    assert screen.age(seconds) == shown
    assert len(shown) <= 7


def drawn(seen: Any, before: Any = None, width: int = 80, height: int | None = 24) -> list[str]:
    """The lines of a picture, as a terminal of this size has them."""
    console = Console(width=width, height=height or 25, file=io.StringIO(), color_system=None)
    console.print(screen.picture(seen, before, width, height, "q quits"))
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert all(len(line) <= width for line in lines)
    assert height is None or len(lines) <= height
    return [line.rstrip() for line in lines]


BUSY = {
    "available": 1234567,
    "delayed": 3,
    "in_flight": 99_999,
    "waiting_gets": 12,
    "waiting_puts": 3,
    "puts": 2000,
    "acks": 1000,
    "expiries": 5,
    "oldest_available_age": 12.34,
    "oldest_lease_age": 4000,
}


def test_eighty_columns_hold_what_matters() -> None:
    before = frame(queue_seen(stats=stats(puts=500, acks=999)), queue_seen("mails"), time=1)
    busy = queue_seen(stats=stats(**BUSY), maxsize=9, phase="shut")
    lines = drawn(frame(busy, queue_seen("mails"), time=3), before)
    assert lines == [
        "shop.py, pid 7   q quits",
        "",
        "queue          avail leased  put/s  ack/s  oldest    held  calls expired delayed",
        "orders (shut)  1.23M 99,999    750    0.5   12.3s   1h 6m     15       5       3",
        "mails              0      0      0      0       -       -      0       0       0",
    ]


def test_a_wide_screen_has_it_all_and_a_narrow_one_what_fits() -> None:
    busy = queue_seen(stats=stats(**BUSY), maxsize=9_000_000)
    wide, narrow = drawn(frame(busy), width=200)[2], drawn(frame(busy), width=40)[2]
    titles = [column.title for column in screen.COLUMNS if column is not screen.CLIENTS]
    assert wide.split() == ["queue", *titles]
    assert "1.33M/9M" in drawn(frame(busy), width=200)[3]
    assert drawn(frame(queue_seen()), width=200)[3].split()[13] == "-"
    assert narrow.split() == ["queue", "avail", "leased", "put/s", "ack/s"]
    assert drawn(frame(queue_seen("x" * 99)), width=30)[3].startswith("x" * 22 + "…")


def test_clients_are_counted_where_there_can_be_some() -> None:
    both = frame(queue_seen(sessions=12), queue_seen("mails"))
    lines = [line.split() for line in drawn(both, width=100)[2:]]
    column = lines[0].index("clients")
    assert [line[column] for line in lines[1:]] == ["12", "-"]


def test_a_queue_that_was_made_anew_has_no_rate_yet() -> None:
    before, after = (frame(queue_seen(stats=stats(puts=n)), time=1 / n) for n in (9, 1))
    assert drawn(after, before)[3].split()[3:5] == ["-", "0"]


def test_what_was_not_seen_before_has_no_rate_yet() -> None:
    other = queue_seen("mails", stats=stats(puts=9))
    first = frame(queue_seen(stats=stats(puts=1)))
    then = frame(queue_seen(stats=stats(puts=3)), other, time=4)
    assert [line.split()[3] for line in drawn(then, first)[3:5]] == ["0.5", "-"]
    assert drawn(first, first)[3].split()[3] == "-"  # no time has passed


def test_the_longest_leases_fill_the_rest() -> None:
    held = [top.LeaseSeen(f"'{n}'", 1 + n % 2, n, None if n else 2.0) for n in range(30)]
    one, other = queue_seen(leases=tuple(held)), queue_seen("mails", leases=tuple(held[:1]))
    lines = drawn(frame(one, other))
    assert len(lines) == 24
    assert lines[5] == ""
    assert lines[6].split("  ")[-1].endswith("longest leases, by key")
    assert lines[7].split() == ["29.0s", "-", "2", "orders", "'29'"]
    everything = drawn(frame(one, other), height=None)
    assert len(everything) == 38
    assert everything[-1].split() == ["0.0s", "2.0s", "1", "mails", "'0'"]
    waits = replace(one, leases=(top.LeaseSeen("'x'", 0, 1, None),))
    assert drawn(frame(waits))[-1].split() == ["1.0s", "-", "-", "orders", "'x'"]


def test_queues_that_do_not_fit_are_counted() -> None:
    queues = [queue_seen(f"queue {n}", leases=(top.LeaseSeen("'a'", 1, 1, 1),)) for n in range(30)]
    lines = drawn(frame(*queues))
    assert lines[13] == "and 20 more"
    assert lines[15].endswith("longest leases, by key")
    assert drawn(frame(*queues), height=5)[3].split()[:2] == ["queue", "0"]
    assert drawn(frame(), height=10)[-1] == "There is no queue to be seen."


class Script:
    """A source that gives out frames, one each time, and then says why there is none."""

    def __init__(self, *frames: Any, delay: float = 0) -> None:
        self.frames = [*frames]
        self.trouble = "it sleeps"
        self.delay = delay
        self.closed = False

    async def frame(self, leases: int) -> Any:
        assert leases == screen.LEASES
        await asyncio.sleep(self.delay)
        if not self.frames:
            raise top.EndedError("it has ended")
        return self.frames.pop(0)

    async def close(self) -> None:
        self.closed = True


class Paper(io.StringIO):
    def __init__(self) -> None:
        super().__init__()
        self.flushed = asyncio.Event()

    def flush(self) -> None:
        self.flushed.set()


class Terminal:
    """A console, and what was drawn on it last."""

    def __init__(self) -> None:
        self.file = Paper()
        self.console = Console(
            file=self.file, force_terminal=True, width=80, height=24, color_system=None
        )

    def take(self) -> str:
        said = self.file.getvalue()
        self.file.seek(0)
        self.file.truncate()
        return said

    async def says(self, word: str) -> str:
        """What it says, as soon as this is in it."""
        while word not in (said := self.take()):
            self.file.flushed.clear()
            await self.file.flushed.wait()
        return said


async def test_frame_after_frame_until_the_program_ends() -> None:
    one, two = (frame(queue_seen(stats=stats(puts=n)), time=n) for n in (0, 5))
    terminal = Terminal()
    watching = asyncio.create_task(
        screen.watch(Script(one, two), terminal.console, 1.0, asyncio.Event())
    )
    await asyncio.sleep(0.5)
    said = terminal.take()
    assert "shop.py, pid 7   q quits" in said
    assert "\x1b[?1049h" in said  # the other screen
    await asyncio.sleep(1)
    assert " 1.0 " in terminal.take()
    with pytest.raises(top.EndedError):
        await watching
    assert "\x1b[?1049l" in terminal.take()


async def test_a_source_that_does_not_answer_says_why() -> None:
    terminal, quit_ = Terminal(), asyncio.Event()
    source = Script(frame(queue_seen()), frame(queue_seen()), delay=5)
    watching = asyncio.create_task(screen.watch(source, terminal.console, 1.0, quit_))
    await asyncio.sleep(4.5)
    assert "no answer for 4 s: it sleeps" in terminal.take()
    await asyncio.sleep(1)
    assert "q quits" in terminal.take()
    await asyncio.sleep(3)
    said = terminal.take()
    assert "pid 7   no answer for 2 s: it sleeps" in said
    quit_.set()
    await watching


@pytest.mark.parametrize("is_told_of_sizes", [True, False])
async def test_it_quits_between_two_frames(
    monkeypatch: pytest.MonkeyPatch, is_told_of_sizes: bool
) -> None:
    def refuse(*_: object) -> None:
        raise NotImplementedError

    if not is_told_of_sizes:
        monkeypatch.setattr(asyncio.get_running_loop(), "add_signal_handler", refuse)
    quit_ = asyncio.Event()
    source = Script(frame(queue_seen()))
    watching = asyncio.create_task(screen.watch(source, Terminal().console, 100.0, quit_))
    await asyncio.sleep(50)
    quit_.set()
    await asyncio.sleep(1)
    assert watching.done()
    await watching


def test_a_new_size_is_drawn_at_once() -> None:
    async def main() -> None:
        terminal, quit_ = Terminal(), asyncio.Event()
        source = Script(frame(queue_seen()))
        watching = asyncio.create_task(screen.watch(source, terminal.console, 60.0, quit_))
        await terminal.says("orders")
        terminal.console.size = (30, 10)
        os.kill(os.getpid(), signal.SIGWINCH)
        said = await terminal.says("orders")
        assert "avail" in said
        assert "ack/s" not in said
        quit_.set()
        await watching

    asyncio.run(main())


# -- the command ---------------------------------------------------------------------------------


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[bytes], int]]:
    """A terminal for stdin, and a way to press keys at it."""
    outer, inner = pty.openpty()
    with os.fdopen(inner, "r") as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        yield lambda pressed: os.write(outer, pressed)
    os.close(outer)


def test_q_quits(typed: Callable[[bytes], int], monkeypatch: pytest.MonkeyPatch) -> None:
    heard = asyncio.Event()

    def read(terminal: int, most: int) -> bytes:
        heard.set()
        return real(terminal, most)

    real = os.read
    monkeypatch.setattr(screen.os, "read", read)

    async def main() -> None:
        before = termios.tcgetattr(sys.stdin.fileno())
        async with screen.keys(sys.stdin.fileno()) as quit_:
            assert not termios.tcgetattr(sys.stdin.fileno())[3] & termios.ICANON
            typed(b"x")
            await heard.wait()
            assert not quit_.is_set()
            typed(b"Q")
            await quit_.wait()
        assert termios.tcgetattr(sys.stdin.fileno()) == before

    asyncio.run(main())


def test_a_terminal_that_is_gone_is_no_reason_to_go_on(
    typed: Callable[[bytes], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(screen.os, "read", lambda *_: b"")

    async def main() -> None:
        async with screen.keys(sys.stdin.fileno()) as quit_:
            typed(b"x")
            await quit_.wait()

    asyncio.run(main())


async def test_without_termios_there_are_no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "termios", None)
    async with screen.keys(0) as quit_:
        assert not quit_.is_set()


def test_run_watches_at_a_terminal(typed: Callable[[bytes], int]) -> None:
    async def main() -> None:
        source, terminal = Script(frame(queue_seen())), Terminal()
        running = screen.run(source, once=False, interval=60, console=terminal.console)
        task = asyncio.create_task(running)
        await terminal.says("orders")
        typed(b"q")
        await task
        assert source.closed
        assert "\x1b[?1049l" in terminal.take()

    asyncio.run(main())


def test_run_prints_one_frame_if_asked_or_elsewhere(
    typed: Callable[[bytes], int], capsys: pytest.CaptureFixture[str]
) -> None:
    for once, console in ((True, Terminal().console), (False, Console())):
        source = Script(frame(queue_seen()))
        asyncio.run(screen.run(source, once=once, interval=60, console=console))
        assert source.closed
    assert capsys.readouterr().out.startswith("shop.py, pid 7")


PROGRAM = f"""
import asyncio
from {PACKAGE} import LeasedKeyQueue, top

async def main():
    queue = LeasedKeyQueue()
    queue.put_nowait("a", 1)
    queue.get_nowait()
    queue.put_nowait("b", 1)
    async with top.serve(orders=queue) as place:
        print(place, flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


def test_a_running_program_is_looked_at(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of it, as a user has it: one program, and another that looks."""
    monkeypatch.setenv("COLUMNS", "80")
    with subprocess.Popen([sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE) as program:
        assert program.stdout is not None
        place = program.stdout.readline().decode().strip()
        line = [sys.executable, "-m", PACKAGE, "top", "--once"]
        for address in ([], [str(program.pid)], [place, "orders"]):
            done = subprocess.run([*line, *address], capture_output=True, text=True, check=True)
            said = done.stdout.splitlines()
            assert said[0].rstrip() == f"-c, pid {program.pid}"
            assert said[3].split()[:3] == ["orders", "1", "1"]
            assert said[6].split()[-2:] == ["orders", "'a'"]
        assert command.main(["top", "--once", place]) == 0
        assert command.main(["top", place, "mails"]) == 2
        program.kill()
    assert command.main(["top", "--once", place]) == 2
    assert command.main(["top"]) == 2
    _, said_last = capfd.readouterr()
    assert "there is no queue mails, but orders" in said_last
    assert "nobody listens at" in said_last
    assert "no program of this user lets its queues be looked at" in said_last


def test_the_command_says_how_it_ended(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "source_of", lambda *_: Script())
    assert command.main(["top", "--once"]) == 1
    assert capsys.readouterr().err == "it has ended\n"

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "source_of", interrupt)
    assert command.main(["top"]) == 0
    monkeypatch.setitem(sys.modules, "rich.console", None)
    assert command.main(["top"]) == 2
    assert capsys.readouterr().err.startswith("top needs rich: pip install rich")
    for wrong in ("0", "nan", "x", "inf", "1e9"):
        with pytest.raises(SystemExit):
            command.main(["top", "--interval", wrong])
    assert inf > command.interval("0.5") == 0.5
