"""What each operation costs, counted and not timed.

For every operation, on a queue that holds a number of items, leases and waiting calls:

- *instructions*: bytecode instructions executed in the package
- *blocks*: memory blocks that are in use after it and were not before (or the reverse)
- *peak*: bytes that it needed at most, beyond those in use before it

Everything is counted several times on the same queue and the median taken, so that a dict
or a list that grows once in a while, which is C code and costs O(1) when shared out, does
not count. The counts are the same in every process of one version of Python, provided that
nothing else has run the code before; so measure in a process of its own:

    python -m tests.unit.cost          print the counts
    python -m tests.unit.cost --pin    keep the instructions and blocks in cost.toml,
                                       for the version of Python that runs this
"""

import asyncio
import gc
import json
import platform
import statistics
import sys
import tomllib
import tracemalloc
from collections.abc import Callable, Coroutine
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, TypeAlias

from tests.subject import Lease, LeasedKeyQueue, module
from tests.virtual import jump, run, ticks

PINNED = Path(__file__).with_name("cost.toml")
VERSION = platform.python_version()  # to the last digit: the interpreter has a say in the counts
SIZES = (10, 1000)
WARM_UP, REPEAT = 100, 25  # the second odd, so that the median is one of the counts
PACKAGE_FOLDER = str(Path(module("_core").__file__).parent)

Queue: TypeAlias = LeasedKeyQueue[Any, Any]
Call: TypeAlias = Coroutine[Any, Any, Any]
Counts: TypeAlias = dict[str, int]


def finish(call: Call) -> Any:
    """Run a call that does not wait to its end."""
    try:
        call.send(None)
    except StopIteration as stop:
        return stop.value
    raise AssertionError("the call waits")


class Stocked:
    """A queue with so many items, leases and waiting calls, and the steps of the operations.

    An operation is three steps: what prepares it, what is counted, and what puts the queue
    back as it was.
    """

    def __init__(self, size: int) -> None:
        self.queue = queue = Queue()
        self.kept: list[Any] = []
        finish(queue.put("crowd", 0))
        self.kept.append(finish(queue.take("crowd"))[2])
        for number in range(size):
            finish(queue.put(("timed", number), 0))
            self.kept.append(finish(queue.get(lease_timeout=1e6))[2])
            finish(queue.put(("untimed", number), 0))
            self.kept.append(finish(queue.get())[2])
            finish(queue.put("crowd", 0, if_in_flight="buffer"))
            self.kept.append(finish(queue.take("crowd", lease_timeout=1e6))[2])
        for number in range(size):
            finish(queue.put(("item", number), 0))
            for key, timeout in ((("taken", number), None), ("taken", 1e6), ("taken", None)):
                call = queue.take(key, timeout)
                call.send(None)
                self.kept.append(call)
        finish(queue.put("one", 0))
        self.lease: Lease[Any] = finish(queue.take("one", lease_timeout=1e6))[2]
        self.mine: list[Any] = []

    def grant(self, key: str = "one more", timeout: float = 1e6) -> Lease[Any]:
        finish(self.queue.put(key, 0))
        lease: Lease[Any] = finish(self.queue.take(key, lease_timeout=timeout))[2]
        return lease

    def drop(self, key: str) -> None:
        finish(self.queue.ack(finish(self.queue.take(key, 0))[2]))

    def drop_both(self, lease: Lease[Any]) -> None:
        finish(self.queue.ack(lease))
        self.drop("one more")

    def close(self) -> None:
        """Let the calls go that wait."""
        for call in (*self.kept, *self.mine):
            if asyncio.iscoroutine(call):
                call.close()


Step: TypeAlias = Callable[[Stocked, Any], Any]
Operation: TypeAlias = tuple[Callable[[Stocked], Any], Step, Step]
OPERATIONS: dict[str, Operation] = {}


def nothing(*_: object) -> None:
    """A step in which there is nothing to do."""


def operation(
    name: str,
    counted: Step,
    *,
    before: Callable[[Stocked], Any] = nothing,
    after: Step = nothing,
) -> None:
    OPERATIONS[name] = before, counted, after


def deferred(stock: Stocked) -> Lease[Any]:
    lease = stock.grant()
    finish(stock.queue.put("one more", 1, if_in_flight="defer"))
    return lease


def buffered(stock: Stocked) -> Lease[Any]:
    lease = stock.grant()
    finish(stock.queue.put("one more", 1, if_in_flight="buffer"))
    return lease


def waiting(stock: Stocked) -> Call:
    call = stock.queue.take("waited for", 1e6, lease_timeout=1e6)
    call.send(None)
    return call


