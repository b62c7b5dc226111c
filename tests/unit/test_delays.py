"""Values that are not handed out before their time."""

import asyncio
import itertools
from math import inf
from typing import Any

import pytest

from tests.subject import KeyAlreadyInFlightError, LeasedKeyQueue
from tests.unit.steps import blocked, check, drain, keys, lease, line, put_leased, snapshot
from tests.virtual import TICK, jump, running

Queue = LeasedKeyQueue[str, int]

# -- what a delay is ---------------------------------------------------------------------


@pytest.mark.req("DELAY-1", "EXP-1")
@pytest.mark.parametrize("back", ["put", "release"])
@pytest.mark.parametrize("delay", [TICK, 0.5, 1, 3600])
async def test_a_delayed_value_joins_the_back_at_its_time_whether_or_not_anyone_looked(
    back: str, delay: float
) -> None:
    for asleep in (False, True):
        queue = Queue()
        if back == "put":
            await queue.put("k", 1, delay=delay)
        else:
            await queue.release(await put_leased(queue, "k", 1), delay=delay)
        await queue.put("before", 1)
        if delay > TICK:
            jump(delay - TICK)
            assert line(queue) == ["before"]
            with pytest.raises(TimeoutError):
                await queue.take("k", 0)
        await asyncio.sleep(TICK) if asleep else jump(TICK)
        await queue.put("after", 1)
        assert await keys(queue) == ["before", "k", "after"]


@pytest.mark.req("DELAY-8")
async def test_a_delayed_copy_is_shown_as_delayed_and_not_as_available() -> None:
    queue = Queue()
    await queue.put("late", 1, delay=5)
    await queue.put("there", 2)
    await put_leased(queue, "deferred", 3)
    await queue.put("deferred", 4, if_in_flight="defer", delay=9)
    assert (await queue.peek("late"), await queue.contains("late")) == (None, False)
    assert await queue.available_keys() == {"there"}
    assert await queue.available_items() == [("there", 2)]
    assert [await queue.qsize(), await queue.inflight_size(), await queue.delayed_size()] == [1] * 3
    assert await queue.delayed_keys() == {"late"}
    assert (await queue.get(0))[0] == "there"
    jump(5)
    assert (await queue.delayed_keys(), await queue.delayed_size()) == (set(), 0)
    assert await queue.peek("late") == 1


@pytest.mark.req("DELAY-1", "EXP-5", "EXP-6")
@pytest.mark.parametrize("wait", ["get", "take"])
async def test_a_call_that_waits_has_a_delayed_value_on_time(wait: str) -> None:
    queue = Queue()
    await queue.put("k", 1, delay=7)
    assert running().timers() == []  # nobody waits for it
    assert (await (queue.get() if wait == "get" else queue.take("k", 99)))[:2] == ("k", 1)
    assert running().time() == 7
    assert running().timers() == []


@pytest.mark.req("DELAY-1", "IN-12")
async def test_an_infinite_delay_lasts_until_somebody_puts_it_sooner() -> None:
    queue = Queue()
    await queue.put("k", 1, delay=inf)
    jump(1e9)
    assert await queue.delayed_keys() == {"k"}
    await queue.put("k", 2, delay=inf)
    assert await queue.delayed_size() == 1
    await queue.put("k", 3, delay=2)
    jump(2)
    assert await drain(queue) == [("k", 3)]


# -- the newest value and the earliest time ------------------------------------------------

