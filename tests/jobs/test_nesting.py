"""Jobs, timeouts and task groups within each other, by chance: who cancels takes it back.

Whatever comes out of a layer, the task is then as it was when the layer was entered: only a
cancellation from outside, which nobody may take back, is left. Nobody is cancelled but by somebody.
"""

from __future__ import annotations

import asyncio
from asyncio import AbstractEventLoop, Task, current_task
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import pytest

from tests import virtual
from tests.jobs.conftest import pytest_asyncio_loop_factories
from tests.subject import LeasedKeyQueue, LeaseLostError

LAYERS = ["job", "job", "untimed job", "timeout", "child"]


class OwnError(Exception):
    pass


class Nest:
    """A queue with an item for each job, and layers around a body that sleeps, blocks or fails."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.queue = LeasedKeyQueue[int, int]()
        self.layers = random.choices(LAYERS, k=random.randrange(1, 5))
        self.cancelled = 0  # from outside

    async def enter(self, *layers: str) -> None:
        if not layers:
            await self.body()
            return
        before = cancelling()
        try:
            await self.within(*layers)
        except (TimeoutError, LeaseLostError):
            assert cancelling() <= before + self.cancelled, "it has not taken its own back"
            raise
        assert cancelling() <= before + self.cancelled, "it has left a cancellation behind"

    async def within(self, layer: str, *rest: str) -> None:
        match layer:
            case "job":
                async with self.queue.job(0, lease_timeout=3, backoff=lambda attempt: 50):
                    await self.enter(*rest)
            case "untimed job":
                async with self.queue.job(0):
                    await self.enter(*rest)
            case "timeout":
                async with asyncio.timeout(self.random.choice([0, 1, 3, 4, 5])):
                    await self.enter(*rest)
            case "child":
                async with asyncio.TaskGroup() as group:
                    group.create_task(self.enter(*rest))

    async def body(self) -> None:
        for _ in range(self.random.randrange(4)):
            fate = self.random.random()
            if fate < 0.15:
                virtual.jump(self.random.choice([1, 4, 10]))
            elif fate < 0.25:
                raise OwnError
            else:
                await asyncio.sleep(self.random.choice([0, 0, 1, 2, 3, 5]))

    async def live(self) -> None:
        for number in range(len(self.layers)):
            await self.queue.put(number, number)
        task = asyncio.create_task(self.enter(*self.layers))
        if self.random.random() < 0.4:
            await asyncio.sleep(self.random.randrange(6))
            await virtual.ticks(self.random.randrange(3))
            self.cancelled += task.cancel()
        await asyncio.wait([task])
        if task.cancelled():
            assert self.cancelled, "cancelled by nobody"
        else:
            assert all(
                isinstance(e, OwnError | TimeoutError | LeaseLostError) for e in errors(task)
            )
            assert not self.cancelled or [*errors(task)], "a cancellation got lost"
        assert await self.queue.inflight_size() == 0
        await asyncio.sleep(50)  # the backoff
        jobs = sum("job" in layer for layer in self.layers)
        assert await self.queue.qsize() >= len(self.layers) - jobs
        assert virtual.running().timers() == []


def cancelling() -> int:
    task = current_task()
    assert task is not None
    return task.cancelling()


def errors(task: Task[Any]) -> Iterator[BaseException]:
    """What a task has ended with, taken out of groups."""
    found = [error] if (error := task.exception()) else []
    while found:
        error = found.pop()
        if isinstance(error, BaseExceptionGroup):
            found.extend(error.exceptions)
        else:
            yield error


@pytest.mark.parametrize("loop", pytest_asyncio_loop_factories().values())
@pytest.mark.parametrize(
    "seeds", [range(600), pytest.param(range(600, 20_000), marks=pytest.mark.deep)]
)
def test_who_cancels_takes_it_back(loop: Callable[[], AbstractEventLoop], seeds: range) -> None:
    for seed in seeds:

        async def main(seed: int = seed) -> None:
            nest = Nest(Random(seed))
            try:
                await nest.live()
            except BaseException as error:
                error.add_note(f"seed {seed}: {nest.layers}")
                raise

        with asyncio.Runner(loop_factory=loop) as runner:
            runner.run(main())
