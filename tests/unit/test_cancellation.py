"""A call that is cancelled: at every tick around every operation, once and twice.

A *victim* and an *heir* wait for the key "k". An operation makes the key available,
or closes the queue, while the victim is cancelled, some ticks before or after. Whatever
the offsets: nothing is lost, nothing is idle while somebody wants it, and nothing of the
victim stays behind.
"""

import asyncio
import itertools
import sys
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeAlias

import pytest

from tests.subject import Lease, LeasedKeyQueue, QueueClosedError
from tests.unit.steps import blocked, check, drain, keys, outcome, outcomes, put_leased, state
from tests.virtual import jump, quiet, running, ticks

Queue = LeasedKeyQueue[str, int]
Got: TypeAlias = tuple[str, int, Lease[str]]
Act: TypeAlias = Callable[[], Awaitable[object]]

# -- what happens to the queue ---------------------------------------------------


async def put(queue: Queue) -> Act:
    return lambda: queue.put("k", 1)


async def release(queue: Queue) -> Act:
    leased = await put_leased(queue, "k", 1)
    return lambda: queue.release(leased)


async def release_to_front(queue: Queue) -> Act:
    leased = await put_leased(queue, "k", 1)
    return lambda: queue.release(leased, requeue_front=True)


async def ack_with_deferred(queue: Queue) -> Act:
    leased = await put_leased(queue, "k", 0)
    await queue.put("k", 1, if_in_flight="defer")
    return lambda: queue.ack(leased)


async def expiry(queue: Queue) -> Act:
    await put_leased(queue, "k", 1, lease_timeout=5)

    async def act() -> None:
        jump(5)

    return act


async def extend(queue: Queue) -> Act:
    """The lease is due later: an operation that serves nobody."""
    leased = await put_leased(queue, "k", 1, lease_timeout=5)

    async def act() -> None:
        await queue.extend(leased, 1)
        jump(1)

    return act


async def close(queue: Queue) -> Act:
    await put_leased(queue, "k", 1)
    return queue.close


async def put_and_close(queue: Queue) -> Act:
    async def act() -> None:
        await queue.put("k", 1)
        await queue.close()

    return act


OPERATIONS = [
    put,
    release,
    release_to_front,
    ack_with_deferred,
    expiry,
    extend,
    close,
    put_and_close,
]

# -- how the victim waits -----------------------------------------------------------


async def in_wait_for(queue: Queue) -> Got:
    return await asyncio.wait_for(queue.get(), 900)


async def in_timeout(queue: Queue) -> Got:
    async with asyncio.timeout(900):
        return await queue.take("k")


VICTIMS: dict[str, Callable[[Queue], Coroutine[Any, Any, Got]]] = {
    "get": lambda queue: queue.get(),
    "take with timeout": lambda queue: queue.take("k", 900, lease_timeout=900),
    "get in wait_for": in_wait_for,
    "take in timeout": in_timeout,
}

EAGER = [False] if sys.version_info < (3, 12) else [False, True]
STARTED, OPERATED, LAST = 1, 4, 12  # the ticks


