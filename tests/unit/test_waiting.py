"""Calls that wait: who is served, when, and with what."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest

from tests.subject import (
    InvalidLeaseError,
    Lease,
    LeasedKeyQueue,
    LeaseExpiredError,
    QueueClosedError,
)
from tests.unit.steps import (
    blocked,
    check,
    drain,
    keys,
    outcome,
    outcomes,
    put_leased,
    state,
)
from tests.virtual import TICK, jump, quiet, running, ticks

Queue = LeasedKeyQueue[str, int]

# What prepares a queue, and the operation that then makes a copy of "k" available, or a slot.
WAYS: dict[str, tuple[Callable[[Queue], Awaitable[Any]], Callable[[Queue, Any], Awaitable[object]]]]


async def nothing(queue: Queue) -> None:
    """Nothing has to be prepared."""


async def leased(queue: Queue) -> Lease[str]:
    return await put_leased(queue, "k", 1, lease_timeout=5)


async def deferred(queue: Queue) -> Lease[str]:
    held = await leased(queue)
    await queue.put("k", 1, if_in_flight="defer")
    return held


async def reserved(queue: Queue) -> "asyncio.Task[Any]":
    return await blocked(queue.get())


async def put_and_cancel(queue: Queue, other: "asyncio.Task[Any]") -> None:
    await queue.put("k", 1)
    other.cancel()
    await asyncio.wait([other])


async def look_late(queue: Queue, _: object) -> None:
    jump(5)
    await queue.qsize()


WAYS = {
    "put": (nothing, lambda queue, _: queue.put("k", 1)),
    "put buffer": (leased, lambda queue, _: queue.put("k", 1, if_in_flight="buffer")),
    "ripening": (nothing, lambda queue, _: queue.put("k", 1, delay=3)),
    "release": (leased, lambda queue, held: queue.release(held)),
    "release to the front": (leased, lambda queue, held: queue.release(held, requeue_front=True)),
    "release with delay": (leased, lambda queue, held: queue.release(held, delay=2)),
    "release, deferred": (deferred, lambda queue, held: queue.release(held, delay=2)),
    "ack, deferred": (deferred, lambda queue, held: queue.ack(held)),
    "expiry, found by the timer": (leased, lambda queue, _: asyncio.sleep(5)),
    "expiry, found by an operation": (leased, look_late),
    "cancellation of a reservation": (reserved, put_and_cancel),
}
WAITS: dict[str, Callable[[Queue], Coroutine[Any, Any, Any]]] = {
    "get": lambda queue: queue.get(),
    "take": lambda queue: queue.take("k"),
    "take other": lambda queue: queue.take("other"),
}


@pytest.mark.req("WAIT-1", "WAIT-2", "WAIT-3")
@pytest.mark.parametrize(("prepare", "operate"), WAYS.values(), ids=WAYS)
async def test_whatever_makes_a_copy_available_serves_the_longest_waiting_of_those_that_want_it(
    prepare: Any, operate: Any
) -> None:
    for waits in itertools.product(WAITS, repeat=3):
        queue = Queue()
        prepared = await prepare(queue)
        tasks = [await blocked(WAITS[wait](queue)) for wait in waits]
        await operate(queue, prepared)
        await asyncio.sleep(4)  # so that what is delayed has come, and no lease has run out
        served = [index for index, task in enumerate(tasks) if task.done()]
        wanting = [index for index, wait in enumerate(waits) if wait != "take other"]
        assert served == wanting[:1], waits
        assert await queue.qsize() == (0 if wanting else 1)
        if wanting:
            assert tasks[wanting[0]].result()[:2] == ("k", 1)
        check(queue)
        await queue.close()
        await outcomes(tasks)
        check(queue)


@pytest.mark.req("WAIT-2")
async def test_calls_are_served_in_the_order_of_their_arrival() -> None:
    queue = Queue()
    tasks = [await blocked(queue.get()) for _ in range(5)]
    for number in range(5):
        await queue.put(str(number), number)
    assert [(await task)[1] for task in tasks] == [0, 1, 2, 3, 4]


@pytest.mark.req("WAIT-3")
async def test_nobody_barges_in_between_the_offer_and_the_wake_up() -> None:
    queue = Queue()
    waiting = await blocked(queue.get())
    await queue.put("k", 1)  # reserved by now, though nobody has woken yet
    with pytest.raises(asyncio.TimeoutError):
        await queue.get(0)
    with pytest.raises(asyncio.TimeoutError):
        await queue.take("k", 0)
    assert (await waiting)[0] == "k"


@pytest.mark.req("WAIT-3")
async def test_nobody_is_woken_in_vain() -> None:
    queue = Queue()
    woken: list[str] = []

    class Observed:
        """An awaitable that notes each time its task is stepped."""

        def __init__(self, name: str, call: Awaitable[object]) -> None:
            self.name, self.steps = name, call.__await__()

        def __await__(self):  # type: ignore[no-untyped-def]
            try:
                yielded = next(self.steps)
                while True:
                    yield yielded
                    woken.append(self.name)
                    yielded = self.steps.send(None)
            except StopIteration as stop:
                return stop.value

    async def watch(name: str, call: Awaitable[object]) -> object:
        return await Observed(name, call)

    calls = {"get": queue.get(), "take k": queue.take("k"), "take z": queue.take("z")}
    tasks = {name: await blocked(watch(name, call)) for name, call in calls.items()}
    await queue.put("a", 1)
    await queue.put("k", 1)
    await queue.put("b", 1)
    await quiet()
    assert woken == ["get", "take k"]
    assert not tasks["take z"].done()
    await queue.put("z", 1)
    await tasks["take z"]
    assert woken == ["get", "take k", "take z"]


@pytest.mark.req("WAIT-4", "KEY-2")
async def test_a_reserved_copy_counts_as_in_flight() -> None:
    queue = Queue()
    waiting = await blocked(queue.get())
    await queue.put("k", 1)
    expected = {"available": {}, "in flight": {"k"}, "sizes": (0, 1)}
    assert await state(queue) == expected
    await waiting
    assert await state(queue) == expected


@pytest.mark.req("WAIT-4", "WAIT-6")
@pytest.mark.parametrize("policy", ["update", "reject", "buffer", "defer"])
async def test_put_treats_a_reserved_key_as_one_in_flight(policy: str) -> None:
    queue = Queue()
    waiting = await blocked(queue.get())
    await queue.put("k", 1)
    if policy == "reject":
        with pytest.raises(Exception, match="in flight"):
            await queue.put("k", 2, if_in_flight="reject")
    else:
        await queue.put("k", 2, if_in_flight=policy)  # type: ignore[arg-type]
    _, value, granted = await waiting
    assert value == (2 if policy == "update" else 1)
    assert await queue.qsize() == (1 if policy == "buffer" else 0)
    await queue.ack(granted)
    assert await drain(queue) == ([("k", 2)] if policy in ("buffer", "defer") else [])


@pytest.mark.req("WAIT-5")
@pytest.mark.parametrize(("default", "own"), [(10, None), (None, 10)])
@pytest.mark.parametrize("wait", ["get", "take"])
async def test_the_clock_of_a_lease_starts_when_the_call_resumes(
    wait: str, default: float | None, own: float | None
) -> None:
    """kombu#337, celery#2481."""
    queue = LeasedKeyQueue[str, int](default_lease_timeout=default)
    waiting = await blocked(
        queue.get(lease_timeout=own) if wait == "get" else queue.take("k", lease_timeout=own)
    )
    await queue.put("k", 1)
    jump(25)  # the loop is blocked for longer than the lease is to last
    granted = (await waiting)[2]
    await asyncio.sleep(10 - TICK)
    await queue.extend(granted, own)
    await asyncio.sleep(10)
    with pytest.raises(LeaseExpiredError):
        await queue.ack(granted)


