"""The machine on the server, driven through every step of the specification.

Not along walks, as the machine in memory: a step costs the way to the server and back. Each state
of a model is reached once, and from there each of its steps is taken on a copy: the server copies
its keys, and whoever drives it is forked.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterator
from functools import cache, partial
from typing import Any, Final

from leasedkeyq._records import Grant, Waiter, lead_to
from leasedkeyq.lease import Lease
from tests.conformance.graph import REFUSED, Graph, Step
from tests.conformance.player import MachineEngine, Player
from tests.conformance.replay import Count, DiffersError, carry_out, explained
from tests.engine.machine import RedisMachine


class RedisEngine(MachineEngine):
    """`RedisMachine`. Whoever drives it empties its outbox."""

    make: Any = RedisMachine
    strangers: Any = None

    def stranger(self) -> Any:
        """One for all: to make it takes several calls."""
        if type(self).strangers is None:
            type(self).strangers = super().stranger()
        return self.strangers

    def leave(self) -> None:
        self.it._leave()


def forked(player: Player) -> Player:
    """The player and all that it drives, to go on by themselves; the server is not asked yet."""
    twin: Player = alike(player)
    machine = player.it
    calls: dict[int, Waiter] = {id(waiter): copied(waiter) for waiter in player.calls.values()}
    calls |= {id(w): copied(w) for w in machine._waiters.values() if id(w) not in calls}
    grants: dict[int, Grant] = {}

    def grant_of(grant: Grant) -> Grant:
        if grant.issuer is not machine._issuer:
            return grant  # a stranger's
        twin = grants.get(id(grant))
        if twin is None:
            twin = grants[id(grant)] = copied(grant)
        return twin

    def lease_of(lease: Any) -> Any:
        other: Lease[Any] = Lease.__new__(Lease)
        lead_to(other, grant_of(lease._grant))
        return other

    twin.values, twin.newest, twin.names = [*player.values], {**player.newest}, {**player.names}
    twin.asked = {**player.asked}
    twin.calls = {name: calls[id(waiter)] for name, waiter in player.calls.items()}
    twin.leases = {name: lease_of(lease) for name, lease in player.leases.items()}
    twin.engine = alike(player.engine)
    twin.engine.woken = {*player.engine.woken}  # type: ignore[attr-defined]
    twin.it = twin.engine.it = machine._forked(calls, grant_of)
    return twin


WIDTH: Final = 200  # players side by side


@cache
def slots_of(kind: Any) -> list[str]:
    slots = [slot for base in kind.__mro__ for slot in getattr(base, "__slots__", ())]
    return [slot for slot in slots if slot != "__weakref__"]


def copied(record: Any) -> Any:
    """A record of slots."""
    kind: Any = type(record)
    twin = kind.__new__(kind)
    for slot in slots_of(kind):
        if hasattr(record, slot):
            setattr(twin, slot, getattr(record, slot))
    return twin


def alike(thing: Any) -> Any:
    """Another object with the same attributes."""
    kind: Any = type(thing)
    twin = kind.__new__(kind)
    twin.__dict__.update(thing.__dict__)
    return twin


def replay(make: Any, graph: Graph, *, share: int = 1, explain: bool = True) -> Count:
    """Every step of a model; DiffersError where one goes wrong, with the way there if wanted.

    `share`: in each so manieth state the refused calls are made, and the invariants checked.
    """
    count = Count()
    wrongs: list[tuple[Step, str]] = []
    start = Player(make, graph)
    reached = deque([(graph.states[0], start)])
    turn = itertools.count()

    def take(player: Player, step: Step, left: list[Step], look: bool) -> None:
        twin = forked(player)
        try:
            wrong = carry_out(twin, step, new=True)
            if look:
                # Nobody goes on from most of the copies, so nothing else would show what is
                # amiss in there and not to be seen.
                twin.engine.check()
        except Exception as raised:  # noqa: BLE001 (whatever it is, it is wrong)
            wrong = repr(raised)
        if wrong:
            wrongs.append((step, wrong))
        elif step.label is REFUSED:
            count.refused += len(step.before.refused)
        else:
            count.transitions += 1
        if step is step.after.way and not wrong:
            twin.it._stand()
            reached.append((step.after, twin))
        else:
            twin.engine.leave()
        left.remove(step)
        if not left:
            player.engine.leave()

    def jobs() -> Iterator[Callable[[], None]]:
        while reached and not wrongs:
            state, player = reached.popleft()
            steps = state.steps
            look = next(turn) % share == 0
            if not look:
                steps = [step for step in steps if step.label is not REFUSED]
            left = [*steps]
            for step in steps:
                yield partial(take, player, step, left, look)

    while reached and not wrongs:  # there may be more after each time
        start.it._wire.side_by_side(jobs(), WIDTH)
    for step, wrong in wrongs[:1]:
        if not explain:
            raise DiffersError(wrong)
        way = explained(make, graph, [*step.before.path(), step], step)
        raise DiffersError(f"{graph.name}: {' '.join(step.label)} {wrong}\n{way}")
    return count
