"""Code of the user's that the queue runs: of keys, and the finalizers of values.

An operation on a key may call its `__hash__` and `__eq__` any number of times. Here each
of these calls in turn raises, or calls the queue, and the operation must have happened
whole, or not at all.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from typing import Any, TypeAlias

import pytest

from tests.subject import Lease, LeasedKeyQueue, QueueClosedError
from tests.unit.steps import blocked, check, drain, outcome
from tests.virtual import jump, quiet

Hook: TypeAlias = Callable[[], object]


class Key:
    """Collides with every other key, and runs a hook when it is hashed or compared."""

    hook: Hook | None = None

    def __init__(self, name: str) -> None:
        self.name = name

    def __hash__(self) -> int:
        self.run_hook()
        return 7

    def __eq__(self, other: object) -> bool:
        self.run_hook()
        return isinstance(other, Key) and self.name == other.name

    def __repr__(self) -> str:
        return self.name

    @classmethod
    def run_hook(cls) -> None:
        if cls.hook is not None:
            cls.hook()


@contextlib.contextmanager
def hooked(hook: Hook) -> Iterator[None]:
    Key.hook = staticmethod(hook)
    try:
        yield
    finally:
        Key.hook = None


class At:
    """A hook that acts at the nth call."""

    def __init__(self, number: int, act: Hook) -> None:
        self.left, self.act = number, act

    def __call__(self) -> None:
        self.left -= 1
        if self.left == 0:
            self.act()

    @property
    def acted(self) -> bool:
        return self.left <= 0


Queue = LeasedKeyQueue[Key, int]
Leases: TypeAlias = dict[str, Lease[Key]]


async def a_queue() -> tuple[Queue, Leases]:
    """A key in every state, with a call that waits for one, and for one that is not there."""
    queue, leases = Queue(), {}
    for name in ("leased", "deferred", "buffered", "twice", "timed", "wanted", "plain"):
        await queue.put(Key(name), 1)
        timeout = 5 if name == "timed" else None
        leases[name] = (await queue.get(lease_timeout=timeout))[2]
    for name in ("available", "also available"):
        await queue.put(Key(name), 1)
    await queue.put(Key("deferred"), 2, if_in_flight="defer")
    await queue.put(Key("twice"), 2, if_in_flight="buffer")
    leases["twice again"] = (await queue.take(Key("twice"), 0))[2]
    await queue.put(Key("buffered"), 2, if_in_flight="buffer")
    return queue, leases


OPERATIONS: dict[str, Callable[[Queue, Leases], Awaitable[object]]] = {
    f"put {policy} {name}": lambda queue, leases, name=name, policy=policy: queue.put(
        Key(name), 9, if_in_flight=policy
    )
    for name in ("absent", "available", "leased", "deferred", "buffered", "twice")
    for policy in ("update", "buffer", "defer")
} | {
    "put reject": lambda queue, leases: queue.put(Key("new"), 9, if_in_flight="reject"),
    "get": lambda queue, leases: queue.get(),
    "take": lambda queue, leases: queue.take(Key("available")),
    "take buffered": lambda queue, leases: queue.take(Key("buffered")),
    "take absent": lambda queue, leases: waits(queue.take(Key("absent"))),
    "take leased": lambda queue, leases: waits(queue.take(Key("leased"))),
    "take, not waiting": lambda queue, leases: times_out(queue.take(Key("absent"), 0)),
    "peek": lambda queue, leases: queue.peek(Key("available")),
    "contains": lambda queue, leases: queue.contains(Key("leased")),
    "available_keys": lambda queue, leases: queue.available_keys(),
    "inflight_keys": lambda queue, leases: queue.inflight_keys(),
    "close": lambda queue, leases: queue.close(),
}
for name in ("plain", "leased", "deferred", "buffered", "twice", "twice again"):
    OPERATIONS |= {
        f"ack {name}": lambda queue, leases, name=name: queue.ack(leases[name]),  # type: ignore[misc]
        f"release {name}": lambda queue, leases, name=name: queue.release(leases[name]),  # type: ignore[misc]
        f"extend {name}": lambda queue, leases, name=name: queue.extend(leases[name], 5),  # type: ignore[misc]
        f"ack rebuilt {name}": lambda queue, leases, name=name: queue.ack(  # type: ignore[misc]
            Lease(token=leases[name].token, key=Key(leases[name].key.name))
        ),
    }
every_operation = pytest.mark.parametrize("operate", OPERATIONS.values(), ids=OPERATIONS)


async def waits(call: Coroutine[Any, Any, object]) -> None:
    """Only the beginning of a call, up to where it waits; then it is abandoned."""
    call.send(None)
    hook, Key.hook = Key.hook, None
    call.close()
    Key.hook = hook


async def times_out(call: Awaitable[object]) -> None:
    with pytest.raises(asyncio.TimeoutError):
        await call


async def everything(queue: Queue) -> object:
    """The line, and then what comes back when the queue is closed."""
    check(queue)
    in_flight = sorted(key.name for key in await queue.inflight_keys())
    sizes = await queue.qsize(), await queue.inflight_size()
    try:
        line = [(key.name, value) for key, value in await drain(queue)]
    except QueueClosedError:
        line = []
    await queue.close()
    left = await queue.available_keys()
    return in_flight, sizes, line, {key.name: await queue.peek(key) for key in left}


@every_operation
@pytest.mark.req("IN-8", "OP-1", "IN-9")
async def test_a_key_that_raises_at_the_nth_call_leaves_the_queue_as_it_was(operate: Any) -> None:
    """bpo-35780, gh-94879."""

    def explode() -> None:
        raise ZeroDivisionError

    before = await everything((await a_queue())[0])
    for number in range(1, 100):
        queue, leases = await a_queue()
        hook = At(number, explode)
        try:
            with hooked(hook):
                await operate(queue, leases)
        except ZeroDivisionError:
            assert await everything(queue) == before, f"at call {number}"
        else:
            assert not hook.acted, f"the exception of call {number} was swallowed"
            break
    else:
        pytest.fail("the operation never ends")
    check(queue)


CALLS: dict[str, Callable[[Queue, Leases], Coroutine[Any, Any, object]]] = {
    "start": lambda queue, leases: queue.start(),
    "put": lambda queue, leases: queue.put(Key("inner"), 1),
    "get": lambda queue, leases: queue.get(),
    "take": lambda queue, leases: queue.take(Key("also available")),
    "ack": lambda queue, leases: queue.ack(leases["wanted"]),
    "release": lambda queue, leases: queue.release(leases["wanted"]),
    "extend": lambda queue, leases: queue.extend(leases["wanted"], 1),
    "close": lambda queue, leases: queue.close(),
}


LOOKS: dict[str, Callable[[Queue, Leases], Coroutine[Any, Any, object]]] = {
    "peek": lambda queue, leases: queue.peek(Key("available")),
    "contains": lambda queue, leases: queue.contains(Key("available")),
    "available_keys": lambda queue, leases: queue.available_keys(),
    "inflight_keys": lambda queue, leases: queue.inflight_keys(),
    "qsize": lambda queue, leases: queue.qsize(),
    "inflight_size": lambda queue, leases: queue.inflight_size(),
}


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.req("IN-9", "OP-1")
async def test_a_key_that_calls_the_queue_at_the_nth_call_changes_nothing(operation: str) -> None:
    """The inner call is refused; the queue is as if it had never been, whatever it was.

    Introspection, which changes nothing, may be answered.
    """
    operate = OPERATIONS[operation]
    queue, leases = await a_queue()
    await operate(queue, leases)
    expected = await everything(queue)
    for name, inner in (CALLS | LOOKS).items():
        for number in range(1, 100):
            queue, leases = await a_queue()
            refusals: list[str] = []

            def call(
                queue: Queue = queue,
                leases: Leases = leases,
                inner: Any = inner,
                refusals: list[str] = refusals,
            ) -> None:
                hook, Key.hook = Key.hook, None
                try:
                    inner(queue, leases).send(None)
                except RuntimeError as error:
                    refusals.append(str(error))
                except StopIteration:
                    refusals.append("answered")
                Key.hook = hook

            hook = At(number, call)
            with hooked(hook):
                await operate(queue, leases)
            assert await everything(queue) == expected, (name, number)
            if not hook.acted:
                break
            (refusal,) = refusals
            assert "__hash__" in refusal or (name in LOOKS and refusal == "answered")


@pytest.mark.req("IN-8", "WAIT-7")
@pytest.mark.parametrize("wait", ["absent", "leased"])
async def test_a_take_that_ends_while_its_key_raises_leaves_a_queue_that_works(wait: str) -> None:
    def explode() -> None:
        raise ZeroDivisionError

    for end in ("cancel", "timeout", "close"):
        queue, _ = await a_queue()
        waiting = await blocked(queue.take(Key(wait), 3))
        before = await queue.qsize(), await queue.inflight_size()
        with hooked(explode):
            if end == "cancel":
                waiting.cancel()
            elif end == "timeout":
                await asyncio.sleep(3)
            else:
                await queue.close()
            await outcome(waiting)
        check(queue)
        if end != "close":
            assert (await queue.qsize(), await queue.inflight_size()) == before
            await queue.put(Key(wait), 5)
            assert (await queue.peek(Key(wait))) == (5 if wait == "absent" else None)
            check(queue)


@pytest.mark.req("IN-8", "EXP-1")
async def test_the_timer_and_close_run_no_code_of_the_keys() -> None:
    def explode() -> None:
        raise ZeroDivisionError

    queue, _ = await a_queue()
    waiting = await blocked(queue.take(Key("timed")))
    with hooked(explode):
        await asyncio.sleep(6)
        assert (await waiting)[1] == 1
        await queue.close()
    await quiet()
    check(queue)


# -- representations, truth values and numbers ----------------------------------------


class Shy(str):
    """A key that cannot be shown."""

    def __repr__(self) -> str:
        raise ZeroDivisionError


@pytest.mark.req("OP-1", "IN-9")
async def test_a_key_that_cannot_be_shown_spoils_the_message_and_nothing_else() -> None:
    queue = LeasedKeyQueue[str, int]()
    await queue.put(Shy("k"), 1)
    granted = (await queue.get())[2]
    await queue.put("other", 1)
    late = await blocked(queue.take(Shy("absent"), 1))
    calls: list[Callable[[], Awaitable[object]]] = [
        lambda: queue.put(Shy("k"), 2, if_in_flight="reject"),
        lambda: queue.take(Shy("k"), 0),
        lambda: queue.take(Shy("nowhere"), 0),
        lambda: queue.ack(Lease(token="invented", key=Shy("k"))),
        lambda: queue.ack(Lease(token=granted.token, key=Shy("another"))),
        lambda: late,
    ]
    for call in calls:
        with pytest.raises(ZeroDivisionError):
            await call()
        check(queue)
        assert await queue.inflight_keys() == {"k"}
    await queue.release(granted)
    assert await drain(queue) == [("other", 1), ("k", 1)]


@pytest.mark.req("OP-1", "IN-9")
async def test_arguments_whose_own_code_raises_change_nothing() -> None:
    class Failing(float):
        def __float__(self) -> float:
            raise ZeroDivisionError

        def __bool__(self) -> bool:
            raise ZeroDivisionError

    bad: Any = Failing(1)
    queue = LeasedKeyQueue[str, int]()
    await queue.put("k", 1)
    granted = (await queue.get())[2]
    await queue.put("other", 1)
    calls: list[Callable[[], Awaitable[object]]] = [
        lambda: queue.get(bad),
        lambda: queue.get(lease_timeout=bad),
        lambda: queue.take("other", bad),
        lambda: queue.take("other", lease_timeout=bad),
        lambda: queue.extend(granted, bad),
        lambda: queue.release(granted, requeue_front=bad),
    ]
    for call in calls:
        with pytest.raises(ZeroDivisionError):
            await call()
        check(queue)
    assert await queue.inflight_keys() == {"k"}
    await queue.release(granted, requeue_front="yes")  # type: ignore[arg-type]
    assert await drain(queue) == [("k", 1), ("other", 1)]


# -- finalizers ----------------------------------------------------------------------


class Value:
    """A value that runs a function when it is freed."""

    def __init__(self, finalize: Hook) -> None:
        self.finalize = finalize

    def __del__(self) -> None:
        self.finalize()


LOSSES = ["replaced", "revised", "deferred", "superseded", "acked", "merged", "expired", "closed"]


@pytest.mark.req("IN-9")
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("inner", ["put", "get", "close", "ack", "introspection"])
async def test_a_value_whose_finalizer_calls_the_queue_finds_it_whole(
    loss: str, inner: str
) -> None:
    queue = LeasedKeyQueue[str, Any]()
    ran: list[object] = []
    await queue.put("other", 0)
    other = (await queue.get())[2]
    await queue.put("available", 0)

    def finalize() -> None:
        calls: dict[str, Callable[[], Coroutine[Any, Any, object]]] = {
            "put": lambda: queue.put("inner", 1),
            "get": lambda: queue.take("available"),
            "close": lambda: queue.close(),
            "ack": lambda: queue.ack(other),
            "introspection": lambda: queue.qsize(),
        }
        check(queue)
        try:
            calls[inner]().send(None)
        except StopIteration as stop:
            ran.append(stop.value)
        except QueueClosedError:
            ran.append("closed")
        check(queue)

    first = 0 if loss in ("deferred", "superseded") else Value(finalize)
    await queue.put("k", first)
    del first
    granted = (await queue.take("k"))[2]
    match loss:
        case "replaced":
            await queue.release(granted)
            await queue.put("k", 1)
        case "revised":
            await queue.put("k", 1)
        case "deferred":
            await queue.put("k", Value(finalize), if_in_flight="defer")
            await queue.put("k", 2, if_in_flight="defer")
        case "superseded":
            await queue.put("k", Value(finalize), if_in_flight="defer")
            await queue.put("k", 2, if_in_flight="buffer")
        case "acked":
            await queue.ack(granted)
        case "merged":
            await queue.put("k", 1, if_in_flight="buffer")
            await queue.release(granted)
        case "expired":
            await queue.put("k", 1, if_in_flight="defer")
            await queue.extend(granted, 1)
            jump(1)
            await queue.qsize()
        case "closed":
            await queue.put("k", 1, if_in_flight="defer")
            await queue.close()
    assert len(ran) == 1
    check(queue)


@pytest.mark.req("IN-9", "OP-1")
@pytest.mark.parametrize(
    "operation",
    ["put", "get", "take", "ack", "release", "extend", "resume a get", "resume a take"],
)
async def test_an_operation_whose_prelude_frees_a_value_that_closes_the_queue(
    operation: str,
) -> None:
    """The expired copy loses its value to the deferred one, and that value closes the queue."""
    queue = LeasedKeyQueue[str, Any]()

    def finalize() -> None:
        with pytest.raises(StopIteration):
            queue.close().send(None)

    await queue.put("other", 0)
    other = (await queue.get())[2]
    await queue.put("available", 0)
    await queue.put("k", Value(finalize))
    await queue.take("k", lease_timeout=1)
    await queue.put("k", 1, if_in_flight="defer")
    waiting = None
    if operation == "resume a get":
        await queue.get()  # what is available, so that another has to wait
        waiting = await blocked(queue.get())
        await queue.put("new", 1)
    if operation == "resume a take":
        waiting = await blocked(queue.take("new"))
        await queue.put("new", 1)
    calls: dict[str, Callable[[], Awaitable[object]]] = {
        "put": lambda: queue.put("new", 1),
        "get": lambda: queue.get(),
        "take": lambda: queue.take("available"),
        "ack": lambda: queue.ack(other),
        "release": lambda: queue.release(other),
        "extend": lambda: queue.extend(other, 1),
        "resume a get": lambda: waiting,  # type: ignore[dict-item, return-value]
        "resume a take": lambda: waiting,  # type: ignore[dict-item, return-value]
    }
    jump(1)
    await calls[operation]()  # happens whole; the value is dropped, and closes, after it
    check(queue)
    with pytest.raises(QueueClosedError):
        await queue.start()
    assert await queue.inflight_size() == 0
    left = {"other", "available", "k"}
    if operation in ("put", "resume a get", "resume a take"):
        left.add("new")
    if operation == "ack":
        left.remove("other")
    assert await queue.available_keys() == left


@pytest.mark.req("IN-9", "OP-1")
@pytest.mark.parametrize("operation", ["cancel", "time out", "close", "look"])
async def test_what_nobody_called_survives_a_prelude_that_closes_the_queue(operation: str) -> None:
    queue = LeasedKeyQueue[str, Any]()

    def finalize() -> None:
        with pytest.raises(StopIteration):
            queue.close().send(None)

    await queue.put("k", Value(finalize))
    await queue.take("k", lease_timeout=1)
    await queue.put("k", 1, if_in_flight="defer")
    waiting = await blocked(queue.take("new", 1))
    if operation == "cancel":
        await queue.put("new", 1)
    jump(1)
    match operation:
        case "cancel":
            waiting.cancel()
            assert isinstance(await outcome(waiting), asyncio.CancelledError)
        case "time out":
            assert isinstance(await outcome(waiting), TimeoutError)
        case "close":
            await queue.close()
            assert isinstance(await outcome(waiting), QueueClosedError)
        case "look":
            assert await queue.qsize() == 1
            assert isinstance(await outcome(waiting), QueueClosedError)
    check(queue)
    assert await queue.peek("k") == 1
    assert await queue.inflight_size() == 0
