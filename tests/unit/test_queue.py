"""The public queue, rule by rule; time, waiting calls and cancellation are elsewhere."""

import asyncio
import copy
import itertools
import logging
import math
import pickle
import re
import threading
import time
from collections.abc import Awaitable, Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from tests.subject import (
    InvalidLeaseError,
    KeyAlreadyInFlightError,
    Lease,
    LeaseAlreadyAcknowledgedError,
    LeasedKeyQueue,
    LeaseExpiredError,
    QueueClosedError,
)
from tests.unit.steps import blocked, check, drain, keys, lease, outcome, put_leased, state
from tests.virtual import TICK, VirtualLoop, jump, quiet, run

POLICIES = ["update", "reject", "buffer", "defer"]
LeaseCall = Callable[[LeasedKeyQueue[str, int], Lease[str]], Awaitable[None]]
ON_LEASES: dict[str, LeaseCall] = {
    "ack": lambda queue, lease: queue.ack(lease),
    "release": lambda queue, lease: queue.release(lease),
    "release to the front": lambda queue, lease: queue.release(lease, requeue_front=True),
    "extend": lambda queue, lease: queue.extend(lease),
    "extend by": lambda queue, lease: queue.extend(lease, 5),
}
on_leases = pytest.mark.parametrize("use", ON_LEASES.values(), ids=ON_LEASES)


async def a_queue() -> LeasedKeyQueue[str, int]:
    """One of each: available a and b, leased c, deferred d, buffered e."""
    queue = LeasedKeyQueue[str, int]()
    for key in "cde":
        await put_leased(queue, key, 1)
    await queue.put("a", 1)
    await queue.put("b", 1)
    await queue.put("d", 2, if_in_flight="defer")
    await queue.put("e", 2, if_in_flight="buffer")
    return queue


# -- the line -----------------------------------------------------------------


@pytest.mark.req("LINE-1", "GET-1")
async def test_items_come_out_in_the_order_in_which_they_went_in() -> None:
    queue = LeasedKeyQueue[str, int]()
    for number, key in enumerate("abc"):
        await queue.put(key, number)
    assert await drain(queue) == [("a", 0), ("b", 1), ("c", 2)]


@pytest.mark.req("GET-1")
async def test_get_returns_key_value_and_a_lease_on_that_key() -> None:
    queue = LeasedKeyQueue[str, int]()
    await queue.put("k", 7)
    key, value, granted = await queue.get()
    assert (key, value, type(granted), granted.key) == ("k", 7, Lease, "k")
    assert await state(queue) == {"available": {}, "in flight": {"k"}, "sizes": (0, 1)}


@pytest.mark.req("LINE-1", "LINE-2", "LINE-3", "REL-1", "REL-2", "EXP-3")
async def test_each_way_back_leads_to_its_own_place_in_the_line() -> None:
    queue = LeasedKeyQueue[str, int]()
    await queue.put("never leased", 0)
    expires, later = [
        await put_leased(queue, key, 0, lease_timeout=timeout)
        for key, timeout in (("expires", 1), ("expires later", 2))
    ]
    to_front, to_front_later = [await put_leased(queue, key, 0) for key in ("front", "front later")]
    to_back = await put_leased(queue, "back", 0)
    await queue.release(to_back)
    await queue.put("put last", 0)
    await queue.release(to_front, requeue_front=True)
    await asyncio.sleep(3)
    await queue.release(to_front_later, requeue_front=True)
    assert await keys(queue) == [
        "front later",
        "front",
        "expires",
        "expires later",
        "never leased",
        "back",
        "put last",
    ]
    for ended in (expires, later):
        with pytest.raises(LeaseExpiredError):
            await queue.ack(ended)


@pytest.mark.req("LINE-3")
async def test_an_expired_copy_stands_behind_all_that_came_back_and_before_the_rest() -> None:
    queue = LeasedKeyQueue[str, int]()
    await queue.put("put", 0)
    front = await put_leased(queue, "front", 0)
    await put_leased(queue, "expired", 0, lease_timeout=1)
    await queue.release(front, requeue_front=True)
    await asyncio.sleep(1)
    assert await keys(queue) == ["front", "expired", "put"]


# -- put ----------------------------------------------------------------------


@pytest.mark.req("PUT-6")
@pytest.mark.parametrize("policy", POLICIES)
async def test_put_on_an_absent_key_adds_a_copy_at_the_back(policy: Any) -> None:
    queue = LeasedKeyQueue[str, int]()
    await queue.put("a", 1)
    await queue.put("b", 2, if_in_flight=policy)
    assert await drain(queue) == [("a", 1), ("b", 2)]


@pytest.mark.req("PUT-6", "ACK-1")
@pytest.mark.parametrize("policy", POLICIES)
async def test_an_acked_key_is_as_absent_as_one_that_never_was(policy: Any) -> None:
    queue = LeasedKeyQueue[str, int]()
    await queue.ack(await put_leased(queue, "a", 1))
    await queue.put("b", 2)
    await queue.put("a", 3, if_in_flight=policy)
    assert await drain(queue) == [("b", 2), ("a", 3)]


@pytest.mark.req("PUT-2", "KEY-1")
@pytest.mark.parametrize("policy", POLICIES)
async def test_put_on_an_available_key_replaces_the_value_in_its_place(policy: Any) -> None:
    queue = LeasedKeyQueue[str, int]()
    for key in "abc":
        await queue.put(key, 1)
    await queue.put("b", 2, if_in_flight=policy)
    assert await drain(queue) == [("a", 1), ("b", 2), ("c", 1)]


@pytest.mark.req("PUT-2", "KEY-1")
@pytest.mark.parametrize("policy", ["update", "buffer", "defer"])
async def test_put_on_a_key_that_is_available_and_leased_goes_to_the_available_copy(
    policy: Any,
) -> None:
    queue = LeasedKeyQueue[str, int]()
    leased = await put_leased(queue, "a", 1)
    await queue.put("a", 2, if_in_flight="buffer")
    await queue.put("b", 1)
    await queue.put("a", 3, if_in_flight=policy)
    assert await queue.qsize() == 2
    assert await queue.peek("a") == 3
    await queue.ack(leased)
    assert await drain(queue) == [("a", 3), ("b", 1)]


