"""Trees: order, paths, dicts of slash-joined keys, partition, modules, and the errors that name a path."""

import collections
import os
import subprocess
import sys
from typing import Any

import attrs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fdezero as fd
from fdezero.errors import ImmutableError, StructureError
from fdezero.testing import assert_trees_equal, pytrees

Point = collections.namedtuple("Point", "u v")


@attrs.define
class Plain:
    """A user's own attrs class; fdezero knows only its fields."""

    W: Any
    _hidden: Any = None


@attrs.frozen
class Positive:
    value: float = attrs.field(validator=attrs.validators.gt(0.0))


class Layer(fd.Module):
    W: Any
    name: str = fd.static(default="layer")
    b: Any = None


@given(pytrees())
def test_unflatten_is_the_inverse_of_flatten(tree: Any) -> None:
    leaves, treedef = fd.tree.flatten(tree)
    assert_trees_equal(fd.tree.unflatten(treedef, leaves), tree)
    assert len(fd.tree.paths(tree)) == len(set(fd.tree.paths(tree))) == len(leaves)


@given(pytrees().map(lambda tree: {"root": tree}))
def test_dicts_of_paths_go_both_ways(tree: Any) -> None:
    flat = fd.tree.flatten_to_dict(tree)
    assert_trees_equal(fd.tree.unflatten_from_dict(dict(reversed(flat.items())), like=tree), tree)
    assert fd.tree.flatten_to_dict(fd.tree.unflatten_from_dict(flat)).keys() == flat.keys()


@given(st.permutations(["b", "a", "c", 2, 10]))
def test_the_order_of_insertion_is_irrelevant(names: list[Any]) -> None:
    tree = {name: str(name) for name in names}
    expected = {name: str(name) for name in ["a", "b", "c", 2, 10]}
    assert fd.tree.flatten(tree) == fd.tree.flatten(expected)
    assert fd.tree.map(lambda mine, other: mine == other, tree, expected) == dict.fromkeys(names, True)


def test_the_order_is_that_of_any_other_process() -> None:
    code = "import fdezero as fd; print(fd.tree.paths({n: {m: 0 for m in {'x', 'yy', 'z'}} for n in {'b', 'a', 'long', 'c'}}))"
    printed = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert printed == {str([f"{n}/{m}" for n in ("a", "b", "c", "long") for m in ("x", "yy", "z")]) + "\n"}


def test_containers_of_a_user_keep_their_types() -> None:
    tree = {"point": Point(1.0, [2.0]), "plain": Plain(3.0, (4.0, None)), "positive": Positive(5.0)}
    negative = fd.tree.map(lambda x: -x, tree)
    assert negative == {
        "point": Point(-1.0, [-2.0]),
        "plain": Plain(-3.0, (-4.0, None)),
        "positive": negative["positive"],
    }
    assert isinstance(negative["positive"], Positive), "validators are not run on mapped trees"
    assert negative["positive"].value == -5.0
    assert fd.tree.paths(tree) == ["plain/W", "plain/_hidden/0", "point/0", "point/1/0", "positive/value"]


def test_gradients_of_a_users_class() -> None:
    gradient = fd.grad(lambda tree: (tree.W * tree.W).sum())(Plain(np.array([1.0, 2.0])))
    assert isinstance(gradient, Plain)
    np.testing.assert_array_equal(gradient.W, [2.0, 4.0])


def test_static_fields_are_structure() -> None:
    assert fd.tree.leaves(Layer(1.0)) == [1.0]
    with pytest.raises(StructureError, match="static fields"):
        fd.tree.map(lambda x, y: x, Layer(1.0), Layer(1.0, name="other"))


def test_modules_are_immutable_and_replaced() -> None:
    layer = Layer(1.0)
    with pytest.raises(ImmutableError, match=r"W cannot be assigned.*replace\(W="):
        layer.W = 2.0
    assert (layer.replace(W=2.0).W, layer.W) == (2.0, 1.0)
    assert repr(Layer(np.ones((2, 3)))) == "Layer(W=float64[2,3], b=None)"  # without the usual name
    assert repr(Layer(np.ones((2, 3)), name="first")) == "Layer(W=float64[2,3], name='first', b=None)"


def test_frozen_is_a_leaf_to_gradients_alone() -> None:
    tree = {"a": fd.Frozen({"x": np.ones(2)}), "b": np.ones(2), "n": 3, "f": 1.5}
    assert fd.tree.paths(tree) == ["a/value/x", "b", "f", "n"]
    trainable = fd.tree.trainable(tree)
    assert (trainable["a"], trainable["n"], trainable["f"]) == (None, None, 1.5)
    gradient = fd.grad(lambda t: (t["a"].value["x"] * t["b"] * t["f"] * t["n"]).sum())(tree)
    assert fd.tree.paths(gradient) == fd.tree.paths(trainable) == ["b", "f"]


