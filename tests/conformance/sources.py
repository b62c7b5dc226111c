"""Where recorded runs come from: the machine at random, the queue under load, an example."""

from __future__ import annotations

import asyncio
import random
from importlib.util import module_from_spec, spec_from_file_location
from math import inf
from pathlib import Path
from typing import Any

from rich.progress import Progress

from tests.conformance.traces import Recorder
from tests.subject import InFlightPolicy, LeasedKeyQError, LeasedKeyQueue, module
from tests.virtual import run as run_in_virtual_time
from tests.virtual import running

EXAMPLE = Path(__file__).parents[2] / "examples" / "index_tree.py"
FINE = 1e-5  # seconds: the unit for runs in real time
POLICIES: tuple[InFlightPolicy, ...] = ("update", "reject", "buffer", "defer")


class Gone:
    """The caller of a call that was cancelled, and has not come to yet."""

    def cancelled(self) -> bool:
        return True


def of_the_machine(seed: int, events: int = 60) -> Recorder:
    """Every kind of call, with every kind of argument."""
    rng = random.Random(seed)
    maxsize = rng.choice((0, 0, 1, 2, 3))
    machine: Any = module("_machine").Machine(None, maxsize)
    recorder = Recorder(machine, maxsize)
    now = 0.0
    calls: list[Any] = []
    leases: list[Any] = []
    gone: list[Any] = []

    def begun(outcome: Any) -> None:
        if type(outcome) is tuple:
            leases.append(outcome[2])
        elif outcome is not None and not isinstance(outcome, bool):
            calls.append(outcome)

    while len(recorder.events) < events:
        now += rng.choice((0, 0, 0, 0, 0, 1, 1, 2))
        key, wait, delay = rng.choice("abc"), rng.choice((inf, 0, 1, 3)), rng.choice((0, 0, 1, 4))
        lease = rng.choice(leases[-4:]) if leases else None
        try:
            match rng.choice("ppppggtrrrrccchhhoaaallxfdjk" + "qsz" * (len(recorder.events) > 45)):
                case "p":
                    begun(machine.put(key, object(), rng.choice(POLICIES), delay, wait, now))
                case "g":
                    begun(machine.get(wait, rng.choice((None, 1, 2, 4)), now))
                case "t":
                    begun(machine.take(key, wait, rng.choice((None, 1, 2, 4)), now))
                case "r" if over := [c for c in calls if c.outcome.name != "WAITING"]:
                    calls.remove(call := rng.choice(over))
                    begun(machine.resume(call, now))
                case "c" if calls:
                    gone.append(calls.pop(rng.randrange(len(calls))))
                    gone[-1].caller = Gone()
                case "h" if gone:  # it comes to
                    machine.cancel(gone.pop(), now)
                case "o":
                    machine.time_out(now)
                case "a" if lease:
                    machine.ack(lease, now)
                case "l" if lease:
                    front = delay == 0 and rng.random() < 0.5
                    machine.release(lease, front, delay, now)
                case "x" if lease:
                    machine.extend(lease, rng.choice((None, 2, inf)), now)
                case "f" if lease:
                    machine.refresh(lease, now)
                case "d":
                    machine.discard(key, now)
                case "j":
                    begun(machine.join(wait, now))
                case "k":
                    recorder.look(now)
                case "q":
                    begun(machine.drain(wait, now))
                case "s":
                    machine.shutdown(now)
                case "z" if rng.random() < 0.5:
                    machine.close(now)
        except (LeasedKeyQError, TimeoutError):
            continue  # refused
    recorder.look(now)
    return recorder


def of_the_queue(seed: int) -> Recorder:
    """Producers and workers on the public API; workers stall, fail and are cancelled."""
    rng = random.Random(seed)
    maxsize = rng.choice((0, 2, 4))

    async def work() -> Recorder:
        queue: LeasedKeyQueue[str, int] = LeasedKeyQueue(default_lease_timeout=3, maxsize=maxsize)
        recorder = Recorder(queue._machine, maxsize)

        async def produce() -> None:
            for value in range(15):
                policy, delay = rng.choice(POLICIES), rng.choice((0, 0, 1, 3))
                options: Any = {"if_in_flight": policy, "delay": delay, "timeout": 9}
                try:
                    await queue.put(rng.choice("abcd"), value, **options)
                except (TimeoutError, LeasedKeyQError):
                    continue
                await asyncio.sleep(rng.choice((0, 0, 1)))

        async def consume() -> None:
            while True:
                take = rng.random() < 0.3
                try:
                    got = await (queue.take(rng.choice("abcd"), 2) if take else queue.get(5))
                    await asyncio.sleep(rng.choice((0, 1, 2, 4)))
                    if await queue.superseded(got[2]):
                        await queue.refresh(got[2])
                    if rng.random() < 0.6:
                        await queue.ack(got[2])
                    elif rng.random() < 0.5:
                        await queue.release(got[2], requeue_front=rng.random() < 0.5)
                    else:
                        await queue.release(got[2], delay=rng.choice((1, 2)))
                except (TimeoutError, LeasedKeyQError):
                    await asyncio.sleep(0)

        workers = [asyncio.create_task(consume()) for _ in range(3)]
        producer = asyncio.create_task(produce())
        for _ in range(6):
            await asyncio.sleep(rng.choice((1, 2)))
            index = rng.randrange(3)
            workers[index].cancel()
            workers[index] = asyncio.create_task(consume())
            recorder.look(running().time())
        await queue.discard(rng.choice("abcd"))
        producer.cancel()
        await queue.drain(rng.choice((1, 3, None)))
        recorder.look(running().time())
        for worker in workers:
            worker.cancel()
        await asyncio.gather(producer, *workers, return_exceptions=True)
        return recorder

    return run_in_virtual_time(work())


def of_the_example(folder: Path, seed: int) -> Recorder:
    """The example program indexes a folder, in real time."""
    spec = spec_from_file_location("index_tree", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    example: Any = module_from_spec(spec)
    spec.loader.exec_module(example)
    recorders: list[Recorder] = []
    make = example.LeasedKeyQueue

    class Recorded:
        """What the program calls to make its queue."""

        def __class_getitem__(cls, _: object) -> Any:
            def open_queue(**options: Any) -> Any:
                queue = make(**{**options, "observer": None})  # the recorder takes its place
                recorders.append(Recorder(queue._machine, options.get("maxsize", 0)))
                return queue

            return open_queue

    example.LeasedKeyQueue = Recorded
    indexer = example.Indexer(folder, workers=4, lease_timeout=0.1, seed=seed)
    asyncio.run(indexer.run(Progress(disable=True)))
    assert not [*indexer.problems()]
    (recorder,) = recorders
    return recorder
