"""The transitions of the specification, as TLC writes them out (``spec/MCdump.tla``)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache, cached_property
from math import inf
from typing import Any, TypeAlias

from spec import tlc

Label: TypeAlias = tuple[str, ...]  # an operation and its arguments: ("put", "k1", "update", "0")
Seen: TypeAlias = tuple[Any, ...]  # a state, in the form that the head of MCdump.tla tells
Told: TypeAlias = frozenset[tuple[str, str]]  # what calls have come to

REFUSED: Label = ("refused",)  # stands for all the calls that are refused in a state


@dataclass(eq=False, slots=True)
class State:
    """A state of the model: where to go from there, and what is refused."""

    seen: Seen
    refused: tuple[tuple[Label, str], ...] = ()
    shown: Seen = ()
    steps: list[Step] = field(default_factory=list)
    way: Step | None = None  # the last step of a shortest path to it

    def path(self) -> list[Step]:
        """From the initial state, by the fewest steps."""
        steps, way = [], self.way
        while way is not None:
            steps.append(way)
            way = way.before.way
        return steps[::-1]

    @property
    def phase(self) -> str:
        phase: str = self.seen[-2]
        return phase


@dataclass(eq=False, slots=True)
class Step:
    """A transition, by its number in the dump; or all that is refused in a state."""

    number: int
    before: State
    label: Label
    told: Told
    after: State


@dataclass
class Graph:
    """All of a model."""

    name: str
    states: list[State]  # the initial one first
    steps: list[Step]  # by number; then, for each state, what is refused there

    @cached_property
    def constants(self) -> dict[str, str]:
        (model,) = (model for model in tlc.manifest() if model.name == self.name)
        constants: dict[str, str] = tlc.contents()["constants"] | model.constants
        return constants

    @cached_property
    def lease_time(self) -> dict[str, float]:
        return self._times("LeaseTime")

    @cached_property
    def wait_time(self) -> dict[str, float]:
        return self._times("WaitTime")

    def _times(self, constant: str) -> dict[str, float]:
        """What a function of calls says, which MC.tla defines and the manifest names."""
        text = (tlc.SPEC / "MC.tla").read_text()
        definitions = dict(re.findall(r"^(\w+) *== (\w+ :> .*)$", text, re.MULTILINE))

        def pairs(name: str) -> Iterator[tuple[str, float]]:
            for part in definitions[name].split(" @@ "):
                if " :> " in part:
                    call, _, time = part.partition(" :> ")
                    yield call, number(time)
                else:
                    yield from pairs(part)

        return dict(pairs(self.constants[constant].removeprefix("<- ")))

    @property
    def delays(self) -> bool:
        return self.constants["Delays"] != "{0}"

    @property
    def ends(self) -> bool:
        """Does it tell states apart by how leases have ended?"""
        return "Shown" not in self.constants


def number(text: str) -> float:
    return inf if text == "Never" else int(text)


@cache
def models(*, deep: bool = False) -> list[str]:
    """Their names; the deep ones, or the others."""
    return [m.name for m in tlc.manifest() if m.module == "MCdump" and m.deep == deep]


@cache
def load(name: str) -> Graph:
    states: dict[str, State] = {}

    def state(text: str) -> State:
        if text not in states:
            states[text] = State(read(text[text.index("{") : text.rindex("}") + 1]))
        return states[text]

    graph = Graph(name, [], [])
    here = State(())
    for kind, *parts in tlc.dump(name):
        if kind == "state":
            text, refused, shown = parts
            here = state(text)
            here.refused, here.shown = _calls(refused), _read(shown)
            graph.states.append(here)
        else:
            label, told, text = parts
            new = text not in states
            there = state(text)
            step = Step(len(graph.steps), here, tuple(label.split()), _read(told), there)
            graph.steps.append(step)
            here.steps.append(step)
            if new:
                there.way = step
    for here in graph.states:
        reap = next((step for step in here.steps if step.label == ("reap",)), None)
        settled = here if reap is None else reap.after
        here.steps.append(Step(len(graph.steps), here, REFUSED, frozenset(), settled))
        graph.steps.append(here.steps[-1])
    return graph


def read(text: str) -> Seen:
    """The one element of a set."""
    (seen,) = _read(text)
    return seen  # type: ignore[no-any-return]


@cache
def _calls(text: str) -> tuple[tuple[Label, str], ...]:
    calls = (call.split(", ") for call in re.findall(r"<<(.*?)>>", text))
    return tuple((tuple(label), comes_to) for *label, comes_to in calls)


_NAMES = {"TRUE": True, "FALSE": False, "frozenset": frozenset, "__builtins__": {}}
_MARKS = {"<<>>": "()", "<<": "(", ">>": ",)"}
_MARKS |= {"{}": "frozenset()", "{": "frozenset((", "}": ",))"}


def _translated(match: re.Match[str]) -> str:
    word = match[0]
    return _MARKS.get(word) or (word if word in _NAMES else repr(word))


@cache
def _read(text: str) -> Any:
    """What TLC prints, in tuples, frozen sets, strings and numbers."""
    return eval(re.sub(r"<<>>|<<|>>|{}|[{}]|[A-Za-z]\w*", _translated, text), _NAMES)
