"""The flight recorder: an observer that keeps what happened, for ``python -m leasedkeyq check``.

A record is a file of JSON lines. It begins with a *head*: ``init``, the queue as it was made, or
``state``, the whole state at that moment in the words of the specification. The other lines are
events, each part under the name that `observing.named` gives it. Keys are written as texts, values
are not written at all, and infinity is ``"inf"``.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from io import TextIOWrapper
from logging.handlers import RotatingFileHandler
from math import inf
from os import PathLike
from pathlib import Path
from typing import Any, Self, TypeAlias

from ._checks import text
from ._records import Event
from .observing import named

Line: TypeAlias = dict[str, Any]  # one line of a record

HEADS = ("init", "state")
LINES_OF_A_STATE = ("returned", "arrived", "delayed", "deferred", "flight")  # that hold copies


def text_of(key: object) -> str:
    """A key as a text: its repr, but equal numbers have one text, whatever their types."""
    if isinstance(key, (int, float)) and key == key // 1:
        key = int(key)
    return text(key)


def plain(value: object) -> object:
    """A part of a line, as JSON has it."""
    return str(value) if value in (inf, -inf) else value


def plain_state(snapshot: Any, key: Callable[[Any], object]) -> Line:
    """A snapshot, of the machine or of the model, as a part of a line: without the values."""
    state: Line = {"phase": snapshot.phase, "puts": snapshot.puts}
    for part in LINES_OF_A_STATE:
        at = 1 if part == "flight" else 0  # where a row has the key; the value comes next
        rows = [(*row[:at], key(row[at]), *row[at + 2 :]) for row in getattr(snapshot, part)]
        state[part] = [[plain(cell) for cell in row] for row in rows]
    state["waiting"] = [
        [ticket, kind, key(name) if kind in ("take", "put") else None, plain(deadline)]
        for ticket, kind, name, deadline in snapshot.waiting
    ]
    state["slots"] = [*snapshot.slots]
    return state


class Recorder(ABC):
    """What both recorders have in common: they turn events to lines, and sum up a state."""

    def __init__(self, text_of: Callable[[Any], str]) -> None:
        self._text_of = text_of
        self._maxsize: int | None = None  # once the queue has begun
        self._durations: dict[int, float] = {}  # of the leases that are live, by number
        self._calls: dict[int, Line] = {}  # that wait, as they began, by ticket
        self._granted = self._tickets = 0  # the latest
        self._events = 0  # so far

    def __call__(self, queue: Any, events: Sequence[Event], /) -> None:
        lines = [self._line(event) for event in events]
        self._events += len(lines)
        self._keep(lines)
        if self._is_full():
            state = queue._state()
            if state is not None:
                self._begin_anew(self._sum_up(state, events[-1].now))

    def _line(self, event: Event) -> Line:
        if self._maxsize is None:
            if event.action != "init":
                raise RuntimeError(
                    "a recorder must be there from the beginning: LeasedKeyQueue(observer=...)"
                )
            _, self._maxsize, _ = event.detail  # type: ignore[misc]
        elif event.action == "init":
            raise RuntimeError("a recorder is for one queue: make another for the other")
        line = named(event)
        if "key" in line:
            line["key"] = self._text_of(line["key"])
        for name in ("wait", "duration", "delay", "lease_timeout"):
            if name in line:
                line[name] = plain(line[name])
        self._follow(event, line)
        return line

    def _follow(self, event: Event, line: Line) -> None:
        """Remember of leases and calls what a snapshot does not say."""
        action, number, ticket = event.action, event.number, event.ticket
        if action in ("resume", "cancel"):
            self._calls.pop(ticket or 0, None)
        elif ticket is not None and action not in ("reserve", "gone"):
            self._calls[ticket] = line
            self._tickets = ticket
        if number is not None:
            if action in ("ack", "release", "expire"):
                self._durations.pop(number, None)
            elif "attempt" in line:
                self._durations[number] = line["duration"]
            self._granted = max(self._granted, number)

    def _sum_up(self, snapshot: Any, now: float) -> Line:
        """A head, from which the model can go on."""
        state = plain_state(snapshot, self._text_of)
        alive = {flight.number for flight in snapshot.flight}
        self._durations = {n: it for n, it in self._durations.items() if n in alive}
        return {
            "action": "state",
            "time": now,
            "events": self._events,
            "maxsize": self._maxsize,
            **state,
            "granted": self._granted,
            "tickets": self._tickets,
            "durations": [*self._durations.items()],
            "calls": [*self._calls.values()],
        }

    @abstractmethod
    def _keep(self, lines: list[Line]) -> None: ...

    @abstractmethod
    def _is_full(self) -> bool: ...

    @abstractmethod
    def _begin_anew(self, head: Line) -> None: ...


class FlightRecorder(Recorder):
    """Keeps the last operations in memory: ``last`` of them at least, and twice as many at most.

    ``text_of``: makes a text of a key, the same for equal keys and another for others. Each time
    that ``last`` operations have passed it takes down the state of the queue: O(items).

    Raises ValueError if ``last`` is less than one.
    """

    def __init__(self, last: int = 10_000, *, text_of: Callable[[Any], str] = text_of) -> None:
        super().__init__(text_of)
        if last < 1:
            raise ValueError(f"last must be one or more, not {last!r}")
        self.last = last
        self._before: list[list[Line]] = []  # operations, the oldest first
        self._now: list[list[Line]] = []

    def lines(self) -> Iterator[str]:
        """The record, line by line. O(its length)."""
        for operation in [*self._before, *self._now]:
            yield from map(dumped, operation)

    def write(self, path: str | PathLike[str]) -> None:
        """Write the record to a file. Raises OSError. O(its length)."""
        with Path(path).open("w", encoding="utf-8") as file:
            file.writelines(self.lines())

    def _keep(self, lines: list[Line]) -> None:
        self._now.append(lines)

    def _is_full(self) -> bool:
        return len(self._now) > self.last

    def _begin_anew(self, head: Line) -> None:
        self._before, self._now = self._now, [[head]]


class FileRecorder(Recorder):
    """Keeps all operations in a file, which is written as they happen. Close it, or use it in a
    ``with``.

    ``path``: of the file. What is there already is moved away, to ``path.1``. ``max_bytes``: when
    the file is as large it is moved away as well, and a new one begins with the state of the queue
    (O(items)), so each file can be checked by itself; None for never. ``backups``: how many of
    those that were moved away are kept, as ``path.1`` (the latest), ``path.2``, and so on.
    ``text_of``: makes a text of a key, the same for equal keys and another for others.

    Raises OSError, and ValueError if one of the numbers is less than one.
    """

    def __init__(
        self,
        path: str | PathLike[str],
        *,
        max_bytes: int | None = None,
        backups: int = 1,
        text_of: Callable[[Any], str] = text_of,
    ) -> None:
        super().__init__(text_of)
        if backups < 1 or (max_bytes is not None and max_bytes < 1):
            raise ValueError(f"backups and max_bytes must be one or more: {backups}, {max_bytes}")
        self.max_bytes = max_bytes
        self._file = RotatingFileHandler(path, "a", backupCount=backups, encoding="utf-8")
        if self._stream.tell() > 0:
            self._file.doRollover()

    def close(self) -> None:
        """Close the file. What is told from then on is a ValueError, for the loop's handler. O(1).

        A second call does nothing.
        """
        self._stream.close()

    @property
    def _stream(self) -> TextIOWrapper:
        stream = self._file.stream
        assert stream is not None
        return stream

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _keep(self, lines: list[Line]) -> None:
        self._stream.writelines(map(dumped, lines))
        self._stream.flush()

    def _is_full(self) -> bool:
        return self.max_bytes is not None and self._stream.tell() >= self.max_bytes

    def _begin_anew(self, head: Line) -> None:
        self._file.doRollover()
        self._keep([head])


def dumped(line: Line) -> str:
    return json.dumps(line, separators=(",", ":")) + "\n"
