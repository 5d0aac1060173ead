"""Derivatives of gamma and beta draws by their shape parameters, through the distribution function: dx/da = -(dF/da) / (dF/dx).

Both are integrals of the density from the draw to one end, relative to the density at the draw. In logarithms of odds (gamma: of
the draw) the integrands do not change sign if one takes the nearer end, so nothing cancels. Partial derivatives of these integrals
are integrals of the same family, so every order follows. `ops/incomplete.py` has these derivatives as functions of x, for gammainc
and betainc. Here they are functions of the logarithm, because a small parameter gives draws that no x holds, and they take a tenth
of the time, because gradients ask for them at every draw.
Source: M. Figurnov, S. Mohamed, A. Mnih, "Implicit reparameterization gradients", NeurIPS 2018. The integrals are our own.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from ..core import Elementwise, elementwise
from ..devices import backend_of
from ..ops.elementwise import sigmoid
from ..ops.special import digamma
from ..values import is_floating

NODES, WEIGHTS = np.polynomial.legendre.leggauss(40)
NODES, WEIGHTS = (NODES + 1) / 2, WEIGHTS / 2  # on [0, 1]
ORDERS = 12  # of derivatives
FAR = 50.0  # integrands are left out beyond exp(-FAR) of their first value


def _first(*args: Any) -> Any:
    return np.positive(np.broadcast_arrays(*args)[0])


def _write(out: Any, *args: Any) -> None:
    out[...] = args[0]


def _float64(*args: Any) -> list[Any]:
    """The arguments as float64 arrays of one shape, on their device."""
    xp = backend_of(*args).module
    return xp.broadcast_arrays(*(xp.asarray(x, np.float64) for x in args))


def _kept(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function in the dtype that NumPy's promotion gives its arguments."""

    def compute(*args: Any) -> Any:
        y, dtype = function(*args), np.result_type(*args)
        return y.astype(dtype) if is_floating(dtype) and dtype != y.dtype else y

    return compute


# --- gamma -----------------------------------------------------------------------------------------------------------


def _gamma_integral(a: Any, y: Any, k: Any, side: Any) -> Any:
    """The integral of w**k exp(s a w - y (exp(s w) - 1)) over w >= 0 for the side s, -1 or 1: all (...) -> (...), float64."""
    a, y, k, side = _float64(a, y, k, side)
    total = np.empty_like(a)
    near = (side < 0) & (y <= 1)
    total[near] = _gamma_series(a[near], y[near], k[near])
    total[~near] = _gamma_quadrature(a[~near], y[~near], k[~near], side[~near])
    return total


def _gamma_series(a: Any, y: Any, k: Any) -> Any:
    """The integral on the lower side for y <= 1: e^y times the sum of (-y)^n / n! k! / (a + n)^(k + 1)."""
    total, term = np.zeros_like(a), np.exp(y)
    for n in range(ORDERS):  # k!
        term = np.where(n < k, term * (n + 1), term)
    for n in range(22):
        total += term * (a + n) ** -(k + 1)
        term = term * (-y / (n + 1))
    return total


def _gamma_quadrature(a: Any, y: Any, k: Any, s: Any) -> Any:
    far = FAR + 4 * k
    below = np.minimum(far / np.maximum(a - y, 1e-300), (far + y) / a)
    below = np.where(y >= 3 * far, np.minimum(below, np.sqrt(3 * far / y)), below)
    above = 2 * far / (y - a + np.hypot(y - a, np.sqrt(2 * far * y)))
    above = np.minimum(above, np.log1p((far + a * above) / y))
    width = np.where(s < 0, below, above)
    total = np.zeros_like(a)
    for node, weight in zip(NODES, WEIGHTS, strict=True):
        w = s * (node * width)
        total += weight * np.abs(w) ** k * np.exp(a * w - y * np.expm1(w))
    return total * width


gamma_integral: Elementwise = elementwise(
    "random_gamma_integral",
    lambda x0, x1, x2, x3: x3 * gamma_integral(x0, x1, x2 + 1.0, x3),
    lambda y, x0, x1, x2, x3: y - gamma_integral(x0 + 1.0, x1, x2, x3),
    None,
    None,
    c="",
    impl=_kept(_gamma_integral),
    write=lambda out, *args: _write(out, _gamma_integral(*args)),
)


def _rate_of_gamma(z: Any, a: Any) -> Any:
    """The derivative of the logarithm z of a gamma draw by its parameter a."""
    y, mean = np.exp(z), digamma(a)
    side = np.where((y <= 1) | (z <= mean), -1.0, 1.0)
    return side * (z - mean) * gamma_integral(a, y, 0.0, side) + gamma_integral(a, y, 1.0, side)


