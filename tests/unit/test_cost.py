"""Costs that are counted, not timed: no operation does more beside more items, leases and calls.

Counted are the lines of the package that it executes, and the bytes that it needs meanwhile. (Of a
compiled build only the coroutines have lines; its machine is the same source.)
"""

import asyncio
import inspect
import sys
import tracemalloc
from collections.abc import Callable, Coroutine
from pathlib import Path
from types import FrameType
from typing import Any, TypeAlias

import pytest

from tests.subject import Lease, LeasedKeyQueue, module
from tests.virtual import jump, ticks

SMALL, LARGE = 10, 100
PACKAGE_FOLDER = str(Path(module("_queue").__file__).parent)
LONG = 1e6
Call: TypeAlias = Coroutine[Any, Any, Any]


def finish(call: Call) -> Any:
    """Run a call that does not wait to its end."""
    try:
        call.send(None)
    except StopIteration as stop:
        return stop.value
    raise AssertionError("the call waits")


class Stock:
    """A queue with so many items, delays, leases and calls that wait, one of them the last."""

    def __init__(self, size: int) -> None:
        self.queue = queue = LeasedKeyQueue[Any, Any](maxsize=6 * size + 9)
        self.calls: list[Call] = []
        for number in range(size):
            for key, timeout in ((("timed", number), LONG), (("untimed", number), None)):
                queue.put_nowait(key, 0)
                self.lease: Lease[Any] = queue.take_nowait(key, lease_timeout=timeout)[2]
            queue.put_nowait(("late", number), 0, delay=LONG)
            queue.put_nowait(("item", number), 0)
            queue.put_nowait("taken", 0, if_in_flight="buffer")
            queue.take_nowait("taken", lease_timeout=LONG)
        for number in range(size):
            self.wait(queue.take(("absent", number)))
            self.wait(queue.take("taken", LONG))
            self.wait(queue.join(LONG))

    def wait(self, call: Any) -> Any:
        call.send(None)
        self.calls.append(call)
        return call

    def grant(self, policy: Any = None) -> Lease[Any]:
        """A lease on "k", and what was put meanwhile."""
        self.queue.put_nowait("k", 0)
        lease: Lease[Any] = self.queue.take_nowait("k", lease_timeout=LONG)[2]
        if policy is not None:
            self.queue.put_nowait("k", 1, if_in_flight=policy)
        return lease

    def fill(self) -> None:
        """So that a put waits, behind as many as there are items."""
        number = 0
        while True:
            try:
                self.queue.put_nowait(("more", number), 0)
            except asyncio.QueueFull:
                break
            number += 1
        for key in range(number):
            self.wait(self.queue.put(("waits", key), 0))

    def reserved(self) -> Call:
        call: Call = self.wait(self.queue.take("k", LONG, lease_timeout=LONG))
        self.queue.put_nowait("k", 0)
        return call

    def due(self) -> None:
        self.grant()
        finish(self.queue.extend(self.queue.take_nowait(("item", 1))[2], 1))
        self.queue.put_nowait("new", 0, delay=1)
        jump(1)

    def full(self) -> "Stock":
        self.fill()
        return self


Queue: TypeAlias = LeasedKeyQueue[Any, Any]
Operation: TypeAlias = tuple[Callable[[Stock], Any], Callable[[Queue, Any], Any]]


def nothing(stock: Stock) -> None:
    """Nothing has to be prepared."""


def put(key: str, policy: Any) -> Operation:
    return nothing, lambda queue, _: finish(queue.put((key, 5), 1, if_in_flight=policy, delay=LONG))


def release(policy: Any, front: bool, delay: float) -> Operation:
    return lambda stock: stock.grant(policy), lambda queue, lease: finish(
        queue.release(lease, requeue_front=front, delay=delay)
    )


def plain(name: str, *arguments: Any) -> Operation:
    return nothing, lambda queue, _: finish(getattr(queue, name)(*arguments))


def on_lease(name: str, *arguments: Any) -> Operation:
    return lambda stock: stock.lease, lambda queue, lease: finish(
        getattr(queue, name)(lease, *arguments)
    )


def begin(queue: Queue, call: Call) -> None:
    call.send(None)


def abandon(queue: Queue, call: Call) -> None:
    call.close()


def ack(queue: Queue, lease: Lease[Any]) -> None:
    queue.ack_nowait(lease)


OPERATIONS: dict[str, Operation] = {
    **{
        f"put {policy}, {key}": put(key, policy)
        for policy in ("update", "buffer", "defer")
        for key in ("new", "item", "late", "timed")
    },
    "put, handed over": (
        lambda stock: stock.wait(stock.queue.take("k", LONG)),
        lambda queue, _: queue.put_nowait("k", 0),
    ),
    "put, to wait": (lambda stock: stock.full().queue.put("k", 0, timeout=LONG), begin),
    "get": plain("get", 5),
    "stats": (nothing, lambda queue, _: queue.stats()),
    "get_nowait": (nothing, lambda queue, _: queue.get_nowait()),
    "take": plain("take", ("item", 5)),
    "take_nowait": (nothing, lambda queue, _: queue.take_nowait(("item", 5), lease_timeout=LONG)),
    "take, to wait": (lambda stock: stock.queue.take("taken", LONG), begin),
    "resume": (lambda stock: stock.reserved(), lambda queue, call: finish(call)),
    "cancel": (lambda stock: stock.wait(stock.queue.take("k", LONG)), abandon),
    "cancel, reserved": (lambda stock: stock.reserved(), abandon),
    "ack": on_lease("ack"),
    "ack, rebuilt": (lambda stock: Lease(stock.grant().token, "k"), ack),
    "ack, with a put that waits": (lambda stock: stock.full().lease, ack),
    "ack, deferred": (lambda stock: stock.grant("defer"), ack),
    "release, to the front": release(None, True, 0),
    "release, delayed": release(None, False, 5),
    "release, deferred": release("defer", False, 5),
    "release, buffered": release("buffer", False, 5),
    "extend": on_lease("extend", LONG),
    "extend, new": on_lease("extend", 7),
    "expiry and ripening": (lambda stock: stock.due(), lambda queue, _: finish(queue.start())),
    "discard": plain("discard", ("item", 5)),
    "discard, delayed": plain("discard", ("late", 5)),
    "join": (lambda stock: stock.queue.join(LONG), begin),
    **{name: on_lease(name) for name in ("refresh", "superseded", "deadline")},
    **{name: plain(name, ("item", 5)) for name in ("peek", "contains")},
    **{name: plain(name) for name in ("start", "qsize", "delayed_size", "inflight_size")},
}
# These say how much they cost.
MORE = {"available_keys", "available_items", "delayed_keys", "inflight_keys"}
MORE |= {"close", "shutdown", "drain", "get_many", "ack_many", "job"}


