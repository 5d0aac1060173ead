"""Half precision: a function of float16 or bfloat16 arrays is computed in float32 and rounded once, so nothing in between overflows."""

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from .. import tree as trees
from ..core import unwrap
from ..values import WIDE, is_half, is_inexact
from .elementwise import cast

HALF, SINGLE = np.dtype(np.float16), np.dtype(np.float32)
Function = TypeVar("Function", bound=Callable[..., Any])


def widened(x: Any) -> Any:
    """`x` in float32 if it is float16 or bfloat16, otherwise `x` itself."""
    dtype = getattr(x, "dtype", None)
    return cast(x, SINGLE) if dtype not in WIDE and is_half(dtype) else x


def narrowed(y: Any, half: Any = HALF) -> Any:
    """`y` in the dtype `half` if it is float32, otherwise `y` itself."""
    return cast(y, half) if getattr(y, "dtype", None) == SINGLE else y


def half_of(dtypes: list[Any]) -> Any:
    """The dtype of results that are computed in float32 for floating arguments of these dtypes; None if they are not all the same half."""
    floating = {dtype for dtype in dtypes if dtype is not None and is_inexact(dtype)}
    found = floating.pop() if len(floating) == 1 else None
    return found if is_half(found) else None


def in_single(function: Function) -> Function:
    """`function`, computed in float32 if its floating arrays are all float16; the results are float16 again. So with bfloat16.

    Derivatives also pass through float32. Other arguments reach `function` as they are.
    """

    def call(*args: Any, **kwargs: Any) -> Any:
        for x in args:
            if getattr(x, "dtype", None) not in WIDE:
                break
        else:
            if not kwargs or all(getattr(x, "dtype", None) in WIDE for x in kwargs.values()):
                return function(*args, **kwargs)
        dtypes = [x.dtype for x in map(unwrap, (*args, *kwargs.values())) if hasattr(x, "dtype")]  # numbers are weak
        if not any(map(is_half, dtypes)):
            return function(*args, **kwargs)
        half = half_of(dtypes)
        y = function(*map(widened, args), **{name: widened(x) for name, x in kwargs.items()})
        return y if half is None else trees.map(lambda leaf: narrowed(leaf, half), y)

    return functools.update_wrapper(call, function, updated=())  # type: ignore[return-value]  # it has the same signature


def trees_in_single(function: Function) -> Function:
    """Like `in_single`, for a function whose arguments are trees of arrays."""

    def call(*args: Any, **kwargs: Any) -> Any:
        dtypes = [getattr(unwrap(leaf), "dtype", None) for leaf in trees.leaves(args)]
        if not any(map(is_half, dtypes)):
            return function(*args, **kwargs)
        half = half_of(dtypes)
        y = function(*trees.map(widened, args), **kwargs)
        return y if half is None else trees.map(lambda leaf: narrowed(leaf, half), y)

    return functools.update_wrapper(call, function, updated=())  # type: ignore[return-value]  # it has the same signature
