"""Forms of operations that rearrange entries: reshape, transpose, slices and their adjoints, concatenation."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..sizes import Size, difference, is_sized
from .table import form

WHOLE = (None, None, None)
FAR = np.iinfo(np.int64).max


@form("reshape")
def _reshape(w: Any, step: Any) -> str:
    return str(w.reshape(w.read(step.inputs[0]), step.output.shape))


def order_of(perm: Sequence[int], ndim: int) -> list[int]:
    """The permutation of all axes for one of the last ones, which are counted from the end."""
    return [*range(ndim - len(perm)), *[axis + ndim for axis in perm]]


@form("permute")
def _permute(w: Any, step: Any) -> str:
    (x,) = step.inputs
    return str(w.emit("Transpose", w.read(x), perm=order_of(step.params["perm"], len(x.shape))))


@form("broadcast")
def _broadcast(w: Any, step: Any) -> str:
    return stretched(w, w.read(step.inputs[0]), step.inputs[0].shape, step.output.shape)


def stretched(w: Any, name: str, before: Sequence[int], shape: Sequence[int]) -> str:
    """The value broadcast to a shape."""
    if tuple(before) == tuple(shape):
        return name
    return str(w.emit("Expand", name, w.ints(shape)))


@form("concatenate")
def _concatenate(w: Any, step: Any) -> str:
    axis, y = step.params["axis"], step.output
    names = []
    for x in step.inputs:
        shape = list(y.shape)
        shape[axis] = x.shape[axis]
        names.append(stretched(w, w.read(x, y.dtype), x.shape, shape))
    return str(w.emit("Concat", *names, axis=axis + len(y.shape)) if len(names) > 1 else names[0])


@form("slice")
def _slice(w: Any, step: Any) -> str:
    (x,) = step.inputs
    return sliced(w, w.read(x), len(x.shape), step.params["index"])


def sliced(w: Any, name: str, ndim: int, index: Sequence[Any]) -> str:
    """Basic indexing of the last axes: entries are (start, stop, step), an integer, or None for a new axis."""
    axis = ndim - sum(entry is not None for entry in index)
    rows: list[tuple[int, Any, Any, Any]] = []
    gone, new, kept = [], [], axis
    for entry in index:
        if entry is None:
            new.append(kept)
            kept += 1
            continue
        if isinstance(entry, tuple):
            if entry != WHOLE:
                start, stop, step = entry
                step = 1 if step is None else step
                begin = (0 if step > 0 else FAR) if start is None else start
                end = (FAR if step > 0 else -FAR) if stop is None else stop
                rows.append((axis, begin, end, step))
            kept += 1
        else:
            rows.append((axis, entry, entry + 1 if entry != -1 else FAR, 1))
            gone.append(axis)
        axis += 1
    if rows:
        axes, starts, stops, steps = zip(*rows, strict=True)
        name = w.emit("Slice", name, *[w.ints(numbers) for numbers in (starts, stops, axes, steps)])
    if gone:
        name = w.emit("Squeeze", name, w.ints(gone))
    return str(w.emit("Unsqueeze", name, w.ints(new)) if new else name)


def unsliced(w: Any, name: str, x: Sequence[int], index: Sequence[Any], shape: Sequence[int], dtype: Any) -> str:
    """Zeros with the value of shape `x` at `index` of the last axes, which then have `shape`: each entry of the result is taken from a
    row of the value, or from a row of zeros behind it."""
    kept = len(index) - sum(isinstance(entry, int) for entry in index)
    axis = len(x) - kept
    loops = axis
    # Without new axes, and with a length of 1 where an integer was.
    if new := [loops + i for i, entry in enumerate([e for e in index if not isinstance(e, int)]) if entry is None]:
        name = w.emit("Squeeze", name, w.ints(new))
    entries = [entry for entry in index if entry is not None]
    if one := [loops + i for i, entry in enumerate(entries) if isinstance(entry, int)]:
        name = w.emit("Unsqueeze", name, w.ints(one))
    given = iter(x[axis:])
    lengths = [1 if isinstance(entry, int) else next(given) for entry in index]
    lengths = [n for entry, n in zip(index, lengths, strict=True) if entry is not None]
    for i, (entry, n) in enumerate(zip(entries, shape, strict=True)):
        if entry == WHOLE:
            continue
        if is_sized(n):
            name = _among_rows(w, name, loops + len(entries), loops + i, entry, n, lengths[i], dtype)
            continue
        places = np.arange(n)[slice(*entry)] if isinstance(entry, tuple) else np.array([range(n)[entry]])
        source = np.full(n, len(places))
        source[places] = np.arange(len(places))
        pads = [0] * (2 * (loops + len(entries)))
        pads[loops + len(entries) + loops + i] = 1
        name = w.emit("Pad", name, w.ints(pads), w.constant(np.zeros((), dtype)))
        name = w.emit("Gather", name, w.constant(source), axis=loops + i)
    return name


def _among_rows(w: Any, name: str, ndim: int, axis: int, entry: Any, n: Any, rows: int | Size, dtype: Any) -> str:
    """The value with zeros in front of its rows and behind them, along an axis whose length `n` depends on the batch."""
    start, _, step = entry if isinstance(entry, tuple) else (entry, None, None)
    if step not in (None, 1):
        raise w.give_up("puts rows apart into an axis that depends on the batch's size, which has no form in ONNX.")
    front: int | Size = start or 0
    if front < 0:
        front = difference(n, -front)
    behind = difference(difference(n, front), rows)
    if not is_sized(front) and not is_sized(behind) and front == behind == 0:
        return name
    pads: list[int] = [0] * (2 * ndim)
    pads[axis], pads[ndim + axis] = front, behind
    return str(w.emit("Pad", name, w.ints(pads), w.constant(np.zeros((), dtype))))


@form("unslice")
def _unslice(w: Any, step: Any) -> str:
    (x,) = step.inputs
    return unsliced(w, w.read(x), x.shape, step.params["index"], step.params["shape"], x.dtype)


def added(w: Any, names: Sequence[str], dtype: Any) -> str:
    """The sum of values of one dtype."""
    total = names[0]
    for name in names[1:]:
        total = w.emit("Add", total, name)
    return total


@form("unslice_all")
def _unslice_all(w: Any, step: Any) -> str:
    params, y = step.params, step.output
    parts = [
        unsliced(w, w.read(x, y.dtype), x.shape, index, params["shape"], y.dtype)
        for x, index in zip(step.inputs, params["indices"], strict=True)
    ]
    return added(w, parts, y.dtype)


@form("sum_pieces")
def _sum_pieces(w: Any, step: Any) -> str:
    y, parts = step.output, []
    for x, path in zip(step.inputs, step.params["paths"], strict=True):
        name, shape = w.read(x, y.dtype), list(x.shape)
        for view, items, before in reversed(path):
            name, shape = _undone(w, view.name, dict(items), name, shape, before, y.dtype)
        parts.append(name)
    return added(w, parts, y.dtype)


def _undone(
    w: Any, view: str, params: dict[str, Any], name: str, shape: list[int], before: Sequence[int], dtype: Any
) -> tuple[str, list[int]]:
    """The adjoint of a view of an array whose last axes had the lengths `before`, and the shape of the result."""
    if view == "reshape":
        loops = shape[: len(shape) - len(params["shape"]) - (len(before) - params["ndim"])]
        return w.reshape(name, [*loops, *before]), [*loops, *before]
    if view == "permute":
        perm = params["perm"]
        back = [perm.index(axis) - len(perm) for axis in range(-len(perm), 0)]
        turned = order_of(back, len(shape))
        return w.emit("Transpose", name, perm=turned), [shape[i] for i in turned]
    index = params["index"]
    count = sum(entry is not None for entry in index)
    lengths = before[len(before) - count :]
    kept = len(index) - sum(isinstance(entry, int) for entry in index)
    made = unsliced(w, name, shape, index, lengths, dtype)
    return made, [*shape[: len(shape) - kept], *lengths]
