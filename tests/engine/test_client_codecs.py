"""How keys and values travel, and what a client is told that asks for the impossible."""

from __future__ import annotations

import pickle
from math import inf, nan
from typing import Any

import msgspec
import pytest
from redis.asyncio import Redis, RedisCluster
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.connection import Connection, SSLConnection, UnixDomainSocketConnection
from redis.asyncio.sentinel import Sentinel, SentinelManagedConnection

from tests.engine.server import Server
from tests.subject import module

redis = module("redis")
source_of = module("redis.source").source_of
Queue, UndecodableError = redis.RedisLeasedKeyQueue, redis.UndecodableError
QueueUnavailableError = redis.QueueUnavailableError


class Point(msgspec.Struct):
    x: int
    y: int


@pytest.mark.parametrize(
    ("codec", "value"),
    [
        (redis.Json(), {"a": [1, 2.5, None, True, "\u2028 ü"], "": {}}),
        (redis.MsgPack(), {"a": [1, b"bytes", None]}),
        (redis.MsgSpec(), {"a": [1, 2.5, None]}),
        (redis.MsgSpec(Point), Point(1, 2)),
        (redis.Text(), "plain"),
    ],
)
async def test_ready_made_codecs(server: Server, name: str, codec: Any, value: Any) -> None:
    async with Queue(server.url, name, values=codec) as queue:
        await queue.put("key", value)
        assert await queue.peek("key") == value
        assert (await queue.get())[1] == value


async def test_json_is_read_by_either_and_what_is_something_else_by_none(
    server: Server, name: str
) -> None:
    async with (
        Queue(server.url, name) as plain,
        Queue(server.url, name, values=redis.MsgSpec(Point)) as typed,
        Queue(server.url, name, values=redis.MsgPack()) as other,
    ):
        await plain.put("key", {"x": 1, "y": 2})
        assert await typed.peek("key") == Point(1, 2)
        with pytest.raises(UndecodableError) as caught:
            await other.get()
        assert str(caught.value.__cause__) == "its codec is b'j', and not b'm'"
        await plain.put("key", {"x": "no number", "y": 2})
        with pytest.raises(UndecodableError) as caught:
            await typed.get()
        assert isinstance(caught.value.__cause__, msgspec.ValidationError)
        assert await plain.available_items() == [("key", {"x": "no number", "y": 2})]


async def test_limits_are_settings(server: Server, name: str) -> None:
    async with Queue(server.url, name, max_key=3, max_value=5) as queue:
        await queue.put("abc", "ab")  # with quotes and the tag
        with pytest.raises(ValueError, match="takes 4 bytes"):
            await queue.put("abü", 1)
        with pytest.raises(ValueError, match="takes 6 bytes"):
            await queue.put("abc", "abc")


@pytest.mark.parametrize(
    ("error", "said", "options"),
    [
        (TypeError, "name of a queue", {"name": 5}),
        (ValueError, "name of a queue", {"name": ""}),
        (ValueError, "name of a queue", {"name": "a{b"}),
        (ValueError, "name of a queue", {"name": "a}b"}),
        (ValueError, "durable must be", {"durable": "yes"}),
        (TypeError, "a server is", {"server": 5}),
        (ValueError, "URL", {"server": "http://here"}),
        (TypeError, "maxsize", {"maxsize": 1.5}),
        (ValueError, "if_in_flight", {"if_in_flight": "replace"}),
        (ValueError, "default_lease_timeout", {"default_lease_timeout": 0}),
        (TypeError, "unavailable_timeout", {"unavailable_timeout": "soon"}),
        (ValueError, "session_ttl", {"session_ttl": nan}),
        (ValueError, "claim_timeout", {"claim_timeout": -inf}),
    ],
)
def test_bad_settings(error: type[Exception], said: str, options: dict[str, Any]) -> None:
    arguments = {"server": "redis://localhost", "name": "name", **options}
    with pytest.raises(error, match=said):
        Queue(**arguments)


def test_an_observer_cannot_be_had() -> None:
    told: Any = print
    with pytest.raises(NotImplementedError, match="of what others do this client hears nothing"):
        Queue("redis://localhost", "name", observer=told)


def test_errors_can_travel() -> None:
    error = pickle.loads(pickle.dumps(QueueUnavailableError("said", "unknown")))
    assert (str(error), error.outcome) == ("said", "unknown")


def test_settings_are_those_of_redis_py() -> None:
    tls = source_of("rediss://user:secret@host:1/2?ssl_cert_reqs=none")
    made = tls.dial(tls.next())
    assert isinstance(made, SSLConnection)
    assert (made.host, made.port, made.db, made.username) == ("host", 1, 2, "user")
    unix = source_of("unix:///a/path")
    assert isinstance(unix.dial(None), UnixDomainSocketConnection)
    node = unix.dial(("host", 7))  # of a cluster, which that server knows of
    assert isinstance(node, Connection)
    assert (node.host, node.port) == ("host", 7)
    client = Redis(host="host", port=3, password="secret", decode_responses=True, protocol=3)
    made = source_of(client).dial(None)
    assert (made.host, made.port, made.password, made.protocol) == ("host", 3, "secret", 2)
    assert not made.encoder.decode_responses
    assert source_of(client).identity == source_of(client).identity
    assert source_of("redis://a").identity != source_of("redis://b").identity
    sentinel: Any = Sentinel
    master = sentinel([("host", 26379)]).master_for("main")
    assert isinstance(source_of(master).dial(None), SentinelManagedConnection)
    nodes = [ClusterNode("one", 1), ClusterNode("two", 2)]
    cluster = source_of(RedisCluster(startup_nodes=nodes, password="secret"))
    assert [cluster.next() for _ in range(3)] == [("one", 1), ("two", 2), ("one", 1)]
    cluster.learn([("two", 2), ("three", 3)])
    assert {cluster.next() for _ in range(3)} == {("one", 1), ("two", 2), ("three", 3)}
    made = cluster.dial(("three", 3))
    assert (made.host, made.port, made.password) == ("three", 3, "secret")
