"""Bugs to plant in the package: the machines must find every one of them.

A bug is a rule of the queue's meaning, broken by a small override of a method, or by a cell of the
table. It is planted in a copy of the source that is imported under a name of its own, for compiled
modules allow no such thing. The names in brackets are the projects that had it.
"""

from __future__ import annotations

import shutil
import sys
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

from tests.stateful.deadlines_mirror import DeadlinesMirror as D
from tests.stateful.machine_mirror import MachineMirror as M
from tests.stateful.queue_mirror import QueueMirror as Q
from tests.subject import PACKAGE

Machine: TypeAlias = type[RuleBasedStateMachine]
Note: TypeAlias = Callable[[Any], None]


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
FINDERS = {"Shell": Q, "LeasedKeyQueue": Q, "Jobs": Q, "LinkedList": M, "Deadlines": D}


def bug(where: str, what: str, machine: Machine | None = None, value: Any = None) -> Note:
    """What follows overrides this method, and is given the original; or this value does."""
    owner, name = where.split(".")

    def note(override: Any) -> None:
        def plant(patch: pytest.MonkeyPatch) -> None:
            package = pure()
            parts = [m for n, m in sys.modules.items() if n.startswith(f"{package.PACKAGE}.")]
            holder: Any = next((vars(part)[owner] for part in parts if owner in vars(part)), None)
            holder = holder or package.module(owner)
            original = getattr(holder, name)
            patch.setattr(holder, name, value or (lambda *given: override(original, *given)))

        BUGS.append(Bug(what, plant, machine or FINDERS.get(owner, M)))

    return note


def name_of(member: Any) -> str:
    """Of a state, a place or a standing, whose classes are the copy's own."""
    return str(member.name)


def other(member: Any, name: str) -> Any:
    return type(member)[name]


def deadline_of(self: Any, entry: Any, delay: float, now: float) -> Any:
    """A time for a waiting value, whatever it had."""
    self._unset_time(entry)
    self.deadlines.add(entry, delay, now)


def unseen(self: Any, act: Callable[[], Any]) -> Any:
    """Do it as if nothing were due."""
    soonest, self.deadlines.soonest = self.deadlines.soonest, inf
    try:
        return act()
    finally:
        self.deadlines.soonest = min(soonest, self.deadlines.soonest)


# -- the line


@bug("Machine.get", "get passes over the copies that came back")
def _(o: Any, self: Any, *given: Any) -> Any:
    if self._arrived.first is None:
        return o(self, *given)
    self._returned, self._arrived = self._arrived, self._returned
    try:
        return o(self, *given)
    finally:
        self._returned, self._arrived = self._arrived, self._returned


@bug("Machine.release", "release forgets requeue_front")
def _(o: Any, self: Any, lease: Any, _front: Any, delay: Any, now: float) -> Any:
    return o(self, lease, False, delay, now)


def _placed(standing: str, place: str) -> Any:
    def back(o: Any, self: Any, grant: Any, how: Any, where: Any, *more: Any) -> Any:
        if name_of(how) == standing and (standing == "EXPIRED" or name_of(where) == "FRONT"):
            where = other(where, place)
        return o(self, grant, how, where, *more)

    return back


bug("Moves._return", "a release to the front goes to the end of the first part")(
    _placed("RELEASED", "END")
)
bug("Moves._return", "a, b, c that expire come back as c, b, a [mongodb-queue#4]")(
    _placed("EXPIRED", "FRONT")
)
bug("Moves._return", "an expired copy goes to the back")(_placed("EXPIRED", "BACK"))


@bug("Machine._close", "close gives copies back in the wrong order")
def _(o: Any, self: Any, *given: Any) -> None:
    self._grants = dict.fromkeys([*self._grants][::-1])
    o(self, *given)


@bug("Machine.put", "put on an available key moves it to the back")
def _(o: Any, self: Any, key: Any, *given: Any) -> Any:
    result = o(self, key, *given)
    entry = self._keys.find(key)
    if entry is not None and entry.list is not None:
        entry.list.unlink(entry)
        self._arrived.link_last(entry)
    return result


