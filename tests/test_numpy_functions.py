"""Functions of `fdezero.numpy` beside the laws of test_function_laws.py: order statistics of any array, edges, ties, layouts, refusals."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fdezero as fd
from fdezero import numpy as fnp
from fdezero.errors import RangeError, TraceError
from fdezero.testing import arrays, assert_trees_close, check_grads

from .functions import NAN


def test_functions_whose_shape_depends_on_values_say_so_within_vmap_and_compile() -> None:
    for function in (fnp.unique, fnp.flatnonzero, fnp.argwhere, fnp.trim_zeros, lambda x: fnp.bincount(fnp.ravel(x).astype(int))):
        for transform in (fd.compile, fd.vmap):
            with pytest.raises(TraceError, match="depends on the values"):
                transform(function)(np.ones((2, 3)))


@given(st.data())
def test_order_statistics_of_any_array(data: Any) -> None:
    x = data.draw(arrays())
    if not x.ndim:
        return
    axis = data.draw(st.sampled_from([None, *range(-x.ndim, x.ndim)]))
    q = data.draw(st.floats(0, 1))
    keep = data.draw(st.booleans())
    assert_trees_close(fnp.sort(x, axis), np.sort(x, axis), 0)
    assert_trees_close(fnp.median(x, axis, keepdims=keep), np.median(x, axis, keepdims=keep), 1e-14)
    assert_trees_close(fnp.quantile(x, q, axis, keepdims=keep), np.quantile(x, q, axis, keepdims=keep), 1e-13)
    y = np.where(x > 1.5, np.nan, x)
    if not np.isnan(y).all(axis=axis).any():
        assert_trees_close(fnp.nanmedian(y, axis, keepdims=keep), np.nanmedian(y, axis, keepdims=keep), 1e-14)
        assert_trees_close(fnp.nanmax(y, axis, keepdims=keep), np.nanmax(y, axis, keepdims=keep), 0)


def test_hypot_at_the_origin_has_the_derivative_0() -> None:
    assert fd.grad(fnp.hypot, (0, 1))(0.0, 0.0) == (0.0, 0.0)
    assert_trees_close(fd.grad(lambda x: fnp.sum(fnp.hypot(x, 0.0)))(np.array([0.0, -2.0, 1e200])), np.array([0.0, -1.0, 1.0]), 0)


def test_derivatives_at_zero() -> None:
    with np.errstate(divide="ignore"):
        assert fd.grad(fnp.sqrt)(np.asarray(0.0)) == np.inf
        assert fd.grad(lambda x: x**0.5)(np.asarray(0.0)) == np.inf
        assert fd.grad(lambda x: fnp.power(x, np.array(0.5)))(np.asarray(0.0)) == np.inf
    assert fd.grad(fnp.abs)(np.asarray(0.0)) == 0
    assert fd.grad(lambda x: fnp.power(x, np.array(0.0)))(np.asarray(0.0)) == 0
    assert fd.grad(lambda p: fnp.power(0.0, p))(2.0) == 0
    assert_trees_close(fd.grad(lambda x: fnp.sum(x ** np.array([3, 2, 1])))(np.array([-2.0, -1.0, -3.0])), np.array([12.0, -2.0, 1.0]), 0)
    assert_trees_close(fd.grad(lambda x: fnp.sum(fnp.vander(x)))(np.zeros(3)), np.array([1.0, 1.0, 1.0]), 0)


def test_ties_have_one_derivative_in_sorting_and_a_split_one_in_max() -> None:
    x = np.array([2.0, 1.0, 2.0, 1.0])
    assert_trees_close(fd.grad(lambda x: fnp.sort(x)[0])(x), np.array([0.0, 1.0, 0.0, 0.0]), 0)
    assert_trees_close(fd.grad(lambda x: fnp.sort(x, descending=True)[0])(x), np.array([1.0, 0.0, 0.0, 0.0]), 0)
    assert_trees_close(fd.grad(fnp.median)(x), np.array([0.5, 0.0, 0.0, 0.5]), 0)
    assert_trees_close(fd.grad(lambda x: fnp.cummax(x)[-1])(x), np.array([1.0, 0.0, 0.0, 0.0]), 0)
    assert_trees_close(fd.grad(fnp.nanmax)(x), np.array([0.5, 0.0, 0.5, 0.0]), 0)


def test_no_nan_from_a_branch_not_taken() -> None:
    x = np.array([0.0, 4.0, -1.0])
    for other in (lambda x: fnp.log(x - 9), lambda x: x / 0.0):
        with np.errstate(all="ignore"):
            gradient = fd.grad(lambda x: fnp.sum(fnp.where(x > 0, x, fd.stop_gradient(other(x)))))(x)
        assert_trees_close(gradient, np.array([0.0, 1.0, 0.0]), 0)
    for mask in ([x > 0], [x > 9]):
        gradient = fd.grad(lambda x: fnp.sum(fnp.piecewise(x, mask, [np.sqrt, lambda x: 3 * x])))(x)
        assert np.isfinite(gradient).all()
    assert_trees_close(fd.grad(lambda x: fnp.sum(fnp.select([x > 0], [x * 2], np.nan)))(x), np.array([0.0, 2.0, 0.0]), 0)
    for function in (fnp.nansum, fnp.nanmean, fnp.nanvar, fnp.nanprod, fnp.nanmax, fnp.nanmedian):
        gradient = fd.grad(function)(NAN)
        assert np.isfinite(gradient).all()
        assert gradient[np.isnan(NAN)] == 0


@pytest.mark.parametrize("dtype", ["float16", "float32", ">f8", "<f8"])
def test_dtypes_and_layouts(dtype: str) -> None:
    x = np.asarray(np.arange(12.0).reshape(3, 4) / 8, dtype)
    for layout in (x, x[::-1, ::-1], np.asfortranarray(x), x.T):
        for function in (fnp.sort, fnp.diff, fnp.median, fnp.cumprod, fnp.triu, fnp.nansum):
            assert np.asarray(function(layout)).dtype.newbyteorder("=") == np.dtype(dtype).newbyteorder("=")
            gradient = fd.grad(lambda x: fnp.sum(function(x)))(layout)
            assert gradient.dtype.newbyteorder("=") == x.dtype.newbyteorder("=")
            assert gradient.shape == layout.shape


def test_empty_arrays_and_zero_size_axes() -> None:
    x = np.zeros((0, 3))
    for name in ("sort", "cumprod", "cummax", "diff", "flipud", "tril", "ravel", "unique", "cumsum"):
        axis = {"axis": 0} if name in ("sort", "cumprod", "cummax", "cumsum") else {}
        reference = np.maximum.accumulate if name == "cummax" else getattr(np, name)
        assert_trees_close(getattr(fnp, name)(x, **axis), reference(x, **axis), 0)
    assert fd.grad(lambda x: fnp.sum(fnp.sort(x)))(x).shape == (0, 3)
    assert np.isnan(fnp.median(x))
    assert fnp.median(x, axis=1).shape == (0,)
    assert fd.grad(lambda x: fnp.sum(fnp.kron(x, x)))(np.zeros(0)).shape == (0,)


def test_infinities_and_extremes() -> None:
    x = np.array([np.inf, 1.0, np.inf, -np.inf])
    assert fnp.median(x[:3]) == np.inf
    assert fnp.quantile(x[[0, 2]], 0.3) == np.inf
    assert_trees_close(fnp.sort(x), np.sort(x), 0)
    assert_trees_close(fnp.i0(np.array([700.0, 1e-300, -np.inf])), np.array([np.i0(700.0), 1.0, np.inf]), 1e-12)
    mantissa, exponent = fnp.frexp(np.array([5e-324, 1.7e308]))
    assert_trees_close([mantissa, exponent], list(np.frexp(np.array([5e-324, 1.7e308]))), 0)
    assert fnp.hypot(1e300, 1e300) == np.hypot(1e300, 1e300)


def test_methods_of_traced_arrays() -> None:
    x, weights = np.array([3.0, 1.0, 2.0]), np.arange(3.0)

    def methods(x: Any) -> Any:
        return (x.sort() * weights).sum() + x.cumprod().sum() + x.searchsorted(1.5) * len(x.nonzero()[0]) + np.multiply.accumulate(x)[-1]

    def functions(x: Any) -> Any:
        return fnp.sum(fnp.sort(x) * weights) + fnp.sum(fnp.cumprod(x)) + 3 * fnp.searchsorted(x, 1.5) + fnp.prod(x)

    assert_trees_close(fd.value_and_grad(methods)(x), fd.value_and_grad(functions)(x), 1e-14)
    assert_trees_close(fd.grad(lambda x: fnp.sum(fnp.frexp(x)[0]))(x), np.array([0.25, 0.5, 0.25]), 0)


def test_block_select_and_stacks_of_traced_values() -> None:
    x, y = np.eye(2), np.arange(6.0).reshape(2, 3)
    for call in (
        lambda np, x, y: np.block([[x, y], [np.ones((1, 5))]]), lambda np, x, y: np.block([x[0], 1.0]), lambda np, x, y: np.column_stack([x, y, y[:, 0]]),
        lambda np, x, y: np.dstack([x, 2 * x]), lambda np, x, y: np.select([x > 0.5, x > -1], [x, x**2], 3.0),
        lambda np, x, y: np.apply_along_axis(lambda line: line * line.sum(), 1, y),
    ):  # fmt: skip
        assert_trees_close(call(fnp, x, y), call(np, x, y), 0)
        check_grads(lambda x, y: call(fnp, x, y), (x, y), tolerance=1e-5)


def test_what_is_out_of_range_is_refused() -> None:
    with pytest.raises(RangeError, match="between 0 and 1"):
        fnp.quantile(np.ones(3), 1.5)
    with pytest.raises(RangeError, match="nothing but NaN"):
        fnp.nanargmax(np.full(2, np.nan))
    with pytest.raises(RangeError, match="kth=7"):
        fnp.partition(np.ones(3), 7)
