"""What lies between the client and the server: connections, and errors of the server's own."""

from __future__ import annotations

import asyncio
import re
import subprocess
import tempfile
import warnings
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hiredis import ReplyError
from redis.asyncio import RedisCluster
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.sentinel import Sentinel
from redis.exceptions import RedisError

from tests.engine import server as servers
from tests.engine.conftest import Start
from tests.engine.server import PATIENCE, Cluster, Server, until
from tests.subject import QueueClosedError, module
from tools.server import free_port

Queue = module("redis").RedisLeasedKeyQueue
QueueUnavailableError = module("redis").QueueUnavailableError
RedisStore = module("redis.store").RedisStore
BATCH, BULK = module("redis.store").BATCH, module("redis.store").BULK
Request = module("engine.store").Request
Source = module("redis.source").Source
wire = module("redis.wire")

# What Redis 6 puts before the error of a command within a script.
WRAPPED = "ERR Error running script (call to f_0): @user_script:7: @user_script: 7: -"


def connections(server: Server) -> int:
    """How many there are, but for the one that asks."""
    return len(server.ask("CLIENT", "LIST").splitlines()) - 1


async def ended(server: Server) -> None:
    while await asyncio.to_thread(connections, server):  # noqa: ASYNC110
        await asyncio.sleep(0.01)


@pytest.fixture
async def alone(start: Start) -> Server:
    """A server that nobody else uses."""
    return await asyncio.to_thread(start, servers.plain())


# -- two connections -----------------------------------------------------------------------------


async def test_a_process_has_two_connections_however_many_queues_and_tasks(alone: Server) -> None:
    queues = [Queue(alone.url, f"{number}") for number in range(7)]
    calls = [asyncio.create_task(queue.get()) for queue in queues for _ in range(20)]
    for queue in queues:
        while (await queue._look()).waiting != 20:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert connections(alone) == 2
    for queue in queues[1:]:
        await queue.close()
    assert connections(alone) == 2
    await queues[0].close()
    await ended(alone)
    for call in calls:
        with pytest.raises(QueueClosedError):
            await call
    async with Queue(alone.url, "again") as queue:
        await queue.put("key", 1)
        assert connections(alone) == 2


async def test_an_idle_client_says_nothing_but_that_it_is_alive(alone: Server) -> None:
    def commands() -> int:
        said = alone.ask("INFO", "commandstats").decode()
        lines = [line for line in said.split() if "_fcall" in line]
        return sum(int(line.split("calls=")[1].split(",")[0]) for line in lines)

    async with Queue(alone.url, "idle", session_ttl=4) as queue:
        calls = [asyncio.create_task(queue.get()) for _ in range(1000)]
        while (await queue._look()).waiting != 1000:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        before = commands()
        await asyncio.sleep(2.5)
        assert 1 <= commands() - before <= 3
        for call in calls:
            call.cancel()


# -- fit and unfit servers -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "durable", "said"),
    [
        ({"maxmemory_policy": "allkeys-lru"}, None, "maxmemory-policy is allkeys-lru"),
        ({}, "fsync", "append-only file"),
        ({"replicaof": "127.0.0.1 1"}, None, "it is a replica"),
    ],
)
async def test_servers_that_are_not_fit_are_refused(
    start: Start, name: str, options: dict[str, Any], durable: Any, said: str
) -> None:
    server = await asyncio.to_thread(start, servers.plain(**options))
    queue = Queue(server.url, name, durable=durable)
    for call in (queue.start, queue.get):  # each asks anew
        with pytest.raises(QueueUnavailableError, match=said) as caught:
            await call()
        assert caught.value.outcome == "not done"
    await queue.close()
    await ended(server)


async def test_a_queue_that_was_made_otherwise_is_refused(server: Server, name: str) -> None:
    async with Queue(server.url, name, maxsize=5) as queue:
        other = Queue(server.url, name)
        for call in (other.start, other.get):
            with pytest.raises(QueueUnavailableError, match="its maxsize is 5"):
                await call()
        await other.close()
        await queue.put("key", 1)


async def test_a_server_without_a_file_is_warned_of(server: Server, name: str) -> None:
    with pytest.warns(UserWarning, match="no append-only file"):
        async with Queue(server.url, name):
            pass
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        queue = Queue(server.url, name)
        with pytest.raises(UserWarning, match="no append-only file"):
            await queue.start()
        await queue.close()


