"""Quantiles of discrete distributions, by bisection: the least integer with cdf >= q, and the least with sf <= q."""

from collections.abc import Callable
from typing import Any

import numpy as np

from ..core import Primitive, discrete
from ..devices import array_module, backend_of
from ..values import is_floating
from .special import function_of


def _least(reached: Callable[[Any], Any], high: Any, last: Any) -> Any:
    """The least integer from 0 to `last` that has `reached`, as all greater ones; `high` is a first guess from above."""
    for _ in range(60):
        short = ~reached(high) & (high < last)
        if not short.any():
            break
        high = np.where(short, np.minimum(2 * high + 1, last), high)
    low = np.full_like(high, -1.0)
    while (high - low > 1).any():  # high has reached, low has not
        middle = np.floor((low + high) / 2)
        enough = reached(middle) | (high - low <= 1)
        low, high = np.where(enough, low, middle), np.where(enough & (high - low > 1), middle, high)
    return high


def _declared(name: str, quantile: Callable[..., Any], trials: bool, upper: bool, doc: str) -> Primitive:
    """An operation of q and the parameters; the probability 0 below is reached at -1, the probability 1 at the last integer."""

    def run(*args: Any) -> Any:
        backend = backend_of(*args)
        xp = array_module(*args)
        dtype = np.result_type(*[x if hasattr(x, "dtype") else float(x) for x in args])
        arrays = np.broadcast_arrays(*[xp.asarray(x, dtype=float) for x in args])
        q, total = arrays[0], sum(arrays)
        known = (q >= 0) & (q <= 1) & (arrays[-1] >= 0) & ~np.isnan(total)
        valid = known & np.isfinite(total)
        with np.errstate(all="ignore"):
            y = quantile(backend, upper, *[np.where(valid, x, 0.5) for x in arrays])
        last = np.floor(arrays[1]) if trials else np.inf
        y = np.where(known & (q == upper), -1.0, np.where(known & (q == 1 - upper), last, np.where(valid, y, np.nan)))
        y = y.astype(dtype if is_floating(dtype) else float)
        return y if y.shape or xp is not np else y[()]

    def write(out: Any, *args: Any) -> None:
        out[...] = run(*args)

    return discrete(name, run, write=write, doc=doc)


def _poisson(backend: Any, upper: bool, q: Any, mu: Any) -> Any:
    below, above = function_of(backend, "gammaincc"), function_of(backend, "gammainc")
    first = np.floor(mu + 8 * np.sqrt(mu) + 8)
    return _least(lambda k: above(k + 1, mu) <= q if upper else below(k + 1, mu) >= q, first, np.inf)


def _binom(backend: Any, upper: bool, q: Any, n: Any, p: Any) -> Any:
    betainc, n = function_of(backend, "betainc"), np.floor(n)
    inside = (p > 0) & (p < 1)
    safe = np.where(inside, p, 0.5)

    def reached(k: Any) -> Any:
        more = np.maximum(n - k, 1)
        inner = betainc(k + 1, more, safe) <= q if upper else betainc(more, k + 1, 1 - safe) >= q
        return (k >= n) | (p == 0) | (inside & inner)

    return _least(reached, n, n)


poisson_quantile, poisson_upper_quantile = (
    _declared(name, _poisson, False, upper, f"The least k at which the Poisson distribution of mean x1 {reaches} x0.")
    for name, upper, reaches in (("poisson_quantile", False, "reaches"), ("poisson_upper_quantile", True, "leaves at most"))
)
binom_quantile, binom_upper_quantile = (
    _declared(
        name, _binom, True, upper, f"The least k at which the binomial distribution of x1 trials with probability x2 {reaches} x0."
    )
    for name, upper, reaches in (("binom_quantile", False, "reaches"), ("binom_upper_quantile", True, "leaves at most"))
)
