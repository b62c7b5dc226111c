"""The life of a key, drawn from the very table by which the core works."""

from __future__ import annotations

from docs._ext.diagram import Row, State, draw as draw_states
from leasedkeyq._core import TRANSITIONS

NOTES = {
    "ABSENT": "nothing of the key",
    "AVAILABLE": "waits in the line",
    "LEASED": "with a consumer",
    "DEFERRED": "leased, newer value held",
    "BUFFERED": "leased, and waits too",
}


def states() -> list[State]:
    """The table, with events that do the same in one row."""
    found = []
    for state, ways in TRANSITIONS.items():
        merged: dict[tuple[str, str], list[str]] = {}
        for event, (step, target) in ways.items():
            action, _, detail = event.partition(" ")
            kind = action if action == "put" else event
            merged.setdefault((f"{kind}|{step.name}", target.name), []).append(detail)
        rows = []
        for (key, target), details in merged.items():
            kind, _, step_name = key.partition("|")
            if kind == "put":
                policies = "any" if len(details) == 4 else ", ".join(details)
                kind = f"put ({policies})"
            rows.append(Row(kind, step_name.lower(), target))
        found.append(State(state.name, NOTES[state.name], rows))
    return found


def draw() -> str:
    return draw_states("The states of a key and what leads from one to another", states())


def legend() -> str:
    """What each step does, in the order in which the picture brings them up."""
    steps = list(dict.fromkeys(s for ways in TRANSITIONS.values() for s, _ in ways.values()))
    rows = "\n".join(f"| {step.name.lower()} | {step.value} |" for step in steps)
    return (
        '"Last" means that no other lease on the key is live. "Return" is a release, an expiry, a'
        " cancelled reservation or a close.\n\n"
        f"| step | what it does |\n| --- | --- |\n{rows}\n"
    )