async def test_puts_that_are_on_disk(start: Start, name: str) -> None:
    server = await asyncio.to_thread(start, servers.append_only("everysec"))
    async with Queue(server.url, name, durable="fsync") as queue:
        await asyncio.gather(*[queue.put(f"{number}", 1) for number in range(20)])
        assert await queue.qsize() == 20


async def test_a_confirmation_that_the_server_refuses(server: Server, name: str) -> None:
    async with Queue(server.url, name) as queue:
        queue._durable = True
        queue._store._durable = "fsync"  # as if the file had been switched off meanwhile
        with pytest.raises(QueueUnavailableError, match="may not be on disk") as caught:
            await queue.put("key", 1)
        assert caught.value.outcome == "unknown"
        assert await queue.qsize() == 1


async def test_a_server_without_functions(start: Start, name: str) -> None:
    server = servers.without_functions(servers.plain())
    await asyncio.to_thread(start, server)
    async with Queue(server.url, name) as queue:
        await queue.put("key", 1)
        server.ask("SCRIPT", "FLUSH")
        _, _, lease = await queue.get(PATIENCE)
        await queue.ack(lease)
    assert b"evalsha" in server.ask("INFO", "commandstats")


async def test_a_user_who_may_not(alone: Server, name: str) -> None:
    alone.ask("ACL", "SETUSER", "low", "on", "nopass", "~*", "&*", "+@all", "-function", "-script")
    alone.ask("ACL", "SETUSER", "deaf", "on", "nopass", "~*", "resetchannels", "+@all")
    alone.ask("ACL", "SETUSER", "blind", "on", "nopass", "~*", "&*", "+@all", "-info")
    for user, said in [("low", "NOPERM.*function"), ("deaf", "NOPERM.*channel"), ("blind", "info")]:
        url = f"{alone.url}?username={user}&password=x"
        queue = Queue(url, name, unavailable_timeout=0.5)
        with pytest.raises(QueueUnavailableError, match=said) as caught:
            await queue.start()
        assert caught.value.outcome == "not done"
        await queue.close()
    async with Queue(alone.url, name) as queue:
        await queue.put("key", 1)
        alone.ask("ACL", "SETUSER", "default", "-fcall")
        with pytest.raises(QueueUnavailableError, match="NOPERM") as caught:
            await queue.get(0)
        assert caught.value.outcome == "not done"
        alone.ask("ACL", "SETUSER", "default", "+fcall")
        assert (await queue.get())[0] == "key"


def test_a_sentinel_knows_the_primary_and_who_follows_it(name: str) -> None:
    with (
        servers.with_replica() as (primary, replica),
        tempfile.TemporaryDirectory(prefix="lkq-") as folder,
    ):
        port = free_port()
        settings = Path(folder) / "sentinel.conf"
        settings.write_text(
            f"port {port}\nbind 127.0.0.1\ndir {folder}\n"
            f"sentinel monitor main 127.0.0.1 {primary.port} 1\n"
            "sentinel down-after-milliseconds main 500\nsentinel failover-timeout main 5000\n"
        )
        program = [primary.program, str(settings), "--sentinel"]
        with subprocess.Popen(program, stdout=subprocess.DEVNULL) as watching:
            try:
                asyncio.run(a_failover(port, name, primary, replica))
            finally:
                watching.kill()


async def a_failover(port: int, name: str, primary: Server, replica: Server) -> None:
    make: Any = Sentinel
    sentinel = make([("127.0.0.1", port)])

    async def known() -> bool:
        with suppress(RedisError):
            return len(await sentinel.discover_slaves("main")) == 1
        return False

    async with asyncio.timeout(PATIENCE):
        while not await known():  # noqa: ASYNC110 (the server is asked)
            await asyncio.sleep(0.05)
        primary_client = sentinel.master_for("main")
        async with Queue(primary_client, name, unavailable_timeout=PATIENCE) as queue:
            await queue.put("key", 1)
            while not replica.ask("EXISTS", f"lkq:{{{name}}}:line"):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            waiting = asyncio.create_task(queue.take("later"))
            await asyncio.to_thread(primary.kill)
            await queue.put("later", 1)
            assert (await waiting)[0] == "later"
            assert b"role:master" in replica.ask("INFO", "replication")
            assert (await queue.get())[0] == "key"
        for one in sentinel.sentinels:
            await one.aclose()
        await primary_client.aclose()


