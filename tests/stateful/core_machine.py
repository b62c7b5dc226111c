"""The core under a simulated clock, next to the model."""

from __future__ import annotations

from math import inf
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import rule

from tests.model import model
from tests.stateful.keys import Key
from tests.stateful.mirror import (
    CENSUS,
    NAMES,
    Mirror,
    Outcome,
    Waiting,
    durations,
    moments,
    names,
    outcome,
    picks,
    policies,
    source_of_keys,
    waits,
)

PROGRAM = '''\
"""The steps of a failure. Run it: it fails as the machine did."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from copy import copy
from math import inf, nan
from typing import Any, ClassVar
from uuid import UUID
from weakref import WeakSet

from {package} import Lease
from {package}._core import Core

{keys}

class Gone:
    """The caller of a call that was cancelled."""

    def cancelled(self):
        return True


def outcome(method, *arguments):
    try:
        return method(*arguments)
    except Exception as error:
        return type(error).__name__


def look(core, now):
    available = sorted(core.available_keys(now), key=lambda key: key.name)
    in_flight = sorted(key.name for key in core.inflight_keys(now))
    values = {{key.name: core.peek(key, now) for key in available}}
    return values, in_flight, core.qsize(now), core.inflight_size(now)


gc.disable()
intruder = []
{steps}
'''


class Gone:
    """The caller of a call that was cancelled."""

    def cancelled(self) -> bool:
        return True


