"""Derivatives of draws by the parameters of their distributions, against mpmath, SciPy and differences."""

import math
from typing import Any

import mpmath
import numpy as np
import pytest
from scipy import special, stats

import fdezero as fd
from fdezero import numpy as fnp
from fdezero import random
from fdezero.ops import incomplete
from fdezero.random import implicit
from fdezero.testing import assert_trees_close

from .test_random_shapes import KEY, SHAPED


def slope_of_gamma(a: float, y: float) -> Any:
    """-(dF/da) / (dF/dy), from mpmath's incomplete gamma function."""
    with mpmath.workdps(60):
        a, y = mpmath.mpf(a), mpmath.mpf(y)
        step = a * mpmath.mpf(10) ** -18
        ends = (0, y) if y < a else (y, mpmath.inf)
        upper, lower = (mpmath.gammainc(b, *ends, regularized=True) for b in (a + step, a - step))
        return (-1 if y < a else 1) * (upper - lower) / (2 * step) / mpmath.exp((a - 1) * mpmath.log(y) - y - mpmath.loggamma(a))


@pytest.mark.parametrize("a", [1e-3, 0.1, 0.7, 1.0, 2.5, 40.0, 1e3, 1e6])
def test_the_derivative_of_a_gamma_draw_is_that_of_its_quantile(a: float) -> None:
    draw = lambda b, k: random.gamma(k, b, dtype=np.float64)
    for key in random.split(random.key(7), 8):
        y = float(draw(a, key))
        if y > 1e-290:  # mpmath is asked for the slope at y, whose last digits matter
            assert fd.grad(draw)(a, key) == pytest.approx(float(slope_of_gamma(a, y)), rel=2e-11)
    logarithm = fd.grad(lambda b: random.loggamma(KEY, b, dtype=np.float64))(a)
    if a == 1e-3:  # y is 0, and the logarithm of the draw is (log u + log gamma(a + 1)) / a
        z = random.loggamma(KEY, a, dtype=np.float64)
        assert logarithm == pytest.approx(float((special.digamma(a + 1) - z) / a), rel=1e-10) or z > -30


def slope_of_beta(a: float, b: float, x: Any) -> Any:
    with mpmath.workdps(50):
        a, b, x = mpmath.mpf(a), mpmath.mpf(b), mpmath.mpf(x)
        step = a * mpmath.mpf(10) ** -15
        upper, lower = (mpmath.betainc(c, b, 0, x, regularized=True) for c in (a + step, a - step))
        density = x ** (a - 1) * (1 - x) ** (b - 1) / mpmath.beta(a, b)
        return -(upper - lower) / (2 * step) / density


@pytest.mark.parametrize(("a", "b"), [(0.02, 0.5), (0.5, 0.5), (1.0, 3.0), (2.5, 0.3), (30.0, 7.0), (0.3, 200.0), (900.0, 1100.0)])
def test_the_derivatives_of_a_beta_draw_are_those_of_its_quantile(a: float, b: float) -> None:
    draw = lambda c, d, k: random.beta(k, c, d, dtype=np.float64)
    for key in random.split(random.key(8), 5):
        x = float(draw(a, b, key))
        by_a, by_b = fd.grad(draw, argnums=(0, 1))(a, b, key)
        if 1e-200 < x < 0.999:
            assert by_a == pytest.approx(float(slope_of_beta(a, b, x)), rel=1e-10)
            with mpmath.workdps(50):
                assert by_b == pytest.approx(-float(slope_of_beta(b, a, 1 - mpmath.mpf(x))), rel=1e-10)