@pytest.mark.req("PUT-1", "OP-1")
@pytest.mark.parametrize("also", ["nothing", "deferred", "available"])
async def test_reject_refuses_whatever_else_there_is_of_the_key(also: str) -> None:
    queue = LeasedKeyQueue[str, int]()
    leased = await put_leased(queue, "a", 1)
    if also == "deferred":
        await queue.put("a", 2, if_in_flight="defer")
    if also == "available":
        await queue.put("a", 2, if_in_flight="buffer")
    before = await state(queue)
    with pytest.raises(KeyAlreadyInFlightError, match=r"'a'.*reject"):
        await queue.put("a", 9, if_in_flight="reject")
    assert await state(queue) == before
    await queue.release(leased)
    assert await drain(queue) == [("a", 1 if also == "nothing" else 2)]


@pytest.mark.req("PUT-1")
async def test_reject_takes_a_key_again_once_its_lease_has_run_out() -> None:
    queue = LeasedKeyQueue[str, int]()
    await put_leased(queue, "a", 1, lease_timeout=1)
    jump(1)
    await queue.put("a", 2, if_in_flight="reject")
    assert await drain(queue) == [("a", 2)]


@pytest.mark.req("PUT-4", "KEY-4")
async def test_update_gives_the_value_to_the_copy_in_flight() -> None:
    queue = LeasedKeyQueue[str, int]()
    leased = await put_leased(queue, "a", 1)
    await queue.put("a", 2)
    assert await queue.qsize() == 0
    await queue.release(leased)
    assert await drain(queue) == [("a", 2)]


@pytest.mark.req("PUT-4", "KEY-2")
@pytest.mark.parametrize("again", list(itertools.permutations(range(3))))
async def test_update_goes_to_the_newest_of_several_copies_whatever_the_order_of_their_grants(
    again: tuple[int, ...],
) -> None:
    """Each of three copies goes back and out again, so that grants and versions differ."""
    queue = LeasedKeyQueue[str, int]()
    leases = [await put_leased(queue, "a", 0)]
    for value in (1, 2):
        await queue.put("a", value, if_in_flight="buffer")
        leases.append(await lease(queue))
    for index in again:
        await queue.release(leases[index], requeue_front=True)
        key, value, leases[index] = await queue.take("a", 0)
        assert (key, value) == ("a", index)
        check(queue)
    await queue.put("a", 9)
    check(queue)
    for index in (0, 1, 2):
        await queue.release(leases[index])
        _, value, leases[index] = await queue.get(0)
        assert value == (9 if index == 2 else index)
        check(queue)


@pytest.mark.req("PUT-4")
async def test_update_goes_to_the_newest_value_that_is_left() -> None:
    queue = LeasedKeyQueue[str, int]()
    oldest = await put_leased(queue, "a", 0)
    leases = []
    for value in (1, 2):
        await queue.put("a", value, if_in_flight="buffer")
        leases.append(await lease(queue))
    await queue.ack(leases[1])
    await queue.put("a", 9)
    await queue.ack(leases[0])
    await queue.release(oldest)
    assert await drain(queue) == [("a", 0)]


@pytest.mark.req("PUT-3", "KEY-3")
async def test_update_goes_to_the_deferred_value_if_there_is_one() -> None:
    queue = LeasedKeyQueue[str, int]()
    leased = await put_leased(queue, "a", 1)
    await queue.put("a", 2, if_in_flight="defer")
    await queue.put("a", 3, if_in_flight="update")
    assert await state(queue) == {"available": {}, "in flight": {"a"}, "sizes": (0, 1)}
    await queue.ack(leased)
    assert await drain(queue) == [("a", 3)]


@pytest.mark.req("PUT-5", "ACK-2")
async def test_a_deferred_value_comes_at_the_back_when_the_lease_is_acked() -> None:
    queue = LeasedKeyQueue[str, int]()
    leased = await put_leased(queue, "a", 1)
    await queue.put("a", 2, if_in_flight="defer")
    await queue.put("b", 1)
    assert not await queue.contains("a")
    await queue.ack(leased)
    assert await drain(queue) == [("b", 1), ("a", 2)]


@pytest.mark.req("PUT-5", "KEY-3")
async def test_a_deferred_value_is_replaced_by_the_next() -> None:
    queue = LeasedKeyQueue[str, int]()
    leased = await put_leased(queue, "a", 1)
    for value in (2, 3, 4):
        await queue.put("a", value, if_in_flight="defer")
    await queue.ack(leased)
    assert await drain(queue) == [("a", 4)]


@pytest.mark.req("PUT-5", "ACK-2")
async def test_none_can_be_deferred_like_any_value() -> None:
    queue = LeasedKeyQueue[str, int | None]()
    leased = await put_leased(queue, "a", 1)
    await queue.put("a", None, if_in_flight="defer")
    await queue.ack(leased)
    assert await drain(queue) == [("a", None)]


@pytest.mark.req("PUT-7", "KEY-2")
async def test_buffer_adds_a_copy_at_the_back() -> None:
    queue = LeasedKeyQueue[str, int]()
    first = await put_leased(queue, "a", 1)
    await queue.put("b", 1)
    await queue.put("a", 2, if_in_flight="buffer")
    assert await state(queue) == {
        "available": {"a": 2, "b": 1},
        "in flight": {"a"},
        "sizes": (2, 1),
    }
    assert await keys(queue) == ["b", "a"]
    assert (await queue.inflight_keys(), await queue.inflight_size()) == ({"a", "b"}, 3)
    await queue.ack(first)
    assert (await queue.inflight_keys(), await queue.inflight_size()) == ({"a", "b"}, 2)


