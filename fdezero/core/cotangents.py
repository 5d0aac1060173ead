"""Gives tangents and cotangents the shape and dtype of their values."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from ..values import own_dtype, shape_of, with_shape


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
            t = t.sum(axis=tuple(range(extra)))
        if axes := tuple(i for i, n in enumerate(shape) if n == 1 and t.shape[i] != 1):
            t = t.sum(axis=axes, keepdims=True)
        if t.shape != shape:
            t = np.broadcast_to(t, shape)
    return cast(t, dtype)


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
