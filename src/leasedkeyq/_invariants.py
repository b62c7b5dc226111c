"""I1 to I11 of `_core.py` as assertions, and the state in words. For tests.

Apart from the core, so that the core can be read in one sitting; it is the only
other file that looks into it.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Any, cast

from ._call import Call, Outcome
from ._key import NOTHING, Crowd, Item, KeyState
from .lease import Lease

if TYPE_CHECKING:
    from ._core import Core


def check_invariants(core: Core[Any, Any]) -> None:
    """Assert I1 to I11, and show the state when one fails. O(n)."""
    try:
        _check_structure(core)
        line, live = _check_keys(core)
        _check_calls(core, line)
        _check_time(core)
        assert core._surplus == line + live - len(core._keys), "I10"
    except AssertionError as error:
        raise AssertionError(f"{error}\n{dump(core)}") from error


def dump(core: Core[Any, Any]) -> str:
    """The state in words, one key a line."""
    lines = [
        f"closed={core._closed} due={core.due} alarm={core.alarm}",
        f"returned={[copy._key for copy in core._returned]}",
        f"arrived={[copy._key for copy in core._arrived]}",
        f"getters={[call.ticket for call in core._getters]}",
    ]
    for anchor in core._keys.values():
        item = _item(anchor)
        waiting = item.deferred if item.available is None else item.available._value
        leases = [(lease._number, lease._standing, lease._value) for lease in _leases(item)]
        takers = [call.ticket for call in item.takers or ()]
        lines.append(
            f"{item.key!r}: {item.state().name} {waiting=} {leases=} {takers=}"
            f" plain={anchor._item is None}"
        )
    return "\n".join(lines)


def _item(anchor: Lease[Any]) -> Item[Any, Any]:
    """The item of an anchor, without making one for a plain key to keep."""
    if anchor._item is not None:
        return cast("Item[Any, Any]", anchor._item)
    item: Item[Any, Any] = Item(anchor._key)
    if anchor._standing is None:
        item.available = anchor
    else:
        item.leases = anchor
    return item


def _leases(item: Item[Any, Any]) -> list[Lease[Any]]:
    """The live leases of an item."""
    if isinstance(item.leases, Crowd):
        return [rank.lease for rank in item.leases.ranks if rank.lease is not None]
    return [] if item.leases is None else [item.leases]


def _check_structure(core: Core[Any, Any]) -> None:
    core._returned.check_invariants()
    core._arrived.check_invariants()
    core._getters.check_invariants()
    core._deadlines.check_invariants()
    core._waits.check_invariants()
    if core._closed:
        assert core.due == -inf, "I9"
        assert not core._leases, "I9"
        assert not core._calls, "I9"
        assert not [*core._deadlines, *core._waits], "I9"


def _check_keys(core: Core[Any, Any]) -> tuple[int, int]:
    """I1 to I5; returns how many copies are available and how many are live."""
    available = live = 0
    for anchor in core._keys.values():
        item = _item(anchor)
        state, leases = item.state(), _leases(item)
        assert not item.forgotten, "I1"
        waiting = (item.available is not None) + (item.deferred is not NOTHING)
        assert waiting == (state not in (KeyState.ABSENT, KeyState.LEASED)), "I1"
        copies = list(leases)
        if item.available is not None:
            available += 1
            copies.append(item.available)
            assert item.available._list in (core._returned, core._arrived), "I2"
            assert item.available._standing is None, "I2"
        for copy in copies:
            assert copy._item is anchor._item, "I3"
            assert copy._key is item.key, "I3"
        for lease in leases:
            live += 1
            assert core._leases.get(lease._number) is lease, "I3"
            assert lease._standing is core._leased or isinstance(lease._standing, Call), "I3"
        if anchor._item is not None:
            versions = [copy._version for copy in copies]
            assert len(set(versions)) == len(versions), "I4"
            if item.deferred is not NOTHING:
                assert all(version < item.version for version in versions), "I4"
        _check_crowd(item)
    assert available == sum(1 for _ in core._returned) + sum(1 for _ in core._arrived), "I2"
    assert live == len(core._leases), "I3"
    assert list(core._leases) == sorted(core._leases), "I3"
    return available, live


def _check_crowd(item: Item[Any, Any]) -> None:
    crowd = item.leases
    if not isinstance(crowd, Crowd):
        return
    crowd.ranks.check_invariants()
    assert len(crowd.rank_of) > 1, "I5"
    assert (crowd.mark is not None) == (item.available is not None), "I5"
    copies = [item.available if rank is crowd.mark else rank.lease for rank in crowd.ranks]
    assert len(copies) == len(crowd.rank_of) + (crowd.mark is not None), "I5"
    versions = [cast("Lease[Any]", copy)._version for copy in copies]
    assert versions == sorted(versions), "I5"
    for number, rank in crowd.rank_of.items():
        assert rank.lease is not None, "I5"
        assert rank.lease._number == number, "I5"


def _check_calls(core: Core[Any, Any], available: int) -> None:
    """I6 and I7. A call that is cancelled may stay until it is met or cleared away."""
    lists = [core._getters]
    for anchor in core._keys.values():
        item = anchor._item
        if item is not None and item.takers is not None:
            item.takers.check_invariants()
            assert item.takers.first is not None, "I7"
            for call in item.takers:
                assert call.item is item, "I7"
                assert item.available is None or call.caller.cancelled(), "I6"
            lists.append(item.takers)
    for call in core._getters:
        assert not available or call.caller.cancelled(), "I6"
    for calls in lists:
        tickets = [call.ticket for call in calls]
        assert tickets == sorted(tickets), "I7"
    waiting = {call.ticket: call for calls in lists for call in calls}
    assert waiting == core._calls, "I7"
    assert all(call.outcome is Outcome.WAITING for call in waiting.values()), "I7"
    for lease in core._leases.values():
        if isinstance(lease._standing, Call):
            assert lease._standing.outcome is Outcome.RESERVED, "I7"
            assert lease._standing.lease is lease, "I7"
    alarms = {id(call.alarm) for call in waiting.values() if call.alarm is not None}
    assert alarms == {id(alarm) for alarm in core._waits}, "I7"


def _check_time(core: Core[Any, Any]) -> None:
    """I8 and I11."""
    timed = [*core._deadlines]
    linked = [lease for lease in core._leases.values() if lease._list is not None]
    assert {id(lease) for lease in timed} == {id(lease) for lease in linked}, "I8"
    assert all(lease._standing is core._leased for lease in timed), "I8"
    first = min((lease._deadline for lease in timed), default=inf)
    assert first == inf if core.due is None else core.due <= first, "I8"
    soonest = min((alarm._deadline for alarm in core._waits), default=inf)
    soonest = min(soonest, first) if core._calls else inf
    assert core.alarm <= soonest, "I11"
    assert (core.alarm == inf) == (soonest == inf), "I11"
