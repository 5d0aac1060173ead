"""Elementwise operations. Each states its partial derivatives and a C expression, and the rest follows from these.

Implementations are Python's operators if there are any: NumPy scalars are ten times faster with them, Python scalars stay
weak, and CuPy arrays need no dispatch. At kinks the derivative is that of other libraries: 0 for abs and relu, 1 on the
bounds of clip, an even split at ties of maximum and minimum.
"""

import math
import operator
from typing import Any

import numpy as np

from ..core import Elementwise, Linear, Tracer, discrete, elementwise, linear
from ..devices import array_module, backend_of
from ..values import is_complex
from . import python_numbers
from .kernels import own
from .slopes import (
    over,
    power_slope,
    power_slope_of_exponent,
    quotient,
    scaled,
    share,
    slope_of_absolute,
    tie,
)

LN2, LN10, TURN = math.log(2.0), math.log(10.0), math.pi / 180.0


def _may_be_negative(operands: Any) -> bool:
    """Whether an integer power may have a negative exponent, which NumPy refuses."""
    if any(x.dtype.kind not in "bi" for x in operands):
        return False
    constant = getattr(operands[-1], "value", None)
    return constant is None or bool(np.any(np.asarray(constant) < 0))


# Remainders of floating numbers, and of integers, for which a division by 0 gives 0. A remainder has the sign of the divisor,
# even a remainder of 0. fmod is exact; x0 - floor(x0 / x1) * x1 is not.
REMAINDER = {
    "f": "fmod(x0, x1) == 0 ? copysign(x0 * 0, x1) : (fmod(x0, x1) < 0) != (x1 < 0) ? fmod(x0, x1) + x1 : fmod(x0, x1)",
    "i": "x1 == 0 || (x1 < 0 && x1 == -1) ? 0 : x0 % x1 != 0 && (x0 % x1 < 0) != (x1 < 0) ? x0 % x1 + x1 : x0 % x1",
}
FMOD = {"f": "fmod(x0, x1)", "i": "x1 == 0 || (x1 < 0 && x1 == -1) ? 0 : x0 % x1"}
# NumPy's quotient: the remainder is taken away first, so the division is nearly exact, and then rounded down if it is not whole.
_WHOLE = "((x0 - fmod(x0, x1)) / x1 - (fmod(x0, x1) != 0 && (fmod(x0, x1) < 0) != (x1 < 0) ? 1 : 0))"
FLOOR_DIVIDE = {
    "f": f"x1 == 0 ? x0 / x1 : {_WHOLE} == 0 ? copysign(x0 * 0, x0 / x1) : floor({_WHOLE}) + ({_WHOLE} - floor({_WHOLE}) > 0.5 ? 1 : 0)",
    "i": "x1 == 0 ? 0 : x1 < 0 && x1 == -1 ? (long long)(0ULL - x0) : x0 / x1 - (x0 % x1 != 0 && (x0 % x1 < 0) != (x1 < 0))",
}


