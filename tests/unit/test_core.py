"""The core: no loop, no clock, `now` is an argument.

What a user can see is tested through the public queue; here is what the shell relies on,
the table of a key's life, and that the invariants see every damage.
"""

import ast
import itertools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.subject import (
    InvalidLeaseError,
    KeyAlreadyInFlightError,
    LeaseExpiredError,
    QueueClosedError,
    module,
)

core_module: Any = module("_core")
key_module: Any = module("_key")
Core: Any = core_module.Core
Call: Any = module("_call").Call
PATIENT: Any = module("_call").PATIENT
Outcome: Any = module("_call").Outcome
KeyState: Any = key_module.KeyState
TRANSITIONS: Any = key_module.TRANSITIONS
POLICIES = ("update", "reject", "buffer", "defer")

# -- the life of a key ----------------------------------------------------------------

# Written from the meaning: what is available, how many leases are live, what is deferred.
# A row is a state and an event; a result is the state, the line, and the deferred value.
# The value that an event puts is 9; the newest lease holds 1, an older one 0; the deferred
# or available copy holds 2.
TABLE: dict[str, dict[str, tuple[str, list[int], int | None]]] = {
    "absent": {
        "put update": ("available", [9], None),
        "put reject": ("available", [9], None),
        "put buffer": ("available", [9], None),
        "put defer": ("available", [9], None),
    },
    "available": {
        "put update": ("available", [9], None),
        "put reject": ("available", [9], None),
        "put buffer": ("available", [9], None),
        "put defer": ("available", [9], None),
        "grant": ("leased", [], None),
    },
    "leased": {
        "put update": ("leased", [], None),
        "put reject": ("refused", [], None),
        "put buffer": ("buffered", [9], None),
        "put defer": ("deferred", [], 9),
        "ack": ("leased", [], None),
        "ack last": ("absent", [], None),
        "return": ("buffered", [1], None),
        "return last": ("available", [1], None),
    },
    "deferred": {
        "put update": ("deferred", [], 9),
        "put reject": ("refused", [], 2),
        "put buffer": ("buffered", [9], None),
        "put defer": ("deferred", [], 9),
        "ack": ("deferred", [], 2),
        "ack last": ("available", [2], None),
        "return": ("buffered", [2], None),
        "return last": ("available", [2], None),
    },
    "buffered": {
        "put update": ("buffered", [9], None),
        "put reject": ("refused", [2], None),
        "put buffer": ("buffered", [9], None),
        "put defer": ("buffered", [9], None),
        "grant": ("leased", [], None),
        "ack": ("buffered", [2], None),
        "ack last": ("available", [2], None),
        "return": ("buffered", [2], None),
        "return last": ("available", [2], None),
    },
}
RETURNS = ("release", "release to the front", "expire", "close")
ENTRIES = [
    (state, event, way)
    for state, events in TABLE.items()
    for event in events
    for way in (RETURNS if event.startswith("return") else ("",))
    if (event, way) != ("return", "close")  # which returns every lease, the last one too
]


def in_state(state: str, leases: int) -> tuple[Any, list[Any]]:
    """A core whose key "k" is in a state, with one live lease or two."""
    core = Core()
    granted = []
    if state == "available":
        core.put("k", 2, "update", 0.0)
    if state in ("leased", "deferred", "buffered"):
        if leases == 2:
            core.put("k", 0, "update", 0.0)
            granted.append(core.get(None, 5, 0.0)[2])
        core.put("k", 1, "buffer", 0.0)
        granted.append(core.get(None, 5, 0.0)[2])
    if state == "deferred":
        core.put("k", 2, "defer", 0.0)
    if state == "buffered":
        core.put("k", 2, "buffer", 0.0)
    core.check_invariants()
    return core, granted


def state_of(core: Any) -> str:
    """The state of the key "k", as the core has it."""
    lines = [line for line in core.dump().splitlines() if line.startswith("'k': ")]
    return lines[0].split()[1].lower() if lines else "absent"


def deferred_value(core: Any) -> int | None:
    """The deferred value of the key "k", by taking a copy of its state to pieces."""
    anchor = core._keys.get("k")
    value = None if anchor is None or anchor._item is None else anchor._item.deferred
    return None if value is key_module.NOTHING else value


