"""The machine: no loop, no clock, `now` is an argument, and what it tells is in the outbox.

What a user can see is tested through the public queue; here is what the shell relies on, and the
life of a key, state by state.
"""

import ast
import itertools
from math import inf
from pathlib import Path
from typing import Any

import pytest

from tests.subject import (
    KeyAlreadyInFlightError,
    LeaseAlreadyAcknowledgedError,
    QueueClosedError,
    module,
)

machine_module: Any = module("_machine")
Machine: Any = machine_module.Machine
table: Any = module("_table")
Waiter: Any = module("_records").Waiter


def put(
    machine: Any, key: str, value: Any = 1, policy: Any = None, delay: float = 0, now: float = 0.0
) -> Any:
    return machine.put(key, value, policy, delay, None, now)


def leased(machine: Any, key: str, value: Any = 1, timeout: Any = None, now: float = 0.0) -> Any:
    """Put a key, and take it."""
    put(machine, key, value, "buffer", now=now)
    return machine.take(key, 0, timeout, now)[2]


class Caller:
    """Stands for the future of a waiting call."""

    gone = False

    def cancelled(self) -> bool:
        return self.gone


def waiting(machine: Any, key: str | None = None, timeout: float | None = None) -> Any:
    call = machine.get(timeout, None, 0.0) if key is None else machine.take(key, timeout, None, 0.0)
    assert type(call) is Waiter
    call.caller = Caller()
    machine.check_invariants()
    return call


def woken(machine: Any) -> list[Any]:
    """Who was woken since this was asked last."""
    calls = [*machine.outbox.woken]
    machine.outbox.woken.clear()
    return calls


# -- the life of a key ----------------------------------------------------------------

# Written from the meaning: where the waiting value of the key is, and which. The value that an
# event puts is 9; the newest lease holds 1, an older one 0; the waiting value is 2.
LINE, DELAYED, DEFERRED, GONE = "line", "delayed", "deferred", ""
REFUSED = "refused"
LIFE: dict[str, dict[str, tuple[str, int | None]]] = {
    "absent": {"put *": (LINE, 9)},
    "available": {"put *": (LINE, 9), "grant": (GONE, None), "discard": (GONE, None)},
    "delayed": {"put *": (LINE, 9), "ripen": (LINE, 2), "discard": (GONE, None)},
    "leased": {
        "put update": (GONE, None),
        "put reject": (REFUSED, None),
        "put buffer": (LINE, 9),
        "put defer": (DEFERRED, 9),
        "ack": (GONE, None),
        "ack last": (GONE, None),
        "return": (LINE, 1),
        "return last": (LINE, 1),
    },
    "deferred": {
        "put update": (DEFERRED, 9),
        "put reject": (REFUSED, None),
        "put buffer": (LINE, 9),
        "put defer": (DEFERRED, 9),
        "ack": (DEFERRED, 2),
        "ack last": (LINE, 2),
        "return": (LINE, 2),
        "return last": (LINE, 2),
        "ripen": (DEFERRED, 2),
        "discard": (GONE, None),
    },
    "buffered": {
        "put update": (LINE, 9),
        "put reject": (REFUSED, None),
        "put buffer": (LINE, 9),
        "put defer": (LINE, 9),
        "grant": (GONE, None),
        "ack": (LINE, 2),
        "ack last": (LINE, 2),
        "return": (LINE, 2),
        "return last": (LINE, 2),
        "discard": (GONE, None),
    },
    "buffered delayed": {
        "put update": (LINE, 9),
        "put reject": (REFUSED, None),
        "put buffer": (LINE, 9),
        "put defer": (LINE, 9),
        "ripen": (LINE, 2),
        "ack": (DELAYED, 2),
        "ack last": (DELAYED, 2),
        "return": (LINE, 2),
        "return last": (LINE, 2),
        "discard": (GONE, None),
    },
}
RETURNS = ("release", "release to the front", "expire", "close")
ROWS = [
    (state, event.replace("*", policy), way)
    for state, events in LIFE.items()
    for event in events
    for policy in (("update", "reject", "buffer", "defer") if "*" in event else ("",))
    for way in (RETURNS if event.startswith("return") else ("",))
    if (event, way) != ("return", "close")  # which returns every lease, the last one too
]


