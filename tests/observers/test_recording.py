"""Records of runs are behaviours of the model, and corrupted ones are not."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from math import inf
from pathlib import Path
from typing import Any

import pytest

from tests import virtual
from tests.conformance import sources
from tests.conformance.test_traces import corrupted, scenario
from tests.subject import (
    Event,
    FileRecorder,
    FlightRecorder,
    InFlightPolicy,
    LeasedKeyQError,
    LeasedKeyQueue,
    module,
    run_workers,
)
from tests.virtual import quiet, running

checking: Any = module("checking")
check = checking.check
Queue = LeasedKeyQueue[Any, Any]
POLICIES: tuple[InFlightPolicy, ...] = ("update", "reject", "buffer", "defer")


@pytest.fixture
def recorded() -> Iterator[Callable[..., Any]]:
    """Makes recorders that are closed in the end."""
    with ExitStack() as stack:
        yield lambda *args, **options: stack.enter_context(FileRecorder(*args, **options))


Make = Callable[..., FileRecorder]


def record(events: Iterable[Event], path: Path, maxsize: int = 0) -> Path:
    """What a recorder writes of them; what introspection shows has no place in it."""
    recorder = FlightRecorder()
    recorder(None, [Event("init", 0.0, detail=(None, maxsize, "update"))])
    recorder(None, [event for event in events if event.action != "look"])
    recorder.write(path)
    return path


async def busy(queue: Queue, seed: int, puts: int = 40) -> None:
    """Everything that can be done to a queue; workers stall, fail and are cancelled."""
    rng = random.Random(seed)

    async def produce() -> None:
        for value in range(puts):
            options: Any = {"delay": rng.choice((0, 0, 1, 3, inf)), "timeout": 9}
            options["if_in_flight"] = rng.choice(POLICIES)
            try:
                await queue.put(rng.choice("abcd"), value, **options)
            except (TimeoutError, LeasedKeyQError):
                continue
            await asyncio.sleep(rng.choice((0, 0, 1)))

    async def consume() -> None:
        while True:
            take = rng.random() < 0.3
            try:
                got = await (queue.take(rng.choice("abcd"), 2) if take else queue.get(5))
                await asyncio.sleep(rng.choice((0, 1, 2, 4)))
                if await queue.superseded(got[2]):
                    await queue.refresh(got[2])
                if rng.random() < 0.3:
                    await queue.extend(got[2], rng.choice((None, 2, inf)))
                if rng.random() < 0.6:
                    await queue.ack(got[2])
                else:
                    await queue.release(got[2], delay=rng.choice((0, 1, 2)))
            except (TimeoutError, LeasedKeyQError):
                await asyncio.sleep(0)

    workers = [asyncio.create_task(consume()) for _ in range(3)]
    producer = asyncio.create_task(produce())
    for _ in range(puts // 4):
        await asyncio.sleep(rng.choice((1, 2)))
        index = rng.randrange(3)
        workers[index].cancel()
        workers[index] = asyncio.create_task(consume())
        await queue.discard(rng.choice("abcd"))
    joining = asyncio.create_task(queue.join(3))
    producer.cancel()
    await queue.drain(rng.choice((1, 3, None)))
    for worker in workers:
        worker.cancel()
    await asyncio.gather(producer, joining, *workers, return_exceptions=True)


def found(folder: Path, pattern: str) -> list[Path]:
    return sorted(folder.glob(pattern))


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def rewrite(path: Path, changed: Iterable[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in changed), "utf-8")
    return path


# -- what is accepted ---------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(10))
async def test_a_busy_queue_whole_in_parts_and_the_end_of_it(
    seed: int, tmp_path: Path, recorded: Make
) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    last = FlightRecorder(last=20)
    both = (recorded(whole), recorded(parts, max_bytes=2000, backups=99), last)
    queue = Queue(
        default_lease_timeout=3,
        maxsize=random.Random(seed).choice((0, 2, 4)),
        observer=lambda queue, events: [observer(queue, events) for observer in both],
    )
    await busy(queue, seed, puts=80)
    files = found(tmp_path, "parts*")
    assert len(files) > 3
    assert str(check([whole])) == f"{len(lines(whole))} events: a behaviour of the queue"
    assert check(files).accepted, check(files)
    for file in files:
        assert check([file]).accepted, check([file])
    last.write(tmp_path / "last")
    assert check([tmp_path / "last"]).accepted, check([tmp_path / "last"])
    assert 20 <= len([*last.lines()]) < len(lines(whole)) / 2
    assert {line["action"] for line in lines(whole)} >= {
        *("init", "put", "get", "take", "resume", "cancel", "ack", "release"),
        *("expire", "ripen", "reserve", "extend", "drain", "time_out"),
    }


async def test_a_call_may_be_met_in_one_part_and_have_left_in_the_next(
    tmp_path: Path, recorded: Make
) -> None:
    """It is cancelled, but has not come to, when something would have come for it."""
    queue = Queue(observer=recorded(tmp_path / "parts", max_bytes=1, backups=99))
    getting = asyncio.create_task(queue.get())
    await quiet()
    getting.cancel()
    queue.put_nowait("a", 1)
    await quiet()
    assert getting.cancelled()
    queue.put_nowait("b", 1)
    files = found(tmp_path, "parts*")
    told = [[line["action"] for line in lines(file)] for file in files]
    assert ["state", "cancel"] in told
    for file in files:
        assert check([file]).accepted, check([file])


def test_runs_of_the_machine(tmp_path: Path, record_property: Any) -> None:
    """With calls that are cancelled and have not come to yet, and clocks that stand still."""
    met = Counter[str]()
    for seed in range(60):
        run = sources.of_the_machine(seed)
        path = record(run.events, tmp_path / "run", run.maxsize)
        assert check([path]).accepted, f"{seed}: {check([path])}"
        met.update(line["action"] for line in lines(path))
    assert min(met[action] for action in ("gone", "shut", "end", "close", "shutdown", "join")) > 2
    record_property("replay", f"{met.total():,} events accepted by the model")


async def test_jobs_and_workers(tmp_path: Path, recorded: Make) -> None:
    queue = Queue(if_in_flight="defer", observer=recorded(tmp_path / "run"))
    rng = random.Random(1)

    async def handler(job: Any) -> None:
        await asyncio.sleep(rng.choice((0, 1, 20)))
        if rng.random() < 0.3:
            raise ValueError

    for number in range(50):
        await queue.put(number % 30, number)
    working = asyncio.create_task(run_workers(queue, handler, lease_timeout=3, max_attempts=9))
    await asyncio.sleep(5)
    running().jump(7)  # leases are lost
    await queue.shutdown()
    await working
    verdict = check([tmp_path / "run"])
    assert verdict.accepted, verdict
    assert {"expire", "extend", "ripen"} <= {line["action"] for line in lines(tmp_path / "run")}


async def test_equal_keys_have_one_text(tmp_path: Path) -> None:
    recorder = FlightRecorder()
    queue = Queue(observer=recorder)
    for key in (1, 1.0, True, "1", 1.5, None, inf, (1,)):
        await queue.put(key, 0)
    assert await queue.take(1.0)
    assert await queue.take(None)
    recorder.write(tmp_path / "run")
    assert check([tmp_path / "run"]).accepted
    keys = [line["key"] for line in lines(tmp_path / "run") if line["action"] == "put"]
    assert keys == ["1", "1", "1", "'1'", "1.5", "None", "inf", "(1,)"]
    own = FlightRecorder(text_of=lambda key: key.name)
    queue = Queue(observer=own)
    await queue.put(tmp_path / "file", 0)
    assert json.loads([*own.lines()][1])["key"] == "file"


# -- what is not ------------------------------------------------------------------------------


def test_corrupted_records_are_found(tmp_path: Path, record_property: Any) -> None:
    """The kinds that the specification's tests know, but for what introspection shows."""
    run = scenario()
    path = tmp_path / "run"
    assert check([record(run.events, path, run.maxsize)]).accepted
    assert not check([record(run.events, path)]).accepted, "it had a bound"
    kinds: Counter[str] = Counter()
    survived = []
    sound = [event for event in run.events if event.action != "look"]
    for what, events in corrupted(run.events):
        if what.startswith(("more ", "higher number ")):
            continue
        kinds[what] += 1
        if check([record(events, path, run.maxsize)]).accepted:
            survived.append(what)
    assert survived == []
    assert len(kinds) >= 29, kinds
    record_property("replay", f"{kinds.total()} corrupted records of {len(kinds)} kinds found")
    assert check([record(sound, path, run.maxsize)]).accepted


