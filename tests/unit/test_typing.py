"""What a type checker makes of the queue, in code as a user writes it.

mypy checks the program below once. A comment at the end of a line says what it must
find there: ``# reveal: TYPE`` or ``# error: CODE``; everywhere else it must find nothing.
"""

import re
import textwrap
from collections.abc import Iterator

import pytest
from mypy import api

from tests.subject import PACKAGE

PROGRAM = textwrap.dedent(
    f"""
    import asyncio
    import math
    from {PACKAGE} import (
        InFlightPolicy,
        InvalidLeaseError,
        KeyAlreadyInFlightError,
        Lease,
        LeaseAlreadyAcknowledgedError,
        LeasedKeyQError,
        LeasedKeyQueue,
        LeaseExpiredError,
        QueueClosedError,
    )
    from {PACKAGE}.lease import Lease as SameLease


    class Sub(LeasedKeyQueue[str, int]):
        pass


    async def infers(queue: LeasedKeyQueue[str, int]) -> None:
        reveal_type(LeasedKeyQueue[str, int]())  # reveal: LeasedKeyQueue[str, int]
        reveal_type(await queue.get())  # reveal: tuple[str, int, Lease[str]]
        reveal_type(await queue.take("k", 5))  # reveal: tuple[str, int, Lease[str]]
        key, value, lease = await queue.get(timeout=1, lease_timeout=math.inf)
        reveal_type(key)  # reveal: str
        reveal_type(value)  # reveal: int
        reveal_type(lease)  # reveal: Lease[str]
        reveal_type(lease.key)  # reveal: str
        reveal_type(lease.token)  # reveal: str
        reveal_type(lease.attempt)  # reveal: int
        reveal_type(await queue.refresh(lease))  # reveal: int
        reveal_type(await queue.superseded(lease))  # reveal: bool
        reveal_type(await queue.deadline(lease))  # reveal: float
        reveal_type(await queue.discard("k"))  # reveal: bool
        reveal_type(await queue.drain(5))  # reveal: bool
        reveal_type(queue.get_nowait())  # reveal: tuple[str, int, Lease[str]]
        reveal_type(queue.take_nowait("k"))  # reveal: tuple[str, int, Lease[str]]
        async for item in queue:
            reveal_type(item)  # reveal: tuple[str, int, Lease[str]]
        reveal_type(await queue.peek("k"))  # reveal: int | None
        reveal_type(await queue.contains("k"))  # reveal: bool
        reveal_type(await queue.available_keys())  # reveal: set[str]
        reveal_type(await queue.inflight_keys())  # reveal: set[str]
        reveal_type(await queue.available_items())  # reveal: list[tuple[str, int]]
        reveal_type(await queue.delayed_keys())  # reveal: set[str]
        reveal_type(await queue.qsize())  # reveal: int
        reveal_type(await queue.inflight_size())  # reveal: int
        reveal_type(Lease(token="t", key=1))  # reveal: Lease[int]
        async with LeasedKeyQueue[str, bytes](default_lease_timeout=30.0) as opened:
            reveal_type(opened)  # reveal: LeasedKeyQueue[str, bytes]
        async with Sub() as own:
            reveal_type(own)  # reveal: Sub
        async with asyncio.timeout(1):
            got = await asyncio.wait_for(queue.get(), 1)
            reveal_type(got)  # reveal: tuple[str, int, Lease[str]]


    async def accepts(queue: LeasedKeyQueue[str, int], policy: InFlightPolicy) -> None:
        await queue.start()
        await queue.put("k", 1)
        await queue.put("k", 1, if_in_flight="update")
        await queue.put("k", 1, if_in_flight="reject")
        await queue.put("k", 1, if_in_flight="buffer")
        await queue.put("k", 1, if_in_flight="defer")
        await queue.put("k", 1, if_in_flight=policy)
        await queue.put("k", 1, if_in_flight=None, delay=0.5, timeout=1)
        LeasedKeyQueue[str, int](maxsize=3, if_in_flight="defer")
        _, _, lease = await queue.get()
        same: SameLease[str] = lease
        await queue.extend(same)
        await queue.extend(lease, 5)
        await queue.extend(lease, timeout=0.5)
        await queue.release(lease, requeue_front=True)
        await queue.release(lease, delay=5)
        queue.put_nowait("k", 1, if_in_flight=policy, delay=1)
        queue.extend_nowait(lease, 5)
        queue.release_nowait(lease, delay=1)
        queue.ack_nowait(lease)
        await queue.join()
        await queue.shutdown()
        await queue.ack(Lease(lease.token, lease.key, 3))
        await queue.ack(Lease(token=lease.token, key=lease.key))
        await queue.close()
        try:
            await queue.qsize()
        except LeaseExpiredError as expired:
            invalid: InvalidLeaseError = expired
            base: LeasedKeyQError = invalid
        except (KeyAlreadyInFlightError, LeaseAlreadyAcknowledgedError, QueueClosedError) as other:
            base = other
        {{lease}}
        match lease:
            case Lease(token, key, attempt):
                reveal_type(token)  # reveal: str
                reveal_type(key)  # reveal: str
                reveal_type(attempt)  # reveal: int


    async def refuses(
        queue: LeasedKeyQueue[str, int], lease: Lease[str], other: Lease[bytes]
    ) -> None:
        await queue.put("k", 1, if_in_flight="replace")  # error: arg-type
        await queue.put("k", 1, "update")  # error: call-arg
        await queue.put(1, 1)  # error: arg-type
        queue.put_nowait("k", "v")  # error: arg-type
        queue.ack_nowait(other)  # error: arg-type
        await queue.put("k", 1, delay=None)  # error: arg-type
        LeasedKeyQueue[str, int](maxsize=1.5)  # error: arg-type
        await queue.put("k", "v")  # error: arg-type
        await queue.take(1)  # error: arg-type
        await queue.get("1")  # error: arg-type
        await queue.get(1, 2)  # error: call-arg
        await queue.ack(other)  # error: arg-type
        await queue.ack(lease.token)  # error: arg-type
        await queue.release(lease, True)  # error: call-arg
        await queue.extend(lease, "1")  # error: arg-type
        LeasedKeyQueue[str, int](30.0)  # error: call-arg
        LeasedKeyQueue[str, int](default_lease_timeout="30")  # error: arg-type
        LeasedKeyQueue[str]()  # error: misc
        lease.token = "other"  # error: misc
        lease.key = "other"  # error: misc
        lease.extra = 1  # error: attr-defined
        unopened: int = await queue.peek("k")  # error: assignment
    """
)
EXPECTATION = re.compile(r"  # (reveal|error): (.*)$")
FINDING = re.compile(
    r'^[^:]+:(\d+): (?:note: Revealed type is "(.*)"|error: .*\[([\w-]+)\])$', re.MULTILINE
)


