"""Let a running program be looked at: ``python -m leasedkeyq top`` shows its queues.

The program opens a socket that only its user can reach, and answers whoever asks: a request and
an answer are a line of JSON each. While nobody asks nothing happens. What asks is a `Source`; the
one here asks a program on this machine, and `redis.top` has one that asks a server.
"""

from __future__ import annotations

import asyncio
import errno
import json
import os
import socket
import stat
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass, fields
from itertools import count
from math import inf
from pathlib import Path
from secrets import compare_digest, token_hex
from typing import Any, Final, Protocol, TypeAlias

from ._checks import text
from .stats import Stats

PROTOCOL: Final = 1
LINE_LIMIT: Final = 1 << 24  # bytes of an answer
KEY_LIMIT: Final = 200  # characters of a key that are shown
PATIENCE: Final = 5.0  # seconds in which a program that listens at all lets itself be reached

Queues: TypeAlias = Mapping[str, Any]


# -- the program that is looked at ---------------------------------------------------


@asynccontextmanager
async def serve(
    path: str | os.PathLike[str] | None = None, /, **queues: Any
) -> AsyncIterator[Path]:
    """Let the queues be looked at within this block, under the names that they are given here::

        async with serve(orders=orders, mails=mails):
            ...

    ``path``: of the socket; by default one in the user's runtime directory, named after the
    process, where ``python -m leasedkeyq top`` looks for it. It can be opened by this user alone.
    Where there are no Unix sockets it is a file that leads to a port on the loopback interface.

    Yields the path. Raises OSError if it cannot be made, or if somebody listens there already, and
    RuntimeError for a queue of another event loop. To be looked at costs O(1) for each queue and
    each lease that is shown; ages are exact from here on (`LeasedKeyQueue.stats`).
    """
    for queue in queues.values():
        queue.stats()  # from now on ages are exact
    connections: set[asyncio.Task[Any]] = set()
    token = token_hex()

    async def attend(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        connections.add(task)
        task.add_done_callback(connections.discard)
        try:
            while request := await reader.readline():
                writer.write(answer(request, queues, "" if has_unix_sockets() else token))
                await writer.drain()
        except (OSError, ValueError, asyncio.CancelledError):
            pass  # it has left, has asked for too much, or the program is done with it
        finally:
            writer.close()

    place = _vacant(path)
    if has_unix_sockets():
        server = await asyncio.start_unix_server(attend, sock=_bound(place))
    else:
        server = await asyncio.start_server(attend, "127.0.0.1", 0)
    try:
        if not has_unix_sockets():
            _write_address(place, server.sockets[0].getsockname()[1], token)
        yield place
    finally:
        server.close()
        for task in connections:
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)
        place.unlink(missing_ok=True)


def answer(request: bytes, queues: Queues, token: str = "") -> bytes:
    """What is said to a request; the token is what it must contain."""
    try:
        asked = json.loads(request)
        known = compare_digest(str(asked.get("token", "")), token)
        wanted, leases = asked["protocol"], max(0, int(asked.get("leases", 0)))
    except (ValueError, TypeError, AttributeError, KeyError):
        return _line(error="this is no request")
    if not known:
        return _line(error="the token is wrong")
    if wanted != PROTOCOL:
        return _line(error=f"the program speaks protocol {PROTOCOL}, and not {wanted}")
    shown = [_shown(name, queue, leases) for name, queue in queues.items()]
    program = Path(sys.argv[0]).name or "python"
    now = asyncio.get_running_loop().time()
    return _line(program=program, pid=os.getpid(), time=now, queues=shown)


def _shown(name: str, queue: Any, leases: int) -> dict[str, Any]:
    stats, (phase, maxsize, held) = queue.stats(), queue._overview(leases)
    rows = [[text(one.key)[:KEY_LIMIT], one.attempt, one.age, _finite(one.left)] for one in held]
    seen = {"phase": phase, "maxsize": _finite(maxsize), "stats": asdict(stats), "leases": rows}
    return {"name": name, **seen}


def _finite(number: float) -> float | None:
    return None if number == inf else number