def in_state(state: str, leases: int) -> tuple[Any, list[Any]]:
    """A machine whose key "k" is in a state, with one live lease or two, and times of 5."""
    machine, granted = Machine(), []
    if state not in ("absent", "available", "delayed"):
        granted = [leased(machine, "k", value, 7) for value in (0, 1)[-leases:]]
    if state not in ("absent", "leased"):
        delay = 5 if state.endswith("delayed") or leases > 2 else 0
        put(machine, "k", 2, "defer" if state == "deferred" else "buffer", delay)
    return machine, granted


def seen(machine: Any, now: float) -> tuple[str, int | None]:
    """Where the waiting value of "k" is, and which."""
    machine.check_invariants()
    state = machine.snapshot(now)
    places = {LINE: (*state.returned, *state.arrived), DELAYED: state.delayed}
    for place, held in {**places, DEFERRED: state.deferred}.items():
        for copy in held:
            return place, copy.value
    return GONE, None


@pytest.mark.req("PUT-1", "PUT-2", "PUT-3", "PUT-4", "PUT-5", "PUT-6", "PUT-7", "ACK-1")
@pytest.mark.req("REL-3", "REL-4", "DELAY-4", "DELAY-7", "OUT-1")
@pytest.mark.parametrize(("state", "event", "way"), ROWS)
def test_each_event_in_each_state_does_what_it_means(state: str, event: str, way: str) -> None:
    machine, granted = in_state(state, 1 if event.endswith("last") else 2)
    kind, _, policy = event.partition(" ")
    after = LIFE[state].get(event) or LIFE[state]["put *"]
    now = 1.0
    match kind:
        case "put" if after[0] == REFUSED:
            before = machine.snapshot(now)
            with pytest.raises(KeyAlreadyInFlightError):
                put(machine, "k", 9, policy, now=now)
            assert machine.snapshot(now) == before
            return
        case "put":
            put(machine, "k", 9, policy, now=now)
        case "grant":
            machine.take("k", None, None, now)
        case "discard":
            assert machine.discard("k", now)
            assert not machine.discard("k", now)
        case "ripen":
            now = 5.0
        case "ack":
            machine.ack(granted[-1], now)
        case "return" if way == "expire":
            machine.extend(granted[-1], 1, 0.0)
        case "return" if way == "close":
            machine.close(now)
        case "return":
            machine.release(granted[-1], way == "release to the front", 0, now)
    assert seen(machine, now) == after
    assert machine.inflight_size(now) == len(granted) + (kind == "grant") - (
        kind in ("ack", "return")
    )


def test_the_table_of_the_code_has_the_same_states_and_events() -> None:
    ours = {state: {event for of, event, _ in ROWS if of == state} for state in LIFE}
    rows = {state.name.lower().replace("_", " "): {*row} for state, row in table.TABLE.items()}
    assert ours == rows


@pytest.mark.req("KEY-4", "PUT-4", "REL-4")
@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_several_copies_of_a_key_never_merge_backwards(order: tuple[int, ...]) -> None:
    """Four copies in flight come back in every order: what is available only gets newer."""
    machine = Machine()
    leases = [leased(machine, "k", value) for value in range(4)]
    newest = -1
    for index in order:
        machine.release(leases[index], False, 0, 0.0)
        newest = max(newest, index)
        assert seen(machine, 0.0) == (LINE, newest)
    assert (machine.qsize(0.0), machine.inflight_size(0.0)) == (1, 0)


