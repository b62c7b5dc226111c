"""Who is measured: both builds of the queue, `asyncio.Queue`, and an item in an `OrderedDict`."""

from __future__ import annotations

import importlib
import os
import sys
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

COMPILED = "compiled"
PURE = "pure"
PLAIN = "asyncio.Queue"
ORDERED = "OrderedDict"

Queue = Any  # of one build or the other: to the types they are one class, and they are not
Builds = Mapping[str, Callable[..., Queue]]


def builds(folders: Mapping[str, str]) -> dict[str, Callable[..., Queue]]:
    """The class of the queue by build, each imported from its folder."""
    found = {}
    for build, folder in folders.items():
        package = import_apart("leasedkeyq", Path(folder))
        if package.__compiled__ != (build == COMPILED):
            raise ImportError(f"{package.__file__} is not the {build} build")
        found[build] = package.LeasedKeyQueue
    return found


def import_apart(name: str, folder: Path) -> ModuleType:
    """Import a package from a folder and from nowhere else, leaving another of its name alone."""

    def drop() -> dict[str, ModuleType]:
        names = [module for module in sys.modules if module.partition(".")[0] == name]
        return {module: sys.modules.pop(module) for module in names}

    for variable in ("LEASEDKEYQ_EXTENSIONS", "LEASEDKEYQ_NO_EXTENSIONS"):
        os.environ.pop(variable, None)
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


class OrderedQueue:
    """What the plainest line of keyed items keeps of one: its value, and what belongs to it."""

    def __init__(self) -> None:
        self._line: OrderedDict[Any, tuple[Any, int, int]] = OrderedDict()
        self._version = 0

    async def put(self, key: Any, value: Any) -> None:
        self._version += 1
        self._line[key] = (value, self._version, 0)  # the version, and how often it was delivered
