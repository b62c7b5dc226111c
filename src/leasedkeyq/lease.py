"""`Lease`: what a consumer holds while it works on an item, and the tokens of leases."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar
from uuid import UUID
from weakref import WeakSet

if TYPE_CHECKING:
    from ._records import Grant

K = TypeVar("K")

_NUMBER_DIGITS: Final = 12  # of the grant's number, in hexadecimal, at the end of a token


class Issuer:
    """Gives the grants of one queue their tokens.

    A token has 74 random bits of the queue's own, in the form of RFC 9562, version 8, and then
    the grant's number in 48 bits (nine years of a million grants a second), so the tokens of one
    queue sort as their numbers do. After a fork the child's issuers take new random bits: what it
    grants is never taken for what its parent grants.
    """

    __slots__ = ("__weakref__", "prefix")

    def __init__(self) -> None:
        self.renew()
        _ISSUERS.add(self)

    def renew(self) -> None:
        bits = int.from_bytes(os.urandom(16), "big")
        bits = bits & ~(0xF << 76) | 8 << 76  # version 8
        bits = bits & ~(0x3 << 62) | 2 << 62  # the RFC's variant
        self.prefix = str(UUID(int=bits))[:-_NUMBER_DIGITS]

    def token(self, number: int) -> str:
        return f"{self.prefix}{number:0{_NUMBER_DIGITS}x}"

    def number(self, token: object) -> int | None:
        """The number in a token of this issuer, or None."""
        if not isinstance(token, str) or not token.startswith(self.prefix):
            return None
        try:
            number = int(token[len(self.prefix) :], 16)
        except ValueError:
            return None
        return number if self.token(number) == token else None


_ISSUERS: WeakSet[Issuer] = WeakSet()


def _renew_all() -> None:
    for issuer in _ISSUERS:
        issuer.renew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_all)


class _Granted:
    """Leads from the lease that a queue handed out to the queue's own record of it."""

    __slots__ = ("__weakref__", "_grant", "attempt", "key", "token")

    _grant: Grant | None


@dataclass(frozen=True)
class Lease(_Granted, Generic[K]):
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
            value = grant.issuer.token(grant.number)
        else:
            value = grant.entry.key if name == "key" else grant.attempt
        object.__setattr__(self, name, value)
        return value

    def __reduce__(self) -> tuple[type[Lease[K]], tuple[str, K, int]]:
        return type(self), (self.token, self.key, self.attempt)


# What a queue makes a lease with: without its fields, which are seldom asked for.
new_lease: Final[Callable[[type[Lease[Any]]], Lease[Any]]] = Lease.__new__
set_grant: Final[Callable[[Lease[Any], Grant], None]] = vars(_Granted)["_grant"].__set__
