"""Every order in which a few tasks can run, with a cancellation at every point in between.

asyncio runs what is ready in the order in which it became so; the guarantees of
the queue must not depend on that. So at every point of a scenario whatever could
happen next is tried: any handle that is ready, the clock going on to the next
timer, or one of the tasks being cancelled. The model makes the same steps.
"""

from __future__ import annotations

import asyncio
import types
from asyncio import CancelledError, Future, Handle, Task, TimerHandle
from collections.abc import Callable, Coroutine, Generator
from dataclasses import dataclass, field
from functools import partial
from heapq import heappop
from math import inf
from typing import Any

from tests import subject
from tests.model.model import Lease, Model, Waiter
from tests.stateful.loop import SteppedLoop
from tests.stateful.mirror import Outcome, outcome, seen


class Stage:
    """A queue and its model on one loop, which does next what a list of choices says."""

    def __init__(self, package: Any, choices: list[int], maxsize: int) -> None:
        self.loop = SteppedLoop()
        self.model = Model(maxsize=maxsize)
        self.queue: Any = package.LeasedKeyQueue(maxsize=maxsize)
        self.choices = choices
        self.ended = False
        self.options: list[int] = []  # how many there were, at each point
        self.history: list[str] = []
        self.waits: list[tuple[Waiter, list[Future[Any]]]] = []
        self.leases: dict[Any, Lease] = {}

    # -- what a scenario is made of: an operation on the queue, and on the model

    async def put(self, key: str, value: object, policy: str = "update", delay: float = 0) -> None:
        operation = self.queue.put(key, value, if_in_flight=policy, delay=delay)
        await self._both(operation, "put", key, value, policy, delay, None)

    async def get(self, timeout: float | None = None, lease: float | None = None) -> Any:
        operation = self.queue.get(timeout, lease_timeout=lease)
        return await self._both(operation, "get", timeout, lease)

    async def take(self, key: str, timeout: float | None = None, lease: float | None = None) -> Any:
        operation = self.queue.take(key, timeout, lease_timeout=lease)
        return await self._both(operation, "take", key, timeout, lease)

    async def ack(self, lease: Any) -> None:
        await self._both(self.queue.ack(lease), "ack", self.leases[lease])

    async def release(self, lease: Any, front: bool = False, delay: float = 0) -> None:
        operation = self.queue.release(lease, requeue_front=front, delay=delay)
        await self._both(operation, "release", self.leases[lease], front, delay)

    async def do(self, name: str, *arguments: Any) -> Any:
        """What takes the same there and here."""
        return await self._both(getattr(self.queue, name)(*arguments), name, *arguments)

    async def _both(self, operation: Coroutine[Any, Any, Any], name: str, *arguments: Any) -> Any:
        """One turn of the task is one turn of both."""
        self._see_who_left()
        expected = outcome(getattr(self.model, name), *arguments, self.loop.now)
        call = expected.value if isinstance(expected.value, Waiter) else None
        futures: list[Future[Any]] = []
        if call:
            self.waits.append((call, futures))
        try:
            actual = Outcome(await watched(operation, futures))
        except CancelledError:
            self._see_who_left()
            if call:
                self.model.cancel(call, self.loop.now)
            raise
        except Exception as error:  # noqa: BLE001 (it is compared)
            actual = Outcome(error=error)
        if call:
            self._see_who_left()
            assert call.outcome != "WAITING", f"{name} came to {actual} where the model waits"
            expected = outcome(self.model.resume, call, self.loop.now)
        shown = actual.value[:2] if isinstance(actual.value, tuple) else str(actual)
        meant = expected.value[:2] if isinstance(expected.value, tuple) else str(expected)
        assert shown == meant, f"{name} came to {shown} where the model has {meant}"
        if actual.error:
            raise actual.error
        if isinstance(expected.value, tuple):
            self.leases[actual.value[2]] = expected.value[2]
        return actual.value

    def _see_who_left(self) -> None:
        for call, futures in self.waits:
            call.cancelled |= any(future.cancelled() for future in futures)

    # -- how it runs

    def play(self, scenario: Scenario) -> None:
        """Run a scenario to its end, and compare."""
        made: dict[Task[Any], str] = {}
        try:
            with self.loop:
                prepared = [self._at_once(step(self)) for step in scenario.before]
                for name, make in scenario.tasks.items():
                    operation = _quietly(make, self, *prepared)
                    made[self.loop.create_task(operation, name=name)] = name
                self._play_on(made, scenario.cancels)
                self._compare(list(made))
        finally:
            with self.loop:
                for task in made:
                    task.cancel()
                while self.loop._ready:
                    self.loop.tick()
            self.loop.close()

    def _play_on(self, made: dict[Task[Any], str], cancels: int) -> None:
        while not self.ended and (options := self._next(made, cancels)):
            point = len(self.options)
            choice = self.choices[point] if point < len(self.choices) else 0
            self.options.append(len(options))
            what, act = options[choice]
            self.history.append(what)
            cancels -= what.startswith("cancel")
            act()

    def _next(
        self, tasks: dict[Task[Any], str], cancels: int
    ) -> list[tuple[str, Callable[[], None]]]:
        """All that can happen now."""
        ready = [handle for handle in self.loop._ready if not handle.cancelled()]
        timers = [timer for timer in self.loop._scheduled if not timer.cancelled()]
        options: list[tuple[str, Callable[[], None]]] = [
            (f"run {_name(handle)}", partial(self._run, handle)) for handle in ready
        ]
        if timers:
            options.append((f"clock to {min(timers).when():g}", self._go_on))
        if cancels:
            if not options:
                options.append(("end", self._end))
            options += [
                (f"cancel {name}", partial(self._cancel, task))
                for task, name in tasks.items()
                if not task.done()
            ]
        return options

    @staticmethod
    def _cancel(task: Task[Any]) -> None:
        task.cancel()

    def _run(self, handle: Handle) -> None:
        self.loop._ready.remove(handle)
        handle._run()
        if isinstance(handle, TimerHandle):
            self._see_who_left()
            self.model.time_out(self.loop.now)

    def _go_on(self) -> None:
        """The clock goes to the next timer, which is ready then, next to what was."""
        timers = self.loop._scheduled
        while timers[0].cancelled():
            heappop(timers)
        assert timers[0].when() <= self.model.alarm(), "a deadline passes and nobody is called"
        self.loop.now = max(self.loop.now, timers[0].when())
        self.loop._ready.append(heappop(timers))

    def _end(self) -> None:
        """Nobody is cancelled any more."""
        self.ended = True

    def _compare(self, tasks: list[Task[Any]]) -> None:
        now = self.loop.now
        self._see_who_left()
        self.model.time_out(now)
        for task in tasks:
            if task.done() and not task.cancelled() and task.exception():
                raise AssertionError(f"{task.exception()}") from task.exception()
        stuck = [w for w in self.model.waiters if w.outcome != "WAITING"]
        assert not stuck, f"still waits: {stuck}"
        assert self.model.alarm() == inf or self.ended, (
            "a deadline is to come and no timer is armed"
        )
        waiting = [task for task in tasks if not task.done()]
        gone = [w.ticket for w in self.model.waiters if w.cancelled]
        assert len(waiting) >= len(self.model.waiters) - len(gone), (
            "a call has ended that should wait"
        )
        machine = self.queue._machine
        shown = seen(self.queue._do(machine.snapshot), gone)
        meant = seen(self.model.snapshot(now), [])
        assert shown == meant, f"the queue is {shown}, in the model {meant}"
        machine.check_invariants()
        assert not self.loop.errors, self.loop.errors

    @staticmethod
    def _at_once(operation: Coroutine[Any, Any, Any]) -> Any:
        try:
            operation.send(None)
        except StopIteration as result:
            return result.value
        raise AssertionError("an operation that cannot wait has waited")


