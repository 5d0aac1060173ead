"""Comparisons of whole arrays, and tests for infinities, under NumPy's names."""

from typing import Any

import numpy as np

from ..core import Tracer
from ..errors import DTypeError
from ..messages import describe, refuse_out
from ..ops import elementwise
from ..values import limits
from .arguments import Array, ArrayOrNumber, as_array, inexact, plain_values
from .elementwise import imag, real
from .reductions import all as all_of

__all__ = [
    "allclose", "array_equal", "array_equiv", "isclose", "iscomplex", "iscomplexobj", "isneginf", "isposinf", "isreal",
    "isrealobj", "real_if_close",
]  # fmt: skip


def isclose(a: Any, b: Any, rtol: Any = 1e-05, atol: Any = 1e-08, equal_nan: bool = False) -> ArrayOrNumber:
    """Whether |a - b| <= atol + rtol * |b| or a == b, entry by entry: (...), (...) -> bool (...).

    With `equal_nan`, NaN is close to NaN.
    """
    a, b = as_array(a), inexact(b)  # as in NumPy: differences of unsigned integers, and of truth values, are floating
    with np.errstate(invalid="ignore", over="ignore"):
        distance = elementwise.absolute(elementwise.subtract(a, b))
        near = elementwise.less_equal(distance, atol + rtol * elementwise.absolute(b))
    return elementwise.logical_or(elementwise.logical_and(near, elementwise.isfinite(b)), _equal(a, b, equal_nan))


def _truth(x: Array) -> Any:
    return x if isinstance(x, Tracer) else bool(x)


def allclose(a: Any, b: Any, rtol: Any = 1e-05, atol: Any = 1e-08, equal_nan: bool = False) -> Any:
    """Whether all entries are close, as in `isclose`: (...), (...) -> bool."""
    return _truth(all_of(isclose(a, b, rtol, atol, equal_nan)))


def array_equal(a1: Any, a2: Any, equal_nan: bool = False) -> Any:
    """Whether both arrays have the same shape and entries; with `equal_nan`, NaN equals NaN."""
    a1, a2 = as_array(a1), as_array(a2)
    return a1.shape == a2.shape and _truth(all_of(_equal(a1, a2, equal_nan)))


def array_equiv(a1: Any, a2: Any) -> Any:
    """Whether both arrays have the same entries after broadcasting."""
    a1, a2 = as_array(a1), as_array(a2)
    try:
        np.broadcast_shapes(a1.shape, a2.shape)
    except ValueError:
        return False
    return _truth(all_of(_equal(a1, a2, False)))


def _equal(a: Array, b: Array, equal_nan: bool) -> Array:
    same = elementwise.equal(a, b)
    if not equal_nan:
        return same
    return elementwise.logical_or(
        same, elementwise.logical_and(elementwise.not_equal(a, a), elementwise.not_equal(b, b))
    )


def _real(name: str, x: Any) -> Array:
    x = as_array(x)
    if x.dtype.kind == "c":
        raise DTypeError(
            f"{name}: complex infinities do not have a sign, got {describe(x)}. Use isinf, or x.real and x.imag."
        )
    return x


def isposinf(x: Any, out: None = None) -> ArrayOrNumber:
    """Whether each entry of `x` is +inf. Raises DTypeError for complex numbers."""
    refuse_out(out)
    return elementwise.equal(_real("isposinf", x), np.inf)


def isneginf(x: Any, out: None = None) -> ArrayOrNumber:
    """Whether each entry of `x` is -inf. Raises DTypeError for complex numbers."""
    refuse_out(out)
    return elementwise.equal(_real("isneginf", x), -np.inf)


def isreal(x: Any) -> ArrayOrNumber:
    """Whether each entry of `x` has the imaginary part 0."""
    return elementwise.equal(imag(x), 0)


def iscomplex(x: Any) -> ArrayOrNumber:
    """Whether each entry of `x` has an imaginary part other than 0."""
    return elementwise.not_equal(imag(x), 0)


def isrealobj(x: Any) -> bool:
    """Whether the dtype of `x` is not complex, whatever its entries are."""
    return not iscomplexobj(x)


def iscomplexobj(x: Any) -> bool:
    """Whether the dtype of `x` is complex, whatever its entries are."""
    return as_array(x).dtype.kind == "c"


def real_if_close(a: Any, tol: float = 100) -> ArrayOrNumber:
    """The real part of `a` if all imaginary parts are below `tol` (times the dtype's eps if above 1), else `a`.

    The dtype depends on the values, so it raises TraceError under vmap and compile. Write x.real there.
    """
    a = as_array(a)
    if a.dtype.kind != "c":
        return a
    bound = tol * limits(a.dtype).eps if tol > 1 else tol
    values = plain_values(a, "real_if_close")
    return real(a) if bool((abs(values.imag) < bound).all()) else a