def test_a_users_class_may_be_called_frozen_and_frozen_be_subclassed() -> None:
    namesake = type("Frozen", (fd.Module,), {"__annotations__": {"W": Any}})
    assert fd.tree.leaves(fd.tree.trainable(namesake(np.ones(2)))) != []
    subclass = type("Table", (fd.Frozen,), {})
    assert fd.tree.trainable({"t": subclass(np.ones(2))}) == {"t": None}


@given(pytrees(st.integers(-3, 3) | st.none() | st.floats(-1, 1)))
def test_combine_is_the_inverse_of_partition(tree: Any) -> None:
    def small(leaf: float) -> bool:
        return leaf < 0

    chosen, rest = fd.tree.partition(tree, small)
    assert fd.tree.combine(chosen, rest) == fd.tree.combine(rest, chosen) == tree
    assert all(leaf < 0 for leaf in fd.tree.leaves(chosen))
    assert all(leaf >= 0 for leaf in fd.tree.leaves(rest))


def test_combine_names_the_path_that_differs() -> None:
    with pytest.raises(StructureError, match="first tree and tree 3 differ at 'b'"):
        fd.tree.combine({"a": None, "b": 1}, {"a": 1, "b": None}, {"a": 1})


@pytest.mark.parametrize(
    ("left", "right", "message"),
    [
        ({"a": 1, "b": [2, 3]}, {"a": 1, "b": [2]}, "differ at 'b/1': params has int 3 there, grads has nothing"),
        ({"a": 1}, {"a": {"x": 1}}, "differ at 'a': params has int 1 there, grads continues to 'a/x'"),
        ({"a": None}, {"a": 1}, "differ at 'a': grads has int 1 there, params has nothing"),
        (1, {"a": 1}, "differ at the root: params has int 1 there, grads continues to 'a'"),
        ({"a": (1,)}, {"a": [1]}, "same paths, but their containers differ"),
        (Point(1, 2), (1, 2), "containers differ .Point and tuple at the root"),
        ({"l": Layer(1), "a": 1}, {"l": Layer(1, b=2), "a": 1}, "differ at 'l/b'"),
    ],
)
def test_map_names_the_first_path_that_differs(left: Any, right: Any, message: str) -> None:
    with pytest.raises(StructureError, match=message):
        fd.tree.map(lambda x, y: x, left, right, names=("params", "grads"))


@pytest.mark.parametrize("tree", [{"a/b": 1, "a": {"b": 2}}, {1: 1, "1": 2}, {"a": [1], "a/0": 2}])
def test_keys_that_collide_are_refused(tree: Any) -> None:
    with pytest.raises(StructureError, match="two leaves have the key"):
        fd.tree.flatten_to_dict(tree)


def test_an_empty_key_is_not_taken_for_a_single_leaf() -> None:
    with pytest.raises(StructureError, match="a leaf has the key '', which is no name"):
        fd.tree.flatten_to_dict({"": 1, "a": 2})
    with pytest.raises(StructureError, match="a single leaf does not have a key"):
        fd.tree.flatten_to_dict(1)


def test_a_single_leaf_has_no_key() -> None:
    with pytest.raises(StructureError, match="Put it into a dict"):
        fd.tree.flatten_to_dict(np.ones(2))


@pytest.mark.parametrize("flat", [{"a": 1, "a/b": 2}, {"a/b": 2, "a": 1}])
def test_a_leaf_is_no_branch(flat: dict[str, int]) -> None:
    with pytest.raises(StructureError, match="'a"):
        fd.tree.unflatten_from_dict(flat)


def test_unflatten_from_dict_lists_what_does_not_fit() -> None:
    with pytest.raises(StructureError) as error:
        fd.tree.unflatten_from_dict({"a": 1, "x/y": 2}, like={"a": 0, "b": [0]})
    assert str(error.value).splitlines()[1:] == ["  missing:    b/0", "  unexpected: x/y"]


def test_update_replaces_leaves_by_path() -> None:
    tree = {"layers": (Layer(1.0), Layer(2.0))}
    updated = fd.tree.update(tree, {"layers/1/W": 5.0})
    assert (fd.tree.leaves(updated), fd.tree.leaves(tree)) == ([1.0, 5.0], [1.0, 2.0])
    with pytest.raises(StructureError, match="no leaf at 'layers/2/W'; the tree has 'layers/0/W', 'layers/1/W'"):
        fd.tree.update(tree, {"layers/2/W": 5.0})