@pytest.mark.req("WAIT-6")
async def test_a_call_gets_the_value_as_it_stands_when_it_resumes() -> None:
    queue = Queue()
    waiting = await blocked(queue.get())
    for value in range(5):
        await queue.put("k", value)
    assert (await waiting)[1] == 4


@pytest.mark.req("WAIT-9", "WAIT-13")
@pytest.mark.parametrize("wait", ["get", "take"])
async def test_a_wait_ends_after_its_timeout(wait: str) -> None:
    queue = Queue()
    started = running().time()
    with pytest.raises(asyncio.TimeoutError, match=r"within 5.0 s"):
        await (queue.get(5) if wait == "get" else queue.take("k", 5))
    assert running().time() == started + 5
    assert running().timers() == []
    check(queue)


@pytest.mark.req("WAIT-9")
async def test_waits_end_each_at_its_own_time() -> None:
    queue = Queue()
    ended: list[float] = []

    async def wait(timeout: float) -> None:
        with pytest.raises(asyncio.TimeoutError):
            await queue.get(timeout)
        ended.append(running().time())

    timeouts = [3, 1, 2, 1, 5, 2.5, 4, 0.5]
    await asyncio.gather(*map(wait, timeouts))
    assert ended == sorted(timeouts)
    check(queue)


