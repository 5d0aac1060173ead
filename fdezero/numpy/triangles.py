"""Triangles and diagonals of matrices under NumPy's names."""

import math
from typing import Any

from ..devices import array_module
from ..errors import DTypeError, ImmutableError, ShapeError
from ..messages import describe
from ..ops import elementwise
from .arguments import Array, as_array
from .indexing import at
from .joining import resize
from .padding import pad
from .products import diagonal
from .shape import broadcast_to, expand_dims, ravel, reshape

__all__ = ["diag", "diagflat", "fill_diagonal", "tril", "triu"]


def _masked(x: Any, k: int, upper: bool) -> Array:
    x = as_array(x)
    if not x.ndim:
        raise DTypeError(f"tril and triu need a matrix, got {describe(x)}.")
    if x.ndim == 1:  # as in NumPy, the row of a square matrix
        x = broadcast_to(x, (x.shape[0], x.shape[0]))
    mask = array_module(x).tri(x.shape[-2], x.shape[-1], k - 1 if upper else k, dtype=bool)
    zero = False if x.dtype == bool else 0
    return elementwise.where(mask, zero, x) if upper else elementwise.where(mask, x, zero)


def tril(m: Any, k: int = 0) -> Array:
    """The lower triangle: m (..., n, m) with zeros above the k-th diagonal."""
    return _masked(m, k, False)


def triu(m: Any, k: int = 0) -> Array:
    """The upper triangle: m (..., n, m) with zeros below the k-th diagonal."""
    return _masked(m, k, True)


def diag(v: Any, k: int = 0) -> Array:
    """The matrix with `v` (n,) on its k-th diagonal, or the k-th diagonal of a matrix `v`."""
    v = as_array(v)
    if v.ndim == 2:
        return diagonal(v, k)
    if v.ndim != 1:
        raise ShapeError(
            f"diag expects one or two axes, got {describe(v)}. For a stack of matrices use diagonal(v, 0, -2, -1)."
        )
    n = v.shape[0] + abs(k)
    on = array_module(v).eye(n, k=k, dtype=bool)
    wide = pad(v, (0, abs(k))) if k else v
    return elementwise.where(on, expand_dims(wide, 1) if k >= 0 else wide, False if v.dtype == bool else 0)


def diagflat(v: Any, k: int = 0) -> Array:
    """The matrix with the flattened `v` on its k-th diagonal."""
    return diag(ravel(v), k)


def fill_diagonal(a: Any, val: Any, wrap: bool = False, *, inplace: bool = True) -> Array:
    """`a` (n, m), or of more axes of equal length, with `val` on its diagonal; several values repeat in turn.

    With `wrap`, the diagonal of a tall matrix starts again below. You must say `inplace=False`, as with JAX, because
    NumPy's function writes into `a`. Raises ImmutableError without `inplace=False`, ShapeError for a vector or axes of unequal length.
    """
    a = as_array(a)
    if inplace:
        raise ImmutableError(
            f"fill_diagonal would write into {describe(a)}. Write a = fd.numpy.fill_diagonal(a, val, inplace=False)."
        )
    if a.ndim < 2 or (a.ndim > 2 and len(set(a.shape)) > 1):
        raise ShapeError(f"fill_diagonal expects a matrix, or more axes of equal length, got {describe(a)}.")
    columns = a.shape[-1]
    step = 1 + sum(math.prod(a.shape[i:]) for i in range(1, a.ndim))
    places = range(0, a.size if wrap or a.ndim > 2 else min(a.size, columns * columns), step)
    if not places:
        return a
    values = resize(val, len(places))
    return reshape(at(ravel(a))[places.start : places.stop : step].set(values), a.shape)
