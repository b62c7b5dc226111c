"""`Lease`: what a consumer holds while it works on an item."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Generic, TypeAlias, TypeVar

from ._records import Handle

K = TypeVar("K")
V = TypeVar("V")


class _Fields(Handle):
    """Room for the fields of a lease, which a default in the dataclass must not take."""

    __slots__ = ("attempt", "key", "token")


@dataclass(frozen=True)
class Lease(_Fields, Generic[K]):
    """Exclusive access to the in-flight copy of a key's value, until it ends.

    ``get`` and ``take`` grant leases. A lease is an immutable value: equal to another with the
    same token and key, hashable when its key is. ``copy``, ``pickle`` and
    ``Lease(token=..., key=...)`` *rebuild* it, on the other side of a socket for instance; the
    queue takes a rebuilt lease for the original while that is live. A lease that was never
    granted, or has ended, is good for nothing.

    ``token``: str, in UUID form, unique across queues and processes; the tokens of one queue sort
    in the order of their grants (a fencing token).
    ``key``: the key that was leased.
    ``attempt``: how often the value has been handed out, this time included: 1 for the first. It
    takes no part in equality; 0, as a rebuilt lease may have it, means that it is not known.
    """

    __slots__ = ()

    token: str
    key: K
    attempt: int = field(default_factory=int, compare=False)

    def __getattr__(self, name: str) -> Any:
        """A field of a lease that a queue handed out is filled in when it is first asked for."""
        if name == "_grant":
            return None  # the lease was rebuilt
        grant = self._grant
        if grant is None or name not in ("token", "key", "attempt"):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        value: object
        if name == "token":
            value = grant.token()
        else:
            value = grant.entry.key if name == "key" else grant.attempt
        object.__setattr__(self, name, value)
        return value

    def __reduce__(self) -> tuple[type[Lease[K]], tuple[str, K, int]]:
        return type(self), (self.token, self.key, self.attempt)


Delivery: TypeAlias = tuple[K, V, Lease[K]]  # what get and take return
