"""An engine in the process itself: the machine of the queue in memory, at the other end of a store.

It shows that the shell knows of no engine in particular, and lets it be tried in virtual time:
requests and answers travel for as long as a test likes, are cut, come late or not at all.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import asdict
from math import inf
from typing import TYPE_CHECKING, Any

from tests.subject import (
    KeyAlreadyInFlightError,
    Lease,
    LeasedKeyQError,
    QueueClosedError,
    module,
)

if TYPE_CHECKING:
    from leasedkeyq._machine import Machine
    from leasedkeyq._records import Waiter
    from leasedkeyq.engine.codec import Json, Text
    from leasedkeyq.engine.queue import EngineQueue
    from leasedkeyq.engine.store import Owner, Reply, Request
else:
    Machine = module("_machine").Machine
    Waiter = module("_records").Waiter
    Json, Text = module("engine.codec").Json, module("engine.codec").Text
    EngineQueue = module("engine.queue").EngineQueue
    Request = module("engine.store").Request

TICK = 1e-5  # seconds: timers may ring a bit too early
EPOCH = 1_000.0  # what the clock of the engine is ahead


class Visitor:
    """A session, as the engine knows it."""

    def __init__(self, tell: Callable[[bytes, int], None]) -> None:
        self.tell = tell
        self.kept: dict[int, Reply] = {}
        self.done = 0
        self.calls: dict[int, Waiter] = {}
        self.lasting: list[int] = []


class Engine:
    """Where the queue is. Every operation is one of the machine's."""

    def __init__(self, **options: Any) -> None:
        self.machine = Machine(
            options.get("default_lease_timeout"),
            options.get("maxsize", 0),
            options.get("if_in_flight", "update"),
        )
        self.maxsize = options.get("maxsize", 0)
        self.visitors: dict[str, Visitor] = {}
        self.dead: dict[str, dict[int, Reply]] = {}  # what those were answered that were dropped
        self.leases: dict[int, Lease[Any]] = {}
        self.timer: asyncio.TimerHandle | None = None
        self.busy = 0  # so many requests are told to come again
        self.deaf = False  # nobody is told that a wait is over
        self.log: list[str] = []  # operations that were carried out

    @property
    def now(self) -> float:
        return asyncio.get_running_loop().time()

    def carry_out(self, request: Request, done: int) -> Reply:
        number, op = request.number, request.op
        visitor = self.visitors.get(request.session)
        if visitor is None and number and op != "open":
            return self.dead.get(request.session, {}).get(number, [b"gone"])
        if visitor is not None and number:
            if number in visitor.kept:
                return visitor.kept[number]
            if number <= visitor.done:
                return [b"gone"]
        if self.busy:
            self.busy -= 1
            return [b"again"]
        self.log.append(op)
        try:
            reply: Reply = getattr(self, op)(request, *request.args)
        except KeyAlreadyInFlightError:
            reply = [b"flying"]
        except QueueClosedError:
            phase = self.machine.snapshot(self.now).phase
            reply = [b"closed" if phase == "closed" else b"shut" if op == "put" else b"nothing"]
        except TimeoutError:
            reply = [b"timeout"]
        except LeasedKeyQError:
            reply = [b"dead"]
        if number and (visitor := self.visitors.get(request.session)):
            visitor.kept[number] = reply
            visitor.done = max(visitor.done, done)
            for old in [n for n in visitor.kept if n <= done]:
                del visitor.kept[old]
        self.deliver()
        return reply

    def deliver(self) -> None:
        outbox = self.machine.outbox
        while outbox.woken:
            waiter = outbox.woken.popleft()
            for visitor in self.visitors.values():
                for name, call in visitor.calls.items():
                    if call is waiter and not self.deaf:
                        visitor.tell(b"ready", name)
        outbox.dropped.clear()
        outbox.changed = False
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        if outbox.alarm != inf:
            loop = asyncio.get_running_loop()
            self.timer = loop.call_at(outbox.alarm + TICK, self.ring)

    def ring(self) -> None:
        self.machine.time_out(self.now)
        self.deliver()

    def drop(self, session: str) -> None:
        """The session is taken for dead."""
        visitor = self.visitors.pop(session)
        self.dead[session] = visitor.kept
        for waiter in visitor.calls.values():
            self.machine.cancel(waiter, self.now)
        self.deliver()
        visitor.tell(b"dropped", 0)

    # -- the operations ------------------------------------------------------------------

    def open(self, request: Request, schema: int, bound: int, ttl: Any, claim: Any) -> Reply:
        if bound != self.maxsize:
            return [b"refused", b"maxsize", str(self.maxsize).encode()]
        self.visitors[request.session] = Visitor(
            request.owner.speaker(request.session)  # type: ignore[attr-defined]
        )
        return [b"ok", b"0123456789abcdef", self.moment(self.now)]

    def moment(self, time: float) -> bytes:
        return b"inf" if time == inf else b"%d" % round((time + EPOCH) * 1e6)

    def hello(self, request: Request, ttl: Any, *calls: int) -> Reply:
        states = []
        for call in calls:
            waiter = self.visitors[request.session].calls.get(call)
            if waiter is None:
                states.append(b"gone")
            else:
                states.append(b"waits" if waiter.outcome.name == "WAITING" else b"ready")
        return [b"ok", self.moment(self.now), b"inf", *states]

    def bye(self, request: Request) -> Reply:
        visitor = self.visitors.pop(request.session)
        for waiter in visitor.calls.values():
            self.machine.cancel(waiter, self.now)
        for number in sorted(visitor.lasting, reverse=True):
            try:
                self.machine.release(self.leases[number], True, 0, self.now)
            except LeasedKeyQError:
                continue
        return [b"ok"]

    def tick(self, request: Request) -> Reply:
        self.machine.time_out(self.now)
        return [b"ok", b"inf"]

    def put(
        self, request: Request, key: bytes, value: bytes, policy: str, delay: Any, wait: Any
    ) -> Reply:
        outcome = self.machine.put(key, value, policy, span(delay), span(wait), self.now)
        return self.waits(request, outcome) if outcome is not None else [b"ok"]

    def get(self, request: Request, wait: Any, duration: Any) -> Reply:
        return self.given(request, self.machine.get(span(wait), span(duration), self.now))

    def take(self, request: Request, key: bytes, wait: Any, duration: Any) -> Reply:
        return self.given(request, self.machine.take(key, span(wait), span(duration), self.now))

    def given(self, request: Request, outcome: Any) -> Reply:
        if isinstance(outcome, Waiter):
            return self.waits(request, outcome)
        key, value, lease = outcome
        number = lease._grant.number
        self.leases[number] = lease
        self.visitors[request.session].lasting.append(number)
        return [b"ok", b"%d" % number, key, value, b"%d" % lease.attempt]

    def waits(self, request: Request, waiter: Waiter) -> Reply:
        self.visitors[request.session].calls[request.number] = waiter
        return [b"wait", b"%d" % waiter.ticket, b"inf"]

    def resume(self, request: Request, call: int, value: bytes | None = None) -> Reply:
        waiter = self.visitors[request.session].calls.get(call)
        if waiter is None:
            return [b"gone"]
        if waiter.outcome.name == "WAITING":
            return [b"wait", b"%d" % waiter.ticket, b"inf"]
        del self.visitors[request.session].calls[call]
        outcome = self.machine.resume(waiter, self.now)
        if isinstance(outcome, bool):
            return [b"ok", b"%d" % outcome]
        return [b"ok"] if outcome is None else self.given(request, outcome)

    def give_up(self, request: Request, call: int, value: bytes | None = None) -> Reply:
        waiter = self.visitors[request.session].calls.get(call)
        if waiter is None or waiter.outcome.name != "WAITING":
            return self.resume(request, call, value)
        del self.visitors[request.session].calls[call]
        self.machine.cancel(waiter, self.now)
        if waiter.kind != "drain":
            return [b"timeout"]
        self.machine.close(self.now)
        return [b"ok", b"0"]

    def cancel(self, request: Request, call: int) -> Reply:
        waiter = self.visitors[request.session].calls.pop(call, None)
        if waiter is not None:
            self.machine.cancel(waiter, self.now)
        return [b"ok"]

    def lease(self, number: Any, key: bytes) -> Lease[Any]:
        found = self.leases.get(int(number))
        return found if found is not None and found.key == key else Lease("", key)

    def ack(self, request: Request, number: Any, key: bytes) -> Reply:
        self.machine.ack(self.lease(number, key), self.now)
        return [b"ok"]

    def release(self, request: Request, number: Any, key: bytes, front: int, delay: Any) -> Reply:
        self.machine.release(self.lease(number, key), front == 1, span(delay), self.now)
        return [b"ok"]

    def extend(self, request: Request, number: Any, key: bytes, duration: Any) -> Reply:
        lease = self.lease(number, key)
        lasts = None if duration == "same" else span(duration)
        self.machine.extend(lease, lasts, self.now)
        until = self.moment(self.machine.deadline(lease, self.now))
        return [b"ok", until, b"%d" % self.machine.superseded(lease, self.now)]

    def refresh(self, request: Request, number: Any, key: bytes) -> Reply:
        return [b"ok", self.machine.refresh(self.lease(number, key), self.now)]

    def superseded(self, request: Request, number: Any, key: bytes) -> Reply:
        return [b"ok", b"%d" % self.machine.superseded(self.lease(number, key), self.now)]

    def deadline(self, request: Request, number: Any, key: bytes) -> Reply:
        return [b"ok", self.moment(self.machine.deadline(self.lease(number, key), self.now))]

    def discard(self, request: Request, key: bytes) -> Reply:
        return [b"ok", b"%d" % self.machine.discard(key, self.now)]

    def join(self, request: Request, wait: Any) -> Reply:
        waiter = self.machine.join(span(wait), self.now)
        return [b"ok"] if waiter is None else self.waits(request, waiter)

    def drain(self, request: Request, wait: Any) -> Reply:
        outcome = self.machine.drain(span(wait), self.now)
        if isinstance(outcome, Waiter):
            return self.waits(request, outcome)
        return [b"ok", b"%d" % outcome]

    def shutdown(self, request: Request) -> Reply:
        self.machine.shutdown(self.now)
        return [b"ok"]

    def close(self, request: Request) -> Reply:
        self.machine.close(self.now)
        return [b"ok"]

    def peek(self, request: Request, key: bytes) -> Reply:
        value = self.machine.peek(key, self.now)
        return [b"ok"] if value is None else [b"ok", value]

    def contains(self, request: Request, key: bytes) -> Reply:
        return [b"ok", b"%d" % self.machine.contains(key, self.now)]

    def available_keys(self, request: Request, cursor: Any) -> Reply:
        """A page holds one key."""
        keys = [key for key, _ in self.machine.available_items(self.now)]
        here = int(cursor)
        return [b"ok", b"%d" % (here + 1 if here + 1 < len(keys) else 0), *keys[here : here + 1]]

    def available_items(self, request: Request, cursor: Any) -> Reply:
        return [
            b"ok",
            b"0",
            *(part for item in self.machine.available_items(self.now) for part in item),
        ]

    def inflight_keys(self, request: Request, cursor: Any) -> Reply:
        return [b"ok", b"0", *self.machine.inflight_keys(self.now)]

    def delayed_keys(self, request: Request, cursor: Any) -> Reply:
        return [b"ok", b"0", *self.machine.delayed_keys(self.now)]

    def qsize(self, request: Request) -> Reply:
        return [b"ok", b"%d" % self.machine.qsize(self.now)]

    def inflight_size(self, request: Request) -> Reply:
        return [b"ok", b"%d" % self.machine.inflight_size(self.now)]

    def delayed_size(self, request: Request) -> Reply:
        return [b"ok", b"%d" % self.machine.delayed_size(self.now)]

    def stats(self, request: Request, leases: int = 0, *numbers: int) -> Reply:
        """It looks through one copy in flight, and asks for the numbers of more."""
        now = self.now
        seen, stats = self.machine.snapshot(now), self.machine.stats(now)
        held: list[list[Any]] = []
        for flight, one in zip(
            seen.flight, self.machine.overview(len(seen.flight), now).leases, strict=True
        ):
            if len(held) < leases and (flight.number in numbers or len(seen.flight) == 1):
                times = (self.span_of(one.age), self.span_of(one.left))
                held.append([b"%d" % flight.number, one.key, b"%d" % one.attempt, *times])
        said = {name: what for name, what in asdict(stats).items() if not name.endswith("_age")}
        kinds = [wait.kind for wait in seen.waiting]
        said |= {f"waiting_{kind}s": kinds.count(kind) for kind in ("join", "drain")}
        said |= {"sessions": len(self.visitors), "maxsize": self.maxsize}
        age = stats.oldest_available_age
        flat: Reply = [b"ok", b"now", self.moment(now), b"phase", seen.phase.encode()]
        for name, number in said.items():
            flat += [name.encode(), b"%d" % number]
        flat += [b"oldest_available_age", b"" if age is None else self.span_of(age)]
        return [*flat, b"leases", held]

    def span_of(self, seconds: float) -> bytes:
        return b"inf" if seconds == inf else b"%d" % round(seconds * 1e6)

    def numbers(self, request: Request, cursor: Any) -> Reply:
        """A page holds one number."""
        numbers = [b"%d" % flight.number for flight in self.machine.snapshot(self.now).flight]
        here = int(cursor)
        following = here + 1 if here + 1 < len(numbers) else 0
        return [b"ok", b"%d" % following, *numbers[here : here + 1]]


