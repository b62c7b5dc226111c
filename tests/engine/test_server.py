"""The servers of these tests: of the kind that is asked for, and gone with whoever started them."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import redis

from tests.engine import server as servers
from tests.engine.conftest import Start
from tests.engine.server import Cluster, NoServerError, Server, wait_until
from tools.on import ROOT
from tools.server import program

HOLDER = """
import sys
from tests.engine import server
running = server.plain().start()
print(running.pid, running.folder, flush=True)
sys.stdin.read()
"""


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_server_ends_with_the_process_that_started_it() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout is not None
        pid, folder = holder.stdout.readline().split()
        assert alive(int(pid))
        holder.send_signal(signal.SIGKILL)
        wait_until(lambda: not alive(int(pid)), "the end of the server")
    assert not Path(folder).exists()


def test_without_a_server_the_tests_fail_and_say_what_is_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tools.server.find_spec", lambda _: None)
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("LEASEDKEYQ_SERVER", raising=False)
    with pytest.raises(NoServerError, match="no Redis or Valkey server here: install valkey-em"):
        servers.plain()
    monkeypatch.setenv("LEASEDKEYQ_SERVER", "/elsewhere/redis-server")
    assert program() == "/elsewhere/redis-server"


def test_a_server_that_does_not_start_says_why() -> None:
    with pytest.raises(NoServerError, match="no-such-option"), Server(no_such_option=1):
        pass


def test_a_server_on_the_path_will_do(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Path(program()).parent
    monkeypatch.setattr("tools.server.find_spec", lambda _: None)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    assert program() == str(folder / "valkey-server")


def test_what_is_written_is_there_after_a_kill(start: Start) -> None:
    server = start(servers.append_only("always"))
    server.ask("SET", "key", "value")
    server.restart()
    assert server.ask("GET", "key") == b"value"


def test_what_is_not_written_is_gone_after_a_kill(start: Start) -> None:
    server = start(servers.plain())
    server.ask("SET", "key", "value")
    server.restart()
    assert server.ask("GET", "key") is None


def test_a_stopped_server_answers_when_it_goes_on(start: Start) -> None:
    server = start(servers.plain())
    with server.stopped(), socket.socket(socket.AF_UNIX) as client:
        client.connect(str(server.socket))
        client.sendall(b"PING\r\n")
        client.settimeout(0.1)
        with pytest.raises(TimeoutError):
            client.recv(100)
        server.signal(signal.SIGCONT)
        client.settimeout(servers.PATIENCE)
        assert client.recv(100) == b"+PONG\r\n"


def test_a_small_server_is_full_soon(start: Start) -> None:
    server = start(servers.small())

    def fill() -> None:
        for number in range(100):
            server.ask("SET", number, "x" * 100_000)

    with pytest.raises(redis.OutOfMemoryError):
        fill()


def test_a_replica_has_what_the_server_has_until_it_is_promoted() -> None:
    with servers.with_replica() as (primary, replica):
        primary.ask("SET", "key", "value")
        wait_until(lambda: replica.ask("GET", "key") == b"value", "the value at the replica")
        with pytest.raises(redis.ReadOnlyError):
            replica.ask("SET", "key", "other")
        servers.promote(replica)
        replica.ask("SET", "key", "other")


def test_a_cluster_of_three_moves_a_slot_with_what_is_in_it(cluster: Cluster) -> None:
    slot = cluster.slot("{tag}:key")
    owner = cluster.owner(slot)
    cluster.nodes[owner].ask("SET", "{tag}:key", "value")
    other = (owner + 1) % 3
    with pytest.raises(redis.ResponseError, match=r"MOVED|\d+ 127"):
        cluster.nodes[other].ask("GET", "{tag}:key")
    cluster.move(slot, other)
    assert cluster.owner(slot) == other
    assert cluster.nodes[other].ask("GET", "{tag}:key") == b"value"
