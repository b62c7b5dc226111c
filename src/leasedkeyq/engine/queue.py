"""`EngineQueue`: the coroutines of a queue that lives outside the process.

Each makes one request, and waits for what the session has to say of it. What they mean is what the
methods of `LeasedKeyQueue` mean; docs/howto/redis.md says where that holds in a weaker form.
"""

from __future__ import annotations

from asyncio import Future, QueueFull, wait_for
from collections.abc import Awaitable
from contextlib import suppress
from functools import partial
from math import inf
from types import TracebackType
from typing import Any, Generic, NoReturn, Self, TypeVar

from .._checks import (
    AT_ONCE,
    InFlightPolicy,
    bound,
    delay_seconds,
    lease_seconds,
    leased,
    put_event,
    seconds,
    text,
)
from .._table import POLICIES
from .._waiting import too_late
from ..errors import (
    InvalidLeaseError,
    KeyAlreadyInFlightError,
    LeaseAlreadyAcknowledgedError,
    LeasedKeyQError,
    QueueClosedError,
    UndecodableError,
)
from ..jobs import Jobs
from ..lease import Delivery, Lease
from ..stats import Stats
from .codec import Codec
from .leases import ACKED, EXPIRED, LIVE, LOST, RELEASED, Held, Standing, ended, hold
from .looking import Looking, Seen
from .session import OVER, Call, Session, micro, seconds_of
from .store import Reply, Request, Store

K = TypeVar("K")
V = TypeVar("V")


class About(Request):
    """A request about a lease."""

    __slots__ = ("held", "lasts", "lease", "leaves")

    lease: Lease[Any]
    held: Held | None  # what is known of it here
    lasts: float  # what an extension asks for, in seconds; infinity for ever
    leaves: Standing  # what the lease is afterwards


