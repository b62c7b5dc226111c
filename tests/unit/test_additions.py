"""What version 2 adds to a lease, a key and a call: attempts, newer values, discard, nowait."""

import asyncio
from collections.abc import Callable, Coroutine
from math import inf
from typing import Any

import pytest

from tests.subject import KeyAlreadyInFlightError, Lease, LeasedKeyQueue
from tests.unit.steps import (
    a_queue,
    blocked,
    drain,
    keys,
    lease,
    line,
    outcome,
    put_leased,
    snapshot,
)
from tests.virtual import jump

Queue = LeasedKeyQueue[str, int]

# -- attempts ----------------------------------------------------------------------------


@pytest.mark.req("ATT-1", "ATT-2")
@pytest.mark.parametrize("back", ["release", "front", "delay", "expiry", "merged"])
async def test_a_copy_that_comes_back_goes_on_counting(back: str) -> None:
    queue = LeasedKeyQueue[str, int](default_lease_timeout=5)
    held = await put_leased(queue, "k", 1)
    for attempt in (1, 2, 3):
        assert held.attempt == attempt
        match back:
            case "release":
                await queue.release(held)
            case "front":
                await queue.release(held, requeue_front=True)
            case "delay":
                await queue.release(held, delay=2)
                jump(2)
            case "expiry":
                jump(5)
            case "merged":  # the copy that waits is the older one
                older, held = held, (await another(queue, held))
                await queue.release(older)
                await queue.release(held)
        held = await lease(queue)


async def another(queue: Queue, held: Lease[str]) -> Lease[str]:
    """A second lease on the key, of a newer value with as many deliveries."""
    await queue.put("k", 9, if_in_flight="buffer")
    newer = await lease(queue)
    for _ in range(held.attempt - 1):
        await queue.release(newer)
        newer = await lease(queue)
    return newer


@pytest.mark.req("ATT-2", "DELAY-2")
@pytest.mark.parametrize("policy", ["update", "defer", "buffer", "available", "delayed"])
async def test_a_newer_value_starts_at_one_again(policy: Any) -> None:
    queue = Queue()
    await queue.release(await put_leased(queue, "k", 1))
    held = await lease(queue)
    assert held.attempt == 2
    if policy in ("available", "delayed"):
        await queue.release(held, delay=3 if policy == "delayed" else 0)
        await queue.put("k", 2)
    else:
        await queue.put("k", 2, if_in_flight=policy)
        await queue.release(held)
    _, value, again = await queue.get(0)
    assert (value, again.attempt) == (2, 1)
    assert held.attempt == 2  # what it was, whatever became of it


@pytest.mark.req("ATT-2", "REL-4")
async def test_an_older_value_that_comes_back_does_not_spoil_the_count_of_the_newer() -> None:
    queue = Queue()
    older = await put_leased(queue, "k", 1)
    await queue.put("k", 2, if_in_flight="buffer")
    await queue.release(await lease(queue))
    await queue.release(older)
    assert (await lease(queue)).attempt == 2


@pytest.mark.req("ATT-3", "WAIT-8")
async def test_a_reservation_that_was_never_resumed_does_not_count_nor_a_refresh() -> None:
    queue = Queue()
    waiting = await blocked(queue.get())
    await queue.put("k", 1)
    waiting.cancel()
    await outcome(waiting)
    waiting = await blocked(queue.take("z"))
    await queue.put("z", 1)
    held = await lease(queue)
    assert [held.attempt, (await waiting)[2].attempt] == [1, 1]
    await queue.put("k", 2)
    await queue.refresh(held)
    await queue.release(held)
    assert (await lease(queue)).attempt == 1  # of a value that nobody was handed


# -- a lease and the newer value -----------------------------------------------------------


@pytest.mark.req("NEW-1", "NEW-2")
@pytest.mark.parametrize("policy", ["update", "defer", "buffer"])
async def test_superseded_tells_of_a_newer_value_wherever_it_went(policy: Any) -> None:
    queue = Queue()
    held = await put_leased(queue, "k", 1)
    await queue.put("other", 2)
    assert (await queue.superseded(held), await queue.refresh(held)) == (False, 1)
    await queue.put("k", 2, if_in_flight=policy)
    assert await queue.superseded(held) is True
    assert await queue.refresh(held) == (2 if policy == "update" else 1)
    assert await queue.superseded(held) is (policy != "update")
    if policy == "buffer":
        newer = (await queue.take("k"))[2]
        await queue.ack(newer)
        assert await queue.superseded(held) is True  # accepted it was


