"""The package under test, by the name that the environment gives it.

Every test imports the queue from here, so that the whole suite can be pointed at
a vendored copy, or at another implementation with the same API:

    LEASEDKEYQ_UNDER_TEST=acme.vendored.queue pytest tests/stateful tests/unit
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING

PACKAGE = os.environ.get("LEASEDKEYQ_UNDER_TEST", "leasedkeyq")

if TYPE_CHECKING:
    from leasedkeyq import (
        DeadLetter,
        Event,
        FileRecorder,
        FlightRecorder,
        InFlightPolicy,
        InvalidLeaseError,
        Job,
        KeyAlreadyInFlightError,
        Lease,
        LeaseAlreadyAcknowledgedError,
        LeasedKeyQError,
        LeasedKeyQueue,
        LeaseExpiredError,
        LeaseLostError,
        LogObserver,
        Observer,
        Observers,
        QueueClosedError,
        Stats,
        backoff,
        run_workers,
    )
else:
    _package = import_module(PACKAGE)
    globals().update({name: getattr(_package, name) for name in _package.__all__})


def module(name: str):  # type: ignore[no-untyped-def]
    """A private module of the package under test, such as ``_core``."""
    return import_module(f"{PACKAGE}.{name}")


__all__ = [
    "PACKAGE",
    "DeadLetter",
    "Event",
    "FileRecorder",
    "FlightRecorder",
    "InFlightPolicy",
    "InvalidLeaseError",
    "Job",
    "KeyAlreadyInFlightError",
    "Lease",
    "LeaseAlreadyAcknowledgedError",
    "LeaseExpiredError",
    "LeaseLostError",
    "LeasedKeyQError",
    "LeasedKeyQueue",
    "LogObserver",
    "Observer",
    "Observers",
    "QueueClosedError",
    "Stats",
    "backoff",
    "module",
    "run_workers",
]
