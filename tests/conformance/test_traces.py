"""Recorded runs are behaviours of the specification, and corrupted ones are not."""

from __future__ import annotations

import asyncio
import copy
import itertools
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conformance import sources, traces
from tests.conformance.recording import OPERATIONS, RecordingCore
from tests.conformance.traces import Run
from tests.subject import InFlightPolicy, LeasedKeyQError, LeasedKeyQueue
from tests.virtual import run as run_in_virtual_time

Report = Callable[[str, object], None]
pytestmark = [pytest.mark.timeout(600)]
with_others = pytest.mark.xdist_group("traces")

# Of the machines together, at least.
RUNS, EVENTS = 1_000, 50_000
SHARES: dict[str, tuple[type[sources.Recorded], int, int]] = {
    "core": (sources.RecordedCoreMachine, 700, 35_000),
    "queue": (sources.RecordedQueueMachine, 300, 15_000),
}
assert sum(runs for _, runs, _ in SHARES.values()) == RUNS
assert sum(events for _, _, events in SHARES.values()) == EVENTS


def report(record: Report, what: str, runs: int, events: int) -> None:
    record("replay", f"{runs:,} runs of {what} ({events:,} events) accepted by TLC")


@pytest.mark.parametrize(
    "share", [pytest.param(name, marks=pytest.mark.xdist_group(f"{name} runs")) for name in SHARES]
)
def test_runs_of_the_machines_are_accepted(share: str, record_property: Report) -> None:
    machine, least_runs, least_events = SHARES[share]
    runs = sources.runs_of(machine, least_runs)
    events = 0
    for start in range(0, len(runs), 250):
        some = runs[start : start + 250]
        found, length = traces.accepted(some, sources.UNIT)
        rejected = sorted(set(range(len(some))) - found)
        assert not rejected, f"rejected, the first of {len(rejected)}: {some[rejected[0]]}"
        events += length
    report(record_property, f"the state machine of the {share}", len(runs), events)
    assert len(runs) >= least_runs
    assert events >= least_events
    met = {(event["op"], event.get("error")) for run in runs for event in run}
    assert {(op, None) for op in OPERATIONS} <= met
    assert {"TypeError", "ValueError", "BoomError", *traces.ERRORS} <= {error for _, error in met}
    rebuilt = [event for run in runs for event in run if "rebuilt" in event]
    assert any("error" in event for event in rebuilt)
    assert any("error" not in event for event in rebuilt)


@with_others
def test_runs_of_the_example_are_accepted(tmp_path: Path, record_property: Report) -> None:
    for number in range(40):
        tmp_path.joinpath(f"{number}.txt").write_text("x" * number)
    runs = [sources.run_of_the_example(tmp_path, seed) for seed in range(3)]
    found, events = traces.accepted(runs, traces.FINE)
    report(record_property, "the example program", len(found), events)
    assert found == set(range(len(runs)))
    met = {event.get("error") for run in runs for event in run}
    assert "LeaseExpiredError" in met, "no worker stalled"


@with_others
def test_random_runs_are_accepted(record_property: Report) -> None:
    runs = [traces.random_run(seed) for seed in range(100)]
    found, events = traces.accepted(runs)
    report(record_property, "the core, at random", len(found), events)
    assert found == set(range(len(runs)))


async def work(lines: list[str], seed: int) -> None:
    """Producers and workers on the public API; workers stall, fail and are cancelled."""
    rng = random.Random(seed)
    queue: LeasedKeyQueue[str, int] = LeasedKeyQueue(default_lease_timeout=3)
    queue._core = RecordingCore(lines.append, 3)

    async def produce() -> None:
        for value in range(25):
            policies: tuple[InFlightPolicy, ...] = ("update", "buffer", "defer")
            policy = rng.choice(policies)
            await queue.put(rng.choice("abcd"), value, if_in_flight=policy)
            await asyncio.sleep(rng.choice((0, 0, 1)))

    async def consume() -> None:
        while True:
            take = rng.random() < 0.3
            try:
                got = await (queue.take(rng.choice("abcd"), 2) if take else queue.get(5))
                await asyncio.sleep(rng.choice((0, 1, 2, 4)))
                if rng.random() < 0.7:
                    await queue.ack(got[2])
                else:
                    await queue.release(got[2], requeue_front=rng.random() < 0.5)
            except (TimeoutError, LeasedKeyQError):
                continue

    workers = [asyncio.create_task(consume()) for _ in range(3)]
    producer = asyncio.create_task(produce())
    for _ in range(6):
        await asyncio.sleep(rng.choice((1, 2)))
        index = rng.randrange(3)
        workers[index].cancel()
        workers[index] = asyncio.create_task(consume())
    await producer
    await queue.close()
    for worker in workers:
        worker.cancel()
    await asyncio.gather(*workers, return_exceptions=True)


