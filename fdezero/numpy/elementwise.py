"""Elementwise functions under NumPy's names. Most are the operations themselves."""

from typing import Any

import numpy as np

from ..core import unwrap
from ..devices import backend_of, to_device
from ..errors import DTypeError, ImmutableError
from ..messages import describe, refuse_out
from ..ops import elementwise
from ..ops import shape as shapes
from ..ops.elementwise import (
    add,
    arccos,
    arccosh,
    arcsin,
    arcsinh,
    arctan,
    arctan2,
    arctanh,
    bitwise_and,
    bitwise_or,
    bitwise_xor,
    cbrt,
    ceil,
    copysign,
    cos,
    cosh,
    deg2rad,
    divide,
    equal,
    exp,
    exp2,
    expm1,
    floor,
    floor_divide,
    fmax,
    fmin,
    fmod,
    gcd,
    greater,
    greater_equal,
    heaviside,
    hypot,
    invert,
    isfinite,
    isinf,
    isnan,
    lcm,
    ldexp,
    left_shift,
    less,
    less_equal,
    log,
    log1p,
    log2,
    log10,
    logaddexp,
    logaddexp2,
    logical_and,
    logical_not,
    logical_or,
    logical_xor,
    maximum,
    minimum,
    multiply,
    negative,
    nextafter,
    not_equal,
    positive,
    rad2deg,
    reciprocal,
    remainder,
    right_shift,
    rint,
    signbit,
    sin,
    sinh,
    spacing,
    sqrt,
    square,
    subtract,
    tan,
    tanh,
    trunc,
)
from ..values import dtype_of, is_complex, is_floating, is_inexact, limits
from .arguments import Array, ArrayOrNumber, as_array, as_dtype, plain_values

__all__ = [
    "abs", "absolute", "acos", "acosh", "add", "angle", "arccos", "arccosh", "arcsin", "arcsinh", "arctan",
    "arctan2", "arctanh", "around", "asin", "asinh", "astype", "atan", "atan2", "atanh", "bitwise_and",
    "bitwise_invert", "bitwise_left_shift", "bitwise_not", "bitwise_or", "bitwise_right_shift", "bitwise_xor",
    "cbrt", "ceil", "clip", "conj", "conjugate", "copysign", "cos", "cosh", "deg2rad", "degrees", "divide",
    "divmod", "equal", "exp", "exp2", "expm1", "fabs", "fix", "float_power", "floor", "floor_divide", "fmax",
    "fmin", "fmod", "frexp", "gcd", "greater", "greater_equal", "heaviside", "hypot", "imag", "invert", "isfinite",
    "isinf", "isnan", "lcm", "ldexp", "left_shift", "less", "less_equal", "log", "log1p", "log2", "log10",
    "logaddexp", "logaddexp2", "logical_and", "logical_not", "logical_or", "logical_xor", "maximum", "minimum",
    "mod", "modf", "multiply", "nan_to_num", "negative", "nextafter", "nonzero", "not_equal", "positive", "pow",
    "power", "rad2deg", "radians", "real", "reciprocal", "remainder", "right_shift", "rint", "round", "sign",
    "signbit", "sin", "sinh", "spacing", "sqrt", "square", "subtract", "tan", "tanh", "true_divide", "trunc",
    "where",
]  # fmt: skip

true_divide = elementwise.divide
mod = elementwise.remainder
radians, degrees = elementwise.deg2rad, elementwise.rad2deg
acos, acosh, asin, asinh, atan, atan2, atanh = (
    elementwise.arccos, elementwise.arccosh, elementwise.arcsin, elementwise.arcsinh,
    elementwise.arctan, elementwise.arctan2, elementwise.arctanh,
)  # fmt: skip
bitwise_not = bitwise_invert = elementwise.invert
bitwise_left_shift, bitwise_right_shift = elementwise.left_shift, elementwise.right_shift


def real(val: Any) -> ArrayOrNumber:
    """The real part of `val`; real numbers are returned as they are."""
    val = as_array(val)
    return elementwise.real(val) if is_complex(val) else val


def imag(val: Any) -> ArrayOrNumber:
    """The imaginary part of `val`; 0 for real numbers."""
    val = as_array(val)
    return elementwise.imag(val) if is_complex(val) else np.zeros_like(val)


def conjugate(x: Any, /) -> ArrayOrNumber:
    """The complex conjugate of `x`; a copy of real numbers, and truth values as int8."""
    x = as_array(x)
    if is_complex(x):
        return elementwise.conjugate(x)
    return cast(x, np.int8) if x.dtype == bool else elementwise.positive(x)


conj = conjugate


