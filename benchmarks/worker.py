"""Runs cases in the Python that it is started with, which needs nothing installed.

    python -m benchmarks.worker CASES SETTINGS

Both are JSON; so is every line that it prints: the name of a case that begins, or what it found.
"""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import asdict

from .cases import CASES, Settings
from .rivals import Builds, builds


async def run(name: str, settings: Settings, classes: Builds) -> None:
    async for found in CASES[name](settings, classes):
        print(json.dumps(asdict(found)), flush=True)


if __name__ == "__main__":
    settings = Settings(**json.loads(sys.argv[2]))
    classes = builds(settings.folders)
    for name in json.loads(sys.argv[1]):
        print(json.dumps(name), flush=True)
        asyncio.run(run(name, settings, classes))
