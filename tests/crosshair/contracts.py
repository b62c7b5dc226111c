"""Contracts that CrossHair confirms over all paths: of the list, and of short runs of the core.

Arguments are small numbers, so that there are finitely many paths, and each is
looked at. A driver of the core makes the same steps on the model.
"""

from __future__ import annotations

from math import inf
from typing import Any

from tests.model.model import Model
from tests.subject import module

LinkedList = module("_linkedlist").LinkedList
Node = module("_linkedlist").Node
Core = module("_core").Core


def linked(size: int) -> tuple[Any, list[Any]]:
    """A list of so many nodes."""
    nodes = [Node() for _ in range(size)]
    whole = LinkedList()
    for node in nodes:
        whole.link_last(node)
    return whole, nodes


def unlink_takes_out_one(size: int, index: int) -> bool:
    """
    pre: 0 <= index < size <= 4
    post: __return__
    """
    whole, nodes = linked(size)
    whole.unlink(nodes[index])
    whole.check_invariants()
    return list(whole) == nodes[:index] + nodes[index + 1 :] and nodes[index]._list is None


def link_first_comes_first(size: int) -> bool:
    """
    pre: 0 <= size <= 4
    post: __return__
    """
    whole, nodes = linked(size)
    node = Node()
    whole.link_first(node)
    whole.check_invariants()
    return list(whole) == [node, *nodes]


def move_last_moves_one(size: int, index: int) -> bool:
    """
    pre: 0 <= index < size <= 4
    post: __return__
    """
    whole, nodes = linked(size)
    whole.move_last(nodes[index])
    whole.check_invariants()
    return list(whole) == nodes[:index] + nodes[index + 1 :] + [nodes[index]]


def double_links_are_refused(size: int, index: int, first: bool) -> bool:
    """
    pre: 0 <= index < size <= 3
    post: __return__
    """
    whole, nodes = linked(size)
    try:
        (whole.link_first if first else whole.link_last)(nodes[index])
    except RuntimeError:
        return list(whole) == nodes
    return False


def clear_unlinks_all(size: int) -> bool:
    """
    pre: 0 <= size <= 4
    post: __return__
    """
    whole, nodes = linked(size)
    whole.clear()
    whole.check_invariants()
    return list(whole) == [] and all(node._list is None for node in nodes)


def first_in_first_out(one: int, two: int, three: int) -> bool:
    """
    pre: 0 <= one <= 1 and 0 <= two <= 1 and 0 <= three <= 1
    post: __return__
    """
    core = Core()
    for key in (one, two, three):
        core.put("ab"[key], key, "update", 0.0)
    order = list(dict.fromkeys("ab"[key] for key in (one, two, three)))
    return [core.get(0, None, 0.0)[0] for _ in order] == order


def a_lease_ends_at_its_deadline(duration: int, time: int) -> bool:
    """
    pre: 1 <= duration <= 3 and 0 <= time <= 4
    post: __return__
    """
    core = Core()
    core.put("a", 1, "update", 0.0)
    core.get(None, _one_of(DURATIONS, duration), 0.0)
    ended = bool(core.inflight_size(_one_of(TIMES, time)) == 0)
    return ended == (time >= duration)


TIMES = (0.0, 1.0, 2.0, 3.0, 4.0)
DURATIONS = (inf, 1.0, 2.0, 3.0)
POLICIES = ("update", "reject", "buffer", "defer")


def _one_of(values: tuple[Any, ...], index: int) -> Any:
    """A plain value for a symbolic index: the paths divide here, and not in the queue."""
    return next(value for number, value in enumerate(values) if number == index)


def run(queue: Any, first: int, second: int, third: int) -> list[object]:
    """Three steps, after a put and a get: what comes of each, and what is there in the end."""
    queue.put("a", 1, "update", 0.0)
    lease = queue.get(None, 2.0, 0.0)[2]
    shown: list[object] = []
    for value, step in enumerate((first, second, third), 2):
        now = TIMES[value - 2]
        try:
            if step < 4:
                queue.put("a", value, _one_of(POLICIES, step), now)
            elif step == 4:
                queue.ack(lease, now)
            elif step == 5:
                queue.release(lease, True, now)
            elif step == 6:
                shown.append(queue.get(0, None, now)[:2])
            else:
                queue.extend(lease, 1.0, now)
        except Exception as error:  # noqa: BLE001 (it is compared)
            shown.append(type(error).__name__)
        shown.append((queue.qsize(now), queue.inflight_size(now), queue.peek("a", now)))
    return shown


def run_core(first: int, second: int, third: int) -> list[object]:
    """
    pre: 0 <= first <= 7 and 0 <= second <= 7 and 0 <= third <= 7
    """
    return run(Core(), first, second, third)


def run_model(first: int, second: int, third: int) -> list[object]:
    """
    pre: 0 <= first <= 7 and 0 <= second <= 7 and 0 <= third <= 7
    """
    return run(Model(), first, second, third)


class BrokenModel(Model):
    """A model that lets a deferred value go when the lease is acknowledged."""

    def ack(self, lease: Any, now: float) -> None:
        self.deferred.clear()
        super().ack(lease, now)


def run_broken_model(first: int, second: int, third: int) -> list[object]:
    """
    pre: 0 <= first <= 7 and 0 <= second <= 7 and 0 <= third <= 7
    """
    return run(BrokenModel(), first, second, third)


def the_core_is_as_the_model(first: int, second: int) -> bool:
    """
    pre: 0 <= first <= 7 and 0 <= second <= 7
    post: __return__
    """
    return run(Core(), first, second, 6) == run(Model(), first, second, 6)