def reserved(stock: Stocked) -> Call:
    call = waiting(stock)
    finish(stock.queue.put("waited for", 0))
    return call


def resumed(call: Call) -> Any:
    return finish(call)


def due(stock: Stocked) -> None:
    stock.grant("due", 1)
    jump(1)


for policy in ("update", "reject", "buffer", "defer"):

    def put_new(stock: Stocked, _: Any, policy: Any = policy) -> None:
        finish(stock.queue.put("new", 1, if_in_flight=policy))

    def put_available(stock: Stocked, _: Any, policy: Any = policy) -> None:
        finish(stock.queue.put(("item", 5), 1, if_in_flight=policy))

    operation(f"put {policy}, absent", put_new, after=lambda stock, _: stock.drop("new"))
    operation(f"put {policy}, available", put_available)
operation("put update, leased", lambda stock, _: finish(stock.queue.put("one", 1)))
operation("put update, leased many times", lambda stock, _: finish(stock.queue.put("crowd", 1)))
operation(
    "put defer, leased",
    lambda stock, lease: finish(stock.queue.put("one more", 1, if_in_flight="defer")),
    before=lambda stock: stock.grant(),
    after=lambda stock, lease: stock.drop_both(lease),
)
operation(
    "put buffer, leased",
    lambda stock, lease: finish(stock.queue.put("one more", 1, if_in_flight="buffer")),
    before=lambda stock: stock.grant(),
    after=lambda stock, lease: stock.drop_both(lease),
)
operation(
    "put buffer, leased many times",
    lambda stock, _: finish(stock.queue.put("crowd", 1, if_in_flight="buffer")),
    after=lambda stock, _: stock.drop("crowd"),
)
operation(
    "put, handed over",
    lambda stock, call: finish(stock.queue.put("waited for", 0)),
    before=waiting,
    after=lambda stock, call: finish(stock.queue.ack(resumed(call)[2])),
)
operation(
    "resume",
    lambda stock, call: stock.mine.append(resumed(call)),
    before=reserved,
    after=lambda stock, _: finish(stock.queue.ack(stock.mine.pop()[2])),
)
operation(
    "get",
    lambda stock, _: stock.mine.append(finish(stock.queue.get())),
    after=lambda stock, _: finish(stock.queue.release(stock.mine.pop()[2], requeue_front=True)),
)
operation(
    "get, timed",
    lambda stock, _: stock.mine.append(finish(stock.queue.get(5, lease_timeout=1e6))),
    after=lambda stock, _: finish(stock.queue.release(stock.mine.pop()[2], requeue_front=True)),
)
operation(
    "take",
    lambda stock, _: stock.mine.append(finish(stock.queue.take(("item", 5)))),
    after=lambda stock, _: finish(stock.queue.release(stock.mine.pop()[2])),
)
operation(
    "take, timed, of a key leased many times",
    lambda stock, _: stock.mine.append(finish(stock.queue.take("crowd", 5, lease_timeout=1e6))),
    before=lambda stock: finish(stock.queue.put("crowd", 1, if_in_flight="buffer")),
    after=lambda stock, _: finish(stock.queue.ack(stock.mine.pop()[2])),
)
operation(
    "take, to wait",
    lambda stock, _: stock.mine.append(waiting(stock)),
    after=lambda stock, _: stock.mine.pop().close(),
)
operation(
    "take, to wait with others",
    lambda stock, call: call.send(None),
    before=lambda stock: stock.queue.take("taken", 1e6),
    after=lambda stock, call: call.close(),
)
operation("cancel", lambda stock, call: call.close(), before=waiting)
operation(
    "cancel, reserved",
    lambda stock, call: call.close(),
    before=reserved,
    after=lambda stock, _: stock.drop("waited for"),
)
operation("ack", lambda stock, lease: finish(stock.queue.ack(lease)), before=lambda s: s.grant())
operation(
    "ack, rebuilt",
    lambda stock, lease: finish(stock.queue.ack(lease)),
    before=lambda stock: Lease(token=stock.grant().token, key="one more"),
)
operation(
    "ack, deferred",
    lambda stock, lease: finish(stock.queue.ack(lease)),
    before=deferred,
    after=lambda stock, _: stock.drop("one more"),
)
operation(
    "release",
    lambda stock, lease: finish(stock.queue.release(lease)),
    before=lambda stock: stock.grant(),
    after=lambda stock, _: stock.drop("one more"),
)
operation(
    "release to the front",
    lambda stock, lease: finish(stock.queue.release(lease, requeue_front=True)),
    before=lambda stock: stock.grant(),
    after=lambda stock, _: stock.drop("one more"),
)
operation(
    "release, deferred",
    lambda stock, lease: finish(stock.queue.release(lease)),
    before=deferred,
    after=lambda stock, _: stock.drop("one more"),
)
operation(
    "release, buffered",
    lambda stock, lease: finish(stock.queue.release(lease)),
    before=buffered,
    after=lambda stock, _: stock.drop("one more"),
)
operation("extend", lambda stock, _: finish(stock.queue.extend(stock.lease)))
operation("extend, other duration", lambda stock, _: finish(stock.queue.extend(stock.lease, 2e6)))
operation(
    "expiry of one lease",
    lambda stock, _: finish(stock.queue.start()),
    before=due,
    after=lambda stock, _: stock.drop("due"),
)
operation("start", lambda stock, _: finish(stock.queue.start()))
operation("peek", lambda stock, _: finish(stock.queue.peek(("item", 5))))
operation("contains", lambda stock, _: finish(stock.queue.contains("one")))
operation("qsize", lambda stock, _: finish(stock.queue.qsize()))
operation("inflight_size", lambda stock, _: finish(stock.queue.inflight_size()))


