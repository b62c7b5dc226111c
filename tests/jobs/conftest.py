"""Every test runs in virtual time: on asyncio's loop and on uvloop, and with eager tasks, too."""

import asyncio
import sys
from asyncio import AbstractEventLoop
from collections.abc import Callable

from tests.virtual import VirtualLoop


def eager(make: Callable[[], AbstractEventLoop]) -> Callable[[], AbstractEventLoop]:
    """Each task runs up to its first wait in the very call that makes it."""

    def make_eager() -> AbstractEventLoop:
        loop = make()
        if sys.version_info >= (3, 12):
            loop.set_task_factory(asyncio.eager_task_factory)
        return loop

    return make_eager


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], AbstractEventLoop]]:
    loops: dict[str, Callable[[], AbstractEventLoop]] = {"virtual": VirtualLoop}
    if sys.platform != "win32":
        from tests.virtual_uv import VirtualUvLoop  # noqa: PLC0415 (there is none for Windows)

        loops["uvloop"] = VirtualUvLoop
    if sys.version_info >= (3, 12):
        loops |= {f"{name}, eager": eager(make) for name, make in loops.items()}
    return loops


collect_ignore = ["test_uvloop.py"] if sys.platform == "win32" else []
