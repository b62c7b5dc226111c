"""Work that takes far longer than its lease, kept alive by a heartbeat.

    python examples/heartbeat.py

The leases are short, so that the item of a dead worker is back soon. A worker that is alive says
so: it extends its lease while it works. If it is too late, the lease is lost, and the work is
stopped at once, for by then somebody else may be at it.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from leasedkeyq import InvalidLeaseError, Lease, LeasedKeyQueue

LEASE = 0.3  # seconds
BEAT = LEASE / 3  # so that one late beat does no harm
WORK = 4 * LEASE

Films = LeasedKeyQueue[str, str]


@asynccontextmanager
async def heartbeat(queue: Films, lease: Lease[str], every: float) -> AsyncIterator[None]:
    """Extend a lease while the body runs; cancel the body when the lease is lost."""

    async def beat() -> None:
        while True:
            await asyncio.sleep(every)
            await queue.extend(lease)

    async with asyncio.TaskGroup() as group:
        beating = group.create_task(beat())
        yield
        beating.cancel()


async def transcode(queue: Films, name: str, beat: float = BEAT) -> None:
    film, _, lease = await queue.get()
    print(f"{name}: begins {film}")
    try:
        async with heartbeat(queue, lease, every=beat):
            await asyncio.sleep(WORK)
    except* InvalidLeaseError:
        print(f"{name}: lost {film}, stops")
    else:
        await queue.ack(lease)
        print(f"{name}: done with {film}")


async def main() -> None:
    async with Films(default_lease_timeout=LEASE) as queue:
        await queue.put("holiday", "holiday.mov")
        async with asyncio.TaskGroup() as workers:
            workers.create_task(transcode(queue, "sleepy", beat=2 * LEASE))
            workers.create_task(transcode(queue, "lively"))
        left = await queue.qsize() + await queue.inflight_size()
        print(f"{left} left to do")


if __name__ == "__main__":
    asyncio.run(main())