@types.coroutine
def watched(
    operation: Coroutine[Any, Any, Any], futures: list[Future[Any]]
) -> Generator[Any, Any, Any]:
    """Await an operation, and note what it waits for."""
    act: Callable[[Any], Any] = operation.send
    argument: Any = None
    while True:
        try:
            future = act(argument)
        except StopIteration as stop:
            return stop.value
        futures.append(future)
        try:
            argument, act = (yield future), operation.send
        except BaseException as error:  # noqa: BLE001 (it is thrown in, not swallowed)
            argument, act = error, operation.throw


async def _quietly(make: Callable[..., Coroutine[Any, Any, Any]], *arguments: Any) -> Any:
    """An error that the model raised, too, is no news."""
    try:
        return await make(*arguments)
    except (TimeoutError, subject.LeasedKeyQError, CancelledError) as error:
        return error
    except Exception as error:
        if type(error).__name__.endswith(("QueueClosedError", "LeaseError", "LeaseExpiredError")):
            return error  # of a broken copy of the package
        raise


def _name(handle: Handle) -> str:
    callback = handle._callback  # type: ignore[attr-defined]
    owner = getattr(callback, "__self__", None)
    return owner.get_name() if isinstance(owner, Task) else repr(callback)


@dataclass
class Scenario:
    """Tasks that run in every order, after what was done before; so many may be cancelled."""

    tasks: dict[str, Callable[..., Coroutine[Any, Any, Any]]]
    before: list[Callable[[Stage], Coroutine[Any, Any, Any]]] = field(default_factory=list)
    cancels: int = 2
    maxsize: int = 0


async def work(stage: Stage, lease: float | None = None) -> None:
    """A worker: its lease ends well, unless it is killed."""
    _, _, held = await stage.get(lease=lease)
    await asyncio.sleep(0)
    await stage.ack(held)


async def under_timeout(stage: Stage) -> Any:
    async with asyncio.timeout(1):
        return await stage.get()


