"""Incomplete gamma and beta functions, their inverses and logarithms, with derivatives of every order in all arguments.

SciPy, or CuPy, computes the functions and their inverses. Derivatives by a shape are integrals of `tails`, one operation for each
family: its derivatives are integrals of the same kind. The logarithms also use these where the function underflows.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from ..core import Elementwise, elementwise
from ..devices import array_module, backend_of
from ..values import is_floating
from . import special as operations
from . import tails
from .special import digamma, module_of, special

CHUNK = 4096  # integrals at a time: each has about two hundred nodes
Numbers = Callable[..., Any]


def numeric(name: str, compute: Numbers, *rules: Any, doc: str, bounded: bool = False, flat: bool = True) -> Elementwise:
    """Declare an operation that `compute(special, *args)` computes in double precision, from arrays of one shape (k,).

    The first arguments, as many as have no rule, are integers. If `bounded`, results stay well below the greatest number: what is
    divided by one is then 0, and so are its derivatives, not inf / inf. Unless `flat`, arrays come in their own shapes.
    """
    fixed = sum(rule is None for rule in rules)

    def run(*args: Any) -> Any:
        backend, given = backend_of(*args), args[fixed:]
        xp = array_module(*given)
        dtype = np.result_type(*[x if hasattr(x, "dtype") else float(x) for x in given])
        arrays = [xp.asarray(x, dtype=float) for x in given]
        if flat:
            wide = np.broadcast_arrays(*arrays)
            arrays = [x.reshape(-1) for x in wide]
        with np.errstate(all="ignore"):
            y = compute(module_of(backend), *map(int, args[:fixed]), *arrays)
            y = y.reshape(wide[0].shape) if flat else xp.asarray(y)
            dtype = dtype if is_floating(dtype) else np.dtype(float)
            y = (np.clip(y, -(great := float(np.finfo(dtype).max) ** 0.8), great) if bounded else y).astype(dtype)
        return y if y.shape or xp is not np else y[()]

    def write(out: Any, *args: Any) -> None:
        out[...] = run(*args)

    return elementwise(name, *rules, c="", impl=run, write=write, doc=doc)


def _in_chunks(compute: Numbers, valid: Any, *arrays: Any) -> Any:
    """compute(*arrays) where `valid`, NaN elsewhere; all (k,)."""
    y = np.full_like(arrays[0], np.nan)
    places = np.nonzero(valid)[0]
    for start in range(0, len(places), CHUNK):
        chosen = places[start : start + CHUNK]
        y[chosen] = compute(*[x[chosen] for x in arrays])
    return y


def _inside(x: Any) -> Any:
    """Whether x is a positive finite number."""
    return (x > 0) & np.isfinite(x)


# Log-densities
log_gamma_density = numeric(
    "log_gamma_density",
    tails.log_gamma_density,
    lambda x0, x1: np.log(x1) - digamma(x0),
    lambda t, x0, x1: t * (_quotient(x0 - 1, x1) - 1),
    flat=False,
    doc="(x0 - 1) * log(x1) - x1 - log(gamma(x0)), the log-density of the gamma distribution.",
)
log_beta_density = numeric(
    "log_beta_density",
    tails.log_beta_density,
    lambda x0, x1, x2: np.log(x2) - digamma(x0) + digamma(x0 + x1),
    lambda x0, x1, x2: np.log1p(-x2) - digamma(x1) + digamma(x0 + x1),
    lambda t, x0, x1, x2: t * (_quotient(x0 - 1, x2) - _quotient(x1 - 1, 1 - x2)),
    flat=False,
    doc="The log-density of the beta distribution with shapes x0 and x1 at x2.",
)
log_beta = numeric(
    "log_beta",
    tails.log_beta,
    lambda x0, x1: digamma(x0) - digamma(x0 + x1),
    lambda x0, x1: digamma(x1) - digamma(x0 + x1),
    flat=False,
    doc="The logarithm of the beta function of positive numbers; one of them may be large.",
)


def _quotient(x: Any, y: Any) -> Any:
    """x / y, and 0 for 0 / 0."""
    none = (x == 0) & (y == 0)
    return np.where(none, 0, x) / np.where(none, 1, y)


def _polygamma(k: int, x: Any) -> Any:
    return tails.polygamma(operations, k, x)


# The gamma family. `gamma_integral(n, upper, a, x)` is the n-th derivative by a of gammainc, or gammaincc, over x times the density.
def _gamma_integral(functions: Any, n: int, upper: int, a: Any, x: Any) -> Any:
    valid = _inside(a) & _inside(x)
    safe_a, safe_x = np.where(valid, a, 1), np.where(valid, x, 1)
    above = np.log(safe_x) >= functions.digamma(safe_a)  # the side on which log t - digamma(a) does not change its sign

    def on(side: bool) -> Any:
        return _in_chunks(lambda a, x: tails.gamma_side(functions, n, side, a, x), valid & (above == side), a, x)

    if n:  # both functions sum to 1, so their derivatives are opposite
        value = np.where(above, -on(True), on(False))
        return -value if upper else value
    scale = np.exp(-tails.log_gamma_density(functions, safe_a, safe_x)) / safe_x
    other = functions.gammaincc(safe_a, safe_x) if upper else functions.gammainc(safe_a, safe_x)
    return np.where(above == bool(upper), on(bool(upper)), np.where(valid, other * scale, np.nan))


def _density_over_x(n: int, a: Any, x: Any) -> Any:
    """The n-th derivative of the gamma density by a, over x times the density."""
    first = np.log(x) - digamma(a)
    return tails.derivative_by_shapes(n, 0, lambda i, j: first if i == 1 else -_polygamma(i - 1, a)) / x


def _gamma_integral_by_x(t: Any, y: Any, x0: Any, x1: Any, x2: Any, x3: Any) -> Any:
    sign = -1 if x1 else 1
    return t * (sign * _density_over_x(x0, x2, x3) - y * (x2 / x3 - 1))


gamma_integral: Elementwise = numeric(
    "gamma_integral",
    _gamma_integral,
    None,
    None,
    lambda t, y, x0, x1, x2, x3: t * (gamma_integral(x0 + 1, x1, x2, x3) - y * (np.log(x3) - digamma(x2))),
    _gamma_integral_by_x,
    bounded=True,
    doc="The derivative of order x0 by the shape x2 of gammainc (or gammaincc, if x1 is 1) at x3, over x3 times the density.",
)


def _gamma_density(a: Any, x: Any) -> Any:
    return np.exp(log_gamma_density(a, x))


def _slope_by_shape(a: Any, x: Any) -> Any:
    """The derivative of gammainc by a."""
    edge = (x == 0) | np.isinf(x)
    z = np.where(edge, 1, x)
    return np.where(edge, 0, z * _gamma_density(a, z) * gamma_integral(1, 0, a, z))


gammainc = special(
    "gammainc",
    lambda x0, x1: _slope_by_shape(x0, x1),
    lambda x0, x1: _gamma_density(x0, x1),
    doc="The regularised lower incomplete gamma function with shape x0, at x1.",
)
gammaincc = special(
    "gammaincc",
    lambda x0, x1: -_slope_by_shape(x0, x1),
    lambda x0, x1: -_gamma_density(x0, x1),
    doc="1 - gammainc(x0, x1), accurate for large x1.",
)
gammaincinv = special(
    "gammaincinv",
    lambda y, x0: -y * gamma_integral(1, 0, x0, y),
    lambda y, x0: 1 / _gamma_density(x0, y),
    doc="The x with gammainc(x0, x) = x1.",
)
gammainccinv = special(
    "gammainccinv",
    lambda y, x0: -y * gamma_integral(1, 0, x0, y),
    lambda y, x0: -1 / _gamma_density(x0, y),
    doc="The x with gammaincc(x0, x) = x1.",
)
TINY = 1e-290  # below this, a logarithm comes from an integral


def _logarithm(functions: Any, value: Any, rest: Any, log_scale: Any, integral: Numbers) -> Any:
    """log(value), by log(1 - rest) for a value near 1, and by log_scale + log(integral) where it underflows."""
    lost = (value < TINY) & (log_scale > -np.inf)
    y = np.where(value < 0.5, np.log(value), np.log1p(-rest))
    if not lost.any():
        return y
    return np.where(lost, log_scale + np.log(integral(lost)), y)


def _log_gammainc(functions: Any, upper: bool, a: Any, x: Any) -> Any:
    value, rest = functions.gammainc(a, x), functions.gammaincc(a, x)
    value, rest = (rest, value) if upper else (value, rest)
    return _logarithm(
        functions,
        value,
        rest,
        tails.log_gamma_density(functions, a, x) + np.log(x),
        lambda lost: _in_chunks(lambda a, x: tails.gamma_side(functions, 0, upper, a, x), lost & _inside(a) & _inside(x), a, x),
    )


def _log_slopes(upper: int) -> tuple[Any, Any]:
    sign = -1 if upper else 1
    return (
        lambda t, x0, x1: t * (gamma_integral(1, upper, x0, x1) / gamma_integral(0, upper, x0, x1)),
        lambda t, x0, x1: t * sign / (x1 * gamma_integral(0, upper, x0, x1)),
    )


log_gammainc = numeric(
    "log_gammainc",
    lambda functions, a, x: _log_gammainc(functions, False, a, x),
    *_log_slopes(0),
    doc="log(gammainc(x0, x1)), without underflow.",
)
log_gammaincc = numeric(
    "log_gammaincc",
    lambda functions, a, x: _log_gammainc(functions, True, a, x),
    *_log_slopes(1),
    doc="log(gammaincc(x0, x1)), without underflow.",
)


# The beta family. `beta_integral(m, n, upper, a, b, x)` is the derivative of order (m, n) by a and b of betainc, or betaincc, over
# x (1 - x) times the density.
def _beta_complement(functions: Any, a: Any, b: Any, x: Any) -> Any:
    """1 - betainc, all (k,); 1 - x loses digits of a small x, but SciPy's betaincc takes 20 times as long, and CuPy has none."""
    y, small = functions.betainc(b, a, 1 - x), x < 0.1
    if hasattr(functions, "betaincc") and small.any():
        y[small] = functions.betaincc(a[small], b[small], x[small])
    return y


