"""A stack of matrices times one matrix is one product, and so are its derivatives: values, counts of products, and messages."""

from typing import Any

import numpy as np
import pytest

import fdezero as fd
from fdezero import numpy as fnp
from fdezero.errors import ShapeError
from fdezero.testing import assert_trees_close, assert_trees_equal, check_grads

RNG = np.random.default_rng(0)
SHAPES = [(5, 2, 3), (4, 5, 2, 3), (5, 1, 3), (1, 1, 3), (0, 2, 3), (5, 0, 3), (2, 5, 0), (5, 2, 1)]


def pair(shape: tuple[int, ...], columns: int = 4) -> tuple[np.ndarray, np.ndarray]:
    return RNG.standard_normal(shape), RNG.standard_normal((shape[-1], columns))


def products(function: Any, *args: Any) -> list[Any]:
    """The shapes of all matrix products of a function."""
    f = fd.compile(function)
    f(*args)
    return [step.output.shape for step in f.graph.instructions if step.name == "matmul"]


@pytest.mark.parametrize("columns", [4, 1, 0])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_values_and_derivatives_are_those_of_a_loop(shape: tuple[int, ...], columns: int) -> None:
    x, w = pair(shape, columns)
    y = fnp.matmul(x, w)
    assert y.flags.c_contiguous
    assert_trees_close(y, np.matmul(x, w), 1e-14)
    assert_trees_equal(fd.compile(fnp.matmul)(x, w), y, bits=True)
    t = np.cos(y)
    gx, gw = fd.vjp(lambda x, w: x @ w, x, w)[1](t)
    assert_trees_close(gx, np.matmul(t, w.T), 1e-14)
    assert_trees_close(gw, np.matmul(x.swapaxes(-1, -2), t).sum(tuple(range(x.ndim - 2))), 1e-13)
    if x.size and columns:
        check_grads(lambda x, w: np.sin(x @ w), (x, w), order=2)


def test_other_layouts_and_dtypes_are_those_of_numpy() -> None:
    x, w = pair((4, 5, 3))
    for view in (x.swapaxes(0, 1), x[::-1, ::2], np.broadcast_to(x[0], (4, 5, 3)), np.asfortranarray(x)):
        assert_trees_close(fnp.matmul(view, w), np.matmul(view, w), 1e-14)
    for dtype in (np.float32, np.int8, bool, np.complex64):
        found = fnp.matmul(x.astype(dtype), w.astype(dtype))
        assert_trees_close(found, np.matmul(x.astype(dtype), w.astype(dtype)), 1e-5)


@pytest.mark.parametrize("form", ["loop", "vmap"])
def test_a_gradient_does_not_make_a_matrix_for_each_of_the_stack(form: str) -> None:
    x, w = pair((6, 2, 3))
    many = (lambda x, w: x @ w) if form == "loop" else lambda x, w: fd.vmap(lambda row: row @ w)(x)
    shapes = products(fd.grad(lambda w: fnp.sum(np.sin(many(x, w)))), w)
    assert shapes[-1] == (3, 4)
    assert_trees_close(fd.grad(lambda w: fnp.sum(many(x, w) ** 2))(w), 2 * np.einsum("bnk,bnl,lm->km", x, x, w), 1e-13)
    assert products(many, x, w) == [(12, 4) if form == "loop" else (6, 2, 4)]


def test_one_matrix_of_a_stack_of_one_and_a_smaller_stack_broadcast() -> None:
    x, w = pair((6, 2, 3))
    for other in (w[None], np.stack([w] * 6), w[None, None]):
        _, pullback = fd.vjp(lambda x, w: x @ w, x, other)
        t = np.ones(np.matmul(x, other).shape)
        gx, gw = pullback(t)
        assert (gx.shape, gw.shape) == (x.shape, other.shape)
        assert_trees_close(gw.reshape(-1, 3, 4).sum(0), np.einsum("bnk->k", x)[:, None] * np.ones(4), 1e-13)


def test_shapes_that_do_not_fit_are_told_as_the_user_wrote_them() -> None:
    x, w = pair((6, 2, 3))
    with pytest.raises(ShapeError, match=r"matmul cannot multiply shapes \(6, 2, 3\) and \(4, 3\)"):
        fnp.matmul(x, w.T)
