"""Serve HTTP requests from a pool of workers, and lose none when a worker dies.

    python examples/serve_http.py

A request becomes an item of the queue, and the handler waits for its answer. Workers lease items.
One that dies in the middle of the work takes nothing with it: the lease runs out, and the request
goes to another, ahead of all that came later. The client notices a delay and nothing else.
"""

import asyncio
import random
from collections import Counter
from contextlib import suppress
from itertools import count

import aiohttp
from aiohttp import web

from leasedkeyq import LeasedKeyQueue

LEASE = 0.2  # seconds; the longest that a request waits for a dead worker
WORKERS = 4
CLIENTS = 100

Job = tuple[str, "asyncio.Future[str]"]
Requests = LeasedKeyQueue[int, Job]


class WorkerDiedError(Exception):
    """Whatever ends a worker without warning."""


class Pool:
    """Workers of which some die; for each that does, another takes its place."""

    def __init__(self, queue: Requests, chance_of_death: float, seed: int) -> None:
        self.queue = queue
        self.chance = chance_of_death
        self.random = random.Random(seed)
        self.deaths = 0

    async def work(self) -> None:
        while True:
            _, (text, answer), lease = await self.queue.get()
            await asyncio.sleep(0)  # where a real worker would work
            if self.random.random() < self.chance:
                raise WorkerDiedError  # with the lease in its hands
            await self.queue.ack(lease)
            if not answer.done():  # the client may have gone
                answer.set_result(text.upper())

    async def one_after_another(self) -> None:
        while True:
            with suppress(WorkerDiedError):
                await self.work()
            self.deaths += 1


class Server:
    """Puts each request into the queue and answers when a worker has done it."""

    def __init__(self, queue: Requests) -> None:
        self.queue = queue
        self.number = count(1)

    async def handle(self, request: web.Request) -> web.Response:
        answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        await self.queue.put(next(self.number), (await request.text(), answer))
        return web.Response(text=await answer)

    def application(self) -> web.Application:
        app = web.Application()
        app.router.add_post("/", self.handle)
        return app


async def ask(session: aiohttp.ClientSession, url: str, text: str) -> str:
    async with session.post(url, data=text) as response:
        response.raise_for_status()
        return await response.text()


async def serve(chance_of_death: float, seed: int) -> tuple[list[str], int]:
    """Ask a hundred things over loopback: the answers, and how many workers died."""
    async with Requests(default_lease_timeout=LEASE) as queue:
        pool = Pool(queue, chance_of_death, seed)
        workers = [asyncio.create_task(pool.one_after_another()) for _ in range(WORKERS)]
        runner = web.AppRunner(Server(queue).application())
        await runner.setup()
        try:
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            host, port = runner.addresses[0][:2]
            async with aiohttp.ClientSession() as session:
                asked = (ask(session, f"http://{host}:{port}/", f"job {n}") for n in range(CLIENTS))
                answers = await asyncio.gather(*asked)
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
            await runner.cleanup()
        assert await queue.qsize() + await queue.inflight_size() == 0
    return answers, pool.deaths


async def main() -> None:
    answers, deaths = await serve(chance_of_death=0.1, seed=random.randrange(1_000_000))
    asked = Counter(f"JOB {n}" for n in range(CLIENTS))
    print(f"{CLIENTS} requests, {len(answers)} answered, {deaths} workers died")
    print("every request answered once" if Counter(answers) == asked else "answers are wrong")


if __name__ == "__main__":
    asyncio.run(main())
