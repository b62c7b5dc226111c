"""Where the server is, and how it is reached: by redis-py's own configuration.

From a URL or a client only the settings are taken, so TLS, passwords, Unix sockets, Sentinel and a
cluster are what they are there.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, Protocol, TypeAlias

from redis.asyncio import ConnectionPool, Redis, RedisCluster
from redis.asyncio.connection import AbstractConnection, Connection, UnixDomainSocketConnection

from .._checks import text

Server: TypeAlias = "str | Redis | RedisCluster"
Address: TypeAlias = tuple[str, int]

# Of a pool's settings, those that are none of a connection's that speaks RESP2 in bytes.
_NOT_OURS = ("maint_notifications_config", "maint_notifications_pool_handler")


class Source(Protocol):
    """Makes connections, not yet connected, to the server of a queue."""

    @property
    def identity(self) -> Hashable:
        """Equal for sources that lead to the same server in the same way."""

    async def locate(self, key: str) -> Address | None:
        """The node of a cluster where a key is; None where there is one server only."""

    def dial(self, address: Address | None) -> AbstractConnection: ...


class OneServer:
    """A server, or the primary that a Sentinel knows of."""

    def __init__(self, pool: ConnectionPool, identity: Hashable) -> None:
        self.pool = pool
        self.identity = identity

    async def locate(self, key: str) -> Address | None:
        return None

    def dial(self, address: Address | None) -> AbstractConnection:
        kind, settings = self.pool.connection_class, _ours(self.pool.connection_kwargs)
        if address is not None:  # a cluster that nobody has said is one
            settings["host"], settings["port"] = address
            if issubclass(kind, UnixDomainSocketConnection):
                kind = Connection
                settings.pop("path")
        return kind(**settings)


class OneCluster:
    """The nodes of a cluster, as redis-py knows them."""

    def __init__(self, cluster: RedisCluster) -> None:
        self.cluster = cluster
        self.identity: Hashable = id(cluster)

    async def locate(self, key: str) -> Address | None:
        """Asks the nodes that are known, each time anew: it is called when one has failed."""
        await self.cluster.initialize()
        await self.cluster.nodes_manager.initialize()
        node = self.cluster.get_node_from_key(key)
        assert node is not None
        return node.host, int(node.port)

    def dial(self, address: Address | None) -> AbstractConnection:
        assert address is not None
        nodes = self.cluster.get_nodes()
        node = next((one for one in nodes if (one.host, int(one.port)) == address), nodes[0])
        settings = _ours(node.connection_kwargs)
        settings["host"], settings["port"] = address
        return node.connection_class(**settings)


def _ours(settings: Any) -> dict[str, Any]:
    kept = {name: value for name, value in settings.items() if name not in _NOT_OURS}
    return {**kept, "protocol": 2, "decode_responses": False}


def source_of(server: Server) -> Source:
    """TypeError if it is nothing that leads to a server, ValueError for a bad URL."""
    if isinstance(server, str):
        return OneServer(ConnectionPool.from_url(server), server)
    if isinstance(server, Redis):
        return OneServer(server.connection_pool, id(server.connection_pool))
    if isinstance(server, RedisCluster):
        return OneCluster(server)
    raise TypeError(
        "a server is a URL, a redis.asyncio.Redis or a redis.asyncio.RedisCluster, not"
        f" {text(server)}"
    )
