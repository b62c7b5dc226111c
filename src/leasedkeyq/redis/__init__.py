"""The queue on Redis or Valkey, shared by any number of processes.

    from leasedkeyq.redis import RedisLeasedKeyQueue

It needs redis-py, which comes with the extra ``redis``. docs/howto/redis.md says how it is used.
"""

from __future__ import annotations

from typing import Any, Final, Generic, TypeVar, cast

from .._checks import InFlightPolicy, lease_seconds, text
from ..engine.codec import Codec, Json, MsgPack, MsgSpec, Text
from ..engine.queue import EngineQueue
from ..errors import QueueUnavailableError, UndecodableError
from .source import Server, source_of
from .store import Durability, RedisStore

K = TypeVar("K")
V = TypeVar("V")
_DURABILITY: Final = (None, "fsync", "replica")


class RedisLeasedKeyQueue(EngineQueue[K, V], Generic[K, V]):
    """``LeasedKeyQueue``, on a server, under a name: whoever knows both works with the same queue.

    ``server``: a URL (``redis://``, ``rediss://``, ``unix://``), a ``redis.asyncio.Redis``, also
    one of a Sentinel's, or a ``redis.asyncio.RedisCluster``; of a client its configuration is used,
    and none of its connections. ``name``: the queue's, any str without ``{`` and ``}``.

    ``default_lease_timeout``: in seconds; ``None`` or ``math.inf`` is as long as the session of
    this client lasts. ``maxsize`` must be the same for all clients. ``if_in_flight``: the policy of
    this client's puts. ``keys``, ``values``: a `Codec` each. ``max_key``, ``max_value``: how many
    bytes they may take. ``durable``: what a put waits for, ``"fsync"`` (the server has it on its
    disk) or ``"replica"`` (one replica has it); ``None`` for neither.

    ``unavailable_timeout``: how long, in seconds, an operation waits for a server that does not
    answer. ``session_ttl``: how long after its last sign of life a client is taken for dead.
    ``claim_timeout``: how long something is kept for a call of a client that does not fetch it;
    then that client is taken for dead.

    Raises TypeError or ValueError for bad arguments, and NotImplementedError for an ``observer``,
    which would have to be told what others do. It connects when it is first used, and belongs
    to the event loop in which that happens. Spec: ``Init``.
    """

    def __init__(
        self,
        server: Server,
        name: str,
        *,
        default_lease_timeout: float | None = 30,
        maxsize: int = 0,
        if_in_flight: InFlightPolicy = "update",
        keys: Codec[K] | None = None,
        values: Codec[V] | None = None,
        max_key: int = 1024,
        max_value: int = 1_048_576,
        durable: Durability = None,
        unavailable_timeout: float = 5,
        session_ttl: float = 30,
        claim_timeout: float = 5,
        observer: None = None,
    ) -> None:
        if not isinstance(name, str):
            raise TypeError(f"the name of a queue must be a str, not {text(name)}")
        if not name or "{" in name or "}" in name:
            raise ValueError(f"the name of a queue must not be empty or hold braces: {name!r}")
        if observer is not None:
            raise NotImplementedError(
                "observer can't be had of a queue on a server: an observer is told every event of a"
                " queue, and of what others do this client hears nothing; await stats(), or look"
                f" with `top` ({observer!r} was given)"
            )
        if durable not in _DURABILITY:
            raise ValueError(f"durable must be one of {_DURABILITY}, not {durable!r}")
        patience = lease_seconds("unavailable_timeout", unavailable_timeout)
        super().__init__(
            RedisStore(source_of(server), name, durable, patience),
            name,
            default_lease_timeout=default_lease_timeout,
            maxsize=maxsize,
            if_in_flight=if_in_flight,
            keys=cast(Any, Text()) if keys is None else keys,
            values=cast(Any, Json()) if values is None else values,
            max_key=max_key,
            max_value=max_value,
            durable=durable is not None,
            unavailable_timeout=unavailable_timeout,
            session_ttl=session_ttl,
            claim_timeout=claim_timeout,
        )


__all__ = [
    "Codec",
    "Durability",
    "Json",
    "MsgPack",
    "MsgSpec",
    "QueueUnavailableError",
    "RedisLeasedKeyQueue",
    "Server",
    "Text",
    "UndecodableError",
]