@pytest.mark.req("PUT-7", "KEY-3")
async def test_buffer_supersedes_a_deferred_value() -> None:
    queue = LeasedKeyQueue[str, int]()
    leased = await put_leased(queue, "a", 1)
    await queue.put("a", 2, if_in_flight="defer")
    await queue.put("a", 3, if_in_flight="buffer")
    assert await drain(queue) == [("a", 3)]
    await queue.ack(leased)
    assert await queue.qsize() == 0


@pytest.mark.req("PUT-8")
@pytest.mark.parametrize(
    ("policy", "alone", "kept", "accepted"),
    [
        ("update", True, False, True),
        ("reject", True, True, False),
        ("buffer", False, True, True),
        ("defer", True, True, True),
    ],
)
async def test_the_policies_and_their_guarantees(
    policy: Any, alone: bool, kept: bool, accepted: bool
) -> None:
    """Worked on once at a time; newest value never lost unseen; producer never turned away."""
    queue = LeasedKeyQueue[str, int]()
    leased = await put_leased(queue, "a", 1)
    try:
        await queue.put("a", 2, if_in_flight=policy)
    except KeyAlreadyInFlightError:
        newest = 1  # the producer still has the other
        assert not accepted
    else:
        newest = 2
        assert accepted
    assert (await queue.qsize() == 0) == alone
    seen = [1, *(value for _, value in await drain(queue))]
    await queue.ack(leased)
    seen += [value for _, value in await drain(queue)]
    assert (newest in seen) == kept


# -- take ---------------------------------------------------------------------


@pytest.mark.req("TAKE-1")
@pytest.mark.parametrize("key", ["a", "b", "c"])
async def test_take_leases_a_key_wherever_it_stands(key: str) -> None:
    queue = LeasedKeyQueue[str, str]()
    for other in "abc":
        await queue.put(other, other.upper())
    taken, value, granted = await queue.take(key)
    assert (taken, value, granted.key) == (key, key.upper(), key)
    assert await keys(queue) == [other for other in "abc" if other != key]


@pytest.mark.req("TAKE-1", "LINE-1")
@pytest.mark.parametrize("key", ["a", "b", "c"])
async def test_take_leases_a_key_from_the_first_part_of_the_line_too(key: str) -> None:
    queue = LeasedKeyQueue[str, int]()
    for granted in [await put_leased(queue, other, 0) for other in "cba"]:
        await queue.release(granted, requeue_front=True)
    await queue.put("d", 0)
    await queue.take(key)
    assert await keys(queue) == [other for other in "abcd" if other != key]


@pytest.mark.req("TAKE-1", "KEY-2")
async def test_take_leases_the_available_copy_of_a_key_that_is_also_in_flight() -> None:
    queue = LeasedKeyQueue[str, int]()
    first = await put_leased(queue, "a", 1)
    await queue.put("a", 2, if_in_flight="buffer")
    _, value, second = await queue.take("a", 0)
    assert value == 2
    assert first != second
    with pytest.raises(asyncio.TimeoutError):
        await queue.take("a", 0)


# -- ack, release -------------------------------------------------------------


@pytest.mark.req("ACK-1")
async def test_ack_removes_the_copy_for_good() -> None:
    queue = LeasedKeyQueue[str, int]()
    await queue.ack(await put_leased(queue, "a", 1))
    assert await state(queue) == {"available": {}, "in flight": set(), "sizes": (0, 0)}


@pytest.mark.req("ACK-1", "KEY-2")
async def test_ack_removes_no_other_copy_of_the_key() -> None:
    queue = LeasedKeyQueue[str, int]()
    first = await put_leased(queue, "a", 1)
    await queue.put("a", 2, if_in_flight="buffer")
    second = await lease(queue)
    await queue.put("a", 3, if_in_flight="buffer")
    await queue.ack(second)
    assert await queue.inflight_size() == 1
    assert await queue.peek("a") == 3
    await queue.ack(first)
    assert await drain(queue) == [("a", 3)]


@pytest.mark.req("ACK-2")
@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
async def test_a_deferred_value_waits_for_the_last_of_the_leases(order: tuple[int, int]) -> None:
    queue = LeasedKeyQueue[str, int]()
    leases = [await put_leased(queue, "a", 1)]
    await queue.put("a", 2, if_in_flight="buffer")
    leases.append(await lease(queue))
    await queue.put("a", 3, if_in_flight="defer")
    await queue.ack(leases[order[0]])
    assert await queue.qsize() == 0
    await queue.ack(leases[order[1]])
    assert await drain(queue) == [("a", 3)]


@pytest.mark.req("REL-3")
@pytest.mark.parametrize("front", [False, True])
async def test_release_takes_the_deferred_value_with_it(front: bool) -> None:
    queue = LeasedKeyQueue[str, int]()
    await queue.put("b", 1)
    leased = await put_leased(queue, "a", 1)
    await queue.put("a", 2, if_in_flight="defer")
    await queue.release(leased, requeue_front=front)
    line = [("b", 1), ("a", 2)]
    assert await drain(queue) == (line[::-1] if front else line)


@pytest.mark.req("REL-3", "ACK-2", "KEY-3")
async def test_a_deferred_value_that_was_merged_is_deferred_no_longer() -> None:
    queue = LeasedKeyQueue[str, int]()
    first = await put_leased(queue, "a", 1)
    await queue.put("a", 2, if_in_flight="buffer")
    second = await lease(queue)
    await queue.put("a", 3, if_in_flight="defer")
    await queue.release(second)
    assert await queue.peek("a") == 3
    await queue.ack(await lease(queue))
    await queue.ack(first)
    assert await state(queue) == {"available": {}, "in flight": set(), "sizes": (0, 0)}


@pytest.mark.req("REL-3", "EXP-3")
async def test_expiry_takes_the_deferred_value_with_it() -> None:
    queue = LeasedKeyQueue[str, int]()
    await put_leased(queue, "a", 1, lease_timeout=1)
    await queue.put("a", 2, if_in_flight="defer")
    await asyncio.sleep(1)
    assert await drain(queue) == [("a", 2)]