class Lines:
    """Counts the lines of the package that are executed meanwhile."""

    def __init__(self) -> None:
        self.count = 0

    def __enter__(self) -> "Lines":
        self.before = sys.gettrace()
        sys.settrace(self.trace)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(self.before)

    def trace(self, frame: FrameType, event: str, _: object) -> Any:
        if not frame.f_code.co_filename.startswith(PACKAGE_FOLDER):
            return None
        self.count += event == "line"
        return self.trace


def lines(size: int, name: str) -> int:
    stock = Stock(size)
    prepare, run = OPERATIONS[name]
    prepared = prepare(stock)
    with Lines() as executed:
        run(stock.queue, prepared)
    leave(stock)
    return executed.count


def peak(size: int, name: str) -> int:
    """How many bytes it needs at most, beyond those in use before it."""
    stock = Stock(size)
    prepare, run = OPERATIONS[name]
    prepared = prepare(stock)
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        run(stock.queue, prepared)
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
        leave(stock)


def leave(stock: Stock) -> None:
    for call in stock.calls:
        call.close()


@pytest.mark.req("COST-1")
@pytest.mark.parametrize("name", OPERATIONS)
async def test_an_operation_does_not_grow(name: str) -> None:
    """Ten times the items, leases and waiting calls, and not one line more."""
    assert lines(SMALL, name) == lines(LARGE, name)


@pytest.mark.req("COST-4")
@pytest.mark.usefixtures("untraced")
@pytest.mark.parametrize("name", OPERATIONS)
async def test_the_memory_of_an_operation_does_not_grow(name: str) -> None:
    """A dict that grows now and then is shared out; a copy of anything would be seen each time."""
    large = min(peak(size, name) for size in (LARGE, LARGE + 9))
    assert large <= min(peak(size, name) for size in (SMALL, SMALL + 2)) + 256


@pytest.mark.req("COST-3", "DELAY-9")
async def test_what_is_due_costs_the_same_for_each() -> None:
    counts = []
    for number in (10, 110, 1010):
        queue = LeasedKeyQueue[Any, Any]()
        for key in range(number):
            queue.put_nowait(key, 0)
            queue.take_nowait(key, lease_timeout=1 + key % 3)
            queue.put_nowait(-1 - key, 0, delay=1 + key % 5)
        jump(9)
        with Lines() as executed:
            finish(queue.start())
        counts.append(executed.count)
    few, some, many = counts
    assert abs((many - some) / 900 - (some - few) / 100) <= 0.02 * (many - some) / 900


@pytest.mark.req("COST-2")
async def test_durations_in_use_hardly_matter() -> None:
    """A heap is C code: what is left of O(log d) is nothing that could be counted here."""
    counts = []
    for number in (SMALL, LARGE):
        queue = LeasedKeyQueue[Any, Any]()
        for key in range(number):
            queue.put_nowait(key, 0, delay=1000 + key)
        queue.put_nowait("k", 0)
        lease = queue.get_nowait(lease_timeout=5)[2]
        with Lines() as executed:
            queue.extend_nowait(lease, 500)
            queue.extend_nowait(lease, 1e4)
            queue.put_nowait("new", 0, delay=3)
        counts.append(executed.count)
    assert counts[1] <= counts[0] + 10


@pytest.mark.req("COST-1", "WAIT-9")
async def test_a_wait_that_runs_out_does_not_grow() -> None:
    counts = []
    for size in (SMALL, LARGE):
        stock = Stock(size)
        task = asyncio.create_task(stock.queue.take("k", 1))
        await ticks(2)
        jump(1)
        with Lines() as executed:
            await ticks(3)
        assert isinstance(task.exception(), TimeoutError)
        counts.append(executed.count)
        leave(stock)
    assert counts[0] == counts[1]


def test_every_method_that_says_no_more_is_counted() -> None:
    methods = {name for name, _ in inspect.getmembers(LeasedKeyQueue, inspect.isfunction)}
    public = {name for name in methods if not name.startswith("_")}
    counted = {name.split(",")[0].split()[0] for name in OPERATIONS}
    counted |= {name.removesuffix("_nowait") for name in counted}
    assert {name for name in public if name.removesuffix("_nowait") not in counted} == MORE


def test_the_counter_counts() -> None:
    with Lines() as executed:
        LeasedKeyQueue[str, int]()
    assert executed.count >= 0
    assert sys.gettrace() is executed.before