def span(micro: Any) -> float:
    """Seconds from what a request says."""
    return inf if micro == "inf" else micro / 1e6


class LocalStore:
    """The way there: each request takes ``travel()`` seconds, and so does each answer."""

    def __init__(self, engine: Engine, travel: Callable[[], float] = lambda: 0) -> None:
        self.engine = engine
        self.travel = travel
        self.owner: Any = None
        self.loop: Any = None
        self.ready = False
        self.down = False  # nothing can be connected
        self.line = 0  # which connection it is
        self.greeting: Request | None = None
        self.pending: list[Request] = []
        self.under_way: list[Request] = []
        self.clear = (0.0, 0.0)  # when the latest request and the latest answer arrive
        self.suspected = self.listened = 0
        self.parted = True
        self.trouble = "it is down"

    def enter(self, owner: Owner, loop: asyncio.AbstractEventLoop) -> None:
        self.owner, self.loop, self.parted = owner, loop, False
        self.connect()

    def connect(self) -> None:
        if not self.down and not self.parted:
            self.line += 1
            self.loop.call_later(self.travel(), self.meet, self.line)

    def meet(self, line: int) -> None:
        if line == self.line and not self.parted and self.greeting is None:
            self.greeting = self.owner.greeting()
            self.transmit(self.greeting)

    def send(self, request: Request) -> None:
        (self.transmit if self.ready else self.pending.append)(request)

    def withdraw(self, request: Request) -> bool:
        if request.sent or request not in self.pending:
            return False
        self.pending.remove(request)
        return True

    def greet(self) -> None:
        self.ready, self.greeting = False, None
        if self.line and not self.down:
            self.loop.call_soon(self.meet, self.line)

    @property
    def connected(self) -> bool:
        return self.ready

    def suspect(self) -> None:
        self.suspected += 1
        self.cut()

    def listen(self) -> None:
        self.listened += 1

    def confirm(self, request: Request) -> None:
        self.loop.call_soon(self.owner.answered, request, [b"ok"])

    def part(self) -> None:
        self.ready, self.parted = False, True
        self.line += 1
        self.greeting = None
        self.pending.clear()
        self.under_way.clear()

    async def leave(self) -> None:
        self.part()

    def transmit(self, request: Request) -> None:
        request.sent += 1
        self.under_way.append(request)
        there = max(self.clear[0], self.loop.time() + self.travel())
        self.clear = there, self.clear[1]
        self.loop.call_at(there, self.arrive, self.line, request, self.owner.done())

    def arrive(self, line: int, request: Request, done: int) -> None:
        if line != self.line:
            return
        engine_request: Any = _Told(request, self)
        reply = self.engine.carry_out(engine_request, done)
        back = max(self.clear[1], self.loop.time() + self.travel())
        self.clear = self.clear[0], back
        self.loop.call_at(back, self.come_back, line, request, reply)

    def come_back(self, line: int, request: Request, reply: Reply) -> None:
        if line != self.line:
            return
        self.under_way.remove(request)
        if request is self.greeting and reply[0] == b"again":
            self.transmit(request)
            return
        self.owner.answered(request, reply)
        if request is self.greeting:
            self.greeting = None
            self.ready = True
            pending, self.pending = self.pending, []
            for one in pending:
                self.transmit(one)

    def speaker(self, session: str) -> Callable[[bytes, int], None]:
        """What is said to a session goes a way of its own."""

        def say(word: bytes, number: int) -> None:
            line = self.line

            def tell() -> None:
                if line == self.line and not self.parted and session == self.owner.session:
                    self.owner.told(word, number)

            self.loop.call_later(self.travel(), tell)

        return say

    def cut(self, for_how_long: float = 0.0) -> None:
        """The connection is lost, with all that travels on it."""
        self.ready = False
        self.line += 1
        self.clear = (0.0, 0.0)
        if self.greeting is not None:
            self.greeting.answered = True
            self.under_way.remove(self.greeting)
            self.greeting = None
        self.pending = self.under_way + self.pending
        self.under_way = []
        if for_how_long != inf:
            self.loop.call_later(for_how_long, self.connect)


class _Told:
    """A request as it arrives: a copy, for what is sent may change."""

    def __init__(self, request: Request, owner: LocalStore) -> None:
        self.op, self.args = request.op, request.args
        self.session, self.number = request.session, request.number
        self.owner = owner


class Bytes:
    """Keys that are no texts."""

    tag = b"B"

    def encode(self, thing: bytes) -> bytes:
        return thing

    def decode(self, data: bytes) -> bytes:
        return data


def local_queue(
    engine: Engine | None = None, travel: Callable[[], float] = lambda: 0, **options: Any
) -> EngineQueue[str, Any]:
    """A queue in this process that thinks it is far away."""
    engine = Engine(**options) if engine is None else engine
    given: dict[str, Any] = {
        "default_lease_timeout": 30,
        "maxsize": 0,
        "if_in_flight": "update",
        "keys": Text(),
        "values": Json(),
        "max_key": 1024,
        "max_value": 1_048_576,
        "durable": False,
        "unavailable_timeout": 5,
        "session_ttl": 30,
        "claim_timeout": 5,
        **options,
    }
    return EngineQueue(LocalStore(engine, travel), "local", **given)