# -- the values of a key


@bug("Entry.admit", "of two copies in flight the one granted last is taken for the newer")
def _(_o: Any, self: Any, grant: Any) -> None:
    grant.older, self.chain = self.chain, grant


@bug("Moves._return", "an older value replaces a newer one")
def _(o: Any, self: Any, grant: Any, *given: Any) -> None:
    entry = grant.entry
    newest = max(grant.version, entry.version)
    entry.version = 0
    o(self, grant, *given)
    entry.version = newest


@bug("Moves._move", "a deferred value jumps the line after the ack")
def _(o: Any, self: Any, entry: Any, state: Any, place: Any, now: float) -> None:
    deferred = name_of(entry.state) == "DEFERRED"
    o(self, entry, state, other(place, "FRONT") if deferred else place, now)


@bug("Machine.ack", "a value put during a lease is gone after the ack [celery]")
def _(o: Any, self: Any, *given: Any) -> None:
    before = {*map(id, (*self._returned, *self._arrived))}
    o(self, *given)
    for entry in (*self._returned, *self._arrived):
        if id(entry) not in before and entry.chain is None:
            self.discard(entry.key, given[-1])


# -- waiting


@bug("Machine.cancel", "put, then cancel the woken waiter: lost [bpo-23812, tornado#2826]")
def _(o: Any, self: Any, waiter: Any, now: float) -> None:
    waiter.grant = None
    o(self, waiter, now)


@bug("Moves._return", "a cancelled call's copy goes to the back")
def _(o: Any, self: Any, grant: Any, standing: Any, place: Any, *more: Any) -> None:
    place = place if grant.waiter is None else other(place, "BACK")
    o(self, grant, standing, place, *more)


@bug("Waiting._longest_waiting", "a call that is leaving is offered a copy [anyio#146]")
def _(_o: Any, _self: Any, calls: Any, _now: float) -> Any:
    return calls.first


@bug("Waiting._begin_to_wait", "the call that came last is served first [gh-93222, trio#54]")
def _(o: Any, self: Any, kind: str, calls: Any, *given: Any) -> Any:
    waiter = o(self, kind, calls, *given)
    calls.unlink(waiter)
    calls.link_first(waiter)
    return waiter


@bug("Waiting._claimant", "a take is served before a get that has waited longer")
def _(o: Any, self: Any, entry: Any, now: float) -> Any:
    taker = entry.takers and self._longest_waiting(entry.takers, now)
    return taker or o(self, entry, now)


@bug("Moves._return", "a copy that comes back wakes no take")
def _(o: Any, self: Any, grant: Any, *given: Any) -> None:
    entry = grant.entry
    takers, entry.takers = entry.takers, None
    o(self, grant, *given)
    entry.takers = takers


@bug("Machine.time_out", "a wait ends before a copy that is due at that moment is handed over")
def _(o: Any, self: Any, now: float) -> None:
    for deadline in self._waits.due(now):
        self._wake(deadline.waiter, pure().module("_records").TIMED_OUT)
    o(self, now)


@bug("Waiting._reckon", "a long wait hides a lease that runs out sooner [beanstalkd#174]")
def _(o: Any, self: Any) -> None:
    if self.outbox.alarm == inf or not self._waiters:
        o(self)


@bug("Machine.get", "timeout=0 waits")
def _(o: Any, self: Any, timeout: Any, *given: Any) -> Any:
    return o(self, None if timeout == 0 else timeout, *given)


@bug("Machine._close", "close forgets a call that waits [gh-117531, janus#237]")
def _(o: Any, self: Any, *given: Any) -> None:
    for waiter in [*self._waiters.values()][:1]:
        self._dismiss(waiter)
    o(self, *given)


@bug("Machine._close", "a call served just before the close is not told of it")
def _(o: Any, self: Any, *given: Any) -> None:
    for grant in self._grants:
        grant.waiter = None
    o(self, *given)


# -- leases and time


