"""How many of the specification's transitions does chance find?

A walk of random steps through the core, next to the model, within the bounds of the small
models that TLC enumerates: two keys, two calls, one policy, a clock that ticks. It knows the
rules of the game and not the graph. What it does is then looked up in TLC's list: at least 95%
of that must have been met, and nothing that is not in it.

    python -m tests.stateful.transitions
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from random import Random
from typing import Final, TypeAlias

from tests.conformance import graph, machines
from tests.conformance.graph import POLICIES, Label, Seen
from tests.stateful.mirror import outcome

BAR: Final = 0.95
SEED: Final = 1
RUNS: Final = 40_000  # of each policy, at most
LENGTH: Final = 25  # of a run, from where it starts
RECORD = Path(__file__).with_name("transitions.csv")

KEYS, CALLS = ("k1", "k2"), ("c1", "c2")
# The times by which leases are extended, in the model of each policy.
TIMES = {"update": ("Same", "2", "Never"), "buffer": ("Same", "2")}
LATE = 1  # ticks that the queue may be late in noticing that a lease has run out

Transition: TypeAlias = tuple[Seen, Label, Seen]


def fixed(seen: Seen) -> Seen:
    """A state that can be in a set."""
    return tuple(tuple(sorted(part.items())) if isinstance(part, dict) else part for part in seen)


def enabled(seen: Seen, policy: str) -> list[Label]:
    """What can happen in a state."""
    _, _, flight, _, waiting, is_open = seen
    left = {call: time for call, _, time, _ in flight}
    due = [call for call, time in left.items() if isinstance(time, int) and time <= 0]
    labels: list[Label] = [("expire",)] if due else []
    if all(left[call] > -LATE for call in due):
        labels.append(("tick",))
    if any(time == 0 for _, time, _ in waiting):
        labels.append(("time_out",))
    for call, time in left.items():
        if time == "Reserved":
            labels += [("resume", call), ("cancel", call)]
        elif call not in due:
            labels += [("ack", call), ("release", call, "front"), ("release", call, "back")]
            labels += [("extend", call, by) for by in TIMES.get(policy, ("Same",))]
    labels += [("cancel", call) for call, _, _ in waiting]
    if is_open:
        labels += [("close",), *(("put", key, policy) for key in KEYS)]
        busy = {*left, *(call for call, _, _ in waiting)} - {*due}
        for call in CALLS:
            if call not in busy:
                labels += [("get", call), *(("take", call, key) for key in KEYS)]
    return labels


class Run:
    """The core and the model, step by step."""

    def __init__(self) -> None:
        self.core, self.model = machines.CoreMachine(), machines.ModelMachine()
        self.path: tuple[Label, ...] = ()
        self.seen = fixed(self.model.seen)

    def step(self, label: Label) -> Transition | None:
        """Do it to both; returns the transition, if it is one."""
        before, self.path = self.seen, (*self.path, label)
        core, model = (outcome(machine.do, label).error for machine in (self.core, self.model))
        alike = type(core).__name__ == type(model).__name__
        assert alike, f"{core!r} where the model has {model!r}, after {self.path}"
        self.core.check()
        self.seen, found = fixed(self.model.seen), fixed(self.core.seen)
        assert found == self.seen, f"{found} where the model has {self.seen}, after {self.path}"
        if model:
            return None  # refused: what was due has ended, and nothing else
        if label == ("time_out",):
            stayed = {entry[0] for entry in (*self.seen[2], *self.seen[4])}
            if {entry[0] for entry in before[4]} <= stayed:
                return None  # they were served in time, so nobody's wait was over
        return before, label, self.seen


class Walk:
    """Runs that start where an earlier one has left something untried."""

    def __init__(self, policy: str, seed: int) -> None:
        self.policy = policy
        self.random = Random(f"{policy} {seed}")
        self.steps = 0
        self.met: set[Transition] = set()
        self.ways: dict[Seen, tuple[Label, ...]] = {}  # the shortest so far
        self.untried: dict[Seen, list[Label]] = {}
        self.unfinished: list[Seen] = []  # states in which something was untried
        self.visit(Run())

    def visit(self, run: Run) -> list[Label]:
        """What was not tried yet in this state, in an order that chance decides."""
        if run.seen not in self.untried:
            self.untried[run.seen] = enabled(run.seen, self.policy)
            self.random.shuffle(self.untried[run.seen])
            self.unfinished.append(run.seen)
        if len(run.path) <= len(self.ways.get(run.seen, run.path)):
            self.ways[run.seen] = run.path
        return self.untried[run.seen]

    def start(self) -> Run:
        """Go to a state, met before, in which something is untried."""
        run = Run()
        while self.unfinished:
            index = self.random.randrange(len(self.unfinished))
            if self.untried[self.unfinished[index]]:
                for label in self.ways[self.unfinished[index]]:
                    run.step(label)
                break
            self.unfinished[index] = self.unfinished[-1]
            self.unfinished.pop()
        return run

    def run(self) -> None:
        run = self.start()
        for _ in range(LENGTH):
            label = untried.pop() if (untried := self.visit(run)) else self.any(run)
            if label is None:
                break
            if transition := run.step(label):
                self.met.add(transition)
        self.visit(run)
        self.steps += len(run.path)

    def any(self, run: Run) -> Label | None:
        labels = [label for label in enabled(run.seen, self.policy) if label != ("close",)]
        return self.random.choice(labels) if labels else None


def walk(policy: str) -> tuple[Walk, set[Transition]]:
    """Walk until next to nothing is new. Returns what TLC lists, too."""
    listed = {
        (fixed(state.seen), label, fixed(after.seen))
        for state in graph.load(policy)
        for label, after in state.steps
    }
    done = Walk(policy, SEED)
    for _ in range(RUNS):
        done.run()
        if len(done.met) > 0.97 * len(listed):
            break
    alien = done.met - listed
    assert not alien, f"not in the specification: {min(alien, key=repr)}"
    return done, listed


def main() -> int:
    rows: list[tuple[str, int, int, int]] = []
    for policy in POLICIES:
        done, listed = walk(policy)
        rows.append((policy, done.steps, len(done.met), len(listed)))
        print(f"{policy}: {len(done.met):,} of {len(listed):,} in {done.steps:,} steps", flush=True)
    share = sum(row[2] for row in rows) / sum(row[3] for row in rows)
    print(f"transitions of the specification that were met: {share:.1%}; the bar is {BAR:.0%}")
    with RECORD.open("w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(("policy", "steps", "transitions met", "transitions in all"))
        table.writerows(rows)
    return int(share < BAR)


if __name__ == "__main__":
    sys.exit(main())
