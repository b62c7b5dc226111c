"""The shell: lifecycle, the loop and its clock, and nothing printed."""

import asyncio
import copy
import functools
import itertools
import logging
import pickle
import re
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest

from tests.subject import (
    Lease,
    LeasedKeyQueue,
    QueueClosedError,
)
from tests.unit.steps import (
    ON_LEASES,
    a_queue,
    blocked,
    check,
    drain,
    keys,
    nowait,
    outcome,
    put_leased,
    snapshot,
    state,
)
from tests.virtual import VirtualLoop, jump, run, running, ticks

# -- lifecycle ---------------------------------------------------------------------------


@pytest.mark.req("START-1")
async def test_start_may_be_left_out_or_called_twice() -> None:
    queue = LeasedKeyQueue[str, int]()
    await queue.put("a", 1)
    await queue.start()
    await queue.start()
    assert await drain(queue) == [("a", 1)]


async def test_the_context_manager_opens_the_queue_and_closes_it() -> None:
    async with LeasedKeyQueue[str, int](default_lease_timeout=5) as queue:
        assert isinstance(queue, LeasedKeyQueue)
        await put_leased(queue, "a", 1)
    assert await queue.available_keys() == {"a"}
    with pytest.raises(QueueClosedError):
        await queue.put("b", 1)
    with pytest.raises(QueueClosedError):
        async with queue:
            raise AssertionError("not entered")


@pytest.mark.req("CLOSE-4", "OP-1")
async def test_a_closed_queue_refuses_every_operation() -> None:
    queue = await a_queue()
    leased = await put_leased(queue, "x", 1)
    await queue.close()
    before = await state(queue)
    calls: list[Callable[[], Awaitable[object]]] = [
        lambda: queue.start(),
        lambda: queue.put("a", 9),
        lambda: queue.put("new", 9, delay=1, timeout=0),
        lambda: queue.get(),
        lambda: queue.get(0),
        lambda: queue.take("a"),
        lambda: queue.take("absent", 0),
        lambda: queue.discard("a"),
        lambda: queue.join(),
        lambda: nowait(lambda: queue.put_nowait("a", 9)),
        lambda: nowait(lambda: queue.get_nowait()),
        lambda: nowait(lambda: queue.take_nowait("a")),
        *(functools.partial(use, queue, leased) for use in ON_LEASES.values()),
    ]
    for call in calls:
        with pytest.raises(QueueClosedError, match="closed"):
            await call()
    assert await state(queue) == before


@pytest.mark.req("CLOSE-1", "CLOSE-5", "OP-4")
async def test_introspection_of_a_closed_queue_shows_what_is_left() -> None:
    queue = await a_queue()
    await queue.close()
    assert await state(queue) == {
        "available": {"a": 1, "b": 1, "c": 1, "d": 2, "e": 2},
        "in flight": set(),
        "sizes": (5, 0),
    }
    assert await queue.contains("d")
    assert not await queue.contains("z")
    assert await queue.peek("z") is None
    assert await queue.available_items() == [("c", 1), ("d", 2), ("a", 1), ("b", 1), ("e", 2)]
    assert (await queue.delayed_size(), await queue.delayed_keys()) == (0, set())


@pytest.mark.req("CLOSE-3")
async def test_a_second_close_does_nothing() -> None:
    queue = await a_queue()
    await queue.close()
    before = await state(queue)
    await queue.close()
    assert await state(queue) == before


# -- the loop ----------------------------------------------------------------------------


