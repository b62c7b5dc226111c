"""Where recorded runs come from: the state machines, and the example program.

Each is run as it is, with a core in it that writes down what it does.
"""

from __future__ import annotations

import asyncio
from importlib.util import module_from_spec, spec_from_file_location
from math import floor
from pathlib import Path
from types import ModuleType
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test
from rich.progress import Progress

from tests.conformance import traces
from tests.conformance.recording import RecordingCore, record
from tests.conformance.traces import Run
from tests.stateful.core_machine import CoreMachine
from tests.stateful.mirror import Mirror
from tests.stateful.queue_machine import QueueMachine

UNIT = 0.25  # of the times in the runs of the machines
EXAMPLE = Path(__file__).parents[2] / "examples" / "index_tree.py"


def by_units(now: float) -> float:
    """A time in whole units: what the machines have just before a deadline is one before."""
    return floor(now / UNIT) * UNIT


class Recorded(Mirror):
    """A machine that keeps to whole units of time, and looks after every step."""

    events: list[str]

    def set_clock(self, now: float) -> None:
        super().set_clock(by_units(now))

    def check(self) -> None:
        super().check()
        self.recording.look(self.now)

    @property
    def recording(self) -> Any:
        """The core that writes down what it does."""
        raise NotImplementedError


class RecordedCoreMachine(Recorded, CoreMachine):
    def open(self, default: float | None) -> None:
        super().open(default)
        self.events = []
        self.core = self.in_names["core"] = RecordingCore(self.events.append, default)

    @property
    def recording(self) -> Any:
        return self.core


class RecordedQueueMachine(Recorded, QueueMachine):
    def open(self, default: float | None) -> None:
        super().open(default)
        self.events = []
        record(self.queue, self.events.append)

    @property
    def recording(self) -> Any:
        return self.queue._core


def runs_of(machine: type[Recorded], examples: int) -> list[Run]:
    """What was recorded in so many runs of a machine."""
    runs: list[Run] = []

    class Kept(machine):  # type: ignore[misc, valid-type]
        def teardown(self) -> None:
            super().teardown()
            runs.append(traces.read(self.events))

    often = settings(
        max_examples=examples,
        stateful_step_count=25,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=[*HealthCheck],
    )
    run_state_machine_as_test(Kept, settings=often)
    return runs


def _example() -> ModuleType:
    spec = spec_from_file_location("index_tree", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run_of_the_example(folder: Path, seed: int) -> Run:
    """Index a folder by the example program, whose queue is recorded."""
    example: Any = _example()
    lines: list[str] = []
    make = example.LeasedKeyQueue

    class Recorded:
        """What the program calls to make its queue."""

        def __class_getitem__(cls, _: object) -> Any:
            def open_queue(**options: float) -> Any:
                queue = make(**options)
                record(queue, lines.append)
                return queue

            return open_queue

    example.LeasedKeyQueue = Recorded
    indexer = example.Indexer(folder, workers=4, lease_timeout=0.1, seed=seed)
    asyncio.run(indexer.run(Progress(disable=True)))
    assert not [*indexer.problems()]
    return traces.read(lines)
