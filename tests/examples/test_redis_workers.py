"""The short example, in terminals of its own."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from examples import redis_workers
from tools.server import Server, wait_until

PROGRAM = Path(redis_workers.__file__)
PICTURES = [f"{number}.png" for number in range(20)]


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(appendonly="yes", appendfsync="everysec") as server:
        yield server


def run(server: Server, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(PROGRAM), server.url, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_every_picture_is_made_and_the_workers_go_home(server: Server) -> None:
    command = [sys.executable, str(PROGRAM), server.url, "work"]
    workers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    sessions = "lkq:{thumbnails}:*"
    wait_until(lambda: len(server.ask("PUBSUB", "CHANNELS", sessions)) == 3, "three workers")
    workers[0].send_signal(signal.SIGKILL)
    workers[0].communicate()
    assert run(server, "put", *PICTURES).returncode == 0
    assert run(server, "end").returncode == 0
    made = [line for one in workers[1:] for line in one.communicate(timeout=60)[0].splitlines()]
    assert [one.returncode for one in workers[1:]] == [0, 0]
    assert sorted(made) == sorted(f"{name}: 128 pixels, attempt 1" for name in PICTURES)


def test_an_unknown_command_says_how_it_is_used(server: Server) -> None:
    done = run(server, "make")
    assert done.returncode == 1
    assert "redis_workers.py redis://localhost:6379 put cat.png" in done.stderr
