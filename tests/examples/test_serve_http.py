"""Requests are answered once each, whichever workers die, and the end is an orderly one."""

import asyncio
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import cast

import aiohttp
import pytest
from aiohttp import web

from examples import serve_http
from tests import virtual

# Runs the program with workers that take for ever.
SLOW = f"""
import sys
sys.path.insert(0, {str(Path(serve_http.__file__).parents[1])!r})
import asyncio
from examples import serve_http
async def respond(text):
    print("at work", flush=True)
    await asyncio.sleep(1000)
serve_http.respond = respond
serve_http.LEASE, serve_http.MAXSIZE, serve_http.PATIENCE = 1000, int(sys.argv[1]), 0
asyncio.run(serve_http.main())
"""


class Request:
    def __init__(self, text: str) -> None:
        self.body = text

    async def text(self) -> str:
        return self.body


async def ask(server: serve_http.Server, text: str) -> int:
    """The status of the response, whose text is right."""
    response = await server.handle(cast(web.Request, Request(text)))
    assert response.text == (text.upper() if response.status == 200 else None)
    return response.status


@pytest.mark.parametrize("stops", [False, True])
@pytest.mark.parametrize("maxsize", [0, 3])
def test_every_request_is_answered_whatever_the_schedule(
    stops: bool, maxsize: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Clients ask and leave, workers die and are late, all at random, and the server ends."""
    monkeypatch.setattr(serve_http, "MAXSIZE", maxsize)
    monkeypatch.setattr(serve_http, "PATIENCE", 3 if stops else 1000)

    async def schedule(seed: int) -> bool:
        rng = random.Random(seed)
        slow = rng.choice([0, 0.2])
        stuck = 1000 * (stops and rng.random() < 0.3)
        now = asyncio.get_running_loop().time

        async def respond(text: str) -> str:
            await asyncio.sleep(rng.choice([0, 0.05, 2 * serve_http.LEASE * (rng.random() < slow)]))
            if text == "job 0":
                await asyncio.sleep(stuck)
            if rng.random() < 0.2:
                raise serve_http.WorkerDiedError
            return text.upper()

        server = serve_http.Server(respond)

        async def client(number: int) -> tuple[float, int]:
            await asyncio.sleep(rng.uniform(0, 0.5))
            asked = now()
            asking = asyncio.create_task(ask(server, f"job {number}"))
            if rng.random() < 0.1:
                await asyncio.sleep(rng.choice([0, 0.01, 0.2]))
                asking.cancel()
            await asyncio.wait([asking])
            return asked, 0 if asking.cancelled() else asking.result()

        clients = [asyncio.create_task(client(number)) for number in range(40)]
        workers = [asyncio.create_task(server.one_after_another()) for _ in range(4)]
        if stops:
            await asyncio.sleep(rng.uniform(0, 0.6))
        else:
            await asyncio.wait(clients)
        stopped = now()
        await server.end()
        in_time = now() < stopped + serve_http.PATIENCE
        answers = await asyncio.gather(*clients)
        await asyncio.gather(*workers)
        if stops:
            assert {status for _, status in answers} <= {0, 200, 503}
            accepted = {status for asked, status in answers if asked < stopped and maxsize == 0}
            assert not in_time or accepted <= {0, 200}
            assert {status for asked, status in answers if asked > stopped} <= {0, 503}
        else:
            assert in_time
            assert {status for _, status in answers} <= {0, 200}
        return in_time

    assert {virtual.run(schedule(seed)) for seed in range(50)} == {True, not stops}


def test_what_kills_every_worker_is_given_up() -> None:
    async def respond(text: str) -> str:
        if text == "poison":
            raise serve_http.WorkerDiedError
        return text.upper()

    async def main() -> None:
        server = serve_http.Server(respond)
        worker = asyncio.create_task(server.one_after_another())
        asked = [ask(server, text) for text in ("before", "poison", "after")]
        assert await asyncio.gather(*asked) == [200, 500, 200]
        assert server.deaths == serve_http.ATTEMPTS
        await server.end()
        await worker

    virtual.run(main())


def test_a_full_server_says_so() -> None:
    async def main() -> None:
        server = serve_http.Server(lambda _: asyncio.get_running_loop().create_future())
        asked = [asyncio.create_task(ask(server, "job")) for _ in range(serve_http.MAXSIZE + 1)]
        (refused,), _ = await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
        assert refused is asked[-1]
        assert refused.result() == 503
        assert asyncio.get_running_loop().time() == serve_http.PATIENCE
        await server.end()
        assert await asyncio.gather(*asked) == [503] * len(asked)

    virtual.run(main())


async def test_a_server_that_ends_answers_what_it_has_accepted() -> None:
    """Over loopback: what is in work is answered, and what comes then is told to go elsewhere."""
    at_work, end = asyncio.Semaphore(0), asyncio.Event()

    async def respond(text: str) -> str:
        at_work.release()
        await end.wait()
        return text.upper()

    server = serve_http.Server(respond)
    addresses = asyncio.Queue[str]()

    async def serve() -> None:
        async with server.serve() as url:
            addresses.put_nowait(url)
            await asyncio.get_running_loop().create_future()

    async def post(text: str) -> tuple[int, str]:
        async with session.post(url, data=text) as response:
            return response.status, await response.text()

    serving = asyncio.create_task(serve())
    url = await addresses.get()
    async with aiohttp.ClientSession() as session:
        asked = [asyncio.create_task(post(f"job {n}")) for n in range(serve_http.WORKERS)]
        for _ in asked:
            await at_work.acquire()
        serving.cancel()
        assert await post("too late") == (503, "")
        end.set()
        assert await asyncio.gather(*asked) == [(200, f"JOB {n}") for n in range(len(asked))]
        await asyncio.wait([serving])
    assert serving.cancelled()


async def test_the_program_answers_every_request(capsys: pytest.CaptureFixture[str]) -> None:
    await serve_http.main()
    output = capsys.readouterr().out
    assert "100 requests, 100 answered" in output
    assert output.endswith("every request answered once\n")


async def test_the_program_says_what_was_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def respond(text: str) -> str:
        await refused.wait()
        return text.upper()

    refused = asyncio.Event()
    handle = serve_http.Server.handle

    async def count(self: serve_http.Server, request: web.Request) -> web.Response:
        response = await handle(self, request)
        if response.status == 503:
            refused.set()
        return response

    monkeypatch.setattr(serve_http.Server, "handle", count)
    monkeypatch.setattr(serve_http, "respond", respond)
    monkeypatch.setattr(serve_http, "MAXSIZE", 1)
    monkeypatch.setattr(serve_http, "PATIENCE", 0)
    await serve_http.main()
    assert capsys.readouterr().out.endswith("\nthe others refused\n")


async def test_a_worker_that_hangs_does_not_keep_the_server(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(serve_http, "PATIENCE", 0)
    at_work = asyncio.Event()

    async def respond(_: str) -> str:
        at_work.set()
        await asyncio.get_running_loop().create_future()
        raise AssertionError("nobody ends this work")

    server = serve_http.Server(respond)
    async with server.serve():
        asked = asyncio.create_task(ask(server, "job"))
        await at_work.wait()
    assert await asked == 503


@pytest.mark.parametrize("maxsize", [0, 1])  # with 1, requests are refused before and after it
def test_ctrl_c_ends_it_though_the_workers_do_not(maxsize: int) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", SLOW, str(maxsize)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == "at work\n"
        program.send_signal(signal.SIGINT)
        _, errors = program.communicate(timeout=20)
    assert errors.splitlines()[-1] == "KeyboardInterrupt"
    assert "ExceptionGroup" not in errors
