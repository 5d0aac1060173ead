"""Joining, splitting, padding and rearranging arrays under NumPy's names."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..devices import array_module, to_numpy
from ..errors import ShapeError
from ..messages import describe
from ..ops import elementwise
from ..ops import shape as shapes
from .arguments import Array, as_array, plain_values, trailing_axis
from .elementwise import astype
from .indexing import take
from .shape import (
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
)

__all__ = [
    "append", "apply_along_axis", "apply_over_axes", "array_split", "atleast_2d", "atleast_3d", "block",
    "column_stack", "delete", "dsplit", "dstack", "fliplr", "flipud", "hsplit", "insert", "pad", "repeat", "resize",
    "rollaxis", "rot90", "unstack", "vsplit",
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


def column_stack(arrays: Sequence[Any]) -> Array:
    """Join arrays as columns: k vectors (n,) -> (n, k)."""
    return concatenate([x if x.ndim > 1 else reshape(x, (-1, 1)) for x in map(as_array, arrays)], 1)


def dstack(arrays: Sequence[Any]) -> Array:
    """Join arrays along the third axis."""
    return concatenate([atleast_3d(x) for x in arrays], 2)


def append(x: Any, values: Any, axis: int | None = None) -> Array:
    """Append `values` to `x` along `axis` (both are flattened when None)."""
    return concatenate([ravel(x), ravel(values)] if axis is None else [as_array(x), as_array(values)], axis or 0)


def insert(x: Any, indices: Any, values: Any, axis: int | None = None) -> Array:
    """Insert `values`, cast to x's dtype, before the entries at `indices` along `axis` (x is flattened when None).

    `indices` are a number, a slice, a list or array of integers, or a mask, as in NumPy. They cannot be batched.
    """
    x, axis = line_of(x, axis)
    n, places = x.shape[axis], _chosen_indices(indices, x.shape[axis], "insert")
    values = astype(values, x.dtype)
    values = reshape(values, (1,) * (x.ndim - values.ndim) + values.shape)
    if not places.ndim:  # at a single index NumPy inserts along the first axis of the values
        values = moveaxis(values, 0, axis)
    count = values.shape[axis] if places.size == 1 else places.size
    wide = broadcast_to(values, tuple(count if i == axis else m for i, m in enumerate(x.shape, -x.ndim)))
    return take(concatenate([x, wide], axis), np.insert(np.arange(n), places, np.arange(n, n + count)), axis)


def delete(x: Any, indices: Any, axis: int | None = None) -> Array:
    """Remove the entries at `indices`, given as for `insert`, along `axis` (x is flattened when None)."""
    x, axis = line_of(x, axis)
    places = _chosen_indices(indices, x.shape[axis], "delete")
    return take(x, np.delete(np.arange(x.shape[axis]), places), axis)


def _chosen_indices(indices: Any, n: int, what: str) -> Any:
    """Convert `indices` into an axis of `n` entries to a NumPy array of integers."""
    if isinstance(indices, slice):
        return np.arange(n)[indices]
    places = np.asarray(to_numpy(plain_values(as_array(indices), what)))
    return np.flatnonzero(places) if places.dtype == bool else places if places.size else places.astype(int)


def block(arrays: Any) -> Array:
    """Assemble an array from nested lists of blocks.

    The innermost lists are joined along the last axis, the next along the second last, and so on.
    """
    depth = _depth(arrays)
    leaves = _leaves(arrays)
    ndim = max(depth, *[as_array(x).ndim for x in leaves])
    return _block(arrays, depth, ndim)


def _depth(arrays: Any) -> int:
    return 1 + max(map(_depth, arrays), default=0) if isinstance(arrays, list) else 0


def _leaves(arrays: Any) -> list[Any]:
    return [leaf for part in arrays for leaf in _leaves(part)] if isinstance(arrays, list) else [arrays]


def _block(arrays: Any, depth: int, ndim: int) -> Array:
    if isinstance(arrays, list):
        if not arrays:
            raise ShapeError("block: a list of blocks must not be empty.")
        return concatenate([_block(part, depth - 1, ndim) for part in arrays], -depth)
    x = as_array(arrays)
    return reshape(x, (1,) * (ndim - x.ndim) + x.shape)


def array_split(x: Any, sections: int | Sequence[int], axis: int = 0) -> list[Array]:
    """Split `x` along `axis` into parts of nearly equal length, longer ones first, or at the given indices."""
    x = as_array(x)
    if not isinstance(sections, int | np.integer):
        return split(x, sections, axis)
    n, parts = x.shape[axis], int(sections)
    longer = n % parts
    cuts = [i * (n // parts) + min(i, longer) for i in range(1, parts)]
    return split(x, cuts, axis)


def vsplit(x: Any, sections: int | Sequence[int]) -> list[Array]:
    """Split `x` along its first axis."""
    return split(x, sections, 0)


def hsplit(x: Any, sections: int | Sequence[int]) -> list[Array]:
    """Split `x` along its second axis; a vector along its only axis."""
    return split(x, sections, 0 if as_array(x).ndim == 1 else 1)


def dsplit(x: Any, sections: int | Sequence[int]) -> list[Array]:
    """Split `x` along its third axis."""
    return split(x, sections, 2)


def unstack(x: Any, /, *, axis: int = 0) -> tuple[Array, ...]:
    """Split `x` into its slices along `axis`: x (n, ...) -> n arrays (...)."""
    x = as_array(x)
    axis = trailing_axis(axis, x.ndim)
    return tuple(squeeze(slice_axis(x, axis, i, i + 1), axis) for i in range(x.shape[axis]))


def rollaxis(x: Any, axis: int, start: int = 0) -> Array:
    """Move `axis` to the place before the axis `start`."""
    x = as_array(x)
    axis, start = trailing_axis(axis, x.ndim) + x.ndim, start + x.ndim if start < 0 else start
    return moveaxis(x, axis, start - 1 if axis < start else start)


def fliplr(x: Any) -> Array:
    """Reverse the order of the columns (the second axis)."""
    return flip(x, 1)


def flipud(x: Any) -> Array:
    """Reverse the order of the rows (the first axis)."""
    return flip(x, 0)


def rot90(x: Any, k: int = 1, axes: tuple[int, int] = (0, 1)) -> Array:
    """Rotate `x` by k * 90 degrees in the plane of `axes`, from the first towards the second."""
    k %= 4
    if k == 0:
        return as_array(x)
    if k == 2:
        return flip(x, axes)
    return swapaxes(flip(x, axes[1]), *axes) if k == 1 else flip(swapaxes(x, *axes), axes[1])


def resize(x: Any, shape: int | Sequence[int]) -> Array:
    """Fill an array of `shape` with the entries of `x`, repeated as often as needed."""
    shape = (shape,) if isinstance(shape, int | np.integer) else tuple(shape)
    x, n = ravel(x), math.prod(shape)
    if not x.size and n:
        raise ShapeError(f"resize: {describe(x)} has no entries to fill the shape {shape}.")
    return reshape(take(x, np.arange(n) % max(x.size, 1)), shape)


def apply_along_axis(function: Any, axis: int, x: Any, *args: Any, **kwargs: Any) -> Array:
    """Replace each line of `x` along `axis` with `function(line, *args, **kwargs)`.

    The function is called once for each line; `fd.vmap` calls it once for all.
    """
    x = as_array(x)
    axis %= x.ndim
    lines = moveaxis(x, axis, -1)
    flat = reshape(lines, (-1, lines.shape[-1]))
    y = stack([as_array(function(flat[i], *args, **kwargs)) for i in range(flat.shape[0])])
    y = reshape(y, lines.shape[:-1] + y.shape[1:])
    loops = x.ndim - 1
    return moveaxis(y, list(range(loops, y.ndim)), [axis + i for i in range(y.ndim - loops)])


def apply_over_axes(function: Any, x: Any, axes: Any) -> Array:
    """Apply `function(x, axis)` for each of `axes` in turn; an axis that it drops comes back with length 1."""
    x = as_array(x)
    for axis in np.atleast_1d(axes):
        y = function(x, int(axis))
        x = y if y.ndim == x.ndim else expand_dims(y, int(axis))
    return x


def repeat(x: Any, repeats: Any, axis: int | None = None) -> Array:
    """Repeat each entry along `axis` (of the flattened array when None): x (n,), 2 -> (2 n,).

    `repeats` is one number for all entries, or one for each.
    """
    x = as_array(x)
    if axis is None:
        x, axis = ravel(x), 0
    return take(x, np.repeat(np.arange(x.shape[axis]), repeats), axis)


def pad(x: Any, pad_width: Any, mode: str = "constant", constant_values: float = 0) -> Array:
    """Put entries around `x`; `pad_width` as in NumPy.

    The modes are constant, edge, reflect, symmetric and wrap.
    """
    x = as_array(x)
    widths = [(int(a), int(b)) for a, b in np.broadcast_to(np.asarray(pad_width), (x.ndim, 2))]
    if mode != "constant":
        for axis, width in enumerate(widths):
            if any(width):
                index: Any = np.pad(np.arange(x.shape[axis]), width, mode=mode)  # type: ignore[call-overload]
                x = take(x, index, axis)
        return x
    shape = tuple(n + a + b for n, (a, b) in zip(x.shape, widths, strict=True))
    cuts = tuple((a, a + n, 1) for n, (a, _) in zip(x.shape, widths, strict=True))
    padded = shapes.unslice_axes(x, index=cuts, shape=shape)
    if not np.any(constant_values):
        return padded
    inside = np.zeros(shape, bool)
    inside[tuple(slice(*cut) for cut in cuts)] = True
    return elementwise.where(array_module(x).asarray(inside), padded, constant_values)
