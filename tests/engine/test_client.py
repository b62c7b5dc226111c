"""Every method of the client, on a server and on the engine in the process."""

from __future__ import annotations

import asyncio
import copy
import gc
import pickle
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from math import inf, nan
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest

from tests.engine.local import Engine, local_queue
from tests.engine.server import PATIENCE, Server, until
from tests.subject import (
    InFlightPolicy,
    InvalidLeaseError,
    Job,
    KeyAlreadyInFlightError,
    Lease,
    LeaseAlreadyAcknowledgedError,
    LeasedKeyQueue,
    LeaseExpiredError,
    LeaseLostError,
    QueueClosedError,
    module,
    run_workers,
)

if TYPE_CHECKING:
    from leasedkeyq.redis import RedisLeasedKeyQueue
else:
    RedisLeasedKeyQueue = module("redis").RedisLeasedKeyQueue

Queue: TypeAlias = Any  # of either kind
Make: TypeAlias = Callable[..., Queue]


@pytest.fixture(params=["server", "local"])
async def make(request: pytest.FixtureRequest, name: str) -> AsyncIterator[Make]:
    """Clients of one queue; they leave when the test is over."""
    clients: list[Queue] = []
    engine: list[Engine] = []
    server: Server | None = None
    if request.param == "server":
        server = request.getfixturevalue("server")

    def client(**options: Any) -> Queue:
        if server is not None:
            clients.append(RedisLeasedKeyQueue(server.url, name, **options))
        else:
            if not engine:
                engine.append(Engine(maxsize=options.get("maxsize", 0)))
            clients.append(local_queue(engine[0], **options))
        return clients[-1]

    yield client
    for one in clients:
        await one.close()


@pytest.fixture
async def queue(make: Make) -> Queue:
    queue = make()
    await queue.start()
    return queue


def now() -> float:
    return asyncio.get_running_loop().time()


async def waits(queue: Queue, number: int = 1) -> None:
    """Until so many calls wait."""
    while (await queue._look()).waiting != number:  # noqa: ASYNC110 (the server is asked)
        await asyncio.sleep(0.001)


# -- values, keys, the line ----------------------------------------------------------------------


async def test_what_is_put_is_got_and_acknowledged(queue: Queue) -> None:
    await queue.put("ключ", {"a": [1, 2.5, None, "ü"]})
    assert await queue.peek("ключ") == {"a": [1, 2.5, None, "ü"]}
    assert await queue.contains("ключ")
    key, value, lease = await queue.get()
    assert (key, value) == ("ключ", {"a": [1, 2.5, None, "ü"]})
    assert (lease.key, lease.attempt) == ("ключ", 1)
    assert not await queue.contains("ключ")
    assert await queue.peek("ключ") is None
    assert await queue.inflight_keys() == {"ключ"}
    await queue.ack(lease)
    assert (await queue.qsize(), await queue.inflight_size()) == (0, 0)


async def test_the_line_and_what_is_taken_out_of_it(queue: Queue) -> None:
    for number, key in enumerate("abcd"):
        await queue.put(key, number)
    await queue.put("b", 10)
    assert await queue.available_items() == [("a", 0), ("b", 10), ("c", 2), ("d", 3)]
    assert await queue.available_keys() == {*"abcd"}
    assert (await queue.take("c"))[:2] == ("c", 2)
    assert await queue.discard("b")
    assert not await queue.discard("b")
    assert await queue.qsize() == 2
    assert [(await queue.get())[0] for _ in "ad"] == ["a", "d"]


async def test_delays(queue: Queue) -> None:
    await queue.put("late", 1, delay=3600)
    await queue.put("never", 1, delay=inf)
    assert await queue.delayed_keys() == {"late", "never"}
    assert await queue.delayed_size() == 2
    begun = now()
    await queue.put("late", 2, delay=0.05)
    _, value, lease = await queue.get()
    assert (value, now() - begun >= 0.049) == (2, True)
    await queue.release(lease, delay=0.02)
    assert (await queue.get(PATIENCE))[2].attempt == 2


