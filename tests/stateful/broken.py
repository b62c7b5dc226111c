"""Bugs to plant in a copy of the package: the machines must find every one of them.

A bug is a rule of the queue's meaning, broken by a small change of the source.
The numbers in brackets are the projects that had it.
"""

from __future__ import annotations

import ast
import shutil
import sys
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from hypothesis.stateful import RuleBasedStateMachine

from tests.stateful.core_machine import CoreMachine
from tests.stateful.list_machine import DeadlinesMachine, ListMachine
from tests.stateful.queue_machine import QueueMachine
from tests.subject import PACKAGE


@dataclass(frozen=True)
class Bug:
    """What goes wrong, in which file, and the changes of its source that bring it about."""

    what: str
    file: str
    changes: tuple[tuple[str, str], ...]
    machine: type[RuleBasedStateMachine]


def bug(machine: type[RuleBasedStateMachine], what: str, file: str, *texts: str) -> Bug:
    return Bug(what, file, tuple(zip(texts[::2], texts[1::2], strict=True)), machine)


CORE, KEY, TIME, LIST, SHELL = "_core", "_key", "_deadlines", "_linkedlist", "_queue"
LEASE = "lease"
C, Q, L, D = CoreMachine, QueueMachine, ListMachine, DeadlinesMachine

