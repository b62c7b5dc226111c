"""The end of a queue: join, shutdown, drain, close, and `async for`."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.subject import LeasedKeyQueue, LeaseExpiredError, QueueClosedError
from tests.unit.steps import blocked, check, keys, lease, line, outcome, put_leased, snapshot, state
from tests.virtual import jump, quiet, running, ticks

Queue = LeasedKeyQueue[str, int]


async def ended(*calls: Any) -> bool:
    """Whether each of the calls that waited has been refused by the end of the queue."""
    await quiet()
    results = [await outcome(call) for call in calls if call.done()]
    assert all(isinstance(result, QueueClosedError) for result in results), results
    return len(results) == len(calls)


# -- join --------------------------------------------------------------------------------

LASTS: dict[str, Callable[[Queue, Any], Awaitable[object]]] = {
    "ack": lambda queue, held: queue.ack(held),
    "release and discard": lambda queue, held: release_and_discard(queue, held),
    "delay and discard": lambda queue, held: release_and_discard(queue, held, delay=5),
}


async def release_and_discard(queue: Queue, held: Any, **options: Any) -> None:
    await queue.release(held, **options)
    await queue.discard(held.key)


@pytest.mark.req("END-1", "OUT-2")
@pytest.mark.parametrize("last", LASTS.values(), ids=LASTS)
async def test_join_returns_when_the_last_item_is_gone(last: Any) -> None:
    queue = Queue()
    await queue.join()
    await queue.put("a", 1)
    await queue.put("late", 1, delay=1)
    joins = [await blocked(queue.join()), await blocked(queue.join(99))]
    await queue.ack((await queue.take("a"))[2])
    await ticks(3)
    held = (await queue.get())[2]
    assert not any(task.done() for task in joins)
    await last(queue, held)
    await queue.put("after", 1)  # which is too late to hold them up
    assert [await outcome(task) for task in joins] == [None, None]
    assert running().timers() == []


@pytest.mark.req("END-1", "KEY-3")
async def test_join_waits_for_what_is_deferred_and_for_a_slot_that_is_reserved() -> None:
    queue = Queue(maxsize=1)
    held = await put_leased(queue, "k", 1)
    await queue.put("k", 2, if_in_flight="defer")
    joining = await blocked(queue.join())
    await queue.ack(held)
    puts = [queue.put(f"waited {number}", 3) for number in range(2)]
    for putting in puts:
        putting.send(None)
        await queue.ack(await lease(queue))  # so the slot is the put's
        await ticks(3)
        assert not joining.done()
        if putting is puts[0]:
            with pytest.raises(StopIteration):
                putting.send(None)
    puts[1].close()
    assert await outcome(joining) is None


@pytest.mark.req("END-1", "WAIT-9", "WAIT-11", "WAIT-7")
async def test_join_times_out_and_can_be_cancelled() -> None:
    queue = Queue()
    await queue.put("k", 1)
    for timeout in (0, -1, 4):
        with pytest.raises(TimeoutError):
            await queue.join(timeout)
    assert running().time() == 4
    joining = await blocked(queue.join())
    joining.cancel()
    assert isinstance(await outcome(joining), asyncio.CancelledError)
    assert (snapshot(queue).waiting, running().timers()) == ((), [])


@pytest.mark.req("END-2", "END-7")
async def test_join_on_a_queue_that_is_closed_with_something_left_raises() -> None:
    for left in (False, True):
        queue = Queue()
        held = await put_leased(queue, "k", 1)
        joining = await blocked(queue.join())
        if not left:
            await queue.ack(held)
        await queue.close()
        result = await outcome(joining)
        if left:
            assert isinstance(result, QueueClosedError)
            with pytest.raises(QueueClosedError):
                await queue.join()
        else:
            assert result is None
            await queue.join()


@pytest.mark.req("END-2", "END-7")
async def test_join_returns_if_a_reserved_slot_was_all_that_was_left_at_the_close() -> None:
    queue = Queue(maxsize=1)
    held = await put_leased(queue, "k", 1)
    joining = await blocked(queue.join())
    putting = await blocked(queue.put("other", 2))
    await queue.ack(held)  # so the slot is the put's, which has had no time to use it
    await queue.close()
    assert await outcome(joining) is None
    assert isinstance(await outcome(putting), QueueClosedError)


# -- shutdown ----------------------------------------------------------------------------


@pytest.mark.req("END-3")
async def test_after_shutdown_nothing_is_put_and_the_rest_goes_on() -> None:
    queue = Queue(default_lease_timeout=9)
    leases = [await put_leased(queue, key, 1) for key in "abc"]
    await queue.put("late", 1, delay=1)
    await queue.put("there", 1)
    await queue.shutdown()
    before = snapshot(queue)
    await queue.shutdown()
    for key in ("new", "a", "there", "late"):
        with pytest.raises(QueueClosedError):
            await queue.put(key, 2)
        with pytest.raises(QueueClosedError):
            queue.put_nowait(key, 2)
    assert snapshot(queue) == before
    assert before.phase == "shut"
    async with queue as same:  # it can still be opened, and this is who works it off
        await same.start()
        await queue.ack(leases[0])
        await queue.extend(leases[1], 50)
        assert await queue.refresh(leases[1]) == 1
        assert await queue.superseded(leases[1]) is False
        await queue.release(leases[2], delay=1)
        assert await queue.discard("there")
        assert [(await queue.get())[0] for _ in "ab"] == ["c", "late"]
        assert (await queue.take("b"))[0] == "b"


@pytest.mark.req("END-4", "WAIT-11")
@pytest.mark.parametrize("last", LASTS.values(), ids=LASTS)
async def test_after_shutdown_a_call_ends_as_soon_as_nothing_can_come_to_it(last: Any) -> None:
    queue = Queue()
    held = await put_leased(queue, "k", 1)
    other = await put_leased(queue, "other", 1)
    nowhere = await blocked(queue.take("absent"))
    calls = [await blocked(queue.get()), await blocked(queue.take("k"))]
    await queue.shutdown()
    assert await ended(nowhere)
    for call in (queue.take("absent"), queue.take("absent", 0)):
        with pytest.raises(QueueClosedError):
            await call
    with pytest.raises(QueueClosedError):
        queue.take_nowait("absent")
    for wait in (queue.get(0), queue.take("k", 0)):  # what is in flight may come back
        with pytest.raises(TimeoutError):
            await wait
    with pytest.raises(asyncio.QueueEmpty):
        queue.get_nowait()
    with pytest.raises(asyncio.QueueEmpty):
        queue.take_nowait("k")
    await queue.release(other)
    assert (await calls[0])[0] == "other"
    calls[0] = await blocked(queue.get())
    check(queue)
    assert not await ended(*calls)
    if last is LASTS["ack"]:
        await last(queue, held)
        assert await ended(calls[1])
        assert not calls[0].done()
    else:
        calls[1].cancel()
        calls[0].cancel()
        await quiet()
        calls = [await blocked(queue.take("k", 99)), await blocked(queue.get())]
        await queue.release(held, delay=5)
        assert not await ended(*calls)
        await queue.discard("k")
        assert await ended(calls[0])
    assert "other" in await queue.inflight_keys()


@pytest.mark.req("END-4", "EXP-1")
async def test_after_shutdown_the_last_ack_ends_all_gets_and_an_expiry_none() -> None:
    queue = Queue()
    await put_leased(queue, "k", 1, lease_timeout=3)
    gets = [await blocked(queue.get()) for _ in range(3)]
    await queue.shutdown()
    key, _, held = await gets[0]  # when it has run out
    assert (key, running().time()) == ("k", 3)
    assert not await ended(*gets[1:])
    await queue.ack(held)
    assert await ended(*gets[1:])
    with pytest.raises(QueueClosedError):
        await queue.get(0)
    with pytest.raises(QueueClosedError):
        queue.get_nowait()
    await queue.close()
    await queue.shutdown()
    assert snapshot(queue).phase == "closed"


@pytest.mark.req("END-4", "WAIT-8")
async def test_after_shutdown_a_cancelled_reservation_goes_to_the_next() -> None:
    queue = Queue()
    await put_leased(queue, "k", 1, lease_timeout=3)
    first, second = await blocked(queue.get()), await blocked(queue.take("k"))
    await queue.shutdown()
    jump(3)
    await queue.qsize()
    first.cancel()
    await queue.ack((await second)[2])
    assert isinstance(await outcome(first), asyncio.CancelledError)
    check(queue)


# -- drain -------------------------------------------------------------------------------


@pytest.mark.req("END-5")
async def test_drain_waits_until_nothing_is_in_the_line_deferred_or_in_flight() -> None:
    queue = Queue()
    held = await put_leased(queue, "k", 1)
    await queue.put("k", 2, if_in_flight="defer")
    await queue.put("there", 1)
    await queue.put("late", 1, delay=50)
    await queue.put("soon", 1, delay=2)
    drains = [await blocked(queue.drain()), await blocked(queue.drain(99))]
    with pytest.raises(QueueClosedError):
        await queue.put("new", 1)
    await queue.ack(held)
    await asyncio.sleep(2)
    worked_off = [await queue.get() for _ in range(3)]
    assert [key for key, *_ in worked_off] == ["there", "k", "soon"]
    for _, _, one in worked_off:
        assert not any(task.done() for task in drains)
        await queue.ack(one)
    assert snapshot(queue).phase == "closed"  # in that very step
    assert [await outcome(task) for task in drains] == [True, True]
    assert await queue.available_items() == [("late", 1)]  # to be saved
    assert running().timers() == []


@pytest.mark.req("END-5")
@pytest.mark.parametrize("end", ["delay", "discard", "ack"])
async def test_drain_ends_by_whatever_ends_the_last(end: str) -> None:
    queue = Queue()
    held = await put_leased(queue, "k", 1)
    draining = await blocked(queue.drain())
    idle = await blocked(queue.get())
    match end:
        case "delay":  # what is put off is not waited for
            await queue.release(held, delay=9)
        case "discard":
            idle.cancel()
            await quiet()
            await queue.release(held)
            await queue.discard("k")
        case "ack":
            await queue.ack(held)
    assert await draining is True
    assert isinstance(await outcome(idle), QueueClosedError | asyncio.CancelledError)
    assert await queue.available_items() == ([("k", 1)] if end == "delay" else [])


@pytest.mark.req("END-5", "END-7")
async def test_drain_of_a_queue_with_nothing_to_work_off_closes_at_once() -> None:
    for delayed in (False, True):
        queue = Queue()
        if delayed:
            await queue.put("late", 1, delay=5)
        assert await queue.drain(0) is True
        assert snapshot(queue).phase == "closed"
        assert line(queue) == (["late"] if delayed else [])


@pytest.mark.req("END-6", "CLOSE-1")
@pytest.mark.parametrize("timeout", [0, -1, 4])
async def test_drain_closes_when_its_timeout_runs_out(timeout: float) -> None:
    queue = Queue()
    held = await put_leased(queue, "held", 1)
    await queue.put("late", 1, delay=9)
    await queue.put("there", 1)
    waiting = await blocked(queue.take("late"))
    others = [await blocked(queue.drain(99))] if timeout > 0 else []
    assert await queue.drain(timeout) is False
    assert running().time() == max(timeout, 0)
    assert [await other for other in others] == [False] * len(others)
    assert await queue.available_items() == [("held", 1), ("there", 1), ("late", 1)]
    assert await ended(waiting)
    with pytest.raises(QueueClosedError):
        await queue.ack(held)
    assert running().timers() == []


@pytest.mark.req("END-6", "EXP-1", "EXP-3")
async def test_a_lease_that_ends_with_the_timeout_is_back_before_the_close() -> None:
    queue = Queue()
    await put_leased(queue, "k", 1, lease_timeout=4)
    await put_leased(queue, "held", 1)
    assert await queue.drain(4) is False
    assert line(queue) == ["held", "k"]


@pytest.mark.req("END-5", "END-6")
async def test_drain_and_close_by_somebody_else() -> None:
    for busy in (False, True):
        queue = Queue()
        await queue.put("late", 1, delay=9)
        if busy:
            await queue.put("k", 1)
            draining = await blocked(queue.drain())
            await queue.close()
            assert await draining is False
        else:
            await queue.close()
        before = await state(queue)
        assert await queue.drain() is False  # something is left
        assert await state(queue) == before
    empty = Queue()
    await empty.close()
    assert await empty.drain() is True


@pytest.mark.req("END-8", "WAIT-7")
@pytest.mark.parametrize("moment", ["waiting", "resumed late"])
async def test_a_drain_that_is_cancelled_leaves_the_queue_shut_and_open_for_another(
    moment: str,
) -> None:
    queue = Queue()
    held = await put_leased(queue, "k", 1)
    draining = await blocked(queue.drain(5))
    draining.cancel()
    if moment == "waiting":
        assert isinstance(await outcome(draining), asyncio.CancelledError)
    await queue.ack(held)  # in the tick of the cancellation, or later: nobody drains
    assert snapshot(queue).phase == "shut"
    assert isinstance(await outcome(draining), asyncio.CancelledError)
    assert (snapshot(queue).phase, running().timers()) == ("shut", [])
    assert await queue.drain() is True
    assert snapshot(queue).phase == "closed"


@pytest.mark.req("END-8", "END-6")
async def test_a_drain_that_is_cancelled_in_the_tick_of_its_timeout_closes_nothing() -> None:
    queue = Queue()
    await put_leased(queue, "k", 1)
    draining = await blocked(queue.drain(5))
    jump(5)
    draining.cancel()
    assert isinstance(await outcome(draining), asyncio.CancelledError)
    await quiet()
    assert snapshot(queue).phase == "shut"


# -- async for ---------------------------------------------------------------------------


@pytest.mark.req("END-9")
@pytest.mark.parametrize(
    ("end", "worked_off"),
    [("shutdown", ["a", "b", "late"]), ("drain", ["a", "b"]), ("close", ["a"])],
)
async def test_a_loop_over_a_queue_gets_until_the_queue_ends(
    end: str, worked_off: list[str]
) -> None:
    queue, seen = Queue(), list[str]()

    async def work() -> str:
        async for key, _, held in queue:
            seen.append(key)
            await asyncio.sleep(1)
            with contextlib.suppress(QueueClosedError):
                await queue.ack(held)
        return "ended"

    worker = asyncio.create_task(work())
    await queue.put("a", 1)
    await queue.put("b", 1)
    await queue.put("late", 1, delay=5)
    await quiet()
    await getattr(queue, end)()
    assert await asyncio.wait_for(worker, 9) == "ended"
    assert seen == worked_off


@pytest.mark.req("END-9", "IN-11")
async def test_a_loop_over_a_queue_lets_everything_else_through() -> None:
    queue = LeasedKeyQueue[str, int](default_lease_timeout=1)
    await queue.put("k", 1)

    async def work_late() -> None:
        async for _, _, held in queue:
            jump(1)
            await queue.ack(held)

    with pytest.raises(LeaseExpiredError):
        await work_late()
    assert await keys(queue) == ["k"]
    await queue.close()
    async for _ in queue:
        raise AssertionError("not entered")
