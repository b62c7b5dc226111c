"""The diagram of a transition system: one box a state, one row a way out.

A row that leads to another state is joined to that state's rail, which runs beside the boxes to
its head. There is one rail for each state that is led to, so no line crosses a text, however
many transitions there are.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from docs._ext.svg import COLOURS, ROW, WIDTH, Picture

RAIL = 11  # the distance of two rails


@dataclass(frozen=True)
class Row:
    """What happens, what it does in a word, and the state that it leads to."""

    event: str
    step: str
    target: str


@dataclass
class State:
    name: str
    note: str
    rows: list[Row] = field(default_factory=list)


def draw(title: str, states: list[State]) -> str:
    picture = Picture(title)
    led_to = [s.name for s in states if any(_leads(t, s.name) for t in states)]
    right = WIDTH - RAIL * (len(led_to) + 1)
    heads: dict[str, float] = {}
    joints: dict[str, list[float]] = {name: [] for name in led_to}

    y = 2.0
    for state in states:
        height = ROW * (len(state.rows) + 1) + 8
        picture.box(1, y, right, height)
        heads[state.name] = y + ROW / 2 + 2
        picture.text(9, y + ROW - 2, state.name, style="strong")
        picture.text(right - 7, y + ROW - 2, state.note, anchor="end", style="muted")
        for row in state.rows:
            y += ROW
            picture.text(9, y + ROW, row.event)
            picture.text(right - 7, y + ROW, row.step, anchor="end", style="muted")
            if row.target != state.name:
                joints[row.target].append(y + ROW - 4)
        y += ROW + 8 + 10
    picture.height = y - 6

    for number, name in enumerate(led_to):
        colour = COLOURS[number % len(COLOURS)]
        x, head = right + RAIL * (number + 1), heads[name]
        ends = [head, *joints[name]]
        picture.line([(x, min(ends)), (x, max(ends))], colour=colour)
        for joint in joints[name]:
            picture.line([(right + 1, joint), (x, joint)], colour=colour)
            picture.dot(right + 1, joint, colour)
        picture.line([(x, head), (right + 2, head)], colour=colour, arrow=True)
    return picture.html()


def _leads(state: State, name: str) -> bool:
    return state.name != name and any(row.target == name for row in state.rows)
