"""The reference model answers as the machine does, where nothing but one call is asked of it.

(That they go together in the long run is for the random walks of tests/stateful.) Here are each
look at the state, and each refusal.
"""

from __future__ import annotations

from dataclasses import asdict
from math import inf, nan
from typing import Any

import pytest

from tests.subject import module
from tests.unit.test_machine import Caller

Machine: Any = module("_machine").Machine
model: Any = module("_model")
Waiter: Any = module("_records").Waiter

LATE = 10**400  # seconds: longer than a float can say


class Pair:
    """A machine and a model, to both of which the same is done."""

    def __init__(self, *config: Any) -> None:
        self.machine, self.model = Machine(*config), model.Model(*config)
        self.leases: list[tuple[Any, Any]] = []
        self.calls: list[tuple[Any, Any]] = []

    def do(self, method: str, *given: Any) -> Any:
        """What came of it, which must be the same. "lease 0" is the first lease, for both."""
        ours, theirs = (self.one(side, method, given) for side in (0, 1))
        if isinstance(ours, Waiter):
            ours.caller = Caller()
            self.calls.append((ours, theirs))
            return "waits"
        if isinstance(ours, tuple):
            self.leases.append((ours[2], theirs[2]))
            ours, theirs = ours[:2], theirs[:2]
        assert ours == theirs, method
        self.machine.check_invariants()
        return ours

    def one(self, side: int, method: str, given: tuple[Any, ...]) -> Any:
        arguments = [self.twin(side, one) for one in given]
        try:
            return getattr((self.machine, self.model)[side], method)(*arguments)
        except Exception as error:  # noqa: BLE001 (it is compared)
            return type(error).__name__

    def twin(self, side: int, given: Any) -> Any:
        what, _, number = str(given).partition(" ")
        if what == "lease":
            return self.leases[int(number)][side]
        return self.calls[int(number)][side] if what == "call" else given


@pytest.fixture
def pair() -> Pair:
    """Five keys: a returned, b arrived, c delayed, d leased with a value deferred, e leased."""
    pair = Pair()
    for key in "abde":
        pair.do("put", key, key.upper(), None, 0.0, None, 0.0)
    for key in "ade":
        pair.do("take", key, 0.0, 5.0, 0.0)
    pair.do("release", "lease 0", False, 0.0, 0.0)
    pair.do("put", "c", "C", None, 3.0, None, 0.0)
    pair.do("put", "d", "D2", "defer", 0.0, None, 0.0)
    return pair


@pytest.mark.parametrize(
    ("method", "given", "shown"),
    [
        ("peek", ("b",), "B"),
        ("peek", ("d",), None),
        ("contains", ("a",), True),
        ("contains", ("c",), False),
        ("available_keys", (), {"a", "b"}),
        ("available_items", (), [("b", "B"), ("a", "A")]),
        ("inflight_keys", (), {"d", "e"}),
        ("delayed_keys", (), {"c"}),
        ("qsize", (), 2),
        ("inflight_size", (), 2),
        ("delayed_size", (), 1),
        ("superseded", ("lease 1",), True),
        ("superseded", ("lease 2",), False),
        ("deadline", ("lease 2",), 5.0),
        ("refresh", ("lease 1",), "D"),
        ("start", (), None),
        ("discard", ("d",), True),
        ("discard", ("e",), False),
    ],
)
def test_what_is_seen(pair: Pair, method: str, given: tuple[Any, ...], shown: Any) -> None:
    assert pair.do(method, *given, 1.0) == shown


def test_what_is_seen_when_time_has_passed(pair: Pair) -> None:
    assert pair.do("available_keys", 3.0) == {"a", "b", "c"}
    assert pair.do("inflight_keys", 5.0) == set()
    assert pair.do("qsize", 5.0) == 5


