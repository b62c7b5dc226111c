"""What only uvloop has: a clock that counts in milliseconds, and its own timers in real time."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import Any

import pytest
import uvloop

from tests import virtual_uv
from tests.subject import Job, LeasedKeyQueue, backoff, run_workers


class CountingLoop(virtual_uv.VirtualUvLoop):
    """Its clock is looked at a few times, and no more."""

    looks = 0

    def time(self) -> float:
        self.looks += 1
        assert self.looks < 50, "it rings without end"
        return super().time()


@pytest.mark.parametrize("deadline", [0.3004, 0.3006, 0.3])
def test_a_deadline_between_two_milliseconds_is_met_without_a_busy_loop(deadline: float) -> None:
    """A timer of less than half a millisecond is called in the next turn, when it is too early."""

    async def main() -> None:
        queue = LeasedKeyQueue[str, int]()
        await queue.put("a", 1)
        await queue.get(lease_timeout=deadline)
        assert (await queue.get(timeout=1))[2].attempt == 2
        assert asyncio.get_running_loop().time() == pytest.approx(deadline, abs=0.001)

    with asyncio.Runner(loop_factory=CountingLoop) as runner:
        runner.run(main())


def test_workers_in_real_time() -> None:
    """Leases are kept alive and lost, attempts fail and are given up, however slow all of it is."""
    lease, calls = 0.05, Counter[str]()

    async def main() -> None:
        queue, dead = LeasedKeyQueue[str, int](), LeasedKeyQueue[str, Any]()
        for key in ("long", "stalls", "fails", "hopeless"):
            await queue.put(key, 1)
        await queue.shutdown()

        async def handler(job: Job[str, int]) -> None:
            calls[job.key] += 1
            if job.key == "long":  # so long that its lease has been extended
                granted = queue.deadline_nowait(job.lease)
                while queue.deadline_nowait(job.lease) < granted + 2 * lease:  # noqa: ASYNC110
                    await asyncio.sleep(lease / 10)
            elif job.key == "stalls" and job.attempt == 1:
                time.sleep(2 * lease)  # noqa: ASYNC251 (the loop is blocked)
                await asyncio.sleep(60)  # does not come to its end
            elif job.key == "fails" and job.attempt < 3:
                raise ZeroDivisionError
            elif job.key == "hopeless":
                await job.dead_letter()

        await run_workers(
            queue,
            handler,
            lease_timeout=lease,
            max_attempts=10**6,  # leases may be lost again and again
            backoff=backoff(0.01),
            dead_letter=dead,
        )
        assert await dead.available_keys() == {"hopeless"}
        assert await queue.qsize() + await queue.delayed_size() + await queue.inflight_size() == 0

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
    assert calls["stalls"] >= 2
    assert calls["fails"] >= 3
