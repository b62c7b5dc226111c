"""The public interface, word for word."""

import importlib
import inspect
import re
import sys
import types
from pathlib import Path
from typing import Any, Literal, get_args, get_type_hints

import pytest

from tests import subject
from tests.subject import PACKAGE, InFlightPolicy, Lease, LeasedKeyQueue, module

package: Any = importlib.import_module(PACKAGE)
lease_module: Any = module("lease")


# Every method as the reference has it, and the additions, of which version 2 has most.
METHODS = {
    "start": "(self) -> None",
    "close": "(self) -> None",
    "put": "(self, key: K, value: V, *, if_in_flight: InFlightPolicy | None = None,"
    " delay: float = 0, timeout: float | None = None) -> None",
    "get": "(self, timeout: float | None = None, *, lease_timeout: float | None = None)"
    " -> Delivery[K, V]",
    "take": "(self, key: K, timeout: float | None = None, *, lease_timeout: float | None = None)"
    " -> Delivery[K, V]",
    "ack": "(self, lease: Lease[K]) -> None",
    "release": "(self, lease: Lease[K], *, requeue_front: bool = False, delay: float = 0) -> None",
    "extend": "(self, lease: Lease[K], timeout: float | None = None) -> None",
    "refresh": "(self, lease: Lease[K]) -> V",
    "superseded": "(self, lease: Lease[K]) -> bool",
    "deadline": "(self, lease: Lease[K]) -> float",
    "discard": "(self, key: K) -> bool",
    "join": "(self, timeout: float | None = None) -> None",
    "shutdown": "(self) -> None",
    "drain": "(self, timeout: float | None = None) -> bool",
    "peek": "(self, key: K) -> V | None",
    "contains": "(self, key: K) -> bool",
    "available_keys": "(self) -> set[K]",
    "available_items": "(self) -> list[tuple[K, V]]",
    "delayed_keys": "(self) -> set[K]",
    "inflight_keys": "(self) -> set[K]",
    "qsize": "(self) -> int",
    "delayed_size": "(self) -> int",
    "inflight_size": "(self) -> int",
}
# Their annotations are for a checker (see test_typing.py): they run in a class that is not generic.
PLAIN = {
    "put_nowait": "(key, value, *, if_in_flight=None, delay=0)",
    "get_nowait": "(*, lease_timeout=None)",
    "take_nowait": "(key, *, lease_timeout=None)",
    "ack_nowait": "(lease)",
    "release_nowait": "(lease, *, requeue_front=False, delay=0)",
    "extend_nowait": "(lease, timeout=None)",
    "superseded_nowait": "(lease)",
    "deadline_nowait": "(lease)",
    "stats": "()",
}
# What is made of these, with tests of its own in tests/jobs.
JOBS = {"job", "get_many", "ack_many"}
OF_JOBS = {"DeadLetter", "Job", "LeaseLostError", "backoff", "run_workers"}
# What looks at it, with tests in tests/observers.
SEEN = {"observer"}
OF_STATISTICS = {"Stats"}
OF_OBSERVERS = {"Event", "FileRecorder", "FlightRecorder", "LogObserver", "Observer", "Observers"}


@pytest.mark.parametrize("name", METHODS)
def test_every_method_has_the_signature_of_the_reference(name: str) -> None:
    method = getattr(LeasedKeyQueue, name)
    signature = inspect.signature(method)
    self, *others = signature.parameters.values()
    parameters = [one.replace(annotation=Shown(one.annotation)) for one in others]
    returned = Shown(signature.return_annotation)
    assert str(inspect.Signature([self, *parameters], return_annotation=returned)) == METHODS[name]
    assert inspect.iscoroutinefunction(method)
    assert method.__doc__


class Shown:
    """An annotation, shown without the quotes of a string."""

    def __init__(self, annotation: str) -> None:
        self.annotation = annotation

    def __repr__(self) -> str:
        return self.annotation


@pytest.mark.req("NOW-3")
@pytest.mark.parametrize("name", PLAIN)
def test_what_never_waits_is_a_plain_method(name: str) -> None:
    method = getattr(LeasedKeyQueue, name)
    _, *parameters = inspect.signature(method).parameters.values()
    bare = [parameter.replace(annotation=inspect.Parameter.empty) for parameter in parameters]
    assert str(inspect.Signature(bare)) == PLAIN[name]
    assert not inspect.iscoroutinefunction(method)
    assert method.__doc__


