"""The exceptions: their family, and what they say, word for word.

It is what somebody reads in a log at night: what it is about, and what may be done.
"""

from __future__ import annotations

import asyncio
import copy
import pickle
from collections.abc import Awaitable, Callable
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
    module,
)
from tests.unit.steps import blocked, nowait, put_leased
from tests.virtual import jump, run

Queue = LeasedKeyQueue[str, int]

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


async def said(*calls: Awaitable[object]) -> list[str]:
    """What each of the calls raises."""
    results = [await asyncio.gather(call, return_exceptions=True) for call in calls]
    return [f"{type(error).__name__}: {error}" for (error,) in results]


def paragraphs(text: str) -> list[str]:
    return [" ".join(paragraph.split()) for paragraph in text.split("\n\n")]


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
    wrong, never, nothing = Lease(live.token, "k"), Lease("no token", "k"), 3
    leases: list[Any] = [acked, released, expired, foreign, never, wrong, nothing]
    for use in (queue.ack, queue.release, queue.extend, queue.refresh, queue.superseded):
        assert await said(*map(use, leases)) == paragraphs(
            f"""LeaseAlreadyAcknowledgedError: {acked!r} was acknowledged already: there is nothing
            left to do

            InvalidLeaseError: {released!r} was released already: get or take its item anew

            LeaseExpiredError: {expired!r} ran out before this call: its item went back to the queue
            and may be with another consumer; discard the work, or make it safe to repeat

            InvalidLeaseError: {foreign!r} is another queue's: use it there

            InvalidLeaseError: {never!r} is not live in this queue: it has ended, or was never
            granted here for this key

            InvalidLeaseError: {wrong!r} is not live in this queue: it has ended, or was never
            granted here for this key

            TypeError: a Lease is needed, as get and take return it, not 3"""
        )


async def made(**options: Any) -> object:
    return Queue(**options)


async def test_what_a_bad_argument_is_told_whose_repr_raises() -> None:
    """As it would be told otherwise."""

    class Unspeakable:
        def __repr__(self) -> str:
            raise ZeroDivisionError

    class Zero(Unspeakable, float):
        pass

    class Less(Unspeakable, float):
        def __new__(cls) -> Less:
            return super().__new__(cls, -1)

    queue, odd, shown = Queue(), "object, whose repr raises>", "not <Unspeakable"
    bad: Any = Unspeakable()
    assert await said(
        queue.get(bad),
        queue.get(lease_timeout=Zero()),
        queue.put("k", 1, delay=bad),
        queue.put("k", 1, delay=Less()),
        queue.put("k", 1, if_in_flight=bad),
        made(maxsize=bad),
        queue.ack(bad),
    ) == [
        f"TypeError: timeout must be a number of seconds or None, {shown} {odd}",
        f"ValueError: lease_timeout must be more than zero seconds, not <Zero {odd}",
        f"TypeError: delay must be a number of seconds, {shown} {odd}",
        f"ValueError: delay must be zero seconds or more, not <Less {odd}",
        f"ValueError: if_in_flight must be one of {module('_table').POLICIES}, {shown} {odd}",
        f"TypeError: maxsize must be an int (0 or less: no bound), {shown} {odd}",
        f"TypeError: a Lease is needed, as get and take return it, {shown} {odd}",
    ]


