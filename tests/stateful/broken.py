"""Bugs to plant in the package: the machines must find every one of them.

A bug is a rule of the queue's meaning, broken by a small override of a method, or by a cell of the
table. It is planted in a copy of the source that is imported under a name of its own, for compiled
modules allow no such thing. The names in brackets are the projects that had it.
"""

from __future__ import annotations

import shutil
import sys
from asyncio import get_running_loop
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from math import inf
from pathlib import Path
from tempfile import mkdtemp
from types import SimpleNamespace
from typing import Any, TypeAlias

import pytest
from hypothesis.stateful import RuleBasedStateMachine

from tests.stateful.machine_mirror import MachineMirror as M
from tests.stateful.parts_mirror import DeadlinesMirror as D
from tests.stateful.parts_mirror import ListMirror as L
from tests.stateful.queue_mirror import QueueMirror as Q
from tests.subject import PACKAGE

Machine: TypeAlias = type[RuleBasedStateMachine]


@cache
def pure() -> Any:
    """A copy of the source under test, as `tests.subject` would name it."""
    spec = find_spec(PACKAGE)
    assert spec is not None
    assert spec.origin is not None
    folder, name = Path(mkdtemp()), "leasedkeyq_pure"
    others = shutil.ignore_patterns("*.so", "*.pyd", "__pycache__")
    shutil.copytree(Path(spec.origin).parent, folder / name, ignore=others)
    sys.path.insert(0, str(folder))
    with pytest.MonkeyPatch.context() as environment:
        environment.delenv("LEASEDKEYQ_EXTENSIONS", raising=False)
        package = import_module(name)
    sys.path.remove(str(folder))
    shutil.rmtree(folder)
    return SimpleNamespace(
        PACKAGE=name,
        Lease=package.Lease,
        LeasedKeyQueue=package.LeasedKeyQueue,
        module=lambda part: sys.modules[f"{name}.{part}"],
    )


@dataclass(frozen=True)
class Bug:
    """What goes wrong, how to plant it, and who must find it."""

    what: str
    plant: Callable[[pytest.MonkeyPatch], None]
    machine: Machine


BUGS: list[Bug] = []
Override: TypeAlias = Callable[..., Any]


def bug(machine: Machine, what: str, where: str) -> Callable[[Override], Override]:
    """The function below is what overrides "module.Class.method", and is given the original."""

    def note(override: Override) -> Override:
        def plant(patch: pytest.MonkeyPatch) -> None:
            module, *path, name = where.split(".")
            owner: Any = pure().module(module)
            for part in path:
                owner = getattr(owner, part)
            original = getattr(owner, name)
            patch.setattr(owner, name, lambda *given: override(original, *given))

        BUGS.append(Bug(what, plant, machine))
        return override

    return note


def replaced(machine: Machine, what: str, where: str, make: Callable[[Any], Any]) -> None:
    """The same for a constant, made of what was there."""
    module, *path, name = where.split(".")

    def plant(patch: pytest.MonkeyPatch) -> None:
        owner: Any = pure().module(module)
        for part in path:
            owner = getattr(owner, part)
        patch.setattr(owner, name, make(getattr(owner, name)))

    BUGS.append(Bug(what, plant, machine))


def name_of(member: Any) -> str:
    """Of a state, a place or a standing, whose classes are the copy's own."""
    return str(member.name)


def other(member: Any, name: str) -> Any:
    return type(member)[name]


def deadline_of(self: Any, entry: Any, delay: float, now: float) -> Any:
    """A time for a waiting value, whatever it had."""
    self._unset_time(entry)
    entry.time = pure().module("_deadlines").Deadline(entry, 1, entry.version)
    self.deadlines.add(entry.time, delay, now)


def unseen(self: Any, act: Callable[[], Any]) -> Any:
    """Do it as if nothing were due."""
    soonest, self.deadlines.soonest = self.deadlines.soonest, inf
    try:
        return act()
    finally:
        self.deadlines.soonest = min(soonest, self.deadlines.soonest)


