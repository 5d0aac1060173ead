"""Polynomials by their coefficients, the highest power first; convolution and correlation: under NumPy's names."""

from typing import Any

import numpy as np

from ..errors import ShapeError, describe
from ..ops import elementwise as ops
from ..ops import products
from .arguments import Array, as_array, inexact
from .creation import zeros_like
from .elementwise import conjugate
from .indexing import getitem
from .shape import atleast_1d, concatenate, expand_dims, flip, pad, promoted, slice_axis


def convolve(x: Any, y: Any, mode: str = "full") -> Array:
    """The convolution of x (n,) and y (m,), n >= m: (n + m - 1,); mode "same" keeps n of them, "valid" n - m + 1."""
    x, y = promoted([atleast_1d(x), atleast_1d(y)])
    if x.ndim != 1 or y.ndim != 1 or not x.size or not y.size:
        raise ShapeError(f"convolve expects two arrays of one axis that are not empty, got {describe(x)} and {describe(y)}.")
    if x.shape[0] < y.shape[0]:
        x, y = y, x
    m = y.shape[0]
    if mode not in ("full", "same", "valid"):
        raise ValueError(f"convolve knows the modes 'full', 'same' and 'valid', got {mode!r}.")
    around = {"full": (m - 1, m - 1), "same": (m // 2, m - 1 - m // 2), "valid": (0, 0)}[mode]
    return products.correlate(pad(x, around) if m > 1 and mode != "valid" else x, flip(y))


def correlate(x: Any, y: Any, mode: str = "valid") -> Array:
    """The sums of x[n + k] * conj(y[n]) over n, x (n,) and y (m,), in NumPy's order; modes as for convolve."""
    x, y = promoted([atleast_1d(x), atleast_1d(y)])
    y = conjugate(y)
    if x.shape[0] >= y.shape[0]:
        return convolve(x, flip(y), mode)
    return flip(convolve(flip(x), y, mode))


def polyval(p: Any, x: Any) -> Array:
    """The polynomial with coefficients `p` (n,), the highest power first, at `x`, by Horner's rule."""
    p, x = as_array(p), as_array(x)
    y = zeros_like(x, np.result_type(p.dtype, x.dtype))
    for i in range(p.shape[0]):
        y = ops.add(ops.multiply(y, x), getitem(p, i))
    return y


def polyadd(p: Any, q: Any) -> Array:
    """The sum of two polynomials: p (n,), q (m,) -> (max(n, m),)."""
    p, q = atleast_1d(p), atleast_1d(q)
    n = max(p.shape[0], q.shape[0])
    return ops.add(pad(p, (n - p.shape[0], 0)), pad(q, (n - q.shape[0], 0)))


def polysub(p: Any, q: Any) -> Array:
    """The difference of two polynomials: p (n,), q (m,) -> (max(n, m),)."""
    return polyadd(p, ops.negative(as_array(q)))


def polymul(p: Any, q: Any) -> Array:
    """The product of two polynomials: p (n,), q (m,) -> (n + m - 1,); leading zeros stay, as shapes know no values."""
    return convolve(p, q)


def polyder(p: Any, m: int = 1) -> Array:
    """The coefficients of the m-th derivative: p (n,) -> (n - m,)."""
    p = as_array(p)
    for _ in range(m):
        n = p.shape[0]
        p = ops.multiply(slice_axis(p, 0, 0, max(n - 1, 0)), np.arange(n - 1, 0, -1))
    return p


def polyint(p: Any, m: int = 1, k: Any = None) -> Array:
    """The coefficients of the m-th antiderivative, with the constants of integration `k`: p (n,) -> (n + m,)."""
    p = as_array(p)
    constants = np.zeros(m) if k is None else atleast_1d(k)
    for i in range(m):
        n = p.shape[0]
        constant = getitem(constants, i if constants.shape[0] > 1 else 0)
        p = concatenate([ops.divide(p, np.arange(n, 0, -1)), expand_dims(constant, 0)])
    return p


def poly(roots: Any) -> Array:
    """The coefficients of the polynomial with these `roots` (n,) and a leading 1: (n + 1,)."""
    roots = inexact(roots)
    if roots.ndim != 1:
        raise ShapeError(f"poly expects roots along one axis, got {describe(roots)}; of a matrix take the eigenvalues first.")
    one = zeros_like(roots, shape=(1,)) + 1
    p = one
    for i in range(roots.shape[0]):
        p = concatenate([p, one * 0]) - concatenate([one * 0, p * getitem(roots, i)])
    return p


def vander(x: Any, N: int | None = None, increasing: bool = False) -> Array:
    """The powers of `x` (n,) as columns: (n, N), the highest first unless `increasing`."""
    x = as_array(x)
    n = x.shape[0] if N is None else N
    powers = np.arange(n)
    return ops.power(expand_dims(x, -1), powers if increasing else powers[::-1])
