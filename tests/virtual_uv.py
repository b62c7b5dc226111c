"""Virtual time on uvloop: its own turns, tasks and futures, and timers that keep its rules.

uvloop has no clock that could be set. So the loop's timers are kept here, by libuv's rules: times
are whole milliseconds, what is due is called straight from the loop, before what is ready, and a
timer of less than half a millisecond is no timer, but is called in the next turn.
"""

from __future__ import annotations

from asyncio import Handle, TimerHandle
from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count
from math import inf
from typing import Any, TypeVarTuple

import uvloop

Ts = TypeVarTuple("Ts")

MILLISECOND = 0.001
YEARS = 10**12  # in milliseconds: what infinity becomes


class VirtualUvLoop(uvloop.Loop):
    """A uvloop whose clock jumps to the next timer as soon as nothing is ready."""

    tick = MILLISECOND

    def __init__(self) -> None:
        super().__init__()
        self._now = 0  # milliseconds
        self._heap: list[tuple[int, int, TimerHandle]] = []
        self._number = count()
        self._idle = False  # nothing was made ready since the last turn
        self._stuck = False
        self.complaints: list[dict[str, Any]] = []
        self.set_exception_handler(lambda _, context: self.complaints.append(context))

    def time(self) -> float:
        return self._now / 1000

    def jump(self, seconds: float) -> None:
        """Let time pass while the loop is blocked: no timer gets its turn meanwhile."""
        self._now += round(seconds * 1000)

    def timers(self) -> list[float]:
        """When each timer that is armed will ring."""
        return sorted(when / 1000 for when, _, timer in self._heap if not timer.cancelled())

    # What makes something ready passes through here, the steps of tasks included.

    def call_soon(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: Any = None
    ) -> Handle:
        self._idle = False
        return super().call_soon(callback, *args, context=context)

    def stop(self) -> None:
        self._turning.cancel()  # the turn that is under way is the last one
        super().stop()

    def call_later(
        self, delay: float, callback: Callable[[*Ts], object], *args: *Ts, context: Any = None
    ) -> TimerHandle:
        wait = YEARS if delay == inf else round(max(delay, 0) * 1000)
        if wait == 0:
            return self.call_soon(callback, *args, context=context)  # type: ignore[return-value]
        when = self._now + wait
        timer = TimerHandle(when / 1000, callback, args, self, context)
        heappush(self._heap, (when, next(self._number), timer))
        return timer

    def call_at(
        self, when: float, callback: Callable[[*Ts], object], *args: *Ts, context: Any = None
    ) -> TimerHandle:
        return self.call_later(when - self.time(), callback, *args, context=context)

    def _timer_handle_cancelled(self, handle: TimerHandle) -> None:
        pass  # passed over when its time has come

    def run_forever(self) -> None:
        self._idle = False
        self._turning = super().call_soon(self._turn)
        try:
            super().run_forever()
        finally:
            self._turning.cancel()
        if self._stuck:
            self._stuck = False
            raise RuntimeError("everything sleeps for ever")

    def _turn(self) -> None:
        """Once in each turn. If nothing was made ready since, this is all that is."""
        due = self._now
        if self._idle:
            while self._heap and self._heap[0][2].cancelled():
                heappop(self._heap)
            if not self._heap:
                self._stuck = True
                self.stop()
                return
            due = max(due, self._heap[0][0])
        self._now = due
        self._idle = True
        self._turning = super().call_soon(self._turn)
        while self._heap and self._heap[0][0] <= due:
            _, _, timer = heappop(self._heap)
            if not timer.cancelled():
                timer._run()

    def close(self) -> None:
        super().close()
        assert self.complaints == [], self.complaints