# -- the line


@bug(M, "get passes over the copies that came back", "_machine.Machine.get")
def _(o: Any, self: Any, *given: Any) -> Any:
    if self._arrived.first is None:
        return o(self, *given)
    self._returned, self._arrived = self._arrived, self._returned
    try:
        return o(self, *given)
    finally:
        self._returned, self._arrived = self._arrived, self._returned


@bug(M, "release forgets requeue_front", "_machine.Machine.release")
def _(o: Any, self: Any, lease: Any, _front: Any, delay: Any, now: float) -> Any:
    return o(self, lease, False, delay, now)


def _placed(standing: str, place: str) -> Override:
    def back(o: Any, self: Any, grant: Any, how: Any, where: Any, *more: Any) -> Any:
        if name_of(how) == standing and (standing == "EXPIRED" or name_of(where) == "FRONT"):
            where = other(where, place)
        return o(self, grant, how, where, *more)

    return back


RETURN = "_moves.Moves._return"
bug(M, "a release to the front goes to the end of the first part", RETURN)(
    _placed("RELEASED", "END")
)
bug(M, "a, b, c that expire come back as c, b, a [mongodb-queue#4, leasedkeyq 0.0.7]", RETURN)(
    _placed("EXPIRED", "FRONT")
)
bug(M, "an expired copy goes to the back", RETURN)(_placed("EXPIRED", "BACK"))


@bug(M, "close gives copies back in the wrong order", "_machine.Machine._close")
def _(o: Any, self: Any, *given: Any) -> None:
    self._grants = dict(reversed(self._grants.items()))
    o(self, *given)


@bug(M, "put on an available key moves it to the back", "_machine.Machine.put")
def _(o: Any, self: Any, key: Any, *given: Any) -> Any:
    result = o(self, key, *given)
    entry = self._keys.find(key)
    if entry is not None and entry.list is not None:
        entry.list.unlink(entry)
        self._arrived.link_last(entry)
    return result


# -- the values of a key


@bug(
    M, "of two copies in flight the one granted last is taken for the newer", "_records.Entry.admit"
)
def _(_o: Any, self: Any, grant: Any) -> None:
    grant.older, self.leases = self.leases, grant


@bug(M, "an older value replaces a newer one", RETURN)
def _(o: Any, self: Any, grant: Any, *given: Any) -> None:
    entry = grant.entry
    newest = max(grant.version, entry.version)
    entry.version = 0
    o(self, grant, *given)
    entry.version = newest


@bug(M, "a deferred value jumps the line after the ack", "_moves.Moves._move")
def _(o: Any, self: Any, entry: Any, state: Any, place: Any, now: float) -> None:
    deferred = name_of(entry.state) == "DEFERRED"
    o(self, entry, state, other(place, "FRONT") if deferred else place, now)


@bug(
    M,
    "a value put during a lease is gone after the ack [celery, leasedkeyq 0.0.7]",
    "_machine.Machine.ack",
)
def _(o: Any, self: Any, *given: Any) -> None:
    before = {*map(id, (*self._returned, *self._arrived))}
    o(self, *given)
    for entry in (*self._returned, *self._arrived):
        if id(entry) not in before and entry.leases is None:
            self.discard(entry.key, given[-1])


# -- waiting


@bug(
    M,
    "put, then cancel the woken waiter: the item is lost [bpo-23812, tornado#2826]",
    "_machine.Machine.cancel",
)
def _(o: Any, self: Any, waiter: Any, now: float) -> None:
    waiter.grant = None
    o(self, waiter, now)


@bug(M, "a cancelled call's copy goes to the back", RETURN)
def _(o: Any, self: Any, grant: Any, standing: Any, place: Any, *more: Any) -> None:
    place = place if grant.waiter is None else other(place, "BACK")
    o(self, grant, standing, place, *more)