def test_every_line_and_every_field_counts(tmp_path: Path, recorded: Make) -> None:
    """Leave any line out, or change any field of it: it is found, there or soon after."""
    path = tmp_path / "run"

    async def main() -> None:
        await busy(Queue(maxsize=3, default_lease_timeout=3, observer=recorded(path)), 3, puts=8)

    virtual.run(main())
    sound = lines(path)
    tail = {line["ticket"] for line in sound if line["action"] in ("resume", "cancel")}
    unfelt = Counter[tuple[str, str]]()
    tried = 0
    for at, line in enumerate(sound[1:], 1):
        changes: list[list[Any]] = [[]] if "ticket" not in line or line["ticket"] in tail else []
        changes += [[{**line, name: value}] for name in line for value in others(line[name])]
        for change in changes:
            tried += 1
            if check([rewrite(path, [*sound[:at], *change, *sound[at + 1 :]])]).accepted:
                name = next((n for n in line if change and change[0][n] != line[n]), "line")
                unfelt[line["action"], name] += 1
    assert tried > 300
    # What nothing depends on, or nothing in this run: how long a call would have waited that did
    # not, the policy for a key that was not in flight, the end of a call that took nothing.
    assert {name for _, name in unfelt} <= {*MAY_NOT_MATTER, "line"}
    assert {action for action, name in unfelt if name == "line"} <= LEAVE_NO_TRACE
    assert unfelt.total() < tried / 6, unfelt