@pytest.mark.req("REL-4", "KEY-1", "KEY-4")
@pytest.mark.parametrize("front", [False, True])
async def test_release_beside_an_available_copy_duplicates_nothing(front: bool) -> None:
    queue = LeasedKeyQueue[str, int]()
    leased = await put_leased(queue, "a", 1)
    await queue.put("b", 1)
    await queue.put("a", 2, if_in_flight="buffer")
    await queue.put("c", 1)
    await queue.release(leased, requeue_front=front)
    assert await drain(queue) == [("b", 1), ("a", 2), ("c", 1)]


@pytest.mark.req("REL-4", "KEY-4")
async def test_release_beside_an_older_available_copy_hands_over_the_newer_value() -> None:
    queue = LeasedKeyQueue[str, int]()
    older = await put_leased(queue, "a", 1)
    await queue.put("a", 2, if_in_flight="buffer")
    newer = await lease(queue)
    await queue.release(older)
    await queue.put("b", 1)
    assert await queue.peek("a") == 1
    await queue.release(newer, requeue_front=True)
    assert await drain(queue) == [("a", 2), ("b", 1)]


@pytest.mark.req("KEY-4", "REL-4", "PUT-4")
async def test_an_update_in_flight_is_newer_than_a_copy_that_was_buffered_before() -> None:
    """The two copies swap ages twice, and no older value ever wins."""
    queue = LeasedKeyQueue[str, int]()
    one = await put_leased(queue, "a", 1)
    await queue.put("a", 2, if_in_flight="buffer")
    two = await lease(queue)
    await queue.release(one)
    one = await lease(queue)  # 1, granted last
    await queue.put("a", 3)  # to the copy with 2, which is the newest
    await queue.release(two)
    assert await queue.peek("a") == 3
    await queue.release(one)
    assert await drain(queue) == [("a", 3)]


# -- extend -------------------------------------------------------------------


@pytest.mark.req("EXT-1")
@pytest.mark.parametrize("timeout", [1.0, 10.0, 100.0])
async def test_extend_sets_the_deadline_anew_be_it_later_or_sooner(timeout: float) -> None:
    queue = LeasedKeyQueue[str, int]()
    leased = await put_leased(queue, "a", 1, lease_timeout=10)
    await asyncio.sleep(5)
    await queue.extend(leased, timeout)
    await asyncio.sleep(timeout - TICK)
    assert await queue.inflight_size() == 1
    await asyncio.sleep(TICK)
    assert await queue.inflight_size() == 0


@pytest.mark.req("EXT-2")
async def test_extend_without_timeout_uses_the_duration_of_the_grant() -> None:
    queue = LeasedKeyQueue[str, int](default_lease_timeout=99)
    leased = await put_leased(queue, "a", 1, lease_timeout=10)
    await queue.extend(leased, 50)
    await asyncio.sleep(5)
    await queue.extend(leased)
    await asyncio.sleep(10 - TICK)
    assert await queue.inflight_size() == 1
    await asyncio.sleep(TICK)
    assert await queue.inflight_size() == 0


@pytest.mark.req("EXT-2", "EXP-9")
@pytest.mark.parametrize("default", [None, 3, math.inf])
async def test_extend_uses_the_default_if_the_lease_was_granted_with_it(
    default: float | None,
) -> None:
    queue = LeasedKeyQueue[str, int](default_lease_timeout=default)
    leased = await put_leased(queue, "a", 1)
    await queue.extend(leased, 1)
    await queue.extend(leased)
    await asyncio.sleep(2)
    assert await queue.inflight_size() == 1
    await asyncio.sleep(1)
    assert await queue.inflight_size() == (0 if default == 3 else 1)


@pytest.mark.req("EXT-1", "EXP-9")
async def test_extend_can_give_and_take_away_a_deadline() -> None:
    queue = LeasedKeyQueue[str, int]()
    a = await put_leased(queue, "a", 1)
    b = await put_leased(queue, "b", 1, lease_timeout=1)
    await queue.extend(a, 1)
    await queue.extend(b, math.inf)
    await asyncio.sleep(1000)
    assert await queue.inflight_keys() == {"b"}


@pytest.mark.req("EXT-1", "EXP-2")
async def test_extend_changes_the_order_in_which_leases_run_out() -> None:
    queue = LeasedKeyQueue[str, int](default_lease_timeout=10)
    leases = {key: await put_leased(queue, key, 1) for key in "abc"}
    await asyncio.sleep(1)
    await queue.extend(leases["a"])
    await asyncio.sleep(1)
    await queue.extend(leases["b"])
    await asyncio.sleep(100)
    assert await keys(queue) == ["c", "a", "b"]


@pytest.mark.req("EXT-1", "KEY-3")
async def test_extend_touches_nothing_but_the_clock() -> None:
    queue = LeasedKeyQueue[str, int]()
    leased = await put_leased(queue, "a", 1, lease_timeout=1)
    await queue.put("a", 2, if_in_flight="defer")
    before = await state(queue)
    await queue.extend(leased, 7)
    assert await state(queue) == before
    await queue.ack(leased)
    assert await drain(queue) == [("a", 2)]


# -- leases -------------------------------------------------------------------


@on_leases
@pytest.mark.req("LEASE-6", "LEASE-9", "EXT-3")
async def test_after_ack_a_lease_is_acknowledged_already(use: LeaseCall) -> None:
    queue = LeasedKeyQueue[str, int]()
    leased = await put_leased(queue, "a", 1)
    await queue.ack(leased)
    for _ in range(2):
        with pytest.raises(LeaseAlreadyAcknowledgedError):
            await use(queue, leased)


@on_leases
@pytest.mark.req("LEASE-7", "LEASE-9", "EXT-3")
@pytest.mark.parametrize("front", [False, True])
async def test_after_release_a_lease_is_invalid_and_not_expired(
    use: LeaseCall, front: bool
) -> None:
    queue = LeasedKeyQueue[str, int]()
    leased = await put_leased(queue, "a", 1, lease_timeout=1)
    await queue.release(leased, requeue_front=front)
    await asyncio.sleep(2)
    with pytest.raises(InvalidLeaseError) as caught:
        await use(queue, leased)
    assert caught.type is InvalidLeaseError


