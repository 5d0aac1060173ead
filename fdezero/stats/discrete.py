"""The discrete distributions, and the entropy of probabilities that are given one by one."""

import math
from typing import Any

import numpy as np

from .. import numpy as fnp
from ..devices import array_module
from ..errors import RangeError
from ..numpy.arguments import ArrayOrNumber, inexact
from ..numpy.elementwise import cast
from ..numpy.precision import in_single
from ..ops import incomplete
from ..ops.quantiles import binom_quantile, binom_upper_quantile, poisson_quantile, poisson_upper_quantile
from ..special import betainc, betaincc, entr, gammainc, gammaincc, gammaln, rel_entr, xlog1py, xlogy
from .families import LOG_ROOT_TAU, Discrete

__all__ = ["bernoulli", "binom", "entropy", "poisson"]


def _log(p: Any) -> Any:
    with np.errstate(divide="ignore"):
        return fnp.log(p)


def _log1m(p: Any) -> Any:
    with np.errstate(divide="ignore"):
        return fnp.log1p(-p)


def _more(k: Any, n: Any) -> Any:
    """n - k, where it is positive; elsewhere nothing depends on it."""
    return fnp.where(n > k, n - k, 1)


bernoulli = Discrete(
    "bernoulli",
    lambda k, p: xlogy(k, p) + xlog1py(1 - k, -p),
    cdf_of=lambda k, p: 1 - p + 0 * k,
    sf_of=lambda k, p: p + 0 * k,
    log_cdf_of=lambda k, p: _log1m(p) + 0 * k,
    log_sf_of=lambda k, p: _log(p) + 0 * k,
    quantile=lambda q, p: fnp.where(q == 0, -1.0, fnp.where((q <= 1 - p) & (q < 1), 0.0, 1.0)),
    upper_quantile=lambda q, p: fnp.where(q == 1, -1.0, fnp.where((q >= p) & (q > 0), 0.0, 1.0)),
    entropy_of=lambda p: -xlogy(p, p) - xlog1py(1 - p, -p),
    shapes=("p",),
    valid=lambda p: (p >= 0) & (p <= 1),
    last=lambda p: 1,
)
binom = Discrete(
    "binom",
    lambda k, n, p: incomplete.log_beta_density(k + 1, n - k + 1, p) - fnp.log1p(n),
    cdf_of=lambda k, n, p: betaincc(k + 1, _more(k, n), p),
    sf_of=lambda k, n, p: betainc(k + 1, _more(k, n), p),
    log_cdf_of=lambda k, n, p: incomplete.log_betaincc(k + 1, _more(k, n), p),
    log_sf_of=lambda k, n, p: incomplete.log_betainc(k + 1, _more(k, n), p),
    quantile=binom_quantile,
    upper_quantile=binom_upper_quantile,
    entropy_of=lambda n, p: _binom_entropy(n, p),
    shapes=("n", "p"),
    valid=lambda n, p: (n >= 0) & (np.floor(n) == n) & (p >= 0) & (p <= 1),
    last=lambda n, p: n,
)
poisson = Discrete(
    "poisson",
    lambda k, mu: incomplete.log_gamma_density(k + 1, mu),
    cdf_of=lambda k, mu: gammaincc(k + 1, mu),
    sf_of=lambda k, mu: gammainc(k + 1, mu),
    log_cdf_of=lambda k, mu: incomplete.log_gammaincc(k + 1, mu),
    log_sf_of=lambda k, mu: incomplete.log_gammainc(k + 1, mu),
    quantile=poisson_quantile,
    upper_quantile=poisson_upper_quantile,
    entropy_of=lambda mu: _poisson_entropy(mu),
    shapes=("mu",),
    valid=lambda mu: mu >= 0,
    last=lambda mu: math.inf,
)

# log k! is the integral of (k - (1 - (1 - u)^k) / u) e^-t / t over positive t, where u = 1 - e^-t. So its mean over a distribution
# needs only the mean of (1 - u)^k. Source: Whittaker and Watson, 12.3.
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(80)
_TIMES = 46 * (0.5 * (_NODES + 1)) ** 3  # dense near 0
PLACES, WEIGHTS = -np.expm1(-_TIMES), 1.5 * _WEIGHTS / (0.5 * (_NODES + 1)) * np.exp(-_TIMES)
LARGE = 100.0


def _places(x: Any) -> tuple[Any, Any]:
    """The nodes u and their weights, in the dtype and on the device of x."""
    xp = array_module(x)
    return xp.asarray(PLACES.astype(x.dtype)), xp.asarray(WEIGHTS.astype(x.dtype))


def _mean_log_factorial(mean: Any, lost: Any) -> Any:
    """The mean of log k!, from the mean of k and the mean of 1 - (1 - u)^k at the nodes u (..., nodes)."""
    places, weights = _places(mean)
    return fnp.sum((fnp.expand_dims(mean, -1) - lost / places) * weights, -1)


def _poisson_entropy(mu: Any) -> Any:
    far = mu > LARGE
    near, u = fnp.where(far, 1, mu), 1 / fnp.where(far, mu, LARGE)
    series = (
        0.5
        + LOG_ROOT_TAU
        - 0.5 * fnp.log(u)
        - u * (1 / 12 + u * (1 / 24 + u * (19 / 360 + u * (9 / 80 + u * 863 / 2520))))
    )
    lost = -fnp.expm1(-fnp.expand_dims(near, -1) * _places(near)[0])
    return fnp.where(far, series, near - xlogy(near, near) + _mean_log_factorial(near, lost))


def _binom_entropy(n: Any, p: Any) -> Any:
    n, p = n + 0 * p, p + 0 * n
    rest = 1 - p

    def mean_log_factorial(p: Any) -> Any:
        lost = -fnp.expm1(xlog1py(fnp.expand_dims(n, -1), -fnp.expand_dims(p, -1) * _places(p)[0]))
        return _mean_log_factorial(n * p, lost)

    factorials = mean_log_factorial(p) + mean_log_factorial(rest) - gammaln(n + 1)
    return factorials - n * (xlogy(p, p) + xlog1py(rest, -p))


@in_single
def entropy(pk: Any, qk: Any = None, base: Any = None, axis: int | None = 0) -> ArrayOrNumber:
    """The entropy of probabilities pk (..., n), or their divergence from qk, sum(pk log(pk / qk)), over `axis`: (...).

    pk and qk need not sum to 1. The unit is the nat, unless `base` names the base of the logarithm. Raises ValueError for a `base`
    that is not positive.
    """
    if base is not None and base <= 0:
        raise RangeError(f"stats.entropy: base is the base of a logarithm, a positive number; got {base}.")
    pk = inexact(pk)
    p = pk / fnp.sum(pk, axis=axis, keepdims=True)
    if qk is None:
        terms = entr(p)
    else:
        qk = inexact(qk)
        terms = rel_entr(p, qk / fnp.sum(qk, axis=axis, keepdims=True))
    total = fnp.sum(terms, axis=axis)
    if base is None:
        return total
    return total / (math.log(base) if isinstance(base, int | float) else cast(fnp.log(base), total.dtype))