def _beta_integral(functions: Any, m: int, n: int, upper: int, a: Any, b: Any, x: Any) -> Any:
    valid = _inside(a) & _inside(b) & (x > 0) & (x < 1)
    a, b, x = (np.where(valid, v, 0.5) for v in (a, b, x))
    both = functions.digamma(a + b)
    above = (np.log(x) >= functions.digamma(a) - both) if m or not n else (np.log1p(-x) <= functions.digamma(b) - both)

    def on(side: bool) -> Any:
        def integral(a: Any, b: Any, x: Any) -> Any:
            if side:
                return tails.beta_side(functions, n, m, b, a, 1 - x, x)
            return tails.beta_side(functions, m, n, a, b, x, 1 - x)

        return _in_chunks(integral, valid & (above == side), a, b, x)

    if m or n:
        value = np.where(above, -on(True), on(False))
        return -value if upper else value
    scale = np.exp(-tails.log_beta_density(functions, a, b, x)) / (x * (1 - x))
    other = _beta_complement(functions, a, b, x) if upper else functions.betainc(a, b, x)
    return np.where(above == bool(upper), on(bool(upper)), np.where(valid, other * scale, np.nan))


def _statistics(a: Any, b: Any, x: Any) -> tuple[Any, Any]:
    """The derivatives of the beta log-density by a and b."""
    both = digamma(a + b)
    return np.log(x) - digamma(a) + both, np.log1p(-x) - digamma(b) + both