@pytest.mark.req("PUT-1", "PUT-2", "PUT-3", "PUT-4", "PUT-5", "PUT-6", "PUT-7", "REL-3", "REL-4")
@pytest.mark.parametrize(("state", "event", "way"), ENTRIES)
def test_each_event_in_each_state_does_what_the_table_says(
    state: str, event: str, way: str
) -> None:
    after, line, deferred = TABLE[state][event]
    leases = 1 if event.endswith("last") else 2
    core, granted = in_state(state, leases)
    assert state_of(core) == state
    lease = granted[-1] if granted else None
    if event.startswith("put "):
        policy = event.removeprefix("put ")
        if after == "refused":
            before = core.dump()
            with pytest.raises(KeyAlreadyInFlightError):
                core.put("k", 9, policy, 1.0)
            assert core.dump() == before
            after = state
        else:
            core.put("k", 9, policy, 1.0)
    elif event == "grant":
        core.take("k", None, None, 1.0)
    elif event.startswith("ack"):
        core.ack(lease, 1.0)
    elif way == "expire":
        core.extend(lease, 1, 0.0)
        core.expire(1.0)
    elif way == "close":
        core.close(1.0)
    else:
        core.release(lease, way == "release to the front", 1.0)
    core.check_invariants()
    assert state_of(core) == after
    assert deferred_value(core) == deferred
    available = core.peek("k", 1.0)
    assert ([] if available is None else [available]) == line
    assert core.qsize(1.0) == len(line)


def test_the_table_of_the_code_has_the_same_entries_and_leads_to_the_same_states() -> None:
    ours = {
        state: {
            event: state if after == "refused" else after for event, (after, *_) in events.items()
        }
        for state, events in TABLE.items()
    }
    theirs = {
        state.value: {event: after.value for event, (_, after) in events.items()}
        for state, events in TRANSITIONS.items()
    }
    assert ours == theirs


def test_every_state_can_be_reached_and_left() -> None:
    reached = {after for events in TRANSITIONS.values() for _, after in events.values()}
    assert reached == set(TRANSITIONS) == set(KeyState)
    for state, events in TRANSITIONS.items():
        assert {after for _, after in events.values()} - {state}


@pytest.mark.req("KEY-4", "PUT-4", "REL-4")
@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_several_copies_of_a_key_never_merge_backwards(order: tuple[int, ...]) -> None:
    """Four copies in flight come back in every order: what is available only gets newer."""
    core = Core()
    leases = []
    for value in range(4):
        core.put("k", value, "buffer", 0.0)
        leases.append(core.get(None, None, 0.0)[2])
    newest = -1
    for index in order:
        core.release(leases[index], False, 0.0)
        core.check_invariants()
        newest = max(newest, index)
        assert core.peek("k", 0.0) == newest
    assert core.qsize(0.0) == 1
    assert core.inflight_size(0.0) == 0


@pytest.mark.req("KEY-2", "PUT-4")
@pytest.mark.parametrize("first", "rab")
def test_the_newest_copy_is_known_through_any_coming_and_going(first: str) -> None:
    """All of five steps."""
    for steps in itertools.product("rab", repeat=4):
        come_and_go(first + "".join(steps))


def come_and_go(steps: str) -> None:
    """r: the oldest grant is released and leased again; a: it is acked; b: another is buffered."""
    core, live, value = Core(), list[tuple[int, Any]](), 0

    def buffer() -> None:
        nonlocal value
        value += 1
        core.put("k", value, "buffer", 0.0)
        _, granted, lease = core.get(None, None, 0.0)
        assert granted == value
        live.append((value, lease))

    buffer()
    buffer()
    for step in steps:
        if step == "b":
            buffer()
        elif live:
            held, lease = live.pop(0)
            if step == "a":
                core.ack(lease, 0.0)
            else:
                core.release(lease, True, 0.0)
                core.check_invariants()
                _, again, lease = core.get(None, None, 0.0)
                assert again == held
                live.append((held, lease))
        core.check_invariants()
    if not live:
        return
    newest = max(held for held, _ in live)
    core.put("k", 99, "update", 0.0)
    for held, lease in live:
        core.release(lease, False, 0.0)
        core.check_invariants()
        value_back = core.take("k", None, None, 0.0)
        assert value_back[1] == (99 if held == newest else held), steps


