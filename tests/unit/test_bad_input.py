"""Bad input is refused, by the right exception, before anything changes."""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any

import pytest

from tests.subject import (
    Lease,
    LeasedKeyQueue,
)
from tests.unit.steps import (
    LeaseCall,
    a_queue,
    blocked,
    on_leases,
    put_leased,
    state,
)
from tests.virtual import jump, quiet

# -- bad input ---------------------------------------------------------------------------


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
