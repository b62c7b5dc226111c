"""Where the server is, and how it is reached: by redis-py's own configuration.

From a URL or a client only the settings are taken, so TLS, passwords, Unix sockets, Sentinel and a
cluster are what they are there. None of its connections is used.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Any, Final, TypeAlias

from redis.asyncio import ConnectionPool, Redis, RedisCluster
from redis.asyncio.connection import AbstractConnection, Connection, UnixDomainSocketConnection

from .._checks import text

Server: TypeAlias = "str | Redis | RedisCluster"
Address: TypeAlias = tuple[str, int]

# Settings of a client that speaks RESP3, which is not spoken here.
_NOT_OURS: Final = ("maint_notifications_config", "maint_notifications_pool_handler")


class Source:
    """Makes connections, not yet connected, to a server or to the nodes of a cluster.

    ``identity`` is equal for sources that lead to the same servers in the same way. An address of
    None is the one in the settings, or the primary that a Sentinel knows of.
    """

    def __init__(
        self,
        kind: type[AbstractConnection],
        settings: dict[str, Any],
        identity: Hashable,
        seeds: Iterable[Address | None] = (None,),
    ) -> None:
        kept = {name: value for name, value in settings.items() if name not in _NOT_OURS}
        self.kind = kind
        self.settings = {**kept, "protocol": 2, "decode_responses": False}
        self.identity = identity
        self.known = [*seeds]  # where to look, the next one first

    def next(self) -> Address | None:
        """Where to look now; the next time at another place, if there is any."""
        self.known.append(self.known.pop(0))
        return self.known[-1]

    def learn(self, nodes: Iterable[Address]) -> None:
        """These are nodes of the cluster as well."""
        self.known += [node for node in nodes if node not in self.known]

    def dial(self, address: Address | None) -> AbstractConnection:
        kind, settings = self.kind, dict(self.settings)
        if address is not None:
            settings["host"], settings["port"] = address
            if issubclass(kind, UnixDomainSocketConnection):  # to a node that knows of others
                kind = Connection
                del settings["path"]
        return kind(**settings)


def source_of(server: Server) -> Source:
    """TypeError if it is nothing that leads to a server, ValueError for a bad URL."""
    if isinstance(server, str):
        pool = ConnectionPool.from_url(server)
        return Source(pool.connection_class, pool.connection_kwargs, server)
    if isinstance(server, Redis):
        pool = server.connection_pool
        return Source(pool.connection_class, pool.connection_kwargs, id(pool))
    if isinstance(server, RedisCluster):
        nodes = [*server.nodes_manager.startup_nodes.values()]
        seeds = [(node.host, int(node.port)) for node in nodes]
        settings = nodes[0].connection_kwargs
        return Source(nodes[0].connection_class, settings, id(server), seeds)
    raise TypeError(
        "a server is a URL, a redis.asyncio.Redis or a redis.asyncio.RedisCluster, not"
        f" {text(server)}"
    )