async def test_policies(make: Make) -> None:
    queue, other = make(if_in_flight="defer"), make()
    await queue.put("key", 1)
    _, _, lease = await queue.get()
    with pytest.raises(KeyAlreadyInFlightError, match="'key'"):
        await queue.put("key", 2, if_in_flight="reject")
    await other.put("key", 3)  # by update
    assert await queue.superseded(lease)
    assert await queue.refresh(lease) == 3
    assert not await queue.superseded(lease)
    await queue.put("key", 4)  # is deferred
    await queue.ack(lease)
    _, value, lease = await queue.get()
    assert value == 4
    await queue.put("key", 5, if_in_flight="buffer")
    assert (await queue.get())[1] == 5


@pytest.mark.parametrize(("policy", "left"), [("update", []), ("defer", [("key", 2)])])
async def test_between_a_look_and_an_ack_another_client_can_put(
    make: Make, policy: InFlightPolicy, left: list[tuple[str, int]]
) -> None:
    queue, other = make(if_in_flight=policy), make()
    await queue.put("key", 1)
    _, _, lease = await queue.get()
    assert not await queue.superseded(lease)
    await other.put("key", 2, if_in_flight=policy)
    await queue.ack(lease)
    assert await queue.available_items() == left


async def test_places_in_the_line(queue: Queue) -> None:
    for key in "abc":
        await queue.put(key, 0)
    leases = [(await queue.get())[2] for _ in "abc"]
    await queue.release(leases[2])
    await queue.release(leases[1], requeue_front=True)
    await queue.release(leases[0], requeue_front=True)
    assert [key for key, _ in await queue.available_items()] == ["a", "b", "c"]


async def test_many_items_are_shown_in_pages(queue: Queue) -> None:
    keys = [f"{number}" for number in range(450)]
    await asyncio.gather(*[queue.put(key, int(key)) for key in keys])
    assert await queue.available_items() == [(key, int(key)) for key in keys]
    assert await queue.available_keys() == {*keys}


# -- waiting -------------------------------------------------------------------------------------


async def test_calls_are_served_in_the_order_of_their_arrival(make: Make) -> None:
    first, second = make(), make()
    calls = []
    for number, queue in enumerate([first, second, first, second]):
        calls.append(asyncio.create_task(queue.get()))
        await waits(first, number + 1)
    for number in range(4):
        await second.put(f"{number}", number)
    assert [(await call)[1] for call in calls] == [0, 1, 2, 3]


async def test_a_take_waits_for_its_key(make: Make) -> None:
    queue, other = make(), make()
    taking = asyncio.create_task(queue.take("b", PATIENCE))
    await waits(queue)
    await other.put("a", 1)
    await other.put("b", 2)
    assert (await taking)[:2] == ("b", 2)
    assert await queue.available_keys() == {"a"}


async def test_timeouts(make: Make) -> None:
    queue = make(maxsize=1)
    for timeout in (0, -1, 0.03):
        begun = now()
        with pytest.raises(TimeoutError, match=f"nothing became available within {timeout}"):
            await queue.get(timeout)
        assert now() - begun >= timeout - 0.001
    with pytest.raises(TimeoutError, match="no copy of key 'a'"):
        await queue.take("a", 0.01)
    await queue.put("a", 1)
    with pytest.raises(TimeoutError, match="no slot for key 'b'"):
        await queue.put("b", 1, timeout=0.01)
    with pytest.raises(TimeoutError, match="not worked off"):
        await queue.join(0.01)
    assert (await queue._look()).waiting == 0


