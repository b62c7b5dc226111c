"""A wrong cell of the table is a wrong queue: each is planted, and the replay must notice.

For each cell the ways from the initial state that go by it are found; a bug is noticed if one of
them does not lead to what the specification says.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from operator import itemgetter
from typing import Any

import pytest

from tests.conformance import graph
from tests.conformance.graph import REFUSED, Graph, Step
from tests.conformance.player import MachineEngine, Player
from tests.conformance.replay import carry_out, follow, walks
from tests.stateful.cells import wrong_cells
from tests.subject import module

Report = Callable[[str, object], None]
MODEL = "MCdump_mixed"  # it goes by every cell
WAYS = 40  # to try for each cell
LENGTH = itemgetter(0)
PURE = module("_table").__file__.endswith(".py")  # the compiled build has the same source
TABLE, EVENTS = module("_table").TABLE, module("_table").EVENTS


class Watched(list[Any]):
    """The moves of a state, which tell when one is looked up."""

    def __init__(self, moves: list[Any]) -> None:
        super().__init__(moves)
        self.used: set[str] = set()

    def __getitem__(self, number: Any) -> Any:
        move = super().__getitem__(number)
        if move is not None:
            self.used.add(EVENTS[number])
        return move


def ways_by_cell(model: Graph, monkeypatch: pytest.MonkeyPatch) -> dict[Any, list[list[Step]]]:
    """For each cell some ways that go by it, each with all that is refused at its end."""
    watched = {state: Watched(state.moves) for state in TABLE}
    found: dict[Any, dict[Step, tuple[int, list[Step]]]]
    found = {(state, event): {} for state in TABLE for event in TABLE[state]}
    with monkeypatch.context() as patch:
        for state, moves in watched.items():
            patch.setattr(state, "moves", moves)
        for walk in walks(model):
            player = Player(MachineEngine, model)
            for length, step in enumerate(walk, 1):
                for moves in watched.values():
                    moves.used.clear()
                assert carry_out(player, step, False) == ""
                for state, moves in watched.items():
                    for event in moves.used:
                        ways = found[state, event]
                        ways[step] = min(ways.get(step, (length, walk)), (length, walk), key=LENGTH)

    def some(steps: dict[Step, tuple[int, list[Step]]]) -> Iterator[list[Step]]:
        """The shortest there are, and the shortest that were seen to go by the cell."""
        for step in sorted(steps, key=lambda step: len(step.before.path()))[:WAYS]:
            yield [*step.before.path(), step, *(s for s in step.after.steps if s.label is REFUSED)]
        for length, walk in sorted(steps.values(), key=LENGTH)[:WAYS]:
            after = walk[length - 1].after
            yield [*walk[:length], *(s for s in after.steps if s.label is REFUSED)]

    return {cell: [*some(steps)] for cell, steps in found.items()}


if PURE:

    @pytest.mark.xdist_group(MODEL)
    def test_wrong_cells_are_noticed(
        monkeypatch: pytest.MonkeyPatch, record_property: Report
    ) -> None:
        model = graph.load(MODEL)
        by_cell = ways_by_cell(model, monkeypatch)
        planted = [*wrong_cells(module("_table"))]
        missed = []
        for cell in planted:
            with monkeypatch.context() as patch:
                patch.setattr(cell.state, "moves", cell.moves())
                ways = by_cell[cell.state, cell.event]
                if not any(follow(MachineEngine, model, way, set()) for way in ways):
                    missed.append(cell.what)
        told = f"{len(planted)} wrong cells of the table, {len(missed)} not noticed"
        record_property("replay", told)
        assert not missed, "\n".join(missed)