@on_leases
@pytest.mark.req("LEASE-8", "LEASE-9", "EXT-3", "EXP-1")
@pytest.mark.parametrize("seen", [False, True])
async def test_after_expiry_a_lease_is_expired(use: LeaseCall, seen: bool) -> None:
    queue = LeasedKeyQueue[str, int]()
    leased = await put_leased(queue, "a", 1, lease_timeout=1)
    jump(1)
    if seen:
        assert await queue.qsize() == 1
    for _ in range(2):
        with pytest.raises(LeaseExpiredError):
            await use(queue, leased)
    assert await drain(queue) == [("a", 1)]


@on_leases
@pytest.mark.req("LEASE-9", "LEASE-11")
async def test_what_became_of_a_lease_is_known_after_a_thousand_others(use: LeaseCall) -> None:
    queue = LeasedKeyQueue[str, int]()
    acked, released, expired = [
        await put_leased(queue, key, 1, lease_timeout=1) for key in ("a", "r", "e")
    ]
    await queue.ack(acked)
    await queue.release(released)
    await asyncio.sleep(1)
    await queue.take("e", 0)
    for number in range(1000):
        await queue.ack(await put_leased(queue, "a", number))
    before = await state(queue)
    for ended, error in (
        (acked, LeaseAlreadyAcknowledgedError),
        (released, InvalidLeaseError),
        (expired, LeaseExpiredError),
    ):
        with pytest.raises(error):
            await use(queue, ended)
    assert await state(queue) == before


@on_leases
@pytest.mark.req("LEASE-5")
async def test_a_lease_that_never_was_is_invalid(use: LeaseCall) -> None:
    queue = LeasedKeyQueue[str, int]()
    granted = await put_leased(queue, "a", 1)
    before = await state(queue)
    prefix, number = granted.token[:-12], granted.token[-12:]
    assert int(number, 16) > 0
    for token in (
        "",
        "no token",
        prefix,
        prefix + "f" * 12,
        granted.token.upper() + " ",
        granted.token + "0",
        prefix + number.lstrip("0"),
        prefix + f"{int(number, 16):+012x}",
        prefix + "0_" + number[2:],
        "0" * 36,
    ):
        with pytest.raises(InvalidLeaseError):
            await use(queue, Lease(token=token, key="a"))
    for wrong in (None, 1, b"bytes"):
        with pytest.raises(InvalidLeaseError):
            await use(queue, Lease(token=wrong, key="a"))  # type: ignore[arg-type]
    assert await state(queue) == before


@on_leases
@pytest.mark.req("LEASE-5")
async def test_the_token_of_a_grant_to_come_or_of_a_reservation_is_invalid(use: LeaseCall) -> None:
    queue = LeasedKeyQueue[str, int]()
    granted = await put_leased(queue, "a", 1)
    following = granted.token[:-12] + f"{int(granted.token[-12:], 16) + 1:012x}"
    with pytest.raises(InvalidLeaseError):
        await use(queue, Lease(token=following, key="b"))
    waiting = await blocked(queue.get())
    await queue.put("b", 1)
    with pytest.raises(InvalidLeaseError):
        await use(queue, Lease(token=following, key="b"))
    assert (await waiting)[2] == Lease(token=following, key="b")


@on_leases
@pytest.mark.req("LEASE-5")
async def test_the_lease_of_another_queue_is_invalid(use: LeaseCall) -> None:
    queue, other = LeasedKeyQueue[str, int](), LeasedKeyQueue[str, int]()
    granted = await put_leased(queue, "a", 1)
    foreign = await put_leased(other, "a", 1)
    for ours in (foreign, Lease(token=foreign.token, key="a")):
        with pytest.raises(InvalidLeaseError):
            await use(queue, ours)
    await queue.ack(granted)
    await other.ack(foreign)


REBUILT: dict[str, Callable[[Lease[str]], Lease[str]]] = {
    "rebuilt": lambda lease: Lease(token=lease.token, key=lease.key),
    "copied": copy.copy,
    "deeply copied": copy.deepcopy,
    "pickled": lambda lease: pickle.loads(pickle.dumps(lease)),
}


@pytest.mark.req("LEASE-4")
@pytest.mark.parametrize("rebuild", REBUILT.values(), ids=REBUILT)
async def test_a_rebuilt_lease_works_like_the_original_while_it_is_live(
    rebuild: Callable[[Lease[str]], Lease[str]],
) -> None:
    queue = LeasedKeyQueue[str, int]()
    originals = [await put_leased(queue, key, 1) for key in "abcd"]
    a, b, c, d = map(rebuild, originals)
    assert [a, b, c, d] == originals
    await queue.ack(a)
    with pytest.raises(LeaseAlreadyAcknowledgedError):
        await queue.ack(originals[0])
    await queue.release(b)
    await queue.release(c, requeue_front=True)
    await queue.extend(d, 1)
    assert await keys(queue) == ["c", "b"]
    await asyncio.sleep(1)
    with pytest.raises(LeaseExpiredError):
        await queue.ack(originals[3])


@on_leases
@pytest.mark.req("LEASE-9", "LEASE-10")
@pytest.mark.parametrize("end", ["ack", "release", "expiry"])
async def test_a_rebuilt_lease_that_has_ended_is_invalid(use: LeaseCall, end: str) -> None:
    queue = LeasedKeyQueue[str, int]()
    original = await put_leased(queue, "a", 1, lease_timeout=1)
    rebuilt = Lease(token=original.token, key=original.key)
    if end == "ack":
        await queue.ack(original)
    elif end == "release":
        await queue.release(original)
    else:
        jump(1)
    before = await state(queue)
    with pytest.raises(InvalidLeaseError):
        await use(queue, rebuilt)
    assert await state(queue) == before


