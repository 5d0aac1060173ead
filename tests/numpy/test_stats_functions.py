"""Distribution functions, quantiles and entropies: both tails against mpmath, SciPy elsewhere, inverses, edges, derivatives."""

from collections.abc import Callable
from typing import Any

import mpmath as mp
import numpy as np
import pytest
import scipy.stats

import fdezero as fd
from fdezero import stats
from fdezero.errors import RangeError
from fdezero.testing import assert_trees_close, assert_trees_equal, check_grads

CONTINUOUS: dict[str, list[tuple[float, ...]]] = {
    **{name: [(), (0.3, 2.0), (0.0, -1.0)] for name in ("norm", "laplace", "cauchy", "logistic", "uniform", "expon")},
    "t": [(1.0,), (3.5,), (200.0, 0.3, 2.0), (-1.0,)], "gamma": [(1.0,), (2.5,), (0.01,), (150.0, 0.3, 2.0), (-1.0,)],
    "chi2": [(1.0,), (3.5,), (100.0,)], "lognorm": [(1.0,), (0.5, 0.3, 2.0)], "weibull_min": [(1.0,), (2.5,), (0.5, 0.3, 2.0)],
    "beta": [(1.0, 1.0), (2.5, 0.5), (0.5, 3.0, -2.0, 4.0), (150.0, 30.0)],
}  # fmt: skip
DISCRETE: dict[str, list[tuple[float, ...]]] = {
    "bernoulli": [(0.0,), (0.3,), (1.0,), (1.2,), (0.3, 1)], "binom": [(3, 0.3), (50, 0.01), (7, 1.0), (0, 0.3), (2.5, 0.3), (3, 0.0)],
    "poisson": [(0,), (0.3,), (4.0,), (40.0, 1), (-1,)],
}  # fmt: skip
X = np.array([-np.inf, -3.0, -1.0, -0.0, 0.3, 0.9, 1.0, 2.0, 7.0, np.inf, np.nan])
K = np.array([-np.inf, -1, -0.5, 0, 0.5, 1, 2, 3, 7, np.inf, np.nan])
Q = np.array([0.0, 1e-10, 0.1, 0.25, 0.5, 0.7, 0.75, 0.9, 1 - 1e-12, 1.0, -0.1, 1.1, np.nan])


@pytest.mark.filterwarnings("ignore:Error in function boost")  # SciPy's betaincinv gives up close to the root
@pytest.mark.parametrize(("name", "parameters"), [(name, p) for name, rows in {**CONTINUOUS, **DISCRETE}.items() for p in rows], ids=str)
def test_values_are_those_of_scipy(name: str, parameters: tuple[float, ...]) -> None:
    discrete = name in DISCRETE
    for method in ("cdf", "sf", "ppf", "isf"):
        at = Q if method in ("ppf", "isf") else K if discrete else X
        with np.errstate(all="ignore"):
            got, expected = getattr(getattr(stats, name), method)(at, *parameters), getattr(getattr(scipy.stats, name), method)(at, *parameters)
        np.testing.assert_allclose(got, expected, rtol=1e-11, err_msg=method, atol=1e-15)
    with np.errstate(all="ignore"):
        got, expected = getattr(stats, name).entropy(*parameters), getattr(scipy.stats, name).entropy(*parameters)
        np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-13)
        for method, plain in (("logcdf", "cdf"), ("logsf", "sf")):  # SciPy's own lose digits and underflow
            value = getattr(getattr(stats, name), plain)(K if discrete else X, *parameters)
            logarithm = getattr(getattr(stats, name), method)(K if discrete else X, *parameters)
            np.testing.assert_allclose(np.exp(logarithm), value, rtol=1e-12, atol=1e-300)


def _log_of_beta_tail(a: float, b: float, x: Any) -> Any:
    return mp.log(mp.betainc(a, b, 0, x, regularized=True))