async def test_the_old_connection_is_ended_before_the_new_one_is_used(
    alone: Server, name: str
) -> None:
    def killed() -> bool:
        return b"cmdstat_client|kill:calls=1," in alone.ask("INFO", "commandstats")

    async with Queue(alone.url, name) as queue:
        assert not killed()
        queue._store._link.lose("as if it had been")
        await queue.put("key", 1)
        assert killed()
        assert queue._store.connects == 2


async def test_queues_of_a_cluster_are_found_by_any_of_its_nodes(cluster: Cluster) -> None:
    """By a client of redis-py that knows one of them, and by the URL of one."""
    known = RedisCluster(startup_nodes=[ClusterNode("127.0.0.1", cluster.url.rpartition(":")[2])])
    for number in range(6):
        async with Queue(known, f"{number}") as here, Queue(cluster.url, f"{number}") as there:
            getting = asyncio.create_task(there.get())
            while (await here._look()).waiting != 1:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            await here.put("key", number)
            assert (await getting)[1] == number
    assert {node.ask("DBSIZE") > 0 for node in cluster.nodes} == {True}
    # While the node that has a queue is gone, the others are asked; and it is found again.
    async with Queue(known, "0", unavailable_timeout=PATIENCE) as queue:
        await queue.start()
        node = cluster.nodes[cluster.owner(cluster.slot("lkq:{0}"))]
        await asyncio.to_thread(node.kill)
        putting = asyncio.create_task(queue.put("more", 1))
        await asyncio.sleep(0.5)
        await asyncio.to_thread(node.start)
        await putting


async def test_two_clients_load_the_machine_at_once(alone: Server, name: str) -> None:
    queues = [Queue(alone.url, name) for _ in range(2)]
    # Not in one loop, where they would share the connections.
    other = Queue(alone.url + "?client_name=other", name)
    await asyncio.gather(*[queue.start() for queue in (*queues, other)])
    for queue in (*queues, other):
        await queue.close()


# -- with puppets for the server -----------------------------------------------------------------


class Owner:
    """A shell that takes down what it is told."""

    session = "0123456789abcdef"
    known = opened = False

    def __init__(self) -> None:
        self.said: list[Any] = []

    def greeting(self) -> Any:
        return Request("open", (), None)

    def done(self) -> int:
        return 0

    def answered(self, request: Any, reply: Any) -> None:
        self.said.append((request, reply))

    def failed(self, request: Any, error: Exception) -> None:
        self.said.append((request.op, error))

    def refused(self, error: Exception) -> None:
        self.said.append(("refused", error))


class Silent:
    """A link on which nothing is ever answered."""

    up = True
    sharded = False
    connects = 1
    why = "it is silent"
    address = None

    def __init__(self) -> None:
        self.written: list[Any] = []
        self.info: dict[str, str] = {}

    def __getattr__(self, name: str) -> Any:
        def note(*arguments: Any) -> list[Any]:
            self.written.append((name, *arguments))
            return []

        return note


@pytest.fixture
def store() -> Any:
    """A store with puppets for its shell and its link."""
    store = RedisStore(Source(object, {}, "identity"), "name", None, 5)
    store._owner, store._link = Owner(), Silent()
    store._loop = SimpleNamespace(call_later=lambda *_: SimpleNamespace(cancel=lambda: None))
    store._ready = True
    return store


