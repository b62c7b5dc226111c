"""A server that dies, hands over, is full, read-only, loading, moved, emptied, or out of time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import redis
from redis.asyncio import RedisCluster

from tests.engine import server as servers
from tests.engine.conftest import Start
from tests.engine.proxy import Proxy
from tests.engine.server import LOOPBACK, PATIENCE, Cluster, Server, until
from tests.engine.traffic import Queue, QueueUnavailableError, Traffic, waiting, within
from tests.subject import InvalidLeaseError

LONG: dict[str, Any] = {"default_lease_timeout": PATIENCE, "unavailable_timeout": PATIENCE}


# -- kill -9 of the server -------------------------------------------------------------------------


async def kill_under_traffic(server: Server, name: str, times: int, between: float) -> Traffic:
    traffic = Traffic()
    kills = 0

    async def kill() -> None:
        nonlocal kills
        for _ in range(times):
            await traffic.progress(50)
            await asyncio.sleep(between)
            await asyncio.to_thread(server.restart)
            kills += 1

    async with (
        Queue(server.url, name, **LONG) as puts,
        Queue(server.url, name, **LONG) as gets,
        asyncio.TaskGroup() as group,
    ):
        group.create_task(kill())
        await traffic.run(puts, gets, lambda: kills < times)
    return traffic


async def test_a_killed_server_that_wrote_always_has_lost_and_doubled_nothing(
    start: Start, name: str
) -> None:
    server = await asyncio.to_thread(start, servers.append_only("always"))
    (await kill_under_traffic(server, name, 1, 0.1)).assert_exactly_once()


@pytest.mark.deep
async def test_a_server_killed_again_and_again_has_lost_and_doubled_nothing(
    start: Start, name: str
) -> None:
    server = await asyncio.to_thread(start, servers.append_only("always"))
    (await kill_under_traffic(server, name, 10, 0.5)).assert_exactly_once()


class Tape:
    """How long the file was at which time: what had been written by then is safe."""

    def __init__(self, server: Server) -> None:
        files = [*Path(server.folder).glob("**/*.aof")]  # one, but for the base of an older state
        (self.file,) = [file for file in files if ".base." not in file.name]
        self.sizes: list[tuple[float, int]] = []

    async def run(self) -> None:
        while True:
            self.sizes.append((time.monotonic(), self.file.stat().st_size))
            await asyncio.sleep(0.005)

    def cut(self, moment: float) -> None:
        """As after a power failure: what was written later is gone."""
        size = max(size for when, size in self.sizes if when <= moment)
        with self.file.open("r+b") as file:
            file.truncate(size)


async def test_a_power_failure_costs_what_was_put_in_the_last_second_and_no_more(
    start: Start, name: str
) -> None:
    """appendfsync everysec promises no more than that; a kill alone costs less."""
    server = await asyncio.to_thread(start, servers.append_only("everysec"))
    accepted: dict[str, float] = {}

    async with Queue(server.url, name, **LONG) as queue:
        tape = Tape(server)
        taping = asyncio.create_task(tape.run())
        begin = time.monotonic()
        while time.monotonic() < begin + 2:
            key = f"{len(accepted)}"
            await queue.put(key, len(accepted))
            accepted[key] = time.monotonic()
        server.kill()
        taping.cancel()
        failure = time.monotonic() - 1
        tape.cut(failure)
        await asyncio.to_thread(server.start)
        left = await queue.available_keys()
        lost = accepted.keys() - left
        assert lost, "nothing that was put in the last second is lost"
        assert all(accepted[key] > failure - 0.1 for key in lost)
        assert left < accepted.keys()
        await queue.put("after", 0)  # and it goes on
        assert "after" in await queue.available_keys()


async def test_a_lease_that_a_power_failure_has_taken_back_is_refused(
    start: Start, name: str
) -> None:
    """The item comes again, and whoever held it is told."""
    server = await asyncio.to_thread(start, servers.append_only("everysec"))
    async with Queue(server.url, name, **LONG) as queue:
        tape = Tape(server)
        await queue.put("key", 1)
        server.ask("SET", "-written-", 1)
        # The server puts off what it writes for as long as the disk is busy.
        await until(lambda: b"-written-" in tape.file.read_bytes())
        tape.sizes.append((0, tape.file.stat().st_size))
        _, _, lease = await queue.get()
        server.kill()
        tape.cut(0)
        await asyncio.to_thread(server.start)
        with pytest.raises(InvalidLeaseError):
            await queue.ack(lease)
        _, _, again = await within(PATIENCE, queue.get())
        assert again.token > lease.token
        await queue.ack(again)


# -- failover --------------------------------------------------------------------------------------


class Failover:
    """A server, its replica, and an address that leads to the one that is in charge."""

    async def __aenter__(self) -> Failover:
        self.pair = servers.with_replica()
        self.primary, self.replica = await asyncio.to_thread(self.pair.__enter__)
        self.proxy = await Proxy(self.primary).__aenter__()
        self.between = await Proxy(self.primary).__aenter__()
        self.replica.ask("REPLICAOF", LOOPBACK, self.between.port)
        await until(lambda: self.between.links and servers.in_step(self.replica))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.between.__aexit__(None, None, None)
        await self.proxy.__aexit__(None, None, None)
        self.pair.__exit__(None, None, None)

    def part(self) -> None:
        """The replica hears nothing any more."""
        self.between.open.clear()

    async def promote(self) -> None:
        """The server dies, and the replica takes over with what it has."""
        await asyncio.to_thread(self.primary.kill)
        await asyncio.to_thread(servers.promote, self.replica)
        self.proxy.target = self.replica
        self.proxy.cut()


async def test_a_replica_that_heard_nothing_has_not_what_was_put_meanwhile(name: str) -> None:
    async with Failover() as pair, Queue(pair.proxy.url, name, **LONG) as queue:
        await queue.put("before", 0)
        await until(lambda: pair.replica.ask("HLEN", f"lkq:{{{name}}}:keys") == 1)
        pair.part()
        for number in range(100):
            await queue.put(f"{number}", number)
        await pair.promote()
        assert await queue.available_keys() == {"before"}
        await queue.put("after", 1)
        assert await queue.available_keys() == {"before", "after"}


async def test_a_put_that_is_durable_on_a_replica_survives_the_promotion(name: str) -> None:
    """What the replica has not confirmed in time raises, and says that nobody knows."""
    accepted, unknown = set(), set()
    async with (
        Failover() as pair,
        Queue(
            pair.proxy.url,
            name,
            default_lease_timeout=PATIENCE,
            unavailable_timeout=0.5,
            durable="replica",
        ) as queue,
    ):
        for number in range(93):
            if number == 90:
                pair.part()
            if number < 90:
                await queue.put(f"{number}", number)
                accepted.add(f"{number}")
                continue
            unknown.add(f"{number}")
            with pytest.raises(QueueUnavailableError) as caught:
                await queue.put(f"{number}", number)
            assert caught.value.outcome == "unknown"
        await pair.promote()
        left = await queue.available_keys()
        assert accepted <= left <= accepted | unknown


async def test_traffic_with_durable_puts_loses_nothing_to_a_promotion(name: str) -> None:
    traffic = Traffic()
    durable: dict[str, Any] = {"durable": "replica", "unavailable_timeout": 1}
    async with (
        Failover() as pair,
        Queue(pair.proxy.url, name, **durable) as puts,
        Queue(pair.proxy.url, name, **LONG) as gets,
    ):

        async def fail() -> None:
            await traffic.progress(100)
            await pair.promote()
            # There is no replica now that could confirm anything.
            await until(lambda: len(traffic.unknown) >= traffic.producers, "puts that nobody knows")

        async with asyncio.TaskGroup() as group:
            failing = group.create_task(fail())
            await traffic.run(puts, gets, lambda: not failing.done())
    traffic.assert_nothing_lost()


# -- a server that refuses -------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [lambda server: server, servers.without_functions])
async def test_a_full_server_refuses_puts_and_takes_what_makes_room(
    start: Start, name: str, kind: Callable[[Server], Server]
) -> None:
    server = await asyncio.to_thread(start, kind(servers.small()))
    async with Queue(server.url, name, **LONG) as queue:
        accepted = 0

        async def fill() -> None:
            nonlocal accepted
            for number in range(1_000):
                await queue.put(f"{number}", "x" * 50_000)
                accepted += 1

        with pytest.raises(QueueUnavailableError, match="OOM") as caught:
            await fill()
        assert caught.value.outcome == "not done"
        assert await queue.qsize() == accepted
        other = Queue(server.url, name, **LONG)
        await within(PATIENCE, other.start())  # another client can come
        await other.close()
        for number in range(20):
            key, _, lease = await queue.get()
            assert key == f"{number}"
            await queue.extend(lease)
            await queue.ack(lease)
        await queue.put("after", "x" * 50_000)
        assert await queue.qsize() == accepted - 19


async def test_a_server_that_has_become_a_replica_is_waited_for(start: Start, name: str) -> None:
    server = await asyncio.to_thread(start, servers.plain())
    async with Queue(server.url, name, **LONG) as queue:
        await queue.put("key", 1)
        _, _, lease = await queue.get()
        server.ask("REPLICAOF", LOOPBACK, 1)
        acking = asyncio.create_task(queue.ack(lease))
        putting = asyncio.create_task(queue.put("other", 2))
        await asyncio.sleep(0.3)
        assert not acking.done() or acking.result() is None
        servers.promote(server)
        await within(PATIENCE, asyncio.gather(acking, putting))
        assert await queue.available_keys() == {"other"}
        assert await queue.inflight_size() == 0


async def test_a_server_that_stays_a_replica_raises_in_time(start: Start, name: str) -> None:
    server = await asyncio.to_thread(start, servers.plain())
    async with Queue(server.url, name, unavailable_timeout=0.5) as queue:
        await queue.put("key", 1)
        server.ask("REPLICAOF", LOOPBACK, 1)
        with pytest.raises(QueueUnavailableError) as caught:
            await within(PATIENCE, queue.put("other", 2))
        assert caught.value.outcome in ("not done", "unknown")


async def test_a_server_that_loads_is_waited_for(start: Start, name: str) -> None:
    server = await asyncio.to_thread(start, servers.append_only("always"))
    async with Queue(server.url, name, **LONG) as queue:
        for number in range(100):
            await queue.put(f"{number}", number)
        server.kill()
        # So that it answers while it loads, and takes its time.
        server.options |= {"key_load_delay": 1_000, "loading_process_events_interval_bytes": 1024}
        server.launch()
        assert len(await within(PATIENCE, queue.available_keys())) == 100
        assert b"loading" in (server.folder / "log").read_bytes().lower()


async def test_a_server_that_hangs_is_waited_for(start: Start, name: str) -> None:
    server = await asyncio.to_thread(start, servers.plain())
    async with Queue(server.url, name, **LONG) as queue:
        await queue.put("key", 1)
        with server.stopped():
            getting = asyncio.create_task(queue.get())
            await asyncio.sleep(0.3)
            assert not getting.done()
        assert (await within(PATIENCE, getting))[:2] == ("key", 1)


@pytest.mark.parametrize("flush", [("SCRIPT", "FLUSH"), ("FUNCTION", "FLUSH")])
async def test_a_program_that_was_flushed_is_loaded_again(
    start: Start, name: str, flush: tuple[str, str]
) -> None:
    server = await asyncio.to_thread(start, servers.plain())
    traffic = Traffic()
    async with Queue(server.url, name, **LONG) as queue, asyncio.TaskGroup() as group:

        async def flush_often() -> None:
            for _ in range(5):
                await traffic.progress(20)
                server.ask(*flush)

        flushing = group.create_task(flush_often())
        await traffic.run(queue, queue, lambda: not flushing.done())
    traffic.assert_exactly_once()


def refused(server: Server, code: str) -> bool:
    """Whether the server has answered with this error, ever."""
    return f"errorstat_{code}:".encode() in server.ask("INFO", "errorstats")


async def test_a_server_that_is_busy_with_the_script_of_somebody_else_is_waited_for(
    start: Start, name: str
) -> None:
    server = await asyncio.to_thread(start, servers.plain(lua_time_limit=20))
    async with (
        Queue(server.url, name, **LONG) as queue,
        Queue(server.url, f"{name}-impatient", unavailable_timeout=0.5) as impatient,
    ):
        await queue.put("key", 1)
        await impatient.put("key", 1)
        _, _, lease = await queue.get()
        with pytest.raises(TimeoutError):
            await impatient.take("none", 0.01)
        running = asyncio.create_task(asyncio.to_thread(run_for_ever, server))
        await until(lambda: is_busy(server), "a script that runs")
        under_way = [queue.put("other", 2), queue.ack(lease), queue.take("other")]
        tasks = [asyncio.create_task(call) for call in under_way]
        with pytest.raises(QueueUnavailableError, match="BUSY") as caught:
            await impatient.put("never", 1)
        assert caught.value.outcome == "not done"
        assert not any(task.done() for task in tasks)
        server.ask("SCRIPT", "KILL")
        await running
        _, _, (_, value, _) = await within(PATIENCE, asyncio.gather(*tasks))
        assert value == 2
        assert await impatient.available_keys() == {"key"}
        assert refused(server, "BUSY")


def run_for_ever(server: Server) -> None:
    with pytest.raises(redis.ResponseError, match="killed"):
        server.ask("EVAL", "while true do end", 0)


def is_busy(server: Server) -> bool:
    try:
        server.ask("GET", "anything")
    except redis.ResponseError as error:
        return "BUSY" in str(error)
    return False


async def test_a_client_that_does_not_listen_is_cut_off_and_hears_of_everything(
    start: Start, name: str
) -> None:
    """What the server had to say to it is lost, such as that its calls have something."""
    limit = "pubsub 1mb 0 0"
    server = await asyncio.to_thread(start, servers.plain(client_output_buffer_limit=limit))
    async with (
        Queue(server.url, name, claim_timeout=PATIENCE, **LONG) as gets,
        Queue(server.url, name, claim_timeout=PATIENCE, **LONG) as puts,
    ):
        getting = [asyncio.create_task(gets.get()) for _ in range(20)]
        await waiting(puts, 20)
        link: Any = gets._store.__dict__["_link"]
        connects = link.connects
        link.ears.transport.pause_reading()
        channel = f"lkq:{{{name}}}:{gets.session}"

        def is_full() -> bool:
            """Whether the server has something for it that it cannot get rid of."""
            server.ask("PUBLISH", channel, "noise" * 10_000)
            listening = server.ask("CLIENT", "LIST", "TYPE", "pubsub").splitlines()
            return not all(b" omem=0 " in line for line in listening)

        def is_cut_off() -> bool:
            server.ask("PUBLISH", channel, "noise" * 10_000)
            return channel.encode() not in server.ask("PUBSUB", "CHANNELS", channel)

        await until(is_full)
        for number in range(10):
            await puts.put(f"{number}", number)
        await until(is_cut_off, "the end of its connection")
        assert not any(task.done() for task in getting)
        link.ears.transport.resume_reading()
        await until(lambda: link.connects > connects)
        got = await within(PATIENCE, asyncio.gather(*getting[:10]))
        assert [value for _, value, _ in got] == [*range(10)]
        for number in range(10, 20):
            await puts.put(f"{number}", number)
        got = await within(PATIENCE, asyncio.gather(*getting[10:]))
        assert [value for _, value, _ in got] == [*range(10, 20)]
        assert gets._counts["renewed"] == 0  # it was not taken for dead


# -- a cluster -------------------------------------------------------------------------------------


async def test_a_slot_that_moves_under_traffic_loses_and_doubles_nothing(
    cluster: Cluster, name: str
) -> None:
    traffic = Traffic()
    slot = cluster.slot(f"lkq:{{{name}}}")
    async with cluster_queue(cluster, name) as puts, cluster_queue(cluster, name) as gets:

        async def move() -> None:
            for _ in range(3):
                await traffic.progress(50)
                await asyncio.to_thread(cluster.move, slot, (cluster.owner(slot) + 1) % 3)

        async with asyncio.TaskGroup() as group:
            moving = group.create_task(move())
            await traffic.run(puts, gets, lambda: not moving.done())
    traffic.assert_exactly_once()


async def test_queues_of_a_cluster_are_spread_over_its_nodes_and_each_is_whole(
    cluster: Cluster, name: str
) -> None:
    owners = set()
    for number in range(6):
        one = f"{name}-{number}"
        owners.add(cluster.owner(cluster.slot(f"lkq:{{{one}}}")))
        async with cluster_queue(cluster, one) as puts, cluster_queue(cluster, one) as gets:
            getting = asyncio.create_task(gets.get())
            await waiting(puts, 1)
            await puts.put("key", number)
            _, value, lease = await within(PATIENCE, getting)
            assert value == number
            await gets.ack(lease)
    assert len(owners) > 1


async def test_a_queue_in_the_midst_of_its_move_is_waited_for(cluster: Cluster, name: str) -> None:
    """ASK: it is answered as long as the slot moves. Half a queue is nowhere asked for anything."""
    slot = cluster.slot(f"lkq:{{{name}}}")
    origin, target = cluster.owner(slot), (cluster.owner(slot) + 1) % 3
    async with cluster_queue(cluster, name) as queue:
        await queue.put("a", 1)
        _, _, lease = await queue.get()
        getting = asyncio.create_task(queue.get())
        await waiting(queue, 1)
        for moves in (False, True):  # at first the move is called off
            cluster.begin_move(slot, target)
            calls = [queue.put(f"{moves}", 2), queue.extend(lease)]
            under_way = [asyncio.create_task(call) for call in calls]
            await until(lambda: refused(cluster.nodes[origin], "ASK"))
            await asyncio.sleep(0.3)
            assert not any(task.done() for task in [*under_way, getting])
            if moves:
                await asyncio.to_thread(cluster.move, slot, target)
            else:
                cluster.call_off(slot)
            await within(PATIENCE, asyncio.gather(*under_way))
            _, value, other = await within(PATIENCE, getting)
            assert value == 2
            await queue.ack(other)
            getting = asyncio.create_task(queue.get())
            await waiting(queue, 1)
            cluster.nodes[origin].ask("CONFIG", "RESETSTAT")
        assert cluster.owner(slot) == target
        await queue.ack(lease)
        getting.cancel()


async def test_a_cluster_that_is_down_is_waited_for(cluster: Cluster, name: str) -> None:
    slot = cluster.slot(f"lkq:{{{name}}}")
    node = cluster.nodes[cluster.owner(slot)]
    async with cluster_queue(cluster, name) as queue:
        await queue.put("a", 1)
        getting = asyncio.create_task(queue.take("b"))
        await waiting(queue, 1)
        besides = (slot - 1, slot + 1)
        lost = next(other for other in besides if cluster.nodes[cluster.owner(other)] is node)
        node.ask("CLUSTER", "DELSLOTS", lost)  # of which nobody takes care now
        await until(lambda: b"cluster_state:fail" in node.ask("CLUSTER", "INFO"))
        putting = asyncio.create_task(queue.put("b", 2))
        await until(lambda: refused(node, "CLUSTERDOWN"))
        assert not putting.done()
        node.ask("CLUSTER", "ADDSLOTS", lost)
        await within(PATIENCE, putting)
        assert (await within(PATIENCE, getting))[1] == 2
        assert await queue.available_keys() == {"a"}


@asynccontextmanager
async def cluster_queue(cluster: Cluster, name: str) -> AsyncIterator[Queue]:
    async with (
        RedisCluster.from_url(cluster.url) as client,
        Queue(client, name, **LONG) as queue,
    ):
        yield queue


# -- everything gone -------------------------------------------------------------------------------


async def test_an_emptied_server_is_a_new_queue_and_nobody_hangs(start: Start, name: str) -> None:
    server = await asyncio.to_thread(start, servers.plain())
    async with Queue(server.url, name, session_ttl=1, **LONG) as queue:
        await queue.put("key", 1)
        _, _, lease = await queue.get()
        getting = asyncio.create_task(queue.get())
        await waiting(queue, 1)
        server.ask("FLUSHALL")
        with pytest.raises(InvalidLeaseError):
            await within(PATIENCE, queue.ack(lease))
        await waiting(queue, 1)  # the call has come again
        await queue.put("other", 2)
        key, _, new = await within(PATIENCE, getting)
        assert key == "other"
        assert new.token != lease.token
        await queue.ack(new)
