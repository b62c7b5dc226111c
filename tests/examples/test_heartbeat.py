"""The heartbeat keeps the lease of long work, and stops work whose lease is lost."""

import asyncio

import pytest

from examples import heartbeat
from tests import virtual


def test_late_worker_stops_and_the_other_finishes(capsys: pytest.CaptureFixture[str]) -> None:
    virtual.run(heartbeat.main())
    assert capsys.readouterr().out.splitlines() == [
        "sleepy: begins holiday",
        "lively: begins holiday",
        "sleepy: lost holiday, stops",
        "lively: done with holiday",
        "0 left to do",
    ]


def test_error_in_the_work_passes_through_and_stops_the_heartbeat() -> None:
    async def main() -> None:
        queue = heartbeat.Films(default_lease_timeout=3)
        await queue.put("film", "film.mov")
        _, _, lease = await queue.get()
        with pytest.RaisesGroup(pytest.RaisesExc(ValueError, match="broken film")):
            async with heartbeat.heartbeat(queue, lease, every=1):
                await asyncio.sleep(10)
                raise ValueError("broken film")
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert await queue.inflight_keys() == {"film"}
        await asyncio.sleep(3)
        assert await queue.available_keys() == {"film"}

    virtual.run(main())
