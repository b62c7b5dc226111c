"""Leases, as a user has them: what ends them, how long they last, what is known of them."""

import asyncio
import copy
import math
import pickle
from collections.abc import Awaitable, Callable
from fractions import Fraction
from typing import Any

import pytest

from tests.subject import (
    InvalidLeaseError,
    Lease,
    LeaseAlreadyAcknowledgedError,
    LeasedKeyQueue,
    LeaseExpiredError,
)
from tests.unit.steps import (
    LeaseCall,
    blocked,
    check,
    drain,
    keys,
    on_leases,
    put_leased,
    state,
)
from tests.virtual import TICK, jump

# -- leases ------------------------------------------------------------------------------


ENDS: dict[str, type[Exception]] = {
    "ack": LeaseAlreadyAcknowledgedError,
    "release": InvalidLeaseError,
    "front": InvalidLeaseError,
    "expiry seen": LeaseExpiredError,
    "expiry in this tick": LeaseExpiredError,
    "expiry not seen": LeaseExpiredError,
}


@on_leases
@pytest.mark.req("LEASE-6", "LEASE-7", "LEASE-8", "LEASE-9", "EXT-3", "EXP-1", "NEW-4")
@pytest.mark.parametrize(("end", "error"), ENDS.items(), ids=ENDS)
async def test_what_is_told_of_a_lease_that_has_ended(
    use: LeaseCall, end: str, error: type[Exception]
) -> None:
    """river#1302, azure-sdk-for-python#31427, bullmq#3183: whether a timer had its turn or not."""
    queue = LeasedKeyQueue[str, int]()
    leased = await put_leased(queue, "a", 1, lease_timeout=1)
    match end:
        case "ack":
            await queue.ack(leased)
        case "release" | "front":
            await queue.release(leased, requeue_front=end == "front")
            await asyncio.sleep(2)
        case "expiry in this tick":
            await asyncio.sleep(1)
        case _:
            jump(1)
            assert end == "expiry not seen" or await queue.qsize() == 1
    for _ in range(2):
        with pytest.raises(error) as caught:
            await use(queue, leased)
        assert caught.type is error
    assert await drain(queue) == ([] if end == "ack" else [("a", 1)])


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


class Own(Lease[str]):
    """A user's own kind of lease."""

    __slots__ = ()


@pytest.mark.req("LEASE-4")
async def test_a_lease_of_a_users_own_kind_is_as_good() -> None:
    queue = LeasedKeyQueue[str, int]()
    for change in (False, True):
        held = await put_leased(queue, "k", 1)
        own = Own(held.token, held.key)
        if change:
            object.__setattr__(held, "__class__", Own)
            own = held  # type: ignore[assignment]
        await queue.extend(own, 5)
        await queue.ack(own)


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


# -- extend ------------------------------------------------------------------------------


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


@pytest.mark.req("EXT-1", "EXP-9")
async def test_extend_can_give_and_take_away_a_deadline() -> None:
    queue = LeasedKeyQueue[str, int]()
    a = await put_leased(queue, "a", 1)
    b = await put_leased(queue, "b", 1, lease_timeout=1)
    await queue.extend(a, 1)
    await queue.extend(b, math.inf)
    await asyncio.sleep(1000)
    assert await queue.inflight_keys() == {"b"}


# -- expiry ------------------------------------------------------------------------------

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