SCENARIOS = {
    "two waiters and a put": Scenario(
        {"one": lambda s: s.get(), "two": lambda s: s.get(), "put": lambda s: s.put("a", 1)}
    ),
    "hand-over and timeout": Scenario(
        {
            "get": lambda s: s.get(timeout=1),
            "put": lambda s: s.put("a", 1),
            "next": lambda s: s.get(timeout=1),
        },
        cancels=1,
    ),
    "expiry and ack": Scenario(
        {"ack": lambda s, _, held: s.ack(held[2]), "get": lambda s, *_: s.get(timeout=3)},
        before=[lambda s: s.put("a", 1), lambda s: s.get(lease=1)],
    ),
    "close and waiting calls": Scenario(
        {
            "get": lambda s: s.get(),
            "take": lambda s: s.take("a"),
            "put": lambda s: s.put("a", 1),
            "close": lambda s: s.do("close"),
        },
    ),
    "take and get on one key": Scenario(
        {
            "take": lambda s: s.take("a"),
            "get": lambda s: s.get(),
            "put": lambda s: s.put("a", 1, "buffer"),
            "again": lambda s: s.put("a", 2, "buffer"),
        },
        cancels=0,
    ),
    "take and get on one key, one cancelled": Scenario(
        {
            "take": lambda s: s.take("a"),
            "get": lambda s: s.get(),
            "put": lambda s: s.put("a", 1, "buffer"),
        },
    ),
    "double cancel": Scenario(
        {"get": lambda s: s.get(), "put": lambda s: s.put("a", 1)},
        cancels=2,
    ),
    "a worker killed during a lease": Scenario(
        {"worker": lambda s, _: work(s, lease=1), "heir": lambda s, _: s.get()},
        before=[lambda s: s.put("a", 1)],
    ),
    "wait_for around get": Scenario(
        {
            "get": lambda s: asyncio.wait_for(s.get(), 1),
            "put": lambda s: s.put("a", 1),
        },
        cancels=1,
    ),
    "asyncio.timeout around get": Scenario(
        {
            "get": under_timeout,
            "put": lambda s: s.put("a", 1),
            "next": lambda s: s.get(),
        },
        cancels=1,
    ),
    "a short lease under a long wait": Scenario(
        {
            "long": lambda s, _: s.take("b", timeout=5),
            "worker": lambda s, _: s.get(timeout=0, lease=1),
            "heir": lambda s, _: s.take("a"),
        },
        before=[lambda s: s.put("a", 1)],
        cancels=1,
    ),
    "release, defer and a waiting take": Scenario(
        {
            "release": lambda s, _, held: s.release(held[2], True),
            "defer": lambda s, *_: s.put("a", 2, "defer"),
            "take": lambda s, *_: s.take("a"),
        },
        before=[lambda s: s.put("a", 1), lambda s: s.get()],
    ),
    "a reserved slot and a cancelled put": Scenario(
        {
            "one": lambda s, *_: s.put("b", 2),
            "two": lambda s, *_: s.put("c", 3),
            "ack": lambda s, _, held: s.ack(held[2]),
        },
        before=[lambda s: s.put("a", 1), lambda s: s.get()],
        maxsize=1,
    ),
    "a bounded queue, from put to join": Scenario(
        {
            "put": lambda s, _: s.put("b", 2),
            "worker": lambda s, _: work(s),
            "join": lambda s, _: s.do("join", None),
        },
        before=[lambda s: s.put("a", 1)],
        cancels=1,
        maxsize=1,
    ),
    "shutdown against expiry": Scenario(
        {
            "shutdown": lambda s, *_: s.do("shutdown"),
            "take": lambda s, *_: s.take("a"),
            "get": lambda s, *_: work(s),
        },
        before=[lambda s: s.put("a", 1), lambda s: s.get(lease=1)],
        cancels=1,
    ),
    "ripening against a cancelled get": Scenario(
        {
            "put": lambda s: s.put("a", 1, delay=1),
            "get": lambda s: s.get(),
            "next": lambda s: s.get(timeout=1),
        },
        cancels=1,
    ),
    "drain against a release with a delay": Scenario(
        {
            "drain": lambda s, *_: s.do("drain", None),
            "release": lambda s, _, held: s.release(held[2], delay=1),
            "get": lambda s, *_: work(s),
        },
        before=[lambda s: s.put("a", 1), lambda s: s.get()],
        cancels=1,
    ),
}


def explore(scenario: Scenario, package: Any = subject) -> int:
    """Play a scenario in every order. Returns the number of schedules."""
    choices: list[int] = []
    played = 0
    while True:
        stage = Stage(package, choices, scenario.maxsize)
        try:
            stage.play(scenario)
        except AssertionError as error:
            raise AssertionError(f"{error}\n\nafter: {', then '.join(stage.history)}") from error
        played += 1
        # The next schedule differs from this one as late as possible.
        choices = [*choices, *[0] * (len(stage.options) - len(choices))]
        while choices and choices[-1] + 1 >= stage.options[len(choices) - 1]:
            choices.pop()
        if not choices:
            return played
        choices[-1] += 1