async def test_what_a_bad_argument_is_told() -> None:
    queue = Queue()
    lease = await put_leased(queue, "k", 1)
    waits: list[Callable[[Any], Awaitable[object]]] = [
        queue.get,
        lambda time: queue.take("k", time),
        lambda time: queue.put("k", 1, timeout=time),
        queue.join,
        queue.drain,
    ]
    leases: list[tuple[str, Callable[[Any], Awaitable[object]]]] = [
        ("lease_timeout", lambda time: queue.get(lease_timeout=time)),
        ("lease_timeout", lambda time: queue.take("k", lease_timeout=time)),
        ("timeout", lambda time: queue.extend(lease, time)),
        ("default_lease_timeout", lambda time: made(default_lease_timeout=time)),
    ]
    for name, use in [*(("timeout", wait) for wait in waits), *leases]:
        assert await said(use("1"), use(nan)) == [
            f"TypeError: {name} must be a number of seconds or None, not '1'",
            f"ValueError: {name} must be a number of seconds or None, not NaN",
        ]
    for name, use in leases:
        assert await said(use(0)) == [f"ValueError: {name} must be more than zero seconds, not 0"]
    bad: Any = "never"
    no_delay: Any = None
    assert await said(
        queue.put("k", 1, if_in_flight=bad),
        queue.put("k", 1, delay=-1),
        queue.release(lease, delay=no_delay),
        queue.release(lease, requeue_front=True, delay=2),
        made(maxsize="1"),
    ) == paragraphs(
        """ValueError: if_in_flight must be one of ('update', 'reject', 'buffer', 'defer'), not
        'never'

        ValueError: delay must be zero seconds or more, not -1

        TypeError: delay must be a number of seconds, not None: 0 is no delay

        ValueError: a release with a delay of 2.0 s can't go to the front: leave out either delay
        or requeue_front

        TypeError: maxsize must be an int (0 or less: no bound), not '1'"""
    )


async def test_what_an_operation_is_told_that_cannot_be_done_now() -> None:
    queue = Queue(maxsize=1)
    await put_leased(queue, "k", 1)
    assert await said(
        queue.put("k", 2, if_in_flight="reject"),
        queue.get(0),
        queue.get(1.5),
        queue.take("k", -1),
        queue.take("new", 2),
        queue.put("new", 1, timeout=3),
        queue.join(4),
        nowait(lambda: queue.put_nowait("new", 1)),
        nowait(lambda: queue.get_nowait()),
        nowait(lambda: queue.take_nowait("k")),
    ) == paragraphs(
        """KeyAlreadyInFlightError: key 'k' is in flight and if_in_flight is 'reject': put it again
        once its lease has ended, or choose another policy

        TimeoutError: nothing became available within 0.0 s

        TimeoutError: nothing became available within 1.5 s

        TimeoutError: no copy of key 'k' became available within -1.0 s

        TimeoutError: no copy of key 'new' became available within 2.0 s

        TimeoutError: the queue is full, and no slot for key 'new' became free within 3.0 s

        TimeoutError: the queue was not worked off within 4.0 s

        QueueFull: the queue is full, and has no slot for key 'new': await put(), or put it again
        when something was acknowledged

        QueueEmpty: nothing is available: await get(), or ask later

        QueueEmpty: no copy of key 'k' is available: await take(), or ask later"""
    )


async def test_what_is_told_by_a_queue_that_ends() -> None:
    queue, empty = Queue(), Queue()
    lease = await put_leased(queue, "k", 1)
    calls = (queue.get(), queue.take("z"), queue.join())
    waiting, taking, joining = [await blocked(call) for call in calls]
    await queue.shutdown()
    await empty.shutdown()
    shut = await said(taking, queue.put("new", 1), queue.take("z"), empty.get())
    await queue.close()
    assert [*shut, *await said(waiting, joining, queue.ack(lease), queue.join())] == paragraphs(
        """QueueClosedError: the queue was shut down while the call waited

        QueueClosedError: the queue is shut down: it takes no more puts, and works off what it holds

        QueueClosedError: the queue was shut down, and nothing of key 'z' can come to this call

        QueueClosedError: the queue was shut down, and nothing more can come to this call

        QueueClosedError: the queue was closed while the call waited

        QueueClosedError: the queue was closed while the call waited

        QueueClosedError: the queue is closed: only the introspection methods still answer

        QueueClosedError: the queue was closed with 1 items left in it: nobody will work them off;
        available_items() shows them"""
    )


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
            " is over (a handler of signal.signal must catch this, or it breaks that operation off)"
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
    assert run(said(queue.get())) == [f"RuntimeError: {text}"]
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


@pytest.mark.parametrize("outcome", ["not done", "unknown"])
def test_an_unavailable_queue_says_whether_it_was_done_also_to_another_process(
    outcome: str,
) -> None:
    error: Any = module("errors").QueueUnavailableError("no answer", outcome)
    assert isinstance(error, LeasedKeyQError)
    one: Any
    for one in (error, copy.copy(error), pickle.loads(pickle.dumps(error))):
        assert (str(one), one.outcome) == ("no answer", outcome)
