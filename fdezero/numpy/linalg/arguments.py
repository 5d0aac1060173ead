"""What the functions of linear algebra ask of their arguments: matrices, square ones, of a dtype that LAPACK knows."""

from typing import Any

import numpy as np

from ...errors import DTypeError, ShapeError
from ...messages import describe
from ..arguments import Array, as_array
from ..elementwise import astype


def numbers(name: str, x: Any) -> Array:
    """`x` in one of LAPACK's dtypes: integers become float64. Raises DTypeError for float16 and what else is none."""
    x = as_array(x)
    if x.dtype.kind in "biu":
        return astype(x, np.float64)
    if x.dtype.kind not in "fc" or x.dtype.itemsize not in ((4, 8) if x.dtype.kind == "f" else (8, 16)):
        raise DTypeError(
            f"linalg.{name} computes in float32, float64, complex64 and complex128, as LAPACK does, not in {x.dtype}: got {describe(x)}. "
            "Cast first: x.astype('float32')."
        )
    return x


def stack_of_matrices(name: str, x: Any) -> Array:
    """`x` as it is, with at least two axes. Raises ShapeError."""
    x = as_array(x)
    if x.ndim < 2:
        raise ShapeError(
            f"linalg.{name} needs a matrix, or a stack of them of shape (..., m, n), got {describe(x)}. A vector becomes a column by "
            "x[:, None] and a row by x[None, :]."
        )
    return x


def matrices(name: str, x: Any) -> Array:
    """`x` (..., m, n) in one of LAPACK's dtypes."""
    return numbers(name, stack_of_matrices(name, x))


def squares(name: str, x: Any, instead: str = "") -> Array:
    """`x` (..., n, n) in one of LAPACK's dtypes; `instead` is what serves matrices that are not square."""
    return _square(name, matrices(name, x), instead)


def _square(name: str, x: Array, instead: str = "") -> Array:
    if x.shape[-1] != x.shape[-2]:
        hint = f" {instead}" if instead else ""
        raise ShapeError(f"linalg.{name} needs square matrices, got {describe(x)}: {x.shape[-2]} rows and {x.shape[-1]} columns.{hint}")
    return x


def squares_of_any_dtype(name: str, x: Any) -> Array:
    """`x` (..., n, n) as it is."""
    return _square(name, stack_of_matrices(name, x))
