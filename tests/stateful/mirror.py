"""Two queues side by side: what is done to the one under test is done to the model.

A step is a line of source. The machine evaluates the very line that it notes
down, so that the notes of a failure are a program that fails in the same way.
"""

from __future__ import annotations

import gc
import inspect
import traceback
from collections import Counter
from collections.abc import Callable
from copy import copy, deepcopy
from dataclasses import asdict, dataclass
from functools import cache
from math import inf, nan
from types import CodeType
from typing import Any, ClassVar, TypeAlias
from uuid import UUID
from weakref import WeakSet

from hypothesis import event
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tests import subject
from tests.model import model
from tests.model.model import Model
from tests.stateful import keys
from tests.stateful.keys import Key, Trouble, Value

NAMES = "abcdefgh"  # those after c are for what must be new to the queue, and so mostly are
CENSUS: Counter[str] = Counter()  # of operations, of errors, and of rare states
RARE = [
    "cancelled with a copy reserved",
    "cancelled with a slot reserved",
    "a key raised",
    "a key raised at the end of a call",
    "a key raised after a call was put aside",
    "in the midst: refused",
    "in the midst: done",
    "2 live leases on one key",
    "3 live leases on one key",
    "lease ended with a deferred value",
    "a deferred value with a time",
    "a delayed value next to a lease",
    "two or more puts wait",
    "shut, and calls wait",
    "a drain waits",
    "clock step over several deadlines",
    "three or more lease deadlines",
    "stale lease used",
]

# -- what the rules draw from

Moment: TypeAlias = tuple[str, int]
Seconds: TypeAlias = float | None
Policy: TypeAlias = str | None
State: TypeAlias = tuple[int, str, int]

names = st.sampled_from("abc")
policies = st.sampled_from([None, *model.POLICIES])
crowding = st.sampled_from(["buffer", *model.POLICIES, "buffer"])
events = st.sampled_from(["put", "put", "put", "put", "ack", "release", "release", "discard"])
durations = st.sampled_from([None, 1, 2, 3, 5, 2.5, inf])
delays = st.sampled_from([0, 0, 0, 1, 2, 3.5, inf])
waits = st.sampled_from([None, None, 0, -1, 1, 2, 3, 4.5, inf, 10**400, -(10**400)])
picks = st.integers(0, 9)  # one of several, counted round
many = st.integers(0, 35)
orders = st.permutations("abcd")
uses = st.sampled_from(["ack", "release", "release", "extend", "extend", "refresh", "deadline"])
kinds = st.sampled_from(["get", "take", "take", "join"])
meddling = st.sampled_from(
    ["put", "put", "get", "discard", "qsize", "close", "call", "call", "call"]
)
rarely = st.integers(0, 7).map(lambda number: number == 4)
# How far the clock goes before a step, and to which of the deadlines to come.
moments = st.tuples(
    st.sampled_from(["stay", "stay", "stay", "later", "before", "at", "after"]), st.integers(0, 3)
)
NOW: Moment = ("stay", 0)

LOOKS = (
    *("peek", "contains", "available_keys", "available_items", "inflight_keys", "delayed_keys"),
    *("qsize", "inflight_size", "delayed_size"),
)
ENDS = ("start", "close", "shutdown", "shutdown", "drain", "drain", "join", "join")
MORE = {"release": ["False", "0"], "extend": ["None"]}  # arguments, next to the lease
# Of a key: live leases, what waits, and the delay that it waits for.
states = st.tuples(
    st.integers(0, 2), st.sampled_from(["", "line", "delayed", "deferred"]), st.integers(0, 3)
)
# What the first arguments of an operation are, where they are not what they look like.
LEADING = {
    "put": ("key", "value"),
    **dict.fromkeys(("take", "discard", "peek", "contains"), ("key",)),
    **dict.fromkeys(("ack", "release", "extend", "refresh", "superseded", "deadline"), ("lease",)),
    **dict.fromkeys(("resume", "cancel"), ("call",)),
}


@dataclass
class Outcome:
    """What came of an operation: a value, or an error."""

    value: Any = None
    error: BaseException | None = None

    def forget(self) -> None:
        """It was as expected. A traceback would keep everything alive that took part."""
        if self.error:
            self.error.__traceback__ = self.error.__context__ = self.error.__cause__ = None

    @property
    def failure(self) -> str:
        """The error by name: the classes of a package and of the model are not the same."""
        return type(self.error).__name__ if self.error else ""

    def __str__(self) -> str:
        return self.failure or repr(self.value)


def outcome(function: Callable[..., Any], *arguments: Any) -> Outcome:
    try:
        return Outcome(function(*arguments))
    except Exception as error:  # noqa: BLE001 (whatever it is, it must be the model's)
        return Outcome(error=error)


def plain(thing: Any) -> Any:
    """As the model has it: names for keys, and tuples for tuples of any kind."""
    if isinstance(thing, Key):
        return thing.name
    if isinstance(thing, (tuple, list, set)):
        kind: Any = tuple if isinstance(thing, tuple) else type(thing)
        return kind(map(plain, thing))
    return thing


def seen(snapshot: Any, gone: list[int]) -> tuple[Any, ...]:
    """A snapshot as the model has it, without the calls that were cancelled and have not left."""
    shown: list[Any] = [*plain(snapshot)]
    shown[7] = tuple(row for row in shown[7] if row[0] not in gone)
    return tuple(shown)


def counted(stats: Any, snapshot: Any, gone: list[int], ages: bool) -> dict[str, Any]:
    """Statistics as the model has them, likewise without those calls; and with ages, if exact."""
    shown: dict[str, Any] = asdict(stats)
    for ticket, kind, *_ in snapshot[7]:
        if ticket in gone and f"waiting_{kind}s" in shown:
            shown[f"waiting_{kind}s"] -= 1
    return {name: shown[name] for name in shown if ages or not name.endswith("_age")}


def from_its_key(error: BaseException | None) -> bool:
    """Has a key raised in the operation itself, and not in the end of a call put aside by it?"""
    steps = traceback.walk_tb(error.__traceback__ if error else None)
    # A compiled function is told with its class.
    passed = {frame.f_code.co_name.rpartition(".")[2] for frame, _ in steps}
    return isinstance(error, keys.BoomError) and "cancel" not in passed


class Told(Model):
    """The model, which keeps what it tells until that is compared."""

    def __init__(self, default: Seconds, maxsize: int, policy: str) -> None:
        super().__init__(default, maxsize, policy)
        self.told: list[dict[str, Any]] = []

    def tell(self, action: str, **what: object) -> None:
        self.told.append(telling({"action": action, **what}))


