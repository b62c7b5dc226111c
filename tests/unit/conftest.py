"""Every test of this directory runs in virtual time."""

from asyncio import AbstractEventLoop
from collections.abc import Callable

from tests.virtual import VirtualLoop


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], AbstractEventLoop]]:
    return {"virtual": VirtualLoop}