def test_errors_of_the_server(store: Any) -> None:
    full = "OOM used too much"
    said = [(full, "not done"), (WRAPPED + full, "not done"), ("ERR what is this", "unknown")]
    for error, outcome in said:
        request = Request("put", (), None)
        store.send(request)
        store.flow()
        store.reply([request], ReplyError(error))
        op, failure = store._owner.said.pop()
        assert (op, failure.outcome) == ("put", outcome)
        assert error.removeprefix(WRAPPED) in str(failure)
    for error in ("LOADING wait", "CLUSTERDOWN wait", "TRYAGAIN later", "BUSY with a script"):
        request = Request("put", (), None)
        store._ready = True
        store.send(request)
        store.flow()
        store.reply([request], ReplyError(error))
        assert store._pending.pop() is request
        assert (request.sent, store.trouble, store.connected) == (0, error, False)
    store._again(False)
    assert store._link.written[-1] == ("subscribe", store)
    store.subscribed(None)
    store.subscribed(None)  # there were two of them under way
    assert store._owner.said == []
    greeting = store._greeting
    store.reply([greeting], [b"again"])
    assert (greeting.sent, store._greeting is greeting) == (2, True)
    store._again(False)  # a greeting is under way already
    assert store._link.written[-1][0] == "write"
    store._loaded(ReplyError("ERR Library 'leasedkeyq2' already exists"))
    assert store._link.written[-1] == ("subscribe", store)


def sent(store: Any) -> list[list[Any]]:
    """The requests of each call that was written since the last time."""
    calls = [call[-1] for call in store._link.written if call[0] == "write"]
    store._link.written.clear()
    return calls


def test_requests_of_one_turn_go_together(store: Any) -> None:
    requests = [Request("put", (b"key", b"value"), None) for _ in range(BATCH + 3)]
    for request in requests:
        store.send(request)
    flushed = store._link.written.index(("flush",))
    assert store._link.written[:flushed] == [("soon", store)]
    store.flow()
    assert sent(store) == [requests[:BATCH], requests[BATCH:]]
    assert [request.sent for request in requests] == [1] * len(requests)
    store.flow()  # there is nothing left
    assert sent(store) == []


def test_what_takes_many_bytes_goes_in_calls_of_its_own(store: Any) -> None:
    size = BULK * 2 // 5
    requests = [Request("put", (b"key", b"v" * size), None) for _ in range(5)]
    requests.append(Request("put", (b"key", b"v" * 3 * BULK), None))
    for request in requests:
        store.send(request)
    store.flow()
    assert sent(store) == [requests[:1], requests[1:3], requests[3:4], requests[4:5], requests[5:]]
    assert [request.sent for request in requests] == [1] * len(requests)


def test_requests_of_two_sessions_do_not_go_together(store: Any) -> None:
    requests = [Request("get", (), None) for _ in range(4)]
    for request, session in zip(requests, ("old", "old", "new", "old"), strict=True):
        request.session = session
        store.send(request)
    store.flow()
    assert sent(store) == [requests[:2], requests[2:3], requests[3:]]


def test_a_server_without_memory_still_takes_what_is_no_put(store: Any) -> None:
    get, put, ack = (Request(op, (), None) for op in ("get", "put", "ack"))
    for request in (get, put, ack):
        store.send(request)
    store.flow()
    (call,) = sent(store)
    store.reply(call, ReplyError("OOM used too much"))
    assert [(op, error.outcome) for op, error in store._owner.said] == [("put", "not done")]
    assert store._link.written == [("soon", store)]
    store.flow()
    assert sent(store) == [[get, ack]]
    store.send(put)
    store.send(get)
    store.flow()
    assert sent(store) == [[put], [get]]  # so the one does not keep the other from being done
    store.reply([put], [b"ok"])
    store.send(put)
    store.send(get)
    store.flow()
    assert sent(store) == [[put, get]]


def test_each_request_of_a_call_has_its_own_answer(store: Any) -> None:
    requests = [Request("get", (), None) for _ in range(3)]
    replies = [b"ok", [b"dead", b"7"], [b"ok", 7, b"key", b"value", 1]]
    store.reply(requests, replies)
    assert store._owner.said == [
        *[(requests[0], [b"ok"]), (requests[1], replies[1]), (requests[2], replies[2])]
    ]


async def test_many_tasks_make_few_calls(alone: Server, name: str) -> None:
    async with Queue(alone.url, name) as queue:
        alone.ask("CONFIG", "RESETSTAT")
        await asyncio.gather(*(queue.put(f"{n}", n) for n in range(4 * BATCH)))
        got = await asyncio.gather(*(queue.get() for _ in range(4 * BATCH)))
        await asyncio.gather(*(queue.ack(lease) for *_, lease in got))
        assert [number for _, number, _ in got] == [*range(4 * BATCH)]
        calls = re.search(rb"cmdstat_fcall:calls=(\d+)", alone.ask("INFO", "commandstats"))
        assert calls is not None
        assert int(calls[1]) <= 3 * 4 + 1
        assert await queue.qsize() == await queue.inflight_size() == 0


