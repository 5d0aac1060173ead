"""Half precision: a function of float16 arrays is computed in float32 and rounded once, so nothing in between overflows."""

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from .. import tree as trees
from ..core import unwrap
from .elementwise import cast

HALF, SINGLE = np.dtype(np.float16), np.dtype(np.float32)
Function = TypeVar("Function", bound=Callable[..., Any])


def widened(x: Any) -> Any:
    """`x` in float32 if it is float16, otherwise `x` itself."""
    return cast(x, SINGLE) if getattr(x, "dtype", None) == HALF else x


def narrowed(y: Any) -> Any:
    """`y` in float16 if it is float32, otherwise `y` itself."""
    return cast(y, HALF) if getattr(y, "dtype", None) == SINGLE else y


def in_single(function: Function) -> Function:
    """`function`, computed in float32 if its floating arrays are all float16; the results are float16 again.

    Derivatives also pass through float32. Other arguments reach `function` as they are.
    """

    def call(*args: Any, **kwargs: Any) -> Any:
        for x in args:
            if getattr(x, "dtype", None) == HALF:
                break
        else:
            if not any(getattr(x, "dtype", None) == HALF for x in kwargs.values()):
                return function(*args, **kwargs)
        dtypes = [x.dtype for x in map(unwrap, (*args, *kwargs.values())) if hasattr(x, "dtype")]  # numbers are weak
        y = function(*map(widened, args), **{name: widened(x) for name, x in kwargs.items()})
        return trees.map(narrowed, y) if all(d == HALF for d in dtypes if d.kind in "fc") else y

    return functools.update_wrapper(call, function, updated=())  # type: ignore[return-value]  # it has the same signature


def trees_in_single(function: Function) -> Function:
    """Like `in_single`, for a function whose arguments are trees of arrays."""

    def call(*args: Any, **kwargs: Any) -> Any:
        dtypes = [getattr(unwrap(leaf), "dtype", None) for leaf in trees.leaves(args)]
        floating = [dtype for dtype in dtypes if dtype is not None and dtype.kind in "fc"]
        if HALF not in floating:
            return function(*args, **kwargs)
        y = function(*trees.map(widened, args), **kwargs)
        return trees.map(narrowed, y) if all(dtype == HALF for dtype in floating) else y

    return functools.update_wrapper(call, function, updated=())  # type: ignore[return-value]  # it has the same signature