@bug("Deadlines.due", "a lease is live at its deadline", M)
def _(o: Any, self: Any, now: float) -> Any:
    return o(self, now - 1e-9)


@bug("Machine.ack", "an expired lease is acked before the reaper runs [river#1302]")
def _(o: Any, self: Any, *given: Any) -> None:
    unseen(self, lambda: o(self, *given))


@bug("Grant.order", "leases that are due end in the order of the grants")
def _(_o: Any, self: Any) -> Any:
    return 0.0, 0, self.number


@bug("Grant.order", "leases that are due at one time end in any order")
def _(_o: Any, self: Any) -> Any:
    return self.time, 0, -self.number


@bug("Entry.order", "delayed values ripen before the leases that are due at that time")
def _(_o: Any, self: Any) -> Any:
    return self.time, -1, self.version


@bug("Limit.order", "calls that time out together do so in any order")
def _(_o: Any, self: Any) -> Any:
    return self.time, 0, -self.waiter.ticket


@bug("Machine.extend", "extend forgets its timeout")
def _(o: Any, self: Any, lease: Any, _timeout: Any, now: float) -> None:
    o(self, lease, None, now)


@bug("Machine.extend", "extend falls back to the queue's default")
def _(o: Any, self: Any, lease: Any, timeout: Any, now: float) -> None:
    o(self, lease, self._default if timeout is None else timeout, now)


@bug("Machine._set_clock", "extend repeats the last extension, not what was granted")
def _(o: Any, self: Any, grant: Any, duration: float, now: float) -> None:
    grant.duration = duration
    o(self, grant, duration, now)


@bug("Machine.extend", "an extension that never ends leaves the old deadline")
def _(o: Any, self: Any, lease: Any, timeout: Any, now: float) -> None:
    if timeout == inf:
        self.deadline(lease, now)
    else:
        o(self, lease, timeout, now)


@bug("Machine.take", "the default of a queue is not heeded by take")
def _(o: Any, self: Any, key: Any, timeout: Any, lease_timeout: Any, now: float) -> Any:
    return o(self, key, timeout, inf if lease_timeout is None else lease_timeout, now)


@bug("Machine.resume", "a lease that a call has waited for never ends")
def _(o: Any, self: Any, waiter: Any, now: float) -> Any:
    if waiter.grant is not None:
        waiter.grant.duration = inf
    return o(self, waiter, now)


@bug("Machine._deliver", "the lease's clock starts with the wait [kombu#337, celery#2481]", Q)
def _(o: Any, self: Any, grant: Any, now: float, action: str, *more: Any) -> Any:
    return o(self, grant, now - 1 if action == "resume" else now, action, *more)


@bug("Machine.cancel", "a call that leaves gives its copy back before those that are due")
def _(o: Any, self: Any, *given: Any) -> None:
    unseen(self, lambda: o(self, *given))


@bug("Machine.peek", "peek shows what it was before the leases ended that are due")
def _(o: Any, self: Any, *given: Any) -> Any:
    return unseen(self, lambda: o(self, *given))


def _stood(standing: str) -> Any:
    def end(o: Any, self: Any, grant: Any, how: Any) -> Any:
        return o(self, grant, other(how, "RELEASED") if name_of(how) == standing else how)

    return end


bug("Moves._leave_flight", "a second ack does not say that it is the second")(_stood("ACKED"))
bug("Moves._leave_flight", "an expired lease is no LeaseExpiredError")(_stood("EXPIRED"))


@bug("Inspection._rebuilt", "a lease rebuilt with another key is taken")
def _(o: Any, self: Any, lease: Any) -> Any:
    alike = [one for one in self._grants if one.token() == lease.token and one.waiter is None]
    return alike[0] if alike else o(self, lease)


@bug("Inspection._rebuilt", "a lease that is rebuilt early is taken for one that is reserved")
def _(o: Any, self: Any, lease: Any) -> Any:
    for grant in self._grants:
        if grant.token() == lease.token and grant.waiter and grant.entry.key == lease.key:
            return grant
    return o(self, lease)


