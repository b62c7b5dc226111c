"""What a variant changes must be in the source, and a queue with the change must still turn."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks import ablation
from benchmarks.speed import KEYS, leased_cycle
from benchmarks.variants import LEFT_OUT, OTHERWISE, Cut, variant
from leasedkeyq._linkedlist import LinkedList

UNTIMED: dict[str, Any] = {}
TIMED = {"default_lease_timeout": 60}


@pytest.mark.parametrize("options", [UNTIMED, TIMED], ids=["untimed", "timed"])
@pytest.mark.parametrize("cuts", [*LEFT_OUT.values(), *OTHERWISE.values()])
async def test_a_queue_with_the_change_puts_gets_and_acks(
    cuts: list[Cut], options: dict[str, Any]
) -> None:
    queue = variant(cuts)(**options)
    await leased_cycle(queue).run()
    assert await queue.available_keys() == set()


@pytest.mark.parametrize("options", [UNTIMED, TIMED], ids=["untimed", "timed"])
@pytest.mark.parametrize("cuts", OTHERWISE.values(), ids=OTHERWISE)
async def test_another_design_keeps_its_lists(cuts: list[Cut], options: dict[str, Any]) -> None:
    queue = variant(cuts)(**options)
    core: Any = queue._core
    live = core._live if hasattr(core, "_live") else LinkedList()
    for key in KEYS[:5]:
        await queue.put(key, key)
    leases = [(await queue.get())[2] for _ in KEYS[:5]]
    assert [lease.key for lease in leases] == [*KEYS[:5]]
    assert core.due == (core._deadlines.soonest if options else None)
    kept = leases if options or hasattr(core, "_live") else []
    for lease in [leases[place] for place in (1, 3, 0, 4, 2)]:
        live.check_invariants()
        core._deadlines.check_invariants()
        assert [*live, *core._deadlines] == kept
        await queue.ack(lease)
        kept = [other for other in kept if other is not lease]
    live.check_invariants()
    core._deadlines.check_invariants()
    assert [*live, *core._deadlines] == []
    assert core.due is None


def test_a_piece_that_is_not_in_the_source_is_refused() -> None:
    with pytest.raises(LookupError, match="no longer has"):
        variant([("_core", "no such piece", "")])


async def test_every_part_of_the_cycle_turns() -> None:
    for part in ablation.parts().values():
        await part.run()
