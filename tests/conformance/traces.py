"""Recorded runs, held against the specification by TLC (``spec/MCtrace.tla``).

    python -m tests.conformance.traces FILE ...    is each file of JSON lines a run of the queue?

Bad input is no matter of the specification: an event that ends in an error of another kind must
have changed nothing. Nor is it said there what a lease that was rebuilt from its token raises once
it has ended, or one with another key.
"""

from __future__ import annotations

import json
import random
import shutil
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from math import inf
from pathlib import Path
from typing import Any, TypeAlias

from spec import tlc
from tests.conformance.recording import RecordingCore

Event: TypeAlias = dict[str, Any]
Run: TypeAlias = list[Event]

# How long calls wait, and how long their leases last.
TIMES: tuple[tuple[int | None, int | None], ...]
TIMES = ((None, None), (None, 2), (1, 1), (3, 4), (0, 2), (None, 3))

UNKNOWN = "<<0, Never, Never>>"  # a call that was never made

ERRORS = {
    "KeyAlreadyInFlightError",
    "InvalidLeaseError",
    "LeaseExpiredError",
    "LeaseAlreadyAcknowledgedError",
    "QueueClosedError",
    "TimeoutError",
}
FOR_EVER = 2**30  # units of time; TLC counts no further than to twice that
FINE = 1e-5  # seconds: the unit for runs in real time

CONFIG = """\
INIT TraceInit
NEXT TraceNext
CONSTANTS
    Never = Never
    Same = Same
    Reserved = Reserved
    AnyKey = AnyKey
    Late = 1000000000
    ExtendTimes = {}
    Policies = {"update", "reject", "buffer", "defer"}
    Keys <- TraceKeys
    Calls <- TraceCalls
    LeaseTime <- LeaseTimes
    WaitTime <- WaitTimes
VIEW Where
"""


class _Writer:
    """One run as TLA+."""

    def __init__(self, unit: float) -> None:
        self.unit = unit
        self.started: float | None = None
        self.ticks = 0
        self.calls: defaultdict[int, str] = defaultdict(lambda: UNKNOWN)
        self.kinds: Counter[str] = Counter()
        self.keys: set[str] = set()
        self.puts: list[tuple[str, Any]] = []
        self.lines: list[str] = []

    def time(self, seconds: float | None) -> str:
        if seconds is None or seconds > FOR_EVER * self.unit:
            return "Never"
        return str(max(0, round(max(seconds, -1) / self.unit)))

    def key(self, key: Any) -> str:
        text = json.dumps(str(key))
        self.keys.add(text)
        return text

    def add(self, event: Event) -> None:
        operation, now = event["op"], event["now"]
        if now is not None:
            if self.started is None:
                self.started = now
            passed = round((now - self.started) / self.unit) - self.ticks
            if passed > 0:  # if not, the time did not matter, and is given as 0
                self.lines.append(f'<<"tick", {min(passed, FOR_EVER)}>>')
                self.ticks += passed
        if "error" in event and (event["error"] not in ERRORS or "rebuilt" in event):
            self.lines.append('<<"refused">>')
            return
        out = '<<"ok">>'
        if "error" in event:
            out = f'<<"error", "{event["error"]}">>'
        elif "got" in event:
            key, value, number = event["got"]
            same = (i for i, put in enumerate(self.puts, 1) if put == (str(key), value))
            out = f'<<"got", {self.key(key)}, {{{", ".join(map(str, same))}}}, {number}>>'
        elif operation in ("get", "take"):
            out = '<<"waits">>'
        arguments: list[str] = []
        match operation:
            case "put":
                if "error" not in event:
                    self.puts.append((str(event["key"]), event["value"]))
                arguments = [self.key(event["key"]), f'"{event["policy"]}"', out]
            case "get" | "take":
                times = f"{self.time(event['lease_time'])}, {self.time(event['wait'])}"
                self.kinds[times] += 1  # numbered within its kind, for there to be few names
                name = self.calls[event["call"]] = f"<<{self.kinds[times]}, {times}>>"
                key = [self.key(event["key"])] if operation == "take" else []
                arguments = [name, *key, out]
            case "resume":
                arguments = [self.calls[event["call"]], out]
            case "cancel":
                arguments = [self.calls[event["call"]]]
            case "ack":
                arguments = [self.calls[event["lease"]], out]
            case "release":
                arguments = [self.calls[event["lease"]], str(bool(event["how"])).upper(), out]
            case "extend":
                how = "Same" if event["how"] is None else self.time(event["how"])
                arguments = [self.calls[event["lease"]], how, out]
            case "look":
                available, inflight, size, inflight_size = event["shows"]
                sets = (f"{{{', '.join(map(self.key, keys))}}}" for keys in (available, inflight))
                arguments = [*sets, str(size), str(inflight_size)]
        self.lines.append("<<" + ", ".join([json.dumps(operation), *arguments]) + ">>")


