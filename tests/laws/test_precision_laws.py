"""Laws of precision: float16 is float64 rounded, and float32 keeps its digits for huge, tiny and shared magnitudes."""

from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import scipy.special

import fdezero as fd
from fdezero import functions as F
from fdezero import numpy as fnp
from fdezero import optim, special
from fdezero.testing import assert_trees_equal

from .cases import Case, law
from .coverage import CASES
from .folding import all_of
from .optimisers import OPTIMISERS

RNG = np.random.default_rng(41)
# Sums of products, and functions that such sums come back through: terms cancel, so the error is relative to the largest entry.
SUMS = {"linear", "bilinear", "im2col", "col2im", "prelu", *(f"conv{kind}{n}d" for kind in ("", "_transpose") for n in (1, 2, 3))}
WIDE = {"batch_norm_with_statistics"}  # running statistics are float32
DIFFERENCES = {"softmax", "log_softmax"}  # so are their gradients
WIDE = {"batch_norm_with_statistics"}  # statistics of float16 are float32
HALF_ULP, TINY_HALF = 2.0**-10, 2.0**-23  # relative, with one ulp for the rounding of both; a few subnormal steps
BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
ROUNDING = {np.dtype(np.float16): (HALF_ULP, TINY_HALF), BFLOAT16: (2.0**-7, TINY_HALF)}  # terms cancel in float32
INTEGER_KERNELS = "functions-conv2d-2x3x5x4-4x3x3x2"  # NumPy does not promote bfloat16 with int64


def with_slopes(case: Case, dtype: Any, half: Any = np.float16) -> list[np.ndarray]:
    """The values and the gradient of their weighed sum, for arguments rounded to `half` and cast to `dtype`."""

    def cast(x: Any) -> Any:
        return x.astype(half).astype(dtype) if getattr(x, "dtype", None) == np.float64 else x

    narrow = case._replace(args=fd.tree.map(cast, case.args), kwargs=fd.tree.map(cast, case.kwargs))
    values, pullback = fd.vjp(narrow.of_inputs(), *narrow.inputs)
    weights = [np.asarray(np.cos(np.arange(np.size(y))).reshape(np.shape(y))).astype(half).astype(np.asarray(y).dtype) for y in values]
    return [np.asarray(leaf) for leaf in (*values, *pullback(weights))]


@law(CASES, "float16")
def test_float16_is_float64_rounded(case: Case) -> None:
    is_float64_rounded(case, np.dtype(np.float16))


@law(CASES, "float16")
def test_bfloat16_is_float64_rounded(case: Case) -> None:
    if not str(case).startswith(INTEGER_KERNELS):
        is_float64_rounded(case, BFLOAT16)


def is_float64_rounded(case: Case, half: Any) -> None:
    relative, tiny = ROUNDING[half]
    for got, exact in zip(with_slopes(case, half, half), with_slopes(case, np.float64, half), strict=True):
        scale = abs(exact).max(initial=0) if case.name in SUMS | DIFFERENCES else 0
        assert got.dtype in (half, np.float64) or case.name in WIDE  # float64 for a Python number
        np.testing.assert_allclose(got.astype(float), exact, rtol=relative, atol=tiny + relative * scale)


def test_a_function_that_rounds_in_between_is_caught() -> None:
    softplus = next(case for case in CASES if (case.module, case.name) == ("functions", "softplus"))
    test_float16_is_float64_rounded(softplus)
    for wrong in (lambda x: fnp.log(1 + fnp.exp(x)), lambda x: F.softplus(x.astype(np.float32))):
        with pytest.raises(AssertionError):
            test_float16_is_float64_rounded(softplus._replace(function=wrong))


LARGE = {  # logits as they are in a net that is sure, and logits that share a great number
    "N(0, 100)": 100 * RNG.standard_normal((40, 10)),
    "shifted": 1e6 + RNG.standard_normal((40, 10)).round(2),
    "far apart": np.array([[0.0, 1e38, -2e38], [1e8, 1e8, -1e8], [-1e-30, 0.0, 1e-30]]),
}
LABELS = RNG.integers(0, 3, 40)


