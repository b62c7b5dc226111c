"""The exceptions: their family, and what they say, word for word.

It is what somebody reads in a log at night: what it is about, and what may be done.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable, Coroutine
from dataclasses import FrozenInstanceError
from math import inf, nan
from typing import Any

import pytest

from tests.subject import (
    InvalidLeaseError,
    KeyAlreadyInFlightError,
    Lease,
    LeaseAlreadyAcknowledgedError,
    LeasedKeyQError,
    LeasedKeyQueue,
    LeaseExpiredError,
    QueueClosedError,
)
from tests.unit.steps import blocked, nowait, put_leased
from tests.virtual import jump, run

Queue = LeasedKeyQueue[str, int]
Told = tuple[Coroutine[Any, Any, object], type[BaseException], str]

FAMILY = [
    (LeasedKeyQError, Exception),
    (KeyAlreadyInFlightError, LeasedKeyQError),
    (InvalidLeaseError, LeasedKeyQError),
    (LeaseExpiredError, InvalidLeaseError),
    (LeaseAlreadyAcknowledgedError, LeasedKeyQError),
    (QueueClosedError, LeasedKeyQError),
]


@pytest.mark.parametrize(("error", "base"), FAMILY, ids=lambda error: error.__name__)
def test_the_family_of_the_exceptions(error: type[Exception], base: type[Exception]) -> None:
    assert error.__bases__ == (base,)
    assert error.__doc__


@pytest.mark.req("WAIT-13")
def test_a_wait_that_runs_out_is_no_error_of_this_package() -> None:
    """`asyncio.TimeoutError` is the built-in one, and whoever catches either gets it."""
    assert asyncio.TimeoutError is TimeoutError
    assert not issubclass(TimeoutError, LeasedKeyQError)


async def say(told: list[Told]) -> None:
    """Each call raises that very error, with that text."""
    for call, error, text in told:
        with pytest.raises(error) as caught:
            await call
        assert (caught.type, str(caught.value)) == (error, text)


async def test_what_a_lease_that_is_not_live_is_told() -> None:
    queue, other = Queue(), Queue()
    acked = await put_leased(queue, "a", 1)
    released = await put_leased(queue, "r", 1)
    expired = await put_leased(queue, "e", 1, lease_timeout=1)
    await queue.ack(acked)
    await queue.release(released)
    jump(1)
    live = await put_leased(queue, "live", 1)
    foreign = await put_leased(other, "f", 1)
    wrong, never = Lease(live.token, "k"), Lease("no token", "k")
    nothing: Any = 3
    texts: list[tuple[Any, type[Exception], str]] = [
        (
            acked,
            LeaseAlreadyAcknowledgedError,
            "{!r} was acknowledged already: there is nothing left to do",
        ),
        (released, InvalidLeaseError, "{!r} was released already: get or take its item anew"),
        (
            expired,
            LeaseExpiredError,
            (
                "{!r} ran out before this call: its item went back to the queue and may be with"
                " another consumer; discard the work, or make it safe to repeat"
            ),
        ),
        (foreign, InvalidLeaseError, "{!r} is another queue's: use it there"),
        (
            never,
            InvalidLeaseError,
            "{!r} is not live in this queue: it has ended, or was never granted here",
        ),
        (
            wrong,
            InvalidLeaseError,
            "{!r} names another key than the one its token was granted for",
        ),
        (nothing, TypeError, "a Lease is needed, as get and take return it, not {!r}"),
    ]
    for use in (queue.ack, queue.release, queue.extend, queue.refresh, queue.superseded):
        await say([(use(lease), error, text.format(lease)) for lease, error, text in texts])


async def made(default: Any) -> object:
    return Queue(default_lease_timeout=default)


async def bounded(maxsize: Any) -> object:
    return Queue(maxsize=maxsize)


async def test_what_a_bad_argument_is_told() -> None:
    queue = Queue()
    lease = await put_leased(queue, "k", 1)
    waits: list[Callable[[Any], Coroutine[Any, Any, object]]] = [
        queue.get,
        lambda time: queue.take("k", time),
        lambda time: queue.put("k", 1, timeout=time),
        queue.join,
        queue.drain,
    ]
    leases: list[tuple[str, Callable[[Any], Coroutine[Any, Any, object]]]] = [
        ("lease_timeout", lambda time: queue.get(lease_timeout=time)),
        ("lease_timeout", lambda time: queue.take("k", lease_timeout=time)),
        ("timeout", lambda time: queue.extend(lease, time)),
        ("default_lease_timeout", made),
    ]
    for name, use in [*(("timeout", wait) for wait in waits), *leases]:
        await say(
            [
                (use("1"), TypeError, f"{name} must be a number of seconds or None, not '1'"),
                (use(nan), ValueError, f"{name} must be a number of seconds or None, not NaN"),
            ]
        )
    for name, use in leases:
        await say([(use(0), ValueError, f"{name} must be more than zero seconds, not 0")])
    bad: Any = "never"
    no_delay: Any = None
    await say(
        [
            (
                queue.put("k", 1, if_in_flight=bad),
                ValueError,
                "if_in_flight must be one of ('update', 'reject', 'buffer', 'defer'), not 'never'",
            ),
            (
                queue.put("k", 1, delay=-1),
                ValueError,
                "delay must be zero seconds or more, not -1",
            ),
            (
                queue.release(lease, delay=no_delay),
                TypeError,
                "delay must be a number of seconds, not None: 0 is no delay",
            ),
            (
                queue.release(lease, requeue_front=True, delay=2),
                ValueError,
                (
                    "a release with a delay of 2.0 s can't go to the front: leave out either"
                    " delay or requeue_front"
                ),
            ),
            (bounded("1"), TypeError, "maxsize must be an int (0 or less: no bound), not '1'"),
        ]
    )


async def test_what_an_operation_is_told_that_cannot_be_done_now() -> None:
    queue = Queue(maxsize=1)
    await put_leased(queue, "k", 1)
    await say(
        [
            (
                queue.put("k", 2, if_in_flight="reject"),
                KeyAlreadyInFlightError,
                (
                    "key 'k' is in flight and if_in_flight is 'reject': put it again once its lease"
                    " has ended, or choose another policy"
                ),
            ),
            (queue.get(0), TimeoutError, "nothing became available within 0.0 s"),
            (queue.get(1.5), TimeoutError, "nothing became available within 1.5 s"),
            (
                queue.take("k", -1),
                TimeoutError,
                "no copy of key 'k' became available within -1.0 s",
            ),
            (
                queue.take("new", 2),
                TimeoutError,
                "no copy of key 'new' became available within 2.0 s",
            ),
            (
                queue.put("new", 1, timeout=3),
                TimeoutError,
                "the queue is full, and no slot for key 'new' became free within 3.0 s",
            ),
            (queue.join(4), TimeoutError, "the queue was not worked off within 4.0 s"),
            (
                nowait(lambda: queue.put_nowait("new", 1)),
                asyncio.QueueFull,
                (
                    "the queue is full, and has no slot for key 'new': await put(), or put it again"
                    " when something was acknowledged"
                ),
            ),
            (
                nowait(lambda: queue.get_nowait()),
                asyncio.QueueEmpty,
                "nothing is available: await get(), or ask later",
            ),
            (
                nowait(lambda: queue.take_nowait("k")),
                asyncio.QueueEmpty,
                "no copy of key 'k' is available: await take(), or ask later",
            ),
        ]
    )


async def test_what_is_told_by_a_queue_that_ends() -> None:
    queue = Queue()
    lease = await put_leased(queue, "k", 1)
    waiting, taking, joining = [
        await blocked(call) for call in (queue.get(), queue.take("z"), queue.join())
    ]
    await queue.shutdown()
    ended = "the queue was shut down while the call waited"
    shut = "the queue was shut down, and nothing {} can come to this call"
    await say(
        [
            (asyncio.wait_for(taking, 1), QueueClosedError, ended),
            (
                queue.put("new", 1),
                QueueClosedError,
                "the queue is shut down: it takes no more puts, and works off what it holds",
            ),
            (queue.take("z"), QueueClosedError, shut.format("of key 'z'")),
        ]
    )
    while_waiting = "the queue was closed while the call waited"
    await queue.close()
    await say(
        [
            (asyncio.wait_for(waiting, 1), QueueClosedError, while_waiting),
            (asyncio.wait_for(joining, 1), QueueClosedError, while_waiting),
            (
                queue.ack(lease),
                QueueClosedError,
                "the queue is closed: only the introspection methods still answer",
            ),
            (
                queue.join(),
                QueueClosedError,
                (
                    "the queue was closed with 1 items left in it: nobody will work them off;"
                    " available_items() shows them"
                ),
            ),
        ]
    )
    empty = Queue()
    await empty.shutdown()
    await say([(empty.get(), QueueClosedError, shut.format("more"))])


@pytest.mark.req("IN-9")
async def test_what_is_told_to_a_call_from_within_an_operation() -> None:
    queue = LeasedKeyQueue[Any, int]()
    told: list[str] = []

    class Key:
        def __hash__(self) -> int:
            with pytest.raises(RuntimeError) as refused:
                queue.put("k", 1).send(None)
            told.append(str(refused.value))
            return 1

    await queue.put(Key(), 1)
    assert set(told) == {
        (
            "the queue was called from within one of its own operations, by a key's __hash__"
            " or __eq__, a finalizer or a signal handler: it changed nothing; call it when that"
            " is over"
        )
    }


@pytest.mark.req("IN-10")
def test_what_another_loop_is_told() -> None:
    queue = Queue()
    run(queue.put("k", 1))
    text = (
        f"{queue!r} belongs to the event loop in which it was first used, and this is another:"
        " use one queue for each loop"
    )
    run(say([(queue.get(), RuntimeError, text)]))
    with pytest.raises(TypeError) as refused:
        copy.copy(queue)
    assert str(refused.value) == (
        f"{queue!r} lives in one event loop and cannot be copied or pickled"
    )


def test_what_is_told_to_who_would_change_a_lease() -> None:
    lease: Any = Lease("token", "k")
    with pytest.raises(FrozenInstanceError, match=r"^cannot assign to field 'key'$"):
        lease.key = "l"
    with pytest.raises(FrozenInstanceError, match=r"^cannot delete field 'token'$"):
        del lease.token


class Shy(str):
    """A key that cannot be shown."""

    def __repr__(self) -> str:
        raise ZeroDivisionError


@pytest.mark.req("OP-1", "IN-11")
async def test_a_key_that_cannot_be_shown_changes_nothing_of_what_is_raised() -> None:
    """(Version 1 let the error of its __repr__ through.)"""
    queue = LeasedKeyQueue[str, int](maxsize=2, default_lease_timeout=inf)
    await queue.put(Shy("k"), 1)
    granted = (await queue.get())[2]
    await queue.put("other", 1)
    released = (await queue.take("other"))[2]
    await queue.release(released)
    late = asyncio.create_task(queue.take(Shy("absent"), 1))
    shown = "<Shy object, whose repr raises>"
    for call, error in (
        (queue.put(Shy("k"), 2, if_in_flight="reject"), KeyAlreadyInFlightError),
        (queue.put(Shy("full"), 2, timeout=0), TimeoutError),
        (nowait(lambda: queue.put_nowait(Shy("full"), 2)), asyncio.QueueFull),
        (queue.take(Shy("k"), 0), TimeoutError),
        (nowait(lambda: queue.take_nowait(Shy("k"))), asyncio.QueueEmpty),
        (asyncio.wait_for(late, 9), TimeoutError),
    ):
        with pytest.raises(error) as caught:
            await call
        assert shown in str(caught.value)
    for lease in (Lease[str]("invented", Shy("k")), Lease[str](granted.token, Shy("another"))):
        with pytest.raises(InvalidLeaseError, match="whose repr raises"):
            await queue.ack(lease)
    assert await queue.inflight_keys() == {"k"}
    await queue.shutdown()
    with pytest.raises(QueueClosedError, match="whose repr raises"):
        await queue.take(Shy("absent"))
    await queue.ack(granted)
    with pytest.raises(LeaseAlreadyAcknowledgedError, match="whose repr raises"):
        await queue.ack(granted)