TAILS: list[tuple[str, Any, Any]] = [  # ours, and mpmath's
    ("norm.logcdf(-40)", lambda: stats.norm.logcdf(-40.0), lambda: mp.log(mp.ncdf(-40))),
    ("norm.sf(40)", lambda: stats.norm.sf(37.0), lambda: mp.ncdf(-37)),
    ("norm.logsf(40)", lambda: stats.norm.logsf(40.0), lambda: mp.log(mp.ncdf(-40))),
    ("norm.logcdf(9)", lambda: stats.norm.logcdf(9.0), lambda: mp.log1p(-mp.ncdf(-9))),
    ("norm.ppf(1e-300)", lambda: stats.norm.ppf(1e-300), lambda: mp.findroot(lambda z: mp.log(mp.ncdf(z)) - mp.log(mp.mpf(1e-300)), -37)),
    ("norm.isf(1e-20)", lambda: stats.norm.isf(1e-20), lambda: mp.findroot(lambda z: mp.log(mp.ncdf(-z)) - mp.log(mp.mpf(1e-20)), 9.2)),
    ("laplace.sf(50)", lambda: stats.laplace.sf(50.0), lambda: mp.exp(-50) / 2),
    ("laplace.logcdf(50)", lambda: stats.laplace.logcdf(50.0), lambda: mp.log1p(-mp.exp(-50) / 2)),
    ("logistic.logsf(800)", lambda: stats.logistic.logsf(800.0), lambda: -mp.mpf(800)),
    ("logistic.ppf(0.5 + 1e-10)", lambda: stats.logistic.ppf(0.5 + 2.0**-34), lambda: mp.log((mp.mpf(0.5) + mp.mpf(2) ** -34) / (mp.mpf(0.5) - mp.mpf(2) ** -34))),
    ("cauchy.sf(1e20)", lambda: stats.cauchy.sf(1e20), lambda: mp.atan(mp.mpf(10) ** -20) / mp.pi),
    ("cauchy.ppf(1e-200)", lambda: stats.cauchy.ppf(1e-200), lambda: -1 / mp.tan(mp.pi * mp.mpf(1e-200))),
    ("expon.logcdf(1e-20)", lambda: stats.expon.logcdf(1e-20), lambda: mp.log(-mp.expm1(-mp.mpf(1e-20)))),
    ("expon.logcdf(50)", lambda: stats.expon.logcdf(50.0), lambda: mp.log1p(-mp.exp(-50))),
    ("expon.isf(1e-300)", lambda: stats.expon.isf(1e-300), lambda: -mp.log(mp.mpf(1e-300))),
    ("t.cdf(-1e10)", lambda: stats.t.cdf(-1e10, 3.5), lambda: _t_tail(1e10, 3.5)),
    ("t.sf(300)", lambda: stats.t.sf(300.0, 1.0), lambda: _t_tail(300.0, 1.0)),
    ("t.logsf(60)", lambda: stats.t.logsf(60.0, 250.0), lambda: mp.log(_t_tail(60.0, 250.0))),
    ("t.ppf(1e-300)", lambda: stats.t.ppf(1e-300, 1.0), lambda: -1 / mp.tan(mp.pi * mp.mpf(1e-300))),
    ("gamma.logcdf", lambda: stats.gamma.logcdf(1e-5, 100.0), lambda: mp.log(mp.gammainc(100, 0, mp.mpf(1e-5), regularized=True))),
    ("gamma.logsf", lambda: stats.gamma.logsf(2000.0, 2.5), lambda: mp.log(mp.gammainc(2.5, 2000, regularized=True))),
    ("gamma.sf", lambda: stats.gamma.sf(60.0, 2.5), lambda: mp.gammainc(2.5, 60, regularized=True)),
    ("gamma.logpdf of a large shape", lambda: stats.gamma.logpdf(1.001e6, 1e6), lambda: (mp.mpf(10) ** 6 - 1) * mp.log(1001000) - 1001000 - mp.loggamma(10**6)),
    ("chi2.logsf", lambda: stats.chi2.logsf(3000.0, 5.0), lambda: mp.log(mp.gammainc(2.5, 1500, regularized=True))),
    ("beta.logcdf", lambda: stats.beta.logcdf(1e-9, 150.0, 30.0), lambda: _log_of_beta_tail(150, 30, mp.mpf(1e-9))),
    ("beta.logsf", lambda: stats.beta.logsf(1 - 2.0**-40, 2.5, 150.0), lambda: _log_of_beta_tail(150, 2.5, mp.mpf(2) ** -40)),
    ("beta.logcdf of a tiny x", lambda: stats.beta.logcdf(1e-20, 0.01, 1e6), lambda: _log_of_beta_tail(0.01, 1e6, mp.mpf(1e-20))),
    ("beta.logsf of a tiny x", lambda: stats.beta.logsf(1e-17, 0.01, 1e6), lambda: mp.log1p(-mp.betainc(0.01, 1e6, 0, mp.mpf(1e-17), regularized=True))),
    *[(f"beta.entropy({a:g}, {b:g})", lambda a=a, b=b: stats.beta.entropy(a, b), lambda a=a, b=b: _beta_entropy(a, b)) for a, b in ((51.0, 0.7), (2.5, 1e7), (49.0, 3.0), (1e9, 1e9), (1e-3, 1e6), (400.0, 8e9))],
    ("lognorm.logsf", lambda: stats.lognorm.logsf(1e100, 2.0), lambda: mp.log(mp.ncdf(-mp.log(mp.mpf(1e100)) / 2))),
    ("weibull_min.logcdf", lambda: stats.weibull_min.logcdf(1e-100, 1.5), lambda: mp.mpf("1.5") * mp.log(mp.mpf(1e-100))),
    ("poisson.logsf", lambda: stats.poisson.logsf(900, 4.0), lambda: mp.log(mp.gammainc(901, 0, 4, regularized=True))),
    ("poisson.logcdf near 0", lambda: stats.poisson.logcdf(50, 4.0), lambda: mp.log1p(-mp.gammainc(51, 0, 4, regularized=True))),
    ("poisson.logpmf of a large mean", lambda: stats.poisson.logpmf(1_001_000, 1e6), lambda: 1001000 * mp.log(10**6) - 10**6 - mp.loggamma(1001001)),
    ("binom.logcdf", lambda: stats.binom.logcdf(3, 5000, 0.5), lambda: mp.log(sum(mp.binomial(5000, k) for k in range(4)) / mp.mpf(2) ** 5000)),
    ("binom.logpmf", lambda: stats.binom.logpmf(500_100, 1_000_000, 0.5), lambda: mp.loggamma(10**6 + 1) - mp.loggamma(500101) - mp.loggamma(499901) - 10**6 * mp.log(2)),
    ("gamma.entropy", lambda: stats.gamma.entropy(1e7), lambda: 10**7 + mp.loggamma(10**7) + (1 - 10**7) * mp.digamma(10**7)),
    ("t.entropy", lambda: stats.t.entropy(1e5), lambda: _t_entropy(10**5)),
    ("poisson.entropy", lambda: stats.poisson.entropy(12.0), lambda: _entropy_of(lambda k: mp.exp(k * mp.log(12) - 12 - mp.loggamma(k + 1)), 120)),
    ("poisson.entropy of a large mean", lambda: stats.poisson.entropy(60.0), lambda: _entropy_of(lambda k: mp.exp(k * mp.log(60) - 60 - mp.loggamma(k + 1)), 260)),
    ("binom.entropy", lambda: stats.binom.entropy(40, 0.3), lambda: _entropy_of(lambda k: mp.binomial(40, k) * mp.mpf(0.3) ** k * (1 - mp.mpf(0.3)) ** (40 - k), 41)),
]


