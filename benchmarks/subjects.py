"""Who is measured, and how each is made."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

import leasedkeyq

from .ordered import OrderedQueue

OURS = "leasedkeyq"
ORDERED = "OrderedDict"
PUBLIC = "0.0.7"
PLAIN = "asyncio.Queue"
FLOOR = "floor"


class Leased(Protocol):
    """What of a leased queue is measured."""

    async def put(self, key: Any, value: Any) -> None: ...
    async def get(
        self, timeout: float | None = None, *, lease_timeout: float | None = None
    ) -> tuple[Any, Any, Any]: ...
    async def take(
        self, key: Any, timeout: float | None = None, *, lease_timeout: float | None = None
    ) -> tuple[Any, Any, Any]: ...
    async def ack(self, lease: Any) -> None: ...
    async def release(self, lease: Any, *, requeue_front: bool = False) -> None: ...
    async def qsize(self) -> int: ...


class Floor:
    """The least that a queue with three awaited operations can do: one dict, in and out."""

    def __init__(self) -> None:
        self._items: dict[Any, Any] = {}

    async def put(self, key: Any, value: Any) -> None:
        self._items[key] = value

    async def get(self) -> None:
        pass

    async def ack(self, key: Any) -> None:
        del self._items[key]


def import_apart(name: str, folder: Path) -> ModuleType:
    """Import a package from a folder and from nowhere else, leaving another of its name alone."""

    def drop() -> dict[str, ModuleType]:
        names = [module for module in sys.modules if module.partition(".")[0] == name]
        return {module: sys.modules.pop(module) for module in names}

    kept = drop()
    sys.path.insert(0, str(folder))
    try:
        package = importlib.import_module(name)
        if folder not in Path(str(package.__file__)).parents:
            raise ImportError(f"{name} was to come from {folder}, not from {package.__file__}")
        return package
    finally:
        sys.path.remove(str(folder))
        drop()
        sys.modules.update(kept)


def leased_queues(public: str | None) -> dict[str, Callable[..., Leased]]:
    """The leased queues by name: ours, the rival, and the public one if its folder is given."""
    classes: dict[str, Callable[..., Leased]] = {
        OURS: leasedkeyq.LeasedKeyQueue,
        ORDERED: OrderedQueue,
    }
    if public is not None:
        classes[PUBLIC] = import_apart(leasedkeyq.__name__, Path(public)).LeasedKeyQueue
    return classes
