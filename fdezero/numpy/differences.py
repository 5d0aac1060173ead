"""Differences of neighbours, slopes, integrals and interpolation along an axis, under NumPy's names."""

import math
from typing import Any

import numpy as np

from ..errors import DTypeError, RangeError, ShapeError
from ..messages import describe
from ..ops import elementwise
from ..ops.checks import checked
from ..values import is_floating, limits
from . import reductions
from .arguments import Array, ArrayOrNumber, as_array, beside, inexact, trailing_axis
from .elementwise import cast
from .indexing import getitem, take
from .reductions import sum as sum_of
from .shape import broadcast_to, concatenate, moveaxis, ravel, reshape, slice_axis
from .sorting import searchsorted

__all__ = ["diff", "ediff1d", "gradient", "interp", "trapezoid", "unwrap"]


def diff(a: Any, n: int = 1, axis: int = -1, prepend: Any = None, append: Any = None) -> Array:
    """The n-th differences of neighbours along `axis`: a (..., m) -> (..., m - n).

    `prepend` and `append` are joined to `a` first.
    """
    a = as_array(a)
    if n < 0:
        raise ValueError(f"diff: n must be 0 or more, got {n}.")
    if n == 0:
        return a
    axis = trailing_axis(axis, a.ndim)
    ends = [None if end is None else beside(end, a) for end in (prepend, append)]
    one = tuple(1 if i == axis else m for i, m in enumerate(a.shape, -a.ndim))
    before, after = ([] if end is None else [end if end.ndim else broadcast_to(end, one)] for end in ends)
    if before or after:
        a = concatenate([*before, a, *after], axis)
    subtract = elementwise.not_equal if a.dtype == bool else elementwise.subtract
    for _ in range(n):
        a = subtract(slice_axis(a, axis, 1, None), slice_axis(a, axis, 0, max(0, a.shape[axis] - 1)))
    return a


def ediff1d(ary: Any, to_end: Any = None, to_begin: Any = None) -> Array:
    """The differences of neighbours in the flattened array, with `to_begin` in front and `to_end` behind."""
    ary = ravel(ary)
    if ary.dtype == bool:
        raise DTypeError("ediff1d takes numbers, got bool. Booleans do not have a difference: use ary[1:] != ary[:-1].")
    for name, end in (("to_end", to_end), ("to_begin", to_begin)):
        if end is not None and not np.can_cast(as_array(end).dtype, ary.dtype, "same_kind"):
            raise DTypeError(f"ediff1d: {name} is {describe(as_array(end))}, which {ary.dtype} of ary cannot hold.")
    y = diff(ary)
    before, after = ([] if end is None else [cast(ravel(beside(end, y)), y.dtype)] for end in (to_begin, to_end))
    return concatenate([*before, y, *after])


def gradient(f: Any, *spacing: Any, axis: Any = None, edge_order: int = 1) -> Any:
    """The derivative along each axis (or `axis`): central differences, one-sided of order `edge_order` at the ends.

    `spacing` is a distance for all axes, or for each axis a distance or coordinates (n,). You get an array of f's
    shape, or a tuple of one array for each axis if there are several. Source: numpy.gradient.
    """
    f = as_array(f)
    if f.dtype == bool:
        raise DTypeError("gradient takes numbers, got bool. Cast it first: f.astype(float).")
    f = inexact(f)
    axes = [trailing_axis(int(i), f.ndim) for i in (range(f.ndim) if axis is None else np.atleast_1d(axis))]
    if len(set(axes)) < len(axes):
        raise ShapeError(f"gradient: axis={axis} names an axis twice.")
    if edge_order not in (1, 2):
        raise ShapeError(f"gradient: edge_order must be 1 or 2, got {edge_order}.")
    steps = list(spacing or [1.0])
    if len(steps) == 1 and not np.ndim(steps[0]):
        steps *= len(axes)
    if len(steps) != len(axes):
        raise ShapeError(f"gradient needs one spacing, or one for each axis, got {len(steps)} for {len(axes)} axes.")
    real = limits(f.dtype).dtype
    steps = [cast(beside(h, f), real) if isinstance(h, int | float) else beside(h, f) for h in steps]
    slopes = [moveaxis(_slopes(moveaxis(f, i, -1), h, edge_order), -1, i) for i, h in zip(axes, steps, strict=True)]
    return slopes[0] if len(slopes) == 1 else tuple(slopes)