def _t_tail(z: float, df: float) -> Any:
    x = mp.mpf(df) / (mp.mpf(df) + mp.mpf(z) ** 2)
    return mp.betainc(mp.mpf(df) / 2, mp.mpf(1) / 2, 0, x, regularized=True) / 2


def _t_entropy(df: int) -> Any:
    half = mp.mpf(df + 1) / 2
    return half * (mp.digamma(half) - mp.digamma(mp.mpf(df) / 2)) + mp.log(mp.sqrt(df) * mp.beta(mp.mpf(df) / 2, mp.mpf(1) / 2))


def _beta_entropy(a: float, b: float) -> Any:
    a, b = mp.mpf(a), mp.mpf(b)
    return mp.log(mp.beta(a, b)) - (a - 1) * (mp.digamma(a) - mp.digamma(a + b)) - (b - 1) * (mp.digamma(b) - mp.digamma(a + b))


def _entropy_of(probability: Callable[[int], Any], count: int) -> Any:
    return -mp.fsum(p * mp.log(p) for p in map(probability, range(count)))


@pytest.mark.parametrize(("ours", "exact"), [row[1:] for row in TAILS], ids=[row[0] for row in TAILS])
def test_tails_have_all_their_digits(ours: Callable[[], Any], exact: Callable[[], Any]) -> None:
    with mp.workdps(50):
        expected = float(exact())
    np.testing.assert_allclose(ours(), expected, rtol=3e-13)