@bug("Inspection._rebuilt", "a rebuilt lease stands for any that is live on its key")
def _(o: Any, self: Any, lease: Any) -> Any:
    entry = self._keys.find(lease.key)
    live = [one for one in entry.grants() if one.waiter is None] if entry is not None else []
    alike = [one for one in live if one.token()[:-12] == lease.token[:-12]]
    return alike[0] if alike else o(self, lease)


@bug("Lease.__eq__", "all leases of one key are equal")
def _(_o: Any, self: Any, it: Any) -> bool:
    return bool(self.key == it.key)


@bug("Lease.__reduce__", "a copied lease is another one")
def _(_o: Any, self: Any) -> Any:
    return type(self), (self.token.upper(), self.key)


@bug("Lease.__setattr__", "a lease can be changed")
def _(_o: Any, self: Any, name: str, value: Any) -> None:
    object.__setattr__(self, name, value)


@bug("Issuer.renew", "the tokens of all queues are alike")
def _(_o: Any, self: Any) -> None:
    self.prefix = "12345678-1234-8123-8123-"


# -- what is kept


@bug("Moves._leave_flight", "a lease that was acknowledged keeps its value alive")
def _(o: Any, self: Any, grant: Any, standing: Any) -> Any:
    grant.value = value = o(self, grant, standing)
    return value


@bug("Phases.__del__", "a queue that is dropped keeps its values")
def _(_o: Any, _self: Any) -> None:
    pass


# -- bad input, and what user code can do


@bug("_machine.seconds", "NaN is taken for a timeout [trio#837]")
def _(o: Any, name: str, value: Any) -> Any:
    return inf if value != value else o(name, value)


@bug("_machine.lease_seconds", "a lease may last no time")
def _(o: Any, name: str, value: Any) -> Any:
    return 0.0 if value == 0 else o(name, value)


@bug("_machine.delay_seconds", "a delay may be less than nothing")
def _(o: Any, value: Any) -> Any:
    return 0.0 if value == -1 else o(value)


@bug("Machine.ack", "a key that raises leaves half an ack behind [bpo-35780, gh-94879]")
def _(o: Any, self: Any, *given: Any) -> None:
    self._items -= 1
    o(self, *given)
    self._items += 1


@bug("Moves._store", "a key's own code may call the queue in the midst of a put")
def _(o: Any, self: Any, *given: Any) -> Any:
    self._busy = False
    return o(self, *given)


@bug("Phases._enter", "whatever is called in the midst of an operation is done")
def _(o: Any, self: Any, *given: Any) -> None:
    self._busy = False
    o(self, *given)


@bug("Machine.cancel", "a call that is closed in the midst of an operation is forgotten")
def _(o: Any, self: Any, waiter: Any, now: float) -> None:
    if not self._busy:
        o(self, waiter, now)


# The error of a key came out of the call that ended, or of another, whose copy was lost then.
ASIDE: set[tuple[int, int]] = set()  # calls that were put aside


def _let_through(_o: Any, self: Any, entry: Any) -> None:
    self.remove(entry)


def _raise_if_put_aside(o: Any, self: Any, waiter: Any, now: float) -> None:
    call = id(self), waiter.ticket
    aside = call in ASIDE
    if self._busy:
        ASIDE.add(call)
    o(self, waiter, now)
    if aside:
        ASIDE.remove(call)
        hash(waiter.key)


for _finder in (M, Q):
    _where = f"({_finder.kind})"
    _what = f"a key that raises where a wait ends replaces what it came to {_where}"
    bug("KeyMap.forget", _what, _finder)(_let_through)
    _what = f"a key that raises where a call put aside ends replaces what another came to {_where}"
    bug("Machine.cancel", _what, _finder)(_raise_if_put_aside)


@bug("Moves._tidy", "the key of a take that has left is never forgotten")
def _(_o: Any, _self: Any, waiter: Any) -> None:
    entry, waiter.entry = waiter.entry, None
    if entry is not None:
        entry.takers.count -= 1
        if entry.takers.count == 0:
            entry.takers = None