def expected() -> Iterator[tuple[int, str]]:
    for number, line in enumerate(PROGRAM.splitlines(), start=1):
        for _, what in EXPECTATION.findall(line):
            yield number, what


@pytest.fixture(scope="module")
def findings(tmp_path_factory: pytest.TempPathFactory) -> dict[int, str]:
    """What mypy finds, by line."""
    folder = tmp_path_factory.mktemp("typing")
    program = folder / "program.py"
    program.write_text(PROGRAM)
    config = folder / "mypy.ini"
    config.write_text("[mypy]\nstrict = True\n")
    arguments = [str(program), "--config-file", str(config), "--no-error-summary"]
    output, errors, _ = api.run([*arguments, "--cache-dir", str(folder / "cache")])
    assert errors == ""
    found: dict[int, str] = {}
    for line in output.splitlines():
        match = FINDING.match(line)
        if match is None:
            assert ": note: " in line, line
            continue
        number, revealed, code = match.groups()
        plain = re.sub(rf"\b({re.escape(PACKAGE)}\.\w+|builtins|program)\.", "", revealed or code)
        assert int(number) not in found, line
        found[int(number)] = plain
    return found


def test_the_package_is_checked_as_typed(findings: dict[int, str]) -> None:
    """Were it not found, or not typed, every type of it would be Any."""
    assert "Any" not in findings.values()
    assert "import-not-found" not in findings.values()


def test_every_marked_line_is_found(findings: dict[int, str]) -> None:
    lines = PROGRAM.splitlines()
    wrong = {lines[n - 1]: findings.get(n) for n, what in expected() if findings.get(n) != what}
    assert wrong == {}


def test_nothing_else_is_found(findings: dict[int, str]) -> None:
    unexpected = findings.keys() - dict(expected()).keys()
    assert {PROGRAM.splitlines()[number - 1]: findings[number] for number in unexpected} == {}
