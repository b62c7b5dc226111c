"""An asyncio, in-memory, keyed leased queue.

Four promises:

- Nothing is lost: an item that was put stays until it is acknowledged, whatever
  is cancelled, times out or crashes in between.
- A lease is exclusive, and ends at its deadline, not when somebody looks.
- Calls are served in the order of their arrival, items in the order of the line.
- Every operation costs O(1).
"""

from ._checks import InFlightPolicy
from ._queue import LeasedKeyQueue
from .errors import (
    InvalidLeaseError,
    KeyAlreadyInFlightError,
    LeaseAlreadyAcknowledgedError,
    LeasedKeyQError,
    LeaseExpiredError,
    QueueClosedError,
)
from .lease import Lease

__version__ = "2.0.0"

__all__ = [
    "InFlightPolicy",
    "InvalidLeaseError",
    "KeyAlreadyInFlightError",
    "Lease",
    "LeaseAlreadyAcknowledgedError",
    "LeaseExpiredError",
    "LeasedKeyQError",
    "LeasedKeyQueue",
    "QueueClosedError",
]
