"""Diagonals, triangles, grids and special products under NumPy's names."""

import math
from typing import Any

import numpy as np

from ..devices import array_module
from ..errors import ImmutableError, ShapeError, describe
from ..ops import elementwise as ops
from .arguments import Array, as_array
from .elementwise import astype, conjugate, nonzero
from .indexing import at
from .joining import resize
from .products import diagonal, matmul
from .reductions import mean
from .shape import broadcast_to, concatenate, expand_dims, moveaxis, pad, ravel, reshape, slice_axis, squeeze


def _masked(x: Any, k: int, upper: bool) -> Array:
    x = as_array(x)
    if x.ndim < 2:
        raise ShapeError(f"a triangle is taken of a matrix, got {describe(x)}.")
    mask = array_module(x).tri(x.shape[-2], x.shape[-1], k - 1 if upper else k, dtype=bool)
    zero = False if x.dtype == bool else 0
    return ops.where(mask, zero, x) if upper else ops.where(mask, x, zero)


def tril(x: Any, k: int = 0) -> Array:
    """The lower triangle: x (..., n, m) with zeros above the diagonal number `k`."""
    return _masked(x, k, False)


def triu(x: Any, k: int = 0) -> Array:
    """The upper triangle: x (..., n, m) with zeros below the diagonal number `k`."""
    return _masked(x, k, True)


def diag(x: Any, k: int = 0) -> Array:
    """The matrix with `x` (n,) on its diagonal number `k`, or that diagonal of a matrix x."""
    x = as_array(x)
    if x.ndim == 2:
        return diagonal(x, k)
    if x.ndim != 1:
        raise ShapeError(f"diag expects one or two axes, got {describe(x)}; the diagonals of more are fd.numpy.diagonal(x).")
    n = x.shape[0] + abs(k)
    on = array_module(x).eye(n, k=k, dtype=bool)
    wide = pad(x, (0, abs(k))) if k else x
    return ops.where(on, expand_dims(wide, 1) if k >= 0 else wide, False if x.dtype == bool else 0)


def diagflat(x: Any, k: int = 0) -> Array:
    """The matrix with the flattened `x` on its diagonal number `k`."""
    return diag(ravel(x), k)


def fill_diagonal(x: Any, value: Any, wrap: bool = False, *, inplace: bool = True) -> Array:
    """`x` (n, m), or of more axes of one length, with `value` on its diagonal; several values in turn, over and over.

    With `wrap` the diagonal of a tall matrix begins again below. NumPy's writes into `x`: say `inplace=False`, as with JAX.
    Raises ImmutableError without it, and ShapeError.
    """
    x = as_array(x)
    if inplace:
        raise ImmutableError(f"fill_diagonal would write into {describe(x)}. Write x = fd.numpy.fill_diagonal(x, value, inplace=False).")
    if x.ndim < 2 or (x.ndim > 2 and len(set(x.shape)) > 1):
        raise ShapeError(f"fill_diagonal expects a matrix, or more axes of one length, got {describe(x)}.")
    columns = x.shape[-1]
    step = 1 + sum(math.prod(x.shape[i:]) for i in range(1, x.ndim))
    places = range(0, x.size if wrap or x.ndim > 2 else min(x.size, columns * columns), step)
    if not places:
        return x
    values = resize(value, len(places))
    return reshape(at(ravel(x))[places.start : places.stop : step].set(values), x.shape)


def kron(x: Any, y: Any) -> Array:
    """The Kronecker product: every entry of x times the whole of y, axis by axis (n,), (m,) -> (n * m,)."""
    x, y = as_array(x), as_array(y)
    ndim = max(x.ndim, y.ndim)
    x, y = (reshape(z, (1,) * (ndim - z.ndim) + z.shape) for z in (x, y))
    left = reshape(x, tuple(m for n in x.shape for m in (n, 1)))
    right = reshape(y, tuple(m for n in y.shape for m in (1, n)))
    return reshape(ops.multiply(left, right), tuple(n * m for n, m in zip(x.shape, y.shape, strict=True)))


