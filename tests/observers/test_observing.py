"""What an observer is told, when, and that nothing it does harms the queue."""

from __future__ import annotations

import asyncio
import gc
import logging
import weakref
from collections.abc import Sequence
from contextlib import suppress
from math import inf
from typing import Any

import pytest

from tests.subject import (
    Event,
    LeasedKeyQError,
    LeasedKeyQueue,
    LogObserver,
    Observer,
    Observers,
    QueueClosedError,
    module,
)
from tests.virtual import VirtualLoop, quiet, running

Queue = LeasedKeyQueue[Any, Any]
named: Any = module("observing").named


class Seen:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.calls: list[list[Event]] = []

    def __call__(self, queue: Any, events: Sequence[Event], /) -> None:
        assert not queue._machine.busy
        self.calls.append([*events])

    @property
    def events(self) -> list[Event]:
        return [event for events in self.calls for event in events]

    @property
    def actions(self) -> list[str]:
        return [event.action for event in self.events]


async def test_it_is_told_of_each_operation_when_that_is_over() -> None:
    seen = Seen()
    queue = Queue(observer=seen)
    await queue.put("a", 1)
    _, _, lease = await queue.get(lease_timeout=5)
    await queue.ack(lease)
    assert [[event.action for event in events] for events in seen.calls] == [
        ["init", "put"],
        ["get"],
        ["ack"],
    ]
    now = running().time()
    assert seen.events[1:] == [
        Event("put", now, "a", 1, detail=("update", 0)),
        Event("get", now, "a", 1, 1, detail=(5, 1)),
        Event("ack", now, "a", 1, 1),
    ]


async def test_what_was_due_comes_first_and_what_it_led_to_last() -> None:
    seen = Seen()
    queue = Queue(observer=seen)
    for key in "ab":
        await queue.put(key, 1)
    await queue.get(lease_timeout=1)
    await queue.get()
    getting = asyncio.create_task(queue.take("b"))
    await quiet()
    running().jump(2)
    seen.calls.clear()
    await queue.put("c", 2)
    assert seen.actions == ["expire", "put"]
    await queue.put("b", 2, if_in_flight="buffer")
    assert seen.actions == ["expire", "put", "put", "reserve"]
    await getting
    assert seen.calls[-1] == [Event("resume", running().time(), "b", 4, 3, 1, (inf, 1))]


async def test_every_event_has_the_time_though_nothing_is_timed() -> None:
    seen = Seen()
    queue = Queue(observer=seen)
    for _ in range(3):
        await asyncio.sleep(1)
        await queue.put("a", 1)
    for _ in range(2):
        await asyncio.sleep(1)
        _, _, lease = await queue.get()
        await queue.release(lease)
    getting = asyncio.create_task(queue.take("b"))
    await asyncio.sleep(1)
    await queue.put("b", 1)
    await getting
    _, _, lease = await queue.get()
    await asyncio.sleep(1)
    await queue.ack(lease)
    times = [event.now for event in seen.events]
    assert times == [0, 1, 2, 3, 4, 4, 5, 5, 5, 6, 6, 6, 6, 7]


async def test_a_wait_that_ends_in_an_error_is_no_cancellation() -> None:
    seen = Seen()
    queue = Queue(observer=seen)
    with pytest.raises(TimeoutError):
        await queue.take("a", 1)
    getting = asyncio.create_task(queue.get())
    await quiet()
    await queue.shutdown()
    with pytest.raises(QueueClosedError):
        await getting
    ends = ["init", "take", "time_out", "resume", "get", "shutdown", "resume"]
    assert seen.actions == ends
    assert [event.detail for event in seen.events if event.action == "resume"] == [
        "TIMED_OUT",
        "ENDED",
    ]


async def test_a_refusal_and_a_look_tell_nothing() -> None:
    seen = Seen()
    queue = Queue(observer=seen)
    await queue.put("a", 1)
    _, _, lease = await queue.get()
    told = len(seen.calls)
    for refused in (
        queue.put("a", 2, if_in_flight="reject"),
        queue.get(0),
        queue.release(lease, delay=-1),
    ):
        with pytest.raises((LeasedKeyQError, TimeoutError, ValueError)):
            await refused
    await queue.qsize()
    await queue.superseded(lease)
    assert len(seen.calls) == told


