"""``python -m leasedkeyq``: check a record, or look at the queues of a program or a server."""

from __future__ import annotations

import asyncio
import sys
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeAlias

from .checking import NoRecordError, check
from .top import EndedError, Source, SourceError, program_at

Progress: TypeAlias = Callable[[int, int, int], object]
FINE, WRONG, UNUSABLE = 0, 1, 2  # exit codes


def main(arguments: Sequence[str] | None = None) -> int:
    parser = ArgumentParser(prog=f"python -m {__package__}", description=__doc__.split(": ", 1)[1])
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    one = commands.add_parser(
        "check",
        help="is a record a behaviour of the queue?",
        description="Hold what a recorder has written against the reference model of the queue:"
        " event by event, in the order of time.",
        epilog="exit codes: 0 the record is a behaviour of the queue; 1 it is not: the first event"
        " that\ndoes not follow is shown, with the state before it; 2 it cannot be read",
        formatter_class=RawDescriptionHelpFormatter,
    )
    one.add_argument("files", nargs="+", metavar="FILE", help="one record, in one file or several")
    one.set_defaults(command=check_record)
    one = commands.add_parser(
        "top",
        help="look at the queues of a running program, or of a server",
        description="Show the queues of a program that lets them be looked at:"
        f" `async with {__package__}.top.serve(name=queue):`; or queues on a Redis or Valkey"
        " server.",
        epilog="exit codes: 0 you have seen enough; 1 the program has ended;"
        " 2 there is nothing to\nbe seen",
        formatter_class=RawDescriptionHelpFormatter,
    )
    one.add_argument(
        "program",
        nargs="?",
        help="its pid, or the path of its socket, if there are several; or the URL of a server",
    )
    one.add_argument(
        "queues", nargs="*", metavar="queue", help="these, and no others; a server must be told"
    )
    one.add_argument("--once", action="store_true", help="print one frame, without rates")
    one.add_argument(
        "--interval", type=interval, default=1.0, metavar="SECONDS", help="between frames (1)"
    )
    one.set_defaults(command=look)
    chosen = parser.parse_args(arguments)
    code: int = chosen.command(chosen)
    return code


def check_record(arguments: Namespace) -> int:
    try:
        with progress_bar() as progress:
            verdict = check(arguments.files, progress)
    except (OSError, NoRecordError) as error:
        print(f"cannot be checked: {error}", file=sys.stderr)
        return UNUSABLE
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    print(verdict)
    return FINE if verdict.accepted else WRONG


def interval(argument: str) -> float:
    seconds = float(argument)
    if not 0.1 <= seconds <= 3600:
        raise ValueError
    return seconds


def source_of(address: str | None, names: tuple[str, ...] = ()) -> Source:
    """What is to be looked at: queues on a server, if it is a URL, or those of a program.

    Raises SourceError.
    """
    if address is None or "://" not in address:
        return program_at(address, names)
    try:
        from .redis.top import OnServer  # noqa: PLC0415 (an extra, for those who ask for it)
    except ImportError as error:
        raise SourceError(
            f"queues on a server need redis-py: pip install redis ({error})"
        ) from error
    return OnServer(address, names)


def look(arguments: Namespace) -> int:
    try:
        from rich.console import Console  # noqa: PLC0415 (it may be missing)

        from . import _screen  # noqa: PLC0415
    except ImportError as error:
        print(f"top needs rich: pip install rich ({error})", file=sys.stderr)
        return UNUSABLE
    try:
        source = source_of(arguments.program, tuple(arguments.queues))
        asyncio.run(
            _screen.run(
                source,
                once=arguments.once,
                interval=arguments.interval,
                console=Console(highlight=False),
            )
        )
    except EndedError as error:
        print(error, file=sys.stderr)
        return WRONG
    except SourceError as error:
        print(error, file=sys.stderr)
        return UNUSABLE
    except KeyboardInterrupt:
        pass  # that is how one leaves
    return FINE


@contextmanager
def progress_bar() -> Iterator[Progress]:
    """On stderr: a bar if rich is there, else a line for each tenth."""
    try:
        from rich.console import Console  # noqa: PLC0415 (it may be missing)
        from rich.progress import Progress as Bar  # noqa: PLC0415
    except ImportError:
        yield in_lines()
        return
    with Bar(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("checking", total=None)

        def progress(events: int, done: int, size: int) -> None:
            bar.update(task, completed=done, total=size, description=f"{events:,} events")

        yield progress


def in_lines() -> Progress:
    told = 0

    def progress(events: int, done: int, size: int) -> None:
        nonlocal told
        if (tenth := done * 10 // size) > told:
            told = tenth
            print(f"{events:,} events, {tenth * 10} %", file=sys.stderr)

    return progress


if __name__ == "__main__":
    sys.exit(main())
