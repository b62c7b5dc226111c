"""The recipes of the how-to guides hold what they claim, whatever comes in between.

What is run is the code of the pages. Around it chance decides when producers put, how long work
takes and whether it fails, when leases run out or are lost to a loop that is blocked, whom a
cancellation hits, and when the end comes. Times are multiples of half a second, so that much of it
falls into the same moment.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from functools import cache
from itertools import pairwise
from random import Random
from typing import Any

import pytest

from tests import virtual
from tests.docs.manual import DOCS, blocks
from tests.subject import InvalidLeaseError, Lease, LeasedKeyQueue, QueueClosedError

KEYS = "abc"
Queue = LeasedKeyQueue[str, Any]


class Page:
    """What a guide defines, without its programs being run."""

    def __init__(self, name: str, code: str, replacement: str) -> None:
        self._found: dict[str, Any] = {"__name__": name}
        sources = [b.text for b in blocks(DOCS / "howto" / f"{name}.md") if b.language == "python"]
        assert any(code in source for source in sources), f"{name}.md has no {code!r}"
        run, asyncio.run = asyncio.run, lambda main, **_: main.close()
        try:
            for source in sources:
                exec(source.replace(code, replacement) if code else source, self._found)
        finally:
            asyncio.run = run

    def __getattr__(self, name: str) -> Any:
        return self._found[name]

    def set(self, name: str, value: object) -> None:
        """Put something else in the place of what the guide defines, for its code to use."""
        self._found[name] = value


planted = "", "", ""  # a page, some of its code, and what stands there instead


def page(name: str) -> Page:
    return _page(name, *(planted[1:] if planted[0] == name else ("", "")))


@cache
def _page(name: str, code: str, replacement: str) -> Page:
    return Page(name, code, replacement)


class World:
    """A queue, what was put into it, and what became of that. Values are versions."""

    def __init__(self, random: Random, **options: Any) -> None:
        self.random = random
        self.queue = Queue(**options)
        self.version = 0
        self.accepted: dict[str, int] = {}  # the newest of each key
        self.done: dict[str, set[int]] = defaultdict(set)

    def time(self, most: int = 6) -> float:
        return self.random.randrange(most + 1) / 2

    async def pause(self, most: int = 6) -> None:
        await asyncio.sleep(self.time(most))

    async def produce(self, puts: int = 12) -> None:
        """Put new values until the queue takes no more."""
        for _ in range(puts):
            await self.pause(3)
            key, value = self.random.choice(KEYS), self.new()
            try:
                await self.queue.put(key, value, delay=self.random.choice([0, 0, 0, 1]))
            except QueueClosedError:
                return
            self.accepted[key] = value

    def new(self) -> int:
        self.version += 1
        return self.version

    async def block(self, times: int = 3) -> None:
        """Now and then the loop is blocked for longer than a lease lasts."""
        for _ in range(times):
            await self.pause(12)
            if self.random.random() < 0.5:
                virtual.jump(self.time(8))

    async def nothing_is_lost(self, *elsewhere: Iterable[tuple[str, int]]) -> None:
        """The newest value of each key is done with, in the queue, or where it was set aside."""
        await self.queue.close()
        left = await self.queue.available_items()
        assert len({key for key, _ in left}) == len(left)
        there = {*left, *(pair for pairs in elsewhere for pair in pairs)}
        for key, value in self.accepted.items():
            assert value in self.done[key] or (key, value) in there, (key, value)


Case = Callable[[Random], Awaitable[None]]
CASES: dict[str, Callable[[int], None]] = {}


def under_random_schedules(count: int = 25) -> Callable[[Case], Callable[[int], None]]:
    def decorate(case: Case) -> Callable[[int], None]:
        def run(seed: int) -> None:
            async def main() -> None:
                await asyncio.wait_for(case(Random(seed)), 10_000)

            virtual.run(main())

        CASES[case.__name__] = run
        return pytest.mark.parametrize("seed", range(count))(run)

    return decorate


async def ended(tasks: Iterable[asyncio.Task[Any]], *harmless: type[BaseException]) -> None:
    """Wait for tasks; only what is harmless may have come of them."""
    for task in tasks:
        with suppress(asyncio.CancelledError, *harmless):
            await task


# -- jobs ------------------------------------------------------------------------------------


class Watched(Queue):
    """Writes down which of the values that it handed out were acknowledged."""

    world: World
    handed: set[tuple[str, int]]

    async def get(self, *arguments: Any, **options: Any) -> Any:
        got = await super().get(*arguments, **options)
        self.handed.add(got[:2])
        return got

    async def ack(self, lease: Lease[str]) -> None:
        value = await self.refresh(lease)
        await super().ack(lease)
        if (lease.key, value) in self.handed:
            self.world.done[lease.key].add(value)


def watched(random: Random, kind: type[Watched] = Watched, **options: Any) -> World:
    world = World(random)
    world.queue = queue = kind(**options)
    queue.world, queue.handed = world, set()
    return world


@under_random_schedules()
async def test_workers_that_are_run_finish_or_leave_everything(random: Random) -> None:
    world = World(random, if_in_flight="defer")

    async def work(job: Any) -> None:
        await world.pause(12)
        if job.attempt < 3 and random.random() < 0.3:
            raise ConnectionError("try again")
        world.done[job.key].add(job.value)

    page("jobs").set("work", work)
    stop = asyncio.Event()
    producing = asyncio.create_task(world.produce(20))
    serving = asyncio.create_task(page("jobs").serve(world.queue, stop))
    blocking = asyncio.create_task(world.block())
    await world.pause(20)
    stop.set()
    await ended([serving, producing, blocking])
    assert await world.queue.inflight_size() == 0
    await world.nothing_is_lost()


# -- programs --------------------------------------------------------------------------------


@under_random_schedules(50)
async def test_mails_are_sent_given_up_or_left(random: Random) -> None:
    world, dead = World(random, if_in_flight="defer"), Queue()
    guide, stop, stopped = page("programs"), asyncio.Event(), False
    runs: dict[tuple[str, int], list[int]] = defaultdict(list)

    async def send(job: Any) -> None:
        assert not stopped, "it was begun after the end"
        runs[job.key, job.value].append(job.attempt)
        await world.pause()
        fate = random.random()
        if fate < 0.1:
            await asyncio.sleep(1000)  # hangs
        elif fate < 0.2:
            virtual.jump(31)
        elif fate < 0.6:
            raise ConnectionError("try again")
        world.done[job.key].add(job.value)

    guide.set("send", send)
    producing = asyncio.create_task(world.produce(20))
    began = asyncio.create_task(guide.serve(world.queue, dead, stop))
    await world.pause(20)
    stop.set()
    now = virtual.running().time()
    await began
    stopped = True
    assert virtual.running().time() <= now + 10 + 9 * 31
    await ended([producing])
    assert await world.queue.inflight_size() == 0
    for attempts in runs.values():
        assert attempts == sorted(set(attempts))
        assert max(attempts) <= 4
    letters = [(key, letter.value) for key, letter in await dead.available_items()]
    for item in letters:
        assert len(runs[item]) <= 4
    await world.nothing_is_lost(letters)


@under_random_schedules(50)
async def test_a_refresher_works_under_a_lease_and_sees_the_newest_value(random: Random) -> None:
    world, guide, loop = World(random), page("programs"), virtual.running()
    leases: dict[Any, Lease[str]] = {}
    blocked, said = False, []
    fetched: list[tuple[float, int]] = []

    class Watching(Queue):
        async def take(self, *arguments: Any, **options: Any) -> Any:
            got = await super().take(*arguments, **options)
            leases[asyncio.current_task()] = got[2]
            return got

    async def fetch(name: str, feed: str, value: int) -> None:
        deadline = world.queue.deadline_nowait(leases[asyncio.current_task()])  # or it has ended
        assert deadline > loop.time()
        fetched.append((loop.time(), value))
        await world.pause()
        if random.random() < 0.1:
            raise ConnectionError("no answer")

    def start(number: int) -> asyncio.Task[None]:
        return asyncio.create_task(guide.refresher(f"r{number}", world.queue, "a", 7))

    guide.set("fetch", fetch)
    guide.set("print", lambda *words: said.append(words))
    world.queue = Watching()
    await world.queue.put("a", world.new())
    tasks = [start(number) for number in range(3)]
    for number in range(3, 15):
        await world.pause(60)
        match random.randrange(4):
            case 0:
                random.choice(tasks).cancel()
            case 1:
                blocked = True
                virtual.jump(random.choice([5, 29, 31, 100]))
            case 2:
                await world.queue.put("a", world.new())
        tasks.append(start(number))
        await virtual.quiet()
        assert await world.queue.inflight_size() == 1, "nobody took over"
    await world.queue.put("a", world.new())
    await asyncio.sleep(7 + 6 / 2)
    assert fetched[-1][1] == world.version, "the newest value is not fetched"
    values = [value for _, value in fetched]
    assert values == sorted(values)
    pauses = [after - before for (before, _), (after, _) in pairwise(fetched)]
    assert max(pauses) <= 100 + 7 + 6 / 2
    assert blocked or not said, "a lease is lost, though the loop was never blocked"
    await world.queue.close()
    await ended(tasks, ConnectionError)


@under_random_schedules(50)
async def test_a_pipeline_loses_no_row(random: Random) -> None:
    world, guide = World(random, maxsize=4, if_in_flight="defer"), page("programs")
    target = Queue(maxsize=3, if_in_flight="defer")
    written: dict[str, set[int]] = defaultdict(set)

    async def go_wrong() -> None:
        await world.pause()
        fate = random.random()
        if fate < 0.2:
            raise ConnectionError("no answer")
        if fate < 0.3:
            await asyncio.sleep(1000)
        if fate < 0.4:
            virtual.jump(31)
            await world.pause(1)

    async def convert(batch: Any) -> None:
        await go_wrong()
        for key, value, _ in batch:
            await target.put(key, value)

    async def write(batch: Any) -> None:
        await go_wrong()
        for key, value, _ in batch:
            written[key].add(value)

    def start(queue: Queue, work: Any) -> asyncio.Task[None]:
        return asyncio.create_task(guide.stage(queue, work))

    workers = random.choice([1, 3])
    stages = [start(world.queue, convert) for _ in range(workers)]
    writing = start(target, write)
    producing = asyncio.create_task(world.produce(20))
    for _ in range(3):
        await world.pause(20)
        victim = stages.pop(0)
        victim.cancel()
        await asyncio.wait([victim])
        assert victim.cancelled()
        assert stages or await world.queue.inflight_size() == 0
        stages.append(start(world.queue, convert))
    await ended([producing])
    for queue in (world.queue, target):
        await queue.join()
        await queue.close()
    await asyncio.wait([*stages, writing])
    assert not any(stage.exception() for stage in [*stages, writing])
    for key, value in world.accepted.items():
        assert value in written[key], (key, value)


# -- workers ---------------------------------------------------------------------------------


@pytest.mark.req("DELAY-1")
@under_random_schedules()
async def test_working_gives_back_what_it_does_not_finish(random: Random) -> None:
    world = World(random, default_lease_timeout=2, if_in_flight="defer")

    async def worker() -> None:
        while True:
            try:
                async with page("workers").working(world.queue) as (key, value):
                    await world.pause()
                    if random.random() < 0.3:
                        raise ZeroDivisionError
            except (ZeroDivisionError, InvalidLeaseError):
                continue
            except QueueClosedError:
                return
            world.done[key].add(value)

    tasks = [asyncio.create_task(worker()) for _ in range(3)]
    producing = asyncio.create_task(world.produce())
    for _ in range(4):
        await world.pause()
        victim = random.randrange(len(tasks))
        tasks[victim].cancel()
        await asyncio.sleep(0)
        tasks.append(asyncio.create_task(worker()))
    if random.random() < 0.5:
        await producing
        await world.queue.join()
    await world.queue.close()
    await ended([*tasks, producing])
    assert all(task.done() for task in tasks)
    await world.nothing_is_lost()


# -- retries ---------------------------------------------------------------------------------


@pytest.mark.req("ACK-1", "ATT-1", "ATT-2")
@under_random_schedules(50)
async def test_retries_neither_lose_nor_revive_nor_set_aside_too_early(random: Random) -> None:
    guide = page("retries")
    world = World(random)
    tries: dict[tuple[str, int], list[int]] = defaultdict(list)
    hopeless: set[tuple[str, int]] = set()
    acked: set[tuple[str, int]] = set()

    class Acked(Queue):
        async def ack(self, lease: Lease[str]) -> None:
            value = await self.refresh(lease)
            await super().ack(lease)
            acked.add((lease.key, value))

    async def send(address: str, value: int, attempt: int) -> None:
        item = address, value
        assert item not in acked, "it was finished before"
        tries[item].append(attempt)
        await world.pause()
        fate = random.random()
        if fate < 0.1:
            hopeless.add(item)
            raise ValueError("no such address")
        if fate < 0.5:
            raise ConnectionError("try again")
        world.done[address].add(value)

    guide.set("send", send)
    world.queue = Acked(default_lease_timeout=2, if_in_flight="defer")
    buried: set[tuple[str, int]] = set()

    class Grave(dict[str, int]):
        def __setitem__(self, key: str, value: int) -> None:
            buried.add((key, value))

    dead = Grave()
    tasks = [asyncio.create_task(guide.worker(world.queue, dead)) for _ in range(3)]
    others = [asyncio.create_task(world.produce()), asyncio.create_task(world.block())]
    await world.pause()
    tasks[0].cancel()  # its lease is left to run out
    if random.random() < 0.7:
        await ended(others)
        await world.queue.join()
    else:
        await world.pause(20)
    await world.queue.close()
    await ended(tasks + others)
    for attempts in tries.values():
        assert attempts == sorted(set(attempts))
        assert max(attempts) <= guide.ATTEMPTS
    for item in buried:
        assert item in acked
        assert item in hopeless or item not in tries or len(tries[item]) <= guide.ATTEMPTS
    await world.nothing_is_lost(buried)


@under_random_schedules()
async def test_the_store_never_goes_back(random: Random) -> None:
    store = page("retries").Store()
    tried: list[tuple[int, int]] = []
    written: list[tuple[int, int]] = []
    for _ in range(4):  # restarts: each time another queue
        generation = store.open()
        world = World(random, default_lease_timeout=2)

        async def worker(world: World = world, generation: int = generation) -> None:
            async for _, value, lease in world.queue:
                await world.pause()
                tried.append((generation, int(lease.token[-12:], 16)))
                if store.write(value, generation, lease.token):
                    written.append(tried[-1])
                with suppress(InvalidLeaseError, QueueClosedError):
                    await world.queue.ack(lease)

        tasks = [asyncio.create_task(worker()) for _ in range(3)]
        await world.produce(6)
        await world.queue.close()
        if random.random() < 0.5:
            await ended(tasks)  # else they go on beside those of the next queue
    assert written == [one for n, one in enumerate(tried) if one >= max(tried[:n], default=one)]


# -- heartbeats ------------------------------------------------------------------------------


@under_random_schedules(50)
async def test_a_heartbeat_keeps_the_lease_or_stops_the_work(random: Random) -> None:
    world = World(random, default_lease_timeout=3, if_in_flight="defer")
    at_work: dict[str, int] = defaultdict(int)
    blocked = random.random() < 0.5

    async def worker() -> None:
        async for key, value, lease in world.queue:
            at_work[key] += 1
            assert at_work[key] == 1 or blocked, "two at work, though the loop was never blocked"
            try:
                async with page("heartbeats").heartbeat(world.queue, lease, every=1):
                    await world.pause(20)
                    if random.random() < 0.2:
                        raise ZeroDivisionError
                await world.queue.ack(lease)
                world.done[key].add(value)
            except ZeroDivisionError:
                with suppress(InvalidLeaseError, QueueClosedError):
                    await world.queue.release(lease)
            except InvalidLeaseError:
                if not blocked:
                    raise
            except QueueClosedError:
                pass
            finally:
                at_work[key] -= 1

    tasks = [asyncio.create_task(worker()) for _ in range(3)]
    others = [asyncio.create_task(world.produce())]
    if blocked:
        others.append(asyncio.create_task(world.block()))
    await ended(others)
    if random.random() < 0.5:
        await world.queue.drain(timeout=world.time(40))
    await world.queue.close()
    await ended(tasks)
    await world.nothing_is_lost()


@pytest.mark.req("NEW-2")
@under_random_schedules()
async def test_superseded_work_is_stopped_for_the_newer_value(random: Random) -> None:
    policy = random.choice(["update", "defer", "buffer"])
    world = World(random, default_lease_timeout=3, if_in_flight=policy)

    async def put() -> None:
        for _ in range(4):
            world.accepted["a"] = world.new()
            await world.queue.put("a", world.accepted["a"])
            await world.pause(8)

    putting = asyncio.create_task(put())
    converted = [await page("heartbeats").convert(world.queue, work=5)]
    await putting
    if random.random() < 0.5 and policy != "update":
        await world.queue.shutdown()
        with suppress(QueueClosedError):
            while True:
                converted.append(await page("heartbeats").convert(world.queue, work=5))
    world.done["a"].update(converted)
    assert converted == sorted(converted)
    if policy != "update" or world.accepted["a"] in converted:
        await world.nothing_is_lost()


# -- the latest value ------------------------------------------------------------------------


@pytest.mark.req("NEW-2", "NEW-3")
@under_random_schedules(50)
async def test_follow_misses_no_newest_value(random: Random) -> None:
    guide = page("latest-value")
    world = World(random, default_lease_timeout=4)

    async def apply(key: str, value: int) -> None:
        await world.pause()
        world.done[key].add(value)

    guide.set("apply", apply)
    tasks = [asyncio.create_task(guide.follow(world.queue)) for _ in range(2)]
    others = [asyncio.create_task(world.produce()), asyncio.create_task(world.block())]
    if random.random() < 0.5:
        await ended(others)
        await world.queue.join()
    else:
        await world.pause(30)
    await world.queue.close()
    await ended(tasks + others)
    await world.nothing_is_lost()


# -- back-pressure ---------------------------------------------------------------------------


@pytest.mark.req("BOUND-1", "BOUND-5")
@under_random_schedules()
async def test_offer_is_in_or_has_not_happened(random: Random) -> None:
    world = World(random, maxsize=2, default_lease_timeout=3, if_in_flight="defer")
    refused: set[int] = set()
    seen: set[int] = set()

    async def produce() -> None:
        for _ in range(8):
            await world.pause(2)
            key, value = random.choice("abcde"), world.new()
            offering = page("backpressure").offer(world.queue, key, value, patience=world.time(4))
            try:
                accepted = await asyncio.wait_for(offering, world.time(8) or 0.5)
            except (TimeoutError, QueueClosedError):
                accepted = False  # cancelled, or the end came
            if accepted:
                world.accepted[key] = max(value, world.accepted.get(key, 0))
            else:
                refused.add(value)

    async def worker() -> None:
        async for key, value, lease in world.queue:
            seen.add(value)
            await world.pause()
            with suppress(InvalidLeaseError, QueueClosedError):
                await world.queue.ack(lease)
                world.done[key].add(value)

    async def watch() -> None:
        while True:
            sizes = (world.queue.qsize, world.queue.inflight_size, world.queue.delayed_size)
            assert sum([await size() for size in sizes]) <= 2
            await asyncio.sleep(0.25)

    watching = asyncio.create_task(watch())
    producers = [asyncio.create_task(produce()) for _ in range(3)]
    tasks = [asyncio.create_task(worker()) for _ in range(2)]
    if random.random() < 0.5:
        await ended(producers)
        await world.queue.drain(timeout=world.time(20))
    else:
        await world.pause(20)
    await world.queue.close()
    await ended([*tasks, *producers])
    assert not watching.done()
    watching.cancel()
    left = {value for _, value in await world.queue.available_items()}
    assert not refused & (seen | left)
    for key, value in world.accepted.items():  # several producers: the order of the puts is theirs
        assert any(v >= value for v in world.done[key]) or value in left or max(left, default=0)


@under_random_schedules()
async def test_only_one_worker_is_woken_and_at_once(random: Random) -> None:
    loop, guide = asyncio.get_running_loop(), page("workers")
    world = World(random)
    put: dict[str, list[tuple[float, int]]] = defaultdict(list)
    got: dict[str, list[tuple[float, int]]] = defaultdict(list)

    def says(line: str) -> None:
        key, _, value = line.split()
        got[key].append((loop.time(), int(value)))

    guide.set("print", says)
    tasks = {key: asyncio.create_task(guide.only(world.queue, key)) for key in KEYS[:2]}
    for _ in range(random.randrange(20)):
        await world.pause(1)
        key, value = random.choice(KEYS), world.new()
        await world.queue.put(key, value)
        put[key].append((loop.time(), value))
        world.accepted[key] = value
        await asyncio.sleep(0.1)
    for key, task in tasks.items():
        if random.random() < 0.5:  # while its item is on its way
            value = world.accepted[key] = world.new()
            await world.queue.put(key, value)
        task.cancel()
    await ended(tasks.values())
    for key in tasks:
        assert got[key] == put[key]
        world.done[key] = {value for _, value in got[key]}
    await world.nothing_is_lost()


@under_random_schedules(50)
async def test_rows_that_are_put_come_to_the_table(random: Random) -> None:
    guide = page("jobs")
    guide.set("print", lambda *_: None)
    world = World(random, if_in_flight=random.choice(["update", "defer", "buffer"]))
    table: list[int] = []
    producing = asyncio.create_task(world.produce(20))
    blocking = asyncio.create_task(world.block())
    inserting = asyncio.create_task(guide.insert(world.queue, table))
    await world.pause(40)
    if random.random() < 0.5:
        await producing
        await world.pause(4)
    inserting.cancel()
    await ended([inserting])
    assert await world.queue.inflight_size() == 0
    await world.queue.close()
    await ended([producing, blocking])
    world.done = defaultdict(lambda: {*table})
    await world.nothing_is_lost()


# -- the end ---------------------------------------------------------------------------------


@pytest.mark.req("END-3", "END-5", "END-6", "OUT-3")
@under_random_schedules(50)
async def test_serve_finishes_or_returns_everything_in_order(random: Random) -> None:
    guide = page("shutdown")
    loop = asyncio.get_running_loop()
    lease_timeout = random.choice([20, 100])
    world = watched(random, default_lease_timeout=lease_timeout, if_in_flight="defer")
    stop = asyncio.Event()
    patience = world.time(40)
    producing = asyncio.create_task(world.produce(20))
    serving = asyncio.create_task(guide.serve(world.queue, stop, patience))
    await world.pause(20)
    stop.set()
    began = loop.time()
    left = await serving
    assert loop.time() - began <= patience
    at_the_end = dict(world.accepted)
    await producing
    assert world.accepted == at_the_end, "a put after the stop"
    assert left == await world.queue.available_items()
    await world.nothing_is_lost()


@pytest.mark.req("END-7")
@under_random_schedules()
async def test_a_stopped_pool_begins_nothing_more(random: Random) -> None:
    stopped = False

    class Strict(Watched):
        async def get(self, *arguments: Any, **options: Any) -> Any:
            got = await super().get(*arguments, **options)
            assert not stopped, "an item was begun after the stop"
            return got

    world = watched(random, Strict, if_in_flight="defer")
    pool = page("shutdown").Pool(world.queue)
    tasks = [asyncio.create_task(pool.worker()) for _ in range(3)]
    producing = asyncio.create_task(world.produce())
    await world.pause(12)
    if random.random() < 0.5:  # in the very moment in which an item is on its way to a worker
        await world.queue.put("a", world.new())
        world.accepted["a"] = world.version
    pool.stop()
    stopped = True
    await ended(tasks)
    assert await world.queue.inflight_size() == 0, "what was in hand is finished"
    await world.queue.close()
    await producing
    await world.nothing_is_lost()


@pytest.mark.req("END-7", "OUT-3")
@under_random_schedules()
async def test_what_is_saved_is_restored_in_order(random: Random) -> None:
    guide = page("shutdown")
    world = World(random, default_lease_timeout=3)
    producing = asyncio.create_task(world.produce())
    for _ in range(random.randrange(6)):
        with suppress(TimeoutError):
            await world.queue.get(timeout=world.time(4))
    saved = await guide.save(world.queue)
    await producing
    restored = Queue()
    await guide.restore(restored, saved)
    assert await restored.available_items() == saved == await world.queue.available_items()
    assert dict(saved) == world.accepted


# -- and the tests can fail --------------------------------------------------------------------

PLANTED = [
    ("run", "jobs", "work, concurrency=2)", "work, concurrency=2, max_attempts=1)"),
    ("mails", "programs", "drain(timeout=10)", "drain()"),
    ("mails", "programs", "max_attempts=4", "max_attempts=5"),
    ("mails", "programs", ", dead_letter=dead", ""),
    ("refresher", "programs", "await job.refresh())", "job.value)"),
    ("refresher", "programs", "except LeaseLostError:", "except ZeroDivisionError:"),
    ("refresher", "programs", "lease_timeout=30)", "lease_timeout=30, keep_alive=False)"),
    ("pipeline", "programs", "asyncio.timeout(20)", "asyncio.timeout(2000)"),
    ("pipeline", "programs", "suppress(OSError, ", "suppress("),
    ("pipeline", "programs", "await queue.release(lease, delay=1)", "pass"),
    ("working", "workers", "requeue_front=not failed, delay=1 if failed else 0)", "delay=-1)"),
    ("working", "workers", "    await queue.ack(lease)\n", "    await queue.discard(key)\n"),
    ("retries", "retries", "if lease.attempt <= ATTEMPTS:", "if True:"),
    (
        "retries",
        "retries",
        "    await queue.ack(lease)\n    dead[address] = text",
        "    dead[address] = text\n    await queue.ack(lease)",
    ),
    (
        "retries",
        "retries",
        "await queue.release(lease, delay=2.0**lease.attempt)",
        "await queue.ack(lease); await queue.put(address, text, delay=1)",
    ),
    ("store", "retries", "< self.fence", "< (0, '')"),
    ("store", "retries", "(generation, token) < self.fence", "token < self.fence[1]"),
    ("heartbeat", "heartbeats", "await queue.extend(lease)\n\n    try", "pass\n\n    try"),
    ("heartbeat", "heartbeats", "raise group_error.exceptions[0] from None", "raise"),
    (
        "superseded",
        "heartbeats",
        "await queue.release(lease, requeue_front=True)",
        "await queue.ack(lease)",
    ),
    ("follow", "latest-value", "while await queue.superseded(lease):", "while False:"),
    ("offer", "backpressure", "return False", "return True"),
    ("only", "workers", "await queue.take(key)", "await queue.get()"),
    ("only", "workers", "        print(f", "        await asyncio.sleep(0.3); print(f"),
    ("rows", "jobs", "        table += rows\n        await", "        await"),
    (
        "rows",
        "jobs",
        "batch = await queue.get_many(4, linger=0.5, lease_timeout=30)",
        "batch = [await queue.get(), await queue.get()]",
    ),
    ("serve", "shutdown", "await queue.drain(timeout=patience)", "await queue.drain()"),
    ("serve", "shutdown", "task.cancel()  # what", "pass  # what"),
    ("pool", "shutdown", "        for task in self.idle:\n            task.cancel()", ""),
    (
        "pool",
        "shutdown",
        "finally:\n                self.idle.discard(task)",
        "finally:\n                pass",
    ),
    ("saved", "shutdown", "await queue.close()\n    return", "return"),
    ("saved", "shutdown", "in saved:", "in sorted(saved):"),
]


@pytest.mark.parametrize(("case", "guide", "code", "replacement"), PLANTED)
def test_a_recipe_that_is_wrong_is_found(
    monkeypatch: pytest.MonkeyPatch, case: str, guide: str, code: str, replacement: str
) -> None:
    (run,) = (run for name, run in CASES.items() if case in name.split("_"))
    monkeypatch.setitem(globals(), "planted", (guide, code, replacement))
    for seed in range(200):
        try:
            run(seed)
        except BaseException:  # noqa: BLE001 (whatever it is, it was found)
            return
    pytest.fail("not found in 200 schedules")
