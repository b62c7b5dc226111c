"""Deadlines by lanes, against a plain sorted list."""

import math
import random
from typing import Any

import pytest

from tests.subject import module

Deadlines: Any = module("_deadlines").Deadlines
Timed: Any = module("_deadlines").Timed
IDLE_LANES: int = module("_deadlines")._IDLE_LANES


class Named(Timed):  # type: ignore[misc]
    def __init__(self, number: int) -> None:
        super().__init__()
        self._number = number


def add(deadlines: Any, number: int, duration: float, now: float) -> Any:
    node = Named(number)
    deadlines.add(node, duration, now)
    deadlines.check_invariants()
    return node


def due(deadlines: Any, now: float) -> list[int]:
    found = [node._number for node in deadlines.due(now)]
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
    node = add(deadlines, 1, 10, 5)
    assert (node._deadline, deadlines.soonest) == (15, 15)
    assert due(deadlines, math.nextafter(15, 0)) == []
    assert due(deadlines, 15) == [1]
    assert due(deadlines, 15) == []
    assert deadlines.soonest == math.inf


@pytest.mark.req("EXP-2")
def test_deadlines_fall_due_by_time_and_then_by_number() -> None:
    deadlines = Deadlines()
    for number, duration, now in ((4, 5, 0), (2, 4, 1), (3, 3, 2), (1, 1, 5), (0, 9, 5)):
        add(deadlines, number, duration, now)
    assert due(deadlines, 100) == [2, 3, 4, 1, 0]


def test_a_removed_deadline_does_not_fall_due() -> None:
    deadlines = Deadlines()
    nodes = [add(deadlines, number, 10, number) for number in range(5)]
    for number in (2, 0, 4):
        deadlines.remove(nodes[number])
        deadlines.check_invariants()
    assert due(deadlines, 100) == [1, 3]


def test_remove_says_when_the_last_deadline_of_the_only_duration_is_gone() -> None:
    deadlines = Deadlines()
    first, second = add(deadlines, 1, 10, 0), add(deadlines, 2, 10, 1)
    assert not deadlines.remove(first)
    assert deadlines.remove(second)
    third, _ = add(deadlines, 3, 10, 2), add(deadlines, 4, 20, 2)
    assert not deadlines.remove(third)
    assert due(deadlines, 22) == [4]


def test_a_node_has_one_deadline_at_most() -> None:
    deadlines = Deadlines()
    node = add(deadlines, 1, 10, 0)
    with pytest.raises(RuntimeError, match="linked already"):
        deadlines.add(node, 5, 0)
    deadlines.remove(node)
    with pytest.raises(RuntimeError, match="no deadline"):
        deadlines.remove(node)
    deadlines.check_invariants()


def test_next_is_exact_after_the_first_of_a_lane_has_left() -> None:
    deadlines = Deadlines()
    first, _ = add(deadlines, 1, 10, 0), add(deadlines, 2, 10, 3)
    deadlines.remove(first)
    assert deadlines.soonest == 10  # too early, but never too late
    assert deadlines.next() == deadlines.soonest == 13
    add(deadlines, 3, 20, 3)
    assert due(deadlines, 13) == [2]
    assert deadlines.next() == 23


def test_an_emptied_lane_that_is_still_in_the_heap_serves_again() -> None:
    deadlines = Deadlines()
    deadlines.remove(add(deadlines, 1, 10, 0))
    add(deadlines, 2, 10, 5)
    assert deadlines.next() == 15
    assert due(deadlines, 15) == [2]


def test_a_clock_that_steps_back_breaks_no_order() -> None:
    deadlines = Deadlines()
    add(deadlines, 1, 10, 100)
    late = add(deadlines, 2, 10, 50)
    assert late._deadline == 110
    assert due(deadlines, 109) == []
    assert due(deadlines, 110) == [1, 2]


@pytest.mark.req("COST-2", "COST-4")
def test_idle_lanes_do_not_add_up() -> None:
    deadlines = Deadlines()
    kept = [add(deadlines, number, 1000 + number, 0) for number in range(100)]
    for number in range(2000):
        node = Named(number)
        deadlines.add(node, 0.5 + number, 0)
        deadlines.remove(node)
    deadlines.check_invariants()
    assert len(deadlines._lanes) <= 2 * (100 + IDLE_LANES)
    assert len(deadlines._heap) <= len(deadlines._lanes)
    assert due(deadlines, 5000) == list(range(100))
    for number in range(500):
        assert due(deadlines, add(deadlines, number, 1 + number, 0)._deadline) == [number]
    assert len(deadlines._lanes) <= 2 * (100 + IDLE_LANES)
    assert kept[0]._list is None


