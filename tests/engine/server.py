"""Servers of every kind that the engine is tested on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import redis

from tools.server import (
    LOOPBACK,
    PATIENCE,
    NoServerError,
    Server,
    wait_until,
    with_port,
)

__all__ = [
    "LOOPBACK",
    "PATIENCE",
    "Cluster",
    "NoServerError",
    "Server",
    "append_only",
    "in_step",
    "plain",
    "promote",
    "small",
    "until",
    "wait_until",
    "with_port",
    "with_replica",
    "without_functions",
]


async def until(
    condition: Callable[[], object], what: str = "what was waited for", patience: float = PATIENCE
) -> None:
    """The same in a coroutine."""
    end = time.monotonic() + patience
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"{what} has not come about in {patience} s")
        await asyncio.sleep(0.005)


def plain(**options: Any) -> Server:
    return Server(**options)


def append_only(fsync: str, **options: Any) -> Server:
    """It writes what it does to a file: with every command (always) or each second (everysec)."""
    return Server(appendonly="yes", appendfsync=fsync, **options)


def small(megabytes: int = 4, **options: Any) -> Server:
    """It refuses to grow."""
    return Server(maxmemory=f"{megabytes}mb", maxmemory_policy="noeviction", **options)


def without_functions(server: Server) -> Server:
    """It knows scripts alone, as Redis 6.2 does."""
    before = server.folder / "before"
    before.write_text(f"#!/bin/sh\nexec '{server.program}' \"$@\" --rename-command FCALL ''\n")
    before.chmod(0o700)
    server.program = str(before)
    return server


@contextmanager
def with_replica(**options: Any) -> Iterator[tuple[Server, Server]]:
    """A server and its replica, which has all that the server has."""
    primary = with_port(repl_diskless_sync_delay=0, **options)
    try:
        replica = with_port(replicaof=f"{LOOPBACK} {primary.port}", **options)
        try:
            wait_until(lambda: in_step(replica), "a replica in step")
            yield primary, replica
        finally:
            replica.remove()
    finally:
        primary.remove()


def in_step(replica: Server) -> bool:
    return b"master_link_status:up" in replica.ask("INFO", "replication")


def promote(replica: Server) -> None:
    """What a failover does: the replica follows nobody any more."""
    replica.ask("REPLICAOF", "NO", "ONE")


SLOTS = 16384


class Cluster:
    """Three nodes, and a third of the slots for each."""

    def __init__(self) -> None:
        self.nodes: list[Server] = []

    def __enter__(self) -> Cluster:
        try:
            for _ in range(3):
                self.nodes.append(with_port(cluster_enabled="yes", cluster_node_timeout=5000))
            self.join()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for node in self.nodes:
            node.remove()

    def join(self) -> None:
        first = self.nodes[0]
        for number, node in enumerate(self.nodes):
            node.ask("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
            begin, end = (SLOTS * n // len(self.nodes) for n in (number, number + 1))
            node.ask("CLUSTER", "ADDSLOTS", *range(begin, end))
            if node is not first:
                node.ask("CLUSTER", "MEET", LOOPBACK, first.port)
        wait_until(lambda: all(map(self.complete, self.nodes)), "a cluster that is whole")

    def complete(self, node: Server) -> bool:
        said = node.ask("CLUSTER", "INFO").split()
        known = f"cluster_known_nodes:{len(self.nodes)}"
        return b"cluster_state:ok" in said and known.encode() in said

    @property
    def url(self) -> str:
        return self.nodes[0].url

    def slot(self, key: str) -> int:
        return int(self.nodes[0].ask("CLUSTER", "KEYSLOT", key))

    def owner(self, slot: int) -> int:
        """Which of the nodes has a slot."""
        ports = [node.port for node in self.nodes]
        for begin, end, (_, port, *_), *_ in self.nodes[0].ask("CLUSTER", "SLOTS"):
            if begin <= slot <= end:
                return ports.index(port)
        raise AssertionError(f"nobody has slot {slot}")

    def begin_move(self, slot: int, to: int) -> None:
        origin, target = self.nodes[self.owner(slot)], self.nodes[to]
        origin_id, target_id = (node.ask("CLUSTER", "MYID") for node in (origin, target))
        target.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", origin_id)
        origin.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", target_id)

    def call_off(self, slot: int) -> None:
        for node in self.nodes:
            node.ask("CLUSTER", "SETSLOT", slot, "STABLE")

    def move(self, slot: int, to: int) -> None:
        """Move a slot with all that is in it, as the tools of an operator do."""
        origin, target = self.nodes[self.owner(slot)], self.nodes[to]
        self.begin_move(slot, to)
        target_id = target.ask("CLUSTER", "MYID")
        while keys := origin.ask("CLUSTER", "GETKEYSINSLOT", slot, 100):
            address = (LOOPBACK, target.port, "", 0, PATIENCE * 1000)
            origin.ask("MIGRATE", *address, "KEYS", *keys)
        for node in [target, origin, *self.nodes]:
            with suppress(redis.ResponseError):
                node.ask("CLUSTER", "SETSLOT", slot, "NODE", target_id)