# A first value is held back until 5, or until the lease on its key ends. What the event makes
# of it: the value, and its time (None: it is in the line; -inf: deferred without one).
MEETINGS: list[tuple[str, str, dict[str, Any], int, float | None]] = [
    ("delayed", "put", {"delay": 3}, 9, 3),
    ("delayed", "put", {"delay": 8}, 9, 5),
    ("delayed", "put", {}, 9, None),
    ("available", "put", {"delay": 3}, 9, None),
    ("deferred", "put", {"delay": 8}, 9, 5),
    ("deferred", "put", {"delay": 3}, 9, 3),
    ("deferred", "put", {}, 9, -inf),
    ("deferred", "put", {"if_in_flight": "defer", "delay": 8}, 9, 5),
    ("deferred", "put", {"if_in_flight": "buffer", "delay": 8}, 9, 5),
    ("deferred", "put", {"if_in_flight": "buffer"}, 9, None),
    ("deferred", "release", {"delay": 8}, 2, 5),
    ("deferred", "release", {"delay": 3}, 2, 3),
    ("deferred", "release", {}, 2, None),
    ("deferred", "ack", {}, 2, 5),
    ("deferred at once", "put", {"if_in_flight": "defer", "delay": 8}, 9, -inf),
    ("deferred at once", "release", {"delay": 8}, 2, None),
    ("buffered", "put", {"delay": 8}, 9, 5),
    ("buffered", "put", {}, 9, None),
    ("buffered", "release", {"delay": 8}, 2, 5),
    ("buffered", "release", {"delay": 3}, 2, 3),
    ("buffered", "release", {}, 2, None),
    ("buffered", "release", {"requeue_front": True}, 2, None),
    ("buffered", "ack", {}, 2, 5),
]


@pytest.mark.req("DELAY-2", "DELAY-3", "DELAY-4", "DELAY-5", "DELAY-6", "DELAY-7", "KEY-4")
@pytest.mark.parametrize(("state", "event", "options", "value", "time"), MEETINGS)
async def test_where_two_values_meet_the_newest_wins_and_the_earliest_time(
    state: str, event: str, options: dict[str, Any], value: int, time: float | None
) -> None:
    queue = Queue()
    held = None
    if state not in ("delayed", "available"):
        held = await put_leased(queue, "k", 1)
    policy: Any = "defer" if state.startswith("deferred") else "buffer"
    delay = 0 if state in ("available", "deferred at once") else 5
    await queue.put("k", 2, if_in_flight=policy, delay=delay)
    await queue.put("other", 1)
    arguments = ("k", 9) if event == "put" else (held,)
    await getattr(queue, event)(*arguments, **options)
    found = snapshot(queue)
    (copy,) = [
        copy
        for copy in (*found.returned, *found.arrived, *found.delayed, *found.deferred)
        if copy.key == "k"
    ]
    assert copy.value == value
    assert getattr(copy, "time", None) == time
    if time is None and state != "available":
        assert line(queue) == ["other", "k"]  # at the back, whatever was asked for
    elif time is None:
        assert line(queue) == ["k", "other"]  # its place stays


@pytest.mark.req("DELAY-5")
async def test_a_delay_is_without_effect_on_the_copy_in_flight() -> None:
    queue = Queue()
    held = await put_leased(queue, "k", 1)
    await queue.put("k", 2, delay=100)
    assert await queue.refresh(held) == 2
    await queue.release(held)
    assert await drain(queue) == [("k", 2)]


@pytest.mark.req("PUT-1")
async def test_reject_looks_at_leases_and_not_at_delays() -> None:
    queue = Queue()
    await queue.put("k", 1, delay=5, if_in_flight="reject")
    await queue.put("k", 2, delay=1, if_in_flight="reject")
    jump(1)
    held = await lease(queue)
    with pytest.raises(KeyAlreadyInFlightError):
        await queue.put("k", 3, delay=1, if_in_flight="reject")
    await queue.ack(held)
    assert snapshot(queue).delayed == ()


@pytest.mark.req("DELAY-10", "DELAY-2")
async def test_no_producer_can_starve_a_key_by_putting_it_again_and_again() -> None:
    """client-go's rule for AddAfter; a debounce that waits for silence would never end."""
    queue = Queue()
    for number in range(100):
        await queue.put("k", number, delay=5)
        if await queue.contains("k"):
            break
        jump(1)
    assert (number, await drain(queue)) == (5, [("k", 5)])


