"""The public API on a loop that stands still until it is told to go on, next to the model.

The calls that wait are coroutines that are driven by hand, as a task does it: so they
can be told to go on, or be cancelled, at any moment at which a task could be.
"""

from __future__ import annotations

from asyncio import CancelledError, Future
from collections.abc import Callable, Coroutine
from math import inf
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import rule

from tests.stateful.loop import SteppedLoop
from tests.stateful.mirror import Call, Mirror, Moment, Outcome, Reading, moments

PROGRAM = '''\
"""The steps of a failure, on the public API. Run it: it fails as the machine did."""

from __future__ import annotations

import asyncio
import functools
import gc
import sys
import threading
import weakref
from asyncio import CancelledError
from collections.abc import Callable
from copy import copy
from dataclasses import asdict
from math import inf, nan
from types import FrameType
from typing import Any, ClassVar
from uuid import UUID
from weakref import WeakSet

from {package} import Lease, LeasedKeyQueue

{helpers}

class clock:
    now = 0.0


started, inside = {{}}, []


def do(make):
    """The first step of a coroutine, or the next one of one that waits."""
    try:
        operation = make()
        if not hasattr(operation, "send"):
            return operation
        future = operation.send(None)
        started[future] = operation
        return future
    except StopIteration as result:
        return None if isinstance(result.value, LeasedKeyQueue) else result.value
    except CancelledError:
        return None
    except Exception as error:
        return type(error).__name__


def intrude(make):
    do(lambda: {snapshot})
    inside.append(do(make))


def is_waiting(result):
    return isinstance(result, asyncio.Future)


def was_told(future):
    return future.done()


def timers():
    loop = asyncio.get_running_loop()
    handles = [*loop._scheduled, *loop._ready]
    return [h.when() for h in handles if isinstance(h, asyncio.TimerHandle) and not h.cancelled()]


futures = weakref.WeakSet()


def create_future(original):
    future = original()
    futures.add(future)
    return future


def unfinished():
    return [future for future in futures if not future.done()]


def elsewhere(make):
    """In another loop."""
    here, there = asyncio.get_running_loop(), asyncio.new_event_loop()
    here._thread_id, there._thread_id = None, threading.get_ident()
    asyncio._set_running_loop(there)
    try:
        return do(make)
    finally:
        asyncio._set_running_loop(here)
        here._thread_id, there._thread_id = threading.get_ident(), None
        there.close()


async def main():
    global queue
    gc.disable()
    Trouble.package = {package!r}
    loop, errors = asyncio.get_running_loop(), []
    loop.set_exception_handler(lambda _, context: errors.append(context))
    loop.create_future = functools.partial(create_future, loop.create_future)
    loop.time = lambda: clock.now
{steps}


asyncio.run(main())
'''

KEYWORDS = {
    "put": ["", "", "if_in_flight=", "delay=", "timeout="],
    "get": ["timeout=", "lease_timeout="],
    "take": ["", "timeout=", "lease_timeout="],
    "release": ["", "requeue_front=", "delay="],
}
DEFAULTS = {
    *("if_in_flight=None", "delay=0", "timeout=None", "lease_timeout=None", "requeue_front=False"),
}
NO_WAIT = {"put": "QueueFull", "get": "QueueEmpty", "take": "QueueEmpty"}
PLAIN = ("ack", "release", "extend")  # which never wait, and are there without await, too
ITERATION = {"QueueClosedError": "StopAsyncIteration"}