def test_the_derivatives_are_those_of_gammainc_and_betainc() -> None:
    """Another implementation, by another quadrature, in the variable x."""
    rng = np.random.default_rng(0)
    for a in (1e-3, 0.3, 4.0, 1e4):
        y, shape = np.maximum(rng.gamma(a, size=50), 1e-280), np.full(50, a)
        expected = -incomplete.gamma_integral(1, 0, shape, y)
        np.testing.assert_allclose(implicit._rate_of_gamma(np.log(y), shape), expected, rtol=1e-11)
        for b in (1e-3, 0.7, 20.0, 1e4):
            x, other = np.clip(rng.beta(a, b, size=50), 1e-280, 0.9), np.full(50, b)
            expected = -incomplete.beta_integral(1, 0, 0, shape, other, x)
            np.testing.assert_allclose(implicit._rate_of_beta(np.log(x) - np.log1p(-x), shape, other), expected, rtol=1e-8)


def test_second_derivatives_are_those_of_the_quantile() -> None:
    """The slope along the path on which the distribution function stays: differences of the first derivative there."""
    for a in (0.3, 1.7, 25.0):
        z = float(random.loggamma(KEY, a, dtype=np.float64))
        p = special.gammainc(a, math.exp(z))
        h = 1e-4 * a
        ends = [float(fd.random.implicit._rate_of_gamma(np.log(special.gammaincinv(b, p)), np.float64(b))) for b in (a + h, a - h)]
        found = fd.grad(fd.grad(lambda b: random.loggamma(KEY, b, dtype=np.float64)))(a)
        assert found == pytest.approx((ends[0] - ends[1]) / (2 * h), rel=1e-5)
        forward = fd.jvp(lambda b: fd.grad(lambda c: random.loggamma(KEY, c, dtype=np.float64))(b), (a,), (1.0,))[1]
        assert forward == pytest.approx(found, rel=1e-12)
        third = fd.grad(fd.grad(fd.grad(lambda b: random.loggamma(KEY, b, dtype=np.float64))))(a)
        assert np.isfinite(third)
    for a, b in ((0.6, 2.0), (9.0, 4.0)):
        odds = lambda c, d: fd.numpy.log(x := random.beta(KEY, c, d, dtype=np.float64)) - fd.numpy.log(1 - x)
        p, h = special.betainc(a, b, float(random.beta(KEY, a, b, dtype=np.float64))), 1e-4
        rate = lambda c, d: float(fd.random.implicit._rate_of_beta(special.logit(special.betaincinv(c, d, p)), np.float64(c), np.float64(d)))
        hessian = fd.hessian(lambda v: odds(v[0], v[1]))(np.array([a, b]))
        assert hessian[0, 0] == pytest.approx((rate(a + h, b) - rate(a - h, b)) / (2 * h), rel=1e-5)
        assert hessian[0, 1] == pytest.approx((rate(a, b + h) - rate(a, b - h)) / (2 * h), rel=1e-5)
        assert hessian[1, 0] == pytest.approx(hessian[0, 1], rel=1e-9)


def test_derivatives_have_the_dtype_and_shape_of_the_parameters_under_every_transformation() -> None:
    a = np.array([[0.5], [3.0]], np.float32)
    for draw in (random.gamma, random.loggamma, random.chisquare, lambda k, b, n: random.beta(k, b, 2.0, n), random.t):
        function = lambda b, draw=draw: fnp.sum(draw(KEY, b, (2, 5)))
        gradient = fd.grad(function)(a)
        assert (gradient.dtype, gradient.shape) == (np.float32, (2, 1))
        assert np.array_equal(fd.compile(fd.grad(function))(a), gradient)
        assert_trees_close(fd.vmap(lambda b, draw=draw: fd.grad(lambda c: fnp.sum(draw(KEY, c, (5,))))(b))(a).shape, (2, 1), 0)
        assert_trees_close(fd.jvp(function, (a,), (np.ones_like(a),))[1], gradient.sum(), 1e-5)
    for draw in (random.poisson, lambda k, b, n: random.binomial(k, 20, b / 9, n), lambda k, b, n: random.geometric(k, b / 9, n)):
        assert fd.grad(lambda b, draw=draw: fnp.sum(draw(KEY, b, (2, 5)) * b))(a).tolist() == draw(KEY, a, (2, 5)).sum(-1, keepdims=True).tolist()


