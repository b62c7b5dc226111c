"""A server that the tests of a run share, and others for those who do more to it than to use it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from typing import TypeAlias

import pytest

from tests.engine import server as servers
from tests.engine.server import Cluster, Server

Start: TypeAlias = Callable[[Server], Server]
NAMES = count(1)


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """For all tests that leave it as it was; each has a queue of its own."""
    with servers.plain() as running:
        yield running


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """Three nodes, of which a test may do with each what it likes."""
    with Cluster() as running:
        yield running


@pytest.fixture
def name() -> str:
    """Of a queue that no other test has."""
    return f"test-{next(NAMES)}"


@pytest.fixture
def start() -> Iterator[Start]:
    """Start a server of any kind; it ends with the test."""
    running: list[Server] = []

    def begin(one: Server) -> Server:
        running.append(one)
        return one.start()

    yield begin
    for one in running:
        one.remove()
