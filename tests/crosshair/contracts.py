"""Contracts that CrossHair confirms over all paths, of short runs of the machine.

Arguments are small numbers, so that there are finitely many paths, and each is looked at. A driver
of the machine makes the same steps on the model.
"""

from __future__ import annotations

from math import inf
from typing import Any

from tests.model.model import Model
from tests.subject import module

Machine = module("_machine").Machine


def first_in_first_out(one: int, two: int, three: int) -> bool:
    """
    pre: 0 <= one <= 1 and 0 <= two <= 1 and 0 <= three <= 1
    post: __return__
    """
    machine = Machine()
    for key in (one, two, three):
        machine.put("ab"[key], key, None, 0, None, 0.0)
    order = list(dict.fromkeys("ab"[key] for key in (one, two, three)))
    return [machine.get(0, None, 0.0)[0] for _ in order] == order


def a_lease_ends_at_its_deadline(duration: int, time: int) -> bool:
    """
    pre: 1 <= duration <= 3 and 0 <= time <= 4
    post: __return__
    """
    machine = Machine()
    machine.put("a", 1, None, 0, None, 0.0)
    machine.get(None, _one_of(DURATIONS, duration), 0.0)
    ended = bool(machine.inflight_size(_one_of(TIMES, time)) == 0)
    return ended == (time >= duration)


def the_earliest_time_wins(first: int, second: int, time: int) -> bool:
    """
    pre: 0 <= first <= 3 and 0 <= second <= 3 and 0 <= time <= 4
    post: __return__
    """
    machine = Machine()
    machine.put("a", 1, None, _one_of(TIMES, first), None, 0.0)
    machine.put("a", 2, None, _one_of(TIMES, second), None, 0.0)
    available = bool(machine.qsize(_one_of(TIMES, time)) == 1)
    return available == (time >= first or time >= second)


TIMES = (0.0, 1.0, 2.0, 3.0, 4.0)
DURATIONS = (inf, 1.0, 2.0, 3.0)
POLICIES = ("update", "reject", "buffer", "defer")


def _one_of(values: tuple[Any, ...], index: int) -> Any:
    """A plain value for a symbolic index: the paths divide here, and not in the queue."""
    return next(value for number, value in enumerate(values) if number == index)


def run(queue: Any, *steps: int) -> list[object]:
    """Steps after a put and a get: what comes of each, and what is there in the end."""
    queue.put("a", 1, None, 0, None, 0.0)
    lease = queue.get(None, 2.0, 0.0)[2]
    shown: list[object] = []
    for value, step in enumerate(steps, 2):
        now = TIMES[value - 2]
        try:
            if step < 4:
                queue.put("a", value, _one_of(POLICIES, step), 0, None, now)
            elif step == 4:
                queue.ack(lease, now)
            elif step == 5:
                queue.release(lease, True, 0, now)
            elif step == 6:
                shown.append(queue.get(0, None, now)[:2])
            elif step == 7:
                queue.extend(lease, 1.0, now)
            elif step == 8:
                queue.put("a", value, "defer", 2, None, now)
            else:
                queue.release(lease, False, 2, now)
        except Exception as error:  # noqa: BLE001 (it is compared)
            shown.append(type(error).__name__)
        state = queue.qsize(now), queue.delayed_size(now), queue.inflight_size(now)
        shown.append((state, queue.peek("a", now)))
    return shown


def run_machine(first: int, second: int, third: int) -> list[object]:
    """
    pre: 0 <= first <= 9 and 0 <= second <= 9 and 0 <= third <= 9
    """
    return run(Machine(), first, second, third)


def run_model(first: int, second: int, third: int) -> list[object]:
    """
    pre: 0 <= first <= 9 and 0 <= second <= 9 and 0 <= third <= 9
    """
    return run(Model(), first, second, third)


class BrokenModel(Model):
    """A model that lets a deferred value go when the lease is acknowledged."""

    def ack(self, lease: Any, now: float) -> None:
        self.deferred.clear()
        super().ack(lease, now)


def run_broken_model(first: int, second: int, third: int) -> list[object]:
    """
    pre: 0 <= first <= 9 and 0 <= second <= 9 and 0 <= third <= 9
    """
    return run(BrokenModel(), first, second, third)


def the_machine_is_as_the_model(first: int, second: int) -> bool:
    """
    pre: 0 <= first <= 9 and 0 <= second <= 9
    post: __return__
    """
    return run(Machine(), first, second, 6) == run(Model(), first, second, 6)
