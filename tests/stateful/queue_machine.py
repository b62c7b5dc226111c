"""The public API on a loop in virtual time, next to the model.

The machine is one task of a program, the one that acts; the calls that wait are
the others. They run when the machine ticks, which in the program is a
``sleep(0)``, so that it can act between any two turns of the loop.
"""

from __future__ import annotations

from asyncio import CancelledError, Task
from collections.abc import Coroutine
from functools import partial
from math import inf
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import rule

from tests.model import model
from tests.stateful.keys import Key
from tests.stateful.loop import SteppedLoop
from tests.stateful.mirror import (
    CENSUS,
    NAMES,
    Mirror,
    Outcome,
    Waiting,
    durations,
    moments,
    names,
    outcome,
    picks,
    policies,
    source_of_keys,
    waits,
)

PROGRAM = '''\
"""The steps of a failure, on the public API. Run it: it fails as the machine did."""

from __future__ import annotations

import asyncio
import functools
import gc
import sys
import threading
import weakref
from collections.abc import Callable
from copy import copy
from math import inf, nan
from typing import Any, ClassVar
from uuid import UUID
from weakref import WeakSet

from {package} import Lease, LeasedKeyQueue


{keys}

class clock:
    now = 0.0


async def outcome(operation):
    try:
        return await operation
    except Exception as error:
        return type(error).__name__


def at_once(operation):
    try:
        operation.send(None)
    except StopIteration as result:
        return result.value
    except Exception as error:
        return type(error).__name__
    operation.close()
    return "it waits"


def came_to(call):
    return type(call.exception()).__name__ if call.exception() else call.result()


async def look(queue):
    available = sorted(await queue.available_keys(), key=lambda key: key.name)
    in_flight = sorted(key.name for key in await queue.inflight_keys())
    values = {{key.name: await queue.peek(key) for key in available}}
    return values, in_flight, await queue.qsize(), await queue.inflight_size()


def timers():
    loop = asyncio.get_running_loop()
    handles = [*loop._scheduled, *loop._ready]
    return [h for h in handles if isinstance(h, asyncio.TimerHandle) and not h.cancelled()]


futures = weakref.WeakSet()


def create_future(original):
    future = original()
    futures.add(future)
    return future


def unfinished():
    return [future for future in futures if not future.done()]


def elsewhere(operation):
    """In another loop."""
    here, there = asyncio.get_running_loop(), asyncio.new_event_loop()
    here._thread_id, there._thread_id = None, threading.get_ident()
    asyncio._set_running_loop(there)
    try:
        return at_once(operation)
    finally:
        asyncio._set_running_loop(here)
        here._thread_id, there._thread_id = threading.get_ident(), None
        there.close()


async def main():
    gc.disable()
    loop, errors, intruder = asyncio.get_running_loop(), [], []
    loop.set_exception_handler(lambda _, context: errors.append(context))
    loop.create_future = functools.partial(create_future, loop.create_future)
    loop.time = lambda: clock.now
{steps}


asyncio.run(main())
'''

KEYWORDS = {
    "put": ["", "", "if_in_flight="],
    "get": ["timeout=", "lease_timeout="],
    "take": ["", "timeout=", "lease_timeout="],
    "release": ["", "requeue_front="],
}


class WaitedError(Exception):
    """An operation that cannot wait has waited."""