@on_leases
@pytest.mark.req("LEASE-11")
async def test_a_lease_with_another_key_is_refused_and_harms_neither(use: LeaseCall) -> None:
    queue = LeasedKeyQueue[str, int]()
    a, b = [await put_leased(queue, key, 1) for key in "ab"]
    before = await state(queue)
    for key in ("b", "absent"):
        with pytest.raises(InvalidLeaseError, match="key"):
            await use(queue, Lease(token=a.token, key=key))
    assert await state(queue) == before
    await queue.ack(a)
    await queue.ack(b)


@pytest.mark.req("LEASE-4", "LEASE-11")
async def test_a_rebuilt_lease_may_have_an_equal_key_that_is_another_object() -> None:
    queue = LeasedKeyQueue[float, int]()
    await queue.put(1, 1)
    _, _, granted = await queue.get()
    await queue.ack(Lease(token=granted.token, key=1.0))
    assert await queue.inflight_size() == 0


@pytest.mark.req("LEASE-2")
async def test_tokens_sort_in_the_order_of_the_grants() -> None:
    queue = LeasedKeyQueue[int, int]()
    for key in range(300):
        await queue.put(key, 0)
    granted = [(await queue.get())[2] for _ in range(300)]
    for ended in granted[::2]:
        await queue.release(ended, requeue_front=True)
    granted += [(await queue.get())[2] for _ in range(150)]
    tokens = [granted.token for granted in granted]
    assert tokens == sorted(tokens)
    assert len(set(tokens)) == len(tokens)


@pytest.mark.req("LEASE-2", "WAIT-2")
async def test_the_grant_is_numbered_when_the_copy_is_given_not_when_the_call_resumes() -> None:
    queue = LeasedKeyQueue[str, int]()
    waiting = await blocked(queue.get())
    await queue.put("a", 1)
    await queue.put("b", 1)
    later = await lease(queue)
    assert (await waiting)[2].token < later.token


# -- expiry -------------------------------------------------------------------

Look = Callable[[LeasedKeyQueue[str, int]], Awaitable[object]]
LOOKS: dict[str, tuple[Look, object, object]] = {
    "peek": (lambda queue: queue.peek("a"), None, 1),
    "contains": (lambda queue: queue.contains("a"), False, True),
    "available_keys": (lambda queue: queue.available_keys(), set(), {"a"}),
    "inflight_keys": (lambda queue: queue.inflight_keys(), {"a"}, set()),
    "qsize": (lambda queue: queue.qsize(), 0, 1),
    "inflight_size": (lambda queue: queue.inflight_size(), 1, 0),
}


@pytest.mark.req("OP-3", "EXP-1")
@pytest.mark.parametrize(("look", "before", "after"), LOOKS.values(), ids=LOOKS)
@pytest.mark.parametrize("asleep", [False, True])
async def test_introspection_sees_a_lease_until_its_deadline_and_no_longer(
    look: Look, before: object, after: object, asleep: bool
) -> None:
    queue = LeasedKeyQueue[str, int]()
    await put_leased(queue, "a", 1, lease_timeout=2)
    await asyncio.sleep(2 - TICK)
    assert await look(queue) == before
    if asleep:
        await asyncio.sleep(TICK)
    else:
        jump(TICK)
    assert await look(queue) == after
    check(queue)


@pytest.mark.req("OP-3", "EXP-1")
async def test_put_get_and_take_end_the_leases_that_are_due() -> None:
    queue = LeasedKeyQueue[str, int]()
    await put_leased(queue, "a", 1, lease_timeout=1)
    jump(1)
    await queue.put("a", 2, if_in_flight="defer")  # the key is available by now
    assert await queue.peek("a") == 2
    await lease(queue, lease_timeout=1)
    jump(1)
    assert (await queue.get(0, lease_timeout=1))[:2] == ("a", 2)
    jump(1)
    assert (await queue.take("a", 0))[:2] == ("a", 2)


@pytest.mark.req("OP-3", "EXP-1")
@pytest.mark.parametrize("use", ["ack", "release", "extend", "put", "start", "close"])
async def test_the_other_operations_end_the_leases_that_are_due(use: str) -> None:
    """Seen through the order of the line: the due copy is there before the operation acts."""
    queue = LeasedKeyQueue[str, int]()
    other = await put_leased(queue, "other", 1)
    due = await put_leased(queue, "due", 1, lease_timeout=1)
    jump(1)
    match use:
        case "ack":
            await queue.ack(other)
        case "release":
            await queue.release(other, requeue_front=True)
        case "extend":
            await queue.extend(other, 1)
        case "put":
            await queue.put("other", 2)
        case "start":
            await queue.start()
        case "close":
            await queue.close()
            assert await queue.available_keys() == {"due", "other"}
            return
    with pytest.raises(LeaseExpiredError):
        await queue.ack(due)
    assert await keys(queue) == (["other", "due"] if use == "release" else ["due"])


@pytest.mark.req("EXP-2")
async def test_leases_end_in_the_order_of_their_deadlines_not_of_their_grants() -> None:
    queue = LeasedKeyQueue[str, int]()
    for key, timeout in (("a", 3), ("b", 1), ("c", 2), ("d", 1)):
        await put_leased(queue, key, 1, lease_timeout=timeout)
    jump(10)
    assert await keys(queue) == ["b", "d", "c", "a"]


@pytest.mark.req("EXP-2")
async def test_leases_with_one_deadline_end_in_the_order_of_their_grants() -> None:
    queue = LeasedKeyQueue[str, int]()
    for key, timeout in (("a", 4), ("b", 3), ("c", 2), ("d", 9)):
        await put_leased(queue, key, 1, lease_timeout=timeout)
        jump(1)
    await queue.put("put", 1)
    assert await keys(queue) == ["a", "b", "c", "put"]