class EngineQueue(Session, Jobs, Generic[K, V]):
    """The methods of `LeasedKeyQueue`, over any `Store`. To be subclassed by each engine."""

    def __init__(
        self,
        store: Store,
        name: str,
        *,
        default_lease_timeout: float | None,
        maxsize: int,
        if_in_flight: InFlightPolicy,
        keys: Codec[K],
        values: Codec[V],
        max_key: int,
        max_value: int,
        durable: bool,
        unavailable_timeout: float,
        session_ttl: float,
        claim_timeout: float,
    ) -> None:
        self._default = inf
        if default_lease_timeout is not None:
            self._default = lease_seconds("default_lease_timeout", default_lease_timeout)
        self._policy = POLICIES[put_event(if_in_flight)]
        self._keys, self._values = keys, values
        self._tag = values.tag
        self._max_key, self._max_value = max_key, max_value
        self._durable = durable
        self._looking = Looking(self._do)
        super().__init__(
            store,
            name,
            bound(maxsize),
            lease_seconds("unavailable_timeout", unavailable_timeout),
            lease_seconds("session_ttl", session_ttl),
            lease_seconds("claim_timeout", claim_timeout),
        )

    # -- producers -------------------------------------------------------------------

    async def put(
        self,
        key: K,
        value: V,
        *,
        if_in_flight: InFlightPolicy | None = None,
        delay: float = 0,
        timeout: float | None = None,
    ) -> None:
        """As `LeasedKeyQueue.put`. The key and the value are encoded before anything is sent.

        Raises as that does, what the codecs raise, ValueError for what is over the limits, and
        QueueUnavailableError. Spec: ``Put``, ``Resume``.
        """
        await self._await(self._put(key, value, if_in_flight, delay, timeout))

    def put_nowait(
        self,
        key: K,
        value: V,
        *,
        if_in_flight: InFlightPolicy | None = None,
        delay: float = 0,
    ) -> None:
        """Begin a put that does not wait for a slot. Bad arguments are told at once.

        What else comes of it, asyncio.QueueFull included, goes to the exception handler of the
        loop. Spec: ``Put``.
        """
        self._begun(self._put(key, value, if_in_flight, delay, 0), "put_nowait")

    def _put(self, key: K, value: V, if_in_flight: object, delay: object, timeout: object) -> Call:
        policy = self._policy if if_in_flight is None else POLICIES[put_event(if_in_flight)]
        pause = 0.0 if delay is AT_ONCE else delay_seconds(delay)
        wait = inf if timeout is None else seconds("timeout", timeout)
        name, data = self._key(key), self._tag + self._values.encode(value)
        if len(data) > self._max_value:
            raise ValueError(
                f"the value of key {text(key)} takes {len(data)} bytes, and {self._max_value} are"
                " allowed: put what is large elsewhere, and its address here"
            )
        self._ready()
        args = (name, data, policy, micro(pause))
        return self._begin("put", args, wait, self._was_put, key, value=data)

    def _key(self, key: K) -> bytes:
        name = self._keys.encode(key)
        if len(name) > self._max_key:
            raise ValueError(
                f"key {text(key)} takes {len(name)} bytes, and {self._max_key} are allowed"
            )
        return name

    def _was_put(self, call: Call, word: bytes, reply: Reply) -> None:
        if word == b"ok" and self._durable and call.phase != OVER:
            confirmation = Request("confirm", (), partial(_confirmed, self))
            confirmation.caller = call.caller
            self._over(call)
            self._store.confirm(confirmation)
        else:
            self._outcome(call, word, None)

    async def discard(self, key: K) -> bool:
        """As `LeasedKeyQueue.discard`. Raises QueueUnavailableError, too. Spec: ``Discard``."""
        name = self._key(key)
        reply: Reply = await self._do("discard", name, changes=True)
        return int(reply[1]) == 1

    # -- consumers -------------------------------------------------------------------

    async def get(
        self, timeout: float | None = None, *, lease_timeout: float | None = None
    ) -> Delivery[K, V]:
        """As `LeasedKeyQueue.get`.

        Raises as that does, UndecodableError (the item is back in the line), and
        QueueUnavailableError if it does not wait. Spec: ``Get``, ``Resume``.
        """
        wait, duration = self._waiting_for(timeout, lease_timeout)
        self._ready()
        delivery: Delivery[K, V] = await self._await(
            self._begin("get", (), wait, self._got, duration=duration)
        )
        return delivery

    async def take(
        self, key: K, timeout: float | None = None, *, lease_timeout: float | None = None
    ) -> Delivery[K, V]:
        """As `LeasedKeyQueue.take`. Raises as `get` does. Spec: ``Take``, ``Resume``."""
        wait, duration = self._waiting_for(timeout, lease_timeout)
        name = self._key(key)
        self._ready()
        delivery: Delivery[K, V] = await self._await(
            self._begin("take", (name,), wait, self._got, key, duration)
        )
        return delivery

    def get_nowait(self, *, lease_timeout: float | None = None) -> NoReturn:
        """Not to be had: what is in the queue can't be known without asking.

        Raises NotImplementedError. Spec: no action.
        """
        raise _asks("get_nowait()", "get(timeout=0)")

    def take_nowait(self, key: K, *, lease_timeout: float | None = None) -> NoReturn:
        """Not to be had, for the reason of `get_nowait`.

        Raises NotImplementedError. Spec: no action.
        """
        raise _asks("take_nowait(key)", "take(key, timeout=0)")

    def _waiting_for(self, timeout: object, lease_timeout: object) -> tuple[float, float]:
        wait = inf if timeout is None else seconds("timeout", timeout)
        duration = self._default
        if lease_timeout is not None:
            duration = lease_seconds("lease_timeout", lease_timeout)
        return wait, duration

    def _got(self, call: Call, word: bytes, reply: Reply) -> None:
        """A get or take is answered."""
        if word != b"ok":
            self._outcome(call, word, None)
            return
        number, name = int(reply[1]), reply[2]
        if call.phase == OVER or call.caller is None or call.caller.done():
            self._over(call)
            self._give_back(number, name)
            return
        if self._time() >= call.asked + call.duration:
            self._give_back(number, name)  # on its way for too long: it may have run out
            self._ask_anew(call)
            return
        self._over(call)
        try:
            key, value = self._decoded(name, reply[3])
        except UndecodableError as error:
            self._tell("release", number, name, 0, 0, changes=True)
            self._raise(call, error)
            return
        assert self._tokens is not None
        token = self._tokens.token(number)
        lease = Lease(token, key, int(reply[4]))
        held = hold(lease, token, number, name, call.duration, call.asked, self._forget)
        self._held[token] = held
        self._return(call, (key, value, lease))

    def _forget(self, held: Held) -> None:
        """Nobody holds the lease any more."""
        self._held.pop(held.token, None)

    def _decoded(self, name: bytes, data: bytes) -> tuple[K, V]:
        try:
            key = self._keys.decode(name)
        except Exception as error:
            raise UndecodableError(
                f"key {name!r} can't be decoded by {text(self._keys)}: its item stays in the queue,"
                " for a client that can"
            ) from error
        return key, self._value(key, data)

    def _value(self, key: K, data: bytes) -> V:
        try:
            if data[:1] != self._tag:
                raise ValueError(f"its codec is {data[:1]!r}, and not {self._tag!r}")  # noqa: TRY301
            return self._values.decode(data[1:])
        except Exception as error:
            raise UndecodableError(
                f"the value of key {text(key)} can't be decoded by {text(self._values)}: the item"
                " stays in the queue, for a client that can"
            ) from error

    async def _await(self, call: Call) -> Any:
        """The one way to wait for what may take long."""
        assert self._loop is not None
        caller = call.caller = self._loop.create_future()
        try:
            return await caller
        except BaseException:
            if not caller.done() or caller.cancelled():
                if not self._loop.is_closed():
                    self._abandon(call)
            elif caller.exception() is None and call.op in ("get", "take"):
                _, _, lease = caller.result()  # it came in the moment of the cancellation
                self._return_lease(lease)
            raise

    def _return_lease(self, lease: Lease[Any]) -> None:
        number, name, held = self._find(lease)
        assert held is not None
        held.standing = RELEASED
        self._give_back(number, name)

    def _outcome(self, call: Call, word: bytes, result: Any) -> None:
        """What every kind of call may come to."""
        self._over(call)
        if word == b"ok":
            self._return(call, result)
        elif word == b"timeout":
            self._raise(call, too_late(call.op, call.key, None, call.wait))
        else:
            self._raise(call, _no(word, call.op, call.key))

    # -- leases ----------------------------------------------------------------------

    async def ack(self, lease: Lease[K]) -> None:
        """As `LeasedKeyQueue.ack`. Raises as that does, and QueueUnavailableError.

        Spec: ``Ack``.
        """
        await self._about(lease, "ack", leaves=ACKED)

    async def release(
        self, lease: Lease[K], *, requeue_front: bool = False, delay: float = 0
    ) -> None:
        """As `LeasedKeyQueue.release`. Raises as that does, and QueueUnavailableError.

        Spec: ``Release``.
        """
        await self._about(lease, "release", *_place(requeue_front, delay), leaves=RELEASED)

    async def extend(self, lease: Lease[K], timeout: float | None = None) -> None:
        """As `LeasedKeyQueue.extend`. Raises as that does, and QueueUnavailableError.

        Spec: ``Extend``.
        """
        lasts = _lasting(timeout)
        await self._about(lease, "extend", _extension(lasts), lasts=lasts)

    async def refresh(self, lease: Lease[K]) -> V:
        """As `LeasedKeyQueue.refresh`. Raises as that does, UndecodableError, and
        QueueUnavailableError. Spec: ``Refresh``.
        """
        reply = await self._about(lease, "refresh")
        return self._value(lease.key, reply[1])

    async def superseded(self, lease: Lease[K]) -> bool:
        """As `LeasedKeyQueue.superseded`. Raises as that does, and QueueUnavailableError.

        Spec: ``Superseded``.
        """
        return int((await self._about(lease, "superseded"))[1]) == 1

    async def deadline(self, lease: Lease[K]) -> float:
        """As `LeasedKeyQueue.deadline`, as near as the server's clock is known here.

        Raises as that does, and QueueUnavailableError. Spec: no action.
        """
        return seconds_of((await self._about(lease, "deadline"))[1]) - self._offset

    def ack_nowait(self, lease: Lease[K]) -> None:
        """Begin an ack. Raises by what this client knows of the lease already.

        What else comes of it goes to the exception handler of the loop. Spec: ``Ack``.
        """
        self._about_now(lease, "ack", leaves=ACKED)

    def release_nowait(
        self, lease: Lease[K], *, requeue_front: bool = False, delay: float = 0
    ) -> None:
        """Begin a release; see `ack_nowait`. Spec: ``Release``."""
        self._about_now(lease, "release", *_place(requeue_front, delay), leaves=RELEASED)

    def extend_nowait(self, lease: Lease[K], timeout: float | None = None) -> None:
        """Begin an extension; see `ack_nowait`.

        That the lease had ended before is raised by the next use of it. Spec: ``Extend``.
        """
        lasts = _lasting(timeout)
        self._about_now(lease, "extend", _extension(lasts), lasts=lasts)

    def superseded_nowait(self, lease: Lease[K]) -> bool:
        """What was heard last: when the lease was granted, extended, or asked about.

        Raises by what this client knows of the lease, and InvalidLeaseError if that is nothing.
        Spec: ``Superseded``.
        """
        return self._heard(lease).superseded

    def deadline_nowait(self, lease: Lease[K]) -> float:
        """When the lease will have run out for certain, by what was heard last.

        Raises by what this client knows of the lease, and InvalidLeaseError if that is nothing.
        Spec: no action.
        """
        return self._heard(lease).until

    async def _about(
        self,
        lease: Lease[K],
        op: str,
        *args: Any,
        lasts: float | None = None,
        leaves: Standing = LIVE,
    ) -> Reply:
        leased(lease)
        self._ready()
        if self._tokens is None:
            await self.start()
        request = self._ask_about(lease, op, args, lasts, leaves)
        return await self._answer(request)

    def _about_now(
        self,
        lease: Lease[K],
        op: str,
        *args: Any,
        lasts: float | None = None,
        leaves: Standing = LIVE,
    ) -> None:
        self._alive(lease)
        self._begun(self._ask_about(lease, op, args, lasts, leaves), f"{op}_nowait")

    def _ask_about(
        self,
        lease: Lease[K],
        op: str,
        args: tuple[Any, ...],
        lasts: float | None,
        leaves: Standing,
    ) -> About:
        number, name, held = self._find(lease)
        request = About(op, (number, name, *args), self._told_about)
        request.lease, request.held, request.leaves = lease, held, leaves
        request.lasts = held.duration if lasts is None and held is not None else lasts or inf
        self._submit(request, op not in _LOOKS)
        return request

    def _find(self, lease: Lease[Any]) -> tuple[int, bytes, Held | None]:
        """What the machine calls a lease, and what is known of it here; raises if it has ended."""
        held = self._held.get(lease.token)
        if held is not None and held() is lease:  # and not another with the same token
            number, name = held.number, held.key
        else:
            number, name = self._named(lease)
        if held is not None:
            if held.key != name:
                raise ended(lease, None)
            if held.standing is not LIVE:
                raise ended(lease, held.standing)
        return number, name, held

    def _named(self, lease: Lease[Any]) -> tuple[int, bytes]:
        assert self._tokens is not None
        number = self._tokens.number(lease.token)
        if number is None:
            raise ended(lease, None)
        try:
            return number, self._keys.encode(lease.key)
        except Exception as error:
            raise ended(lease, None) from error  # it is no key that was ever put

    def _alive(self, lease: Lease[Any]) -> Held | None:
        """What is known here of a lease, which has not run out by the clock of this loop."""
        leased(lease)
        self._ready()
        if self._tokens is None:
            raise RuntimeError(f"{self!r} was not used yet: await start() before any plain method")
        _, _, held = self._find(lease)
        if held is not None and self._time() >= held.until:
            held.standing = EXPIRED
            raise ended(lease, EXPIRED)
        return held

    def _heard(self, lease: Lease[Any]) -> Held:
        held = self._alive(lease)
        if held is None:
            raise InvalidLeaseError(
                f"{text(lease)} was not granted to this client, so it has heard nothing of it:"
                " await superseded() or deadline()"
            )
        return held

    def _told_about(self, request: About, word: bytes, reply: Reply) -> None:
        """The machine has answered a request about a lease."""
        lease, held = request.lease, request.held
        if word == b"ok":
            if held is not None and held.standing is LIVE:
                held.standing = request.leaves
                if request.op == "extend":
                    held.until = request.asked + request.lasts
                    held.superseded = int(reply[2]) == 1
                elif request.op == "superseded":
                    held.superseded = int(reply[1]) == 1
                elif request.op == "refresh":
                    held.superseded = False
            self._return(request, reply)
        elif word == b"dead":
            if held is not None and held.standing is LIVE:
                held.standing = EXPIRED if self._time() >= held.until else LOST
            self._raise(request, ended(lease, None if held is None else held.standing))
        else:
            self._raise(request, _no(word, request.op, lease.key))

    # -- plain requests --------------------------------------------------------------

    def _answer(self, request: Request) -> Future[Reply]:
        """To wait for what will be answered soon. A cancellation does not take the request back."""
        assert self._loop is not None
        caller: Future[Reply] = self._loop.create_future()
        request.caller = caller
        return caller

    async def _do(self, op: str, *args: Any, changes: bool = False, key: Any = None) -> Reply:
        self._ready()
        request = Request(op, args, partial(_plainly, self))
        self._submit(request, changes)
        return await self._answer(request)

    def _begun(self, request: Request, what: str) -> None:
        """Nobody will wait for the request."""
        assert self._loop is not None
        caller = request.caller = self._loop.create_future()
        caller.add_done_callback(partial(self._complain, request, what))

    def _complain(self, request: Request, what: str, caller: Future[Any]) -> None:
        """Have the loop deal with what a plain method could not raise any more."""
        error = None if caller.cancelled() else caller.exception()
        if isinstance(error, TimeoutError):
            error = QueueFull(str(error))
        told_later = (InvalidLeaseError, LeaseAlreadyAcknowledgedError)
        if error is None or (request.op == "extend" and isinstance(error, told_later)):
            return
        assert self._loop is not None
        message = f"{what} of {self!r} came to nothing"
        self._loop.call_exception_handler({"message": message, "exception": error})

    # -- the end ---------------------------------------------------------------------

    async def join(self, timeout: float | None = None) -> None:
        """As `LeasedKeyQueue.join`. Raises as that does. Spec: ``Join``."""
        wait = inf if timeout is None else seconds("timeout", timeout)
        self._ready()
        await self._await(self._begin("join", (), wait, _end_of(self)))

    async def shutdown(self) -> None:
        """As `LeasedKeyQueue.shutdown`, for all clients.

        Raises QueueUnavailableError. Spec: ``Shutdown``.
        """
        await self._do("shutdown", changes=True)

    async def drain(self, timeout: float | None = None) -> bool:
        """As `LeasedKeyQueue.drain`, for all clients. Raises as that does, and
        QueueUnavailableError. Spec: ``Drain``.
        """
        wait = inf if timeout is None else seconds("timeout", timeout)
        self._ready()
        drained: bool = await self._await(self._begin("drain", (), wait, _end_of(self)))
        return drained

    async def close_for_all(self) -> None:
        """Close the queue itself, as ``LeasedKeyQueue.close`` does: for all clients.

        Introspection still works. Raises QueueUnavailableError. Spec: ``Close``.
        """
        await self._do("close", changes=True)

    async def close(self) -> None:
        """This client leaves; the queue goes on. A second call does nothing.

        Its blocked calls raise QueueClosedError, as everything does from now on, and what it has
        under lease is back in front, the oldest first. If the server can't be told within
        ``unavailable_timeout``, the leases end at their deadlines, and those without one with the
        session. Raises nothing. Spec: ``Cancel`` and ``Release``, of each.
        """
        if self._left:
            return
        if self._entered:
            self._ready()
        self._left = True
        calls = [*self._calls.values()]
        self._still()
        for call in calls:
            self._over(call)
            self._raise(call, QueueClosedError("this client left the queue while the call waited"))
        try:
            if self.known and self._entered:
                await self._say_goodbye()
        finally:
            gone = QueueClosedError("this client left the queue before an answer came")
            for request in [*self._asked]:
                self._raise(request, gone)
            self._still()
            if self._entered:
                await self._store.leave()

    async def _say_goodbye(self) -> None:
        bye = Request("bye", (), lambda bye, _, reply: self._return(bye, reply))
        self._submit(bye, True)
        with suppress(TimeoutError, LeasedKeyQError):  # the session will end by itself, then
            await wait_for(self._answer(bye), self._patience)

    async def start(self) -> None:
        """Connect, and check that the server is fit and the queue open. May be left out.

        Raises QueueClosedError, QueueUnavailableError. Spec: no action.
        """
        if (await self._look()).phase == "closed":
            raise _no(b"closed", "start", None)

    async def __aenter__(self) -> Self:
        try:
            await self.start()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    # -- introspection: works on a closed queue too, until this client leaves ------------

    async def peek(self, key: K) -> V | None:
        """As `LeasedKeyQueue.peek`. Raises UndecodableError, QueueUnavailableError.

        Spec: ``Available``.
        """
        name = self._key(key)
        reply = await self._do("peek", name)
        return self._value(key, reply[1]) if len(reply) > 1 else None

    async def contains(self, key: K) -> bool:
        """As `LeasedKeyQueue.contains`. Raises QueueUnavailableError. Spec: ``Available``."""
        reply = await self._do("contains", self._key(key))
        return int(reply[1]) == 1

    async def available_keys(self) -> set[K]:
        """As `LeasedKeyQueue.available_keys`, a page at a time. Raises QueueUnavailableError.

        Spec: ``Available``.
        """
        return {self._keys.decode(name) for name in await self._pages("available_keys")}

    async def available_items(self) -> list[tuple[K, V]]:
        """As `LeasedKeyQueue.available_items`, a page at a time. Raises UndecodableError,
        QueueUnavailableError. Spec: ``Line``.
        """
        flat = await self._pages("available_items")
        return [self._decoded(*pair) for pair in zip(flat[::2], flat[1::2], strict=True)]

    async def delayed_keys(self) -> set[K]:
        """As `LeasedKeyQueue.delayed_keys`, a page at a time. Raises QueueUnavailableError.

        Spec: ``Delayed``.
        """
        return {self._keys.decode(name) for name in await self._pages("delayed_keys")}

    async def inflight_keys(self) -> set[K]:
        """As `LeasedKeyQueue.inflight_keys`, a page at a time. Raises QueueUnavailableError.

        Spec: ``InFlight``.
        """
        return {self._keys.decode(name) for name in await self._pages("inflight_keys")}

    async def qsize(self) -> int:
        """As `LeasedKeyQueue.qsize`. Raises QueueUnavailableError. Spec: ``Available``."""
        return int((await self._do("qsize"))[1])

    async def delayed_size(self) -> int:
        """As `LeasedKeyQueue.delayed_size`. Raises QueueUnavailableError. Spec: ``Delayed``."""
        return int((await self._do("delayed_size"))[1])

    async def inflight_size(self) -> int:
        """As `LeasedKeyQueue.inflight_size`. Raises QueueUnavailableError. Spec: ``InFlight``."""
        return int((await self._do("inflight_size"))[1])

    async def stats(self) -> Stats:
        """As ``LeasedKeyQueue.stats``, of the whole queue, whoever did it; it has to be awaited.

        A lease that ended with its client counts as a release if that left, and as an expiry if it
        was taken for dead. The ages are exact: an item that came back to the front is as old as its
        own stay there, and a lease counts from its grant. O(log n), amortised over the grants.
        Raises QueueUnavailableError. Spec: no action.
        """
        return (await self._look(1)).stats

    def _look(self, leases: int = 0) -> Awaitable[Seen]:
        return self._looking.look(leases)

    async def _pages(self, op: str) -> list[bytes]:
        found: list[bytes] = []
        cursor: Any = 0
        while True:
            reply = await self._do(op, cursor)
            cursor = reply[1]
            found += reply[2:]
            if int(cursor) == 0:
                return found

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r} at {id(self):#x}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            f"{self!r} has connections and lives in one event loop: make another where it is needed"
        )


