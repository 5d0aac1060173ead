"""Arrays of any layout and dtype for an engine that takes several arrays as one message: copied only where they are not contiguous."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..values import is_half
from .engines.engine import Streaming

Arrays = Sequence[Any]


def all_reduce(engine: Streaming, xs: Arrays, outs: Arrays, op: str) -> None:
    """Write the reduction over ranks into `outs`. float16 and bfloat16 are added in float32, and rounded once."""
    xs, outs = _with_entries(xs, outs)
    rows = [_row(out) for out in outs]
    engine.all_reduce_each([_row(x, True) for x in xs], rows, [_computed_in(x.dtype) for x in xs], op)
    _write_back(rows, outs)


def all_gather(engine: Streaming, xs: Arrays, outs: Arrays, axes: Sequence[int]) -> None:
    """Write the arrays of all ranks, joined along an axis each, into `outs`."""
    size = engine.size
    places = [i for i, x in enumerate(xs) if x.size]
    rows = [
        outs[i].reshape(size, -1)
        if _is_in_rows(outs[i], axes[i])
        else np.empty_like(xs[i], shape=(size, xs[i].size), order="C")
        for i in places
    ]
    engine.all_gather_each([_bytes(_row(xs[i], True)) for i in places], [_bytes(row) for row in rows])
    for i, row in zip(places, rows, strict=True):
        if not _is_in_rows(outs[i], axes[i]):
            axis = axes[i] + xs[i].ndim
            split_axis(outs[i], axis, size)[...] = np.moveaxis(row.reshape(size, *xs[i].shape), 0, axis)


def reduce_scatter(engine: Streaming, xs: Arrays, outs: Arrays, axes: Sequence[int]) -> None:
    """Write this rank's part of the sum over ranks into `outs`."""
    size = engine.size
    given = []
    for x, axis in zip(xs, axes, strict=True):
        if x.size:
            rows = x if _is_in_rows(x, axis) else np.moveaxis(split_axis(x, axis + x.ndim, size), axis + x.ndim, 0)
            rows = rows.reshape(size, -1)
            given.append(rows if rows.flags.c_contiguous else rows.copy())
    xs, outs = _with_entries(xs, outs)
    parts = [_row(out) for out in outs]
    engine.reduce_scatter_each(given, parts, [_computed_in(x.dtype) for x in xs])
    _write_back(parts, outs)


def broadcast(engine: Streaming, xs: Arrays, outs: Arrays, root: int, is_root: bool) -> None:
    """Write the arrays of rank `root` into `outs`."""
    xs, outs = _with_entries(xs, outs)
    rows = [_row(out) for out in outs]
    if is_root:
        for row, x in zip(rows, xs, strict=True):
            row.reshape(x.shape)[...] = x
    engine.broadcast_each([_bytes(row) for row in rows], root)
    _write_back(rows, outs)


def split_axis(x: Any, axis: int, size: int) -> Any:
    """A view with the axis as two: x (..., size * n, ...) -> (..., size, n, ...)."""
    return x.reshape((*x.shape[:axis], size, x.shape[axis] // size, *x.shape[axis + 1 :]))


def _with_entries(xs: Arrays, outs: Arrays) -> tuple[list[Any], list[Any]]:
    """The arrays that are not empty."""
    return [x for x in xs if x.size], [out for out in outs if out.size]


def _computed_in(dtype: Any) -> Any:
    return np.dtype(np.float32) if is_half(dtype) else dtype


def _row(x: Any, with_entries: bool = False) -> Any:
    """The array as a row in C order: a view, or new memory, which has its entries if asked."""
    if x.flags.c_contiguous:
        return x.reshape(-1)
    return x.ravel() if with_entries else np.empty_like(x, shape=(x.size,))


def _write_back(rows: Arrays, outs: Arrays) -> None:
    """Copy the rows that are not views into their arrays."""
    for row, out in zip(rows, outs, strict=True):
        if not out.flags.c_contiguous:
            out[...] = row.reshape(out.shape)


def _is_in_rows(x: Any, axis: int) -> bool:
    """Whether the parts along the axis lie one after another in memory."""
    return axis == -x.ndim and bool(x.flags.c_contiguous)


def _bytes(x: Any) -> Any:
    """The memory of an array as bytes, which can be copied whatever the dtype: (..., n) -> (..., bytes)."""
    return x.view(np.uint8)
