"""Choices between arrays, and comparisons of whole arrays, under NumPy's names."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..core import Tracer
from ..errors import ShapeError
from ..ops import elementwise
from .arguments import Array, as_array, beside
from .creation import zeros_like
from .elementwise import where
from .indexing import take, take_along_axis
from .reductions import any as any_of
from .reductions import argmax
from .shape import broadcast_arrays, expand_dims, ravel, squeeze, stack

__all__ = ["choose", "piecewise", "select"]


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
            rest = elementwise.logical_or(rest, condition)
        conditions = [*conditions, elementwise.logical_not(rest)]
    if len(functions) != len(conditions):
        raise ShapeError(f"piecewise: {len(functions)} functions for {len(conditions)} conditions.")
    y = zeros_like(x)
    for condition, function in zip(conditions, functions, strict=True):
        if callable(function) and x.size:
            own = elementwise.stop_gradient(take(ravel(x), argmax(condition)))
            function = function(elementwise.where(condition, x, elementwise.where(any_of(condition), own, 1)), *args, **kwargs)
        y = elementwise.where(condition, function, y)
    return y if y.dtype == x.dtype else y.astype(x.dtype)


def choose(a: Any, choices: Any, mode: str = "raise") -> Array:
    """For each integer in `a` the entry at its place of the choice with that number; mode "wrap" or "clip" for other integers."""
    a, *parts = broadcast_arrays(a, *[beside(choice, a) for choice in choices])
    n = len(parts)
    if mode == "raise":
        if not isinstance(a, Tracer) and a.size and not (a.min() >= 0 and a.max() < n):
            raise ValueError(f"choose: there are {n} choices, numbered from 0, but a holds {a.min()} to {a.max()}.")
    else:
        a = elementwise.remainder(a, n) if mode == "wrap" else elementwise.minimum(elementwise.maximum(a, 0), n - 1)
    return squeeze(take_along_axis(stack(parts), expand_dims(a, 0), 0), 0)