@pytest.mark.req("WAIT-9")
@pytest.mark.parametrize("wait", ["get", "take"])
async def test_other_traffic_neither_prolongs_a_wait_nor_shortens_it(wait: str) -> None:
    """0.0.7: with a timeout of 0.2 still waiting at 5 s, for each wake-up began it anew."""
    queue = Queue()
    older = [await blocked(queue.get()) for _ in range(20)]  # served first
    started = running().time()
    waiting = asyncio.create_task(queue.get(2) if wait == "get" else queue.take("k", 2))
    for number in range(20):
        await asyncio.sleep(0.09)
        await queue.put(str(number), number)
        await queue.ack((await older[number])[2])
        cancelled = await blocked(queue.get(1))
        cancelled.cancel()
    with pytest.raises(asyncio.TimeoutError):
        await waiting
    assert running().time() == started + 2
    assert running().timers() == []


@pytest.mark.req("WAIT-10")
@pytest.mark.parametrize("wait", ["get", "take"])
async def test_without_timeout_a_call_waits_for_ever(wait: str) -> None:
    queue = Queue()
    waiting = await blocked(queue.get() if wait == "get" else queue.take("k"))
    assert running().timers() == []
    jump(1e9)
    await quiet()
    await queue.put("k", 1)
    assert (await waiting)[0] == "k"


@pytest.mark.req("WAIT-11", "WAIT-13", "OP-2")
@pytest.mark.parametrize("timeout", [0, -1, -1e9, 0.0, float("-inf")])
async def test_a_timeout_of_zero_or_less_takes_what_is_there_or_raises_at_once(
    timeout: float,
) -> None:
    queue = Queue()
    for call in (queue.get(timeout), queue.take("k", timeout)):
        with pytest.raises(asyncio.TimeoutError):
            call.send(None)  # to suspend would return
    await queue.put("k", 1)
    for call in (queue.get(timeout), queue.take("k", timeout)):
        with pytest.raises(StopIteration) as stop:
            call.send(None)
        key, value, granted = stop.value.value
        assert (key, value) == ("k", 1)
        await queue.release(granted)
    assert await keys(queue) == ["k"]


@pytest.mark.req("OP-1", "OP-2")
async def test_nothing_suspends_that_need_not_wait() -> None:
    queue = Queue()
    leases = [await put_leased(queue, key, 1) for key in "abc"]
    await queue.put("k", 1)
    for coroutine in (
        queue.start(),
        queue.put("x", 1),
        queue.get(),
        queue.take("x"),
        queue.refresh(leases[0]),
        queue.superseded(leases[0]),
        queue.deadline(leases[0]),
        queue.ack(leases[0]),
        queue.release(leases[1], delay=1),
        queue.extend(leases[2]),
        queue.discard("b"),
        queue.peek("k"),
        queue.contains("k"),
        queue.available_keys(),
        queue.available_items(),
        queue.delayed_keys(),
        queue.inflight_keys(),
        queue.qsize(),
        queue.delayed_size(),
        queue.inflight_size(),
        queue.shutdown(),
        queue.drain(0),
        queue.close(),
    ):
        with pytest.raises(StopIteration):
            coroutine.send(None)


