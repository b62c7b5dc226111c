"""The package, with the machine on a server: `LEASEDKEYQ_UNDER_TEST=tests.engine.subject`.

The public classes are the package's own; `LeasedKeyQueue` works on a `RedisMachine`. It is the
machine that is under test here, not the client of the engine: every operation is a blocking call,
and time is the loop's.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import Any

import leasedkeyq
from tests.engine.machine import RedisMachine

__all__ = leasedkeyq.__all__

globals().update({_name: getattr(leasedkeyq, _name) for _name in __all__})
# Its private modules are the package's own, too, but for the machine.
for _name in ("_deadlines", "_linkedlist", "_model", "_records", "_table", "_waiting", "observing"):
    sys.modules[f"{__name__}.{_name}"] = import_module(f"leasedkeyq.{_name}")
_machine = sys.modules[f"{__name__}._machine"] = ModuleType(f"{__name__}._machine")
_machine.Machine = RedisMachine  # type: ignore[attr-defined]


class LeasedKeyQueue(leasedkeyq.LeasedKeyQueue[Any, Any]):
    """The project's own shell, over the machine on the server."""

    __slots__ = ()

    def __init__(
        self,
        *,
        default_lease_timeout: float | None = None,
        maxsize: int = 0,
        if_in_flight: Any = "update",
    ) -> None:
        super().__init__()
        self._machine: Any = RedisMachine(default_lease_timeout, maxsize, if_in_flight)
        self._outbox = self._machine.outbox
        self._deadlines: Any = self._machine.deadlines