async def test_a_full_queue_lets_puts_wait_and_serves_them_in_order(make: Make) -> None:
    queue = make(maxsize=1)
    await queue.put("a", 0)
    puts = []
    for number, key in enumerate("bc"):
        puts.append(asyncio.create_task(queue.put(key, number)))
        await waits(queue, number + 1)
    for key, waiting in [("a", puts[0]), ("b", puts[1])]:
        got, _, lease = await queue.get()
        assert got == key
        await queue.ack(lease)
        await waiting
    assert (await queue.get(0))[0] == "c"


async def test_a_cancelled_call_leaves_nothing_behind(make: Make) -> None:
    queue = make(maxsize=1)
    getting = asyncio.create_task(queue.get())
    taking = asyncio.create_task(queue.take("a"))
    await waits(queue, 2)
    getting.cancel()
    taking.cancel()
    await waits(queue, 0)
    await queue.put("a", 1)
    putting = asyncio.create_task(queue.put("b", 1))
    joining = asyncio.create_task(queue.join())
    await waits(queue, 2)
    putting.cancel()
    joining.cancel()
    await waits(queue, 0)
    _, _, lease = await queue.get(0)
    await queue.ack(lease)
    assert await queue.qsize() == await queue.inflight_size() == 0


async def test_what_is_cancelled_under_way_is_carried_out(queue: Queue) -> None:
    await queue.put("key", 1)
    _, _, lease = await queue.get()
    acking = asyncio.create_task(queue.ack(lease))
    await asyncio.sleep(0)
    acking.cancel()
    await asyncio.wait([acking])
    assert acking.cancelled()
    await queue.join(PATIENCE)
    with pytest.raises(LeaseAlreadyAcknowledgedError):
        await queue.ack(lease)


async def test_a_call_waits_for_a_lease_that_runs_out(make: Make) -> None:
    """The alarm of whoever waits: nobody else is there to notice."""
    queue = make()
    await queue.put("a", 1)
    await queue.get(lease_timeout=0.05)
    begun = now()
    _, _, lease = await queue.get(PATIENCE)
    assert (lease.attempt, now() - begun < PATIENCE / 2) == (2, True)


# -- leases --------------------------------------------------------------------------------------


async def test_tokens_are_uuids_and_sort_in_the_order_of_grants(make: Make) -> None:
    one, other = make(), make()
    tokens = []
    for number in range(6):
        await one.put(f"{number}", 0)
        tokens.append((await (one, other)[number % 2].get())[2].token)
    assert tokens == sorted(tokens)
    assert len({token[:18] for token in tokens}) == 1
    pattern = r"[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
    assert [token for token in tokens if not re.fullmatch(pattern, token)] == []


@pytest.mark.parametrize("use", ["ack", "release", "extend", "refresh", "superseded", "deadline"])
async def test_a_lease_that_ended_here_says_how(queue: Queue, use: str) -> None:
    async def lease(timeout: float | None = None) -> Lease[str]:
        await queue.put("key", 1)
        return (await queue.get(lease_timeout=timeout))[2]  # type: ignore[no-any-return]

    acked = await lease()
    await queue.ack(acked)
    with pytest.raises(LeaseAlreadyAcknowledgedError, match="acknowledged already"):
        await getattr(queue, use)(acked)
    released = await lease()
    await queue.release(released)
    with pytest.raises(InvalidLeaseError, match="released already"):
        await getattr(queue, use)(released)
    expired = await lease(0.01)
    await asyncio.sleep(0.02)
    with pytest.raises(LeaseExpiredError, match="ran out"):
        await getattr(queue, use)(expired)
    with pytest.raises(LeaseExpiredError, match="ran out"):  # and is known to have
        await getattr(queue, use)(expired)


