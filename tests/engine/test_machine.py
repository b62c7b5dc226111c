"""What the machine on the server does beyond the specification: sessions, requests, bounded work.

On a test clock. The calls are made as they go over the wire; time is in units.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest

from tests.engine.machine import SOURCE, Wire, on_a_test_clock, where_all_values_are_long
from tests.engine.server import Server

FOREVER = "inf"
CLAIM = 50


class Queue:
    """A queue on the server, and the sessions that are at work on it."""

    names = count(1)

    def __init__(self, wire: Wire, maxsize: int = 0) -> None:
        self.wire = wire
        self.name = f"lkq:{{raw{next(self.names)}}}"
        self.maxsize = maxsize
        self.requests: dict[str, int] = {}
        self.now = 1000

    def listen(self, session: str) -> None:
        """Its process is there."""
        self.wire.ask(("SUBSCRIBE", f"{self.name}:{session}"))

    def deafen(self, session: str) -> None:
        """Its process has gone."""
        self.wire.ask(("UNSUBSCRIBE", f"{self.name}:{session}"))

    def open(self, session: str, ttl: object = FOREVER, claim: object = CLAIM) -> list[Any]:
        self.listen(session)
        return self.do(session, "open", "2", self.maxsize, ttl, claim)

    def do(self, session: str, *call: object, request: int = 0, done: int = 0) -> list[Any]:
        """A call; its request has a new number, unless one is given."""
        if not request:
            request = self.requests[session] = self.requests.get(session, 0) + 1
        return self.ask(session, request, done, *call)

    def many(self, session: str, *calls: tuple[object, ...]) -> list[list[Any]]:
        """A lot of calls at once."""
        commands = []
        for call in calls:
            request = self.requests[session] = self.requests.get(session, 0) + 1
            arguments = map(str, (self.name, session, request, request - 1, *call, self.now))
            commands.append((*self.wire.run, "1", *arguments))
        return [decoded(reply) for reply in self.wire.ask(*commands)]

    def look(self, *call: object) -> list[Any]:
        return self.ask("0", 0, 0, *call)

    def ask(self, session: str, request: int, done: int, *call: object) -> list[Any]:
        arguments = map(str, (self.name, session, request, done, *call, self.now))
        (reply,) = self.wire.ask((*self.wire.run, "1", *arguments))
        plain = [decoded(part) for part in reply]
        if plain[0] != "again":
            (broken,) = self.wire.ask(("EVALSHA", self.wire.check, "1", self.name))
            assert not broken, broken
        return plain

    def heard(self, session: str) -> list[str]:
        """By the process of a session, since the last time."""
        channel = f"{self.name}:{session}".encode()
        mine = [message.decode() for where, message in self.wire.heard if where == channel]
        self.wire.heard[:] = [pair for pair in self.wire.heard if pair[0] != channel]
        return mine

    def line(self) -> list[str]:
        return self.look("available_keys", 0)[2:]


def decoded(part: Any) -> Any:
    if isinstance(part, list):
        return [*map(decoded, part)]
    return f"{part}" if isinstance(part, int) else part.decode()


WAYS = ["function", "long values", pytest.param("script", marks=pytest.mark.deep)]


@pytest.fixture(scope="module", params=WAYS)
def wire(server: Server, request: pytest.FixtureRequest) -> Iterator[Wire]:
    source = on_a_test_clock(SOURCE.read_text())
    if request.param == "long values":
        source = where_all_values_are_long(source)
    path, as_script = str(server.socket), request.param == "script"
    connected = Wire(path, source, as_script=as_script, listens=False)
    yield connected
    connected.socket.close()


@pytest.fixture
def queue(wire: Wire) -> Queue:
    return Queue(wire)


def put(queue: Queue, session: str, *keys: str, policy: str = "update") -> None:
    for key in keys:
        assert queue.do(session, "put", key, f"value of {key}", policy, 0, FOREVER) == ["ok"]


# -- requests


def test_a_request_is_carried_out_once(queue: Queue) -> None:
    queue.open("A")
    put(queue, "A", "k1", "k2")
    first = queue.do("A", "get", 0, 100)
    again = queue.ask("A", queue.requests["A"], 0, "get", 0, 100)
    assert first == again
    assert first[2:] == ["k1", "value of k1", "1"]
    assert queue.line() == ["k2"]


def test_what_has_arrived_is_forgotten(queue: Queue) -> None:
    queue.open("A")
    for _ in range(40):
        put(queue, "A", "k")
    session = f"{queue.name}:session:A"
    (size,) = queue.wire.ask(("HLEN", session))
    assert size > 40
    queue.do("A", "put", "k", "last", "update", 0, FOREVER, done=41)
    (size,) = queue.wire.ask(("HLEN", session))
    assert size < 10
    assert queue.ask("A", 5, 0, "put", "k", "old", "update", 0, FOREVER) == ["gone"]
    assert queue.look("peek", "k") == ["ok", "last"]
    kept = queue.wire.ask(*[("HEXISTS", session, str(number)) for number in range(1, 42)])
    assert not any(kept)


def test_nobody_is_served_without_a_session(queue: Queue) -> None:
    assert queue.look("qsize") == ["gone"]
    assert queue.do("A", "put", "k", "v", "update", 0, FOREVER) == ["gone"]
    queue.open("B")
    assert queue.do("A", "put", "k", "v", "update", 0, FOREVER) == ["gone"]
    assert queue.do("A", "hello", FOREVER) == ["gone"]
    assert queue.look("qsize") == ["ok", "0"]


def test_a_queue_is_opened_as_it_was_made(queue: Queue) -> None:
    word, identity, now = queue.open("A")
    assert (word, now) == ("ok", "1000")
    assert len(identity) == 40
    assert queue.open("B")[1] == identity
    assert queue.do("C", "open", "3", 0, FOREVER, FOREVER) == ["refused", "schema", "2"]
    assert queue.do("C", "open", "2", 7, FOREVER, FOREVER) == ["refused", "maxsize", "0"]
    assert queue.do("C", "put", "k", "v", "update", 0, FOREVER) == ["gone"]
    assert queue.wire.ask(("EXISTS", f"{queue.name}:session:C")) == [0]


def test_what_another_version_keeps_is_not_touched(queue: Queue) -> None:
    """It may be kept in any way, but that the first thing says which."""
    queue.open("A")
    meta = f"{queue.name}:meta"
    made = "redis.call('SET', KEYS[1], cmsgpack.pack('3', false, {1, 2}, 'more'))"
    queue.wire.ask(("EVAL", made, "1", meta))
    before = queue.wire.ask(("GET", meta), ("DBSIZE",))
    queue.wire.check, check = queue.wire.ask(("SCRIPT", "LOAD", "return ''"))[0], queue.wire.check
    try:
        assert queue.look("stats") == ["refused", "schema", "3"]
        assert queue.open("B") == ["refused", "schema", "3"]
        assert queue.do("A", "put", "k", "v", "update", 0, FOREVER) == ["refused", "schema", "3"]
    finally:
        queue.wire.check = check
    assert queue.wire.ask(("GET", meta), ("DBSIZE",)) == before


# -- looking


def stats(queue: Queue, *asked: object) -> dict[str, Any]:
    flat = queue.look("stats", *asked)
    return dict(zip(flat[1::2], flat[2::2], strict=True))


def ages(queue: Queue) -> tuple[str, str]:
    """Of the item that has been available for longest, and of the oldest lease."""
    seen = stats(queue, 1)
    return seen["oldest_available_age"], seen["leases"][0][3] if seen["leases"] else ""


def test_items_are_as_old_as_their_stay_in_the_line(queue: Queue) -> None:
    queue.open("A")
    assert ages(queue) == ("", "")
    queue.now = 2000
    put(queue, "A", "k1")
    queue.now = 2010
    put(queue, "A", "k2", "k1")  # to be updated makes it no younger
    assert ages(queue) == ("10", "")
    queue.do("A", "get", 0, 50)
    queue.now = 2030
    assert ages(queue) == ("20", "20")
    queue.now = 2100  # the lease ran out at 2060, whenever it is that somebody looks
    assert queue.line() == ["k1", "k2"]
    queue.do("A", "take", "k2", 0, FOREVER)
    assert ages(queue) == ("40", "0")
    queue.now = 2200
    queue.do("A", "get", 0, 50)
    assert ages(queue) == ("", "100")
    queue.now = 2300
    put(queue, "A", "k3")  # comes after the lease has run out, though both are done in one call
    queue.do("A", "discard", "k1")
    queue.now = 2310
    assert ages(queue) == ("10", "210")


def test_what_came_back_to_the_front_is_as_old_as_its_stay(queue: Queue) -> None:
    queue.open("A")
    put(queue, "A", "k1", "k2", "k3")
    held = [queue.do("A", "get", 0, FOREVER)[1] for _ in range(3)]
    for number, key in (("0", "k1"), ("1", "k2")):
        queue.now += 100
        queue.do("A", "release", held[int(number)], key, 1, 0)
    assert queue.line() == ["k2", "k1"]
    assert ages(queue)[0] == "100"
    queue.do("A", "discard", "k1")
    assert ages(queue)[0] == "0"
    queue.now += 7
    queue.do("A", "release", held[2], "k3", 0, 5)
    queue.now += 100
    assert queue.line() == ["k2", "k3"]  # which ripened at the time that was asked for
    queue.do("A", "discard", "k2")
    assert ages(queue)[0] == "95"


def test_a_clock_that_is_set_back_makes_nothing_older_than_the_queue(queue: Queue) -> None:
    queue.open("A")
    queue.now = 5000
    put(queue, "A", "k1", "k2")
    queue.do("A", "get", 0, FOREVER)
    queue.now = 1000
    assert ages(queue) == ("0", "0")
    put(queue, "A", "k3")
    assert queue.line() == ["k2", "k3"]


def test_how_much_of_a_lease_is_left_and_how_often_it_was_tried(queue: Queue) -> None:
    queue.open("A")
    queue.open("B")
    put(queue, "A", "k1", "k2")
    for _ in range(2):
        number = queue.do("A", "get", 0, 50)[1]
        queue.do("A", "release", number, "k1", 1, 0)
    numbers = [queue.do("A", "get", 0, duration)[1] for duration in (50, FOREVER)]
    queue.now += 20
    queue.do("B", "get", FOREVER, 50)
    put(queue, "A", "k3")
    rows = stats(queue, 9)["leases"]
    assert [row[:3] + row[4:] for row in rows[:2]] == [
        [numbers[0], "k1", "3", "30"],
        [numbers[1], "k2", "1", "inf"],
    ]
    assert rows[2][1:] == ["k3", "0", "0", "inf"]  # on its way to B
    assert [len(stats(queue, *some)["leases"]) for some in ((), (2,), (9,))] == [0, 2, 3]
    assert sorted(queue.look("numbers", 0)[2:]) == [row[0] for row in rows]


def counts(queue: Queue) -> dict[str, int]:
    """What is not zero."""
    words = ("now", "phase", "oldest_available_age", "leases")
    found = {name: int(said) for name, said in stats(queue).items() if name not in words}
    sums = ("available", "delayed", "deferred", "in_flight", "acks", "discards", "replaced")
    assert found["puts"] == sum(found[name] for name in sums)
    return {name: number for name, number in found.items() if number}


def test_what_there_is_and_what_has_been_is_counted(queue: Queue) -> None:
    queue.maxsize = 7
    queue.open("A")
    queue.open("B")
    put(queue, "A", "k1", "k2", "k3", "k4", "k5")
    put(queue, "A", "k1", "k2")  # 2 are replaced
    numbers = [queue.do("A", "get", 0, 100)[1] for _ in range(4)]
    put(queue, "A", "k1", policy="defer")
    queue.do("A", "ack", numbers[1], "k2")
    queue.do("A", "release", numbers[2], "k3", 0, 0)
    queue.do("A", "discard", "k5")
    queue.do("A", "discard", "k1")  # what was deferred
    put(queue, "A", "k1", policy="defer")
    queue.do("A", "put", "late", "v", "update", 1000, 0)
    queue.do("A", "get", 0, 100)
    queue.now += 100  # the leases on k1, k3 and k4 run out, and k1 has the deferred value
    assert counts(queue) == {
        "maxsize": 7,
        "sessions": 2,
        "available": 3,
        "delayed": 1,
        "puts": 10,
        "replaced": 3,
        "deliveries": 5,
        "acks": 1,
        "releases": 1,
        "expiries": 3,
        "discards": 2,
    }
    for _ in range(3):
        queue.do("A", "get", 0, FOREVER)
    put(queue, "A", "k1", policy="defer")
    for call in (("get", 5, 10), ("take", "none", 5, 10)):
        assert queue.do("B", *call)[0] == "wait"
    queue.do("B", "give_up", 2)
    queue.now += 5
    queue.do("B", "tick")
    assert queue.do("B", "resume", 3) == ["timeout"]
    for asked in (("take", "k9", FOREVER, 10), ("get", FOREVER, 10), ("take", "k1", FOREVER, 10)):
        queue.do("B", *asked)
    put(queue, "A", "k9")  # is reserved for the take, and for the get when that is cancelled
    for word in ("join", "drain"):
        queue.do("A", word, FOREVER)
    expected = {
        "maxsize": 7,
        "sessions": 2,
        "delayed": 1,
        "deferred": 1,
        "in_flight": 4,
        "puts": 12,
        "replaced": 3,
        "deliveries": 8,
        "acks": 1,
        "releases": 1,
        "expiries": 3,
        "discards": 2,
        "timeouts": 2,
        "waiting_joins": 1,
        "waiting_drains": 1,
        "waiting_gets": 1,
        "waiting_takes": 1,
    }
    assert counts(queue) == expected
    queue.do("B", "cancel", 7)
    del expected["waiting_gets"]
    assert counts(queue) == expected
    assert queue.do("B", "resume", 8)[2] == "k9"
    expected["deliveries"] = 9
    assert counts(queue) == expected
    queue.do("A", "give_up", queue.requests["A"])  # the drain, which closes the queue
    expected |= {"available": 6, "replaced": 3, "timeouts": 3}
    left = {name: n for name, n in counts(queue).items() if name not in ("available", "replaced")}
    gone: tuple[str, ...] = ("available", "replaced", "waiting_gets", "waiting_takes")
    gone += ("waiting_joins", "waiting_drains", "in_flight", "deferred", "delayed")
    assert left == {name: n for name, n in expected.items() if name not in gone}


def test_sessions_are_counted_while_they_live(queue: Queue) -> None:
    for number, session in enumerate("ABCD"):
        queue.open(session, ttl=100 if session == "C" else FOREVER)
        assert stats(queue)["sessions"] == f"{number + 1}"
    queue.ask("D", 1, 0, "open", "2", 0, FOREVER, CLAIM)  # asked again
    queue.do("D", "open", "2", 0, FOREVER, CLAIM)
    assert stats(queue)["sessions"] == "4"
    queue.do("A", "bye")
    assert stats(queue)["sessions"] == "3"
    queue.do("B", "get", FOREVER, 10)
    queue.deafen("B")
    put(queue, "D", "k1")  # of which nobody hears
    assert stats(queue)["sessions"] == "2"
    queue.now += 100
    assert stats(queue)["sessions"] == "1"


def test_leases_that_end_with_a_session_are_counted(queue: Queue) -> None:
    for session in "ABC":
        queue.open(session, ttl=100 if session == "B" else FOREVER)
    put(queue, "A", "k1", "k2", "k3")
    queue.do("B", "get", 0, FOREVER)
    queue.do("C", "get", 0, 1000)
    queue.do("C", "take", "k4", FOREVER, 1000)
    put(queue, "A", "k4")  # which is never delivered
    seen = stats(queue)
    assert (seen["in_flight"], seen["deliveries"]) == ("3", "2")
    queue.do("C", "bye")
    queue.now += 100
    seen = stats(queue)
    ends = [seen[name] for name in ("acks", "releases", "expiries", "deliveries", "in_flight")]
    assert ends == ["0", "1", "1", "2", "0"]


# -- waiting


def test_who_waits_is_told(queue: Queue) -> None:
    queue.open("A")
    queue.open("B")
    assert queue.do("B", "get", FOREVER, 100)[:2] == ["wait", "1"]
    call = queue.requests["B"]
    assert queue.do("B", "resume", call)[:2] == ["wait", "1"]
    put(queue, "A", "k1")
    assert queue.heard("B") == [f"ready {call}"]
    assert queue.do("B", "hello", FOREVER, call, 99)[3:] == ["ready", "gone"]
    assert queue.do("B", "resume", call)[2:] == ["k1", "value of k1", "1"]
    assert queue.do("B", "resume", call) == ["gone"]


def test_giving_up_returns_what_was_reserved_by_then(queue: Queue) -> None:
    queue.open("A")
    queue.do("A", "get", 10, 100)
    call = queue.requests["A"]
    assert queue.do("A", "give_up", call) == ["timeout"]
    assert queue.do("A", "give_up", call) == ["gone"]
    queue.do("A", "get", 10, 100)
    call = queue.requests["A"]
    put(queue, "A", "k1")
    assert queue.do("A", "give_up", call)[2] == "k1"
    queue.do("A", "drain", FOREVER)
    call = queue.requests["A"]
    assert queue.do("A", "give_up", call) == ["ok", "0"]
    assert queue.do("A", "get", 0, 1) == ["closed"]


def test_a_put_that_waits_brings_its_value_when_it_resumes(wire: Wire) -> None:
    queue = Queue(wire, maxsize=1)
    queue.open("A")
    put(queue, "A", "k1")
    assert queue.do("A", "put", "k2", "first", "update", 0, 0) == ["timeout"]
    assert queue.do("A", "put", "k2", "first", "update", 0, FOREVER)[0] == "wait"
    call = queue.requests["A"]
    assert queue.do("A", "discard", "k1") == ["ok", "1"]
    assert queue.heard("A") == [f"ready {call}"]
    assert queue.do("A", "resume", call, "second") == ["ok"]
    assert queue.look("peek", "k2") == ["ok", "second"]


# -- sessions that end


def test_a_copy_is_not_given_to_who_has_gone(queue: Queue) -> None:
    for session in "ABC":
        queue.open(session)
    for session in "BC":
        queue.do(session, "get", FOREVER, 100)
    queue.do("B", "get", FOREVER, 100)
    queue.deafen("B")
    put(queue, "A", "k1", "k2")
    assert queue.heard("C") == [f"ready {queue.requests['C']}"]
    assert queue.line() == ["k2"]
    assert queue.do("B", "get", FOREVER, 100) == ["gone"]
    assert queue.wire.ask(("EXISTS", f"{queue.name}:calls:B")) == [0]


def test_a_slot_is_not_given_to_who_has_gone(wire: Wire) -> None:
    queue = Queue(wire, maxsize=1)
    for session in "ABC":
        queue.open(session)
    put(queue, "A", "k1")
    for session in "BC":
        queue.do(session, "put", "k2", "v", "update", 0, FOREVER)
    queue.deafen("B")
    queue.do("A", "discard", "k1")
    assert queue.heard("C") == [f"ready {queue.requests['C']}"]


@pytest.mark.parametrize("kind", ["get", "put"])
def test_what_nobody_claims_goes_to_the_next(wire: Wire, kind: str) -> None:
    queue = Queue(wire, maxsize=2)
    for session in "ABC":
        queue.open(session)
    put(queue, "A", "k1", "k2")
    if kind == "get":
        for _ in range(2):
            queue.do("A", "get", 0, FOREVER)
    for session in "BBC":
        call = ["get", FOREVER, 100] if kind == "get" else ["put", "k9", "v", "reject", 0, FOREVER]
        queue.do(session, *call)
    waiting = queue.requests["C"]
    if kind == "get":
        for number, key in (("1000", "k1"), ("1001", "k2")):
            assert queue.do("A", "release", number, key, 0, 0) == ["ok"]
    else:
        for key in ("k1", "k2"):
            queue.do("A", "discard", key)
    told = [message for message in queue.heard("B") if message.startswith("ready")]
    assert told == [f"ready {queue.requests['B'] - 1}", f"ready {queue.requests['B']}"]
    queue.now += CLAIM - 1
    assert queue.do("A", "tick")[0] == "ok"
    assert queue.heard("C") in ([], [f"alarm {CLAIM}"])
    queue.now += 1
    queue.do("A", "tick")
    assert queue.heard("B") == ["dropped"]
    assert f"ready {waiting}" in queue.heard("C")
    assert queue.do("B", "resume", queue.requests["B"]) == ["gone"]
    if kind == "get":
        assert queue.do("C", "resume", waiting)[2] == "k2"  # the latest comes back first
        assert queue.line() == ["k1"]
    else:
        assert queue.do("C", "resume", waiting, "v") == ["ok"]


def test_a_claim_in_time_is_in_time(queue: Queue) -> None:
    queue.open("A")
    queue.do("A", "get", FOREVER, FOREVER)
    put(queue, "A", "k1")
    queue.now += CLAIM - 1
    assert queue.do("A", "resume", 2)[2] == "k1"
    queue.now += 1
    put(queue, "A", "k2")
    assert queue.line() == ["k2"]


def test_a_session_that_says_nothing_ends(queue: Queue) -> None:
    queue.open("A")
    queue.open("B", ttl=100)
    put(queue, "A", "k1", "k2", "k3")
    queue.do("B", "get", 0, FOREVER)
    queue.do("B", "get", 0, 1000)
    queue.do("B", "get", 0, FOREVER)
    queue.do("B", "join", FOREVER)
    queue.now += 99
    assert queue.do("B", "hello", 100)[0] == "ok"
    queue.now += 99
    assert queue.line() == []
    queue.now += 1
    assert queue.line() == ["k1", "k3"]  # k2 has a lease that runs on
    assert queue.heard("B") == ["dropped"]
    assert queue.do("B", "hello", 100) == ["gone"]
    assert queue.look("stats")[0] == "ok"
    assert queue.do("A", "ack", 1001, "k2") == ["ok"]


def test_what_a_dropped_session_asks_again_has_been_done(queue: Queue) -> None:
    queue.open("A")
    queue.open("B", ttl=600_000_000)
    put(queue, "B", "k1")
    queue.now += 600_000_000
    assert queue.do("A", "tick")[0] == "ok"
    again = ("put", "k1", "value of k1", "update", 0, FOREVER)
    assert queue.ask("B", 2, 0, *again) == ["ok"]
    assert queue.ask("B", 3, 0, *again) == ["gone"]
    (left,) = queue.wire.ask(("PTTL", f"{queue.name}:session:B"))
    assert 0 < left <= 600_000


def test_a_session_whose_own_end_is_due_gets_nothing(queue: Queue) -> None:
    queue.open("A")
    queue.open("B", ttl=100)
    put(queue, "A", "k1")
    queue.now += 100
    assert queue.do("B", "get", 0, FOREVER) == ["gone"]
    assert queue.line() == ["k1"]


def test_who_leaves_gives_everything_back(queue: Queue) -> None:
    queue.open("A")
    queue.open("B", ttl=1000)
    put(queue, "A", "k1", "k2", "k3", "k4", "k5")
    queue.do("B", "get", 0, FOREVER)
    queue.do("A", "get", 0, FOREVER)
    queue.do("B", "get", 0, 100)
    queue.do("B", "take", "k9", FOREVER, 100)
    put(queue, "A", "k9")
    assert queue.do("B", "bye") == ["ok"]
    assert queue.line() == ["k1", "k3", "k9", "k4", "k5"]
    assert queue.do("B", "get", 0, 100) == ["gone"]
    queue.now += 2000
    assert queue.line() == ["k1", "k3", "k9", "k4", "k5"]
    (left,) = queue.wire.ask(("KEYS", f"{queue.name}:*:B"))
    assert left == []


# -- bounded work


def again(queue: Queue, session: str, *call: object) -> tuple[int, list[Any]]:
    """Ask until it is done; how often that was put off."""
    reply = queue.do(session, *call)
    request = queue.requests[session]
    for times in range(1000):
        if reply[0] != "again":
            return times, reply
        reply = queue.ask(session, request, 0, *call)
    raise AssertionError("it goes on for ever")


KEYS = [f"k{number:04}" for number in range(450)]
PUTS = [("put", key, "v", "update", 0, FOREVER) for key in KEYS]


def test_not_too_much_is_done_at_once(queue: Queue) -> None:
    queue.open("A")
    queue.many("A", *PUTS)
    queue.many("A", *[("get", 0, 100) for _ in KEYS])
    queue.now += 100
    assert again(queue, "A", "put", "last", "v", "update", 0, FOREVER) == (4, ["ok"])
    assert queue.line() == [*KEYS, "last"]


@pytest.mark.parametrize("how", ["close", "drain"])
def test_a_close_goes_on(queue: Queue, how: str) -> None:
    queue.open("A")
    queue.open("B")
    queue.many("A", *PUTS)
    queue.many("A", *[("get", 0, FOREVER) for _ in range(300)])
    queue.many("A", *[("take", key, 0, 100) for key in KEYS[300:]])
    for key in ("l1", "l2", "l3"):
        queue.do("A", "put", key, "v", "update", 1000 - int(key[1]), FOREVER)
    queue.do("B", "get", FOREVER, 100)
    assert queue.do("A", *([how] if how == "close" else [how, 0])) in (["ok"], ["ok", "0"])
    assert queue.heard("B") == ["ready 2"]
    queue.now += 50
    reply = queue.look("qsize")
    times = 0
    while reply == ["again"]:
        reply, times = queue.look("qsize"), times + 1
    assert times >= 2
    assert queue.line() == [*KEYS, "l3", "l2", "l1"]
    assert queue.do("B", "resume", 2) == ["closed"]
    assert queue.do("A", "ack", 1000, KEYS[0]) == ["closed"]


def test_a_session_ends_in_parts(queue: Queue) -> None:
    queue.open("A")
    queue.open("B")
    queue.many("A", *PUTS)
    queue.many("B", *[("get", 0, FOREVER) for _ in KEYS])
    queue.many("B", *[("get", FOREVER, FOREVER) for _ in KEYS])
    queue.do("B", "bye")
    times, _ = again(queue, "A", "hello", FOREVER)
    assert times >= 1
    assert queue.line() == KEYS


def test_calls_leave_in_parts_and_somebody_sees_to_it(queue: Queue) -> None:
    queue.open("A")
    queue.open("B")
    queue.many("B", *[("get", FOREVER, FOREVER) for _ in range(1500)])
    assert queue.do("A", "take", "x", FOREVER, 1) == ["wait", "1501", "inf"]
    assert queue.do("B", "bye") == ["ok"]
    assert queue.heard("A") == ["alarm 0"]
    times, reply = again(queue, "A", "tick")
    assert times >= 5
    assert reply == ["ok", "inf"]
    put(queue, "A", "k1")
    assert queue.line() == ["k1"]


# -- alarms


def test_one_session_rings(queue: Queue) -> None:
    for session in "ABC":
        queue.open(session)
    put(queue, "A", "k1")
    assert queue.do("B", "take", "k1", 0, 100)[0] == "ok"
    assert queue.do("A", "get", FOREVER, 1) == ["wait", "1", "100"]
    assert queue.do("C", "get", FOREVER, 1) == ["wait", "2", "inf"]
    put(queue, "B", "k2", "k3")
    assert queue.heard("A") == ["ready 3"]
    assert queue.heard("C") == [f"alarm {CLAIM}", "ready 2"]  # until it was served, too
    assert queue.do("C", "get", FOREVER, 1) == ["wait", "3", str(CLAIM)]


def test_the_ringer_hears_of_what_is_due_sooner(queue: Queue) -> None:
    queue.open("A")
    queue.open("B")
    assert queue.do("A", "take", "x", FOREVER, 1) == ["wait", "1", "inf"]
    put(queue, "B", "k1", "k2")
    queue.do("B", "get", 0, 100)
    assert queue.heard("A") == ["alarm 100"]
    queue.do("B", "get", 0, 200)
    assert queue.heard("A") == []
    queue.now += 40
    assert queue.do("A", "tick") == ["ok", "60"]
    assert queue.do("B", "tick") == ["ok", "inf"]
    assert queue.do("A", "hello", FOREVER)[2] == "60"
    queue.now += 60
    assert queue.do("A", "tick") == ["ok", "100"]
    assert queue.line() == ["k1"]


def test_another_rings_when_the_ringer_has_gone(queue: Queue) -> None:
    for session in "ABC":
        queue.open(session)
    put(queue, "A", "k1")
    queue.do("A", "get", 0, 100)
    assert queue.do("B", "take", "x", FOREVER, 1)[2] == "100"
    assert queue.do("C", "take", "y", FOREVER, 1)[2] == "inf"
    queue.do("B", "cancel", 2)
    assert queue.heard("C") == ["alarm 100"]
    assert queue.do("B", "take", "x", FOREVER, 1)[2] == "inf"
    queue.deafen("C")
    put(queue, "A", "y")
    assert queue.heard("B") == ["alarm 100"]


# -- looking


def test_what_is_long_comes_in_pages(queue: Queue) -> None:
    queue.open("A")
    keys = [f"{number:05}" for number in range(2300)]
    queue.many("A", *[("put", key, key, "update", 0, FOREVER) for key in keys])
    assert paged(queue, "available_keys") == keys
    items = paged(queue, "available_items")
    assert items[::2] == items[1::2] == keys


def paged(queue: Queue, look: str) -> list[str]:
    found, cursor = [], "0"
    while True:
        _, cursor, *page = queue.look(look, cursor)
        found += page
        if cursor == "0":
            return found


# -- values that meet in a bounded queue


def test_a_copy_beside_others_needs_a_slot(wire: Wire) -> None:
    queue = Queue(wire, maxsize=1)
    queue.open("A")
    put(queue, "A", "k")
    queue.do("A", "get", 0, FOREVER)
    assert queue.do("A", "put", "k", "v", "buffer", 0, 0) == ["timeout"]
    assert queue.do("A", "put", "k", "v", "defer", 0, 0) == ["ok"]
    assert queue.do("A", "put", "k", "w", "buffer", 0, 0) == ["timeout"]
    assert queue.do("A", "ack", 1000, "k") == ["ok"]
    assert queue.look("peek", "k") == ["ok", "v"]