def test_what_is_sent_again_keeps_its_order_and_a_greeting_is_not_sent_again(store: Any) -> None:
    first, second, third = (Request(op, (), None) for op in ("first", "second", "third"))
    store.send(first)
    store.send(second)
    store.flow()
    store.greet()
    store.subscribed(None)
    store.send(third)
    greeting = store._greeting
    store.link_down([[second], None, [greeting], [first]])  # in whatever order they were under way
    assert store._pending == [first, second, third]
    assert greeting.answered


def test_a_put_that_is_not_confirmed(store: Any) -> None:
    store._durable = "replica"
    puts = [Request("confirm", (), None) for _ in range(4)]
    store.confirm(puts[0])
    store.confirm(puts[1])  # for the next
    (batch,) = [command for *_, command in store._link.written]
    assert batch == puts[:1]
    store.reply(batch, 0)
    assert "not confirmed in time" in str(store._owner.said.pop()[1])
    store.confirm(puts[2])
    store.link_down([store._link.written[-1][-1]])
    assert [op for op, _ in store._owner.said] == ["confirm"] * 2
    assert all("the connection was lost" in str(error) for _, error in store._owner.said)


def test_the_greeting_may_be_put_off(store: Any) -> None:
    store.greet()
    store.subscribed(None)
    greeting = store._greeting
    store.reply([greeting], ReplyError("LOADING wait"))
    assert (greeting.answered, store._greeting, store._pending) == (True, None, [])
    assert store._timer is not None
    store.part()  # and nothing is tried again
    assert store._timer is None


def test_without_a_link_there_is_nothing_to_say(store: Any) -> None:
    assert (store.trouble, store.connects) == ("it has not answered in time", 1)
    store.suspect()
    assert store._link.written.pop()[0] == "lose"
    request = Request("put", (), None)
    store.send(request)
    store.flow()
    assert not store.withdraw(request)
    store._link.written.clear()
    store._link.up = False
    assert store.trouble == "it is silent"
    store.greet()
    store.suspect()
    assert store._link.written == []
    store.confirm(Request("confirm", (), None))  # waits until the link is up, or lost
    assert store._link.written == []
    store.part()
    assert store._owner.said[-1][0] == "confirm"
    store.listen()
    store.suspect()
    store._again(True)
    store._again(False)
    store._look_elsewhere()
    store._load()
    store.part()
    assert (store.trouble, store.connects) == ("it has not answered in time", 0)


def test_a_replica_is_waited_for_if_the_queue_was_known(store: Any) -> None:
    store._link.info = {"role": "slave"}
    store.link_up()
    assert store._owner.said.pop()[0] == "refused"
    store._owner.known = True
    store.link_up()
    assert store._owner.said == []
    store._again(True)
    assert store._link.written[-1][0] == "lose"


async def test_another_node_is_tried_if_one_is_out_of_reach(name: str) -> None:
    seeds = [("127.0.0.1", 1), ("127.0.0.1", 2)]
    tried: list[Any] = []

    class Closed(Source):  # type: ignore[misc,valid-type]
        def dial(self, address: Any) -> Any:
            tried.append(address)
            return SimpleNamespace(connect=self.refuse)

        async def refuse(self) -> None:
            raise OSError("nobody is here")

    queue = Queue("redis://127.0.0.1:1", name, unavailable_timeout=0.4)
    queue._store._source = Closed(object, {}, "closed", seeds)
    with pytest.raises(QueueUnavailableError, match="nobody is here") as caught:
        await queue.put("key", 1)
    assert caught.value.outcome == "not done"
    assert {*tried} == {*seeds}
    assert len(tried) < 20
    await queue.close()
    assert not wire._LINKS[asyncio.get_running_loop()]


@pytest.fixture
async def link() -> AsyncIterator[Any]:
    """A link that never comes up by itself."""

    async def never() -> None:
        await asyncio.sleep(PATIENCE)

    source = Source(lambda **_: SimpleNamespace(connect=never), {}, "never")
    link = wire.Link(asyncio.get_running_loop(), source, None, lambda link: None)
    link.ears = SimpleNamespace(said=0, write=lambda data: None, close=never)
    yield link
    link._task.cancel()
    await asyncio.wait([link._task])


