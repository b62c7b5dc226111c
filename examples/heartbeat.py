"""Work that takes far longer than its lease, kept alive by a heartbeat.

    python examples/heartbeat.py

The leases are short, so that the item of a dead worker is back soon. A worker that is alive says
so: it extends its lease while it works. If it is too late, the lease is lost, and the work is
stopped at once, for by then somebody else may be at it; and so it is when it is for nothing,
because a newer value has come.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from leasedkeyq import InvalidLeaseError, Lease, LeasedKeyQueue, QueueClosedError

LEASE = 0.3  # seconds
WORK = 4 * LEASE

Films = LeasedKeyQueue[str, str]


class SupersededError(Exception):
    """A newer value has come."""


@asynccontextmanager
async def heartbeat(queue: Films, lease: Lease[str], beat: float = 1 / 3) -> AsyncIterator[None]:
    """Extend a lease while the body runs, each time that a part of it has passed; cancel the body
    when the lease is lost or its value superseded."""

    async def extend() -> None:
        while not await queue.superseded(lease):
            left = await queue.deadline(lease) - asyncio.get_running_loop().time()
            await asyncio.sleep(beat * left)
            await queue.extend(lease)
        raise SupersededError

    async with asyncio.TaskGroup() as group:
        beating = group.create_task(extend())
        yield
        beating.cancel()


async def transcode(queue: Films, name: str, beat: float = 1 / 3) -> None:
    async for _, film, lease in queue:
        print(f"{name}: begins the {film}")
        try:
            async with heartbeat(queue, lease, beat):
                await asyncio.sleep(WORK)
                queue.ack_nowait(lease)
                print(f"{name}: done with the {film}")
        except* (InvalidLeaseError, QueueClosedError):
            print(f"{name}: lost the {film}, stops")
        except* SupersededError:
            print(f"{name}: the {film} is out of date, stops")
            with suppress(InvalidLeaseError, QueueClosedError):  # if it is lost by now
                queue.release_nowait(lease, requeue_front=True)


async def main() -> None:
    queue = Films(default_lease_timeout=LEASE, if_in_flight="defer")
    async with asyncio.TaskGroup() as workers:
        workers.create_task(transcode(queue, "sleepy", beat=2))
        workers.create_task(transcode(queue, "lively"))
        await queue.put("holiday", "first cut")
        await asyncio.sleep(2.5 * LEASE)
        await queue.put("holiday", "final cut")
        print("all done:", await queue.drain())


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(main())
