"""Loops without rows, and with Python numbers in the carry: eager, compiled, differentiated, batched and nested."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fdezero as fd
from fdezero import numpy as fnp
from fdezero.testing import assert_trees_close, assert_trees_equal

from .program_checks import assert_same_bits

W = np.array([[0.5, -0.25], [0.125, 1.0]])
H = np.array([1.0, -2.0])


def step(h: Any, x: Any) -> tuple[Any, Any]:
    h = np.tanh(h @ W + x)
    return h, {"sum": h.sum(), "outer": h[:, None] * x, "count": np.int32(3)}


NONE: dict[str, Callable[[], Any]] = {
    "rows of a vector": lambda: (step, H, np.zeros((0, 2))),
    "rows of single numbers": lambda: (lambda c, x: (c + x, c * x), np.float32(2), np.zeros(0, np.float32)),
    "a tree of xs": lambda: (lambda c, x: ({"c": c["c"] * x["a"]}, x["b"].sum(axis=0)), {"c": H}, {"a": np.zeros((0, 2)), "b": np.zeros((0, 3, 4), np.int8)}),
    "matrices, which must be positive definite": lambda: (lambda c, x: (fnp.linalg.solve(x, c), fnp.linalg.cholesky(x)), H, np.zeros((0, 2, 2))),
    "indices": lambda: (lambda c, i: (c, fnp.take(c, i)), H, np.zeros((0, 3), np.int64)),
    "a Python number as carry": lambda: (lambda c, x: (c + x, c), 0, np.zeros(0, np.float32)),
}  # fmt: skip


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("name", NONE)
def test_a_loop_without_rows(name: str, reverse: bool) -> None:
    """The carry, and no rows of the ys: as many axes and the dtypes as with one row of ones."""
    function, carry, xs = NONE[name]()
    row = fd.tree.map(lambda x: np.ones((1, *x.shape[1:]), x.dtype) + (np.eye(2, dtype=x.dtype) if x.shape[1:] == (2, 2) else 0) - (x.dtype.kind == "i"), xs)
    one_carry, one_ys = fd.scan(function, carry, row)
    run = lambda carry, xs: fd.scan(function, carry, xs, reverse=reverse)
    compiled = fd.compile(run)
    for last, ys in (run(carry, xs), compiled(carry, xs), compiled(carry, xs)):
        assert_trees_close(last, fd.tree.map(lambda c, y: np.asarray(c, y.dtype), carry, one_carry), 0)
        assert fd.tree.map(type, last) == fd.tree.map(type, run(carry, xs)[0])
        for y, one in zip(fd.tree.leaves(ys), fd.tree.leaves(one_ys), strict=True):
            assert (y.shape, y.dtype) == ((0, *one.shape[1:]), one.dtype)


def test_only_a_length_of_zero() -> None:
    for way in (lambda f: f, fd.compile):
        last, ys = way(lambda h: fd.scan(lambda h, _: (h * 2, h), h, length=0))(H)
        assert np.array_equal(last, H)
        assert ys.shape == (0, 2)


def loss(h: Any, xs: Any) -> Any:
    last, ys = fd.scan(step, h, xs)
    return fnp.sum(last * last) + fnp.sum(ys["outer"]) + fnp.sum(ys["sum"])


@pytest.mark.parametrize("way", [lambda f: f, fd.compile, lambda f: fd.checkpoint(f)], ids=["eager", "compiled", "checkpoint"])
def test_derivatives_of_a_loop_without_rows(way: Any) -> None:
    xs = np.zeros((0, 2))
    by_h, by_xs = way(fd.grad(loss, argnums=(0, 1)))(H, xs)
    assert np.array_equal(by_h, 2 * H)
    assert (by_xs.shape, by_xs.dtype) == ((0, 2), xs.dtype)
    assert fd.grad(way(loss))(H, xs).tolist() == (2 * H).tolist()
    assert way(lambda h: fd.jvp(lambda h: loss(h, xs), (h,), (np.ones(2),))[1])(H) == 2 * H.sum()
    assert np.array_equal(way(fd.vmap(fd.grad(loss), in_axes=(0, None)))(np.stack([H, -H]), xs), 2 * np.stack([H, -H]))
    assert np.array_equal(way(fd.vmap(fd.grad(loss)))(np.stack([H, -H]), np.zeros((2, 0, 2))), 2 * np.stack([H, -H]))
    assert np.array_equal(way(fd.hessian(lambda h: loss(h, xs)))(H), 2 * np.eye(2))
    assert np.array_equal(way(fd.grad(lambda w: fnp.sum(fd.scan(lambda h, x: (h @ w + x, None), H, xs)[0])))(W), np.zeros((2, 2)))


def test_a_loop_without_rows_inside_a_loop() -> None:
    inner = lambda h, x: (fd.scan(step, h, np.zeros((0, 2)))[0] * x, fd.scan(step, h, np.zeros((0, 2)))[1]["outer"])
    for way in (lambda f: f, fd.compile):
        last, ys = way(lambda h, xs: fd.scan(inner, h, xs))(H, np.array([2.0, 3.0]))
        assert np.array_equal(last, 6 * H)
        assert ys.shape == (2, 0, 2, 2)


def test_debug_of_a_loop_without_rows() -> None:
    assert fd.debug(loss)(H, np.zeros((0, 2))) == loss(H, np.zeros((0, 2)))


# Python numbers
STARTS: dict[str, tuple[Any, Callable[[Any, Any], Any], Any]] = {
    "0 beside float32": (0, lambda c, x: (c + x, c), np.float32),
    "0.0 beside float32": (0.0, lambda c, x: (c + x, c), np.float32),
    "0.5 beside float64": (0.5, lambda c, x: (c * x, c), np.float64),
    "1 that becomes a float": (1, lambda c, x: (c * 0.5, x), float),
    "1 that becomes complex": (1.0, lambda c, x: (c * 1j, x), complex),
    "1 beside int8": (1, lambda c, x: (c * np.int8(1), x), np.int8),
    "2.0 beside int64": (2.0, lambda c, x: (np.int64(1) + c, x), np.float64),
    "a count": (0, lambda c, x: (c + 1, x), int),
    "0j": (0j, lambda c, x: (c + x, c), np.complex64),
    "a number and an array": ((0, np.zeros(2, np.float32)), lambda c, x: ((c[0] + c[1].sum(), c[1] + x), c[0]), np.float32),
}  # fmt: skip


@pytest.mark.parametrize("name", STARTS)
def test_a_carry_that_starts_as_a_number(name: str) -> None:
    start, function, dtype = STARTS[name]
    xs = np.array([0.5, 1.5, 2.5], np.float64 if "float64" in name else np.float32)
    run = lambda start, xs: fd.scan(function, start, xs)
    first = fd.tree.leaves(start)[0]
    strong: Any = dtype(first)
    expected = run(fd.tree.unflatten(fd.tree.flatten(start)[1], [strong, *fd.tree.leaves(start)[1:]]), xs)
    compiled = fd.compile(run)
    for result in (run(start, xs), compiled(start, xs), compiled(start, xs)):
        for a, b in zip(fd.tree.leaves(result), fd.tree.leaves(expected), strict=True):
            assert np.asarray(a).dtype == np.asarray(b).dtype
            assert np.array_equal(a, b)
    assert len(compiled.recordings) == 1
    while_ = lambda start: fd.while_loop(lambda c: fnp.abs(fd.tree.leaves(c)[0]) < 3, lambda c: function(c, xs[2])[0], start)
    if "becomes" not in name and "int8" not in name:
        assert_trees_close(fd.compile(while_)(start), while_(start), 0)


def test_gradients_by_a_number_in_the_carry() -> None:
    f = lambda c, xs: fd.scan(lambda c, x: (c * x, None), c, xs)[0]
    xs = np.array([2.0, 3.0, 4.0])
    for way in (lambda f: f, fd.compile):
        assert way(fd.grad(f))(0.5, xs) == 24.0
        assert np.array_equal(way(fd.grad(f, argnums=1))(0.5, xs), [6.0, 4.0, 3.0])
        assert np.array_equal(way(fd.vmap(f, in_axes=(None, 0)))(0.5, np.stack([xs, 2 * xs])), [12.0, 96.0])


def test_a_carry_that_never_settles_is_refused() -> None:
    with pytest.raises(fd.errors.ShapeError, match="float32.* before a round"):
        fd.scan(lambda c, x: (c.astype(np.float64) if hasattr(c, "astype") else np.float32(c), x), 0, np.ones(3))
    with pytest.raises(fd.errors.ShapeError, match="must keep shape"):
        fd.scan(lambda c, x: (c + x, None), 0.0, np.ones((3, 2)))


# The order of stacked rows
@pytest.mark.parametrize("order", ["C", "F", "reversed", "transposed"])
def test_rows_are_stacked_in_c_order(order: str) -> None:
    """So sums over them have the same bits, eager and compiled."""
    x = np.random.default_rng(0).standard_normal((40, 7, 5)).astype(np.float32)
    rows = {"C": x, "F": np.asfortranarray(x), "reversed": x[::-1, ::-1, ::-1], "transposed": np.ascontiguousarray(x.transpose(2, 1, 0)).transpose(2, 1, 0)}[order]
    f = lambda h, xs: fd.scan(lambda h, x: (h * np.float32(0.5) + x, (h, x.T, x)), h, xs)
    g = lambda h, xs: [fnp.sum(y) for y in f(h, xs)[1]]
    ys = f(np.asfortranarray(x[0]), rows)[1]
    assert all(y.flags.c_contiguous for y in ys)
    compiled = fd.compile(g)
    for _ in range(3):
        assert_same_bits(compiled(np.asfortranarray(x[0]), rows), g(np.asfortranarray(x[0]), rows), order)
    by_rows = fd.grad(lambda xs: fnp.sum(f(x[0], xs)[1][1] * 2.0))(rows)
    np.testing.assert_allclose(by_rows, np.full(x.shape, 2.0))


@pytest.mark.parametrize("dtype", [np.complex64, np.complex128])
@pytest.mark.parametrize("shape", [(1,), (1, 1), (2,)])
def test_products_of_single_complex_numbers(dtype: Any, shape: tuple[int, ...]) -> None:
    """NumPy rounds them in another way where the product is written over a factor."""
    rng = np.random.default_rng(0)
    f = lambda x, y: ((x + y) * y * (y - x), np.square(x - y), (x * y) * (x * y) * 2.0)
    compiled = fd.compile(f)
    for _ in range(50):
        x, y = ((rng.standard_normal(shape) + 1j * rng.standard_normal(shape)).astype(dtype) for _ in range(2))
        assert_same_bits(compiled(x, y), f(x, y), "a call")


# What a round saves
@pytest.mark.parametrize("shape", [(3,), (1, 3), (2, 3)])
@pytest.mark.parametrize("reverse", [False, True])
def test_the_gradient_of_a_compiled_recurrence_has_the_bits_of_eager_code(shape: tuple[int, ...], reverse: bool) -> None:
    rng = np.random.default_rng(0)
    weight, start, xs, weights = (rng.standard_normal(s) for s in ((3, 3), shape, (5, *shape), (5, *shape)))

    def gradients(weight: Any, start: Any, xs: Any) -> Any:
        _, pullback = fd.vjp(lambda w, h, xs: fd.scan(lambda h, x: (np.tanh(h @ w + x),) * 2, h, xs, reverse=reverse)[1], weight, start, xs)
        return pullback(weights)

    for _ in range(20):  # rounding shows another order of a sum only now and then
        weight = weight + 0.1
        assert_trees_equal(fd.compile(gradients)(weight, start, xs), gradients(weight, start, xs), bits=True)


def test_a_round_does_not_save_views_of_what_it_is_given() -> None:
    weight, start, xs = np.eye(40), np.ones((2, 40)), np.ones((5, 2, 40))
    f = fd.compile(fd.grad(lambda w: fnp.sum(fd.scan(lambda h, x: (np.tanh(h @ w + x), None), start, xs)[0])))
    f(weight)
    forward, backward = (i for i in f.graph.instructions if i.name.startswith("scan"))
    assert [y.shape for y in forward.outputs] == [(2, 40), (5, 2, 40), (5, 2, 40)]  # and not the transposed matrix of each round
    assert any(atom.shape == (40, 40) and atom.contiguous for atom in backward.inputs if atom in f.graph.inputs)
