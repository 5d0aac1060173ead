"""Special functions: values and derivatives against mpmath and by differences, edges, dtypes, a missing SciPy, the GPU."""

import itertools
import math
import sys
from collections.abc import Callable
from typing import Any

import mpmath as mp
import numpy as np
import pytest
import scipy.special

import fdezero as fd
from fdezero import numpy as fnp
from fdezero import special
from fdezero.errors import DerivativeError, DeviceError, MissingExtraError
from fdezero.testing import assert_trees_close, assert_trees_equal

from ..laws.cases import Case
from ..laws.folding import all_of, by_name, folded
from ..laws.functions_special import CASES, REAL, REFERENCES


@pytest.mark.parametrize(("function", "reference", "points"), [r[1:] for r in REFERENCES], ids=[r[0] for r in REFERENCES])
def test_values_and_slopes_are_those_of_mpmath(function: Callable[..., Any], reference: Callable[..., Any], points: list[float]) -> None:
    with mp.workdps(40):
        values = [float(reference(mp.mpf(x))) for x in points]
        slopes = [float(mp.diff(reference, mp.mpf(x))) for x in points]
    x = np.array(points)
    np.testing.assert_allclose(function(x), values, rtol=3e-13, atol=1e-15)
    np.testing.assert_allclose(fd.grad(lambda x: np.sum(function(x)))(x), slopes, rtol=1e-11, atol=1e-15)


@folded("case", [case for case in CASES if case.argnums and any(isinstance(x, np.ndarray) for x in case.args)], by_name)
@all_of("dtype", ["float16", "float32"])
def test_dtype_is_kept(case: Case, dtype: str) -> None:
    function, args, kwargs = case.function, case.args, case.kwargs

    def narrow(x: Any) -> Any:
        return x.astype(dtype) if isinstance(x, np.ndarray) and x.dtype == float else x.astype(np.int8) if hasattr(x, "dtype") else x

    kwargs = {key: narrow(value) for key, value in kwargs.items()}
    wide, args = fd.tree.leaves(function(*args, **kwargs)), tuple(map(narrow, args))
    values, pullback = fd.vjp(lambda *args: fd.tree.leaves(function(*args, **kwargs)), *args)
    for value, expected in zip(values, wide, strict=True):
        assert value.dtype == dtype
        np.testing.assert_allclose(value, expected, rtol=3e-2 if dtype == "float16" else 1e-4, atol=1e-2 if dtype == "float16" else 1e-5)
    gradients = pullback([np.ones_like(value) for value in values])
    assert all(g.dtype == a.dtype for g, a in zip(gradients, args, strict=True) if g is not None and hasattr(a, "dtype"))


@pytest.mark.parametrize("name", [name for name in special.__all__ if name not in ("polygamma", "logsumexp", "multigammaln", "yn") and not name.startswith("betainc")])
def test_values_are_those_of_scipy_at_edges(name: str) -> None:
    edges = np.array([-np.inf, -1.0, -0.0, 0.0, 5e-324, 1.0, 2.0, 800.0, np.inf, np.nan])
    theirs = getattr(scipy.special, name)
    two = name in ("gammaincinv", "gammainccinv", "jn", "jv", "yv", "iv", "ive", "kv", "kve", "beta", "betaln", "gammainc", "gammaincc", "rel_entr", "xlog1py", "xlogy", "zeta")
    if name == "rel_entr":  # Its ratio overflows or underflows if one number is subnormal.
        edges[4] = 1e-300
    args = (edges[:, None], edges) if two else (edges,)
    with np.errstate(all="ignore"):
        got, expected = getattr(special, name)(*args), theirs(*args)
    if name in ("softmax", "log_softmax"):
        assert np.isnan(got).all()
        assert np.isnan(expected).all()
    np.testing.assert_allclose(got, expected, rtol=1e-12)


