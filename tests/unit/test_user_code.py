"""Code of the user's that runs in the middle of an operation: of keys, finalizers, signal handlers.

An operation on a key may call its `__hash__` and `__eq__` any number of times, and the collector
may run a finalizer wherever it likes. Each of these in turn raises, or calls the queue, or ends a
call that waits, and the operation must have happened whole, or not at all.
"""

import asyncio
import contextlib
import gc
import sys
import weakref
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from pathlib import Path
from types import FrameType
from typing import Any, TypeAlias, TypeVar

import pytest

from tests.subject import Lease, LeasedKeyQueue, QueueClosedError, module
from tests.unit.steps import blocked, check, drain, line, nowait, outcome, snapshot
from tests.virtual import jump, quiet, ticks

Hook: TypeAlias = Callable[[], object]
T = TypeVar("T")


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
Operate: TypeAlias = Callable[[Queue, Leases], Awaitable[object]]


async def a_queue() -> tuple[Queue, Leases]:
    """A key in every state, of which one has a lease that is timed."""
    queue, leases = Queue(), {}
    for name in ("leased", "deferred", "buffered", "twice", "timed", "wanted", "plain"):
        await queue.put(Key(name), 1)
        timeout = 5 if name == "timed" else None
        leases[name] = (await queue.get(lease_timeout=timeout))[2]
    for name in ("available", "also available"):
        await queue.put(Key(name), 1)
    await queue.put(Key("delayed"), 1, delay=9)
    await queue.put(Key("deferred"), 2, if_in_flight="defer")
    await queue.put(Key("twice"), 2, if_in_flight="buffer")
    leases["twice again"] = (await queue.take(Key("twice"), 0))[2]
    await queue.put(Key("buffered"), 2, if_in_flight="buffer")
    return queue, leases


