"""The machine under a simulated clock, next to the model."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Any

from hypothesis.stateful import rule

from tests.stateful.mirror import (
    Call,
    Mirror,
    Moment,
    Outcome,
    Reading,
    moments,
    outcome,
    picks,
    telling,
)

PROGRAM = '''\
"""The steps of a failure. Run it: it fails as the machine did."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from copy import copy
from dataclasses import asdict
from math import inf, nan
from types import FrameType
from typing import Any, ClassVar
from uuid import UUID
from weakref import WeakSet

from {package} import Lease
from {package}._machine import Machine
from {package}.observing import named

{helpers}

class Gone:
    """The caller of a call that was cancelled."""

    def cancelled(self):
        return True


def outcome(make):
    try:
        return make()
    except Exception as error:
        return type(error).__name__


def intrude(make):
    outcome(lambda: {snapshot})
    inside.append(outcome(make))


def do(make):
    result = outcome(make)
    while machine.outbox.woken or machine.outbox.left or machine.outbox.dropped:
        woken.extend(call.ticket for call in machine.outbox.woken)
        machine.outbox.woken.clear()
        for _ in range(len(machine.outbox.left)):
            machine.cancel(machine.outbox.left.popleft(), now)
        dropped, machine.outbox.dropped = machine.outbox.dropped, []
        del dropped
    return result


def told():
    events, machine.outbox.events = machine.outbox.events, []
    return [telling(named(event)) for event in events if event.action != "gone"]


def is_waiting(result):
    return type(result).__name__ == "Waiter"


def was_told(call):
    return call.ticket in woken


gc.disable()
Trouble.package = {package!r}
now, inside, woken = 0.0, [], []
{steps}
'''


class Gone:
    """The caller of a call that was cancelled."""

    def cancelled(self) -> bool:
        return True


class MachineMirror(Mirror):
    """Everything that can be done to a machine, in any order, at any time."""

    kind = "machine"
    template = PROGRAM
    snapshot = "machine.snapshot(now)"
    statistics = "machine.stats(now)"
    health = "machine.check_invariants()"

    def open(self, arguments: str) -> None:
        self.woken: list[int] = []  # tickets of the calls that were told to go on
        self.in_names |= {
            "Machine": self.package.module("_machine").Machine,
            "Gone": Gone,
            "now": 0,
        }
        self.in_names["inside"] = self.inside
        self.execute(f"machine = Machine({arguments})")
        self.execute("other = Machine()")
        self.execute("other.put(Key('a'), 0, 'update', 0, None, 0.0)")
        self.execute("foreign = other.get(None, None, 0.0)[2]")
        self.machine: Any = self.in_names["machine"]
        self.watched = self.watched and getattr(type(self.machine), "tells_events", True)
        if self.watched:
            self.execute("machine.outbox.events = []")

    def set_clock(self, now: float) -> None:
        super().set_clock(now)
        self.execute(f"now = {now}")

    def source(self, method: str, arguments: list[str], vary: bool = False) -> str:
        return f"machine.{method}({', '.join([*arguments, 'now'])})"

    def do(self, make: Callable[[], Any]) -> Outcome:
        """As the shell does: wake, let those go that have left, and drop what is to be dropped."""
        result, outbox = outcome(make), self.machine.outbox
        while outbox.woken or outbox.left or outbox.dropped:
            self.woken.extend(call.ticket for call in outbox.woken)
            outbox.woken.clear()
            for _ in range(len(outbox.left)):
                late = outcome(self.machine.cancel, outbox.left.popleft(), self.now)
                if late.error:
                    result = late  # as it would come out of the shell
            dropped, outbox.dropped = outbox.dropped, []
            del dropped
        return result

    def told(self) -> list[dict[str, Any]]:
        named = self.package.module("observing").named
        events, self.machine.outbox.events = self.machine.outbox.events, []
        return [telling(named(event)) for event in events if event.action != "gone"]

    def step(self, make: Callable[[], Any]) -> Outcome:
        return outcome(make)

    def drive(self, call: Call) -> tuple[str, Reading]:
        refused: Reading = ("after", lambda _: Outcome(error=RuntimeError()))
        return self.source("resume", [call.name]), refused

    def is_waiting(self, value: Any) -> bool:
        return type(value).__name__ == "Waiter"

    def keep_call(self, call: Call, value: Any) -> None:
        self.in_names[call.name] = value
        self.lines.append(f"{call.name} = {self.last_result}")

    def was_told(self, call: Call) -> bool:
        return call.ticket in self.woken

    def cancel_while_waiting(self, call: Call) -> None:
        self.execute(f"{call.name}.caller = Gone()")

    @rule(pick=picks)
    def resume_too_soon(self, pick: int) -> None:
        waiting = [call for call, twin in self.unfinished() if twin.waits]
        if waiting:
            name = waiting[pick % len(waiting)].name
            self.refuse("resume", [name], "RuntimeError", closed=True)

    @rule(moment=moments)
    def time_out(self, moment: Moment) -> None:
        self.pass_time(moment)
        if self.model.phase != "closed":  # then there is no timer
            self.both("time_out")

    @rule(moment=moments)
    def reap(self, moment: Moment) -> None:
        self.pass_time(moment)
        self.both("reap")

    def check(self) -> None:
        alarm, latest = self.machine.outbox.alarm, self.model.alarm()
        if alarm > latest:
            self.fail(f"no alarm at {latest}", f"assert machine.outbox.alarm <= {latest}")
        if not self.model.waiters and alarm != inf:
            self.fail("an alarm without a call that waits", "assert machine.outbox.alarm == inf")
        if len({*self.woken}) < len(self.woken):
            self.fail("a call was woken twice", "assert len({*woken}) == len(woken), woken")

    def finish(self) -> None:
        """A machine that is dropped keeps nothing."""
        if self.failed:
            return
        if not self.dropped:
            self.run_out()
            return
        del self.machine
        names = [
            "machine",
            "shown",
            *(one.name for one in self.leases),
            *(one.name for one in self.calls),
        ]
        self.execute(" = ".join([*names, "None"]))
        self.expect_alive([])
