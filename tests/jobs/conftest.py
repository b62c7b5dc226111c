"""Every test runs in virtual time: on asyncio's loop and on uvloop, and with eager tasks, too."""

import asyncio
import sys
from asyncio import AbstractEventLoop
from collections.abc import Callable
from typing import Any

from tests.virtual import VirtualLoop


def eager(make: Callable[[], AbstractEventLoop]) -> Callable[[], AbstractEventLoop]:
    """Each task runs up to its first wait in the very call that makes it."""

    def make_eager() -> AbstractEventLoop:
        loop = make()
        if sys.version_info >= (3, 12):
            loop.set_task_factory(eager_task)
        return loop

    return make_eager


if sys.version_info >= (3, 12):

    def eager_task(loop: AbstractEventLoop, task: Any, **options: Any) -> Any:
        """asyncio's own takes no ``eager_start`` before 3.13.3, and uvloop hands one over."""
        options.pop("eager_start", None)
        return asyncio.eager_task_factory(loop, task, **options)


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], AbstractEventLoop]]:
    loops: dict[str, Callable[[], AbstractEventLoop]] = {"virtual": VirtualLoop}
    if sys.platform != "win32":
        from tests.virtual_uv import VirtualUvLoop  # noqa: PLC0415 (there is none for Windows)

        loops["uvloop"] = VirtualUvLoop
    if sys.version_info >= (3, 12):
        loops |= {f"{name}, eager": eager(make) for name, make in loops.items()}
    return loops


collect_ignore = ["test_uvloop.py"] if sys.platform == "win32" else []