@bug(
    M,
    "a call that is being cancelled is offered a copy [anyio#146, go#37852]",
    "_waiting.Waiting._longest_waiting",
)
def _(_o: Any, _self: Any, calls: Any, _now: float) -> Any:
    return calls.first


@bug(M, "the call that came last is served first [gh-93222, trio#54]", "_waiting.Waiting._wait")
def _(o: Any, self: Any, kind: str, calls: Any, *given: Any) -> Any:
    waiter = o(self, kind, calls, *given)
    calls.unlink(waiter)
    calls.link_first(waiter)
    return waiter


@bug(M, "a take is served before a get that has waited longer", "_waiting.Waiting._claimant")
def _(o: Any, self: Any, entry: Any, now: float) -> Any:
    taker = entry.takers and self._longest_waiting(entry.takers, now)
    return taker or o(self, entry, now)


@bug(M, "a copy that comes back wakes no take", RETURN)
def _(o: Any, self: Any, grant: Any, *given: Any) -> None:
    entry = grant.entry
    takers, entry.takers = entry.takers, None
    o(self, grant, *given)
    entry.takers = takers


@bug(
    M,
    "a wait ends before a copy that is due at that moment is handed over",
    "_machine.Machine.time_out",
)
def _(o: Any, self: Any, now: float) -> None:
    for deadline in self._waits.due(now):
        self._wake(deadline.owner, pure().module("_waiting").TIMED_OUT)
    o(self, now)


@bug(
    M,
    "a get with a long timeout hides a lease that runs out sooner [beanstalkd#174]",
    "_waiting.Waiting._reckon",
)
def _(o: Any, self: Any) -> None:
    if self.outbox.alarm == inf or not self._waiters:
        o(self)


@bug(M, "timeout=0 waits", "_machine.Machine.get")
def _(o: Any, self: Any, timeout: Any, *given: Any) -> Any:
    return o(self, None if timeout == 0 else timeout, *given)


@bug(M, "close forgets a call that waits [gh-117531, janus#237]", "_machine.Machine._close")
def _(o: Any, self: Any, *given: Any) -> None:
    for waiter in [*self._waiters.values()][:1]:
        self._dismiss(waiter)
    o(self, *given)


@bug(M, "a call served just before the close is not told of it", "_machine.Machine._close")
def _(o: Any, self: Any, *given: Any) -> None:
    for grant in self._grants.values():
        grant.waiter = None
    o(self, *given)


# -- leases and time


@bug(M, "a lease is live at its deadline", "_deadlines.Deadlines.due")
def _(o: Any, self: Any, now: float) -> Any:
    return o(self, now - 1e-9)


@bug(M, "an expired lease is acked before the reaper runs [river#1302]", "_machine.Machine.ack")
def _(o: Any, self: Any, *given: Any) -> None:
    unseen(self, lambda: o(self, *given))


@bug(
    M,
    "what is due at one time is carried out in the order of the grants",
    "_deadlines.Deadline.key",
)
def _(_o: Any, self: Any) -> Any:
    return 0.0, self.rank, self.number


@bug(
    M, "delayed values ripen before the leases that are due at that time", "_deadlines.Deadline.key"
)
def _(_o: Any, self: Any) -> Any:
    return self.time, -self.rank, self.number


@bug(M, "extend forgets its timeout", "_machine.Machine.extend")
def _(o: Any, self: Any, lease: Any, _timeout: Any, now: float) -> None:
    o(self, lease, None, now)


@bug(M, "extend falls back to the queue's default", "_machine.Machine.extend")
def _(o: Any, self: Any, lease: Any, timeout: Any, now: float) -> None:
    o(self, lease, self._default if timeout is None else timeout, now)


@bug(M, "extend repeats the last extension, not what was granted", "_machine.Machine._start_clock")
def _(o: Any, self: Any, grant: Any, duration: float, now: float) -> None:
    grant.duration = duration
    o(self, grant, duration, now)


