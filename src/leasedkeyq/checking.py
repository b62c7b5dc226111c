"""Is a record a behaviour of the queue? The reference model is asked, event by event.

The model carries out each operation that the record tells of, and tells itself what happens. That
must be what comes next in the record, word for word. An operation that the model refuses, or that
it sees another outcome of, does not follow.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from math import inf
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

from . import _model
from .recording import HEADS, Line, plain, plain_state

STEPS = ("expire", "ripen")  # which may be all that an operation tells
ENDS = ("TIMED_OUT", "ENDED", "DONE", "LEFT")
ROWS = 20  # of each part of a state that are shown
COPY = ("key", "version", "attempts")
COLUMNS = {
    "returned": COPY,
    "arrived": COPY,
    "delayed": (*COPY, "time"),
    "deferred": (*COPY, "time"),
    "flight": ("lease", *COPY, "ticket", "deadline"),
    "waiting": ("ticket", "kind", "key", "deadline"),
}
MODEL_ERRORS = (_model.LeasedKeyQError, TimeoutError, TypeError, ValueError, KeyError)


class NoRecordError(Exception):
    """The file cannot be read as a record."""


class Place(NamedTuple):
    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}, line {self.line}"


class Verdict(NamedTuple):
    """What was found. Everything but ``events`` is about the first event that does not follow."""

    events: int  # that were checked
    place: Place | None = None  # None if the whole record is a behaviour of the queue
    event: Line | None = None
    reason: str = ""
    state: Line | None = None  # before the operation that the event belongs to

    @property
    def accepted(self) -> bool:
        return self.place is None

    def __str__(self) -> str:
        if self.place is None:
            return f"{self.events:,} events: a behaviour of the queue"
        lines = [f"{self.place}: this does not follow", f"    {in_words(self.event or {})}"]
        lines += [self.reason, "the state before it:"]
        for name, part in (self.state or {}).items():
            rows = part if isinstance(part, list) else [part]
            shown = [in_columns(name, row) for row in rows[:ROWS]] or ["nothing"]
            if len(rows) > ROWS:
                shown.append(f"and {len(rows) - ROWS:,} more")
            titles = [name, *[""] * (len(shown) - 1)]
            lines += [f"    {title:<9} {row}" for title, row in zip(titles, shown, strict=True)]
        return "\n".join(lines)


class DoesNotFollow(Exception):  # noqa: N818 (it never leaves this module)
    """The record and the model part ways at the event under the cursor."""


def in_words(line: Line) -> str:
    """An event in one line."""
    rest = (f"{name}={value}" for name, value in line.items() if name not in ("action", "time"))
    at = f"at {line['time']}" if "time" in line else ""
    return " ".join([str(line.get("action")), *rest, at]).strip()


def in_columns(part: str, row: Any) -> str:
    """A row of a state in one line."""
    if part not in COLUMNS:
        return str(row)
    cells = zip(COLUMNS[part], row, strict=True)
    return " ".join(f"{name}={cell}" for name, cell in cells if cell is not None)


class Record:
    """Files of JSON lines, read one after the other, in the order in which they were written."""

    def __init__(self, paths: Sequence[str | PathLike[str]]) -> None:
        self.paths = [Path(path) for path in paths]
        if len(self.paths) > 1:
            self.paths.sort(key=self._begins)
        self.size = sum(path.stat().st_size for path in self.paths)
        self.cut = False  # its last line was not finished

    def _begins(self, path: Path) -> int:
        """How many events there were before this file."""
        for _, head, _ in self._lines(path):
            return int(head.get("events", 0))
        return 0

    def __iter__(self) -> Iterator[tuple[Place, Line, int]]:
        """Each line with its place, and how many bytes it takes."""
        for path in self.paths:
            yield from self._lines(path)

    def _lines(self, path: Path) -> Iterator[tuple[Place, Line, int]]:
        with path.open("rb") as file:
            for number, raw in enumerate(file, 1):
                place = Place(str(path), number)
                try:
                    line = json.loads(raw)
                    line["action"], line["time"] + 0.0
                except (ValueError, TypeError, KeyError) as error:
                    if not raw.endswith(b"\n"):
                        self.cut = True  # the program was stopped in the midst of it
                        return
                    raise NoRecordError(f"{place}: is no line of a record ({error})") from error
                yield place, line, len(raw)


def check(
    paths: Sequence[str | PathLike[str]], progress: Callable[[int, int, int], object] | None = None
) -> Verdict:
    """Hold a record, in one file or in several, against the reference model.

    ``progress``: is called now and then with the number of events, of bytes, and of all bytes.
    Raises OSError, and `NoRecordError` for a file that is no record.
    """
    record = Record(paths)
    follower = Follower(record, progress)
    parted = follower.follow()
    if parted is None:
        return Verdict(follower.events)
    again = Follower(record)
    again.follow(follower.began)
    again.next = None  # not a step further
    place, line = follower.here
    state = plain_state(again.snapshot(-inf), str)
    return Verdict(follower.events, place, line, parted, state)


class Follower(_model.Model):
    """The model, led along a record."""

    def __init__(
        self, record: Record, progress: Callable[[int, int, int], object] | None = None
    ) -> None:
        super().__init__()
        self.record = record
        self.progress = progress
        self.lines: Iterator[tuple[Place, Line, int]] = iter(record)
        self.next: tuple[Place, Line] | None = None  # the event under the cursor
        self.here = (Place("", 0), Line())  # the last that was there
        self.events = self.bytes = 0  # that the cursor has passed
        self.began = 0  # how many of them before the operation that is under way
        self.now = -inf
        self.unknown: set[int] = set()  # calls of which a state does not say what has become
        self.step()

    def step(self) -> None:
        """Move the cursor on."""
        found = next(self.lines, None)
        self.next = None
        if found is not None:
            place, line, size = found
            self.next = self.here = place, line
            self.bytes += size
            if self.progress is not None and self.events % 1000 == 0:
                self.progress(self.events, self.bytes, self.record.size)

    def passed(self) -> None:
        self.events += 1
        self.step()

    def follow(self, most: float = inf) -> str | None:
        """Go along the record, for so many events; why it does not follow, if it does not."""
        if self.next is None:
            raise NoRecordError(f"{self.record.paths[0]}: is empty")
        place, head = self.next
        if head["action"] not in HEADS:
            raise NoRecordError(f"{place}: a record begins with one of {HEADS}")
        try:
            self.begin(head)
        except (KeyError, TypeError, ValueError) as error:
            raise NoRecordError(f"{place}: is no head of a record ({error!r})") from error
        try:
            while self.events < most and self.goes_on():
                self.began = self.events
                self.carry_out(self.here[1])
        except DoesNotFollow as parted:
            return str(parted)
        return None

    def goes_on(self) -> bool:
        return self.next is not None

    def carry_out(self, event: Line) -> None:
        action, before = event["action"], self.events
        if event["time"] < self.now:
            raise DoesNotFollow(f"it is later already: {self.now}")
        self.now = event["time"]
        refused = ""
        try:
            if action == "state":
                self.compare(event)
            elif action == "gone":
                self.meet()
            elif action in STEPS:
                self.reap(self.now)
            else:
                self.operate(action, event)
        except MODEL_ERRORS as error:
            refused = f": {type(error).__name__}"
        if self.events == before:
            raise DoesNotFollow(f"by the model, nothing of the kind happens{refused}")

    def operate(self, action: str, event: Line) -> None:
        """Have the model do what the record says was done; only of that it tells the outcome."""
        now = self.now
        key = event.get("key")
        wait, delay, duration = (
            float(event[name]) if isinstance(event.get(name), str) else event.get(name)
            for name in ("wait", "delay", "duration")
        )
        match action:
            case "put":
                self.put(key, None, event["policy"], delay or 0, wait, now)
            case "get":
                self.get(wait, duration, now)
            case "take":
                self.take(key, wait, duration, now)
            case "resume" | "cancel":
                self.end_call(action, event)
            case "ack":
                self.ack(self.lease(event), now)
            case "release":
                self.release(self.lease(event), event["front"], delay or 0, now)
            case "extend":
                self.extend(self.lease(event), duration, now)
            case "refresh":
                self.refresh(self.lease(event), now)
            case "discard":
                self.discard(key, now)
            case "join":
                self.join(wait, now)
            case "drain":
                self.drain(wait, now)
            case "shutdown" | "close" | "time_out":
                getattr(self, action)(now)

    def lease(self, event: Line) -> _model.Lease:
        return _model.Lease(event["lease"], event["key"])

    def end_call(self, action: str, event: Line) -> None:
        ticket, outcome = event["ticket"], event.get("outcome")
        waiter = next((waiter for waiter in self.waiters if waiter.ticket == ticket), None)
        if waiter is None:
            if ticket in self.unknown and outcome in ENDS:
                self.unknown.discard(ticket)  # it had its end before this
                self.passed()
                return
            raise DoesNotFollow(f"no call with ticket {ticket} is under way")
        if action == "cancel":
            self.cancel(waiter, self.now)
            return
        self.reap(self.now)
        if waiter.outcome == "WAITING":
            raise DoesNotFollow(f"the call with ticket {ticket} still waits")
        self.resume(waiter, self.now)

    # -- what the model tells

    def tell(self, action: str, **what: object) -> None:
        """That must be what the record has."""
        self.meet()
        expected = {"action": action, **{name: plain(value) for name, value in what.items()}}
        said = in_words(expected)
        if self.next is None:
            if self.record.cut:
                return
            raise DoesNotFollow(f"by the model, this comes after it: {said}")
        line = dict(self.next[1])
        time = line.pop("time")
        if line != expected:
            raise DoesNotFollow(f"by the model, this happens: {said}")
        if time != self.now:
            raise DoesNotFollow(f"by the model, this happens at {self.now}")
        self.passed()

    def meet(self) -> None:
        """Calls that the record says have left are not served from now on."""
        while self.next is not None and self.next[1]["action"] == "gone":
            ticket = self.next[1].get("ticket")
            waiter = next((waiter for waiter in self.waiters if waiter.ticket == ticket), None)
            if waiter is None or not waiter.waits:
                raise DoesNotFollow(f"no call with ticket {ticket} waits")
            waiter.cancelled = True
            self.passed()

    # -- heads

    def begin(self, head: Line) -> None:
        self.maxsize = head["maxsize"] if head["maxsize"] > 0 else inf
        self.now = head["time"]
        if head["action"] == "state":
            self.restore(head)
        self.passed()

    def restore(self, head: Line) -> None:
        """Go on from a state."""

        def copies(name: str) -> Iterator[tuple[str, _model.Copy]]:
            for key, version, attempts, *time in head[name]:
                due = float(time[0]) if time else _model.AT_ONCE
                yield key, _model.Copy(key, None, version, due, attempts)

        self.phase, self.puts = head["phase"], head["puts"]
        self.granted, self.tickets = head["granted"], head["tickets"]
        self.returned.update(copies("returned"))
        self.arrived.update(copies("arrived"))
        self.delayed.update(copies("delayed"))
        self.deferred.update(copies("deferred"))
        reserved = {}
        durations = dict(map(tuple, head["durations"]))
        for lease, key, version, attempts, ticket, deadline in head["flight"]:
            copy = _model.Copy(key, None, version, attempts=attempts)
            duration = float(durations.get(lease, "inf"))
            grant = _model.Grant(_model.Lease(lease, key), copy, duration, ticket, float(deadline))
            self.grants[lease] = reserved[ticket] = grant
        until = {ticket: float(deadline) for ticket, _, _, deadline in head["waiting"]}
        for call in head["calls"]:
            ticket, kind, key = call["ticket"], call["action"], call.get("key")
            asks: Any = (None, call["policy"], float(call["delay"])) if kind == "put" else None
            if kind in ("get", "take"):
                asks = float(call["duration"])
            waiter = _model.Waiter(ticket, kind, until.get(ticket, inf), key, asks)
            if ticket in head["slots"]:
                waiter.outcome = "RESERVED"
            elif ticket in reserved:
                waiter.outcome, waiter.grant = "RESERVED", reserved[ticket]
                waiter.grant.duration = asks
            elif ticket not in until:
                self.unknown.add(ticket)
                continue
            self.waiters.append(waiter)

    def compare(self, head: Line) -> None:
        """A state in the midst of a record: the head of a file that goes on from another."""
        ours = json.loads(json.dumps(plain_state(self.snapshot(-inf), str)))
        for name, part in ours.items():
            if head.get(name) != part:
                raise DoesNotFollow(f"by the model, {name} is {json.dumps(part)}")
        self.passed()