EVERY_CALL: dict[str, Callable[[LeasedKeyQueue[str, int], Lease[str]], Awaitable[object]]] = {
    "start": lambda queue, lease: queue.start(),
    "close": lambda queue, lease: queue.close(),
    "async with": lambda queue, lease: queue.__aenter__(),
    "put": lambda queue, lease: queue.put("b", 1),
    "get": lambda queue, lease: queue.get(),
    "take": lambda queue, lease: queue.take("a"),
    "take absent": lambda queue, lease: queue.take("z"),
    "ack": lambda queue, lease: queue.ack(lease),
    "release": lambda queue, lease: queue.release(lease),
    "extend": lambda queue, lease: queue.extend(lease),
    "refresh": lambda queue, lease: queue.refresh(lease),
    "superseded": lambda queue, lease: queue.superseded(lease),
    "deadline": lambda queue, lease: queue.deadline(lease),
    "discard": lambda queue, lease: queue.discard("a"),
    "join": lambda queue, lease: queue.join(),
    "shutdown": lambda queue, lease: queue.shutdown(),
    "drain": lambda queue, lease: queue.drain(),
    "async for": lambda queue, lease: anext(queue),
    "put_nowait": lambda queue, lease: nowait(lambda: queue.put_nowait("b", 1)),
    "get_nowait": lambda queue, lease: nowait(lambda: queue.get_nowait()),
    "take_nowait": lambda queue, lease: nowait(lambda: queue.take_nowait("a")),
    "ack_nowait": lambda queue, lease: nowait(lambda: queue.ack_nowait(lease)),
    "release_nowait": lambda queue, lease: nowait(lambda: queue.release_nowait(lease)),
    "extend_nowait": lambda queue, lease: nowait(lambda: queue.extend_nowait(lease)),
    "peek": lambda queue, lease: queue.peek("a"),
    "contains": lambda queue, lease: queue.contains("a"),
    "available_keys": lambda queue, lease: queue.available_keys(),
    "inflight_keys": lambda queue, lease: queue.inflight_keys(),
    "available_items": lambda queue, lease: queue.available_items(),
    "delayed_keys": lambda queue, lease: queue.delayed_keys(),
    "delayed_size": lambda queue, lease: queue.delayed_size(),
    "qsize": lambda queue, lease: queue.qsize(),
    "inflight_size": lambda queue, lease: queue.inflight_size(),
}


@pytest.mark.req("IN-10", "OP-1")
@pytest.mark.parametrize("call", EVERY_CALL.values(), ids=EVERY_CALL)
def test_a_queue_belongs_to_the_loop_it_first_worked_in(call: Any) -> None:
    async def first() -> tuple[LeasedKeyQueue[str, int], Lease[str], dict[str, object]]:
        queue = await a_queue()
        leased = await put_leased(queue, "x", 1)
        return queue, leased, await state(queue)

    async def second() -> None:
        with pytest.raises(RuntimeError, match="another"):
            await call(queue, leased)

    async def first_again() -> None:
        assert await state(queue) == before
        await queue.ack(leased)

    loop = VirtualLoop()
    queue, leased, before = loop.run_until_complete(first())
    run(second())
    loop.run_until_complete(first_again())
    loop.close()


@pytest.mark.req("IN-10")
@pytest.mark.parametrize("call", EVERY_CALL.values(), ids=EVERY_CALL)
def test_without_a_running_loop_a_queue_does_not_work(call: Any) -> None:
    queue, leased = LeasedKeyQueue[str, int](), Lease(token="none", key="a")
    coroutine = call(queue, leased)
    told = r"^no running event loop: <LeasedKeyQueue at \w+> can be used within one only, by its"
    with pytest.raises(RuntimeError, match=told):
        coroutine.send(None)


@pytest.mark.req("IN-10")
async def test_a_queue_knows_a_loop_that_another_thread_runs() -> None:
    queue = LeasedKeyQueue[str, int]()
    await queue.put("a", 1)

    async def elsewhere() -> None:
        for call in EVERY_CALL.values():
            with pytest.raises(RuntimeError, match="another"):
                await call(queue, Lease(token="none", key="a"))

    failures: list[BaseException] = []

    def work() -> None:
        try:
            run(elsewhere())
        except BaseException as failure:  # noqa: BLE001 (raised again below)
            failures.append(failure)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert failures == []
    assert await keys(queue) == ["a"]


@pytest.mark.req("IN-10")
def test_a_loop_may_move_to_another_thread() -> None:
    loop = VirtualLoop()
    queue = LeasedKeyQueue[str, int](default_lease_timeout=1)
    seen: list[list[tuple[str, int]]] = []
    loop.run_until_complete(queue.put("a", 1))
    thread = threading.Thread(target=lambda: seen.append(loop.run_until_complete(drain(queue))))
    thread.start()
    thread.join()
    assert seen == [[("a", 1)]]
    loop.run_until_complete(queue.close())
    loop.close()


class ForeignLoop:
    """A loop that is not made of asyncio's own, as uvloop's is; it does no more than it must."""

    def __init__(self) -> None:
        self.now = 0.0
        self.rings: list[tuple[float, Callable[..., object], tuple[Any, ...]]] = []

    def time(self) -> float:
        return self.now

    def get_debug(self) -> bool:
        return False

    def is_closed(self) -> bool:
        return False

    def create_future(self) -> "asyncio.Future[Any]":
        itself: Any = self
        return asyncio.Future(loop=itself)

    def call_at(self, when: float, callback: Any, *arguments: Any) -> asyncio.TimerHandle:
        itself: Any = self
        self.rings.append((when, callback, arguments))
        return asyncio.TimerHandle(when, callback, arguments, itself)

    def run(self, call: Coroutine[Any, Any, Any]) -> Any:
        """Run a call up to its end, or up to where it waits."""
        itself: Any = self
        asyncio._set_running_loop(itself)
        try:
            return call.send(None)
        except StopIteration as stop:
            return stop.value
        finally:
            asyncio._set_running_loop(None)