BUGS = [
    # The line.
    bug(
        C,
        "get passes over the copies that came back",
        CORE,
        "        line = self._returned\n        copy = line.first\n",
        "        line = self._arrived if self._arrived.first else self._returned\n"
        "        copy = line.first\n",
    ),
    bug(
        C,
        "release forgets requeue_front",
        CORE,
        "front = bool(requeue_front)",
        "front = False",
    ),
    bug(
        C,
        "release to the front goes to the end of the first part",
        CORE,
        "lost = self._return(lease, self._released, line, front)",
        "lost = self._return(lease, self._released, line)",
    ),
    bug(
        C,
        "a, b, c that expire come back as c, b, a [mongodb-queue#4, leasedkeyq 0.0.7]",
        CORE,
        "self._return(lease, self._expired, self._returned)",
        "self._return(lease, self._expired, self._returned, front=True)",
    ),
    bug(
        C,
        "an expired copy goes to the back",
        CORE,
        "self._return(lease, self._expired, self._returned)",
        "self._return(lease, self._expired, self._arrived)",
    ),
    bug(
        C,
        "close gives copies back in the wrong order",
        CORE,
        "for lease in reversed(leases)",
        "for lease in leases",
    ),
    bug(
        C,
        "put on an available key moves it to the back",
        CORE,
        "            _lost, anchor._value = anchor._value, value\n",
        "            _lost, anchor._value = anchor._value, value\n"
        "            if step is REPLACE:\n"
        "                anchor._list.unlink(anchor)\n"
        "                self._arrived.link_last(anchor)\n",
    ),
    # The values of a key.
    bug(
        C,
        "a buffered copy leaves the deferred value behind",
        CORE,
        "_lost, item.deferred = item.deferred, NOTHING",
        "_lost = item.deferred",
    ),
    bug(
        C,
        "update changes the oldest copy in flight",
        KEY,
        'cast("Rank[K]", self.ranks.last)',
        'cast("Rank[K]", self.ranks.first)',
    ),
    bug(
        C,
        "update passes over the deferred value",
        KEY,
        '"put update": (DEFER, DEFERRED)',
        '"put update": (REVISE, DEFERRED)',
    ),
    bug(
        C,
        "reject is not heeded once a value was deferred",
        KEY,
        '"put reject": (REFUSE, DEFERRED)',
        '"put reject": (DEFER, DEFERRED)',
    ),
    bug(
        C,
        "a value put during a lease is gone after the ack [celery, leasedkeyq 0.0.7]",
        KEY,
        '"ack last": (PROMOTE, AVAILABLE)',
        '"ack last": (DROP, ABSENT)',
    ),
    bug(
        C,
        "a lease that is released forgets the value put during it",
        KEY,
        '"return last": (ADOPT, AVAILABLE)',
        '"return last": (RETURN, AVAILABLE)',
    ),
    bug(
        C,
        "an older value replaces a newer one",
        CORE,
        "outdated = step is ADOPT or (waiting is not None and lease._version < waiting._version)",
        "outdated = step is ADOPT",
    ),
    bug(
        C,
        "a deferred value jumps the line after the ack",
        CORE,
        "                self._line_up(copy, self._arrived)\n        del value",
        "                self._line_up(copy, self._returned)\n        del value",
    ),
    # Waiting.
    bug(
        C,
        "put, then cancel the woken waiter: the item is lost [bpo-23812, tornado#2826]",
        CORE,
        "lost = self._return(lease, self._released, self._returned, front=True)",
        "lost = lease",
    ),
    bug(
        C,
        "a cancelled call's copy goes to the back",
        CORE,
        "lost = self._return(lease, self._released, self._returned, front=True)",
        "lost = self._return(lease, self._released, self._arrived)",
    ),
    bug(
        C,
        "a call that is being cancelled is offered a copy [anyio#146, go#37852]",
        CORE,
        "and call.caller.cancelled():",
        "and call.caller is None:",
    ),
    bug(
        C,
        "the call that came last is served first [gh-93222, trio#54]",
        CORE,
        "        call._list = calls\n        call._next = None\n"
        "        call._prev = last = calls.last\n        calls.last = call\n"
        "        if last is None:\n            calls.first = call\n"
        "        else:\n            last._next = call\n",
        "        calls.link_first(call)\n",
    ),
    bug(
        C,
        "a take is served before a get that has waited longer",
        CORE,
        "if getter is None or (taker is not None and taker.ticket < getter.ticket):",
        "if taker is not None:",
    ),
    bug(
        C,
        "a copy that comes back wakes no take",
        CORE,
        "if item.takers is None:",
        "if item.takers is None or item.leases is None:",
    ),
    bug(
        C,
        "a wait ends before a copy that is due at that moment is handed over",
        CORE,
        "            self._enter(now)\n        for alarm",
        "            pass\n        for alarm",
    ),
    bug(
        C,
        "a get with a long timeout hides a lease that runs out sooner [beanstalkd#174]",
        CORE,
        "if soonest < self.alarm or",
        "if soonest < self.alarm == inf or",
    ),
    bug(
        C,
        "timeout=0 waits",
        CORE,
        "if timeout is not None and timeout <= 0:",
        "if timeout is not None and timeout < 0:",
    ),
    bug(
        C,
        "close forgets a call that waits [gh-117531, janus#237]",
        CORE,
        "for call in [*self._calls.values()]:",
        "for call in [*self._calls.values()][1:]:",
    ),
    bug(
        C,
        "a call served just before the close is not told of it",
        CORE,
        "                lease._standing.outcome = CLOSED\n",
        "                lease._standing.outcome = LEFT\n",
    ),
    # Leases.
    bug(
        C,
        "all leases of one key are equal",
        LEASE,
        "return (self.token, self._key) == (other.token, other._key)",
        "return bool(self._key == other._key)",
    ),
    bug(
        C,
        "a copied lease is another one",
        LEASE,
        "return (Lease, (self.token, self._key))",
        "return (Lease, (self.token.upper(), self._key))",
    ),
    bug(
        C,
        "a lease is live at its deadline",
        CORE,
        "if self.due is not None and now >= self.due and self.due is not _BUSY:",
        "if self.due is not None and now > self.due and self.due is not _BUSY:",
    ),
    bug(
        C,
        "an expired lease is acked before the reaper runs [river#1302]",
        CORE,
        "            due = self._enter(now)\n        try:\n            live",
        "            pass\n        try:\n            live",
    ),
    bug(
        C,
        "leases that are due at once end in the order of their grants",
        TIME,
        'attrgetter("_deadline", "_number")',
        'attrgetter("_number")',
    ),
    bug(
        C,
        "extend forgets its timeout",
        CORE,
        "            self._drop_deadline(lease)\n        self._set_deadline(lease, timeout, now)",
        "            self._drop_deadline(lease)\n        self._set_deadline(lease, granted, now)",
    ),
    bug(
        C,
        "extend falls back to the queue's default",
        CORE,
        "            timeout = granted",
        "            timeout = self._default",
    ),
    bug(
        C,
        "extend repeats the last extension, not what was granted",
        CORE,
        "granted = lease._item.durations.get(lease._number, granted)",
        "pass",
    ),
    bug(
        C,
        "the default of a queue is not heeded by take",
        CORE,
        "            duration = self._default\n        else:\n"
        '            duration = lease_seconds("lease_timeout", lease_timeout)\n'
        "        due = self.due\n",
        "            duration = inf\n        else:\n"
        '            duration = lease_seconds("lease_timeout", lease_timeout)\n'
        "        due = self.due\n",
    ),
    bug(
        C,
        "a second ack does not say that it is the second",
        CORE,
        "if standing is self._acked:",
        "if standing is None:",
    ),
    bug(
        C,
        "an expired lease is no LeaseExpiredError",
        CORE,
        "if standing is self._expired:",
        "if standing is None:",
    ),
    bug(C, "a lease rebuilt with another key is taken", CORE, "if not same:", "if False:"),
    bug(
        C,
        "peek shows what it was before the leases ended that are due",
        CORE,
        "        self.expire(now)\n        copy = self._available(key)",
        "        copy = self._available(key)",
    ),
    bug(
        C,
        "a call that leaves gives its copy back before those that are due",
        CORE,
        "                self._enter(now)\n            lease, call.lease = call.lease, None\n"
        "            lost",
        "                pass\n            lease, call.lease = call.lease, None\n            lost",
    ),
    bug(
        C,
        "a lease that a call has waited for never ends",
        CORE,
        "                self._set_deadline(lease, call.duration, now)\n",
        "                pass\n",
    ),
    bug(
        C,
        "an extension that never ends leaves the old deadline",
        CORE,
        "            self._drop_deadline(lease)\n        self._set_deadline(lease, timeout",
        "            timeout == inf or self._drop_deadline(lease)\n"
        "        self._set_deadline(lease, timeout",
    ),
    bug(
        C,
        "a lease that is rebuilt early is taken for one that is reserved",
        CORE,
        "if found is None or found._standing is not self._leased:",
        "if found is None:",
    ),
    bug(
        C,
        "of two copies in flight the one granted first is taken for the older",
        KEY,
        "for lease in sorted((one, other), key=_version):",
        "for lease in (one, other):",
    ),
    bug(
        C,
        "a lease can be changed",
        LEASE,
        'raise FrozenInstanceError(f"cannot assign',
        'return FrozenInstanceError(f"cannot assign',
    ),
    bug(
        C,
        "the tokens of all queues are alike",
        LEASE,
        'int.from_bytes(urandom(16), "big")',
        "12345",
    ),
    # What is kept.
    bug(
        C,
        "a lease that was acknowledged keeps its value alive",
        CORE,
        "            lease._value = None\n            lease._standing = self._acked",
        "            lease._standing = self._acked",
    ),
    bug(
        C,
        "a queue that is dropped keeps its values",
        CORE,
        "def __del__(self)",
        "def _del(self)",
    ),
    bug(
        C,
        "the durations of leases that have ended are kept",
        CORE,
        "        item.durations.pop(lease._number, None)\n",
        "",
    ),
    # Bad input.
    bug(
        C,
        "NaN is taken for a timeout [trio#837]",
        CORE,
        "if isnan(number):",
        "if False:",
    ),
    bug(C, "a lease may last no time", CORE, "if number <= 0:", "if number < 0:"),
    bug(
        C,
        "a key that raises leaves half an ack behind [bpo-35780, gh-94879]",
        CORE,
        "                del self._keys[lease._key]  # runs",
        "                del self._leases[lease._number]\n"
        "                del self._keys[lease._key]\n"
        "                self._leases[lease._number] = lease  # runs",
    ),
    bug(
        C,
        "a key's own code may call the queue in the midst of a put",
        CORE,
        "        self.due = _BUSY\n        try:\n            anchor = self._keys.setdefault",
        "        try:\n            anchor = self._keys.setdefault",
    ),
    # The shell.
    bug(
        Q,
        "a queue can be used from any loop",
        SHELL,
        "elif loop is not self._loop:",
        "elif loop is None:",
    ),
    bug(
        Q,
        "a get that is closed while it waits stays in the queue",
        SHELL,
        "        except BaseException:\n            self._cancel(call)\n            raise\n"
        "        try:  # self._resume",
        "        except Exception:\n            self._cancel(call)\n            raise\n"
        "        try:  # self._resume",
    ),
    bug(
        Q,
        "a call that is served is given another future, which nobody waits for",
        SHELL,
        "future: Any = core.settled.popleft().caller\n",
        "future: Any = core.settled[0].caller\n"
        "            core.settled.popleft().caller = loop.create_future()\n",
    ),
    bug(
        Q,
        "the lease's clock starts with the wait [kombu#337, celery#2481]",
        SHELL,
        "        try:\n            await future\n",
        "        began = self._loop.time()\n        try:\n            await future\n",
        "        try:  # self._resume(call), written out\n            return core.resume(\n"
        "                call, 0.0 if core.due is None and call.duration == inf"
        " else self._loop.time()\n",
        "        try:\n            return core.resume(\n                call, began\n",
    ),
    bug(
        Q,
        "only one of the calls that are served is woken",
        SHELL,
        "while core.settled:",
        "if core.settled:",
    ),
    bug(
        Q,
        "a cancelled call stays in the queue [trio#548, aiohttp#9670]",
        SHELL,
        "self._core.cancel(call, self._loop.time())",
        "pass",
    ),
    bug(
        Q,
        "the timer outlives what it was for [hertzbeat#4201]",
        SHELL,
        "                self._timer.cancel()\n",
        "",
    ),
    bug(
        Q,
        "what the timer ends is told to nobody",
        SHELL,
        "self._settle(now + _resolution(self._loop) if early else -inf)",
        "pass",
    ),
    bug(
        Q,
        "a wake-up after a cancellation is an InvalidStateError [asyncio#255]",
        SHELL,
        "except InvalidStateError:",
        "except ArithmeticError:",
    ),
    bug(
        Q,
        "the timeout of take is not passed on",
        SHELL,
        "core.take(key, timeout, lease_timeout",
        "core.take(key, None, lease_timeout",
    ),
    bug(
        Q,
        "what a put sets going is settled by the next operation only",
        SHELL,
        "0.0 if core.due is None else self._loop.time())\n        finally:\n"
        "            if core.news:\n",
        "0.0 if core.due is None else self._loop.time())\n        finally:\n"
        "            if core.news and core.alarm < inf:\n",
    ),
    bug(
        Q,
        "the timer is late",
        SHELL,
        "max(core.alarm, not_before)",
        "max(core.alarm, not_before) + 0.25",
    ),
    bug(
        Q,
        "an extension is settled by the next operation only",
        SHELL,
        "            self._core.extend(lease, timeout, self._loop.time())\n        finally:\n"
        "            self._settle()",
        "            self._core.extend(lease, timeout, self._loop.time())\n        finally:\n"
        "            pass",
    ),
    # The list and the deadlines.
    bug(
        D,
        "every duration that was ever used keeps its lane",
        TIME,
        "if len(self._lanes) >= self._sweep_at:",
        "if len(self._lanes) < 0:",
    ),
    bug(
        L,
        "the second node does not know the first",
        LIST,
        "            first._prev = node\n",
        "            pass\n",
    ),
    bug(
        L,
        "an unlinked node keeps its neighbours",
        LIST,
        "        node._list = node._prev = node._next = None\n\n    def move_last",
        "        node._list = None\n\n    def move_last",
    ),
    bug(
        L,
        "a node may be unlinked from a list that it is not in",
        LIST,
        "if node._list is not self:",
        "if node._list is None:",
    ),
    bug(
        D,
        "idle lanes are swept out, and their times stay",
        TIME,
        "self._heap = [entry for entry in self._heap if entry[2].first is not None]",
        "self._heap = self._heap[1:]",
    ),
    bug(
        D,
        "the last deadline is said to be gone while there are others",
        TIME,
        "return after is None and len(self._heap) == 1",
        "return after is None",
    ),
]


def planted(bug: Bug, number: int, folder: Path) -> Any:
    """A copy of the package under test with the bug in it, as `tests.subject` would name it."""
    spec = find_spec(PACKAGE)
    assert spec is not None
    assert spec.origin is not None
    name = f"leasedkeyq_broken_{number}"
    copy = folder / name
    shutil.copytree(Path(spec.origin).parent, copy, ignore=shutil.ignore_patterns("*.pyc"))
    file = copy / f"{bug.file}.py"
    source = file.read_text()
    for old, new in bug.changes:
        assert old in source, f"{bug.file}.py has changed; plant this bug anew: {bug.what}\n{old}"
        broken = source.replace(old, new)
        assert ast.dump(ast.parse(broken)) != ast.dump(ast.parse(source)), f"{old} is a comment"
        source = broken
    file.write_text(source)
    sys.path.insert(0, str(folder))
    try:
        package = import_module(name)
    finally:
        sys.path.remove(str(folder))
    return SimpleNamespace(
        PACKAGE=name,
        Lease=package.Lease,
        LeasedKeyQueue=package.LeasedKeyQueue,
        module=lambda part: import_module(f"{name}.{part}"),
    )