@pytest.mark.parametrize("kind", LARGE)
def test_float32_logits_of_any_size_have_the_error_of_float32(kind: str) -> None:
    x = LARGE[kind].astype(np.float32)
    exact, labels = x.astype(float), LABELS[: len(x)]
    p = scipy.special.softmax(exact, -1)
    for softmax in (F.softmax, lambda x: np.exp(F.log_softmax(x)), lambda x: special.softmax(x, -1)):
        np.testing.assert_allclose(softmax(x), p, atol=4e-7)
        np.testing.assert_allclose(softmax(x).sum(-1), 1, rtol=1e-6)
    np.testing.assert_allclose(fd.grad(lambda x: fnp.sum(fnp.logsumexp(x, axis=-1)))(x), p, atol=4e-7)
    chosen = np.eye(x.shape[-1])[labels]
    np.testing.assert_allclose(fd.grad(lambda x: len(x) * F.softmax_cross_entropy(x, labels))(x), p - chosen, atol=4e-7)
    loss = np.mean(-np.take_along_axis(scipy.special.log_softmax(exact, -1), labels[:, None], -1)[:, 0])
    np.testing.assert_allclose(F.softmax_cross_entropy(x, labels), loss, rtol=1e-6)


@pytest.mark.parametrize("kind", LARGE)
def test_second_derivatives_of_sums_of_exponentials_keep_their_digits(kind: str) -> None:
    row = LARGE[kind].astype(np.float32)[0]
    p = scipy.special.softmax(row.astype(float))
    exact = np.diag(p) - np.outer(p, p)
    for function in (fnp.logsumexp, lambda x: F.softmax_cross_entropy(x[None], np.array([0])), lambda x: -F.log_softmax(x)[0]):
        for hessian in (fd.hessian(function), fd.compile(fd.hessian(function))):
            np.testing.assert_allclose(hessian(row), exact, atol=4e-7)


def test_binary_losses_keep_their_digits() -> None:
    x = np.array([-3e38, -1e3, -30.0, -1e-20, 0.0, 1e-20, 17.0, 30.0, 90.0, 1e30], np.float32)
    for target in (0.0, 1.0, 0.25):
        t = np.full(x.shape, target, np.float32)
        exact = x.astype(float)
        terms = t * np.logaddexp(0, -exact) + (1 - t) * np.logaddexp(0, exact)
        for one, term in zip(x, terms, strict=True):
            np.testing.assert_allclose(F.sigmoid_cross_entropy(one[None], t[:1]), term, rtol=1e-6, atol=1e-44)
        slopes = scipy.special.expit(exact) - t if target == 0.25 else np.where(t > 0, -scipy.special.expit(-exact), scipy.special.expit(exact))
        np.testing.assert_allclose(fd.grad(lambda x: len(x) * F.sigmoid_cross_entropy(x, t))(x), slopes, rtol=1e-6, atol=1e-37)
    p = np.array([1e-30, 1e-8, 0.3, 0.9999999], np.float32)
    for target in (0.0, 1.0):
        exact = -np.log1p(-p.astype(float)) if target == 0 else -np.log(p.astype(float))
        for one, term in zip(p, exact, strict=True):
            np.testing.assert_allclose(F.binary_cross_entropy(one[None], np.full(1, target, np.float32)), term, rtol=1e-6)
    sure = np.array([0.0, 1.0], np.float32)
    value, slope = fd.value_and_grad(lambda p: F.binary_cross_entropy(p, np.array([1, 0])))(sure)
    np.testing.assert_allclose(value, -np.log(np.finfo(np.float32).tiny), rtol=1e-6)
    assert_trees_equal(slope, np.zeros(2, np.float32))


# What an all-minus-infinity row gives