class CoreMachine(Mirror):
    """Everything that can be done to a core, in any order, at any time."""

    def open(self, default: float | None) -> None:
        core_module = self.package.module("_core")
        self.in_names |= {"Core": core_module.Core, "Gone": Gone, "outcome": self._name_outcome}
        self.in_names["intruder"] = []
        self.execute(f"core = Core({default})")
        self.execute("other = Core()")
        self.execute("other.put(Key('a'), 0, 'update', 0.0)")
        self.execute("foreign = other.get(None, None, 0.0)[2]")
        self.core: Any = self.in_names["core"]

    @staticmethod
    def _name_outcome(method: Any, *arguments: Any) -> Any:
        result = outcome(method, *arguments)
        result.forget()
        return type(result.error).__name__ if result.error else result.value

    def operate(self, method: str, *arguments: str) -> Outcome:
        self.count(f"core: {method}")
        values = [self.evaluate(argument) for argument in arguments]
        name = f"result{len(self.lines)}"
        everything = ", ".join([f"core.{method}", *arguments, repr(self.now)])
        self.lines.append(f"{name} = outcome({everything})")
        result = outcome(getattr(self.core, method), *values, self.now)
        self.last_result = name
        return result

    def compare(self, actual: Outcome, expected: Outcome) -> None:
        result = self.last_result
        if expected.error:
            self.lines.append(f"assert {result} == {type(expected.error).__name__!r}, {result}")
        elif isinstance(expected.value, tuple):
            key, value, _ = expected.value
            self.lines.append(f"assert {result}[:2] == (Key({key!r}), {value!r}), {result}")
            self.lines.append(f"lease{len(self.leases) + 1} = {result}[2]")
        elif isinstance(expected.value, model.Call):
            self.lines.append(f"assert type({result}).__name__ == 'Call', {result}")
            self.lines.append(f"call{len(self.calls) + 1} = {result}")
        else:
            self.lines.append(f"assert {result} == {expected.value!r}, {result}")
        super().compare(actual, expected)
        self.lines.append(f"{result} = None")
        if isinstance(expected.value, model.Call):
            name = f"call{len(self.calls) + 1}"
            self.in_names[name] = actual.value
            self.calls.append(Waiting(name, expected.value))

    def intrusion(self, method: str) -> str:
        now = repr(self.now)
        arguments = {
            "put": f"Key('a'), 0, 'update', {now}",
            "get": f"None, None, {now}",
            "take": f"Key('a'), None, None, {now}",
            "ack": f"foreign, {now}",
        }.get(method, now)
        self.execute("intruder.clear()")
        return f"lambda: intruder.append(outcome(core.{method}, {arguments}))"

    # -- calls that wait

    @rule(timeout=waits, lease_timeout=durations, moment=moments)
    def get(
        self, timeout: float | None, lease_timeout: float | None, moment: tuple[str, int]
    ) -> None:
        self.pass_time(moment)
        self.both("get", [repr(timeout), repr(lease_timeout)], [timeout, lease_timeout])

    @rule(name=names, timeout=waits, lease_timeout=durations, moment=moments)
    def take(
        self,
        name: str,
        timeout: float | None,
        lease_timeout: float | None,
        moment: tuple[str, int],
    ) -> None:
        self.pass_time(moment)
        arguments = [f"Key({name!r})", repr(timeout), repr(lease_timeout)]
        self.both("take", arguments, [name, timeout, lease_timeout])

    @rule(name=names, get_first=st.booleans(), policy=policies, leaver=picks)
    def two_calls_for_one_copy(self, name: str, get_first: bool, policy: str, leaver: int) -> None:
        """Whoever has waited longer is served first, unless it is leaving."""
        while not self.model.closed and self.model.qsize(self.now):
            self.get(0, None, ("stay", 0))
        if get_first:
            self.get(None, None, ("stay", 0))
        self.take(name, None, None, ("stay", 0))
        self.get(None, None, ("stay", 0))
        if leaver % 2:
            self.leave(leaver - 1, ("stay", 0), 0)
        self.do_put(name, policy)

    def unfinished(self) -> list[Waiting]:
        return [call for call in self.calls if call.twin in self.model.calls]

    def settled(self) -> list[Waiting]:
        """Calls that can resume; one that was cancelled while it waited never does."""
        twins = [(call, call.twin) for call in self.unfinished() if call.twin]
        return [c for c, twin in twins if (twin.grant or twin.error) and not twin.cancelled]

    @rule(pick=picks, moment=moments)
    def resume(self, pick: int, moment: tuple[str, int]) -> None:
        """A call whose wait is over goes on, however late."""
        self.pass_time(moment)
        if calls := self.settled():
            call = calls[pick % len(calls)]
            self.both("resume", [call.name], [call.twin])

    @rule(pick=picks)
    def resume_too_soon(self, pick: int) -> None:
        waiting = [call for call in self.unfinished() if call not in self.settled()]
        if waiting:
            name = waiting[pick % len(waiting)].name
            if not self.in_names[name].caller.cancelled():
                self.refuse("resume", [name], "RuntimeError", even_closed=True)

    @rule(pick=picks, moment=moments, soon=picks)
    def leave(self, pick: int, moment: tuple[str, int], soon: int) -> None:
        """A call is cancelled; it may be a while until it has left the queue."""
        self.pass_time(moment)
        call = self.pick_call(pick, self.unfinished())
        if call and call.twin:
            if call.twin.grant:
                self.count("cancelled with a copy reserved")
            if not call.twin.grant and not call.twin.error:
                self.execute(f"{call.name}.caller = Gone()")
                call.twin.cancelled = True
            if soon % 2:
                self.both("cancel", [call.name], [call.twin])

    @rule(moment=moments)
    def time_out(self, moment: tuple[str, int]) -> None:
        """The timer fires; there is none once the queue is closed."""
        self.pass_time(moment)
        if not self.model.closed:
            self.both("time_out", [], [])

    @rule(name=names, lease_timeout=st.integers(1, 3), timeout=st.integers(1, 3), moment=moments)
    def wait_for_a_lease_to_end(
        self, name: str, lease_timeout: int, timeout: int, moment: tuple[str, int]
    ) -> None:
        """A lease and a wait for its key, which may end at the same time."""
        self.put_and_take(name, "update", lease_timeout, 1)
        self.take(name, timeout, None, ("stay", 0))
        self.time_out(moment)

    @rule(name=names, lease_timeout=st.integers(1, 3), leaves=st.booleans(), moment=moments)
    def go_on_late(
        self, name: str, lease_timeout: int, leaves: bool, moment: tuple[str, int]
    ) -> None:
        """Leases may end between the moment when a call is served and that when it goes on."""
        self.put_and_take(name, "update", None, 1)
        self.take(name, None, None, ("stay", 0))
        self.put_and_take(NAMES["abc".index(name) - 1], "update", lease_timeout, 1)
        self.do_put(name, "buffer")
        self.pass_time(moment)
        if calls := self.settled():
            method = "cancel" if leaves else "resume"
            self.both(method, [calls[-1].name], [calls[-1].twin])

    @rule(moment=moments)
    def expire(self, moment: tuple[str, int]) -> None:
        self.pass_time(moment)
        self.both("expire", [], [])

    # -- what holds after each rule

    def look_line(self, expected: tuple[Any, ...]) -> str:
        return f"assert look(core, {self.now}) == {expected}, look(core, {self.now})"

    def look(self) -> tuple[Any, ...]:
        core, now = self.core, self.now
        for method in ("available_keys", "inflight_keys", "qsize", "inflight_size"):
            CENSUS[f"core: {method}"] += 1
        in_flight = sorted(key.name for key in core.inflight_keys(now))
        values = {key.name: core.peek(key, now) for key in core.available_keys(now)}
        for name in NAMES:
            if core.contains(Key(name), now) != (name in values):
                line = f"assert core.contains(Key({name!r}), {now}) == {name in values}"
                self.fail(f"contains({name!r}) and available_keys() differ", line)
            if name not in values and core.peek(Key(name), now) is not None:
                line = f"assert core.peek(Key({name!r}), {now}) is None"
                self.fail(f"peek({name!r}) shows a value that is not available", line)
        return dict(sorted(values.items())), in_flight, core.qsize(now), core.inflight_size(now)

    def check(self) -> None:
        core = self.core
        if core.lost:
            self.execute("core.lost.clear()")  # as the shell does
        try:
            core.check_invariants()
        except AssertionError as error:
            self.fail(str(error), "core.check_invariants()", error)
        self.check_keys(core, "core")
        line = [(copy._key.name, copy._value) for copy in (*core._returned, *core._arrived)]
        expected = [(copy.key, copy.value) for copy in self.model._line()]
        if line != expected:
            show = "[(copy._key.name, copy._value) for copy in (*core._returned, *core._arrived)]"
            reason = f"the line is {line}\nand the model's {expected}"
            self.fail(reason, f"assert {show} == {expected}")
        for call in self.settled():
            told = self.in_names[call.name] in core.settled
            if not told:
                self.fail(f"nobody was told of {call.name}", f"assert {call.name} in core.settled")
        waiting = [call for call in self.model.calls if not (call.grant or call.error)]
        soonest = min(
            [grant.deadline for grant in self.model.grants.values()]
            + [call.deadline for call in waiting if not call.cancelled],
            default=inf,
        )
        if not waiting and core.alarm != inf:
            self.fail("an alarm without a call that waits", "assert core.alarm == inf")
        if any(not call.cancelled for call in waiting) and core.alarm > soonest:
            self.fail(f"no alarm at {soonest}", f"assert core.alarm <= {soonest}")
        self.census()

    def teardown(self) -> None:
        """Drain the queue: nothing is lost, and everything comes in its order."""
        if self.failed:
            return
        unnamed = [
            key for key in self.core.available_keys(self.now) if repr(key) not in self.core.dump()
        ]
        if unnamed:
            self.fail(f"dump() says nothing of {unnamed}", "print(core.dump())\nassert False")
        if self.dropped:
            del self.core
            names = ["core", *(one.name for one in self.leases), *(one.name for one in self.calls)]
            self.execute(" = ".join([*names, "None"]))
            self.expect_alive([])
            return
        while not self.model.closed and self.model.qsize(self.now):
            self.both("get", ["0", "inf"], [0, inf])
        for call in self.settled()[1:]:  # the close finds one that is served
            self.both("resume", [call.name], [call.twin])
        for call in self.unfinished()[1::2]:
            self.both("cancel", [call.name], [call.twin])
        self.agree()
        self.both("close", [], [])
        for call in self.unfinished():
            gone = call.twin and call.twin.cancelled
            self.both("cancel" if gone else "resume", [call.name], [call.twin])
        self.agree()

    def program(self) -> str:
        return PROGRAM.format(
            package=self.package.PACKAGE, keys=source_of_keys(), steps="\n".join(self.lines)
        )