@bug("Waiting._drop", "values end in the midst of an operation")
def _(_o: Any, _self: Any, _value: Any) -> None:
    pass


# -- delays and attempts


@bug("Moves._set_time", "a delay postpones what is due sooner")
def _(o: Any, self: Any, entry: Any, delay: float, now: float) -> None:
    if entry.state.held and now + delay > entry.time > -inf:
        deadline_of(self, entry, delay, now)
    o(self, entry, delay, now)


@bug("Moves._set_time", "a value deferred without a delay waits as long as the failed one")
def _(o: Any, self: Any, entry: Any, delay: float, now: float) -> None:
    if name_of(entry.state) == "DEFERRED" and entry.time == -inf and delay > 0:
        deadline_of(self, entry, delay, now)
    o(self, entry, delay, now)


@bug("Moves._set_time", "a value that was put later is due later, too")
def _(o: Any, self: Any, entry: Any, delay: float, now: float) -> None:
    o(self, entry, delay, max(now, entry.time))


@bug("Moves._ripen", "a ripened value goes to the front")
def _(o: Any, self: Any, entry: Any, now: float) -> None:
    o(self, entry, now)
    if entry.list is not None:
        entry.list.unlink(entry)
        self._returned.link_first(entry)


@bug("Moves._ripen", "a ripened value is offered to nobody")
def _(o: Any, self: Any, entry: Any, now: float) -> None:
    waiters, self._waiters = self._waiters, {}
    o(self, entry, now)
    self._waiters = waiters


@bug("Machine._close", "close loses what is delayed")
def _(o: Any, self: Any, *given: Any) -> None:
    for deadline in [*self.deadlines]:
        if hasattr(deadline, "key"):
            self._unset_time(deadline)
    o(self, *given)


@bug("Moves._store", "a newer value goes on counting")
def _(o: Any, self: Any, key: Any, *given: Any) -> Any:
    entry = self._keys.find(key)
    attempts = entry.attempts if entry is not None and entry.value is not None else 0
    stored = o(self, key, *given)
    if attempts:
        entry.attempts = attempts
    return stored


@bug("Moves._store", "an updated copy in flight goes on counting")
def _(o: Any, self: Any, key: Any, *given: Any) -> Any:
    entry = self._keys.find(key)
    newest = entry.chain if entry is not None else None
    attempts = newest.attempts if newest else 0
    stored = o(self, key, *given)
    if newest:
        newest.attempts = attempts
    return stored


@bug("Moves._hand_over", "a reservation counts as an attempt")
def _(o: Any, self: Any, entry: Any, waiter: Any, now: float) -> None:
    o(self, entry, waiter, now)
    waiter.grant.attempts += 1


@bug("Machine.refresh", "a refresh counts as an attempt")
def _(o: Any, self: Any, lease: Any, now: float) -> Any:
    value = o(self, lease, now)
    self._live(lease).attempts += 1
    return value


@bug("Machine.refresh", "what a refresh has shown is still taken for unseen")
def _(o: Any, self: Any, lease: Any, now: float) -> Any:
    value = o(self, lease, now)
    self._live(lease).seen = 0
    return value


@bug("Machine.superseded", "superseded misses what is deferred, or another copy")
def _(o: Any, self: Any, lease: Any, now: float) -> bool:
    o(self, lease, now)
    grant = self._live(lease)
    return bool(grant.seen < grant.version)


@bug("Machine.discard", "discard takes what is in flight for waiting")
def _(o: Any, self: Any, key: Any, now: float) -> bool:
    found = o(self, key, now)
    entry = self._keys.find(key)
    return bool(found or (entry is not None and entry.chain is not None))


@bug("Machine.discard", "a discarded key is forgotten though a take waits for it")
def _(o: Any, self: Any, key: Any, now: float) -> bool:
    done = o(self, key, now)
    entry = self._keys.find(key)
    if done and entry is not None and name_of(entry.state) == "ABSENT":
        self._keys.remove(entry)
    return bool(done)