MAY_NOT_MATTER = {"wait", "duration", "delay", "policy", "time"}
LEAVE_NO_TRACE = {"refresh", "extend", "time_out", "cancel", "resume"}


def others(value: Any) -> list[Any]:
    """Values of the same kind that are not this one."""
    match value:
        case bool():
            return [not value]
        case int() | float():
            return [value + 1, value - 1]
        case "defer" | "reject" | "buffer" | "update":
            return [policy for policy in POLICIES if policy != value]
        case "inf":
            return [0.5]
    return ["'z'"]


async def test_the_first_event_that_does_not_follow_and_the_state_before_it(
    tmp_path: Path, recorded: Make
) -> None:
    path = tmp_path / "run"
    queue = Queue(observer=recorded(path))
    for number in range(25):
        await queue.put(f"key {number}", number)
    await queue.put("later", 0, delay=5)
    _, _, lease = await queue.get(lease_timeout=9)
    await queue.put("key 0", 0, if_in_flight="defer")
    waiting = asyncio.create_task(queue.take("never", 7))
    await quiet()
    await queue.ack(lease)
    waiting.cancel()
    await quiet()
    sound = lines(path)
    at = next(at for at, line in enumerate(sound) if line["action"] == "ack")
    sound.insert(at, sound[at])
    verdict = check([rewrite(path, sound)])
    assert not verdict.accepted
    assert verdict.place == (str(path), at + 2)
    assert verdict.events == at + 1
    said = str(verdict).splitlines()
    assert said[:4] == [
        f"{path}, line {at + 2}: this does not follow",
        "    ack key='key 0' version=1 lease=1 at 1e-06",
        "by the model, nothing of the kind happens: LeaseAlreadyAcknowledgedError",
        "the state before it:",
    ]
    assert said[4:8] == [
        "    phase     open",
        "    puts      27",
        "    returned  nothing",
        "    arrived   key='key 1' version=2 attempts=0",
    ]
    assert "              and 5 more" in said
    assert "    delayed   key='later' version=26 attempts=0 time=5.0" in said
    assert "    flight    nothing" in said
    assert "    waiting   ticket=1 kind=take key='never' deadline=7.0" in said
    assert said[-1] == "    slots     nothing"


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"action": "gone", "ticket": 9, "time": 1}, "no call with ticket 9 waits"),
        ({"action": "resume", "ticket": 9, "time": 1}, "no call with ticket 9 is under way"),
        ({"action": "resume", "ticket": 1, "time": 1}, "the call with ticket 1 still waits"),
        ({"action": "put", "time": 0}, "it is later already: 1"),
        ({"action": "put", "time": 1}, "nothing of the kind happens: KeyError"),
        ({"action": "expire", "time": 1}, "nothing of the kind happens"),
        ({"action": "dance", "time": 1}, "nothing of the kind happens"),
        ({"action": "state", "time": 1}, 'by the model, phase is "open"'),
    ],
)
def test_why_it_does_not_follow(wrong: dict[str, Any], reason: str, tmp_path: Path) -> None:
    """After a get that waits, at time 1."""
    path = record([Event("get", 1, ticket=1, detail=(inf, inf))], tmp_path / "run")
    verdict = check([rewrite(path, [*lines(path), wrong])])
    assert reason in str(verdict)


def test_an_operation_without_its_consequences(tmp_path: Path) -> None:
    waits = Event("get", 1, ticket=1, detail=(inf, inf))
    put = Event("put", 1, "a", 1, detail=("update", 0.0))
    reserve = Event("reserve", 1, "a", 1, 1, 1)
    path = tmp_path / "run"
    assert check([record([waits, put, reserve], path)]).accepted
    assert "this comes after it: reserve key='a'" in str(check([record([waits, put], path)]))
    late = check([record([waits, put, reserve._replace(now=2)], path)])
    assert "by the model, this happens at 1" in str(late)
    text = path.read_text("utf-8")
    path.write_text(text[: text.rindex('"action"')], "utf-8")  # cut off: the program was stopped
    assert check([path]).accepted