OPERATIONS: dict[str, Operate] = {
    f"put {policy} {name}": lambda queue, leases, name=name, policy=policy: queue.put(
        Key(name), 9, if_in_flight=policy, delay=3
    )
    for name in ("absent", "available", "delayed", "leased", "deferred", "buffered", "twice")
    for policy in ("update", "buffer", "defer")
} | {
    "put reject": lambda queue, leases: queue.put(Key("new"), 9, if_in_flight="reject"),
    "get": lambda queue, leases: queue.get(),
    "take": lambda queue, leases: queue.take(Key("available")),
    "take buffered": lambda queue, leases: queue.take(Key("buffered")),
    "take absent": lambda queue, leases: waits(queue.take(Key("absent"))),
    "take leased": lambda queue, leases: waits(queue.take(Key("leased"))),
    "take, not waiting": lambda queue, leases: times_out(queue.take(Key("absent"), 0)),
    "discard available": lambda queue, leases: queue.discard(Key("available")),
    "discard deferred": lambda queue, leases: queue.discard(Key("deferred")),
    "discard delayed": lambda queue, leases: queue.discard(Key("delayed")),
    "peek": lambda queue, leases: queue.peek(Key("available")),
    "contains": lambda queue, leases: queue.contains(Key("leased")),
    "available_keys": lambda queue, leases: queue.available_keys(),
    "delayed_keys": lambda queue, leases: queue.delayed_keys(),
    "inflight_keys": lambda queue, leases: queue.inflight_keys(),
    "close": lambda queue, leases: queue.close(),
}
for name in ("plain", "leased", "deferred", "buffered", "twice", "twice again"):
    OPERATIONS |= {
        f"ack {name}": lambda queue, leases, name=name: queue.ack(leases[name]),  # type: ignore[misc]
        f"release {name}": lambda queue, leases, name=name: queue.release(leases[name]),  # type: ignore[misc]
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


@every_operation
@pytest.mark.req("IN-8", "OP-1", "IN-9")
async def test_a_key_that_raises_at_the_nth_call_leaves_the_queue_as_it_was(operate: Any) -> None:
    """bpo-35780, gh-94879."""

    def explode() -> None:
        raise ZeroDivisionError

    before = snapshot((await a_queue())[0])
    for number in range(1, 100):
        queue, leases = await a_queue()
        hook = At(number, explode)
        try:
            with hooked(hook):
                await operate(queue, leases)
        except ZeroDivisionError:
            assert snapshot(queue) == before, f"at call {number}"
        else:
            assert not hook.acted, f"the exception of call {number} was swallowed"
            break
    else:
        pytest.fail("the operation never ends")
    check(queue)


Inner: TypeAlias = Callable[[Queue, Leases], Coroutine[Any, Any, object]]
CALLS: dict[str, Inner] = {
    "start": lambda queue, leases: queue.start(),
    "put": lambda queue, leases: queue.put(Key("inner"), 1),
    "put_nowait": lambda queue, leases: nowait(lambda: queue.put_nowait(Key("inner"), 1)),
    "get": lambda queue, leases: queue.get(),
    "take": lambda queue, leases: queue.take(Key("also available")),
    "ack": lambda queue, leases: queue.ack(leases["wanted"]),
    "release": lambda queue, leases: queue.release(leases["wanted"]),
    "extend": lambda queue, leases: queue.extend(leases["wanted"], 1),
    "refresh": lambda queue, leases: queue.refresh(leases["wanted"]),
    "superseded": lambda queue, leases: queue.superseded(leases["wanted"]),
    "deadline": lambda queue, leases: queue.deadline(leases["wanted"]),
    "discard": lambda queue, leases: queue.discard(Key("also available")),
    "join": lambda queue, leases: queue.join(),
    "shutdown": lambda queue, leases: queue.shutdown(),
    "drain": lambda queue, leases: queue.drain(0),
    "close": lambda queue, leases: queue.close(),
    "peek": lambda queue, leases: queue.peek(Key("available")),
    "contains": lambda queue, leases: queue.contains(Key("available")),
    "available_keys": lambda queue, leases: queue.available_keys(),
    "available_items": lambda queue, leases: queue.available_items(),
    "delayed_keys": lambda queue, leases: queue.delayed_keys(),
    "inflight_keys": lambda queue, leases: queue.inflight_keys(),
    "qsize": lambda queue, leases: queue.qsize(),
    "delayed_size": lambda queue, leases: queue.delayed_size(),
    "inflight_size": lambda queue, leases: queue.inflight_size(),
}


async def call_from_within(operate: Any, inner: Inner) -> int:
    """The inner call, at each call of a key's code, is refused; the queue is as without it."""
    queue, leases = await a_queue()
    await operate(queue, leases)
    expected = snapshot(queue)
    for number in range(1, 100):
        queue, leases = await a_queue()
        refusals: list[str] = []

        def call(
            queue: Queue = queue, leases: Leases = leases, refusals: list[str] = refusals
        ) -> None:
            hook, Key.hook = Key.hook, None
            with pytest.raises(RuntimeError, match="__hash__") as refused:
                inner(queue, leases).send(None)
            refusals.append(str(refused.value))
            Key.hook = hook

        hook = At(number, call)
        with hooked(hook):
            await operate(queue, leases)
        assert snapshot(queue) == expected, number
        assert len(refusals) == hook.acted
        if not hook.acted:
            break
    return number - 1


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.req("IN-9", "OP-1")
async def test_a_key_that_calls_the_queue_at_the_nth_call_changes_nothing(operation: str) -> None:
    for name in ("put", "close"):
        await call_from_within(OPERATIONS[operation], CALLS[name])


@pytest.mark.parametrize("inner", CALLS.values(), ids=CALLS)
@pytest.mark.req("IN-9", "OP-1")
async def test_every_call_from_within_is_refused_by_one_rule(inner: Inner) -> None:
    """Introspection too: it would carry out what is due. (Version 1 answered some of it.)"""
    assert await call_from_within(OPERATIONS["put update available"], inner)


@pytest.mark.req("IN-8", "WAIT-7")
@pytest.mark.parametrize("wait", ["absent", "leased"])
async def test_a_take_that_ends_while_its_key_raises_ends_as_it_would_have(wait: str) -> None:
    """What the key raises is not the call's; the entry that it leaves behind goes with its use."""

    def explode() -> None:
        raise ZeroDivisionError

    ends = {"cancel": "CancelledError", "timeout": "TimeoutError", "close": "QueueClosedError"}
    for end, said in ends.items():
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
            assert type(await outcome(waiting)).__name__ == said
        check(queue)
        if end != "close":
            assert (await queue.qsize(), await queue.inflight_size()) == before
            await queue.put(Key(wait), 5)
            assert (await queue.peek(Key(wait))) == (5 if wait == "absent" else None)
            if wait == "absent":
                assert await queue.discard(Key(wait))
            check(queue)


@pytest.mark.req("IN-8")
async def test_the_entry_that_a_raising_key_leaves_behind_goes_when_the_key_is_used() -> None:
    def explode() -> None:
        raise ZeroDivisionError

    queue = Queue()
    key = Key("k")
    alive = weakref.ref(key)
    call = queue.take(key)
    call.send(None)
    with hooked(explode):
        call.close()
    del key, call
    assert alive() is not None
    await queue.put(Key("k"), 1)
    assert await queue.discard(Key("k"))
    assert alive() is None


@pytest.mark.req("IN-8")
async def test_what_ends_the_program_is_not_kept_back_where_a_call_ends() -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    queue = Queue()
    call = queue.take(Key("k"))
    call.send(None)
    with hooked(interrupt), pytest.raises(KeyboardInterrupt):
        call.close()
    check(queue)
    await queue.put(Key("k"), 1)
    assert (await queue.get())[1] == 1


@pytest.mark.req("IN-8")
async def test_a_key_that_is_equal_only_now_and_then_overwrites_nothing() -> None:
    class Fickle:
        compared = 0

        def __hash__(self) -> int:
            return 7

        def __eq__(self, other: object) -> bool:
            Fickle.compared += 1
            return Fickle.compared % 2 == 0  # no, and then yes

        def __repr__(self) -> str:
            return "Fickle()"

    queue = LeasedKeyQueue[Fickle, int]()
    await queue.put(Fickle(), 1)
    for call in (queue.put(Fickle(), 2), queue.take(Fickle())):
        with pytest.raises(RuntimeError, match=r"^key Fickle\(\) is equal to one of the queue's"):
            await call
        check(queue)
    assert [value for _, value in await drain(queue)] == [1]


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


# -- truth values and numbers ---------------------------------------------------------


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


# -- calls that end in the middle of an operation ---------------------------------------

Kept: TypeAlias = Callable[[LeasedKeyQueue[Any, int]], Coroutine[Any, Any, Any]]
KINDS: dict[str, Kept] = {
    "get": lambda queue: queue.get(9),
    "take": lambda queue: queue.take("k", 9),
    "put": lambda queue: queue.put("more", 1, timeout=9),
    "join": lambda queue: queue.join(9),
    "drain": lambda queue: queue.drain(9),
}


class Meddler:
    """A key that does something when it is hashed, once."""

    def __init__(self, act: Hook | None) -> None:
        self.act = act

    def __hash__(self) -> int:
        act, self.act = self.act, None
        if act is not None:
            act()
        return 3


def leave(call: Coroutine[Any, Any, Any], end: str) -> None:
    """A call that waits is closed, or something is thrown into it."""
    if end == "close":
        call.close()
    else:
        with pytest.raises(ZeroDivisionError):
            call.throw(ZeroDivisionError())


@pytest.mark.req("IN-9", "WAIT-7", "WAIT-8", "BOUND-5")
@pytest.mark.parametrize("end", ["close", "throw"])
@pytest.mark.parametrize("ready", [False, True])
@pytest.mark.parametrize("kind", KINDS)
async def test_a_call_that_ends_while_another_keys_code_runs_leaves_nothing_behind(
    kind: str, ready: bool, end: str
) -> None:
    """Its copy, or its slot, is the next one's. (Version 1 lost a copy that was reserved.)"""
    queue = LeasedKeyQueue[Any, int](maxsize=1)
    await queue.put("k", 1)
    held = (await queue.get())[2]
    if kind in ("get", "take"):
        await queue.ack(held)
    call = KINDS[kind](queue)
    call.send(None)
    if ready:
        if kind in ("get", "take"):
            await queue.put("k", 1)
        else:
            await queue.ack(held)

    await queue.contains(Meddler(lambda: leave(call, end)))
    state = snapshot(queue)
    assert (state.waiting, state.slots) == ((), ())
    if kind in ("get", "take"):
        assert (line(queue), state.flight) == (["k"] if ready else [], ())
        await outcome(asyncio.ensure_future(queue.discard("k")))
    elif not ready:
        await queue.ack(held)
    assert state.phase == ("open" if kind != "drain" else "closed" if ready else "shut")
    if kind != "drain":
        await queue.put("free", 1, timeout=0)


class Cursed:
    """A key whose hash raises from a certain moment on."""

    raises = False

    def __hash__(self) -> int:
        if self.raises:
            raise ZeroDivisionError
        return 5


@pytest.mark.req("IN-8", "IN-9")
@pytest.mark.parametrize("end", ["close", "throw"])
@pytest.mark.parametrize("operation", ["take", "take what is there", "put", "discard"])
async def test_a_key_that_raises_when_a_call_put_aside_ends_harms_no_other_call(
    operation: str, end: str
) -> None:
    """The error came out of the operation that was under way, and what was its own was lost."""
    queue = LeasedKeyQueue[Any, int]()
    cursed, key = Cursed(), Meddler(None)
    call = queue.take(cursed)
    call.send(None)
    if operation == "take what is there" or operation == "discard":
        await queue.put(key, 1)

    def meddle() -> None:
        leave(call, end)
        cursed.raises = True

    key.act = meddle
    match operation:
        case "take":
            waiting = await blocked(queue.take(key))
            await queue.put(key, 1)
            assert (await waiting)[1] == 1
        case "take what is there":
            assert (await queue.take(key))[1] == 1
        case "put":
            await queue.put(key, 1)
            assert (await queue.get(0))[1] == 1
        case _:
            assert await queue.discard(key)
    assert cursed.raises
    check(queue)
    cursed.raises = False
    await queue.put(cursed, 2)
    assert [value for _, value in await drain(queue)] == [2]


# -- whatever runs between two lines ------------------------------------------------------

PACKAGE_FOLDER = str(Path(module("_machine").__file__).parent)


class AtLine(At):
    """Acts at the nth line of the package that is executed; in a compiled build there are few."""

    def __enter__(self) -> None:
        self.before = sys.gettrace()
        sys.settrace(self.trace)

    def __exit__(self, *_: object) -> None:
        sys.settrace(self.before)

    def trace(self, frame: FrameType, event: str, _: object) -> Any:
        if not frame.f_code.co_filename.startswith(PACKAGE_FOLDER):
            return None
        if event == "line":
            sys.settrace(self.before)
            self()
            sys.settrace(self.trace)
        return self.trace


async def at_every_line(prepare: Any, meddle: Any) -> None:
    """Meddle once, at each line in turn; then every key that was put is where it must be."""
    for number in range(1, 400):
        queue = LeasedKeyQueue[str, Any](maxsize=5)
        operate, keys = await prepare(queue)
        accepted: list[bool] = []

        def act(queue: Any = queue, accepted: list[bool] = accepted) -> None:
            try:
                meddle(queue)
            except RuntimeError:
                accepted.append(False)
            else:
                accepted.append(True)

        hook = AtLine(number, act)
        refused = False
        try:
            with hook:
                operate()
        except QueueClosedError:
            refused = True
        await ticks(3)
        if not hook.acted:
            break
        state = snapshot(queue)
        (was_accepted,) = accepted
        present = {copy.key for copy in (*state.returned, *state.arrived, *state.delayed)}
        present |= {grant.key for grant in state.flight}
        expected = set(keys)
        if meddle is meddle_by_put and was_accepted:
            expected.add("inner")
        if refused:
            assert state.phase == "closed", number
            continue
        if state.phase == "closed":
            assert (state.flight, state.waiting) == ((), ()), number
        assert present == expected, (number, was_accepted)


def meddle_by_put(queue: LeasedKeyQueue[str, Any]) -> None:
    queue.put_nowait("inner", 0)


def meddle_by_close(queue: LeasedKeyQueue[str, Any]) -> None:
    with pytest.raises(StopIteration):
        queue.close().send(None)


async def to_put(queue: Any) -> Any:
    return lambda: queue.put_nowait("k", 1), {"k"}


async def to_ack(queue: Any) -> Any:
    await queue.put("k", 1)
    await queue.put("stays", 1)
    lease = (await queue.take("k"))[2]
    return lambda: queue.ack_nowait(lease), {"stays"}


async def to_release(queue: Any) -> Any:
    await queue.put("k", 1)
    lease = (await queue.take("k", lease_timeout=9))[2]
    await queue.put("k", 2, if_in_flight="defer", delay=3)
    return lambda: queue.release_nowait(lease, delay=5), {"k"}


async def to_get(queue: Any) -> Any:
    await queue.put("k", 1)
    return lambda: queue.get_nowait(lease_timeout=5), {"k"}


async def to_expire(queue: Any) -> Any:
    await queue.put("k", 1)
    await queue.take("k", lease_timeout=1)
    await queue.put("k", 2, if_in_flight="defer")
    jump(1)
    return lambda: queue.put_nowait("new", 1), {"k", "new"}


@pytest.mark.req("IN-9", "OP-1")
@pytest.mark.parametrize("meddle", [meddle_by_put, meddle_by_close])
@pytest.mark.parametrize("prepare", [to_put, to_ack, to_release, to_get, to_expire])
async def test_a_signal_handler_between_any_two_lines_is_refused_or_comes_before_or_after(
    prepare: Any, meddle: Any
) -> None:
    """A finalizer that the collector runs there, likewise. (Version 1 ended in KeyErrors.)"""
    await at_every_line(prepare, meddle)


@pytest.mark.req("IN-9", "OP-1")
async def test_finalizers_that_the_collector_runs_in_the_middle_of_operations_do_no_harm() -> None:
    """The collector runs as often as it can, and all that it finds puts into the queue."""
    queue = LeasedKeyQueue[str, Any]()
    put: list[str] = []
    refused: list[str] = []

    class Cycle:
        def __init__(self, name: str) -> None:
            self.name, self.itself = name, self

        def __del__(self) -> None:
            try:
                queue.put_nowait(self.name, 0)
            except RuntimeError:
                refused.append(self.name)
            else:
                put.append(self.name)

    def meanwhile(operation: Callable[[], T]) -> T:
        """The collector runs when the operation makes its first object, or the second, ..."""
        Cycle(f"cycle {len(put) + len(refused)}")
        gc.set_threshold(1 + len(put + refused) // 2)
        gc.enable()
        try:
            return operation()
        finally:
            gc.disable()
            gc.collect()

    threshold = gc.get_threshold()
    gc.disable()
    gc.freeze()  # or each round would look through all that pytest has
    try:
        for number in range(50):
            key = f"k {number}"
            meanwhile(lambda: queue.put_nowait(key, 1, delay=number % 2))  # noqa: B023
            if number % 2 == 0:
                lease = meanwhile(lambda: queue.take_nowait(key, lease_timeout=9))[2]  # noqa: B023
                end = queue.release_nowait if number % 4 else queue.ack_nowait
                meanwhile(lambda: end(lease))  # noqa: B023
    finally:
        gc.unfreeze()
        gc.enable()
        gc.set_threshold(*threshold)
    check(queue)
    assert len(put) + len(refused) == 100
    compiled = not module("_machine").__file__.endswith(".py")
    assert refused or compiled  # where, from 3.12, the collector does not run in the middle
    expected = {f"k {number}" for number in range(50) if number % 4} | {*put}
    assert await queue.available_keys() | await queue.delayed_keys() == expected
    assert await queue.inflight_size() == 0


# -- the end of the stack -----------------------------------------------------------------

FRAMES = 30  # that an operation may need; a compiled one needs fewer


def with_frames_left(number: int, operate: Callable[[], object]) -> None:
    depth, frame = 0, sys._getframe()
    while frame.f_back is not None:
        depth, frame = depth + 1, frame.f_back

    def dive(left: int) -> object:
        return dive(left - 1) if left > 0 else operate()

    dive(sys.getrecursionlimit() - depth - number - 3)


AT_THE_END: dict[str, Callable[[LeasedKeyQueue[str, int], Lease[str]], object]] = {
    "put": lambda queue, lease: queue.put_nowait("third", 1, delay=3),
    "put, handed over": lambda queue, lease: queue.put_nowait("new", 1),
    "take": lambda queue, lease: queue.take_nowait("other", lease_timeout=2),
    "ack": lambda queue, lease: queue.ack_nowait(lease),
    "release": lambda queue, lease: queue.release_nowait(lease, delay=2),
    "extend": lambda queue, lease: queue.extend_nowait(lease, 2),
}


@pytest.mark.req("OP-1", "IN-11")
@pytest.mark.parametrize("frames", [0, 1, 2, FRAMES])
@pytest.mark.parametrize("operate", AT_THE_END.values(), ids=AT_THE_END)
async def test_an_operation_is_whole_with_a_few_frames_of_the_stack(
    operate: Any, frames: int
) -> None:
    """And has not begun with hardly any. Between the two it may be left half done."""
    queue = LeasedKeyQueue[str, int](maxsize=9)
    await queue.put("k", 1)
    lease = (await queue.take("k", lease_timeout=9))[2]
    await queue.put("k", 2, if_in_flight="defer", delay=5)
    await queue.put("other", 1)
    waiting = await blocked(queue.take("new"))
    before = snapshot(queue)
    whole = True
    gc.disable()  # what other tests have left behind may end elsewhere
    try:
        with_frames_left(frames, lambda: operate(queue, lease))
    except RecursionError:
        whole = False
    finally:
        gc.enable()
    assert (snapshot(queue) != before) == whole
    assert whole or frames < FRAMES
    waiting.cancel()
    await outcome(waiting)
    check(queue)


# -- finalizers of values ---------------------------------------------------------------


class Value:
    """A value that runs a function when it is freed."""

    def __init__(self, finalize: Hook) -> None:
        self.finalize = finalize

    def __del__(self) -> None:
        self.finalize()


LOSSES = ["replaced", "revised", "acked", "merged", "expired", "closed"]


@pytest.mark.req("IN-9")
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("inner", ["put", "close", "ack"])
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
            "close": lambda: queue.close(),
            "ack": lambda: queue.ack(other),
        }
        check(queue)
        try:
            calls[inner]().send(None)
        except StopIteration as stop:
            ran.append(stop.value)
        except QueueClosedError:
            ran.append("closed")
        check(queue)

    await queue.put("k", Value(finalize))
    granted = (await queue.take("k"))[2]
    match loss:
        case "replaced":
            await queue.release(granted)
            await queue.put("k", 1)
        case "revised":
            await queue.put("k", 1)
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


@pytest.mark.req("IN-9", "WAIT-1", "CLOSE-2")
@pytest.mark.parametrize("inner", ["put", "close"])
@pytest.mark.parametrize("kind", ["get", "take"])
async def test_a_finalizer_that_runs_just_before_a_call_begins_to_wait_reaches_it(
    kind: str, inner: str
) -> None:
    """The values that are due to be dropped go when the call can be woken. (Version 1 hung.)"""
    queue = LeasedKeyQueue[str, Any]()

    def finalize() -> None:
        call = queue.put("new", 1) if inner == "put" else queue.close()
        with pytest.raises(StopIteration):
            call.send(None)

    await queue.put("k", Value(finalize))
    await queue.take("k", lease_timeout=1)
    await queue.put("k", 1, if_in_flight="defer")
    other = await blocked(queue.take("k"))
    jump(1)  # so the call that comes ends the lease, drops the value, and waits
    waiting = asyncio.create_task(queue.get() if kind == "get" else queue.take("new"))
    result = await asyncio.wait_for(outcome(waiting), 5)
    await outcome(other)
    if inner == "put":
        assert isinstance(result, tuple)
        assert result[:2] == ("new", 1)
    else:
        assert isinstance(result, QueueClosedError)
    check(queue)


async def test_what_comes_before_a_call_has_its_future_wakes_it_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    queue = LeasedKeyQueue[str, int]()
    loop = asyncio.get_running_loop()
    create_future = loop.create_future

    def interrupted() -> asyncio.Future[object]:
        monkeypatch.undo()
        queue.put_nowait("a", 1)  # as a signal handler does it
        return create_future()

    monkeypatch.setattr(loop, "create_future", interrupted)
    key, value, _ = await queue.get(timeout=5)
    assert (key, value) == ("a", 1)
