"""Polynomials, as coefficients with the highest power first, convolution and correlation, under NumPy's names."""

from typing import Any

import numpy as np

from ..devices import array_module
from ..errors import RangeError, ShapeError
from ..messages import describe
from ..ops import convolution, elementwise
from ..ops.checks import checked
from ..values import limits
from . import linalg
from .arguments import Array, ArrayOrNumber, as_array, beside, inexact
from .creation import zeros_like
from .elementwise import cast, conjugate, real
from .indexing import getitem
from .padding import pad
from .products import matmul, outer
from .reductions import squared_size
from .reductions import sum as sum_of
from .shape import atleast_1d, concatenate, expand_dims, flip, matrix_transpose, promoted, slice_axis

__all__ = [
    "convolve", "correlate", "poly", "polyadd", "polyder", "polydiv", "polyfit", "polyint", "polymul", "polysub",
    "polyval", "roots", "vander",
]  # fmt: skip


def convolve(a: Any, v: Any, mode: str = "full") -> Array:
    """The convolution of a (n,) and v (m,), n >= m: (n + m - 1,).

    The mode "same" keeps n entries, "valid" n - m + 1.
    """
    a, v = _lines("convolve", a, v, mode)
    if a.shape[0] < v.shape[0]:
        a, v = v, a
    return _correlate(a, flip(v), mode)


def correlate(a: Any, v: Any, mode: str = "valid") -> Array:
    """The sums over i of a[i + k] * conj(v[i]), for a (n,) and v (m,), in NumPy's order; modes as for `convolve`."""
    a, v = _lines("correlate", a, v, mode)
    v = conjugate(v) if v.dtype.kind == "c" else v
    if a.shape[0] >= v.shape[0]:
        return _correlate(a, v, mode)
    return flip(_correlate(v, a, mode))


def _lines(name: str, a: Any, v: Any, mode: str) -> list[Array]:
    a, v = promoted([atleast_1d(a), atleast_1d(v)])
    if a.ndim != 1 or v.ndim != 1 or not a.size or not v.size:
        raise ShapeError(
            f"{name} expects two arrays with one axis and at least one entry, got {describe(a)} and {describe(v)}."
        )
    if mode not in ("full", "same", "valid"):
        raise ValueError(f"{name}: mode must be 'full', 'same' or 'valid', got {mode!r}.")
    return [a, v]


