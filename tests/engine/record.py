"""What the server did, in its order: written by the server itself, and held against the model.

In a test the library is loaded with a few lines more (`recording`), under its own name and before
any client comes: clients then use it as it is. It appends every request and its reply to a list,
with the time and with what happened within: whose lease ended, who was offered what, which session
was taken for dead. `Replay` has the reference model do the same.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgpack

from tests.engine.server import Server
from tests.subject import module

if TYPE_CHECKING:
    from leasedkeyq import _model as model
else:
    model = module("_model")
MACHINE = Path(module("errors").__file__).with_name("redis") / "machine.lua"
RECORD = "record"
PAGE = 10_000

ANSWER = f"""
local function answer(kept, op, args, from, to)
    happened = {{}}
    local reply = unrecorded(kept, op, args, from, to)
    local asked = {{session, request, 0, op, unpack(args, from, to)}}
    local entry = cmsgpack.pack({{string.format('%.0f', now), base, asked, reply, happened}})
    redis.call('RPUSH', '{RECORD}', entry)
    return reply
end
"""

# Lines of the source, each there once, and what a test has before or after it.
BEFORE = {
    "-- Replies are kept, and those that have arrived go, some at a time.": ANSWER,
    "        reply = OPERATIONS[op](unpack(args, from, to))": "it('operation')",
    "            GiveBack(flight_of(which), 'end', 0)": "it('expire', which)",
    "            Ripen(entry_of(string.sub(which, 15)))": "it('ripen', string.sub(which, 15))",
    "            call('ZADD', names.slots, c.ticket, c.name)": "it('slot', c.name)",
}
AFTER = {
    "#!lua name=leasedkeyq2": """
