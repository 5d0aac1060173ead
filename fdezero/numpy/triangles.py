"""Triangles and diagonals of matrices under NumPy's names."""

import math
from typing import Any

from ..devices import array_module
from ..errors import ImmutableError, ShapeError
from ..messages import describe
from ..ops import elementwise
from .arguments import Array, as_array
from .indexing import at
from .joining import pad, resize
from .products import diagonal
from .shape import expand_dims, ravel, reshape

__all__ = ["diag", "diagflat", "fill_diagonal", "tril", "triu"]


def _masked(x: Any, k: int, upper: bool) -> Array:
    x = as_array(x)
    if x.ndim < 2:
        raise ShapeError(f"tril and triu need a matrix, got {describe(x)}.")
    mask = array_module(x).tri(x.shape[-2], x.shape[-1], k - 1 if upper else k, dtype=bool)
    zero = False if x.dtype == bool else 0
    return elementwise.where(mask, zero, x) if upper else elementwise.where(mask, x, zero)


def tril(x: Any, k: int = 0) -> Array:
    """The lower triangle: x (..., n, m) with zeros above the k-th diagonal."""
    return _masked(x, k, False)


def triu(x: Any, k: int = 0) -> Array:
    """The upper triangle: x (..., n, m) with zeros below the k-th diagonal."""
    return _masked(x, k, True)


def diag(x: Any, k: int = 0) -> Array:
    """The matrix with `x` (n,) on its k-th diagonal, or the k-th diagonal of a matrix `x`."""
    x = as_array(x)
    if x.ndim == 2:
        return diagonal(x, k)
    if x.ndim != 1:
        raise ShapeError(
            f"diag expects one or two axes, got {describe(x)}. For a stack of matrices use diagonal(x, 0, -2, -1)."
        )
    n = x.shape[0] + abs(k)
    on = array_module(x).eye(n, k=k, dtype=bool)
    wide = pad(x, (0, abs(k))) if k else x
    return elementwise.where(on, expand_dims(wide, 1) if k >= 0 else wide, False if x.dtype == bool else 0)


def diagflat(x: Any, k: int = 0) -> Array:
    """The matrix with the flattened `x` on its k-th diagonal."""
    return diag(ravel(x), k)


def fill_diagonal(x: Any, value: Any, wrap: bool = False, *, inplace: bool = True) -> Array:
    """`x` (n, m), or of more axes of equal length, with `value` on its diagonal; several values repeat in turn.

    With `wrap`, the diagonal of a tall matrix starts again below. You must say `inplace=False`, as with JAX, because
    NumPy's function writes into `x`. Raises ImmutableError without `inplace=False`, ShapeError for a vector or axes of unequal length.
    """
    x = as_array(x)
    if inplace:
        raise ImmutableError(
            f"fill_diagonal would write into {describe(x)}. Write x = fd.numpy.fill_diagonal(x, value, inplace=False)."
        )
    if x.ndim < 2 or (x.ndim > 2 and len(set(x.shape)) > 1):
        raise ShapeError(f"fill_diagonal expects a matrix, or more axes of equal length, got {describe(x)}.")
    columns = x.shape[-1]
    step = 1 + sum(math.prod(x.shape[i:]) for i in range(1, x.ndim))
    places = range(0, x.size if wrap or x.ndim > 2 else min(x.size, columns * columns), step)
    if not places:
        return x
    values = resize(value, len(places))
    return reshape(at(ravel(x))[places.start : places.stop : step].set(values), x.shape)
