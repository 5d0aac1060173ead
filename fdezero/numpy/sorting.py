"""Sorting, searching and counting under NumPy's names. Derivatives follow the entries; indices have none."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..devices import array_module, to_numpy
from ..errors import RangeError, ShapeError
from ..messages import describe, refuse_out
from ..ops import elementwise, indexing, reductions
from ..ops.checks import checked
from .arguments import Array, ArrayOrNumber, as_array, beside, inexact, plain_values, trailing_axes
from .creation import zeros_like
from .elementwise import cast, nonzero
from .indexing import getitem, take, take_along_axis
from .joining import unstack
from .reductions import argsort, check_sort
from .reductions import sum as sum_of
from .shape import atleast_1d, flip, line_of, ravel, slice_axis, stack

__all__ = [
    "argpartition", "argwhere", "bincount", "compress", "count_nonzero", "digitize", "extract", "flatnonzero",
    "histogram", "lexsort", "partition", "searchsorted", "sort", "sort_complex", "trim_zeros",
]  # fmt: skip


def sort(
    a: Any,
    axis: int | None = -1,
    kind: str | None = None,
    order: None = None,
    *,
    stable: bool | None = None,
    descending: bool | None = False,
) -> Array:
    """Sort the entries along `axis` (of the flattened array when None), NaN last; always stable.

    The derivative of each sorted entry goes to the entry that it came from.
    """
    return take_along_axis(a, argsort(a, axis, kind, order, stable=stable, descending=descending), axis)


def sort_complex(a: Any) -> Array:
    """Sort along the last axis by real part, then by imaginary part; real numbers become complex."""
    a = as_array(a)
    narrow = a.dtype.kind in "iu" and a.dtype.itemsize < 4  # as in NumPy, which widens float32
    return sort(a if a.dtype.kind == "c" else cast(a, np.complex64 if narrow else np.complex128))


def lexsort(keys: Any, axis: int = -1) -> Array:
    """The indices that sort by the last key, ties by the second last, and so on: keys (k, ..., n) -> (..., n)."""
    rows = list(keys) if isinstance(keys, list | tuple) else unstack(as_array(keys))
    if not rows:
        raise ShapeError("lexsort expects at least one key, got none.")
    order = argsort(rows[0], axis)
    for row in rows[1:]:
        order = take_along_axis(order, argsort(take_along_axis(row, order, axis), axis), axis)
    return order


def argpartition(
    a: Any, kth: int | Sequence[int], axis: int | None = -1, kind: str = "introselect", order: None = None
) -> Array:
    """The indices that partition `a` along `axis`, as in `partition`: a (..., n) -> (..., n)."""
    if kind != "introselect":
        raise ValueError(f"partition: kind must be 'introselect', got {kind!r}.")
    check_sort(None, order, None)
    a, axis = line_of(a, axis)
    n = a.shape[axis]
    places = tuple(int(k) for k in np.atleast_1d(kth))
    if not a.size:
        return zeros_like(a, np.intp)
    if any(not -n <= k < n for k in places):
        raise RangeError(f"partition: kth={kth} lies outside axis {axis} of {describe(a)}.")
    return reductions.argpartition(a, kth=tuple(k % n for k in places), axis=axis)


def partition(
    a: Any, kth: int | Sequence[int], axis: int | None = -1, kind: str = "introselect", order: None = None
) -> Array:
    """Partition the entries along `axis` (of the flattened array when None): a (..., n) -> (..., n).

    The entries at `kth` are where sorting puts them; lesser ones come before.
    """
    return take_along_axis(a, argpartition(a, kth, axis, kind, order), axis)


def searchsorted(a: Any, v: Any, side: str = "left", sorter: Any = None) -> ArrayOrNumber:
    """The indices at which to insert the entries of `v` into the ordered `a` (n,): integers from 0 to n, of v's shape.

    `side="right"` inserts behind equal entries. `sorter` holds the indices that sort `a`.
    """
    a, v = as_array(a), as_array(v)
    if a.ndim != 1:
        raise ShapeError(f"searchsorted expects a with one axis, got {describe(a)}.")
    if side not in ("left", "right"):
        raise ValueError(f"searchsorted: side must be 'left' or 'right', got {side!r}.")
    return indexing.searchsorted(a if sorter is None else take(a, sorter), v, points=v.ndim, side=side)


def digitize(x: Any, bins: Any, right: bool = False) -> ArrayOrNumber:
    """The number of the bin in which each entry lies, from 0 to n: x (...) -> integers (...).

    The edges `bins` (n,) ascend or descend.
    """
    bins = as_array(bins)
    n = bins.shape[0]
    if not n:
        return searchsorted(bins, x)
    descends = elementwise.greater(getitem(bins, 0), getitem(bins, -1))
    place = searchsorted(elementwise.where(descends, flip(bins), bins), x, "left" if right else "right")
    return elementwise.where(descends, elementwise.subtract(n, place), place)


def bincount(x: Any, weights: Any = None, minlength: int = 0, *, length: int | None = None) -> Array:
    """Count how often each integer from 0 occurs in `x` (n,), or sum its `weights` (n,): (length,).

    The length depends on the values, as in NumPy; under vmap and compile you must give `length`, and integers beyond it
    are then an error. Weights keep their dtype, while NumPy casts them to float64.
    """
    x = as_array(x)
    x = x if x.size else cast(x, np.intp)  # an empty list is floating
    if x.ndim != 1 or x.dtype.kind not in "iu":
        raise ShapeError(f"bincount expects integers along one axis, got {describe(x)}.")
    if length is None:
        values = plain_values(x, "bincount without length=")
        if values.size and values.min() < 0:
            raise RangeError(f"bincount: x must not hold negative integers, got {values.min()}.")
        if minlength < 0:
            raise RangeError(f"bincount: minlength must be 0 or more, got {minlength}.")
        length = max(minlength, int(values.max()) + 1 if values.size else 0)
    elif length < minlength:
        raise RangeError(f"bincount: length={length} is less than minlength={minlength}.")
    weights = elementwise.add(elementwise.multiply(cast(x, np.intp), 0), 1) if weights is None else inexact(weights)
    if weights.shape != x.shape:
        raise ShapeError(f"bincount: the weights {describe(weights)} must have the shape of x, {describe(x)}.")
    return indexing.scatter_add(weights, x, points=1, rest=0, shape=(length,))


def count_nonzero(a: Any, axis: Any = None, *, keepdims: bool = False) -> ArrayOrNumber:
    """The number of nonzero entries over `axis` (all axes when None): a (..., n) -> (...)."""
    return sum_of(elementwise.not_equal(as_array(a), 0), axis=axis, keepdims=keepdims)


def argwhere(a: Any) -> Array:
    """The indices of the nonzero entries, one row for each: (count, ndim). Not under vmap or compile."""
    a = as_array(a)
    found = stack(nonzero(atleast_1d(a)), axis=-1)
    return found if a.ndim else slice_axis(found, 1, 0, 0)


def flatnonzero(a: Any) -> Array:
    """The indices of the nonzero entries in the flattened array: (count,). Not under vmap or compile."""
    return nonzero(ravel(a))[0]


def compress(condition: Any, a: Any, axis: int | None = None, out: None = None) -> Array:
    """The slices of `a` along `axis` (entries when None) where `condition` (n,) is true. Not under vmap or compile."""
    refuse_out(out)
    return take(a, nonzero(as_array(condition))[0], axis)


def extract(condition: Any, arr: Any) -> Array:
    """The entries of `arr` where `condition` is true: (count,). Not under vmap or compile."""
    return compress(ravel(condition), arr)


def trim_zeros(filt: Any, trim: str = "fb", axis: int | Sequence[int] | None = None) -> Array:
    """`filt` without the zeros at its front ("f") and back ("b") along `axis`, or along every axis when None.

    What is cut off of an array with several axes is zero everywhere. Not under vmap or compile.
    """
    if set(trim.lower()) - set("fb"):
        raise ValueError(f"trim_zeros: trim consists of 'f' (front) and 'b' (back), got {trim!r}.")
    filt = as_array(filt)
    places = argwhere(filt)
    for i in trailing_axes(axis, filt.ndim):
        if not places.shape[0]:
            filt = slice_axis(filt, i, 0, 0)
            continue
        start = int(places[:, i].min()) if "f" in trim.lower() else None
        stop = int(places[:, i].max()) + 1 if "b" in trim.lower() else None
        filt = slice_axis(filt, i, start, stop)
    return filt


def histogram(
    a: Any, bins: Any = 10, range: Any = None, density: bool = False, weights: Any = None
) -> tuple[Array, Array]:
    """(counts, edges): the number, or the total weight, of entries between neighbouring edges; `bins` as in NumPy.

    Under vmap and compile you must give the edges. Counts are differentiable in `weights`.
    """
    a, shape = ravel(a), as_array(a).shape
    if np.ndim(bins):
        edges = beside(bins, a)
        checked(
            edges,
            test=lambda edges: np.diff(edges) >= 0,
            error=lambda edges: RangeError(f"histogram: the edges must not descend, got {edges}."),
        )
    else:
        if isinstance(bins, str) and weights is not None:
            raise TypeError(f"histogram: bins={bins!r} cannot find a number of bins for weighted data. Give a number.")
        values = to_numpy(plain_values(a, "histogram without edges"))
        edges = array_module(a).asarray(np.histogram_bin_edges(values, bins, range))
    n = edges.shape[0] - 1
    last = getitem(edges, -1)
    inside = elementwise.logical_and(elementwise.greater_equal(a, getitem(edges, 0)), elementwise.less_equal(a, last))
    place = elementwise.minimum(elementwise.subtract(searchsorted(edges, a, "right"), 1), n - 1)
    if weights is not None and as_array(weights).shape != shape:
        raise ShapeError(f"histogram: weights {describe(as_array(weights))} must have the shape of a, {shape}.")
    weights = elementwise.add(elementwise.multiply(place, 0), 1) if weights is None else ravel(weights)
    shares = elementwise.where(inside, weights, 0)
    counts = indexing.scatter_add(shares, elementwise.where(inside, place, 0), points=1, rest=0, shape=(n,))
    if density:
        widths = cast(elementwise.subtract(slice_axis(edges, 0, 1, None), slice_axis(edges, 0, None, -1)), np.float64)
        counts = elementwise.divide(
            elementwise.divide(counts, widths), reductions.sum_axes(counts, axes=(-1,), keepdims=False)
        )
    return counts, edges
