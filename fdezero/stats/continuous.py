"""The continuous distributions: their functions for loc = 0 and scale = 1."""

import math
from typing import Any

import numpy as np

from .. import numpy as fnp
from ..ops import incomplete
from ..special import (
    betainc,
    betaincc,
    betainccinv,
    betaincinv,
    digamma,
    expit,
    gammainc,
    gammaincc,
    gammainccinv,
    gammaincinv,
    gammaln,
    log_expit,
    log_ndtr,
    logit,
    ndtr,
    ndtri,
    xlogy,
)
from .families import LOG_ROOT_TAU, Continuous, Rule

__all__ = [
    "beta", "cauchy", "chi2", "expon", "gamma", "laplace", "logistic", "lognorm", "norm", "t", "uniform", "weibull_min"
]  # fmt: skip
LOG2 = math.log(2)


def _log1p_square(z: Any) -> Any:
    """log(1 + z^2), also where the square overflows: twice the logarithm of the root, which is 1 + z^2 / (1 + root)."""
    return 2 * fnp.log1p(z * (z / (1 + fnp.hypot(fnp.ones_like(z), z))))


def _log_1m_exp(x: Any) -> Any:
    """log(1 - exp(-x)) for x >= 0."""
    small = x < LOG2
    with np.errstate(divide="ignore"):
        return fnp.where(
            small, fnp.log(-fnp.expm1(-fnp.where(small, x, 1))), fnp.log1p(-fnp.exp(-fnp.where(small, 1, x)))
        )


def _sides(z: Any, at: float = 0.0) -> tuple[Any, Any, Any]:
    """Whether z is below `at`, z limited to that side, and z limited to the other; no tie shares a derivative."""
    low = z < at
    return low, fnp.where(low, z, at), fnp.where(low, at, z)


norm = Continuous(
    "norm",
    lambda z: -0.5 * z * z - LOG_ROOT_TAU,
    cdf_of=ndtr,
    log_cdf_of=log_ndtr,
    quantile=ndtri,
    entropy_of=lambda: 0.5 + LOG_ROOT_TAU,
)


def _laplace_cdf(z: Any) -> Any:
    low, below, above = _sides(z)
    return fnp.where(low, 0.5 * fnp.exp(below), 1 - 0.5 * fnp.exp(-above))


def _laplace_log_cdf(z: Any) -> Any:
    low, below, above = _sides(z)
    return fnp.where(low, below - LOG2, fnp.log1p(-0.5 * fnp.exp(-above)))


def _laplace_quantile(q: Any) -> Any:
    low, below, above = _sides(q, 0.5)
    with np.errstate(divide="ignore"):
        return fnp.where(low, fnp.log(2 * below), -fnp.log(2 * (1 - above)))


laplace = Continuous(
    "laplace",
    lambda z: -abs(z) - LOG2,
    cdf_of=_laplace_cdf,
    log_cdf_of=_laplace_log_cdf,
    quantile=_laplace_quantile,
    entropy_of=lambda: 1 + LOG2,
)


def _cauchy_cdf(z: Any) -> Any:
    return fnp.arctan2(fnp.ones_like(z), -z) / math.pi


def _cauchy_log_cdf(z: Any) -> Any:
    low, below, above = _sides(z)
    return fnp.where(low, fnp.log(_cauchy_cdf(below)), fnp.log1p(-_cauchy_cdf(-above)))


def _cauchy_quantile(q: Any) -> Any:
    low, high = q < 0.25, q > 0.75
    tail = fnp.where(low, q, fnp.where(high, 1 - q, 0.25))
    middle = fnp.where(low | high, 0.5, q) - 0.5
    with np.errstate(divide="ignore"):
        far = 1 / fnp.tan(math.pi * tail)
    return fnp.where(low, -far, fnp.where(high, far, fnp.tan(math.pi * middle)))


cauchy = Continuous(
    "cauchy",
    lambda z: -_log1p_square(z) - math.log(math.pi),
    cdf_of=_cauchy_cdf,
    log_cdf_of=_cauchy_log_cdf,
    quantile=_cauchy_quantile,
    entropy_of=lambda: math.log(4 * math.pi),
)
logistic = Continuous(
    "logistic",
    lambda z: log_expit(z) + log_expit(-z),
    cdf_of=expit,
    log_cdf_of=log_expit,
    quantile=logit,
    entropy_of=lambda: 2.0,
)


