"""Recorded runs, held against the specification by TLC (``spec/MCtrace.tla``).

A recording is what the machine itself tells in ``outbox.events``, with a look at the queue now and
then. An operation that is refused tells nothing: that it changes nothing is seen by what follows.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from copy import copy
from math import inf
from pathlib import Path
from typing import Any, TypeAlias

from spec import tlc
from tests.subject import module

Event: TypeAlias = Any  # `_records.Event`
make_event: Any = module("_records").Event

UNKNOWN = "<<0, Never, Never>>"  # a call that was never made
STEPS = {"reserve", "expire", "ripen", "gone", "shut", "end"}  # of operations, not calls of them
OVER = {"TIMED_OUT": "TimeoutError", "ENDED": "QueueClosedError", "DONE": "None"}
FOR_EVER = 2**30  # units of time; TLC counts no further than to twice that


class Recorder:
    """Has a machine tell what happens, from now on."""

    def __init__(self, machine: Any, maxsize: int = 0) -> None:
        self.machine, self.maxsize = machine, maxsize
        self.events: list[Event] = []
        machine.outbox.events = self.events

    def with_events(self, events: list[Event]) -> Recorder:
        """Another recording, made up."""
        other = Recorder.__new__(Recorder)
        other.maxsize, other.events = self.maxsize, events
        return other

    def look(self, now: float) -> None:
        """Record what introspection shows."""
        it = self.machine
        keys = (it.available_keys(now), it.inflight_keys(now), it.delayed_keys(now))
        sizes = (it.qsize(now), it.inflight_size(now), it.delayed_size(now))
        self.events.append(make_event("look", now, detail=(*keys, *sizes)))


def in_order(events: Sequence[Event]) -> list[Event]:
    """As the specification has it: one event for each call, and what was not asked for left out.

    A call whose caller has left is noticed in the midst of the operation that would have served
    it; it was cancelled before that, and before anything was due that is carried out now: when the
    operation before it ended. (Another one may be noticed, too, which must not be offered it.)
    """
    calls: list[Event] = []
    for event in events:
        last = calls[-1] if calls else None
        if event.action == "gone":
            at = _start(calls, event.now)
            left = calls[at - 1].now if at else event.now
            calls.insert(at, event._replace(action="cancel", now=left, detail="WAITING"))
        elif event.action == "put" and last is not None and _carries_out(last, event, calls):
            calls[-1] = last._replace(version=event.version)
        else:
            calls.append(event)
    return calls


def _start(calls: list[Event], now: float) -> int:
    """Where the operation begins that is under way."""

    def back(at: int) -> int:
        while at and calls[at - 1].now == now and calls[at - 1].action in STEPS:
            at -= 1
        return at

    at = back(len(calls))
    reaped = any(event.action in ("expire", "ripen") for event in calls[at:])
    # What is due is carried out first, but when a call is cancelled.
    if at and calls[at - 1].now == now and (not reaped or calls[at - 1].action == "cancel"):
        at = back(at - 1)
    return at


def _carries_out(last: Event, put: Event, calls: list[Event]) -> bool:
    """Is this put the one of the call that has just resumed?"""
    if last.action != "resume" or last.detail != "RESERVED" or last.version is not None:
        return False
    asked = [e for e in calls if e.action == "put" and e.ticket == last.ticket]
    return [(put.key, put.detail)] == [(e.key, e.detail[1]) for e in asked]


class _Writer:
    """One run as TLA+."""

    def __init__(self, recorder: Recorder, unit: float) -> None:
        self.unit, self.maxsize = unit, recorder.maxsize
        self.started: float | None = None
        self.ticks = 0
        self.kinds: Counter[str] = Counter()
        self.names = {UNKNOWN}
        self.calls: dict[int, str] = {}  # by ticket
        self.kind: dict[int, str] = {}
        self.leases: dict[int, str] = {}  # by number
        self.keys: set[str] = set()
        self.lines: list[str] = []
        for event in in_order(recorder.events):
            self.pass_time(event.now)
            parts = self.event(event)
            self.lines.append(f"<<{', '.join(parts)}>>")

    def pass_time(self, now: float) -> None:
        if self.started is None:
            self.started = now
        passed = round((now - self.started) / self.unit) - self.ticks
        if passed > 0:  # if not, the time did not matter, and is given as one that has been
            self.lines.append(f'<<"tick", {min(passed, FOR_EVER)}>>')
            self.ticks += passed

    def time(self, seconds: float) -> str:
        if seconds > FOR_EVER * self.unit:
            return "Never"
        return str(max(0, round(max(seconds, -1) / self.unit)))

    def key(self, key: Any) -> str:
        text = json.dumps(str(key))
        self.keys.add(text)
        return text

    def call(self, event: Event, lease: float, wait: float) -> str:
        """A name for a new call."""
        times = f"{self.time(lease)}, {self.time(wait)}"
        self.kinds[times] += 1  # numbered within its kind, for there to be few names
        name = f"<<{self.kinds[times]}, {times}>>"
        self.names.add(name)
        if event.ticket is not None:
            self.calls[event.ticket], self.kind[event.ticket] = name, event.action
        return name

    def got(self, event: Event, name: str) -> str:
        self.leases[event.number] = name
        _, attempt = event.detail
        return f'<<"got", {self.key(event.key)}, {{{event.version}}}, {event.number}, {attempt}>>'

    def event(self, event: Event) -> Iterator[str]:
        action, detail = event.action, event.detail
        name = '"refused"' if action in STEPS else json.dumps(action)
        lease = self.leases.get(event.number, UNKNOWN)
        match action:
            case "put" if event.ticket is None:
                policy, delay = detail
                what = (self.key(event.key), json.dumps(policy), self.time(delay))
                yield from (name, "0", *what, '<<"ok">>')
            case "put":
                wait, (policy, delay) = detail
                what = (self.key(event.key), json.dumps(policy), self.time(delay))
                yield from (name, self.call(event, inf, wait), *what, '<<"waits">>')
            case "get" | "take":
                key = [self.key(event.key)] if action == "take" else []
                if event.ticket is None:
                    call = self.call(event, detail[0], inf)
                    yield from (name, call, *key, self.got(event, call))
                else:
                    wait, duration = detail
                    yield from (name, self.call(event, duration, wait), *key, '<<"waits">>')
            case "resume" if event.number is not None:
                call = self.calls.get(event.ticket, UNKNOWN)
                yield from (name, call, self.got(event, call))
            case "resume" if detail == "RESERVED":
                error = '<<"error", "KeyAlreadyInFlightError">>'
                out = error if event.version is None else '<<"ok">>'
                yield from (name, self.calls.get(event.ticket, UNKNOWN), out)
            case "resume":
                drains = self.kind.get(event.ticket) == "drain"
                told = str(detail == "DONE") if drains else OVER[detail]
                yield from ('"over"', self.calls.get(event.ticket, UNKNOWN), json.dumps(told))
            case "cancel" if detail in ("WAITING", "RESERVED"):  # it was not over yet
                yield from (name, self.calls.get(event.ticket, UNKNOWN))
            case "join" | "drain" if event.ticket is not None:
                yield from (name, self.call(event, inf, detail[0]), '<<"waits">>')
            case "drain":
                wait, drained = detail
                yield from (name, self.call(event, inf, wait), f'<<"is", {str(drained).upper()}>>')
            case "ack":
                yield from (name, lease, '<<"ok">>')
            case "release":
                front, delay = detail
                yield from (name, lease, str(front).upper(), self.time(delay), '<<"ok">>')
            case "extend":
                time = "Same" if detail is None else self.time(detail)
                yield from (name, lease, time, '<<"ok">>')
            case "refresh":
                yield from (name, lease, f'<<"value", {{{event.version}}}>>')
            case "discard":
                yield from (name, self.key(event.key), '<<"is", TRUE>>')
            case "look":
                sets = (f"{{{', '.join(map(self.key, keys))}}}" for keys in detail[:3])
                yield from (name, *sets, *map(str, detail[3:]))
            case "shutdown" | "close" | "time_out":
                yield name
            case _:  # what is due was carried out, and nothing else is to be seen
                yield '"refused"'


def accepted(runs: Sequence[Recorder], unit: float = 1) -> tuple[set[int], int]:
    """Which runs are behaviours of the specification, and how many events they have in all."""
    writers = [_Writer(run, unit) for run in runs]
    return _followed(writers), sum(len(writer.lines) for writer in writers)


def explained(run: Recorder, unit: float = 1) -> str:
    """The first event of a rejected run that cannot follow those before it, in TLA+."""
    writer = _Writer(run, unit)
    parts = [copy(writer) for _ in writer.lines]
    for length, part in enumerate(parts, 1):
        part.lines = writer.lines[:length]
    first = min({*range(len(parts))} - _followed(parts))
    return "\n".join([f"maxsize={run.maxsize}", *writer.lines[: first + 1], "does not follow"])


def _followed(writers: Sequence[_Writer]) -> set[int]:
    keys = sorted({key for writer in writers for key in writer.keys})
    calls = sorted({name for writer in writers for name in writer.names})
    module = "\n".join(
        [
            "---- MODULE Recorded ----",
            "EXTENDS leasedkeyq",
            f"TraceKeys == {{{', '.join(keys)}}}",
            f"TraceCalls == {{{', '.join(calls)}}}",
            "Runs == <<" + ",\n".join(f"<<{', '.join(w.lines)}>>" for w in writers) + ">>",
            f"Bounds == <<{', '.join(str(writer.maxsize) for writer in writers)}>>",
            "====",
        ]
    )
    (model,) = (model for model in tlc.manifest() if model.name == "MCtrace")
    found: set[int] = set()
    with tempfile.TemporaryDirectory(prefix="traces-") as scratch:
        for source in tlc.SPEC.glob("*.tla"):
            shutil.copy(source, scratch)
        Path(scratch, "Recorded.tla").write_text(module)
        result = model.run(
            directory=Path(scratch),
            on_print=lambda line: found.add(int(line.strip('"\n').split()[1]) - 1),
        )
    assert result.exit_code == tlc.HOLDS, result.output[:3000]
    assert result.left == 0
    return found
