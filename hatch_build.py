"""Compiles the modules that have a `.pxd` beside them, where there is a C compiler.

    LEASEDKEYQ_EXTENSIONS=1     demand it: a build that cannot compile fails
    LEASEDKEYQ_NO_EXTENSIONS=1  forbid it: the wheel is pure, and needs no Cython and no compiler
    LEASEDKEYQ_NONECHECK=1      for tests: None used as an object raises, and does not crash

The first two contradict each other: with both of them nothing is built, and nothing is imported.
Without a compiler and without any of these the wheel is pure as well, and a line says so. A clone
that is installed with `pip install -e` is never compiled.

What the compiler asks of the source, next to what mypy asks anyway:

- A class of a compiled module has all its attributes in the `.pxd`, those and no others in
  ``__slots__``; it is no `Generic`, and a built-in base has no subscript.
- A method that is named in a `.pxd` holds no lambda and no generator expression, is called with
  positional arguments only, and is never passed on as a value.
- What is called with a name that the `.pxd` knows must be of its type, or None where it may be.
- Coroutines and dataclasses stay in modules without a `.pxd`.

`tests/build/test_pxd.py` holds the source to the first, the build of the tests to the others.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PACKAGE = "leasedkeyq"

# Types come from the `.pxd` files alone, and never from annotations. Methods that `inspect` could
# take apart whole (binding) would cost a fifth of the cycle; names and defaults are enough.
DIRECTIVES = {
    "language_level": 3,
    "annotation_typing": False,
    "binding": False,
    "embedsignature": True,
    "embedsignature.format": "clinic",
}


def wanted(name: str) -> bool:
    """Is this variable of the environment set to something that means yes?"""
    return os.environ.get(name, "") not in ("", "0")


class Compile(BuildHookInterface):  # type: ignore[type-arg]  # it asks for a type that is private
    def dependencies(self) -> list[str]:
        return [] if wanted("LEASEDKEYQ_NO_EXTENSIONS") else ["cython>=3.1,<4", "setuptools"]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if wanted("LEASEDKEYQ_EXTENSIONS") and wanted("LEASEDKEYQ_NO_EXTENSIONS"):
            raise RuntimeError(
                "LEASEDKEYQ_EXTENSIONS and LEASEDKEYQ_NO_EXTENSIONS are both set, and contradict"
                f" each other: the one demands that {PACKAGE} is compiled, the other forbids it;"
                " unset one of them"
            )
        if version == "editable" or wanted("LEASEDKEYQ_NO_EXTENSIONS"):
            return
        self.scratch = tempfile.TemporaryDirectory(prefix=f"{PACKAGE}-")
        target = Path(self.scratch.name)
        if lacking := no_compiler(target):
            if wanted("LEASEDKEYQ_EXTENSIONS"):
                raise RuntimeError(f"{PACKAGE} was to be compiled: {lacking}")
            self.app.display_warning(f"{PACKAGE} is built without extension modules: {lacking}")
            return
        for library in extensions(Path(self.root, "src"), target):
            build_data["force_include"][str(library)] = f"{PACKAGE}/{library.name}"
        build_data["pure_python"] = False
        build_data["infer_tag"] = True

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        if hasattr(self, "scratch"):
            self.scratch.cleanup()


def build(modules: list[Any], target: Path) -> None:
    """Compile and link; the libraries are in `target`."""
    from setuptools import Distribution  # noqa: PLC0415 (a pure build does without it)

    command: Any = Distribution({"ext_modules": modules}).get_command_obj("build_ext")
    command.build_lib, command.build_temp = str(target), str(target / "objects")
    command.parallel = os.cpu_count()
    command.ensure_finalized()
    command.run()


def no_compiler(target: Path) -> str:
    """What is missing in order to build an extension module, if anything is."""
    from setuptools import Extension  # noqa: PLC0415 (a pure build does without it)

    source = target / "probe.c"
    source.write_text("#include <Python.h>\nPyMODINIT_FUNC PyInit_probe(void) { return NULL; }\n")
    try:
        build([Extension("probe", [str(source)])], target / "probe")
    except Exception as error:  # noqa: BLE001 (whatever it is, it does not compile)
        return f"there is no C compiler that finds Python.h ({error})"
    return ""


def extensions(source: Path, target: Path) -> list[Path]:
    """Compile what has a `.pxd`; where the extension modules are."""
    from Cython.Build import cythonize  # noqa: PLC0415 (a pure build does without it)
    from setuptools import Extension  # noqa: PLC0415 (likewise)

    modules = [
        Extension(f"{PACKAGE}.{path.stem}", [str(path.with_suffix(".py"))])
        for path in sorted((source / PACKAGE).glob("*.pxd"))
        if path.stem != "__init__"
    ]
    directives = DIRECTIVES | {"nonecheck": wanted("LEASEDKEYQ_NONECHECK")}
    generated = cythonize(  # type: ignore[no-untyped-call]
        modules,
        build_dir=str(target / "c"),
        include_path=[str(source)],
        compiler_directives=directives,
        force=True,
        quiet=True,
    )
    build(generated, target / "lib")
    return sorted((target / "lib" / PACKAGE).iterdir())
