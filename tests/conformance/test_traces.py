"""Recorded runs are behaviours of the specification, and corrupted ones are not."""

from __future__ import annotations

import asyncio
import copy
import itertools
import random
from collections.abc import Callable

import pytest

from tests.conformance import traces
from tests.conformance.recording import RecordingCore
from tests.conformance.traces import Run
from tests.subject import InFlightPolicy, LeasedKeyQError, LeasedKeyQueue
from tests.virtual import run as run_in_virtual_time

Report = Callable[[str, object], None]
pytestmark = [pytest.mark.timeout(600), pytest.mark.xdist_group("traces")]

RUNS, EVENTS = 1_000, 50


def test_random_runs_are_accepted(record_property: Report) -> None:
    accepted, events = 0, 0
    for start in range(0, RUNS, 250):
        runs = [traces.random_run(seed, EVENTS) for seed in range(start, start + 250)]
        found, length = traces.accepted(runs)
        assert found == set(range(250)), f"rejected: {sorted(set(range(250)) - found)} of {start}"
        accepted, events = accepted + len(found), events + length
    record_property("replay", f"{accepted:,} runs of the core ({events:,} events) accepted by TLC")
    assert events >= 50_000


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


def test_runs_of_the_queue_are_accepted(record_property: Report) -> None:
    runs = []
    for seed in range(40):
        lines: list[str] = []
        run_in_virtual_time(work(lines, seed))
        runs.append(traces.read(lines))
    found, events = traces.accepted(runs)
    record_property(
        "replay", f"{len(found):,} runs of the queue ({events:,} events) accepted by TLC"
    )
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
