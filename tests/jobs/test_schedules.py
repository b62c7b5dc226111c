"""Jobs, workers and batches keep their word in every order of steps."""

from __future__ import annotations

import asyncio
from asyncio import CancelledError, Task, current_task
from collections.abc import Callable
from typing import Any

import pytest

from tests.jobs.schedules import Scenario, Scene, error_of, explore
from tests.subject import Job, LeaseLostError, QueueClosedError, run_workers

Tasks = dict[str, Task[Any]]


def ends(*allowed: type[BaseException] | None) -> Callable[[Scene, Tasks], None]:
    """The first task ends so; and if it was not cancelled, nothing of a cancellation is left."""

    def check(scene: Scene, tasks: Tasks) -> None:
        task = next(iter(tasks.values()))
        assert error_of(task) in allowed, error_of(task)
        if error_of(task) not in (CancelledError, ExceptionGroup):
            assert task.cancelling() <= 1
        assert scene.notes.count("acked") <= len(scene.queue.acked)

    return check


# -- jobs ------------------------------------------------------------------------------------------


async def work(scene: Scene, seconds: float = 5, **options: Any) -> None:
    async with scene.queue.job(timeout=9, **{"lease_timeout": 3, **options}):
        await asyncio.sleep(seconds)
    scene.notes.append("acked")


async def work_and_see(scene: Scene) -> None:
    """The loss comes out, and then the task is as it was."""
    try:
        await work(scene)
    except LeaseLostError:
        task = current_task()
        assert task is not None
        assert task.cancelling() == 0 or scene.notes == ["cancelled"]
        await asyncio.sleep(0)


async def fail(scene: Scene) -> None:
    async with scene.queue.job(lease_timeout=3, backoff=lambda attempt: 4):
        raise KeyError


async def under_timeout(scene: Scene) -> None:
    async with asyncio.timeout(5):
        await work(scene, 9)


async def with_timeout(scene: Scene) -> None:
    async with scene.queue.job(lease_timeout=3), asyncio.timeout(5):
        await asyncio.sleep(9)


async def with_group(scene: Scene) -> None:
    async with scene.queue.job(lease_timeout=3), asyncio.TaskGroup() as group:
        group.create_task(asyncio.sleep(5))


async def in_group(scene: Scene) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(work(scene))
        await asyncio.sleep(5)


# -- workers ---------------------------------------------------------------------------------------


async def crew(scene: Scene, handler: Any = None, concurrency: int = 1, **options: Any) -> None:
    async def handle(job: Job[str, Any]) -> None:
        scene.notes.append((job.key, job.attempt))
        if handler:
            await handler(job)

    defaults = {"lease_timeout": 3, "backoff": lambda attempt: 4, "max_attempts": 3}
    await run_workers(scene.queue, handle, concurrency=concurrency, **{**defaults, **options})


async def pause(job: Job[str, Any]) -> None:
    await asyncio.sleep(1)


async def fail_first(job: Job[str, Any]) -> None:
    if job.attempt == 1:
        raise KeyError


async def fail_always(job: Job[str, Any]) -> None:
    raise KeyError


async def two_at_once(scene: Scene) -> None:
    await scene.queue.shutdown()
    await crew(scene, lambda job: asyncio.sleep(0), concurrency=2)


async def drain(scene: Scene) -> bool:
    return await scene.queue.drain(timeout=20)


async def shutdown(scene: Scene) -> None:
    await scene.queue.shutdown()


async def close(scene: Scene) -> None:
    await asyncio.sleep(0)
    await scene.queue.close()


async def bury_at_second_try(scene: Scene) -> None:
    async def bury(key: str, value: str, attempts: int, error: BaseException | None) -> None:
        scene.notes.append(type(error))
        await asyncio.sleep(0)
        if attempts == 1:
            raise ConnectionError
        scene.dead.append(key)

    await crew(scene, fail_always, max_attempts=1, dead_letter=bury)


