"""Gives tangents and cotangents the shape and dtype of their values."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from ..values import WIDE, is_half, own_dtype, shape_of, with_shape
from .primitive import REGISTRY
from .tracer import Tracer

SMALL = 1 << 10  # entries that NumPy's sum adds up in less time than the call of an operation takes
CHUNK = 1 << 9  # rows that one product adds up
# A product with ones adds up the rows of a matrix. NumPy's sum over the first axis makes a loop for each row: four times as long for
# 500 rows of 32.
ONES = {np.dtype(dtype): np.ones(CHUNK, dtype) for dtype in (np.float32, np.float64)}


def zeros_like(x: Any) -> Any:
    """Zeros of the shape, dtype and device of `x`."""
    return np.zeros_like(with_shape(x))


def filled(values: Sequence[Any], tangents: Sequence[Any], mask: Sequence[bool]) -> list[Any]:
    """The tangents where `mask` is true, with zeros for a missing one, and None elsewhere."""
    triples = zip(values, tangents, mask, strict=True)
    return [(zeros_like(x) if t is None else t) if wanted else None for x, t, wanted in triples]


def chosen(values: Sequence[Any], mask: Sequence[bool]) -> list[Any]:
    """The values where `mask` is true. `merged` is the inverse."""
    return [value for value, wanted in zip(values, mask, strict=True) if wanted]


def merged(mask: Sequence[bool], chosen: Iterable[Any], others: Sequence[Any] | None = None) -> list[Any]:
    """One entry for each of `mask`: the next of `chosen` where it is true, elsewhere that of `others`, or None."""
    following = iter(chosen)
    return [
        next(following) if wanted else other for wanted, other in zip(mask, others or [None] * len(mask), strict=True)
    ]


def fit(t: Any, shape: tuple[int, ...], dtype: Any) -> Any:
    """The cotangent `t` in the shape and dtype of its primal. Broadcasting and casts are undone here, and nowhere else."""
    if t.shape != shape:
        if extra := len(t.shape) - len(shape):
            t = _summed_in_front(t, extra)
        if axes := tuple(i for i, n in enumerate(shape) if n == 1 and t.shape[i] != 1):
            t = total(t, axes, True)
        if t.shape != shape:
            t = np.broadcast_to(t, shape)
    return cast(t, dtype)


def total(t: Any, axes: tuple[int, ...], keepdims: bool, out: Any = None) -> Any:
    """The sum over `axes`, in float32 for float16 and bfloat16. NumPy would round after each row there."""
    if t.dtype in WIDE or not is_half(t.dtype):
        return t.sum(axis=axes, keepdims=keepdims, out=out) if out is not None else t.sum(axis=axes, keepdims=keepdims)
    y = t.astype(np.float32).sum(axis=axes, keepdims=keepdims).astype(t.dtype)
    if out is None:
        return y
    out[...] = y
    return out


def _summed_in_front(t: Any, count: int) -> Any:
    """The sum over the first `count` axes. As an operation it has a name of its own, because NumPy's `sum` adds in another order."""
    shape = t.shape
    if len(shape) == count or math.prod(shape) < SMALL:
        return total(t, tuple(range(count)), False)
    if isinstance(t, Tracer):
        return REGISTRY["sum_in_front"](t, count=count, ndim=len(shape) - count)
    return sum_in_front(t, count)


def sum_in_front(t: Any, count: int, out: Any = None) -> Any:
    """The sum over the first `count` axes of a plain array with further axes, written into `out` if that is given."""
    shape = t.shape[count:]
    rows, columns = math.prod(t.shape[:count]), math.prod(shape)
    if t.__class__ is not np.ndarray or rows < 4 or columns < 2 or t.dtype not in ONES or not t.flags.c_contiguous:
        return total(t, tuple(range(count)), False, out)
    t = t.reshape(rows, columns)
    if rows <= CHUNK and out is not None and out.flags.c_contiguous:
        np.matmul(ONES[t.dtype][:rows], t, out=out.reshape(columns))
        return out
    y = _rows_added(t).reshape(shape)
    if out is None:
        return y
    out[...] = y
    return out


def _rows_added(t: Any) -> Any:
    ones, rows = ONES[t.dtype], len(t)
    if rows <= CHUNK:
        return np.matmul(ones[:rows], t)
    whole = rows // CHUNK
    parts = np.matmul(ones, t[: whole * CHUNK].reshape(whole, CHUNK, t.shape[1]))
    y, rest = _rows_added(parts), t[whole * CHUNK :]
    return y + np.matmul(ones[: len(rest)], rest) if len(rest) else y


def cast(t: Any, dtype: Any) -> Any:
    """`t` cast to `dtype`, the dtype of its primal.

    None stands for a Python float, whose dtype is weak: no cast. If the primal is real, only the real part of `t` is kept.
    """
    if t.dtype.kind == "c" and (dtype is None or dtype.kind != "c"):
        t = t.real
    return t if dtype is None or t.dtype == dtype else t.astype(dtype)


def match(tangent: Any, y: Any) -> Any:
    """The tangent broadcast and cast to the shape and dtype of `y`. Tangents are matched here, and nowhere else."""
    shape, dtype = shape_of(y), own_dtype(y)
    if shape_of(tangent) != shape:
        tangent = np.broadcast_to(tangent, shape)
    return tangent if dtype is None or getattr(tangent, "dtype", dtype) == dtype else cast(tangent, dtype)
