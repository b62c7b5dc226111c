"""Clients in processes of their own, that do what they are told and may be killed meanwhile.

    python -m tests.engine.puppets URL NAME OPTIONS

reads calls from stdin, a line of JSON each, and prints what comes of them, in the order in which
they end. A lease stays in the process that got it, and goes by its token.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from itertools import count
from types import TracebackType
from typing import TYPE_CHECKING, Any

from tests.engine.server import PATIENCE
from tests.subject import Lease, module
from tools.on import ROOT

if TYPE_CHECKING:
    from leasedkeyq.redis import RedisLeasedKeyQueue
else:
    RedisLeasedKeyQueue = module("redis").RedisLeasedKeyQueue


class PuppetError(Exception):
    """What a call raised in another process; `name` is that of the exception's class."""

    def __init__(self, name: str, text: str) -> None:
        super().__init__(f"{name}: {text}")
        self.name = name


class Puppet:
    """The process, as seen from here."""

    def __init__(self, url: str, name: str, **options: Any) -> None:
        self.arguments = [url, name, json.dumps(options)]
        self.calls: dict[int, asyncio.Future[Any]] = {}
        self.numbers = count(1)

    async def __aenter__(self) -> Puppet:
        self.process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.engine.puppets",
            *self.arguments,
            cwd=ROOT,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        self.calls[0] = asyncio.get_running_loop().create_future()
        self.listening = asyncio.create_task(self.listen())
        await asyncio.wait_for(self.calls[0], PATIENCE)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.kill()
        await self.listening
        await self.process.wait()

    async def listen(self) -> None:
        assert self.process.stdout is not None
        while line := await self.process.stdout.readline():
            number, result, error = json.loads(line)
            call = self.calls.pop(number)
            if call.cancelled():
                continue
            if error is None:
                call.set_result(result)
            else:
                call.set_exception(PuppetError(*error))
        for call in self.calls.values():
            call.cancel()

    def begin(self, method: str, *arguments: Any, **named: Any) -> asyncio.Future[Any]:
        """Call a method of the queue there; what comes of it, some time."""
        assert self.process.stdin is not None
        number = next(self.numbers)
        self.calls[number] = asyncio.get_running_loop().create_future()
        line = json.dumps([number, method, arguments, named])
        self.process.stdin.write(line.encode() + b"\n")
        return self.calls[number]

    async def do(self, method: str, *arguments: Any, **named: Any) -> Any:
        return await asyncio.wait_for(self.begin(method, *arguments, **named), PATIENCE)

    def signal(self, number: signal.Signals) -> None:
        if self.process.returncode is None:
            self.process.send_signal(number)

    def kill(self) -> None:
        self.signal(signal.SIGKILL)

    def stop(self) -> None:
        """It hangs: its connections stay, and it reads nothing."""
        self.signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self.signal(signal.SIGCONT)


# -- in the other process ------------------------------------------------------------------------


class Strings:
    """What pulls the strings: calls in, results out."""

    def __init__(self, queue: RedisLeasedKeyQueue[str, Any]) -> None:
        self.queue = queue
        self.leases: dict[str, Lease[str]] = {}
        self.tasks: set[asyncio.Task[None]] = set()

    def say(self, number: int, result: object = None, error: object = None) -> None:
        print(json.dumps([number, result, error]), flush=True)

    async def run(self) -> None:
        reader = asyncio.StreamReader()
        protocol = asyncio.StreamReaderProtocol(reader)
        await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, sys.stdin)
        self.say(0)
        while line := await reader.readline():
            task = asyncio.create_task(self.carry_out(*json.loads(line)))
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)

    async def carry_out(
        self, number: int, method: str, arguments: list[Any], named: dict[str, Any]
    ) -> None:
        arguments = [
            self.leases.get(one, one) if isinstance(one, str) else one for one in arguments
        ]
        try:
            result = await getattr(self.queue, method)(*arguments, **named)
        except Exception as error:  # noqa: BLE001 (for those who asked)
            self.say(number, error=[type(error).__name__, str(error)])
            return
        if method in ("get", "take"):
            key, value, lease = result
            self.leases[lease.token] = lease
            result = [key, value, lease.token, lease.attempt]
        self.say(number, result)


async def main(url: str, name: str, options: str) -> None:
    async with RedisLeasedKeyQueue[str, Any](url, name, **json.loads(options)) as queue:
        await Strings(queue).run()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
