"""The specification, executed: every transition, and every call that it refuses.

For each policy, each transition of the model is carried out by the implementation's core, by
the reference model and by the asyncio shell, and must lead to the state that the specification
says; in each state, each call that is not enabled there must raise the error that the
specification names, and change nothing.

To the shell, states that differ only in how past leases have ended are one: it has no say in
that, and would take minutes.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.conformance import graph, shell
from tests.conformance.machines import CoreMachine, Machine, ModelMachine
from tests.conformance.replay import replay

Report = Callable[[str, object], None]
each_policy = pytest.mark.parametrize(
    "policy",
    [pytest.param(policy, marks=pytest.mark.xdist_group(policy)) for policy in graph.POLICIES],
)
pytestmark = pytest.mark.timeout(600)


@each_policy
def test_a_call_is_either_enabled_or_refused(policy: str) -> None:
    """The specification leaves no case open."""
    for state in graph.load(policy):
        enabled = [label for label, _ in state.steps]
        refused = [label for label, _ in state.refused]
        assert not set(enabled) & set(refused)
        assert len(set(enabled)) == len(enabled)
        calls = {*enabled, *refused}
        for key in ("k1", "k2"):
            assert ("put", key, policy) in calls
        for lease in ("c1", "c2"):
            assert {
                ("ack", lease),
                ("release", lease, "front"),
                ("release", lease, "back"),
            } <= calls
            assert ("extend", lease, "Same") in calls
        assert ("close",) in calls or not state.seen[-1]


@each_policy
def test_every_action_is_reached(policy: str) -> None:
    reached = {label[0] for state in graph.load(policy) for label, _ in state.steps}
    assert reached == {
        *("put", "get", "take", "resume", "cancel", "time_out", "ack", "release", "extend"),
        *("expire", "close", "tick"),
    }


@each_policy
@pytest.mark.parametrize("machine", [CoreMachine, ModelMachine])
def test_replay(policy: str, machine: type[Machine], record_property: Report) -> None:
    count = replay(machine, graph.load(policy))
    record_property("replay", f"{policy:7} {machine.__name__:13} {count}")
    assert not count.mismatches, "\n".join(count.mismatches[:5])


@each_policy
def test_replay_through_the_shell(policy: str, record_property: Report) -> None:
    count = shell.replay(graph.without_ends(graph.load(policy)))
    record_property("replay", f"{policy:7} {'Shell':13} {count}")
    assert not count.mismatches, "\n".join(count.mismatches[:5])
