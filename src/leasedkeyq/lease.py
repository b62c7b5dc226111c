"""`Lease`: what a consumer holds while it works on an item.

To its holder a lease is an immutable value of two fields, ``token`` and
``key``. To the queue it is one copy of a key's value, from `put` on: it stands
in the line until it is granted, and carries the value until it ends. One object
serves for both, so that put, get and ack allocate once and need no look-up. It
is granted only once: a copy that comes back to the queue is a new object. What
the queue keeps in it is private to the queue, and gone when the lease has ended.
"""

from __future__ import annotations

from dataclasses import FrozenInstanceError, dataclass
from os import urandom
from typing import TYPE_CHECKING, Any, Generic, TypeVar
from uuid import UUID

from ._deadlines import Timed

K = TypeVar("K")

_NUMBER_DIGITS = 12  # of the grant's number, in hexadecimal, at the end of a token


class Standing:
    """Where a lease stands, and in which queue: one object of each kind a queue.

    That a lease is live in a queue is then a single ``is``.
    """

    __slots__ = ("name", "prefix")

    def __init__(self, name: str, prefix: str) -> None:
        self.name = name
        self.prefix = prefix  # of the queue's tokens

    def __repr__(self) -> str:
        return f"<{self.name}>"


def new_prefix() -> str:
    """All but the number of a token: 74 random bits in the form of RFC 9562, version 8."""
    bits = int.from_bytes(urandom(16), "big")
    bits = bits & ~(0xF << 76) | 8 << 76  # version 8
    bits = bits & ~(0x3 << 62) | 2 << 62  # the RFC's variant
    return str(UUID(int=bits))[:-_NUMBER_DIGITS]


def make_token(prefix: str, number: int) -> str:
    """The token of a queue's grant. Tokens of one queue sort as their numbers do.

    The number has 48 bits: nine years of a million grants a second.
    """
    return f"{prefix}{number:0{_NUMBER_DIGITS}x}"


def parse_token(prefix: str, token: object) -> int | None:
    """The number in a token that `make_token` made with this prefix, or None."""
    if not isinstance(token, str) or not token.startswith(prefix):
        return None
    try:
        number = int(token[len(prefix) :], 16)
    except ValueError:
        return None
    return number if make_token(prefix, number) == token else None


if TYPE_CHECKING:
    _field = property
else:

    class _field(property):  # noqa: N801 (used as a decorator)
        """A read-only field that refuses as a frozen dataclass does."""

        def __set__(self, lease, value):
            raise FrozenInstanceError(f"cannot assign to field {self.fget.__name__!r}")

        def __delete__(self, lease):
            raise FrozenInstanceError(f"cannot delete field {self.fget.__name__!r}")


@dataclass(frozen=True)
class _Fields:
    token: str
    key: Any


class Lease(Timed, Generic[K]):
    """Exclusive access to the in-flight copy of a key's value, until it ends.

    ``get`` and ``take`` grant leases. A lease is a frozen dataclass to look at:
    two fields, equal by value, hashable when its key is. ``copy``, ``pickle``
    and ``Lease(token=..., key=...)`` *rebuild* it, on the other side of a socket
    for instance; the queue takes a rebuilt lease for the original while that is
    live. A lease that was never granted, or has ended, is good for nothing.

    ``token``: str, in UUID form, unique across queues and processes; the tokens
    of one queue sort in the order of their grants (a fencing token).
    ``key``: the key that was leased.
    """

    __slots__ = ("__weakref__", "_item", "_key", "_standing", "_value", "_version")

    __match_args__ = ("token", "key")
    __dataclass_fields__ = _Fields.__dataclass_fields__
    __dataclass_params__ = getattr(_Fields, "__dataclass_params__")  # noqa: B009 (not in typeshed)

    # The queue fills these in.
    _number: Any  # the grant's number; in a rebuilt lease, its token
    _key: K
    _value: Any
    _version: int  # of two values of a key, the one put later has the higher
    _item: Any  # the key's `Item`, once it has one
    _standing: Any  # None before the grant, and if rebuilt; the `Call` that it is reserved
    # for; then a `Standing`

    def __init__(self, token: str, key: K) -> None:
        super().__init__()
        self._number = token
        self._key = key
        self._standing = None

    @_field
    def token(self) -> str:
        """The fencing token, made when it is asked for."""
        number = self._number
        standing = self._standing
        token: str = number if standing is None else make_token(standing.prefix, number)
        return token

    @_field
    def key(self) -> K:
        """The key that was leased."""
        return self._key

    def __repr__(self) -> str:
        return f"Lease(token={self.token!r}, key={self._key!r})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Lease):
            return NotImplemented
        return (self.token, self._key) == (other.token, other._key)

    def __hash__(self) -> int:
        return hash((self.token, self._key))

    def __reduce__(self) -> tuple[type[Lease[K]], tuple[str, K]]:
        return (Lease, (self.token, self._key))


class Copy(Lease[K]):
    """A lease as the queue makes it: empty, and without a step of Python.

    Its holder has no business to know: it says that it is a `Lease`, and what is
    made after its pattern (`dataclasses.replace`) is a rebuilt one.
    """

    __slots__ = ()

    __init__ = object.__init__
    __class__ = property(lambda copy: Lease)
