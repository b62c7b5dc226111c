"""The asyncio shell, driven through the same steps as the machine that it wraps.

The waiting calls are coroutines that are run by hand, one step at a time, so that a call can be
held between being given its copy and resuming with it. The loop stands still, and its clock with
it; it goes round, so that the queue's timer rings, only in `time_out`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from dataclasses import dataclass
from typing import Any, Final

from tests.conformance.player import LONG_AGO, MachineEngine, ModelEngine
from tests.stateful.loop import SteppedLoop
from tests.subject import LeasedKeyQueue


@dataclass(eq=False)
class Call:
    """A call that waits."""

    ticket: int
    coroutine: Coroutine[Any, Any, Any]
    future: asyncio.Future[None]


class ShellEngine:
    """`LeasedKeyQueue` through its coroutines; its machine is only looked at."""

    number = MachineEngine.number
    stranger = MachineEngine.stranger
    make = MachineEngine.make

    def __init__(self, maxsize: int) -> None:
        self.loop = SteppedLoop()
        self.loop.__enter__()
        self.queue: LeasedKeyQueue[Any, Any] = LeasedKeyQueue(maxsize=maxsize)
        self.snapshot = self.queue._machine.snapshot
        self.open: set[Call] = set()
        self.it = self

    # -- the engine

    def outcome(self, call: Call) -> str:
        state, ticket = self.snapshot(LONG_AGO), call.ticket
        if any(row.ticket == ticket for row in state.waiting):
            return "WAITING"
        reserved = ticket in state.slots or any(row.ticket == ticket for row in state.flight)
        return "RESERVED" if reserved else "over"

    def after(self, waiters: Iterable[Call]) -> None:
        for call in waiters:
            woken = self.outcome(call) != "WAITING"
            assert call.future.done() == woken, f"{call} is woken: {call.future.done()}"

    def check(self) -> None:
        waiting = self.snapshot(LONG_AGO).waiting
        assert len(self.loop.unfinished()) == len(waiting), "a future is left behind"
        assert waiting or not self.loop.timers(), "a timer is left behind"
        assert not self.loop.errors, self.loop.errors

    def leave(self) -> None:
        for call in self.open:
            call.coroutine.close()
        self.loop.__exit__(None, None, None)
        self.loop.close()

    # -- the operations

    def put(self, key: str, value: int, policy: Any, delay: float, timeout: Any, now: float) -> Any:
        options: Any = {"if_in_flight": policy, "delay": delay, "timeout": timeout}
        return self._begin(self.queue.put(key, value, **options), now)

    def get(self, timeout: float, lease_timeout: float, now: float) -> Any:
        return self._begin(self.queue.get(timeout, lease_timeout=lease_timeout), now)

    def take(self, key: str, timeout: float, lease_timeout: float, now: float) -> Any:
        return self._begin(self.queue.take(key, timeout, lease_timeout=lease_timeout), now)

    def release(self, lease: Any, front: bool, delay: float, now: float) -> Any:
        return self._begin(self.queue.release(lease, requeue_front=front, delay=delay), now)

    def reap(self, now: float) -> None:
        self._begin(self.queue.qsize(), now)

    def superseded(self, lease: Any, now: float) -> Any:
        if now == LONG_AGO:
            return self.queue._machine.superseded(lease, now)
        return self._begin(self.queue.superseded(lease), now)

    def __getattr__(self, name: str) -> Any:
        """Another operation, which takes its arguments by position."""
        return lambda *arguments: self._begin(
            getattr(self.queue, name)(*arguments[:-1]), arguments[-1]
        )

    def _begin(self, coroutine: Coroutine[Any, Any, Any], now: float) -> Any:
        """The result, or the call if it waits."""
        self.loop.now = now
        try:
            future = coroutine.send(None)
        except StopIteration as done:
            return done.value
        # What the loop would do with it: the call goes on when the future is done.
        future._asyncio_future_blocking = False
        call = Call(self.snapshot(LONG_AGO).waiting[-1].ticket, coroutine, future)
        self.open.add(call)
        return call

    def resume(self, call: Call, now: float) -> Any:
        self.loop.now = now
        self.open.remove(call)
        try:
            call.coroutine.send(None)
        except StopIteration as done:
            return done.value
        raise AssertionError("the call waits on")

    def cancel(self, call: Call, now: float) -> None:
        self.loop.now = now
        self.open.remove(call)
        call.future.cancel()
        try:
            call.coroutine.throw(asyncio.CancelledError())
        except asyncio.CancelledError:
            return
        raise AssertionError("the call waits on")

    def time_out(self, now: float) -> None:
        self.loop.now = now
        for _ in range(3):
            self.loop.tick()


class NowaitEngine(ShellEngine):
    """The same, by plain methods wherever there is one, before it waits."""

    def put(self, key: str, value: int, policy: Any, delay: float, timeout: Any, now: float) -> Any:
        self.loop.now = now
        try:
            return self.queue.put_nowait(key, value, if_in_flight=policy, delay=delay)
        except asyncio.QueueFull:
            return super().put(key, value, policy, delay, timeout, now)

    def get(self, timeout: float, lease_timeout: float, now: float) -> Any:
        self.loop.now = now
        try:
            return self.queue.get_nowait(lease_timeout=lease_timeout)
        except asyncio.QueueEmpty:
            return super().get(timeout, lease_timeout, now)

    def take(self, key: str, timeout: float, lease_timeout: float, now: float) -> Any:
        self.loop.now = now
        try:
            return self.queue.take_nowait(key, lease_timeout=lease_timeout)
        except asyncio.QueueEmpty:
            return super().take(key, timeout, lease_timeout, now)

    def ack(self, lease: Any, now: float) -> None:
        self.loop.now = now
        self.queue.ack_nowait(lease)

    def release(self, lease: Any, front: bool, delay: float, now: float) -> None:
        self.loop.now = now
        self.queue.release_nowait(lease, requeue_front=front, delay=delay)

    def extend(self, lease: Any, timeout: float | None, now: float) -> None:
        self.loop.now = now
        self.queue.extend_nowait(lease, timeout)


ENGINES: Final[dict[str, Any]] = {
    "machine": MachineEngine,
    "model": ModelEngine,
    "shell": ShellEngine,
    "nowait": NowaitEngine,
}
