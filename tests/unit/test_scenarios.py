"""Bugs that happened to others, each as a test here.

The reference in a docstring is the issue in which it was reported; where the project is
not named, it is CPython's (bpo-, gh-). "0.0.7" is the first public release of this package.
A bug of which a rule's own test is a variant is named there; here are the others.
"""

import asyncio
import gc
import itertools
import sys
import weakref
from collections.abc import Coroutine
from typing import Any

import pytest

from tests.subject import (
    InvalidLeaseError,
    LeasedKeyQueue,
)
from tests.unit.steps import (
    blocked,
    check,
    drain,
    keys,
    lease,
    outcome,
    put_leased,
    state,
)
from tests.virtual import TICK, VirtualLoop, jump, quiet, run, running, ticks

Queue = LeasedKeyQueue[str, int]
EMPTY = {"available": {}, "in flight": set(), "sizes": (0, 0)}

# -- cancellation and waiting ----------------------------------------------------


@pytest.mark.req("WAIT-8", "WAIT-12")
@pytest.mark.usefixtures("untraced")
async def test_thousands_of_races_of_put_against_timeout_conserve_the_count() -> None:
    """asyncio#201, asyncio#343."""
    queue = LeasedKeyQueue[int, int]()
    received: list[int] = []
    races = 3_000

    async def consume(timeout: float) -> None:
        try:
            key, _, granted = await queue.get(timeout)
        except TimeoutError:
            return
        received.append(key)
        await queue.ack(granted)

    async def race(number: int) -> None:
        await asyncio.sleep(number)
        consumer = asyncio.create_task(consume(0.5))
        await asyncio.sleep(0.5 + (number % 5 - 2) * TICK)
        await ticks(number % 7)
        await queue.put(number, number)
        await consumer

    await asyncio.gather(*map(race, range(races)))
    timely = len(received)
    assert 0 < timely < races
    left = [key for key, _ in await drain(queue)]
    assert sorted(received + left) == list(range(races))


@pytest.mark.req("IN-11", "WAIT-8", "WAIT-12")
@pytest.mark.parametrize("order", list(itertools.permutations(["timeout", "put", "cancel"])))
async def test_timeout_put_and_cancel_in_one_tick_upset_nothing(order: tuple[str, ...]) -> None:
    """asyncio#255, websockets#634: an InvalidStateError would reach the loop, and fail the test."""
    queue = Queue()
    waiting = await blocked(queue.get(5))
    for step in order:
        match step:
            case "timeout":
                jump(5)
            case "put":
                await queue.put("k", 1)
            case "cancel":
                waiting.cancel()
        check(queue)
    result = await outcome(waiting)
    await quiet()
    assert isinstance(result, asyncio.CancelledError)
    assert await keys(queue) == ["k"]


@pytest.mark.req("EXP-5")
async def test_a_long_wait_does_not_hide_a_lease_that_runs_out_meanwhile() -> None:
    """beanstalkd#174."""
    queue = Queue()
    await put_leased(queue, "k", 1, lease_timeout=0.1)
    assert (await queue.get(timeout=5))[0] == "k"
    assert running().time() == 0.1


@pytest.mark.req("WAIT-2", "WAIT-3")
async def test_a_loop_of_put_and_get_cannot_starve_an_older_waiter() -> None:
    """gh-93222, trio#54."""
    queue = Queue()
    waiting = await blocked(queue.get())

    async def greedy() -> None:
        for number in range(100):
            await queue.put(str(number), number)
            try:
                _, _, granted = await queue.get(0)
            except TimeoutError:
                continue
            await queue.ack(granted)

    await greedy()
    assert (await waiting)[0] == "0"


