"""Keys and values that make trouble: what a user's own code can do to an operation."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any, ClassVar
from weakref import WeakSet


class BoomError(Exception):
    """What a key raises."""


class Trouble:
    """Something that happens in the midst of an operation, at the n-th chance from `arm` on.

    A chance is: each time that a key's own code runs ("key"), that a value ends ("value"), or
    that a line of the package begins ("line"). Between any two lines the collector may run
    somebody's finalizer, and the interpreter a signal's handler. With a ``second`` number a key
    raises at that chance, counted from the first.
    """

    package: ClassVar[str]
    where: ClassVar[str] = ""
    left: ClassVar[int] = 0
    second: ClassVar[int] = 0
    charge: ClassVar[Callable[[], object]]
    tracer: ClassVar[Any] = None  # that was there before

    @classmethod
    def arm(cls, where: str, left: int, charge: Callable[[], object], second: int = 0) -> None:
        cls.where, cls.left, cls.charge, cls.second = where, left, charge, second
        if where == "line":
            cls.tracer = sys.gettrace()
            sys.settrace(cls.trace)

    @classmethod
    def disarm(cls) -> int:
        """How often it has happened."""
        if cls.where == "line":
            sys.settrace(cls.tracer)
        times = 0
        if cls.where and cls.left <= 0:
            times = 2 if cls.second and cls.left <= -cls.second else 1
        cls.where = ""
        return times

    @classmethod
    def chance(cls, where: str) -> None:
        if where == cls.where:
            cls.left -= 1
            if cls.left == 0:
                cls.charge()
            elif cls.second and cls.left == -cls.second:
                raise BoomError

    @classmethod
    def trace(cls, frame: FrameType, event: str, _argument: object) -> Any:
        if not frame.f_globals.get("__name__", "").startswith(cls.package):
            return None
        if event == "line":
            cls.chance("line")
        return cls.trace


class Key:
    """Equal by name; all hashes are the same."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __hash__(self) -> int:
        Trouble.chance("key")
        return 7

    def __eq__(self, other: object) -> bool:
        Trouble.chance("key")
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

    def __del__(self) -> None:
        Trouble.chance("value")

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
    for field in ("token", "key", "attempt"):
        try:
            setattr(lease, field, "other")
        except AttributeError:
            continue
        return False
    return True