class Tenant:
    channel = b"here"

    def __init__(self) -> None:
        self.said: list[Any] = []

    def __getattr__(self, name: str) -> Any:
        return lambda *arguments: self.said.append((name, *arguments))


async def test_what_comes_for_those_who_left_goes_nowhere(link: Any) -> None:
    stays, leaves = Tenant(), Tenant()
    leaves.channel = b"there"
    for tenant in (stays, leaves):
        link.join(tenant)
        link.write(b"", tenant, "command")
        link.subscribe(tenant)
    asked = asyncio.create_task(link._ask("PING"))
    await asyncio.sleep(0)
    asked.cancel()
    assert link.part(leaves) == ["command"]
    assert link.part(leaves) == []
    for _ in range(3):
        link._reply([])
        await asyncio.sleep(0)
    link._hear([b"subscribe", b"here", 1])
    link._hear([b"subscribe", b"there", 1])
    link._hear([b"subscribe", b"there", 1])  # of nobody
    link._hear([b"message", b"there", b"ready 1"])
    link._hear([b"unsubscribe", b"there", 1])
    assert stays.said == [("reply", "command", []), ("subscribed", None)]
    assert leaves.said == []
    stays_too = Tenant()
    link.up = True
    stays_too.channel = b"other"
    link.join(stays_too)
    link.up = False
    link.move(stays_too, b"another")
    link._expected.extend([(stays, "command"), (wire._NOBODY, None), (None, asked)])
    await link._end()
    assert stays.said[-1] == ("link_down", ["command"])
    assert link.tenants[b"another"] is stays_too
    link.tenants.clear()


async def test_nobody_waits_for_an_answer_on_a_connection_that_is_lost(link: Any) -> None:
    asking = asyncio.create_task(link._answered("PING"))
    await asyncio.sleep(0)
    link.lose("the cable was pulled")
    with pytest.raises(EOFError, match="cable"):
        await asking


async def test_ears_that_hear_nothing_any_more_are_replaced(link: Any) -> None:
    link.listen()  # not connected
    link.up = True
    for _ in range(3):
        link.listen()
    assert link.up
    link._pinged_at -= 2 * wire.CONNECT
    link.listen()
    assert (link.up, link.why) == (False, "it has nothing to say any more")


async def test_a_line_tells_the_streams_of_redis_py(link: Any) -> None:
    line = wire.Line(lambda reply: None, lambda why: None)
    line.write(b"to nobody")
    said: list[str] = []
    line.streams = SimpleNamespace(
        pause_writing=lambda: said.append("pause"), resume_writing=lambda: said.append("resume")
    )
    line.pause_writing()
    line.resume_writing()
    line.connection_made(None)
    assert said == ["pause", "resume"]


async def test_a_link_with_the_old_name_is_not_forgotten_twice(server: Server, name: str) -> None:
    queue = Queue(server.url, name)
    await queue.start()
    link = queue._store._link
    link.forget(link)
    other = Queue(server.url, name)  # finds none, and makes another
    await other.start()
    await queue.close()
    assert other._store._link is not link
    assert [*wire._LINKS[asyncio.get_running_loop()].values()] == [other._store._link]
    await other.close()


async def test_a_connection_lost_while_it_is_made_is_an_attempt_that_failed(
    server: Server, name: str
) -> None:
    queue = Queue(server.url, name)
    dial = queue._store._source.dial
    made: list[Any] = []

    def watched(address: Any) -> Any:
        connection = dial(address)
        made.append(connection)
        if len(made) == 2:  # the ears are there; they are lost before the last answer
            queue._store._link._answered = lost
        return connection

    async def lost(*command: Any) -> Any:
        link = queue._store._link
        answer = await wire.Link._answered(link, *command)
        if command == ("CLIENT", "ID"):
            del link._answered
            link.lose("the cable was pulled")
        return answer

    queue._store._source.dial = watched
    await queue.put("key", 1)
    assert len(made) == 4
    await queue.close()
    await until(lambda: not wire._LINKS[asyncio.get_running_loop()])
