"""Functions of `fdezero.numpy` beyond the laws of test_function_laws.py: order statistics, edges, ties, layouts, errors."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes

import fdezero as fd
from fdezero import numpy as fnp
from fdezero.errors import ImmutableError, RangeError, ShapeError, TraceError
from fdezero.testing import arrays, assert_trees_close, assert_trees_equal, check_grads

from ..laws.functions import NAN


def test_functions_whose_shape_depends_on_values_say_so_within_vmap_and_compile() -> None:
    for function in (fnp.unique, fnp.flatnonzero, fnp.argwhere, fnp.trim_zeros, lambda x: fnp.bincount(fnp.ravel(x).astype(int))):
        for transform in (fd.compile, fd.vmap):
            with pytest.raises(TraceError, match="depends on the values"):
                transform(function)(np.ones((2, 3)))


@given(st.data())
def test_order_statistics_of_any_array(data: Any) -> None:
    x = data.draw(arrays(shape=array_shapes(max_dims=3, max_side=4)))
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


def test_nan_comes_last_in_both_orders() -> None:
    x = np.array([2.0, np.nan, -np.inf, 2.0, np.nan, 3.0])
    assert fnp.argsort(x).tolist() == [2, 0, 3, 5, 1, 4]
    assert fnp.argsort(x, descending=True).tolist() == [5, 0, 3, 2, 1, 4]
    y = np.array([complex(1, np.nan), 2 + 1j, complex(np.nan, 0), 1, 2 + 2j])
    for values in (x, y, x.astype(np.float16), np.array([0, 255, 3, 3], np.uint8), np.array([True, False, True])):
        assert_trees_equal(fd.compile(lambda x: fnp.sort(x, descending=True))(values), fnp.sort(values, descending=True), bits=True)
        if np.lib.NumpyVersion(np.__version__) >= "2.5.0":
            np.testing.assert_array_equal(fnp.argsort(values, descending=True), np.argsort(values, stable=True, descending=True))


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


def test_order_statistics_of_nothing_are_nan() -> None:
    assert np.isnan(fnp.nanmedian(np.zeros(0)))
    assert np.isnan(fnp.nanmedian(np.zeros((3, 0)), axis=1, keepdims=True)).shape == (3, 1)
    assert fnp.nanquantile(np.zeros((0, 3)), [0.1, 0.9], axis=1).shape == (2, 0)
    assert np.isnan(fnp.nanquantile(np.zeros((0, 3)), [0.1, 0.9], axis=0)).all()
    assert fd.grad(lambda x: fnp.sum(fnp.nanmedian(x, axis=1)))(np.zeros((3, 0))).shape == (3, 0)


def test_values_without_axes() -> None:
    x = np.array(2.0)
    for name in ("sum", "prod", "max", "min", "any", "all", "argmax", "argmin", "argsort", "cumsum", "cumprod"):
        for axis in (0, -1):
            assert_trees_equal(getattr(fnp, name)(x, axis=axis), getattr(np, name)(x, axis=axis))
        with pytest.raises(np.exceptions.AxisError):
            getattr(fnp, name)(x, axis=1)
    for name in ("mean", "var", "std", "sort", "median"):
        with pytest.raises(np.exceptions.AxisError):
            getattr(fnp, name)(x, axis=0)
    assert fd.grad(lambda x: fnp.sum(x, axis=0) ** 2)(x) == 4
    assert fnp.cov(x, bias=True) == 0
    for call, needed in ((lambda: fnp.cross(x, x), "three components"), (lambda: fnp.diagonal(x), "two axes"), (lambda: fnp.trace(np.ones(3)), "two axes")):
        with pytest.raises(ShapeError, match=needed):
            call()


def test_clip_takes_integers_beyond_the_dtype_as_no_bound() -> None:
    x = np.array([0, 1, 250], np.uint8)
    for low, high in ((-1, None), (None, 300), (-1, 300), (-1, 5), (3, 2**70), (-(2**70), None)):
        expected = np.array([min(max(int(v), low or 0), 255 if high is None else high) for v in x], np.uint8)
        function, method = lambda x: fnp.clip(x, low, high), lambda x: x.clip(low, high)
        for f in (function, *[transform(call) for transform in (fd.compile, fd.vmap) for call in (function, method)]):
            assert_trees_equal(f(x), expected)
        if np.lib.NumpyVersion(np.__version__) >= "2.1.0":  # before, the method of a plain array refuses them
            assert_trees_equal(method(x), expected)
    for low, high in ((300, None), (None, -1)):
        with pytest.raises(OverflowError, match="out of bounds for uint8"):
            fnp.clip(x, low, high)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_slopes_whose_squares_overflow_or_vanish_or_cancel(dtype: Any) -> None:
    large, eps = math.sqrt(float(np.finfo(dtype).max)), float(np.finfo(dtype).eps)
    slope = lambda function, *at: [float(s) for s in fd.grad(function, tuple(range(len(at))))(*map(dtype, at))]
    for a, b in ((1.0, 4 * large), (4 * large, 1.0), (3 * large, 4 * large), (3 / large / 16, 4 / large / 16)):
        a, b = float(dtype(a)), float(dtype(b))
        length = math.hypot(a, b)
        wanted = np.array([b / length / length, -a / length / length])
        assert np.allclose(slope(fnp.arctan2, a, b), wanted, rtol=8 * eps, atol=float(np.finfo(dtype).smallest_normal))
    for x in (2.0, large * 1.5, -large * 1.5):
        x = float(dtype(x))
        assert np.allclose(slope(fnp.arcsinh, x), 1 / math.hypot(1.0, x), rtol=8 * eps)
    x = float(dtype(1 - 8 * eps))
    for function, wanted in (
        (fnp.arcsin, 1 / math.sqrt((1 - x) * (1 + x))), (fnp.arccos, -1 / math.sqrt((1 - x) * (1 + x))), (fnp.arctanh, 1 / (1 - x) / (1 + x)),
    ):  # fmt: skip
        assert np.allclose(slope(function, x), wanted, rtol=8 * eps)
    assert np.allclose(slope(fnp.expm1, -8.0), math.exp(-8.0), rtol=8 * eps, atol=float(np.finfo(dtype).smallest_subnormal))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_sinc_far_from_0_has_slopes(dtype: Any) -> None:
    x = np.array([10.0, 44.0, 1000.0, *([] if dtype == np.float16 else [1e8, 1e15, 1e30])], dtype)
    for order in (1, 2):
        function = fnp.sinc
        for _ in range(order):
            function = (lambda f: lambda x: fd.grad(lambda x: f(x).sum())(x))(function)
        for values in (function(x), fd.compile(function)(x)):
            assert np.isfinite(values).all()
            assert (abs(values) <= 10**order / x).all()


def test_axes_out_of_range_are_refused() -> None:
    x = np.zeros((2, 2))
    for call in (
        lambda: fnp.moveaxis(x, 2, 0), lambda: fnp.moveaxis(x, 0, -3), lambda: fnp.take(x, [0], axis=2), lambda: fnp.rollaxis(x, 2),
        lambda: fnp.tensordot(x, x, ((2,), (0,))),
    ):  # fmt: skip
        with pytest.raises(np.exceptions.AxisError):
            call()


@pytest.mark.parametrize("dtype", ["float16", "float32", "complex64", "int8"])
def test_float_power_and_cov_are_widened_as_by_numpy(dtype: str) -> None:
    x = np.arange(1, 7).reshape(2, 3).astype(dtype) ** 2
    for name, args in (("float_power", (x, x.dtype.type(2))), ("float_power", (x, 2)), ("cov", (x,)), ("corrcoef", (x,))):
        got, expected = getattr(fnp, name)(*args), getattr(np, name)(*args)
        assert got.dtype == expected.dtype
        assert_trees_close(got, expected, 1e-14)


def test_isin_of_large_integers_is_exact() -> None:
    unsigned, signed = np.array([2**62 + 1, 2**62, 2**64 - 1, 2**63, 7], np.uint64), np.array([-1, 2**62, -(2**63), 7])
    assert_trees_equal(fnp.isin(unsigned, signed), np.array([False, True, False, False, True]))
    assert_trees_equal(fnp.isin(signed, unsigned), np.array([False, True, False, True]))
    assert_trees_equal(fnp.isin(np.array([255, 3], np.uint8), np.array([-1, 3], np.int8)), np.array([False, True]))


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
        return (np.sort(x) * weights).sum() + x.cumprod().sum() + x.searchsorted(1.5) * len(x.nonzero()[0]) + np.multiply.accumulate(x)[-1]

    def functions(x: Any) -> Any:
        return fnp.sum(fnp.sort(x) * weights) + fnp.sum(fnp.cumprod(x)) + 3 * fnp.searchsorted(x, 1.5) + fnp.prod(x)

    assert_trees_close(fd.value_and_grad(methods)(x), fd.value_and_grad(functions)(x), 1e-14)
    assert_trees_close(fd.grad(lambda x: fnp.sum(fnp.frexp(x)[0]))(x), np.array([0.25, 0.5, 0.25]), 0)


def test_methods_of_numpys_functions_and_fortran_order_of_traced_values() -> None:
    x, y = np.arange(6.0).reshape(2, 3) / 4 - 0.3, np.array([[2.0], [3.0]])
    for call in (
        lambda x: np.logaddexp.reduce(x), lambda x: np.logaddexp.reduce(x, axis=1, keepdims=True), lambda x: np.multiply.outer(x, y), lambda x: np.subtract.outer(y, x),
        lambda x: np.arctan2.outer(x, [1.0, 2.0]), lambda x: np.power.outer(2.0, x), lambda x: x.reshape(3, -1, order="F"), lambda x: np.ravel(x, "F"), lambda x: x.flatten("F"),
        lambda x: np.reshape(x, (1, 3, 2), order="F"),
    ):  # fmt: skip
        assert_trees_close(fd.jvp(call, (x,), (x,))[0], call(x), 1e-14)
        check_grads(call, (x,), tolerance=1e-5)
    np.testing.assert_array_equal(fnp.ravel(x.T, "K"), x.T.ravel("K"))
    np.testing.assert_array_equal(fnp.reshape(x.T, (3, 2), "A"), np.reshape(x.T, (3, 2), "A"))
    for order in "AK":
        with pytest.raises(NotImplementedError, match="'C' or 'F'"):
            fd.grad(lambda x, order=order: fnp.ravel(x, order).sum())(x)


def test_inserting_and_deleting_where_numpy_does() -> None:
    x, mask = np.arange(12.0).reshape(3, 4), np.array([True, False, True, False])
    # Some versions of NumPy take booleans as the integers 0 and 1, with a deprecation warning.
    assert_trees_equal(fnp.insert(x, mask, [1.0, 2.0], 1), np.insert(x, np.flatnonzero(mask), [1.0, 2.0], 1))
    for indices, values, axis in (([1], [[1.0], [2.0], [3.0]], 1), (np.array([4, 0]), 5, 1), ([], 3.0, 0), (2, [1, 2.5], None)):
        assert_trees_equal(fnp.insert(x, indices, values, axis), np.insert(x, indices, values, axis))
    for where in (mask, np.array([0, -1]), slice(None, None, -2)):
        assert_trees_equal(fnp.delete(x, where, 1), np.delete(x, where, 1))
    for function in (lambda: fnp.delete(x, 3, 0), lambda: fnp.insert(x, 5, 1.0, 1)):
        with pytest.raises(IndexError, match="out of bounds"):
            function()
    with pytest.raises(TraceError, match="depends on the values"):
        fd.compile(fnp.delete)(np.arange(3.0), np.array([1]))


def test_filling_a_diagonal_changes_no_array() -> None:
    x = np.ones((2, 3))
    for call in (lambda: fnp.fill_diagonal(x, 0), lambda: fd.grad(lambda x: np.fill_diagonal(x, 0))(x)):
        with pytest.raises(ImmutableError, match="inplace=False"):
            call()
    assert_trees_equal(fnp.fill_diagonal(x, [5, 6], inplace=False), np.array([[5.0, 1.0, 1.0], [1.0, 6.0, 1.0]]))
    assert x.all()
    for wrong in (np.ones(3), np.ones((2, 2, 3))):
        with pytest.raises(ShapeError, match="of equal length"):
            fnp.fill_diagonal(wrong, 0, inplace=False)


def test_a_number_that_no_entry_has_is_refused() -> None:
    x = np.array([[1.0, 5.0], [3.0, 2.0], [0.0, 4.0]])
    assert fd.compile(lambda x: fnp.unravel_index(fnp.argmax(x), x.shape))(x) == (0, 1)
    for number in (6, -1, np.array([0, 9])):
        with pytest.raises(RangeError, match="from 0 to 5, got"):
            fnp.unravel_index(number, x.shape)


def test_polynomials_refuse_what_they_cannot_do() -> None:
    with pytest.raises(RangeError, match="first coefficient"):
        fnp.roots([0.0, 1.0, 2.0])
    with pytest.raises(ShapeError, match="one axis"):
        fnp.roots(np.ones((2, 2)))
    with pytest.raises(ShapeError, match="at least one coefficient"):
        fnp.polydiv([1.0], [])
    with pytest.raises(ShapeError, match="polyfit expects x"):
        fnp.polyfit(np.ones(3), np.ones(2), 1)
    with pytest.raises(ShapeError, match="weights w of the shape"):
        fnp.polyfit(np.ones(3), np.ones(3), 1, w=np.ones(2))
    with pytest.raises(RangeError, match="degree"):
        fnp.polyfit(np.ones(3), np.ones(3), -1)
    with pytest.raises(ShapeError, match="one key"):
        fnp.lexsort([])


def test_block_select_and_stacks_of_traced_values() -> None:
    x, y = np.eye(2), np.arange(6.0).reshape(2, 3)
    for call in (
        lambda np, x, y: np.block([[x, y], [np.ones((1, 5))]]), lambda np, x, y: np.block([x[0], 1.0]), lambda np, x, y: np.column_stack([x, y, y[:, 0]]),
        lambda np, x, y: np.dstack([x, 2 * x]), lambda np, x, y: np.select([x > 0.5, x > -1], [x, x**2], 3.0),
        lambda np, x, y: np.apply_along_axis(lambda line: line * line.sum(), 1, y),
    ):  # fmt: skip
        assert_trees_close(call(fnp, x, y), call(np, x, y), 0)
        check_grads(lambda x, y: call(fnp, x, y), (x, y), tolerance=1e-5)


def test_arguments_out_of_range_are_refused() -> None:
    with pytest.raises(RangeError, match="between 0 and 1"):
        fnp.quantile(np.ones(3), 1.5)
    with pytest.raises(RangeError, match="nothing but NaN"):
        fnp.nanargmax(np.full(2, np.nan))
    with pytest.raises(RangeError, match="kth=7"):
        fnp.partition(np.ones(3), 7)