def _line(**what: Any) -> bytes:
    return json.dumps({"protocol": PROTOCOL, **what}).encode() + b"\n"


# -- where the socket is -----------------------------------------------------------------


def has_unix_sockets() -> bool:
    return hasattr(socket, "AF_UNIX") and hasattr(asyncio, "start_unix_server")


def folder() -> Path:
    """Where programs of this user can be found, unless they say otherwise."""
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime:
        return Path(runtime, "leasedkeyq")
    user = os.getuid() if hasattr(os, "getuid") else "user"
    return Path(tempfile.gettempdir(), f"leasedkeyq-{user}")


def _private_folder() -> Path:
    """The same, made if need be. Nobody else may have made it, or look into it."""
    place = folder()
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    if hasattr(os, "getuid"):
        found = place.lstat()
        mode = stat.S_IMODE(found.st_mode)
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or mode & 0o077:
            raise PermissionError(
                f"{place} must be a directory that is this user's alone (mode 0700): make it so, or"
                " give serve() a path"
            )
    return place


def _vacant(path: str | os.PathLike[str] | None) -> Path:
    """Where to listen: what a program has left behind that is no more is cleared away."""
    if path is not None:
        place = Path(path)
        if _is_stale(place):
            place.unlink()
        elif os.path.lexists(place):
            raise FileExistsError(f"{place} is there already: somebody listens, or it is no socket")
        return place
    home = _private_folder()
    names = (f"{os.getpid()}{number or ''}.sock" for number in count(0, -1))  # PID, PID-1, ...
    place = next(
        home / name for name in names if not os.path.lexists(home / name) or _is_stale(home / name)
    )
    place.unlink(missing_ok=True)
    return place


def _is_stale(place: Path) -> bool:
    """Whether it is a socket, or what leads to one, and nobody listens there."""
    address: Any
    try:
        if stat.S_ISSOCK(place.stat().st_mode):
            kind, address = socket.AF_UNIX, str(place)
        else:
            kind, address = socket.AF_INET, ("127.0.0.1", _read_address(place)[0])
    except (OSError, ValueError):  # it is not there, or something else
        return False
    with socket.socket(kind, socket.SOCK_STREAM) as there:
        there.settimeout(PATIENCE)
        return there.connect_ex(address) == errno.ECONNREFUSED


def _bound(place: Path) -> socket.socket:
    """A socket at this path that is nobody else's, from the beginning."""
    there = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        there.bind(str(place))
    except OSError as error:
        there.close()
        raise OSError(error.errno, f"cannot listen at {place}: {error}") from error
    finally:
        os.umask(before)
    return there


