"""Bad input is refused, by the right exception, before anything changes."""

import asyncio
import datetime
import math
import time
from collections.abc import Awaitable, Callable
from decimal import Decimal
from fractions import Fraction
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
    keys,
    nowait,
    on_leases,
    put_leased,
    snapshot,
    state,
)
from tests.virtual import jump, quiet, running


async def test_an_operation_that_is_refused_by_name_leaves_no_coroutine_behind() -> None:
    queue = LeasedKeyQueue[str, int]()
    with pytest.raises(TypeError):
        await queue.put("a")  # type: ignore[call-arg]


@pytest.mark.req("IN-1", "IN-7")
@pytest.mark.parametrize("policy", ["", "UPDATE", "keep", 0, ["update"], ("update",)])
async def test_an_unknown_policy_is_a_value_error_that_lists_the_known(policy: Any) -> None:
    queue = await a_queue()
    before = snapshot(queue)
    calls: list[Callable[[], object]] = [
        lambda: queue.put("a", 9, if_in_flight=policy).send(None),
        lambda: queue.put("c", 9, if_in_flight=policy).send(None),
        lambda: queue.put_nowait("absent", 9, if_in_flight=policy),
        lambda: LeasedKeyQueue[str, int](if_in_flight=policy),
    ]
    for call in calls:
        with pytest.raises(ValueError, match=r"update.*reject.*buffer.*defer") as caught:
            call()
        assert repr(policy) in str(caught.value)
    assert snapshot(queue) == before


@pytest.mark.req("IN-1")
async def test_a_queue_must_have_a_policy() -> None:
    with pytest.raises(ValueError, match="not None"):
        LeasedKeyQueue[str, int](if_in_flight=None)  # type: ignore[arg-type]


Queue = LeasedKeyQueue[str, int]
Calls = list[Callable[[], Awaitable[object]]]


def timeouts(queue: Queue, bad: Any) -> Calls:
    """Every call with a bad bound for its wait."""
    return [
        lambda: queue.get(bad),
        lambda: queue.get(timeout=bad, lease_timeout=1),
        lambda: queue.take("a", bad),
        lambda: queue.take("absent", timeout=bad),
        lambda: queue.put("a", 9, timeout=bad),
        lambda: queue.join(bad),
        lambda: queue.drain(bad),
    ]


def lease_timeouts(queue: Queue, lease: Lease[str], bad: Any) -> Calls:
    """Every call with a bad duration for a lease."""

    async def construct() -> object:
        return Queue(default_lease_timeout=bad)

    return [
        construct,
        lambda: queue.get(lease_timeout=bad),
        lambda: queue.get(0, lease_timeout=bad),
        lambda: queue.take("a", lease_timeout=bad),
        lambda: queue.take("absent", lease_timeout=bad),
        lambda: queue.extend(lease, bad),
        lambda: nowait(lambda: queue.extend_nowait(lease, bad)),
        lambda: nowait(lambda: queue.get_nowait(lease_timeout=bad)),
        lambda: nowait(lambda: queue.take_nowait("a", lease_timeout=bad)),
    ]


def delays(queue: Queue, lease: Lease[str], bad: Any) -> Calls:
    """Every call with a bad delay."""
    return [
        lambda: queue.put("a", 9, delay=bad),
        lambda: queue.put("absent", 9, delay=bad),
        lambda: queue.release(lease, delay=bad),
        lambda: nowait(lambda: queue.put_nowait("a", 9, delay=bad)),
        lambda: nowait(lambda: queue.release_nowait(lease, delay=bad)),
    ]


async def refused(bad: Any, error: type[Exception], match: str, *kinds: Any) -> None:
    """Every call of these kinds raises, and changes nothing."""
    queue = await a_queue()
    leased = await put_leased(queue, "x", 1)
    before = snapshot(queue)
    for kind in kinds:
        arguments = (queue, bad) if kind is timeouts else (queue, leased, bad)
        for call in kind(*arguments):
            with pytest.raises(error, match=match):
                await call()
    assert snapshot(queue) == before


NO_NUMBERS: list[Any] = ["1", b"1", 1j, [1], object(), Decimal(1), time.gmtime()]
NO_NUMBERS.append(datetime.timedelta(seconds=1))


@pytest.mark.req("IN-2", "IN-7", "IN-12")
@pytest.mark.parametrize("bad", NO_NUMBERS, ids=lambda bad: type(bad).__name__)
async def test_a_time_that_is_no_real_number_is_a_type_error(bad: Any) -> None:
    await refused(bad, TypeError, "number of seconds", timeouts, lease_timeouts, delays)