async def test_a_rebuilt_lease_is_as_good_in_any_process(make: Make) -> None:
    here, there = make(), make()
    await here.put("key", 1)
    _, _, lease = await here.get()
    for rebuilt in (Lease(lease.token, "key"), copy.copy(lease), pickle.loads(pickle.dumps(lease))):
        await there.extend(rebuilt, 60)
        assert abs(await there.deadline(rebuilt) - now() - 60) < 10
    assert not await there.superseded(Lease(lease.token, "key"))
    assert await there.refresh(Lease(lease.token, "key")) == 1
    await there.ack(Lease(lease.token, "key"))
    with pytest.raises(InvalidLeaseError, match="by another process"):
        await here.ack(lease)
    with pytest.raises(InvalidLeaseError, match="by another process"):
        await here.extend(lease)
    with pytest.raises(InvalidLeaseError, match="not live in this queue"):
        await there.ack(Lease(lease.token, "key"))


async def test_a_lease_of_another_key_or_queue_is_none(queue: Queue) -> None:
    await queue.put("key", 1)
    _, _, lease = await queue.get()
    memory = LeasedKeyQueue[str, int]()
    await memory.put("key", 1)
    _, _, foreign = await memory.get()
    wrong = [
        Lease(lease.token, "other"),
        Lease(lease.token, 5),
        Lease(lease.token + "0", "key"),
        Lease(lease.token[:-1] + "g", "key"),
        Lease(f"{lease.token[:-2]}{(int(lease.token[-2:], 16) + 1) % 256:02x}", "key"),
        Lease("", "key"),
        Lease(5, "key"),  # type: ignore[arg-type]
        foreign,
    ]
    for one in wrong:
        with pytest.raises(InvalidLeaseError):
            await queue.ack(one)
    with pytest.raises(InvalidLeaseError):
        await memory.ack(lease)
    with pytest.raises(TypeError, match="a Lease is needed"):
        await queue.ack("lease")
    await queue.ack(lease)


async def test_what_is_known_of_a_lease_goes_with_it(queue: Queue) -> None:
    for number in range(10):
        await queue.put(f"{number}", 0)
        await queue.get()
    await asyncio.sleep(0)  # the last one was still in the hands of the loop
    gc.collect()
    assert len(queue._held) == 0


async def test_extensions_and_deadlines(queue: Queue) -> None:
    await queue.put("key", 1)
    begun = now()
    _, _, lease = await queue.get(lease_timeout=100)
    for deadline in (queue.deadline_nowait(lease), await queue.deadline(lease)):
        assert begun + 100 <= deadline + 0.01 <= now() + 100.02
    await queue.extend(lease, 200)
    assert begun + 200 <= queue.deadline_nowait(lease) <= now() + 200
    await queue.extend(lease)
    assert begun + 100 <= queue.deadline_nowait(lease) <= now() + 100
    await queue.extend(lease, inf)
    assert queue.deadline_nowait(lease) == await queue.deadline(lease) == inf


async def test_a_lease_that_came_too_late_is_not_handed_out(make: Make) -> None:
    queue = make()
    await queue.put("key", 1)
    getting = asyncio.create_task(queue.get(lease_timeout=0.2))
    await asyncio.sleep(0)
    loop = asyncio.get_running_loop()
    queue._time = lambda: loop.time() + (0.3 if "key" in getting.get_name() else 0)
    getting.set_name("key")  # as if the answer had been on its way for 0.3 s
    await until(lambda: queue._counts["orphans"] == 1)
    getting.set_name("in time")
    _, _, lease = await getting
    assert lease.attempt == 2


# -- plain methods -------------------------------------------------------------------------------


async def test_plain_methods_begin_and_answer_by_what_was_heard(queue: Queue) -> None:
    queue.put_nowait("key", 1)
    _, _, lease = await queue.get(lease_timeout=50)
    assert not queue.superseded_nowait(lease)
    queue.put_nowait("key", 2)
    assert not queue.superseded_nowait(lease)
    queue.extend_nowait(lease, 500)
    await until(lambda: queue.deadline_nowait(lease) > now() + 400)
    assert queue.superseded_nowait(lease)
    assert await queue.refresh(lease) == 2
    assert not queue.superseded_nowait(lease)
    await queue.put("key", 3)
    assert await queue.superseded(lease)
    assert queue.superseded_nowait(lease)
    queue.release_nowait(lease, requeue_front=True)
    _, _, lease = await queue.get()
    queue.ack_nowait(lease)
    await queue.join()
    with pytest.raises(LeaseAlreadyAcknowledgedError):
        queue.ack_nowait(lease)