def test_slopes_at_edges() -> None:
    def slope(function: Callable[..., Any], x: Any) -> Any:
        value, pullback = fd.vjp(function, np.asarray(x, float))
        return pullback(np.ones_like(value))[0]

    with np.errstate(divide="ignore"):
        assert_trees_equal(slope(special.erfinv, [-1, 1]), np.array([np.inf, np.inf]))
        assert_trees_equal(slope(special.logit, [0, 1]), np.array([np.inf, np.inf]))
        assert_trees_equal(slope(special.entr, [-1, 0]), np.array([0, np.inf]))
    assert_trees_equal(slope(special.erf, [-np.inf, np.inf]), np.zeros(2))
    with np.errstate(over="ignore"):
        assert_trees_equal(slope(special.erfc, [30, 1e200]), np.zeros(2))
        assert_trees_close(slope(special.log_ndtr, [-1e8, -1e200, 1e200]), np.array([1e8, 1e200, 0]), 1e-12)
    assert_trees_close(slope(special.gammaln, [1, 2]), np.array([-np.euler_gamma, 1 - np.euler_gamma]), 1e-15)
    assert_trees_equal(slope(special.log_expit, [-1e4, 1e4]), np.array([1.0, 0.0]))
    assert_trees_equal(slope(lambda x: special.gammainc(1.0, x), [0, np.inf]), np.array([1.0, 0.0]))
    assert_trees_equal(slope(lambda x: special.rel_entr(x, 1.0), [-1, 0]), np.zeros(2))
    third = fd.grad(fd.grad(fd.grad(lambda x: special.i1(x))))
    assert third(0.0) == pytest.approx(0.375)  # I1 = x/2 + x^3/16 + ...


def test_a_product_with_a_logarithm_is_smooth_in_its_factor_and_has_no_nan_at_zero() -> None:
    both = fd.grad(lambda x, y: special.xlogy(x, y), argnums=(0, 1))
    assert_trees_equal(both(0.0, 0.0), (np.float64(0), np.float64(0)))
    assert_trees_close(both(0.0, 2.0), (np.log(2.0), np.float64(0)), 1e-15)
    assert_trees_close(fd.grad(lambda y: both(0.0, y)[0])(2.0), np.float64(0.5), 1e-15)
    both = fd.grad(lambda x, y: special.xlog1py(x, y), argnums=(0, 1))
    assert_trees_equal(both(0.0, -1.0), (np.float64(0), np.float64(0)))


def test_logsumexp_of_nothing_has_gradient_zero() -> None:
    for function in (fnp.logsumexp, special.logsumexp):
        for x, slope in (([-np.inf] * 2, [0.0, 0.0]), ([-np.inf, 1.0], [0.0, 1.0])):
            value, gradient = fd.value_and_grad(function)(np.array(x))
            assert value == x[1]
            assert_trees_equal(gradient, np.array(slope))


def test_logsumexp_with_weights() -> None:
    a, b = np.array([1000.0, 999.0, -np.inf, 2000.0]), np.array([1.0, -2.0, 3.0, 0.0])
    value, sign = special.logsumexp(a, b=b, return_sign=True)
    assert_trees_close((value, sign), (1000 + math.log(1 - 2 / math.e), np.float64(1)), 1e-15)
    assert_trees_close(special.logsumexp(a[:2], b=-b[:2], return_sign=True)[1], np.float64(-1), 0)
    assert np.isnan(special.logsumexp(a[:2], b=-b[:2]))
    assert special.logsumexp(np.array([np.inf, 0.0]), b=np.array([1.0, 2.0])) == np.inf
    for dtype in (np.float32, np.float64):  # the limit for what a weight of 0 leaves out must not round up to infinity
        for left_out in (np.inf, 1e4):
            assert special.logsumexp(np.array([left_out, 3.0], dtype), b=np.array([0.0, 1.0], dtype)) == 3
    gradient = fd.grad(lambda b: special.logsumexp(np.array([0.0, 1.0]), b=b))(np.array([1.0, 0.0]))
    assert_trees_close(gradient, np.array([1.0, math.e]), 1e-15)
    assert special.logsumexp(REAL, axis=(0, 1), keepdims=True, return_sign=True)[0].shape == (1, 1)


@pytest.mark.parametrize(("dtype", "far"), [(np.float64, 1e300), (np.float32, 1e30), (np.float32, 1e20)])
def test_relative_entropy_survives_a_quotient_that_overflows_or_vanishes(dtype: Any, far: float) -> None:
    far = float(dtype(far))
    x, y = np.array([far, 1 / far, far, 3.0], dtype), np.array([1 / far, far, far * (1 + 1e-3), 2.0], dtype)
    expected = x.astype(np.longdouble) * (np.log(x.astype(np.longdouble)) - np.log(y.astype(np.longdouble)))
    assert_trees_close(special.rel_entr(x, y)[:2], expected[:2].astype(dtype), 1e-6 if dtype == np.float32 else 1e-15)
    assert_trees_close(special.rel_entr(x, y)[2:], x[2:] * np.log(x[2:] / y[2:]), 1e-6)
    by_x, by_y = fd.grad(lambda *two: special.rel_entr(*two).sum())(x, y), fd.grad(lambda y: special.rel_entr(x[1:], y).sum())(y[1:])
    assert_trees_close(by_x[:2], (np.log(x) - np.log(y) + 1)[:2], 1e-5)
    assert_trees_close(by_y, -x[1:] / y[1:], 1e-5)


