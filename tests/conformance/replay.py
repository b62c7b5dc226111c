"""Every step of the specification and every refused call, carried out by an engine.

Not each from the initial state on: walks that go on as long as there is something new nearby cover
all of them in a few times as many steps.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from tests.conformance.graph import REFUSED, Graph, State, Step
from tests.conformance.player import Player

NEARBY = 100  # states to look at for something new, before a new walk begins


@dataclass
class Count:
    """What a replay came to."""

    transitions: int = 0
    refused: int = 0
    steps: int = 0

    def __str__(self) -> str:
        return (
            f"{self.transitions:,} transitions in {self.steps:,} steps,"
            f" {self.refused:,} calls refused"
        )


class DiffersError(AssertionError):
    """An engine does not do what the specification says."""


def walks(graph: Graph) -> Iterator[list[Step]]:
    """Walks from the initial state that cover every step."""
    done: set[Step] = set()
    left = {
        # What ends the queue comes last, for it ends the walk.
        state: sorted(state.steps, key=lambda step: -(step.after.phase == "closed"))
        for state in graph.states
    }

    def untried(state: State) -> Step | None:
        steps = left[state]
        while steps and steps[-1] in done:
            steps.pop()
        return steps[-1] if steps else None

    for start in graph.states:
        while untried(start):
            walk = start.path()
            done.update(walk)
            here = start
            while True:
                if step := untried(here):
                    way = [step]
                elif not (way := _to_nearest(here, untried)):
                    break
                walk += way
                done.update(way)
                here = way[-1].after
            yield walk


def _to_nearest(here: State, untried: Any) -> list[Step]:
    """The way to a state nearby in which something is untried; empty if there is none."""
    ways: dict[State, list[Step]] = {here: []}
    ahead = deque([here])
    while ahead and len(ways) < NEARBY:
        state = ahead.popleft()
        for step in state.steps:
            if step.after not in ways:
                ways[step.after] = [*ways[state], step]
                if untried(step.after):
                    return ways[step.after]
                ahead.append(step.after)
    return []


def follow(
    make: Any, graph: Graph, walk: Iterable[Step], done: set[Step], log: list[str] | None = None
) -> tuple[Step, str] | None:
    """Take a new engine along a walk. Returns what is wrong with a step that was not done yet."""
    player = Player(make, graph, log)
    for step in walk:
        new = step not in done
        done.add(step)
        try:
            wrong = carry_out(player, step, new)
        except Exception as raised:  # noqa: BLE001 (whatever it is, it is wrong)
            wrong = repr(raised)
        if wrong:
            player.engine.leave()
            return step, wrong
    player.engine.leave()
    return None


def carry_out(player: Player, step: Step, new: bool) -> str:
    if step.label is REFUSED:
        return player.refused(step.before)
    told = player.do(step.label)
    if new and told != step.told:
        return f"{told} were told instead of {set(step.told)}"
    if new and player.seen != step.after.seen:
        return f"leads to     {player.seen}\n  instead of   {step.after.seen}"
    return ""


def replay(make: Any, graph: Graph, some: Iterable[list[Step]] | None = None) -> Count:
    """Cover every step of a model, or what a few walks do; DiffersError where one goes wrong."""
    count, done = Count(), set[Step]()
    for walk in walks(graph) if some is None else some:
        if wrong := follow(make, graph, walk, done):
            raise DiffersError(explained(make, graph, walk, wrong[0]))
        count.steps += len(walk)
    for step in done:
        if step.label is REFUSED:
            count.refused += len(step.before.refused)
        else:
            count.transitions += 1
    return count


def explained(make: Any, graph: Graph, walk: list[Step], step: Step) -> str:
    """The shorter of the ways to see what goes wrong with a step, as calls of the API."""
    for way in ([*step.before.path(), step], walk):
        log: list[str] = []
        if wrong := follow(make, graph, way, set(), log):
            return "\n  ".join(
                [
                    f"{graph.name}: {' '.join(wrong[0].label)} {wrong[1]}",
                    *log,
                    f"To see it again: python -m tests.conformance {graph.name} {step.number}",
                ]
            )
    return f"{graph.name}: {' '.join(step.label)} goes wrong once, and not again"
