"""Answers questions about arrays, traced values and numbers: their shape and dtype, whether they are complex or differentiable."""

from typing import Any

import numpy as np

# The names of dtypes in C++ and CUDA.
C_TYPES = {
    "float64": "double", "float32": "float", "float16": "float16", "bool": "bool",
    "int64": "long long", "int32": "int", "int16": "short", "int8": "signed char",
    "uint64": "unsigned long long", "uint32": "unsigned int", "uint16": "unsigned short", "uint8": "unsigned char",
}  # fmt: skip


# Nothing of these dtypes is float16 or bfloat16. To look a dtype up here is the quickest question there is.
WIDE = frozenset([None, *[np.dtype(code) for code in "?bhilqBHILQfdgFDG"]])


def shape_of(value: Any) -> tuple[int, ...]:
    """The shape. A number has the shape ()."""
    return getattr(value, "shape", ())


def dtype_of(value: Any) -> Any:
    """The dtype. A Python number has the dtype of an array made of it."""
    dtype = getattr(value, "dtype", None)
    return np.dtype(type(value)) if dtype is None else dtype


def own_dtype(value: Any) -> Any:
    """The dtype of a derivative by `value`. None stands for a Python float, traced or not, whose dtype is weak."""
    while hasattr(value, "level"):
        value = value.value
    return np.dtype(complex) if isinstance(value, complex) else getattr(value, "dtype", None)


def with_shape(value: Any) -> Any:
    """An array or traced value unchanged; a number, or a list, as an array."""
    return value if hasattr(value, "shape") else np.asarray(value)


def kind_of(dtype: Any) -> str:
    """The kind of a dtype: "f" for all floating ones. NumPy says "V" of bfloat16, a dtype of the package ml_dtypes."""
    kind: str = dtype.kind
    return "f" if kind == "V" and dtype.type.__name__ == "bfloat16" else kind


def is_floating(dtype: Any) -> bool:
    """Whether a dtype is that of real floating numbers, bfloat16 among them."""
    kind = dtype.kind
    return bool(kind == "f" or (kind == "V" and kind_of(dtype) == "f"))


def is_inexact(dtype: Any) -> bool:
    """Whether a dtype is that of floating or complex numbers, which have derivatives."""
    kind = dtype.kind
    return bool(kind == "f" or kind == "c" or (kind == "V" and kind_of(dtype) == "f"))


def is_half(dtype: Any) -> bool:
    """Whether a dtype is float16 or bfloat16: what is computed in float32 and rounded."""
    return dtype not in WIDE and (dtype == np.float16 or (getattr(dtype, "kind", "") == "V" and kind_of(dtype) == "f"))


def limits(dtype: Any) -> Any:
    """`np.finfo(dtype)`, also of bfloat16: the greatest number, the least above 0, the distance of neighbours of 1."""
    if dtype.kind != "V":
        return np.finfo(dtype)
    import ml_dtypes

    return ml_dtypes.finfo(dtype)


def is_complex(value: Any) -> bool:
    """Whether `value` is complex."""
    dtype = getattr(value, "dtype", None)
    return isinstance(value, complex) if dtype is None else getattr(dtype, "kind", "") == "c"


def is_differentiable(value: Any) -> bool:
    """Whether `value` can have a gradient: a float or complex number, or an array or traced value of such a dtype."""
    dtype = getattr(value, "dtype", None)
    if dtype is None:
        return isinstance(value, float | complex)
    kind = getattr(dtype, "kind", "")
    return kind in ("f", "c") or (kind == "V" and kind_of(dtype) == "f")


def broadcasts_to(shape: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    """Whether an array of this shape can be broadcast to the wanted shape."""
    return len(shape) <= len(wanted) and all(n in (1, m) for n, m in zip(shape[::-1], wanted[::-1], strict=False))
