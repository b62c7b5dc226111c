"""A queue that is elsewhere: what ends or moves a lease takes some turns of the loop.

The operation happens in the midst of it: a cancellation may strike before and after.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.subject import Lease, LeasedKeyQueue
from tests.virtual import ticks


class SlowQueue(LeasedKeyQueue[str, Any]):
    def __init__(self, before: int = 1, after: int = 1, **options: Any) -> None:
        super().__init__(**options)
        self.before = before
        self.after = after

    async def ack(self, lease: Lease[str]) -> None:
        await ticks(self.before)
        await super().ack(lease)
        await ticks(self.after)

    async def release(
        self, lease: Lease[str], *, requeue_front: bool = False, delay: float = 0
    ) -> None:
        await ticks(self.before)
        await super().release(lease, requeue_front=requeue_front, delay=delay)
        await ticks(self.after)

    async def extend(self, lease: Lease[str], timeout: float | None = None) -> None:
        await ticks(self.before)
        await super().extend(lease, timeout)
        await ticks(self.after)

    async def refresh(self, lease: Lease[str]) -> Any:
        await ticks(self.before)
        return await super().refresh(lease)


QUEUES = {"before": (1, 0), "after": (0, 1), "both": (2, 2)}
slow = pytest.mark.parametrize(
    "make", [pytest.param(lambda n=n: SlowQueue(*n), id=name) for name, n in QUEUES.items()]
)