class QueueMirror(Mirror):
    """Everything that can be done to a queue, by many tasks, between any two turns."""

    kind = "queue"
    template = PROGRAM
    indent = "    "
    snapshot = "queue._do(queue._machine.snapshot)"
    always_exact = False
    health = "queue._machine.check_invariants()"

    def __init__(self) -> None:
        super().__init__()
        self.loop = SteppedLoop()
        self.loop.after_timer = lambda: self.model.time_out(self.now)
        self.started: dict[Future[Any], Coroutine[Any, Any, Any]] = {}
        self.iterations: set[int] = set()  # tickets of the calls that `async for` has made

    def open(self, arguments: str) -> None:
        self.watched = False  # that is for tests/observers
        names = ("default_lease_timeout=", "maxsize=", "if_in_flight=")
        arguments = ", ".join(self.with_keywords([*names], arguments.split(", ")))
        self.in_names |= {"LeasedKeyQueue": self.package.LeasedKeyQueue, "inside": self.inside}
        self.in_names["CancelledError"] = CancelledError
        with self.loop:
            self.execute(f"queue = LeasedKeyQueue({arguments})")
            if self.exact:
                self.execute("queue.stats()")
            self.execute("other = LeasedKeyQueue()")
            self.execute("other.put_nowait(Key('a'), 0)")
            self.execute("foreign = other.get_nowait()[2]")
        self.queue = self.in_names["queue"]
        self.statistics = "queue.stats()" if self.exact else "queue._do(queue._machine.stats)"

    def set_clock(self, now: float) -> None:
        super().set_clock(now)
        self.loop.now = now
        self.lines.append(f"clock.now = {now}")

    # -- how it is done

    def source(self, method: str, arguments: list[str], vary: bool = False) -> str:
        if method == "resume":
            if int(arguments[0].removeprefix("call")) in self.iterations:
                self.instead = ITERATION
            return arguments[0]
        if method == "cancel":
            ways = [f"{arguments[0]}.close()", f"{arguments[0]}.throw(CancelledError())"]
            if self.in_names[arguments[0].replace("call", "future")].cancelled():
                ways.append(arguments[0])  # which goes on to find that out
            return ways[len(self.lines) % len(ways)]
        if vary and len(self.lines) % 2:
            if arguments == ["None", "None"] and method == "get":
                self.instead = ITERATION
                return "anext(queue)"
            if method in ("start", "close"):
                return {"start": "queue.__aenter__()", "close": "queue.__aexit__(*[None] * 3)"}[
                    method
                ]
            if method in PLAIN:
                method += "_nowait"
            timeout = {"put": 4, "get": 0, "take": 1}.get(method, -1)
            if timeout >= 0 and arguments[timeout] in ("0", "-1"):
                self.instead = {"TimeoutError": NO_WAIT[method]}
                given = self.with_keywords(KEYWORDS[method], arguments)
                del given[timeout]
                self.count(f"queue: {method}_nowait")
                return f"queue.{method}_nowait({self.shorter(given)})"
            self.count(f"queue: {method}" if method.endswith("_nowait") else "")
        keywords = KEYWORDS.get(method.removesuffix("_nowait"), [""] * len(arguments))
        return f"queue.{method}({self.shorter(self.with_keywords(keywords, arguments))})"

    def shorter(self, arguments: list[str]) -> str:
        """As source; now and then what is the default is left out."""
        if len(self.lines) % 4 > 1:
            arguments = [argument for argument in arguments if argument not in DEFAULTS]
        return ", ".join(arguments)

    @staticmethod
    def with_keywords(keywords: list[str], arguments: list[str]) -> list[str]:
        return [keyword + source for keyword, source in zip(keywords, arguments, strict=False)]

    def do(self, make: Callable[[], Any]) -> Outcome:
        with self.loop:
            return self.step(make)

    def step(self, make: Callable[[], Any]) -> Outcome:
        """The first step of a coroutine, or the next one of one that waits."""
        try:
            operation = make()
            if not hasattr(operation, "send"):
                return Outcome(operation)
            future = operation.send(None)
            self.started[future] = operation
            return Outcome(future)
        except StopIteration as result:
            return Outcome(None if result.value is self.queue else result.value)
        except CancelledError:
            return Outcome()
        except Exception as error:  # noqa: BLE001 (it is compared)
            return Outcome(error=error)

    def drive(self, call: Call) -> tuple[str, Reading]:
        cancel = self.on_model("cancel", call)

        def refused(on: Any) -> Outcome:
            cancel(on)
            return Outcome(error=RuntimeError())

        return call.name, ("after", refused)

    def is_waiting(self, value: Any) -> bool:
        return isinstance(value, Future)

    def keep_call(self, call: Call, value: Any) -> None:
        if self.instead == ITERATION:
            self.iterations.add(call.ticket)
        future = f"future{call.ticket}"
        self.in_names |= {call.name: self.started.pop(value), future: value}
        result = self.last_result
        self.lines.append(f"{call.name}, {future} = started.pop({result}), {result}")

    def names_of(self, call: Call) -> list[str]:
        return [call.name, f"future{call.ticket}"]

    def was_told(self, call: Call) -> bool:
        return bool(self.in_names[f"future{call.ticket}"].done())

    def cancel_while_waiting(self, call: Call) -> None:
        self.execute(f"future{call.ticket}.cancel()")

    @rule(moment=moments)
    def time_out(self, moment: Moment) -> None:
        """The loop goes round, and finds the timer that is due, if there is one."""
        self.pass_time(moment)
        for _ in range(2):
            self.lines.append("await asyncio.sleep(0)")
            with self.loop:
                self.loop.tick()
        if self.loop.errors:
            self.fail(f"the loop had to handle {self.loop.errors}", "assert not errors, errors")

    @rule(method=st.sampled_from(["put", "get", "take", "ack", "release", "extend", "qsize"]))
    def use_from_another_loop(self, method: str) -> None:
        """Refused, whatever it is."""
        arguments = {"put": ["Key('a')", "0"], "take": ["Key('a')"], "get": [], "qsize": []}
        source = self.source(method, arguments.get(method, ["foreign"]))
        result = f"result{len(self.lines)}"
        self.lines.append(f"{result} = elsewhere(lambda: {source})")
        with SteppedLoop() as other:
            came_to = self.step(self.evaluate(f"lambda: {source}"))
        other.close()
        if came_to.failure != "RuntimeError":
            line = f"assert {result} == 'RuntimeError', {result}"
            self.fail(f"in another loop {method} came to {came_to}", line)
        came_to.forget()

    def check(self) -> None:
        timers = [timer.when() for timer in self.loop.timers()]
        if len(timers) > bool(self.model.waiters):
            line = f"assert len(timers()) <= {bool(self.model.waiters)}, timers()"
            self.fail(f"{len(timers)} timers are armed", line)
        latest = self.model.alarm() + 1e-8  # the loop's clock has a resolution
        if latest < inf and not (timers and timers[0] <= latest):
            self.fail(f"no timer at {latest}", f"assert timers() and timers()[0] <= {latest}")
        waiting = [waiter for waiter in self.model.waiters if waiter.waits]
        if len(self.loop.unfinished()) != len(waiting):
            line = f"assert len(unfinished()) == {len(waiting)}, unfinished()"
            self.fail(f"{self.loop.unfinished()} where {len(waiting)} calls wait", line)

    def finish(self) -> None:
        """Nothing is left of a queue that was closed."""
        try:
            if not self.failed:
                self.run_out()
                if self.loop.timers() or self.loop.unfinished():
                    self.fail("a closed queue has left something behind", "assert not timers()")
        finally:
            with self.loop:
                for call in self.calls:
                    self.step(self.in_names[call.name].close)
            self.loop.close()
