"""The specification, executed: every transition, and every call that it refuses.

Each transition of each model is carried out by the machine, by the reference model and by the
asyncio shell, and must lead to the state that the specification says, with every call told what it
says; in each state, each call that is not enabled there must come to what the specification says,
and change nothing.

    python -m tests.conformance MODEL [NUMBER]    one model, or one transition
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.conformance import graph
from tests.conformance.graph import REFUSED
from tests.conformance.replay import replay
from tests.conformance.shell import ENGINES

Report = Callable[[str, object], None]
pytestmark = pytest.mark.timeout(600)

QUICK, DEEP = graph.models(), graph.models(deep=True)
ON_ALL = {"MCdump_stop", "MCdump_mixed"}  # the smallest, with the most kinds of calls
ACTIONS = {
    *("put", "get", "take", "resume", "cancel", "time_out", "ack", "release", "extend", "refresh"),
    *("put_waits", "discard", "join", "drain", "shutdown", "reap", "close", "tick"),
}


def cases() -> Iterator[Any]:
    """Each model on each engine; those that `make test` leaves out are marked."""
    for name in (*QUICK, *DEEP):
        for engine in ENGINES:
            quick = name in QUICK and (engine == "machine" or name in ON_ALL)
            marks = [pytest.mark.xdist_group(name), *([] if quick else [pytest.mark.deep])]
            yield pytest.param(name, engine, marks=marks, id=f"{name}-{engine}")


@pytest.mark.parametrize(("name", "engine"), [*cases()])
def test_replay(name: str, engine: str, record_property: Report) -> None:
    model = graph.load(name)
    count = replay(ENGINES[engine], model)
    record_property("replay", f"{name:15} {engine:8} {count}")
    assert count.transitions == sum(step.label is not REFUSED for step in model.steps)


def some(names: list[str]) -> list[Any]:
    return [
        pytest.param(name, marks=[pytest.mark.xdist_group(name)])
        if name in QUICK
        else pytest.param(name, marks=[pytest.mark.xdist_group(name), pytest.mark.deep])
        for name in names
    ]


@pytest.mark.parametrize("name", some([*QUICK, *DEEP]))
def test_a_call_is_either_enabled_or_refused(name: str) -> None:
    """The specification leaves no case open."""
    model = graph.load(name)
    calls = {label for state in model.states for label, _ in state.refused}
    calls |= {s.label for s in model.steps if s.label[0] in ("put", "ack", "release", "discard")}
    for state in model.states:
        enabled = [step.label for step in state.steps]
        refused = [label for label, _ in state.refused]
        assert len({*enabled}) == len(enabled)
        assert len({*refused}) == len(refused)
        assert not {*enabled} & {*refused}
        idle = {label for label in calls if label[0] not in ("get", "take", "join", "drain")}
        missing = idle - {*enabled} - {*refused}
        assert not missing, f"{missing} in {state.seen}"


def test_the_models_reach_every_action() -> None:
    """Those of `make test` together."""
    steps = (step for name in QUICK for step in graph.load(name).steps)
    assert {step.label[0] for step in steps if step.label is not REFUSED} == ACTIONS