def test_the_constructor_takes_options_by_name() -> None:
    LeasedKeyQueue[str, int](default_lease_timeout=None, maxsize=0, if_in_flight="update")
    for arguments, options in (((5,), {}), ((), {"size": 5})):
        with pytest.raises(TypeError):
            LeasedKeyQueue[str, int](*arguments, **options)  # type: ignore[arg-type]


def test_the_queue_has_no_other_public_name() -> None:
    public = {name for name in dir(LeasedKeyQueue) if not name.startswith("_")}
    assert public == {*METHODS, *PLAIN, *JOBS, *SEEN}


def test_the_queue_is_an_asynchronous_context_manager() -> None:
    assert inspect.iscoroutinefunction(LeasedKeyQueue.__aenter__)
    assert inspect.iscoroutinefunction(LeasedKeyQueue.__aexit__)


def test_the_queue_has_two_type_parameters_and_the_lease_one() -> None:
    assert LeasedKeyQueue[str, int]().__class__ is LeasedKeyQueue
    assert get_args(LeasedKeyQueue[str, int]) == (str, int)
    assert get_args(Lease[str]) == (str,)


def test_a_lease_has_three_fields_and_no_other_public_name() -> None:
    fields = {"token": str, "key": lease_module.K, "attempt": int}
    assert {name for name in [*dir(Lease), "attempt"] if not name.startswith("_")} == {*fields}
    assert [*inspect.signature(Lease).parameters] == [*fields]
    assert get_type_hints(Lease.__init__) == {**fields, "return": type(None)}
    assert get_type_hints(Lease) == fields


def test_the_package_says_which_build_it_is_and_refuses_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Imported elsewhere, in all ways, in tests/build; here, what the variables do."""
    compiled = package.__compiled__
    assert compiled is not module("_machine").__file__.endswith(".py")
    monkeypatch.setattr(sys, "path_importer_cache", {**sys.path_importer_cache})
    monkeypatch.delenv("LEASEDKEYQ_EXTENSIONS", raising=False)  # as tools/on.py may have set it
    monkeypatch.setenv("LEASEDKEYQ_NO_EXTENSIONS", "1")
    assert importlib.reload(package).__compiled__ is compiled  # what is loaded stays
    monkeypatch.setenv("LEASEDKEYQ_NO_EXTENSIONS", "0")
    monkeypatch.setenv("LEASEDKEYQ_EXTENSIONS", "1")
    if compiled:
        importlib.reload(package)
    else:
        with pytest.raises(ImportError, match="LEASEDKEYQ_EXTENSIONS demands"):
            importlib.reload(package)
    monkeypatch.setenv("LEASEDKEYQ_NO_EXTENSIONS", "1")
    with pytest.raises(ImportError, match="contradict each other"):
        importlib.reload(package)


@pytest.mark.req("IN-1")
def test_the_policies_are_those_of_the_reference_and_defer() -> None:
    assert InFlightPolicy == Literal["update", "reject", "buffer", "defer"]


def test_the_package_exports_what_the_reference_names_and_the_additions() -> None:
    expected = {
        "InFlightPolicy",
        "InvalidLeaseError",
        "KeyAlreadyInFlightError",
        "Lease",
        "LeaseAlreadyAcknowledgedError",
        "LeaseExpiredError",
        "LeasedKeyQError",
        "LeasedKeyQueue",
        "QueueClosedError",
        *OF_JOBS,
        *OF_OBSERVERS,
        *OF_STATISTICS,
    }
    assert len(package.__all__) == len(expected)
    assert set(package.__all__) == expected
    assert set(subject.__all__) == expected | {"PACKAGE", "module"}


def test_the_package_has_no_other_public_name_but_its_modules() -> None:
    public = {name for name in vars(package) if not name.startswith("_")} - set(package.__all__)
    assert public <= {
        "errors",
        "lease",
        "jobs",
        "workers",
        "observing",
        "recording",
        "checking",
        "stats",
    } | {
        "otel",
        "top",
        "engine",
        "redis",
    }
    assert all(isinstance(getattr(package, name), types.ModuleType) for name in public)


def test_the_package_says_what_it_is_and_its_version() -> None:
    assert package.__doc__
    assert re.fullmatch(r"\d+\.\d+\.\d+", package.__version__)


def test_the_package_is_marked_as_typed() -> None:
    assert Path(package.__file__).with_name("py.typed").exists()


@pytest.mark.parametrize("name", sorted(package.__all__))
def test_everything_public_is_documented(name: str) -> None:
    if name != "InFlightPolicy":  # an alias, which cannot be
        assert inspect.getdoc(getattr(package, name))
