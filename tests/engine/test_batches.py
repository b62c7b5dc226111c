"""Many requests in one call come to what each of them comes to in a call of its own."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from random import Random
from typing import Any, TypeAlias

import pytest

from tests.engine.machine import SOURCE, Wire, on_a_test_clock
from tests.engine.server import Server
from tests.engine.test_machine import FOREVER, KEYS, PUTS, Queue, decoded

Asked: TypeAlias = tuple[int, tuple[object, ...]]  # the number of a request, and the operation


@pytest.fixture(scope="module")
def wire(server: Server) -> Iterator[Wire]:
    connected = Wire(str(server.socket), on_a_test_clock(SOURCE.read_text()), listens=False)
    yield connected
    connected.socket.close()


def sent(queue: Queue, session: str, asked: Sequence[Asked], done: int = 0) -> list[list[Any]]:
    """The replies, as if each had come in a call of its own."""
    words: list[object] = [queue.name, session, 0, done, "batch"]
    for request, (op, *args) in asked:
        words += [request, op, len(args), *args]
    (replies,) = queue.wire.ask((*queue.wire.run, "1", *map(str, [*words, queue.now])))
    assert len(replies) == len(asked)
    return [decoded(reply) if isinstance(reply, list) else [reply.decode()] for reply in replies]


def batch(queue: Queue, session: str, asked: Sequence[Asked], done: int = 0) -> list[list[Any]]:
    """The same, and a look at all that is kept then."""
    replies = sent(queue, session, asked, done)
    if ["again"] not in replies:
        (broken,) = queue.wire.ask(("EVALSHA", queue.wire.check, "1", queue.name))
        assert not broken, broken
    return replies


def numbered(queue: Queue, session: str, *calls: tuple[object, ...]) -> list[Asked]:
    """The calls with new numbers."""
    first = queue.requests.get(session, 0) + 1
    queue.requests[session] = first + len(calls) - 1
    return [*enumerate(calls, first)]


# -- at random -----------------------------------------------------------------------------------

NAMES = ("a", "b", "c")
UNIT = 150_000  # so that what a session leaves behind stays for longer than the test takes
TTL = 400 * UNIT
POLICIES = ("update", "reject", "buffer", "defer")
LOOKS = ("qsize", "inflight_size", "delayed_size", "stats", "snapshot")
PAGES = ("available_keys", "available_items", "inflight_keys", "delayed_keys", "numbers")


def ordered(call: tuple[object, ...], reply: list[Any]) -> list[Any]:
    """Without what lies with the order in which a hash has its fields."""
    if call[0] == "snapshot" and reply[0] == "ok":
        return [
            sorted(part) if isinstance(part, list) and n > 4 else part
            for n, part in enumerate(reply)
        ]
    if call[0] in ("inflight_keys", "delayed_keys", "numbers"):
        return [*reply[:2], *sorted(reply[2:])]
    return reply


class Twins:
    """Two queues to which the same happens: in one call each, and in calls of many requests."""

    def __init__(self, wire: Wire, seed: int) -> None:
        self.random = Random(seed)
        self.one, self.other = (Queue(wire, self.random.choice([0, 0, 3])) for _ in range(2))
        self.other.maxsize = self.one.maxsize
        self.request = dict.fromkeys("ABC", 1)
        self.leases: dict[str, list[tuple[str, str]]] = {name: [] for name in "ABC"}
        self.waits: dict[str, list[int]] = {name: [] for name in "ABC"}
        self.puts = 0
        for queue in (self.one, self.other):
            for session in "ABC":
                queue.open(session, ttl=TTL, claim=50 * UNIT)

    def span(self, *more: object) -> object:
        return self.random.choice([UNIT, 5 * UNIT, 30 * UNIT, *more])

    def operation(self, session: str) -> tuple[object, ...]:
        """What a session may do next, which must not depend on what it asks in the same call."""
        random, key = self.random, self.random.choice(NAMES)
        leases, waits = self.leases[session], self.waits[session]
        if leases and random.random() < 0.5:
            number, of = random.choice(leases)
            front = random.choice([(1, 0), (0, 0), (0, self.span())])
            return random.choice(
                [
                    *[("ack", number, of)] * 3,
                    ("ack", number, key),
                    ("release", number, of, *front),
                    ("extend", number, of, self.span("same", FOREVER)),
                    ("refresh", number, of),
                    ("superseded", number, of),
                    ("deadline", number, of),
                ]
            )
        if waits and random.random() < 0.5:
            waiting = random.choice(waits)
            waits.remove(waiting)
            return random.choice(
                [("cancel", waiting), (random.choice(["resume", "give_up"]), waiting, "late")]
            )
        self.puts += 1
        value = f"{self.puts}" * random.choice([1, 1, 300])
        wait = self.span(0, 0, FOREVER)
        return random.choice(
            [
                *[("put", key, value, random.choice(POLICIES), self.span(0, 0, 0), wait)] * 6,
                *[("get", wait, self.span(FOREVER))] * 4,
                *[("take", key, wait, self.span(FOREVER))] * 3,
                ("discard", key),
                ("join", wait),
                ("tick",),
                ("hello", TTL, *waits),
                ("peek", key),
                ("contains", key),
                (random.choice(LOOKS),),
                (random.choice(PAGES), 0),
            ]
        )

    def asked(self, session: str, op: str) -> int:
        if op in (*LOOKS, *PAGES, "peek", "contains", "superseded", "deadline"):
            return 0
        self.request[session] += 1
        return self.request[session]

    def step(self) -> None:
        session = self.random.choice("ABC")
        done = max(0, self.request[session] - 5)
        calls = [self.operation(session) for _ in range(self.random.randrange(1, 9))]
        asked = [(self.asked(session, str(call[0])), call) for call in calls]
        expected = [self.one.ask(session, request, done, *call) for request, call in asked]
        actual = batch(self.other, session, asked, done)
        for call, reply, other in zip(calls, expected, actual, strict=True):
            assert ordered(call, reply) == ordered(call, other), (asked, call)
        for name in "ABC":
            assert self.one.heard(name) == self.other.heard(name)
        looks = [ordered(("snapshot",), queue.look("snapshot")) for queue in (self.one, self.other)]
        assert looks[0] == looks[1], asked
        if self.random.random() < 0.2:  # it is asked again, in whatever calls
            part = asked[self.random.randrange(len(asked)) :]
            kept = [one for one in part if one[0]]
            assert batch(self.other, session, kept, done) == [
                self.one.ask(session, request, done, *call) for request, call in kept
            ]
        for (request, call), reply in zip(asked, actual, strict=True):
            self.note(session, request, call, reply)

    def note(self, session: str, request: int, call: tuple[object, ...], reply: list[Any]) -> None:
        if reply[0] == "wait":
            self.waits[session].append(
                request if call[0] in ("put", "get", "take", "join") else int(str(call[1]))
            )
        elif (
            call[0] in ("get", "take", "resume", "give_up") and reply[0] == "ok" and len(reply) == 5
        ):
            self.leases[session].append((reply[1], reply[2]))
        elif (
            call[0] in ("ack", "release")
            and (pair := (str(call[1]), str(call[2]))) in self.leases[session]
        ):
            self.leases[session].remove(pair)


@pytest.mark.parametrize("seed", range(20))
def test_a_batch_does_what_its_requests_do(wire: Wire, seed: int) -> None:
    twins = Twins(wire, seed)
    for _ in range(50):
        twins.step()
        later = twins.random.choice([0, 0, 1, 7, 40]) * UNIT
        twins.one.now += later
        twins.other.now += later
    assert twins.puts > 50


# -- one by one ----------------------------------------------------------------------------------


@pytest.fixture
def queue(wire: Wire) -> Queue:
    return Queue(wire)


def test_a_value_put_acked_and_put_again_in_one_call(queue: Queue) -> None:
    queue.open("A")
    asked = numbered(
        queue,
        "A",
        ("put", "k", "v1", "update", 0, FOREVER),
        ("get", 0, 100),
        ("ack", 1000, "k"),
        ("put", "k", "v2", "update", 0, FOREVER),
        ("discard", "k"),
        ("put", "k", "v3" * 300, "update", 0, FOREVER),
    )
    replies = [["ok"], ["ok", "1000", "k", "v1", "1"], ["ok"], ["ok"], ["ok", "1"], ["ok"]]
    assert batch(queue, "A", asked) == replies
    assert queue.look("peek", "k") == ["ok", "v3" * 300]
    assert batch(queue, "A", asked) == replies  # as before: it is not done again
    assert queue.line() == ["k"]
    assert queue.ask("A", asked[1][0], 0, "get", 0, 100) == replies[1]


def test_a_batch_that_finds_too_much_due_goes_on_later(queue: Queue) -> None:
    queue.open("A")
    queue.many("A", *PUTS)
    queue.many("A", *[("get", 0, 100) for _ in KEYS])
    queue.now += 100
    asked = numbered(queue, "A", *[("put", f"new{n}", "v", "update", 0, FOREVER) for n in range(3)])
    times = 0
    while (replies := batch(queue, "A", asked)) == [["again"]] * 3:
        times += 1
    assert replies == [["ok"]] * 3
    assert times == 4
    assert queue.line()[-3:] == ["new0", "new1", "new2"]


def test_a_batch_does_no_more_than_a_call_may(queue: Queue) -> None:
    queue.open("A")
    for _ in range(3):
        queue.many("A", *[(*put[:1], f"{_}{put[1]}", *put[2:]) for put in PUTS])
    pages = [(0, ("available_keys", 0))] * 3
    assert [reply[0] for reply in batch(queue, "A", pages)] == ["ok", "again", "again"]
    queue.do("A", "put", "large1", "v" * 600_000, "update", 0, FOREVER)
    queue.do("A", "put", "large2", "v" * 600_000, "update", 0, FOREVER)
    takes = [("take", f"large{n}", 0, 100) for n in (1, 2)] + [("take", KEYS[0], 0, 100)] * 2
    asked = numbered(queue, "A", *takes)
    assert [reply[0] for reply in batch(queue, "A", asked)] == ["ok", "ok", "again", "again"]


def test_nothing_is_done_after_a_farewell(queue: Queue) -> None:
    queue.open("A")
    queue.open("B")
    asked = numbered(
        queue,
        "B",
        ("put", "k1", "v", "update", 0, FOREVER),
        ("get", 0, FOREVER),
        ("bye",),
        ("put", "k2", "v", "update", 0, FOREVER),
    )
    assert [reply[0] for reply in batch(queue, "B", asked)] == ["ok", "ok", "ok", "gone"]
    assert queue.line() == ["k1"]
    (left,) = queue.wire.ask(("KEYS", f"{queue.name}:*:B"))
    assert left == []


def test_a_batch_of_a_session_that_has_ended_is_not_done(queue: Queue) -> None:
    queue.open("A")
    queue.open("B", ttl=TTL)
    asked = numbered(queue, "B", *[("put", f"k{n}", "v", "update", 0, FOREVER) for n in range(3)])
    assert batch(queue, "B", asked[:1]) == [["ok"]]
    queue.now += TTL
    looks = [(0, ("qsize",))]
    assert batch(queue, "B", [*asked, *looks]) == [["ok"], ["gone"], ["gone"], ["ok", "1"]]
    assert batch(queue, "B", [*asked, *looks]) == [["ok"], ["gone"], ["gone"], ["ok", "1"]]
    assert queue.line() == ["k0"]


def test_a_session_that_ends_in_the_midst_of_a_batch_does_no_more(queue: Queue) -> None:
    """What it puts is for a call of its own, and it does not hear that."""
    queue.open("A")
    queue.open("B")
    queue.do("B", "get", FOREVER, FOREVER)
    queue.deafen("B")
    asked = numbered(queue, "B", *[("put", f"k{n}", "v", "update", 0, FOREVER) for n in range(3)])
    assert batch(queue, "B", asked) == [["ok"], ["gone"], ["gone"]]
    assert queue.line() == ["k0"]
    assert batch(queue, "B", asked[:1]) == [["ok"]]


NOT_COUNTED = ("fcall", "evalsha", "del", "config")  # a script begins with a DEL of nothing


def commands(queue: Queue) -> dict[str, int]:
    """How often the server has carried out each command since the last time."""
    (said,) = queue.wire.ask(("INFO", "commandstats"))
    queue.wire.ask(("CONFIG", "RESETSTAT"))
    text = said if isinstance(said, str) else said.decode()
    found = re.findall(r"cmdstat_(\w+):calls=(\d+)", text)
    return {name: int(times) for name, times in found if name not in NOT_COUNTED}


def test_a_batch_takes_few_commands_however_many_requests_it_has(queue: Queue) -> None:
    """In the same for 30 requests as for two: meta, session, keys, copies, line, what falls due."""
    queue.open("A")
    keys = [f"k{n}" for n in range(30)]

    def took(*calls: tuple[object, ...]) -> tuple[list[Any], dict[str, int]]:
        asked = numbered(queue, "A", *calls)
        commands(queue)
        replies = sent(queue, "A", asked)
        return replies, commands(queue)

    _, puts = took(*[("put", key, "v", "update", 0, FOREVER) for key in keys])
    assert puts == {"get": 1, "hmget": 2, "hset": 2, "zadd": 1, "set": 1}
    granted, takes = took(*[("take", key, 0, 100) for key in keys])
    assert takes == {**puts, "hset": 3, "zrem": 1}
    _, acks = took(*[("ack", number, key) for _, number, key, *_ in granted])
    assert acks == {"get": 1, "hmget": 3, "hdel": 2, "hset": 1, "zrem": 1}
    took(*[("put", key, "v", "update", 0, FOREVER) for key in keys])
    granted, _ = took(*[("take", key, 0, 100) for key in keys])
    for op, *more in (("extend", "same"), ("refresh",), ("release", 0, 0)):
        _, took_by_it = took(*[(op, number, key, *more) for _, number, key, *_ in granted])
        assert (took_by_it["hmget"], took_by_it.get("hget", 0)) == (3, 0), op
    for op in ("peek", "discard"):
        _, took_by_it = took(*[(op, key) for key in keys])
        assert (took_by_it["hmget"], took_by_it.get("hget", 0)) == (2, 0), op
