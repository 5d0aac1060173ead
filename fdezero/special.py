"""Special functions under SciPy's names and signatures, with derivatives of every order, on the CPU and the GPU.

Results have the dtype of the arguments, including float16. On the CPU, erf, gammaln, zeta, gammainc, i0 and their relatives need
SciPy (extra `scipy`); on the GPU, CuPy is enough. These work without SciPy: expit, logit, log_expit, logsumexp, softmax,
log_softmax, xlogy, xlog1py, entr and rel_entr.
"""

import math
from typing import Any

import numpy as np

from . import numpy as fnp
from .errors import RangeError
from .numpy.arguments import ArrayOrNumber, Axis, as_array, beside, inexact, trailing_axes
from .numpy.elementwise import cast
from .numpy.precision import in_single
from .ops import bessel, incomplete
from .ops import softmax as lines
from .ops import special as operations
from .ops.elementwise import sigmoid, stop_gradient
from .ops.slopes import flat
from .values import is_floating, is_inexact, limits

ROOT2 = math.sqrt(2)


def _single(operation: Any, name: str = "") -> Any:
    """An operation under its name in this module. float16 is computed in float32, and so are derivatives of every order."""
    function: Any = in_single(operation)
    function.__module__, function.__qualname__ = __name__, name or operation.name  # where pickle looks for it
    return function


beta, betaln, digamma, entr = map(_single, (operations.beta, operations.betaln, operations.digamma, operations.entr))
erf, erfc, erfcinv = map(_single, (operations.erf, operations.erfc, operations.erfcinv))
erfcx, erfinv, expit = _single(operations.erfcx), _single(operations.erfinv), _single(sigmoid, "expit")
gamma, gammaln, rgamma = map(_single, (operations.gamma, operations.gammaln, operations.rgamma))
gammainc, gammaincinv = map(_single, (incomplete.gammainc, incomplete.gammaincinv))
gammaincc, gammainccinv = map(_single, (incomplete.gammaincc, incomplete.gammainccinv))
betainc, betaincinv = map(_single, (incomplete.betainc, incomplete.betaincinv))
betaincc, betainccinv = map(_single, (incomplete.betaincc, incomplete.betainccinv))
i0, i0e = _single(bessel.i0, "i0"), _single(bessel.i0e, "i0e")
i1, i1e = _single(bessel.i1, "i1"), _single(bessel.i1e, "i1e")
iv, ive, kv, kve = map(_single, (bessel.iv, bessel.ive, bessel.kv, bessel.kve))
j0, j1, jv = map(_single, (bessel.j0, bessel.j1, bessel.jv))
y0, y1, yn, yv = map(_single, (bessel.y0, bessel.y1, bessel.yn, bessel.yv))
xlog1py, xlogy = map(_single, (operations.xlog1py, operations.xlogy))
hurwitz_zeta = _single(operations.zeta, "hurwitz_zeta")
jn = jv
psi = digamma


@in_single
def zeta(x: Any, q: Any = 1) -> ArrayOrNumber:
    """The Hurwitz zeta function, the sum of (k + q)**-x over k >= 0; Riemann's for q = 1. x (...), q (...) -> (...).

    You can differentiate by q only. Raises DerivativeError for a derivative by x.
    """
    return hurwitz_zeta(x, q)


@in_single
def polygamma(n: Any, x: Any) -> ArrayOrNumber:
    """The `n`-th derivative of digamma; n is an integer or integers (...): x (...) -> (...).

    Source: Abramowitz and Stegun, "Handbook of mathematical functions", 6.4.10.
    """
    if not isinstance(n, int):
        x = as_array(x)
        n = fnp.astype(n, x.dtype if is_floating(x.dtype) else float)
        higher = (-1) ** (n + 1) * fnp.exp(gammaln(n + 1)) * hurwitz_zeta(fnp.maximum(n, 1) + 1, x)
        return fnp.where(n == 0, digamma(x), higher)
    return digamma(x) if n == 0 else (-1) ** (n + 1) * math.gamma(n + 1) * hurwitz_zeta(n + 1, x)


@in_single
def multigammaln(a: Any, d: int) -> ArrayOrNumber:
    """The logarithm of the gamma function of `d` dimensions: a (...) -> (...). NaN unless a > (d - 1) / 2.

    Raises RangeError unless d is a positive integer.
    """
    if not isinstance(d, int | np.integer) or d < 1:
        raise RangeError(f"multigammaln: d is a number of dimensions, an integer of at least 1; got {d!r}.")
    a = inexact(a)
    terms = [gammaln(a - 0.5 * i) for i in range(int(d))]
    return fnp.where(a > 0.5 * (d - 1), sum(terms) + d * (d - 1) / 4 * math.log(math.pi), math.nan)


@in_single
def ndtr(x: Any) -> ArrayOrNumber:
    """The distribution function of the standard normal distribution: x (...) -> (...)."""
    return 0.5 * erfc(-inexact(x) / ROOT2)


@in_single
def ndtri(p: Any) -> ArrayOrNumber:
    """The inverse of `ndtr`, the quantile of the standard normal distribution: p (...) in [0, 1] -> (...)."""
    return -ROOT2 * erfcinv(2 * inexact(p))


@in_single
def log_ndtr(x: Any) -> ArrayOrNumber:
    """log(ndtr(x)) without underflow: x (...) -> (...)."""
    x = inexact(x)
    low = x < -1
    a, b = fnp.where(low, x, -1), fnp.where(low, -1, x)
    with np.errstate(divide="ignore", over="ignore"):
        return fnp.where(low, fnp.log(erfcx(-a / ROOT2) / 2) - a * a / 2, fnp.log1p(-0.5 * erfc(b / ROOT2)))


