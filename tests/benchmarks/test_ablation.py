"""What a variant changes must be in the source, and a queue with the change must still turn."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks import ablation
from benchmarks.variants import LEFT_OUT, OTHERWISE, Cut, variant

UNTIMED: dict[str, Any] = {}
TIMED = {"default_lease_timeout": 60}


@pytest.mark.parametrize("options", [UNTIMED, TIMED], ids=["untimed", "timed"])
@pytest.mark.parametrize("cuts", [*LEFT_OUT.values(), *OTHERWISE.values()])
async def test_a_queue_with_the_change_puts_gets_and_acks(
    cuts: list[Cut], options: dict[str, Any]
) -> None:
    queue = variant(cuts)(**options)
    await ablation.awaited(queue)
    assert await queue.available_keys() == set()


async def test_another_design_keeps_the_order() -> None:
    for cuts in OTHERWISE.values():
        queue = variant(cuts)(**TIMED)
        for key in range(5):
            await queue.put(key, key)
        granted = [await queue.get() for _ in range(5)]
        assert [key for key, _, _ in granted] == [*range(5)]
        for _, _, lease in granted:
            await queue.ack(lease)


def test_a_piece_that_is_not_in_the_source_is_refused() -> None:
    with pytest.raises(LookupError, match="no longer has"):
        variant([("_core", "no such piece", "")])


async def test_every_part_of_the_cycle_turns() -> None:
    for part in ablation.parts().values():
        await part()