def test_a_state_in_the_midst_must_be_the_one_that_was_reached(tmp_path: Path) -> None:
    """A file between two others is missing, or is there twice."""

    async def run() -> None:
        with FileRecorder(tmp_path / "run", max_bytes=1000, backups=9) as recorder:
            queue = Queue(observer=recorder)
            for number in range(40):
                await queue.put(number, number)

    asyncio.run(run())
    files = found(tmp_path, "run*")
    assert len(files) > 3
    assert check(files).accepted
    assert check([*reversed(files)]).accepted, "they are sorted by their heads"
    verdict = check([files[0], files[2]])
    assert not verdict.accepted
    assert "by the model, puts is" in verdict.reason


# -- what is no record --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is empty"),
        ("hello\nyou\n", "line 1: is no line of a record"),
        ("{}\n", "line 1: is no line of a record"),
        ("[]\n", "line 1: is no line of a record"),
        ('{"action":"put","time":"x"}\n', "line 1: is no line of a record"),
        ('{"action":"put","time":1}\n', "line 1: a record begins with one of"),
        ('{"action":"init","time":1}\n', "line 1: is no head of a record"),
        ('{"action":"init","time":0,"maxsize":0}\n{"a\n', "line 2: is no line of a record"),
    ],
)
def test_what_is_no_record_is_said_to_be_none(text: str, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "run"
    path.write_text(text, "utf-8")
    with pytest.raises(checking.NoRecordError, match=reason):
        check([path])


# -- the recorders themselves -------------------------------------------------------------------


async def complaints() -> list[str]:
    await quiet()
    told = [str(one["exception"]) for one in running().complaints]
    running().complaints.clear()
    return told


async def test_a_recorder_is_for_one_queue_and_from_its_beginning(tmp_path: Path) -> None:
    late, shared = FlightRecorder(), FlightRecorder()
    queue = Queue()
    queue.observer = late
    await queue.put("a", 1)
    assert "must be there from the beginning" in (await complaints())[0]
    for number in range(2):
        await Queue(observer=shared).put(number, 1)
    assert "a recorder is for one queue" in (await complaints())[0]
    assert [*late.lines()] == []


async def test_a_file_that_is_there_is_moved_away(tmp_path: Path) -> None:
    path = tmp_path / "run"
    for number in range(3):
        with FileRecorder(path) as recorder:
            await Queue(observer=recorder).put(number, 1)
    assert [lines(tmp_path / name)[1]["key"] for name in ("run", "run.1")] == ["2", "1"]
    assert len(found(tmp_path, "*")) == 2


async def test_a_file_that_is_closed_is_told_of(tmp_path: Path) -> None:
    recorder = FileRecorder(tmp_path / "run")
    queue = Queue(observer=recorder)
    recorder.close()
    recorder.close()
    await queue.put("a", 1)
    assert ["closed file" in error for error in await complaints()] == [True]


def test_bad_numbers(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="one or more"):
        FlightRecorder(last=0)
    bad: list[dict[str, Any]] = [{"max_bytes": 0}, {"backups": 0}]
    for options in bad:
        with pytest.raises(ValueError, match="one or more"):
            FileRecorder(tmp_path / "run", **options)
    assert not [*tmp_path.iterdir()]


async def test_no_state_is_taken_down_while_there_is_more_to_tell(tmp_path: Path) -> None:
    """An observer beside it uses the queue, so that the state is ahead of what was told."""
    recorder = FlightRecorder(last=1)

    def observe(queue: Queue, events: Sequence[Event]) -> None:
        if events[-1].key == "a":
            queue.put_nowait("b", 1)
        recorder(queue, events)

    queue = Queue(observer=observe)
    for _ in range(5):
        await queue.put("a", 1)
        await queue.put("c", 1)
        recorder.write(tmp_path / "run")
        assert check([tmp_path / "run"]).accepted


@pytest.mark.parametrize("last", [1, 2, 3, 20])
async def test_of_the_last_operations_none_is_forgotten_and_twice_as_many_at_most_are_kept(
    last: int,
) -> None:
    recorder = FlightRecorder(last=last)
    queue = Queue(observer=recorder)
    for number in range(5 * last):
        await queue.put("a", number)
        kept = [json.loads(line)["version"] for line in recorder.lines() if '"put"' in line]
        assert kept == [*range(number + 2 - len(kept), number + 2)]
        assert min(number + 1, last) <= len(kept) <= 2 * last


async def test_what_the_recorder_remembers_is_bounded() -> None:
    recorder = FlightRecorder(last=10)
    queue = Queue(observer=recorder)
    for number in range(100):
        await queue.put("a", number)
        waiting = asyncio.create_task(queue.take("b"))
        await quiet()
        waiting.cancel()
        _, _, lease = await queue.get(lease_timeout=9)
        await quiet()
        await queue.ack(lease)
    assert len([*recorder.lines()]) < 70
    assert (recorder._durations, recorder._calls) == ({}, {})
