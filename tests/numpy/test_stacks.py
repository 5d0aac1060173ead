"""A stack of matrices times one matrix is one product, and so are its derivatives: values, counts of products, and messages."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

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
    assert products(many, x, w) == [(12, 4)]


def test_one_product_serves_the_vectors_of_a_batch() -> None:
    a, x, t = RNG.standard_normal((8, 4)), RNG.standard_normal((6, 4)), RNG.standard_normal((6, 8))
    mapped = fd.vmap(lambda a, x: a @ x, (None, 0))
    assert products(mapped, a, x) == [(6, 8)]
    assert_trees_close(mapped(a, x), x @ a.T, 1e-14)
    (ga, gx) = fd.vjp(mapped, a, x)[1](t)
    assert_trees_close((ga, gx), (t.T @ x, t @ a), 1e-14)
    assert products(lambda a: fd.grad(lambda a: np.sum(mapped(a, x) ** 2))(a), a)[1:] == [(4, 8)]
    columns = RNG.standard_normal((6, 4, 2))
    assert products(mapped, a, columns) == [(6, 8, 2)]  # to bring the columns together takes longer
    assert products(fd.grad(lambda a: np.sum(mapped(a, columns) ** 2)), a)[-1] == (8, 4)


def test_two_levels_of_vmap_are_one_product() -> None:
    x, w = RNG.standard_normal((2, 5, 3)), RNG.standard_normal((3, 4))
    mapped = fd.vmap(fd.vmap(lambda x: x @ w))
    assert products(mapped, x) == [(10, 4)]
    assert_trees_close(mapped(x), x @ w, 1e-14)
    tangents = fd.jvp(mapped, (x,), (x,))[1]
    assert_trees_close(tangents, x @ w, 1e-14)
    within = fd.vmap(fd.grad(lambda x: np.sum(fd.vmap(lambda row: np.tanh(row @ w))(x))))
    assert all(len(shape) == 2 for shape in products(within, x))


def test_a_batch_meets_each_matrix_of_an_ensemble_once() -> None:
    x, w, v = RNG.standard_normal((6, 3)), RNG.standard_normal((2, 3, 4)), RNG.standard_normal((2, 4, 5))
    call = fd.vmap(fd.vmap(lambda x, w, v: np.tanh(x @ w) @ v, (None, 0, 0)), (0, None, None))
    assert products(call, x, w, v) == [(2, 6, 4), (2, 6, 5)]
    assert_trees_close(call(x, w, v), np.einsum("ebm,emo->beo", np.tanh(x @ w), v), 1e-14)
    loss = lambda x, w, v: np.sum(np.sin(call(x, w, v)))
    assert max(map(len, products(fd.grad(loss, (0, 1, 2)), x, w, v))) == 3
    check_grads(call, (x, w, v), order=2)
    turned = fd.vmap(fd.vmap(lambda w, x: w @ x, (0, None)), (None, 0))
    wide = w.swapaxes(1, 2)
    assert products(turned, wide, x) == [(6, 8)]  # the rows of both matrices meet each vector
    assert_trees_close(turned(wide, x), np.einsum("emk,bk->bem", wide, x), 1e-14)
    check_grads(turned, (wide, x), order=2)


DTYPES = [np.float64, np.float32, np.complex128, np.complex64, np.int32, np.int8, bool]
SPECIAL = [math.nan, math.inf, -math.inf, -0.0]


@st.composite
def factors(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, tuple[int | None, int | None]]:
    """Two factors of any layout, dtype and entries, and the axes over which `vmap` goes."""
    size, n, k, m = (draw(st.integers(0, 3)) for _ in range(4))
    cores = [draw(st.sampled_from([(k,), (n, k), (2, n, k)])), draw(st.sampled_from([(k,), (k, m), (2, k, m)]))]
    axes = draw(st.sampled_from([(0, None), (None, 0), (0, 0), (-1, None), (None, -1), (1, 0)]))
    dtype = draw(st.sampled_from(DTYPES))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    arrays = []
    for core, axis in zip(cores, axes, strict=True):
        place = None if axis is None else axis % (len(core) + 1)
        shape = core if place is None else (*core[:place], size, *core[place:])
        x = (
            rng.integers(-4, 5, shape).astype(dtype)
            if np.dtype(dtype).kind in "ib"
            else rng.standard_normal(shape).astype(dtype)
        )
        if x.dtype.kind in "fc" and x.size and draw(st.booleans()):
            x.flat[draw(st.integers(0, x.size - 1))] = draw(st.sampled_from(SPECIAL))
        layout = draw(st.sampled_from("CFR"))
        arrays.append(
            np.ascontiguousarray(x[..., ::-1])[..., ::-1] if layout == "R" and x.ndim else np.array(x, order=layout)
        )
    return arrays[0], arrays[1], axes


def reduced(g: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The sum over the axes along which an array of `shape` was broadcast."""
    g = g.sum(tuple(range(g.ndim - len(shape))))
    return g.sum(tuple(i for i, n in enumerate(shape) if n == 1), keepdims=True)


def looped(x: np.ndarray, y: np.ndarray, axes: Any, t: np.ndarray | None = None) -> list[np.ndarray]:
    """The products of the examples, in a list. With cotangents `t`, the gradients of both factors."""
    x, y = (a if axis is None else np.moveaxis(a, axis, 0) for a, axis in zip((x, y), axes, strict=True))
    gradients = [np.zeros_like(x), np.zeros_like(y)]
    found = []
    for i in range(len(x) if axes[0] is not None else len(y)):
        places = [slice(None) if axis is None else i for axis in axes]
        one, other = x[places[0]], y[places[1]]
        found.append(one @ other)
        if t is not None:
            rows, columns = np.atleast_2d(one), other[:, None] if other.ndim == 1 else other
            pulled = t[i].reshape(*np.broadcast_shapes(rows.shape[:-2], columns.shape[:-2]), rows.shape[-2], columns.shape[-1])
            gradients[0][places[0]] += reduced(pulled @ columns.conj().swapaxes(-1, -2), rows.shape).reshape(one.shape)
            gradients[1][places[1]] += reduced(rows.conj().swapaxes(-1, -2) @ pulled, columns.shape).reshape(other.shape)
    if t is None:
        return found
    return [g if axis is None else np.moveaxis(g, 0, axis) for g, axis in zip(gradients, axes, strict=True)]


@given(factors())
def test_a_product_under_vmap_is_that_of_a_loop(drawn: Any) -> None:
    x, y, axes = drawn
    mapped = fd.vmap(np.matmul, axes)
    tolerance = 1e-5 if x.dtype in (np.float32, np.complex64) else 1e-13
    with np.errstate(all="ignore"):
        found, wanted = mapped(x, y), looped(x, y, axes)
        assert found.dtype == x.dtype
        assert len(found) == len(wanted)
        for one, other in zip(found, wanted, strict=True):
            np.testing.assert_allclose(one, other, tolerance, tolerance)
        assert_trees_equal(fd.compile(mapped)(x, y), found, bits=True)
        if x.dtype.kind in "fc":
            t = np.cos(np.arange(found.size)).reshape(found.shape).astype(found.dtype)

            def pulled(x: Any, y: Any) -> Any:
                return fd.vjp(mapped, x, y)[1](t)

            gradients = pulled(x, y)
            assert_trees_equal(fd.compile(pulled)(x, y), gradients, bits=True)
            for one, other in zip(gradients, looped(x, y, axes, t), strict=True):
                np.testing.assert_allclose(one, other, tolerance, tolerance)


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