@bug(M, "an extension that never ends leaves the old deadline", "_machine.Machine.extend")
def _(o: Any, self: Any, lease: Any, timeout: Any, now: float) -> None:
    if timeout == inf:
        self.deadline(lease, now)
    else:
        o(self, lease, timeout, now)


@bug(M, "the default of a queue is not heeded by take", "_machine.Machine.take")
def _(o: Any, self: Any, key: Any, timeout: Any, lease_timeout: Any, now: float) -> Any:
    return o(self, key, timeout, inf if lease_timeout is None else lease_timeout, now)


@bug(M, "a lease that a call has waited for never ends", "_machine.Machine.resume")
def _(o: Any, self: Any, waiter: Any, now: float) -> Any:
    if waiter.grant is not None:
        waiter.grant.duration = inf
    return o(self, waiter, now)


@bug(
    Q,
    "the lease's clock starts with the wait [kombu#337, celery#2481]",
    "_machine.Machine._deliver",
)
def _(o: Any, self: Any, grant: Any, now: float, action: str, *more: Any) -> Any:
    return o(self, grant, now - 1 if action == "resume" else now, action, *more)


@bug(
    M, "a call that leaves gives its copy back before those that are due", "_machine.Machine.cancel"
)
def _(o: Any, self: Any, *given: Any) -> None:
    unseen(self, lambda: o(self, *given))


@bug(M, "peek shows what it was before the leases ended that are due", "_machine.Machine.peek")
def _(o: Any, self: Any, *given: Any) -> Any:
    return unseen(self, lambda: o(self, *given))


def _stood(standing: str) -> Override:
    def end(o: Any, self: Any, grant: Any, how: Any) -> Any:
        return o(self, grant, other(how, "RELEASED") if name_of(how) == standing else how)

    return end


bug(M, "a second ack does not say that it is the second", "_moves.Moves._end")(_stood("ACKED"))
bug(M, "an expired lease is no LeaseExpiredError", "_moves.Moves._end")(_stood("EXPIRED"))


@bug(M, "a lease rebuilt with another key is taken", "_keys.KeyMap.same")
def _(_o: Any, *_given: Any) -> bool:
    return True


@bug(
    M,
    "a lease that is rebuilt early is taken for one that is reserved",
    "_inspection.Inspection._rebuilt",
)
def _(o: Any, self: Any, lease: Any) -> Any:
    grant = self._grants.get(self._issuer.number(lease.token))
    return (
        grant
        if grant and grant.waiter and self._keys.same(grant.entry.key, lease.key)
        else o(self, lease)
    )


@bug(M, "all leases of one key are equal", "lease.Lease.__eq__")
def _(_o: Any, self: Any, it: Any) -> bool:
    return bool(self.key == it.key)


@bug(M, "a copied lease is another one", "lease.Lease.__reduce__")
def _(_o: Any, self: Any) -> Any:
    return type(self), (self.token.upper(), self.key)


@bug(M, "a lease can be changed", "lease.Lease.__setattr__")
def _(_o: Any, self: Any, name: str, value: Any) -> None:
    object.__setattr__(self, name, value)


@bug(M, "the tokens of all queues are alike", "lease.Issuer.renew")
def _(_o: Any, self: Any) -> None:
    self.prefix = "12345678-1234-8123-8123-"


# -- what is kept


@bug(M, "a lease that was acknowledged keeps its value alive", "_moves.Moves._end")
def _(o: Any, self: Any, grant: Any, standing: Any) -> Any:
    grant.value = value = o(self, grant, standing)
    return value


@bug(M, "a queue that is dropped keeps its values", "_moves.Moves.__del__")
def _(_o: Any, _self: Any) -> None:
    pass


# -- bad input, and what user code can do


@bug(M, "NaN is taken for a timeout [trio#837]", "_machine.seconds")
def _(o: Any, name: str, value: Any) -> Any:
    return inf if value != value else o(name, value)