class Hungry(Stocked):
    """A queue without items, and with so many calls that wait for any, and for a key."""

    def __init__(self, size: int) -> None:
        self.queue = Queue()
        self.kept, self.mine = [], []
        for number in range(size):
            self.kept.append(self.queue.get(1e6, lease_timeout=1e6))
            self.kept[-1].send(None)
            self.mine.append(self.queue.take(("taken", number)))
            self.mine[-1].send(None)


def put_back(stock: Stocked, _: Any) -> None:
    """The call that has waited longest resumes, and stands in line again at the end."""
    finish(stock.queue.ack(resumed(stock.kept.pop(0))[2]))
    call = stock.queue.get(1e6, lease_timeout=1e6)
    call.send(None)
    stock.kept.append(call)


HUNGRY: dict[str, Operation] = {
    "put, handed over to the first of many": (
        nothing,
        lambda stock, _: finish(stock.queue.put("new", 1)),
        put_back,
    ),
    "get, to wait behind many": (
        lambda stock: stock.queue.get(1e6),
        lambda stock, call: call.send(None),
        lambda stock, call: call.close(),
    ),
}


class Instructions:
    """Counts the bytecode instructions of the package that are executed meanwhile."""

    def __init__(self) -> None:
        self.count = 0

    def __exit__(self, *_: object) -> None:
        self._stop()

    if sys.version_info >= (3, 12):  # where a trace function misses some

        def __enter__(self) -> "Instructions":
            tool, event = sys.monitoring.PROFILER_ID, sys.monitoring.events.INSTRUCTION
            sys.monitoring.use_tool_id(tool, "cost")
            sys.monitoring.register_callback(tool, event, self._executed)
            sys.monitoring.set_events(tool, event)
            return self

        def _stop(self) -> None:
            sys.monitoring.set_events(sys.monitoring.PROFILER_ID, 0)
            sys.monitoring.free_tool_id(sys.monitoring.PROFILER_ID)

        def _executed(self, code: CodeType, offset: int) -> Any:
            if not code.co_filename.startswith(PACKAGE_FOLDER):
                return sys.monitoring.DISABLE
            self.count += 1
            return None

    else:

        def __enter__(self) -> "Instructions":
            sys.settrace(self._trace)
            return self

        def _stop(self) -> None:
            sys.settrace(None)

        def _trace(self, frame: FrameType, event: str, _: object) -> Any:
            if not frame.f_code.co_filename.startswith(PACKAGE_FOLDER):
                return None
            frame.f_trace_opcodes = True
            frame.f_trace_lines = False
            self.count += event == "opcode"
            return self._trace


def instructions(run_counted: Callable[[], object]) -> int:
    """How many bytecode instructions of the package a function executes."""
    with Instructions() as executed:
        run_counted()
    return executed.count


def blocks(run_counted: Callable[[], object]) -> int:
    """How many memory blocks more are in use after a function than before."""
    before = sys.getallocatedblocks()
    between = sys.getallocatedblocks()
    run_counted()
    return sys.getallocatedblocks() - between - (between - before)


def peak(run_counted: Callable[[], object]) -> int:
    """How many bytes a function needs at most, beyond those in use before it."""
    tracemalloc.reset_peak()
    before, _ = tracemalloc.get_traced_memory()
    run_counted()
    return tracemalloc.get_traced_memory()[1] - before


