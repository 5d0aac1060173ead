"""Joining and cutting arrays, and turning them about, under NumPy's names."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..devices import array_module, to_numpy
from ..errors import ShapeError
from ..messages import describe
from ..ops import shape as shapes
from ..ops.elementwise import where
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
    """`x` with at least two axes: a vector is a row."""
    made = [reshape(x, (1,) * (2 - x.ndim) + x.shape) if x.ndim < 2 else x for x in map(as_array, arrays)]
    return made[0] if len(made) == 1 else tuple(made)


def atleast_3d(*arrays: Any) -> Any:
    """`x` with at least three axes: (n,) becomes (1, n, 1), (m, n) becomes (m, n, 1)."""
    shapes = {0: lambda s: (1, 1, 1), 1: lambda s: (1, *s, 1), 2: lambda s: (*s, 1)}
    made = [reshape(x, shapes[x.ndim](x.shape)) if x.ndim < 3 else x for x in map(as_array, arrays)]
    return made[0] if len(made) == 1 else tuple(made)


def column_stack(arrays: Sequence[Any]) -> Array:
    """The arrays side by side, those of one axis as columns: k vectors (n,) -> (n, k)."""
    return concatenate([x if x.ndim > 1 else reshape(x, (-1, 1)) for x in map(as_array, arrays)], 1)


def dstack(arrays: Sequence[Any]) -> Array:
    """The arrays behind one another, along the third axis."""
    return concatenate([atleast_3d(x) for x in arrays], 2)


def append(x: Any, values: Any, axis: int | None = None) -> Array:
    """`values` behind `x` along `axis` (both flattened when None)."""
    return concatenate([ravel(x), ravel(values)] if axis is None else [as_array(x), as_array(values)], axis or 0)


def insert(x: Any, indices: Any, values: Any, axis: int | None = None) -> Array:
    """`x` (both flattened when `axis` is None) with `values`, cast to its dtype, put in before the entries at `indices`.

    `indices` are a number, a slice, a list or an array of integers, or a mask, as for numpy.insert, and are no part of a batch.
    """
    x, axis = line_of(x, axis)
    n, places = x.shape[axis], _chosen_indices(indices, x.shape[axis], "insert")
    values = astype(values, x.dtype)
    values = reshape(values, (1,) * (x.ndim - values.ndim) + values.shape)
    if not places.ndim:  # with one place the values may have any length along the axis, which NumPy takes for their first
        values = moveaxis(values, 0, axis)
    count = values.shape[axis] if places.size == 1 else places.size
    wide = broadcast_to(values, tuple(count if i == axis else m for i, m in enumerate(x.shape, -x.ndim)))
    return take(concatenate([x, wide], axis), np.insert(np.arange(n), places, np.arange(n, n + count)), axis)


def delete(x: Any, indices: Any, axis: int | None = None) -> Array:
    """`x` (flattened when `axis` is None) without the entries at `indices`, given as for insert."""
    x, axis = line_of(x, axis)
    places = _chosen_indices(indices, x.shape[axis], "delete")
    return take(x, np.delete(np.arange(x.shape[axis]), places), axis)


def _chosen_indices(indices: Any, n: int, what: str) -> Any:
    """`indices` of an axis of `n` entries as a NumPy array of integers."""
    if isinstance(indices, slice):
        return np.arange(n)[indices]
    places = np.asarray(to_numpy(plain_values(as_array(indices), what)))
    return np.flatnonzero(places) if places.dtype == bool else places if places.size else places.astype(int)


def block(arrays: Any) -> Array:
    """An array put together from nested lists of blocks: the innermost along the last axis, the next along the last but one."""
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
            raise ShapeError("block: there is an empty list among the blocks.")
        return concatenate([_block(part, depth - 1, ndim) for part in arrays], -depth)
    x = as_array(arrays)
    return reshape(x, (1,) * (ndim - x.ndim) + x.shape)


def array_split(x: Any, sections: int | Sequence[int], axis: int = 0) -> list[Array]:
    """`x` cut along `axis` into parts as equal as may be, the longer ones first, or at the given indices."""
    x = as_array(x)
    if not isinstance(sections, int | np.integer):
        return split(x, sections, axis)
    n, parts = x.shape[axis], int(sections)
    longer = n % parts
    cuts = [i * (n // parts) + min(i, longer) for i in range(1, parts)]
    return split(x, cuts, axis)


def vsplit(x: Any, sections: int | Sequence[int]) -> list[Array]:
    """`x` cut along its first axis."""
    return split(x, sections, 0)


def hsplit(x: Any, sections: int | Sequence[int]) -> list[Array]:
    """`x` cut along its second axis (its only one, if it has one)."""
    return split(x, sections, 0 if as_array(x).ndim == 1 else 1)


def dsplit(x: Any, sections: int | Sequence[int]) -> list[Array]:
    """`x` cut along its third axis."""
    return split(x, sections, 2)


def unstack(x: Any, /, *, axis: int = 0) -> tuple[Array, ...]:
    """The slices of `x` along `axis`, without that axis."""
    x = as_array(x)
    axis = trailing_axis(axis, x.ndim)
    return tuple(squeeze(slice_axis(x, axis, i, i + 1), axis) for i in range(x.shape[axis]))


def rollaxis(x: Any, axis: int, start: int = 0) -> Array:
    """The axis `axis` brought to stand before the axis `start`."""
    x = as_array(x)
    axis, start = trailing_axis(axis, x.ndim) + x.ndim, start + x.ndim if start < 0 else start
    return moveaxis(x, axis, start - 1 if axis < start else start)


def fliplr(x: Any) -> Array:
    """The columns (the second axis) in reverse order."""
    return flip(x, 1)


def flipud(x: Any) -> Array:
    """The rows (the first axis) in reverse order."""
    return flip(x, 0)


def rot90(x: Any, k: int = 1, axes: tuple[int, int] = (0, 1)) -> Array:
    """`x` turned by k right angles, from the first of `axes` towards the second."""
    k %= 4
    if k == 0:
        return as_array(x)
    if k == 2:
        return flip(x, axes)
    return swapaxes(flip(x, axes[1]), *axes) if k == 1 else flip(swapaxes(x, *axes), axes[1])


def resize(x: Any, shape: int | Sequence[int]) -> Array:
    """The entries of `x` in an array of `shape`, over again as often as it takes."""
    shape = (shape,) if isinstance(shape, int | np.integer) else tuple(shape)
    x, n = ravel(x), math.prod(shape)
    if not x.size and n:
        raise ShapeError(f"resize: {describe(x)} has no entries to fill the shape {shape}.")
    return reshape(take(x, np.arange(n) % max(x.size, 1)), shape)


def apply_along_axis(function: Any, axis: int, x: Any, *args: Any, **kwargs: Any) -> Array:
    """`function(line, *args, **kwargs)` for every line of `x` along `axis`, whose results take the place of the line.

    One call a line: `fd.vmap` does it in one run.
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
    """`function(x, axis)` for one of `axes` after the other; an axis that it drops is put back with length 1."""
    x = as_array(x)
    for axis in np.atleast_1d(axes):
        y = function(x, int(axis))
        x = y if y.ndim == x.ndim else expand_dims(y, int(axis))
    return x