def test_clear_drops_every_deadline() -> None:
    deadlines = Deadlines()
    nodes = [add(deadlines, number, 1 + number % 3, 0) for number in range(9)]
    deadlines.clear()
    deadlines.check_invariants()
    assert all(node._list is None for node in nodes)
    assert (deadlines.soonest, list(deadlines)) == (math.inf, [])
    add(deadlines, 1, 2, 3)
    assert due(deadlines, 5) == [1]


@pytest.mark.req("EXP-2", "EXP-4")
@pytest.mark.parametrize("hundred", range(2))
def test_random_use_does_what_a_sorted_list_does(hundred: int) -> None:
    for seed in range(100 * hundred, 100 * hundred + 100):
        try:
            use_at_random(seed)
        except BaseException as failure:
            failure.add_note(f"replay: use_at_random({seed})")
            raise


def use_at_random(seed: int) -> None:
    choose = random.Random(seed)
    deadlines, plain, now = Deadlines(), dict[int, Any](), 0.0
    for number in range(120):
        now += choose.choice([0, 0, 0.5, 1, 7])
        match choose.choice(["add", "add", "add", "remove", "due", "next"]):
            case "add":
                duration = choose.choice([1, 2, 3, 5, 8, number + 0.25])
                plain[number] = add(deadlines, number, duration, now)
                assert plain[number]._deadline == now + duration
            case "remove" if plain:
                last = deadlines.remove(plain.pop(choose.choice([*plain])))
                assert not (last and plain)
            case "due":
                ordered = sorted(plain, key=lambda number: (plain[number]._deadline, number))
                expected = [number for number in ordered if plain[number]._deadline <= now]
                assert due(deadlines, now) == expected
                for found in expected:
                    del plain[found]
            case "next":
                soonest = min((node._deadline for node in plain.values()), default=math.inf)
                assert deadlines.soonest <= soonest
                assert deadlines.next() == soonest
        deadlines.check_invariants()
        assert {node._number for node in deadlines} == plain.keys()


def test_two_that_are_due_come_in_the_order_of_their_deadlines() -> None:
    """Even when the heap has not heard yet that the first of a lane is gone."""
    deadlines = Deadlines()
    gone = add(deadlines, 0, 1, 0)
    add(deadlines, 1, 1, 4)
    add(deadlines, 2, 0.5, 4)
    deadlines.remove(gone)
    assert due(deadlines, 10) == [2, 1]


def test_as_many_idle_lanes_are_kept_as_there_may_be_and_no_more() -> None:
    deadlines = Deadlines()
    kept = []
    for duration in range(1, 100):
        deadlines.remove(add(deadlines, duration, duration, 0))
        kept.append(len(deadlines._lanes))
    assert kept == [1 + number % IDLE_LANES for number in range(99)]


def out_of_order(deadlines: Any, nodes: list[Any]) -> None:
    deadlines._heap.reverse()
    deadlines.soonest = deadlines._heap[0][0]


@pytest.mark.parametrize(
    ("label", "damage"),
    [
        ("D1", lambda deadlines, nodes: setattr(nodes[0], "_deadline", 99)),
        ("D2", lambda deadlines, nodes: deadlines._heap.append(deadlines._heap[0])),
        ("D2", lambda deadlines, nodes: deadlines._heap.pop()),
        ("D2", lambda deadlines, nodes: setattr(nodes[2]._list, "queued", False)),
        ("D2", lambda deadlines, nodes: setattr(nodes[2], "_deadline", 1)),
        ("D3", lambda deadlines, nodes: setattr(deadlines, "soonest", 1)),
        ("D3", lambda deadlines, nodes: deadlines._heap.reverse()),
        ("D3", out_of_order),
        ("L3", lambda deadlines, nodes: setattr(nodes[0], "_list", None)),
    ],
)
def test_the_invariants_see_every_damage(label: str, damage: Any) -> None:
    deadlines = Deadlines()
    nodes = [add(deadlines, 0, 10, 0), add(deadlines, 1, 10, 1), add(deadlines, 2, 20, 0)]
    damage(deadlines, nodes)
    with pytest.raises(AssertionError, match=f"^{label}$"):
        deadlines.check_invariants()


def test_the_invariants_see_a_lane_with_deadlines_that_left_the_heap() -> None:
    deadlines = Deadlines()
    node = add(deadlines, 0, 10, 0)
    deadlines._heap.clear()
    node._list.queued = False
    deadlines.soonest = math.inf
    with pytest.raises(AssertionError, match=r"^D2$"):
        deadlines.check_invariants()