async def test_to_observe_can_begin_and_end_at_any_time() -> None:
    first, second = Seen(), Seen()
    queue = Queue()
    assert queue.observer is None
    await queue.put("a", 1)
    queue.observer = first
    await queue.put("b", 1)
    queue.observer = second
    assert queue.observer is second
    await queue.put("c", 1)
    queue.observer = None
    await queue.put("d", 1)
    assert [event.key for event in first.events] == ["b"]
    assert [event.key for event in second.events] == ["c"]
    with pytest.raises(TypeError, match="must be callable, or None, not 5"):
        queue.observer = 5  # type: ignore[assignment]
    with pytest.raises(TypeError, match="must be callable"):
        Queue(observer="no")  # type: ignore[arg-type]


@pytest.mark.req("STAT-6")
async def test_without_an_observer_nothing_is_told_and_no_clock_is_read() -> None:
    queue = Queue()
    await queue.start()  # in which it notes when it began
    loop = running()
    reads = 0
    time = loop.time

    def counted() -> float:
        nonlocal reads
        reads += 1
        return time()

    loop.time = counted  # type: ignore[method-assign]
    await queue.put("a", 1)
    _, _, lease = await queue.get()
    await queue.ack(lease)
    assert (reads, queue._outbox.events) == (0, None)
    queue.observer = Seen()
    await queue.put("a", 1)
    _, _, lease = await queue.get()
    await queue.ack(lease)
    assert reads == 3
    queue.observer = None
    await queue.put("a", 1)
    assert reads == 3
    queue.stats()
    await queue.put("a", 1)
    _, _, lease = await queue.get()
    await queue.ack(lease)
    assert (reads, queue._outbox.events) == (7, None)
    queue.observer = Seen()
    queue.observer = None
    await queue.put("a", 1)
    assert reads == 8  # as long as it lives


# -- an observer that misbehaves --------------------------------------------------------


class Boom(BaseException):
    pass


ERRORS = [ValueError, Boom, asyncio.CancelledError, GeneratorExit]


def complaints() -> list[dict[str, Any]]:
    """What was told to the loop; here nobody else complains of it."""
    told = [*running().complaints]
    running().complaints.clear()
    return told


@pytest.mark.parametrize("error", ERRORS)
async def test_if_it_raises_the_loop_hears_of_it_and_the_operation_is_done(
    error: type[BaseException],
) -> None:
    def observe(queue: Any, events: Sequence[Event]) -> None:
        raise error("boom")

    queue = Queue(observer=observe)
    await queue.put("a", 1)
    key, _, lease = await queue.get()
    assert key == "a"
    await queue.ack(lease)
    waiting = asyncio.create_task(queue.get())
    await quiet()
    await queue.put("b", 1)
    assert (await waiting)[0] == "b"
    await quiet()
    told = complaints()
    assert [type(one["exception"]) for one in told] == [error] * 6
    assert "the observer of <LeasedKeyQueue at" in told[0]["message"]
    queue._machine.check_invariants()


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
def test_what_ends_a_program_comes_out_of_the_loop_and_loses_nothing(
    error: type[BaseException],
) -> None:
    got = []

    def observe(queue: Any, events: Sequence[Event]) -> None:
        if events[-1].action == "get":
            raise error

    async def main() -> None:
        queue = Queue(observer=observe)
        await queue.put("a", 1)
        got.append(await queue.get())
        await queue.ack(got[0][2])
        await asyncio.sleep(1)
        raise AssertionError("nothing came out of the loop")

    with asyncio.Runner(loop_factory=VirtualLoop) as runner, pytest.raises(error):
        runner.run(main())
    assert got[0][0] == "a"