@pytest.mark.req("DELAY-6", "ACK-2")
@pytest.mark.parametrize("acked", [2, 5, 7])
async def test_a_deferred_value_waits_for_its_time_and_for_the_last_lease(acked: int) -> None:
    queue = Queue()
    held = await put_leased(queue, "k", 1)
    await queue.put("k", 2, if_in_flight="defer", delay=5)
    await asyncio.sleep(acked)
    await queue.ack(held)
    assert await queue.delayed_keys() == ({"k"} if acked < 5 else set())
    assert (await queue.get())[:2] == ("k", 2)
    assert running().time() == max(acked, 5)


# -- ripening ------------------------------------------------------------------------------


@pytest.mark.req("DELAY-9", "EXP-2")
async def test_what_is_due_comes_in_the_order_of_time_leases_first_then_by_version() -> None:
    queue = Queue()
    for key, delay in (("late", 3), ("third", 2), ("fourth", 2), ("first", 1)):
        await queue.put(key, 0, delay=delay)
    await put_leased(queue, "lease", 0, lease_timeout=2)
    await queue.put("third", 9, delay=7)  # its time stays, but it is the newest now
    await queue.put("there", 0)
    jump(9)
    assert await keys(queue) == ["lease", "there", "first", "fourth", "third", "late"]


@pytest.mark.req("DELAY-9", "WAIT-1", "WAIT-2")
async def test_each_that_is_due_is_matched_before_the_next() -> None:
    queue = Queue()
    await put_leased(queue, "k", 1, lease_timeout=2)
    await queue.put("late", 1, delay=2)
    await queue.put("later", 1, delay=3)
    waiting = [await blocked(queue.get()), await blocked(queue.get())]
    taking = await blocked(queue.take("later"))
    jump(5)
    assert [(await task)[0] for task in (*waiting, taking)] == ["k", "late", "later"]


@pytest.mark.req("DELAY-9", "DELAY-7")
async def test_a_lease_that_ends_at_the_time_of_the_delayed_copy_of_its_key_comes_first() -> None:
    """The copy that comes back has no time, so what waits joins the line, and is not due twice."""
    queue = Queue()
    await put_leased(queue, "k", 1, lease_timeout=2)
    await queue.put("k", 2, if_in_flight="buffer", delay=2)
    await queue.put("other", 1, delay=2)
    jump(2)
    assert await drain(queue) == [("k", 2), ("other", 1)]


@pytest.mark.req("EXP-4", "DELAY-9")
@pytest.mark.parametrize("looks", list(itertools.product([False, True], repeat=4)))
async def test_the_line_does_not_depend_on_when_anyone_looked(looks: tuple[bool, ...]) -> None:
    queue = Queue()
    for key, timeout in (("a", 4), ("b", 1), ("c", 3)):
        await put_leased(queue, key, 1, lease_timeout=timeout)
    for key, delay in (("d", 3), ("e", 1), ("a", 2)):
        await queue.put(key, 2, if_in_flight="buffer", delay=delay)
    await queue.put("b", 2, if_in_flight="defer", delay=4)
    for look in looks:
        jump(1)
        if look:
            await queue.delayed_keys()
    assert await drain(queue) == [("b", 2), ("c", 1), ("e", 2), ("a", 2), ("d", 2)]
    check(queue)


@pytest.mark.req("END-7", "CLOSE-1", "DELAY-2")
async def test_close_puts_delayed_copies_at_the_back_in_the_order_of_their_times() -> None:
    queue = Queue()
    for key, delay in (("never", inf), ("late", 9), ("soon", 3), ("late too", 9)):
        await queue.put(key, 1, delay=delay)
    await put_leased(queue, "held", 1)
    await put_leased(queue, "k", 1)
    await queue.put("k", 2, if_in_flight="buffer", delay=1)
    await put_leased(queue, "deferred", 1)
    await queue.put("deferred", 2, if_in_flight="defer", delay=99)
    await queue.put("there", 1)
    await queue.close()
    assert await queue.available_items() == [
        *[("held", 1), ("deferred", 2), ("there", 1), ("k", 2)],
        *[("soon", 1), ("late", 1), ("late too", 1), ("never", 1)],
    ]
    assert (await queue.delayed_size(), await queue.delayed_keys()) == (0, set())
    assert running().timers() == []
    jump(100)
    check(queue)
