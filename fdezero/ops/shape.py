"""Shape: linear operations that rearrange entries, on trailing axes."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import values
from ..core import Linear, linear
from ..core.cotangents import cast, total
from ..core.pieces import Path, Piece, Views, add_piece, room_for
from ..devices import array_module, backend_of
from .joining_kernels import joined

Index = tuple[Any, ...]


def loop_axes(x: Any, core: int) -> tuple[int, ...]:
    """The lengths of an array's loop axes: all axes but the last `core`."""
    shape: tuple[int, ...] = x.shape
    return shape[: len(shape) - core]


def common_loops(*arrays: tuple[Any, int]) -> tuple[int, ...]:
    """The loop axes of several arrays, broadcast; each comes with the number of its other axes."""
    first, *others = [loop_axes(x, core) for x, core in arrays]
    return first if all(loops == first for loops in others) else np.broadcast_shapes(first, *others)


def stretched(x: Any, shape: tuple[int, ...]) -> Any:
    """The array broadcast to a shape; unchanged if it has that shape."""
    return x if x.shape == shape else np.broadcast_to(x, shape)


def _trailing(shape: tuple[int, ...], count: int) -> tuple[int, ...]:
    return shape[len(shape) - count :]


def _replace(shape: tuple[int, ...], count: int, new: tuple[int, ...]) -> tuple[int, ...]:
    return shape[: len(shape) - count] + new


def _put(pieces: list[Piece], shape: tuple[int, ...]) -> Any:
    """The sum of pieces of an array of `shape`, as one operation."""
    xs = [x for x, _ in pieces]
    if all(len(path) == 1 and path[0][0] is slice_axes for _, path in pieces):
        whole = ((None, None, None),)
        indices = [path[0][1]["index"] for _, path in pieces]
        indices = [whole * (len(shape) - sum(e is not None for e in index)) + index for index in indices]
        if (found := _coverage(indices, shape)) is not None:
            return unslice_all(*xs, indices=tuple(indices), shape=shape, whole=found)
    paths = tuple([tuple([(step, tuple(params.items()), of) for step, params, of in path]) for _, path in pieces])
    return sum_pieces(*xs, paths=paths, shape=shape)


# The last `ndim` axes take on `shape`.
reshape: Linear = linear(
    "reshape",
    lambda x, *, ndim, shape: x.reshape(_replace(x.shape, ndim, shape)),
    lambda t, x, *, ndim, shape: reshape(t, ndim=len(shape), shape=_trailing(x.shape, ndim)),
    piece=Views(lambda x, *, ndim, shape: x.reshape(_replace(x.shape, ndim, shape)), _put, in_rows=True),
    write=lambda out, x, *, ndim, shape: array_module(out).copyto(out.reshape(x.shape), x),
)


def _permuted(x: Any, *, perm: tuple[int, ...]) -> Any:
    return x.transpose(*range(x.ndim - len(perm)), *[x.ndim + axis for axis in perm])


# The last len(perm) axes in the order `perm`, negative numbers.
permute: Linear = linear(
    "permute",
    _permuted,
    lambda t, x, *, perm: permute(t, perm=tuple(perm.index(axis) - len(perm) for axis in range(-len(perm), 0))),
    piece=Views(_permuted, _put),
)
# The last len(shape) axes broadcast to `shape`.
broadcast: Linear = linear(
    "broadcast",
    lambda x, *, shape: np.broadcast_to(x, _replace(x.shape, len(shape), shape)),
    lambda t, x, *, shape: total(t, tuple(i for i in range(-len(shape), 0) if x.shape[i] != shape[i]), True),
)
CAST = "xp.copyto({out}, {0}, casting='unsafe')"
astype: Linear = linear(
    "astype",
    lambda x, *, dtype: x.astype(dtype),
    lambda t, x, *, dtype: cast(t, x.dtype),
    c="x0",
    loop=lambda dtypes, y: dtypes,
    write=CAST,
)


def _replaced(shape: tuple[int, ...], axis: int) -> tuple[int, ...]:
    """The shape with length 1 along a trailing axis."""
    return (*shape[: len(shape) + axis], 1, *shape[len(shape) + axis + 1 :])