@pytest.mark.parametrize("name", CONTINUOUS)
def test_quantiles_invert_in_both_tails(name: str) -> None:
    shapes = {"t": (3.5,), "gamma": (2.5,), "chi2": (3.5,), "lognorm": (0.5,), "weibull_min": (2.5,), "beta": (2.5, 1.5)}.get(name, ())
    family, q = getattr(stats, name), np.array([1e-100, 1e-12, 0.2, 0.5, 0.8])
    assert_trees_close(family.logcdf(family.ppf(q, *shapes), *shapes), np.log(q), 1e-11)
    if name not in ("uniform", "beta"):  # the upper end is 1, so the distance to it has few digits
        assert_trees_close(family.logsf(family.isf(q, *shapes), *shapes), np.log(q), 1e-11)
    assert_trees_close(family.cdf(family.ppf(q, *shapes, 0.3, 2.0), *shapes, 0.3, 2.0), q, 1e-11 if name != "uniform" else 1e-9)


@pytest.mark.parametrize("name", CONTINUOUS)
def test_beside_the_support_functions_are_constants_and_disturb_no_gradient(name: str) -> None:
    shapes = {"t": (3.5,), "gamma": (2.5,), "chi2": (3.5,), "lognorm": (0.5,), "weibull_min": (2.5,), "beta": (2.5, 1.5)}.get(name, ())
    family = getattr(stats, name)
    for method in ("cdf", "sf", "logcdf", "logsf"):
        function = getattr(family, method)
        x = np.array([-np.inf, 0.4, np.inf])

        def total(x: Any, *shapes: Any, function: Any = function) -> Any:
            y = function(x, *shapes)
            return fd.numpy.sum(fd.numpy.where(fd.numpy.isfinite(y), y, 0))

        arguments = tuple(range(len(shapes) + 1))
        gradients = fd.grad(total, argnums=arguments)(x, *shapes)
        alone = fd.grad(total, argnums=arguments)(x[1:2], *shapes)
        assert_trees_equal(gradients[0][[0, 2]], np.zeros(2))
        assert_trees_close((gradients[0][1:2], *gradients[1:]), alone, 1e-14)