def angle(z: Any, deg: bool = False) -> ArrayOrNumber:
    """The angle of z in the complex plane, in radians, or in degrees if `deg`."""
    z = as_array(z)
    radians_ = elementwise.arctan2(imag(z), real(z)) if is_complex(z) else elementwise.arctan2(0, z)
    return elementwise.rad2deg(radians_) if deg else radians_


def absolute(x: Any, /) -> ArrayOrNumber:
    """|x| of real or complex numbers; the derivative at 0 is 0."""
    return elementwise.modulus(x) if is_complex(x) else elementwise.absolute(x)


abs = absolute


def _floating(name: str, x: Any) -> Array:
    """`x` as an array of the floating dtype in which NumPy's `name` computes. Raises DTypeError for complex numbers."""
    x = as_array(x)
    if x.dtype.kind == "c":
        raise DTypeError(f"{name} takes real numbers, got {describe(x)}.")
    return x if is_floating(x.dtype) else cast(x, np.result_type(x.dtype, np.float16))


def fabs(x: Any, /) -> ArrayOrNumber:
    """|x| of real numbers, always floating; the derivative at 0 is 0."""
    return elementwise.absolute(_floating("fabs", x))


def sign(x: Any, /) -> ArrayOrNumber:
    """The sign of `x`: -1, 0 or 1; x / |x| for complex numbers, 0 at 0."""
    if not is_complex(x):
        return elementwise.sign(x)
    # inf / inf would be NaN. Where one of both parts is infinite, only its direction counts.
    endless = [elementwise.isinf(part(x)) for part in (real, imag)]
    ways = [
        elementwise.where(far, elementwise.sign(part(x)), 0) for far, part in zip(endless, (real, imag), strict=True)
    ]
    x = elementwise.where(elementwise.not_equal(*endless), ways[0] + 1j * ways[1], x)
    zero = elementwise.equal(x, 0)
    return elementwise.where(zero, 0, elementwise.divide(x, absolute(elementwise.where(zero, 1, x))))


def power(x1: Any, x2: Any, /) -> ArrayOrNumber:
    """x1 ** x2; x1 ** 2 is computed as x1 * x1, as in NumPy."""
    # An integer with the exponent 2.0 is a floating number, and NumPy has no square of a truth value.
    if x2.__class__ in (int, float) and x2 == 2 and dtype_of(x1).kind in ("iufc" if x2.__class__ is int else "fc"):
        return elementwise.square(x1) if hasattr(unwrap(x1), "shape") else elementwise.multiply(x1, x1)
    if (
        isinstance(x2, int | np.integer)
        and x2 < 0
        and dtype_of(x1).kind in "biu"
        and not backend_of(x1).powers_of_integers_raise
    ):
        raise ValueError(
            f"power: {describe(x1)} to the power {x2}: integers have no negative powers. Take floats: x.astype(float) ** {x2}."
        )
    return elementwise.power(x1, x2)


pow = power


def float_power(x1: Any, x2: Any, /) -> ArrayOrNumber:
    """x1 ** x2, computed in float64, or complex128 for complex numbers."""
    dtype = np.result_type(as_array(x1).dtype, as_array(x2).dtype, np.float64)
    return elementwise.power(cast(x1, dtype), cast(x2, dtype))


def clip(
    a: Any, min: Any = None, max: Any = None, out: None = None, *, a_min: Any = None, a_max: Any = None
) -> ArrayOrNumber:
    """Limit entries to [min, max], which NumPy also calls a_min and a_max; the derivative on a bound is 1."""
    if out is not None:
        refuse_out(out)
    if a_min is not None or a_max is not None:
        if (min is not None and a_min is not None) or (max is not None and a_max is not None):
            raise ValueError("clip: min and a_min, or max and a_max, are two names of one bound. Give one of them.")
        min, max = (a_min if min is None else min), (a_max if max is None else max)
    dtype = getattr(a, "dtype", np.dtype(type(a)))  # as in NumPy, a number beyond a dtype of integers can be a bound
    if dtype.kind in "iu" and (type(min) is int or type(max) is int):
        min = None if type(min) is int and min <= np.iinfo(dtype).min else min
        max = None if type(max) is int and max >= np.iinfo(dtype).max else max
    if min is None and max is None:
        return elementwise.positive(as_array(a))
    if is_floating(dtype):  # maximum and minimum would halve the derivative on a bound
        return elementwise.clip(a, -np.inf if min is None else min, np.inf if max is None else max)
    if min is None:
        return elementwise.minimum(a, max)
    return elementwise.maximum(a, min) if max is None else elementwise.clip(a, min, max)


