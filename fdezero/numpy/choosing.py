"""Choices between arrays under NumPy's names: select, piecewise, choose."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..core import Tracer
from ..errors import ShapeError
from ..messages import refuse_out
from ..ops import elementwise
from ..values import is_floating
from .arguments import Array, as_array, beside
from .creation import zeros_like
from .dtypes import result_type
from .elementwise import cast, where
from .indexing import places_in, take, take_along_axis
from .reductions import any as any_of
from .reductions import argmax
from .shape import broadcast_arrays, expand_dims, ravel, squeeze, stack

__all__ = ["choose", "piecewise", "select"]


NUMBERS = (bool, int, float, complex)  # weak beside an array


def select(condlist: Sequence[Any], choicelist: Sequence[Any], default: Any = 0) -> Array:
    """Take each entry from the first of `choicelist` whose condition is true there, or from `default` if none is."""
    if len(condlist) != len(choicelist) or not condlist:
        raise ShapeError(
            f"select needs one choice for each condition, and at least one, got {len(choicelist)} for {len(condlist)}."
        )
    dtype = _promoted(*choicelist, default)
    y = default if type(default) in NUMBERS and is_floating(dtype) else cast(beside(default, *choicelist), dtype)
    for condition, choice in zip(reversed(condlist), reversed(choicelist), strict=True):
        y = where(condition, choice if type(choice) in NUMBERS else cast(choice, dtype), y)
    return cast(y, dtype)


def _promoted(*values: Any) -> np.dtype:
    """The common dtype of all at once, as in NumPy: a number is weak beside each array."""
    return result_type(*[as_array(x) if isinstance(x, list | tuple) else x for x in values])


def piecewise(x: Any, condlist: Any, funclist: Sequence[Any], *args: Any, **kwargs: Any) -> Array:
    """Apply to each entry of `x` the function of the last condition that is true there: x (...) -> (...).

    A number may stand for a function. One more function than conditions serves the remaining entries; without it they are 0.
    Where its condition is false, a function is given one of the entries for which it is true (1 if there are none), so
    that it neither warns nor puts NaN into a gradient. Each function must work entry by entry.
    """
    x = as_array(x)
    if not isinstance(condlist, list | tuple) or (condlist and not np.ndim(condlist[0]) and x.ndim):
        condlist = [condlist] if getattr(condlist, "ndim", 1) == x.ndim else list(condlist)
    condlist = [as_array(condition) for condition in condlist]
    if len(funclist) == len(condlist) + 1:
        rest = condlist[0]
        for condition in condlist[1:]:
            rest = elementwise.logical_or(rest, condition)
        condlist = [*condlist, elementwise.logical_not(rest)]
    if len(funclist) != len(condlist):
        raise ShapeError(
            f"piecewise needs one function for each condition, or one more, got {len(funclist)} for {len(condlist)}."
        )
    y = zeros_like(x)
    for condition, function in zip(condlist, funclist, strict=True):
        if callable(function) and x.size:
            own = elementwise.stop_gradient(take(ravel(x), argmax(condition)))
            function = function(
                elementwise.where(condition, x, elementwise.where(any_of(condition), own, 1)), *args, **kwargs
            )
        if x.size:  # cast one after the other, as NumPy writes them
            y = elementwise.where(condition, cast(beside(function, x), x.dtype), y)
    return y if y.dtype == x.dtype else y.astype(x.dtype)


def choose(a: Any, choices: Any, out: None = None, mode: str = "raise") -> Array:
    """Take each entry from the choice whose number `a` holds there: a (...), k choices (...) -> (...).

    The modes "wrap" and "clip" accept integers outside 0 to k - 1, as in `take`. In the mode "raise" they are a
    ValueError.
    """
    refuse_out(out)
    a, *parts = broadcast_arrays(a, *[beside(choice, a) for choice in choices])
    n, dtype = len(parts), _promoted(*choices) if isinstance(choices, list | tuple) else parts[0].dtype
    a = places_in(a, n, mode, "choose")
    if mode == "raise" and not isinstance(a, Tracer) and a.size and not (a.min() >= 0 and a.max() < n):
        raise ValueError(
            f"choose: a must lie between 0 and {n - 1}, got {a.min()} to {a.max()}. Use mode='wrap' or 'clip'."
        )
    return cast(squeeze(take_along_axis(stack(parts), expand_dims(a, 0), 0), 0), dtype)
