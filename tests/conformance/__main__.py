"""python -m tests.conformance MODEL [NUMBER] [--engine machine|model|shell|nowait|server]

Every step of a model, or the one with that number, with its way there as calls of the API.
"""

from __future__ import annotations

import argparse
import sys

from tests.conformance import graph
from tests.conformance.replay import DiffersError, follow, replay
from tests.conformance.shell import ENGINES


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.conformance", description=__doc__)
    parser.add_argument("model", choices=[*graph.models(), *graph.models(deep=True)])
    parser.add_argument("number", nargs="?", type=int)
    parser.add_argument("--engine", choices=[*ENGINES, "server"], default="machine")
    options = parser.parse_args()
    if options.engine == "server":  # which needs more than the others
        from tests.engine.replay import RedisEngine  # noqa: PLC0415

        ENGINES["server"] = RedisEngine
    model, make = graph.load(options.model), ENGINES[options.engine]
    if options.number is None:
        try:
            print(f"{model.name}: {replay(make, model)}")
        except DiffersError as differs:
            print(differs)
            return 1
        return 0
    step = model.steps[options.number]
    log: list[str] = []
    wrong = follow(make, model, [*step.before.path(), step], set(), log)
    print("\n".join(log))
    print(f"{' '.join(step.label)}: {wrong[1] if wrong else step.after.seen}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