@pytest.mark.req("WAIT-7", "COST-4")
@pytest.mark.usefixtures("untraced")
async def test_cancelled_takes_leave_the_map_of_waiters_empty() -> None:
    """trio#548, aiohttp#9670: a key in the map for each, for ever."""
    queue = LeasedKeyQueue[int, int]()

    def cancel_many(first: int, number: int) -> int:
        for key in range(first, first + number):
            call = queue.take(key)
            call.send(None)
            call.close()
        return sys.getallocatedblocks()

    await queue.start()
    cancel_many(0, 1000)
    before = cancel_many(1000, 1000)
    assert cancel_many(2000, 30_000) - before < 500
    check(queue)
    assert (await queue.qsize(), await queue.inflight_size()) == (0, 0)


# -- leases and time ---------------------------------------------------------------


@pytest.mark.req("LEASE-8", "LEASE-7")
@pytest.mark.parametrize("loss", ["expiry", "release"])
async def test_a_stale_ack_spares_the_new_lease_of_the_key(loss: str) -> None:
    """arq#485, beanstalkd#377."""
    queue = Queue()
    stale = await put_leased(queue, "k", 1, lease_timeout=5)
    if loss == "expiry":
        jump(5)
    else:
        await queue.release(stale)
    granted = await lease(queue)
    for use in (queue.ack, queue.release, queue.extend):
        with pytest.raises(InvalidLeaseError):
            await use(stale)
    assert await state(queue) == {"available": {}, "in flight": {"k"}, "sizes": (0, 1)}
    await queue.ack(granted)
    assert await state(queue) == EMPTY


@pytest.mark.req("EXP-2", "EXP-3")
async def test_leases_that_expire_together_come_back_in_order() -> None:
    """mongodb-queue#4; 0.0.7 gave c, b, a."""
    queue = LeasedKeyQueue[str, int](default_lease_timeout=5)
    for key in "abc":
        await put_leased(queue, key, 1)
    jump(5)
    assert await keys(queue) == ["a", "b", "c"]


@pytest.mark.req("CLOSE-1")
async def test_leases_that_end_at_close_come_back_in_order() -> None:
    """0.0.7 gave c, b, a."""
    queue = Queue()
    for key in "abc":
        await put_leased(queue, key, 1)
    await queue.close()
    assert await queue.available_items() == [("a", 1), ("b", 1), ("c", 1)]


@pytest.mark.req("EXP-5", "COST-1")
@pytest.mark.usefixtures("untraced")
async def test_one_timed_lease_among_many_is_on_time() -> None:
    """river#1318."""
    queue = LeasedKeyQueue[int, int]()
    for key in range(30_000):
        queue.put_nowait(key, key)
        queue.get_nowait(lease_timeout=1 if key == 15_000 else None)
    assert (await queue.get())[0] == 15_000
    assert running().time() == 1


@pytest.mark.req("EXP-1")
async def test_an_expiry_goes_on_when_the_code_of_a_key_fails() -> None:
    """faktory#94: one failing expiry does not stop the rest."""

    class Key(str):
        fails = False

        def __hash__(self) -> int:
            if self.fails:
                raise ZeroDivisionError
            return super().__hash__()

    queue = LeasedKeyQueue[str, int](default_lease_timeout=1)
    all_keys = [Key(key) for key in "abc"]
    for key in all_keys:
        await queue.put(key, 1)
        await queue.get()
    all_keys[1].fails = True
    jump(1)
    assert await queue.qsize() == 3
    assert await keys(queue) == ["a", "b", "c"]


@pytest.mark.req("EXP-5", "EXP-6")
@pytest.mark.usefixtures("untraced")
async def test_timed_leases_leave_no_timers_behind() -> None:
    """A `call_later` for each lease keeps 100,000 dead handles, and stalls when they are purged."""
    queue = LeasedKeyQueue[int, int](default_lease_timeout=60)
    waiting = await blocked(queue.take(-1))
    for key in range(10_000):
        await queue.put(key, key)
        await queue.ack((await queue.get())[2])
        await ticks(1)
    assert len(running()._scheduled) < 200
    await queue.put(-1, 0)
    await waiting