async def test_it_may_use_the_queue_and_is_told_of_that_afterwards() -> None:
    told: list[list[str]] = []
    inside = False

    def observe(queue: Queue, events: Sequence[Event]) -> None:
        nonlocal inside
        assert not inside
        inside = True
        told.append([f"{event.action} {event.key}" for event in events])
        if events[-1].key == "a":
            queue.put_nowait("b", 2)
            queue.ack_nowait(queue.get_nowait()[2])
            assert told[-1][-1].endswith(" a"), "not yet"
        inside = False

    queue = Queue(observer=observe)
    await queue.put("c", 0)
    await queue.put("a", 1)
    assert told == [
        ["init None", "put c"],
        ["put a"],
        ["put b", "get c", "ack c"],
    ]
    assert await queue.available_items() == [("a", 1), ("b", 2)]
    queue._machine.check_invariants()


@pytest.mark.parametrize("when", ["put", "get", "reserve", "resume", "ack", "cancel", "expire"])
async def test_it_may_close_the_queue_at_any_time(when: str) -> None:
    """Whatever was under way has its end, and nothing is lost."""
    closed = False
    calls: list[asyncio.Task[Any]] = []

    def observe(queue: Queue, events: Sequence[Event]) -> None:
        nonlocal closed
        if not closed and when in [event.action for event in events]:
            closed = True
            with suppress(StopIteration):
                queue.close().send(None)

    queue = Queue(observer=observe)
    for step in range(3):
        getting = asyncio.create_task(queue.get(5, lease_timeout=1))
        leaving = asyncio.create_task(queue.take("never"))
        calls += [getting, leaving]
        await quiet()
        try:
            await queue.put("a", step)
            _, _, lease = await getting
            if step == 0:
                await asyncio.sleep(2)
                _, _, lease = await queue.get()
            await queue.ack(lease)
            leaving.cancel()
            await asyncio.wait([leaving])
        except LeasedKeyQError:
            break
    for call in calls:
        with suppress(QueueClosedError, asyncio.CancelledError):
            await call
    assert closed
    left = set() if when in ("get", "ack", "cancel") else {"a"}  # before a put, or after an ack
    assert await queue.available_keys() == left
    assert await queue.inflight_size() == 0
    queue._machine.check_invariants()


async def test_it_may_take_itself_away() -> None:
    seen = Seen()

    def once(queue: Queue, events: Sequence[Event]) -> None:
        seen(queue, events)
        queue.put_nowait("b", 1)
        queue.observer = None

    queue = Queue(observer=once)
    await queue.put("a", 1)
    await queue.put("c", 1)
    assert [event.key for event in seen.events] == [None, "a"]


def test_an_error_when_the_loop_is_closed_is_told_to_its_handler_at_once() -> None:
    def observe(queue: Any, events: Sequence[Event]) -> None:
        if events[-1].action == "cancel":
            raise ValueError("boom")

    loop = VirtualLoop()
    queue = Queue(observer=observe)
    getting = queue.get()

    async def begin() -> None:
        getting.send(None)

    loop.run_until_complete(begin())
    loop.close()
    getting.close()
    assert [str(told["exception"]) for told in loop.complaints] == ["boom"]
    loop.complaints.clear()


async def test_it_keeps_nothing_alive_and_a_dropped_queue_is_freed(untraced: None) -> None:
    class Thing:
        pass

    queue = Queue(observer=lambda queue, events: None)
    gc.disable()
    try:
        key, value = Thing(), Thing()
        watched = [weakref.ref(thing) for thing in (key, value, queue)]
        await queue.put(key, value)
        lease = (await queue.get())[2]
        await queue.ack(lease)
        del key, value, lease
        assert [ref() for ref in watched[:2]] == [None, None]
        del queue
        assert watched[2]() is None
    finally:
        gc.enable()


# -- several of them, and the ready made ----------------------------------------------------


