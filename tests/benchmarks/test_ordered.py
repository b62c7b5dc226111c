"""The rival means the same by the same calls, or comparing their speed would mean nothing."""

import asyncio
import random
from typing import Any

import pytest

from benchmarks.ordered import OrderedQueue
from tests import virtual
from tests.subject import LeasedKeyQError, LeasedKeyQueue

STEPS = 80
SEEDS = range(300)


async def play(seed: int, queue: Any) -> list[str]:
    """A random schedule; what a user could see of it, in the order of events."""
    rng = random.Random(seed)
    seen: list[str] = []
    leases: list[tuple[str, Any]] = []  # by a name that does not depend on the queue
    calls: list[tuple[str, asyncio.Task[Any]]] = []

    async def attempt(name: str, coroutine: Any) -> None:
        try:
            result = await coroutine
        except (LeasedKeyQError, TimeoutError) as error:
            seen.append(f"{name}: {type(error).__name__}")
        except asyncio.CancelledError:
            seen.append(f"{name}: cancelled")
            raise
        else:
            if isinstance(result, tuple):
                leases.append((f"lease of {name}", result[2]))
                result = result[:2]
            elif isinstance(result, set):
                result = sorted(result)
            seen.append(f"{name}: {result}")

    for step in range(STEPS):
        key = rng.choice("abc")
        kind = rng.choice(["put", "put", "put", "call", "call", "end", "end", "sleep", "look"])
        if kind == "put":
            policy = rng.choice(["update", "reject", "buffer", "defer"])
            await attempt(f"{step} put {policy}", queue.put(key, step, if_in_flight=policy))
        elif kind == "call":
            # No two waits end at once: asyncio does not say whose timer comes first.
            timeout = rng.choice([0, 0, 100 + step / 32, 250 + step / 32, None])
            lease_timeout = rng.choice([None, 100, 200, 200, 300])
            if rng.random() < 0.5:
                call = queue.get(timeout, lease_timeout=lease_timeout)
            else:
                call = queue.take(key, timeout, lease_timeout=lease_timeout)
            calls.append((f"{step}", asyncio.create_task(attempt(f"{step} call", call))))
            await asyncio.sleep(0)
        elif kind == "end" and leases:
            name, lease = rng.choice(leases[-6:])
            operation, coroutine = rng.choice(
                [
                    ("ack", queue.ack),
                    ("release", queue.release),
                    ("to front", lambda lease: queue.release(lease, requeue_front=True)),
                    ("extend", queue.extend),
                    ("extend 150", lambda lease: queue.extend(lease, 150)),
                ]
            )
            await attempt(f"{step} {operation} {name}", coroutine(lease))
        elif kind == "sleep":
            if calls and rng.random() < 0.3:
                rng.choice(calls)[1].cancel()
            # In between the deadlines, so that the two are never due at once.
            await asyncio.sleep(rng.choice([0, 50, 100]) + step / 64)
        elif kind == "look":
            for look in (queue.available_keys, queue.inflight_keys, queue.qsize):
                await attempt(f"{step} {look.__name__}", look())
            await attempt(f"{step} peek", queue.peek(key))
    for _, task in calls:
        task.cancel()
    await asyncio.gather(*(task for _, task in calls), return_exceptions=True)
    while await queue.qsize():
        await attempt("drain", queue.get(0))
    await queue.close()
    await attempt("left", queue.available_keys())
    return seen


@pytest.mark.parametrize("first", range(0, len(SEEDS), 50))
def test_the_rival_answers_as_the_queue_does(first: int) -> None:
    for seed in SEEDS[first : first + 50]:
        ours = virtual.run(play(seed, LeasedKeyQueue(default_lease_timeout=400)))
        rivals = virtual.run(play(seed, OrderedQueue(default_lease_timeout=400)))
        assert rivals == ours, f"seed {seed}"
