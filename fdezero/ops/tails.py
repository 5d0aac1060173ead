"""Numbers for the incomplete gamma and beta functions: integrals over one side of a density, and accurate log-densities.

Both densities are exponential families. In the variable s = log t, or log(t / (1 - t)), a derivative by the shapes is the density
times a polynomial in its statistics, log t and log(1 - t). The integral goes outwards from the bound, over the side where the
statistic keeps its sign, so nothing cancels. The tanh-sinh rule (Takahasi and Mori, 1974) computes it on two pieces, which meet at
the knee of the integrand. Results are relative to the integrand at the bound, so tails do not underflow. All is double precision.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..devices import array_module
from .special import xlog1py, xlogy

DROP = 46.0  # the integral ends where the integrand is exp(-46) of its value at the bound
STEP, LAST = 0.075, 3.15

_TIMES = np.arange(-int(LAST / STEP), int(LAST / STEP) + 1) * STEP
PLACES = 1 / (1 + np.exp(-math.pi * np.sinh(_TIMES)))  # in (0, 1)
WEIGHTS = STEP * math.pi * np.cosh(_TIMES) * PLACES * PLACES[::-1]

Cumulant = Callable[[int, int], Any]
Exponent = Callable[[Any], Any]


def derivative_by_shapes(m: int, n: int, cumulant: Cumulant) -> Any:
    """The derivative of order (m, n) of a density by its two shapes, divided by the density.

    `cumulant(i, j)` is the derivative of order (i, j) of the log-density; the result is a complete Bell polynomial of these.
    """
    if not m and not n:
        return 1.0
    if not m:
        return sum(math.comb(n - 1, j) * cumulant(0, j + 1) * derivative_by_shapes(0, n - 1 - j, cumulant) for j in range(n))
    return sum(
        math.comb(m - 1, i) * math.comb(n, j) * cumulant(i + 1, j) * derivative_by_shapes(m - 1 - i, n - j, cumulant)
        for i in range(m)
        for j in range(n + 1)
    )


def polygamma(special: Any, k: int, x: Any) -> Any:
    """The k-th derivative of digamma, for k >= 1."""
    return (-1) ** (k + 1) * math.factorial(k) * special.zeta(k + 1.0, x)


def _nodes(exponent: Exponent, far: Any, knee: Any) -> tuple[Any, Any]:
    """Distances from the bound (..., nodes), and their weights. `exponent` of (..., 1) is concave and starts at 0."""
    low, high = np.zeros_like(far), far
    for _ in range(32):
        middle = 0.5 * (low + high)
        ended = exponent(middle) < -DROP
        low, high = np.where(ended, low, middle), np.where(ended, middle, high)
    first = np.where((knee > 0) & (knee < high), knee, high / 8)
    xp = array_module(far)
    places, weights, second = xp.asarray(PLACES), xp.asarray(WEIGHTS), high - first
    return (
        np.concatenate([first * places, first + second * places], axis=-1),
        np.concatenate([first * weights, second * weights], axis=-1),
    )


def expm1_minus(u: Any) -> Any:
    """exp(u) - 1 - u, by its series near 0."""
    near = abs(u) < 0.5
    v = np.where(near, u, 0)
    series: Any = 1.0
    for k in range(15, 2, -1):
        series = 1 + v / k * series
    return np.where(near, 0.5 * v * v * series, np.expm1(u) - u)


def gamma_side(special: Any, n: int, upper: bool, a: Any, x: Any) -> Any:
    """The integral over one side of x of the n-th derivative of the gamma density by a, over x times the density at x.

    a (k,) and x (k,), positive -> (k,).
    """
    a, x = a[:, None], x[:, None]
    logx, sign = np.log(x), 1.0 if upper else -1.0

    def exponent(u: Any) -> Any:
        return (a - x) * (sign * u) - x * expm1_minus(sign * u)  # a s - exp(s), without its value at the bound

    far = np.log1p((60 + 4 * a) / x) if upper else (DROP + 4 + x) / a
    u, weights = _nodes(exponent, far, np.log(np.maximum(a, 1)) - logx if upper else 0 * x)
    first = logx - special.digamma(a) + sign * u
    factor = derivative_by_shapes(n, 0, lambda i, j: first if i == 1 else -polygamma(special, i - 1, a))
    return (np.exp(exponent(u)) * factor * weights).sum(axis=-1)


def beta_side(special: Any, m: int, n: int, a: Any, b: Any, x: Any, rest: Any) -> Any:
    """The integral below x of the derivative of order (m, n) of the beta density by a and b, over x (1 - x) times the density.

    `rest` is 1 - x; all (k,) -> (k,). For the integral above x, exchange m and n, a and b, x and rest.
    """
    a, b, x, rest = a[:, None], b[:, None], x[:, None], rest[:, None]

    def shrink(u: Any) -> Any:
        """log((1 - x) / (1 - t)) for the t at distance u from x."""
        lost = -x * np.expm1(-u)
        return np.where(lost > 0.5, np.log(rest + x * np.exp(-u)), np.log1p(-np.minimum(lost, 0.5)))

    def exponent(u: Any) -> Any:
        return -a * u - (a + b) * shrink(u)

    far = (DROP + 4 - (a + b) * np.log(rest)) / a
    u, weights = _nodes(exponent, far, np.log(x / rest) - np.log(np.maximum(a, 1) / np.maximum(b, 1)))
    both, moved = special.digamma(a + b), shrink(u)
    of_a = np.log(x) - special.digamma(a) + both - u - moved
    of_b = np.log(rest) - special.digamma(b) + both - moved

    def cumulant(i: int, j: int) -> Any:
        if i + j == 1:
            return of_a if i else of_b
        own = 0 if i and j else polygamma(special, i + j - 1, a if i else b)
        return polygamma(special, i + j - 1, a + b) - own

    return (np.exp(exponent(u)) * derivative_by_shapes(m, n, cumulant) * weights).sum(axis=-1)


# Log-densities. Source: C. Loader, "Fast and accurate computation of binomial probabilities", 2000.
LARGE = 8.0
STIRLING = [1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188, -691 / 360360, 1 / 156, -3617 / 122400]


def _stirling(k: Any) -> Any:
    """log(gamma(k + 1)) - (k + 1/2) log k + k - log(2 pi) / 2, for k from 8 on."""
    u = 1 / (k * k)
    series: Any = 0.0
    for c in reversed(STIRLING):
        series = c + u * series
    return series / k


def _deviance(k: Any, x: Any) -> Any:
    """k log(k / x) + x - k, which is k times (e - log(1 + e)) with e = (x - k) / k."""
    e = (x - k) / k
    near = abs(e) < 0.5
    v = np.where(near, e, 0)
    r = v / (2 + v)
    w = r * r
    series: Any = 0.0
    for i in range(21, 1, -2):
        series = 1 / i + w * series
    return k * np.where(near, v * r - 2 * r * w * series, e - np.log(np.where(near, 1, x / k)))


def log_gamma_density(special: Any, a: Any, x: Any) -> Any:
    """(a - 1) log x - x - log gamma(a), without the cancellation for large a."""
    large = a - 1 >= LARGE
    plain = xlogy(a - 1, x) - x - special.gammaln(a)
    if _sees_none(large):
        return plain
    k = np.where(large, a - 1, LARGE)
    far = -_deviance(k, np.where(large, x, LARGE)) - 0.5 * np.log(2 * math.pi * k) - _stirling(k)
    far = np.where(np.isinf(a) & (x == x), -np.inf, far)
    return np.where(large, far, plain)


def _sees_none(large: Any) -> bool:
    """Whether the formula for large shapes is not needed, as far as one can see without waiting for a device."""
    return array_module(large) is np and not large.any()


def log_beta(special: Any, a: Any, b: Any) -> Any:
    """The logarithm of the beta function, without the cancellation for one large argument."""
    small, great = np.minimum(a, b), np.maximum(a, b)
    large = great - 1 >= LARGE
    g = np.where(large, great, LARGE + 1)
    ratio = small - (g - 0.5) * np.log1p(small / g) - small * np.log(small + g)
    ratio = ratio + _stirling(g) - _stirling(small + g)
    return np.where(large, special.gammaln(small) + ratio, special.betaln(a, b))


def log_beta_density(special: Any, a: Any, b: Any, x: Any) -> Any:
    """(a - 1) log x + (b - 1) log(1 - x) - log beta(a, b), without the cancellation for large shapes."""
    large = np.minimum(a, b) - 1 >= LARGE
    plain = xlogy(a - 1, x) + xlog1py(b - 1, -x) - log_beta(special, a, b)
    if _sees_none(large):
        return plain
    p, q = np.where(large, a - 1, LARGE), np.where(large, b - 1, LARGE)
    n = p + q
    z = np.where(large, x, 0.5)
    far = 0.5 * np.log(n / (2 * math.pi * p * q)) + np.log1p(n) + _stirling(n) - _stirling(p) - _stirling(q)
    far = far - _deviance(p, n * z) - _deviance(q, n * (1 - z))
    return np.where(large, far, plain)