async def test_of_several_each_is_told_whatever_becomes_of_the_others() -> None:
    def fails(queue: Any, events: Sequence[Event]) -> None:
        raise ValueError("one")

    def fails_too(queue: Any, events: Sequence[Event]) -> None:
        raise Boom("two")

    first, last = Seen(), Seen()
    queue = Queue(observer=Observers(first, fails, last))
    await queue.put("a", 1)
    await quiet()
    assert first.calls == last.calls != []
    assert [str(told["exception"]) for told in complaints()] == ["one"]
    queue.observer = Observers(first, fails, fails_too, last)
    await queue.put("b", 1)
    await quiet()
    assert first.calls == last.calls
    (told,) = complaints()
    assert [str(error) for error in told["exception"].exceptions] == ["one", "two"]
    observer: Observer = Observers()  # of none
    observer(queue, first.events)


async def test_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    queue = Queue(observer=LogObserver("mails"))
    await queue.put("ann", 1)
    await queue.get(lease_timeout=2)
    await asyncio.sleep(3)
    await queue.contains("ann")
    name = module("observing").__name__
    assert caplog.record_tuples == [
        (name, logging.DEBUG, "mails: init lease_timeout=None maxsize=0 policy=update"),
        (name, logging.DEBUG, "mails: put key='ann' version=1 policy=update delay=0.0"),
        (name, logging.DEBUG, "mails: get key='ann' version=1 lease=1 duration=2.0 attempt=1"),
        (name, logging.WARNING, "mails: expire key='ann' version=1 lease=1"),
    ]
    assert caplog.records[3].__dict__["event"] == {
        "action": "expire",
        "time": 3,
        "key": "ann",
        "version": 1,
        "lease": 1,
    }


async def test_the_log_by_levels_of_its_own(caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("mine")
    logger.setLevel(logging.INFO)
    levels = {"put": logging.ERROR, "get": logging.DEBUG}
    queue = Queue(observer=LogObserver(logger=logger, level=logging.INFO, levels=levels))
    await queue.put("ann", 1)
    _, _, lease = await queue.get()
    await queue.ack(lease)
    assert [(record.name, record.levelname, record.message) for record in caplog.records] == [
        ("mine", "INFO", "queue: init lease_timeout=None maxsize=0 policy=update"),
        ("mine", "ERROR", "queue: put key='ann' version=1 policy=update delay=0.0"),
        ("mine", "INFO", "queue: ack key='ann' version=1 lease=1"),
    ]


@pytest.mark.parametrize(
    ("event", "fields"),
    [
        (Event("put", 0, None, 1, detail=("defer", 2)), "key version policy delay"),
        (Event("put", 0, "a", ticket=1, detail=(9, ("defer", 2))), "key ticket wait policy delay"),
        (Event("get", 0, "a", 1, 1, detail=(5, 1)), "key version lease duration attempt"),
        (Event("get", 0, ticket=1, detail=(5, inf)), "ticket wait duration"),
        (Event("take", 0, None, ticket=1, detail=(5, inf)), "key ticket wait duration"),
        (Event("resume", 0, "a", 1, 1, 1, (5, 1)), "key version lease ticket duration attempt"),
        (Event("resume", 0, "a", ticket=1, detail="ENDED"), "ticket outcome"),
        (Event("cancel", 0, "a", ticket=1, detail="LEFT"), "ticket outcome"),
        (Event("gone", 0, "a", ticket=1), "ticket"),
        (Event("reserve", 0, "a", 1, 1, 1), "key version lease ticket"),
        (Event("release", 0, "a", 1, 1, detail=(True, 0)), "key version lease front delay"),
        (Event("extend", 0, "a", None, 1, detail=None), "key lease duration"),
        (Event("join", 0, ticket=1, detail=(5, None)), "ticket wait"),
        (Event("drain", 0, ticket=1, detail=(5, None)), "ticket wait"),
        (Event("drain", 0, detail=(5, True)), "wait drained"),
        (Event("ripen", 0, "a", 1), "key version"),
        (Event("close", 0), ""),
    ],
    ids=str,
)
def test_the_parts_of_an_event_have_names(event: Event, fields: str) -> None:
    assert [*named(event)] == ["action", "time", *fields.split()]