@pytest.mark.req("KEY-2", "PUT-4")
def test_the_newest_copy_is_known_through_any_coming_and_going() -> None:
    """Of all sequences of five: the oldest is released and leased again, or acked, or one more."""
    for steps in itertools.product("rab", repeat=5):
        machine, live = Machine(), list[tuple[int, Any]]()
        for value, step in enumerate("bb" + "".join(steps)):
            if step == "b":
                live.append((value, leased(machine, "k", value)))
            elif live:
                held, lease = live.pop(0)
                if step == "a":
                    machine.ack(lease, 0.0)
                else:
                    machine.release(lease, True, 0, 0.0)
                    live.append((held, machine.get(None, None, 0.0)[2]))
        machine.check_invariants()
        if live:
            newest = max(held for held, _ in live)
            put(machine, "k", 99)
            for held, lease in live:
                assert machine.refresh(lease, 0.0) == (99 if held == newest else held), steps


# -- calls that wait ------------------------------------------------------------------


def test_a_call_that_is_served_is_told_once_and_in_order() -> None:
    machine = Machine()
    calls = [waiting(machine), waiting(machine, "b")]
    put(machine, "a")
    put(machine, "b")
    assert machine.outbox.changed
    assert woken(machine) == calls
    assert [call.outcome.name for call in calls] == ["RESERVED"] * 2
    assert [machine.resume(call, 1.0)[0] for call in calls] == ["a", "b"]
    assert woken(machine) == []
    machine.check_invariants()


@pytest.mark.req("WAIT-7")
@pytest.mark.parametrize("end", ["cancel", "time out", "close"])
def test_a_call_that_left_is_cancelled_in_peace(end: str) -> None:
    machine = Machine()
    call = waiting(machine, "k", 5)
    match end:
        case "cancel":
            machine.cancel(call, 0.0)
        case "time out":
            machine.time_out(5.0)
        case "close":
            machine.close(5.0)
    for _ in range(2):
        machine.cancel(call, 5.0)
        machine.check_invariants()
        assert call.outcome.name == "LEFT"


@pytest.mark.req("WAIT-7", "KEY-1")
def test_the_key_of_a_take_that_left_is_forgotten_once() -> None:
    """It may have been put, and acked, and put again before the call resumes."""
    machine = Machine()
    call = waiting(machine, "k", 5)
    machine.time_out(5.0)
    put(machine, "k", 1, now=5.0)
    machine.ack(machine.get(None, None, 5.0)[2], 5.0)
    put(machine, "k", 2, now=5.0)
    with pytest.raises(TimeoutError):
        machine.resume(call, 5.0)
    assert seen(machine, 5.0) == (LINE, 2)


def test_a_call_resumes_once_and_not_before_its_wait_is_over() -> None:
    machine = Machine()
    call = waiting(machine)
    with pytest.raises(RuntimeError, match=r"^the call has nothing to resume with: WAITING$"):
        machine.resume(call, 0.0)
    put(machine, "k")
    assert machine.resume(call, 0.0)[:2] == ("k", 1)
    late = waiting(machine, None, 1)
    machine.time_out(1.0)
    with pytest.raises(TimeoutError):
        machine.resume(late, 1.0)
    for done in (call, late):
        with pytest.raises(RuntimeError, match=r"^the call has nothing to resume with: RESUMED$"):
            machine.resume(done, 1.0)
    machine.check_invariants()


@pytest.mark.req("CLOSE-2")
def test_close_wakes_each_call_once() -> None:
    machine = Machine()
    calls = [waiting(machine), waiting(machine), waiting(machine, "z")]
    put(machine, "k")
    assert woken(machine) == calls[:1]
    machine.close(0.0)
    assert woken(machine) == calls[1:]
    for call in calls:
        with pytest.raises(QueueClosedError):
            machine.resume(call, 0.0)
    assert seen(machine, 0.0) == (LINE, 1)