@bug(M, "a lease may last no time", "_machine.lease_seconds")
def _(o: Any, name: str, value: Any) -> Any:
    return 0.0 if value == 0 else o(name, value)


@bug(M, "a delay may be less than nothing", "_machine.delay_seconds")
def _(o: Any, value: Any) -> Any:
    return 0.0 if value == -1 else o(value)


@bug(M, "a key that raises leaves half an ack behind [bpo-35780, gh-94879]", "_machine.Machine.ack")
def _(o: Any, self: Any, *given: Any) -> None:
    self._items -= 1
    o(self, *given)
    self._items += 1


@bug(M, "a key's own code may call the queue in the midst of a put", "_moves.Moves._store")
def _(o: Any, self: Any, *given: Any) -> Any:
    self._busy = False
    return o(self, *given)


@bug(M, "whatever is called in the midst of an operation is done", "_moves.Moves._enter")
def _(o: Any, self: Any, now: float) -> None:
    self._busy = False
    o(self, now)


@bug(
    M, "a call that is closed in the midst of an operation is forgotten", "_machine.Machine.cancel"
)
def _(o: Any, self: Any, waiter: Any, now: float) -> None:
    if not self._busy:
        o(self, waiter, now)


@bug(M, "values end in the midst of an operation", "_waiting.Waiting._drop")
def _(_o: Any, _self: Any, _value: Any) -> None:
    pass


# -- delays and attempts


@bug(M, "a delay postpones what is due sooner", "_moves.Moves._set_time")
def _(o: Any, self: Any, entry: Any, delay: float, now: float) -> None:
    if entry.time is not None and now + delay > entry.time.time:
        deadline_of(self, entry, delay, now)
    o(self, entry, delay, now)


@bug(
    M, "a value deferred without a delay waits as long as the failed one", "_moves.Moves._set_time"
)
def _(o: Any, self: Any, entry: Any, delay: float, now: float) -> None:
    if name_of(entry.state) == "DEFERRED" and entry.time is None and delay > 0:
        deadline_of(self, entry, delay, now)
    o(self, entry, delay, now)


@bug(M, "a value that was put later is due later, too", "_moves.Moves._set_time")
def _(o: Any, self: Any, entry: Any, delay: float, now: float) -> None:
    o(self, entry, delay, max(now, entry.time.time if entry.time else now))


@bug(M, "a ripened value goes to the front", "_moves.Moves._ripen")
def _(o: Any, self: Any, entry: Any, now: float) -> None:
    o(self, entry, now)
    if entry.list is not None:
        entry.list.unlink(entry)
        self._returned.link_first(entry)


@bug(M, "a ripened value is offered to nobody", "_moves.Moves._ripen")
def _(o: Any, self: Any, entry: Any, now: float) -> None:
    waiters, self._waiters = self._waiters, {}
    o(self, entry, now)
    self._waiters = waiters


@bug(M, "close loses what is delayed", "_machine.Machine._close")
def _(o: Any, self: Any, *given: Any) -> None:
    for deadline in [*self.deadlines]:
        if deadline.rank == 1:
            self._unset_time(deadline.owner)
    o(self, *given)


@bug(M, "a newer value goes on counting", "_moves.Moves._store")
def _(o: Any, self: Any, key: Any, *given: Any) -> Any:
    entry = self._keys.find(key)
    attempts = entry.attempts if entry is not None and entry.value is not None else 0
    stored = o(self, key, *given)
    if attempts:
        entry.attempts = attempts
    return stored


@bug(M, "an updated copy in flight goes on counting", "_moves.Moves._store")
def _(o: Any, self: Any, key: Any, *given: Any) -> Any:
    entry = self._keys.find(key)
    newest = entry.leases if entry is not None else None
    attempts = newest.attempts if newest else 0
    stored = o(self, key, *given)
    if newest:
        newest.attempts = attempts
    return stored


