"""Small steps that many tests take, through the public API alone, and one look behind it."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

import pytest

from tests.subject import Lease, LeasedKeyQueue
from tests.virtual import ticks

K = TypeVar("K")
V = TypeVar("V")
T = TypeVar("T")

# Every use of a lease.
LeaseCall = Callable[[LeasedKeyQueue[str, int], Lease[str]], Awaitable[object]]


async def nowait(use: Callable[[], object]) -> None:
    """A plain method where an operation is awaited."""
    use()


ON_LEASES: dict[str, LeaseCall] = {
    "ack": lambda queue, lease: queue.ack(lease),
    "release": lambda queue, lease: queue.release(lease),
    "release to the front": lambda queue, lease: queue.release(lease, requeue_front=True),
    "release with delay": lambda queue, lease: queue.release(lease, delay=5),
    "extend": lambda queue, lease: queue.extend(lease),
    "extend by": lambda queue, lease: queue.extend(lease, 5),
    "refresh": lambda queue, lease: queue.refresh(lease),
    "superseded": lambda queue, lease: queue.superseded(lease),
    "deadline": lambda queue, lease: queue.deadline(lease),
    "ack_nowait": lambda queue, lease: nowait(lambda: queue.ack_nowait(lease)),
    "release_nowait": lambda queue, lease: nowait(lambda: queue.release_nowait(lease)),
    "extend_nowait": lambda queue, lease: nowait(lambda: queue.extend_nowait(lease)),
    "superseded_nowait": lambda queue, lease: nowait(lambda: queue.superseded_nowait(lease)),
    "deadline_nowait": lambda queue, lease: nowait(lambda: queue.deadline_nowait(lease)),
}
on_leases = pytest.mark.parametrize("use", ON_LEASES.values(), ids=ON_LEASES)


def check(queue: LeasedKeyQueue[Any, Any]) -> None:
    """Assert the invariants of the machine."""
    queue._machine.check_invariants()


def snapshot(queue: LeasedKeyQueue[Any, Any]) -> Any:
    """The whole state, in the words of the specification; nothing is reaped for it."""
    check(queue)
    return queue._machine.snapshot(float("-inf"))


def line(queue: LeasedKeyQueue[Any, Any]) -> list[Any]:
    """The keys in the line, front to back. (A closed queue gives nothing out.)"""
    seen = snapshot(queue)
    return [copy.key for copy in (*seen.returned, *seen.arrived)]


async def lease(queue: LeasedKeyQueue[K, V], **options: float | None) -> Lease[K]:
    """Lease what is in front; there must be something."""
    return (await queue.get(0, **options))[2]


async def put_leased(
    queue: LeasedKeyQueue[str, V], key: str, value: V, **options: float | None
) -> Lease[str]:
    """Put a key that is absent, and take it."""
    await queue.put(key, value)
    return (await queue.take(key, 0, **options))[2]


async def a_queue() -> LeasedKeyQueue[str, int]:
    """One of each: available a and b, leased c, deferred d, buffered e."""
    queue = LeasedKeyQueue[str, int]()
    for key in "cde":
        await put_leased(queue, key, 1)
    await queue.put("a", 1)
    await queue.put("b", 1)
    await queue.put("d", 2, if_in_flight="defer")
    await queue.put("e", 2, if_in_flight="buffer")
    return queue


async def drain(queue: LeasedKeyQueue[K, V]) -> list[tuple[K, V]]:
    """Lease the whole line, front to back."""
    check(queue)
    items: list[tuple[K, V]] = []
    while await queue.qsize():
        key, value, _ = await queue.get(0)
        items.append((key, value))
    check(queue)
    return items


async def keys(queue: LeasedKeyQueue[K, Any]) -> list[K]:
    """Lease the whole line, front to back, and say only which keys it held."""
    return [key for key, _ in await drain(queue)]


async def blocked(call: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
    """A call that has begun, and waits."""
    task = asyncio.create_task(call)
    await ticks(2)
    assert not task.done(), task
    return task


async def outcome(task: "asyncio.Task[T]") -> T | BaseException:
    """What becomes of a task in the end: its result, or its exception."""
    (result,) = await asyncio.gather(task, return_exceptions=True)
    return result


async def outcomes(tasks: "list[asyncio.Task[T]]") -> list[T | BaseException]:
    """What becomes of each."""
    return await asyncio.gather(*tasks, return_exceptions=True)


async def state(queue: LeasedKeyQueue[K, V]) -> dict[str, object]:
    """Everything that introspection shows."""
    check(queue)
    available = await queue.available_keys()
    return {
        "available": {key: await queue.peek(key) for key in available},
        "in flight": await queue.inflight_keys(),
        "sizes": (await queue.qsize(), await queue.inflight_size()),
    }