def _correlate(a: Array, v: Array, mode: str) -> Array:
    m = v.shape[0]
    around = {"full": (m - 1, m - 1), "same": (m // 2, m - 1 - m // 2), "valid": (0, 0)}[mode]
    return convolution.correlate(a, v, around=(around,))


def polyval(p: Any, x: Any) -> ArrayOrNumber:
    """Evaluate the polynomial with coefficients `p` (n,) at `x` by Horner's rule: x (...) -> (...)."""
    p, x = beside(p, x), beside(x, p)
    y = zeros_like(x, np.result_type(p.dtype, x.dtype) if p.shape[0] else x.dtype)
    for i in range(p.shape[0]):
        y = elementwise.add(elementwise.multiply(y, x), getitem(p, i))
    return y


def _aligned(a1: Any, a2: Any) -> tuple[Array, Array]:
    """Both polynomials with as many coefficients as the longer one has."""
    a1, a2 = atleast_1d(a1), atleast_1d(a2)
    n = max(a1.shape[0], a2.shape[0])
    return pad(a1, (n - a1.shape[0], 0)), pad(a2, (n - a2.shape[0], 0))


def polyadd(a1: Any, a2: Any) -> Array:
    """The sum of two polynomials: a1 (n,), a2 (m,) -> (max(n, m),)."""
    return elementwise.add(*_aligned(a1, a2))


def polysub(a1: Any, a2: Any) -> Array:
    """The difference of two polynomials: a1 (n,), a2 (m,) -> (max(n, m),)."""
    return elementwise.subtract(*_aligned(a1, a2))


def polymul(a1: Any, a2: Any) -> Array:
    """The product of two polynomials: a1 (n,), a2 (m,) -> (n + m - 1,). Leading zeros stay."""
    a1, a2 = (x if x.size else zeros_like(x, shape=(1,)) for x in map(atleast_1d, (a1, a2)))
    return convolve(a1, a2)


def polydiv(u: Any, v: Any) -> tuple[Array, Array]:
    """(quotient, remainder) of two polynomials: u (n,), v (m,), n >= m -> (n - m + 1,), (m - 1,).

    Each has at least one coefficient. Shapes cannot depend on values: leading zeros of the remainder stay, and a
    leading zero of `v` divides by zero.
    """
    u, v = promoted([inexact(atleast_1d(u)), inexact(atleast_1d(v))])
    if u.ndim != 1 or v.ndim != 1 or not u.size or not v.size:
        raise ShapeError(
            f"polydiv expects arrays with one axis and at least one coefficient, got {describe(u)} and {describe(v)}."
        )
    steps, degree = u.shape[0] - v.shape[0] + 1, v.shape[0] - 1
    zero = zeros_like(u, shape=(1,))
    quotient = []
    for _ in range(steps):
        quotient.append(elementwise.divide(slice_axis(u, 0, 0, 1), getitem(v, 0)))
        u = slice_axis(u, 0, 1, None)
        product = elementwise.multiply(quotient[-1], slice_axis(v, 0, 1, None))
        head = elementwise.subtract(slice_axis(u, 0, 0, degree), product)
        u = concatenate([head, slice_axis(u, 0, degree, None)])
    rest = u if quotient else elementwise.positive(u)  # not an argument itself
    return concatenate(quotient) if quotient else zero, rest if u.shape[0] else zero


def polyfit(
    x: Any, y: Any, deg: int, rcond: float | None = None, full: bool = False, w: Any = None, cov: bool | str = False
) -> Any:
    """Fit a polynomial of degree `deg` to y (n,) or (n, k) at x (n,), by least squares: (deg + 1,) or (deg + 1, k).

    `w` (n,) weights the distances, not their squares. Singular values below `rcond` (default n * eps) times the
    greatest count as 0. With `full` you get (p, residuals, rank, singular values, rcond), as from `linalg.lstsq`. With
    `cov` you get (p, covariances of p), scaled by the residuals unless `cov` is "unscaled".
    """
    x, y = inexact(x), inexact(y)
    if x.ndim != 1 or not x.size or y.ndim not in (1, 2) or y.shape[0] != x.shape[0]:
        raise ShapeError(
            f"polyfit expects x (n,) and y (n,) or (n, k), with n > 0, got {describe(x)} and {describe(y)}."
        )
    if deg < 0:
        raise RangeError(f"polyfit: the degree must be 0 or more, got {deg}.")
    powers = vander(x, deg + 1)
    if w is not None:
        w = beside(w, x)
        if w.shape != x.shape:
            raise ShapeError(f"polyfit expects weights w of the shape of x, {describe(x)}, got {describe(w)}.")
        powers = elementwise.multiply(powers, expand_dims(w, 1))
        y = elementwise.multiply(y, w if y.ndim == 1 else expand_dims(w, 1))
    size = elementwise.sqrt(sum_of(squared_size(powers), axis=0))
    rcond = x.shape[0] * float(limits(x.dtype).eps) if rcond is None else rcond
    powers = elementwise.divide(powers, size)
    found, residuals, rank, s = linalg.lstsq(powers, y, rcond)
    p = elementwise.divide(found, size if y.ndim == 1 else expand_dims(size, 1))
    if full:
        return p, residuals, rank, s, rcond
    if not cov:
        return p
    spread = elementwise.divide(linalg.inv(matmul(matrix_transpose(powers), powers)), outer(size, size))
    if cov != "unscaled":
        if x.shape[0] <= deg + 1:
            raise RangeError(
                f"polyfit: cov=True needs more than {deg + 1} points, got {x.shape[0]}. Use cov='unscaled'."
            )
        share = elementwise.divide(residuals, x.shape[0] - deg - 1)
        return p, elementwise.multiply(spread if y.ndim == 1 else expand_dims(spread, 2), share)
    return p, spread if y.ndim == 1 else expand_dims(spread, 2)


def roots(p: Any) -> Array:
    """The roots of a polynomial, always complex: p (n + 1,) -> (n,). A multiple root has no derivative.

    Computed as the eigenvalues of the companion matrix. Raises RangeError if the leading coefficient is 0.
    """
    p = inexact(p)
    if p.ndim != 1:
        raise ShapeError(f"roots expects coefficients along one axis, got {describe(p)}.")
    if p.size:
        complaint = f"roots: the first coefficient of {describe(p)} is 0. Leave it out: the degree is lower."
        checked(getitem(p, 0), test=lambda first: first != 0, error=lambda _: RangeError(complaint))
    n = p.shape[0] - 1
    if n < 1:
        return zeros_like(p, np.result_type(p.dtype, np.complex64), shape=(0,))
    first = elementwise.divide(elementwise.negative(slice_axis(p, 0, 1, None)), getitem(p, 0))
    below = array_module(p).eye(n, dtype=p.dtype)[: n - 1]
    return linalg.eigvals(concatenate([expand_dims(first, 0), below]))


def polyder(p: Any, m: int = 1) -> Array:
    """The coefficients of the m-th derivative: p (n,) -> (n - m,)."""
    p = as_array(p)
    if m < 0:
        raise RangeError(f"polyder: m must be 0 or more, got {m}. polyint gives antiderivatives.")
    for _ in range(m):
        n = p.shape[0]
        p = elementwise.multiply(slice_axis(p, 0, 0, max(n - 1, 0)), array_module(p).arange(n - 1, 0, -1))
    return p


def polyint(p: Any, m: int = 1, k: Any = None) -> Array:
    """The coefficients of the m-th antiderivative, with integration constants `k`: p (n,) -> (n + m,)."""
    p = as_array(p)
    if m < 0:
        raise RangeError(f"polyint: m must be 0 or more, got {m}. polyder differentiates.")
    constants = atleast_1d(beside([0.0] * m if k is None else k, p))
    for i in range(m):
        n = p.shape[0]
        constant = getitem(constants, i if constants.shape[0] > 1 else 0)
        p = concatenate([elementwise.divide(p, array_module(p).arange(n, 0, -1)), expand_dims(constant, 0)])
    return p


def poly(seq_of_zeros: Any) -> Array:
    """The coefficients of the polynomial with the roots `seq_of_zeros` and leading coefficient 1: (n,) -> (n + 1,).

    Of a square matrix you get the characteristic polynomial: (n, n) -> (n + 1,).
    """
    roots = inexact(seq_of_zeros)
    roots = cast(roots, np.float64) if roots.dtype == np.float16 else roots
    if roots.ndim == 2 and roots.shape[0] == roots.shape[1]:
        p = poly(linalg.eigvals(roots))
        return p if roots.dtype.kind == "c" else real(p)
    if roots.ndim != 1:
        raise ShapeError(f"poly expects roots along one axis, or a square matrix, got {describe(roots)}.")
    one = zeros_like(roots, shape=(1,)) + 1
    p = one
    for i in range(roots.shape[0]):
        p = concatenate([p, one * 0]) - concatenate([one * 0, p * getitem(roots, i)])
    return p


def vander(x: Any, N: int | None = None, increasing: bool = False) -> Array:
    """The Vandermonde matrix of powers of x, highest first unless `increasing`: x (n,) -> (n, N)."""
    x = as_array(x)
    n = x.shape[0] if N is None else N
    if n < 0:
        raise RangeError(f"vander: N must be 0 or more, got {n}.")
    powers = array_module(x).arange(n)
    return elementwise.power(expand_dims(x, -1), powers if increasing else powers[::-1])