# Arithmetic
add = elementwise("add", 1, 1, c="x0 + x1", impl=operator.add, wraps=True, doc="x0 + x1.")
subtract = elementwise("subtract", 1, -1, c="x0 - x1", impl=operator.sub, wraps=True, doc="x0 - x1.")
multiply = elementwise("multiply", lambda x1: x1, lambda x0: x0, c="x0 * x1", impl=operator.mul, wraps=True, doc="x0 * x1.")
divide = elementwise(
    "divide",
    lambda t, x1: over(t, x1),
    lambda t, x0, x1: -over(over(t, x1) * x0, x1),
    c="x0 / x1",
    impl=python_numbers.divide,
    doc="x0 / x1; integers give floating results.",
)
negative = elementwise("negative", -1, c="-x0", impl=operator.neg, wraps=True, doc="-x0.")
positive = elementwise("positive", 1, c="x0", impl=operator.pos, doc="x0 itself.")
square = elementwise("square", lambda x0: 2 * x0, c="x0 * x0", wraps=True, doc="x0 * x0.")
reciprocal = elementwise("reciprocal", lambda t, x0: -quotient(quotient(t, x0), x0), c={"f": "1 / x0"}, doc="1 / x0.")
power = elementwise(
    "power",
    lambda t, x0, x1: scaled(t, power_slope(x0, x1)),
    lambda t, y, x0: power_slope_of_exponent(t, y, x0),
    c={"f": "pow(x0, x1)"},
    impl=python_numbers.power,
    arrays_only=True,
    raises=_may_be_negative,
    doc="x0 to the power x1.",
)
absolute = elementwise(
    "absolute",
    lambda x0: slope_of_absolute(x0),
    c={"f": "fabs(x0)", "i": "x0 < 0 ? -x0 : x0", "b": "x0"},
    impl=operator.abs,
    doc="|x0|; the derivative at 0 is 0.",
)
# |x| of complex numbers: t * conj(x) / |x|. Both modes then take the real part, or leave it complex, by their dtypes.
modulus = elementwise(
    "modulus",
    lambda t, y, x0: t * share(np.conjugate(x0), y),
    c="",
    impl=np.absolute,
    write="xp.absolute({0}, out={out})",
    doc="|x0| of complex numbers; the derivative at 0 is 0.",
)
remainder = elementwise(
    "remainder",
    1,
    lambda t, x0, x1: -t * np.floor(python_numbers.divide(x0, x1)),
    c=REMAINDER,
    impl=python_numbers.remainder,
    doc="x0 modulo x1, with the sign of x1.",
)
fmod = elementwise(
    "fmod",
    1,
    lambda t, x0, x1: -t * np.trunc(python_numbers.divide(x0, x1)),
    c=FMOD,
    doc="C's remainder of x0 / x1, with the sign of x0.",
)

# Exponentials and logarithms
exp = elementwise("exp", lambda y: y, c="exp(x0)", doc="e to the power x0.")
exp2 = elementwise("exp2", lambda y: y * LN2, c="exp2(x0)", doc="2 to the power x0.")
expm1 = elementwise("expm1", lambda x0: np.exp(x0), c="expm1(x0)", doc="exp(x0) - 1, exact near 0.")
log = elementwise("log", lambda t, x0: quotient(t, x0), c="log(x0)", doc="The natural logarithm of x0.")
log2 = elementwise("log2", lambda t, x0: quotient(t, x0 * LN2), c="log2(x0)", doc="The logarithm of x0 to base 2.")
log10 = elementwise("log10", lambda t, x0: quotient(t, x0 * LN10), c="log10(x0)", doc="The logarithm of x0 to base 10.")
log1p = elementwise("log1p", lambda t, x0: quotient(t, 1 + x0), c="log1p(x0)", doc="log(1 + x0), exact near 0.")
sqrt = elementwise("sqrt", lambda t, y: quotient(t, 2 * y), c="sqrt(x0)", doc="The square root of x0; the derivative at 0 is infinite.")
cbrt = elementwise("cbrt", lambda t, y: quotient(t, 3 * y * y), c="cbrt(x0)", doc="The cube root of x0, also for negative numbers.")
logaddexp = elementwise(
    "logaddexp",
    lambda t, x0, x1: t * sigmoid(_difference(x0, x1)),
    lambda t, x0, x1: t * sigmoid(_difference(x1, x0)),
    c="fmax(x0, x1) + log1p(exp(-fabs(x0 == x1 ? 0 : x0 - x1)))",
    doc="log(exp(x0) + exp(x1)) without overflow.",
)
logaddexp2 = elementwise(
    "logaddexp2",
    lambda t, x0, x1: t * sigmoid(_difference(x0, x1) * LN2),
    lambda t, x0, x1: t * sigmoid(_difference(x1, x0) * LN2),
    c="fmax(x0, x1) + log2(1 + exp2(-fabs(x0 == x1 ? 0 : x0 - x1)))",
    doc="log2(2 ** x0 + 2 ** x1) without overflow.",
)


def _difference(a: Any, b: Any) -> Any:
    """a - b, and 0 for equal infinities."""
    same = np.isinf(a) & (a == b)
    return np.where(same, 0, a - np.where(same, 0, b))


