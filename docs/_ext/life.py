"""The life of a key, drawn from the very table by which the core works."""

from __future__ import annotations

from docs._ext import diagram
from docs._ext.diagram import Row, State
from leasedkeyq._key import TRANSITIONS

NOTES = {
    "ABSENT": "nothing of the key",
    "AVAILABLE": "waits in the line",
    "LEASED": "with a consumer",
    "DEFERRED": "leased, newer value held",
    "BUFFERED": "leased, and waits too",
}


def states() -> list[State]:
    """The table, with the policies of put that do the same in one row."""
    found = []
    for state, ways in TRANSITIONS.items():
        policies: dict[tuple[str, str], list[str]] = {}
        rows: dict[tuple[str, str, str], Row] = {}
        for event, (step, after) in ways.items():
            shown = event
            if event.startswith("put "):
                alike = policies.setdefault((step.name, after.name), [])
                alike.append(event.removeprefix("put "))
                shown = f"put ({'any' if len(alike) == 4 else ', '.join(alike)})"
            kind = event.partition(" ")[0] if event.startswith("put ") else event
            rows[kind, step.name, after.name] = Row(shown, step.name.lower(), after.name)
        found.append(State(state.name, NOTES[state.name], list(rows.values())))
    return found


def draw() -> str:
    return diagram.draw("The states of a key and what leads from one to another", states())


def legend() -> str:
    """What each step does, in the order in which the picture brings them up."""
    steps = list(dict.fromkeys(s for ways in TRANSITIONS.values() for s, _ in ways.values()))
    rows = "\n".join(f"| {step.name.lower()} | {step.value} |" for step in steps)
    return (
        '"Last" means that no other lease on the key is live. "Return" is a release, an expiry, a'
        " cancelled reservation or a close.\n\n"
        f"| step | what it does |\n| --- | --- |\n{rows}\n"
    )
