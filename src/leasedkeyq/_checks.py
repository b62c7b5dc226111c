"""What callers hand in, checked before anything changes. Nothing here knows of a queue's state."""

from __future__ import annotations

from math import inf, isnan
from numbers import Real
from typing import Any, Final, Literal, TypeAlias, cast

from ._table import POLICIES
from .lease import Lease

AT_ONCE: Final = 0  # the delay of a put or release that names none
InFlightPolicy: TypeAlias = Literal["update", "reject", "buffer", "defer"]


def seconds(name: str, value: object, needed: str = "a number of seconds or None") -> float:
    """A number of seconds as a float. TypeError if it is none, ValueError for NaN."""
    if type(value) is not float and not isinstance(value, Real):
        raise TypeError(f"{name} must be {needed}, not {text(value)}")
    try:
        number = float(value)
    except OverflowError:
        number = inf if cast(int, value) > 0 else -inf
    if isnan(number):
        raise ValueError(f"{name} must be {needed}, not NaN")
    return number


def lease_seconds(name: str, value: object) -> float:
    """The same for a lease, which must last some time: zero or less is a ValueError."""
    number = seconds(name, value)
    if number <= 0:
        raise ValueError(f"{name} must be more than zero seconds, not {text(value)}")
    return number


def delay_seconds(value: object) -> float:
    """The same for a delay, which may be zero: less is a ValueError, None a TypeError."""
    if value is None:
        raise TypeError("delay must be a number of seconds, not None: 0 is no delay")
    number = seconds("delay", value, "a number of seconds")
    if number < 0:
        raise ValueError(f"delay must be zero seconds or more, not {text(value)}")
    return number


def put_event(policy: object) -> int:
    """The number of the event that a put with this policy is; a ValueError if there is none."""
    if not isinstance(policy, str) or policy not in POLICIES:
        raise ValueError(f"if_in_flight must be one of {POLICIES}, not {text(policy)}")
    return POLICIES.index(policy)


def bound(maxsize: object) -> float:
    """How many items a queue may hold: infinity if it has no bound."""
    if not isinstance(maxsize, int) or isinstance(maxsize, bool):
        raise TypeError(f"maxsize must be an int (0 or less: no bound), not {text(maxsize)}")
    return maxsize if maxsize > 0 else inf


def leased(lease: object) -> Lease[Any]:
    if not isinstance(lease, Lease):
        raise TypeError(f"a Lease is needed, as get and take return it, not {text(lease)}")
    return lease


def text(thing: object) -> str:
    """Its repr, for a message: an error in the user's own code changes nothing of what is said."""
    try:
        return repr(thing)
    except Exception:  # noqa: BLE001 (whatever it is, it is not what the caller must hear of)
        return f"<{type(thing).__name__} object, whose repr raises>"
