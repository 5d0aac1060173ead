"""The exponential of matrices: expm, by scaling and squaring of a Padé approximant.

Sources: N. Higham, The scaling and squaring method for the matrix exponential revisited (2005); A. Al-Mohy and N. Higham, A new
scaling and squaring algorithm for the matrix exponential (2009), for the scale; N. Higham, Functions of Matrices (2008), theorem 3.6,
for the derivative.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ...core import Nonlinear, nonlinear
from ...devices import array_module
from ..elementwise import stop_gradient
from ..products import transposed
from .matrices import eye_like, upper_block

PADE = (
    64764752532480000.0, 32382376266240000.0, 7771770303897600.0, 1187353796428800.0, 129060195264000.0, 10559470521600.0,
    670442572800.0, 33522128640.0, 1323241920.0, 40840800.0, 960960.0, 16380.0, 182.0, 1.0,
)  # fmt: skip
PADE_RADIUS = 5.371920351148152  # the 1-norm up to which PADE is exact to double precision
POWER_RADIUS = 4.25  # the same for the roots of norms of powers, which leaves room for rounding
# The first coefficient of the backward error of PADE is 1 over this number; u is the unit roundoff of double precision.
LOG_FIRST_ERROR = math.log2(math.comb(26, 13) * math.factorial(27))
LOG_U = -53
BALANCING_SWEEPS = 12
UNBALANCED = 64  # the ratio of the sums of a row and of its column from which they are balanced


def _norm(a: Any) -> Any:
    return abs(a).sum(axis=-2).max(axis=-1)


def _balancing(a: Any, norm: Any) -> Any:
    """Exponents e (..., n) for which the matrices of a[i, j] * 2 ** (e[j] - e[i]) have smaller norms; None if no matrix needs them.

    The sums of a row and of its column come close to each other. Sums below 1 count as 1: smaller entries matter little to an
    exponential.
    """
    size = balanced = abs(a)
    exponents: Any = 0 * size[..., 0]
    for _ in range(BALANCING_SWEEPS):
        rows, columns = (np.maximum(balanced.sum(axis=axis), 1) for axis in (-1, -2))
        ratio = rows / columns
        active = ((ratio > UNBALANCED) | (ratio < 1 / UNBALANCED)).any(axis=-1, keepdims=True)
        if not active.any():
            break
        exponents = exponents + np.where(active, np.rint(np.log2(ratio) / 2), 0)
        balanced = _scaled(size, exponents)
    if balanced is size:
        return None
    least = balanced.sum(axis=-2).max(axis=-1)
    good = np.isfinite(least) & (least * 2 < norm) & (norm > PADE_RADIUS)
    return np.where(good[..., None], exponents, 0)


def _scaled(a: Any, exponents: Any) -> Any:
    factor = 2.0 ** (exponents[..., None, :] - exponents[..., :, None])
    return a * factor.astype(abs(a[..., :1, :1]).dtype)


def _log_error(a: Any, norm: Any, count: Any) -> Any:
    """log2 of a bound of the backward error by rounding, after `count` squarings: that of |a|, whose entries do not cancel.

    It is the 1-norm of |a| to the power 27, from products with a row of ones. Norms of lower powers are bounds for it, and mostly do.
    """
    size, log_norm = abs(a) / norm[..., None, None], np.log2(norm)
    row, log = np.ones_like(size[..., :1, :]), 0 * log_norm
    for power in range(1, 28):
        row = row @ size
        if power % 3 == 0:  # before it underflows
            top = row.max(axis=-1, keepdims=True)
            log, row = log + np.log2(top[..., 0, 0]), row / np.where(top == 0, 1, top)
        if power in (3, 9, 27):
            error = log * (27 / power) + 26 * (log_norm - count) - LOG_FIRST_ERROR
            if not (error > LOG_U).any():
                break
    return error


def _squarings(a: Any, norm: Any, a2: Any, a4: Any, a6: Any) -> Any:
    """The number of squarings (...) that each matrix needs.

    The 1-norm may exceed by far what the powers of a matrix say about the error: [[0, 1e20], [0, -1]] needs few squarings. Too many
    lose accuracy (overscaling).
    """
    d6, d8, d10 = (np.minimum(_norm(p) ** (1 / k), norm) for p, k in ((a6, 6), (a4 @ a4, 8), (a4 @ a6, 10)))
    d6, d8, d10 = (np.where(np.isnan(d), norm, d) for d in (d6, d8, d10))  # a power that overflows says nothing
    eta = np.minimum(np.maximum(d6, d8), np.maximum(d8, d10))
    count = np.ceil(np.log2(np.maximum(eta / POWER_RADIUS, 1)))
    error = _log_error(a, norm, count)
    count = count + np.maximum(np.ceil((np.where(np.isfinite(error), error, LOG_U) - LOG_U) / 26), 0)
    bound = np.ceil(np.log2(np.maximum(norm / PADE_RADIUS, 1)))
    return np.where(np.isfinite(norm), np.minimum(count, bound), 0)


def _beside_the_diagonal(a: Any, wanted: Any) -> Callable[[Any, Any], Any] | None:
    """A function (y, scale) -> y: where a is triangular and `wanted`, the diagonal and the entries beside it become exact.

    Squaring loses what a large entry on the diagonal makes small: in diag(-1e17, -1), all of exp(-1). None if no
    matrix is triangular. Source: Al-Mohy and Higham 2009, code fragment 2.1.
    """
    columns = array_module(a).arange(a.shape[-1])
    rows = columns[:, None]
    upper = ~((a != 0) & (rows > columns)).any(axis=(-2, -1), keepdims=True)
    lower = ~((a != 0) & (rows < columns)).any(axis=(-2, -1), keepdims=True)
    if not (upper | lower).any():
        return None
    diagonal = a.diagonal(axis1=-2, axis2=-1)
    of_rows, of_columns = diagonal[..., :, None], diagonal[..., None, :]
    first = of_rows.real >= of_columns.real
    high, low = np.where(first, of_rows, of_columns), np.where(first, of_columns, of_rows)
    at = (upper | lower) & wanted[..., None, None] & (abs(rows - columns) <= 1)
    # An infinity times 0 is none there.
    zero = ((upper & (rows > columns)) | (lower & (rows < columns)) | (at & (a == 0))) & wanted[..., None, None] & (rows != columns)

    def exact(y: Any, scale: Any) -> Any:
        scale = scale.astype(abs(y[..., :1, :1]).dtype)[..., None, None]
        with np.errstate(all="ignore"):
            gap = (low - high) * scale  # its real part is not positive, so expm1 does not overflow
            slope = np.where(gap == 0, 1, np.expm1(gap) / np.where(gap == 0, 1, gap))
            value = np.exp(high * scale) * np.where(rows == columns, 1, slope * a * scale)
        return np.where(zero, 0, np.where(at, value, y)).astype(y.dtype)

    return exact


def _expm(a: Any) -> Any:
    if not a.size:
        return a
    norm = _norm(a)
    with np.errstate(all="ignore"):
        exponents: Any = None
        if (norm > PADE_RADIUS).any():
            exponents = _balancing(a, norm)
        if exponents is not None:
            a = _scaled(a, exponents)
            norm = _norm(a)
        x, x2 = a, a @ a
        x4 = x2 @ x2
        x6 = x4 @ x2
        squarings: Any = np.zeros_like(norm)
        if (norm > PADE_RADIUS).any():
            squarings = _squarings(a, norm, x2, x4, x6)
            scale = (0.5**squarings).astype(norm.dtype)[..., None, None]
            x = a * scale
            if np.isfinite(x6).all():  # a power of 2 scales without rounding
                x2, x4, x6 = x2 * scale**2, x4 * scale**4, x6 * scale**6
            else:
                x2 = x @ x
                x4 = x2 @ x2
                x6 = x4 @ x2
    eye = eye_like(a)

    def half(b: int) -> Any:  # the even terms, or the odd terms over x
        high = PADE[12 + b] * x6 + PADE[10 + b] * x4 + PADE[8 + b] * x2
        return x6 @ high + PADE[6 + b] * x6 + PADE[4 + b] * x4 + PADE[2 + b] * x2 + PADE[b] * eye

    odd, even = x @ half(1), half(0)
    y = np.linalg.solve(even - odd, even + odd)
    exact = _beside_the_diagonal(a, squarings > 0) if squarings.any() else None
    for k in range(int(squarings.max())):
        y = np.where((squarings > k)[..., None, None], y @ y, y)
        if exact is not None:
            y = exact(y, 2.0 ** np.minimum(k + 1 - squarings, 0))
    return y if exponents is None else _scaled(y, -exponents)


def size_of_direction(t: Any) -> Any:
    """A number (..., 1, 1) by which t may be divided, because a derivative is linear in its direction: it adds least to a scale."""
    size = abs(stop_gradient(t)).max(axis=(-2, -1), keepdims=True)
    return np.where((size > 0) & np.isfinite(size), size, 1)


def balanced_by(a: Any) -> tuple[Any, Callable[[Any], Any]]:
    """A similar matrix with a smaller norm, and the function that takes results back."""
    exponents = _balancing(a, _norm(a))
    if exponents is None:
        return a, lambda y: y
    return _scaled(a, exponents), lambda y: _scaled(y, -exponents)


def _expm_derivative(t: Any, a: Any) -> Any:
    """The derivative of expm at a in the direction t: the upper right block of the exponential of [[a, t], [0, a]]."""
    n = a.shape[-1]
    if not n:
        return t
    size = size_of_direction(t)
    return expm(upper_block(a, t / size))[..., :n, n:] * size


expm: Nonlinear = nonlinear(
    "expm",
    _expm,
    lambda t, y, a: _expm_derivative(t, a),
    lambda t, y, a: (_expm_derivative(t, transposed(a)),),
    core=2,
)
