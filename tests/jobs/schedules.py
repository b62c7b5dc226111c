"""Every order in which the tasks of a scenario can run, with cancellations at every point.

At each point whatever could happen next is tried: any handle that is ready, the clock going on to
the next timer (a few times also while something is ready: the loop is slow), or a cancellation.
"""

from __future__ import annotations

import asyncio
from asyncio import CancelledError, Handle, Task
from collections.abc import Callable, Coroutine
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from heapq import heappop
from typing import Any

from tests.jobs.slow import SlowQueue
from tests.stateful.loop import SteppedLoop
from tests.subject import Lease


class Recorded(SlowQueue):
    """It notes what was acked, and takes no time of its own unless it is told to."""

    def __init__(self, before: int = 0, after: int = 0, **options: Any) -> None:
        super().__init__(before, after, **options)
        self.acked: list[str] = []

    def ack_nowait(self, lease: Lease[Any]) -> None:
        super().ack_nowait(lease)
        self.acked.append(lease.key)


@dataclass
class Scene:
    """The queue of one run, with what was put into it, and whatever the tasks want to note."""

    queue: Recorded
    keys: str
    dead: list[str] = field(default_factory=list)
    notes: list[Any] = field(default_factory=list)

    async def bury(self, key: str, *_: Any) -> None:
        self.dead.append(key)


@dataclass
class Scenario:
    """What happens at once, and how it must end whatever the order. The first may be cancelled."""

    tasks: dict[str, Callable[[Scene], Coroutine[Any, Any, Any]]]
    check: Callable[[Scene, dict[str, Task[Any]]], None] = lambda scene, tasks: None
    keys: str = "a"
    options: dict[str, Any] = field(default_factory=dict)
    cancels: int = 1
    slow: int = 0  # how often the clock goes on though something is ready


class Play:
    """One run of a scenario: what happens next is what a list of choices says, then the first."""

    def __init__(self, scenario: Scenario, choices: list[int]) -> None:
        self.scenario = scenario
        self.choices = choices
        self.options: list[int] = []  # how many there were, at each point
        self.history: list[str] = []
        self.loop = SteppedLoop()
        self.tasks: dict[str, Task[Any]] = {}
        self.cancels = scenario.cancels
        self.slow = scenario.slow

    def run(self) -> None:
        with closing(self.loop), self.loop:
            self.scene = Scene(Recorded(**self.scenario.options), self.scenario.keys)
            for key in self.scenario.keys:
                self.scene.queue.put_nowait(key, key.upper())
            for name, make in self.scenario.tasks.items():
                self.tasks[name] = self.loop.create_task(make(self.scene), name=name)
            try:
                while options := self.next():
                    point = len(self.options)
                    choice = self.choices[point] if point < len(self.choices) else 0
                    self.options.append(len(options))
                    what, act = options[choice]
                    self.history.append(what)
                    act()
                self.compare()
            finally:
                for task in asyncio.all_tasks(self.loop):
                    task.cancel()
                while self.loop._ready:
                    self.loop.tick()

    def next(self) -> list[tuple[str, Callable[[], object]]]:
        ready = [handle for handle in self.loop._ready if not handle.cancelled()]
        options: list[tuple[str, Callable[[], object]]] = [
            (f"run {name(handle)}", partial(self.execute, handle)) for handle in ready
        ]
        if any(not timer.cancelled() for timer in self.loop._scheduled) and (
            not ready or self.slow
        ):
            options.append(("clock", self.go_on))
        if self.cancels and options:
            victim, task = next(iter(self.tasks.items()))
            if not task.done():
                options.append((f"cancel {victim}", partial(self.cancel, task)))
        return options

    def execute(self, handle: Handle) -> None:
        self.loop._ready.remove(handle)
        handle._run()

    def go_on(self) -> None:
        self.slow -= any(not handle.cancelled() for handle in self.loop._ready)
        while self.loop._scheduled[0].cancelled():
            heappop(self.loop._scheduled)
        timer = heappop(self.loop._scheduled)
        self.loop.now = max(self.loop.now, timer.when())
        self.loop._ready.append(timer)
        self.history[-1] += f" to {self.loop.now:g}"

    def cancel(self, task: Task[Any]) -> None:
        self.cancels -= 1
        task.cancel()

    def compare(self) -> None:
        """Nothing goes on, nothing complains, and no key is lost."""
        assert all(task.done() for task in self.tasks.values()), "a task waits for ever"
        assert not asyncio.all_tasks(self.loop), "a task was left behind"
        assert not self.loop.timers(), "a timer was left behind"
        assert not self.loop.errors, self.loop.errors
        queue = self.scene.queue
        assert at_once(queue.inflight_size()) == 0, "a lease was left behind"
        at_once(queue.close())
        self.left = [key for key, _ in at_once(queue.available_items())]
        assert len(set(self.left)) == len(self.left)
        for key in self.scene.keys:
            acked = queue.acked.count(key)
            assert acked + self.left.count(key) == 1, (
                f"{key}: acked {acked} times, left {self.left}"
            )
            assert acked or key not in self.scene.dead or "cancel" in str(self.history)
        self.scenario.check(self.scene, self.tasks)


def at_once(operation: Coroutine[Any, Any, Any]) -> Any:
    try:
        operation.send(None)
    except StopIteration as result:
        return result.value
    raise AssertionError("an operation that cannot wait has waited")


def name(handle: Handle) -> str:
    callback = handle._callback  # type: ignore[attr-defined]
    owner = getattr(callback, "__self__", None)
    return owner.get_name() if isinstance(owner, Task) else repr(callback)


def explore(scenario: Scenario) -> int:
    """Play a scenario in every order. Returns the number of schedules."""
    choices: list[int] = []
    played = 0
    while True:
        play = Play(scenario, choices)
        try:
            play.run()
        except AssertionError as error:
            raise AssertionError(f"{error}\n\nafter: {', then '.join(play.history)}") from error
        played += 1
        # The next schedule differs from this one as late as possible.
        choices = [*choices, *[0] * (len(play.options) - len(choices))]
        while choices and choices[-1] + 1 >= play.options[len(choices) - 1]:
            choices.pop()
        if not choices:
            return played
        choices[-1] += 1


def error_of(task: Task[Any]) -> type[BaseException] | None:
    """What a task has ended with."""
    if task.cancelled():
        return CancelledError
    error = task.exception()
    return type(error) if error else None