def _over_square(t: Any, length: Any) -> Any:
    """t / length ** 2, where the square itself may overflow or vanish."""
    return quotient(quotient(t, length), length)


# Trigonometry
sin = elementwise("sin", lambda x0: np.cos(x0), c="sin(x0)", doc="The sine of x0 (in radians).")
cos = elementwise("cos", lambda t, x0: -t * np.sin(x0), c="cos(x0)", doc="The cosine of x0 (in radians).")
tan = elementwise("tan", lambda y: 1 + y * y, c="tan(x0)", doc="The tangent of x0 (in radians).")
arcsin = elementwise(
    "arcsin", lambda t, x0: quotient(t, np.sqrt((1 - x0) * (1 + x0))), c="asin(x0)", doc="The angle from -pi/2 to pi/2 whose sine is x0."
)
arccos = elementwise(
    "arccos", lambda t, x0: -quotient(t, np.sqrt((1 - x0) * (1 + x0))), c="acos(x0)", doc="The angle from 0 to pi whose cosine is x0."
)
arctan = elementwise("arctan", lambda t, x0: t / (1 + x0 * x0), c="atan(x0)", doc="The angle from -pi/2 to pi/2 whose tangent is x0.")
arctan2 = elementwise(
    "arctan2",
    lambda t, x0, x1: _over_square(t * x1, np.hypot(x0, x1)),
    lambda t, x0, x1: -_over_square(t * x0, np.hypot(x0, x1)),
    c="atan2(x0, x1)",
    doc="The angle of the point (x1, x0) in the plane, from -pi to pi; y is the first argument.",
)
hypot = elementwise(
    "hypot",
    lambda t, y, x0: t * share(x0, y),
    lambda t, y, x1: t * share(x1, y),
    c="hypot(x0, x1)",
    doc="The length sqrt(x0 ** 2 + x1 ** 2) without overflow; the derivative at (0, 0) is 0.",
)
sinh = elementwise("sinh", lambda x0: np.cosh(x0), c="sinh(x0)", doc="The hyperbolic sine of x0.")
cosh = elementwise("cosh", lambda x0: np.sinh(x0), c="cosh(x0)", doc="The hyperbolic cosine of x0.")
tanh = elementwise(
    "tanh", lambda y: one_minus_square(y) if isinstance(y, Tracer) else 1 - y * y, c="tanh(x0)", doc="The hyperbolic tangent of x0."
)
# The slope. Its derivative is one product; that of a square and a difference would be four passes at each order.
one_minus_square: Elementwise = elementwise(
    "one_minus_square", lambda x0: -2 * x0, c="1 - x0 * x0", impl=lambda x: 1 - x * x, expand=True, doc="1 - x0 * x0, the slope of tanh."
)
arcsinh = elementwise(
    "arcsinh",
    lambda t, x0: t / (np.sqrt(x0 * x0 + 1) if is_complex(x0) else np.hypot(x0, 1)),
    c="asinh(x0)",
    doc="The inverse of sinh.",
)
arccosh = elementwise(
    "arccosh", lambda t, x0: quotient(t, np.sqrt(x0 - 1) * np.sqrt(x0 + 1)), c="acosh(x0)", doc="The inverse of cosh, for x0 >= 1."
)
arctanh = elementwise(
    "arctanh", lambda t, x0: quotient(t, (1 - x0) * (1 + x0)), c="atanh(x0)", doc="The inverse of tanh, for x0 between -1 and 1."
)
deg2rad = elementwise("deg2rad", lambda t: t * TURN, c="x0 * 0.017453292519943295", doc="Degrees converted to radians.")
rad2deg = elementwise("rad2deg", lambda t: t / TURN, c="x0 * 57.29577951308232", doc="Radians converted to degrees.")


