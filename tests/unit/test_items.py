"""What `put`, `take`, `ack` and `release` do to the items, and to their order."""

import asyncio
from typing import Any

import pytest

from tests.subject import (
    KeyAlreadyInFlightError,
    Lease,
    LeasedKeyQueue,
    LeaseExpiredError,
)
from tests.unit.steps import (
    check,
    drain,
    keys,
    lease,
    put_leased,
    state,
)

POLICIES = ["update", "reject", "buffer", "defer"]


# -- the line ----------------------------------------------------------------------------


@pytest.mark.req("GET-1")
async def test_get_returns_key_value_and_a_lease_on_that_key() -> None:
    queue = LeasedKeyQueue[str, int]()
    await queue.put("k", 7)
    key, value, granted = await queue.get()
    assert (key, value, granted.__class__, granted.key) == ("k", 7, Lease, "k")
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


# -- put ---------------------------------------------------------------------------------


@pytest.mark.req("PUT-2", "KEY-1")
@pytest.mark.parametrize("policy", POLICIES)
async def test_put_on_an_available_key_replaces_the_value_in_its_place(policy: Any) -> None:
    queue = LeasedKeyQueue[str, int]()
    for key in "abc":
        await queue.put(key, 1)
    await queue.put("b", 2, if_in_flight=policy)
    assert await drain(queue) == [("a", 1), ("b", 2), ("c", 1)]


@pytest.mark.req("PUT-2", "PUT-4", "KEY-4")
@pytest.mark.parametrize("policy", ["update", "buffer", "defer"])
async def test_a_put_on_an_old_copy_that_came_back_makes_it_the_newest(policy: Any) -> None:
    """So an update goes there, once it is leased again, and not to those that were newer."""
    queue = LeasedKeyQueue[str, int]()
    leases = [await put_leased(queue, "a", 0)]
    for value in (1, 2):
        await queue.put("a", value, if_in_flight="buffer")
        leases.append(await lease(queue))
    await queue.release(leases[0])
    await queue.put("a", 3, if_in_flight=policy)
    check(queue)
    _, value, again = await queue.get(0)
    assert value == 3
    await queue.put("a", 9)
    check(queue)
    await queue.ack(again)
    await queue.release(leases[2])
    await queue.release(leases[1])
    assert await drain(queue) == [("a", 2)]


@pytest.mark.req("PUT-5", "ACK-2")
async def test_a_deferred_value_comes_at_the_back_when_the_lease_is_acked() -> None:
    queue = LeasedKeyQueue[str, int]()
    leased = await put_leased(queue, "a", 1)
    await queue.put("a", 2, if_in_flight="defer")
    await queue.put("b", 1)
    assert not await queue.contains("a")
    await queue.ack(leased)
    assert await drain(queue) == [("b", 1), ("a", 2)]


@pytest.mark.req("PUT-5", "ACK-2")
async def test_none_can_be_deferred_like_any_value() -> None:
    queue = LeasedKeyQueue[str, int | None]()
    leased = await put_leased(queue, "a", 1)
    await queue.put("a", None, if_in_flight="defer")
    await queue.ack(leased)
    assert await drain(queue) == [("a", None)]


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


# -- take --------------------------------------------------------------------------------


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


# -- ack, release ------------------------------------------------------------------------


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