def _beta_density_over_kernel(m: int, n: int, a: Any, b: Any, x: Any) -> Any:
    """The derivative of order (m, n) of the beta density by a and b, over x (1 - x) times the density."""
    of_a, of_b = _statistics(a, b, x)

    def cumulant(i: int, j: int) -> Any:
        if i + j == 1:
            return of_a if i else of_b
        own = 0 if i and j else _polygamma(i + j - 1, a if i else b)
        return _polygamma(i + j - 1, a + b) - own

    return tails.derivative_by_shapes(m, n, cumulant) / (x * (1 - x))


def _beta_integral_by_x(t: Any, y: Any, x0: Any, x1: Any, x2: Any, x3: Any, x4: Any, x5: Any) -> Any:
    sign = -1 if x2 else 1
    return t * (sign * _beta_density_over_kernel(x0, x1, x3, x4, x5) - y * (x3 / x5 - x4 / (1 - x5)))


beta_integral: Elementwise = numeric(
    "beta_integral",
    _beta_integral,
    None,
    None,
    None,
    lambda t, y, x0, x1, x2, x3, x4, x5: t * (beta_integral(x0 + 1, x1, x2, x3, x4, x5) - y * _statistics(x3, x4, x5)[0]),
    lambda t, y, x0, x1, x2, x3, x4, x5: t * (beta_integral(x0, x1 + 1, x2, x3, x4, x5) - y * _statistics(x3, x4, x5)[1]),
    _beta_integral_by_x,
    bounded=True,
    doc="The derivative of order (x0, x1) by the shapes x3, x4 of betainc (betaincc, if x2 is 1) at x5, over x5 (1 - x5) times density.",
)


def _beta_density(a: Any, b: Any, x: Any) -> Any:
    return np.exp(log_beta_density(a, b, x))


def _beta_slope(m: int, n: int, a: Any, b: Any, x: Any) -> Any:
    edge = (x == 0) | (x == 1)
    z = np.where(edge, 0.5, x)
    return np.where(edge, 0, z * (1 - z) * _beta_density(a, b, z) * beta_integral(m, n, 0, a, b, z))


def _inverse_slope(m: int, n: int, a: Any, b: Any, y: Any) -> Any:
    return -y * (1 - y) * beta_integral(m, n, 0, a, b, y)