@pytest.mark.req("WAIT-12")
@pytest.mark.parametrize("blocked_for", [1, 100])
async def test_a_copy_reserved_when_the_timeout_fires_is_returned(blocked_for: float) -> None:
    queue = Queue()
    waiting = await blocked(queue.get(1))
    await queue.put("k", 1)
    jump(blocked_for)
    assert (await waiting)[0] == "k"


@pytest.mark.req("WAIT-7", "WAIT-13")
async def test_a_call_that_timed_out_but_has_not_resumed_is_offered_nothing() -> None:
    queue = Queue()
    waiting = await blocked(queue.take("k", 5))
    running().call_at(running().time() + 5, lambda: None)
    await asyncio.sleep(5)  # wakes in the very tick in which the timeout fires
    await queue.put("k", 1)
    assert isinstance(await outcome(waiting), TimeoutError)
    assert await keys(queue) == ["k"]


@pytest.mark.req("WAIT-7", "KEY-1")
async def test_the_key_of_a_take_that_failed_is_not_known_any_more() -> None:
    """The key that is put later is the object that comes out, not the one of the take."""
    queue = LeasedKeyQueue[float, int]()
    with pytest.raises(asyncio.TimeoutError):
        await queue.take(1, 1)
    await queue.put(1.0, 1)
    assert type((await queue.get())[0]) is float


# -- expiry and timers -----------------------------------------------------------


@pytest.mark.req("EXP-5", "EXP-1")
@pytest.mark.parametrize("wait", ["get", "take"])
@pytest.mark.parametrize("timeout", [TICK, 0.001, 0.25, 1 / 3, 1, 1e4])
async def test_a_waiting_call_is_served_at_the_deadline_on_time(wait: str, timeout: float) -> None:
    queue = Queue()
    await put_leased(queue, "k", 1, lease_timeout=timeout)
    started = running().time()
    await (queue.get() if wait == "get" else queue.take("k"))
    assert timeout <= running().time() - started + 1e-12
    assert running().time() - started < timeout + 2 * TICK


@pytest.mark.req("WAIT-9", "EXP-5")
@pytest.mark.parametrize("start", [0.1, 0.7])
@pytest.mark.parametrize("timeout", [0.2, 1 / 3, 2 / 3, 0.0000015])
async def test_a_deadline_between_two_ticks_of_the_clock_is_met(
    start: float, timeout: float
) -> None:
    """The loop fires such a timer early, for it rounds to its clock's resolution."""
    queue = Queue()
    await asyncio.sleep(start)
    with pytest.raises(asyncio.TimeoutError):
        await queue.get(timeout)
    assert running().time() - start - timeout < 2 * TICK
    await put_leased(queue, "k", 1, lease_timeout=timeout)
    started = running().time()
    await queue.get()
    assert running().time() - started - timeout < 2 * TICK


@pytest.mark.req("EXP-5")
async def test_a_lease_granted_or_extended_during_a_wait_is_served_on_time() -> None:
    queue = Queue()
    leases = {key: await put_leased(queue, key, 1) for key in "ab"}
    waiting = await blocked(queue.take("a"))
    third = await blocked(queue.take("b"))
    await put_leased(queue, "c", 1, lease_timeout=2)
    assert (await queue.get())[0] == "c"
    assert running().time() == 2
    await queue.extend(leases["a"], 8)
    await queue.extend(leases["b"], 4)
    await queue.extend(leases["a"], 6)
    await third
    assert running().time() == 2 + 4
    await waiting
    assert running().time() == 2 + 6