@in_single
def logit(p: Any) -> ArrayOrNumber:
    """log(p / (1 - p)), the inverse of `expit`: p (...) in [0, 1] -> (...)."""
    p = inexact(p)
    middle = abs(p - 0.5) < 0.2  # where the logarithms would cancel
    centred = fnp.where(middle, p, 0.5) - 0.5
    with np.errstate(divide="ignore"):
        return fnp.where(middle, 2 * fnp.arctanh(2 * centred), fnp.log(p) - fnp.log1p(-p))


@in_single
def log_expit(x: Any) -> ArrayOrNumber:
    """log(expit(x)) without underflow: x (...) -> (...)."""
    return -fnp.logaddexp(-inexact(x), 0.0)


@in_single
def logsumexp(a: Any, axis: Axis = None, b: Any = None, keepdims: bool = False, return_sign: bool = False) -> Any:
    """log(sum(b * exp(a))) over `axis`, without overflow; with `return_sign`, log |sum| and the sign of the sum.

    Without `return_sign`, a negative sum gives NaN.
    """
    a = inexact(a)
    if b is None and not return_sign:
        return fnp.logsumexp(a, axis=axis, keepdims=keepdims)
    b = fnp.ones_like(a) if b is None else beside(b, a)
    dtype = np.result_type(a.dtype, b.dtype) if is_inexact(b.dtype) else a.dtype
    a, b = fnp.broadcast_arrays(cast(a, dtype), cast(b, dtype))
    if not a.size:
        y = fnp.logsumexp(a, axis=axis, keepdims=keepdims)
        return (y, fnp.zeros_like(y)) if return_sign else y
    top = stop_gradient(fnp.max(fnp.where(b == 0, -math.inf, a), axis=axis, keepdims=True))
    top = fnp.where(fnp.isfinite(top), top, 0)
    # An entry with b = 0 may exceed `top`; its exponent is limited so that it does not overflow.
    exponent = fnp.where(b == 0, fnp.minimum(a - top, 0.99 * math.log(limits(a.dtype).max)), a - top)
    total = fnp.sum(b * fnp.exp(exponent), axis=axis, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        y = fnp.log(fnp.absolute(total) if return_sign else total) + top
    if not keepdims:
        y, total = fnp.squeeze(y, axis), fnp.squeeze(total, axis)
    return (y, fnp.sign(total)) if return_sign else y


def below_greatest(x: Any, axis: Axis) -> ArrayOrNumber:
    """x minus its greatest entry over `axis`, which is a constant for derivatives: x (...) -> (...)."""
    return x - fnp.max(stop_gradient(x), axis=axis, keepdims=True)


@in_single
def log_softmax(x: Any, axis: Axis = None) -> ArrayOrNumber:
    """log(exp(x) / sum(exp(x))) over `axis`, without overflow: x (...) -> (...).

    The entries count from the greatest one, so a number that they share changes no digit. If all are -inf, you get NaN.
    """
    x = inexact(x)
    if x.ndim and x.size and is_floating(x.dtype):
        return lines.log_softmax(x, axes=trailing_axes(axis, x.ndim))
    below = below_greatest(x, axis)
    return below - fnp.log(fnp.sum(fnp.exp(below), axis=axis, keepdims=True))


@in_single
def softmax(x: Any, axis: Axis = None) -> ArrayOrNumber:
    """exp(x) / sum(exp(x)) over `axis`, without overflow: x (...) -> (...). If all entries are -inf, you get NaN."""
    x = inexact(x)
    if x.ndim and x.size and is_floating(x.dtype):
        return lines.softmax(x, axes=trailing_axes(axis, x.ndim))
    e = fnp.exp(below_greatest(x, axis))
    return e / fnp.sum(e, axis=axis, keepdims=True)


@in_single
def rel_entr(x: Any, y: Any) -> ArrayOrNumber:
    """x log(x / y); 0 with derivative 0 if x is 0, infinite if x or y is negative: (...), (...) -> (...)."""
    x, y = as_array(x), as_array(y)
    inside = (x > 0) & (y > 0)
    p, q = fnp.where(inside, x, 1), fnp.where(inside, y, 1)
    at_zero = flat(x == 0, x)  # the second derivative is infinite
    logs = fnp.log(p) - fnp.log(q)  # near 0 they cancel, and far from it the quotient may overflow or vanish
    far = abs(logs) > -math.log(limits(logs.dtype).tiny) / 2
    logs = fnp.where(far, logs, fnp.log(fnp.where(far, 1, p) / fnp.where(far, 1, q)))
    value = fnp.where(inside | ((x == 0) & (y >= 0)), fnp.where(inside, p * logs, at_zero), math.inf)
    return fnp.where(fnp.isnan(x) | fnp.isnan(y), math.nan, value)


__all__ = [
    "beta", "betainc", "betaincc", "betainccinv", "betaincinv", "betaln", "digamma", "entr", "erf", "erfc", "erfcinv", "erfcx", "erfinv",
    "expit", "gamma", "gammainc", "gammaincc", "gammainccinv", "gammaincinv", "gammaln", "i0", "i0e", "i1", "i1e", "iv", "ive", "j0",
    "j1", "jn", "jv", "kv", "kve", "log_expit", "log_ndtr", "log_softmax", "logit", "logsumexp", "multigammaln", "ndtr", "ndtri",
    "polygamma", "psi", "rel_entr", "rgamma", "softmax", "xlog1py", "xlogy", "y0", "y1", "yn", "yv", "zeta",
]  # fmt: skip


def __dir__() -> list[str]:
    return __all__