ANYTHING: dict[str, Any] = {}  # among what is told: then it is not compared


def telling(event: dict[str, Any]) -> dict[str, Any]:
    """What happened; what a cancelled call has come to depends on whether it was met before."""
    unlike = ("time", "outcome") if event["action"] == "cancel" else ("time",)
    return {name: plain(value) for name, value in event.items() if name not in unlike}


@cache
def _compiled(source: str) -> CodeType:
    return compile(source, "<step>", "eval")


@dataclass
class Granted:
    """A lease: its name in the program, and what it is in the model."""

    name: str
    twin: model.Lease


@dataclass(eq=False)
class Call:
    """One that could not be answered at once: its name in the program, and in the model."""

    name: str
    ticket: int


# What one may do in the midst of an operation, as its place in time and what it comes to.
Reading: TypeAlias = tuple[str, Callable[[Told], Outcome]]


class Counted(RuleBasedStateMachine):
    """A machine whose steps are counted."""

    def check_invariants(self, *arguments: Any, **options: Any) -> None:
        CENSUS[f"steps: {type(self).__name__}"] += 1
        super().check_invariants(*arguments, **options)


class Mirror(Counted):
    """Everything that can be done to a queue, in any order, at any time.

    A subclass says how to do it to the queue under test.
    """

    package: ClassVar[Any] = subject
    kind: ClassVar[str]  # of what is under test, for the census
    template: ClassVar[str]  # of the program
    indent: ClassVar[str] = ""  # of its steps
    snapshot: ClassVar[str]  # the source of one
    statistics: str  # the source of them
    always_exact: ClassVar[bool] = True  # as to ages; or sometimes, and else never too low
    health: ClassVar[str]  # the source of the check
    now = 0.0
    failed = False  # then there is nothing more to compare
    last_result = ""  # its name in the program

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.instead: dict[str, str] = {}  # the error that the last operation raises for another
        self.leases: list[Granted] = []
        self.calls: list[Call] = []
        self.values = 0
        self.inside: list[Outcome] = []  # what was done in the midst of an operation
        self.found = Outcome()  # the state at that moment; an error if there was none to be seen
        helpers = (copy, plain, seen, counted, asdict, inf, nan, Key, Value, Trouble, UUID)
        self.in_names: dict[str, Any] = {getattr(it, "__name__", repr(it)): it for it in helpers}
        self.in_names |= {"boom": keys.boom, "frozen": keys.frozen, "Lease": self.package.Lease}
        self.in_names["intrude"] = self.intrude
        Trouble.disarm()
        Trouble.package = self.package.PACKAGE
        Value.made = WeakSet()
        gc.disable()  # else what an earlier run has left behind may end in the midst of this one

    def teardown(self) -> None:
        try:
            self.finish()
        finally:
            gc.enable()

    # -- what a subclass provides

    def finish(self) -> None:
        """Make an end of the queue, and see that nothing is left of it."""
        raise NotImplementedError

    def open(self, arguments: str) -> None:
        """Make the queue, and a lease of another one."""
        raise NotImplementedError

    def source(self, method: str, arguments: list[str], vary: bool = False) -> str:
        """How one does it; or one way of several."""
        raise NotImplementedError

    def do(self, make: Callable[[], Any]) -> Outcome:
        """Do it, and what is to be done after each operation."""
        raise NotImplementedError

    def intrude(self, make: Callable[[], Any]) -> None:
        """Do it in the midst of something else, and see how that stands."""
        self.found = self.step(self.evaluate(f"lambda: seen({self.snapshot}, {self.gone()})"))
        self.found.forget()
        self.inside.append(self.step(make))

    def step(self, make: Callable[[], Any]) -> Outcome:
        """Do it, and no more."""
        raise NotImplementedError

    def is_waiting(self, value: Any) -> bool:
        """Is it what one gets that must wait?"""
        raise NotImplementedError

    def keep_call(self, call: Call, value: Any) -> None:
        """A call waits."""
        raise NotImplementedError

    def names_of(self, call: Call) -> list[str]:
        """What the program knows it by."""
        return [call.name]

    def was_told(self, call: Call) -> bool:
        """Does the caller know that its wait is over?"""
        raise NotImplementedError

    def cancel_while_waiting(self, call: Call) -> None:
        """From now on nothing may be offered to it."""
        raise NotImplementedError

    def drive(self, call: Call) -> tuple[str, Reading]:
        """The source of letting a call go on, and how it reads if that is refused."""
        raise NotImplementedError

    def told(self) -> list[dict[str, Any]]:
        """What the queue has told since the last time, if it is watched."""
        raise NotImplementedError

    def check(self) -> None:
        """What a subclass knows more than the rest."""

    # -- how steps are made

    def evaluate(self, source: str) -> Any:
        return eval(_compiled(source), self.in_names)

    def execute(self, line: str) -> None:
        self.lines.append(line)
        exec(line, self.in_names)

    def program(self) -> str:
        """The steps as a program."""
        steps = "\n".join(self.indent + line for line in self.lines)
        parts: list[Any] = [keys.BoomError, Trouble, Key, keys.boom, Value, keys.frozen]
        parts += [plain, seen, counted, telling]
        helpers = "\n\n".join(inspect.getsource(part) for part in parts)
        return self.template.format(
            package=self.package.PACKAGE, helpers=helpers, snapshot=self.snapshot, steps=steps
        )

    def fail(self, reason: str, line: str = "", cause: BaseException | None = None) -> None:
        if line:
            self.lines.append(line)
        self.failed = True
        raise AssertionError(f"{reason}\n\n{self.program()}") from cause

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

    def set_clock(self, now: float) -> None:
        self.now = now

    def pass_time(self, moment: Moment) -> None:
        """Let the clock go to just before, exactly to, or past one of the times to come."""
        kind, index = moment
        if kind == "later":
            self.set_clock(self.now + index)  # whatever the model has to say about it
        copies = [*self.model.delayed.values(), *self.model.deferred.values()]
        times = {waiter.deadline for waiter in self.model.waiters} | {copy.time for copy in copies}
        times |= {grant.deadline for grant in self.model.grants.values()}
        to_come = sorted(time for time in times if self.now < time < inf)
        if kind in ("stay", "later") or not to_come:
            return
        time = to_come[index % len(to_come)]
        # Within one resolution of asyncio's clock, so that timers fire; and never back.
        just_before = max(self.now, time - 5e-10)
        self.set_clock({"before": just_before, "at": time, "after": time + 0.5}[kind])
        if kind != "before" and index:
            self.count("clock step over several deadlines")

    @staticmethod
    def written(method: str, twins: list[Any]) -> list[str]:
        """The arguments of an operation as source."""
        kinds = [*LEADING.get(method, ()), *[""] * len(twins)]
        forms: dict[str, Callable[[Any], str]] = {
            "": repr,
            "key": lambda name: f"Key({name!r})",
            "value": lambda number: "None" if number is None else f"Value({number})",
            "lease": lambda granted: granted.name,
            "call": lambda call: call.name,
        }
        return [forms[kind](twin) for kind, twin in zip(kinds, twins, strict=False)]

    def on_model(self, method: str, *twins: Any) -> Callable[[Told], Outcome]:
        """The operation, to be done to a model."""

        def act(on: Told) -> Outcome:
            given = [*twins, self.now]
            if LEADING.get(method) == ("lease",):
                given[0] = given[0].twin
            elif LEADING.get(method) == ("call",):
                given[0] = self.twin(given[0])
            return outcome(getattr(on, method), *given)

        return act

    def operate(self, method: str, arguments: list[str]) -> Outcome:
        """Do it to the queue under test, and note it."""
        self.count(f"{self.kind}: {method}")
        self.instead = {}
        source = f"lambda: {self.source(method, arguments, vary=True)}"
        self.last_result = f"result{len(self.lines)}"
        self.lines.append(f"{self.last_result} = do({source})")
        return self.do(self.evaluate(source))

    def both(self, method: str, *twins: Any) -> Outcome:
        """Do it to the model, too, and compare. Returns what came of it in the model."""
        expected = self.on_model(method, *twins)(self.model)
        actual = self.operate(method, self.written(method, [*twins]))
        self.compare(actual, expected)
        return expected

    def alike(self, actual: Outcome, expected: Outcome) -> bool:
        if actual.error or expected.error:
            return actual.failure == self.instead.get(expected.failure, expected.failure)
        if isinstance(expected.value, model.Waiter) or self.is_waiting(actual.value):
            return isinstance(expected.value, model.Waiter) and self.is_waiting(actual.value)
        shown, meant = plain(actual.value), expected.value
        if isinstance(meant, tuple) and isinstance(shown, tuple):
            return bool(shown[:2] == meant[:2] and shown[2].key.name == meant[0])
        return bool(shown == meant)

    def compare(self, actual: Outcome, expected: Outcome) -> None:
        """Note what must have come of the last operation, and see that it has."""
        result, value = self.last_result, expected.value
        error = self.instead.get(expected.failure, expected.failure)
        if error:
            self.count(f"error: {error}")
            self.lines.append(f"assert {result} == {error!r}, {result}")
        elif isinstance(value, tuple):
            self.lines.append(f"assert plain({result})[:2] == {value[:2]!r}, {result}")
            lease = f"lease{len(self.leases) + 1}"
            self.lines.append(f"{lease} = {result}[2]; repr({lease})")  # which fills it in
        elif isinstance(value, model.Waiter):
            self.lines.append(f"assert is_waiting({result}), {result}")
        else:
            self.lines.append(f"assert plain({result}) == {value!r}, {result}")
        if not self.alike(actual, expected):
            self.fail(f"{actual} where the model has {expected}", cause=actual.error)
        if isinstance(value, tuple):
            self.receive(actual.value[2], value[2])
        elif isinstance(value, model.Waiter):
            self.calls.append(Call(f"call{value.ticket}", value.ticket))
            self.keep_call(self.calls[-1], actual.value)
        self.lines.append(f"{result} = None")
        actual.forget()
        expected.forget()
        self.forget_calls()

    def forget_calls(self) -> None:
        """Those that are answered."""
        for call in [call for call in self.calls if not self.twin(call)]:
            self.calls.remove(call)
            self.execute(f"{' = '.join(self.names_of(call))} = None")

    def receive(self, lease: Any, twin: model.Lease) -> None:
        """A lease was granted."""
        granted = Granted(f"lease{len(self.leases) + 1}", twin)
        if self.leases:
            last = max(self.leases, key=lambda granted: granted.twin.number)
            sign = "<" if last.twin.number < twin.number else ">"
            self.in_names[granted.name] = lease
            self.hold(f"{last.name}.token {sign} {granted.name}.token")
        self.in_names[granted.name] = lease
        self.hold(f"{granted.name}.attempt == {twin.attempt}")
        self.hold(f"frozen({granted.name})")
        self.hold(f"str(UUID({granted.name}.token)) == {granted.name}.token")
        self.hold(f"UUID({granted.name}.token).version == 8")
        self.hold(f"{granted.name}.token != foreign.token")
        self.hold(f"{granted.name} == copy({granted.name})")
        self.hold(f"hash({granted.name}) == hash(copy({granted.name}))")
        for earlier in self.leases[-1:]:
            self.hold(f"{granted.name} != copy({earlier.name})")
        self.leases.append(granted)

    # -- what there is to choose from

    def value(self) -> int | None:
        """A value that was never put before; sometimes None, which is one like any other."""
        self.values += 1
        return None if self.values % 8 == 0 else self.values

    def new_name(self, otherwise: str) -> str:
        """Of a key that the queue has nothing of, so that all goes as meant; if there is one."""
        looks = (self.model.available_keys, self.model.inflight_keys, self.model.delayed_keys)
        known = {name for look in looks for name in look(self.now)}
        return next((name for name in reversed(NAMES) if name not in known), otherwise)

    def live(self) -> list[Granted]:
        return [granted for granted in self.leases if granted.twin.number in self.model.grants]

    def pick_lease(self, pick: int) -> Granted | None:
        """A live lease, mostly; every third time one whose key has another value as well."""
        leases = self.live()
        if pick >= 8:
            leases = [granted for granted in self.leases if granted not in leases][-3:]
        elif pick >= 5:
            others = {*self.model.deferred, *self.model.delayed}
            others |= self.model.available_keys(self.now)
            leases = [granted for granted in leases if granted.twin.key in others] or leases
        if not leases:
            return None
        granted = leases[pick % len(leases)]
        if granted.twin.number not in self.model.grants:
            self.count("stale lease used")
        return granted

    def twin(self, call: Call) -> model.Waiter | None:
        return next((w for w in self.model.waiters if w.ticket == call.ticket), None)

    def unfinished(self) -> list[tuple[Call, model.Waiter]]:
        return [(call, twin) for call in self.calls if (twin := self.twin(call))]

    def over(self) -> list[Call]:
        """Calls that can resume; one that was cancelled while it waited never does."""
        pairs = self.unfinished()
        return [call for call, twin in pairs if twin.outcome != "WAITING" and not twin.cancelled]

    # -- rules: values

    @initialize(
        default=st.sampled_from([None, 2, 4]),
        maxsize=st.sampled_from([0, 0, -1, 1, 2, 3]),
        policy=st.sampled_from(model.POLICIES),
        dropped=rarely,
        watched=st.booleans(),
    )
    def begin(
        self, default: Seconds, maxsize: int, policy: str, dropped: bool, watched: bool
    ) -> None:
        self.tells_ages = getattr(self.package.module("_machine").Machine, "tells_ages", True)
        self.exact = self.tells_ages and (self.always_exact or policy in ("update", "defer"))
        self.dropped = dropped  # the queue ends without being closed
        self.watched = watched  # somebody is told of all that happens
        self.model = Told(default, maxsize, policy)
        opened = outcome(self.open, f"{default}, {maxsize}, {policy!r}")
        if opened.error:
            self.fail("it does not even open", cause=opened.error)

    @rule(name=names, policy=policies, delay=delays, timeout=waits, moment=moments)
    def put(
        self, name: str, policy: Policy, delay: float, timeout: Seconds, moment: Moment
    ) -> None:
        self.pass_time(moment)
        self.do_put(name, policy, delay, timeout)

    def do_put(self, name: str, policy: Policy, delay: float = 0, timeout: Seconds = 0) -> None:
        if timeout == 0 and self.model.maxsize == inf and self.values % 2:
            timeout = None  # it comes to the same, and nobody need read the clock
        self.both("put", name, self.value(), policy, delay, timeout)

    @rule(order=orders, first=delays, second=delays, policy=policies, moment=moments)
    def put_in_line(
        self, order: list[str], first: float, second: float, policy: Policy, moment: Moment
    ) -> None:
        """A line with an order in it, or values that ripen, which then meet others."""
        for name, delay in zip(order[:3], (first, second, 0), strict=True):
            self.do_put(name, "update", delay)
        self.do_put(order[1], policy, first)
        self.pass_time(moment)
        self.do_put(order[0], policy, second)

    @rule(method=st.sampled_from(LOOKS), name=names, lasts=st.integers(1, 3), later=picks)
    def look_first(self, method: str, name: str, lasts: int, later: int) -> None:
        """What is due by now is seen by whichever method happens to look first."""
        name = self.new_name(name)
        self.put_and_take(name, "update", lasts, 1)
        self.do_put(self.new_name(name), None, later % 4)
        self.set_clock(self.now + later // 2)
        for each in (method, *LOOKS):
            self.both(each, *([name] if each in ("peek", "contains") else []))

    @rule(name=names, policy=crowding, lease_timeout=durations, times=st.integers(1, 3))
    def put_and_take(self, name: str, policy: str, lease_timeout: Seconds, times: int) -> None:
        """The shortest way to several leases on one key, which chance alone seldom finds."""
        for _ in range(times):
            self.do_put(name, policy)
            self.both("take", name, 0, lease_timeout)

    @rule(state=states, event=events, policy=policies, delay=delays, pick=many)
    def move(self, state: State, event: str, policy: Policy, delay: float, pick: int) -> None:
        """A key in each of its states, and each event in it, as often as any other."""
        name, (leases, waiting, time) = self.new_name("a"), state
        self.put_and_take(name, "buffer", (None, 1, 2)[pick % 3], leases)
        if waiting:
            how = "defer" if waiting == "deferred" else "buffer"
            self.do_put(name, how, 0 if waiting == "line" else time)
        self.do_put("abc"[pick % 3], "update")  # to have a line, and an order in it
        self.pass_time((("stay", "stay", "at", "later")[pick % 4], pick % 3))
        granted = next((one for one in self.live()[::-1] if one.twin.key == name), None)
        if granted and pick % 2:  # it is refused, and changes nothing
            self.do_put(name, "reject", delay)
        if event == "put":
            self.do_put(name, policy, delay)
        elif event == "discard":
            self.both("discard", name)
        elif granted:
            self.count("lease ended with a deferred value" if name in self.model.deferred else "")
            self.use(event, granted, pick % 5 == 0, delay)

    @rule(name=names, moment=moments)
    def discard(self, name: str, moment: Moment) -> None:
        self.pass_time(moment)
        self.both("discard", name)

    # -- rules: leases

    def use(self, method: str, granted: Granted, front: bool, number: Seconds) -> None:
        """The number is a delay, or how long the lease goes on."""
        more: dict[str, list[Any]] = {
            "release": [front, 0 if front else number or 0],
            "extend": [number or None],
        }
        self.both(method, granted, *more.get(method, []))

    @rule(method=uses, pick=picks, front=st.booleans(), number=durations, moment=moments)
    def use_a_lease(
        self, method: str, pick: int, front: bool, number: Seconds, moment: Moment
    ) -> None:
        self.pass_time(moment)
        if granted := self.pick_lease(pick):
            self.use(method, granted, front, number)
            if method == "extend":  # from the duration that was granted, not from the last one
                self.both("extend", granted, None)
            self.both("superseded", granted)

    @rule(name=names, lease_timeout=st.integers(1, 3), timeout=st.sampled_from([2, 4, inf]))
    def outlive_a_deadline(self, name: str, lease_timeout: int, timeout: float) -> None:
        """When the deadline comes that a lease had before it was extended, it is one no more."""
        name = self.new_name(name)
        self.put_and_take(name, "update", lease_timeout, 1)
        deadline = self.now + lease_timeout
        if leases := self.live():
            self.both("extend", leases[-1], timeout)
        self.set_clock(deadline)

    @rule(method=uses, pick=picks, copied=st.booleans(), moment=moments)
    def use_a_rebuilt_lease(self, method: str, pick: int, copied: bool, moment: Moment) -> None:
        """Token and key are enough while the lease is live, and no more than its word later."""
        self.pass_time(moment)
        if granted := self.pick_lease(pick):
            self.model.reap(self.now)
            rebuilt = f"copy({granted.name})" if copied else self.rebuilt(granted)
            if granted.twin.number in self.model.grants or self.model.phase == "closed":
                self.use(method, Granted(rebuilt, granted.twin), True, None)
            else:
                self.refuse(method, [rebuilt, *MORE.get(method, [])], "InvalidLeaseError")

    @staticmethod
    def rebuilt(granted: Granted) -> str:
        return f"Lease({granted.name}.token, Key({granted.twin.key!r}))"

    @rule(method=uses, pick=picks, kind=st.sampled_from(["key", "none", "foreign", "guess", "odd"]))
    def use_a_wrong_lease(self, method: str, pick: int, kind: str) -> None:
        """Of another key, none, of another queue, guessed before it is given, or of nobody."""
        wrong = {"none": "1", "foreign": "foreign", "odd": "Lease('x', Key('a'))"}.get(kind, "")
        reserved = [grant.lease for grant in self.model.grants.values() if grant.ticket]
        if kind == "guess" and reserved and self.leases:
            token = f"{self.leases[0].name}.token[:-12] + '{reserved[0].number:012x}'"
            wrong = f"Lease({token}, Key({reserved[0].key!r}))"
        if kind == "key" and (granted := self.pick_lease(pick)):
            wrong = f"Lease({granted.name}.token, Key('other'))"
        if wrong:
            error = "TypeError" if kind == "none" else "InvalidLeaseError"
            self.refuse(method, [wrong, *MORE.get(method, [])], error)

    # -- rules: bad input, and trouble

    @rule(
        bad=st.sampled_from(["nan", "0", "-1", "-inf", "'1'", "[]", "1j"]), name=names, pick=picks
    )
    def give_nonsense(self, bad: str, name: str, pick: int) -> None:
        """Bad input is refused before anything changes, by a closed queue too."""
        key, granted = f"Key({name!r})", self.pick_lease(pick)
        lease = granted.name if granted else "foreign"
        no_number = bad in ("'1'", "[]", "1j")
        wrong: list[tuple[str, list[str]]] = [
            ("get", ["None", bad]),
            ("take", [key, "None", bad]),
            ("extend", [lease, bad]),
        ]
        if bad != "0":
            wrong.append(("put", [key, "0", "None", bad, "None"]))
            wrong.append(("release", [lease, "False", bad]))
        if bad in ("nan", "'1'", "1j"):
            wrong += [("get", [bad, "None"]), ("take", [key, bad, "None"])]
            wrong += [("put", [key, "0", "None", "0", bad]), ("join", [bad]), ("drain", [bad])]
        for method, arguments in wrong:
            self.refuse(method, arguments, "TypeError" if no_number else "ValueError", True)
        self.refuse("put", [key, "0", "'never'", "0", "None"], "ValueError", True)
        self.refuse("release", [lease, "True", "1"], "ValueError", True)
        if self.model.phase == "open":
            self.refuse("put", ["[]", "0", "'update'", "0", "None"], "TypeError")
        self.refuse("take", ["{}", "0", "None"], "TypeError")
        self.refuse("discard", ["[]"], "TypeError")
        self.refuse("peek", ["[]"], "TypeError", True)
        self.refuse("contains", ["{}"], "TypeError", True)

    def refuse(self, method: str, arguments: list[str], error: str, closed: bool = False) -> None:
        """An operation that must fail, and change nothing; even one on a closed queue."""
        if self.model.phase == "closed" and not closed:
            error = "QueueClosedError"
        actual = self.operate(method, arguments)
        if actual.failure != error:
            line = f"assert {self.last_result} == {error!r}, {self.last_result}"
            self.fail(f"{actual} where {error} was due", line, actual.error)
        actual.forget()

    def anything(self, name: str, policy: Policy, pick: int) -> list[Any]:
        """Some operation: the more that it has to do with the key, the better."""
        by_now = deepcopy(self.model)  # for a call that is cancelled leaves before that
        by_now.reap(self.now)
        chosen: list[list[Any]] = [
            ["put", name, self.value(), policy, 0, 0],
            ["put", name, self.value(), policy, 1, None],
            ["take", name, 0, None],
            ["take", name, None, None],
            ["get", None, None],
            ["discard", name],
            [("peek", "contains")[pick % 2], name],
            [("available_keys", "inflight_keys")[pick % 2]],
        ]
        for granted in [one for one in self.leases if one.twin.number in by_now.grants][-1:]:
            rebuilt = Granted(self.rebuilt(granted), granted.twin)
            chosen += [["ack", granted], ["ack", rebuilt], ["refresh", rebuilt]]
            chosen += [["release", rebuilt, True, 0], ["release", granted, False, 2]]
        for call in self.over()[:1]:
            chosen += [["resume", call], ["cancel", call]]
        chosen += [["cancel", call] for call, _ in self.unfinished()[-1:]]
        return chosen[pick % len(chosen)]

    @rule(name=names, chance=st.integers(1, 3), pick=many, policy=policies, moment=moments)
    def meet_a_raising_key(
        self, name: str, chance: int, pick: int, policy: Policy, moment: Moment
    ) -> None:
        """An error in a key's own code passes through, and nothing has changed."""
        self.pass_time(moment)
        if pick > 12:
            name = self.new_name(name)
            self.put_and_take(name, "update", None, 1)
        self.agree()  # what is due has ended: else an error in the midst of that is no news
        self.raise_in(chance, *self.anything(name, policy, pick))

    @rule(
        name=names, chance=st.integers(1, 2), ends=st.sampled_from(["leave", "time out", "close"])
    )
    def end_the_wait_for_a_raising_key(self, name: str, chance: int, ends: str) -> None:
        """The key was known for the wait only; its error is no part of what a wait comes to."""
        if ends == "close" and chance == 2:
            return  # it is the end of the run: rarely
        name = self.new_name(name)
        waiter = self.both("take", name, 1 if ends == "time out" else None, None).value
        if not isinstance(waiter, model.Waiter):
            return
        call = next(call for call, twin in self.unfinished() if twin is waiter)
        if ends == "time out":
            self.set_clock(self.now + 1)
            self.time_out(NOW)
        elif ends == "close":
            self.both("close")
        self.agree()
        self.raise_in(chance, "resume" if call in self.over() else "cancel", call)

    def raise_in(self, chance: int, method: str, *twins: Any) -> None:
        """Only what looks its key up may raise what the key does; the end of a call does not."""
        act, raises = self.on_model(method, *twins), self.raises(method, *twins)
        self.execute(f"Trouble.arm('key', {chance}, boom)")
        actual = self.operate(method, self.written(method, [*twins]))
        if self.disarm():
            self.count("a key raised")
            if raises:
                act = raises
            else:
                self.count("a key raised at the end of a call")
        self.compare(actual, act(self.model))

    def raises(self, method: str, *twins: Any) -> Callable[[Told], Outcome] | None:
        """The operation, if its key raises as it is looked up; None if no key is."""
        end = self.on_model("reap")
        if method in ("resume", "cancel"):
            twin = self.twin(twins[0])
            if (
                method == "cancel"
                or twin is None
                or (twin.kind, twin.outcome) != ("put", "RESERVED")
            ):
                return None
            end = self.on_model("cancel", *twins)  # the call has gone, if without success

        def act(on: Told) -> Outcome:
            end(on)
            on.told.append(ANYTHING)
            return Outcome(error=keys.BoomError())

        return act

    def disarm(self) -> int:
        """How often user code runs is no rule: another copy may come to another state here."""
        times = Trouble.disarm()
        self.lines.append(f"if Trouble.disarm() != {times}: sys.exit('it does not happen here')")
        return times

    @rule(chance=st.integers(1, 3), what=meddling, name=names, pick=many, moment=moments)
    def meddle_by_key(self, chance: int, what: str, name: str, pick: int, moment: Moment) -> None:
        """A key's own code calls the queue: it is refused, and of calls nothing is lost."""
        self.pass_time(moment)
        self.meddle("key", chance, what, name, pick)

    @rule(chance=st.integers(1, 3), second=st.integers(1, 3), name=names, pick=many)
    def meddle_and_raise(self, chance: int, second: int, name: str, pick: int) -> None:
        """A call is put aside by a key's own code, and then a key raises: in this or in that."""
        if not isinstance(self.both("take", self.new_name(name), None, None).value, model.Waiter):
            return
        if pick % 2:
            self.do_put(name, "buffer")
        self.agree()
        self.meddle("key", chance, "call", name, pick - pick % 2, second=second)

    @rule(what=meddling, name=names, pick=many)
    def meddle_by_value(self, what: str, name: str, pick: int) -> None:
        """The finalizer of a value calls the queue: the older of two, which ends with its lease."""
        other = NAMES[NAMES.index(name) - 1]
        self.put_and_take(other, "update", 1, 1)
        self.do_put(other, "buffer")
        self.set_clock(self.now + pick % 3)
        begins = [["take", name, None, None], ["get", None, None]][pick % 2 :]
        self.meddle("value", 1 + (pick > 20), what, name, pick, *begins[: pick % 3])

    @rule(chance=st.integers(1, 60), what=meddling, name=names, pick=many, moment=moments)
    def meddle_by_line(self, chance: int, what: str, name: str, pick: int, moment: Moment) -> None:
        """A finalizer or a signal handler calls the queue, anywhere."""
        self.pass_time(moment)
        self.meddle("line", chance, what, name, pick)

    def meddle(
        self,
        where: str,
        chance: int,
        what: str,
        name: str,
        pick: int,
        *given: list[Any],
        second: int = 0,
    ) -> None:
        """Whatever is done in the midst of an operation is refused, or done before or after it."""
        if what == "call" and pick % 2:
            self.both("take", name, None, None)
            self.do_put(name, "buffer")
        policy = (None, *model.POLICIES)[pick % 5]
        method, *twins = given[0] if given else self.anything(name, policy, pick)
        act = self.on_model(method, *twins)
        inside = self.intrusion(what, name if pick % 3 else "abc"["abc".index(name) - 1], twins)
        if not inside:
            return
        charge, refused, done = inside
        readings = {"key": [refused], "value": done, "line": [refused, *done]}[where]
        before = deepcopy(self.model)
        self.inside.clear()
        self.lines.append("inside.clear()")
        raises = self.raises(method, *twins)
        armed = f"{where!r}, {chance}, lambda: intrude(lambda: {charge}), {second}"
        self.execute(f"Trouble.arm({armed})")
        actual = self.operate(method, self.written(method, twins))
        times = self.disarm()
        if not times:
            self.compare(actual, act(self.model))
            return
        if times == 2:
            self.count("a key raised after a call was put aside")
        if times == 2 and raises and from_its_key(actual.error):
            act = raises
        result, instead, came_to = self.last_result, self.instead, self.inside[0]
        for place, meddling in readings:
            self.model = deepcopy(before)
            found = self.model.snapshot(self.now) if place == "before" else None
            inner = meddling(self.model) if place == "before" else Outcome()
            outer = act(self.model)
            found = found or self.model.snapshot(self.now)
            if self.found.value != (None if (place, meddling) == refused else seen(found, [])):
                continue
            inner = meddling(self.model) if place == "after" else inner
            if isinstance(outer.value, model.Waiter) and not self.is_waiting(actual.value):
                outer = outcome(self.model.resume, outer.value, self.now)  # served in the meantime
            self.instead = {}
            if not self.alike(came_to, inner):
                continue
            self.instead = instead
            if self.alike(actual, outer) and self.look() == seen(self.model.snapshot(self.now), []):
                self.found = Outcome()  # which has values in it
                self.model.told.append(ANYTHING)
                self.count(f"in the midst: {'done' if (place, meddling) in done else 'refused'}")
                self.compare(actual, outer)
                self.last_result, self.instead = f"inside{result}", {}
                self.lines.append(f"{self.last_result} = inside.pop()")
                self.compare(came_to, inner)
                self.inside.clear()
                return
        reason = f"{method} came to {actual}, and the {what} in the midst of it to {came_to}"
        line = f"assert False, ({result}, inside)"
        self.fail(f"{reason}: there is no order for that", line, actual.error or came_to.error)

    def intrusion(
        self, what: str, name: str, busy: list[Any]
    ) -> tuple[str, Reading, list[Reading]] | None:
        """Something to do in the midst, and how it reads if it is refused, and if it is done."""
        refused: Reading = ("after", lambda _: Outcome(error=RuntimeError()))
        given: dict[str, list[Any]] = {"put": [name, self.value(), None, 0, 0], "get": [0, None]}
        twins = given.get(what, [])
        if what == "call":
            calls = [(call, twin) for call, twin in self.unfinished() if [call] != busy]
            calls = [(call, twin) for call, twin in calls if not twin.cancelled]
            if not calls:
                return None
            call, twin = calls[-1]
            what, twins = "cancel", [call]
            charge, refused = (
                self.source("cancel", [call.name]),
                ("after", self.on_model(what, call)),
            )
            if twin.outcome == "RESERVED" and self.values % 2:
                what = "resume"
                charge, refused = self.drive(call)
        else:
            twins = [name] if what == "discard" else twins
            charge = self.source(what, self.written(what, twins))
        act = self.on_model(what, *twins)
        return charge, refused, [("before", act), ("after", act)]

    # -- rules: calls that wait

    @rule(method=kinds, name=names, timeout=waits, lease_timeout=durations, moment=moments)
    def call(
        self, method: str, name: str, timeout: Seconds, lease_timeout: Seconds, moment: Moment
    ) -> None:
        self.pass_time(moment)
        first, last = (
            [name] if method == "take" else [],
            [lease_timeout] if method != "join" else [],
        )
        self.both(method, *first, timeout, *last)

    @rule(name=names, get_first=st.booleans(), policy=policies, leaver=picks)
    def two_calls_for_one_copy(
        self, name: str, get_first: bool, policy: Policy, leaver: int
    ) -> None:
        """Whoever has waited longest is served first, unless it is leaving."""
        self.work_off()
        if get_first:
            self.both("get", None, None)
        self.both("take", name, None, None)
        self.both("get", None, None)
        if leaver % 2:
            self.leave(leaver - 1, NOW, 0)
        self.do_put(name, policy)

    @rule(name=names, delay=st.integers(1, 3), policy=policies, moment=moments)
    def wait_for_what_is_late(self, name: str, delay: int, policy: Policy, moment: Moment) -> None:
        """A value that a take waits for is gone before its time has come; and another one comes."""
        name = self.new_name(name)
        self.both("take", name, None, None)
        self.do_put(name, "update", delay)
        self.both("discard", name)
        self.agree()
        self.pass_time(moment)
        self.do_put(name, policy)

    def work_off(self) -> None:
        """Nothing is left in the line."""
        while self.model.phase != "closed" and self.model.qsize(self.now):
            self.both("get", 0, inf)

    @rule(order=orders, timeout=waits, policy=policies, pick=picks, moment=moments)
    def fill(
        self, order: list[str], timeout: Seconds, policy: Policy, pick: int, moment: Moment
    ) -> None:
        """More than a bounded queue can hold; then somebody leaves, or something does."""
        if self.model.maxsize == inf:
            return
        for name in (*order, order[3]):
            self.do_put(name, policy, pick % 4, timeout)
        self.pass_time(moment)
        if pick % 3 == 0:
            self.leave(pick, NOW, pick)
        for name in order[: 1 + pick % 3]:
            self.both("discard", name)
        if pick == 1:
            self.leave(pick, NOW, pick)
        if pick == 4:
            self.both("shutdown")
        for call in self.over()[: pick % 4]:
            self.both("resume", call)

    @rule(pick=picks, moment=moments)
    def resume(self, pick: int, moment: Moment) -> None:
        """A call whose wait is over goes on, however late."""
        self.pass_time(moment)
        if calls := self.over():
            self.both("resume", calls[pick % len(calls)])

    @rule(pick=picks, moment=moments, soon=picks)
    def leave(self, pick: int, moment: Moment, soon: int) -> None:
        """A call is cancelled; it may be a while until it has left the queue."""
        self.pass_time(moment)
        calls = self.unfinished()
        if pick % 2:  # every second time one that was served and has not resumed
            calls = [(call, twin) for call, twin in calls if twin.outcome == "RESERVED"] or calls
        if not calls:
            return
        self.cancel(*calls[pick % len(calls)], bool(soon % 2))

    def cancel(self, call: Call, twin: model.Waiter, soon: bool) -> None:
        if twin.outcome == "RESERVED":
            self.count(f"cancelled with a {'copy' if twin.grant else 'slot'} reserved")
        if twin.waits:
            self.cancel_while_waiting(call)
            twin.cancelled = True
        if soon:
            self.both("cancel", call)

    @rule(name=names, lease_timeout=st.integers(1, 3), timeout=st.integers(1, 3), moment=moments)
    def wait_for_a_lease_to_end(
        self, name: str, lease_timeout: int, timeout: int, moment: Moment
    ) -> None:
        """A lease and a wait for its key, which may end at the same time; and a value ripens."""
        self.put_and_take(name, "update", lease_timeout, 1)
        self.do_put(self.new_name(name), None, timeout)
        self.both("take", name, timeout, None)
        for granted in self.live()[-1:]:
            self.both("extend", granted, timeout)
            self.agree()  # it may be due sooner now
        self.time_out(moment)

    @rule(moment=moments)
    def time_out(self, moment: Moment) -> None:
        """The timer rings, if there is one."""
        raise NotImplementedError

    @rule(name=names, lease_timeout=st.integers(1, 3), leaves=st.booleans(), moment=moments)
    def go_on_late(self, name: str, lease_timeout: int, leaves: bool, moment: Moment) -> None:
        """Leases may end between the moment when a call is served and that when it goes on."""
        self.put_and_take(name, "update", None, 1)
        self.both("take", name, None, None)
        self.put_and_take(NAMES["abc".index(name) - 1], "update", lease_timeout, 1)
        self.do_put(name, "buffer")
        self.pass_time(moment)
        if calls := self.over():
            self.both("cancel" if leaves else "resume", calls[-1])

    # -- rules: the end

    @rule(name=names, pick=many, moment=moments, method=st.sampled_from(ENDS))
    def end(self, name: str, pick: int, moment: Moment, method: str) -> None:
        """A queue that is shut works off what is left, while calls wait. Rarely: it is the end."""
        self.pass_time(moment)
        if method == "start" or (method != "join" and pick > 8):
            self.both("start")
            return
        if pick % 4:
            self.work_off()
            for granted in self.live()[pick % 3 :]:
                self.both("ack", granted)
        if pick % 2 == 0:
            self.do_put(name, "defer", pick % 3)
        if pick % 9 > 5:
            self.both("take", name, None, None)
            self.both("get", None, None)
        timeout = [(None, None, 5, 0)[pick % 16 // 4]] if method in ("drain", "join") else []
        waits = isinstance(self.both(method, *timeout).value, model.Waiter)
        if waits and pick % 2:
            self.cancel(*self.unfinished()[-1], False)
        self.pass_time(moment)
        for granted in self.live():
            self.both("ack", granted)
        if method == "close":
            self.both("shutdown")  # too late

    @rule(name=names, pick=picks)
    def leave_a_drain(self, name: str, pick: int) -> None:
        """The queue stays shut down; what was taken can be finished, and nothing else can come."""
        if pick > 1 or self.model.phase != "open":
            return  # rarely: there are no puts any more
        self.put_and_take(name, "update", None, 1)
        if isinstance(self.both("drain", None).value, model.Waiter):
            self.cancel(*self.unfinished()[-1], True)
        self.both("take", self.new_name("a"), None, None)
        self.work_off()
        for granted in self.live():
            self.both("ack", granted)

    # -- what holds after each of them

    def gone(self) -> list[int]:
        return [waiter.ticket for waiter in self.model.waiters if waiter.cancelled]

    def look(self) -> tuple[Any, ...]:
        came_to = self.do(self.evaluate(f"lambda: {self.snapshot}"))
        if came_to.error:
            self.fail(f"no snapshot: {came_to}", f"print({self.snapshot})", came_to.error)
        return seen(came_to.value, self.gone())

    @invariant()
    def agree(self) -> None:
        if self.failed:
            return
        expected = seen(self.model.snapshot(self.now), [])
        shown = f"seen(do(lambda: {self.snapshot}), {self.gone()})"
        # What is kept of it would keep values, too, which end here when the queue lets them go.
        self.lines.append(f"assert (shown := {shown}) == {expected}, shown; shown = None")
        actual = self.look()
        if actual != expected:
            self.fail(f"the queue shows {actual}\nand the model {expected}")
        checked = outcome(self.evaluate, self.health)
        if checked.error:
            self.fail(f"broken: {checked.error}", self.health, checked.error)
        self.agree_on_statistics()
        for call, twin in self.unfinished():
            told = twin.outcome != "WAITING"
            if not twin.cancelled and self.was_told(call) != told:
                reason = f"{call.name} was told" if not told else f"nobody told {call.name}"
                self.fail(reason, f"assert was_told({self.names_of(call)[-1]}) == {told}")
        self.agree_on_events()
        self.check()
        self.check_values()
        self.census()

    def agree_on_events(self) -> None:
        """What both have told since the last time. How calls in the midst are told is left open."""
        expected, self.model.told = self.model.told, []
        if not self.watched:
            return
        if ANYTHING in expected:
            self.lines.append("told()")
            self.told()
            return
        self.lines.append(f"assert (e := told()) == {expected}, e")
        actual = self.told()
        if actual != expected:
            self.fail(f"it tells {actual}\nand the model {expected}")

    def agree_on_statistics(self) -> None:
        self.count(f"{self.kind}: stats" if self.exact or not self.tells_ages else "")
        meant = self.model.stats(self.now)
        expected = {name: meant[name] for name in meant if self.exact or not name.endswith("_age")}
        shown = f"(do(lambda: {self.snapshot}), {self.gone()}, {self.exact})"
        line = f"assert (s := counted(do(lambda: {self.statistics}), *{shown})) == {expected}, s"
        came_to = [
            self.do(self.evaluate(f"lambda: {it}")) for it in (self.statistics, self.snapshot)
        ]
        stats, snapshot = (one.value for one in came_to)
        actual = counted(stats, snapshot, self.gone(), self.exact)
        if actual != expected:
            self.fail(f"the statistics show {actual}\nand the model {expected}", line)
        for name in ("oldest_available_age", "oldest_lease_age"):
            age, least = getattr(stats, name), meant[name]
            if (age is None) != (least is None) or (age or 0) < (least or 0):
                line = f"assert ({self.statistics}.{name} or 0) >= {least or 0}"
                self.fail(f"{name} is {age}, and in the model {least}", line)

    def check_values(self) -> None:
        """Nobody keeps a value that is done with, or was replaced."""
        model = self.model
        copies = [
            *model.returned.values(),
            *model.arrived.values(),
            *model.deferred.values(),
            *model.delayed.values(),
        ]
        copies += [grant.copy for grant in model.grants.values()]
        kept = [copy.value for copy in copies]
        kept += [waiter.asks[0] for waiter in model.waiters if waiter.kind == "put"]
        self.expect_alive(sorted(value for value in kept if isinstance(value, int)))

    def expect_alive(self, numbers: list[int]) -> None:
        if Value.alive() != numbers:
            line = f"assert Value.alive() == {numbers}, Value.alive()"
            self.fail(f"the values {Value.alive()} are alive, and should be {numbers}", line)

    def census(self) -> None:
        """Note the rare states that this one is in."""
        of, grants = self.model, self.model.grants.values()
        crowd = max(Counter(grant.copy.key for grant in grants).values(), default=0)
        waiting = [waiter for waiter in of.waiters if waiter.waits]
        leased = {grant.copy.key for grant in grants}
        timed = {grant.deadline for grant in grants if grant.deadline < inf}
        puts = [waiter for waiter in waiting if waiter.kind == "put"]
        rare = {
            f"{crowd} live leases on one key": crowd > 1,
            "deferred value": of.deferred,
            "a deferred value with a time": any(c.time > self.now for c in of.deferred.values()),
            "a delayed value next to a lease": leased & {*of.delayed},
            "reserved, not resumed": any(w.outcome == "RESERVED" for w in of.waiters),
            "two or more calls wait": len(waiting) > 1,
            "two or more puts wait": len(puts) > 1,
            "shut, and calls wait": of.phase == "shut" and waiting,
            "a drain waits": any(waiter.kind == "drain" for waiter in waiting),
            "three or more lease deadlines": len(timed) > 2,
        }
        for what, is_so in rare.items():
            self.count(what if is_so else "")

    def run_out(self) -> None:
        """The end of a run: nothing is lost, and everything comes in its order."""
        self.work_off()
        for call in self.over()[1:]:  # the close finds one that is served
            self.both("resume", call)
        for call, _ in self.unfinished()[1::2]:
            self.both("cancel", call)
        self.agree()
        self.both("close")
        for call, twin in self.unfinished():
            self.both("cancel" if twin.cancelled else "resume", call)
        self.agree()


# Not part of the meaning of a queue: what proof needs, and what people look at.
NO_OPERATIONS = {"check_invariants", "snapshot", "overview"}


def operations(of: type[Any]) -> set[str]:
    """The public methods of a class."""
    methods = inspect.getmembers(of, inspect.isroutine)
    return {name for name, _ in methods if not name.startswith("_")} - NO_OPERATIONS


def used(census: Counter[str], kind: str) -> set[str]:
    """Which of them a machine has called."""
    return {name.removeprefix(f"{kind}: ") for name in census if name.startswith(f"{kind}: ")}
