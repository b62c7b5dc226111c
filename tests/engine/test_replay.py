"""The specification, executed by the server: every transition, and every call that it refuses.

python -m tests.conformance MODEL [NUMBER] --engine server    one model, or one transition
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.conformance import graph
from tests.conformance.graph import REFUSED
from tests.engine.machine import (
    SOURCE,
    RedisMachine,
    Wire,
    on_a_test_clock,
    where_all_values_are_long,
)
from tests.engine.replay import RedisEngine, replay
from tests.engine.server import Server

Report = Callable[[str, object], None]
pytestmark = pytest.mark.timeout(900)

# Together more than 40,000 transitions: the bound, waiting puts, all policies on one key, delays,
# discard, refresh, join, shutdown, drain.
QUICK = ("MCdump_bound", "MCdump_mixed", "MCdump_stop")


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.xdist_group(n)) for n in QUICK])
def test_a_part(name: str, record_property: Report) -> None:
    """Its transitions, and the refused calls of each fifth state."""
    model = graph.load(name)
    count = replay(RedisEngine, model, share=5)
    record_property("replay", f"{name:15} server   {count}")
    assert count.transitions == sum(step.label is not REFUSED for step in model.steps)
    assert count.refused


def test_a_part_with_long_values(server: Server, record_property: Report) -> None:
    """They are kept elsewhere."""
    source = where_all_values_are_long(on_a_test_clock(SOURCE.read_text()))
    wire = Wire(str(server.socket), source, as_script=True)

    class Machine(RedisMachine):
        _connect = staticmethod(lambda: wire)

    class Engine(RedisEngine):
        make: Any = Machine
        strangers: Any = None

    model = graph.load("MCdump_stop")
    count = replay(Engine, model, share=5)
    wire.socket.close()
    record_property("replay", f"long values     server   {count}")
    assert count.transitions == sum(step.label is not REFUSED for step in model.steps)


@pytest.mark.deep
@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.xdist_group(n)) for n in graph.models()]
)
def test_every_transition(name: str, record_property: Report) -> None:
    """Of the specification's models that are not deep."""
    model = graph.load(name)
    count = replay(RedisEngine, model)
    record_property("replay", f"{name:15} server   {count}")
    assert count.transitions == sum(step.label is not REFUSED for step in model.steps)
    assert count.refused == sum(len(state.refused) for state in model.states)


def test_the_quick_part_is_large() -> None:
    steps = (step for name in QUICK for step in graph.load(name).steps)
    assert sum(step.label is not REFUSED for step in steps) >= 40_000