@pytest.mark.req("EXP-4")
@pytest.mark.parametrize("looks", list(itertools.product([False, True], repeat=4)))
async def test_the_line_does_not_depend_on_when_anyone_looked(looks: tuple[bool, ...]) -> None:
    queue = LeasedKeyQueue[str, int]()
    for key, timeout in (("a", 4), ("b", 1), ("c", 3), ("d", 2), ("e", 3)):
        await put_leased(queue, key, 1, lease_timeout=timeout)
    await queue.put("b", 2, if_in_flight="defer")
    await queue.put("c", 2, if_in_flight="buffer")
    for look in looks:
        jump(1)
        if look:
            await queue.qsize()
    assert await drain(queue) == [("b", 2), ("d", 1), ("e", 1), ("a", 1), ("c", 2)]


@pytest.mark.req("EXP-9")
async def test_none_is_the_default_and_infinity_is_never() -> None:
    queue = LeasedKeyQueue[str, int](default_lease_timeout=2)
    await put_leased(queue, "default", 1)
    await put_leased(queue, "none", 1, lease_timeout=None)
    await put_leased(queue, "never", 1, lease_timeout=math.inf)
    await put_leased(queue, "shorter", 1, lease_timeout=1)
    await put_leased(queue, "longer", 1, lease_timeout=3)
    await asyncio.sleep(1)
    assert await queue.available_keys() == {"shorter"}
    await asyncio.sleep(1)
    assert await queue.available_keys() == {"shorter", "default", "none"}
    jump(1e9)
    assert await queue.inflight_keys() == {"never"}


@pytest.mark.req("EXP-9")
@pytest.mark.parametrize("default", [None, math.inf])
async def test_without_a_default_a_lease_lasts_for_ever(default: float | None) -> None:
    queue = LeasedKeyQueue[str, int](default_lease_timeout=default)
    await put_leased(queue, "a", 1)
    jump(1e9)
    assert await queue.inflight_keys() == {"a"}


@pytest.mark.req("EXP-9")
async def test_a_take_and_a_call_that_waited_have_the_default_and_their_own_duration() -> None:
    queue = LeasedKeyQueue[str, int](default_lease_timeout=2)
    getting = await blocked(queue.get())
    taking = await blocked(queue.take("b", lease_timeout=1))
    await queue.put("a", 1)
    await queue.put("b", 1)
    await getting
    await taking
    await asyncio.sleep(1)
    assert await queue.available_keys() == {"b"}
    await asyncio.sleep(1)
    assert await queue.available_keys() == {"a", "b"}


@pytest.mark.req("EXP-1")
@pytest.mark.parametrize("timeout", [TICK, 0.5, 1, Fraction(3, 2), True, 10**9])
async def test_a_lease_may_have_any_length(timeout: Any) -> None:
    queue = LeasedKeyQueue[str, int]()
    await put_leased(queue, "a", 1, lease_timeout=timeout)
    if timeout != TICK:
        jump(float(timeout) - TICK)
    assert await queue.inflight_size() == 1
    jump(TICK)
    assert await queue.inflight_size() == 0


# -- lifecycle ----------------------------------------------------------------


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


@pytest.mark.req("IN-11")
async def test_the_context_manager_lets_exceptions_through() -> None:
    queue = LeasedKeyQueue[str, int]()
    with pytest.raises(ZeroDivisionError):
        async with queue:
            raise ZeroDivisionError
    with pytest.raises(QueueClosedError):
        await queue.start()


@pytest.mark.req("CLOSE-4", "OP-1")
async def test_a_closed_queue_refuses_every_operation() -> None:
    queue = await a_queue()
    leased = await put_leased(queue, "x", 1)
    await queue.close()
    before = await state(queue)
    calls: list[Callable[[], Awaitable[object]]] = [
        lambda: queue.start(),
        lambda: queue.put("a", 9),
        lambda: queue.put("new", 9),
        lambda: queue.get(),
        lambda: queue.get(0),
        lambda: queue.take("a"),
        lambda: queue.take("absent", 0),
        lambda: queue.ack(leased),
        lambda: queue.release(leased),
        lambda: queue.release(leased, requeue_front=True),
        lambda: queue.extend(leased),
        lambda: queue.extend(leased, 5),
    ]
    for call in calls:
        with pytest.raises(QueueClosedError, match="closed"):
            await call()
    assert await state(queue) == before


@pytest.mark.req("CLOSE-4")
async def test_a_closed_queue_refuses_stale_and_foreign_leases_as_closed_too() -> None:
    queue = LeasedKeyQueue[str, int]()
    stale = await put_leased(queue, "a", 1)
    await queue.ack(stale)
    await queue.close()
    for any_lease in (stale, Lease(token="no token", key="a")):
        with pytest.raises(QueueClosedError):
            await queue.ack(any_lease)


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


@pytest.mark.req("CLOSE-1", "KEY-4")
async def test_close_keeps_the_newest_of_all_values_of_a_key() -> None:
    queue = LeasedKeyQueue[str, int]()
    await put_leased(queue, "a", 1)
    for value in (2, 3):
        await queue.put("a", value, if_in_flight="buffer")
        await lease(queue)
    await queue.close()
    assert await state(queue) == {"available": {"a": 3}, "in flight": set(), "sizes": (1, 0)}


@pytest.mark.req("CLOSE-3")
async def test_a_second_close_does_nothing() -> None:
    queue = await a_queue()
    await queue.close()
    before = await state(queue)
    await queue.close()
    assert await state(queue) == before


@pytest.mark.req("CLOSE-4", "EXP-7")
async def test_nothing_changes_on_a_closed_queue_when_time_passes() -> None:
    queue = LeasedKeyQueue[str, int](default_lease_timeout=1)
    await put_leased(queue, "a", 1)
    await queue.close()
    await asyncio.sleep(10)
    assert await state(queue) == {"available": {"a": 1}, "in flight": set(), "sizes": (1, 0)}


# -- bad input ----------------------------------------------------------------


async def test_an_operation_that_is_refused_by_name_leaves_no_coroutine_behind() -> None:
    queue = LeasedKeyQueue[str, int]()
    with pytest.raises(TypeError):
        await queue.put("a")  # type: ignore[call-arg]


