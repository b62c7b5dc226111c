"""Sequence diagrams, drawn from traces of the queue at work.

A scenario is a program with named tasks. It runs in virtual time on a queue whose core writes
down what it is asked and what it answers; nothing in a diagram is put there by hand.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from docs._ext.svg import COLOURS, ROW, WIDTH, Picture
from leasedkeyq import Lease, LeasedKeyQError, LeasedKeyQueue, LeaseExpiredError
from leasedkeyq._core import Core
from tests import virtual


@dataclass(frozen=True)
class Event:
    """What a task asked of the core, what it was told, and how things stood afterwards."""

    time: float
    actor: str
    call: str
    answer: str
    woken: tuple[str, ...]
    available: tuple[str, ...]
    inflight: tuple[str, ...]


def _lease(lease: Lease[str]) -> str:
    return f"lease {int(lease.token[-12:], 16)}"


def _say(operation: str, arguments: tuple[Any, ...]) -> str:
    match operation:
        case "put":
            return f"put({arguments[1]!r})"
        case "ack":
            return f"ack({_lease(arguments[0])})"
        case "get":
            return "get()"
        case "resume" | "cancel":
            return operation
        case "time_out":
            return "rings"
    raise ValueError(operation)


class TracedCore(Core[str, str]):
    """A core that keeps a record of its operations."""

    def __init__(self, default_lease_timeout: float | None) -> None:
        super().__init__(default_lease_timeout)
        self.events: list[Event] = []
        self.tasks: dict[int, str] = {}  # who waits for which call

    def _record(self, operation: str, now: float, arguments: tuple[Any, ...]) -> Any:
        task = asyncio.current_task()
        actor = "timer" if task is None else task.get_name()
        before, answer = len(self.settled), ""
        try:
            result = getattr(Core, operation)(self, *arguments, now)
            if isinstance(result, tuple):
                answer = f"{result[1]!r}, {_lease(result[2])}"
            elif result is not None:
                answer, self.tasks[id(result)] = "waits", actor
        except LeasedKeyQError as error:
            answer = type(error).__name__
            raise
        finally:
            woken = tuple(self.tasks[id(call)] for call in [*self.settled][before:])
            self._write_down(operation, arguments, now, actor, answer, woken)
        return result

    def _write_down(
        self,
        operation: str,
        arguments: tuple[Any, ...],
        now: float,
        actor: str,
        answer: str,
        woken: tuple[str, ...],
    ) -> None:
        self.events.append(
            Event(
                asyncio.get_running_loop().time(),
                actor,
                _say(operation, arguments),
                answer,
                woken,
                tuple(sorted(Core.available_keys(self, now))),
                tuple(sorted(Core.inflight_keys(self, now))),
            )
        )

    def put(self, *arguments: Any) -> None:
        self._record("put", arguments[-1], arguments[:-1])

    def get(self, *arguments: Any) -> Any:
        return self._record("get", arguments[-1], arguments[:-1])

    def resume(self, *arguments: Any) -> Any:
        return self._record("resume", arguments[-1], arguments[:-1])

    def cancel(self, *arguments: Any) -> None:
        self._record("cancel", arguments[-1], arguments[:-1])

    def time_out(self, *arguments: Any) -> None:
        self._record("time_out", arguments[-1], arguments[:-1])

    def ack(self, *arguments: Any) -> None:
        self._record("ack", arguments[-1], arguments[:-1])


Scenario = Callable[[LeasedKeyQueue[str, str]], Awaitable[None]]


async def handover(queue: LeasedKeyQueue[str, str]) -> None:
    """A waits, then B; what the producer puts goes to A."""

    async def consume() -> None:
        _, _, lease = await queue.get()
        await queue.ack(lease)

    async def produce() -> None:
        await queue.put("job", "one")
        await asyncio.sleep(1)
        await queue.put("job", "two")

    tasks = [asyncio.create_task(consume(), name=name) for name in ("A", "B")]
    await asyncio.sleep(0)
    tasks.append(asyncio.create_task(produce(), name="producer"))
    await asyncio.gather(*tasks)


async def cancelled(queue: LeasedKeyQueue[str, str]) -> None:
    """A is cancelled between the put that served it and its turn to run."""

    async def consume() -> None:
        _, _, lease = await queue.get()
        await queue.ack(lease)

    first, second = (asyncio.create_task(consume(), name=name) for name in ("A", "B"))
    await asyncio.sleep(0)

    async def produce() -> None:
        await queue.put("job", "one")
        first.cancel()

    await asyncio.create_task(produce(), name="producer")
    await asyncio.gather(first, second, return_exceptions=True)


async def expired(queue: LeasedKeyQueue[str, str]) -> None:
    """A works for longer than its lease lasts, while B waits."""

    async def slow() -> None:
        _, _, lease = await queue.get(lease_timeout=2)
        await asyncio.sleep(3)
        try:
            await queue.ack(lease)
        except LeaseExpiredError:
            return

    async def quick() -> None:
        _, _, lease = await queue.get()
        await asyncio.sleep(2)
        await queue.ack(lease)

    async def produce() -> None:
        await queue.put("job", "one")

    await asyncio.create_task(produce(), name="producer")
    tasks = [asyncio.create_task(work(), name=name) for name, work in (("A", slow), ("B", quick))]
    await asyncio.gather(*tasks)


SCENARIOS: dict[str, tuple[str, tuple[str, ...], Scenario]] = {
    "handover": ("A hand-over", ("producer", "queue", "A", "B"), handover),
    "cancelled": ("A cancellation after a grant", ("producer", "queue", "A", "B"), cancelled),
    "expired": (
        "A lease that runs out before its ack",
        ("producer", "timer", "queue", "A", "B"),
        expired,
    ),
}


def record(scenario: Scenario) -> list[Event]:
    """Run a scenario and return what the core wrote down."""

    async def main() -> list[Event]:
        queue = LeasedKeyQueue[str, str]()
        core = queue._core = TracedCore(None)
        await scenario(queue)
        return core.events

    return virtual.run(main())


def draw(name: str) -> str:
    title, lanes, scenario = SCENARIOS[name]
    events = record(scenario)
    picture = Picture(title)
    step = WIDTH / len(lanes)
    at = {lane: step * (number + 0.5) for number, lane in enumerate(lanes)}
    colour = {lane: COLOURS[number % len(COLOURS)] for number, lane in enumerate(lanes)}
    colour["queue"] = "currentColor"
    messages, y, now = Picture(title), 2.0 * ROW, None

    def message(source: str, target: str, text: str, who: str, dashed: bool) -> None:
        nonlocal y
        y += ROW + 6
        x0, x1 = at[source], at[target]
        messages.line([(x0, y), (x1, y)], colour=colour[who], arrow=True, dashed=dashed)
        half = len(text) * 3.4
        middle = min(max((x0 + x1) / 2, half), WIDTH - half)
        messages.text(middle, y - 5, text, anchor="middle", style="on-line")

    for event in events:
        if event.time != now:
            y += ROW + 4
            now = event.time
            messages.text(2, y, f"at {now - events[0].time:g} s", style="muted on-line")
            y -= 4
        message(event.actor, "queue", event.call, event.actor, dashed=False)
        if event.answer:
            message("queue", event.actor, event.answer, event.actor, dashed=True)
        for woken in event.woken:
            message("queue", woken, "reserved", woken, dashed=True)
        y += ROW - 2
        state = (
            f"line: {', '.join(event.available) or '–'} · out: {', '.join(event.inflight) or '–'}"
        )
        messages.text(at["queue"], y, state, anchor="middle", style="muted on-line")
    y += ROW
    for lane in lanes:
        picture.line([(at[lane], 20), (at[lane], y)], colour="var(--color-background-border)")
        picture.text(at[lane], 14, lane, anchor="middle", style="strong")
    picture.parts += messages.parts
    picture.height = y + 2
    return picture.html()