@pytest.mark.req("EXP-5")
async def test_a_timer_that_is_armed_anew_leaves_no_orphan() -> None:
    """hertzbeat#4201."""
    queue = Queue()
    leases = [await put_leased(queue, key, 1, lease_timeout=50) for key in "ab"]
    waiting = await blocked(queue.get())
    for timeout in (40, 30, 20, 30, 40, 10):
        for granted in leases:
            await queue.extend(granted, timeout)
        assert len(running().timers()) == 1
    await waiting
    assert running().time() == 10
    assert running().timers() == []


@pytest.mark.req("EXP-5", "EXP-6")
async def test_an_idle_queue_lets_the_loop_sleep() -> None:
    """k8s#126719. A virtual loop in which nothing is to happen raises: there is no timer."""

    async def main() -> None:
        queue = LeasedKeyQueue[str, int](default_lease_timeout=5)
        await put_leased(queue, "k", 1)
        await running().create_future()

    with pytest.raises(Exception, match="no timeout and no ready events"):
        await asyncio.to_thread(run, main())


# -- memory and objects --------------------------------------------------------------


@pytest.mark.req("EXP-8", "IN-11")
async def test_a_queue_dropped_with_a_timer_armed_and_a_task_waiting_is_freed_silently() -> None:
    """asyncio says that a pending task was destroyed; we have nothing to add."""
    queue = Queue(default_lease_timeout=5)
    await put_leased(queue, "k", 1)
    watched = weakref.ref(queue)
    task = await blocked(queue.get(9))
    assert running().timers() == [5]
    del task, queue
    gc.collect()
    assert watched() is None
    complaints, running().complaints = running().complaints, []
    assert [complaint["message"] for complaint in complaints] == [
        "Task was destroyed but it is pending!"
    ]
    del complaints
    await asyncio.sleep(10)


@pytest.mark.req("EXP-8", "IN-11")
@pytest.mark.parametrize("reserved", [False, True])
def test_a_queue_dropped_with_its_loop_is_freed_silently(reserved: bool) -> None:
    """The coroutine that waits is closed after the loop was, when nobody can be woken."""

    async def start(queue: Queue) -> "asyncio.Task[Any]":
        await put_leased(queue, "k", 1)
        task = await blocked(queue.get(9))
        if reserved:  # in the loop's very last round, so that the call never resumes
            running().call_soon(step, queue.put("other", 1))
        return task

    def step(call: Coroutine[Any, Any, None]) -> None:
        with pytest.raises(StopIteration):
            call.send(None)

    queue = Queue(default_lease_timeout=5)
    loop = VirtualLoop()
    task = loop.run_until_complete(start(queue))
    loop.close()
    assert not task.done()
    watched = weakref.ref(queue)
    loop.complaints = Deaf()
    del task, loop, queue
    gc.collect()
    assert watched() is None


class Deaf(list[Any]):
    """For complaints that come from asyncio, about how the test treats its tasks."""

    def append(self, complaint: Any) -> None:
        assert complaint["message"] == "Task was destroyed but it is pending!"


# -- many at once, as in the tests of 0.0.7 ------------------------------------------


async def test_many_producers_and_consumers_lose_and_repeat_nothing() -> None:
    queue = Queue()
    consumed: list[int] = []

    async def produce(first: int) -> None:
        for number in range(first, first + 30):
            await queue.put(f"task {number}", number)
            await asyncio.sleep(0.001)

    async def consume() -> None:
        while True:
            try:
                _, value, lease = await queue.get(timeout=0.2)
            except TimeoutError:
                return
            await asyncio.sleep(0.001)
            consumed.append(value)
            await queue.ack(lease)

    producers = [produce(first) for first in (0, 100, 200)]
    await asyncio.gather(*producers, *(consume() for _ in range(5)))
    assert sorted(consumed) == [*range(30), *range(100, 130), *range(200, 230)]
    assert await queue.inflight_size() == 0