# -- what the shell relies on ------------------------------------------------------------


class Caller:
    """Stands for the future of a waiting call."""

    def __init__(self) -> None:
        self.gone = False

    def cancelled(self) -> bool:
        return self.gone


def waiting(core: Any, key: str | None = None, timeout: float | None = None) -> Any:
    call = core.get(timeout, None, 0.0) if key is None else core.take(key, timeout, None, 0.0)
    assert type(call) is Call
    call.caller = Caller()
    core.check_invariants()
    return call


def test_a_call_that_is_served_is_told_once_and_in_order() -> None:
    core = Core()
    calls = [waiting(core), waiting(core, "b")]
    core.put("a", 1, "update", 0.0)
    core.put("b", 1, "update", 0.0)
    assert core.news
    assert [*core.settled] == calls
    assert [call.outcome for call in calls] == [Outcome.RESERVED] * 2
    core.settled.clear()
    assert core.resume(calls[0], 1.0)[:2] == ("a", 1)
    assert core.resume(calls[1], 1.0)[:2] == ("b", 1)
    assert [*core.settled] == []
    core.check_invariants()


@pytest.mark.req("WAIT-7")
def test_a_call_whose_caller_is_gone_is_passed_over_before_it_is_cancelled() -> None:
    core = Core()
    calls = [waiting(core), waiting(core, "k"), waiting(core), waiting(core, "k")]
    for call in calls[:3]:
        call.caller.gone = True
    core.put("k", 1, "update", 0.0)
    assert [*core.settled] == calls[3:]
    for call in calls[:3]:
        core.cancel(call, 0.0)
        core.check_invariants()


@pytest.mark.req("WAIT-7")
def test_a_call_that_left_is_cancelled_in_peace() -> None:
    """Whether it waits, was passed over, timed out, or has been cancelled before."""
    core = Core()
    for end in ("cancel", "time out", "close"):
        call = waiting(core, "k", 5)
        match end:
            case "cancel":
                core.cancel(call, 0.0)
            case "time out":
                core.time_out(5.0)
            case "close":
                core.close(5.0)
        core.cancel(call, 5.0)
        core.check_invariants()
        assert call.outcome is Outcome.LEFT
        assert core.qsize(5.0) == 0


@pytest.mark.req("WAIT-7", "KEY-1")
def test_the_key_of_a_take_that_left_is_forgotten_once() -> None:
    """It may have been put, and acked, and put again before the call resumes."""
    core = Core()
    call = waiting(core, "k", 5)
    core.time_out(5.0)
    core.put("k", 1, "update", 5.0)
    core.ack(core.get(None, None, 5.0)[2], 5.0)
    core.check_invariants()
    core.put("k", 2, "update", 5.0)
    with pytest.raises(TimeoutError):
        core.resume(call, 5.0)
    core.check_invariants()
    assert core.peek("k", 5.0) == 2


def test_only_a_call_whose_wait_is_over_can_resume() -> None:
    core = Core()
    call = waiting(core)
    with pytest.raises(RuntimeError, match="nothing to resume with"):
        core.resume(call, 0.0)
    core.check_invariants()
    core.put("k", 1, "update", 0.0)
    core.resume(call, 0.0)
    with pytest.raises(RuntimeError, match="nothing to resume with"):
        core.resume(call, 0.0)
    core.check_invariants()


@pytest.mark.req("CLOSE-2")
def test_close_settles_each_call_once() -> None:
    core = Core()
    reserved, blocked, taking = waiting(core), waiting(core), waiting(core, "z")
    core.put("k", 1, "update", 0.0)
    assert [*core.settled] == [reserved]
    core.settled.clear()
    core.close(0.0)
    assert [*core.settled] == [blocked, taking]
    for call in (reserved, blocked, taking):
        with pytest.raises(QueueClosedError):
            core.resume(call, 0.0)
    core.check_invariants()
    assert core.available_keys(0.0) == {"k"}


