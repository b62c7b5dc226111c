"""An event loop that stands still until it is told to go on, with a clock that is set by hand."""

from __future__ import annotations

import asyncio
from asyncio import Future, Handle, TimerHandle
from collections.abc import Callable
from heapq import heappop
from threading import get_ident
from types import TracebackType
from typing import Any
from weakref import WeakSet


class SteppedLoop(asyncio.BaseEventLoop):
    """The stdlib's loop, of which the test is, so to say, the one task that always runs.

    `tick` is to the test what ``await asyncio.sleep(0)`` is to a task, turn by
    turn and handle by handle as in the stdlib, so whatever happens here happens
    in a program, too, that sleeps where the test ticks.
    """

    _ready: Any  # of the base class: handles to run, in order
    _scheduled: list[TimerHandle]  # and a heap of timers

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.errors: list[dict[str, Any]] = []  # what nobody caught
        self.after_timer: Callable[[], None] = lambda: None
        self.made: WeakSet[Future[Any]] = WeakSet()
        self._turn = 0  # handles left in this turn of the loop
        self.set_exception_handler(lambda _, context: self.errors.append(context))

    def time(self) -> float:
        return self.now

    def create_future(self) -> Future[Any]:
        future = super().create_future()
        self.made.add(future)
        return future

    def __enter__(self) -> SteppedLoop:
        """Within the block this is the running loop."""
        self._thread_id = get_ident()
        asyncio._set_running_loop(self)
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        asyncio._set_running_loop(None)
        self._thread_id = None  # type: ignore[assignment]

    def tick(self) -> None:
        """Run what was ready before now, and no more."""
        mark = Handle(lambda: None, (), self)
        self._ready.append(mark)
        while True:
            if self._turn == 0:
                self._start_turn()
            handle = self._ready.popleft()
            self._turn -= 1
            if handle is mark:
                return
            if not handle.cancelled():
                handle._run()
                if isinstance(handle, TimerHandle):
                    self.after_timer()

    def _start_turn(self) -> None:
        limit = self.now + self._clock_resolution  # type: ignore[attr-defined]
        while self._scheduled and self._scheduled[0].when() < limit:
            self._ready.append(heappop(self._scheduled))
        self._turn = len(self._ready)

    def idle(self) -> bool:
        """Nothing is left to do before the clock moves on."""
        due = self.now + self._clock_resolution  # type: ignore[attr-defined]
        return not self._ready and not any(timer.when() < due for timer in self.timers())

    def timers(self) -> list[TimerHandle]:
        """What waits for its time."""
        timers = [*self._scheduled, *(h for h in self._ready if isinstance(h, TimerHandle))]
        return [timer for timer in timers if not timer.cancelled()]

    def unfinished(self) -> list[Future[Any]]:
        """Futures that somebody may still wait for."""
        return [future for future in self.made if not future.done()]