@bug("Machine.ack", "an acked key is forgotten though a take waits for it")
def _(o: Any, self: Any, lease: Any, now: float) -> None:
    o(self, lease, now)
    for entry in [*self._keys]:
        if name_of(entry.state) == "ABSENT":
            self._keys.remove(entry)


@bug("Machine.discard", "a discard tells the newest version for the one that is gone")
def _(o: Any, self: Any, key: Any, now: float) -> bool:
    entry = self._keys.find(key)
    newest = entry.newest if entry is not None else None
    done = o(self, key, now)
    for number, event in enumerate(self.outbox.events or ()):
        if done and event.action == "discard":
            self.outbox.events[number] = event._replace(version=newest)
    return bool(done)


# -- the bound


@bug("Machine.cancel", "a slot is not passed on after a cancelled put")
def _(o: Any, self: Any, waiter: Any, now: float) -> None:
    putters = self._putters
    if waiter.ticket in self._slots:
        self._putters = type(putters)()
    o(self, waiter, now)
    self._putters = putters


@bug("Machine._resume_put", "a slot that is not needed after all is not passed on")
def _(o: Any, self: Any, waiter: Any, now: float) -> None:
    putters, self._putters = self._putters, type(self._putters)()
    try:
        o(self, waiter, now)
    finally:
        self._putters = putters


@bug("Machine.put", "put barges past a put that waits")
def _(o: Any, self: Any, *given: Any) -> Any:
    slots = len(self._slots)
    self._maxsize += slots
    try:
        return o(self, *given)
    finally:
        self._maxsize -= slots


@bug("Machine.put", "a put that needs no slot waits")
def _(
    o: Any, self: Any, key: Any, value: Any, policy: Any, delay: Any, timeout: Any, now: float
) -> Any:
    if timeout is None and self._items >= self._maxsize and self._phase.value == "open":
        waiter = self._wait("put", self._putters, key, inf, now)
        waiter.put = value, f"put {policy or 'update'}", float(delay)
        return waiter
    return o(self, key, value, policy, delay, timeout, now)


@bug("Moves._return", "a copy that comes back needs a slot of its own")
def _(o: Any, self: Any, *given: Any) -> None:
    o(self, *given)
    self._items += 1


@bug("Machine.time_out", "a put that has timed out is carried out all the same")
def _(o: Any, self: Any, now: float) -> None:
    puts = [*self._putters]
    o(self, now)
    for waiter in puts:
        if waiter.outcome.name == "TIMED_OUT" and self._phase.value == "open":
            self._maxsize += 1
            self._store(waiter.key, *waiter.put, now)
            self._maxsize -= 1


# -- the end


@bug("Machine.shutdown", "shutdown ends calls too soon")
def _(o: Any, self: Any, now: float) -> None:
    o(self, now)
    for waiter in [*self._getters]:
        self._wake(waiter, pure().module("_records").ENDED)


@bug("Phases._conclude", "calls of a shut queue end too late")
def _(o: Any, self: Any, now: float, entry: Any = None) -> None:
    if self._phase.value != "shut" or self._joiners.first is not None:
        o(self, now, entry)


@bug("Phases._conclude", "a take of a shut queue does not see that its key is gone")
def _(o: Any, self: Any, now: float, _entry: Any = None) -> None:
    o(self, now)


@bug("Phases._revoke_slots", "shutdown lets puts go on that have a slot")
def _(o: Any, self: Any) -> None:
    if self._phase.value == "closed":
        o(self)


@bug("Phases._drained", "drain forgets what is in flight, and so what is deferred")
def _(_o: Any, self: Any) -> bool:
    return self._returned.first is self._arrived.first is None


@bug("Phases._drained", "drain waits for what is delayed")
def _(_o: Any, self: Any) -> bool:
    return bool(self._items == 0)


@bug("Machine._pass_over", "a drain that is cancelled closes the queue all the same")
def _(o: Any, self: Any, waiter: Any, *given: Any) -> None:
    if waiter.kind != "drain":
        o(self, waiter, *given)