@pytest.mark.req("CLOSE-1")
def test_close_returns_reserved_and_leased_copies_by_their_grants() -> None:
    core = Core()
    calls = [waiting(core) for _ in range(2)]
    core.put("a", 1, "update", 0.0)
    core.put("x", 1, "update", 0.0)
    core.put("b", 1, "update", 0.0)
    core.get(None, None, 0.0)
    core.put("back", 1, "update", 0.0)
    core.release(core.get(None, None, 0.0)[2], True, 0.0)
    core.put("arrived", 1, "update", 0.0)
    assert [call.outcome for call in calls] == [Outcome.RESERVED] * 2
    core.close(0.0)
    assert core.dump().splitlines()[1:3] == [
        "returned=['a', 'x', 'b', 'back']",
        "arrived=['arrived']",
    ]


@pytest.mark.req("CLOSE-1", "OP-3", "EXP-1")
@pytest.mark.parametrize(
    ("now", "line"),
    [
        (4.0, ["due", "live", "back"]),
        (5.0, ["live", "back", "due"]),
        (6.0, ["live", "back", "due"]),
    ],
)
def test_close_first_ends_the_leases_that_are_due(now: float, line: list[str]) -> None:
    """They expire, behind what came back before; the others are returned, to the front."""
    core = Core()
    leases = {}
    for key, timeout in (("due", 5), ("live", 9), ("back", None)):
        core.put(key, 1, "update", 0.0)
        leases[key] = core.get(None, timeout, 0.0)[2]
    core.release(leases["back"], True, 0.0)
    core.close(now)
    assert core.dump().splitlines()[1] == f"returned={line}"
    core.check_invariants()


@pytest.mark.req("EXP-5", "EXP-6")
def test_the_alarm_is_set_only_while_a_call_waits() -> None:
    core = Core(10)
    core.put("k", 1, "update", 0.0)
    lease = core.get(None, None, 0.0)[2]
    assert (core.due, core.alarm) == (10, math.inf)
    call = waiting(core)
    assert core.alarm == 10
    core.extend(lease, 5, 0.0)
    assert core.alarm == 5
    core.cancel(call, 0.0)
    assert core.alarm == math.inf
    timed = waiting(core, None, 3)
    assert core.alarm == 3
    core.time_out(3.0)
    assert core.alarm == math.inf
    assert timed.outcome is Outcome.TIMED_OUT
    core.check_invariants()


@pytest.mark.req("EXP-1")
def test_the_alarm_rings_in_vain_rather_than_too_late() -> None:
    """An extended lease leaves the alarm where it was; it is set anew when it rings."""
    core = Core()
    for key in "ab":
        core.put(key, 1, "update", 0.0)
    lease = core.get(None, 10, 0.0)[2]
    core.get(None, 50, 0.0)
    call = waiting(core)
    core.extend(lease, 20, 5.0)
    assert core.alarm <= 25
    core.time_out(core.alarm)
    assert core.alarm == 25
    assert [*core.settled] == []
    core.time_out(25.0)
    assert [*core.settled] == [call]


@pytest.mark.req("WAIT-12", "EXP-1")
def test_leases_end_before_the_waits_of_the_same_moment() -> None:
    core = Core()
    core.put("k", 1, "update", 0.0)
    core.get(None, 5, 0.0)
    served, late = waiting(core, None, 5), waiting(core, None, 5)
    core.time_out(5.0)
    assert [call.outcome for call in (served, late)] == [Outcome.RESERVED, Outcome.TIMED_OUT]
    assert [*core.settled] == [served, late]


@pytest.mark.req("WAIT-9")
def test_only_the_timer_ends_a_wait() -> None:
    """Any other operation past the deadline finds the call still waiting, and may serve it."""
    core = Core()
    call = waiting(core, None, 5)
    core.put("k", 1, "update", 100.0)
    assert core.resume(call, 100.0)[:2] == ("k", 1)


@pytest.mark.req("EXP-3", "EXP-2")
def test_expire_is_what_each_operation_does_first() -> None:
    core = Core(5)
    for key in "abc":
        core.put(key, 1, "update", 0.0)
    leases = [core.get(None, None, 0.0)[2] for _ in "abc"]
    core.expire(math.nextafter(5, 0))
    assert core.inflight_size(0.0) == 3
    core.expire(5.0)
    assert "returned=['a', 'b', 'c']" in core.dump()
    for lease in leases:
        with pytest.raises(LeaseExpiredError):
            core.ack(lease, 5.0)


