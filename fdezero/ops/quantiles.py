"""Quantiles of discrete distributions: the least integer at which the distribution function reaches q, by bisection."""

from collections.abc import Callable
from typing import Any

import numpy as np

from ..core import Primitive, discrete
from ..devices import array_module, backend_of
from .special import function_of


def _least(cdf: Callable[[Any], Any], q: Any, high: Any, last: Any) -> Any:
    """The least integer from 0 to `last` with cdf(k) >= q; -1 for q = 0, `last` for q = 1. `high` is a first guess from above."""
    for _ in range(60):
        short = (cdf(high) < q) & (high < last)
        if not short.any():
            break
        high = np.where(short, np.minimum(2 * high + 1, last), high)
    low = np.full_like(high, -1.0)
    while (high - low > 1).any():  # cdf(low) < q <= cdf(high)
        middle = np.floor((low + high) / 2)
        reached = (cdf(middle) >= q) | (high - low <= 1)
        low, high = np.where(reached, low, middle), np.where(reached & (high - low > 1), middle, high)
    return np.where(q == 0, -1.0, np.where(q == 1, last, high))


def _declared(name: str, quantile: Callable[..., Any], doc: str) -> Primitive:
    def run(*args: Any) -> Any:
        backend = backend_of(*args)
        xp = array_module(*args)
        dtype = np.result_type(*[x if hasattr(x, "dtype") else float(x) for x in args])
        arrays = np.broadcast_arrays(*[xp.asarray(x, dtype=float) for x in args])
        valid = np.isfinite(sum(arrays)) & (arrays[0] >= 0) & (arrays[0] <= 1) & (arrays[-1] >= 0)
        with np.errstate(all="ignore"):
            y = quantile(backend, *[np.where(valid, x, 0.5) for x in arrays])
        y = np.where(valid, y, np.nan).astype(dtype if dtype.kind == "f" else float)
        return y if y.shape or xp is not np else y[()]

    def write(out: Any, *args: Any) -> None:
        out[...] = run(*args)

    return discrete(name, run, write=write, doc=doc)


def _poisson(backend: Any, q: Any, mu: Any) -> Any:
    gammaincc = function_of(backend, "gammaincc")
    return _least(lambda k: gammaincc(k + 1, mu), q, np.floor(mu + 8 * np.sqrt(mu) + 8), np.inf)


def _binom(backend: Any, q: Any, n: Any, p: Any) -> Any:
    betainc, n = function_of(backend, "betainc"), np.floor(n)
    inside = (p > 0) & (p < 1)

    def cdf(k: Any) -> Any:
        y = betainc(np.maximum(n - k, 1), k + 1, np.where(inside, 1 - p, 0.5))
        return np.where((k >= n) | (p == 0), 1.0, np.where(p >= 1, 0.0, y))

    return _least(cdf, q, n, n)


poisson_quantile = _declared("poisson_quantile", _poisson, "The least k at which the Poisson distribution of mean x1 reaches x0.")
binom_quantile = _declared(
    "binom_quantile", _binom, "The least k at which the binomial distribution of x1 trials with probability x2 reaches x0."
)
