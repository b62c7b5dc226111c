"""Thumbnails, made by any number of worker processes, on a Redis or Valkey server.

    python examples/redis_workers.py redis://localhost:6379 work  # in many terminals
    python examples/redis_workers.py redis://localhost:6379 put cat.png dog.png
    python examples/redis_workers.py redis://localhost:6379 end

A worker that dies in the middle of a picture costs nothing but the time of its lease: then another
one has it. Pictures that are put again while a worker is at them are made once more after that, and
never twice at once. `end` lets the workers finish what there is, and go.
"""

import asyncio
import sys

from leasedkeyq import Job, run_workers
from leasedkeyq.redis import RedisLeasedKeyQueue

Pictures = RedisLeasedKeyQueue[str, int]


async def make_thumbnail(job: Job[str, int]) -> None:
    await asyncio.sleep(0.01)  # whatever it takes
    print(f"{job.key}: {job.value} pixels, attempt {job.attempt}")


async def main(url: str, command: str, *pictures: str) -> None:
    async with Pictures(url, "thumbnails", if_in_flight="defer") as queue:
        match command:
            case "work":
                await run_workers(queue, make_thumbnail, concurrency=4, lease_timeout=10)
            case "put":
                for picture in pictures:
                    await queue.put(picture, 128)
            case "end":
                await queue.join()
                await queue.shutdown()
            case _:
                raise SystemExit(__doc__)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
