"""The tokens of leases: unique across queues and processes, and in the order of the grants."""

from __future__ import annotations

import os
from typing import Final
from uuid import UUID
from weakref import WeakSet

_NUMBER_DIGITS: Final = 12  # of the grant's number, in hexadecimal, at the end of a token


class Issuer:
    """Marks the grants of one queue as its own.

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
        self.prefix = str(UUID(int=bits))[:-_NUMBER_DIGITS]  # of the tokens granted from now on


def token(prefix: str, number: int) -> str:
    return f"{prefix}{number:0{_NUMBER_DIGITS}x}"


_ISSUERS: WeakSet[Issuer] = WeakSet()


def _renew_all() -> None:
    for issuer in _ISSUERS:
        issuer.renew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_all)
