"""Keys that make trouble: their hashes collide, and their own code can be made to go wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar


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