# The distribution function of t is that of the symmetric beta distribution, at a point that is smooth in z:
# its log-odds are 2 arcsinh(z / sqrt(df)).
def _t_point(z: Any, df: Any) -> Any:
    return expit(2 * fnp.arcsinh(z / fnp.sqrt(df)))


def _at_most(bound: float, df: Any) -> Any:
    return df if isinstance(df, np.floating) and df < bound else fnp.minimum(df, bound)


def _t_log_density(z: Any, df: Any) -> Any:
    # Bounds stand for infinity: the limit is the normal density. The constant is exact from 1e17 on.
    n, m = _at_most(1e300 if df.dtype.itemsize == 8 else 1e36, df), _at_most(1e17, df)
    return -(n + 1) / 2 * _log1p_square(z / fnp.sqrt(n)) - (incomplete.log_beta(m / 2, 0.5) + 0.5 * fnp.log(m))


MANY = 1e5  # degrees of freedom from which the point below loses digits, but the series in 1 / df does not


def _or_normal(exact: Rule, normal: Rule) -> Rule:
    """`exact(z, df)`, and `normal(z, 1 / df)` for many degrees of freedom, unless z is far out (an infinite df has no far)."""

    def function(z: Any, df: Any) -> Any:
        many = df > MANY
        n = fnp.where(many, df, MANY)
        near = many & (abs(z) < 0.05 * n**0.4)
        y = exact(fnp.where(near, 0.25, z), fnp.where(near, 1, df))
        return fnp.where(near, normal(fnp.where(near, z, 0.25), 1 / n), y)

    return function


def _normal_point(z: Any, u: Any) -> Any:
    """Where the normal distribution function has the value of that of t at z, with 1 / u degrees of freedom.

    Source: R. A. Fisher, Metron 5 (1926); Johnson, Kotz and Balakrishnan, Continuous Univariate Distributions 2, 28.4.
    """
    s = z * (z * u)  # small: higher powers of z alone could overflow
    third = -15 * u * u * u + s * (u * u + s * (19 * u + 35 * s))
    return z - z * ((u + s) / 4 - (3 * u * u + s * (8 * u + 13 * s)) / 96 + third / 384)


def _student_point(z: Any, u: Any) -> Any:
    """The inverse of `_normal_point`. Source: Abramowitz and Stegun, 26.7.5."""
    w = z * z
    third = -15 + w * (17 + w * (19 + 3 * w))
    fourth = -945 + w * (-1920 + w * (1482 + w * (776 + 79 * w)))
    return z + z * u * ((1 + w) / 4 + u * ((3 + w * (16 + 5 * w)) / 96 + u * (third / 384 + u * fourth / 92160)))


def _t_far(z: Any, df: Any) -> tuple[Any, Any, Any]:
    """Where the point underflows, perhaps in float32; the point elsewhere; and the logarithm of the first term of its series."""
    half, log_odds = df / 2, 2 * fnp.arcsinh(z / fnp.sqrt(df))
    far = log_odds < -80
    first = half * fnp.where(far, log_odds, -80) - fnp.log(half) - incomplete.log_beta(half, half)
    return far, expit(fnp.where(far, -1, log_odds)), first


def _t_cdf(z: Any, df: Any) -> Any:
    low, below, above = _sides(z)
    far, w, first = _t_far(below, df)
    left = fnp.where(far, fnp.exp(first), betainc(df / 2, df / 2, w))
    return fnp.where(low, left, 1 - betainc(df / 2, df / 2, _t_point(-above, df)))


def _t_log_cdf(z: Any, df: Any) -> Any:
    low, below, above = _sides(z)
    far, w, first = _t_far(below, df)
    left = fnp.where(far, first, incomplete.log_betainc(df / 2, df / 2, w))
    return fnp.where(low, left, fnp.log1p(-betainc(df / 2, df / 2, _t_point(-above, df))))


def _t_quantile(q: Any, df: Any) -> Any:
    low, below, above = _sides(q, 0.5)
    many = df > MANY
    few, u = fnp.where(many, 1, df), 1 / fnp.where(many, df, MANY)
    end = (q == 0) | (q == 1)  # inf - inf in the series
    series = fnp.where(end, ndtri(q), _student_point(ndtri(fnp.where(end, 0.5, q)), u))
    exact = fnp.where(low, _t_lower_quantile(below, few), -_t_lower_quantile(1 - above, few))
    return fnp.where(many, series, exact)