def test_a_clock_that_steps_back_does_no_harm() -> None:
    core = Core(10)
    for key, now in (("a", 100.0), ("b", 50.0)):
        core.put(key, 1, "update", now)
        core.get(None, None, now)
        core.check_invariants()
    core.expire(109.0)
    assert core.inflight_size(0.0) == 2
    core.expire(110.0)
    assert core.inflight_size(0.0) == 0


@pytest.mark.req("IN-1")
def test_the_policies_are_those_of_the_type() -> None:
    assert POLICIES == core_module.POLICIES


def test_a_call_that_sets_no_caller_is_one_that_never_leaves() -> None:
    core = Core()
    call = core.get(None, None, 0.0)
    core.put("k", 1, "update", 0.0)
    assert core.resume(call, 0.0)[:2] == ("k", 1)


@pytest.mark.req("LEASE-10")
def test_a_queue_at_rest_remembers_nothing() -> None:
    """Every map and list of the core is empty, whatever went on before."""
    core = Core()
    for now in range(50):
        for key, policy in (("a", "update"), ("b", "buffer"), ("a", "defer")):
            core.put(key, now, policy, float(now))
        for _ in range(3):
            got = core.get(0.5, 1 + now / 7, float(now))
            if type(got) is Call:
                core.cancel(got, float(now))
                continue
            if now % 3:
                core.release(got[2], bool(now % 2), float(now))
    while core.qsize(1e9):
        core.ack(core.get(None, None, 1e9)[2], 1e9)
    core.check_invariants()
    assert not core._keys
    assert not core._leases
    assert not core._calls
    assert core._surplus == 0
    for emptied in (core._returned, core._arrived, core._getters, core._deadlines, core._waits):
        assert list(emptied) == []


def test_the_core_and_what_it_is_made_of_know_no_asyncio_and_read_no_clock() -> None:
    """Imported are only standard modules without time, input or output, and the package's own."""
    allowed = {"__future__", "collections", "collections.abc", "dataclasses", "enum", "heapq"}
    allowed |= {"itertools", "math", "numbers", "operator", "os", "typing", "uuid"}
    folder = Path(core_module.__file__).parent
    for name in ("_core", "_call", "_key", "_deadlines", "_invariants", "_linkedlist", "lease"):
        tree = ast.parse((folder / f"{name}.py").read_text())
        for node in ast.walk(tree):
            assert not isinstance(node, ast.AsyncFunctionDef | ast.Await), name
            if isinstance(node, ast.Import):
                assert {alias.name for alias in node.names} <= allowed, name
            if isinstance(node, ast.ImportFrom):
                assert node.level == 1 or node.module in allowed, name
                assert node.module != "_queue", name
                if node.module == "os":
                    assert [alias.name for alias in node.names] == ["urandom"]


# -- the invariants ---------------------------------------------------------------------


def a_core() -> Any:
    """Something of everything: plain and other keys, a crowd, a reservation, waits, deadlines."""
    core = Core()
    put = [("line", 1), ("line too", 1), ("leased", 1), ("timed", 1), ("deferred", 1), ("crowd", 1)]
    for key, value in put:
        core.put(key, value, "update", 0.0)
    for key, timeout in (("leased", None), ("timed", 9), ("deferred", 5), ("crowd", None)):
        core.take(key, None, timeout, 0.0)
    core.put("deferred", 2, "defer", 0.0)
    for value in (2, 3):
        core.put("crowd", value, "buffer", 0.0)
        core.take("crowd", None, None, 0.0)
    core.put("crowd", 4, "buffer", 0.0)
    core.put("back", 1, "update", 0.0)
    core.release(core.take("back", None, None, 0.0)[2], True, 0.0)
    waiting(core, "taken")
    core.put("taken", 1, "update", 0.0)
    waiting(core, "taken", 7)
    waiting(core, "taken")
    waiting(core, "absent", 8)
    core.check_invariants()
    return core