@pytest.mark.req("CLOSE-1", "OP-3", "EXP-1")
@pytest.mark.parametrize(
    ("now", "line"),
    [(4.0, ["due", "live", "back"]), (5.0, ["live", "back", "due"])],
)
def test_close_first_ends_the_leases_that_are_due(now: float, line: list[str]) -> None:
    """They expire, behind what came back before; the others are returned, to the front."""
    machine = Machine()
    leases = {
        key: leased(machine, key, 1, timeout)
        for key, timeout in (("due", 5), ("live", 9), ("back", None))
    }
    machine.release(leases["back"], True, 0, 0.0)
    machine.close(now)
    assert [copy.key for copy in machine.snapshot(now).returned] == line
    machine.check_invariants()


class Curious:
    """A key whose hash does something."""

    def __init__(self, act: Any) -> None:
        self.act = act

    def __hash__(self) -> int:
        self.act()
        return 1


@pytest.mark.req("IN-9", "WAIT-8")
def test_a_call_that_resumes_or_leaves_in_the_middle_of_an_operation_is_told_to_wait() -> None:
    """To resume, and to time out, is refused; who leaves is noted, and cancelled later."""
    machine = Machine()
    call = waiting(machine)
    put(machine, "k")

    def meddle() -> None:
        with pytest.raises(RuntimeError, match="from within"):
            machine.resume(call, 0.0)
        with pytest.raises(RuntimeError, match="from within"):
            machine.time_out(0.0)
        machine.cancel(call, 0.0)

    machine.contains(Curious(meddle), 0.0)
    assert [*machine.outbox.left] == [call]
    assert machine.inflight_size(0.0) == 1
    machine.cancel(call, 0.0)
    assert seen(machine, 0.0) == (LINE, 1)


@pytest.mark.req("END-8", "END-6")
def test_a_drain_whose_caller_is_gone_closes_nothing() -> None:
    machine = Machine()
    lease = leased(machine, "k")
    drains = [machine.drain(5, 0.0), machine.drain(None, 0.0)]
    for call in drains:
        call.caller = Caller()
        call.caller.gone = True
    machine.time_out(5.0)
    assert machine.snapshot(5.0).phase == "shut"
    machine.ack(lease, 5.0)
    assert machine.snapshot(5.0).phase == "shut"
    for call in drains:
        machine.cancel(call, 5.0)
    machine.check_invariants()
    assert machine.drain(0, 5.0) is True


@pytest.mark.req("OP-1", "IN-11")
def test_a_caller_that_fails_is_heard_and_leaves_the_machine_free() -> None:
    class Broken(Caller):
        def cancelled(self) -> bool:
            raise ZeroDivisionError

    machine = Machine()
    leased(machine, "k", 1, 5)
    call = waiting(machine)
    call.caller = Broken()
    with pytest.raises(ZeroDivisionError):
        machine.start(5.0)
    assert not machine.busy


# -- time -----------------------------------------------------------------------------


@pytest.mark.req("EXP-5", "EXP-6")
def test_the_alarm_is_set_only_while_a_call_waits() -> None:
    machine = Machine(10)
    lease = leased(machine, "k")
    put(machine, "late", delay=7)
    assert (machine.deadlines.soonest, machine.outbox.alarm) == (7, inf)
    call = waiting(machine)
    assert machine.outbox.alarm == 7
    machine.discard("late", 0.0)
    machine.extend(lease, 5, 0.0)
    assert machine.outbox.alarm == 5
    machine.cancel(call, 0.0)
    assert machine.outbox.alarm == inf
    timed = waiting(machine, None, 3)
    assert machine.outbox.alarm == 3
    machine.time_out(3.0)
    assert (machine.outbox.alarm, timed.outcome.name) == (inf, "TIMED_OUT")
    machine.check_invariants()


@pytest.mark.req("EXP-1")
def test_the_alarm_rings_in_vain_rather_than_too_late() -> None:
    machine = Machine()
    lease = leased(machine, "a", 1, 10)
    leased(machine, "b", 1, 50)
    call = waiting(machine)
    machine.extend(lease, 20, 5.0)
    assert machine.outbox.alarm <= 25
    machine.time_out(machine.outbox.alarm)
    assert machine.outbox.alarm == 25
    machine.time_out(25.0)
    assert woken(machine) == [call]