@pytest.mark.req("IN-1", "IN-7")
@pytest.mark.parametrize("policy", ["", "UPDATE", "keep", None, 0, ["update"], ("update",)])
@pytest.mark.parametrize("key", ["a", "c", "absent"])
async def test_an_unknown_policy_is_a_value_error_that_lists_the_known(
    policy: Any, key: str
) -> None:
    queue = await a_queue()
    before = await state(queue)
    with pytest.raises(ValueError, match=r"update.*reject.*buffer.*defer") as caught:
        await queue.put(key, 9, if_in_flight=policy)
    assert repr(policy) in str(caught.value)
    assert await state(queue) == before


NO_NUMBERS: list[Any] = ["1", b"1", 1j, [1], object(), Decimal(1), time.gmtime()]


@pytest.mark.req("IN-2", "IN-7")
@pytest.mark.parametrize("bad", NO_NUMBERS, ids=lambda bad: type(bad).__name__)
async def test_a_timeout_that_is_no_real_number_is_a_type_error(bad: Any) -> None:
    queue = await a_queue()
    leased = await put_leased(queue, "x", 1)
    before = await state(queue)
    for call in timeouts(queue, leased, bad) + lease_timeouts(queue, leased, bad):
        with pytest.raises(TypeError, match="number of seconds"):
            await call()
    assert await state(queue) == before


@pytest.mark.req("IN-3", "IN-7")
async def test_nan_is_a_value_error() -> None:
    queue = await a_queue()
    leased = await put_leased(queue, "x", 1)
    before = await state(queue)
    for call in timeouts(queue, leased, math.nan) + lease_timeouts(queue, leased, math.nan):
        with pytest.raises(ValueError, match="NaN"):
            await call()
    assert await state(queue) == before


@pytest.mark.req("IN-4", "IN-7")
@pytest.mark.parametrize("bad", [0, 0.0, -0.0, -1, -1e-9, -math.inf, False, -(10**400)])
async def test_a_lease_timeout_of_zero_or_less_is_a_value_error(bad: Any) -> None:
    queue = await a_queue()
    leased = await put_leased(queue, "x", 1)
    before = await state(queue)
    for call in lease_timeouts(queue, leased, bad):
        with pytest.raises(ValueError, match="more than zero"):
            await call()
    assert await state(queue) == before


def timeouts(
    queue: LeasedKeyQueue[str, int], lease: Lease[str], bad: Any
) -> list[Callable[[], Awaitable[object]]]:
    """Every call with a bad bound for its wait."""
    return [
        lambda: queue.get(bad),
        lambda: queue.get(timeout=bad, lease_timeout=1),
        lambda: queue.take("a", bad),
        lambda: queue.take("absent", timeout=bad),
    ]


def lease_timeouts(
    queue: LeasedKeyQueue[str, int], lease: Lease[str], bad: Any
) -> list[Callable[[], Awaitable[object]]]:
    """Every call with a bad duration for a lease."""

    async def construct() -> object:
        return LeasedKeyQueue[str, int](default_lease_timeout=bad)

    return [
        construct,
        lambda: queue.get(lease_timeout=bad),
        lambda: queue.get(0, lease_timeout=bad),
        lambda: queue.take("a", lease_timeout=bad),
        lambda: queue.take("absent", lease_timeout=bad),
        lambda: queue.extend(lease, bad),
    ]


async def test_a_number_too_great_for_a_float_is_for_ever() -> None:
    queue = LeasedKeyQueue[str, int](default_lease_timeout=10**400)
    await put_leased(queue, "a", 1)
    await put_leased(queue, "b", 1, lease_timeout=10**400)
    with pytest.raises(asyncio.TimeoutError):
        await queue.get(-(10**400))
    waiting = await blocked(queue.get(10**400))
    jump(1e9)
    await quiet()
    await queue.put("c", 1)
    assert (await waiting)[0] == "c"
    assert await queue.inflight_size() == 3


@pytest.mark.req("IN-5", "IN-7")
async def test_an_unhashable_key_is_a_type_error() -> None:
    queue: LeasedKeyQueue[Any, int] = await a_queue()
    before = await state(queue)
    calls: list[Callable[[], Awaitable[object]]] = [
        lambda: queue.put(["list"], 1),
        lambda: queue.take({}),
        lambda: queue.take({}, 0),
        lambda: queue.peek(set()),
        lambda: queue.contains([]),
    ]
    for call in calls:
        with pytest.raises(TypeError, match="unhashable"):
            await call()
    assert await state(queue) == before


@on_leases
@pytest.mark.req("IN-6", "IN-7")
async def test_an_argument_that_is_no_lease_is_a_type_error(use: LeaseCall) -> None:
    queue = await a_queue()
    leased = await put_leased(queue, "x", 1)
    before = await state(queue)
    looks_like_one = type("Impostor", (), {"token": leased.token, "key": "x"})()
    wrong: Any
    for wrong in (None, leased.token, (leased.token, "x"), looks_like_one, Lease):
        with pytest.raises(TypeError, match="Lease"):
            await use(queue, wrong)
    assert await state(queue) == before


# -- the loop -----------------------------------------------------------------


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
    "peek": lambda queue, lease: queue.peek("a"),
    "contains": lambda queue, lease: queue.contains("a"),
    "available_keys": lambda queue, lease: queue.available_keys(),
    "inflight_keys": lambda queue, lease: queue.inflight_keys(),
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
    with pytest.raises(RuntimeError, match="no running event loop"):
        coroutine.send(None)


@pytest.mark.req("IN-10")
def test_a_queue_can_be_made_outside_any_loop() -> None:
    queue = LeasedKeyQueue[str, int](default_lease_timeout=1)

    async def main() -> None:
        await queue.put("a", 1)
        assert await keys(queue) == ["a"]

    run(main())


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


# -- output -------------------------------------------------------------------


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


# -- what the tests of this directory stand on ----------------------------------


def test_a_virtual_loop_that_was_complained_to_cannot_be_closed() -> None:
    loop = VirtualLoop()
    loop.call_exception_handler({"message": "a complaint"})
    with pytest.raises(AssertionError, match="a complaint"):
        loop.close()