def test_a_derivative_that_is_not_known_is_an_error_and_not_zero() -> None:
    for function, name in ((special.zeta, "zeta"), *((getattr(special, name), name) for name in ("jv", "yv", "iv", "ive", "kv", "kve"))):
        with pytest.raises(DerivativeError, match=name):
            fd.grad(lambda a, function=function: function(a, 1.5))(2.0)
        with pytest.raises(DerivativeError, match="stop_gradient"):
            fd.jvp(lambda a, function=function: function(a, 1.5), (2.0,), (1.0,))


def test_without_scipy_the_error_names_the_extra_and_what_needs_no_scipy_works(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "scipy"]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingExtraError, match=r"fdezero\[scipy\]"):
        special.gammaln(0.5)
    x = np.array([0.2, 0.7])
    for name, dtype in itertools.product(("erf", "erfc"), (np.float64, np.float32, np.float16)):  # Python has them, which gelu needs
        points = np.linspace(-4, 4, 10, dtype=dtype).reshape(2, 5)
        expected = np.vectorize(getattr(math, name))(points).astype(dtype)
        for function in (getattr(special, name), fd.compile(getattr(special, name))):
            assert_trees_close(function(points), expected, 1e-7 if dtype == np.float32 else 1e-3 if dtype == np.float16 else 1e-15)
    assert special.erf(0.5) == math.erf(0.5)
    assert special.erf(1) == math.erf(1)
    assert special.erf(np.array([1, 2])).dtype == np.float64
    assert np.isfinite(fd.grad(lambda x: np.sum(fd.functions.gelu(x)))(x)).all()
    for function in (special.expit, special.logit, special.log_expit, special.logsumexp, special.softmax, special.log_softmax, special.entr):
        assert np.isfinite(fd.grad(lambda x, function=function: np.sum(function(x)))(x)).all()
    for function in (special.xlogy, special.xlog1py, special.rel_entr):
        assert np.isfinite(function(x, x)).all()
    assert fd.stats.norm.logpdf(0.0) == -0.5 * math.log(2 * math.pi)


def test_what_cupy_lacks_is_an_error_that_says_so(strict_cupy: Any) -> None:
    x = strict_cupy.asarray(np.array([0.5, 2.0]))
    for name in ("jv", "yv", "iv", "ive", "kv", "kve"):
        with pytest.raises(DeviceError, match=rf"special\.{name}: cupyx\.scipy\.special does not have.*to_device"):
            getattr(special, name)(1, x)


def test_on_the_gpu(gpu: Any) -> None:
    x = np.array([[0.2, 0.7, 1.5]], np.float32)
    for name in "erf erfc erfcx gammaln digamma i0 i1 i0e i1e entr log_ndtr ndtr expit log_expit".split():
        function = getattr(special, name)
        there = fd.value_and_grad(lambda x, function=function: fd.numpy.sum(function(x)))(gpu.asarray(x))
        here = fd.value_and_grad(lambda x, function=function: fd.numpy.sum(function(x)))(x)
        assert fd.device_of(there) == "gpu:0"
        assert_trees_close(fd.to_numpy(there), here, 1e-5)
    for function, *args in ((special.gammainc, 2, x), (special.polygamma, 1, x), (special.zeta, x + 1), (special.betaln, x, x), (special.xlogy, x, x)):
        placed = [gpu.asarray(arg) if hasattr(arg, "shape") else arg for arg in args]
        assert_trees_close(fd.to_numpy(function(*placed)), function(*args), 1e-5)
    for kwargs in ({"b": 2.0}, {"return_sign": True, "axis": -1}):
        assert_trees_close(fd.to_numpy(special.logsumexp(gpu.asarray(x), **kwargs)), special.logsumexp(x, **kwargs), 1e-5)