@pytest.mark.req("WAIT-12", "EXP-1")
def test_leases_end_before_the_waits_of_the_same_moment() -> None:
    machine = Machine()
    leased(machine, "k", 1, 5)
    served, late = waiting(machine, None, 5), waiting(machine, None, 5)
    machine.time_out(5.0)
    assert [call.outcome.name for call in (served, late)] == ["RESERVED", "TIMED_OUT"]
    assert woken(machine) == [served, late]


def test_waits_that_end_together_end_in_the_order_of_their_arrival() -> None:
    machine = Machine()
    first = machine.get(2, None, 0.0)
    between = machine.get(1, None, 0.9)
    second = machine.get(1, None, 1.0)
    machine.cancel(between, 1.0)
    machine.time_out(2.0)
    assert woken(machine) == [first, second]


@pytest.mark.req("WAIT-9")
def test_only_the_timer_ends_a_wait() -> None:
    """Any other operation past the deadline finds the call still waiting, and may serve it."""
    machine = Machine()
    call = waiting(machine, None, 5)
    put(machine, "k", now=100.0)
    assert machine.resume(call, 100.0)[:2] == ("k", 1)


@pytest.mark.req("OP-3", "LINE-2")
def test_a_call_that_leaves_gives_its_copy_back_after_those_that_are_due_at_that_moment() -> None:
    machine = Machine()
    leased(machine, "due", 1, 5)
    call = waiting(machine, "reserved")
    put(machine, "reserved")
    other = waiting(machine)
    machine.cancel(call, 5.0)
    assert machine.resume(other, 5.0)[0] == "due"


@pytest.mark.req("CLOCK-1")
def test_a_clock_that_steps_back_does_no_harm() -> None:
    machine = Machine(10)
    for key, now in (("a", 100.0), ("b", 50.0)):
        leased(machine, key, now=now)
        machine.check_invariants()
    machine.reap(109.0)
    assert machine.inflight_size(0.0) == 2
    machine.reap(110.0)
    assert machine.inflight_size(0.0) == 0


# -- what others are told -------------------------------------------------------------


def test_a_value_is_dropped_when_the_ack_is_whole() -> None:
    """Its finalizer is the user's code, and sees a lease that has ended."""
    machine = Machine()
    told: list[type[Exception]] = []

    class Value:
        def __del__(self) -> None:
            try:
                machine.ack(lease, 0.0)
            except Exception as error:  # noqa: BLE001 (it is compared)
                told.append(type(error))

    lease = leased(machine, "k", Value())
    machine.ack(lease, 0.0)
    assert told == [LeaseAlreadyAcknowledgedError]


def test_what_several_expiries_replace_is_all_kept_until_the_outbox_is_emptied() -> None:
    machine = Machine()
    for key, timeout in (("a", 1), ("b", 2)):
        leased(machine, key, "old", timeout)
        put(machine, key, "new", "defer")
    machine.reap(1.0)
    machine.reap(2.0)
    assert machine.outbox.dropped == ["old", "old"]


