"""Virtual time: the clock jumps to the next timer, and to wait for ever is an error."""

import asyncio
import signal
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar, cast

import async_solipsism

T = TypeVar("T")

TICK = 1e-6  # the resolution of the clock


class VirtualLoop(async_solipsism.EventLoop):  # type: ignore[misc]
    """An event loop in virtual time that cannot be closed once anything complained to it."""

    tick = TICK  # of its clock

    def __init__(self) -> None:
        super().__init__()
        clock = self._selector.clock
        advance = clock.advance
        # What is due in less than half a tick is due now, for the loop fires timers early.
        clock.advance = lambda delta: advance(delta) if delta > TICK / 2 else None
        self.complaints: list[dict[str, Any]] = []
        self.signals: dict[int, Any] = {}  # whose handlers are other ones, and which they were
        self.set_exception_handler(lambda _, context: self.complaints.append(context))

    def time(self) -> float:
        """Decimal fractions as one writes them: 0.3, not 0.30000000000000004."""
        now: float = super().time()
        return round(now, 6)

    def jump(self, seconds: float) -> None:
        """Let time pass while the loop is blocked: no timer gets its turn meanwhile."""
        self._selector.clock.advance(seconds)

    def timers(self) -> list[float]:
        """When each timer that is armed will ring."""
        return sorted(timer.when() for timer in self._scheduled if not timer.cancelled())

    def add_signal_handler(
        self, number: int, callback: Callable[..., object], *arguments: Any
    ) -> None:
        """For signals that the program sends to itself."""
        before = signal.signal(number, lambda *_: self.call_soon(callback, *arguments))
        self.signals.setdefault(number, before)

    def remove_signal_handler(self, number: int) -> bool:
        if number not in self.signals:
            return False
        signal.signal(number, self.signals.pop(number))
        return True

    def close(self) -> None:
        for number in [*self.signals]:
            self.remove_signal_handler(number)
        super().close()
        assert self.complaints == [], self.complaints


def run(main: Coroutine[Any, Any, T], *, debug: bool | None = None) -> T:
    """`asyncio.run` in virtual time."""
    with asyncio.Runner(debug=debug, loop_factory=VirtualLoop) as runner:
        return runner.run(main)


def running() -> VirtualLoop:
    """The loop that runs: this one, or `VirtualUvLoop`, which has what its tests need of it."""
    loop = asyncio.get_running_loop()
    assert hasattr(loop, "jump"), "it runs in real time"
    return cast(VirtualLoop, loop)


def jump(seconds: float) -> None:
    """`VirtualLoop.jump` of the running loop."""
    running().jump(seconds)


async def ticks(number: int) -> None:
    """Let the loop go round this many times, in no time."""
    for _ in range(number):
        await asyncio.sleep(0)


async def quiet() -> None:
    """Let everything run that can run without time passing (one tick of the clock passes)."""
    await asyncio.sleep(running().tick)