def cross(x: Any, y: Any, axisa: int = -1, axisb: int = -1, axisc: int = -1, axis: int | None = None) -> Array:
    """The vector product of three components: x, y (..., 3) -> (..., 3)."""
    if axis is not None:
        axisa = axisb = axisc = axis
    x, y = as_array(x), as_array(y)
    if x.ndim and y.ndim:
        x, y = moveaxis(x, axisa, -1), moveaxis(y, axisb, -1)
    if x.shape[-1:] != (3,) or y.shape[-1:] != (3,):
        raise ShapeError(f"cross expects three components, got {describe(x)} and {describe(y)} with the components last.")
    (x0, x1, x2), (y0, y1, y2) = ([slice_axis(z, -1, i, i + 1) for i in range(3)] for z in (x, y))
    parts = [x1 * y2 - x2 * y1, x2 * y0 - x0 * y2, x0 * y1 - x1 * y0]
    return moveaxis(concatenate(parts, -1), -1, axisc)


def vecdot(x: Any, y: Any, /, *, axis: int = -1) -> Array:
    """The sums of conj(x) * y along `axis`: x, y (..., n) -> (...)."""
    x, y = as_array(x), as_array(y)
    if not x.ndim or not y.ndim or x.shape[axis] != y.shape[axis]:
        raise ShapeError(f"vecdot: axis {axis} of {describe(x)} and of {describe(y)} must have one length.")
    x, y = moveaxis(x, axis, -1), moveaxis(y, axis, -1)
    return squeeze(matmul(expand_dims(conjugate(x), -2), expand_dims(y, -1)), (-2, -1))


def matvec(x: Any, y: Any) -> Array:
    """Matrices times vectors: x (..., n, k), y (..., k) -> (..., n)."""
    return squeeze(matmul(x, expand_dims(y, -1)), -1)


def vecmat(x: Any, y: Any) -> Array:
    """Vectors, conjugated, times matrices: x (..., k), y (..., k, m) -> (..., m)."""
    return squeeze(matmul(expand_dims(conjugate(as_array(x)), -2), y), -2)


def meshgrid(*arrays: Any, copy: bool = True, sparse: bool = False, indexing: str = "xy") -> tuple[Array, ...]:
    """Coordinates on the grid that arrays (n,), (m,), ... span: each (m, n, ...), or (n, m, ...) with indexing="ij".

    With `sparse` each has its own length along its axis, and 1 along the others.
    """
    if indexing not in ("xy", "ij"):
        raise ValueError(f"meshgrid knows the indexing 'xy' and 'ij', got {indexing!r}.")
    values = [ravel(x) for x in arrays]
    places = list(range(len(values)))
    if indexing == "xy" and len(values) > 1:
        places[:2] = 1, 0
    shapes = [tuple(x.size if i == place else 1 for i in range(len(values))) for x, place in zip(values, places, strict=True)]
    grids = [reshape(x, shape) for x, shape in zip(values, shapes, strict=True)]
    if sparse:
        return tuple(grids)
    shape = np.broadcast_shapes(*[x.shape for x in grids])
    return tuple(broadcast_to(x, shape) for x in grids)


def ix_(*arrays: Any) -> tuple[Array, ...]:
    """Index arrays that select the grid of the given indices, one for each axis; masks are turned into indices."""
    values = [nonzero(x)[0] if x.dtype == bool else x for x in map(as_array, arrays)]
    return meshgrid(*values, sparse=True, indexing="ij")


def i0(x: Any) -> Array:
    """The modified Bessel function of the first kind and order 0, with derivatives of every order.

    The mean of cosh(x cos t) over a quarter of the circle; the midpoint rule converges so fast for a periodic function that
    64 points give every digit up to where the function overflows. Source: Abramowitz and Stegun 9.6.16.
    """
    x = as_array(x)
    if x.dtype.kind != "f":
        x = astype(x, np.float64)
    angles = (np.arange(64) + 0.5) * (math.pi / 128)
    nodes = array_module(x).asarray(np.cos(angles).astype(x.dtype))
    return mean(ops.cosh(ops.multiply(expand_dims(x, -1), nodes)), axis=-1)
