"""A policy around every layer of the table: dtypes, gradients, statistics, compiled code, and exceptions that give the layer itself."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fdezero as fd
from fdezero import numpy as fnp
from fdezero.optim.precision import Policy
from fdezero.testing import assert_trees_equal

from .folding import all_of
from .layer_row import KEY, Row, called, stepped
from .layers import LAYERS

law = all_of("train", [False, True])
rows = pytest.mark.parametrize("row", LAYERS, ids=str)


def half(x: Any) -> Any:
    """A floating array rounded to float16, in float32."""
    return x.astype(np.float16).astype(np.float32) if getattr(x, "dtype", None) == np.float32 else x


def of_row(row: Row) -> tuple[Any, Any]:
    """The layer and its inputs, in numbers of float16."""
    layer = row.layer(dtype=np.float32)
    return fd.tree.map(half, layer), fd.tree.map(half, row.xs(np.float32))


def floating(tree: Any) -> list[Any]:
    return [leaf for leaf in fd.tree.leaves(tree) if getattr(leaf, "dtype", np.dtype(int)).kind in "fV"]


def total(call: Callable[..., Any]) -> Callable[..., Any]:
    """The sum of squares of all results, which are float32."""
    return lambda layer, xs: sum(fnp.sum(fnp.square(leaf)) for leaf in floating(call(layer, *xs)))


@law
@rows
@all_of("compute", ["float16", "bfloat16"])
def test_results_and_gradients_are_near_those_of_float32_in_their_dtypes(row: Row, train: bool, compute: str) -> None:
    (layer, xs), call = of_row(row), stepped(train)
    model = Policy(compute=compute)(layer)
    y, exact = call(model, *xs), call(layer, *xs)
    error = {"float16": 0.02, "bfloat16": 0.15}[compute]
    for got, expected in zip(fd.tree.leaves(y), fd.tree.leaves(exact), strict=True):
        assert np.asarray(got).dtype == np.asarray(expected).dtype
        np.testing.assert_allclose(got, expected, rtol=error, atol=error * (1e-3 + np.abs(expected).max(initial=0)))
    if floating(fd.tree.trainable(layer)):
        grads = fd.grad(total(call))(model, xs)
        assert [leaf.dtype for leaf in fd.tree.leaves(grads)] == [
            leaf.dtype for leaf in floating(fd.tree.trainable(layer))
        ]
        assert all(np.isfinite(leaf).all() for leaf in fd.tree.leaves(grads))
        if train and compute == "bfloat16":  # float16 has its own law of compiled layers
            assert_trees_equal(fd.compile(fd.grad(total(call)))(model, xs), grads, bits=True)


@law
@rows
def test_an_exception_for_every_layer_is_float32_rounded_once(row: Row, train: bool) -> None:
    (layer, xs), call = of_row(row), stepped(train)
    y, exact = call(Policy(layers={"": "float32"})(layer), *xs), call(layer, *xs)
    if (
        isinstance(y, tuple) and isinstance(exact, tuple) and len(y) == 2 and isinstance(y[1], list)
    ):  # statistics are not rounded
        assert_trees_equal(y[1], exact[1], bits=True)
        y, exact = y[0], exact[0]
    assert_trees_equal(y, fd.tree.map(half, exact), bits=True)


@rows
def test_bfloat16_on_the_stand_in_is_that_of_numpy(row: Row, strict_cupy: Any) -> None:
    layer, xs = of_row(row)
    model = Policy(compute="bfloat16", output=None)(layer)
    there, xs_there, key = fd.to_device((model, xs, KEY), "gpu")
    y, expected = called(True, key)(there, *xs_there), called(True)(model, *xs)
    assert {fd.device_of(leaf) for leaf in fd.tree.leaves(y)} == {"gpu:0"}
    for got, exact in zip(fd.tree.leaves(fd.to_numpy(y)), fd.tree.leaves(expected), strict=True):
        assert got.dtype == exact.dtype
        np.testing.assert_allclose(got.astype(float), exact.astype(float), rtol=0.02, atol=0.01)
