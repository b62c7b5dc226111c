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
        self.list = self.prev = self.next = None
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
        node = node.prev
    assert forwards == backwards[::-1]
    return "".join(forwards)


def test_every_short_sequence_of_operations_does_what_a_plain_list_does() -> None:
    """What is refused changes nothing, and what was unlinked keeps no link."""
    operations = [(name, node) for name in ("first", "last", "unlink") for node in "abc"]
    for sequence in itertools.product([*operations, ("clear", "")], repeat=4):
        linked, plain = LinkedList(), list[str]()
        nodes = {name: Named(name) for name in "abc"}
        for operation, name in sequence:
            refused = operation != "clear" and (name in plain) == (operation != "unlink")
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
                    case "clear":
                        linked.clear()
                        plain.clear()
            except RuntimeError:
                assert refused, sequence
            else:
                assert not refused, sequence
        assert names(linked) == "".join(plain), sequence
        assert (linked.first is None, linked.last is None) == (not plain, not plain)
        for name, node in nodes.items():
            if name not in plain:
                assert (node.list, node.prev, node.next) == (None, None, None), sequence


def test_a_node_is_in_one_list_at_most_and_a_list_says_so() -> None:
    linked, nodes = build("ab")
    other, others = build("c")
    for link in (linked.link_first, linked.link_last, other.link_first, other.link_last):
        with pytest.raises(RuntimeError) as refused:
            link(nodes["a"])
        assert str(refused.value) == f"{nodes['a']!r} is linked already"
    for stranger in (Named("x"), others["c"]):
        with pytest.raises(RuntimeError) as refused:
            linked.unlink(stranger)
        assert str(refused.value) == f"{stranger!r} is not linked here"
    assert (names(linked), names(other)) == ("ab", "c")


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
        ("L2", lambda linked, nodes: setattr(nodes["c"], "prev", nodes["a"])),
        ("L2", lambda linked, nodes: setattr(nodes["b"], "next", None)),
        ("L3", lambda linked, nodes: setattr(nodes["b"], "list", None)),
        ("L3", lambda linked, nodes: setattr(nodes["c"], "list", LinkedList())),
    ],
)
def test_the_invariants_see_every_damage(label: str, damage: Any) -> None:
    linked, nodes = build("abc")
    linked.check_invariants()
    damage(linked, nodes)
    with pytest.raises(AssertionError, match=f"^{label}$"):
        linked.check_invariants()