class QueueMachine(Mirror):
    """Everything that can be done to a queue, by many tasks, between any two turns."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = SteppedLoop()
        self.loop.after_timer = lambda: self.model.time_out(self.now)
        self.tasks: dict[str, Task[Any]] = {}
        self.ended: dict[str, tuple[Any, Any]] = {}  # by call: what came of it, here and there

    def open(self, default: float | None) -> None:
        self.in_names |= {"LeasedKeyQueue": self.package.LeasedKeyQueue, "at_once": self._answer}
        self.in_names["intruder"] = []
        self.lines.append(f"queue = LeasedKeyQueue(default_lease_timeout={default})")
        self.lines.append("other = LeasedKeyQueue()")
        self.lines.append("await other.put(Key('a'), 0)")
        self.lines.append("_, _, foreign = await other.get()")
        self.queue = self.package.LeasedKeyQueue(default_lease_timeout=default)
        other = self.package.LeasedKeyQueue()
        self.in_names["queue"] = self.queue
        self.run_now(other.put(Key("a"), 0))
        self.in_names["foreign"] = self.run_now(other.get())[2]

    # -- how operations run

    def run_now(self, operation: Coroutine[Any, Any, Any]) -> Any:
        """An operation that cannot wait ends without giving the loop a turn."""
        with self.loop:
            try:
                operation.send(None)
            except StopIteration as result:
                return result.value
            operation.close()
        raise WaitedError

    def _answer(self, operation: Coroutine[Any, Any, Any]) -> Any:
        """What a key gets that calls the queue."""
        try:
            operation.send(None)
        except StopIteration as result:
            return result.value
        except Exception as error:  # noqa: BLE001 (it is compared)
            return type(error).__name__
        operation.close()
        return "it waits"

    def source(self, method: str, *arguments: str) -> str:
        keywords = KEYWORDS.get(method, [""] * len(arguments))
        given = [keyword + source for keyword, source in zip(keywords, arguments, strict=False)]
        return f"queue.{method}({', '.join(given)})"

    def operate(self, method: str, *arguments: str) -> Outcome:
        method = {"start": "__aenter__", "close": "__aexit__"}.get(method, method)
        if method == "__aexit__":
            arguments = ("None", "None", "None")
        if method in ("__aenter__", "__aexit__") and len(self.lines) % 2:
            method, arguments = {"__aenter__": "start", "__aexit__": "close"}[method], ()
        return self.perform(method, *arguments)

    def perform(self, method: str, *arguments: str) -> Outcome:
        self.count(f"queue: {method}")
        source = self.source(method, *arguments)
        self.last_result = f"result{len(self.lines)}"
        self.lines.append(f"{self.last_result} = await outcome({source})")
        result = outcome(lambda: self.run_now(self.evaluate(source)))
        if isinstance(result.error, WaitedError):  # the program shall not
            self.lines[-1] = f"{self.last_result} = at_once({source})"
        self.check_settled()
        if method == "__aenter__" and result.error is None:
            line = f"assert {self.last_result} is queue, {self.last_result}"
            if result.value is not self.queue:
                self.fail(f"entering the queue gives {result}", line)
            self.lines += [line, f"{self.last_result} = None"]
            result.value = None
        return result

    def check_settled(self) -> None:
        """The shell leaves nothing to whoever comes next."""
        core = getattr(self.queue, "_core", None)
        if core is not None and (core.news or core.lost or core.settled):
            line = "assert not (queue._core.news or queue._core.lost or queue._core.settled)"
            self.fail("what an operation leaves to do is left undone", line)

    def compare(self, actual: Outcome, expected: Outcome) -> None:
        result = self.last_result
        if expected.error:
            self.lines.append(f"assert {result} == {type(expected.error).__name__!r}, {result}")
        elif isinstance(expected.value, tuple):
            key, value, _ = expected.value
            self.lines.append(f"assert {result}[:2] == (Key({key!r}), {value!r}), {result}")
            self.lines.append(f"lease{len(self.leases) + 1} = {result}[2]")
        else:
            self.lines.append(f"assert {result} == {expected.value!r}, {result}")
        super().compare(actual, expected)
        self.lines.append(f"{result} = None")

    def intrusion(self, method: str) -> str:
        arguments = {"put": ["Key('a')", "0"], "take": ["Key('a')"], "ack": ["foreign"]}
        self.execute("intruder.clear()")
        source = self.source(method, *arguments.get(method, []))
        return f"lambda: intruder.append(at_once({source}))"

    def set_clock(self, now: float) -> None:
        super().set_clock(now)
        self.loop.now = now
        self.lines.append(f"clock.now = {now}")

    # -- calls that wait

    def call(self, method: str, arguments: list[str], twins: list[Any]) -> None:
        """Start a task; it comes to the queue at its first turn."""
        self.count(f"queue: {method}")
        call = Waiting(f"call{len(self.calls) + 1}")
        self.calls.append(call)
        source = self.source(method, *arguments)
        self.lines.append(f"{call.name} = asyncio.create_task({source})")
        operation = partial(getattr(self.model, method), *twins)
        with self.loop:
            self.tasks[call.name] = self.loop.create_task(self._run(call, source, operation))

    async def _run(self, call: Waiting, source: str, operation: partial[Any]) -> None:
        """The task of a call. The model does, in the same turns, what the queue does."""
        expected = outcome(operation, self.now)
        waits = isinstance(expected.value, model.Call)
        if waits:
            call.twin = expected.value
        try:
            actual = Outcome(await self.evaluate(source))
        except CancelledError:
            if waits:
                self.model.cancel(expected.value, self.now)
            raise
        except Exception as error:  # noqa: BLE001 (it is compared)
            actual = Outcome(error=error)
        if waits and (expected.value.grant or expected.value.error):
            expected = outcome(self.model.resume, expected.value, self.now)
        self.ended[call.name] = actual, expected

    @rule(timeout=waits, lease_timeout=durations)
    def get(self, timeout: float | None, lease_timeout: float | None) -> None:
        self.call("get", [repr(timeout), repr(lease_timeout)], [timeout, lease_timeout])

    @rule(name=names, timeout=waits, lease_timeout=durations)
    def take(self, name: str, timeout: float | None, lease_timeout: float | None) -> None:
        arguments = [f"Key({name!r})", repr(timeout), repr(lease_timeout)]
        self.call("take", arguments, [name, timeout, lease_timeout])

    @rule(lease_timeout=durations, moment=moments, patient=st.booleans())
    def get_now(
        self, lease_timeout: float | None, moment: tuple[str, int], patient: bool = False
    ) -> None:
        self.pass_time(moment)
        timeout = None if patient and self.model.qsize(self.now) else 0
        self.both("get", [repr(timeout), repr(lease_timeout)], [timeout, lease_timeout])

    @rule(name=st.none() | names, timeout=waits, lease_timeout=durations)
    def give_up(self, name: str | None, timeout: float | None, lease_timeout: float | None) -> None:
        """A coroutine that is closed while it waits has not been there either."""
        key, twin_key = ([], []) if name is None else ([f"Key({name!r})"], [name])
        method = "take" if name else "get"
        arguments = [*key, repr(timeout), repr(lease_timeout)]
        twins = [*twin_key, timeout, lease_timeout]
        expected = outcome(getattr(self.model, method), *twins, self.now)
        actual = self.perform(method, *arguments)
        if not isinstance(expected.value, model.Call):
            self.compare(actual, expected)
            return
        self.count("given up")
        self.model.cancel(expected.value, self.now)
        if not isinstance(actual.error, WaitedError):
            line = f"assert {self.last_result} == 'it waits', {self.last_result}"
            self.fail(f"{actual} where the model waits", line)
        actual.forget()

    @rule(method=st.sampled_from(["put", "get", "take", "ack", "release", "extend", "qsize"]))
    def use_from_another_loop(self, method: str) -> None:
        """Refused, whatever it is."""
        arguments = {"put": ["Key('a')", "0"], "take": ["Key('a')"], "get": [], "qsize": []}
        source = self.source(method, *arguments.get(method, ["foreign"]))
        result = f"result{len(self.lines)}"
        self.lines.append(f"{result} = elsewhere({source})")
        with SteppedLoop() as other:
            came_to = self._answer(self.evaluate(source))
        other.close()
        if came_to != "RuntimeError":
            line = f"assert {result} == 'RuntimeError', {result}"
            self.fail(f"in another loop {method} came to {came_to}", line)

    @rule(pick=picks)
    def cancel(self, pick: int) -> None:
        """At any moment of a call's life: not begun, waiting, served, or cancelled before."""
        call = self.pick_call(pick, [call for call in self.calls if call.name in self.tasks])
        if call:
            twin = call.twin
            self.count("cancelled before it began" if twin is None else "")
            if twin:
                self.count("cancelled twice" if twin.cancelled else "")
                self.count("cancelled with a copy reserved" if twin.grant else "")
                self.count("cancelled with its timeout fired" if twin.error else "")
                twin.cancelled = True
            self.lines.append(f"{call.name}.cancel()")
            with self.loop:
                self.tasks[call.name].cancel()

    @rule(name=names, get_first=st.booleans(), policy=policies, leaver=picks)
    def two_calls_for_one_copy(self, name: str, get_first: bool, policy: str, leaver: int) -> None:
        """Whoever has waited longer is served first, unless it is leaving."""
        while not self.model.closed and self.model.qsize(self.now):
            self.get_now(None, ("stay", 0))
        if get_first:
            self.get(None, None)
        self.take(name, None, None)
        self.get(None, None)
        self.turn()
        if leaver % 2:
            self.cancel(leaver - 1)
        self.do_put(name, policy)

    @rule(
        name=names,
        any_key=st.booleans(),
        timeout=st.sampled_from([None, 3]),
        turns=st.integers(0, 2),
        pick=picks,
        moment=moments,
    )
    def serve_and_cancel(
        self,
        name: str,
        any_key: bool,
        timeout: float | None,
        turns: int,
        pick: int,
        moment: tuple[str, int],
    ) -> None:
        """A call waits, is served, and is cancelled so many turns later."""
        if any_key:
            self.get(timeout, None)
        else:
            self.take(name, timeout, None)
        self.turn()
        if pick % 3 == 0:
            self.pass_time(moment)
        self.do_put(name, "buffer")
        for _ in range(turns):
            self.turn()
        if pick % 3 == 1:
            self.settle(moment)
        else:
            self.cancel(pick)

    @rule(
        name=names,
        lease_timeout=st.integers(1, 3),
        timeout=st.integers(1, 3),
        extended=st.sampled_from([None, 1, 2]),
        moment=moments,
    )
    def wait_for_a_lease_to_end(
        self,
        name: str,
        lease_timeout: int,
        timeout: int,
        extended: int | None,
        moment: tuple[str, int],
    ) -> None:
        """A lease and a wait for its key, which may end at the same time, or sooner than meant."""
        self.put_and_take(name, "update", lease_timeout, 1)
        self.take(name, timeout, None)
        self.turn()
        if extended and (leases := self.live()):
            granted = leases[-1]
            self.both("extend", [granted.name, repr(extended)], [granted.twin, extended])
        self.settle(moment)

    @rule(moment=moments)
    def tick(self, moment: tuple[str, int]) -> None:
        """One turn for all who are ready."""
        self.pass_time(moment)
        self.turn()

    @rule(moment=moments)
    def settle(self, moment: tuple[str, int]) -> None:
        """Turns until everybody waits: calls are served, and end, on time by themselves."""
        self.pass_time(moment)
        for turn in range(20):
            self.turn()
            if turn > 3 and self.loop.idle():  # a timer is run, its call resumes, and what then?
                break
        else:
            self.fail("the loop finds no rest", "assert False, 'the loop finds no rest'")
        self.model.time_out(self.now)
        for call in self.model.calls:
            if call.grant or call.error:
                name = next(waiting.name for waiting in self.calls if waiting.twin is call)
                self.fail(f"{name} should have ended by now", f"assert {name}.done()")

    def turn(self) -> None:
        """One turn of the loop. Whoever was served before it resumes in it."""
        self.lines.append("await asyncio.sleep(0)")
        served = [c for c in self.calls if c.twin and (c.twin.grant or c.twin.error)]
        with self.loop:
            self.loop.tick()
        self.check_settled()
        for call in served:
            if call.name in self.tasks and not self.tasks[call.name].done():
                self.fail(f"{call.name} should have resumed", f"assert {call.name}.done()")
        for name, task in list(self.tasks.items()):
            if task.done():
                del self.tasks[name]
                self.finish(name, task)
        if self.loop.errors:
            self.fail(f"the loop had to handle {self.loop.errors}", "assert not errors, errors")

    def finish(self, name: str, task: Task[Any]) -> None:
        if name in self.ended and isinstance(self.ended[name][1].value, model.Call):
            actual, _ = self.ended[name]
            line = f"assert not {name}.done(), 'it should still wait'"
            self.fail(f"{name} came to {actual} where the model waits", line)
        self.lines.append(f"assert {name}.done()")
        if task.cancelled():
            self.lines.append(f"assert {name}.cancelled()")
        elif task.exception():
            raise AssertionError from task.exception()
        else:
            actual, expected = self.ended.pop(name)
            self.lines.append(f"{name} = came_to({name})")
            self.last_result = name
            self.compare(actual, expected)

    # -- what holds after each rule

    def look_line(self, expected: tuple[Any, ...]) -> str:
        return f"assert (seen := await look(queue)) == {expected}, seen"

    def look(self) -> tuple[Any, ...]:
        queue, run = self.queue, self.run_now
        for method in ("available_keys", "inflight_keys", "qsize", "inflight_size"):
            CENSUS[f"queue: {method}"] += 1
        in_flight = sorted(key.name for key in run(queue.inflight_keys()))
        values = {key.name: run(queue.peek(key)) for key in run(queue.available_keys())}
        for name in NAMES:
            if run(queue.contains(Key(name))) != (name in values):
                line = f"assert await queue.contains(Key({name!r})) == {name in values}"
                self.fail(f"contains({name!r}) and available_keys() differ", line)
            if name not in values and run(queue.peek(Key(name))) is not None:
                line = f"assert await queue.peek(Key({name!r})) is None"
                self.fail(f"peek({name!r}) shows a value that is not available", line)
        size, in_flight_size = run(queue.qsize()), run(queue.inflight_size())
        return dict(sorted(values.items())), in_flight, size, in_flight_size

    def check(self) -> None:
        core = getattr(self.queue, "_core", None)
        if core is not None:
            try:
                core.check_invariants()
            except AssertionError as error:
                self.fail(str(error), "queue._core.check_invariants()", error)
            self.check_keys(core, "queue._core")
        timers = len(self.loop.timers())
        waiting = [call for call in self.model.calls if not (call.grant or call.error)]
        limit = int(bool(waiting) and min(self.deadlines(), default=inf) < inf)
        if timers > limit:
            self.fail(f"{timers} timers are armed", f"assert len(timers()) <= {limit}, timers()")
        futures = len(self.loop.unfinished())
        limit = len([call for call in waiting if not call.cancelled])
        if futures > limit:
            line = f"assert len(unfinished()) <= {limit}, unfinished()"
            self.fail(f"{futures} futures are left, and {limit} calls wait", line)
        self.census()

    def teardown(self) -> None:
        """Drain the queue, cancel or close: nothing is lost, and nothing is left over."""
        try:
            if not self.failed:
                self.settle(("stay", 0))
                while not self.model.closed and self.model.qsize(self.now):
                    self.both("get", ["0", "inf"], [0, inf])
                for call in self.calls[::2]:
                    if call.name in self.tasks:
                        self.cancel(self.calls.index(call))
                self.both("close", [], [])
                self.settle(("stay", 0))
                self.agree()
                if self.tasks:
                    self.fail(f"{list(self.tasks)} outlive the queue")
                if self.loop.timers() or self.loop.unfinished():
                    self.fail("a closed queue has left something behind", "assert not timers()")
        finally:
            Key.fuse = 0
            with self.loop:
                for task in self.tasks.values():
                    task.cancel()
                self.loop.tick()
            self.loop.close()

    def program(self) -> str:
        steps = "\n".join(f"    {line}" for line in self.lines)
        return PROGRAM.format(package=self.package.PACKAGE, keys=source_of_keys(), steps=steps)
