"""The states of a small model, as the model checker found and wrote them."""

from __future__ import annotations

import re
import shutil
import tempfile
from functools import cache
from pathlib import Path

from docs._ext import diagram
from spec import tlc

MODEL = Path(__file__).parent / "model"

Variables = dict[str, str]
Transition = tuple[str, str, str]


@cache
def explore() -> tuple[dict[str, Variables], list[Transition]]:
    """Run TLC over the small model: its states, and its transitions by action."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        for source in (tlc.SPEC / "leasedkeyq.tla", MODEL / "Small.tla"):
            shutil.copy(source, directory)
        dump = ("-dump", "dot,actionlabels", str(directory / "graph"))
        result = tlc.run("Small", MODEL / "Small.cfg", *dump, workers=1, directory=directory)
        if result.exit_code != tlc.HOLDS or result.left != 0:
            raise RuntimeError(f"TLC could not explore the small model:\n{result.output}")
        dot = (directory / "graph.dot").read_text(encoding="utf-8")
    return parse(dot)


def parse(dot: str) -> tuple[dict[str, Variables], list[Transition]]:
    """What TLC's graph file says: the variables of each state, the actions between them."""
    states = {
        name: dict(re.findall(r"/\\\\ (\w+) = (.*?)(?:\\n|$)", label))
        for name, label in re.findall(r'^(-?\d+) \[label="(.*?)"[,\]]', _plain(dot), re.MULTILINE)
    }
    transitions = re.findall(r'^(-?\d+) -> (-?\d+) \[label="(\w+)"', dot, re.MULTILINE)
    return states, list(dict.fromkeys(transitions))


def _plain(dot: str) -> str:
    return dot.replace('\\"', "'")


def describe(state: Variables) -> str:
    """What the queue holds, in a word or two."""
    returned, arrived, flight = state["returned"], state["arrived"], state["flight"]
    if "Reserved" in flight:
        words = ["reserved"]
    elif flight != "<<>>":
        words = ["leased"]
    elif returned != "<<>>":
        words = ["came back"]
    elif arrived != "<<>>":
        words = ["in line"]
    else:
        words = ["call waits" if state["waiting"] != "<<>>" else "empty"]
    if "(k :> 0)" not in state["deferred"]:
        words.append("deferred")
    if state["open"] == "FALSE":
        words.insert(0, "closed")
    return ", ".join(words)


def draw() -> str:
    found, transitions = explore()
    names = {number: describe(state) for number, state in found.items()}
    if len(set(names.values())) < len(names):
        raise ValueError(f"states that look alike: {sorted(names.values())}")
    actions: dict[tuple[str, str], list[str]] = {}
    for source, target, action in transitions:
        if action != "Tick":  # without timeouts nothing comes of it
            actions.setdefault((source, target), []).append(action)
    states = [
        diagram.State(
            name,
            "",
            [
                diagram.Row(", ".join(labels), names[target], names[target])
                for (source, target), labels in actions.items()
                if source == number
            ],
        )
        for number, name in names.items()
    ]
    return diagram.draw("Every state of a small model and the actions between them", states)