async def test_plain_methods_tell_the_loop_what_they_can_raise_no_more(make: Make) -> None:
    queue, other = make(maxsize=1), make(maxsize=1)
    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, said: complaints.append(said))
    queue.put_nowait("a", 1)
    queue.put_nowait("b", 2)
    await until(lambda: complaints)
    assert type(complaints[0]["exception"]) is asyncio.QueueFull
    assert "put_nowait" in complaints[0]["message"]
    _, _, lease = await queue.get()
    await other.ack(Lease(lease.token, "a"))
    queue.extend_nowait(lease)  # is told by the next use
    await until(lambda: lease.token and queue._asked[-1].answered)
    with pytest.raises(InvalidLeaseError):
        queue.superseded_nowait(lease)
    await queue.put("a", 1)
    _, _, lease = await queue.get()
    await other.ack(Lease(lease.token, "a"))
    queue.ack_nowait(lease)
    await until(lambda: len(complaints) == 2)
    assert type(complaints[1]["exception"]) is InvalidLeaseError


async def test_plain_methods_know_the_time(queue: Queue) -> None:
    await queue.put("key", 1)
    _, _, lease = await queue.get(lease_timeout=0.01)
    await asyncio.sleep(0.02)
    for use in (queue.extend_nowait, queue.deadline_nowait, queue.ack_nowait, queue.release_nowait):
        with pytest.raises(LeaseExpiredError):
            use(lease)


async def test_plain_methods_that_cannot_be(make: Make) -> None:
    queue, other = make(), make()
    with pytest.raises(NotImplementedError, match=r"await get\(timeout=0\)"):
        queue.get_nowait()
    with pytest.raises(NotImplementedError, match=r"await take\(key, timeout=0\)"):
        queue.take_nowait("key")
    await other.put("key", 1)
    _, _, lease = await other.get()
    with pytest.raises(RuntimeError, match="await start"):
        queue.ack_nowait(lease)
    await queue.start()
    with pytest.raises(InvalidLeaseError, match="await superseded"):
        queue.deadline_nowait(lease)
    queue.ack_nowait(lease)
    await queue.join()


# -- bad input -----------------------------------------------------------------------------------


async def test_bad_input_is_told_before_anything_is_sent(queue: Queue) -> None:
    await queue.put("key", 1)
    _, _, lease = await queue.get()
    asked = queue._number
    bad: list[tuple[type[Exception], str, Callable[[], Awaitable[object]]]] = [
        (ValueError, "if_in_flight", lambda: queue.put("a", 1, if_in_flight="replace")),
        (TypeError, "delay", lambda: queue.put("a", 1, delay=None)),
        (ValueError, "delay", lambda: queue.put("a", 1, delay=-1)),
        (ValueError, "timeout", lambda: queue.put("a", 1, timeout=nan)),
        (TypeError, "a str is needed", lambda: queue.put(5, 1)),
        (TypeError, "a str is needed", lambda: queue.take(5)),
        (TypeError, "a str is needed", lambda: queue.peek(None)),
        (TypeError, "JSON", lambda: queue.put("a", {1, 2})),
        (ValueError, "JSON", lambda: queue.put("a", nan)),
        (ValueError, "1025 bytes, and 1024", lambda: queue.put("a" * 1025, 1)),
        (ValueError, "1048579 bytes, and 1048576", lambda: queue.put("a", "a" * 1_048_576)),
        (TypeError, "timeout", lambda: queue.get("soon")),
        (ValueError, "lease_timeout", lambda: queue.get(lease_timeout=0)),
        (TypeError, "timeout", lambda: queue.join("soon")),
        (ValueError, "timeout", lambda: queue.drain(nan)),
        (ValueError, "timeout", lambda: queue.extend(lease, 0)),
        (ValueError, "delay", lambda: queue.release(lease, delay=-1)),
        (ValueError, "front", lambda: queue.release(lease, requeue_front=True, delay=1)),
    ]
    for error, said, use in bad:
        with pytest.raises(error, match=said):
            await use()
    assert queue._number == asked
    await queue.ack(lease)