@bug(M, "a reservation counts as an attempt", "_moves.Moves._hand_over")
def _(o: Any, self: Any, entry: Any, waiter: Any, now: float) -> None:
    o(self, entry, waiter, now)
    waiter.grant.attempts += 1


@bug(M, "a refresh counts as an attempt", "_machine.Machine.refresh")
def _(o: Any, self: Any, lease: Any, now: float) -> Any:
    value = o(self, lease, now)
    self._live(lease).attempts += 1
    return value


@bug(M, "what a refresh has shown is still taken for unseen", "_machine.Machine.refresh")
def _(o: Any, self: Any, lease: Any, now: float) -> Any:
    seen = self._look_up(lease, now).seen
    value = o(self, lease, now)
    self._live(lease).seen = seen
    return value


@bug(M, "superseded misses what is deferred, or another copy", "_machine.Machine.superseded")
def _(_o: Any, self: Any, lease: Any, now: float) -> bool:
    grant = self._look_up(lease, now)
    return bool(grant.seen < grant.version)


@bug(M, "discard takes what is in flight for waiting", "_machine.Machine.discard")
def _(o: Any, self: Any, key: Any, now: float) -> bool:
    found = o(self, key, now)
    entry = self._keys.find(key)
    return bool(found or (entry is not None and entry.leases is not None))


# -- the bound


@bug(M, "a slot is not passed on after a cancelled put", "_machine.Machine.cancel")
def _(o: Any, self: Any, waiter: Any, now: float) -> None:
    putters = self._putters
    if waiter.ticket in self._slots:
        self._putters = type(putters)()
    o(self, waiter, now)
    self._putters = putters


@bug(M, "a slot that is not needed after all is not passed on", "_machine.Machine._resume_put")
def _(o: Any, self: Any, waiter: Any, now: float) -> None:
    putters, self._putters = self._putters, type(self._putters)()
    try:
        o(self, waiter, now)
    finally:
        self._putters = putters


@bug(M, "put barges past a put that waits", "_machine.Machine.put")
def _(o: Any, self: Any, *given: Any) -> Any:
    slots = len(self._slots)
    self._maxsize += slots
    try:
        return o(self, *given)
    finally:
        self._maxsize -= slots


@bug(M, "a put that needs no slot waits", "_machine.Machine.put")
def _(
    o: Any, self: Any, key: Any, value: Any, policy: Any, delay: Any, timeout: Any, now: float
) -> Any:
    if timeout is None and self._items >= self._maxsize and self._phase.value == "open":
        waiter = self._wait("put", self._putters, key, inf, now)
        waiter.put = value, f"put {policy or 'update'}", float(delay)
        return waiter
    return o(self, key, value, policy, delay, timeout, now)


@bug(M, "a copy that comes back needs a slot of its own", RETURN)
def _(o: Any, self: Any, *given: Any) -> None:
    o(self, *given)
    self._items += 1


@bug(M, "a put that has timed out is carried out all the same", "_machine.Machine.time_out")
def _(o: Any, self: Any, now: float) -> None:
    puts = [*self._putters]
    o(self, now)
    for waiter in puts:
        if waiter.outcome.name == "TIMED_OUT" and self._phase.value == "open":
            self._store(waiter.key, *waiter.put, now)


# -- the end


@bug(M, "shutdown ends calls too soon", "_machine.Machine.shutdown")
def _(o: Any, self: Any, now: float) -> None:
    o(self, now)
    for waiter in [*self._getters]:
        self._wake(waiter, pure().module("_waiting").ENDED)


@bug(M, "calls of a shut queue end too late", "_moves.Moves._conclude")
def _(o: Any, self: Any, now: float, entry: Any = None) -> None:
    if self._phase.value != "shut" or self._joiners.first is not None:
        o(self, now, entry)


@bug(M, "a take of a shut queue does not see that its key is gone", "_moves.Moves._conclude")
def _(o: Any, self: Any, now: float, _entry: Any = None) -> None:
    o(self, now)


