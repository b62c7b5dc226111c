"""Corners of the code in which nothing else looks."""

from __future__ import annotations

import asyncio
from math import inf
from typing import Any

import pytest

from tests.subject import LeaseAlreadyAcknowledgedError, LeasedKeyQueue, module
from tests.unit.steps import put_leased
from tests.virtual import jump

Core: Any = module("_core").Core


async def test_a_clock_that_has_gone_on_counts_from_now() -> None:
    """Timeouts and leases, the first that a queue is given, on a loop that has run for a while."""
    loop = asyncio.get_running_loop()
    jump(100)
    with pytest.raises(TimeoutError):
        await LeasedKeyQueue[str, int]().get(5)
    assert loop.time() == 105
    for queue, options in (
        (LeasedKeyQueue[str, int](), {"lease_timeout": 5}),
        (LeasedKeyQueue[str, int](default_lease_timeout=5), {}),
    ):
        lease = await put_leased(queue, "k", 1, **options)
        jump(4)
        await queue.ack(lease)


def test_a_take_without_time_ends_at_once_though_the_key_is_in_flight() -> None:
    core = Core()
    core.put("k", 1, "update", 0.0)
    core.get(None, None, 0.0)
    for key in ("k", "absent"):
        with pytest.raises(TimeoutError) as told:
            core.take(key, 0, None, 0.0)
        assert str(told.value) == f"no copy of key {key!r} became available within 0.0 s"


def test_a_call_that_leaves_gives_its_copy_back_after_those_that_are_due_at_that_moment() -> None:
    core = Core()
    core.put("due", 1, "update", 0.0)
    core.get(None, 5, 0.0)
    call = core.take("reserved", None, None, 0.0)
    core.put("reserved", 1, "update", 0.0)
    waiting = core.get(None, None, 0.0)
    core.cancel(call, 5.0)
    assert core.resume(waiting, 5.0)[0] == "due"


def test_a_value_is_dropped_when_the_ack_is_whole() -> None:
    """Its finalizer is the user's code, and sees a lease that has ended."""
    core = Core()
    seen: list[type[Exception]] = []

    class Value:
        def __del__(self) -> None:
            try:
                core.ack(lease, 0.0)
            except Exception as error:  # noqa: BLE001 (it is compared)
                seen.append(type(error))

    core.put("k", Value(), "update", 0.0)
    lease = core.get(None, None, 0.0)[2]
    core.ack(lease, 0.0)
    assert seen == [LeaseAlreadyAcknowledgedError]


def test_a_value_that_was_deferred_keeps_its_age() -> None:
    core = Core()
    core.put("k", 1, "update", 0.0)
    first = core.get(None, None, 0.0)[2]
    core.put("k", 2, "defer", 0.0)
    core.ack(first, 0.0)
    second = core.get(None, None, 0.0)[2]
    core.put("k", 3, "buffer", 0.0)
    core.release(second, False, 0.0)
    assert core.peek("k", 0.0) == 3


def test_what_several_expiries_replace_is_all_kept_until_the_shell_drops_it() -> None:
    core = Core()
    for key, timeout in (("a", 1), ("b", 2)):
        core.put(key, "old", "update", 0.0)
        core.take(key, None, timeout, 0.0)
        core.put(key, "new", "defer", 0.0)
    core.expire(1.0)
    core.expire(2.0)
    assert core.lost == ["old", "old"]


def test_two_waits_that_end_at_once_end_in_the_order_of_their_arrival() -> None:
    core = Core()
    calls = [core.get(2, None, 0.0), core.get(1, None, 1.0)]
    core.time_out(2.0)
    assert [*core.settled] == calls


def test_nothing_is_remembered_of_an_extension_when_its_lease_has_ended() -> None:
    core = Core()
    leases = []
    for value in (1, 2):
        core.put("k", value, "buffer", 0.0)
        leases.append(core.get(None, 5, 0.0)[2])
    for lease in leases:
        core.extend(lease, inf, 0.0)
    core.release(leases[0], False, 0.0)
    assert [*core._keys["k"]._item.durations] == [2]
    core.ack(leases[1], 0.0)
    assert core._keys["k"]._item.durations == {}


def test_what_a_standing_is_called() -> None:
    core = Core()
    core.put("k", 1, "update", 0.0)
    lease = core.get(None, None, 0.0)[2]
    names = [repr(lease._standing)]
    core.release(lease, False, 0.0)
    names.append(repr(lease._standing))
    lease = core.get(None, 1, 0.0)[2]
    core.expire(1.0)
    names.append(repr(lease._standing))
    lease = core.get(None, None, 1.0)[2]
    core.ack(lease, 1.0)
    names.append(repr(lease._standing))
    assert names == ["<leased>", "<released>", "<expired>", "<acknowledged>"]


@pytest.mark.parametrize(
    ("default", "given"), [(5, None), (None, 5), (5, 5), (inf, 5)], ids=lambda time: f"{time}"
)
async def test_the_first_lease_that_get_times_begins_now(
    default: float | None, given: float | None
) -> None:
    jump(100)
    queue = LeasedKeyQueue[str, int](default_lease_timeout=default)
    await queue.put("k", 1)
    _, _, lease = await queue.get(lease_timeout=given)
    jump(4)
    assert await queue.qsize() == 0
    await queue.extend(lease)
    jump(5)
    assert await queue.qsize() == 1


def test_waits_that_end_together_end_in_the_order_of_their_arrival() -> None:
    core = Core()
    core.get(1, None, 0.0)
    first = core.get(2, None, 0.0)
    between = core.get(1, None, 0.9)
    core.time_out(1.0)
    second = core.get(1, None, 1.0)
    core.cancel(between, 1.0)
    core.settled.clear()
    core.time_out(2.0)
    assert [*core.settled] == [first, second]