@bug("Machine.join", "join returns with a lease live")
def _(o: Any, self: Any, *given: Any) -> Any:
    if self._returned.first is self._arrived.first is None:
        return None
    return o(self, *given)


@bug("Machine.join", "a join that waits is not told of the end")
def _(o: Any, self: Any, *given: Any) -> Any:
    waiter = o(self, *given)
    self._end_matters = False
    return waiter


# -- the shell


@bug("Shell._adopt", "a queue can be used from any loop")
def _(_o: Any, self: Any, running: Any) -> None:
    self._loop = running


@bug("LeasedKeyQueue._wait", "a get that is closed while it waits stays in the queue")
async def _(_o: Any, self: Any, waiter: Any) -> Any:
    try:
        await waiter.caller
        return self._resume(waiter)
    except Exception:
        self._leave(waiter)
        raise


@bug("LeasedKeyQueue._wait", "a call driven on in the midst of an operation keeps its copy")
async def _(_o: Any, self: Any, waiter: Any) -> Any:
    try:
        await waiter.caller
    except BaseException:
        self._leave(waiter)
        raise
    return self._resume(waiter)


@bug("Shell._empty_outbox", "a call that is served is given another future, which nobody waits for")
def _(o: Any, self: Any, *given: Any) -> None:
    for waiter in self._outbox.woken:
        waiter.caller = self._loop.create_future()
    o(self, *given)


@bug("Shell._empty_outbox", "only one of the calls that are served is woken")
def _(o: Any, self: Any, *given: Any) -> None:
    while len(self._outbox.woken) > 1:
        self._outbox.woken.pop()
    o(self, *given)


@bug("Shell._leave", "a cancelled call stays in the queue [trio#548, aiohttp#9670]")
def _(_o: Any, _self: Any, _waiter: Any) -> None:
    pass


@bug("Shell._arm", "the timer outlives what it was for [hertzbeat#4201]")
def _(o: Any, self: Any, alarm: float) -> None:
    self._timer = None
    o(self, alarm)


@bug("Shell._arm", "the timer is late")
def _(o: Any, self: Any, alarm: float) -> None:
    o(self, alarm + 0.25)


@bug("Machine.time_out", "what the timer ends is told to nobody", Q)
def _(o: Any, self: Any, now: float) -> None:
    o(self, now)
    self.outbox.woken.clear()


bug(
    "_shell.InvalidStateError",
    "a wake-up after a cancellation is an InvalidStateError [asyncio#255]",
    Q,
    ArithmeticError,
)(None)


@bug("Shell._take", "the timeout of take is not passed on")
def _(o: Any, self: Any, key: Any, _timeout: Any, lease_timeout: Any) -> Any:
    return o(self, key, None, lease_timeout)


def _undelivered(o: Any, self: Any, *given: Any) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(self), "_deliver", lambda *_: None)
        return o(self, *given)


bug("Shell._put", "what a put sets going is told by the next operation only")(_undelivered)
bug("Shell.extend_nowait", "an extension is told by the next operation only")(_undelivered)


@bug("Machine._resume_put", "a delay is counted from the start of the loop's clock", Q)
def _(o: Any, self: Any, waiter: Any, _now: float) -> None:
    o(self, waiter, 0.0)


@bug("Jobs.__anext__", "async for ends in an error")
async def _(_o: Any, self: Any) -> Any:
    return await self.get()


# -- the list and the deadlines


@bug("LinkedList.link_first", "the second node does not know the first")
def _(o: Any, self: Any, node: Any) -> None:
    o(self, node)
    if node.next is not None:
        node.next.prev = None


@bug("LinkedList.unlink", "an unlinked node keeps its neighbours")
def _(o: Any, self: Any, node: Any) -> None:
    neighbours = node.prev, node.next
    o(self, node)
    node.prev, node.next = neighbours


bug("_deadlines.IDLE_LANES", "every duration that was ever used keeps its lane", D, 999)(None)