async def test_a_queue_belongs_to_one_loop(queue: Queue) -> None:
    await queue.put("key", 1)

    async def elsewhere() -> None:
        with pytest.raises(RuntimeError, match="another: use one queue for each loop"):
            await queue.get()
        with pytest.raises(RuntimeError, match="another: use one queue for each loop"):
            await queue.close()

    await asyncio.to_thread(asyncio.run, elsewhere())
    with pytest.raises(TypeError, match="make another where it is needed"):
        copy.copy(queue)
    assert (await queue.get())[0] == "key"


# -- the end -------------------------------------------------------------------------------------


async def test_join_waits_until_nothing_is_left(make: Make) -> None:
    queue, other = make(), make()
    await queue.join()
    await queue.put("key", 1)
    joining = asyncio.create_task(other.join(PATIENCE))
    await waits(queue)
    _, _, lease = await queue.get()
    assert not joining.done()
    await queue.ack(lease)
    await joining


async def test_shutdown_lets_the_rest_be_worked_off(make: Make) -> None:
    queue, other = make(), make()
    await queue.put("key", 1)
    taking = asyncio.create_task(other.take("other"))
    await waits(queue)
    await queue.shutdown()
    with pytest.raises(QueueClosedError):
        await taking
    with pytest.raises(QueueClosedError, match="no more puts"):
        await other.put("key", 2)
    seen = []

    async def work() -> None:
        async for key, _, lease in other:
            seen.append(key)
            await asyncio.sleep(0.01)
            await other.ack(lease)

    await asyncio.gather(work(), work())
    assert seen == ["key"]
    with pytest.raises(QueueClosedError, match="nothing more can come"):
        await queue.get()
    with pytest.raises(QueueClosedError, match="nothing of key 'key' can come"):
        await queue.take("key")


async def test_drain(make: Make) -> None:
    queue, other = make(), make()
    await queue.put("key", 1)
    _, _, lease = await other.get()
    draining = asyncio.create_task(queue.drain())
    await waits(queue)
    await other.ack(lease)
    assert await draining
    assert await queue.drain(0)
    with pytest.raises(QueueClosedError, match="the queue is closed"):
        await other.get()
    with pytest.raises(QueueClosedError, match="the queue is closed"):
        await make().start()


async def test_a_drain_closes_when_its_time_is_up(make: Make) -> None:
    queue, other = make(), make()
    await queue.put("key", 1)
    _, _, lease = await other.get()
    assert await queue.drain(0.02) is False
    assert await queue.available_items() == [("key", 1)]
    with pytest.raises(QueueClosedError):
        await other.ack(lease)
    with pytest.raises(QueueClosedError):
        await queue.join()


async def test_a_cancelled_drain_leaves_the_queue_shut_down(make: Make) -> None:
    queue = make()
    await queue.put("key", 1)
    draining = asyncio.create_task(queue.drain())
    await waits(queue)
    draining.cancel()
    await waits(queue, 0)
    assert (await queue.get())[0] == "key"
    with pytest.raises(QueueClosedError, match="no more puts"):
        await queue.put("key", 2)


async def test_close_for_all_closes_the_queue(make: Make) -> None:
    queue, other = make(), make()
    for key in "abc":
        await queue.put(key, 1)
    leases = [(await queue.get())[2] for _ in "ab"]
    waiting = [asyncio.create_task(other.take("x")), asyncio.create_task(other.join())]
    await waits(queue, 2)
    await queue.close_for_all()
    await queue.close_for_all()
    for call in waiting:
        with pytest.raises(QueueClosedError):
            await call
    with pytest.raises(QueueClosedError):
        await queue.ack(leases[0])
    assert await other.available_items() == [("a", 1), ("b", 1), ("c", 1)]