def test_the_mean_of_gradients_is_the_gradient_of_the_mean() -> None:
    n = 40_000
    by_a = fd.grad(lambda a: random.gamma(KEY, a, n, np.float64).mean())(2.3)
    assert by_a == pytest.approx(1, abs=0.02)  # the mean of gamma numbers is a
    by_a, by_b = fd.grad(lambda a, b: random.beta(KEY, a, b, n, np.float64).mean(), argnums=(0, 1))(2.0, 3.0)
    assert (by_a, by_b) == (pytest.approx(3 / 25, abs=2e-3), pytest.approx(-2 / 25, abs=2e-3))
    alpha = np.array([0.7, 2.0, 3.0])
    jacobian = fd.jacobian(lambda al: random.dirichlet(KEY, al, n, np.float64).mean(0))(alpha)
    assert_trees_close(jacobian, np.eye(3) / alpha.sum() - alpha[:, None] / alpha.sum() ** 2 * np.ones(3), 3e-3)


def test_draws_by_inversion_have_the_derivatives_of_their_quantiles() -> None:
    u = (random.bits(KEY, 5) >> 12) * 2.0**-52 + 2.0**-53
    pairs = {
        "weibull_min": (lambda p: random.weibull_min(KEY, p[0], p[1], 5, float), lambda p: p[0] * (-np.log(u)) ** (1 / p[1])),
        "pareto": (lambda p: random.pareto(KEY, p[0], 5, float), lambda p: u ** (-1 / p[0])),
        "rayleigh": (lambda p: random.rayleigh(KEY, p[0], 5, float), lambda p: p[0] * np.sqrt(-2 * np.log(u))),
        "triangular": (lambda p: random.triangular(KEY, 0 * p[0], p[0], p[0] + p[1], 5, float),
                       lambda p: stats.triang(p[0] / (p[0] + p[1]), scale=p[0] + p[1]).ppf(u)),
        "truncated_normal": (lambda p: random.truncated_normal(KEY, -p[0], p[1], 5, float), lambda p: stats.truncnorm(-p[0], p[1]).ppf(u)),
        "truncated far": (lambda p: random.truncated_normal(KEY, 9 * p[0], 10 * p[1], 5, float), lambda p: stats.truncnorm(9 * p[0], 10 * p[1]).ppf(u)),
    }  # fmt: skip
    p, h = np.array([1.2, 1.9]), 1e-5
    for name, (draw, quantile) in pairs.items():
        np.testing.assert_allclose(draw(p), quantile(p), rtol=1e-10, err_msg=name)
        steps = np.stack([(quantile(p + h * e) - quantile(p - h * e)) / (2 * h) for e in np.eye(2)], axis=-1)
        np.testing.assert_allclose(fd.jacobian(draw)(p), steps, rtol=1e-6, atol=1e-9, err_msg=name)
        curved = fd.jacobian(lambda q: fnp.sum(fd.jacobian(draw)(q), axis=0))(p)
        slope = lambda q: fd.jacobian(draw)(q).sum(0)
        np.testing.assert_allclose(curved, np.stack([(slope(p + h * e) - slope(p - h * e)) / (2 * h) for e in np.eye(2)], axis=-1), rtol=1e-5, atol=1e-7)


def test_draws_on_a_gpu_are_those_of_the_cpu(gpu: Any) -> None:
    there = fd.to_device(KEY, "gpu")
    a = np.linspace(0.2, 9, 50)
    for name, draw in SHAPED.items():
        drawn = draw(there, fd.to_device(a, "gpu"), 50)
        assert isinstance(drawn, gpu.ndarray), name
        assert_trees_close(fd.to_numpy(drawn), draw(KEY, a, 50), 1e-6)
    slopes = fd.grad(lambda b: fnp.sum(random.gamma(there, b, 50)))(fd.to_device(a, "gpu"))
    assert_trees_close(fd.to_numpy(slopes), fd.grad(lambda b: fnp.sum(random.gamma(KEY, b, 50)))(a), 1e-6)