local happened
local function it(...) happened[#happened + 1] = {...} end
""",
    "local function drop(s, how)": "it('drop', s)",
    "local function end_session(s, everything)": "it('end', s, everything and 'all' or 'bound')",
    "        if m.waiting > 0 or m.phase == 'closing' then Served() end": "it('operated')",
    "        local c = claimant(e.key)": "it('offer', e.key, c and c.name or '')",
}


def recording(source: str) -> str:
    """The source, that writes a record as it works."""
    answer = "local function answer(kept, op, args, from, to)"
    assert source.count(answer) == 1
    source = source.replace(answer, answer.replace(" answer", " unrecorded"))
    lines = []
    found = 0
    for line in source.split("\n"):
        before, after = BEFORE.get(line), AFTER.get(line)
        lines += [part for part in (before, line, after) if part is not None]
        found += (before or after) is not None
    assert found == len(BEFORE) + len(AFTER), "the source is not what the record was made for"
    return "\n".join(lines)


def load(server: Server, right: str = "", wrong: str = "") -> None:
    """Give the server the machine, perhaps with something wrong in it."""
    source = recording(MACHINE.read_text("utf-8"))
    if right:
        assert source.count(right) == 1, right
        source = source.replace(right, wrong)
    server.ask("FUNCTION", "LOAD", source)


@dataclass(frozen=True)
class Done:
    """One request, as the server has carried it out."""

    now: int  # microseconds
    queue: str
    session: str
    request: str
    op: str
    args: list[bytes]
    reply: list[Any]
    happened: list[tuple[str, ...]]

    def __str__(self) -> str:
        return f"{self.session}:{self.request} {self.op} {self.args} -> {self.reply}"


def read(server: Server) -> Iterator[Done]:
    begin = 0
    while page := server.ask("LRANGE", RECORD, begin, begin + PAGE - 1):
        begin += len(page)
        for packed in page:
            now, queue, args, reply, happened = msgpack.unpackb(
                packed, raw=True, strict_map_key=False
            )
            session, request, _, op, *rest = args
            yield Done(
                int(now),
                queue.decode(),
                session.decode(),
                request.decode(),
                op.decode(),
                rest,
                reply
                if isinstance(reply, list)
                else [reply[1]],  # as on the wire: to the first nil
                [tuple(word.decode() for word in one) for one in happened],
            )


class DiffersError(AssertionError):
    """The server and the model do not do the same."""


class Replay(model.Model):
    """The model, that does what a record says was done to one queue, and compares."""

    def __init__(self) -> None:
        super().__init__()
        self.events: deque[tuple[str, ...]] = deque()
        self.calls: dict[str, Any] = {}  # by name the call that waits or has not resumed
        self.names: dict[int, str] = {}  # its name, by its ticket
        self.owner: dict[int, str] = {}  # the session that a lease was granted to
        self.real: dict[int, int] = {}  # of the number of a lease here, that at the server
        self.ours: dict[int, int] = {}  # and the other way round
        self.dropped: set[str] = set()
        self.answers: dict[tuple[str, str], list[Any]] = {}
        self.slots: list[str] = []
        self.operating = False  # what is due was carried out, and the operation is under way
        self.done = 0
        self.latest = 0
        self.kinds: Counter[str] = Counter()

    # -- what happens within

    def happens(self, kind: str) -> tuple[str, ...] | None:
        """The next event, if it is of this kind."""
        if self.events and self.events[0][0] == kind:
            return self.events.popleft()
        return None

    def meet(self) -> None:
        """Sessions that nobody hears any more are not served from now on."""
        while event := self.happens("drop"):
            self.dropped.add(event[1])
            for name, waiter in self.calls.items():
                if name.startswith(event[1]):
                    waiter.cancelled = True

    def reap(self, now: float) -> None:
        while not self.operating:
            self.meet()
            due = [
                *[(g.deadline, 0, n) for n, g in self.grants.items() if g.deadline <= now],
                *[(c.time, 1, c.version) for c in self._held() if -inf < c.time <= now],
            ]
            if event := self.happens("end"):
                self.end_session(event[1], event[2] == "all", now)
            elif event := self.happens("expire"):
                number = self.ours[int(event[1], 16)]
                self.same(min(due, default=None), (self.grants[number].deadline, 0, number))
                grant = self.grants[number]
                self._give_back(grant, model.END, model.LeaseExpiredError, -inf, now)
            elif event := self.happens("ripen"):
                held = next(copy for copy in self._held() if copy.key == event[1])
                self.same(min(due, default=None), (held.time, 1, held.version))
                self._ripen(held)
            else:
                self.due = due
                break
        self._settle()

    def end_session(self, session: str, everything: bool, now: float) -> None:
        """What it holds is back in front, the latest first, and its calls are gone."""
        for number in sorted(self.grants, reverse=True):
            grant = self.grants[number]
            bound = grant.ticket is not None or grant.deadline == inf
            if self.owner[number] == session and (everything or bound):
                self._give_back(grant, model.FRONT, model.InvalidLeaseError, -inf, now)
        for name in [name for name in self.calls if name.startswith(session)]:
            waiter = self.calls.pop(name)
            self.waiters.remove(waiter)
            waiter.outcome = "LEFT"

    def _line_up(self, copy: Any, place: str) -> None:
        super()._line_up(copy, place)
        grants = [grant for grant in self.grants.values() if grant.copy is copy]
        name = ""
        if grants:
            name = self.names[grants[-1].ticket or 0]
            self.owner[grants[-1].lease.number] = name.split(":")[0]
        self.same(self.happens("offer"), ("offer", copy.key, name))

    def _settle(self) -> None:
        before = {waiter.ticket for waiter in self._slots()}
        super()._settle()
        self.slots += [self.names[w.ticket] for w in self._slots() if w.ticket not in before]

    def same(self, theirs: object, ours: object) -> None:
        if theirs != ours:
            raise DiffersError(f"the server: {theirs!r}, the model: {ours!r}")

    # -- requests

    def carry_out(self, done: Done) -> None:
        """One line of the record."""
        self.done += 1
        known = self.answers.get((done.session, done.request))
        if done.request != "0" and known is not None:
            # It was sent again, and is answered as before, or not any more; that is all.
            forgotten = done.session in self.dropped and done.reply == [b"gone"]
            self.same([done.reply, done.happened], [[b"gone"] if forgotten else known, []])
            return
        self.latest = max(self.latest, done.now)
        now, word = done.now, done.reply[0].decode()
        slots = [event[1] for event in done.happened if event[0] == "slot"]
        self.events.extend(event for event in done.happened if event[0] != "slot")
        self.slots.clear()
        if done.op == "cancel" and self.mine(done) in self.calls:
            self.calls[self.mine(done)].cancelled = True  # before what is due
        if word != "gone" or done.happened:
            self.reap(now)
        if self.happens("operation"):
            self.same([], self.due)
            self.operating = True
            (getattr(self, f"do_{done.op}", None) or self.look)(done, now)
            self.meet()
            self.same(self.happens("operated"), ("operated",))
            self.operating = False
            self.reap(now)
            self.same([], self.due)
        else:
            assert word in ("again", "gone"), word
        self.same([*self.events], [])
        self.same(slots, self.slots)
        if done.request != "0" and word not in ("again", "gone"):
            self.answers[done.session, done.request] = done.reply
        self.kinds[f"{done.op} {word}"] += 1

    def answer(self, done: Done, carry_out: Any) -> None:
        """What an operation of the model comes to is what the server has said."""
        reply = [f"{part}" if isinstance(part, int) else part.decode() for part in done.reply]
        name = f"{done.session}:{done.request}"
        try:
            result = carry_out()
        except model.QueueClosedError:
            assert reply[0] in ("closed", "shut", "nothing"), reply
        except model.KeyAlreadyInFlightError:
            self.same(reply, ["flying"])
        except TimeoutError:
            self.same(reply, ["timeout"])
        except model.LeasedKeyQError:
            self.same(reply[0], "dead")
        else:
            self.compare(done, name, reply, result)

    def compare(self, done: Done, name: str, reply: list[str], result: Any) -> None:
        match result:
            case model.Waiter():
                self.same(reply[:2], ["wait", f"{result.ticket}"])
                self.calls[name] = result
                self.names[result.ticket] = name
            case None:
                self.same(reply, ["ok"])
            case bool():
                self.same(reply, ["ok", written(result)])
            case list():
                self.same(reply, ["ok", *map(written, result)])
            case key, value, lease:
                self.same(reply[2:], [key, value, f"{lease.attempt}"])
                self.owner[lease.number] = done.session
                self.real[lease.number] = int(reply[1])
                self.ours[int(reply[1])] = lease.number
                if any(real > int(reply[1]) for n, real in self.real.items() if n < lease.number):
                    raise DiffersError(f"the number {reply[1]} is not above all before it")
            case _:
                raise TypeError(result)

    def do_open(self, done: Done, now: int) -> None:
        maxsize = int(done.args[1])
        self.maxsize = maxsize if maxsize > 0 else inf

    def do_put(self, done: Done, now: int) -> None:
        key, value, policy, delay, wait = map(bytes.decode, done.args)
        self.answer(done, lambda: self.put(key, value, policy, float(delay), float(wait), now))

    def do_get(self, done: Done, now: int) -> None:
        wait, duration = map(float, done.args)
        self.answer(done, lambda: self.get(wait, duration, now))

    def do_take(self, done: Done, now: int) -> None:
        key, wait, duration = map(bytes.decode, done.args)
        self.answer(done, lambda: self.take(key, float(wait), float(duration), now))

    def mine(self, done: Done) -> str:
        return f"{done.session}:{done.args[0].decode()}"

    def do_resume(self, done: Done, now: int) -> None:
        waiter = self.calls.get(self.mine(done))
        if waiter is None:
            self.same(done.reply, [b"gone"])
        elif waiter.outcome == "WAITING":
            self.same(done.reply[:2], [b"wait", f"{waiter.ticket}".encode()])
        else:
            del self.calls[self.mine(done)]
            self.answer(done, lambda: self.resume(waiter, now))

    def do_give_up(self, done: Done, now: int) -> None:
        waiter = self.calls.get(self.mine(done))
        if waiter is None or waiter.outcome != "WAITING":
            self.do_resume(done, now)
            return
        del self.calls[self.mine(done)]
        self.waiters.remove(waiter)
        waiter.outcome = "LEFT"
        if waiter.kind == "drain":
            self.same(done.reply, [b"ok", b"0"])
            self._close("end")
        else:
            self.same(done.reply, [b"timeout"])

    def do_cancel(self, done: Done, now: int) -> None:
        if waiter := self.calls.pop(self.mine(done), None):
            self.cancel(waiter, now)
        self.same(done.reply, [b"ok"])

    def lease(self, done: Done) -> Any:
        number, key = done.args[:2]
        return model.Lease(self.ours.get(int(number), -1), key.decode())

    def do_ack(self, done: Done, now: int) -> None:
        self.answer(done, lambda: self.ack(self.lease(done), now))

    def do_release(self, done: Done, now: int) -> None:
        front, delay = done.args[2] == b"1", float(done.args[3])
        self.answer(done, lambda: self.release(self.lease(done), front, delay, now))

    def do_extend(self, done: Done, now: int) -> None:
        duration = None if done.args[2] == b"same" else float(done.args[2])

        def extend() -> list[Any]:
            lease = self.lease(done)
            self.extend(lease, duration, now)
            return [self.deadline(lease, now), self.superseded(lease, now)]

        self.answer(done, extend)

    def do_refresh(self, done: Done, now: int) -> None:
        self.answer(done, lambda: [self.refresh(self.lease(done), now)])

    def do_superseded(self, done: Done, now: int) -> None:
        self.answer(done, lambda: self.superseded(self.lease(done), now))

    def do_deadline(self, done: Done, now: int) -> None:
        self.answer(done, lambda: [self.deadline(self.lease(done), now)])

    def do_discard(self, done: Done, now: int) -> None:
        self.answer(done, lambda: self.discard(done.args[0].decode(), now))

    def do_join(self, done: Done, now: int) -> None:
        self.answer(done, lambda: self.join(float(done.args[0]), now))

    def do_drain(self, done: Done, now: int) -> None:
        self.answer(done, lambda: self.drain(float(done.args[0]), now))

    def do_shutdown(self, done: Done, now: int) -> None:
        self.answer(done, lambda: self.shutdown(now))

    def do_close(self, done: Done, now: int) -> None:
        self.answer(done, lambda: self.close(now))

    def do_tick(self, done: Done, now: int) -> None:
        self.time_out(now)

    def do_bye(self, done: Done, now: int) -> None:
        pass

    def do_hello(self, done: Done, now: int) -> None:
        for call, said in zip(done.args[1:], done.reply[3:], strict=True):
            waiter = self.calls.get(f"{done.session}:{call.decode()}")
            known = waiter and ("waits" if waiter.outcome == "WAITING" else "ready")
            self.same(said.decode(), known or "gone")

    # -- looks

    def look(self, done: Done, now: int) -> None:
        op, said = done.op, done.reply[1:]
        match op:
            case "qsize" | "inflight_size" | "delayed_size":
                self.same(int(said[0]), getattr(self, op)(now))
            case "peek":
                value = self.peek(done.args[0].decode(), now)
                self.same([one.decode() for one in said], [] if value is None else [value])
            case "contains":
                self.same(said[0] == b"1", self.contains(done.args[0].decode(), now))
            case "available_keys" | "inflight_keys" | "delayed_keys":
                self.same({one.decode() for one in said[1:]}, getattr(self, op)(now))
            case "available_items":
                words = [one.decode() for one in said[1:]]
                pairs = list(zip(words[::2], words[1::2], strict=True))
                self.same(pairs, self.available_items(now))
            case "snapshot":
                self.same(*self.states(said, now))
            case "stats" | "numbers":
                pass
            case _:
                raise DiffersError(f"what is {done}?")

    def states(self, said: list[Any], now: int) -> tuple[object, object]:
        """The whole state, theirs and ours, in the same words."""
        ours = self.snapshot(now)

        def rows(part: list[list[bytes]]) -> list[tuple[str, ...]]:
            return [tuple(map(bytes.decode, row)) for row in part]

        def texts(part: Any) -> list[tuple[str, ...]]:
            return [tuple(written(cell) for cell in row) for row in part]

        phase, puts, *parts = said
        returned, arrived, delayed, deferred, flight, waiting, slots = map(rows, parts)
        theirs = {
            "phase": phase.decode(),
            "puts": int(puts),
            "returned": returned,
            "arrived": arrived,
            "delayed": sorted(delayed),
            "deferred": sorted(deferred),
            "flight": sorted(row[1:] if row[5] == "" else ("", *row[1:]) for row in flight),
            "waiting": sorted((row[0], row[1], row[2], row[4]) for row in waiting),
            "slots": sorted(name for _, name in slots),
        }
        model_flight = [
            (
                *((key,) if ticket is None else ("", key)),
                value,
                f"{version}",
                f"{attempts}",
                self.names.get(ticket, ""),
                written(deadline),
                self.owner[number],
            )
            for number, key, value, version, attempts, ticket, deadline in ours.flight
        ]
        return theirs, {
            "phase": ours.phase,
            "puts": ours.puts,
            "returned": texts(ours.returned),
            "arrived": texts(ours.arrived),
            "delayed": sorted(texts(ours.delayed)),
            "deferred": sorted(texts(ours.deferred)),
            "flight": sorted(model_flight),
            "waiting": sorted(
                (f"{ticket}", kind, key or "", self.names[ticket])
                for ticket, kind, key, _ in ours.waiting
            ),
            "slots": sorted(self.names[ticket] for ticket in ours.slots),
        }


def written(cell: object) -> str:
    """As the server writes it."""
    if isinstance(cell, bool):
        return f"{cell:d}"
    return f"{cell:.0f}" if isinstance(cell, float) else f"{cell}"


def replay(record: Iterator[Done]) -> dict[str, Replay]:
    """Every queue of a record, on a model of its own; raises at the first difference."""
    replays: dict[str, Replay] = {}
    for number, done in enumerate(record):
        one = replays.setdefault(done.queue, Replay())
        try:
            one.carry_out(done)
        except (DiffersError, AssertionError, ValueError, KeyError, StopIteration) as error:
            raise DiffersError(
                f"request {number}, {done} with {done.happened}: {error!r}"
            ) from error
    return replays
