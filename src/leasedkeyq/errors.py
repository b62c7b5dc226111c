"""The exceptions of the queue.

Each says what happened, whose doing it is, and what the caller may do now. All
of them mean that the operation changed nothing, but for `QueueUnavailableError`,
which says itself what is known.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

Certainty: TypeAlias = Literal["not done", "unknown"]


class LeasedKeyQError(Exception):
    """Base of all exceptions of this package."""


class KeyAlreadyInFlightError(LeasedKeyQError):
    """``put(..., if_in_flight="reject")`` met a live lease on the key."""


class InvalidLeaseError(LeasedKeyQError):
    """The lease is not live in this queue: never granted, another queue's, or ended."""


class LeaseExpiredError(InvalidLeaseError):
    """The lease ran out before the call: its item is, or was, back in the queue."""


class LeaseLostError(InvalidLeaseError):
    """The lease of a job ended before the job did: at its deadline, by hand or by ``close``."""


class LeaseAlreadyAcknowledgedError(LeasedKeyQError):
    """The lease was acknowledged already: its item is gone for good."""


class QueueClosedError(LeasedKeyQError):
    """The queue is closed, or shut down and takes no put, or has nothing more for this call.

    Of a closed queue only the introspection methods still answer.
    """


class QueueUnavailableError(LeasedKeyQError):
    """The server of the queue could not be reached, or refused, for as long as was waited for it.

    ``outcome``: ``"not done"``, the operation has not happened; ``"unknown"``, it may have
    happened, and may still happen for as long as the session lasts.
    """

    def __init__(self, message: str, outcome: Certainty) -> None:
        super().__init__(message)
        self.outcome: Certainty = outcome

    def __reduce__(self) -> tuple[type[QueueUnavailableError], tuple[str, Certainty]]:
        return type(self), (str(self), self.outcome)


class UndecodableError(LeasedKeyQError):
    """What the queue holds can't be decoded by this client: the item stays, for one that can."""