@bug(M, "shutdown lets puts go on that have a slot", "_moves.Moves._revoke_slots")
def _(o: Any, self: Any) -> None:
    if self._phase.value == "closed":
        o(self)


@bug(M, "drain forgets what is in flight, and so what is deferred", "_moves.Moves._drained")
def _(_o: Any, self: Any) -> bool:
    return self._returned.first is self._arrived.first is None


@bug(M, "drain waits for what is delayed", "_moves.Moves._drained")
def _(_o: Any, self: Any) -> bool:
    return bool(self._items == 0)


@bug(M, "a drain that is cancelled closes the queue all the same", "_moves.drains")
def _(_o: Any, waiter: Any) -> bool:
    return bool(waiter.kind == "drain")


@bug(M, "join returns with a lease live", "_machine.Machine.join")
def _(o: Any, self: Any, *given: Any) -> Any:
    if self._returned.first is self._arrived.first is None:
        return None
    return o(self, *given)


@bug(M, "a join that waits is not told of the end", "_machine.Machine.join")
def _(o: Any, self: Any, *given: Any) -> Any:
    waiter = o(self, *given)
    self._ending = False
    return waiter


# -- the shell


@bug(Q, "a queue can be used from any loop", "_shell.Shell._check_loop")
def _(_o: Any, self: Any) -> None:
    self._loop = get_running_loop()


@bug(Q, "a get that is closed while it waits stays in the queue", "_queue.LeasedKeyQueue._wait")
async def _(_o: Any, self: Any, waiter: Any) -> Any:
    try:
        await waiter.caller
        return self._resume(waiter)
    except Exception:
        self._leave(waiter)
        raise


@bug(
    Q,
    "a call that is driven on in the midst of an operation keeps its copy",
    "_queue.LeasedKeyQueue._wait",
)
async def _(_o: Any, self: Any, waiter: Any) -> Any:
    try:
        await waiter.caller
    except BaseException:
        self._leave(waiter)
        raise
    return self._resume(waiter)


@bug(
    Q,
    "a call that is served is given another future, which nobody waits for",
    "_shell.Shell._deliver",
)
def _(o: Any, self: Any, *given: Any) -> None:
    for waiter in self._outbox.woken:
        waiter.caller = self._loop.create_future()
    o(self, *given)


@bug(Q, "only one of the calls that are served is woken", "_shell.Shell._deliver")
def _(o: Any, self: Any, *given: Any) -> None:
    while len(self._outbox.woken) > 1:
        self._outbox.woken.pop()
    o(self, *given)


@bug(Q, "a cancelled call stays in the queue [trio#548, aiohttp#9670]", "_shell.Shell._leave")
def _(_o: Any, _self: Any, _waiter: Any) -> None:
    pass


@bug(Q, "the timer outlives what it was for [hertzbeat#4201]", "_shell.Shell._arm")
def _(o: Any, self: Any, alarm: float) -> None:
    self._timer = None
    o(self, alarm)


@bug(Q, "the timer is late", "_shell.Shell._arm")
def _(o: Any, self: Any, alarm: float) -> None:
    o(self, alarm + 0.25)


@bug(Q, "what the timer ends is told to nobody", "_machine.Machine.time_out")
def _(o: Any, self: Any, now: float) -> None:
    o(self, now)
    self.outbox.woken.clear()


replaced(
    Q,
    "a wake-up after a cancellation is an InvalidStateError [asyncio#255]",
    "_shell.InvalidStateError",
    lambda _: ArithmeticError,
)


@bug(Q, "the timeout of take is not passed on", "_shell.Shell._take")
def _(o: Any, self: Any, key: Any, _timeout: Any, lease_timeout: Any) -> Any:
    return o(self, key, None, lease_timeout)


def _undelivered(o: Any, self: Any, *given: Any) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(self), "_deliver", lambda *_: None)
        return o(self, *given)