def anchor(core: Any, key: str) -> Any:
    return core._keys[key]


def item(core: Any, key: str) -> Any:
    return core._keys[key]._item


def call_of(core: Any, number: int) -> Any:
    """A waiting call, in the order of arrival."""
    return [*core._calls.values()][number]


def reservation(core: Any) -> Any:
    (lease,) = [lease for lease in core._leases.values() if isinstance(lease._standing, Call)]
    return lease


def stray() -> Any:
    """A copy of a key that the core does not know."""
    return key_module.new_copy(key_module.Item("stray"), 1, 0)


def a_call(item: Any = None) -> Any:
    """A call that waits, and is in no list."""
    call = Call()
    call.ticket, call.item, call.outcome = 99, item, Outcome.WAITING
    call.caller, call.alarm, call._list = PATIENT, None, None
    return call


def a_getter(core: Any) -> None:
    """A call that waits although something is available."""
    core._calls[99] = call = a_call()
    core._getters.link_last(call)


def a_taker(core: Any) -> None:
    """A call that waits for a key that is available."""
    core._calls[99] = call = a_call(item(core, "crowd"))
    item(core, "crowd").takers = module("_linkedlist").LinkedList()
    item(core, "crowd").takers.link_last(call)


def a_reservation_with_a_deadline(core: Any) -> None:
    """The clock of a reserved copy must not run."""
    lease = anchor(core, "timed")
    lease._standing = a_call()
    lease._standing.lease, lease._standing.outcome = lease, Outcome.RESERVED


def crowd(core: Any) -> list[Any]:
    """The leases of the key "crowd", the oldest value first."""
    return [rank.lease for rank in item(core, "crowd").leases.ranks if rank.lease is not None]


def a_crowd_of_one(core: Any) -> None:
    lease = crowd(core)[0]
    item(core, "crowd").leases.leave(lease)
    lease = crowd(core)[0]
    item(core, "crowd").leases.leave(lease)


def a_rank_without_a_lease(core: Any) -> None:
    ranks = item(core, "crowd").leases.rank_of
    ranks[next(iter(ranks))] = key_module.Rank(None)


def ranks_exchanged(core: Any) -> None:
    ranks = item(core, "crowd").leases.rank_of
    one, other, *_ = ranks
    ranks[one], ranks[other] = ranks[other], ranks[one]


def out_of_order(core: Any) -> None:
    """The leases by number, but the latest first."""
    core._leases = dict(reversed(core._leases.items()))


def swap_tickets(core: Any) -> None:
    one, other = call_of(core, 0), call_of(core, 1)
    one.ticket, other.ticket = other.ticket, one.ticket
    core._calls = {one.ticket: one, other.ticket: other, 4: call_of(core, 2)}


