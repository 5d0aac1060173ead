"""Checks of arguments for linear algebra: matrices, square ones, and dtypes that LAPACK computes in."""

from typing import Any

import numpy as np

from ...errors import DTypeError, ShapeError
from ...messages import describe
from ..arguments import Array, as_array
from ..elementwise import cast


def numbers(name: str, x: Any) -> Array:
    """Convert `x` to a dtype of LAPACK; integers become float64. Raises DTypeError for float16 and other dtypes."""
    x = as_array(x)
    if x.dtype.kind in "biu":
        return cast(x, np.float64)
    if x.dtype.kind not in "fc" or x.dtype.itemsize not in ((4, 8) if x.dtype.kind == "f" else (8, 16)):
        raise DTypeError(
            f"linalg.{name} computes in float32, float64, complex64 or complex128, as LAPACK does, got {describe(x)}. "
            "Cast first: x.astype('float32')."
        )
    return x


def stack_of_matrices(name: str, x: Any) -> Array:
    """Convert `x` to an array of at least two axes. Raises ShapeError for fewer."""
    x = as_array(x)
    if x.ndim < 2:
        raise ShapeError(
            f"linalg.{name} needs a matrix, or a stack of matrices of shape (..., m, n), got {describe(x)}. For a "
            "vector, use a column x[:, None] or a row x[None, :]."
        )
    return x


def matrices(name: str, x: Any) -> Array:
    """Convert `x` (..., m, n) to a dtype of LAPACK."""
    return numbers(name, stack_of_matrices(name, x))


def squares(name: str, x: Any, instead: str = "") -> Array:
    """Convert `x` (..., n, n) to a dtype of LAPACK; `instead` tells what to use for matrices that are not square."""
    return _square(name, matrices(name, x), instead)


def _square(name: str, x: Array, instead: str = "") -> Array:
    if x.shape[-1] != x.shape[-2]:
        hint = f" {instead}" if instead else ""
        raise ShapeError(f"linalg.{name} needs square matrices, got {describe(x)}.{hint}")
    return x


def squares_of_any_dtype(name: str, x: Any) -> Array:
    """Convert `x` (..., n, n) to an array of its own dtype."""
    return _square(name, stack_of_matrices(name, x))