bug(Q, "what a put sets going is told by the next operation only", "_shell.Shell._put")(
    _undelivered
)
bug(Q, "an extension is told by the next operation only", "_shell.Shell.extend_nowait")(
    _undelivered
)


@bug(Q, "values end before the caller's future is in place", "_machine.Machine.take")
def _(o: Any, self: Any, *given: Any) -> Any:
    result = o(self, *given)
    self.outbox.dropped.clear()
    return result


@bug(Q, "a delay is counted from the start of the loop's clock", "_machine.Machine._resume_put")
def _(o: Any, self: Any, waiter: Any, _now: float) -> None:
    o(self, waiter, 0.0)


@bug(Q, "async for ends in an error", "_queue.LeasedKeyQueue.__anext__")
async def _(_o: Any, self: Any) -> Any:
    return await self.get()


# -- the list and the deadlines


@bug(L, "the second node does not know the first", "_linkedlist.LinkedList.link_first")
def _(o: Any, self: Any, node: Any) -> None:
    o(self, node)
    if node.next is not None:
        node.next.prev = None


@bug(L, "an unlinked node keeps its neighbours", "_linkedlist.LinkedList.unlink")
def _(o: Any, self: Any, node: Any) -> None:
    neighbours = node.prev, node.next
    o(self, node)
    node.prev, node.next = neighbours


@bug(L, "a node may be unlinked from a list that it is not in", "_linkedlist.LinkedList.unlink")
def _(o: Any, self: Any, node: Any) -> None:
    o(self if node.list is None else node.list, node)


replaced(
    D, "every duration that was ever used keeps its lane", "_deadlines.IDLE_LANES", lambda _: 999
)


@bug(D, "idle lanes are swept out, and their times stay", "_deadlines.Deadlines._open")
def _(o: Any, self: Any, duration: float) -> Any:
    heap = [*self._heap]
    lane = o(self, duration)
    self._heap = heap
    return lane


@bug(D, "lanes are swept out, and what is left of the heap is none", "_deadlines.heapify")
def _(_o: Any, _heap: Any) -> None:
    pass


@bug(
    D, "the last deadline is said to be gone while there are others", "_deadlines.Deadlines.remove"
)
def _(o: Any, self: Any, deadline: Any) -> None:
    lane = deadline.list
    o(self, deadline)
    if lane.first is None:
        self.soonest = inf


@bug(D, "a clock that steps back sets the deadlines out of order", "_deadlines.Deadlines.add")
def _(o: Any, self: Any, deadline: Any, duration: float, now: float) -> None:
    self._latest = -inf
    o(self, deadline, duration, now)


# -- the table: every cell with every other state, and with every effect that shows


def cells() -> list[Bug]:
    found: list[Bug] = []
    table = pure().module("_table")
    for state, moves in table.TABLE.items():
        for event, move in moves.items():
            wrong: list[tuple[str, Any]] = [
                (field, to)
                for field in ("next", "later")
                if getattr(move, field) is not None  # else it leads nowhere
                for to in table.State
                if to is not getattr(move, field)
            ]
            told = TOLD.get(event.split()[0], ())
            shown = {effect.name if effect.name in told else "": effect for effect in table.Effect}
            was = move.effect.name if move.effect.name in told else ""
            wrong += [("effect", effect) for name, effect in shown.items() if name != was]
            found += [_cell(moves, event, field, to, state.name) for field, to in wrong]
    return found


# The effects that an event tells apart; all others are names for the reader.
TOLD = {"put": ("ADD", "REVISE", "REFUSE"), "ack": ("DROP",), "return": ("RETURN", "MERGE")}


def _cell(moves: Any, event: str, field: str, to: Any, state: str) -> Bug:
    def plant(patch: pytest.MonkeyPatch) -> None:
        patch.setitem(moves, event, moves[event]._replace(**{field: to}))

    return Bug(f"TABLE: {state}, {event}: {field} {to.name}", plant, M)
