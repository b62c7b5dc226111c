"""Recorded runs are behaviours of the specification, and corrupted ones are not."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.conformance import sources, traces
from tests.conformance.traces import STEPS, Event, Recorder
from tests.subject import LeasedKeyQError, module

Report = Callable[[str, object], None]
pytestmark = [pytest.mark.timeout(600)]
with_others = pytest.mark.xdist_group("traces")


def accept(record: Report, what: str, runs: Sequence[Recorder], unit: float = 1) -> None:
    """TLC accepts them all."""
    found, events = traces.accepted(runs, unit)
    rejected = sorted({*range(len(runs))} - found)
    assert not rejected, f"{rejected}:\n{traces.explained(runs[rejected[0]], unit)}"
    record("replay", f"{len(runs):,} runs of {what} ({events:,} events) accepted by TLC")


@with_others
def test_runs_are_accepted(record_property: Report) -> None:
    runs = [sources.of_the_machine(seed) for seed in range(40)]
    runs += [sources.of_the_queue(seed) for seed in range(10)]
    runs.append(two_have_left())
    accept(record_property, "machine and queue", runs)
    met = {event.action for run in runs for event in run.events}
    assert met >= {"put", "get", "take", "resume", "cancel", "ack", "release", "extend", "refresh"}
    assert met >= {"discard", "join", "drain", "shutdown", "close", "time_out", *STEPS}


def two_have_left() -> Recorder:
    """What would have been given to one call, and then to another, is given to neither."""
    machine: Any = module("_machine").Machine(None, 0)
    recorder = Recorder(machine)
    machine.put("c", 1, "update", 0, None, 0.0)
    machine.get(None, 2, 0.0)
    machine.put("b", 2, "update", 1, None, 0.0)
    for call in (machine.take("b", None, 9, 0.0), machine.get(None, 9, 0.0)):
        call.caller = sources.Gone()
    assert machine.get(None, 9, 3.0)[0] == "c"  # which was leased; `b` has ripened
    assert [event.action for event in recorder.events].count("gone") == 2
    return recorder


@pytest.mark.deep
@pytest.mark.parametrize("part", range(4))
def test_many_runs_are_accepted(part: int, record_property: Report) -> None:
    seeds = range(1000 + part * 250, 1250 + part * 250)
    accept(record_property, "the machine", [sources.of_the_machine(seed) for seed in seeds])
    accept(record_property, "the queue", [sources.of_the_queue(seed) for seed in seeds])


@with_others
def test_runs_of_the_example_are_accepted(tmp_path: Path, record_property: Report) -> None:
    for number in range(30):
        tmp_path.joinpath(f"{number}.txt").write_text("x" * number)
    runs = [sources.of_the_example(tmp_path, seed) for seed in range(2)]
    accept(record_property, "the example program", runs, sources.FINE)
    assert "expire" in {event.action for run in runs for event in run.events}, "no worker stalled"


def scenario() -> Recorder:
    """A bit of everything, looked at after each step."""
    machine: Any = module("_machine").Machine(None, 2)
    recorder = Recorder(machine, 2)
    now = 0.0

    def do(operation: str, *arguments: object) -> Any:
        try:
            return getattr(machine, operation)(*arguments, now)
        finally:
            recorder.look(now)

    do("put", "d", 0, "update", 0, None)
    do("put", "a", 1, "update", 0, None)
    do("release", do("get", None, None)[2], True, 0)
    do("ack", do("get", None, 5)[2])
    do("put", "b", 2, "update", 3, None)
    putter = do("put", "c", 3, "reject", 0, 9)
    lease = do("get", None, 5)[2]
    do("put", "a", 4, "update", 0, 0)
    do("refresh", lease)
    do("put", "a", 5, "defer", 0, 0)
    do("release", lease, False, 2)  # what was deferred had no delay
    taker = do("take", "b", None, 2)
    joiner = do("join", None)
    now = 1.0
    lease = do("take", "a", None, 2)[2]
    do("extend", lease, 4)
    now = 4.0
    do("time_out")  # b ripens
    do("ack", lease)
    do("resume", putter)
    lease_b = do("resume", taker)[2]
    do("get", None, 1)
    now = 5.0
    lease_c = do("get", None, None)[2]  # again
    do("put", "c", 6, "defer", 2, 0)
    do("discard", "c")
    getter, other = do("get", 3, 9), do("get", 1, None)
    now = 6.0
    do("time_out")
    with suppress(TimeoutError):
        do("resume", other)
    lease_b = do("resume", getter)[2]
    do("release", lease_b, False, 1)
    do("put", "b", 7, "update", 5, 0)
    now = 7.0
    lease_b = do("get", None, None)[2]
    putter = do("put", "d", 8, "update", 0, None)
    do("shutdown")
    with suppress(LeasedKeyQError):
        do("resume", putter)
    taker, drainer = do("take", "c", None, None), do("drain", None)
    do("ack", lease_c)
    with suppress(LeasedKeyQError):
        do("resume", taker)
    do("release", lease_b, False, 0)
    do("ack", do("get", None, None)[2])
    assert do("resume", drainer) is True
    do("resume", joiner)
    return recorder


def corrupted(run: Sequence[Event]) -> Iterator[tuple[str, list[Event]]]:
    """Runs that cannot have happened, each with the kind of what is wrong with it."""

    def change(at: int, *what: Event) -> list[Event]:
        return [*run[:at], *what, *run[at + 1 :]]

    for at, event in enumerate(run):
        action, detail = event.action, event.detail
        if action in ("put", "ack", "release", "discard", "shutdown"):
            yield f"no {action}", change(at)
        given = event.number is not None or detail == "RESERVED"
        if action in ("ack", "release", "discard") or (action in ("resume", "take") and given):
            yield f"{action} twice", change(at, event, event)
        if event.number is not None and action in ("get", "take", "resume"):
            yield "another value", change(at, event._replace(version=event.version + 1))
            other = "d" if event.key != "d" else "a"
            yield "another key", change(at, event._replace(key=other))
            if action == "resume":
                yield "ended instead", change(at, event._replace(number=None, detail="ENDED"))
            if type(detail) is tuple:
                wrong = (detail[0], detail[1] + 1)
                yield "another attempt", change(at, event._replace(detail=wrong))
        if action == "put" and event.ticket is None:
            policy, delay = detail
            yield "put of another key", change(at, event._replace(key="e"))
            if delay and policy != "defer":  # that one is discarded
                yield "put without delay", change(at, event._replace(detail=(policy, 0)))
        if action == "put" and event.ticket is not None and event.key == "c":  # it is carried out
            wait, (policy, _) = detail
            yield "put for another key", change(at, event._replace(key="e"))
            yield "put later than told", change(at, event._replace(detail=(wait, (policy, 5))))
        if action == "release":
            front, delay = detail
            if front:
                yield "other end", change(at, event._replace(detail=(False, 0)))
            elif delay != 2:  # that one meets a value without a delay
                yield "another delay", change(at, event._replace(detail=(False, delay + 2)))
        if action == "extend":
            yield "another extension", change(at, event._replace(detail=1))
        if action == "refresh":
            yield "refreshed to another", change(at, event._replace(version=event.version - 1))
        if action == "discard":
            yield "another is discarded", change(at, event._replace(key="b"))
        if action == "resume" and isinstance(detail, str) and detail != "RESERVED":
            told = "DONE" if detail != "DONE" else "ENDED"
            yield f"{detail} told otherwise", change(at, event._replace(detail=told))
            yield "told before", [event, *run[:at], *run[at + 1 :]]
        if action == "shutdown":
            first = next(event for event in run if event.action == "put")
            later = first._replace(now=event.now, key="e")
            yield "put after shutdown", change(at, event, later)
        if action == "look":
            for part, name in enumerate(("available", "in flight", "delayed")):
                wrong = (*detail[:part], {*detail[part], "z"}, *detail[part + 1 :])
                yield f"more {name}", change(at, event._replace(detail=wrong))
                wrong = (*detail[: part + 3], detail[part + 3] + 1, *detail[part + 4 :])
                yield f"higher number {name}", change(at, event._replace(detail=wrong))
    got = [at for at, event in enumerate(run) if event.action in ("get", "take") and event.number]
    for one, two in itertools.pairwise(got):
        if _what(run[one]) == _what(run[two]):
            continue
        swapped = change(one, run[one]._replace(**_what(run[two])))
        swapped[two] = run[two]._replace(**_what(run[one]))
        yield "two deliveries swapped", swapped
    yield "a token from before", change(got[1], run[got[1]]._replace(number=0))
    puts = [at for at, event in enumerate(run) if event.action == "put"]
    swapped = [*run]
    swapped[puts[0]], swapped[puts[1]] = run[puts[1]], run[puts[0]]
    yield "two puts swapped", swapped
    for at, event in enumerate(run):
        if event.now > run[at - 1].now and 4 <= event.now <= 5:
            yield "time jumps", [*run[:at], *(e._replace(now=e.now + 2) for e in run[at:])]


def _what(event: Event) -> dict[str, object]:
    return {"key": event.key, "version": event.version}


@with_others
@pytest.mark.parametrize("of_each", [2, pytest.param(1000, marks=pytest.mark.deep)])
def test_corrupted_runs_are_rejected(of_each: int, record_property: Report) -> None:
    run = scenario()
    kinds: Counter[str] = Counter()
    corrupt = []
    for what, events in corrupted(run.events):
        kinds[what] += 1
        if kinds[what] <= of_each:
            corrupt.append((what, events))
    unbounded = run.with_events(run.events)
    unbounded.maxsize = 0
    runs = [run, unbounded, *(run.with_events(events) for _, events in corrupt)]
    found, _ = traces.accepted(runs)
    assert 0 in found, traces.explained(run)
    assert 1 not in found, "it had a bound"
    survived = [(index - 2, corrupt[index - 2][0]) for index in sorted(found - {0})]
    assert survived == []
    record_property("replay", f"{len(corrupt):,} corrupted runs of {len(kinds)} kinds rejected")
    assert len(kinds) >= 35, kinds
