"""Keys that make trouble, and values of which it can be seen who keeps them.

The hashes of keys collide, and their own code can be made to go wrong.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar
from weakref import WeakSet


class BoomError(Exception):
    """What a key raises."""


class Key:
    """Equal by name; all hashes are the same. Its n-th use from `arm` on sets off a charge."""

    fuse: ClassVar[int] = 0
    charge: ClassVar[Callable[[], object]]

    def __init__(self, name: str) -> None:
        self.name = name

    @classmethod
    def arm(cls, fuse: int, charge: Callable[[], object]) -> None:
        cls.fuse, cls.charge = fuse, charge

    @classmethod
    def burn(cls) -> None:
        cls.fuse -= 1
        if cls.fuse == 0:
            cls.charge()

    def __hash__(self) -> int:
        self.burn()
        return 7

    def __eq__(self, other: object) -> bool:
        self.burn()
        return isinstance(other, Key) and self.name == other.name

    def __repr__(self) -> str:
        return f"Key({self.name!r})"


def boom() -> None:
    raise BoomError


class Value:
    """What is put. It is equal to its number, so that models can do with that."""

    made: ClassVar[WeakSet[Value]] = WeakSet()

    def __init__(self, number: int) -> None:
        self.number = number
        self.made.add(self)

    @classmethod
    def alive(cls) -> list[int]:
        return sorted(value.number for value in cls.made)

    def __eq__(self, other: object) -> bool:
        return other is self or other == self.number

    __hash__ = object.__hash__

    def __repr__(self) -> str:
        return f"Value({self.number})"


def frozen(lease: Any) -> bool:
    """Do its fields refuse to be set?"""
    for field in ("token", "key"):
        try:
            setattr(lease, field, "other")
        except AttributeError:
            continue
        return False
    return True
