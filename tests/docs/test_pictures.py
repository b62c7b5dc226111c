"""Pictures show what their sources say, all of it."""

from __future__ import annotations

import re

import pytest

from docs._ext import architecture, diagram, life, sequences, statespace
from tests.docs.manual import DOCS
from tests.subject import module


def texts(picture: str) -> list[str]:
    return re.findall(r"<text[^>]*>([^<]*)</text>", picture)


def test_life_shows_every_entry_of_the_table() -> None:
    table = module("_key").TRANSITIONS
    drawn = set()
    for state in life.states():
        for row in state.rows:
            put = re.fullmatch(r"put \((.*)\)", row.event)
            if put is None:
                events = [row.event]
            else:
                names = "update, reject, buffer, defer" if put[1] == "any" else put[1]
                events = [f"put {name}" for name in names.split(", ")]
            drawn |= {(state.name, event, row.step, row.target) for event in events}
    assert drawn == {
        (state.name, event, step.name.lower(), after.name)
        for state, ways in table.items()
        for event, (step, after) in ways.items()
    }


def test_legend_explains_every_step() -> None:
    for step in module("_key").Step:
        assert f"| {step.name.lower()} | {step.value} |" in life.legend()


def test_diagram_joins_every_way_out_to_its_rail() -> None:
    states = [
        diagram.State("A", "", [diagram.Row("go", "x", "B"), diagram.Row("stay", "y", "A")]),
        diagram.State("B", "", [diagram.Row("back", "z", "A")]),
    ]
    picture = diagram.draw("two states", states)
    assert picture.count("<circle") == 2  # one for each way out, none for what stays
    assert picture.count("<polygon") == 2  # one for each state that is led to
    assert texts(picture) == ["A", "", "go", "x", "stay", "y", "B", "", "back", "z"]


def test_state_graph_is_what_tlc_found() -> None:
    states, transitions = statespace.explore()
    picture = texts(statespace.draw())
    assert len(states) == 11
    assert {statespace.describe(state) for state in states.values()} <= set(picture)
    shown = {word for text in picture for word in text.split(", ")}
    assert {action for _, _, action in transitions} - {"Tick"} <= shown


@pytest.mark.parametrize("name", sequences.SCENARIOS)
def test_sequence_shows_every_recorded_event(name: str) -> None:
    events = sequences.record(sequences.SCENARIOS[name][2])
    shown = texts(sequences.draw(name).replace("&#x27;", "'"))
    assert [text for text in shown if text in {event.call for event in events}] == [
        event.call for event in events
    ]
    assert shown.count("reserved") == sum(len(event.woken) for event in events)


def test_cancelled_call_is_overtaken_by_nobody() -> None:
    """What the picture is for: the copy reserved for A goes to B when A is cancelled."""
    events = sequences.record(sequences.cancelled)
    cancelled = next(event for event in events if event.call == "cancel")
    assert (cancelled.actor, cancelled.woken) == ("A", ("B",))
    assert events[-1].available == events[-1].inflight == ()


def test_expired_lease_passes_on_at_its_deadline() -> None:
    events = sequences.record(sequences.expired)
    rings = next(event for event in events if event.actor == "timer")
    granted = next(event for event in events if event.answer.endswith("lease 1"))
    assert (rings.time - granted.time, rings.woken) == (2, ("B",))
    assert [event.answer for event in events if event.call == "ack(lease 1)"] == [
        "LeaseExpiredError"
    ]


def test_architecture_names_every_module() -> None:
    assert {f"{name}.py" for name in architecture.imports()} <= set(texts(architecture.draw()))


def test_architecture_page_explains_every_module() -> None:
    page = (DOCS / "architecture.md").read_text(encoding="utf-8")
    explained = set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE))
    assert explained >= architecture.imports().keys() - {"__init__"}


def test_nothing_in_the_core_imports_asyncio() -> None:
    """What the architecture page says of the core."""
    for name in ("_core", "_key", "_call", "_deadlines", "_linkedlist", "lease"):
        source = (architecture.PACKAGE / f"{name}.py").read_text(encoding="utf-8")
        assert not re.search(r"^\s*(import|from) asyncio", source, re.MULTILINE), name
