"""What the server did in its own order is what the reference model does."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections import Counter
from random import Random

import pytest

from tests.engine import record
from tests.engine import server as servers
from tests.engine.conftest import Start
from tests.engine.record import RECORD, DiffersError
from tests.engine.server import PATIENCE, Server
from tests.engine.sessions import Crowd
from tools.on import ROOT


def recorded(start: Start, *change: str) -> Server:
    server = start(servers.plain())
    record.load(server, *change)
    return server


def replayed(server: Server) -> Counter[str]:
    """How often there was what, in a record that the model agrees with."""
    kinds: Counter[str] = Counter()
    for one in record.replay(record.read(server)).values():
        kinds += one.kinds
    return kinds


def crowds(server: Server, number: int, steps: int) -> None:
    for seed in range(number):
        Crowd(server, f"crowd {seed}", seed).run(steps)


def test_sessions_that_do_anything_in_a_random_order(start: Start) -> None:
    server = recorded(start)
    crowds(server, 8, 400)
    kinds = replayed(server)
    assert kinds.total() > 3_000
    for word in ("get ok", "get wait", "put flying", "resume ok", "give_up timeout", "bye ok"):
        assert kinds[word], word


# -- processes -----------------------------------------------------------------------------------


class Processes:
    """Processes in chaos, some of which are killed, or stopped for a while."""

    def __init__(self, server: Server, name: str, number: int, seed: int, maxsize: int) -> None:
        self.server = server
        self.name = name
        self.maxsize = maxsize
        self.random = Random(seed)
        self.ended = 0
        self.running = [self.start() for _ in range(number)]

    def start(self) -> subprocess.Popen[bytes]:
        module = [sys.executable, "-m", "tests.engine.chaos"]
        arguments = [self.server.url, self.name, f"{self.random.random() * 1e9:.0f}", self.maxsize]
        command = [*module, *map(str, arguments)]
        return subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE)

    def run(self, requests: int) -> None:
        """Until the record has so many; with a fault now and then, and a look at all there is."""
        end = time.monotonic() + PATIENCE + requests / 100
        done = 0
        while done < requests:
            time.sleep(0.1)
            assert time.monotonic() < end, f"only {done} requests in all that time"
            assert not any(one.poll() for one in self.running), "a process has failed"
            self.look()
            if self.random.random() < 0.1:
                self.fault(self.random.randrange(len(self.running)))
            done = self.server.ask("LLEN", RECORD)

    def look(self) -> None:
        base = f"lkq:{{{self.name}}}"
        self.server.ask("FCALL", "leasedkeyq2", 1, base, "looking", 0, 0, "snapshot")

    def fault(self, which: int) -> None:
        one = self.running[which]
        self.ended += 1
        if self.random.random() < 0.5:
            one.send_signal(signal.SIGSTOP)
            time.sleep(self.random.choice([0.1, 0.5, 1.5]))
            self.look()
            one.send_signal(signal.SIGCONT)
        else:
            one.kill()
            assert one.stdin is not None
            one.stdin.close()
            one.wait()
            self.running[which] = self.start()

    def end(self) -> None:
        for one in self.running:
            assert one.stdin is not None
            one.stdin.close()
        codes = [one.wait(PATIENCE) for one in self.running]
        self.look()
        assert codes == [0] * len(codes)


def run_processes(server: Server, requests: int, seed: int, maxsize: int) -> Counter[str]:
    processes = Processes(server, f"chaos {seed}", 3, seed, maxsize)
    try:
        processes.run(requests)
        processes.end()
    finally:
        for one in processes.running:
            one.kill()
            one.wait()
    return replayed(server)


def test_processes_that_do_anything_at_once(start: Start) -> None:
    kinds = run_processes(recorded(start), 4_000, 1, 0)
    assert kinds.total() >= 4_000
    for word in ("get ok", "get wait", "resume ok", "cancel ok", "snapshot ok", "ack ok"):
        assert kinds[word], word


@pytest.mark.deep
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("seed", "maxsize"), [(2, 0), (3, 3)])
def test_a_hundred_thousand_requests_of_processes_that_die(
    start: Start, seed: int, maxsize: int
) -> None:
    assert run_processes(recorded(start), 100_000, seed, maxsize).total() >= 100_000


# -- can it fail? --------------------------------------------------------------------------------

BROKEN = {
    "who came last is served first": (
        "local function first(list)\n    return call('ZRANGE', names[list], 0, 0)[1]",
        "local function first(list)\n    return call('ZREVRANGE', names[list], 0, 0)[1]",
    ),
    "what expired goes to the front": (
        "GiveBack(flight_of(which), 'end', 0)",
        "GiveBack(flight_of(which), 'head', 0)",
    ),
    "a reservation counts as a delivery": (
        "f.call, f.seen, f.attempts = '', f.version, f.attempts + 1",
        "f.call, f.seen, f.attempts = '', f.version, f.attempts + (f.call == '' and 1 or 2)",
    ),
    "a lease has its old duration after all": (
        "start_clock(f, duration == 'same' and f.duration or number(duration))",
        "start_clock(f, f.duration)",
    ),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_machine_that_is_broken_differs(start: Start, what: str) -> None:
    server = recorded(start, *BROKEN[what])
    for seed in range(20):  # what falls due meanwhile is for the clock of the server to say
        Crowd(server, f"crowd {seed}", seed).run(300)
        try:
            replayed(server)
        except DiffersError:
            return
    pytest.fail("the model agrees with it")