def accepted(runs: Sequence[Run], unit: float = 1) -> tuple[set[int], int]:
    """Which runs are behaviours of the specification, and how many events they have in all."""
    writers = []
    for run in runs:
        writer = _Writer(unit)
        for event in run:
            writer.add(event)
        writers.append(writer)
    keys = sorted({key for writer in writers for key in writer.keys})
    calls = sorted({UNKNOWN} | {call for writer in writers for call in writer.calls.values()})
    module = "\n".join(
        [
            "---- MODULE Recorded ----",
            "EXTENDS leasedkeyq",
            f"TraceKeys == {{{', '.join(keys)}}}",
            f"TraceCalls == {{{', '.join(calls)}}}",
            "Runs == <<" + ",\n".join(f"<<{', '.join(w.lines)}>>" for w in writers) + ">>",
            "====",
        ]
    )
    found: set[int] = set()
    with tempfile.TemporaryDirectory(prefix="traces-") as scratch:
        for source in tlc.SPEC.glob("*.tla"):
            shutil.copy(source, scratch)
        Path(scratch, "Recorded.tla").write_text(module)
        result = tlc.run(
            "MCtrace",
            CONFIG,
            workers=1,
            directory=Path(scratch),
            on_print=lambda line: found.add(int(line.strip('"\n').split()[1]) - 1),
        )
    assert result.exit_code == tlc.HOLDS, result.output[-3000:]
    assert result.left == 0
    return found, sum(len(writer.lines) for writer in writers)


def read(lines: Iterable[str]) -> Run:
    """A run from the lines that were recorded."""
    return [json.loads(line) for line in lines]


def random_run(seed: int, events: int = 50) -> Run:
    """Record a core under random operations, with every kind of call and of argument."""
    rng = random.Random(seed)
    lines: list[str] = []
    core = RecordingCore(lines.append)
    now = 0
    waiting: list[Any] = []
    leases: list[Any] = []
    while len(lines) < events:
        now += rng.choice((0, 0, 0, 1, 1, 2, 5))
        key = rng.choice("abc")
        try:
            match rng.choice("ppppggtrrrcoaaalllexk" + "z" * (len(lines) > events - 5)):
                case "p":
                    policy = rng.choice(("update", "reject", "buffer", "defer"))
                    core.put(key, len(lines), policy, now)
                case "g" | "t" as kind:
                    times = rng.choice(TIMES)
                    got = core.get(*times, now) if kind == "g" else core.take(key, *times, now)
                    (leases if type(got) is tuple else waiting).append(got)
                case "r" if woken := [c for c in waiting if c.outcome.name == "RESERVED"]:
                    call = rng.choice(woken)
                    waiting.remove(call)
                    leases.append(core.resume(call, now))
                case "c" if waiting:
                    core.cancel(waiting.pop(rng.randrange(len(waiting))), now)
                case "o" | "e":
                    core.time_out(now)
                case "a" if leases:
                    core.ack(rng.choice(leases[-4:])[2], now)
                case "l" if leases:
                    core.release(rng.choice(leases[-4:])[2], rng.random() < 0.5, now)
                case "x" if leases:
                    core.extend(rng.choice(leases[-4:])[2], rng.choice((None, 2, inf)), now)
                case "k":
                    core.look(now)
                case "z" if rng.random() < 0.3:
                    core.close(now)
        except Exception:  # noqa: BLE001 (refused, which is an event too)
            continue
    return read(lines)


def main(files: Sequence[str]) -> int:
    """Check the recordings in files; 0 if each is a behaviour of the specification."""
    runs = [read(Path(file).read_text().splitlines()) for file in files]
    found, events = accepted(runs, FINE)
    for number, file in enumerate(files):
        print(f"{file}: {'accepted' if number in found else 'REJECTED'}")
    print(f"{len(found)} of {len(files)} runs accepted ({events:,} events)")
    return 0 if len(found) == len(files) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
