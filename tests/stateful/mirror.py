"""Two queues side by side: what is done to the one under test is done to the model.

A step is a line of source. The machine evaluates the very line that it notes
down, so that the notes of a failure are a program that fails in the same way.
"""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Callable
from copy import copy
from dataclasses import dataclass
from functools import cache
from math import inf, nan
from types import CodeType
from typing import Any, ClassVar
from uuid import UUID
from weakref import WeakSet

from hypothesis import event
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tests import subject
from tests.model import model
from tests.stateful import keys
from tests.stateful.keys import Key, Value

NAMES = "abcd"  # d is for keys that make trouble, and so is mostly new to the queue
CENSUS: Counter[str] = Counter()  # of operations, of errors, and of rare states
RARE = [
    "cancelled before it began",
    "cancelled twice",
    "cancelled with a copy reserved",
    "a key raised",
    "a key called the queue",
    "2 live leases on one key",
    "3 live leases on one key",
    "release to a key that is available",
    "lease ended with a deferred value",
    "clock step over several deadlines",
    "three or more lease deadlines",
    "stale lease used",
]

# -- what the rules draw from

names = st.sampled_from("abc")
policies = st.sampled_from(model.POLICIES)
crowding = st.sampled_from(["buffer", *model.POLICIES, "buffer"])
deferring = st.sampled_from(["defer", *model.POLICIES, "defer"])
durations = st.sampled_from([None, 1, 2, 3, 5, 2.5, inf])
waits = st.sampled_from([None, None, 0, -1, 1, 2, 3, 4.5, inf, 10**400, -(10**400)])
LOOKS = ("peek", "contains", "available_keys", "inflight_keys", "qsize", "inflight_size")
picks = st.integers(0, 9)  # one of several, counted round
rarely = st.integers(0, 7).map(lambda number: number == 4)
bad_durations = st.sampled_from(["nan", "0", "-1", "-inf", "'1'", "[]", "1j"])
# How far the clock goes before a step, and to which of the deadlines to come.
moments = st.tuples(
    st.sampled_from(["stay", "stay", "stay", "later", "before", "at", "after"]), st.integers(0, 3)
)


@dataclass
class Outcome:
    """What came of an operation: a value, or an error."""

    value: Any = None
    error: Exception | None = None

    def forget(self) -> None:
        """It was as expected. A traceback would keep everything alive that took part."""
        if self.error:
            self.error.__traceback__ = self.error.__context__ = self.error.__cause__ = None

    def __str__(self) -> str:
        return repr(type(self.error).__name__ if self.error else self.value)


def outcome(function: Callable[..., Any], *arguments: Any) -> Outcome:
    try:
        return Outcome(function(*arguments))
    except Exception as error:  # noqa: BLE001 (whatever it is, it must be the model's)
        return Outcome(error=error)


@cache
def _compiled(source: str) -> CodeType:
    return compile(source, "<step>", "eval")


@dataclass
class Granted:
    """A lease: its name in the program, and what it is in the model."""

    name: str
    twin: model.Lease


@dataclass(eq=False)
class Waiting:
    """A call that was not served at once: its name in the program, and what it is in the model."""

    name: str
    twin: model.Call | None = None


class Counted(RuleBasedStateMachine):
    """A machine whose steps are counted."""

    def check_invariants(self, *arguments: Any, **options: Any) -> None:
        CENSUS[f"steps: {type(self).__name__}"] += 1
        super().check_invariants(*arguments, **options)


