"""Helpers for the arguments of NumPy-named functions: make them arrays, count their axes from the end."""

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np

from ..core import Tracer, unwrap
from ..core.tracer import is_shown
from ..devices import array_module
from ..errors import MissingExtraError, RangeError, ShapeError, TraceError
from ..foreign import accepted
from ..messages import describe
from ..ops import shape as shapes
from ..values import is_inexact

# Checkers take a cupy.ndarray and a traced value for the NumPy array whose members they have, as users' annotations do.
Array: TypeAlias = np.ndarray
ArrayOrNumber: TypeAlias = Any  # Any, so that both `-> np.ndarray` and `-> float` may return it
Axis: TypeAlias = int | Sequence[int] | None


def as_array(x: Any) -> Array:
    """Convert `x` to an array; arrays and traced values stay as they are. A list may hold traced values."""
    if isinstance(x, Tracer) and not hasattr(unwrap(x), "shape"):
        return shapes.as_array(x)
    if hasattr(x, "shape"):
        return accepted(x)
    if isinstance(x, list | tuple) and _has_tracer(x):
        return _joined([as_array(part) for part in x])
    return np.asarray(x)


def _joined(rows: list[Array]) -> Array:
    """Stack the rows of a list: k arrays (...) -> (k, ...)."""
    if len({row.shape for row in rows}) > 1:
        raise ShapeError(f"stack: all arrays must have the same shape, got {', '.join(map(describe, rows))}.")
    dtype = np.result_type(*[row.dtype for row in rows])
    rows = [row if row.dtype == dtype else shapes.astype(row, dtype=dtype) for row in rows]
    return shapes.concatenate(
        *[shapes.reshape(row, ndim=row.ndim, shape=(1, *row.shape)) for row in rows], axis=-1 - rows[0].ndim
    )


def beside(x: Any, *arrays: Any) -> Array:
    """Convert `x` to an array; a number or a list goes to the device of `arrays`."""
    if (hasattr(x, "shape") and not isinstance(x, np.generic)) or _has_tracer(x):
        return as_array(x)
    return array_module(*arrays).asarray(x)


def inexact(x: Any) -> Array:
    """Convert `x` to a floating or complex array; other dtypes become float64."""
    x = as_array(x)
    return x if is_inexact(x.dtype) else shapes.astype(x, dtype=np.dtype(float))


def bfloat16() -> Any:
    """The dtype bfloat16, a class like `np.float16`. Raises MissingExtraError without the package ml_dtypes."""
    try:
        import ml_dtypes
    except ImportError:
        raise MissingExtraError("bfloat16 needs the package ml_dtypes: pip install 'fdezero[bfloat16]'") from None
    return ml_dtypes.bfloat16


def as_dtype(dtype: Any) -> np.dtype[Any]:
    """`np.dtype(dtype)`, which knows "bfloat16" also before ml_dtypes is loaded. Raises TypeError for what is no dtype."""
    try:
        return np.dtype(dtype)
    except TypeError:
        if isinstance(dtype, str) and dtype == "bfloat16":
            return np.dtype(bfloat16())
        raise


def _has_tracer(x: Any) -> bool:
    return isinstance(x, Tracer) or (isinstance(x, list | tuple) and any(map(_has_tracer, x)))


def plain_values(x: Any, what: str) -> Any:
    """The values of `x`, on which the shape of the result of `what` depends.

    Raises TraceError if `x` is batched or being recorded.
    """
    if not is_shown(x):
        raise TraceError(
            f"{what} of a value {describe(x)} under {x.level.name}: the shape of the result depends on the values, "
            "which differ between examples or calls. Use fd.numpy.where(mask, x, 0), or call it outside the transform."
        )
    return unwrap(x)


def trailing_axis(axis: int, ndim: int) -> int:
    """Count `axis` from the end."""
    if not -ndim <= axis < ndim:
        raise np.exceptions.AxisError(axis, ndim)
    return axis - ndim if axis >= 0 else axis


def axis_of_number(axis: Any, ndim: int) -> Any:
    """`axis`; None for axis 0 or -1 of a value without axes, which NumPy's ufuncs and argmax accept."""
    return None if not ndim and axis in (0, -1) else axis


def trailing_axes(axis: Axis, ndim: int) -> tuple[int, ...]:
    """The axes that `axis` names (all when None), counted from the end, in ascending order."""
    if axis is None:
        return tuple(range(-ndim, 0))
    axes = [axis] if isinstance(axis, int | np.integer) else list(axis)
    if not all(isinstance(a, int | np.integer) for a in axes):
        raise TypeError(f"an axis must be an integer, a tuple of integers, or None for all axes; got {axis!r}.")
    found = tuple(sorted(trailing_axis(int(a), ndim) for a in axes))
    if len(set(found)) < len(found):
        raise ValueError(f"axis={axis} names an axis twice.")
    return found


def whole_number(of: str, name: str, value: Any, least: int = 1) -> int:
    """The size or number `value` as a Python integer. Raises RangeError, naming the function or layer `of`, if it is less than `least`."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise RangeError(f"{of}: {name} must be an integer of at least {least}, got {describe(value)}.")
    return int(value)