betainc = special(
    "betainc",
    lambda x0, x1, x2: _beta_slope(1, 0, x0, x1, x2),
    lambda x0, x1, x2: _beta_slope(0, 1, x0, x1, x2),
    lambda x0, x1, x2: _beta_density(x0, x1, x2),
    doc="The regularised incomplete beta function with shapes x0 and x1, at x2.",
)
betaincc = special(
    "betaincc",
    lambda x0, x1, x2: -_beta_slope(1, 0, x0, x1, x2),
    lambda x0, x1, x2: -_beta_slope(0, 1, x0, x1, x2),
    lambda x0, x1, x2: -_beta_density(x0, x1, x2),
    doc="1 - betainc(x0, x1, x2), accurate for x2 near 1.",
)
def _tiny_beta_quantile(functions: Any, a: Any, b: Any, y: Any, p: Any) -> Any:
    """The quantile of a tiny p near `y`, by Newton's method for the logarithms: betainc itself may underflow there."""
    for _ in range(4):
        side = tails.beta_side(functions, 0, 0, a, b, y, 1 - y)
        log_cdf = tails.log_beta_density(functions, a, b, y) + np.log(y) + np.log1p(-y) + np.log(side)
        y = y * np.exp(-(log_cdf - np.log(p)) * (1 - y) * side)
    return y


def _beta_quantile(name: str, upper: bool, doc: str) -> Elementwise:
    """The inverse of betainc or betaincc: SciPy's, with one step of Newton's method, because it stops some digits short."""
    sign = -1 if upper else 1

    def compute(functions: Any, a: Any, b: Any, p: Any) -> Any:
        if not upper:
            y, direct = functions.betaincinv(a, b, p), functions.betainc
        elif hasattr(functions, "betainccinv"):
            y, direct = functions.betainccinv(a, b, p), functions.betaincc
        else:  # CuPy
            y, direct = 1 - functions.betaincinv(b, a, p), lambda a, b, x: functions.betainc(b, a, 1 - x)
        step = sign * (direct(a, b, y) - p) * np.exp(-tails.log_beta_density(functions, a, b, y))
        y = np.where(abs(step) < 1e-6 * np.minimum(y, 1 - y), y - step, y)
        lost = (p > 0) & (p < 1e-200) & (y > 0) & (y < 1)
        if upper or not lost.any():
            return y
        return np.where(lost, _in_chunks(lambda a, b, y, p: _tiny_beta_quantile(functions, a, b, y, p), lost, a, b, y, p), y)

    return numeric(
        name,
        compute,
        lambda y, x0, x1: _inverse_slope(1, 0, x0, x1, y),
        lambda y, x0, x1: _inverse_slope(0, 1, x0, x1, y),
        lambda y, x0, x1: sign / _beta_density(x0, x1, y),
        doc=doc,
    )


betaincinv = _beta_quantile("betaincinv", False, "The x with betainc(x0, x1, x) = x2.")
betainccinv = _beta_quantile("betainccinv", True, "The x with betaincc(x0, x1, x) = x2.")


def _log_betainc(functions: Any, upper: bool, a: Any, b: Any, x: Any) -> Any:
    value, rest = functions.betainc(a, b, x), _beta_complement(functions, a, b, x)
    value, rest = (rest, value) if upper else (value, rest)
    valid = _inside(a) & _inside(b) & (x > 0) & (x < 1)

    def integral(lost: Any) -> Any:
        if upper:
            return _in_chunks(lambda a, b, x: tails.beta_side(functions, 0, 0, b, a, 1 - x, x), lost & valid, a, b, x)
        return _in_chunks(lambda a, b, x: tails.beta_side(functions, 0, 0, a, b, x, 1 - x), lost & valid, a, b, x)

    log_scale = tails.log_beta_density(functions, a, b, x) + np.log(x) + np.log1p(-x)
    return _logarithm(functions, value, rest, log_scale, integral)


def _log_beta_slopes(upper: int) -> tuple[Any, ...]:
    sign = -1 if upper else 1
    return (
        lambda t, x0, x1, x2: t * (beta_integral(1, 0, upper, x0, x1, x2) / beta_integral(0, 0, upper, x0, x1, x2)),
        lambda t, x0, x1, x2: t * (beta_integral(0, 1, upper, x0, x1, x2) / beta_integral(0, 0, upper, x0, x1, x2)),
        lambda t, x0, x1, x2: t * sign / (x2 * (1 - x2) * beta_integral(0, 0, upper, x0, x1, x2)),
    )


log_betainc = numeric(
    "log_betainc",
    lambda functions, a, b, x: _log_betainc(functions, False, a, b, x),
    *_log_beta_slopes(0),
    doc="log(betainc(x0, x1, x2)), without underflow.",
)
log_betaincc = numeric(
    "log_betaincc",
    lambda functions, a, b, x: _log_betainc(functions, True, a, b, x),
    *_log_beta_slopes(1),
    doc="log(betaincc(x0, x1, x2)), without underflow.",
)
