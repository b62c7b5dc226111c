"""What a client knows of the leases that it was granted, and how their tokens are made."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Any, Final
from weakref import ref

from .._checks import text
from ..errors import InvalidLeaseError, LeaseAlreadyAcknowledgedError, LeaseExpiredError
from ..lease import Lease

QUEUE_DIGITS: Final = 15  # of the queue's random part that go into a token
VARIANT: Final = 1 << 63  # RFC 9562's, above the 62 bits of the number


class Standing(Enum):
    """What has become of a lease, as far as this client has heard."""

    LIVE = "live"
    ACKED = "acknowledged, by this client"
    RELEASED = "released, by this client"
    EXPIRED = "ended, and its time was over by the clock of this client"
    LOST = "ended before its time, by another hand"


LIVE, ACKED, RELEASED, EXPIRED, LOST = Standing


class Held(ref[Lease[Any]]):
    """A lease of this client, known for as long as somebody holds it."""

    __slots__ = ("duration", "key", "number", "standing", "superseded", "token", "until")

    token: str
    number: int
    key: bytes
    duration: float  # as granted
    until: float  # loop time at which it has run out for certain
    standing: Standing
    superseded: bool  # as heard last


def hold(
    lease: Lease[Any],
    token: str,
    number: int,
    key: bytes,
    duration: float,
    asked: float,
    forget: Callable[[Any], None],
) -> Held:
    """A lease was granted to a request that was made at that time, so it can't last longer."""
    held = Held(lease, forget)
    held.token = token
    held.number = number
    held.key = key
    held.duration = duration
    held.until = asked + duration
    held.standing = LIVE
    held.superseded = False
    return held


def ended(lease: Lease[Any], standing: Standing | None) -> Exception:
    """What is raised for a lease that is not live; None: nothing is known of it here."""
    if standing is ACKED:
        return LeaseAlreadyAcknowledgedError(
            f"{text(lease)} was acknowledged already: there is nothing left to do"
        )
    if standing is EXPIRED:
        return LeaseExpiredError(
            f"{text(lease)} ran out before this call: its item went back to the queue and may be"
            " with another consumer; discard the work, or make it safe to repeat"
        )
    if standing is RELEASED:
        return InvalidLeaseError(f"{text(lease)} was released already: get or take its item anew")
    if standing is LOST:
        return InvalidLeaseError(
            f"{text(lease)} was ended before its time, by another process or by close_for_all():"
            " discard the work, or make it safe to repeat"
        )
    return InvalidLeaseError(
        f"{text(lease)} is not live in this queue: it has ended, or was never granted here for this"
        " key"
    )


class Tokens:
    """The tokens of one queue: UUID form, version 8, in the order of the grants.

    60 random bits of the queue, and the 62 bits of the grant's number.
    """

    __slots__ = ("prefix",)

    def __init__(self, queue: str) -> None:
        self.prefix = f"{queue[:8]}-{queue[8:12]}-8{queue[12:QUEUE_DIGITS]}-"

    def token(self, number: int) -> str:
        digits = f"{VARIANT | number:016x}"
        return f"{self.prefix}{digits[:4]}-{digits[4:]}"

    def number(self, token: object) -> int | None:
        """The number in a token of this queue, or None."""
        if not isinstance(token, str) or not token.startswith(self.prefix):
            return None
        try:
            number = int(token[len(self.prefix) :].replace("-", ""), 16) ^ VARIANT
        except ValueError:
            return None
        return number if self.token(number) == token else None