@with_others
def test_runs_of_the_queue_are_accepted(record_property: Report) -> None:
    runs = []
    for seed in range(40):
        lines: list[str] = []
        run_in_virtual_time(work(lines, seed))
        runs.append(traces.read(lines))
    found, events = traces.accepted(runs)
    report(record_property, "the queue under load", len(found), events)
    assert found == set(range(len(runs)))


def scenario() -> Run:
    """A run in which every event matters to what follows."""
    lines: list[str] = []
    core = RecordingCore(lines.append)
    core.put("a", 1, "update", 0)
    core.put("b", 2, "update", 0)
    core.put("c", 3, "update", 0)
    a = core.get(None, 2, 0)[2]
    b = core.take("b", None, 3, 0)[2]
    core.look(0)
    core.put("a", 4, "update", 0)
    core.put("b", 5, "defer", 1)
    core.release(a, True, 1)
    a = core.get(None, 3, 1)[2]
    core.extend(a, 6, 1)
    core.ack(b, 2)
    c = core.get(None, 4, 2)[2]
    core.look(2)
    core.release(c, False, 3)
    b = core.get(None, 1, 3)[2]
    core.look(3)
    core.look(4)
    waiting = core.take("a", 9, 2, 4)
    core.look(6)
    core.look(7)
    core.resume(waiting, 7)
    core.look(8)
    core.put("d", 6, "reject", 8)
    core.get(None, 3, 8)
    core.get(None, None, 8)
    core.look(8)
    core.put("c", 7, "buffer", 8)
    core.look(9)
    core.close(10)
    core.look(10)
    return traces.read(lines)


def corrupted(run: Run) -> list[tuple[str, Run]]:
    """The run with one thing changed, in many kinds and places."""
    corrupt: list[tuple[str, Run]] = [("empty", [])]

    def change(what: str, at: int, **fields: object) -> None:
        other = copy.deepcopy(run)
        other[at].update(fields)
        corrupt.append((f"{what} at {at}", other))

    operations = [event["op"] for event in run]
    for at, event in enumerate(run):
        dropped = run[:at] + run[at + 1 :]
        matters = event["op"] in ("put", "release", "ack", "resume", "close") or "got" in event
        if matters and any(later["op"] == "look" for later in dropped[at:]):
            corrupt.append((f"{event['op']} dropped at {at}", dropped))
        if "got" in event:
            key, value, number = event["got"]
            change("value", at, got=[key, value + 1, number])
            change("key", at, got=["d" if key != "d" else "a", value, number])
            change("refused", at, got=None, error="TimeoutError")
        if event["op"] == "look":
            available, inflight, size, inflight_size = event["shows"]
            change("size", at, shows=[available, inflight, size + 1, inflight_size])
            change("in flight", at, shows=[available, [*inflight, "z"], size, inflight_size])
            change("nothing", at, shows=[[], [], 0, 0])
        if event["op"] in ("ack", "release", "extend"):
            change("error", at, error="LeaseExpiredError")
        if event["op"] == "release":
            change("other end", at, how=not event["how"])
        if event["op"] == "put":
            change("other key", at, key="e")
            change("refused", at, error="KeyAlreadyInFlightError")
    got = [at for at, event in enumerate(run) if "got" in event]
    for one, two in itertools.pairwise(got):
        other = copy.deepcopy(run)
        other[one]["got"], other[two]["got"] = run[two]["got"], run[one]["got"]
        corrupt.append((f"two deliveries swapped at {one} and {two}", other))
    other = copy.deepcopy(run)
    other[got[1]]["got"][2] = 0
    corrupt.append(("a token from before", other))
    puts = [at for at, operation in enumerate(operations) if operation == "put"]
    other = copy.deepcopy(run)
    other[puts[0]], other[puts[1]] = other[puts[1]], other[puts[0]]
    corrupt.append(("two puts swapped", other))
    other = copy.deepcopy(run)
    for event in other[operations.index("look") :]:
        event["now"] += 2
    corrupt.append(("time jumps", other))
    return corrupt


@with_others
def test_corrupted_runs_are_rejected(record_property: Report) -> None:
    run = scenario()
    corrupt = corrupted(run)
    for _, other in corrupt:
        for event in other:
            if event.get("got", 0) is None:
                del event["got"]
    found, _ = traces.accepted([run, *(other for _, other in corrupt)])
    assert 0 in found, "the run itself"
    survived = [corrupt[index - 1][0] for index in sorted(found - {0})]
    record_property(
        "replay", f"{len(corrupt) - len(survived)} of {len(corrupt)} corrupted runs rejected"
    )
    assert survived == []
    kinds = {what.partition(" at ")[0] for what, _ in corrupt}
    assert len(corrupt) >= 20
    assert len(kinds) >= 15, kinds