def _slopes(x: Array, spacing: Array, edge_order: int) -> Array:
    n = x.shape[-1]
    if n <= edge_order:
        raise ShapeError(f"gradient: edge_order={edge_order} needs {edge_order + 1} entries along the axis, got {n}.")
    dtype = limits(x.dtype).dtype  # so that a float64 distance does not widen a float32 result
    spacing = spacing if spacing.dtype == dtype else cast(spacing, dtype)
    widths = diff(spacing) if spacing.ndim else broadcast_to(spacing, (n - 1,))
    rises = elementwise.divide(diff(x), widths)  # the slope between neighbours

    def at(y: Array, i: int) -> Array:
        return getitem(y, (..., slice(i, i + 1 or None)))

    first, last = at(rises, 0), at(rises, -1)
    if n > 2:
        a, b = slice_axis(widths, -1, 0, -1), slice_axis(widths, -1, 1, None)
        before, after = slice_axis(rises, -1, 0, -1), slice_axis(rises, -1, 1, None)
        if spacing.ndim:
            inner = (before * b + after * a) / (a + b)
        else:  # an infinite entry between two finite ones does not count
            outer = elementwise.subtract(slice_axis(x, -1, 2, None), slice_axis(x, -1, 0, -2))
            inner = elementwise.divide(outer, 2 * spacing)
        if edge_order == 2:
            first = first + (first - at(rises, 1)) * at(widths, 0) / (at(widths, 0) + at(widths, 1))
            last = last + (last - at(rises, -2)) * at(widths, -1) / (at(widths, -1) + at(widths, -2))
        return concatenate([first, inner, last], -1)
    return concatenate([first, last], -1)


def trapezoid(y: Any, x: Any = None, dx: Any = 1.0, axis: int = -1) -> ArrayOrNumber:
    """The integral of `y` along `axis` by the trapezoidal rule: y (..., n) -> (...).

    The points are `x`, (n,) or of y's shape, or `dx` apart.
    """
    y = as_array(y)
    axis = trailing_axis(axis, y.ndim)
    if x is not None:
        x = as_array(x)
        dx = diff(x) if x.ndim == 1 else diff(x, axis=axis)
        dx = reshape(dx, (*dx.shape, *[1] * (-axis - 1))) if x.ndim == 1 else dx
    pairs = elementwise.add(slice_axis(y, axis, 1, None), slice_axis(y, axis, 0, -1))
    return sum_of(elementwise.divide(elementwise.multiply(dx, pairs), 2.0), axis=axis)


def unwrap(p: Any, discont: float | None = None, axis: int = -1, *, period: Any = 2 * math.pi) -> Array:
    """Remove jumps along `axis` greater than half a `period` (or `discont`): p (..., n) -> (..., n).

    Multiples of the period are added to the entries behind a jump.
    """
    p = as_array(p)
    if not is_floating(p.dtype):
        p = cast(p, np.float64)
    axis = trailing_axis(axis, p.ndim)
    steps = elementwise.stop_gradient(diff(p, axis=axis))
    half = elementwise.divide(period, 2)
    wrapped = elementwise.subtract(elementwise.remainder(elementwise.add(steps, half), period), half)
    wrapped = elementwise.where(
        elementwise.logical_and(elementwise.equal(wrapped, elementwise.negative(half)), elementwise.greater(steps, 0)),
        half,
        wrapped,
    )
    jumps = elementwise.less(elementwise.absolute(steps), half if discont is None else discont)
    correction = reductions.cumsum(elementwise.where(jumps, 0, elementwise.subtract(wrapped, steps)), axis)
    return concatenate(
        [slice_axis(p, axis, 0, 1), elementwise.add(slice_axis(p, axis, 1, None), cast(correction, p.dtype))], axis
    )


def interp(x: Any, xp: Any, fp: Any, left: Any = None, right: Any = None, period: float | None = None) -> ArrayOrNumber:
    """Interpolate linearly between the points (`xp`, `fp`), both (n,), at `x`: x (...) -> (...). `xp` must ascend.

    `left` and `right` are the values outside the points, by default the first and the last of `fp`. With a `period`, xp
    may have any order. Differentiable in x, xp and fp.
    """
    x, xp, fp = (cast(z, np.result_type(z.dtype, np.float64)) for z in map(as_array, (x, xp, fp)))  # as in NumPy
    if xp.ndim != 1 or xp.shape != fp.shape or not xp.shape[0]:
        raise ShapeError(f"interp expects xp and fp of one shape (n,), n > 0, got {describe(xp)} and {describe(fp)}.")
    if period is not None:
        checked(
            period, test=lambda period: period != 0, error=lambda _: RangeError("interp: the period must not be 0.")
        )
        period = abs(period)
        x, xp = elementwise.remainder(x, period), elementwise.remainder(xp, period)
        order = reductions.argsort(xp)
        xp, fp = take(xp, order), take(fp, order)
        xp = concatenate([getitem(xp, slice(-1, None)) - period, xp, getitem(xp, slice(0, 1)) + period])
        fp = concatenate([getitem(fp, slice(-1, None)), fp, getitem(fp, slice(0, 1))])
        left = right = None
    return _interpolate(x, xp, fp, left, right)


def _interpolate(x: Array, xp: Array, fp: Array, left: Any, right: Any) -> ArrayOrNumber:
    n = xp.shape[0]
    low = elementwise.maximum(elementwise.minimum(searchsorted(xp, x, "right") - 1, n - 2), 0)
    high = elementwise.minimum(low + 1, n - 1)
    start, width = take(xp, low), take(xp, high) - take(xp, low)
    slope = (take(fp, high) - take(fp, low)) / elementwise.where(elementwise.equal(width, 0), 1, width)
    y = slope * (x - start) + take(fp, low)
    first, last = getitem(fp, 0), getitem(fp, -1)
    y = elementwise.where(elementwise.greater(x, getitem(xp, -1)), last if right is None else right, y)
    return elementwise.where(elementwise.less(x, getitem(xp, 0)), first if left is None else left, y)