def _write_where(out: Any, condition: Any, x: Any, y: Any) -> None:
    xp, is_host = array_module(out), backend_of(out).reads_at_once
    masked = type(y) is int and y == 0 and condition.dtype == bool and isinstance(x, np.ndarray | np.generic) and x.dtype == out.dtype
    if is_host and masked and (bits := BITS.get(out.dtype)):
        # Multiplying an integer by 0 or 1 chooses between zero and the integer, without a branch that is mispredicted half of the time.
        np.multiply(x.view(bits), condition.view(np.uint8), out=out.view(bits))
    elif out is x or (is_host and isinstance(x, np.ndarray) and np.may_share_memory(out, x)):  # it may be a view of out
        xp.copyto(out, _wrapped(y, out), where=xp.logical_not(condition))
    else:
        if out is not y:
            xp.copyto(out, _wrapped(y, out))
        xp.copyto(out, _wrapped(x, out), where=condition)


def _wrapped(x: Any, out: Any) -> Any:
    """`x`, but a Python integer in the dtype of `out`.

    As np.where does, take it modulo 2 ** bits if it is too large for an integer dtype, or, since NumPy 2.5, refuse it.
    """
    if type(x) is not int or out.dtype.kind not in "iu":
        return x
    return np.asarray(x, out.dtype) if REFUSES and isinstance(out, np.ndarray) else np.asarray(x).astype(out.dtype)


REFUSES = np.lib.NumpyVersion(np.__version__) >= "2.5.0.dev0"
BITS = {np.dtype(np.float32): np.uint32, np.dtype(np.float64): np.uint64}


# Choices. Rules with t choose instead of multiplying, because 0 * inf would be NaN.
def _share_of_first(t: Any, y: Any, x0: Any, x1: Any) -> Any:
    half = tie(x0, x1) if isinstance(x0, Tracer) and isinstance(x1, Tracer) else 0.5
    return _where_chosen(x0 == y, np.where(x1 == y, t * half, t), t, y)


def _where_chosen(chosen: Any, share: Any, t: Any, y: Any) -> Any:
    """The share of what was chosen. Otherwise 0, but NaN where the value is NaN, unless nothing depends on it."""
    return np.where(chosen | ((y != y) & (t != 0)), np.where(chosen, share, math.nan), 0)


def _share_of_second(t: Any, y: Any, x0: Any, x1: Any) -> Any:
    return _share_of_first(t, y, x1, x0)


maximum = elementwise(
    "maximum",
    _share_of_first,
    _share_of_second,
    c="x0 > x1 || x0 != x0 ? x0 : x1",
    doc="The greater of x0 and x1, NaN if either is; the derivative is split evenly at ties.",
)
minimum = elementwise(
    "minimum",
    _share_of_first,
    _share_of_second,
    c="x0 < x1 || x0 != x0 ? x0 : x1",
    doc="The lesser of x0 and x1, NaN if either is; the derivative is split evenly at ties.",
)
fmax = elementwise(
    "fmax",
    _share_of_first,
    _share_of_second,
    c={"f": "fmax(x0, x1)", "i": "x0 >= x1 ? x0 : x1"},
    doc="The greater of x0 and x1, ignoring NaN; the derivative is split evenly at ties.",
)
fmin = elementwise(
    "fmin",
    _share_of_first,
    _share_of_second,
    c={"f": "fmin(x0, x1)", "i": "x0 <= x1 ? x0 : x1"},
    doc="The lesser of x0 and x1, ignoring NaN; the derivative is split evenly at ties.",
)
where = elementwise(
    "where",
    None,
    lambda t, x0: np.where(x0, t, 0),
    lambda t, x0: np.where(x0, 0, t),
    c="x0 ? x1 : x2",
    loop=lambda dtypes, y: (dtypes[0], y, y),
    write=_write_where,
    reads_twice=0,
    doc="x1 where x0 is true, x2 elsewhere; NaNs in entries that are not selected do not reach the derivative.",
)
clip = elementwise(
    "clip",
    lambda t, y, x0, x1, x2: _where_chosen((y == y) & ((x0 >= x1) & (x0 <= x2)), t, t, y),
    lambda t, y, x0, x1, x2: _where_chosen((y == y) & ((x0 < x1) & (x1 <= x2)), t, t, y),
    lambda t, y, x0, x1, x2: _where_chosen((y == y) & ((x0 > x2) | (x1 > x2)), t, t, y),
    c="x0 > x1 || x0 != x0 ? (x0 < x2 || x0 != x0 ? x0 : x2) : (x1 < x2 || x1 != x1 ? x1 : x2)",
    loop=lambda dtypes, y: (y, y, y),
    write="xp.clip({0}, {1}, {2}, out={out})",
    doc="x0 limited to the range from x1 to x2; the derivative at the bounds is 1.",
)
ldexp = elementwise("ldexp", lambda t, x1: np.ldexp(t, x1), None, c="ldexp(x0, (int)x1)", doc="x0 * 2 ** x1, for integers x1.")
copysign = elementwise(
    "copysign",
    lambda t, x0, x1: t * slope_of_absolute(x0) * np.copysign(1, x1),
    None,
    c="copysign(x0, x1)",
    doc="|x0| with the sign of x1.",
)