@pytest.mark.parametrize("axis", [None, 0])
def test_the_logsumexp_of_nothing_is_minus_infinity_with_derivatives_0_of_every_order(axis: Any) -> None:
    x = np.full(3, -np.inf)
    for function in (lambda x: fnp.logsumexp(x, axis=axis), lambda x: special.logsumexp(x, axis=axis)):
        assert function(x) == -np.inf
        assert_trees_equal(fd.grad(function)(x), np.zeros(3))
        assert_trees_equal(fd.hessian(function)(x), np.zeros((3, 3)))
        assert_trees_equal(fd.jvp(function, (x,), (np.ones(3),))[1], np.float64(0))
        partly = np.array([-np.inf, 2.0, -np.inf])
        assert_trees_equal(fd.grad(function)(partly), np.array([0.0, 1.0, 0.0]))
        assert_trees_equal(fd.hessian(function)(partly), np.zeros((3, 3)))


def test_the_softmax_of_nothing_is_nan_and_so_is_its_gradient() -> None:
    x = np.full((2, 3), -np.inf)
    x[1] = 0
    with np.errstate(invalid="ignore"):
        for function in (F.softmax, F.log_softmax):
            value, pullback = fd.vjp(function, x)
            assert np.isnan(value[0]).all()
            assert np.isnan(pullback(np.ones_like(x))[0][0]).all()
            assert np.isfinite(value[1]).all()
            assert np.isfinite(pullback(np.eye(2, 3))[0][1]).all()


# A value that is NaN has a derivative that is NaN


EXTREMES: dict[str, Callable[..., Any]] = {
    **{name: getattr(fnp, name) for name in "max min amax amin ptp median nanmax nanmin nanmean nanmedian nanvar nanstd".split()},
    "quantile": lambda x, axis: fnp.quantile(x, 0.3, axis=axis), "nanquantile": lambda x, axis: fnp.nanquantile(x, 0.3, axis=axis),
    "max with initial": lambda x, axis: fnp.max(x, axis=axis, initial=0.0), "method": lambda x, axis: x.max(axis=axis),
}  # fmt: skip


@pytest.mark.parametrize("name", EXTREMES)
def test_a_nan_among_choices_gives_nan_and_leaves_other_lines_alone(name: str) -> None:
    x = np.array([[1.0, np.nan, 3.0], [4.0, 5.0, 7.5], [np.nan, np.nan, np.nan]])
    value, pullback = fd.vjp(lambda x: EXTREMES[name](x, axis=-1), x)
    gradient = pullback(np.ones_like(value))[0]
    lost = np.isnan(value)
    assert lost[2]
    assert lost[0] != name.startswith("nan")
    of_two_entries = "median" in name or "quantile" in name  # the others do not count
    assert (np.isnan(gradient[lost]).any(-1) if of_two_entries else np.isnan(gradient[lost])).all()
    assert np.isfinite(gradient[~lost]).all()
    alone = fd.grad(lambda x: EXTREMES[name](x, axis=-1))(x[1])
    assert_trees_equal(gradient[1], alone)


@pytest.mark.parametrize("function", [fnp.maximum, fnp.minimum, fnp.fmax, fnp.fmin, lambda x, y: fnp.clip(x, y, 9.0), lambda x, y: fnp.clip(5.0, x, y)])
def test_the_greater_of_two_has_derivative_nan_where_it_is_nan(function: Callable[..., Any]) -> None:
    x, y = np.array([np.nan, 1.0, np.nan, 2.0]), np.array([1.0, np.nan, np.nan, 3.0])
    value, pullback = fd.vjp(function, x, y)
    for gradient in pullback(np.ones(4)):
        assert_trees_equal(np.isnan(gradient), np.isnan(value))
    for gradient in pullback(np.where(np.isnan(value), 0, 1)):  # nothing depends on what is NaN
        assert np.isfinite(gradient).all()


def test_relu_passes_the_cotangent_of_nan() -> None:
    assert_trees_equal(fd.grad(lambda x: fnp.sum(F.relu(x)))(np.array([np.nan, -1.0, 0.0, 2.0])), np.array([1.0, 0.0, 0.0, 1.0]))


# Optimisers


