"""Shapes, joining and slicing under NumPy's names, composed of a few operations on trailing axes."""

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import ShapeError
from ..messages import describe
from ..ops import shape as shapes
from .arguments import Array, Axis, as_array, axis_of_number, trailing_axes, trailing_axis
from .elementwise import astype

__all__ = [
    "atleast_1d", "broadcast_arrays", "broadcast_to", "concat", "concatenate", "expand_dims", "flip", "hstack",
    "matrix_transpose", "moveaxis", "permute_dims", "ravel", "reshape", "roll", "split", "squeeze", "stack",
    "swapaxes", "tile", "transpose", "vstack",
]  # fmt: skip


def _shape(shape: int | Sequence[int]) -> tuple[int, ...]:
    return (int(shape),) if isinstance(shape, int | np.integer) else tuple(int(n) for n in shape)


def reshape(x: Any, shape: int | Sequence[int], order: str = "C", *, copy: bool | None = None) -> Array:
    """Give `x` another shape with the same number of entries; one length may be -1.

    Entries are read row by row, or in the order "F" column by column. Raises ShapeError if the numbers differ.
    """
    x, wanted = as_array(x), _shape(shape)
    if order == "F":
        return transpose(reshape(transpose(x), wanted[::-1], copy=copy))
    if order != "C":
        raise NotImplementedError(
            f"reshape and ravel take the order 'C' or 'F', got {order!r}, which would depend on the memory layout."
        )
    if wanted.count(-1) == 1:
        rest = -math.prod(wanted)
        wanted = tuple((x.size // rest if rest else 0) if n == -1 else n for n in wanted)
    if math.prod(wanted) != x.size:
        raise ShapeError(f"reshape: {describe(x)} has {x.size} entries and cannot take the shape {_shape(shape)}.")
    y = x if wanted == x.shape else shapes.reshape(x, ndim=x.ndim, shape=wanted)
    return shapes.copy(y) if copy else y


def ravel(x: Any, order: str = "C") -> Array:
    """Flatten `x` row by row, or in the order "F" column by column: x (...) -> (n,)."""
    return reshape(x, (-1,) if as_array(x).size else (0,), order)


def transpose(x: Any, axes: Sequence[int] | None = None) -> Array:
    """Permute the axes of `x` to the order `axes`, or reverse them when None: x (n, ..., m) -> (m, ..., n)."""
    x = as_array(x)
    order = tuple(range(x.ndim))[::-1] if axes is None else tuple(axes)
    perm = tuple(trailing_axis(axis, x.ndim) for axis in order)
    if sorted(perm) != list(range(-x.ndim, 0)):
        raise ShapeError(f"transpose: axes {order} must name each of the {x.ndim} axes of {describe(x)} once.")
    return shapes.permute(x, perm=perm) if perm != tuple(sorted(perm)) else x


permute_dims = transpose


def matrix_transpose(x: Any) -> Array:
    """Swap the last two axes: x (..., n, m) -> (..., m, n)."""
    return swapaxes(x, -1, -2)


def moveaxis(x: Any, source: int | Sequence[int], destination: int | Sequence[int]) -> Array:
    """Move the axes `source` to `destination`; the other axes keep their order."""
    x = as_array(x)
    from_, to = ([trailing_axis(a, x.ndim) + x.ndim for a in _shape(axes)] for axes in (source, destination))
    order = [axis for axis in range(x.ndim) if axis not in from_]
    for place, axis in sorted(zip(to, from_, strict=True)):
        order.insert(place, axis)
    return transpose(x, order)


def swapaxes(x: Any, axis1: int, axis2: int) -> Array:
    """Swap two axes."""
    x = as_array(x)
    order = list(range(x.ndim))
    order[axis1], order[axis2] = order[axis2], order[axis1]
    return transpose(x, order)


def broadcast_to(x: Any, shape: int | Sequence[int], subok: bool = False) -> Array:
    """Broadcast `x` to `shape` by NumPy's rule. Raises ShapeError if it does not fit."""
    x, wanted = as_array(x), _shape(shape)
    if len(wanted) < x.ndim:
        raise ShapeError(f"broadcast_to: {describe(x)} has more axes than the shape {wanted}.")
    if x.ndim < len(wanted):
        x = reshape(x, (1,) * (len(wanted) - x.ndim) + x.shape)
    return x if x.shape == wanted else shapes.broadcast(x, shape=wanted)


def broadcast_arrays(*arrays: Any) -> tuple[Array, ...]:
    """Broadcast arrays to their common shape."""
    values = [as_array(x) for x in arrays]
    shape = np.broadcast_shapes(*[x.shape for x in values])
    return tuple(broadcast_to(x, shape) for x in values)


def expand_dims(x: Any, axis: int | Sequence[int]) -> Array:
    """Insert axes of length 1, at the places `axis` of the result: x (n,), axis 0 -> (1, n)."""
    x = as_array(x)
    axes = _shape(axis)
    new = {trailing_axis(a, x.ndim + len(axes)) + x.ndim + len(axes) for a in axes}
    rest = iter(x.shape)
    return reshape(x, tuple(1 if i in new else next(rest) for i in range(x.ndim + len(axes))))


def squeeze(x: Any, axis: Axis = None) -> Array:
    """Remove the axes of length 1 that `axis` names (all of them when None). Raises ShapeError for longer axes."""
    x = as_array(x)
    ones = tuple(i for i in range(-x.ndim, 0) if x.shape[i] == 1)
    drop = ones if axis is None else trailing_axes(axis, x.ndim)
    if not set(drop) <= set(ones):
        raise ShapeError(f"squeeze: axis {axis} of {describe(x)} does not have length 1.")
    return reshape(x, tuple(n for i, n in enumerate(x.shape, -x.ndim) if i not in drop))


def atleast_1d(x: Any) -> Array:
    """`x` with at least one axis: () becomes (1,)."""
    x = as_array(x)
    return x if x.ndim else reshape(x, (1,))


def line_of(x: Any, axis: int | None) -> tuple[Array, int]:
    """(array, trailing axis) of the lines to work along; the array is flattened when `axis` is None."""
    x = as_array(x)
    return (ravel(x), -1) if axis is None else (x, trailing_axis(axis, x.ndim))


def line_along(x: Any, axis: int | None) -> tuple[Array, int]:
    """Like `line_of`, but a value without axes is a line of one entry."""
    x = as_array(x)
    return line_of(x, axis_of_number(axis, x.ndim))


def promoted(arrays: Sequence[Any]) -> list[Array]:
    """Cast the arrays to their common dtype."""
    values = [as_array(x) for x in arrays]
    dtype = np.result_type(*[x.dtype for x in values])
    return [x if x.dtype == dtype else astype(x, dtype) for x in values]


def concatenate(arrays: Sequence[Any], axis: int | None = 0) -> Array:
    """Join arrays along `axis` (flattened when None); dtypes are promoted. Raises ShapeError."""
    values = promoted(arrays)
    if axis is None:
        values, axis = [ravel(x) for x in values], 0
    place = trailing_axis(axis, values[0].ndim)
    if len({(x.ndim, *x.shape[:place], *x.shape[x.ndim + place + 1 :]) for x in values}) > 1:
        raise ShapeError(
            f"concatenate: all axes but axis {axis} must agree, got {', '.join(map(describe, values))}. "
            "x[None] adds an axis; stack joins arrays of the same shape along a new axis."
        )
    return shapes.concatenate(*values, axis=place)


concat = concatenate


def stack(arrays: Sequence[Any], axis: int = 0) -> Array:
    """Join k arrays of the same shape along a new axis: k arrays (...) -> (k, ...). Raises ShapeError."""
    values = [as_array(x) for x in arrays]
    if len({x.shape for x in values}) > 1:
        raise ShapeError(f"stack: all arrays must have the same shape, got {', '.join(map(describe, values))}.")
    return concatenate([expand_dims(x, axis) for x in values], axis)


def vstack(arrays: Sequence[Any]) -> Array:
    """Join arrays as rows: k vectors (n,) -> (k, n)."""
    return concatenate([x if as_array(x).ndim > 1 else reshape(x, (1, -1)) for x in arrays], 0)


def hstack(arrays: Sequence[Any]) -> Array:
    """Join vectors end to end, (n,), (m,) -> (n + m,), and other arrays along axis 1."""
    values = [atleast_1d(x) for x in arrays]
    return concatenate(values, 0 if values[0].ndim == 1 else 1)


def slice_axis(x: Any, axis: int, start: int | None, stop: int | None, step: int | None = None) -> Array:
    """`x[..., start:stop:step, ...]`, sliced along `axis`."""
    axis = trailing_axis(axis, x.ndim)
    return shapes.slice_axes(x, index=shapes.cut(axis, start, stop, step))


def split(x: Any, sections: int | Sequence[int], axis: int = 0) -> list[Array]:
    """Split `x` along `axis` into equal parts, or at the given indices. Raises ShapeError."""
    x = as_array(x)
    n = x.shape[axis]
    if isinstance(sections, int):
        if n % sections:
            raise ShapeError(
                f"split: the {n} entries along axis {axis} of {describe(x)} do not divide into {sections} equal parts."
            )
        cuts = list(range(0, n + 1, n // sections)) if n else [0] * (sections + 1)
    else:
        cuts = [0, *[c if c >= 0 else c + n for c in sections], n]
    return [slice_axis(x, axis, start, stop) for start, stop in itertools.pairwise(cuts)]


def flip(x: Any, axis: Axis = None) -> Array:
    """Reverse the entries along `axis` (every axis when None)."""
    x = as_array(x)
    for a in trailing_axes(axis, x.ndim):
        x = slice_axis(x, a, None, None, -1)
    return x


def roll(x: Any, shift: int | Sequence[int], axis: int | Sequence[int] | None = None) -> Array:
    """Shift the entries along `axis` (of the flattened array when None); those beyond the end come in at the start."""
    x = as_array(x)
    if axis is None:
        return reshape(roll(ravel(x), shift, 0), x.shape)
    shifts, axes = _shape(shift), _shape(axis)
    for s, a in zip(shifts * (len(axes) if len(shifts) == 1 else 1), axes, strict=True):
        n = x.shape[a]
        if n and s % n:
            x = concatenate([slice_axis(x, a, n - s % n, None), slice_axis(x, a, 0, n - s % n)], a)
    return x


def tile(x: Any, repetitions: int | Sequence[int]) -> Array:
    """Repeat `x` as a whole along each axis: x (n,), 2 -> (2 n,)."""
    x, times = as_array(x), _shape(repetitions)
    ndim = max(x.ndim, len(times))
    shape = (1,) * (ndim - x.ndim) + x.shape
    times = (1,) * (ndim - len(times)) + times
    twice = tuple(m for n, r in zip(shape, times, strict=True) for m in (r, n))
    wide = broadcast_to(reshape(x, tuple(m for n in shape for m in (1, n))), twice)
    return reshape(wide, tuple(n * r for n, r in zip(shape, times, strict=True)))