def where(condition: Any, x: Any = None, y: Any = None) -> Any:
    """Take entries of `x` where `condition` is true, of `y` elsewhere; `where(condition)` is `nonzero(condition)`.

    NaN in the branch not taken does not reach the gradient, nor does an infinite slope of sqrt, log, a quotient or a
    power: where(x > 0, sqrt(x), 0) has the derivative 0 at 0. An exp that overflows there, or a product with NaN, does
    reach it. Replace its operand with a safe one first.
    """
    if x is None or y is None:
        if x is not None or y is not None:
            raise ValueError("where takes the condition alone, or with both x and y; one of them is missing.")
        return nonzero(condition)
    condition = as_array(condition)
    if condition.dtype != bool:
        condition = elementwise.not_equal(condition, 0)
    return elementwise.where(condition, x, y)


def nonzero(a: Any) -> tuple[Array, ...]:
    """The indices of the nonzero entries, one array (count,) for each axis of `a`.

    Raises TraceError under vmap and compile, where the count is not known.
    """
    return tuple(plain_values(as_array(a), "nonzero (also an index by a mask)").nonzero())


def cast(x: Any, dtype: Any) -> Array:
    """`x` in `dtype`; an array of that dtype is returned as it is, so functions here use it in place of `astype`."""
    x, dtype = as_array(x), as_dtype(dtype)
    if x.dtype == dtype:
        return x
    return shapes.astype(x, dtype=dtype) if is_inexact(dtype) else elementwise.to_discrete(x, dtype=dtype)


def astype(x: Any, dtype: Any, copy: bool = True, *, device: str | None = None) -> Array:
    """Cast `x` to `dtype`, and move it to `device` if you name one.

    An array of that dtype is copied unless `copy` is False. Casts to integers and booleans have no derivative.
    """
    y = cast(x if device is None else to_device(as_array(x), device), dtype)
    return y.copy() if copy and y is x else y


def round(a: Any, decimals: int = 0, out: None = None) -> ArrayOrNumber:
    """Round `a` to `decimals` places, halves to even; the derivative is 0."""
    refuse_out(out)
    return elementwise.round_to(as_array(a), decimals=decimals)


around = round


def fix(x: Any, out: None = None) -> ArrayOrNumber:
    """Round `x` towards 0; the derivative is 0."""
    refuse_out(out)
    return elementwise.trunc(x)


def divmod(x1: Any, x2: Any, /) -> tuple[ArrayOrNumber, ArrayOrNumber]:
    """(x1 // x2, x1 % x2)."""
    return elementwise.floor_divide(x1, x2), elementwise.remainder(x1, x2)


def modf(x: Any, /) -> tuple[ArrayOrNumber, ArrayOrNumber]:
    """The fractional and the integral part of `x`, both with the sign of `x`."""
    x = _floating("modf", x)
    whole = elementwise.trunc(x)
    rest = elementwise.where(elementwise.isinf(x), 0, elementwise.subtract(x, whole))  # inf - inf would be NaN
    return elementwise.copysign(rest, x), whole


def frexp(x: Any, /) -> tuple[ArrayOrNumber, ArrayOrNumber]:
    """(mantissa, exponent): x = mantissa * 2 ** exponent, with 0.5 <= |mantissa| < 1."""
    x = _floating("frexp", x)
    exponent = elementwise.exponent(x)
    half = elementwise.floor_divide(exponent, 2)  # in two steps: 2 ** -exponent may overflow
    mantissa = elementwise.ldexp(elementwise.ldexp(x, elementwise.negative(half)), elementwise.subtract(half, exponent))
    return mantissa, exponent


def nan_to_num(
    x: Any, copy: bool = True, nan: float = 0.0, posinf: float | None = None, neginf: float | None = None
) -> ArrayOrNumber:
    """Replace NaN and infinities with finite numbers; the derivative there is 0.

    Raises ImmutableError for `copy=False`, with which NumPy writes into `x`.
    """
    if not copy:
        raise ImmutableError("nan_to_num(copy=False) would write into x. Write x = nan_to_num(x).")
    x = as_array(x)
    if not is_inexact(x.dtype):
        return x
    if is_complex(x):
        return nan_to_num(real(x), copy, nan, posinf, neginf) + 1j * nan_to_num(imag(x), copy, nan, posinf, neginf)
    ends = limits(x.dtype)
    fills = (nan, float(ends.max) if posinf is None else posinf, float(ends.min) if neginf is None else neginf)
    instead, high, low = (cast(fill, x.dtype) if hasattr(fill, "dtype") else fill for fill in fills)
    x = elementwise.where(elementwise.isnan(x), instead, x)
    return elementwise.where(
        elementwise.equal(x, np.inf), high, elementwise.where(elementwise.equal(x, -np.inf), low, x)
    )