def _concatenate(*arrays: Any, axis: int, out: Any = None) -> Any:
    loops = {x.shape[:axis] for x in arrays}
    if len(loops) > 1:  # some are batched, others are not
        loop = np.broadcast_shapes(*loops)
        arrays = tuple(np.broadcast_to(x, loop + x.shape[axis:]) for x in arrays)
    if not backend_of(*arrays).reads_at_once and len({x.dtype for x in arrays}) == 1:
        shape = (*arrays[0].shape[:axis], sum(x.shape[axis] for x in arrays), *arrays[0].shape[arrays[0].ndim + axis + 1 :])
        y = np.empty_like(arrays[0], shape=shape, order="C") if out is None else out
        if all(_replaced(x.shape, axis) == _replaced(shape, axis) for x in arrays) and joined(y, arrays, axis):
            return y
    return np.concatenate(arrays, axis=axis, out=out)


def _concatenate_adjoint(t: Any, i: int, *arrays: Any, axis: int) -> Any:
    start = sum(x.shape[axis] for x in arrays[:i])
    stop = start + arrays[i].shape[axis]
    return slice_axes(t, index=cut(axis, start, stop, 1))


concatenate: Linear = linear(
    "concatenate",
    _concatenate,
    variadic=_concatenate_adjoint,
    core=lambda args, params: (-params["axis"],) * len(args),
    write=lambda out, *arrays, axis: _concatenate(*arrays, axis=axis, out=out),
)


def index_of(index: Index) -> Index:
    """The index in NumPy's form."""
    return (..., *(slice(*entry) if isinstance(entry, tuple) else entry for entry in index))


def cut(axis: int, start: int | None, stop: int | None, step: int | None = None) -> Index:
    """The index of `slice_axes` for start:stop:step in the trailing axis number `axis`, and everything in the axes behind it."""
    return ((start, stop, step),) + ((None, None, None),) * (-axis - 1)


def _slice(x: Any, *, index: Index) -> Any:
    y = x[index_of(index)]
    return y if y.shape else y[()]  # a single entry is a number, as in NumPy


# Basic indexing of the last axes: each entry of `index` is (start, stop, step), an integer, or None for a new axis.
slice_axes: Linear = linear(
    "slice",
    _slice,
    lambda t, x, *, index: unslice_axes(t, index=index, shape=_trailing(x.shape, sum(e is not None for e in index))),
    piece=Views(lambda x, *, index: x[index_of(index)], _put, starts=True),
)


def _unslice(x: Any, *, index: Index, shape: tuple[int, ...]) -> Any:
    y = np.zeros_like(x, shape=_replace(x.shape, _kept(index), shape))
    y[index_of(index)] = x
    return y


def _write_unslice(out: Any, x: Any, *, index: Index, shape: tuple[int, ...]) -> None:
    out.fill(0)
    out[index_of(index)] = x


# Zeros of `shape` with x at `index`: the adjoint of slicing.
unslice_axes: Linear = linear("unslice", _unslice, lambda t, x, *, index, shape: slice_axes(t, index=index), write=_write_unslice)


def _unslice_all(*xs: Any, indices: tuple[Index, ...], shape: tuple[int, ...], whole: bool) -> Any:
    loops = common_loops(*zip(xs, map(_kept, indices), strict=True))
    y = np.empty_like(xs[0], shape=loops + shape)
    _write_unslice_all(y, *xs, indices=indices, shape=shape, whole=whole)
    return y


def _write_unslice_all(out: Any, *xs: Any, indices: tuple[Index, ...], shape: tuple[int, ...], whole: bool) -> None:
    if whole and not backend_of(out).reads_at_once and (order := side_by_side(indices)) is not None:
        axis, places = order
        if joined(out, [xs[i] for i in places], axis, plus_zero=True):
            return
    if not whole:
        out.fill(0)
    for x, index in zip(xs, indices, strict=True):
        np.add(x, 0, out=out[index_of(index)])  # like the sum, in which -0 becomes 0


def side_by_side(indices: tuple[Index, ...]) -> tuple[int, list[int]] | None:
    """The one trailing axis along which these slices lie side by side, and their order; None if they do not."""
    whole = (None, None, None)
    if any(not isinstance(entry, tuple) or entry[2] not in (None, 1) for index in indices for entry in index):
        return None
    axes = {k - len(index) for index in indices for k, entry in enumerate(index) if entry != whole}
    if len(axes) != 1:
        return None
    (axis,) = axes
    starts = [index[axis][0] or 0 for index in indices]
    return (axis, sorted(range(len(indices)), key=starts.__getitem__)) if min(starts) == 0 else None


