"""Another queue with the same API: the model, and the least of asyncio around it.

It shows that the suite asks for what a queue does, and not for how it is made:

    LEASEDKEYQ_UNDER_TEST=tests.model.engine pytest tests/stateful

Slow, and it remembers every key and every lease that it ever saw. It is no
model for an engine, except in what it does.
"""

from __future__ import annotations

from asyncio import AbstractEventLoop, Future, TimerHandle, get_running_loop
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import inf
from types import TracebackType
from typing import Any, Generic, Literal, TypeAlias, TypeVar
from uuid import uuid4
from weakref import ref

from tests.model import model
from tests.model.errors import (
    InvalidLeaseError,
    KeyAlreadyInFlightError,
    LeaseAlreadyAcknowledgedError,
    LeasedKeyQError,
    LeaseExpiredError,
    QueueClosedError,
)

__all__ = [
    "InFlightPolicy",
    "InvalidLeaseError",
    "KeyAlreadyInFlightError",
    "Lease",
    "LeaseAlreadyAcknowledgedError",
    "LeaseExpiredError",
    "LeasedKeyQError",
    "LeasedKeyQueue",
    "QueueClosedError",
]

K = TypeVar("K")
V = TypeVar("V")
UNKNOWN = -1  # the number of a key that has none
NO_LEASE = model.Lease(0, None)
InFlightPolicy: TypeAlias = Literal["update", "reject", "buffer", "defer"]


@dataclass(frozen=True)
class Lease(Generic[K]):
    token: str
    key: K


class LeasedKeyQueue(Generic[K, V]):
    def __init__(self, *, default_lease_timeout: float | None = None) -> None:
        self._model = model.Model(default_lease_timeout)
        self._numbers: dict[K, int] = {}  # of keys: the model sees nothing else of them
        self._keys: list[K] = []
        self._granted: dict[str, tuple[Lease[K], model.Lease]] = {}
        self._waiting: dict[model.Call, Future[None]] = {}
        self._loop: AbstractEventLoop | None = None
        self._timer: TimerHandle | None = None
        self._busy = False  # a key's own code is running
        self._prefix = f"{str(uuid4())[:14]}8{str(uuid4())[15:24]}"

    # -- what is the same for every operation

    def _do(self, method: str, *arguments: Any, looks: bool = False) -> Any:
        loop = get_running_loop()
        self._loop = self._loop or loop
        if loop is not self._loop:
            raise RuntimeError("the queue belongs to another loop")
        if not looks:
            self._refuse_intruders()
        for call, future in self._waiting.items():
            call.cancelled |= future.cancelled()
        try:
            return getattr(self._model, method)(*arguments, loop.time())
        finally:
            self._settle()

    def _settle(self, not_before: float = -inf) -> None:
        """Wake the calls whose wait is over, and set a timer while others wait."""
        assert self._loop
        for call, future in self._waiting.items():
            if (call.grant or call.error) and not future.done():
                future.set_result(None)
        if self._timer:
            self._timer.cancel()
            self._timer = None
        waits = [call.deadline for call, future in self._waiting.items() if not future.done()]
        leases = [grant.deadline for grant in self._model.grants.values() if waits]
        soonest = min(waits + leases, default=inf)
        if soonest < inf and not self._loop.is_closed():
            self._timer = self._loop.call_at(max(soonest, not_before), _ring, ref(self))

    def _time_out(self) -> None:
        assert self._loop
        self._timer = None
        self._do("time_out")
        self._settle(self._loop.time() + 1e-9)  # the loop may be early, by as much as that

    @contextmanager
    def _keys_own_code(self) -> Iterator[None]:
        busy, self._busy = self._busy, True
        try:
            yield
        finally:
            self._busy = busy

    def _refuse_intruders(self) -> None:
        if self._busy and not self._model.closed:
            raise RuntimeError("a key's own code has called the queue")

    def _number(self, key: K) -> int:
        """The number of a key, which has one from now on."""
        self._refuse_intruders()
        if self._model.closed:
            return UNKNOWN  # the model will refuse it
        with self._keys_own_code():
            number = self._numbers.setdefault(key, len(self._keys))
        if number == len(self._keys):
            self._keys.append(key)
        return number

    def _find_number(self, key: K) -> int:
        with self._keys_own_code():
            return self._numbers.get(key, UNKNOWN)

    async def _obtain(self, method: str, *arguments: Any) -> tuple[K, V, Lease[K]]:
        outcome = self._do(method, *arguments)
        if isinstance(outcome, model.Call):
            call = outcome
            self._waiting[call] = get_running_loop().create_future()
            self._settle()
            try:
                await self._waiting[call]
            except BaseException:
                del self._waiting[call]
                self._do("cancel", call)
                raise
            del self._waiting[call]
            outcome = self._do("resume", call)
        number, value, twin = outcome
        lease = Lease(f"{self._prefix}{twin.number:012x}", self._keys[number])
        self._granted[lease.token] = lease, twin
        return lease.key, value, lease

    def _find(self, lease: object) -> object:
        """What the lease is in the model; anything else the model refuses."""
        if not isinstance(lease, Lease):
            return lease
        self._do("expire")
        original, twin = self._granted.get(lease.token, (None, NO_LEASE))
        live = twin.number in self._model.grants
        if lease is original or (live and self._find_number(lease.key) == twin.key):
            return twin
        return NO_LEASE

    # -- the API

    async def start(self) -> None:
        self._do("start")

    async def close(self) -> None:
        if not self._model.closed:
            self._do("close")

    async def __aenter__(self) -> LeasedKeyQueue[K, V]:
        await self.start()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def put(self, key: K, value: V, *, if_in_flight: InFlightPolicy = "update") -> None:
        self._do("put", self._number(key), value, if_in_flight)

    async def get(
        self, timeout: float | None = None, *, lease_timeout: float | None = None
    ) -> tuple[K, V, Lease[K]]:
        return await self._obtain("get", timeout, lease_timeout)

    async def take(
        self, key: K, timeout: float | None = None, *, lease_timeout: float | None = None
    ) -> tuple[K, V, Lease[K]]:
        return await self._obtain("take", self._number(key), timeout, lease_timeout)

    async def ack(self, lease: Lease[K]) -> None:
        self._do("ack", self._find(lease))

    async def release(self, lease: Lease[K], *, requeue_front: bool = False) -> None:
        self._do("release", self._find(lease), requeue_front)

    async def extend(self, lease: Lease[K], timeout: float | None = None) -> None:
        self._do("extend", self._find(lease), timeout)

    async def peek(self, key: K) -> V | None:
        value: V | None = self._do("peek", self._find_number(key), looks=True)
        return value

    async def contains(self, key: K) -> bool:
        return bool(self._do("contains", self._find_number(key), looks=True))

    async def available_keys(self) -> set[K]:
        return self._set(self._do("available_keys", looks=True))

    async def inflight_keys(self) -> set[K]:
        return self._set(self._do("inflight_keys", looks=True))

    def _set(self, numbers: set[int]) -> set[K]:
        with self._keys_own_code():
            return {self._keys[number] for number in numbers}

    async def qsize(self) -> int:
        return int(self._do("qsize", looks=True))

    async def inflight_size(self) -> int:
        return int(self._do("inflight_size", looks=True))


def _ring(queue: ref[LeasedKeyQueue[Any, Any]]) -> None:
    alive = queue()
    if alive is not None:
        alive._time_out()
