"""The specification, executed by the server: every transition, and every call that it refuses.

python -m tests.conformance MODEL [NUMBER] --engine redis    one model, or one transition
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.conformance import graph
from tests.conformance.graph import REFUSED
from tests.engine.replay import RedisEngine, replay

Report = Callable[[str, object], None]
pytestmark = pytest.mark.timeout(900)

# Together more than 40,000 transitions: the bound, waiting puts, all policies on one key, delays,
# discard, refresh, join, shutdown, drain.
QUICK = ("MCdump_bound", "MCdump_mixed", "MCdump_stop")


def cases() -> Iterator[Any]:
    """Those of the specification's models that are not deep."""
    for name in graph.models():
        marks = [pytest.mark.xdist_group(name), *([] if name in QUICK else [pytest.mark.deep])]
        yield pytest.param(name, marks=marks, id=name)


@pytest.mark.parametrize("name", [*cases()])
def test_every_transition(name: str, record_property: Report) -> None:
    model = graph.load(name)
    count = replay(RedisEngine, model)
    record_property("replay", f"{name:15} server   {count}")
    assert count.transitions == sum(step.label is not REFUSED for step in model.steps)
    assert count.refused == sum(len(state.refused) for state in model.states)


def test_the_quick_part_is_large() -> None:
    steps = (step for name in QUICK for step in graph.load(name).steps)
    assert sum(step.label is not REFUSED for step in steps) >= 40_000
