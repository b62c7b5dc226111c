"""Every test runs in virtual time on asyncio's loop, where there are eager tasks with them too."""

from asyncio import AbstractEventLoop
from collections.abc import Callable

from tests.jobs import conftest as jobs
from tests.unit.conftest import untraced

__all__ = ["pytest_asyncio_loop_factories", "untraced"]


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], AbstractEventLoop]]:
    """Not uvloop, whose clock is too coarse for times that are compared to the microsecond."""
    loops = jobs.pytest_asyncio_loop_factories()
    return {name: make for name, make in loops.items() if not name.startswith("uvloop")}
