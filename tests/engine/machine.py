"""The machine on a server, with the operations of `leasedkeyq._machine.Machine`.

So whatever drives the machine can drive this one: the replay of the specification's transitions,
the state machines, the schedules. Every operation is one call of `machine.lua` on a server, and
the state that it leads to comes with the reply.

The server's code is the production one, but for its one function `clock`, which here reads the
time from an argument. Times are counted in `UNIT`, from before zero on: so the numbers of grants,
which follow the clock where that is ahead, are those of the specification.
"""

from __future__ import annotations

import atexit
import gc
import re
import socket
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from itertools import count, islice
from math import inf
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final, Self, TypeAlias
from weakref import WeakValueDictionary

import hiredis
from greenlet import getcurrent, greenlet

import leasedkeyq
from leasedkeyq._checks import (
    AT_ONCE,
    bound,
    delay_seconds,
    lease_seconds,
    put_event,
    seconds,
    text,
)
from leasedkeyq._phases import called_from_within
from leasedkeyq._records import (
    ACKED,
    ENDED,
    EXPIRED,
    LEFT,
    LIVE,
    RELEASED,
    RESERVED,
    WAITING,
    Copy,
    Flight,
    Grant,
    Held,
    Outbox,
    Snapshot,
    Wait,
    Waiter,
    lead_to,
)
from leasedkeyq._table import POLICIES
from leasedkeyq._tokens import Issuer
from leasedkeyq._waiting import too_late
from leasedkeyq.errors import (
    InvalidLeaseError,
    KeyAlreadyInFlightError,
    LeaseAlreadyAcknowledgedError,
    LeaseExpiredError,
    QueueClosedError,
)
from leasedkeyq.lease import Lease
from leasedkeyq.stats import Stats
from tools.server import Server

SOURCE: Final = Path(leasedkeyq.__file__).parent / "redis" / "machine.lua"
INVARIANTS: Final = Path(__file__).with_name("invariants.lua")
UNIT: Final = 10**10  # in a second
EPOCH: Final = 10**15  # the moment 0, in units after the first; all that a test comes to is earlier
CLOCK: Final = """\
local function clock(args)
    local time = table.remove(args)
    return time == '-inf' and -INF or tonumber(time)
end
"""
SESSION: Final = "0123456789abcdef"
PARTS: Final = (
    *("meta", "keys", "values", "line", "late", "fly", "crowd", "due", "takers", "slots"),
    *("getters", "putters", "joiners", "drainers", "waits", "waiting", "ending", "ripening"),
    "leaving",
    *(f"{what}:{SESSION}" for what in ("session", "calls", "bound")),
)
# All that there is of a queue, under the name of another.
FORK: Final = f"""\
for part in string.gmatch('{" ".join(PARTS)}', '%S+') do
    redis.call('COPY', KEYS[1] .. ':' .. part, KEYS[2] .. ':' .. part)
end
"""
BATCH: Final = 64  # queues that are done with, before their keys are removed


Command: TypeAlias = tuple[Any, ...]
Half: TypeAlias = list[tuple[greenlet, tuple[Command, ...]]]


def on_a_test_clock(source: str) -> str:
    """The source with its clock replaced, and under another name."""
    clock = re.compile(r"^local function clock\(.*?^end\n", re.MULTILINE | re.DOTALL)
    source, replaced = clock.subn(lambda _: CLOCK, source)
    assert replaced == 1, f"{replaced} clocks in the source"
    return source.replace("leasedkeyq2", "leasedkeyq2_test")


def where_all_values_are_long(source: str) -> str:
    """The source, that keeps no value with its key or copy."""
    source, replaced = re.subn(
        r"^local SHORT = 256\b", "local SHORT = -1", source, flags=re.MULTILINE
    )
    assert replaced == 1
    return source