def buried(scene: Scene, tasks: Tasks) -> None:
    (task, *_) = tasks.values()
    assert error_of(task) in (None, CancelledError)
    assert {*scene.notes} <= {("a", 1), KeyError}  # the error that the handler raised
    if not task.cancelled():
        assert scene.dead == ["a"]
        assert scene.queue.acked == ["a"]
        assert scene.notes.count(("a", 1)) == 1


def drained(scene: Scene, tasks: Tasks) -> None:
    """What is pending is left, and everything else is done with."""
    if not tasks["workers"].cancelled():
        assert tasks["drain"].result() is True
        assert set(scene.keys) == {key for key, _ in scene.notes}


def no_handler_begins_after_a_stop(scene: Scene, tasks: Tasks) -> None:
    assert len(scene.notes) == len(set(scene.notes))


# -- batches ---------------------------------------------------------------------------------------


async def batch(scene: Scene) -> None:
    got = await scene.queue.get_many(3, 5, linger=2, lease_timeout=3)
    await scene.queue.ack_many([lease for _, _, lease in got])


async def put(scene: Scene) -> None:
    await asyncio.sleep(1)
    try:
        await scene.queue.put("b", "B")
    except QueueClosedError:
        return
    scene.keys += "b"


LOST = (None, LeaseLostError, CancelledError)

SCENARIOS = {
    "lost lease against normal end": Scenario({"job": work_and_see}, ends(*LOST), slow=2),
    "lost lease against normal end, with an heir": Scenario(
        {"job": work, "heir": lambda s: work(s, 0)},
        ends(*LOST, TimeoutError),
        cancels=0,
        slow=1,
    ),
    "cancellation in the body, twice": Scenario({"job": work}, ends(*LOST), cancels=2),
    "cancellation in the ack": Scenario(
        {"job": lambda s: work(s, 0)}, ends(*LOST), options={"before": 2, "after": 2}
    ),
    "cancellation in the release": Scenario(
        {"job": fail},
        ends(KeyError, CancelledError),
        options={"before": 1, "after": 1, "default_lease_timeout": 3},
    ),
    "a timeout around a job": Scenario({"job": under_timeout}, ends(*LOST, TimeoutError), slow=1),
    "a timeout within a job": Scenario({"job": with_timeout}, ends(*LOST, TimeoutError), slow=1),
    "a task group within a job": Scenario({"job": with_group}, ends(*LOST), cancels=0, slow=1),
    "a job in a task group": Scenario(
        {"group": in_group}, ends(*LOST, ExceptionGroup), cancels=0, slow=1
    ),
    "close against a job": Scenario({"job": work, "close": close}, ends(*LOST, QueueClosedError)),
    "cancellation in the handler": Scenario(
        {"workers": lambda s: crew(s, pause), "stop": shutdown},
        no_handler_begins_after_a_stop,
        keys="ab",
    ),
    "cancellation in the handler, two workers": Scenario(
        {"workers": two_at_once}, ends(None, CancelledError)
    ),
    "cancellation in the backoff": Scenario(
        {"workers": lambda s: crew(s, fail_first), "stop": shutdown}, ends(None, CancelledError)
    ),
    "drain with a retry pending": Scenario(
        {"workers": lambda s: crew(s, fail_first), "drain": drain}, drained, keys="ab"
    ),
    "dead letter that fails": Scenario(
        {"workers": bury_at_second_try, "stop": shutdown}, buried, slow=0
    ),
    "a loop that is slow, and workers": Scenario(
        {"workers": lambda s: crew(s, pause), "stop": shutdown},
        ends(None, CancelledError),
        cancels=0,
        slow=3,
    ),
    "a batch that lingers": Scenario(
        {"batch": batch, "put": put}, ends(None, CancelledError), slow=0
    ),
    "a batch against close": Scenario(
        {"batch": batch, "put": put, "close": close},
        ends(None, CancelledError, QueueClosedError),
        cancels=0,
    ),
}


LONG = {"cancellation in the handler, two workers"}


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.deep] if name in LONG else []) for name in SCENARIOS],
)
def test_every_schedule(name: str, record_property: Callable[[str, object], None]) -> None:
    played = explore(SCENARIOS[name])
    assert played > 1
    record_property("schedules", f"{name}|{played}")
