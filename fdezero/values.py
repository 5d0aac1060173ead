"""What a value is, be it an array, a traced one or a number: its shape and dtype; whether it is complex, or has a derivative."""

from typing import Any

import numpy as np


def shape_of(value: Any) -> tuple[int, ...]:
    """The shape; () of a number."""
    return getattr(value, "shape", ())


def dtype_of(value: Any) -> Any:
    """The dtype; of a Python number that of an array of it."""
    dtype = getattr(value, "dtype", None)
    return np.dtype(type(value)) if dtype is None else dtype


def own_dtype(value: Any) -> Any:
    """The dtype that a derivative of `value` has; None for a Python float, whose dtype is weak."""
    return np.dtype(complex) if isinstance(value, complex) else getattr(value, "dtype", None)


def with_shape(value: Any) -> Any:
    """An array, or a traced value, as it is; a number as an array without axes."""
    return value if hasattr(value, "shape") else np.asarray(value)


def is_complex(value: Any) -> bool:
    """Whether `value` is complex."""
    dtype = getattr(value, "dtype", None)
    return isinstance(value, complex) if dtype is None else getattr(dtype, "kind", "") == "c"


def is_differentiable(value: Any) -> bool:
    """Whether `value` has a gradient: a Python float or complex, or an array (or traced value) of floating or complex dtype."""
    dtype = getattr(value, "dtype", None)
    return isinstance(value, float | complex) if dtype is None else getattr(dtype, "kind", "") in ("f", "c")


def broadcasts_to(shape: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    """Whether an array of this shape can be broadcast to the one that is wanted."""
    return len(shape) <= len(wanted) and all(n in (1, m) for n, m in zip(shape[::-1], wanted[::-1], strict=False))