def _sigmoid(x: Any) -> Any:
    dtype = getattr(x, "dtype", None)
    if dtype is not None and dtype.kind in "biu":  # whose negative may not be an integer of that dtype
        x = x.astype(np.result_type(dtype, np.float16))
    with np.errstate(over="ignore"):
        y = np.exp(-x)
    y += 1
    return 1 / y


# Activations that would be several passes as compositions
sigmoid: Elementwise = elementwise(
    "sigmoid", lambda y: y * (1 - y), c="1 / (1 + exp(-x0))", impl=_sigmoid, expand=True, doc="1 / (1 + exp(-x0))."
)
relu: Elementwise = elementwise(
    "relu",
    lambda t, y: t * (y != 0),  # y is positive, 0 or NaN; beside NaN the derivative is not 0
    c="x0 > 0 || x0 != x0 ? x0 : 0",
    impl=lambda x: np.maximum(x, 0),
    expand=True,
    doc="max(x0, 0); the derivative at 0 is 0.",
)


def _spacing(x: Any) -> Any:
    xp = array_module(x)
    if hasattr(xp, "spacing"):
        return xp.spacing(x)
    return np.copysign(np.nextafter(abs(x), math.inf) - abs(x), x)


# Complex numbers: linear over the reals. Cotangents are conjugates (see core/tape.py), which explains the sign of imag's adjoint.
real: Linear = linear("real", lambda x: x.real, lambda t, x: t)
imag: Linear = linear("imag", lambda x: x.imag, lambda t, x: t * -1j)
conjugate: Linear = linear("conjugate", np.conjugate, lambda t, x: conjugate(t))