@pytest.mark.req("IN-10", "CLOCK-1", "EXP-5")
def test_a_queue_works_in_a_loop_of_another_make() -> None:
    queue, loop = LeasedKeyQueue[str, int](default_lease_timeout=5), ForeignLoop()
    loop.run(queue.put("k", 1))
    assert loop.run(queue.get())[:2] == ("k", 1)
    call = queue.get()
    loop.run(call)
    ((when, ring, arguments),) = loop.rings
    assert when == 5
    loop.now = 5 - 1e-12  # a loop may ring early, and its clock has some resolution
    ring(*arguments)
    ((_, ring, arguments),) = loop.rings[1:]
    loop.now = loop.rings[-1][0]
    assert 5 <= loop.now < 5.1
    ring(*arguments)
    assert loop.run(call)[:2] == ("k", 1)
    with pytest.raises(RuntimeError, match="another"):
        run(queue.get())
    loop.run(queue.close())


@pytest.mark.req("IN-10")
@pytest.mark.parametrize("call", EVERY_CALL.values(), ids=EVERY_CALL)
@pytest.mark.parametrize("nested", ["foreign", "asyncio"])
async def test_a_loop_that_runs_nested_inside_the_queues_own_is_another(
    nested: str, call: Any
) -> None:
    """Whether it leaves a mark in the thread, as asyncio's do, or none. (Version 1, on 3.11.)"""
    queue = LeasedKeyQueue[str, int]()
    leased = await put_leased(queue, "x", 1)
    before = snapshot(queue)
    own = asyncio.get_running_loop()
    refusals: list[str] = []

    async def inside() -> None:
        with pytest.raises(RuntimeError, match="another") as refused:
            await call(queue, leased)
        refusals.append(str(refused.value))

    asyncio._set_running_loop(None)
    try:
        if nested == "foreign":
            ForeignLoop().run(inside())
        else:
            run(inside())
    finally:
        asyncio._set_running_loop(own)
    assert len(refusals) == 1
    assert snapshot(queue) == before
    await queue.ack(leased)


@pytest.mark.req("IN-10", "WAIT-8")
@pytest.mark.parametrize("elsewhere", [None, ForeignLoop()])
async def test_a_call_that_is_resumed_outside_its_loop_gives_its_copy_back(elsewhere: Any) -> None:
    queue, own = LeasedKeyQueue[str, int](), asyncio.get_running_loop()
    call = queue.get()
    call.send(None)
    await queue.put("k", 1)
    asyncio._set_running_loop(elsewhere)
    try:
        with pytest.raises(RuntimeError, match="another" if elsewhere else "no running event loop"):
            call.send(None)
    finally:
        asyncio._set_running_loop(own)
    assert await keys(queue) == ["k"]


@pytest.mark.req("IN-11", "WAIT-8")
def test_a_reservation_that_is_dropped_after_the_loop_was_closed_passes_on_in_silence() -> None:
    """The next in line is given the copy, though nobody can wake it any more."""
    queue, loop = LeasedKeyQueue[str, int](), VirtualLoop()

    async def start() -> None:
        for call in calls:
            call.send(None).add_done_callback(lambda future: None)
        await queue.put("k", 1)

    calls: list[Coroutine[Any, Any, Any]] = [queue.get(), queue.get(), queue.take("k", 5)]
    loop.run_until_complete(start())
    loop.close()
    for call in calls:
        call.close()
        check(queue)
    assert [copy.key for copy in snapshot(queue).returned] == ["k"]


@pytest.mark.req("IN-11", "WAIT-8")
async def test_a_loop_that_fails_to_wake_a_call_is_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("this loop is broken")

    queue = LeasedKeyQueue[str, int]()
    call = queue.get()
    call.send(None).add_done_callback(lambda future: None)
    with monkeypatch.context() as patch:
        patch.setattr(running(), "call_soon", broken)
        with pytest.raises(RuntimeError, match="this loop is broken"):
            queue.put("k", 1).send(None)
    call.close()
    assert await keys(queue) == ["k"]


def test_a_queue_cannot_be_copied_or_pickled() -> None:
    queue = LeasedKeyQueue[str, int]()
    for attempt in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="copied or pickled"):
            attempt(queue)