def _write_address(place: Path, port: int, token: str) -> None:
    with os.fdopen(os.open(place, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:
        json.dump({"port": port, "token": token}, file)


def _read_address(place: Path) -> tuple[int, str]:
    with place.open("rb") as file:
        found = json.loads(file.read(1000))
    try:
        return int(found["port"]), str(found["token"])
    except (TypeError, KeyError) as error:
        raise ValueError(f"{place} leads to no program") from error


# -- who looks ---------------------------------------------------------------------------


class SourceError(Exception):
    """There is nothing to be seen, or no more; it says why."""


class EndedError(SourceError):
    """What was looked at has come to its end."""


@dataclass(frozen=True)
class LeaseSeen:
    """A lease: ``age`` and ``left`` in seconds; ``left`` is None if it does not run out."""

    key: str
    attempt: int
    age: float
    left: float | None


@dataclass(frozen=True)
class QueueSeen:
    """A queue at one moment."""

    name: str
    phase: str
    maxsize: int | None
    stats: Stats
    leases: tuple[LeaseSeen, ...]  # the oldest ones
    sessions: int | None = None  # how many clients work with it, if it is on a server


@dataclass(frozen=True)
class Frame:
    """What is seen at one look. ``time`` is in seconds, for the rates between two of them."""

    title: str
    time: float
    queues: tuple[QueueSeen, ...]


class Source(Protocol):
    """Where `top` has its frames from."""

    trouble: str  # why there may be no answer

    async def frame(self, leases: int) -> Frame:
        """One look, with so many leases of each queue. Raises SourceError."""

    async def close(self) -> None:
        """It is not asked any more."""


class Program:
    """A program on this machine, as `serve` lets it be looked at. ``names``: of which queues."""

    def __init__(self, place: Path, names: tuple[str, ...] = ()) -> None:
        self.place, self.names = place, names
        self.trouble = "its event loop is busy"
        self._token = ""
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def frame(self, leases: int) -> Frame:
        try:
            if self._streams is None:
                self._streams = await self._connected()
            reader, writer = self._streams
            asked = {"protocol": PROTOCOL, "leases": leases, "token": self._token}
            writer.write(json.dumps(asked).encode() + b"\n")
            await writer.drain()
            said = await reader.readuntil()
        except (OSError, EOFError) as error:
            raise EndedError("the program has ended, or is done with its queues") from error
        except asyncio.LimitOverrunError as error:
            raise SourceError("what answers has too much to say") from error
        return frame_of(said, self.names)

    async def _connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        try:
            if stat.S_ISSOCK(self.place.stat().st_mode):
                return await asyncio.open_unix_connection(self.place, limit=LINE_LIMIT)
            port, self._token = _read_address(self.place)
            return await asyncio.open_connection("127.0.0.1", port, limit=LINE_LIMIT)
        except ConnectionRefusedError as error:
            raise SourceError(
                f"nobody listens at {self.place}: the program that made it has ended"
            ) from error
        except (OSError, ValueError) as error:
            raise SourceError(f"{self.place} leads to no program: {error}") from error

    async def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()


def frame_of(said: bytes, names: tuple[str, ...] = ()) -> Frame:
    """The frame in an answer; what an older or newer program does not say is nothing."""
    try:
        told = json.loads(said)
        if "error" in told:
            raise SourceError(f"the program answers: {told['error']}")
        queues = {str(one["name"]): one for one in told["queues"]}
        seen = tuple(_seen(name, one) for name, one in queues.items() if name in (names or queues))
        title = f"{told['program']}, pid {told['pid']}"
        frame = Frame(title, float(told["time"]), seen)
    except (ValueError, TypeError, KeyError) as error:
        raise SourceError(f"what answers is no program with queues: {said[:80]!r}") from error
    if lacking := [name for name in names if name not in queues]:
        raise SourceError(
            f"there is no queue {', '.join(lacking)}, but {', '.join(queues) or 'none at all'}"
        )
    return frame


def _seen(name: str, told: Any) -> QueueSeen:
    known = {
        field.name: told["stats"].get(field.name, None if field.name.endswith("_age") else 0)
        for field in fields(Stats)
    }
    leases = tuple(LeaseSeen(*row) for row in told["leases"])
    return QueueSeen(name, told["phase"], told["maxsize"], Stats(**known), leases)


def programs() -> list[Path]:
    """Where programs of this user listen; what is left of others is cleared away."""
    found = []
    with suppress(OSError):
        for place in sorted(folder().glob("*.sock")):
            if _is_stale(place):
                place.unlink()
            else:
                found.append(place)
    return found


def program_at(address: str | None, names: tuple[str, ...] = ()) -> Program:
    """What leads to a program: its pid, its socket, or nothing if it is the only one.

    Raises SourceError, which says what there is instead.
    """
    if address is not None and not address.isdecimal():
        if not Path(address).exists():
            raise SourceError(f"{address} is not there")
        return Program(Path(address), names)
    found = programs()
    of_address = [place for place in found if place.stem.split("-")[0] == address]
    chosen = found if address is None else of_address
    if not chosen:
        who = "no program" if address is None else f"no process {address}"
        raise SourceError(
            f"{who} of this user lets its queues be looked at:"
            " `async with leasedkeyq.top.serve(name=queue):` in it does"
        )
    if len(chosen) > 1:
        several = "\n".join(f"    {place}" for place in chosen)
        raise SourceError(f"there are several: say which, by its pid or path\n{several}")
    return Program(chosen[0], names)