def _kept(index: Index) -> int:
    return len(index) - sum(isinstance(entry, int) for entry in index)


# The sum of several slices put back that do not overlap; `whole` if they cover all entries.
unslice_all: Linear = linear(
    "unslice_all",
    _unslice_all,
    variadic=lambda t, i, *xs, indices, shape, whole: slice_axes(t, index=indices[i]),
    core=lambda args, params: tuple(map(_kept, params["indices"])),
    write=_write_unslice_all,
)


MOST_COUNTED = 1 << 22  # entries, up to which pieces are counted to see whether they overlap


def _coverage(indices: Sequence[Index], shape: tuple[int, ...]) -> bool | None:
    """Whether slices of an array of `shape` cover it; None if two of them may overlap."""
    if any(None in index for index in indices):
        return None
    # Axes that all cut alike cannot keep two slices apart.
    different = [
        axis for axis, entries in enumerate(zip(*indices, strict=True)) if any(e != entries[0] for e in entries)
    ]
    lengths = [shape[axis] for axis in different]
    if math.prod(lengths) > MOST_COUNTED:
        return None
    taken = np.zeros(lengths, bool)
    for index in indices:
        place = tuple([slice(*index[axis]) if isinstance(index[axis], tuple) else index[axis] for axis in different])
        if taken[place].any():
            return None
        taken[place] = True
    alike = [range(n)[slice(*e)] if isinstance(e, tuple) else (e,) for n, e in zip(shape, indices[0], strict=True)]
    return bool(taken.all()) and all(len(alike[axis]) == n for axis, n in enumerate(shape) if axis not in different)


Paths = tuple[tuple[tuple[Linear, tuple[tuple[str, Any], ...], tuple[int, ...]], ...], ...]


def _path(steps: Any) -> Path:
    return tuple([(step, dict(items), shape) for step, items, shape in steps])


def _sum_pieces(*xs: Any, paths: Paths, shape: tuple[int, ...]) -> Any:
    loops = common_loops(*zip(xs, _kept_by(paths, shape), strict=True))
    y = room_for((xs[0], _path(paths[0])), loops + shape)
    for x, path in zip(xs, paths, strict=True):
        add_piece(y, x, _path(path))
    return y


def _write_sum_pieces(out: Any, *xs: Any, paths: Paths, shape: tuple[int, ...]) -> None:
    out.fill(0)
    for i, (x, path) in enumerate(zip(xs, paths, strict=True)):
        add_piece(out, x, _path(path), is_first=i == 0)


def _kept_by(paths: Paths, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The number of axes of each piece that are not loop axes."""
    changes: dict[Any, Any] = {
        slice_axes: lambda index: _kept(index) - sum(e is not None for e in index),
        reshape: lambda ndim, shape: len(shape) - ndim,
        permute: lambda perm: 0,
    }
    return tuple([len(shape) + sum([changes[step](**dict(items)) for step, items, _ in path]) for path in paths])


def _piece_of(t: Any, i: int, *xs: Any, paths: Paths, shape: tuple[int, ...]) -> Any:
    for step, items, _ in paths[i]:
        t = step(t, **dict(items))
    return t


# Zeros of `shape`, with each x added to the part where its path of views leads.
sum_pieces: Linear = linear(
    "sum_pieces",
    _sum_pieces,
    variadic=_piece_of,
    core=lambda args, params: _kept_by(params["paths"], params["shape"]),
    write=_write_sum_pieces,
)


# A number as an array without axes. Its dtype is no longer weak.
as_array: Linear = linear("as_array", values.with_shape, lambda t, x: t)
copy: Linear = linear("copy", lambda x: x.copy(), lambda t, x: t, write="xp.copyto({out}, {0})")


def _fence(x: Any, seed: Any, *, ndim: int, after: int) -> Any:
    if not hasattr(x, "shape"):  # a Python number
        return x
    loops = common_loops((x, ndim), (seed, after))
    return x if loops == loop_axes(x, ndim) else np.broadcast_to(x, loops + _trailing(x.shape, ndim))


# x, as soon as `seed` exists. Values computed from it are not merged with values computed from x before.
fence: Linear = linear(
    "fence",
    _fence,
    lambda t, x, seed, *, ndim, after: t,
    None,
    core=lambda args, params: (params["ndim"], params["after"]),
)
