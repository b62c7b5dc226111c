"""Every test runs in virtual time; where asyncio has eager tasks, with them too."""

import asyncio
import sys
from asyncio import AbstractEventLoop
from collections.abc import Callable

from tests.virtual import VirtualLoop


class EagerLoop(VirtualLoop):
    """Each task runs up to its first wait in the very call that makes it."""

    def __init__(self) -> None:
        super().__init__()
        if sys.version_info >= (3, 12):
            self.set_task_factory(asyncio.eager_task_factory)


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], AbstractEventLoop]]:
    loops: dict[str, Callable[[], AbstractEventLoop]] = {"virtual": VirtualLoop}
    if sys.version_info >= (3, 12):
        loops["eager"] = EagerLoop
    return loops