def count(stock: Stocked, steps: Operation, how: Callable[[Callable[[], object]], int]) -> int:
    before, counted, after = steps

    def once(how: Callable[[Callable[[], object]], int]) -> int:
        prepared = before(stock)
        result = how(lambda: counted(stock, prepared))
        after(stock, prepared)
        return result

    return int(statistics.median(once(how) for _ in range(REPEAT)))


def warm_up(stock: Stocked, operations: dict[str, Operation]) -> None:
    """Let the interpreter specialise the code, and every number become a large one."""
    for _ in range(WARM_UP):
        for before, counted, after in operations.values():
            prepared = before(stock)
            counted(stock, prepared)
            after(stock, prepared)


async def time_out(stock: Stocked) -> int:
    """Instructions of one wait that runs out, from the timer's ring to the error."""
    task = asyncio.create_task(stock.queue.take("waited for", 1))
    await ticks(2)
    jump(1)
    with Instructions() as executed:
        await ticks(3)
    assert isinstance(task.exception(), TimeoutError)
    return executed.count


def expire(number: int) -> int:
    """Instructions of an operation that ends so many leases, of three durations, at once."""

    async def main() -> int:
        queue = Queue()
        for key in range(number):
            finish(queue.put(key, 0))
            finish(queue.get(lease_timeout=1 + key % 3))
        jump(3)
        return instructions(lambda: finish(queue.start()))

    return run(main())


def durations(number: int) -> Counts:
    """Instructions of what touches deadlines, while so many durations are in use."""

    async def main() -> Counts:
        queue = Queue()
        for key in range(number):
            finish(queue.put(key, 0))
            finish(queue.get(lease_timeout=1000 + key))
        waiting = queue.get(1e6)
        waiting.send(None)
        finish(queue.put("one", 0))
        lease = finish(waiting)[2]
        counted: dict[str, Callable[[], object]] = {
            "extend": lambda: finish(queue.extend(lease, 1000)),
            "extend, new duration": lambda: finish(queue.extend(lease, 500)),
            "ack": lambda: finish(queue.ack(lease)),
            "expiry": lambda: finish(queue.start()),
        }
        counts: Counts = {}
        for name, run_counted in counted.items():
            if name == "expiry":
                jump(1000)
            counts[name] = instructions(run_counted)
        return counts

    return run(main())


def measure(size: int) -> dict[str, Counts]:
    """The counts of every operation beside so many items, leases and waiting calls."""

    async def main() -> dict[str, Counts]:
        counts: dict[str, Counts] = {}
        for operations, stock in ((OPERATIONS, Stocked(size)), (HUNGRY, Hungry(size))):
            warm_up(stock, operations)
            for name, steps in operations.items():
                counts[name] = {"instructions": count(stock, steps, instructions)}
                counts[name]["blocks"] = count(stock, steps, blocks)
            tracemalloc.start()
            for name, steps in operations.items():
                counts[name]["peak"] = count(stock, steps, peak)
            tracemalloc.stop()
            stock.close()
        stock = Stocked(size)
        counted = [await time_out(stock) for _ in range(WARM_UP + REPEAT)][WARM_UP:]
        counts["a wait that runs out"] = {"instructions": int(statistics.median(counted))}
        stock.close()
        return counts

    return run(main())


def pinned() -> dict[str, dict[str, list[int]]]:
    """The counts that are kept: by version of Python, by operation, instructions and blocks."""
    return tomllib.loads(PINNED.read_text()) if PINNED.exists() else {}


def pin(counts: dict[str, Counts]) -> None:
    """Keep the counts of this Python, beside those of the others."""
    versions = pinned() | {
        VERSION: {
            name: [count["instructions"], *([count["blocks"]] if "blocks" in count else [])]
            for name, count in counts.items()
        }
    }
    lines = ["# Written by `python -m tests.unit.cost --pin`: instructions, blocks.\n"]
    for version in sorted(versions, key=lambda version: [*map(int, version.split("."))]):
        lines.append(f'\n["{version}"]\n')
        lines += [f'"{name}" = {count}\n' for name, count in versions[version].items()]
    PINNED.write_text("".join(lines))


def main() -> None:
    gc.disable()
    counts = {size: measure(size) for size in SIZES}
    if "--pin" in sys.argv[1:]:
        pin(counts[SIZES[0]])
    expiries = {number: expire(number) for number in (*SIZES, 10 * SIZES[0])}
    few, many = map(durations, SIZES)
    by_durations = {name: (few[name], many[name]) for name in few}
    json.dump({"counts": counts, "expiries": expiries, "durations": by_durations}, sys.stdout)


if __name__ == "__main__":
    main()