@pytest.mark.parametrize("df", [1.1e5, 1e8, 1e15, np.inf])
def test_t_of_many_degrees_of_freedom_has_all_its_digits(df: float) -> None:
    def log_cdf(z: float) -> Any:
        if np.isinf(df):
            return mp.log(mp.ncdf(z))
        n = mp.mpf(df)
        factor = mp.exp(mp.loggamma((n + 1) / 2) - mp.loggamma(n / 2)) / mp.sqrt(n * mp.pi)
        return mp.log(factor * mp.quad(lambda x: mp.exp(-(n + 1) / 2 * mp.log1p(x * x / n)), [-40, -20, *[z - k for k in (9, 3, 1, 0)]]))

    for z in (-0.3, -2.0, -4.9):
        with mp.workdps(40):
            exact = log_cdf(z)
            cdf, log = float(mp.exp(exact)), float(exact)
        np.testing.assert_allclose(stats.t.cdf(z, df), cdf, rtol=1e-14)
        np.testing.assert_allclose(stats.t.sf(-z, df), cdf, rtol=1e-14)
        np.testing.assert_allclose(stats.t.logcdf(z, df), log, rtol=1e-14)
        np.testing.assert_allclose(stats.t.ppf(cdf, df), z, rtol=1e-14)
        np.testing.assert_allclose(stats.t.isf(cdf, df), -z, rtol=1e-14)
    by_z, by_df = fd.grad(lambda z, n: stats.t.logcdf(z, n), argnums=(0, 1))(-2.0, df)
    np.testing.assert_allclose(by_z, np.exp(stats.t.logpdf(-2.0, df) - stats.t.logcdf(-2.0, df)), rtol=1e-13)
    with np.errstate(over="ignore"):
        np.testing.assert_allclose(by_df, -(8 + 2) / 4 / df**2 * by_z, rtol=1e-3)


def test_an_infinite_number_of_degrees_of_freedom_gives_the_normal_distribution() -> None:
    x, df = np.array([-np.inf, -40.0, -1.0, 0.0, 2.5, 1e10, np.nan, 1.0]), np.array([np.inf] * 7 + [2.0])
    q = np.array([0.0, 1e-300, 0.1, 0.5, 0.75, 1.0, np.nan, 0.3])
    for method in ("pdf", "logpdf", "cdf", "sf", "logcdf", "logsf", "ppf", "isf"):
        at = q if method in ("ppf", "isf") else x
        for t in (getattr(stats.t, method), fd.compile(getattr(stats.t, method)), fd.vmap(getattr(stats.t, method))):
            got = t(at, df)
            np.testing.assert_allclose(got[:7], getattr(scipy.stats.norm, method)(at[:7]), rtol=2e-14, atol=1e-15, err_msg=method)
            np.testing.assert_allclose(got[7], getattr(scipy.stats.t, method)(at[7], 2.0), rtol=1e-13)
        if method in ("logpdf", "logcdf"):
            slopes = fd.grad(lambda x, df, method=method: fd.numpy.sum(getattr(stats.t, method)(x, df)), argnums=(0, 1))(x[1:6], df[1:6])
            assert_trees_close(slopes[0], fd.grad(lambda x, method=method: fd.numpy.sum(getattr(stats.norm, method)(x)))(x[1:6]), 1e-13)
            assert_trees_equal(slopes[1], np.zeros(5))
    assert stats.t.logsf(np.float32(2.0**31), np.float32(np.inf)) == np.float32(-(2.0**61))  # whose powers overflow
    assert stats.t.entropy(np.inf) == stats.norm.entropy()


