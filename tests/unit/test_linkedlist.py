"""The intrusive list, against a plain Python list."""

import gc
import itertools
import weakref
from typing import Any

import pytest

from tests.subject import module

LinkedList: Any = module("_linkedlist").LinkedList
Node: Any = module("_linkedlist").Node


class Named(Node):  # type: ignore[misc]
    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name


def build(names: str) -> tuple[Any, dict[str, Any]]:
    nodes = {name: Named(name) for name in names}
    linked = LinkedList()
    for node in nodes.values():
        linked.link_last(node)
    return linked, nodes


def names(linked: Any) -> str:
    """What the list holds; read backwards it must be the same."""
    linked.check_invariants()
    forwards = [node.name for node in linked]
    backwards = []
    node = linked.last
    while node is not None:
        backwards.append(node.name)
        node = node._prev
    assert forwards == backwards[::-1]
    return "".join(forwards)


def test_an_empty_list_has_no_ends() -> None:
    linked = LinkedList()
    assert (linked.first, linked.last, list(linked)) == (None, None, [])
    linked.check_invariants()


def test_link_last_appends_and_link_first_prepends() -> None:
    linked, _ = build("ab")
    linked.link_first(Named("c"))
    linked.link_last(Named("d"))
    assert names(linked) == "cabd"
    assert (linked.first.name, linked.last.name) == ("c", "d")


@pytest.mark.parametrize("name", "abcd")
def test_unlink_takes_a_node_out_wherever_it_stands(name: str) -> None:
    linked, nodes = build("abcd")
    linked.unlink(nodes[name])
    assert names(linked) == "abcd".replace(name, "")
    assert (nodes[name]._list, nodes[name]._prev, nodes[name]._next) == (None, None, None)


def test_the_only_node_can_be_unlinked_and_linked_again() -> None:
    linked, nodes = build("a")
    for link in (linked.link_first, linked.link_last):
        linked.unlink(nodes["a"])
        assert names(linked) == ""
        assert linked.first is linked.last is None
        link(nodes["a"])
        assert names(linked) == "a"


@pytest.mark.parametrize("name", "abc")
def test_move_last_moves_a_node_to_the_end(name: str) -> None:
    linked, nodes = build("abc")
    linked.move_last(nodes[name])
    assert names(linked) == "abc".replace(name, "") + name


def test_linking_a_linked_node_is_refused_and_changes_nothing() -> None:
    linked, nodes = build("ab")
    other, _ = build("c")
    for target, link in itertools.product((linked, other), ("link_first", "link_last")):
        with pytest.raises(RuntimeError, match="linked already"):
            getattr(target, link)(nodes["a"])
    assert (names(linked), names(other)) == ("ab", "c")


def test_unlinking_a_node_that_is_not_there_is_refused_and_changes_nothing() -> None:
    linked, _ = build("ab")
    other, others = build("c")
    for stranger in (Named("x"), others["c"]):
        for remove in (linked.unlink, linked.move_last):
            with pytest.raises(RuntimeError, match="not linked here"):
                remove(stranger)
    assert (names(linked), names(other)) == ("ab", "c")


def test_clear_unlinks_every_node() -> None:
    linked, nodes = build("abc")
    linked.clear()
    assert names(linked) == ""
    for node in nodes.values():
        assert (node._list, node._prev, node._next) == (None, None, None)
    linked.link_last(nodes["b"])
    assert names(linked) == "b"
    LinkedList().clear()


def test_every_short_sequence_of_operations_does_what_a_plain_list_does() -> None:
    operations = [(name, node) for name in ("first", "last", "unlink", "move") for node in "ab"]
    for sequence in itertools.product([*operations, ("clear", "")], repeat=4):
        linked, plain = LinkedList(), list[str]()
        nodes = {name: Named(name) for name in "ab"}
        for operation, name in sequence:
            refused = (name in plain) == (operation in ("first", "last"))
            try:
                match operation:
                    case "first":
                        linked.link_first(nodes[name])
                        plain.insert(0, name)
                    case "last":
                        linked.link_last(nodes[name])
                        plain.append(name)
                    case "unlink":
                        linked.unlink(nodes[name])
                        plain.remove(name)
                    case "move":
                        linked.move_last(nodes[name])
                        plain.remove(name)
                        plain.append(name)
                    case "clear":
                        linked.clear()
                        plain.clear()
                        refused = False
            except RuntimeError:
                assert refused, sequence
            else:
                assert not refused, sequence
            assert names(linked) == "".join(plain), sequence


@pytest.mark.req("COST-5")
def test_an_empty_list_and_an_unlinked_node_are_part_of_no_cycle() -> None:
    class Weak(LinkedList):  # type: ignore[misc]
        __slots__ = ("__weakref__",)

    gc.disable()
    try:
        linked, node = Weak(), Named("a")
        linked.link_last(node)
        linked.unlink(node)
        watched = weakref.ref(linked), weakref.ref(node)
        del linked, node
        assert [alive() for alive in watched] == [None, None]
    finally:
        gc.enable()


@pytest.mark.parametrize(
    ("label", "damage"),
    [
        ("L1", lambda linked, nodes: setattr(linked, "first", None)),
        ("L1", lambda linked, nodes: setattr(linked, "last", None)),
        ("L2", lambda linked, nodes: setattr(linked, "last", nodes["b"])),
        ("L2", lambda linked, nodes: setattr(nodes["c"], "_prev", nodes["a"])),
        ("L2", lambda linked, nodes: setattr(nodes["b"], "_next", None)),
        ("L3", lambda linked, nodes: setattr(nodes["b"], "_list", None)),
        ("L3", lambda linked, nodes: setattr(nodes["c"], "_list", LinkedList())),
    ],
)
def test_the_invariants_see_every_damage(label: str, damage: Any) -> None:
    linked, nodes = build("abc")
    linked.check_invariants()
    damage(linked, nodes)
    with pytest.raises(AssertionError, match=f"^{label}$"):
        linked.check_invariants()