def repeat(x: Any, repeats: Any, axis: int | None = None) -> Array:
    """Every entry along `axis` repeated: a number of times, or one number for each. x (n,), 2 -> (2 n,)."""
    x = as_array(x)
    if axis is None:
        x, axis = ravel(x), 0
    return take(x, np.repeat(np.arange(x.shape[axis]), repeats), axis)


def pad(x: Any, pad_width: Any, mode: str = "constant", constant_values: float = 0) -> Array:
    """`x` with entries put around it; `pad_width` as in NumPy, modes constant, edge, reflect, symmetric, wrap."""
    x = as_array(x)
    widths = [(int(a), int(b)) for a, b in np.broadcast_to(np.asarray(pad_width), (x.ndim, 2))]
    if mode != "constant":
        for axis, width in enumerate(widths):
            if any(width):
                x = take(x, np.pad(np.arange(x.shape[axis]), width, mode=mode), axis)  # type: ignore[call-overload]  # a mode is a literal there
        return x
    shape = tuple(n + a + b for n, (a, b) in zip(x.shape, widths, strict=True))
    index = tuple((a, a + n, 1) for n, (a, _) in zip(x.shape, widths, strict=True))
    padded = shapes.unslice_axes(x, index=index, shape=shape)
    if not np.any(constant_values):
        return padded
    inside = np.zeros(shape, bool)
    inside[tuple(slice(*entry) for entry in index)] = True
    return where(array_module(x).asarray(inside), padded, constant_values)