def _t_lower_quantile(q: Any, df: Any) -> Any:
    """The quantile for q up to 1/2. Where the point would underflow, the first term of its series gives its logarithm."""
    half = df / 2
    log_w = (_log(q) + fnp.log(half) + incomplete.log_beta(half, half)) / half
    far = log_w < -80
    w = betaincinv(half, half, fnp.where(far, 0.25, q))
    near = (w - 0.5) / fnp.sqrt(w * (1 - w))
    return fnp.sqrt(df) * fnp.where(far, -0.5 * fnp.exp(-0.5 * fnp.where(far, log_w, 0)), near)


def _t_entropy(df: Any) -> Any:
    far = df > 100
    near, u = fnp.where(far, 1, df), 1 / fnp.where(far, df, 100)
    series = 0.5 + LOG_ROOT_TAU + u * (1 + u * (1 / 4 + u * (-1 / 6 + u * (-1 / 8 + u * (3 / 10 + u / 4)))))
    half = (near + 1) / 2
    exact = half * (digamma(half) - digamma(near / 2)) + 0.5 * fnp.log(near) + incomplete.log_beta(near / 2, 0.5)
    return fnp.where(far, series, exact)


t = Continuous(
    "t",
    _t_log_density,
    cdf_of=_or_normal(_t_cdf, lambda z, u: ndtr(_normal_point(z, u))),
    log_cdf_of=_or_normal(_t_log_cdf, lambda z, u: log_ndtr(_normal_point(z, u))),
    quantile=_t_quantile,
    entropy_of=_t_entropy,
    shapes=("df",),
)

# Over positive numbers
uniform = Continuous(
    "uniform",
    lambda z: 0 * z,
    cdf_of=lambda z: z,
    sf_of=lambda z: 1 - z,
    log_cdf_of=lambda z: _log(z),
    log_sf_of=lambda z: fnp.log1p(-z),
    quantile=lambda q: q,
    upper_quantile=lambda q: 1 - q,
    entropy_of=lambda: 0.0,
    low=0,
    high=1,
)


def _log(z: Any) -> Any:
    with np.errstate(divide="ignore"):
        return fnp.log(z)


def _log1m(q: Any) -> Any:
    with np.errstate(divide="ignore"):
        return fnp.log1p(-q)


expon = Continuous(
    "expon",
    lambda z: -z,
    cdf_of=lambda z: -fnp.expm1(-z),
    sf_of=lambda z: fnp.exp(-z),
    log_cdf_of=_log_1m_exp,
    log_sf_of=lambda z: -z,
    quantile=lambda q: -_log1m(q),
    upper_quantile=lambda q: -_log(q),
    entropy_of=lambda: 1.0,
    low=0,
)


def _gamma_entropy(a: Any) -> Any:
    far = a > 250
    near, u = fnp.where(far, 1, a), 1 / fnp.where(far, a, 250)
    series = 0.5 + LOG_ROOT_TAU - 0.5 * fnp.log(u) - u * (1 / 3 + u * (1 / 12 + u * (1 / 90 - u / 120)))
    return fnp.where(far, series, near + gammaln(near) + (1 - near) * digamma(near))


gamma = Continuous(
    "gamma",
    lambda z, a: incomplete.log_gamma_density(a, z),
    cdf_of=lambda z, a: gammainc(a, z),
    sf_of=lambda z, a: gammaincc(a, z),
    log_cdf_of=lambda z, a: incomplete.log_gammainc(a, z),
    log_sf_of=lambda z, a: incomplete.log_gammaincc(a, z),
    quantile=lambda q, a: gammaincinv(a, q),
    upper_quantile=lambda q, a: gammainccinv(a, q),
    entropy_of=_gamma_entropy,
    shapes=("a",),
    low=0,
)


def _rest(u: Any, k: int) -> Any:
    """log gamma(x) - (x - k) digamma(x) without x - (k - 1/2) log(x) and constants, in powers of u = 1 / x: Stirling's series."""
    v = u * u
    of_gamma = 1 / 12 - v * (1 / 360 - v * (1 / 1260 - v / 1680))
    of_digamma = 1 / 12 - v * (1 / 120 - v * (1 / 252 - v / 240))
    return u * (of_gamma + (1 - k * u) * of_digamma - k / 2)


