"""The screen of ``python -m leasedkeyq top``. It needs the extra ``leasedkeyq[top]``.

A frame is drawn for the size that the terminal has: columns that matter less are left out first,
and lines that do not fit are counted.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from math import log10
from typing import Any, Final, NamedTuple

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from .top import Frame, LeaseSeen, QueueSeen, Source

LEASES: Final = 50  # of each queue, that are asked for
NAME: Final = (12, 20)  # columns that the name of a queue has at least, and may take from others
GAP: Final = 1  # columns between two columns
PATIENCE: Final = 2.0  # seconds without an answer until that is said


class Column(NamedTuple):
    """Of the table of queues: its width, and what it shows of a queue and of one look before."""

    title: str
    width: int
    show: Callable[[QueueSeen, QueueSeen | None, float], str]


def size(number: float) -> str:
    """A number in six characters or less."""
    if number < 99_999.5:
        return f"{number:,.0f}"
    thousands = min(3, int(log10(number)) // 3)
    return f"{number / 1000**thousands:.3g}{' kMG'[thousands]}"


def age(seconds: float | None) -> str:
    """A duration in seven characters or less."""
    if seconds is None:
        return "-"
    if seconds < 100:
        return f"{seconds:.1f}s"
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days}d {hours}h"
    return f"{hours}h {minutes}m" if hours else f"{minutes}m {seconds}s"


def _number(name: str) -> Callable[[QueueSeen, QueueSeen | None, float], str]:
    return lambda queue, _before, _passed: size(getattr(queue.stats, name))


def _rate(name: str) -> Callable[[QueueSeen, QueueSeen | None, float], str]:
    def show(queue: QueueSeen, before: QueueSeen | None, passed: float) -> str:
        if before is None or passed <= 0:
            return "-"
        rate = (getattr(queue.stats, name) - getattr(before.stats, name)) / passed
        if rate < 0:  # it is another queue, of the same name
            return "-"
        return f"{rate:.1f}" if 0 < rate < 100 else size(rate)

    return show


def _age(name: str) -> Callable[[QueueSeen, QueueSeen | None, float], str]:
    return lambda queue, _before, _passed: age(getattr(queue.stats, name))


def _calls(queue: QueueSeen, _before: QueueSeen | None, _passed: float) -> str:
    return size(queue.stats.waiting_gets + queue.stats.waiting_takes + queue.stats.waiting_puts)


def _clients(queue: QueueSeen, _before: QueueSeen | None, _passed: float) -> str:
    return "-" if queue.sessions is None else size(queue.sessions)


def _bound(queue: QueueSeen, _before: QueueSeen | None, _passed: float) -> str:
    stats = queue.stats
    if queue.maxsize is None:
        return "-"
    return f"{size(stats.available + stats.delayed + stats.in_flight)}/{size(queue.maxsize)}"


CLIENTS: Final = Column("clients", 7, _clients)  # only if there is one that can have some

# What matters most comes first, and is left out last.
COLUMNS: Final = (
    Column("avail", 6, _number("available")),
    Column("leased", 6, _number("in_flight")),
    Column("put/s", 6, _rate("puts")),
    Column("ack/s", 6, _rate("acks")),
    Column("oldest", 7, _age("oldest_available_age")),
    Column("held", 7, _age("oldest_lease_age")),
    Column("calls", 6, _calls),
    CLIENTS,
    Column("expired", 7, _number("expiries")),
    Column("delayed", 7, _number("delayed")),
    Column("deferred", 8, _number("deferred")),
    Column("released", 8, _number("releases")),
    Column("timeouts", 8, _number("timeouts")),
    Column("bound", 11, _bound),
    Column("gets", 6, _number("waiting_gets")),
    Column("takes", 6, _number("waiting_takes")),
    Column("puts", 6, _number("waiting_puts")),
    Column("replaced", 8, _number("replaced")),
    Column("discarded", 9, _number("discards")),
    Column("acked", 6, _number("acks")),
)


def picture(
    frame: Frame, before: Frame | None, width: int, height: int | None = None, note: str = ""
) -> RenderableType:
    """A frame, as wide as this, and at most so many lines high; None for as many as it takes.

    ``before``: an earlier frame, for the rates. ``note``: what else there is to say.
    """
    head = Text(frame.title, "bold", no_wrap=True, overflow="ellipsis")
    room = len(frame.queues) if height is None else max(1, min(len(frame.queues), height // 2 - 2))
    parts: list[RenderableType] = [head]
    if note:
        parts[0] = Text.assemble(
            head, (f"   {note}", "not bold"), no_wrap=True, overflow="ellipsis"
        )
    if not frame.queues:
        return Group(*parts, "", "There is no queue to be seen.")
    parts += ["", _queues(frame, before, width, room)]
    if hidden := len(frame.queues) - room:
        parts.append(Text(f"and {hidden} more", "dim"))
    used = 3 + room + bool(hidden)
    held = [(queue.name, lease) for queue in frame.queues for lease in queue.leases]
    held.sort(key=lambda one: -one[1].age)
    left = None if height is None else height - used - 2
    if held and (left is None or left > 0):
        parts += ["", _leases(held[:left], width)]
    return Group(*parts)


def _queues(frame: Frame, before: Frame | None, width: int, room: int) -> Table:
    columns: list[Column] = []
    least, most = NAME
    names = [_name(queue) for queue in frame.queues[:room]]
    left = width - max(least, *(min(len(name), most) for name in names))
    shared = any(queue.sessions is not None for queue in frame.queues)
    for column in COLUMNS:
        if column is CLIENTS and not shared:
            continue
        left -= GAP + column.width
        if left < 0:
            break
        columns.append(column)
    earlier = {queue.name: queue for queue in before.queues} if before else {}
    passed = frame.time - before.time if before else 0.0
    table = _table(width)
    table.add_column("queue", ratio=1, min_width=1, no_wrap=True, overflow="ellipsis")
    for column in columns:
        table.add_column(column.title, min_width=column.width, justify="right", no_wrap=True)
    for queue, name in zip(frame.queues, names, strict=False):
        cells = (column.show(queue, earlier.get(queue.name), passed) for column in columns)
        table.add_row(name, *(Text(cell, "dim" if cell in ("0", "-") else "") for cell in cells))
    return table


def _name(queue: QueueSeen) -> Text:
    name = Text(queue.name)
    if queue.phase != "open":
        name.append(f" ({queue.phase})", "yellow")
    return name


def _leases(held: list[tuple[str, LeaseSeen]], width: int) -> Table:
    table = _table(width)
    table.add_column("held", min_width=7, justify="right", no_wrap=True)
    table.add_column("left", min_width=7, justify="right", no_wrap=True)
    table.add_column("attempt", min_width=7, justify="right", no_wrap=True)
    table.add_column("queue", max_width=max(8, width // 4), no_wrap=True, overflow="ellipsis")
    table.add_column("longest leases, by key", ratio=1, no_wrap=True, overflow="ellipsis")
    for name, lease in held:
        attempt = str(lease.attempt or "-")
        again = Text(attempt, "yellow" if lease.attempt > 1 else "")
        table.add_row(age(lease.age), age(lease.left), again, Text(name), Text(lease.key))
    return table


def _table(width: int) -> Table:
    return Table(
        box=None, width=width, padding=(0, GAP, 0, 0), pad_edge=False, header_style="reverse"
    )


# -- live ----------------------------------------------------------------------------------


async def show_once(source: Source, console: Console) -> None:
    """One frame, and that is it. Raises SourceError."""
    frame = await source.frame(LEASES)
    console.print(picture(frame, None, console.width))


async def watch(source: Source, console: Console, interval: float, quit_: asyncio.Event) -> None:
    """Frame after frame, until it is told to quit. Raises SourceError."""
    loop = asyncio.get_running_loop()
    quitting, resized = asyncio.create_task(quit_.wait()), asyncio.Event()
    before: Frame | None = None
    frame: Frame | None = None
    with _told_of_size(resized), Live(console=console, screen=True, auto_refresh=False) as live:

        def draw(note: str) -> None:
            shown = picture(frame, before, *console.size, note) if frame else Text(note)
            live.update(shown, refresh=True)

        while True:
            asked, since = asyncio.create_task(source.frame(LEASES)), loop.time()
            while not asked.done():
                await _first(PATIENCE, asked, quitting)
                if quitting.done():
                    asked.cancel()
                    await asyncio.wait([asked])
                    return
                if not asked.done():
                    draw(f"no answer for {loop.time() - since:.0f} s: {source.trouble}")
            before, frame = frame, asked.result()
            until = loop.time() + interval
            while loop.time() < until:
                draw("q quits")
                changed = asyncio.create_task(resized.wait())
                await _first(until - loop.time(), changed, quitting)
                changed.cancel()
                resized.clear()
                if quitting.done():
                    return


async def _first(timeout: float, *tasks: asyncio.Task[Any]) -> None:
    await asyncio.wait(tasks, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)


@contextmanager
def _told_of_size(resized: asyncio.Event) -> Iterator[None]:
    """The terminal has another size: where that is told, it is heard."""
    loop = asyncio.get_running_loop()
    try:
        loop.add_signal_handler(signal.SIGWINCH, resized.set)
    except (AttributeError, NotImplementedError, RuntimeError):  # not everywhere
        yield
        return
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGWINCH)


@asynccontextmanager
async def keys(terminal: int) -> AsyncIterator[asyncio.Event]:
    """An event that is set when q is pressed at the terminal; Ctrl-C remains what it is."""
    quit_ = asyncio.Event()
    try:
        import termios  # noqa: PLC0415 (there is none on Windows)
        import tty  # noqa: PLC0415
    except ImportError:
        yield quit_
        return
    loop = asyncio.get_running_loop()
    before = termios.tcgetattr(terminal)

    def read() -> None:
        pressed = os.read(terminal, 100)
        if not pressed:
            loop.remove_reader(terminal)
        if b"q" in pressed.lower() or not pressed:
            quit_.set()

    tty.setcbreak(terminal)
    loop.add_reader(terminal, read)
    try:
        yield quit_
    finally:
        loop.remove_reader(terminal)
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)


async def run(source: Source, *, once: bool, interval: float, console: Console) -> None:
    """What the command does. Where there is no terminal to draw on, it is one frame."""
    try:
        if once or not (console.is_terminal and sys.stdin.isatty()):
            await show_once(source, console)
        else:
            async with keys(sys.stdin.fileno()) as quit_:
                await watch(source, console, interval, quit_)
    finally:
        with suppress(OSError):
            await source.close()