def test_events_tell_each_step_to_whoever_listens() -> None:
    machine = Machine(maxsize=2)
    events: list[Any] = []
    machine.outbox.events = events
    lease = leased(machine, "a", 1, 5)
    machine.extend(lease, 6, 1.0)
    put(machine, "a", 2, "defer", 3, now=1.0)
    machine.refresh(lease, 1.0)
    getting = machine.get(None, None, 1.0)
    put(machine, "late", 3, None, 1, now=1.0)
    putting = [put(machine, key, 4, now=1.0) for key in ("b", "c")]
    machine.time_out(7.0)
    late = machine.resume(getting, 7.0)[2]
    machine.discard("a", 7.0)
    machine.resume(putting[0], 7.0)
    machine.release(machine.take("b", 0, None, 7.0)[2], False, 2, 7.0)
    machine.cancel(putting[1], 7.0)
    machine.ack(late, 7.0)
    waiting(machine, "z").caller.gone = True
    put(machine, "z", now=7.0)
    machine.drain(0, 8.0)
    assert [(one.action, one.key) for one in events] == [
        *[("put", "a"), ("take", "a"), ("extend", "a"), ("put", "a"), ("refresh", "a")],
        *[("get", None), ("put", "late"), ("put", "b"), ("put", "c"), ("ripen", "late")],
        *[("reserve", "late"), ("ripen", "a"), ("expire", "a"), ("time_out", None)],
        *[("resume", "late")],
        *[("discard", "a"), ("resume", "b"), ("put", "b"), ("take", "b"), ("release", "b")],
        *[("cancel", "c"), ("ack", "late"), ("take", "z"), ("put", "z"), ("gone", "z")],
        *[("drain", None), ("shut", None), ("end", None), ("ripen", "b")],
    ]


# -- the whole ------------------------------------------------------------------------


@pytest.mark.req("LEASE-10")
def test_a_queue_at_rest_remembers_nothing() -> None:
    """Whatever went on before, it shows the state of a new one."""
    machine = Machine()
    for turn in range(50):
        now = float(turn)
        for key, policy in (("a", "update"), ("b", "buffer"), ("a", "defer"), ("c", "update")):
            put(machine, key, turn, policy, turn % 3, now=now)
        for _ in range(3):
            got = machine.get(0.5, 1 + turn / 7, now)
            if type(got) is Waiter:
                machine.cancel(got, now)
            elif turn % 3:
                machine.release(got[2], bool(turn % 2), 0, now)
    while machine.qsize(1e9):
        machine.ack(machine.get(None, None, 1e9)[2], 1e9)
    machine.check_invariants()
    assert machine.snapshot(1e9)._replace(puts=0) == Machine().snapshot(0.0)
    assert [*machine.deadlines] == []


def test_a_broken_invariant_shows_the_state() -> None:
    machine = Machine(maxsize=3)
    lease = leased(machine, "held")
    put(machine, "line")
    machine.release(leased(machine, "back"), True, 0, 0.0)
    call = waiting(machine, "held", 9)
    machine.check_invariants()
    machine.outbox.alarm = 10.0
    with pytest.raises(AssertionError) as caught:
        machine.check_invariants()
    assert str(caught.value).splitlines() == [
        "I10",
        "open, items=3, alarm=10.0",
        "returned: ['back']",
        "arrived: ['line']",
        "'held': LEASED None leases=[(1, 'LIVE', 1)]",
        "'line': AVAILABLE 1 leases=[]",
        "'back': AVAILABLE 1 leases=[]",
        "take 1: 'held'",
    ]
    machine.outbox.alarm = 9
    call.outcome = type(call.outcome).LEFT
    with pytest.raises(AssertionError, match=r"^I7"):
        machine.check_invariants()
    assert lease.key == "held"


def test_the_machine_knows_no_asyncio_and_reads_no_clock() -> None:
    """Imported are only standard modules without time, input or output, and the package's own."""
    allowed = {"__future__", "collections", "collections.abc", "dataclasses", "enum", "heapq"}
    allowed |= {"itertools", "math", "numbers", "operator", "os", "typing", "uuid", "weakref"}
    folder = Path(module("lease").__file__).parent
    modules = ["_machine"]
    for name in modules:  # which grows
        for node in ast.walk(ast.parse((folder / f"{name}.py").read_text())):
            assert not isinstance(node, ast.AsyncFunctionDef | ast.Await), name
            if isinstance(node, ast.Import):
                assert {alias.name for alias in node.names} <= allowed, name
            if isinstance(node, ast.ImportFrom) and node.level == 0:
                assert node.module in allowed, name
            elif isinstance(node, ast.ImportFrom) and node.module not in modules:
                assert node.module is not None
                modules.append(node.module)
    assert {"_table", "_deadlines", "_linkedlist", "_records", "_keys", "lease"} < {*modules}
