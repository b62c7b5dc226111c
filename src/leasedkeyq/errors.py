"""The exceptions of the queue.

Each says what happened, whose doing it is, and what the caller may do now. All
of them mean that the operation changed nothing.
"""


class LeasedKeyQError(Exception):
    """Base of all exceptions of this package."""


class KeyAlreadyInFlightError(LeasedKeyQError):
    """``put(..., if_in_flight="reject")`` met a live lease on the key."""


class InvalidLeaseError(LeasedKeyQError):
    """The lease is not live in this queue: never granted, another queue's, or ended."""


class LeaseExpiredError(InvalidLeaseError):
    """The lease ran out before the call: its item is, or was, back in the queue."""


class LeaseLostError(InvalidLeaseError):
    """The lease of a job ended while the job was under way, by its deadline or by ``close``."""


class LeaseAlreadyAcknowledgedError(LeasedKeyQError):
    """The lease was acknowledged already: its item is gone for good."""


class QueueClosedError(LeasedKeyQError):
    """The queue is closed; only the introspection methods still answer."""