# Operations without a derivative, or with derivative 0 wherever it exists
equal = discrete("equal", c="x0 == x1", impl=operator.eq, doc="Whether x0 == x1.")
not_equal = discrete("not_equal", c="x0 != x1", impl=operator.ne, doc="Whether x0 != x1.")
less = discrete("less", c="x0 < x1", impl=operator.lt, doc="Whether x0 < x1.")
less_equal = discrete("less_equal", c="x0 <= x1", impl=operator.le, doc="Whether x0 <= x1.")
greater = discrete("greater", c="x0 > x1", impl=operator.gt, doc="Whether x0 > x1.")
greater_equal = discrete("greater_equal", c="x0 >= x1", impl=operator.ge, doc="Whether x0 >= x1.")
bitwise_and = discrete(
    "bitwise_and", c="x0 & x1", impl=operator.and_, doc="The bits set in both x0 and x1; for booleans, the logical and."
)
bitwise_or = discrete("bitwise_or", c="x0 | x1", impl=operator.or_, doc="The bits set in x0 or x1; for booleans, the logical or.")
bitwise_xor = discrete(
    "bitwise_xor", c="x0 ^ x1", impl=operator.xor, doc="The bits set in exactly one of x0 and x1; for booleans, whether they differ."
)
left_shift = discrete(
    "left_shift", c="(unsigned long long)x1 < 8 * sizeof(x0) ? x0 << x1 : 0", impl=operator.lshift, doc="x0 shifted by x1 bits to the left."
)
right_shift = discrete(
    "right_shift",
    c="(unsigned long long)x1 < 8 * sizeof(x0) ? x0 >> x1 : x0 < 0 ? -1 : 0",
    impl=operator.rshift,
    doc="x0 shifted by x1 bits to the right.",
)
floor_divide = discrete("floor_divide", python_numbers.floor_divide, c=FLOOR_DIVIDE, doc="x0 / x1 rounded down.")
invert = discrete("invert", np.invert, c={"i": "~x0", "b": "!x0"}, doc="The inverted bits of x0; for booleans, the logical not.")
logical_and = discrete("logical_and", np.logical_and, c="x0 && x1", doc="Whether both x0 and x1 are nonzero.")
logical_or = discrete("logical_or", np.logical_or, c="x0 || x1", doc="Whether x0 or x1 is nonzero.")
logical_xor = discrete("logical_xor", np.logical_xor, c="!x0 != !x1", doc="Whether exactly one of x0 and x1 is nonzero.")
logical_not = discrete("logical_not", np.logical_not, c="!x0", doc="Whether x0 is zero.")
isnan = discrete("isnan", np.isnan, c={"f": "isnan(x0)", "i": "false"}, doc="Whether x0 is NaN.")
isinf = discrete("isinf", np.isinf, c={"f": "isinf(x0)", "i": "false"}, doc="Whether x0 is infinite.")
isfinite = discrete("isfinite", np.isfinite, c={"f": "isfinite(x0)", "i": "true"}, doc="Whether x0 is neither infinite nor NaN.")
signbit = discrete("signbit", np.signbit, c="signbit(x0)", doc="Whether the sign of x0 is negative; true for -0.0.")
sign = discrete("sign", np.sign, c="x0 > 0 ? 1 : x0 < 0 ? -1 : x0 == 0 ? 0 : x0", doc="The sign of x0: -1, 0 or 1.")
floor = discrete("floor", np.floor, c={"f": "floor(x0)", "i": "x0"}, doc="x0 rounded down.")
ceil = discrete("ceil", np.ceil, c={"f": "ceil(x0)", "i": "x0"}, doc="x0 rounded up.")
trunc = discrete("trunc", np.trunc, c={"f": "trunc(x0)", "i": "x0"}, doc="x0 rounded towards 0.")
rint = discrete("rint", np.rint, c="rint(x0)", doc="x0 rounded to the nearest integer, halves to even.")
heaviside = discrete("heaviside", np.heaviside, doc="0 for x0 < 0, 1 for x0 > 0, and x1 for x0 = 0.")
nextafter = discrete("nextafter", np.nextafter, doc="The next floating number after x0 towards x1.")
spacing = discrete("spacing", _spacing, doc="The distance from x0 to the next floating number.")
exponent = discrete("exponent", lambda x: np.frexp(x)[1], doc="The integer n with |x0| = m * 2 ** n and 1/2 <= m < 1.")
gcd = discrete("gcd", np.gcd, doc="The greatest common divisor of integers.")
lcm = discrete("lcm", np.lcm, doc="The least common multiple of integers.")
round_to = discrete("round", lambda x, *, decimals: np.round(x, decimals), doc="x0 rounded to `decimals` digits.")
stop_gradient = discrete("stop_gradient", lambda x: x, doc="x0 as a constant: its derivative is 0.")
to_discrete = discrete(
    "astype_discrete",
    lambda x, *, dtype: np.asarray(x).astype(dtype) if not hasattr(x, "astype") else x.astype(dtype),
    c="x0",
    loop=lambda dtypes, y: dtypes,
    write="xp.copyto({out}, {0}, casting='unsafe')",
    doc="x0 cast to integers, booleans, or another dtype without a derivative.",
)

# CuPy has other formulas for these: its `logical_and` takes a negative int64 beside a uint64 for false. It refuses complex numbers.
for _operation in (remainder, fmod, floor_divide, left_shift, right_shift):
    own(_operation)
for _operation in (logical_and, logical_or, logical_xor, logical_not):
    own(_operation, elsewhere=lambda *xs, of=_operation.impl: of(*[x != 0 if is_complex(x) else x for x in xs]))
own(clip, bounds=True, elsewhere=lambda x, low, high: np.minimum(np.maximum(x, low), high))