@bug("Deadlines._open", "idle lanes are swept out, and their times stay")
def _(o: Any, self: Any, duration: float) -> Any:
    heap = [*self._heap]
    lane = o(self, duration)
    self._heap = heap
    return lane


@bug("_deadlines.heapify", "lanes are swept out, and what is left of the heap is none", D)
def _(_o: Any, _heap: Any) -> None:
    pass


@bug("Deadlines.remove", "the last deadline is said to be gone while there are others")
def _(o: Any, self: Any, deadline: Any) -> None:
    lane = deadline.list
    o(self, deadline)
    if lane.first is None:
        self.soonest = inf


@bug("Deadlines.add", "a clock that steps back sets the deadlines out of order")
def _(o: Any, self: Any, deadline: Any, duration: float, now: float) -> None:
    self._latest = -inf
    o(self, deadline, duration, now)


# -- the statistics


@bug("Machine.release", "a release is counted as an ack")
def _(o: Any, self: Any, *given: Any) -> None:
    o(self, *given)
    self._releases -= 1


@bug("Machine.cancel", "a cancelled hand-over is counted as an ack")
def _(o: Any, self: Any, *given: Any) -> None:
    recalls = self._recalls
    o(self, *given)
    self._recalls = recalls


@bug("Machine._close", "a lease that the close ends is counted as an ack")
def _(o: Any, self: Any, *given: Any) -> None:
    recalls = self._recalls
    o(self, *given)
    self._recalls = recalls


@bug("Machine.resume", "a hand-over is never counted as a delivery")
def _(o: Any, self: Any, waiter: Any, now: float) -> Any:
    self._undelivered += waiter.grant is not None
    return o(self, waiter, now)


@bug("Machine.discard", "a discarded value is counted as one that was replaced")
def _(o: Any, self: Any, *given: Any) -> Any:
    discards = self._discards
    done = o(self, *given)
    self._discards = discards
    return done


@bug("Machine._reap", "a lease that runs out is counted twice")
def _(o: Any, self: Any, now: float) -> None:
    expiries = self._expiries
    o(self, now)
    self._expiries += self._expiries - expiries


@bug("Machine.time_out", "a call that was cancelled is counted as one that has timed out")
def _(o: Any, self: Any, now: float) -> None:
    self._timeouts += sum(it.caller.cancelled() for it in self._waiters.values())
    o(self, now)


@bug("Machine._dismiss", "a take that has its end is counted as one that waits")
def _(o: Any, self: Any, waiter: Any) -> None:
    o(self, waiter)
    if waiter.kind == "take":
        self._others["take"] += 1


@bug("Machine._move", "what was deferred is counted for ever")
def _(o: Any, self: Any, *given: Any) -> None:
    deferred = self._deferred
    o(self, *given)
    self._deferred = max(deferred, self._deferred)


@bug("Machine._store", "an update makes an available item younger")
def _(o: Any, self: Any, key: Any, *given: Any) -> Any:
    done = o(self, key, *given)
    entry = self._keys.find(key)
    if done and entry.list is not None:
        entry.since = given[-1]
    return done


@bug("Machine._reap", "an item is available again from the moment when somebody looks")
def _(o: Any, self: Any, now: float) -> None:
    waiting = [*self._line()]
    o(self, now)
    for entry in self._line():
        if not any(entry is one for one in waiting):
            entry.since = now


@bug("Moves._put_in_front", "an item that comes back to the front hides an older one")
def _(_o: Any, self: Any, entry: Any) -> None:
    self._returned.link_first(entry)


@bug("Machine._deliver", "a lease that was handed over is as old as its reservation")
def _(o: Any, self: Any, grant: Any, *given: Any) -> Any:
    since = grant.since if grant.waiter or "resume" in given else given[0]
    delivery = o(self, grant, *given)
    grant.since = since
    return delivery


@bug("Shell._now", "an item that nobody timed is younger than it is")
def _(o: Any, self: Any) -> Any:
    now = o(self)
    self._noted = now + 1
    return now