async def play(
    operation: Callable[[Queue], Awaitable[Act]],
    victim_waits: Callable[[Queue], Coroutine[Any, Any, Got]],
    heir_waits: str,
    cancelled: int,
    again: int | None,
    operation_first: bool,
) -> None:
    """One schedule. In one tick the operation comes first, or the cancellations do."""
    queue = Queue()
    act = await operation(queue)
    tasks: dict[str, asyncio.Task[Got]] = {}

    async def start() -> None:
        tasks["victim"] = asyncio.create_task(victim_waits(queue))
        heir = queue.get() if heir_waits == "get" else queue.take("k")
        tasks["heir"] = asyncio.create_task(heir)

    async def cancel() -> None:
        tasks["victim"].cancel()

    shift = 0.25 if operation_first else -0.25
    script: list[tuple[float, Act]] = [(STARTED - 0.5, start), (OPERATED, act)]
    script += [(tick + shift, cancel) for tick in (cancelled, again) if tick is not None]
    for tick in range(LAST):
        for when, step in sorted(script, key=lambda entry: entry[0]):
            if tick <= when + 0.5 < tick + 1:
                await step()
                check(queue)
        await ticks(1)
    await quiet()
    check(queue)

    victim, heir = tasks["victim"], tasks["heir"]
    assert victim.done(), "a cancelled call has ended, one way or another"
    got = await outcome(victim)
    closed = operation in (close, put_and_close)
    if isinstance(got, asyncio.CancelledError):
        if closed:
            inherited = await outcome(heir)
            if isinstance(inherited, tuple):  # it had resumed before the close
                assert operation is put_and_close, inherited
            else:
                assert isinstance(inherited, QueueClosedError)
        else:
            assert heir.done(), "the copy is idle, or lost"
            key, value, lease = heir.result()
            assert (key, value) == ("k", 1)
            await queue.ack(lease)
    elif closed:
        assert not isinstance(got, asyncio.TimeoutError)
        await outcome(heir)
    else:
        assert isinstance(got, tuple), got
        assert got[:2] == ("k", 1)
        assert not heir.done(), "one copy, two consumers"
        await queue.ack(got[2])
        heir.cancel()
        await outcome(heir)

    left = {"k": 1} if closed else {}
    assert await state(queue) == {"available": left, "in flight": set(), "sizes": (len(left), 0)}
    if not closed:
        with pytest.raises(asyncio.TimeoutError):
            await queue.get(0)
    assert running().timers() == []
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.mark.req("WAIT-7", "WAIT-8", "WAIT-1", "IN-11")
@pytest.mark.parametrize("eager", EAGER)
@pytest.mark.parametrize("victim", VICTIMS.values(), ids=VICTIMS)
@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.__name__)
async def test_cancelled_at_every_tick_around_every_operation(
    operation: Callable[[Queue], Awaitable[Act]],
    victim: Callable[[Queue], Coroutine[Any, Any, Got]],
    eager: bool,
) -> None:
    """Once, and twice up to two ticks later. bpo-23812, gh-86296, gh-108042, tornado#2826."""
    if eager:
        running().set_task_factory(getattr(asyncio, "eager_task_factory"))  # noqa: B009 (3.12)
    for cancelled, gap, operation_first, heir in itertools.product(
        range(STARTED, OPERATED + 5), (None, 0, 1, 2), (False, True), ("get", "take")
    ):
        schedule = {
            "operation": operation.__name__,
            "heir": heir,
            "cancelled": cancelled,
            "gap": gap,
            "operation_first": operation_first,
        }
        again = None if gap is None else cancelled + gap
        try:
            await play(operation, victim, heir, cancelled, again, operation_first)
        except BaseException as failure:
            failure.add_note(f"replay: {schedule}")
            raise


# -- what is cancelled while nothing waits -------------------------------------------

WITHOUT_WAITING: dict[str, Callable[[Queue, dict[str, Lease[str]]], Coroutine[Any, Any, Any]]] = {
    "start": lambda queue, leases: queue.start(),
    "put": lambda queue, leases: queue.put("new", 1),
    "get": lambda queue, leases: queue.get(),
    "take": lambda queue, leases: queue.take("available"),
    "ack": lambda queue, leases: queue.ack(leases["a"]),
    "release": lambda queue, leases: queue.release(leases["a"]),
    "extend": lambda queue, leases: queue.extend(leases["a"], 5),
    "peek": lambda queue, leases: queue.peek("available"),
    "qsize": lambda queue, leases: queue.qsize(),
    "close": lambda queue, leases: queue.close(),
}


