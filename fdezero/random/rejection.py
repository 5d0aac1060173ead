"""Draws by rejection: gamma, Poisson and binomial numbers, whose entries do not depend on each other.

Entry i of a draw takes block i of Philox; if it is rejected, it takes block i of the next round, until it is accepted. So an
entry is the same in every shape, beside any neighbours and under vmap. Decisions are made in float64: where two devices round
a logarithm differently, an entry that lies on the border may be accepted on one of them alone.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..core import discrete
from ..devices import backend_of
from . import philox
from .source import UINT64, Array

ROUND = 1 << 40  # blocks between rounds
Attempt = Callable[..., tuple[Any, Any]]


def _words(key: Array, start: Any, count: int) -> Array:
    words = backend_of(key).random_words(key, start, count=count, domain=0)
    return philox.words(key, np.asarray(start).astype(UINT64), count=count, domain=0) if words is None else words


def _draw(attempt: Attempt, key: Array, *parameters: Array, shape: tuple[int, ...]) -> Array:
    """Entries that `attempt(uniforms (m, 4), *parameters (m,)) -> (values, accepted)` makes: key (..., 2) -> (..., *shape)."""
    xp, axes, n = backend_of(key).module, len(shape), math.prod(shape)
    loops = np.broadcast_shapes(key.shape[:-1], *(p.shape[: p.ndim - axes] for p in parameters))
    flat = [xp.broadcast_to(p, (*loops, *shape)).reshape(-1).astype(np.float64, copy=False) for p in parameters]
    words = xp.broadcast_to(_words(key, 0, 4 * n).reshape((*key.shape[:-1], n, 4)), (*loops, n, 4)).reshape(-1, 4)
    keys = xp.broadcast_to(key, (*loops, 2)).reshape(-1, 2)
    values, accepted = attempt(_open(words), *flat)
    start = 0
    while len(left := xp.flatnonzero(~accepted)):
        start += ROUND
        words = _words(keys[left // n], (start + left % n).astype(UINT64), 4)
        values[left], accepted[left] = attempt(_open(words), *(p[left] for p in flat))
    return values.reshape((*loops, *shape))


def _open(words: Array) -> Any:
    """Uniform numbers between 0 and 1, never on a bound: odd multiples of 2**-53."""
    return ((words >> 12).astype(np.float64) + 0.5) * 2.0**-52


def _declared(name: str, attempt: Attempt) -> Any:
    def draw(key: Array, *parameters: Array, shape: tuple[int, ...]) -> Array:
        with np.errstate(all="ignore"):  # of parameters without a distribution, which give NaN
            return _draw(attempt, key, *parameters, shape=shape)

    # key (..., 2), parameters (..., *shape) -> (..., *shape), float64
    return discrete(name, draw, core=lambda args, params: (1, *[len(params["shape"])] * (len(args) - 1)))


def _log_gamma_draw(u: Any, a: Any) -> tuple[Any, Any]:
    """The logarithm of a gamma number. Source: G. Marsaglia, W. Tsang, ACM Trans. Math. Softw. 26 (2000) 363."""
    d = np.where(a < 1, a + 1, a) - 1 / 3
    x = np.sqrt(-2 * np.log(u[:, 0])) * np.cos(math.tau * u[:, 1])
    t = x / np.sqrt(9 * d)
    log_v = 3 * np.log1p(t)
    v = np.exp(log_v)
    accepted = np.log(u[:, 2]) < 0.5 * x * x + d * (1 - v + log_v)  # NaN where 1 + t is negative
    z = np.log(d) + log_v + np.where(a < 1, np.log(u[:, 3]) / a, 0.0)
    fits = (a > 0) & (a < math.inf)
    return np.where(fits, z, np.where(a == 0, -math.inf, np.where(a == math.inf, a, math.nan))), accepted | ~fits


random_log_gamma = _declared("random_log_gamma", _log_gamma_draw)


def _stirling(x: Any) -> Any:
    """log gamma(x) less (x - 1/2) log x - x + log(2 pi) / 2, for x >= 11."""
    r = 1 / (x * x)
    return (1 / 12 - r * (1 / 360 - r * (1 / 1260 - r * (1 / 1680 - r / 1188)))) / x


def _log_factorial(k: Any) -> Any:
    """log k! for k >= 0."""
    small = k < 10
    x = np.where(small, k + 11, k + 1)
    large = (x - 0.5) * np.log(x) - x + 0.5 * math.log(math.tau) + _stirling(x)
    product = np.ones_like(x)
    for step in range(1, 11):
        product = product * (k + step)
    return np.where(small, large - np.log(np.where(small, product, 1.0)), large)


def _log_ratio(k: Any, m: Any) -> Any:
    """log(k! / m!). Large factorials do not cancel: the error is small beside k - m, not beside log k!."""
    small = (k < 10) | (m < 10)
    x, y = np.where(small, 11, k + 1), np.where(small, 11, m + 1)
    ratio = (x - 0.5) * np.log1p((x - y) / y) + (x - y) * (np.log(y) - 1) + _stirling(x) - _stirling(y)
    return np.where(small, _log_factorial(np.where(small, k, 0)) - _log_factorial(np.where(small, m, 0)), ratio)


def _inverted(u: Any, first: Any, ratio: Callable[[int], Any], most: int) -> Any:
    """The least k whose distribution function exceeds u, from the probability of 0 and the ratios of k + 1 to k."""
    k, term = np.zeros_like(u), np.where(first > 0, first, 1.0)
    total = term.copy()
    for step in range(most):
        beyond = u >= total
        if not beyond.any():
            break
        k += beyond
        term = term * ratio(step)
        total = total + term
    return k


def _poisson_draw(u: Any, rate: Any) -> tuple[Any, Any]:
    """A Poisson number as float64. Source: W. Hormann, Insur. Math. Econ. 12 (1993) 39, algorithm PTRS; below 10 by inversion."""
    small, fits = rate < 10, (rate >= 0) & (rate < 2.0**53)
    low = np.where(small & fits, rate, 0.0)
    inverted = _inverted(np.where(small & fits, u[:, 2], 0.0), np.exp(-low), lambda k: low / (k + 1), 200)
    if (small | ~fits).all():
        return np.where(fits, inverted, math.nan), np.ones_like(fits)
    high = np.where(small | ~fits, 10.0, rate)
    b = 0.931 + 2.53 * np.sqrt(high)
    a = -0.059 + 0.02483 * b
    v, side = u[:, 1], u[:, 0] - 0.5
    us = 0.5 - np.abs(side)
    k = np.floor((2 * a / us + b) * side + high + 0.43)
    quick = (us >= 0.07) & (v <= 0.9277 - 3.6224 / (b - 2))
    inverse_alpha = 1.1239 + 1.1328 / (b - 3.4)
    at, mode = np.maximum(k, 0), np.floor(high)
    off = (mode - high) / high
    at_mode = -0.5 * np.log(math.tau * mode) - _stirling(mode) - high * ((1 + off) * np.log1p(off) - off)
    weight = (at - mode) * np.log(high) - _log_ratio(at, mode) + at_mode
    border = np.log(v * inverse_alpha / (a / (us * us) + b)) <= weight
    accepted = quick | ((k >= 0) & ~((us < 0.013) & (v > us)) & border)
    return np.where(fits, np.where(small, inverted, k), math.nan), accepted | small | ~fits


random_poisson = _declared("random_poisson", _poisson_draw)


def _binomial_draw(u: Any, n: Any, p: Any) -> tuple[Any, Any]:
    """A binomial number as float64. Source: W. Hormann, J. Stat. Comput. Simul. 46 (1993) 101, algorithm BTRS; by inversion
    where n p < 10.
    """
    fits = (n >= 0) & (n < 2.0**53) & (p >= 0) & (p <= 1)
    n, q = np.where(fits, np.floor(n), 0.0), np.where(fits, np.minimum(p, 1 - p), 0.0)
    small = n * q < 10
    low, few = np.where(small, q, 0.0), np.where(small, n, 0.0)
    odds = low / (1 - low)
    inverted = _inverted(
        np.where(small, u[:, 2], 0.0),
        np.exp(few * np.log1p(-low)),
        lambda k: np.maximum(few - k, 0) * odds / (k + 1),
        200,
    )
    if small.all():
        return np.where(fits, np.where(p > 0.5, n - inverted, inverted), math.nan), np.ones_like(fits)
    q, many = np.where(small, 0.5, q), np.where(small, 40.0, n)
    spread = np.sqrt(many * q * (1 - q))
    b = 1.15 + 2.53 * spread
    a = -0.0873 + 0.0248 * b + 0.01 * q
    center, alpha = many * q + 0.5, (2.83 + 5.1 / b) * spread
    v, side = u[:, 1], u[:, 0] - 0.5
    us = 0.5 - np.abs(side)
    k = np.floor((2 * a / us + b) * side + center)
    mode = np.floor((many + 1) * q)
    inside = (k >= 0) & (k <= many)
    at = np.where(inside, k, mode)
    weight = (at - mode) * np.log(q / (1 - q)) - _log_ratio(at, mode) - _log_ratio(many - at, many - mode)
    border = np.log(v * alpha / (a / (us * us) + b)) <= weight
    accepted = ((us >= 0.07) & (v <= 0.92 - 4.2 / b) & inside) | (inside & border)
    drawn = np.where(small, inverted, k)
    return np.where(fits, np.where(p > 0.5, n - drawn, drawn), math.nan), accepted | small | ~fits


random_binomial = _declared("random_binomial", _binomial_draw)