DAMAGE: list[tuple[str, Callable[[Any], object]]] = [
    ("I1", lambda core: setattr(item(core, "absent"), "forgotten", True)),
    ("I1", lambda core: setattr(item(core, "absent"), "deferred", 1)),
    ("I1", lambda core: setattr(item(core, "crowd"), "deferred", 1)),
    ("I2", lambda core: core._arrived.unlink(anchor(core, "line"))),
    ("I2", lambda core: core._arrived.link_last(stray())),
    ("I2", lambda core: setattr(item(core, "back").available, "_standing", core._released)),
    ("I3", lambda core: setattr(anchor(core, "leased"), "_standing", core._acked)),
    ("I3", lambda core: core._leases.pop(anchor(core, "leased")._number)),
    ("I3", lambda core: core._leases.update({99: stray()})),
    ("I3", lambda core: setattr(crowd(core)[-1], "_item", None)),
    ("I3", lambda core: setattr(item(core, "deferred").leases, "_key", "other")),
    ("I3", out_of_order),
    ("I4", lambda core: setattr(item(core, "deferred"), "version", 0)),
    (
        "I4",
        lambda core: setattr(item(core, "crowd").available, "_version", crowd(core)[0]._version),
    ),
    ("I4", lambda core: setattr(item(core, "deferred").leases, "_version", 99)),
    ("I5", lambda core: setattr(item(core, "crowd"), "available", None)),
    ("I5", lambda core: setattr(item(core, "crowd").leases, "mark", None)),
    ("I5", lambda core: setattr(item(core, "crowd").available, "_version", 0.5)),
    (
        "I5",
        lambda core: item(core, "crowd").leases.ranks.move_last(
            item(core, "crowd").leases.ranks.first
        ),
    ),
    ("I5", lambda core: item(core, "crowd").leases.rank_of.popitem()),
    ("I5", lambda core: item(core, "crowd").leases.rank_of.clear()),
    ("I5", a_crowd_of_one),
    ("I5", a_rank_without_a_lease),
    ("I5", ranks_exchanged),
    ("I6", a_getter),
    ("I6", a_taker),
    ("I7", lambda core: core._calls.popitem()),
    ("I7", lambda core: setattr(call_of(core, 0), "outcome", Outcome.LEFT)),
    ("I7", lambda core: setattr(call_of(core, 0), "item", item(core, "absent"))),
    ("I7", lambda core: setattr(item(core, "crowd"), "takers", module("_linkedlist").LinkedList())),
    ("I7", swap_tickets),
    ("I7", lambda core: setattr(reservation(core)._standing, "outcome", Outcome.WAITING)),
    ("I7", lambda core: setattr(reservation(core)._standing, "lease", None)),
    ("I7", lambda core: setattr(call_of(core, 0), "alarm", None)),
    ("I8", lambda core: setattr(core, "due", None)),
    ("I8", lambda core: setattr(core, "due", 6)),
    ("I8", a_reservation_with_a_deadline),
    ("I8", lambda core: core._deadlines.add(stray(), 99, 0.0)),
    ("I9", lambda core: setattr(core, "_closed", True)),
    ("I10", lambda core: setattr(core, "_surplus", core._surplus + 1)),
    ("I11", lambda core: setattr(core, "alarm", math.inf)),
    ("I11", lambda core: setattr(core, "alarm", 6)),
    ("L1", lambda core: setattr(core._arrived, "last", None)),
    ("D3", lambda core: setattr(core._waits, "soonest", 1)),
]


@pytest.mark.parametrize(
    ("label", "damage"), DAMAGE, ids=[f"{n}-{label}" for n, (label, _) in enumerate(DAMAGE)]
)
def test_the_invariants_see_every_damage_and_show_the_state(
    label: str, damage: Callable[[Any], object]
) -> None:
    core = a_core()
    damage(core)
    with pytest.raises(AssertionError) as caught:
        core.check_invariants()
    first, _, rest = str(caught.value).partition("\n")
    assert first == label
    assert "returned=['back']" in rest


@pytest.mark.parametrize("left", ["leases", "calls", "deadlines", "due"])
def test_the_invariants_see_what_a_closed_queue_must_not_have(left: str) -> None:
    core = Core()
    core.put("k", 1, "update", 0.0)
    match left:
        case "leases":
            core.get(None, None, 0.0)
        case "calls":
            core.take("z", None, None, 0.0)
        case "deadlines":
            core._deadlines.add(stray(), 5, 0.0)
    core._closed = True
    if left != "due":
        core.due = -math.inf
    with pytest.raises(AssertionError, match=r"^I9\n"):
        core.check_invariants()


def test_the_invariants_see_an_alarm_that_nobody_waits_for() -> None:
    core = Core()
    core.alarm = 5
    with pytest.raises(AssertionError, match=r"^I11\n"):
        core.check_invariants()


def test_an_absent_key_is_shown_with_who_waits_for_it() -> None:
    core = a_core()
    lines = core.dump().splitlines()
    assert lines[1:3] == ["returned=['back']", "arrived=['line', 'line too', 'crowd']"]
    (absent,) = [line for line in lines if line.startswith("'absent'")]
    assert absent.startswith("'absent': ABSENT")
    assert "takers=[4]" in absent


@pytest.mark.req("LEASE-5")
def test_a_lease_of_another_core_is_refused_by_name() -> None:
    core, other = Core(), Core()
    other.put("k", 1, "update", 0.0)
    lease = other.get(None, None, 0.0)[2]
    with pytest.raises(InvalidLeaseError, match="another queue's"):
        core.ack(lease, 0.0)