class Mirror(Counted):
    """The rules that cannot wait. A subclass says how to operate the queue under test."""

    package: ClassVar[Any] = subject
    now = 0.0
    failed = False  # then there is nothing more to compare
    last_result = ""  # its name in the program
    intruder = ""  # the method that a key calls

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.leases: list[Granted] = []
        self.calls: list[Waiting] = []
        self.values = 0
        self.in_names: dict[str, Any] = {
            "inf": inf,
            "nan": nan,
            "Key": Key,
            "boom": keys.boom,
            "copy": copy,
            "frozen": keys.frozen,
            "UUID": UUID,
            "Value": Value,
            "Lease": self.package.Lease,
        }
        Key.fuse = 0
        Value.made = WeakSet()

    # -- what a subclass provides

    def open(self, default: float | None) -> None:
        """Make the queue, and a second one that is foreign to it."""
        raise NotImplementedError

    def operate(self, method: str, *arguments: str) -> Outcome:
        """Do it to the queue under test, and note it."""
        raise NotImplementedError

    def look(self) -> tuple[Any, ...]:
        """All introspection of the queue under test, as `expected_look` has it."""
        raise NotImplementedError

    def intrusion(self, method: str) -> str:
        """The source of a function that calls the queue from inside a key's own code."""
        raise NotImplementedError

    def program(self) -> str:
        """The steps as a program."""
        raise NotImplementedError

    # -- how steps are made

    def evaluate(self, source: str) -> Any:
        return eval(_compiled(source), self.in_names)

    def execute(self, line: str) -> None:
        self.lines.append(line)
        exec(line, self.in_names)

    def fail(self, reason: str, line: str = "", cause: BaseException | None = None) -> None:
        if line:
            self.lines.append(line)
        self.failed = True
        raise AssertionError(f"{reason}\n\n{self.program()}") from cause

    def pass_time(self, moment: tuple[str, int]) -> None:
        """Let the clock go to just before, exactly to, or past one of the next deadlines."""
        kind, index = moment
        deadlines = sorted({d for d in self.deadlines() if self.now < d < inf})
        if kind == "later":
            self.set_clock(self.now + index)  # whatever the model has to say about it
        if kind in ("stay", "later") or not deadlines:
            return
        deadline = deadlines[index % len(deadlines)]
        # Within one resolution of asyncio's clock, so that timers fire; and never back.
        just_before = max(self.now, deadline - 5e-10)
        self.set_clock({"before": just_before, "at": deadline, "after": deadline + 0.5}[kind])
        if kind != "before" and index:
            self.count("clock step over several deadlines")

    def set_clock(self, now: float) -> None:
        self.now = now

    def deadlines(self) -> list[float]:
        grants = [grant.deadline for grant in self.model.grants.values()]
        return grants + [call.deadline for call in self.model.calls]

    def both(self, method: str, arguments: list[str], twins: list[Any]) -> Outcome:
        """Do it to the model, too, and compare. Returns what came of it in the model."""
        expected = outcome(getattr(self.model, method), *twins, self.now)
        actual = self.operate(method, *arguments)
        self.compare(actual, expected)
        return expected

    def compare(self, actual: Outcome, expected: Outcome) -> None:
        self.count(f"error: {type(expected.error).__name__}" if expected.error else "")
        if type(actual.error).__name__ != type(expected.error).__name__:
            self.fail(f"{actual} where the model has {expected}", cause=actual.error)
        if isinstance(expected.value, model.Call):
            if isinstance(actual.value, tuple):
                self.fail(f"{actual} where the model waits")
        elif isinstance(expected.value, tuple):
            self.receive(actual.value, expected.value)
        elif actual.value != expected.value:
            self.fail(f"{actual} where the model has {expected}")
        actual.forget()
        expected.forget()

    def receive(self, actual: Any, expected: model.Delivery) -> None:
        """A lease was granted."""
        twin_key, twin_value, twin = expected
        if not isinstance(actual, tuple):
            self.fail(f"{actual!r} where the model delivers {expected}")
        key, value, lease = actual
        if (key.name, value, lease.key.name) != (twin_key, twin_value, twin_key):
            self.fail(f"{actual} where the model delivers {expected}")
        if self.leases:
            last = max(self.leases, key=lambda granted: granted.twin.number)
            token = self.in_names[last.name].token
            if (token < lease.token) != (last.twin.number < twin.number):
                sign = "<" if last.twin.number < twin.number else ">"
                line = f"assert {last.name}.token {sign} lease{len(self.leases) + 1}.token"
                self.fail("tokens do not sort in the order of grants", line)
        granted = Granted(f"lease{len(self.leases) + 1}", twin)
        self.in_names[granted.name] = lease
        self.hold(f"frozen({granted.name})")
        self.hold(f"str(UUID({granted.name}.token)) == {granted.name}.token")
        self.hold(f"UUID({granted.name}.token).version == 8")
        self.hold(f"{granted.name}.token != foreign.token")
        self.hold(f"{granted.name} == copy({granted.name})")
        self.hold(f"hash({granted.name}) == hash(copy({granted.name}))")
        for earlier in self.leases[-1:]:
            self.hold(f"{granted.name} != copy({earlier.name})")
        self.leases.append(granted)

    def hold(self, claim: str) -> None:
        """What is true, whatever the model has done."""
        held = outcome(self.evaluate, claim)
        if not held.value:
            self.fail(f"not so: {claim}", f"assert {claim}", held.error)

    @staticmethod
    def count(what: str) -> None:
        if what:
            CENSUS[what] += 1
            event(what)

    def value(self) -> str:
        """A value that was never put before; sometimes None, which is one like any other."""
        self.values += 1
        return repr(None if self.values % 8 == 0 else self.values)

    @staticmethod
    def put_source(value: str) -> str:
        return value if value == "None" else f"Value({value})"

    def new_name(self, otherwise: str) -> str:
        """Of a key that the queue has nothing of, so that all goes as meant; if there is one."""
        known = {*self.model.available_keys(self.now), *self.model.inflight_keys(self.now)}
        return next((name for name in reversed(NAMES) if name not in known), otherwise)

    def live(self) -> list[Granted]:
        return [granted for granted in self.leases if granted.twin.number in self.model.grants]

    def pick_lease(self, pick: int) -> Granted | None:
        """A live lease, mostly; every third time one whose key has another value as well."""
        leases = self.live()
        if pick >= 8:
            leases = [granted for granted in self.leases if granted not in leases][-3:]
        elif pick >= 5:
            others = {*self.model.deferred, *self.model.available_keys(self.now)}
            leases = [granted for granted in leases if granted.twin.key in others] or leases
        if not leases:
            return None
        granted = leases[pick % len(leases)]
        if granted.twin.number not in self.model.grants:
            self.count("stale lease used")
        return granted

    # -- rules

    @initialize(default=st.sampled_from([None, 2, 4]), dropped=rarely)
    def begin(self, default: float | None, dropped: bool) -> None:
        self.dropped = dropped  # the queue ends without being closed
        self.model = model.Model(default)
        self.open(default)

    @rule(name=names, policy=policies, moment=moments)
    def put(self, name: str, policy: str, moment: tuple[str, int]) -> None:
        self.pass_time(moment)
        self.do_put(name, policy)

    def do_put(self, name: str, policy: str) -> None:
        in_flight = name in self.model.inflight_keys(self.now)
        self.count(f"put {policy} {'in flight' if in_flight else ''}")
        value = self.value()
        arguments = [f"Key({name!r})", self.put_source(value), repr(policy)]
        self.both("put", arguments, [name, self.evaluate(value), policy])

    @rule(order=st.permutations("abc"), policy=policies)
    def put_in_line(self, order: list[str], policy: str) -> None:
        """A line with an order in it, and a second value for the one who stands in front."""
        for name in order:
            self.do_put(name, "update")
        self.do_put(order[0], policy)

    @rule(
        method=st.sampled_from(LOOKS),
        name=names,
        lease_timeout=st.integers(1, 3),
        later=st.integers(0, 3),
    )
    def look_first(self, method: str, name: str, lease_timeout: int, later: int) -> None:
        """What has ended by now is seen by whichever method happens to look first."""
        name = self.new_name(name)
        self.put_and_take(name, "update", lease_timeout, 1)
        self.set_clock(self.now + later)
        if method in ("peek", "contains"):
            self.both(method, [f"Key({name!r})"], [name])
            return
        expected = outcome(getattr(self.model, method), self.now)
        if isinstance(expected.value, set):
            expected.value = {Key(name) for name in sorted(expected.value)}
        self.compare(self.operate(method), expected)

    @rule(name=names, policy=crowding, lease_timeout=durations, times=st.integers(1, 3))
    def put_and_take(self, name: str, policy: str, lease_timeout: float | None, times: int) -> None:
        """The shortest way to several leases on one key, which chance alone seldom finds."""
        for _ in range(times):
            self.do_put(name, policy)
            arguments = [f"Key({name!r})", "0", repr(lease_timeout)]
            self.both("take", arguments, [name, 0, lease_timeout])

    @rule(name=names, policy=deferring, front=st.booleans(), pick=picks)
    def put_while_leased(self, name: str, policy: str, front: bool, pick: int) -> None:
        """And this to a value that was put during a lease, which then ends."""
        name = self.new_name(name)
        self.put_and_take(name, "buffer", None, 1)
        self.do_put(name, policy)
        self.do_put(NAMES[NAMES.index(name) - 1], "update")  # to have a line, and an order in it
        if pick % 3 and name in self.model.deferred:
            self.count("lease ended with a deferred value")
            granted = next((one for one in self.live() if one.twin.key == name), None)
            if granted is None:
                return  # all that is in flight is reserved
            if pick % 3 == 1:
                self.both("ack", [granted.name], [granted.twin])
            else:
                self.both("release", [granted.name, repr(front)], [granted.twin, front])

    @rule(pick=picks, moment=moments)
    def ack(self, pick: int, moment: tuple[str, int]) -> None:
        self.pass_time(moment)
        if granted := self.pick_lease(pick):
            self.both("ack", [granted.name], [granted.twin])

    @rule(pick=picks, front=st.booleans(), moment=moments)
    def release(self, pick: int, front: bool, moment: tuple[str, int]) -> None:
        self.pass_time(moment)
        if granted := self.pick_lease(pick):
            if granted.twin.key in self.model.available_keys(self.now):
                self.count("release to a key that is available")
            self.both("release", [granted.name, repr(front)], [granted.twin, front])

    @rule(pick=picks, timeout=durations, again=st.booleans(), moment=moments)
    def extend(
        self, pick: int, timeout: float | None, again: bool, moment: tuple[str, int]
    ) -> None:
        self.pass_time(moment)
        if granted := self.pick_lease(pick):
            self.both("extend", [granted.name, repr(timeout)], [granted.twin, timeout])
            if again:  # from the duration that was granted, not from the last one
                self.both("extend", [granted.name, "None"], [granted.twin, None])

    @rule(name=names, lease_timeout=st.integers(1, 3), timeout=st.sampled_from([2, 4, inf]))
    def outlive_a_deadline(self, name: str, lease_timeout: int, timeout: float) -> None:
        """When the deadline comes that a lease had before it was extended, it is one no more."""
        name = self.new_name(name)
        self.put_and_take(name, "update", lease_timeout, 1)
        deadline = self.now + lease_timeout
        if leases := self.live():
            granted = leases[-1]
            self.both("extend", [granted.name, repr(timeout)], [granted.twin, timeout])
        self.set_clock(deadline)

    @rule(
        method=st.sampled_from(["ack", "release", "extend"]),
        pick=picks,
        copied=st.booleans(),
        moment=moments,
    )
    def use_rebuilt_lease(
        self, method: str, pick: int, copied: bool, moment: tuple[str, int]
    ) -> None:
        """Token and key are enough while the lease is live, and no more than its word later."""
        self.pass_time(moment)
        if granted := self.pick_lease(pick):
            self.model.expire(self.now)
            rebuilt = f"Lease({granted.name}.token, Key({granted.twin.key!r}))"
            if copied:
                rebuilt = f"copy({granted.name})"
            more = {"ack": [], "release": ["False"], "extend": ["None"]}[method]
            twins = [granted.twin, *map(self.evaluate, more)]
            if granted.twin.number in self.model.grants or self.model.closed:
                self.both(method, [rebuilt, *more], twins)
            else:
                self.refuse(method, [rebuilt, *more], "InvalidLeaseError")

    @rule(
        method=st.sampled_from(["ack", "release", "extend"]),
        pick=picks,
        kind=st.sampled_from([3, 0, 3, 1, 4, 2]),
    )
    def use_wrong_lease(self, method: str, pick: int, kind: int) -> None:
        """Of another key, of another queue, of nobody, guessed before it is given, or none."""
        wrong, error = "1", "TypeError"
        if kind:
            wrong, error = (
                ["", "foreign", "Lease('x', Key('a'))", "", ""][kind],
                "InvalidLeaseError",
            )
            reserved = [call.grant.lease for call in self.model.calls if call.grant]
            if kind == 4 and reserved and self.leases:
                guess = f"{self.leases[0].name}.token[:-12] + '{reserved[0].number:012x}'"
                wrong = f"Lease({guess}, Key({reserved[0].key!r}))"
            if kind == 3 and (granted := self.pick_lease(pick)):
                wrong = f"Lease({granted.name}.token, Key('other'))"
        if wrong:
            more = {"ack": [], "release": ["False"], "extend": ["None"]}[method]
            self.refuse(method, [wrong, *more], error)

    @rule(bad=bad_durations, name=names, pick=picks)
    def give_bad_arguments(self, bad: str, name: str, pick: int) -> None:
        """Refused before anything changes, and before anything else is looked at."""
        key = f"Key({name!r})"
        error = "TypeError" if bad in ("'1'", "[]", "1j") else "ValueError"
        self.refuse("get", ["None", bad], error, even_closed=True)
        self.refuse("take", [key, "None", bad], error, even_closed=True)
        if granted := self.pick_lease(pick):
            self.refuse("extend", [granted.name, bad], error, even_closed=True)
        if bad in ("nan", "'1'", "1j"):
            self.refuse("get", [bad, "None"], error, even_closed=True)
            self.refuse("take", [key, bad, "None"], error, even_closed=True)
        self.refuse("put", [key, "0", "'never'"], "ValueError", even_closed=True)
        self.refuse("put", ["[]", "0", "'update'"], "TypeError")
        self.refuse("take", ["{}", "0", "None"], "TypeError")
        self.refuse("peek", ["[]"], "TypeError", even_closed=True)
        self.refuse("contains", ["{}"], "TypeError", even_closed=True)

    def refuse(
        self, method: str, arguments: list[str], error: str, even_closed: bool = False
    ) -> None:
        """An operation that must fail, and change nothing."""
        if self.model.closed and not even_closed:
            error = "QueueClosedError"
        self.count(f"refused: {error}")
        actual = self.operate(method, *arguments)
        if type(actual.error).__name__ != error:
            line = f"assert {self.last_result} == {error!r}, {self.last_result}"
            self.fail(f"{actual} where {error} was due", line, actual.error)
        actual.forget()

    @rule(name=names, fuse=st.integers(1, 3), pick=picks, policy=policies, moment=moments)
    def meet_raising_key(
        self, name: str, fuse: int, pick: int, policy: str, moment: tuple[str, int]
    ) -> None:
        """An error in a key's own code passes through, and nothing has changed."""
        self.trouble(name, fuse, pick, policy, moment, "boom")

    @rule(
        name=names,
        fuse=st.integers(1, 3),
        pick=picks,
        policy=policies,
        moment=moments,
        method=st.sampled_from(["put", "get", "take", "ack", "qsize", "close"]),
    )
    def meet_calling_key(
        self, name: str, fuse: int, pick: int, policy: str, moment: tuple[str, int], method: str
    ) -> None:
        """A key's own code that calls the queue is turned away, and nothing has changed."""
        self.intruder = method
        self.trouble(name, fuse, pick, policy, moment, self.intrusion(method))

    def trouble(
        self, name: str, fuse: int, pick: int, policy: str, moment: tuple[str, int], charge: str
    ) -> None:
        self.pass_time(moment)
        if pick > 4:
            name = self.new_name(name)
            self.put_and_take(name, "update", None, 1)
        self.agree()  # what is due has ended: else an error in the midst of that is no news
        value, key = self.value(), f"Key({name!r})"
        given = self.put_source(value)
        operations: list[tuple[str, list[str], list[Any]]] = [
            ("put", [key, given, repr(policy)], [name, self.evaluate(value), policy]),
            ("put", [key, given, repr(policy)], [name, self.evaluate(value), policy]),
            ("take", [key, "0", "None"], [name, 0, None]),
            ("peek", [key], [name]),
            ("contains", [key], [name]),
        ]
        for granted in self.live()[-1:]:
            rebuilt = f"Lease({granted.name}.token, Key({granted.twin.key!r}))"
            operations += [
                ("ack", [granted.name], [granted.twin]),
                ("ack", [granted.name], [granted.twin]),
                ("release", [rebuilt, "True"], [granted.twin, True]),
                ("extend", [rebuilt, "None"], [granted.twin, None]),
            ]
        method, arguments, twins = operations[pick % len(operations)]
        self.execute(f"Key.arm({fuse}, {charge})")
        actual = self.operate(method, *arguments)
        went_off = Key.fuse <= 0
        # How often a key's own code runs is no rule: another copy may come to another state here.
        self.lines.append(f"if (Key.fuse <= 0) != {went_off}: sys.exit('keys are used otherwise')")
        self.execute("Key.fuse = 0")
        if went_off and charge == "boom":
            self.count("a key raised")
            if not isinstance(actual.error, keys.BoomError):
                line = f"assert {self.last_result} == 'BoomError', {self.last_result}"
                self.fail(f"{actual} where the key raised", line, actual.error)
            actual.forget()
        else:
            if went_off:
                self.count("a key called the queue")
                self.check_intrusion()
            self.compare(actual, outcome(getattr(self.model, method), *twins, self.now))

    def check_intrusion(self) -> None:
        """Only introspection was answered; nothing else was done."""
        came_to = self.in_names["intruder"]
        error = "QueueClosedError" if self.model.closed else "RuntimeError"
        if self.model.closed and self.intruder == "close":
            return  # for the second time: that does nothing
        if came_to != [error] and type(came_to[0]) is not int:
            line = f"assert intruder == [{error!r}], intruder"
            self.fail(f"the key's own call came to {came_to}", line)

    @rule(really=rarely, moment=moments)
    def start_or_close(self, really: bool, moment: tuple[str, int]) -> None:
        self.pass_time(moment)
        self.both("close" if really else "start", [], [])

    # -- what holds after each of them

    def expected_look(self) -> tuple[Any, ...]:
        now = self.now
        return (
            {name: self.model.peek(name, now) for name in NAMES if self.model.contains(name, now)},
            [name for name in NAMES if name in self.model.inflight_keys(now)],
            self.model.qsize(now),
            self.model.inflight_size(now),
        )

    @invariant()
    def agree(self) -> None:
        if self.failed:
            return
        expected = self.expected_look()
        self.lines.append(self.look_line(expected))
        actual = self.look()
        if actual != expected:
            self.fail(f"the queue shows {actual}\nand the model {expected}")
        self.check()
        self.check_values()

    def check_values(self) -> None:
        """Nobody keeps a value that is done with, or was replaced."""
        model = self.model
        copies = [*model.returned, *model.arrived, *model.deferred.values()]
        copies += [grant.copy for grant in model.grants.values()]
        self.expect_alive(sorted(copy.value for copy in copies if isinstance(copy.value, int)))

    def expect_alive(self, numbers: list[int]) -> None:
        if Value.alive() != numbers:
            line = f"seen = None; assert Value.alive() == {numbers}, Value.alive()"
            self.fail(f"the values {Value.alive()} are alive, and should be {numbers}", line)

    def look_line(self, expected: tuple[Any, ...]) -> str:
        return f"assert look() == {expected}"

    def check(self) -> None:
        """What a subclass knows more than that."""

    def check_keys(self, core: Any, name: str) -> None:
        """A core knows no key that nobody has, or waits for, and no lease that has ended."""
        known = {*self.model.available_keys(self.now), *self.model.inflight_keys(self.now)}
        known |= {call.key for call in self.model.calls}
        if left := sorted({key.name for key in core._keys} - known):
            line = f"assert not {{key.name for key in {name}._keys}} & {{*{left}}}"
            self.fail(f"{left} are still known", line)
        items = f"[anchor._item for anchor in {name}._keys.values() if anchor._item]"
        self.hold(f"all({{*item.durations}} <= {{*{name}._leases}} for item in {items})")

    def pick_call(self, pick: int, calls: list[Waiting]) -> Waiting | None:
        """One of the calls; every second time one that was served and has not resumed."""
        served = [call for call in calls if call.twin and call.twin.grant]
        if pick % 2 and served:
            calls = served
        return calls[pick % len(calls)] if calls else None

    def census(self) -> None:
        """Note the rare states that this one is in."""
        grants = self.model.grants.values()
        crowd = max(Counter(grant.copy.key for grant in grants).values(), default=0)
        self.count(f"{crowd} live leases on one key" if crowd > 1 else "")
        self.count("deferred value" if self.model.deferred else "")
        reserved = [call for call in self.model.calls if call.grant]
        self.count("reserved, not resumed" if reserved else "")
        waiting = [call for call in self.model.calls if not (call.grant or call.error)]
        self.count("two or more calls wait" if len(waiting) > 1 else "")
        if len({grant.deadline for grant in grants if grant.deadline < inf}) > 2:
            self.count("three or more lease deadlines")


def source_of_keys() -> str:
    parts = (keys.BoomError, keys.Key, keys.boom, keys.Value, keys.frozen)
    return "\n\n".join(inspect.getsource(part) for part in parts)


# Not part of the meaning of a queue: what proof needs.
NO_OPERATIONS = {"check_invariants", "dump"}


def operations(of: type[Any]) -> set[str]:
    """The public methods of a class."""
    methods = inspect.getmembers(of, inspect.isroutine)
    return {name for name, _ in methods if not name.startswith("_")} - NO_OPERATIONS


def used(census: Counter[str], kind: str) -> set[str]:
    """Which of them a machine has called."""
    return {name.removeprefix(f"{kind}: ") for name in census if name.startswith(f"{kind}: ")}