@pytest.mark.req("STAT-1", "STAT-2", "STAT-5")
@pytest.mark.parametrize("now", [1.0, 4.0, 9.0])
def test_what_is_counted(pair: Pair, now: float) -> None:
    assert pair.do("take", "x", None, None, 0.5) == "waits"
    shown = asdict(pair.machine.stats(now))
    assert shown == pair.model.stats(now)
    assert (shown["puts"], shown["waiting_takes"], shown["releases"]) == (6, 1, 1)
    assert shown["oldest_available_age"] == now


@pytest.mark.parametrize(
    ("method", "given", "error"),
    [
        ("put", ("x", 1, "often", 0.0, None), "ValueError"),
        ("put", ("x", 1, None, -1.0, None), "ValueError"),
        ("put", ("x", 1, None, "soon", None), "TypeError"),
        ("put", ("x", 1, None, 0.0, nan), "ValueError"),
        ("put", ("d", 1, "reject", 0.0, None), "KeyAlreadyInFlightError"),
        ("get", (None, 0.0), "ValueError"),
        ("take", ("e", 0.0, None), "TimeoutError"),
        ("take", ("e", -LATE, None), "TimeoutError"),
        ("take", ("e", LATE, None), "waits"),
        ("join", (0.0,), "TimeoutError"),
        ("ack", ("no lease",), "TypeError"),
        ("ack", ("lease 0",), "InvalidLeaseError"),
        ("release", ("lease 1", True, 1.0), "ValueError"),
        ("extend", ("lease 1", 0.0), "ValueError"),
    ],
)
def test_what_is_refused(pair: Pair, method: str, given: tuple[Any, ...], error: str) -> None:
    before = pair.model.snapshot(1.0)
    assert pair.do(method, *given, 1.0) == error
    if error != "waits":
        assert pair.model.snapshot(1.0) == before


def test_a_join_of_nothing_is_over_at_once() -> None:
    assert Pair().do("join", None, 0.0) is None


def test_late_leases(pair: Pair) -> None:
    pair.do("ack", "lease 1", 1.0)
    assert pair.do("ack", "lease 1", 1.0) == "LeaseAlreadyAcknowledgedError"
    assert pair.do("ack", "lease 2", 5.0) == "LeaseExpiredError"


def test_the_end(pair: Pair) -> None:
    assert pair.do("get", None, None, 1.0) == ("b", "B")
    assert pair.do("get", None, None, 1.0) == ("a", "A")
    assert pair.do("drain", None, 1.0) == "waits"
    assert pair.do("put", "x", 1, None, 0.0, None, 1.0) == "QueueClosedError"
    assert pair.do("take", "x", None, None, 1.0) == "QueueClosedError"
    pair.do("close", 2.0)
    assert pair.do("resume", "call 0", 2.0) is False
    for method, given in [("start", ()), ("get", (None, None)), ("join", (None,))]:
        assert pair.do(method, *given, 2.0) == "QueueClosedError"
    assert pair.do("drain", None, 2.0) is False
    assert pair.do("close", 2.0) is None


@pytest.mark.parametrize(
    ("config", "error"),
    [
        ((0.0,), ValueError),
        (("long",), TypeError),
        ((None, 1.5), TypeError),
        ((None, 0, "often"), ValueError),
    ],
)
def test_a_bad_configuration(config: tuple[Any, ...], error: type[Exception]) -> None:
    for kind in (Machine, model.Model):
        with pytest.raises(error):
            kind(*config)


def test_the_alarm_is_the_first_time_that_a_call_waits_for() -> None:
    pair = Pair()
    assert pair.model.alarm() == inf
    pair.do("put", "a", 1, None, 0.0, None, 0.0)
    pair.do("get", 0.0, 7.0, 0.0)
    assert pair.model.alarm() == inf  # nobody would be told
    pair.do("join", 9.0, 0.0)
    assert pair.model.alarm() == 9.0
    pair.do("get", None, None, 0.0)
    assert pair.model.alarm() == 7.0