@np.errstate(all="ignore")
def test_beside_the_support_infinite_shapes_are_in_range_and_nan_is_not() -> None:
    x = np.array([-1.0, 1.0, 2.0])
    for family, shapes in ((stats.gamma, 1), (stats.chi2, 1), (stats.weibull_min, 1), (stats.lognorm, 1), (stats.beta, 2)):
        for method, value in (("pdf", 0), ("logpdf", -np.inf), ("cdf", 0), ("sf", 1), ("logcdf", -np.inf), ("logsf", 0)):
            assert getattr(family, method)(-1.0, *[np.inf] * shapes) == value
            for bad in (0, -1.0, np.nan):
                got = getattr(family, method)(x, *[bad] * shapes)  # 1 ** NaN is 1
                assert got.shape == (3,)
                assert np.isnan(got).all(), (family, method, bad)
                got = getattr(family, method)(x, *[np.full(3, bad)] * shapes)
                assert np.isnan(got).all(), (family, method, bad)
    assert_trees_equal(stats.beta.cdf(np.array([0.0, 1.0]), np.inf, np.inf), np.array([0.0, 1.0]))
    assert_trees_equal(stats.lognorm.sf(0.0, np.inf), np.float64(1))
    assert_trees_equal(stats.weibull_min.ppf(np.array([0.0, 0.3, 1.0]), np.inf), np.array([0.0, 1.0, np.inf]))
    assert_trees_equal(stats.gamma.logpdf(np.array([0.5, 7.0]), np.inf), np.array([-np.inf, -np.inf]))
    assert_trees_equal(stats.poisson.ppf(np.array([0.0, 1.0]), np.inf), np.array([-1.0, np.inf]))
    assert_trees_equal(stats.binom.entropy(0, np.array([0.0, 0.3, 1.0])), np.zeros(3))
    assert stats.norm.entropy(np.inf) == stats.norm.entropy()
    assert np.isnan(stats.norm.entropy(np.nan))
    assert stats.poisson.entropy(2.0, np.inf) == stats.poisson.entropy(2.0)


def test_what_is_out_of_range_keeps_the_shape() -> None:
    assert stats.gamma.ppf(1.5, np.array([1.0, 2.0])).shape == (2,)
    assert stats.poisson.pmf(np.array([1, 2]), -1.0).shape == (2,)
    assert stats.binom.entropy(np.array([2, 3]), 0.3, np.nan).shape == (2,)


def test_the_upper_quantile_of_counts_is_right_for_tiny_probabilities() -> None:
    for family, shapes in ((stats.poisson, (4.0,)), (stats.binom, (400, 0.01))):
        for q in (1e-30, 1e-200, 1e-12, 0.3):
            k = family.isf(q, *shapes)
            assert family.logsf(k, *shapes) <= np.log(q) < family.logsf(k - 1, *shapes)
    assert_trees_equal(stats.bernoulli.isf(np.array([0.0, 0.2, 0.3, 1.0]), 0.3), np.array([1.0, 1.0, 0.0, -1.0]))


def test_the_entropy_of_beta_has_right_derivatives_on_both_sides_of_its_series() -> None:
    check_grads(stats.beta.entropy, (np.array([60.0, 3.0, 70.0, 40.0]), np.array([2.0, 80.0, 70.0, 45.0])), order=2)


def test_in_deep_tails_derivatives_are_right() -> None:
    slope = fd.grad(lambda z: stats.norm.logcdf(z))(-40.0)
    assert slope == pytest.approx(40.02496888, rel=1e-9)
    of_x, of_a = fd.grad(lambda x, a: stats.gamma.logcdf(x, a), argnums=(0, 1))(1e-5, 100.0)
    with mp.workdps(40):
        log_cdf = lambda x, a: mp.log(mp.gammainc(a, 0, x, regularized=True))
        exact = [float(mp.diff(log_cdf, (mp.mpf(1e-5), mp.mpf(100)), n)) for n in ((1, 0), (0, 1))]
    assert_trees_close((of_x, of_a), tuple(map(np.float64, exact)), 1e-11)
    far = fd.hessian(lambda v: stats.gamma.logsf(v[0], v[1]))(np.array([1e-4, 150.0]))  # a survival function that is 1
    assert_trees_close(far, np.zeros((2, 2)), 1e-200)


def test_the_quantile_of_a_tiny_probability_is_right_where_the_distribution_function_underflows() -> None:
    for a, b, q in ((150.0, 30.0, 1e-300), (150.0, 30.0, 1e-250), (2.5, 0.5, 1e-300)):
        with mp.workdps(40):
            log_cdf = mp.log(mp.betainc(a, b, 0, mp.mpf(float(stats.beta.ppf(q, a, b))), regularized=True))
            assert abs(log_cdf - mp.log(mp.mpf(q))) < 1e-13 * a + 1e-12


