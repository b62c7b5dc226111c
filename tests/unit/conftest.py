"""Every test of this directory runs in virtual time."""

import sys
from asyncio import AbstractEventLoop
from collections.abc import Callable, Iterator

import pytest

from tests.virtual import VirtualLoop


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], AbstractEventLoop]]:
    return {"virtual": VirtualLoop}


@pytest.fixture
def untraced() -> Iterator[None]:
    """For long loops: coverage would take ten times as long, and learns nothing from them."""
    trace = sys.gettrace()
    sys.settrace(None)
    yield
    sys.settrace(trace)