async def test_a_client_that_leaves_gives_everything_back_in_order(make: Make) -> None:
    stays, leaves = make(), make()
    for key in "abcd":
        await stays.put(key, 1)
    leases = [(await leaves.get())[2] for _ in "abc"]
    calls = [asyncio.create_task(leaves.take("x")), asyncio.create_task(leaves.take("y", 60))]
    await waits(stays, 2)
    await leaves.close()
    await leaves.close()
    for call in calls:
        with pytest.raises(QueueClosedError, match="left the queue"):
            await call
    uses: list[Callable[[], Awaitable[object]]] = [
        *(leaves.get, leaves.qsize, leaves.start, lambda: leaves.put("a", 1)),
        lambda: leaves.ack(leases[0]),
    ]
    for use in uses:
        with pytest.raises(QueueClosedError, match="left the queue"):
            await use()
    assert [key for key, _ in await stays.available_items()] == ["a", "b", "c", "d"]
    assert (await stays._look()).waiting == 0


async def test_a_client_can_leave_before_anything(make: Make) -> None:
    await make().close()
    queue = make()
    asking = asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    await queue.close()
    with pytest.raises(QueueClosedError):
        await asking


async def test_async_with_comes_and_leaves(make: Make) -> None:
    other = make()
    async with make() as queue:
        await queue.put("key", 1)
        await queue.get()
    assert await other.qsize() == 1
    await other.close_for_all()
    with pytest.raises(QueueClosedError):
        async with make():
            pass


# -- jobs and workers, unchanged -----------------------------------------------------------------


async def test_a_job_is_kept_alive(make: Make) -> None:
    queue, other = make(), make()
    await queue.put("key", 1)
    async with queue.job(lease_timeout=0.4) as job:
        await asyncio.sleep(0.8)
        await other.put("key", 2)
        await until(lambda: job.superseded())  # as the next heartbeat tells
        assert await job.refresh() == 2
    assert await queue.inflight_size() == await queue.qsize() == 0


async def test_a_job_is_told_that_its_lease_is_lost(make: Make) -> None:
    queue, other = make(), make()
    await queue.put("key", 1)
    with pytest.raises(LeaseLostError):  # noqa: PT012 (the block is what is tested)
        async with queue.job(lease_timeout=0.3) as job:
            await other.release(Lease(job.lease.token, "key"))
            await asyncio.sleep(PATIENCE)
    assert (await other.get(0))[2].attempt == 2


async def test_workers_do_everything_once(make: Make) -> None:
    queue, other, dead = make(), make(), LeasedKeyQueue[str, Any]()
    done: list[str] = []

    async def handler(job: Job[str, int]) -> None:
        if job.value % 5 == 0 and job.attempt == 1:
            raise ZeroDivisionError
        if job.value == 3:
            raise ValueError(job.value)
        done.append(job.key)

    for number in range(20):
        await queue.put(f"{number}", number)
    await queue.shutdown()
    options: Any = {"backoff": None, "max_attempts": 2, "dead_letter": dead}
    await asyncio.gather(*[run_workers(one, handler, **options) for one in (queue, other)])
    assert sorted(done, key=int) == [f"{n}" for n in range(20) if n != 3]
    assert [key for key, _ in await dead.available_items()] == ["3"]


async def test_batches(make: Make) -> None:
    queue = make()
    for key in "abcde":
        await queue.put(key, 1)
    batch = await queue.get_many(3, linger=0.01)
    assert [key for key, _, _ in batch] == ["a", "b", "c"]
    await queue.ack_many(lease for _, _, lease in batch)
    assert await queue.available_keys() == {"d", "e"}
    assert await queue.inflight_size() == 0