@pytest.mark.req("IN-3", "IN-7", "IN-12")
async def test_nan_is_a_value_error() -> None:
    """trio#837; a NaN delayed an unrelated timer of the loop by a second."""
    rung: list[float] = []
    running().call_later(0.25, lambda: rung.append(running().time()))
    await refused(math.nan, ValueError, "NaN", timeouts, lease_timeouts, delays)
    await asyncio.sleep(1)
    assert rung == [0.25]


@pytest.mark.req("IN-4", "IN-7")
@pytest.mark.parametrize("bad", [0, 0.0, -0.0, -1, -1e-9, -math.inf, False, -(10**400)])
async def test_a_lease_timeout_of_zero_or_less_is_a_value_error(bad: Any) -> None:
    await refused(bad, ValueError, "more than zero", lease_timeouts)


@pytest.mark.req("IN-12", "IN-7")
@pytest.mark.parametrize("bad", [-1, -1e-9, -math.inf, -(10**400)])
async def test_a_delay_of_less_than_zero_is_a_value_error(bad: Any) -> None:
    await refused(bad, ValueError, "zero seconds or more", delays)


@pytest.mark.req("IN-12", "IN-7")
async def test_no_delay_is_zero_and_not_none() -> None:
    await refused(None, TypeError, "0 is no delay", delays)


@pytest.mark.req("IN-12", "IN-7")
@pytest.mark.parametrize("delay", [1, 1e-9, math.inf, 10**400, True])
async def test_a_delay_together_with_the_front_is_a_value_error(delay: Any) -> None:
    def to_front(queue: Queue, lease: Lease[str], delay: Any) -> Calls:
        return [
            lambda: queue.release(lease, requeue_front=True, delay=delay),
            lambda: nowait(lambda: queue.release_nowait(lease, requeue_front=True, delay=delay)),
        ]

    await refused(delay, ValueError, "can't go to the front", to_front)


@pytest.mark.req("IN-12")
@pytest.mark.parametrize("zero", [0, 0.0, -0.0, False, Fraction(0)])
async def test_a_delay_of_zero_is_none_and_may_go_to_the_front(zero: Any) -> None:
    queue = LeasedKeyQueue[str, int]()
    await queue.put("other", 1, delay=zero)
    await queue.release(await put_leased(queue, "k", 1), requeue_front=True, delay=zero)
    assert await keys(queue) == ["k", "other"]


@pytest.mark.req("IN-13", "BOUND-7")
@pytest.mark.parametrize("bad", [None, 1.0, "1", True, math.inf, Fraction(1)])
def test_a_maxsize_that_is_no_integer_is_a_type_error(bad: Any) -> None:
    with pytest.raises(TypeError, match="maxsize must be an int"):
        LeasedKeyQueue[str, int](maxsize=bad)


@pytest.mark.req("IN-11")
def test_a_queue_that_was_never_made_says_nothing_more() -> None:
    for options in ({"maxsize": None}, {"default_lease_timeout": 0}, {"if_in_flight": "never"}):
        with pytest.raises((TypeError, ValueError)):
            LeasedKeyQueue[str, int](**options)


async def test_a_number_too_great_for_a_float_is_for_ever() -> None:
    queue = LeasedKeyQueue[str, int](default_lease_timeout=10**400)
    await put_leased(queue, "a", 1)
    await put_leased(queue, "b", 1, lease_timeout=10**400)
    await queue.put("late", 1, delay=10**400)
    with pytest.raises(asyncio.TimeoutError):
        await queue.get(-(10**400))
    waiting = await blocked(queue.get(10**400))
    jump(1e9)
    await quiet()
    await queue.put("c", 1)
    assert (await waiting)[0] == "c"
    assert (await queue.inflight_size(), await queue.delayed_size()) == (3, 1)


@pytest.mark.req("IN-5", "IN-7")
async def test_an_unhashable_key_is_a_type_error() -> None:
    queue: LeasedKeyQueue[Any, int] = await a_queue()
    before = await state(queue)
    calls: Calls = [
        lambda: queue.put(["list"], 1),
        lambda: queue.take({}),
        lambda: queue.take({}, 0),
        lambda: queue.peek(set()),
        lambda: queue.contains([]),
        lambda: queue.discard([]),
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
