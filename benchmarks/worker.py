"""Runs cases in the Python that it is started with, which needs nothing installed.

    python -m benchmarks.worker CASES SETTINGS

Both are JSON; so is every line that it prints: the name of a case that begins, or a result.
"""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import asdict

from . import footprint, growth, speed, stalls  # noqa: F401 (they enter their cases)
from .registry import CASES, Settings


async def run(name: str, settings: Settings) -> None:
    async for result in CASES[name](settings):
        print(json.dumps(asdict(result)), flush=True)


if __name__ == "__main__":
    settings = Settings(**json.loads(sys.argv[2]))
    for name in json.loads(sys.argv[1]):
        print(json.dumps(name), flush=True)
        asyncio.run(run(name, settings))