def _beta_entropy(a: Any, b: Any) -> Any:
    less = a < b
    small, great = fnp.where(less, a, b), fnp.where(less, b, a)
    far = great > 50  # then the entropy is that of the gamma distribution, scaled, and a series
    s, g = fnp.where(far, small, 1), fnp.where(far, great, 50)
    series = _gamma_entropy(s) - fnp.log(s + g) - 0.5 * fnp.log1p(s / g) + _rest(1 / g, 1) - _rest(1 / (s + g), 2)
    a, b = fnp.where(far, 1, a), fnp.where(far, 1, b)
    both = digamma(a + b)
    exact = incomplete.log_beta(a, b) - (a - 1) * (digamma(a) - both) - (b - 1) * (digamma(b) - both)
    return fnp.where(far, series, exact)


chi2 = Continuous(
    "chi2",
    lambda z, df: incomplete.log_gamma_density(df / 2, z / 2) - LOG2,
    cdf_of=lambda z, df: gammainc(df / 2, z / 2),
    sf_of=lambda z, df: gammaincc(df / 2, z / 2),
    log_cdf_of=lambda z, df: incomplete.log_gammainc(df / 2, z / 2),
    log_sf_of=lambda z, df: incomplete.log_gammaincc(df / 2, z / 2),
    quantile=lambda q, df: 2 * gammaincinv(df / 2, q),
    upper_quantile=lambda q, df: 2 * gammainccinv(df / 2, q),
    entropy_of=lambda df: _gamma_entropy(df / 2) + LOG2,
    shapes=("df",),
    low=0,
)
beta = Continuous(
    "beta",
    lambda z, a, b: incomplete.log_beta_density(a, b, z),
    cdf_of=lambda z, a, b: betainc(a, b, z),
    sf_of=lambda z, a, b: betaincc(a, b, z),
    log_cdf_of=lambda z, a, b: incomplete.log_betainc(a, b, z),
    log_sf_of=lambda z, a, b: incomplete.log_betaincc(a, b, z),
    quantile=lambda q, a, b: betaincinv(a, b, q),
    upper_quantile=lambda q, a, b: betainccinv(a, b, q),
    entropy_of=_beta_entropy,
    shapes=("a", "b"),
    low=0,
    high=1,
)


def _log_over(z: Any, s: Any) -> Any:
    """log(z) / s, and -inf for z = 0."""
    return _log(z) / s


lognorm = Continuous(
    "lognorm",
    lambda z, s: -0.5 * _log_over(z, s) ** 2 - fnp.log(s) - fnp.log(z) - LOG_ROOT_TAU,
    cdf_of=lambda z, s: ndtr(_log_over(z, s)),
    sf_of=lambda z, s: ndtr(-_log_over(z, s)),
    log_cdf_of=lambda z, s: log_ndtr(_log_over(z, s)),
    log_sf_of=lambda z, s: log_ndtr(-_log_over(z, s)),
    quantile=lambda q, s: fnp.exp(s * ndtri(q)),
    upper_quantile=lambda q, s: fnp.exp(-s * ndtri(q)),
    entropy_of=lambda s: 0.5 + LOG_ROOT_TAU + fnp.log(s),
    shapes=("s",),
    low=0,
    open_below=True,
)


def _root(x: Any, c: Any) -> Any:
    """x ** (1 / c); for an infinite c, 0 and infinity stay: they are the ends of the support."""
    end = np.isinf(c) & ((x == 0) | (x == math.inf))
    return fnp.where(end, x, fnp.where(end, 1, x) ** (1 / c))


weibull_min = Continuous(
    "weibull_min",
    lambda z, c: fnp.log(c) + xlogy(c - 1, z) - z**c,
    cdf_of=lambda z, c: -fnp.expm1(-(z**c)),
    sf_of=lambda z, c: fnp.exp(-(z**c)),
    log_cdf_of=lambda z, c: _log_1m_exp(z**c),
    log_sf_of=lambda z, c: -(z**c),
    quantile=lambda q, c: _root(-_log1m(q), c),
    upper_quantile=lambda q, c: _root(-_log(q), c),
    entropy_of=lambda c: 1 + np.euler_gamma * (1 - 1 / c) - fnp.log(c),
    shapes=("c",),
    low=0,
)