@pytest.mark.req("NEW-2", "WAIT-6")
async def test_what_was_put_before_the_delivery_has_been_seen() -> None:
    queue = Queue()
    waiting = await blocked(queue.get())
    await queue.put("k", 1)
    await queue.put("k", 2)
    _, value, held = await waiting
    assert (value, await queue.superseded(held)) == (2, False)
    await queue.put("k", 3, if_in_flight="defer")
    await queue.discard("k")
    assert await queue.superseded(held) is True
    with pytest.raises(KeyAlreadyInFlightError):
        await queue.put("k", 4, if_in_flight="reject")
    await queue.release(held)
    assert await queue.superseded(await lease(queue)) is True  # an older value was handed out


@pytest.mark.req("NEW-3", "PUT-4")
async def test_update_with_a_refresh_before_the_ack_loses_nothing_unseen() -> None:
    """At whatever moment the producer puts: an await of something else may come anywhere else."""
    for moment in range(12):
        queue, seen = Queue(), list[int]()

        async def work(queue: Queue = queue, seen: list[int] = seen) -> None:
            async for _, value, held in queue:
                seen.append(value)
                await asyncio.sleep(3)
                while await queue.superseded(held):
                    seen.append(await queue.refresh(held))
                    await asyncio.sleep(3)
                await queue.ack(held)

        worker = asyncio.create_task(work())
        await queue.put("k", 1)
        for value in (2, 3):
            await asyncio.sleep(moment / 2)
            await queue.put("k", value)
        await queue.drain()
        await worker
        assert seen[-1] == 3, moment


@pytest.mark.req("NEW-5", "EXT-1")
async def test_deadline_tells_when_the_lease_ends() -> None:
    queue = LeasedKeyQueue[str, int](default_lease_timeout=10)
    jump(3)
    held = await put_leased(queue, "k", 1)
    never = await put_leased(queue, "never", 1, lease_timeout=inf)
    assert (await queue.deadline(held), await queue.deadline(never)) == (13, inf)
    jump(5)
    await queue.extend(held)
    await queue.extend(never, 1)
    assert (await queue.deadline(held), await queue.deadline(never)) == (18, 9)
    await queue.extend(held, inf)
    assert await queue.deadline(Lease(held.token, "k")) == inf


# -- without waiting -----------------------------------------------------------------------


@pytest.mark.req("NOW-1", "NOW-3")
async def test_the_plain_methods_do_what_the_coroutines_do() -> None:
    queue = LeasedKeyQueue[str, int](if_in_flight="buffer")
    queue.put_nowait("a", 1)
    queue.put_nowait("b", 2, delay=5)
    key, value, a = queue.get_nowait(lease_timeout=3)
    assert (key, value, await queue.deadline(a)) == ("a", 1, 3)
    queue.put_nowait("a", 3)
    queue.put_nowait("a", 4, if_in_flight="defer")
    assert queue.take_nowait("a", lease_timeout=4)[1] == 4
    queue.extend_nowait(a)
    queue.extend_nowait(a, 9)
    queue.release_nowait(a, delay=2)
    queue.put_nowait("c", 1)
    c = queue.get_nowait()[2]
    queue.release_nowait(c, requeue_front=True)
    queue.ack_nowait(queue.take_nowait("c")[2])
    jump(5)
    assert await drain(queue) == [("a", 4), ("b", 2)]


