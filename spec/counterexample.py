"""A counterexample of TLC, told in terms of the API, and as a test to run.

TLC names the action of a step but not its arguments. They are found by trying: the step is
the one that takes the reference model from the state before to the state after. If none does,
the model of the counterexample is not what the reference model is, and the step says so.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import product
from typing import Any

KEYS, CALLS, TIMES = ("k1", "k2", "k3"), ("c1", "c2", "c3"), ("Same", "2", "Never")
POLICIES = ("update", "reject", "buffer", "defer")
ARGUMENTS: dict[str, tuple[tuple[str, ...], ...]] = {
    "put": (KEYS, POLICIES),
    "get": (CALLS,),
    "take": (CALLS, KEYS),
    "resume": (CALLS,),
    "cancel": (CALLS,),
    "ack": (CALLS,),
    "release": (CALLS, ("front", "back")),
    "extend": (CALLS, TIMES),
}
SAYS = {
    "put": 'await queue.put("{0}", value, if_in_flight="{1}")',
    "get": "{0}: await queue.get()",
    "take": '{0}: await queue.take("{1}")',
    "resume": "{0} resumes, and has its lease",
    "cancel": "{0} is cancelled",
    "ack": "await queue.ack(lease of {0})",
    "release": "await queue.release(lease of {0}), to the {1}",
    "extend": "await queue.extend(lease of {0}), timeout {1}",
    "time_out": "the waits that are over time out",
    "expire": "the leases that are due expire",
    "close": "await queue.close()",
    "tick": "a tick passes",
}


def read_state(text: str) -> tuple[Any, ...]:
    """A state as TLC prints it in a trace, in the terms of `tests.conformance.graph`."""
    text = re.sub(r"\s+", " ", text)
    variables = dict(re.findall(r"/\\ (\w+) = (.*?)(?= /\\ \w+ = |$)", text))

    def records(name: str, *fields: str) -> list[tuple[str, ...]]:
        found = re.findall(r"\[(\w+ \|->[^\]]*)\]", variables[name])
        each = [dict(re.findall(r"(\w+) \|-> (-?\w+)", record)) for record in found]
        return [tuple(record[field] for field in fields) for record in each]

    def time(text: str) -> object:
        return text if text.isalpha() else int(text)

    returned = [(key, int(v)) for key, v in records("returned", "key", "version")]
    arrived = [(key, int(v)) for key, v in records("arrived", "key", "version")]
    flight = [
        (call, key, time(left), int(v))
        for call, key, left, v in records("flight", "call", "key", "left", "version")
    ]
    deferred = {key: int(v) for key, v in re.findall(r"(\w+) :> (\d+)", variables["deferred"])}
    deferred = {key: version for key, version in deferred.items() if version}
    values: dict[str, set[int]] = {}
    for key, version in (*returned, *arrived, *((f[1], f[3]) for f in flight), *deferred.items()):
        values.setdefault(key, set()).add(version)

    def rank(key: str, version: int) -> int:
        return sorted(values[key]).index(version) + 1

    return (
        tuple((key, rank(key, v)) for key, v in returned),
        tuple((key, rank(key, v)) for key, v in arrived),
        tuple((call, key, left, rank(key, v)) for call, key, left, v in flight),
        {key: rank(key, v) for key, v in deferred.items()},
        tuple(
            (c, time(left), want) for c, left, want in records("waiting", "call", "left", "want")
        ),
        variables["open"] == "TRUE",
    )


def _candidates(action: str) -> Iterator[tuple[str, ...]]:
    """Every operation that TLC may mean; it names no part of a conjunction such as WatchedNext."""
    for operation in (action,) if action in SAYS else SAYS:
        for arguments in product(*ARGUMENTS.get(operation, ())):
            yield (operation, *arguments)


def labels(trace: list[str], policies: tuple[str, ...] = POLICIES) -> list[tuple[str, ...]]:
    """The operations that lead through the states of a trace, with their arguments."""
    from tests.conformance.machines import ModelMachine  # noqa: PLC0415 (the tests import us)

    path: list[tuple[str, ...]] = []
    for text in trace[1:]:
        match = re.match(r"State \d+: <(\w+)", text)
        if match is None:
            break
        action = re.sub(r"(?<!^)([A-Z])", r"_\1", match[1]).lower()
        after = read_state(text.partition("\n")[2])
        for label in _candidates(action):
            if label[0] == "put" and label[2] not in policies:
                continue
            try:
                if ModelMachine().follow([*path, label]).seen == after:
                    path.append(label)
                    break
            except Exception:  # noqa: BLE001 (then it is not this one)
                continue
        else:
            path.append((action, "?"))
            break
    return path


def explain(trace: list[str], violated: str, policies: tuple[str, ...] = POLICIES) -> str:
    """The steps in words, and a test that carries them out."""
    path = labels(trace, policies)
    lines = [f"{violated or 'A property'} does not hold after:"]
    for number, (action, *arguments) in enumerate(path, 1):
        if arguments == ["?"]:
            lines.append(f"{number:3}. {action}: a step that the reference model does not know")
        else:
            lines.append(f"{number:3}. {SAYS[action].format(*arguments)}")
    known = [label for label in path if label[-1] != "?"]
    end = read_state(trace[len(known)].partition("\n")[2])
    lines += [
        "",
        "from tests.conformance.machines import CoreMachine",
        "",
        "",
        "def test_counterexample() -> None:",
        "    it = CoreMachine()",
        *(f"    it.do({label!r})" for label in known),
        f"    assert it.seen == {end!r}",
    ]
    return "\n".join(lines)