_LOOKS = ("superseded", "deadline")


def _plainly(queue: EngineQueue[Any, Any], request: Request, word: bytes, reply: Reply) -> None:
    """An answer that is what it says, or an error."""
    if word == b"ok":
        queue._return(request, reply)
    else:
        queue._raise(request, _no(word, request.op, None))


def _confirmed(queue: EngineQueue[Any, Any], request: Request, word: bytes, reply: Reply) -> None:
    queue._return(request, None)


def _end_of(queue: EngineQueue[Any, Any]) -> Any:
    """What answers a join or a drain."""

    def then(call: Call, word: bytes, reply: Reply) -> None:
        queue._outcome(call, word, len(reply) > 1 and int(reply[1]) == 1)

    return then


def _no(word: bytes, op: str, key: Any) -> Exception:
    """Why the machine did not do it, in words."""
    if word == b"flying":
        return KeyAlreadyInFlightError(
            f"key {text(key)} is in flight and if_in_flight is 'reject': put it again"
            " once its lease has ended, or choose another policy"
        )
    if word == b"shut":
        return QueueClosedError(
            "the queue is shut down: it takes no more puts, and works off what it holds"
        )
    if word == b"nothing":
        what = f"of key {text(key)}" if op == "take" else "more"
        return QueueClosedError(
            f"the queue was shut down, and nothing {what} can come to this call"
        )
    if word == b"closed":
        return QueueClosedError("the queue is closed: only the introspection methods still answer")
    return RuntimeError(f"the engine answered {op!r} with {word!r}: please report it")


def _asks(method: str, instead: str) -> NotImplementedError:
    return NotImplementedError(
        f"{method} can't be had of a queue on a server, which must be asked: await {instead}"
    )


def _place(requeue_front: object, delay: object) -> tuple[int, int | str]:
    pause = 0.0 if delay is AT_ONCE else delay_seconds(delay)
    if requeue_front and pause > 0:
        raise ValueError(
            f"a release with a delay of {pause} s can't go to the front: leave out either delay or"
            " requeue_front"
        )
    return (1 if requeue_front else 0), micro(pause)


def _lasting(timeout: object) -> float | None:
    return None if timeout is None else lease_seconds("timeout", timeout)


def _extension(lasts: float | None) -> int | str:
    return "same" if lasts is None else micro(lasts)