@pytest.mark.req("NOW-1", "NOW-2", "OP-1")
async def test_they_raise_where_they_would_wait_and_never_take_what_is_reserved() -> None:
    queue = Queue(maxsize=1)
    waiting = await blocked(queue.get())
    await queue.put("k", 1)
    blocked_put = queue.put("waited", 1)
    blocked_put.send(None)
    before = snapshot(queue)
    calls: list[tuple[Callable[[], object], type[Exception]]] = [
        (queue.get_nowait, asyncio.QueueEmpty),
        (lambda: queue.take_nowait("k"), asyncio.QueueEmpty),
        (lambda: queue.take_nowait("absent"), asyncio.QueueEmpty),
        (lambda: queue.put_nowait("new", 1), asyncio.QueueFull),
        (lambda: queue.put_nowait("k", 1, if_in_flight="buffer"), asyncio.QueueFull),
        (lambda: queue.put_nowait("k", 1, if_in_flight="reject"), KeyAlreadyInFlightError),
    ]
    for call, error in calls:
        with pytest.raises(error) as caught:
            call()
        assert caught.value.__context__ is None or caught.value.__suppress_context__
        assert snapshot(queue) == before
    queue.ack_nowait((await waiting)[2])
    with pytest.raises(asyncio.QueueFull):  # the slot is reserved
        queue.put_nowait("new", 1)
    with pytest.raises(StopIteration):
        blocked_put.send(None)
    assert line(queue) == ["waited"]


@pytest.mark.req("NOW-1", "WAIT-1", "WAIT-2")
async def test_they_serve_calls_that_wait_as_the_coroutines_do() -> None:
    queue = Queue()
    waiting = [await blocked(queue.take("k")), await blocked(queue.get())]
    queue.put_nowait("k", 1)
    held = (await waiting[0])[2]
    queue.release_nowait(held)
    assert (await waiting[1])[:2] == ("k", 1)


# -- taking things out -----------------------------------------------------------------------


@pytest.mark.req("OUT-1", "OUT-2")
@pytest.mark.parametrize("state", ["a", "c", "d", "e", "delayed", "absent"])
async def test_discard_removes_what_waits_and_nothing_else(state: str) -> None:
    queue = await a_queue()
    await queue.put("delayed", 1, delay=5)
    flight = snapshot(queue).flight
    expected = {"a": 1, "b": 1, "c": None, "d": None, "e": 2, "delayed": None}
    removed = state in ("a", "d", "e", "delayed")
    assert await queue.discard(state) is removed
    assert await queue.discard(state) is False
    seen = snapshot(queue)
    assert seen.flight == flight
    held = {copy.key for copy in (*seen.returned, *seen.arrived, *seen.delayed, *seen.deferred)}
    assert held == {"a", "b", "d", "e", "delayed"} - ({state} if removed else set())
    if state in expected:
        await queue.put(state, 7, if_in_flight="buffer")
        assert line(queue)[-1] == state


@pytest.mark.req("OUT-1", "EXP-5", "EXP-6")
async def test_a_discarded_delay_falls_due_no_more() -> None:
    queue = Queue()
    waiting = await blocked(queue.take("k"))
    await queue.put("k", 1, delay=5)
    assert await queue.discard("k")
    jump(9)
    assert await queue.qsize() == 0
    await queue.put("k", 2, delay=1)
    jump(1)
    assert (await waiting)[1] == 2


@pytest.mark.req("OUT-3", "LINE-1")
async def test_available_items_is_the_line() -> None:
    queue = Queue()
    assert await queue.available_items() == []
    for key in "abc":
        await queue.put(key, ord(key))
    await queue.release(await lease(queue))
    await queue.release(await lease(queue), requeue_front=True)
    items = await queue.available_items()
    assert items == [("b", 98), ("c", 99), ("a", 97)]
    items.clear()
    assert await keys(queue) == ["b", "c", "a"]


# -- the policy of the queue -------------------------------------------------------------------


@pytest.mark.req("PUT-9")
@pytest.mark.parametrize("policy", [None, "update", "reject", "buffer", "defer"])
async def test_a_put_that_names_no_policy_follows_the_queues_own(policy: Any) -> None:
    queue = Queue() if policy is None else Queue(if_in_flight=policy)
    await put_leased(queue, "k", 1)
    puts: list[Callable[[], Coroutine[Any, Any, None]]] = [
        lambda: queue.put("k", 2),
        lambda: queue.put("k", 2, if_in_flight=None),
    ]
    for put in puts:
        if policy == "reject":
            with pytest.raises(KeyAlreadyInFlightError):
                await put()
        else:
            await put()
    seen = snapshot(queue)
    assert (seen.flight[0].value, len(seen.deferred), len(seen.arrived)) == {
        "reject": (1, 0, 0),
        "buffer": (1, 0, 1),
        "defer": (1, 1, 0),
    }.get(policy, (2, 0, 0))
    await queue.put("k", 3, if_in_flight="buffer")
    assert line(queue) == ["k"]
