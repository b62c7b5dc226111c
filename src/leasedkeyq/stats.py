"""`Stats`: how much there is in a queue, what has become of the rest, and how old it is."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True)
class Stats:
    """A queue at one moment: what is in it, and counts since it was made.

    In it are items that are ``available``, ``delayed`` or ``in_flight`` (leased, or on their way to
    a call), and ``deferred`` values. ``waiting_gets``, ``waiting_takes`` and ``waiting_puts`` are
    calls; one that is being cancelled counts until it has gone.

    ``puts`` counts the values that were accepted. Each is still there, or was acknowledged,
    discarded or replaced by a newer one of its key, so always::

        puts == available + delayed + deferred + in_flight + acks + discards + replaced

    ``deliveries`` counts the leases that consumers were given; each ends as one of ``acks``,
    ``releases`` and ``expiries``, or with the queue. ``timeouts`` counts the calls that waited
    until their time ran out.

    ``oldest_available_age``: how long, in seconds, the item has been available that has been so
    longest; to be updated makes it no younger, and one that is released to the front counts as
    long as the one behind it. ``oldest_lease_age``: how long the lease is held that was granted
    first. They are None if there is none. They are exact for all that came after the first
    ``stats()`` of the queue. What came before, while nothing was timed and no observer looked, is
    taken to have come when the clock was last read: such an age may be too high, never too low.
    """

    available: int
    delayed: int
    deferred: int
    in_flight: int
    waiting_gets: int
    waiting_takes: int
    waiting_puts: int
    puts: int
    replaced: int
    deliveries: int
    acks: int
    releases: int
    expiries: int
    discards: int
    timeouts: int
    oldest_available_age: float | None
    oldest_lease_age: float | None

    def __await__(self) -> Generator[None, None, Self]:
        """It is there already; but whoever asks a queue in this way need not know where that is."""
        yield from ()
        return self
