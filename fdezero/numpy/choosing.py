"""Choices between arrays, and comparisons of whole arrays, under NumPy's names."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..core import Tracer
from ..errors import ShapeError
from ..ops import elementwise as ops
from .arguments import Array, as_array, beside
from .creation import zeros_like
from .elementwise import astype, where
from .indexing import take, take_along_axis
from .reductions import all as all_of
from .reductions import any as any_of
from .reductions import argmax
from .shape import broadcast_arrays, expand_dims, ravel, squeeze, stack


def select(conditions: Sequence[Any], choices: Sequence[Any], default: Any = 0) -> Array:
    """The entries of the first of `choices` whose condition holds, of `default` where none does."""
    if len(conditions) != len(choices) or not conditions:
        raise ShapeError(f"select needs as many choices as conditions, got {len(choices)} and {len(conditions)}.")
    y = default
    for condition, choice in zip(reversed(conditions), reversed(choices), strict=True):
        y = where(condition, choice, y)
    return y


def piecewise(x: Any, conditions: Any, functions: Sequence[Any], *args: Any, **kwargs: Any) -> Array:
    """For each entry of `x` the function, or the number, of the last condition that holds; one more is for the rest, else 0.

    A function sees, in the place of entries that are not its own, one that is (1 if there is none), so that it neither
    warns nor brings NaN into a gradient. It must work entry by entry.
    """
    x = as_array(x)
    if not isinstance(conditions, list | tuple) or (conditions and not np.ndim(conditions[0]) and x.ndim):
        conditions = [conditions] if getattr(conditions, "ndim", 1) == x.ndim else list(conditions)
    conditions = [as_array(condition) for condition in conditions]
    if len(functions) == len(conditions) + 1:
        rest = conditions[0]
        for condition in conditions[1:]:
            rest = ops.logical_or(rest, condition)
        conditions = [*conditions, ops.logical_not(rest)]
    if len(functions) != len(conditions):
        raise ShapeError(f"piecewise: {len(functions)} functions for {len(conditions)} conditions.")
    y = zeros_like(x)
    for condition, function in zip(conditions, functions, strict=True):
        if callable(function) and x.size:
            own = ops.stop_gradient(take(ravel(x), argmax(condition)))
            function = function(ops.where(condition, x, ops.where(any_of(condition), own, 1)), *args, **kwargs)
        y = ops.where(condition, function, y)
    return y if y.dtype == x.dtype else y.astype(x.dtype)


def choose(a: Any, choices: Any, mode: str = "raise") -> Array:
    """For each integer in `a` the entry at its place of the choice with that number; mode "wrap" or "clip" for other integers."""
    a, *parts = broadcast_arrays(a, *[beside(choice, a) for choice in choices])
    n = len(parts)
    if mode == "raise":
        if not isinstance(a, Tracer) and a.size and not (a.min() >= 0 and a.max() < n):
            raise ValueError(f"choose: there are {n} choices, numbered from 0, but a holds {a.min()} to {a.max()}.")
    else:
        a = ops.remainder(a, n) if mode == "wrap" else ops.minimum(ops.maximum(a, 0), n - 1)
    return squeeze(take_along_axis(stack(parts), expand_dims(a, 0), 0), 0)


def isclose(a: Any, b: Any, rtol: Any = 1e-05, atol: Any = 1e-08, equal_nan: bool = False) -> Array:
    """Where |a - b| <= atol + rtol * |b|, or the entries are equal; NaN is close to NaN with `equal_nan`. (...), (...) -> (...), bool."""
    a, b = (astype(x, np.int8) if x.dtype == bool else x for x in (as_array(a), as_array(b)))
    with np.errstate(invalid="ignore", over="ignore"):
        near = ops.less_equal(ops.absolute(ops.subtract(a, b)), atol + rtol * ops.absolute(b))
    return ops.logical_or(ops.logical_and(near, ops.isfinite(b)), _equal(a, b, equal_nan))


def _truth(x: Array) -> Any:
    return x if isinstance(x, Tracer) else bool(x)


def allclose(a: Any, b: Any, rtol: Any = 1e-05, atol: Any = 1e-08, equal_nan: bool = False) -> Any:
    """Whether all entries are close, as isclose has it: (...), (...) -> bool."""
    return _truth(all_of(isclose(a, b, rtol, atol, equal_nan)))


def array_equal(a: Any, b: Any, equal_nan: bool = False) -> Any:
    """Whether both have one shape and equal entries; NaN equals NaN with `equal_nan`."""
    a, b = as_array(a), as_array(b)
    return a.shape == b.shape and _truth(all_of(_equal(a, b, equal_nan)))


def array_equiv(a: Any, b: Any) -> Any:
    """Whether both, broadcast, have equal entries."""
    a, b = as_array(a), as_array(b)
    try:
        np.broadcast_shapes(a.shape, b.shape)
    except ValueError:
        return False
    return _truth(all_of(_equal(a, b, False)))


def _equal(a: Array, b: Array, equal_nan: bool) -> Array:
    same = ops.equal(a, b)
    return ops.logical_or(same, ops.logical_and(ops.not_equal(a, a), ops.not_equal(b, b))) if equal_nan else same


def isposinf(x: Any) -> Array:
    """Where `x` is +inf."""
    return ops.equal(as_array(x), np.inf)


def isneginf(x: Any) -> Array:
    """Where `x` is -inf."""
    return ops.equal(as_array(x), -np.inf)