# z, the logarithm of a draw that does not depend on a -> the same number, which does
gamma_by_shape = elementwise(
    "random_gamma_by_shape", None, lambda y, x1: _rate_of_gamma(y, x1), c="", impl=_first, write=_write
)


# --- beta ------------------------------------------------------------------------------------------------------------


def _beta_integral(a: Any, b: Any, odds: Any, m: Any, n: Any, side: Any) -> Any:
    """The integral of A**m B**n exp(a A + b B) over w >= 0, with the changes A of log x and B of log(1 - x): (...) -> (...).

    x moves from its logarithm of odds by w towards the side, -1 or 1.
    """
    a, b, odds, m, n, side = _float64(a, b, odds, m, n, side)
    low = side < 0  # the lower side is the upper one of 1 - x
    a, b, odds, m, n = np.where(low, b, a), np.where(low, a, b), odds * side, np.where(low, n, m), np.where(low, m, n)
    with np.errstate(over="ignore"):
        x, rest = 1 / (1 + np.exp(-odds)), 1 / (1 + np.exp(odds))

    def change(w: Any) -> tuple[Any, Any]:
        short = np.minimum(w, 1.0)
        fall = np.where(w < 1, np.log1p(x * np.expm1(short)), w + np.log(x + rest * np.exp(-w)))
        return w - fall, -fall

    far = FAR + 4 * (m + n)
    with np.errstate(divide="ignore"):
        width = (far - (a + b) * np.log(x)) / b  # an upper bound, which Newton's method on a convex function keeps
    for _ in range(12):
        up, down = change(width)
        slope = a - (a + b) * x / (x + rest * np.exp(-width))
        step = (a * up + b * down + far) / np.minimum(slope, -1e-300)
        width = np.where(slope < 0, np.maximum(width - step, 0), width)
    total, start = np.zeros_like(a), np.zeros_like(a)
    # exp(-w) matters at first, and no more later, where the integrand may fall as slowly as exp(-a w)
    for end in (np.minimum(width, 6.0), np.minimum(width, 40.0), width):
        for node, weight in zip(NODES, WEIGHTS, strict=True):
            up, down = change(start + node * (end - start))
            total += weight * (end - start) * up**m * down**n * np.exp(a * up + b * down)
        start = end
    return total


def _by_odds(y: Any, x0: Any, x1: Any, x2: Any, x3: Any, x4: Any, x5: Any) -> Any:
    """The partial derivative of the beta integral by the logarithm of odds; exp(A) makes of a an a + 1."""

    def more(m: Any, n: Any) -> Any:
        return beta_integral(x0 + 1.0, x1, x2, m, n, x5) - beta_integral(x0, x1, x2, m, n, x5)

    x = sigmoid(x2)
    fewer = x3 * more(np.maximum(x3 - 1.0, 0.0), x4) + x4 * more(x3, np.maximum(x4 - 1.0, 0.0))
    return -x * ((x0 + x1) * (beta_integral(x0 + 1.0, x1, x2, x3, x4, x5) - y) + fewer)


beta_integral: Elementwise = elementwise(
    "random_beta_integral",
    lambda x0, x1, x2, x3, x4, x5: beta_integral(x0, x1, x2, x3 + 1.0, x4, x5),
    lambda x0, x1, x2, x3, x4, x5: beta_integral(x0, x1, x2, x3, x4 + 1.0, x5),
    _by_odds,
    None,
    None,
    None,
    c="",
    impl=_kept(_beta_integral),
    write=lambda out, *args: _write(out, _beta_integral(*args)),
)


def _rate_of_beta(odds: Any, a: Any, b: Any) -> Any:
    """The derivative of the logarithm of odds of a beta draw by its parameter a."""
    above = -np.logaddexp(0.0, -odds) - digamma(a) + digamma(a + b)  # log x, less its mean
    x = sigmoid(odds)
    low = np.where(x * np.maximum(b, 1.0) <= 0.5, True, ((1 - x) * np.maximum(a, 1.0) > 0.5) & (above <= 0))
    side = np.where(low, -1.0, 1.0)
    return side * (above * beta_integral(a, b, odds, 0.0, 0.0, side) + beta_integral(a, b, odds, 1.0, 0.0, side))


# logarithm of odds of a draw that does not depend on a and b -> the same number, which does
beta_by_shape = elementwise(
    "random_beta_by_shape",
    None,
    lambda y, x1, x2: _rate_of_beta(y, x1, x2),
    lambda y, x1, x2: -_rate_of_beta(-y, x2, x1),
    c="",
    impl=_first,
    write=_write,
)
