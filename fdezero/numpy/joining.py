"""Joining, splitting, padding and rearranging arrays under NumPy's names."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..devices import to_numpy
from ..errors import ShapeError
from ..messages import describe
from .arguments import Array, as_array, axis_of_number, plain_values, trailing_axis
from .creation import zeros_like
from .elementwise import cast
from .indexing import take
from .shape import (
    as_parts,
    broadcast_to,
    concatenate,
    expand_dims,
    flip,
    line_of,
    moveaxis,
    ravel,
    reshape,
    slice_axis,
    split,
    squeeze,
    stack,
    swapaxes,
    vstack,
)

__all__ = [
    "append", "apply_along_axis", "apply_over_axes", "array_split", "atleast_2d", "atleast_3d", "block",
    "column_stack", "delete", "dsplit", "dstack", "fliplr", "flipud", "hsplit", "insert", "repeat", "resize",
    "rollaxis", "rot90", "row_stack", "unstack", "vsplit",
]  # fmt: skip


def atleast_2d(*arrays: Any) -> Any:
    """Arrays with at least two axes: (n,) becomes (1, n)."""
    made = [reshape(x, (1,) * (2 - x.ndim) + x.shape) if x.ndim < 2 else x for x in map(as_array, arrays)]
    return made[0] if len(made) == 1 else tuple(made)


def atleast_3d(*arrays: Any) -> Any:
    """Arrays with at least three axes: (n,) becomes (1, n, 1), (m, n) becomes (m, n, 1)."""
    wider = {0: lambda s: (1, 1, 1), 1: lambda s: (1, *s, 1), 2: lambda s: (*s, 1)}
    made = [reshape(x, wider[x.ndim](x.shape)) if x.ndim < 3 else x for x in map(as_array, arrays)]
    return made[0] if len(made) == 1 else tuple(made)


def column_stack(tup: Sequence[Any]) -> Array:
    """Join the arrays of `tup` as columns: k vectors (n,) -> (n, k)."""
    return concatenate([x if x.ndim > 1 else reshape(x, (-1, 1)) for x in map(as_array, tup)], 1)


row_stack = vstack


def dstack(tup: Sequence[Any]) -> Array:
    """Join the arrays of `tup` along the third axis."""
    return concatenate([atleast_3d(x) for x in tup], 2)


def append(arr: Any, values: Any, axis: int | None = None) -> Array:
    """Append `values` to `arr` along `axis` (both are flattened when None)."""
    return concatenate([ravel(arr), ravel(values)] if axis is None else [as_array(arr), as_array(values)], axis or 0)


def insert(arr: Any, obj: Any, values: Any, axis: int | None = None) -> Array:
    """Insert `values`, cast to arr's dtype, before the entries at `obj` along `axis` (arr is flattened when None).

    `obj` is a number, a slice, a list or array of integers, or a mask, as in NumPy. They cannot be batched.
    """
    arr, axis = line_of(arr, axis)
    n, places = arr.shape[axis], _chosen_indices(obj, arr.shape[axis], "insert")
    values = cast(values, arr.dtype)
    values = reshape(values, (1,) * (arr.ndim - values.ndim) + values.shape)
    if not places.ndim:  # at a single index NumPy inserts along the first axis of the values
        values = moveaxis(values, 0, axis)
    count = values.shape[axis] if places.size == 1 else places.size
    wide = broadcast_to(values, tuple(count if i == axis else m for i, m in enumerate(arr.shape, -arr.ndim)))
    return take(concatenate([arr, wide], axis), np.insert(np.arange(n), places, np.arange(n, n + count)), axis)


def delete(arr: Any, obj: Any, axis: int | None = None) -> Array:
    """Remove the entries at `obj`, given as for `insert`, along `axis` (arr is flattened when None)."""
    arr, axis = line_of(arr, axis)
    places = _chosen_indices(obj, arr.shape[axis], "delete")
    return take(arr, np.delete(np.arange(arr.shape[axis]), places), axis)


def _chosen_indices(indices: Any, n: int, what: str) -> Any:
    """Convert `indices` into an axis of `n` entries to a NumPy array of integers."""
    if isinstance(indices, slice):
        return np.arange(n)[indices]
    places = np.asarray(to_numpy(plain_values(as_array(indices), what)))
    if places.dtype == bool and places.shape != (n,):
        raise ShapeError(f"{what}: the mask of shape {places.shape} does not fit the {n} entries along the axis.")
    return np.flatnonzero(places) if places.dtype == bool else places if places.size else places.astype(int)


def block(arrays: Any) -> Array:
    """Assemble an array from nested lists of blocks.

    The innermost lists are joined along the last axis, the next along the second last, and so on.
    """
    depth = _depth(arrays)
    if not _leaves(arrays):
        raise ShapeError("block: a list of blocks must not be empty.")
    if _shallowest(arrays) != depth:
        raise ShapeError("block: the nested lists differ in depth. Each innermost list must be equally deep.")
    leaves = _leaves(arrays)
    ndim = max(depth, *[as_array(x).ndim for x in leaves])
    return _block(arrays, depth, ndim)


def _depth(arrays: Any) -> int:
    return 1 + max(map(_depth, arrays), default=0) if isinstance(arrays, list) else 0


def _shallowest(arrays: Any) -> int:
    return 1 + min(map(_shallowest, arrays), default=0) if isinstance(arrays, list) else 0


def _leaves(arrays: Any) -> list[Any]:
    return [leaf for part in arrays for leaf in _leaves(part)] if isinstance(arrays, list) else [arrays]


def _block(arrays: Any, depth: int, ndim: int) -> Array:
    if isinstance(arrays, list):
        if not arrays:
            raise ShapeError("block: a list of blocks must not be empty.")
        return concatenate([_block(part, depth - 1, ndim) for part in arrays], -depth)
    x = as_array(arrays)
    return reshape(x, (1,) * (ndim - x.ndim) + x.shape)


def array_split(ary: Any, indices_or_sections: int | Sequence[int], axis: int = 0) -> list[Array]:
    """Split `ary` along `axis` into parts of nearly equal length, longer ones first, or at the given indices."""
    ary, parts = as_array(ary), as_parts(indices_or_sections)
    if not isinstance(parts, int):
        return split(ary, parts, axis)
    if parts < 1:
        raise ShapeError(f"array_split: the number of parts must be 1 or more, got {parts}.")
    n = ary.shape[trailing_axis(axis, ary.ndim)]
    longer = n % parts
    cuts = [i * (n // parts) + min(i, longer) for i in range(1, parts)]
    return split(ary, cuts, axis)


def vsplit(ary: Any, indices_or_sections: int | Sequence[int]) -> list[Array]:
    """Split `ary` along its first axis."""
    return split(_with_axes("vsplit", ary, 2), indices_or_sections, 0)


def hsplit(ary: Any, indices_or_sections: int | Sequence[int]) -> list[Array]:
    """Split `ary` along its second axis; a vector along its only axis."""
    ary = _with_axes("hsplit", ary, 1)
    return split(ary, indices_or_sections, 0 if ary.ndim == 1 else 1)


def dsplit(ary: Any, indices_or_sections: int | Sequence[int]) -> list[Array]:
    """Split `ary` along its third axis."""
    return split(_with_axes("dsplit", ary, 3), indices_or_sections, 2)


def _with_axes(name: str, x: Any, ndim: int) -> Array:
    x = as_array(x)
    if x.ndim < ndim:
        raise ShapeError(f"{name} needs at least {ndim} axes, got {describe(x)}.")
    return x


def unstack(x: Any, /, *, axis: int = 0) -> tuple[Array, ...]:
    """Split `x` into its slices along `axis`: x (n, ...) -> n arrays (...)."""
    x = as_array(x)
    axis = trailing_axis(axis, x.ndim)
    return tuple(squeeze(slice_axis(x, axis, i, i + 1), axis) for i in range(x.shape[axis]))


def rollaxis(a: Any, axis: int, start: int = 0) -> Array:
    """Move `axis` to the place before the axis `start`."""
    a = as_array(a)
    axis, start = trailing_axis(axis, a.ndim) + a.ndim, start + a.ndim if start < 0 else start
    if not 0 <= start <= a.ndim:
        raise np.exceptions.AxisError(f"rollaxis: start must lie between {-a.ndim} and {a.ndim} for {describe(a)}.")
    return moveaxis(a, axis, start - 1 if axis < start else start)


def fliplr(m: Any) -> Array:
    """Reverse the order of the columns (the second axis)."""
    return flip(m, 1)


def flipud(m: Any) -> Array:
    """Reverse the order of the rows (the first axis)."""
    return flip(m, 0)


def rot90(m: Any, k: int = 1, axes: tuple[int, int] = (0, 1)) -> Array:
    """Rotate `m` by k * 90 degrees in the plane of `axes`, from the first towards the second."""
    m, k = as_array(m), k % 4
    if len(axes) != 2 or len({trailing_axis(axis, m.ndim) for axis in axes}) < 2:
        raise ShapeError(f"rot90: axes must be two different axes of {describe(m)}, got {axes}.")
    if k == 0:
        return m
    if k == 2:
        return flip(m, axes)
    return swapaxes(flip(m, axes[1]), *axes) if k == 1 else flip(swapaxes(m, *axes), axes[1])


def resize(a: Any, new_shape: int | Sequence[int]) -> Array:
    """Fill an array of shape `new_shape` with the entries of `a`, repeated as often as needed."""
    new_shape = (new_shape,) if isinstance(new_shape, int | np.integer) else tuple(new_shape)
    if any(n < 0 for n in new_shape):
        raise ShapeError(f"resize: lengths must be 0 or more, got {new_shape}.")
    a, n = ravel(a), math.prod(new_shape)
    if not a.size:
        return zeros_like(a, shape=new_shape)
    return reshape(take(a, np.arange(n) % max(a.size, 1)), new_shape)


def apply_along_axis(func1d: Any, axis: int, arr: Any, *args: Any, **kwargs: Any) -> Array:
    """Replace each line of `arr` along `axis` with `func1d(line, *args, **kwargs)`.

    The function is called once for each line; `fd.vmap` calls it once for all.
    """
    arr = as_array(arr)
    axis = trailing_axis(axis, arr.ndim) + arr.ndim
    lines = moveaxis(arr, axis, -1)
    flat = reshape(lines, (math.prod(lines.shape[:-1]), lines.shape[-1]))
    if not flat.shape[0]:
        raise ShapeError(f"apply_along_axis: {describe(arr)} has no lines along axis {axis}.")
    y = stack([as_array(func1d(flat[i], *args, **kwargs)) for i in range(flat.shape[0])])
    y = reshape(y, lines.shape[:-1] + y.shape[1:])
    loops = arr.ndim - 1
    return moveaxis(y, list(range(loops, y.ndim)), [axis + i for i in range(y.ndim - loops)])


def apply_over_axes(func: Any, a: Any, axes: Any) -> Array:
    """Apply `func(a, axis)` for each of `axes` in turn; an axis that it drops comes back with length 1."""
    a = as_array(a)
    for axis in np.atleast_1d(axes):
        y = func(a, int(axis))
        a = y if y.ndim == a.ndim else expand_dims(y, int(axis))
    return a


def repeat(a: Any, repeats: Any, axis: int | None = None) -> Array:
    """Repeat each entry along `axis` (of the flattened array when None): a (n,), 2 -> (2 n,).

    `repeats` is one number for all entries, or one for each. Counts on a GPU are waited for, because they are the result's shape.
    """
    a = as_array(a)
    if hasattr(repeats, "dtype"):
        repeats = to_numpy(plain_values(repeats, "repeat"))
    if axis_of_number(axis, a.ndim) is None:
        a, axis = ravel(a), 0
    return take(a, np.repeat(np.arange(a.shape[axis]), repeats), axis)
