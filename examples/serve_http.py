"""Serve HTTP requests from a pool of workers, and lose none when a worker dies.

    python examples/serve_http.py

A request becomes an item of the queue, whose key is the answer that the handler waits for. Workers
lease items. One that dies in the middle of the work takes nothing with it: the lease runs out, and
the request goes to another, ahead of all that came later. What no worker survives is given up, and
requests wait when the queue is full. A server that is to end, by Ctrl-C or otherwise, first answers
what it has accepted.
"""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import aiohttp
from aiohttp import web

from leasedkeyq import LeasedKeyQueue, LeaseExpiredError, QueueClosedError

LEASE = 0.2  # seconds; the longest that a request waits for a dead worker
ATTEMPTS = 10
MAXSIZE = 50  # requests that are accepted and not answered
PATIENCE = 3.0  # seconds, for a request to be accepted and, in the end, to be answered
WORKERS = 4
CLIENTS = 100

Answer = asyncio.Future[web.Response]


class WorkerDiedError(Exception):
    """Whatever ends a worker without warning."""


class Server:
    """Puts each request into the queue and answers when a worker has done it."""

    def __init__(self, respond: Callable[[str], Awaitable[str]]) -> None:
        self.respond = respond
        self.queue = LeasedKeyQueue[Answer, str](default_lease_timeout=LEASE, maxsize=MAXSIZE)
        self.deaths = 0

    async def handle(self, request: web.Request) -> web.Response:
        answer: Answer = asyncio.get_running_loop().create_future()
        try:
            await self.queue.put(answer, await request.text(), timeout=PATIENCE)
        except (QueueClosedError, TimeoutError):
            return web.Response(status=503)
        return await answer

    async def work(self) -> None:
        async for answer, text, lease in self.queue:
            if lease.attempt > ATTEMPTS:
                response = web.Response(status=500)
            else:
                response = web.Response(text=await self.respond(text))
            with suppress(LeaseExpiredError, QueueClosedError):  # too late: it is not ours any more
                self.queue.ack_nowait(lease)
                if not answer.done():  # the client may have gone
                    answer.set_result(response)

    async def one_after_another(self) -> None:
        """Keep one worker at work until the queue is closed."""
        while True:
            with suppress(WorkerDiedError):
                return await self.work()
            self.deaths += 1

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[str]:
        """The address, while it is served."""
        app = web.Application()
        app.router.add_post("/", self.handle)
        runner = web.AppRunner(app, shutdown_timeout=PATIENCE)
        async with asyncio.TaskGroup() as group:
            workers = [group.create_task(self.one_after_another()) for _ in range(WORKERS)]
            try:
                await runner.setup()
                await web.TCPSite(runner, "127.0.0.1", 0).start()
                yield "http://{}:{}/".format(*runner.addresses[0])
            finally:
                await self.end()
                for worker in workers:
                    worker.cancel()
                await runner.cleanup()

    async def end(self) -> None:
        """Accept no more, and answer what was accepted; what takes too long is told so."""
        await self.queue.drain(PATIENCE)
        for answer in await self.queue.available_keys():
            if not answer.done():
                answer.set_result(web.Response(status=503))


async def respond(text: str) -> str:
    if random.random() < 0.1:
        raise WorkerDiedError  # with the lease in its hands
    return text.upper()


async def main() -> None:
    async def ask(text: str) -> str | None:
        """None if the server refuses, as it may when it has too much to do, or ends: an error would
        take the place of the cancellation by which Ctrl-C ends all this."""
        async with session.post(url, data=text) as response:
            return await response.text() if response.ok else None

    server = Server(respond)
    async with server.serve() as url, aiohttp.ClientSession() as session:
        answers = await asyncio.gather(*(ask(f"job {n}") for n in range(CLIENTS)))
    asked = Counter(f"JOB {n}" for n in range(CLIENTS))
    answered = Counter(answer for answer in answers if answer is not None)
    print(f"{CLIENTS} requests, {answered.total()} answered, {server.deaths} workers died")
    if answered == asked:
        print("every request answered once")
    else:
        print("the others refused" if answered < asked else "answers are wrong")


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(main())