class Wire:
    """One connection, for commands and for what is published, in the server's order."""

    def __init__(
        self, path: str, source: str, *, as_script: bool = False, listens: bool = True
    ) -> None:
        self.reader = hiredis.Reader()
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(path)
        self.machines: WeakValueDictionary[bytes, RedisMachine] = WeakValueDictionary()
        self.names = count(1)
        self.done: list[str] = []  # with queues of these names
        self.heard: list[tuple[bytes, bytes]] = []  # by nobody's machine: channel and message
        self.run: tuple[str, ...]
        try:
            self._load(source, as_script)
        except BaseException:  # it may be no Lua: a planted bug
            self.socket.close()
            raise
        if listens:
            self.ask(("PSUBSCRIBE", "lkq:*"))

    def _load(self, source: str, as_script: bool) -> None:
        self.ask(("HELLO", "3"))
        (commands,) = self.ask(("COMMAND", "INFO", "FCALL"))
        if as_script or commands[0] is None:  # Redis 6 has no functions
            self.run = ("EVALSHA", self.ask(("SCRIPT", "LOAD", source.partition("\n")[2]))[0])
        else:
            self.ask(("FUNCTION", "LOAD", "REPLACE", source))
            self.run = ("FCALL", "leasedkeyq2_test")
        self.fork = self.ask(("SCRIPT", "LOAD", FORK))[0]
        self.check = self.ask(("SCRIPT", "LOAD", INVARIANTS.read_text()))[0]

    def ask(self, *commands: Command) -> list[Any]:
        """Their replies; whatever was published meanwhile has been told to the machines."""
        pool = getcurrent().parent
        if pool is not None:
            replies: list[Any] = pool.switch(commands)
        else:
            replies = self._ask(commands)
        for reply in replies:
            if isinstance(reply, Exception):
                raise reply
        return replies

    def side_by_side(self, jobs: Iterable[Callable[[], None]], width: int) -> None:
        """Carry jobs out, so many at a time, and ask together what they ask.

        In two halves: while the server works for the one, the other one goes on.
        """
        ahead = iter(jobs)
        halves: deque[Half] = deque([[], []])
        while True:
            half = halves.popleft()
            replies = iter(self._receive(sum(len(commands) for _, commands in half)))
            asked, half = half, []
            for one, commands in asked:
                if (more := one.switch([*islice(replies, len(commands))])) is not None:
                    half.append((one, more))
            for job in islice(ahead, max(0, width // 2 - len(half))):
                one = greenlet(job)
                if (commands := one.switch()) is not None:
                    half.append((one, commands))
            self._send([command for _, commands in half for command in commands])
            halves.append(half)
            if not halves[0] and not half:
                return

    def _ask(self, commands: Sequence[Command]) -> list[Any]:
        self._send(commands)
        return self._receive(len(commands))

    def _send(self, commands: Sequence[Command]) -> None:
        if len(self.done) >= BATCH:
            keys = [key for name in self.done for key in keys_of(name)]
            self.done.clear()
            commands = [("CLIENT", "REPLY", "SKIP"), ("UNLINK", *keys), *commands]
        self.socket.sendall(b"".join(map(hiredis.pack_command, commands)))

    def _receive(self, number: int) -> list[Any]:
        replies: list[Any] = []
        while len(replies) < number:
            reply = self.reader.gets()
            if reply is False:
                received = self.socket.recv(1 << 20)
                assert received, "the server has closed the connection"
                self.reader.feed(received)
            elif not isinstance(reply, hiredis.PushNotification):
                replies.append(reply)
            elif reply[0] in (b"message", b"pmessage"):
                *_, channel, message = reply
                machine = self.machines.get(channel.rpartition(b":")[0])
                if machine is not None:
                    machine._messages.append(message)
                else:
                    self.heard.append((channel, message))
            else:  # of a subscription, which has no other reply
                replies.append(reply)
        return replies

    def forget(self, name: str) -> None:
        """The queue of this name is done with."""
        self.done.append(name)


def keys_of(name: str) -> list[str]:
    """All that the server may keep of a queue."""
    return [f"{name}:{part}" for part in PARTS]


COUNTS: Final = [name for name in Stats.__dataclass_fields__ if not name.endswith("_age")]
LOOKS: Final = {
    *("qsize", "inflight_size", "delayed_size", "peek", "contains", "superseded", "deadline"),
    *("available_keys", "available_items", "inflight_keys", "delayed_keys", "stats"),
}


@cache
def wire() -> Wire:
    """To a server of this process, which ends with it."""
    server = Server().start()
    connected = Wire(str(server.socket), on_a_test_clock(SOURCE.read_text()))
    atexit.register(server.remove)
    atexit.register(connected.socket.close)  # first
    return connected


class RedisMachine:
    """One queue on the server, and one session of it."""

    tells_ages = tells_events = False
    _connect: Callable[[], Wire] = staticmethod(wire)

    def __init__(
        self, default: object = None, maxsize: object = 0, if_in_flight: object = "update"
    ) -> None:
        self._default = inf if default is None else lease_seconds("default_lease_timeout", default)
        self._policy = POLICIES[put_event(if_in_flight)]
        limit = bound(maxsize)
        self._wire = self._connect()
        self._name = f"lkq:{{{next(self._wire.names)}}}"
        self._wire.machines[self._name.encode()] = self
        self._issuer = Issuer()
        self._request = 0
        self._messages: list[bytes] = []
        self._keys: dict[object, bytes] = {}
        self._objects: dict[bytes, object] = {}  # keys and values, by what the server has for them
        self._values: set[bytes] = set()  # the names of values, of those
        self._made = 0
        self._put = b""  # the last of them
        self._grants: dict[int, Grant] = {}  # live leases
        self._waiters: dict[int, Waiter] = {}  # calls that wait or can resume, by request
        self._requests: dict[int, int] = {}  # by ticket
        self._stored: dict[int, bytes] = {}  # by ticket: the value that a put waits with
        self._ending: tuple[Any, Any] = (None, None)  # a lease, and how the operation ends it
        self._exact: dict[int, float] = {}  # moments that were asked for
        self._phase = "open"
        self._as_of = -inf  # what was due by then has been carried out
        self._busy = False
        self._before: tuple[Command, ...] = ()  # what to ask the server before anything else
        self.outbox = Outbox()
        self.deadlines = SimpleNamespace(soonest=-inf)  # the shell is to read its clock, always
        self._do("open", "2", "0" if limit == inf else str(limit), "inf", "inf", now=0.0)

    def __del__(self) -> None:
        self._leave()

    def _leave(self) -> None:
        """The server may forget the queue."""
        if self._name:
            self._wire.forget(self._name)
            self._name = ""

    @property
    def busy(self) -> bool:
        return self._busy

    # -- producers ---------------------------------------------------------------

    def put(
        self, key: Any, value: Any, policy: Any, delay: Any, timeout: Any, now: float
    ) -> Waiter | None:
        how = self._policy if policy is None else POLICIES[put_event(policy)]
        pause = 0.0 if delay is AT_ONCE else delay_seconds(delay)
        wait = inf if timeout is None else seconds("timeout", timeout)
        with self._enter():
            self._begin(now, "shut", "closed")
            name = self._key(key)
            stored = self._keep(value)
            self._will_be(now, pause, wait)
            reply = self._do("put", name, stored, how, units(pause), units(wait), now=now)
            waiter: Waiter | None = self._outcome(reply, "put", key, wait, timeout)
            if waiter is not None:
                waiter.put = value, 0, pause
                self._stored[waiter.ticket] = stored
            return waiter

    def discard(self, key: Any, now: float) -> bool:
        with self._enter():
            self._begin(now, "closed")
            return bool(self._outcome(self._do("discard", self._key(key), now=now)) == b"1")

    # -- consumers ---------------------------------------------------------------

    def get(self, timeout: Any, lease_timeout: Any, now: float) -> Any:
        return self._consume("get", (), timeout, lease_timeout, now)

    def take(self, key: Any, timeout: Any, lease_timeout: Any, now: float) -> Any:
        return self._consume("take", (key,), timeout, lease_timeout, now)

    def _consume(
        self, kind: str, keys: tuple[Any, ...], timeout: Any, lease_timeout: Any, now: float
    ) -> Any:
        wait = inf if timeout is None else seconds("timeout", timeout)
        duration = self._default
        if lease_timeout is not None:
            duration = lease_seconds("lease_timeout", lease_timeout)
        with self._enter():
            self._begin(now, "closed")
            names = [self._key(key) for key in keys]
            self._will_be(now, wait, duration)
            reply = self._do(kind, *names, units(wait), units(duration), now=now)
            key = keys[0] if keys else None
            return self._outcome(reply, kind, key, wait, timeout, duration)

    # -- calls that wait ---------------------------------------------------------

    def resume(self, waiter: Waiter, now: float) -> Any:
        with self._enter():
            self._will_be(now, waiter.duration, waiter.put[2] if waiter.put else inf)
            value = [self._stored[waiter.ticket]] if waiter.put else []
            reply = self._do("resume", self._named(waiter), *value, now=now)
            if reply[0] in (b"wait", b"gone"):
                raise RuntimeError(f"the call has nothing to resume with: {waiter.outcome.name}")
            self._waiters.pop(self._requests[waiter.ticket], None)
            waiter.outcome, waiter.put = LEFT, None
            self._drop_values()
            if waiter.kind == "drain":
                return reply[1] == b"1"
            return self._outcome(
                reply, waiter.kind, waiter.key, waiter.timeout, None, waiter.duration
            )

    def cancel(self, waiter: Waiter, now: float) -> None:
        if self._busy:
            self.outbox.left.append(waiter)
            self.outbox.changed = True
            return
        with self._enter():
            self._waiters.pop(self._requests[waiter.ticket], None)
            waiter.outcome, waiter.put = LEFT, None
            self._do("cancel", self._named(waiter), now=now)

    def time_out(self, now: float) -> None:
        with self._enter():
            self._do("tick", now=now)
            self.outbox.changed = True  # the timer has to be armed again

    # -- leases ------------------------------------------------------------------

    def ack(self, lease: Any, now: float) -> None:
        self._on_lease("ack", lease, (), now, ACKED)

    def release(self, lease: Any, requeue_front: Any, delay: Any, now: float) -> None:
        pause = 0.0 if delay is AT_ONCE else delay_seconds(delay)
        if requeue_front and pause > 0:
            raise ValueError(f"a release with a delay of {pause} s can't go to the front")
        self._will_be(now, pause)
        front = "1" if requeue_front else "0"
        self._on_lease("release", lease, (front, units(pause)), now, RELEASED)

    def extend(self, lease: Any, timeout: Any, now: float) -> None:
        duration = None if timeout is None else lease_seconds("timeout", timeout)
        if duration is not None:
            self._will_be(now, duration)
        elif (grant := getattr(lease, "_grant", None)) is not None:
            self._will_be(now, grant.duration)
        self._on_lease("extend", lease, ("same" if duration is None else units(duration),), now)

    def refresh(self, lease: Any, now: float) -> Any:
        return self._objects[self._on_lease("refresh", lease, (), now)[1]]

    def superseded(self, lease: Any, now: float) -> bool:
        return bool(self._on_lease("superseded", lease, (), now)[1] == b"1")

    def deadline(self, lease: Any, now: float) -> float:
        return self._time(self._on_lease("deadline", lease, (), now)[1])

    def _on_lease(
        self, operation: str, lease: Any, more: tuple[str, ...], now: float, ends: Any = None
    ) -> list[Any]:
        with self._enter():
            self._begin(now, "closed")
            held = lease if type(lease) is Lease else _leased(lease)
            grant: Grant | None = held._grant
            if grant is not None and grant.issuer is not self._issuer:
                number: int | None = 0
            else:
                number = grant.number if grant else self._number_of(held.token)
            key = self._key(grant.entry.key if grant else held.key)
            if ends is None or grant is None:
                grant = self._grants.get(number or 0)
            # It is over with the operation; if that is refused, then by its own expiry.
            self._ending = (grant, ends)
            reply = self._do(operation, str(number or 0), key, *more, now=now)
            if reply[0] == b"dead":
                raise self._dead(held)
            self._outcome(reply)
            return reply

    def _number_of(self, token: str) -> int | None:
        return next((n for n, one in self._grants.items() if one.token() == token), None)

    def _dead(self, lease: Lease[Any]) -> Exception:
        grant = lease._grant
        if grant is None or grant.issuer is not self._issuer:
            return InvalidLeaseError(f"{text(lease)} is not live in this queue")
        if grant.standing is ACKED:
            return LeaseAlreadyAcknowledgedError(f"{text(lease)} was acknowledged already")
        if grant.standing is EXPIRED:
            return LeaseExpiredError(f"{text(lease)} ran out before this call")
        return InvalidLeaseError(f"{text(lease)} was released already")

    # -- the whole queue ---------------------------------------------------------

    def start(self, now: float) -> None:
        with self._enter():
            self._do("qsize", now=now)
            self._begin(now, "closed")

    def join(self, timeout: Any, now: float) -> Waiter | None:
        wait = inf if timeout is None else seconds("timeout", timeout)
        with self._enter():
            self._will_be(now, wait)
            reply = self._do("join", units(wait), now=now)
            waiter: Waiter | None = self._outcome(reply, "join", None, wait, timeout)
            return waiter

    def drain(self, timeout: Any, now: float) -> Waiter | bool:
        wait = inf if timeout is None else seconds("timeout", timeout)
        with self._enter():
            self._will_be(now, wait)
            reply = self._do("drain", units(wait), now=now)
            if reply[0] == b"wait":
                waiter: Waiter = self._outcome(reply, "drain", None, wait, timeout)
                return waiter
            return bool(reply[1] == b"1")

    def shutdown(self, now: float) -> None:
        with self._enter():
            self._do("shutdown", now=now)

    def close(self, now: float) -> None:
        with self._enter():
            self._do("close", now=now)

    # -- looking -----------------------------------------------------------------

    def reap(self, now: float) -> None:
        self.qsize(now)

    def qsize(self, now: float) -> int:
        return self._size("qsize", now)

    def inflight_size(self, now: float) -> int:
        return self._size("inflight_size", now)

    def delayed_size(self, now: float) -> int:
        return self._size("delayed_size", now)

    def _size(self, operation: str, now: float) -> int:
        with self._enter():
            return int(self._do(operation, now=now)[1])

    def peek(self, key: Any, now: float) -> Any:
        with self._enter():
            reply = self._do("peek", self._key(key), now=now)
            return self._objects[reply[1]] if len(reply) > 1 else None

    def contains(self, key: Any, now: float) -> bool:
        with self._enter():
            return bool(self._do("contains", self._key(key), now=now)[1] == b"1")

    def available_keys(self, now: float) -> set[Any]:
        keys: set[Any] = self._paged("available_keys", set, now)
        return keys

    def available_items(self, now: float) -> list[tuple[Any, Any]]:
        flat: list[Any] = self._paged("available_items", list, now)
        return [*zip(flat[::2], flat[1::2], strict=True)]

    def inflight_keys(self, now: float) -> set[Any]:
        keys: set[Any] = self._paged("inflight_keys", set, now)
        return keys

    def delayed_keys(self, now: float) -> set[Any]:
        keys: set[Any] = self._paged("delayed_keys", set, now)
        return keys

    def _paged(self, operation: str, collected: Callable[[Iterable[Any]], Any], now: float) -> Any:
        with self._enter():
            found: list[Any] = []
            cursor = b"0"
            while True:
                _, cursor, *page = self._do(operation, cursor, now=now)
                found += page
                if cursor == b"0":
                    return collected([self._objects[name] for name in found])  # by keys' own code

    def stats(self, now: float) -> Stats:
        """Without ages: here the numbers of grants are those of the specification, and no times.

        Where there is an age it is said to be infinite, which is never too low.
        """
        with self._enter():
            flat = self._do("stats", "1", now=now)[1:]
        told = dict(zip(map(bytes.decode, flat[::2]), flat[1::2], strict=True))
        counts = {name: int(told[name]) for name in COUNTS}
        ages = [inf if there else None for there in (told["oldest_available_age"], told["leases"])]
        return Stats(**counts, oldest_available_age=ages[0], oldest_lease_age=ages[1])

    def snapshot(self, now: float) -> Snapshot:
        with self._enter():
            if now != -inf:
                self._do("qsize", now=now)
            return self._snapshot(self._shown)

    def _snapshot(self, shown: list[Any]) -> Snapshot:
        _, phase, puts, returned, arrived, delayed, deferred, flight, waiting, slots = shown
        thing, time = self._objects.__getitem__, self._time

        def copies(rows: list[Any]) -> tuple[Copy, ...]:
            return tuple(Copy(thing(k), thing(x), int(v), int(a)) for k, x, v, a in rows)

        def held(rows: list[Any]) -> tuple[Held, ...]:
            kept = [Held(thing(k), thing(x), int(v), int(a), time(t)) for k, x, v, a, t in rows]
            return tuple(sorted(kept, key=Held.order))

        def flying(row: list[Any]) -> Flight:
            number, key, value, version, attempts, call, deadline, _ = row
            ticket = self._waiter(call).ticket if call else None
            return Flight(
                int(number), thing(key), thing(value), int(version), int(attempts), ticket,
                time(deadline),
            )  # fmt: skip

        waits = [
            Wait(int(ticket), kind.decode(), thing(key) if key else None, time(deadline))
            for ticket, kind, key, deadline, _ in waiting
        ]
        return Snapshot(
            phase.decode(),
            int(puts),
            copies(returned),
            copies(arrived),
            held(delayed),
            held(deferred),
            tuple(sorted(map(flying, flight))),
            tuple(sorted(waits)),
            tuple(sorted(int(ticket) for ticket, _ in slots)),
        )

    def check_invariants(self) -> None:
        """Assert R1 to R10 of `machine.lua`."""
        (broken,) = self._wire.ask(("EVALSHA", self._wire.check, "1", self._name))
        assert not broken, broken

    # -- within ------------------------------------------------------------------

    def _enter(self) -> Self:
        if self._busy:
            raise called_from_within()
        self._busy = True
        self._collects = gc.isenabled()
        gc.disable()  # or what others have left behind ends here, so much more is done in here
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self._collects:
            gc.enable()
        self._busy = False

    def _begin(self, now: float, *phases: str) -> None:
        """Nothing of it is done in these phases, which it is too late to leave."""
        if self._phase in phases:
            self._do("qsize", now=now)
            raise QueueClosedError("the queue was shut down or closed")

    def _do(self, operation: str, *arguments: Any, now: float) -> list[Any]:
        """One call, and what shows of the state that it leads to."""
        run = (*self._wire.run, "1", self._name, SESSION)
        gone = [w for w in self._waiters.values() if w.caller.cancelled() and w.outcome is WAITING]
        for waiter in gone:  # from that moment on nothing is offered to it
            waiter.outcome = LEFT
            del self._waiters[self._requests[waiter.ticket]]
            self._request += 1
            numbers = (str(self._request), str(self._request - 1))
            self._wire.ask((*run, *numbers, "cancel", self._named(waiter), "-inf"))
        if operation in LOOKS:
            numbers = ("0", "0")
        else:
            self._request += 1
            numbers = (str(self._request), str(self._request - 1))
        call = (*run, *numbers, operation, *arguments, moment(now))
        look = (*run, "0", "0", "snapshot", "-inf")
        reply = [b"again"]
        while reply[0] == b"again":
            before, self._before = self._before, ()
            if now <= self._as_of and operation in LOOKS and not gone:  # nothing is due any more
                *_, reply = self._wire.ask(*before, call)
                return reply  # type: ignore[no-any-return]
            *_, reply, self._shown = self._wire.ask(*before, call, look)
        self._as_of = max(now, self._as_of)
        if reply[0] == b"wait" and operation != "resume":
            ticket = int(reply[1])
            self._requests[ticket] = self._request
            self._waiters[self._request] = Waiter(ticket, operation, None, inf)
        self._settle(reply)
        return reply

    def _settle(self, reply: list[Any]) -> None:
        """Take over what the state shows: of the calls that wait, of leases and of values."""
        _, phase, _, _, _, delayed, deferred, flight, waiting, slots = self._shown
        outbox, self._phase = self.outbox, phase.decode()
        # Calls.
        waits = {int(row[0]) for row in waiting}
        reserved = {int(row[0]) for row in slots}
        reserved |= {self._waiter(row[5]).ticket for row in flight if row[5]}
        for waiter in self._waiters.values():
            if waiter.ticket not in waits:
                waiter.outcome = RESERVED if waiter.ticket in reserved else ENDED
        for message in self._messages:
            word, _, which = message.partition(b" ")
            if word == b"ready":
                outbox.woken.append(self._waiters[int(which)])
                outbox.changed = True
        self._messages.clear()
        # Leases.
        live = {int(row[0]) for row in flight}
        for number in [number for number in self._grants if number not in live]:
            grant = self._grants.pop(number)
            ended, how = self._ending
            if grant is ended and how is not None and reply[0] == b"ok":
                grant.standing = how
            else:
                grant.standing = RELEASED if self._phase == "closed" else EXPIRED
        self._ending = (None, None)
        self._drop_values(self._put if reply[0] == b"wait" else b"")
        # The next moment at which somebody profits from a look.
        alarm = inf
        if waits:
            times = [row[4] for row in (*delayed, *deferred)] + [row[6] for row in flight]
            times += [row[3] for row in waiting]
            alarm = min(time for time in map(self._time, times) if time > -inf)
        if alarm != outbox.alarm:
            outbox.alarm = alarm
            outbox.changed = True

    def _drop_values(self, *also: bytes) -> None:
        """Let go of those that nobody will see again."""
        _, _, _, returned, arrived, delayed, deferred, flight, *_ = self._shown
        rows = (*returned, *arrived, *delayed, *deferred)
        kept = {*also} | {row[1] for row in rows} | {row[2] for row in flight}
        kept |= {self._stored[waiter.ticket] for waiter in self._waiters.values() if waiter.put}
        for name in [name for name in self._values if name not in kept]:
            self._values.remove(name)
            self.outbox.dropped.append(self._objects.pop(name))
            self.outbox.changed = True

    def _outcome(
        self,
        reply: list[Any],
        kind: str = "",
        key: Any = None,
        wait: float = inf,
        timeout: Any = None,
        duration: float = inf,
    ) -> Any:
        """What a reply means to the caller."""
        word = reply[0]
        if word == b"wait":
            waiter = self._waiters[self._requests[int(reply[1])]]
            waiter.key, waiter.timeout, waiter.duration = key, wait, duration
            return waiter
        if word == b"timeout":
            raise too_late(kind, key, timeout, wait)
        if word == b"flying":
            raise KeyAlreadyInFlightError(f"key {text(key)} is in flight")
        if word != b"ok":
            assert word in (b"shut", b"closed", b"nothing"), reply
            raise QueueClosedError("the queue was shut down or closed")
        if kind in ("get", "take"):
            return self._delivery(reply, duration)
        return reply[1] if len(reply) > 1 else None

    def _delivery(self, reply: list[Any], duration: float) -> tuple[Any, Any, Lease[Any]]:
        _, number, key, value, attempt = reply
        grant = Grant()
        grant.number, grant.issuer, grant.standing = int(number), self._issuer, LIVE
        grant.prefix = self._issuer.prefix
        grant.attempt = int(attempt)
        grant.duration = duration
        entry: Any = SimpleNamespace(key=self._objects[key])
        grant.entry = entry
        self._grants[grant.number] = grant
        lease: Lease[Any] = Lease.__new__(Lease)
        lead_to(lease, grant)
        return entry.key, self._objects[value], lease

    def _key(self, key: Any) -> bytes:
        """What the server has for a key; here alone the key's own code runs."""
        name = self._keys.get(key)
        if name is None:
            name = b"k%d" % len(self._keys)
            self._keys[key] = name
            self._objects[name] = key
        return name

    def _keep(self, value: Any) -> bytes:
        self._made += 1
        self._put = b"v%d" % self._made
        self._objects[self._put] = value
        self._values.add(self._put)
        return self._put

    def _waiter(self, call: bytes) -> Waiter:
        return self._waiters[int(call.rpartition(b":")[2])]

    def _named(self, waiter: Waiter) -> str:
        return str(self._requests[waiter.ticket])

    def _forked(self, calls: dict[int, Waiter], grant_of: Callable[[Grant], Grant]) -> RedisMachine:
        """A copy, of the queue on the server as well, to go on by itself."""
        twin: RedisMachine = RedisMachine.__new__(type(self))
        twin.__dict__.update(self.__dict__)
        twin._name = f"lkq:{{{next(self._wire.names)}}}"
        twin._wire.machines[twin._name.encode()] = twin
        twin._messages = []
        for name in ("_keys", "_objects", "_requests", "_stored", "_exact", "_values"):
            setattr(twin, name, getattr(self, name).copy())
        twin._waiters = {number: calls[id(waiter)] for number, waiter in self._waiters.items()}
        twin._grants = {number: grant_of(grant) for number, grant in self._grants.items()}
        twin.outbox = Outbox()
        twin.outbox.alarm = self.outbox.alarm
        twin._before = (("EVALSHA", self._wire.fork, "2", self._name, twin._name),)
        return twin

    def _stand(self) -> None:
        """The original may go."""
        before, self._before = self._before, ()
        self._wire.ask(*before)

    # -- time ----------------------------------------------------------------------

    def _will_be(self, now: float, *spans: float) -> None:
        """What the server will have of these moments is what is said here, to the last bit."""
        for span in spans:
            if abs(now + span) != inf:
                self._exact[round((now + span) * UNIT)] = now + span

    def _time(self, there: bytes) -> float:
        if there.endswith(b"inf"):
            return float(there)
        time = int(there) + EPOCH
        return self._exact.get(time, time / UNIT)


def units(span: float) -> str:
    return "inf" if span == inf else str(max(0, round(span * UNIT))) if span > 0 else "0"


def moment(time: float) -> str:
    return "-inf" if time == -inf else str(round(time * UNIT) - EPOCH)


def _leased(lease: object) -> Lease[Any]:
    if not isinstance(lease, Lease):
        raise TypeError(f"a Lease is needed, as get and take return it, not {lease!r}")
    return lease
