"""Queues made from the source of the queue with pieces of it changed, to be timed.

None of them may be used for anything else: they break promises, or know no more than put, get and
ack of plain keys.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from types import ModuleType
from typing import TypeAlias

from leasedkeyq import LeasedKeyQueue

# A module, a piece of its source, and what stands there instead, wherever the piece stands.
Cut: TypeAlias = tuple[str, str, str]

# -- promises that are given up ------------------------------------------------

CHECK = "get_running_loop() is not self._loop if _CHEAP else get_ident() != self._home._thread_id"
LEFT_OUT: dict[str, list[Cut]] = {
    "the check that the loop is the queue's": [("_queue", CHECK, "self._loop is None")],
    "the guard against keys that call the queue": [
        (
            "_core",
            "        self.due = _BUSY\n        try:\n            anchor = self._keys.setdefault",
            "        try:\n            anchor = self._keys.setdefault",
        ),
        (
            "_core",
            "            self.due = _BUSY\n            try:\n                del self._keys[lease",
            "            try:\n                del self._keys[lease",
        ),
    ],
    "the numbers of grants": [("_core", "self._number = number = self._number + 1", "number = 1")],
    "the index of live leases": [
        ("_core", "self._leases[number] = copy", "pass"),
        ("_core", "del self._leases[lease._number]", "pass"),
    ],
    "the check that a lease is one": [
        (
            "_core",
            """        try:
            live = lease._standing is self._leased
        except AttributeError:
            live = False  # it is no lease at all
        if not live:
            lease = self._find(lease)
""",
            "",
        ),
    ],
}
LEFT_OUT["all of these"] = [cut for cuts in LEFT_OUT.values() for cut in cuts]

# -- other designs -------------------------------------------------------------

OTHERWISE: dict[str, list[Cut]] = {
    "a list of live leases, and no index of them by number": [
        (
            "_core",
            '        "_expired",\n',
            '        "_expired",\n        "_live",\n        "_ended",\n',
        ),
        (
            "_core",
            "        self._closed = False\n\n",
            """        self._closed = False
        self._live: LinkedList[Lease[K]] = LinkedList()
        self._ended = 0  # for the sizes

""",
        ),
        (
            "_core",
            """        copy._list = copy._next = None
        copy._number = self._number = number = self._number + 1
        copy._standing = self._leased
        if copy._item is not None:
            copy._item.admit(copy)
        self._leases[number] = copy
        if duration != inf:
""",
            """        copy._number = self._number = self._number + 1
        copy._standing = self._leased
        if copy._item is not None:
            copy._item.admit(copy)
        if duration == inf:
            copy._list = line = self._live
            copy._next = None
            copy._prev = last = line.last
            line.last = copy
            if last is None:
                line.first = copy
            else:
                last._next = copy
        else:
            copy._list = None
""",
        ),
        (
            "_core",
            """            del self._leases[lease._number]
            if lease._list is not None:
                if self._deadlines.remove(lease):
""",
            """            self._ended += 1
            line = lease._list
            if line is self._live:
                before, after = lease._prev, lease._next
                if before is None:
                    line.first = after
                else:
                    before._next = after
                if after is None:
                    line.last = before
                else:
                    after._prev = before
                lease._list = lease._prev = lease._next = None
            else:
                if self._deadlines.remove(lease):
""",
        ),
    ],
    "deadlines set and dropped in line": [
        (
            "_core",
            """            self._deadlines.add(copy, duration, now)
            self.due = self._deadlines.soonest
            if self._calls:
                self._reckon()
        return""",
            """            deadlines = self._deadlines
            lane = deadlines._lanes.get(duration)
            if lane is None:
                lane = deadlines._open(duration)
            if now < deadlines._latest:
                now = deadlines._latest
            deadlines._latest = now
            copy._deadline = deadline = now + duration
            copy._list = lane
            copy._next = None
            copy._prev = last = lane.last
            lane.last = copy
            if last is None:
                lane.first = copy
                if not lane.queued:
                    deadlines._enqueue(lane, deadline)
            else:
                last._next = copy
            self.due = deadlines.soonest
            if self._calls:
                self._reckon()
        return""",
        ),
        (
            "_core",
            """                if self._deadlines.remove(lease):
                    self.due = None
                if self._calls:
                    self._reckon()
            value""",
            """                lane = lease._list
                before, after = lease._prev, lease._next
                lease._list = lease._prev = lease._next = None
                if after is None:
                    lane.last = before
                else:
                    after._prev = before
                if before is not None:
                    before._next = after
                else:
                    lane.first = after
                    if after is None and len(self._deadlines._heap) == 1:
                        self.due = None
                if self._calls:
                    self._reckon()
            value""",
        ),
    ],
}
OTHERWISE["both"] = [cut for cuts in OTHERWISE.values() for cut in cuts]


def variant(cuts: list[Cut]) -> type[LeasedKeyQueue[str, str]]:
    """The queue, made anew from its source without the pieces."""
    core, queue = without("_core", cuts), without("_queue", cuts)
    queue.__dict__["Core"] = core.__dict__["Core"]
    made: type[LeasedKeyQueue[str, str]] = queue.__dict__["LeasedKeyQueue"]
    return made


def without(name: str, cuts: list[Cut]) -> ModuleType:
    source = inspect.getsource(importlib.import_module(f"leasedkeyq.{name}"))
    for piece, instead in [cut[1:] for cut in cuts if cut[0] == name]:
        if piece not in source:
            raise LookupError(f"{name}.py no longer has {piece!r}")
        source = source.replace(piece, instead)
    module = ModuleType(f"leasedkeyq.{name}_without_{len(sys.modules)}")
    module.__package__ = "leasedkeyq"
    sys.modules[module.__name__] = module
    exec(compile(source, module.__name__, "exec"), module.__dict__)
    return module
