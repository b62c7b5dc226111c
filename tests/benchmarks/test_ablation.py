"""What is left out of the core must be in it, and a core without it must still turn."""

import pytest

from benchmarks import ablation


@pytest.mark.parametrize("name", ablation.LEFT_OUT)
async def test_a_queue_without_it_puts_gets_and_acks(name: str) -> None:
    await ablation.awaited(ablation.variant(ablation.LEFT_OUT[name])())


def test_a_piece_that_is_not_in_the_source_is_refused() -> None:
    with pytest.raises(LookupError, match="no longer has"):
        ablation.variant([("_core", "no such piece", "")])


async def test_every_part_of_the_cycle_turns() -> None:
    for part in ablation.parts().values():
        await part()
