"""Deadlines by lanes, against a plain sorted list."""

import math
import random
from typing import Any

import pytest

from tests.subject import module

Deadlines: Any = module("_deadlines").Deadlines
Deadline: Any = module("_deadlines").Deadline


class Numbered(Deadline):  # type: ignore[misc]
    """Something that can fall due."""

    def __init__(self, rank: int, number: int) -> None:
        self.list = None
        self.rank = rank
        self.number = number

    def order(self) -> tuple[float, int, int]:
        return self.time, self.rank, self.number


def add(deadlines: Any, number: int, duration: float, now: float, rank: int = 0) -> Any:
    deadline = Numbered(rank, number)
    deadlines.add(deadline, duration, now)
    deadlines.check_invariants()
    return deadline


def due(deadlines: Any, now: float) -> list[int]:
    found = [deadline.number for deadline in deadlines.due(now)]
    deadlines.check_invariants()
    return found


def test_without_deadlines_nothing_falls_due() -> None:
    deadlines = Deadlines()
    assert deadlines.soonest == deadlines.next() == math.inf
    assert due(deadlines, math.inf) == []
    assert list(deadlines) == []


@pytest.mark.req("EXP-1")
def test_a_deadline_falls_due_at_its_time_and_not_before() -> None:
    deadlines = Deadlines()
    deadline = add(deadlines, 1, 10, 5)
    assert (deadline.time, deadlines.soonest) == (15, 15)
    assert due(deadlines, math.nextafter(15, 0)) == []
    assert due(deadlines, 15) == [1]
    assert due(deadlines, 15) == []
    assert deadlines.soonest == math.inf


@pytest.mark.req("EXP-2", "DELAY-9")
def test_deadlines_fall_due_by_time_then_rank_then_number() -> None:
    deadlines = Deadlines()
    for number, rank, duration, now in (
        *((4, 0, 5, 0), (2, 0, 4, 1), (3, 0, 3, 2), (1, 1, 2, 3)),
        *((6, 0, 1, 5), (5, 0, 9, 5)),
    ):
        add(deadlines, number, duration, now, rank)
    assert due(deadlines, 100) == [2, 3, 4, 1, 6, 5]


def test_what_can_fall_due_must_say_when_it_goes_first() -> None:
    with pytest.raises(NotImplementedError):
        Deadline().order()


def test_a_deadline_is_set_once_at_most() -> None:
    deadlines = Deadlines()
    deadline = add(deadlines, 1, 10, 0)
    with pytest.raises(RuntimeError, match="linked already"):
        deadlines.add(deadline, 5, 0)
    deadlines.remove(deadline)
    with pytest.raises(RuntimeError, match="is not set"):
        deadlines.remove(deadline)
    deadlines.check_invariants()
    assert due(deadlines, 100) == []


def test_soonest_is_never_too_late_and_next_is_exact() -> None:
    """A lane whose first deadline has left is in the heap at its old time, and serves again."""
    deadlines = Deadlines()
    first, second = add(deadlines, 1, 10, 0), add(deadlines, 2, 10, 3)
    deadlines.remove(first)
    assert deadlines.soonest == 10
    assert deadlines.next() == deadlines.soonest == 13
    deadlines.remove(second)
    assert deadlines.soonest == deadlines.next() == math.inf
    add(deadlines, 3, 10, 5)
    add(deadlines, 4, 20, 5)
    assert deadlines.next() == 15
    assert due(deadlines, 15) == [3]
    assert deadlines.next() == 25


def test_what_never_falls_due_hides_nothing_that_does() -> None:
    """The lane of infinity is not in the heap, and goes without a word to it."""
    deadlines = Deadlines()
    never = add(deadlines, 1, math.inf, 0)
    assert deadlines.soonest == deadlines.next() == math.inf
    add(deadlines, 2, 10, 0)
    deadlines.remove(never)
    assert deadlines.soonest == 10
    add(deadlines, 3, math.inf, 0)
    assert due(deadlines, 1e9) == [2]
    assert [deadline.number for deadline in deadlines] == [3]


