"""The heartbeat keeps the lease of long work, and stops work that is lost or out of date."""

import asyncio
import random
import runpy
from collections.abc import Coroutine
from typing import Any

import pytest

from examples import heartbeat
from tests import virtual


def test_late_worker_stops_and_the_other_finishes(capsys: pytest.CaptureFixture[str]) -> None:
    virtual.run(heartbeat.main())
    assert capsys.readouterr().out.splitlines() == [
        "sleepy: begins the first cut",
        "lively: begins the first cut",
        "sleepy: lost the first cut, stops",
        "lively: the first cut is out of date, stops",
        "sleepy: begins the final cut",
        "lively: begins the final cut",
        "sleepy: lost the final cut, stops",
        "lively: done with the final cut",
        "all done: True",
    ]


def test_ctrl_c_ends_it_without_a_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(main: Coroutine[Any, Any, None]) -> None:
        main.close()
        raise KeyboardInterrupt

    monkeypatch.setattr(asyncio, "run", interrupted)
    runpy.run_path(heartbeat.__file__, run_name="__main__")


def test_error_in_the_work_passes_through_and_stops_the_heartbeat() -> None:
    async def main() -> None:
        queue = heartbeat.Films(default_lease_timeout=3)
        await queue.put("film", "film.mov")
        _, _, lease = await queue.get()
        with pytest.RaisesGroup(pytest.RaisesExc(ValueError, match="broken film")):
            async with heartbeat.heartbeat(queue, lease):
                await asyncio.sleep(10)
                raise ValueError("broken film")
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert await queue.inflight_keys() == {"film"}
        await asyncio.sleep(3)
        assert await queue.available_keys() == {"film"}

    virtual.run(main())


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("closes", [False, True])
def test_the_newest_value_is_worked_on_to_the_end_whatever_the_schedule(
    monkeypatch: pytest.MonkeyPatch, late: bool, closes: bool
) -> None:
    """Values come at random, workers are late, the loop is held up, and the queue is closed."""

    async def schedule(seed: int) -> None:
        rng = random.Random(seed)
        at_work, done, newest = dict[str, str](), list[str](), dict[str, str]()

        def say(line: str) -> None:
            name, said = line.split(": ", 1)
            if said.startswith("begins the "):
                film = said.removeprefix("begins the ")
                assert late or film[0] not in {other[0] for other in at_work.values()}
                at_work[name] = film
            else:
                film = at_work.pop(name)
                assert film in said
                if said.startswith("done with"):
                    done.append(film)
                elif said.endswith("out of date, stops"):
                    assert newest[film[0]] != film

        monkeypatch.setattr(heartbeat, "print", say, raising=False)
        queue = heartbeat.Films(default_lease_timeout=heartbeat.LEASE, if_in_flight="defer")
        beats = [1 / 3, 0.9, 2 if late else 0.5]
        workers = [
            asyncio.create_task(heartbeat.transcode(queue, f"worker {number}", beat))
            for number, beat in enumerate(beats)
        ]
        for number in range(10):
            key = rng.choice("ab")
            newest[key] = f"{key}{number}"
            await queue.put(key, newest[key])
            await asyncio.sleep(rng.choice([0, 0.1, 1, 3]))
            if late and rng.random() < 0.3:
                virtual.jump(rng.choice([0.1, 0.5]))
        if closes:
            await queue.close()
            await asyncio.wait(workers, timeout=2 * heartbeat.LEASE)
        else:
            assert await queue.drain()
            assert {film[0]: film for film in done} == newest
        await asyncio.gather(*workers)
        assert at_work == {}
        assert len(done) == len(set(done)), "done twice"

    for seed in range(50):
        virtual.run(schedule(seed))
