"""The exceptions: their family, and what they tell."""

import asyncio
from collections.abc import Awaitable, Callable

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
from tests.unit.steps import put_leased
from tests.virtual import jump

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


async def test_every_message_names_what_it_is_about_and_what_may_be_done() -> None:
    queue, other = LeasedKeyQueue[str, int](), LeasedKeyQueue[str, int]()
    lease = await put_leased(queue, "the key", 1)
    acked, released, expired, foreign = [
        await put_leased(source, key, 1, lease_timeout=1)
        for source, key in ((queue, "a"), (queue, "r"), (queue, "e"), (other, "f"))
    ]
    await queue.ack(acked)
    await queue.release(released)
    jump(1)
    closed = LeasedKeyQueue[str, int]()
    await closed.close()
    failures: list[tuple[Callable[[], Awaitable[object]], type[Exception], str]] = [
        (
            lambda: queue.put("the key", 2, if_in_flight="reject"),
            KeyAlreadyInFlightError,
            "'the key' is in flight.*put it again",
        ),
        (lambda: queue.ack(acked), LeaseAlreadyAcknowledgedError, f"{acked.token}.*nothing left"),
        (lambda: queue.ack(released), InvalidLeaseError, f"{released.token}.*take its item anew"),
        (lambda: queue.ack(expired), LeaseExpiredError, f"{expired.token}.*ran out.*discard"),
        (lambda: queue.ack(foreign), InvalidLeaseError, f"{foreign.token}.*another queue's"),
        (
            lambda: queue.ack(Lease(token="no token", key="k")),
            InvalidLeaseError,
            "no token.*not live in this queue",
        ),
        (
            lambda: queue.ack(Lease(token=lease.token, key="other")),
            InvalidLeaseError,
            f"{lease.token}.*another key",
        ),
        (lambda: queue.get(0), TimeoutError, "r, e"),
        (lambda: queue.take("absent", 0), TimeoutError, "'absent'"),
        (lambda: closed.get(), QueueClosedError, "introspection"),
    ]
    for call, error, message in failures:
        if message == "r, e":  # what came back is there to be had
            assert {(await queue.get(0))[0], (await queue.get(0))[0]} == {"r", "e"}
            message = "nothing became available"  # noqa: PLW2901
        with pytest.raises(error, match=message) as caught:
            await call()
        assert caught.type is error