@pytest.mark.req("EXP-5")
async def test_there_is_never_more_than_one_timer() -> None:
    queue = Queue()
    tasks = [await blocked(queue.take(str(number), 100 + number)) for number in range(50)]
    tasks += [await blocked(queue.get(90 - number)) for number in range(50)]
    assert len(running().timers()) == 1
    for number in range(100, 150):
        await queue.put(str(number), 0)
    for task in tasks[50:]:
        await queue.extend((await task)[2], 1 + int((await task)[0]))
    assert len(running().timers()) == 1
    await queue.close()
    assert running().timers() == []
    await outcomes(tasks)


@pytest.mark.req("EXP-6")
async def test_without_timed_leases_and_timed_waits_no_timer_is_armed() -> None:
    queue = Queue()
    leased = await put_leased(queue, "a", 1)
    waiting = await blocked(queue.get())
    taking = await blocked(queue.take("b"))
    await queue.release(leased)
    await queue.put("b", 1)
    assert running().timers() == []
    assert [(await task)[0] for task in (waiting, taking)] == ["a", "b"]


@pytest.mark.req("EXP-5", "EXP-6")
async def test_a_timer_goes_with_the_last_call_or_lease_that_needs_it() -> None:
    queue = Queue()
    leased = await put_leased(queue, "a", 1, lease_timeout=100)
    waiting = await blocked(queue.get(50))
    assert running().timers() == [50]
    waiting.cancel()
    await asyncio.wait([waiting])
    assert running().timers() == []
    waiting = await blocked(queue.get())
    assert running().timers() == [100]
    await queue.ack(leased)
    assert running().timers() == []
    await queue.put("b", 1)
    await waiting


@pytest.mark.req("EXP-7", "CLOSE-2")
async def test_close_leaves_no_timer_no_task_and_no_future_behind() -> None:
    tasks_before = asyncio.all_tasks()
    queue = LeasedKeyQueue[str, int](default_lease_timeout=5)
    await put_leased(queue, "a", 1)
    waiting = [await blocked(queue.get(9)), await blocked(queue.take("z"))]
    await queue.close()
    assert running().timers() == []
    for task in waiting:
        assert isinstance(await outcome(task), QueueClosedError)
    assert asyncio.all_tasks() == tasks_before
    check(queue)


# -- close ---------------------------------------------------------------------


@pytest.mark.req("CLOSE-2", "WAIT-8")
@pytest.mark.parametrize("wait", ["get", "take"])
@pytest.mark.parametrize("after", range(4))
async def test_close_ends_a_call_at_any_moment_of_its_life(wait: str, after: int) -> None:
    """Put in the tick before, so the call may wait, have a copy reserved, or have resumed."""
    queue = Queue()
    waiting = await blocked(queue.get() if wait == "get" else queue.take("k"))
    await queue.put("k", 1)
    await ticks(after)
    resumed = waiting.done()
    await queue.close()
    result = await outcome(waiting)
    if resumed:
        assert isinstance(result, tuple)
        assert isinstance(result[2], Lease)
        with pytest.raises(QueueClosedError):
            await queue.ack(result[2])
    else:
        assert isinstance(result, QueueClosedError)
    assert await state(queue) == {"available": {"k": 1}, "in flight": set(), "sizes": (1, 0)}


@pytest.mark.req("CLOSE-2")
async def test_a_call_that_catches_the_close_finds_the_queue_closed() -> None:
    queue = Queue()

    async def stubborn() -> int:
        refusals = 0
        for _ in range(3):
            try:
                await queue.get()
            except QueueClosedError:
                refusals += 1
        return refusals

    waiting = await blocked(stubborn())
    await queue.close()
    assert await waiting == 3


@pytest.mark.req("OP-3", "WAIT-5")
async def test_the_return_of_a_reserved_copy_ends_the_leases_that_are_due_first() -> None:
    """Seen by the call that resumes: its lease is granted before, and is not the one due."""
    queue = Queue()
    due = await put_leased(queue, "due", 1, lease_timeout=5)
    waiting = await blocked(queue.get())
    await queue.put("k", 1)
    jump(5)
    assert (await waiting)[0] == "k"
    assert running().time() == 5
    with pytest.raises(InvalidLeaseError):
        await queue.ack(due)
    assert await keys(queue) == ["due"]