def test_two_that_are_due_come_in_order_though_the_heap_has_not_heard_who_left() -> None:
    deadlines = Deadlines()
    gone = add(deadlines, 0, 1, 0)
    add(deadlines, 1, 1, 4)
    add(deadlines, 2, 0.5, 4)
    deadlines.remove(gone)
    assert due(deadlines, 10) == [2, 1]


@pytest.mark.req("CLOCK-1")
def test_a_clock_that_steps_back_breaks_no_order() -> None:
    deadlines = Deadlines()
    add(deadlines, 1, 10, 100)
    assert add(deadlines, 2, 10, 50).time == 110
    assert due(deadlines, 109) == []
    assert due(deadlines, 110) == [1, 2]


def test_the_heap_is_one_when_idle_lanes_have_been_swept_out() -> None:
    """Those that stay were below others, in no order among themselves."""
    for seed in range(5):
        deadlines, choose = Deadlines(), random.Random(seed)
        durations = choose.sample(range(1, 200), 40)
        placed = {duration: add(deadlines, duration, duration, 0) for duration in durations}
        for duration in choose.sample(durations, 25):
            deadlines.remove(placed.pop(duration))
        for number in range(200, 300):
            deadlines.remove(add(deadlines, number, number, 0))
        assert deadlines.next() == min(placed)
        assert due(deadlines, 150) == sorted(duration for duration in placed if duration <= 150)


def test_clear_drops_every_deadline() -> None:
    deadlines = Deadlines()
    nodes = [add(deadlines, number, 1 + number % 3, 0) for number in range(9)]
    deadlines.clear()
    deadlines.check_invariants()
    assert all(node.list is None for node in nodes)
    assert (deadlines.soonest, list(deadlines)) == (math.inf, [])
    add(deadlines, 1, 2, 3)
    assert due(deadlines, 5) == [1]


@pytest.mark.req("EXP-2", "EXP-4", "COST-2")
def test_random_use_does_what_a_sorted_list_does() -> None:
    for seed in range(60):
        try:
            use_at_random(seed)
        except BaseException as failure:
            failure.add_note(f"replay: use_at_random({seed})")
            raise


def use_at_random(seed: int) -> None:
    choose = random.Random(seed)
    deadlines, plain, now = Deadlines(), dict[int, Any](), 0.0
    for number in range(100):
        now += choose.choice([0, 0, 0.5, 1, 7])
        match choose.choice(["add", "add", "add", "remove", "due", "next"]):
            case "add":
                duration = choose.choice([1, 2, 3, 5, 8, math.inf, number + 0.25])
                plain[number] = add(deadlines, number, duration, now)
                assert plain[number].time == now + duration
            case "remove" if plain:
                deadlines.remove(plain.pop(choose.choice([*plain])))
            case "due":
                ordered = sorted(plain, key=lambda number: (plain[number].time, number))
                expected = [number for number in ordered if plain[number].time <= now]
                assert due(deadlines, now) == expected
                for found in expected:
                    del plain[found]
            case "next":
                soonest = min((deadline.time for deadline in plain.values()), default=math.inf)
                assert deadlines.soonest <= soonest
                assert deadlines.next() == soonest
        deadlines.check_invariants()
        assert {deadline.number for deadline in deadlines} == plain.keys()


@pytest.mark.parametrize(
    ("label", "damage"),
    [
        ("D1", lambda deadlines, nodes: setattr(nodes[0], "time", 99)),
        ("D2", lambda deadlines, nodes: setattr(nodes[2].list, "queued", False)),
        ("D3", lambda deadlines, nodes: setattr(nodes[2], "time", 1)),
        ("D3", lambda deadlines, nodes: setattr(deadlines, "soonest", 11)),
        ("L3", lambda deadlines, nodes: setattr(nodes[0], "list", None)),
    ],
)
def test_the_invariants_see_damage(label: str, damage: Any) -> None:
    deadlines = Deadlines()
    nodes = [add(deadlines, 0, 10, 0), add(deadlines, 1, 10, 1), add(deadlines, 2, 20, 0)]
    damage(deadlines, nodes)
    with pytest.raises(AssertionError, match=f"^{label}$"):
        deadlines.check_invariants()
