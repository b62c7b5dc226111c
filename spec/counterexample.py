"""A counterexample of TLC, told in calls of the API, and as steps to replay.

Every state of the specification says what the step to it was, with its arguments, and what it
told the calls that were over with it.
"""

from __future__ import annotations

import re

SAYS = {
    "put": 'put("{0}", value, if_in_flight="{1}", delay={2})',
    "put_waits": '{0}: put("{1}", value, if_in_flight="{2}", delay={3}): it waits for a slot',
    "get": "{0}: get()",
    "take": '{0}: take("{1}")',
    "resume": "{0} resumes with what it was given",
    "cancel": "{0} is cancelled",
    "ack": "ack(lease of {0})",
    "release": "release(lease of {0}), to the {1}, delay={2}",
    "extend": "extend(lease of {0}), timeout {1}",
    "refresh": "refresh(lease of {0})",
    "discard": 'discard("{0}")',
    "join": "{0}: join()",
    "drain": "{0}: drain()",
    "shutdown": "shutdown()",
    "close": "close()",
    "time_out": "the waits that are over time out",
    "reap": "what is due is carried out: leases end, delayed values ripen",
    "tick": "a tick passes",
}


def labels(trace: list[str]) -> list[tuple[str, ...]]:
    """The operations that lead through the states of a trace, with their arguments."""
    found = (re.search(r"did \|->\s*<<(.*?)>>", state, re.DOTALL) for state in trace)
    steps = [tuple(re.findall(r"-?\w+", match[1])) for match in found if match]
    return [step for step in steps if step != ("start",)]


def explain(trace: list[str], violated: str) -> str:
    """The steps in words, the state that they end in, and the steps as they can be replayed."""
    path = labels(trace)
    told = [re.findall(r'<<(\w+),\s*"(\w+)">>', state.partition("told")[2]) for state in trace]
    told = told[len(trace) - len(path) :]
    lines = [f"{violated or 'A property'} does not hold after:"]
    for number, ((operation, *arguments), ends) in enumerate(zip(path, told, strict=True), 1):
        came = "".join(f"; {call} comes to {what}" for call, what in ends)
        lines.append(f"{number:3}. {SAYS[operation].format(*arguments)}{came}")
    states = [state for state in trace if state.startswith("State")]
    if trace[-1].startswith("Back") or "Stuttering" in trace[-1]:
        lines.append("     " + trace[-1].strip())
        states = [state for state in states if "Stuttering" not in state]
    lines += ["", *states[-1].splitlines()[1:], "", "the steps: ["]
    return "\n".join([*lines, *(f"    {label!r}," for label in path), "]"])
