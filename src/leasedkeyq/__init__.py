"""An asyncio keyed leased queue, in memory. (`leasedkeyq.redis` has one on a server.)

Four promises:

- Nothing is lost: an item that was put stays until it is acknowledged or discarded, whatever
  is cancelled, times out or crashes in between.
- A lease is exclusive, and ends at its deadline, not when somebody looks.
- Calls are served in the order of their arrival, items in the order of the line.
- To put, get and finish an item costs O(1), whatever the queue holds. What must look at many items
  says so.
"""

import os as _os
import sys as _sys
from importlib.machinery import EXTENSION_SUFFIXES as _EXTENSION_SUFFIXES
from importlib.machinery import SOURCE_SUFFIXES as _SOURCE_SUFFIXES
from importlib.machinery import FileFinder as _FileFinder
from importlib.machinery import SourceFileLoader as _SourceFileLoader

if _os.environ.get("LEASEDKEYQ_NO_EXTENSIONS", "") not in ("", "0"):
    if _os.environ.get("LEASEDKEYQ_EXTENSIONS", "") not in ("", "0"):
        raise ImportError(
            "LEASEDKEYQ_EXTENSIONS and LEASEDKEYQ_NO_EXTENSIONS are both set, and contradict each"
            " other: the one demands the compiled modules of leasedkeyq, the other forbids them;"
            " unset one of them"
        )
    # The source alone, even if it was compiled and the modules lie beside it.
    for _folder in __path__:
        _source = _FileFinder(_folder, (_SourceFileLoader, _SOURCE_SUFFIXES))
        _sys.path_importer_cache[_folder] = _source

from ._checks import InFlightPolicy
from ._machine import __file__ as _machine_file
from ._queue import LeasedKeyQueue
from ._records import Event
from .errors import (
    InvalidLeaseError,
    KeyAlreadyInFlightError,
    LeaseAlreadyAcknowledgedError,
    LeasedKeyQError,
    LeaseExpiredError,
    LeaseLostError,
    QueueClosedError,
)
from .jobs import DeadLetter, Job
from .lease import Lease
from .observing import LogObserver, Observer, Observers
from .recording import FileRecorder, FlightRecorder
from .stats import Stats
from .workers import backoff, run_workers

# Whether what decides runs compiled; the two builds do the same.
__compiled__: bool = _machine_file.endswith(tuple(_EXTENSION_SUFFIXES))
if not __compiled__ and _os.environ.get("LEASEDKEYQ_EXTENSIONS", "") not in ("", "0"):
    raise ImportError(
        "LEASEDKEYQ_EXTENSIONS demands the compiled modules of leasedkeyq, and this is the pure"
        " build: install it where there is a C compiler, or unset the variable"
    )

__version__ = "2.0.0"

__all__ = [
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
    "run_workers",
]
