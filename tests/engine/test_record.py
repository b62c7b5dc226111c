"""What the server did in its own order is what the reference model does."""

from __future__ import annotations

import pytest

from tests.engine import record
from tests.engine import server as servers
from tests.engine.conftest import Start
from tests.engine.server import Server
from tests.engine.sessions import Crowd


@pytest.fixture
def recorded(start: Start) -> Server:
    server = start(servers.plain())
    record.load(server)
    return server


def crowds(server: Server, number: int, steps: int) -> None:
    for seed in range(number):
        Crowd(server, f"crowd {seed}", seed).run(steps)


def test_sessions_in_a_random_order(recorded: Server) -> None:
    crowds(recorded, 10, 500)
    replays = record.replay(record.read(recorded))
    assert len(replays) == 10
    assert sum(one.done for one in replays.values()) > 5_000