def test_far_tails_of_t_do_not_underflow_before_they_are_small() -> None:
    for x in (np.float32(-2e19), np.float64(-1e200)):
        df = x.dtype.type(0.25)
        slope = fd.grad(lambda x, df=df: stats.t.logcdf(x, df))(x)
        with mp.workdps(30):
            half = mp.mpf(0.125)
            log = half * mp.log(mp.mpf(0.25) / (4 * mp.mpf(float(x)) ** 2)) - mp.log(half) - mp.log(mp.beta(half, half))
        np.testing.assert_allclose(stats.t.logcdf(x, df), float(log), rtol=4 * np.finfo(x.dtype).eps)
        np.testing.assert_allclose(stats.t.cdf(x, df), float(mp.exp(log)), rtol=64 * np.finfo(x.dtype).eps)
        np.testing.assert_allclose(slope * x, -0.25, rtol=4 * np.finfo(x.dtype).eps)


def test_t_is_smooth_at_0() -> None:
    check_grads(lambda z, df: stats.t.cdf(z, df), (np.array([0.0, 1e-9, -1e-9]), np.array([1.0, 3.5, 40.0])), order=2)
    assert stats.t.ppf(0.5, 3.5) == pytest.approx(0, abs=1e-15)


def test_float32_keeps_its_digits_and_float16_its_range() -> None:
    x = np.array([0.3, 1.0, 1.1], np.float32) * np.float32(1e4)
    assert_trees_close(stats.gamma.logpdf(x, np.float32(1e4)), scipy.stats.gamma.logpdf(x.astype(float), 1e4).astype(np.float32), 2e-6)
    assert_trees_close(stats.cauchy.logpdf(np.float32(1e30)), np.float32(scipy.stats.cauchy.logpdf(1e30)), 1e-6)
    assert_trees_close(stats.t.logpdf(np.float32(1e30), 2.0), np.float32(-207.23265), 1e-6)
    half = stats.norm.logsf(np.array([12.0, -3.0], np.float16))
    assert half.dtype == np.float16
    np.testing.assert_allclose(half.astype(float), scipy.stats.norm.logsf([12.0, -3.0]), rtol=1e-3)


def test_entropy_of_probabilities() -> None:
    p, q = np.array([0.2, 0.3, 0.5, 0.0]), np.array([1.0, 2.0, 3.0, 4.0])
    assert_trees_close(stats.entropy(p, q, base=2), np.float64(scipy.stats.entropy(p, q, base=2)), 1e-14)
    assert_trees_close(stats.entropy(np.stack([p, p]), axis=1), scipy.stats.entropy(np.stack([p, p]), axis=1), 1e-14)
    assert stats.entropy(np.float32([1, 1])).dtype == np.float32
    with pytest.raises(RangeError, match="base"):
        stats.entropy(p, base=0)


def test_quantiles_of_counts_compile_batch_and_have_derivative_0() -> None:
    q, mu = np.array([0.0, 0.3, 0.99, 1.0]), np.array([0.5, 4.0, 300.0, 2.0])
    expected = scipy.stats.poisson.ppf(q, mu)
    compiled = fd.compile(stats.poisson.ppf)
    for _ in range(2):
        assert_trees_equal(compiled(q, mu), expected)
    assert_trees_equal(fd.vmap(stats.poisson.ppf)(q, mu), expected)
    assert_trees_equal(fd.grad(lambda mu: fd.numpy.sum(stats.poisson.ppf(q[:3], mu)))(mu[:3]), np.zeros(3))
    assert_trees_equal(stats.binom.ppf(q, 1_000_000, 0.3), scipy.stats.binom.ppf(q, 1_000_000, 0.3))