@pytest.mark.req("OP-1", "WAIT-8")
@pytest.mark.parametrize("call", WITHOUT_WAITING.values(), ids=WITHOUT_WAITING)
async def test_an_operation_that_does_not_wait_happens_whole_or_not_at_all(call: Any) -> None:
    """Cancelled before its first step it has not happened; after it, it has, and says so."""
    for cancelled in (0, 1, 2):
        queue = Queue()
        leases = {"a": await put_leased(queue, "a", 1)}
        await queue.put("available", 1)
        before = await state(queue)
        task = asyncio.create_task(call(queue, leases))
        await ticks(cancelled)
        task.cancel()
        result = await outcome(task)
        if cancelled == 0:
            assert isinstance(result, asyncio.CancelledError)
            assert await state(queue) == before
        else:
            assert not isinstance(result, BaseException)
        check(queue)


@pytest.mark.req("OP-1")
async def test_a_task_that_is_to_be_cancelled_still_gets_what_is_there() -> None:
    """No suspension, so no place where the cancellation could strike between lease and caller."""
    queue = Queue()
    await queue.put("k", 1)
    got: list[Got] = []

    async def worker() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        got.append(await queue.get())
        await queue.ack(got[0][2])
        await queue.get()

    task = asyncio.create_task(worker())
    assert isinstance(await outcome(task), asyncio.CancelledError)
    assert len(got) == 1
    assert await state(queue) == {"available": {}, "in flight": set(), "sizes": (0, 0)}


# -- in detail -----------------------------------------------------------------------


@pytest.mark.req("WAIT-7")
async def test_from_the_moment_of_its_cancellation_a_call_is_offered_nothing() -> None:
    """anyio#146, anyio#729, go#37852."""
    queue = Queue()
    waiting = [await blocked(queue.get()), await blocked(queue.take("k"))]
    for task in waiting:
        task.cancel()
    await queue.put("k", 1)  # in the same tick: neither has run since
    assert await keys(queue) == ["k"]
    assert all(isinstance(one, asyncio.CancelledError) for one in await outcomes(waiting))


@pytest.mark.req("WAIT-7", "WAIT-2")
async def test_the_copy_goes_past_several_cancelled_calls_to_the_first_that_lives() -> None:
    """anyio#1145."""
    queue = Queue()
    calls = [await blocked(queue.get() if n % 2 else queue.take("k")) for n in range(6)]
    for task in calls[:4]:
        task.cancel()
    await queue.put("k", 1)
    await quiet()
    assert [task.done() for task in calls] == [True] * 5 + [False]
    assert calls[4].result()[0] == "k"
    calls[5].cancel()
    await outcomes(calls)
    check(queue)


@pytest.mark.req("WAIT-8", "LINE-2")
async def test_a_cancelled_reservation_goes_back_to_the_front() -> None:
    queue = Queue()
    waiting = await blocked(queue.get())
    await queue.put("k", 1)
    await queue.put("later", 1)
    back = await put_leased(queue, "came back", 1)
    await queue.release(back, requeue_front=True)
    waiting.cancel()
    await outcome(waiting)
    assert await keys(queue) == ["k", "came back", "later"]


@pytest.mark.req("WAIT-8", "REL-3", "KEY-4")
async def test_a_cancelled_reservation_takes_the_deferred_value_with_it() -> None:
    queue = Queue()
    waiting = await blocked(queue.get())
    await queue.put("k", 1)
    await queue.put("k", 2, if_in_flight="defer")
    waiting.cancel()
    await outcome(waiting)
    assert await drain(queue) == [("k", 2)]


@pytest.mark.req("WAIT-12", "WAIT-8")
async def test_wait_for_loses_nothing_when_it_times_out_in_the_tick_of_the_hand_over() -> None:
    """gh-86296, and gh-42130 before it: the item is returned, or still in the queue."""
    for offset in range(8):
        queue = Queue()
        waiting = asyncio.create_task(asyncio.wait_for(queue.get(), 1))
        await asyncio.sleep(1)
        await ticks(offset)
        await queue.put("k", 1)
        result = await outcome(waiting)
        await quiet()
        if isinstance(result, tuple):
            await queue.ack(result[2])
        else:
            assert isinstance(result, TimeoutError)
            assert await keys(queue) == ["k"]
        check(queue)
