"""The shell of an engine when things go wrong, in virtual time, on the engine in the process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import wraps
from math import inf
from random import Random
from typing import Any

import pytest

from tests.engine.local import Bytes, Engine, LocalStore, local_queue
from tests.subject import (
    InvalidLeaseError,
    KeyAlreadyInFlightError,
    LeaseAlreadyAcknowledgedError,
    LeasedKeyQError,
    LeaseExpiredError,
    QueueClosedError,
    module,
)
from tests.virtual import jump, run, running, ticks

QueueUnavailableError = module("errors").QueueUnavailableError
UndecodableError = module("errors").UndecodableError

SECOND = 1.0
Test = Callable[[], Coroutine[Any, Any, None]]


def virtually(test: Test) -> Callable[[], None]:
    @wraps(test)
    def wrapper() -> None:
        run(test())

    del wrapper.__wrapped__  # pytest would take it for a coroutine
    return wrapper


def store_of(queue: Any) -> LocalStore:
    store: LocalStore = queue._store
    return store


async def now_or_later(pause: float = 0.01) -> None:
    """Let everything happen that takes no time."""
    await asyncio.sleep(pause)


# -- cancellation --------------------------------------------------------------------------------


@pytest.mark.parametrize("op", ["get", "take"])
@pytest.mark.parametrize("late", [True, False])
def test_a_call_cancelled_at_any_moment_around_a_put_loses_nothing(op: str, late: bool) -> None:
    async def main(offset: int) -> str:
        engine, random = Engine(), Random(offset)
        queue = local_queue(engine, lambda: random.choice([0, 0.1, 0.2]))
        other = local_queue(engine)
        await queue.start()
        await other.start()
        if not late:
            await other.put("key", 1)
        calling = asyncio.create_task(queue.get() if op == "get" else queue.take("key"))
        if late:
            await asyncio.sleep(offset % 7 * 0.1)
            await other.put("key", 1)
        await asyncio.sleep(offset // 7 * 0.1)
        await ticks(offset % 3)
        calling.cancel()
        await asyncio.wait([calling])
        await asyncio.sleep(3)
        if calling.cancelled():
            assert await other.available_items() == [("key", 1)]
            assert await other.inflight_size() == 0
        else:
            assert await other.inflight_keys() == {"key"}
            await queue.ack(calling.result()[2])
        assert (await other._look()).waiting == 0
        await other.close()
        orphans = "given back" if queue._counts["orphans"] else "left"
        await queue.close()
        return orphans if calling.cancelled() else "got"

    ways = {run(main(offset)) for offset in range(70)}
    assert {"given back", "got"} <= ways
    assert ("left" in ways) == late


def test_a_call_cancelled_in_the_moment_of_its_answer_gives_back() -> None:
    async def main() -> None:
        queue = local_queue()
        await queue.put("key", 1)
        calling = asyncio.create_task(queue.get())
        # Until the answer has come, and the task has not run yet.
        while not queue._held:  # noqa: ASYNC110
            await asyncio.sleep(0)
        calling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await calling
        await now_or_later()
        assert await queue.available_items() == [("key", 1)]
        assert queue._counts["orphans"] == 1
        await queue.close()

    run(main())


@pytest.mark.parametrize("offset", range(24))
def test_a_put_cancelled_while_it_waits_has_not_happened(offset: int) -> None:
    async def main() -> None:
        random = Random(offset)
        queue = local_queue(travel=lambda: random.choice([0, 0.1]), maxsize=1)
        await queue.put("a", 1)
        putting = asyncio.create_task(queue.put("b", 1))
        await asyncio.sleep(1)
        putting.cancel()
        await ticks(offset % 4)
        await queue.discard("a")
        await asyncio.sleep(1)
        assert putting.cancelled()
        assert await queue.available_keys() == set()
        await queue.put("c", 1, timeout=0)  # the slot is free
        await queue.close()

    run(main())


@virtually
async def test_a_call_that_was_not_sent_yet_is_taken_back() -> None:
    queue = local_queue()
    store = store_of(queue)
    await queue.start()
    store.down = True
    store.cut(inf)
    tasks = [asyncio.create_task(queue.put("key", 1)), asyncio.create_task(queue.get())]
    await now_or_later()
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    store.down = False
    store.connect()
    await now_or_later()
    assert {"put", "get"}.isdisjoint(store.engine.log)
    await queue.close()


@virtually
async def test_a_coroutine_that_is_closed_leaves() -> None:
    queue = local_queue()
    getting = queue.get()
    await queue.start()
    getting.send(None)
    await now_or_later()
    assert (await queue._look()).waiting == 1
    getting.close()
    await now_or_later()
    assert (await queue._look()).waiting == 0
    await queue.close()


def test_a_call_left_in_a_loop_that_is_closed_asks_nothing() -> None:
    queue = local_queue()
    kept: list[Any] = []

    async def main() -> None:
        await queue.start()
        kept.append(queue.get())
        kept[0].send(None)
        queue._still()
        store_of(queue).part()

    run(main())
    kept[0].close()


# -- cuts ----------------------------------------------------------------------------------------


async def story(queue: Any, other: Any) -> list[Any]:
    """A bit of everything, and what came of it."""
    seen: list[Any] = []

    async def note(call: Any) -> Any:
        try:
            result = await call
        except (LeasedKeyQError, TimeoutError) as error:
            result = type(error).__name__
        plain = result[:2] if isinstance(result, tuple) else result
        seen.append(plain)
        return result

    getting = asyncio.create_task(queue.get())
    await note(other.put("a", 1))
    _, _, lease = await getting
    await note(queue.put("a", 2, if_in_flight="reject"))
    await note(queue.put("a", 3, if_in_flight="buffer"))
    await note(queue.extend(lease, 100))
    await note(queue.superseded(lease))
    await note(queue.ack(lease))
    await note(queue.ack(lease))
    _, _, lease = await note(queue.take("a"))
    await note(queue.release(lease, requeue_front=True))
    await note(queue.get(0))
    await note(queue.get(0))
    await note(queue.put("b", 1, delay=0.5))
    await note(queue.discard("b"))
    await note(queue.discard("b"))
    await note(queue.put("c", 1))
    await note(queue.take("d", 0.7))
    draining = asyncio.create_task(queue.drain(30))
    await note(other.available_items())
    _, _, lease = await note(other.get())
    await note(other.ack(lease))
    await note(queue.get(0.1))
    seen.append(type(draining).__name__)
    draining.cancel()
    return seen


def test_cuts_change_nothing() -> None:
    async def main(seed: int | None) -> tuple[list[Any], int]:
        random = Random(seed)
        engine = Engine()
        queue = local_queue(engine, lambda: random.choice([0.001, 0.002]))
        other = local_queue(engine)
        await queue.start()
        await other.start()

        async def cutting() -> None:
            while seed is not None:
                await asyncio.sleep(random.uniform(0, 0.02))
                store_of(queue).cut(random.uniform(0, 0.01))

        cuts = asyncio.create_task(cutting())
        seen = await asyncio.wait_for(story(queue, other), 60)
        cuts.cancel()
        await asyncio.sleep(1)
        lines = store_of(queue).line
        await other.close()
        await queue.close()
        return seen, lines

    expected, _ = run(main(None))
    assert "KeyAlreadyInFlightError" in expected
    for seed in range(40):
        seen, lines = run(main(seed))
        assert seen == expected, seed
        assert lines > 10


def test_sessions_that_are_dropped_lose_nothing_and_double_nothing() -> None:
    """The engine takes the client for dead, again and again; it opens another session each time."""

    async def main(seed: int) -> int:
        random = Random(seed)
        engine = Engine()
        queue = local_queue(engine, lambda: random.choice([0.001, 0.002]))
        await queue.start()
        got: list[str] = []

        async def dropping() -> None:
            while True:
                await asyncio.sleep(random.uniform(0, 0.05))
                if random.random() < 0.5 and queue.session in engine.visitors:
                    engine.drop(queue.session)
                else:
                    store_of(queue).cut(0.001)

        async def consume() -> None:
            async for key, _, lease in queue:
                got.append(key)
                await queue.ack(lease)

        async def produce(name: str) -> None:
            for number in range(30):
                await queue.put(f"{name}{number}", number, if_in_flight="reject")
                await asyncio.sleep(random.uniform(0, 0.01))

        faults = asyncio.create_task(dropping())
        consuming = [asyncio.create_task(consume()) for _ in range(3)]
        async with asyncio.timeout(600):
            await asyncio.gather(produce("a"), produce("b"))
            await queue.join()
            await queue.shutdown()
            await asyncio.wait(consuming)
        faults.cancel()
        assert len(got) == len({*got}) == 60
        await queue.close()
        renewed: int = queue._counts["renewed"]
        return renewed

    assert sum(run(main(seed)) for seed in range(20)) > 100


def test_of_what_is_older_than_the_session_nobody_knows() -> None:
    async def main() -> None:
        queue = local_queue(session_ttl=4, unavailable_timeout=60)
        store = store_of(queue)
        await queue.put("held", 1)
        _, _, lease = await queue.get()
        putting = asyncio.create_task(queue.put("key", 1))
        getting = asyncio.create_task(queue.take("key", 60))
        extending = asyncio.create_task(queue.extend(lease, 50))
        await ticks(1)
        store.cut(5)  # what was sent has got lost
        await asyncio.sleep(1)
        del store.engine.visitors[queue.session]
        with pytest.raises(QueueUnavailableError, match="session was lost") as caught:
            await putting
        assert caught.value.outcome == "unknown"
        await extending
        await queue.put("key", 1)
        assert (await getting)[0] == "key"
        await queue.close()

    run(main())


@virtually
async def test_an_engine_that_forgot_everything_is_opened_again() -> None:
    """As after a FLUSHALL."""
    queue = local_queue()
    await queue.put("key", 1)
    store_of(queue).engine.visitors.clear()
    getting = asyncio.create_task(queue.take("other"))
    assert await queue.qsize() == 1
    await now_or_later()
    await queue.put("other", 1)
    assert (await getting)[0] == "other"
    assert queue._counts["renewed"] == 1
    await queue.close()


@virtually
async def test_a_word_that_is_lost_is_made_good_by_the_next_hello() -> None:
    engine = Engine()
    queue, other = local_queue(engine, session_ttl=8), local_queue(engine)
    getting = asyncio.create_task(queue.get())
    joining = asyncio.create_task(queue.take("never"))
    await asyncio.sleep(0.5)
    engine.deaf = True
    await other.put("key", 1)
    begun = running().time()
    assert (await getting)[0] == "key"
    assert 0 < running().time() - begun <= 8 / 4
    assert store_of(queue).listened > 0
    engine.visitors[queue.session].calls.clear()  # and if it knows nothing of a call
    await asyncio.sleep(3)
    assert (await other.stats()).waiting_takes == 2
    joining.cancel()
    await now_or_later()
    await other.close()
    await queue.close()


@virtually
async def test_the_word_may_come_before_the_answer() -> None:
    engine = Engine()
    queue, other = local_queue(engine), local_queue(engine)
    await queue.start()
    store_of(queue).travel = lambda: 0.0
    getting = asyncio.create_task(queue.get())
    await ticks(1)
    store_of(queue).clear = (0.0, running().time() + 1)  # answers are late
    await other.put("key", 1)
    begun = running().time()
    assert (await getting)[0] == "key"
    assert running().time() - begun < 2, "not as late as the next hello"
    await other.close()
    await queue.close()


@virtually
async def test_words_that_mean_nothing_any_more() -> None:
    queue = local_queue()
    getting = asyncio.create_task(queue.get(10))
    await now_or_later()
    (number,) = queue._calls
    queue.told(b"ready", 999)
    queue.told(b"ready", number)  # it still waits, says the engine
    queue.told(b"unheard of", 0)
    await now_or_later()
    await queue.put("key", 1)
    assert (await getting)[0] == "key"
    await queue.close()


@virtually
async def test_more_is_due_than_is_done_at_once() -> None:
    queue = local_queue()
    store_of(queue).engine.busy = 3
    await queue.start()
    store_of(queue).engine.busy = 5
    await queue.put("key", 1)
    assert queue._counts["again"] == 5
    assert await queue.qsize() == 1
    await queue.close()


@virtually
async def test_alarms() -> None:
    queue = local_queue()
    getting = asyncio.create_task(queue.get())
    await now_or_later()
    log = store_of(queue).engine.log
    log.clear()
    for pause in (2_000_000, 1_000_000, 3_000_000):  # the soonest counts
        queue.told(b"alarm", pause)
    await asyncio.sleep(0.9)
    assert "tick" not in log
    await asyncio.sleep(0.2)
    assert log.count("tick") == 1
    queue.told(b"alarm", 1_000_000)
    getting.cancel()
    await asyncio.sleep(2)
    assert log.count("tick") == 1, "nobody waits any more"
    await queue.close()


# -- an engine that is not there -----------------------------------------------------------------


@virtually
async def test_an_engine_that_never_answers() -> None:
    queue = local_queue(unavailable_timeout=2)
    store_of(queue).down = True
    begun = running().time()
    calls = [queue.start(), queue.put("a", 1), queue.get(), queue.get(0), queue.take("a", 60)]
    for outcome in await asyncio.gather(*calls, return_exceptions=True):
        assert isinstance(outcome, QueueUnavailableError)
        assert (outcome.outcome, running().time() - begun) == ("not done", 2)
        assert "it is down" in str(outcome)
    await queue.close()


@virtually
async def test_an_engine_that_is_away_for_a_while() -> None:
    queue = local_queue(unavailable_timeout=2)
    store = store_of(queue)
    await queue.put("held", 1)
    _, _, lease = await queue.get()
    store.engine.log.clear()
    store.down = True
    store.cut(inf)
    loop = asyncio.get_running_loop()
    complaints = []
    loop.set_exception_handler(lambda _, context: complaints.append(context))
    queue.put_nowait("plain", 1)
    waiting = asyncio.create_task(queue.get())
    begun = loop.time()
    with pytest.raises(TimeoutError):
        await queue.get(1)
    assert loop.time() - begun == 1, "on time"
    with pytest.raises(TimeoutError):
        await queue.join(0.5)
    with pytest.raises(QueueUnavailableError):
        await queue.ack(lease)
    (complaint,) = complaints
    assert complaint["exception"].outcome == "not done"
    store.down = False
    store.connect()
    await queue.put("key", 1)
    assert (await waiting)[0] == "key"
    assert store.engine.log.count("put") == 1
    assert "ack" not in store.engine.log
    await queue.ack(lease)
    await queue.close()


@virtually
async def test_an_engine_that_hangs_is_suspected_and_nobody_knows_what_it_did() -> None:
    queue = local_queue(unavailable_timeout=2, session_ttl=60)
    store = store_of(queue)
    await queue.put("held", 1)
    _, _, lease = await queue.get()
    store.travel = lambda: 1000
    putting = asyncio.create_task(queue.put("key", 1))
    getting = asyncio.create_task(queue.get(0))
    acking = asyncio.create_task(queue.ack(lease))
    for task in (putting, getting, acking):
        with pytest.raises(QueueUnavailableError) as caught:
            await task
        assert caught.value.outcome == "unknown"
    assert store.suspected == 1
    store.travel = lambda: 0
    store.cut()
    await asyncio.sleep(1)
    # All of it was carried out after all, and what the get brought is back.
    assert await queue.available_items() == [("key", 1)]
    assert await queue.inflight_size() == 0
    with pytest.raises(LeaseAlreadyAcknowledgedError):
        await queue.ack(lease)
    await queue.close()


@virtually
async def test_a_timeout_while_the_engine_hangs() -> None:
    queue = local_queue(unavailable_timeout=2)
    store = store_of(queue)
    await queue.start()
    waiting = asyncio.create_task(queue.get(5))
    await asyncio.sleep(1)
    store.travel = lambda: 1000
    asking = asyncio.create_task(queue.take("key", 1))
    for task in (asking, waiting):
        with pytest.raises(TimeoutError):
            await task
    store.travel = lambda: 0
    store.cut()
    await asyncio.sleep(1)
    await queue.put("key", 1)
    assert await queue.available_keys() == {"key"}
    assert (await queue._look()).waiting == 0
    await queue.close()


@virtually
async def test_a_timeout_while_the_request_is_on_its_way() -> None:
    queue = local_queue(travel=lambda: 0.6)
    await queue.start()
    with pytest.raises(TimeoutError):
        await queue.get(1)
    await queue.put("key", 1)
    assert (await queue.get(1))[0] == "key", "it was reserved in time"
    await asyncio.sleep(5)
    assert ((await queue._look()).waiting, queue._counts["orphans"]) == (0, 0)
    await queue.close()


@virtually
async def test_a_call_whose_session_is_lost_keeps_its_time() -> None:
    queue = local_queue()
    engine = store_of(queue).engine
    begun = running().time()
    getting = asyncio.create_task(queue.get(5))
    forever = asyncio.create_task(queue.get())
    await asyncio.sleep(3)
    engine.drop(queue.session)
    await asyncio.sleep(1)
    engine.drop(queue.session)
    with pytest.raises(TimeoutError, match=r"within 5\.0 s"):
        await getting
    assert running().time() - begun == pytest.approx(5, abs=0.01)
    # And if the session goes in the moment in which the call asks for what it has.
    engine.deaf = True
    await queue.put("key", 1)
    queue.told(b"ready", next(iter(queue._calls)))
    engine.drop(queue.session)
    assert (await forever)[0] == "key"
    await queue.close()


@virtually
async def test_a_drain_ends_on_time_or_as_soon_as_the_engine_is_back() -> None:
    queue = local_queue()
    store = store_of(queue)
    await queue.put("key", 1)
    draining = asyncio.create_task(queue.drain(5))
    await asyncio.sleep(1)
    store.down = True
    store.cut(inf)
    await asyncio.sleep(10)
    store.down = False
    store.connect()
    assert await draining is False
    with pytest.raises(QueueClosedError):
        await queue.get()
    await queue.close()


@virtually
async def test_a_client_leaves_an_engine_that_is_away() -> None:
    queue = local_queue(unavailable_timeout=2)
    store = store_of(queue)
    await queue.put("key", 1)
    waiting = asyncio.create_task(queue.take("other"))
    await now_or_later()
    store.down = True
    store.cut(inf)
    putting = asyncio.create_task(queue.put("other", 1))
    await now_or_later()
    begun = running().time()
    await queue.close()
    assert running().time() - begun == 2
    for task in (waiting, putting):
        with pytest.raises(QueueClosedError, match="left the queue"):
            await task
    assert running().timers() == []


@virtually
async def test_what_a_client_that_left_is_told_is_nothing_to_it() -> None:
    engine = Engine()
    queue, other = local_queue(engine, lambda: 0.1), local_queue(engine)
    await other.put("key", 1)
    await queue.start()
    getting = asyncio.create_task(queue.get())
    await ticks(2)
    await queue.close()
    with pytest.raises(QueueClosedError):
        await getting
    assert await other.available_keys() == {"key"}
    queue._tell("tick")
    queue.told(b"alarm", 1)
    await other.close()
    assert running().timers() == []


@virtually
async def test_a_queue_that_is_made_otherwise_is_refused() -> None:
    engine = Engine(maxsize=5)
    queue = local_queue(engine, maxsize=3)
    for _ in range(2):  # and asked again each time
        calls = [queue.start(), queue.get(60), queue.put("key", 1)]
        for outcome in await asyncio.gather(*calls, return_exceptions=True):
            assert isinstance(outcome, QueueUnavailableError)
            assert "its maxsize is 5" in str(outcome)
            assert outcome.outcome == "not done"
    # So is one that has become so: those that wait are told as well.
    fine = local_queue(engine, maxsize=5)
    waiting = asyncio.create_task(fine.get(60))
    await now_or_later()
    engine.maxsize = 7
    engine.drop(fine.session)
    with pytest.raises(QueueUnavailableError, match="maxsize is 7"):
        await waiting
    await fine.close()
    await queue.close()


@virtually
async def test_errors_of_the_engine_itself_come_out() -> None:
    queue = local_queue(maxsize=1)
    await queue.put("key", 1)
    _, _, lease = await queue.get()
    store = store_of(queue)
    putting = asyncio.create_task(queue.put("other", 1))
    await now_or_later()
    real = store.engine.carry_out
    store.engine.carry_out = lambda request, done: [b"what"]  # type: ignore[method-assign]
    for call in (queue.get(0), queue.qsize(), queue.extend(lease)):
        with pytest.raises(RuntimeError, match="please report it"):
            await call
    store.engine.carry_out = real  # type: ignore[method-assign]
    request = queue._asked[-1]
    queue.answered(request, [b"ok"])  # a second answer to the same
    await queue.ack(lease)
    while not (resumes := [one for one in queue._asked if one.op == "resume"]):  # noqa: ASYNC110
        await asyncio.sleep(0)
    queue.failed(resumes[0], QueueUnavailableError("out of memory", "not done"))
    with pytest.raises(QueueUnavailableError, match="out of memory"):
        await putting
    await queue.close()


@virtually
async def test_reserved_too_late_is_given_back() -> None:
    """The answer to a resume comes when the call has been given up already."""
    engine = Engine()
    queue, other = local_queue(engine, unavailable_timeout=1), local_queue(engine)
    getting = asyncio.create_task(queue.get(5))
    await now_or_later()
    store_of(queue).travel = lambda: 3
    await other.put("key", 1)
    with pytest.raises(TimeoutError):
        await getting
    store_of(queue).travel = lambda: 0
    store_of(queue).cut()
    await asyncio.sleep(1)
    assert await other.available_keys() == {"key"}
    await other.close()
    await queue.close()


# -- what can't be decoded -----------------------------------------------------------------------


@virtually
async def test_what_cannot_be_decoded_is_not_lost() -> None:
    class Other:
        tag = b"X"

        def encode(self, thing: Any) -> bytes:
            return str(thing).encode()

        def decode(self, data: bytes) -> Any:
            raise NotImplementedError

    engine = Engine()
    queue = local_queue(engine)
    odd: Any = local_queue(engine, values=Other(), keys=Bytes())
    await odd.put(b"key", 1)
    with pytest.raises(UndecodableError, match="value of key 'key' can't be decoded") as caught:
        await queue.get()
    assert "its codec is b'X', and not b'j'" in str(caught.value.__cause__)
    with pytest.raises(UndecodableError):
        await odd.get()
    with pytest.raises(UndecodableError):
        await queue.peek("key")
    with pytest.raises(UndecodableError):
        await queue.available_items()
    await odd.put(b"key", 1)
    await odd.discard(b"key")
    await odd.put(b"\xff", 1)
    with pytest.raises(UndecodableError, match=r"key b'.xff' can't be decoded"):
        await queue.get()
    assert await odd.available_keys() == {b"\xff"}
    await odd.discard(b"\xff")
    await queue.put("key", 1)
    _, _, lease = await queue.get()
    await odd.put(b"key", 2)
    with pytest.raises(UndecodableError):
        await queue.refresh(lease)
    await queue.ack(lease)
    await odd.close()
    await queue.close()


# -- the clock -----------------------------------------------------------------------------------


@virtually
async def test_a_lease_has_run_out_by_the_clock_of_the_loop() -> None:
    queue = local_queue(default_lease_timeout=10)
    await queue.put("key", 1)
    _, _, lease = await queue.get()
    assert queue.deadline_nowait(lease) == await queue.deadline(lease)
    jump(11)
    with pytest.raises(LeaseExpiredError):
        queue.extend_nowait(lease)
    await queue.close()


@virtually
async def test_a_lease_that_ended_elsewhere_is_called_as_the_clock_has_it() -> None:
    engine = Engine()
    queue, other = local_queue(engine, default_lease_timeout=10), local_queue(engine)
    for pause, error in [(1, InvalidLeaseError), (11, LeaseExpiredError)]:
        await queue.put("key", 1)
        _, _, lease = await queue.get()
        await other.start()
        await other.ack(type(lease)(lease.token, "key"))
        await asyncio.sleep(pause)
        with pytest.raises(error) as caught:
            await queue.ack(lease)
        assert type(caught.value) is error
    await other.close()
    await queue.close()


@virtually
async def test_a_refusal_by_policy_may_come_after_a_wait() -> None:
    queue = local_queue(maxsize=1)
    await queue.put("a", 1)
    putting = asyncio.create_task(queue.put("b", 1, if_in_flight="reject"))
    await now_or_later()
    await queue.discard("a")
    await putting
    _, _, lease = await queue.get()
    with pytest.raises(KeyAlreadyInFlightError):
        await queue.put("b", 1, if_in_flight="reject")
    await queue.ack(lease)
    await queue.close()


# -- sessions that go at a bad moment ------------------------------------------------------------


@virtually
async def test_calls_that_leave_just_when_the_session_goes() -> None:
    """What they were called there is the name of nothing, or of another, in the next session."""
    queue = local_queue(maxsize=1)
    engine, store = store_of(queue).engine, store_of(queue)
    await queue.put("full", 1)
    leaving = [asyncio.create_task(queue.take("a")), asyncio.create_task(queue.put("b", 1))]
    staying = asyncio.create_task(queue.take("c"))
    await now_or_later()
    store.travel = lambda: 0.1
    late = asyncio.create_task(queue.take("d", 0.05))
    asking = asyncio.create_task(queue.take("e"))
    await asyncio.sleep(0.06)
    for task in (*leaving, asking):
        task.cancel()
    engine.drop(queue.session)
    with pytest.raises(TimeoutError):
        await late
    await asyncio.sleep(3)
    assert (await queue._look()).waiting == 1
    await queue.discard("full")
    await queue.put("c", 1)
    assert (await staying)[0] == "c"
    assert queue._counts["renewed"] == 1
    await queue.close()


@virtually
async def test_what_was_answered_under_a_session_that_is_lost() -> None:
    """The answers are on their way when the word of the end comes, by a shorter one."""
    queue = local_queue()
    engine, store = store_of(queue).engine, store_of(queue)
    await queue.start()
    early = asyncio.create_task(queue.take("early", 20))
    await now_or_later()
    store.travel = lambda: 0.5
    queue._say_hello()
    waiting = asyncio.create_task(queue.take("key", 20))
    short = asyncio.create_task(queue.take("key", 0.7))
    await asyncio.sleep(0.6)  # they have arrived, and are put off
    store.travel = lambda: 0.01
    engine.drop(queue.session)
    await asyncio.sleep(0.05)
    assert queue._counts["renewed"] == 1
    with pytest.raises(TimeoutError):
        await short
    await asyncio.sleep(1)
    await queue.put("key", 1)
    assert (await waiting)[0] == "key"
    await queue.put("early", 1)
    assert (await early)[0] == "early"
    await queue.close()


@virtually
async def test_a_resume_of_a_call_that_is_not_known_any_more() -> None:
    queue = local_queue()
    engine = store_of(queue).engine
    for pause in (0, 2):
        getting = asyncio.create_task(queue.get(1))
        await now_or_later()
        (number,) = queue._calls
        waiter = engine.visitors[queue.session].calls.pop(number)
        engine.machine.cancel(waiter, engine.now)
        store_of(queue).travel = [float, lambda: 0.6][pause // 2]
        queue.told(b"ready", number)
        await asyncio.sleep(pause)
        if pause:
            with pytest.raises(TimeoutError):
                await getting
        else:
            await now_or_later()
            await queue.put("key", 1)
            _, _, lease = await getting
            await queue.ack(lease)
    store_of(queue).travel = lambda: 0
    await asyncio.sleep(9)
    assert (await queue._look()).waiting == 0
    await queue.close()


@virtually
async def test_what_belongs_to_a_session_that_is_gone_is_not_asked_in_another() -> None:
    queue = local_queue()
    getting = asyncio.create_task(queue.get())
    await now_or_later()
    (call,) = queue._calls.values()
    asked = queue._number
    call.session = "another"
    queue._end_wait(call, "give_up")
    queue._leave(call)
    assert queue._number == asked
    call.session = queue.session
    queue._end_wait(call, "resume")
    resume = queue._asked[-1]
    engine = store_of(queue).engine
    engine.machine.cancel(engine.visitors[queue.session].calls.pop(call.number), engine.now)
    queue._ask_anew(call)  # as a hello may have it, before the answer comes
    queue.answered(resume, [b"gone"])
    await queue.put("key", 1)
    assert (await getting)[0] == "key"
    await queue.close()


@virtually
async def test_durable_puts_wait_for_more_than_the_answer() -> None:
    queue = local_queue(durable=True)
    await queue.put("key", 1)
    _, _, lease = await queue.get()
    with pytest.raises(KeyAlreadyInFlightError):
        await queue.put("key", 1, if_in_flight="reject")
    await queue.ack(lease)
    await queue.close()


@virtually
async def test_leases_may_be_for_ever() -> None:
    queue = local_queue(default_lease_timeout=None)
    await queue.put("key", 1)
    _, _, lease = await queue.get()
    assert queue.deadline_nowait(lease) == inf
    await queue.close()


@virtually
async def test_a_cancel_that_comes_too_late_cancels_nothing_else() -> None:
    """The number of the call that left is that of another in the next session."""
    queue = local_queue()
    leaving = asyncio.create_task(queue.take("a"))
    staying = asyncio.create_task(queue.take("c"))
    await now_or_later()
    assert min(queue._calls) == 1
    store_of(queue).travel = lambda: 0.1
    leaving.cancel()
    await ticks(2)
    store_of(queue).engine.drop(queue.session)
    await asyncio.sleep(1)
    assert [*queue._calls] == [1]
    assert (await queue.stats()).waiting_takes == 1
    await queue.put("c", 1)
    assert (await staying)[0] == "c"
    await queue.close()


@virtually
async def test_a_lease_starts_when_the_call_resumes() -> None:
    queue = local_queue()
    getting = asyncio.create_task(queue.get(lease_timeout=5))
    await asyncio.sleep(10)
    await queue.put("key", 1)
    _, _, lease = await getting
    assert lease.attempt == 1
    assert queue.deadline_nowait(lease) == pytest.approx(running().time() + 5, abs=0.01)
    await queue.close()


@virtually
async def test_what_was_never_sent_is_done_under_the_next_session_however_old_it_is() -> None:
    queue = local_queue(session_ttl=4, unavailable_timeout=60)
    store = store_of(queue)
    await queue.start()
    store.down = True
    store.cut(inf)
    putting = asyncio.create_task(queue.put("key", 1))
    await asyncio.sleep(10)
    del store.engine.visitors[queue.session]
    store.down = False
    store.connect()
    await putting
    assert await queue.available_keys() == {"key"}
    await queue.close()


@virtually
async def test_a_timeout_waits_half_a_second_for_its_last_answer() -> None:
    queue = local_queue(unavailable_timeout=10)
    store = store_of(queue)
    await queue.start()
    store.travel = lambda: 1000
    begun = running().time()
    with pytest.raises(TimeoutError):
        await queue.get(1)
    assert running().time() - begun == pytest.approx(1.5, abs=0.01)
    store.travel = lambda: 0
    store.cut()
    await queue.close()


@virtually
async def test_a_deadline_is_reckoned_from_when_it_was_asked_for() -> None:
    queue = local_queue(travel=lambda: 0.5, unavailable_timeout=100)
    await queue.put("key", 1)
    begun = running().time()
    _, _, lease = await queue.get(lease_timeout=10)
    assert queue.deadline_nowait(lease) == begun + 10
    begun = running().time()
    await queue.extend(lease, 20)
    assert queue.deadline_nowait(lease) == begun + 20
    # What has run out by this clock stays so, whatever is heard later.
    extending = asyncio.create_task(queue.extend(lease, 100))
    await asyncio.sleep(0.6)  # it has arrived there, and the answer is under way
    jump(30)
    with pytest.raises(LeaseExpiredError):
        queue.deadline_nowait(lease)
    await extending
    with pytest.raises(LeaseExpiredError):
        queue.deadline_nowait(lease)
    await queue.close()


def test_a_token_has_one_form() -> None:
    tokens = module("engine.leases").Tokens("0123456789abcdef")
    token = tokens.token(4711)
    assert tokens.number(token) == 4711
    assert tokens.number(tokens.token(2**62 - 1)) == 2**62 - 1
    assert tokens.token(9) < tokens.token(10) < tokens.token(2**61)
    for wrong in (token.replace("-", "", 4), token + "-", token[:-5] + "-" + token[-5:], "", None):
        assert tokens.number(wrong) is None
    shifted = token[:23] + token[24:30] + "-" + token[30:]
    assert tokens.number(shifted) is None