def test_the_representation_of_a_queue_tells_it_from_others() -> None:
    queue, other = LeasedKeyQueue[str, int](), LeasedKeyQueue[str, int]()
    assert re.fullmatch(r"<LeasedKeyQueue at 0x[0-9a-f]+>", repr(queue))
    assert repr(queue) != repr(other)


@pytest.mark.req("CLOCK-1")
async def test_the_wall_clock_and_the_clock_of_the_machine_play_no_part(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Every other clock runs wild; the lease lasts as long as the loop says."""
    wild = itertools.cycle([0.0, 1e12, -1e12])
    for clock in ("time", "monotonic", "perf_counter"):
        monkeypatch.setattr(time, clock, lambda: next(wild))
    queue = LeasedKeyQueue[str, int](default_lease_timeout=10)
    leased = await put_leased(queue, "a", 1)
    await asyncio.sleep(9)
    await queue.extend(leased)
    await asyncio.sleep(9)
    assert await queue.inflight_size() == 1
    await asyncio.sleep(1)
    assert await queue.inflight_size() == 0


@pytest.mark.req("CLOCK-2", "OP-1")
async def test_an_operation_reads_the_clock_once(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    reads = 0

    def time() -> float:
        nonlocal reads
        reads += 1
        return 0.0

    monkeypatch.setattr(loop, "time", time)
    queue = LeasedKeyQueue[str, int](default_lease_timeout=10)
    x = await put_leased(queue, "x", 1)
    for call in (
        lambda: queue.put("a", 1),
        lambda: queue.get(5, lease_timeout=3),
        lambda: queue.extend(x, 9),
        lambda: queue.release(x),
        lambda: queue.take("x", 5),
        lambda: queue.qsize(),
        lambda: queue.close(),
    ):
        reads = 0
        await call()
        assert reads <= 1


async def get_one_too_many(queue: LeasedKeyQueue[str, int], _: Lease[str]) -> None:
    await queue.get()
    await queue.get(5)


async def put_one_too_many(queue: LeasedKeyQueue[str, int], _: Lease[str]) -> None:
    await queue.put("b", 1)
    await queue.put("c", 1, timeout=5)


@pytest.mark.req("CLOCK-2", "DELAY-1", "WAIT-9")
@pytest.mark.parametrize(
    "call",
    [
        lambda queue, _: queue.get(lease_timeout=5),
        lambda queue, _: queue.take("a", lease_timeout=5),
        lambda queue, lease: queue.extend(lease, 5),
        lambda queue, lease: queue.release(lease, delay=5),
        lambda queue, _: queue.put("b", 1, delay=5),
        put_one_too_many,
        get_one_too_many,
        lambda queue, _: queue.take("c", 5),
        lambda queue, _: queue.join(5),
    ],
    ids=[
        "get",
        "take",
        "extend",
        "release",
        "put later",
        "put in time",
        "get in time",
        "take in time",
        "join",
    ],
)
async def test_a_duration_counts_from_its_call_though_nothing_had_to_read_the_clock_before(
    call: Callable[[LeasedKeyQueue[str, int], Lease[str]], Coroutine[Any, Any, object]],
) -> None:
    queue = LeasedKeyQueue[str, int](maxsize=3)
    lease = await put_leased(queue, "x", 1)
    await queue.put("a", 1)
    jump(100)
    called = asyncio.create_task(call(queue, lease))
    await ticks(2)
    waiting = await blocked(queue.take("never"))  # for whose sake there is a timer
    assert running().timers() == [running().time() + 5]
    called.cancel()
    waiting.cancel()


# -- output ------------------------------------------------------------------------------


@pytest.mark.req("IN-11")
async def test_nothing_is_printed_or_logged(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    caplog.clear()
    queue = await a_queue()
    await put_leased(queue, "x", 1, lease_timeout=1)
    waiting = [await blocked(queue.take(key, 5)) for key in ("x", "y", "z")]
    await asyncio.sleep(2)
    waiting[1].cancel()
    await asyncio.sleep(9)
    waiting.append(await blocked(queue.take("z")))
    await queue.close()
    results = [await outcome(task) for task in waiting]
    assert [type(result) for result in results] == [
        tuple,
        asyncio.CancelledError,
        TimeoutError,
        QueueClosedError,
    ]
    assert capsys.readouterr() == ("", "")
    assert caplog.records == []


# -- what the tests of this directory stand on -------------------------------------------


def test_a_virtual_loop_that_was_complained_to_cannot_be_closed() -> None:
    loop = VirtualLoop()
    loop.call_exception_handler({"message": "a complaint"})
    with pytest.raises(AssertionError, match="a complaint"):
        loop.close()