def moved(name: str, dtype: Any, gradient: np.ndarray, steps: int = 3) -> np.ndarray:
    opt, params = OPTIMISERS[name](0.05), {"w": np.linspace(-1, 1, gradient.size).astype(np.float16).astype(dtype)}
    state = opt.init(params)
    for k in range(steps):
        params, state = opt.step(params, {"w": (gradient * 2.0**-k).astype(dtype)}, state)
    result: np.ndarray = params["w"]
    assert result.dtype == dtype
    return result


@pytest.mark.parametrize("name", OPTIMISERS)
@all_of("scale", [1.0, 2.0**-12, 2.0**-20, 2.0**5])
def test_a_step_in_float16_is_that_in_float64_rounded_at_every_step(name: str, scale: float) -> None:
    gradient = np.array([0.0, 0.5, 1.0, -2.0, 0.75, 3.0]) * scale  # exact in float16 at each of three steps
    expected = moved(name, np.float64, gradient)
    np.testing.assert_allclose(moved(name, np.float16, gradient).astype(float), expected, rtol=4 * HALF_ULP, atol=4 * HALF_ULP)


def test_adam_in_float16_takes_the_step_of_adam() -> None:
    opt, params = optim.adam(1e-3), {"w": np.zeros(4, np.float16)}
    stepped, state = opt.step(params, {"w": np.array([0, 1e-3, 1, 1e-4], np.float16)}, opt.init(params))
    np.testing.assert_allclose(stepped["w"].astype(float), [0, -1e-3, -1e-3, -1e-3], rtol=2e-3)
    assert {leaf.dtype for leaf in fd.tree.leaves(state) if np.ndim(leaf)} == {np.dtype(np.float32)}


@pytest.mark.parametrize("name", OPTIMISERS)
@all_of("greatest", [1e18, 1e20, 1e30, 1e37])
def test_float32_gradients_of_any_size_take_the_step_of_float64(name: str, greatest: float) -> None:
    gradient = np.array([1e-6, -greatest, 0.0, greatest / 3, 1e3]).astype(np.float32).astype(float)
    with np.errstate(over="ignore"):
        compiled = fd.compile(lambda g: OPTIMISERS[name](0.05).step(g * 0, g, OPTIMISERS[name](0.05).init(g)))
        np.testing.assert_allclose(moved(name, np.float32, gradient), moved(name, np.float64, gradient), rtol=1e-5, atol=1e-6)
        g, opt = gradient.astype(np.float32), OPTIMISERS[name](0.05)
        for _ in range(2):
            assert_trees_equal(compiled(g), opt.step(g * 0, g, opt.init(g)), bits=True)


def test_adam_with_a_tiny_eps_sees_tiny_gradients() -> None:
    opt, params = optim.adam(1e-3, eps=1e-30), np.zeros(3, np.float32)
    np.testing.assert_allclose(opt.step(params, np.float32([1e-25, -1e-22, 1.0]), opt.init(params))[0], [-1e-3, 1e-3, -1e-3], rtol=1e-4)


@pytest.mark.parametrize("size", [1e-44, 1e-30, 1e-19, 1.0, 1e19, 1e30, 1e38])
def test_the_global_norm_neither_overflows_nor_vanishes(size: float) -> None:
    x = (size * np.array([[3.0, 0.0], [-1.0, 2.5]]) / 4).astype(np.float32)
    tree = {"a": x, "b": x[0] * np.float32(0.5)}
    exact = np.sqrt(sum((leaf.astype(float) ** 2).sum() for leaf in fd.tree.leaves(tree)))
    for function in (optim.global_norm, fd.compile(optim.global_norm)):
        np.testing.assert_allclose(function(tree), exact, rtol=1e-6 if size > 1e-40 else 0.3)
    if size > 1e-40:
        np.testing.assert_allclose(fd.grad(optim.global_norm)(tree)["a"], x / exact, rtol=1e-5)
    assert_trees_equal(fd.grad(optim.global_norm)({"w": np.zeros(3)}), {"w": np.zeros(3)})
