"""Successors of random trees of layers, against statistics threaded by hand; and nothing of a step is kept."""

import gc
import weakref
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

import fdezero as fd
from fdezero import functions as F
from fdezero import nn
from fdezero.testing import assert_trees_close

from .test_state import KEY, Center, X, centered


class Chain(fd.Module):
    """Containers as a layer, so that `Checkpoint` and `Frozen` can call them."""

    parts: Any

    def __call__(self, x: Any, *, train: bool = False) -> Any:
        return run_tree(self.parts, x, train)


def models(leaf: Any) -> Any:
    """Trees of layers: lists, tuples, dicts, modules, checkpoints, frozen parts."""
    return st.recursive(leaf, lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3),
        st.lists(inner, min_size=1, max_size=2).map(tuple),
        st.dictionaries(st.sampled_from("abc"), inner, min_size=1, max_size=3),
        inner.map(lambda parts: nn.Checkpoint(Chain(parts))),
        inner.map(lambda parts: fd.Frozen(Chain(parts))),
        inner.map(Chain),
    ), max_leaves=6)  # fmt: skip


def run_tree(tree: Any, x: Any, train: bool) -> Any:
    """x through every layer of a tree, in order."""
    if callable(tree):
        return tree(x, train=train)
    for part in [tree[name] for name in sorted(tree)] if isinstance(tree, dict) else tree:
        x = run_tree(part, x, train)
    return x


def run_by_hand(tree: Any, x: Any, frozen: bool = False) -> tuple[Any, Any]:
    """What `run_tree` gives in training, and the tree with its new statistics."""
    if isinstance(tree, Center):
        if frozen:
            return (x - tree.mean) * tree.scale, tree
        y, mean = centered(tree.scale, tree.mean, x)
        return y, tree.replace(mean=mean, count=tree.count + 1)
    if isinstance(tree, fd.Frozen):
        return run_by_hand(tree.value, x, True)[0], tree
    if isinstance(tree, nn.Checkpoint):
        x, layer = run_by_hand(tree.layer, x, frozen)
        return x, nn.Checkpoint(layer)
    if isinstance(tree, Chain):
        x, parts = run_by_hand(tree.parts, x, frozen)
        return x, Chain(parts)
    names = sorted(tree) if isinstance(tree, dict) else range(len(tree))
    parts = {}
    for name in names:
        x, parts[name] = run_by_hand(tree[name], x, frozen)
    return x, parts if isinstance(tree, dict) else type(tree)(parts.values())


@given(models(st.builds(Center.of)))
def test_successors_of_random_trees(tree: Any) -> None:
    expected = run_by_hand(tree, X)
    assert_trees_close(nn.step(tree, X, call=run_tree), expected, 1e-9)
    assert_trees_close(fd.vmap(lambda x: nn.step(tree, x, call=run_tree)[0])(X[None])[0], expected[0], 1e-9)


@given(models(st.builds(Center.of)))
def test_gradients_of_random_trees(tree: Any) -> None:
    def loss(tree: Any, x: Any) -> Any:
        y, successor = nn.step(tree, x, call=run_tree)
        return (y**2).sum(), successor

    (value, successor), gradient = fd.value_and_grad(loss, 1, has_aux=True)(tree, X)
    y, by = run_by_hand(tree, X)
    assert_trees_close((value, successor), ((y**2).sum(), by), 1e-9)
    expected = fd.grad(lambda x: (run_by_hand(tree, x)[0] ** 2).sum())(X)
    assert_trees_close(gradient, expected, 1e-6)


def test_nothing_is_kept_until_a_collection() -> None:
    """Models are large: what a step, a capture, an init or a summary has seen goes with the last name of it."""
    model = nn.Sequential([nn.Linear.init(KEY, 3, 3, dtype=np.float64), Center.of(), F.tanh])

    def run(x: Any) -> list[weakref.ref[Any]]:
        y, successor = nn.step(model, x)
        _, outputs = nn.capture(model, x, paths="**")
        made = nn.init(nn.Sequential([nn.Linear.lazy(4)]), KEY, x)
        nn.summary(made, x)
        nn.thaw(nn.freeze(made))
        seen = [y, successor.layers[1].mean, *outputs.values(), made.layers[0].W]
        return [weakref.ref(array) for array in seen]

    run(X)
    gc.collect()
    gc.disable()
    try:
        assert all(ref() is None for ref in run(X + 1))
    finally:
        gc.enable()
