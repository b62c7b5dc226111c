"""Whatever can be driven through the specification's steps: the machine, the model, the shell.

A `Player` carries out one labelled step after another on an `Engine`, by the operations of the
machine and by `snapshot` alone, and tells the state in the terms of the specification.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import inf
from typing import Any, Protocol

from tests.conformance.graph import REFUSED, Graph, Label, Seen, State, number
from tests.model.model import Lease, Model
from tests.subject import module

KEYS = ("k1", "k2", "k3")
LONG_AGO = -inf  # nothing is due then, so to look at the queue as of then does not change it
WAITS = ("WAITING", "RESERVED")


class Engine(Protocol):
    """What a queue has to answer, besides the operations (``it``), to be driven and looked into."""

    it: Any  # has the operations of the machine, and its `snapshot`

    def outcome(self, waiter: Any) -> str:
        """The name of what has become of a call that waits."""

    def number(self, lease: Any) -> int:
        """Of the grant."""

    def stranger(self) -> Any:
        """A lease of another queue."""

    def after(self, waiters: Iterable[Any]) -> None:
        """Called after each step, with the calls that wait; asserts that the right ones woke."""

    def check(self) -> None:
        """Assert whatever else it promises."""

    def leave(self) -> None:
        """It is not needed any more."""


class MachineEngine:
    """The machine. Whoever drives it empties its outbox."""

    make: Any = module("_machine").Machine
    it: Any

    def __init__(self, maxsize: int) -> None:
        self.it = self.make(None, maxsize)
        self.woken: set[int] = set()

    def outcome(self, waiter: Any) -> str:
        name: str = waiter.outcome.name
        return name

    def number(self, lease: Any) -> int:
        return int(lease.token[-12:], 16)

    def stranger(self) -> Any:
        other = self.make()
        other.put("k1", 0, None, 0, None, 0.0)
        return other.get(None, None, 0.0)[2]

    def after(self, waiters: Iterable[Any]) -> None:
        outbox = self.it.outbox
        outbox.changed = False
        outbox.dropped.clear()
        while outbox.woken:
            ticket = outbox.woken.popleft().ticket
            assert ticket not in self.woken, f"{ticket} is woken twice"
            self.woken.add(ticket)
        for waiter in waiters:
            assert (waiter.ticket in self.woken) == (waiter.outcome.name != "WAITING"), "woken"

    def check(self) -> None:
        self.it.check_invariants()

    def leave(self) -> None: ...


class ModelEngine:
    """The reference model."""

    it: Any

    def __init__(self, maxsize: int) -> None:
        self.it = Model(None, maxsize)

    def outcome(self, waiter: Any) -> str:
        name: str = waiter.outcome
        return name

    def number(self, lease: Any) -> int:
        number: int = lease.number
        return number

    def stranger(self) -> Any:
        return Lease(-1, "k1")

    def after(self, waiters: Iterable[Any]) -> None: ...
    def check(self) -> None: ...
    def leave(self) -> None: ...


class Player:
    """Takes an engine through the steps of a model."""

    def __init__(self, make: Any, graph: Graph, log: list[str] | None = None) -> None:
        self.engine: Engine = make(int(graph.constants["MaxSize"]))
        self.it = self.engine.it
        self.log = log
        self.lease_time, self.wait_time = graph.lease_time, graph.wait_time
        self.all_keys = graph.delays  # versions are compared across all keys
        self.ends = graph.ends
        self.looks = "refresh" in graph.constants["Uses"]
        self.most = int(graph.constants["Most"])
        self.now = 0.0
        self.tries = 0  # of puts, each with a value of its own
        self.values: list[int] = [0]  # by version
        self.newest: dict[str, int] = {}  # version put, by key
        self.calls: dict[str, Any] = {}  # waiters
        self.asked: dict[str, tuple[str, str, str, int]] = {}  # puts: key, policy, delay, value
        self.leases: dict[str, Any] = {}
        self.names: dict[int, str] = {}  # of the numbers of leases
        self.told: set[tuple[str, str]] = set()
        self.delivered: Seen | None = None  # what a get has just returned
        self.result: Any = None

    # -- steps

    def do(self, label: Label) -> set[tuple[str, str]]:
        """Carry out one step; what calls have come to. Raises what the operation raises."""
        self.told, self.delivered = set(), None
        try:
            getattr(self, label[0])(*label[1:])
        finally:
            result = self.result
            for name in [*self.calls]:
                if self.engine.outcome(self.calls[name]) not in WAITS:
                    self._ends(name)
            self.result = result
        self.engine.after(self.calls.values())
        return self.told

    def _ends(self, name: str) -> bool:
        """A call that is over returns, or raises."""
        try:
            result, fine = str(self.call("resume", self.calls[name])), True
        except Exception as raised:  # noqa: BLE001 (it is compared)
            result, fine = type(raised).__name__, False
        self.told.add((name, result))
        del self.calls[name]
        return fine

    def answer(self, label: Label) -> str:
        """What a call comes to: an error, or the result."""
        try:
            self.do(label)
        except Exception as raised:  # noqa: BLE001 (it is compared)
            return type(raised).__name__
        return str(self.result)

    def call(self, operation: str, *arguments: Any) -> Any:
        if self.log is not None:
            known = {id(it): f"lease_{name}" for name, it in self.leases.items()}
            known |= {id(it): name for name, it in self.calls.items()}
            shown = [known.get(id(it), repr(it)) for it in arguments]
            self.log.append(f"queue.{operation}({', '.join([*shown, str(self.now)])})")
        self.result = getattr(self.it, operation)(*arguments, self.now)
        return self.result

    def put(self, key: str, policy: str, delay: str, call: str = "") -> None:
        self.tries = value = self.tries + 1
        timeout = self.wait_time[call] if call else 0
        waiter = self.call("put", key, value, policy, number(delay), timeout)
        if call:
            self.calls[call] = waiter
            self.asked[call] = (key, policy, delay, value)
            assert waiter is not None, "the put waits for no slot"
        else:
            self._accepted(key, value)

    def put_waits(self, call: str, key: str, policy: str, delay: str) -> None:
        self.put(key, policy, delay, call)

    def _accepted(self, key: str, value: int) -> None:
        self.newest[key] = len(self.values)
        self.values.append(value)

    def get(self, call: str) -> None:
        self._got(call, self.call("get", self.wait_time[call], self.lease_time[call]))

    def take(self, call: str, key: str) -> None:
        self._got(call, self.call("take", key, self.wait_time[call], self.lease_time[call]))

    def _got(self, call: str, outcome: Any) -> None:
        if type(outcome) is not tuple:
            self.calls[call] = outcome
            return
        key, value, lease = outcome
        self.leases[call] = lease
        grant = self.engine.number(lease)
        self.names[grant] = call
        assert lease.key == key
        deadline = self.now + self.lease_time[call]
        self.delivered = (grant, key, value, lease.attempt, None, deadline)

    def resume(self, call: str) -> None:
        waiter = self.calls[call]
        assert self.engine.outcome(waiter) == "RESERVED", f"{call} has nothing"
        if call in self.asked:
            key, _, _, value = self.asked.pop(call)
            if self._ends(call):
                self._accepted(key, value)
        else:
            delivery = self.call("resume", waiter)
            del self.calls[call]
            self._got(call, delivery)

    def cancel(self, call: str) -> None:
        self.call("cancel", self.calls[call])
        del self.calls[call]

    def ack(self, lease: str) -> None:
        self.call("ack", self._lease(lease))

    def release(self, lease: str, place: str, delay: str) -> None:
        self.call("release", self._lease(lease), place == "front", number(delay))

    def extend(self, lease: str, time: str) -> None:
        self.call("extend", self._lease(lease), None if time == "Same" else number(time))

    def refresh(self, lease: str) -> None:
        value = self.call("refresh", self._lease(lease))
        grant = self.engine.number(self._lease(lease))
        assert [value] == [row[2] for row in self.it.snapshot(LONG_AGO).flight if row[0] == grant]

    def discard(self, key: str) -> None:
        self.call("discard", key)

    def join(self, call: str) -> None:
        waiter = self.call("join", self.wait_time[call])
        if waiter is not None:
            self.calls[call] = waiter

    def drain(self, call: str) -> None:
        outcome = self.call("drain", self.wait_time[call])
        if isinstance(outcome, bool):
            self.told.add((call, str(outcome)))
        else:
            self.calls[call] = outcome

    def shutdown(self) -> None:
        self.call("shutdown")

    def close(self) -> None:
        self.call("close")

    def time_out(self) -> None:
        self.call("time_out")

    def reap(self) -> None:
        self.call("reap")

    def tick(self) -> None:
        self.now += 1

    def _lease(self, call: str) -> Any:
        """The last lease of a call; if it never had one, a lease of another queue."""
        return self.leases[call] if call in self.leases else self.engine.stranger()

    # -- the state

    @property
    def seen(self) -> Seen:
        """With each version replaced by its rank, and each deadline by the time that is left."""
        snapshot = self.it.snapshot(LONG_AGO)
        phase, puts, returned, arrived, delayed, deferred, flight, waiting, slots = snapshot
        out = [row[1:] for row in flight]
        if self.delivered is not None:
            assert self.delivered in [(*row[:3], *row[4:]) for row in flight], self.delivered
        stored: dict[str, list[int]] = {}
        versions = []
        for key, value, version, *_ in (*returned, *arrived, *delayed, *deferred, *out):
            assert self.values[version] == value, f"version {version} of {key} is {value}"
            stored.setdefault(key, []).append(version)
            versions.append(version)
        groups = [versions] if self.all_keys else stored.values()
        rank = {v: place for group in groups for place, v in enumerate(sorted(group), 1)}
        assert puts == len(self.values) - 1
        calls = {waiter.ticket: name for name, waiter in self.calls.items()}

        def left(time: float, least: float = -inf) -> object:
            return "Never" if time == inf else int(max(time - self.now, least))

        def copy(row: Any) -> Seen:
            return row[0], rank[row[2]], min(row[3], self.most)

        def in_flight(row: Any) -> Seen:
            grant, ticket, deadline = row[0], row[5], row[6]
            name = self.names[grant] if ticket is None else calls[ticket]
            newer = self.looks and ticket is None
            newer = newer and self.it.superseded(self.leases[name], LONG_AGO)
            return *copy(row[1:]), "Reserved" if ticket else left(deadline), name, newer

        wait = [(kind, calls[ticket], left(time, 0), key) for ticket, kind, key, time in waiting]
        return (
            tuple(map(copy, returned)),
            tuple(map(copy, arrived)),
            tuple((*copy(row), left(row[4])) for row in delayed),
            frozenset((*copy(row), left(row[4], 0)) for row in deferred),
            tuple(map(in_flight, flight)),
            tuple((c, t, k or "AnyKey") for kind, c, t, k in wait if kind in ("get", "take")),
            tuple((c, t, *self._put(c)) for kind, c, t, _ in wait if kind == "put"),
            frozenset((c, t, kind) for kind, c, t, _ in wait if kind in ("join", "drain")),
            tuple((calls[t], "Reserved", *self._put(calls[t])) for t in slots),
            phase,
            frozenset(k for k in stored if self.looks and max(stored[k]) < self.newest[k]),
        )

    def _put(self, call: str) -> Seen:
        key, policy, delay, _ = self.asked[call]
        return key, policy, number(delay) if delay != "Never" else delay

    @property
    def shown(self) -> Seen:
        """What introspection shows, held against the snapshot where the state does not say it."""
        it, now = self.it, self.now
        available = it.available_keys(now)
        for key in KEYS:
            assert it.contains(key, now) == (key in available)
            assert (it.peek(key, now) is not None) == (key in available)
        snapshot = it.snapshot(LONG_AGO)
        line = [(row[0], row[1]) for row in (*snapshot[2], *snapshot[3])]
        assert it.available_items(now) == line
        for row in snapshot[6]:
            if row[5] is None:
                assert it.deadline(self.leases[self.names[row[0]]], now) == row[6]
        keys = (frozenset(k) for k in (available, it.inflight_keys(now), it.delayed_keys(now)))
        return (*keys, it.qsize(now), it.inflight_size(now), it.delayed_size(now))

    def refused(self, state: State) -> str:
        """Make every call that is refused there. Returns what is wrong, if anything is."""
        settled = next(step.after for step in state.steps if step.label is REFUSED)
        mark = len(self.log or ())
        as_it_was = None
        for label, comes_to in state.refused:
            answer = self.answer(label)
            allowed = {comes_to}
            if not self.ends and comes_to in OF_LEASES:
                allowed = OF_LEASES  # the model does not say how it ended
            if answer not in allowed:
                return f"{' '.join(label)} comes to {answer} instead of {comes_to}"
            # The first of them has carried out what was due. What does not show in a snapshot
            # (`superseded`) is looked at after the last.
            as_it_is = self.it.snapshot(LONG_AGO)
            if as_it_is == as_it_was and label is not state.refused[-1][0]:
                continue
            as_it_was = as_it_is
            if self.seen != settled.seen:
                return (
                    f"{' '.join(label)} is refused, but leads to {self.seen}\n"
                    f"  instead of   {settled.seen}"
                )
        self.engine.check()
        if self.shown != state.shown:
            return f"introspection shows {self.shown} instead of {state.shown}"
        if self.log is not None:  # as they should, they did nothing else
            self.log[mark:] = [f"queue.reap({self.now})"]
        return ""


OF_LEASES = {"InvalidLeaseError", "LeaseExpiredError", "LeaseAlreadyAcknowledgedError"}
