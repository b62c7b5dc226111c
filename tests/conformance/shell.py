"""The asyncio shell, driven through the same steps as the core that it wraps.

The waiting calls are coroutines that are run by hand, one step at a time, so that a call can
be held between being given its copy and resuming with it. The clock is virtual, and stands
still between ticks; the loop goes round, so that the queue's timer rings, only in `time_out`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any

from tests.conformance.graph import Label, Seen, State
from tests.conformance.machines import LEASE_TIME, TIMES, WAIT_TIME, CoreMachine
from tests.conformance.replay import Count
from tests.subject import LeasedKeyQueue, QueueClosedError
from tests.virtual import VirtualLoop, running, ticks


class ShellMachine(CoreMachine):
    """`LeasedKeyQueue` through its public API; its core is only looked at."""

    def __init__(self) -> None:
        super().__init__()
        self.queue: LeasedKeyQueue[str, int] = LeasedKeyQueue()
        self.it = self.queue._core
        self.now = running().time()
        self.blocked: dict[str, Coroutine[Any, Any, Any]] = {}
        self.futures: dict[str, Any] = {}

    async def follow_async(self, labels: Iterable[Label]) -> ShellMachine:
        for label in labels:
            await self.do_async(label)
        return self

    async def do_async(self, label: Label) -> None:
        operation, *arguments = label
        queue = self.queue
        match operation, *arguments:
            case "put", key, policy:
                await queue.put(key, self.puts + 1, if_in_flight=policy)  # type: ignore[arg-type]
                self.puts += 1
            case "get", call:
                self._begin(call, queue.get(WAIT_TIME[call], lease_timeout=LEASE_TIME[call]))
            case "take", call, key:
                self._begin(call, queue.take(key, WAIT_TIME[call], lease_timeout=LEASE_TIME[call]))
            case "resume", call:
                self._resume(call)
            case "cancel", call:
                self._cancel(call)
            case "ack", lease:
                await queue.ack(self._lease(lease))
            case "release", lease, place:
                await queue.release(self._lease(lease), requeue_front=place == "front")
            case "extend", lease, time:
                await queue.extend(self._lease(lease), TIMES[time])
            case ("tick",):
                running().jump(1)
                self.now += 1
            case ("expire",):
                await queue.qsize()
            case ("time_out",):
                await ticks(3)
                self._raise_in_those_woken(TimeoutError)
            case ("close",):
                await queue.close()
                for call in [*self.blocked]:
                    self._raises(call, QueueClosedError)

    def _begin(self, name: str, call: Coroutine[Any, Any, Any]) -> None:
        try:
            future = call.send(None)
        except StopIteration as done:
            self.leases[name] = done.value[2]
        else:
            # What the loop would do with it: the call goes on when the future is done.
            future._asyncio_future_blocking = False
            self.blocked[name], self.futures[name] = call, future
            self.calls[name] = next(
                waiting for waiting in self.it._calls.values() if waiting.caller is future
            )

    def _resume(self, name: str) -> None:
        assert self.futures.pop(name).done(), f"{name} was given a copy and not woken"
        del self.calls[name]
        try:
            self.blocked.pop(name).send(None)
        except StopIteration as done:
            key, value, self.leases[name] = done.value
            assert key == self.leases[name].key
            assert value <= self.puts
        else:
            raise AssertionError(f"{name} waits on")

    def _cancel(self, name: str) -> None:
        self.futures.pop(name).cancel()
        del self.calls[name]
        try:
            self.blocked.pop(name).throw(asyncio.CancelledError())
        except asyncio.CancelledError:
            self.it.expire(self.now)

    def _raise_in_those_woken(self, error: type[Exception]) -> None:
        for name, future in [*self.futures.items()]:
            if future.done() and self.calls[name].outcome.name == "TIMED_OUT":
                self._raises(name, error)

    def _raises(self, name: str, error: type[Exception]) -> None:
        assert self.futures.pop(name).done(), f"{name} was not woken"
        del self.calls[name]
        try:
            self.blocked.pop(name).send(None)
        except error:
            return
        raise AssertionError(f"{name} should have raised {error.__name__}")

    @property
    def seen(self) -> Seen:
        for name, call in self.calls.items():
            done = call.outcome.name != "WAITING"
            assert self.futures[name].done() == done, f"{name} is woken if and only if it is served"
        return super().seen

    async def introspection_async(self) -> str:
        queue = self.queue
        available, inflight = await queue.available_keys(), await queue.inflight_keys()
        for key in ("k1", "k2"):
            assert await queue.contains(key) == (key in available)
            assert (await queue.peek(key) is not None) == (key in available)
        one, two = ("{" + ", ".join(sorted(keys)) + "}" for keys in (available, inflight))
        return f"<<{one}, {two}, {await queue.qsize()}, {await queue.inflight_size()}>>"

    def leave(self) -> None:
        """Leave nothing behind in the loop."""
        for call in self.blocked.values():
            call.close()
        if self.queue._timer is not None:
            self.queue._timer.cancel()


async def _replay(states: Iterable[State]) -> Count:
    count = Count()
    for state in states:
        for label, after in state.steps:
            count.replayed += 1
            it = ShellMachine()
            try:
                await it.follow_async((*state.path, label))
                found = it.seen
            except Exception as raised:  # noqa: BLE001 (whatever it is, it is a mismatch)
                count.differs(state, label, repr(raised), "to be carried out")
                continue
            finally:
                it.leave()
            if found != after.seen:
                count.differs(state, label, found, after.seen)
        it = await ShellMachine().follow_async(state.path)
        expected = state.settled.seen
        for label, error in state.refused:
            count.refused += 1
            try:
                await it.do_async(label)
            except Exception as raised:  # noqa: BLE001 (compared by its type)
                if type(raised).__name__ != error:
                    count.differs(state, label, repr(raised), error)
            else:
                count.differs(state, label, "carried out", error)
        if state.refused and it.seen != expected:
            count.differs(state, ("refused calls",), it.seen, expected)
        shown = await it.introspection_async()
        if shown != state.introspection:
            count.differs(state, ("introspection",), shown, state.introspection)
        it.leave()
        if len(count.mismatches) > 20:
            break
    return count


def replay(states: Iterable[State]) -> Count:
    """`tests.conformance.replay.replay` for the shell."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(_replay(states))
