"""Cumulative sums, products and extremes under NumPy's names."""

from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import ShapeError
from ..messages import describe, refuse_out
from ..ops import elementwise
from . import reductions
from .arguments import Array, as_array, trailing_axis
from .creation import ones_like, zeros_like
from .elementwise import cast
from .shape import concatenate, line_along, line_of, slice_axis

__all__ = ["cummax", "cummin", "cumprod", "cumulative_prod", "cumulative_sum"]


def _scan(operation: Callable[[Array, Array], Array], x: Array, axis: int) -> Array:
    """Combine each entry along `axis` with all before it, in doubling steps; `operation` must be associative."""
    step, n = 1, x.shape[axis]
    while step < n:
        combined = operation(slice_axis(x, axis, 0, n - step), slice_axis(x, axis, step, None))
        x = concatenate([slice_axis(x, axis, 0, step), combined], axis)
        step *= 2
    return x


def cumprod(a: Any, axis: int | None = None, dtype: Any = None, out: None = None) -> Array:
    """The cumulative product along `axis` (of the flattened array when None): a (..., n) -> (..., n).

    Its derivative is exact at zeros.
    """
    refuse_out(out)
    a, axis = line_along(a if dtype is None else cast(a, dtype), axis)
    if dtype is None and a.dtype.kind in "biu" and a.dtype.itemsize < 8:
        a = cast(a, np.uint64 if a.dtype.kind == "u" else np.int64)
    return _scan(elementwise.multiply, a, axis)


def _first(better: Callable[[Array, Array], Array]) -> Callable[[Array, Array], Array]:
    def choose(earlier: Array, later: Array) -> Array:
        wins = elementwise.logical_or(better(earlier, later), elementwise.not_equal(earlier, earlier))  # NaN stays
        return elementwise.where(wins, earlier, later)

    return choose


def cummax(x: Any, axis: int | None = None) -> Array:
    """The greatest entry so far along `axis` (of the flattened array when None): x (..., n) -> (..., n).

    It is numpy.maximum.accumulate. The first of equal entries has the derivative.
    """
    return _scan(_first(elementwise.greater_equal), *line_of(x, axis))


def cummin(x: Any, axis: int | None = None) -> Array:
    """The least entry so far along `axis` (of the flattened array when None): x (..., n) -> (..., n).

    It is numpy.minimum.accumulate. The first of equal entries has the derivative.
    """
    return _scan(_first(elementwise.less_equal), *line_of(x, axis))


def _cumulative(
    running: Callable[..., Array], start: Any, x: Any, axis: int | None, dtype: Any, include_initial: bool
) -> Array:
    x = as_array(x)
    if axis is None and x.ndim > 1:
        raise ShapeError(f"cumulative_sum and cumulative_prod need axis= for several axes, got {describe(x)}.")
    axis = trailing_axis(0 if axis is None else axis, x.ndim)
    y = running(x, axis, dtype)
    if not include_initial:
        return y
    shape = list(y.shape)
    shape[axis] = 1
    return concatenate([start(y, shape=tuple(shape)), y], axis)


def cumulative_sum(
    x: Any, /, *, axis: int | None = None, dtype: Any = None, out: None = None, include_initial: bool = False
) -> Array:
    """The cumulative sum along `axis`, which may be None for one axis only: x (..., n) -> (..., n).

    With `include_initial`, a 0 stands in front: (..., n + 1).
    """
    refuse_out(out)
    return _cumulative(reductions.cumsum, zeros_like, x, axis, dtype, include_initial)


def cumulative_prod(
    x: Any, /, *, axis: int | None = None, dtype: Any = None, out: None = None, include_initial: bool = False
) -> Array:
    """The cumulative product along `axis`, which may be None for one axis only: x (..., n) -> (..., n).

    With `include_initial`, a 1 stands in front: (..., n + 1).
    """
    refuse_out(out)
    return _cumulative(cumprod, ones_like, x, axis, dtype, include_initial)
