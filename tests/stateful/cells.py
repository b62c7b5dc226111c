"""Every wrong cell of the table: another next state, or another effect that fits the event."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

# Effects that are told apart in one place.
MIXED_UP = (
    {"ADD", "SET", "REVISE", "REFUSE"},
    {"DROP", "PROMOTE"},
    {"RETURN", "ADOPT", "MERGE"},
    {"DISCARD", "FORGET"},
)


@dataclass(frozen=True)
class Cell:
    """A wrong move, and where it is to be planted."""

    state: Any
    event: str
    number: int  # of the event
    move: Any
    what: str

    def moves(self) -> list[Any]:
        """The row of the state with it."""
        return [*self.state.moves[: self.number], self.move, *self.state.moves[self.number + 1 :]]


def wrong_cells(table: Any) -> Iterator[Cell]:
    """Whatever a cell might be by mistake. ``table``: the module."""
    for state, row in table.TABLE.items():
        for event, move in row.items():
            number = table.EVENTS.index(event)
            for change, wrong in _wrong(table, move):
                what = f"{state.name}: {event}: {change}"
                yield Cell(state, event, number, wrong, what)


def _wrong(table: Any, move: Any) -> Iterator[tuple[str, Any]]:
    for state in table.TABLE:
        if move.next is not None and state is not move.next:
            yield f"next {state.name}", table.Move(move.effect, state, move.later)
        if move.later is not None and state is not move.later:
            yield f"later {state.name}", table.Move(move.effect, move.next, state)
    for group in MIXED_UP:
        if move.effect.name in group:
            for name in sorted(group - {move.effect.name}):
                yield f"effect {name}", table.Move(table.Effect[name], move.next, move.later)
