"""What the compiler is told of the package is what the source says."""

from __future__ import annotations

import ast
import re

import pytest

from tools.on import ROOT

PACKAGE = ROOT / "src" / "leasedkeyq"
NAMES = sorted(path.stem for path in PACKAGE.glob("*.pxd"))
# The compiler knows them, and they need not be fast.
COLD = {"_adopt", "_check_phase", "_open", "_rebuilt"}
NEVER = {"_queue", "lease", "errors", "__init__"}  # coroutines, dataclasses, what users catch


def classes(name: str) -> dict[str, ast.ClassDef]:
    tree = ast.parse((PACKAGE / f"{name}.py").read_text(encoding="utf-8"))
    return {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}


def declared(name: str) -> dict[str, tuple[set[str], set[str]]]:
    """By class the attributes and the methods that the .pxd names."""
    text = (PACKAGE / f"{name}.pxd").read_text(encoding="utf-8")
    found = {}
    for part in re.split(r"^cdef class ", text, flags=re.MULTILINE)[1:]:
        name = re.match(r"\w+", part)[0]  # type: ignore[index]
        methods = set(re.findall(r"^    cp?def .*?(\w+)\(", part, re.MULTILINE))
        attributes = set(re.findall(r"^    cdef [\w .]*?(\w+)$", part, re.MULTILINE))
        found[name] = attributes, methods
    return found


def slots(node: ast.ClassDef) -> set[str]:
    for statement in node.body:
        if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == "__slots__":
            value = statement.value
            return {part.value for part in ast.walk(value) if isinstance(part, ast.Constant)}  # type: ignore[misc]
    raise AssertionError(f"{node.name} has no __slots__")


def test_there_is_something_to_compile() -> None:
    assert {"_machine", "_shell"} <= {*NAMES}
    assert not NEVER & {*NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_attributes_are_slots_and_methods_exist(name: str) -> None:
    known = classes(name)
    for title, (attributes, methods) in declared(name).items():
        assert attributes == slots(known[title]), title
        functions = {n.name: n for n in known[title].body if isinstance(n, ast.FunctionDef)}
        assert methods <= functions.keys(), title
        for method in methods:
            for node in ast.walk(functions[method]):
                assert not isinstance(node, ast.Lambda | ast.GeneratorExp), f"{title}.{method}"


@pytest.mark.parametrize("name", NAMES)
def test_constants_of_hot_paths_are_known_to_the_compiler(name: str) -> None:
    """One that is not costs a search in a dictionary, each time."""
    text = (PACKAGE / f"{name}.pxd").read_text(encoding="utf-8")
    known = set(re.findall(r"\w+", " ".join(re.findall(r"^cdef (?!class).*", text, re.MULTILINE))))
    for title, (_, methods) in declared(name).items():
        for function in classes(name)[title].body:
            if isinstance(function, ast.FunctionDef) and function.name in methods - COLD:
                used = {node.id for node in ast.walk(function) if isinstance(node, ast.Name)}
                assert {one for one in used if one.isupper()} <= known, function.name


@pytest.mark.parametrize("name", NAMES)
def test_no_coroutine_and_no_dataclass_is_compiled(name: str) -> None:
    tree = ast.parse((PACKAGE / f"{name}.py").read_text(encoding="utf-8"))
    waits = (ast.AsyncFunctionDef, ast.Await, ast.AsyncFor, ast.AsyncWith)
    assert [node.lineno for node in ast.walk(tree) if isinstance(node, waits)] == []
    decorators = [part for node in classes(name).values() for part in node.decorator_list]
    assert [ast.unparse(one) for one in decorators if "dataclass" in ast.unparse(one)] == []


@pytest.mark.parametrize("name", NAMES)
def test_methods_that_the_compiler_knows_are_called_by_position(name: str) -> None:
    parts = [part for other in NAMES for part in declared(other).values()]
    named = set().union(*(methods for _, methods in parts))
    named -= set().union(*(attributes for attributes, _ in parts))
    tree = ast.parse((PACKAGE / f"{name}.py").read_text(encoding="utf-8"))
    called = {id(node.func): node for node in ast.walk(tree) if isinstance(node, ast.Call)}
    for node in ast.walk(tree):
        if not isinstance(node, ast.Attribute) or node.attr not in named:
            continue
        if ast.unparse(node.value) in ("self", "self._machine"):
            assert id(node) in called, f"line {node.lineno} passes {node.attr} on as a value"
            assert not called[id(node)].keywords, f"line {node.lineno} calls by keyword"
