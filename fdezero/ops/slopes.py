"""Factors of derivatives where calculus gives no number: quotients by 0, products with infinite slopes, and slopes at kinks.

A kink has a first derivative by convention, such as 0 for |x|. Its second derivative is NaN or infinite: every number would be wrong
for some function of it, such as |x| ** 2.
"""

import math
from typing import Any

import numpy as np

from ..core import Elementwise, Tracer, elementwise, unwrap
from ..values import dtype_of, is_complex, shape_of
from .python_numbers import divide, power


# Products with slopes that may be infinite or NaN. If t is 0, nothing depends on the entry, so it adds nothing to the gradient. So
# where(x > 0, sqrt(x), 0) has the derivative 0 at 0, not 0 * inf. For finite slopes these are plain products, to every order.
def _quotient(t: Any, x: Any) -> Any:
    with np.errstate(invalid="ignore"):
        y = divide(t, x)
    return _unless_dead(t, y)


def _scaled(t: Any, slope: Any) -> Any:
    with np.errstate(invalid="ignore"):
        y = t * slope
    return _unless_dead(t, y)


def _unless_dead(t: Any, y: Any) -> Any:
    """y, but 0 where t is 0 and y is NaN."""
    y = np.where((t == 0) & np.isnan(y), 0, y)
    return y if y.shape else y[()]


quotient: Elementwise = elementwise(
    "quotient",
    lambda t, x1: quotient(t, x1),
    lambda t, y, x1: -quotient(scaled(y, t), x1),  # a y of 0 stays 0, also for an infinite t
    c="x0 == 0 && !(x1 == x1 && x1 != 0) ? x0 * 0 : x0 / x1",
    impl=_quotient,
    expand=True,
    doc="x0 / x1, and 0 for 0 / 0 and 0 / NaN.",
)
scaled: Elementwise = elementwise(
    "scaled",
    lambda t, x1: scaled(t, x1),
    lambda t, x0: t * x0,
    c="x0 == 0 && !(x1 - x1 == 0) ? x0 * 0 : x0 * x1",
    impl=_scaled,
    expand=True,
    doc="x0 * x1, and 0 for 0 times infinity or NaN.",
)


def over(t: Any, divisor: Any) -> Any:
    """t / divisor. Zeros of the divisor need care, unless it is a plain number other than 0."""
    plain = isinstance(divisor, int | float) and divisor != 0 and divisor == divisor
    return t / divisor if plain else quotient(t, divisor)


def quiet_log(x: Any) -> Any:
    """log(x) without a warning: -inf at 0, NaN for negative numbers."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.log(x)


def _times_log(t: Any, x: Any) -> Any:
    with np.errstate(invalid="ignore"):
        return np.where(t == 0, 0, t * quiet_log(np.where(t == 0, 1, x)))


# The slope of a power by its exponent. Where x0 is 0 the value is 0, but its slope is log(x1), also where that is infinite.
times_log: Elementwise = elementwise(
    "times_log",
    lambda t, x1: scaled(t, quiet_log(x1)),
    lambda t, x0, x1: quotient(t * x0, x1),
    c="x0 == 0 ? 0 : x0 * log(x1)",
    impl=_times_log,
    expand=True,
    doc="x0 * log(x1), and 0 where x0 is 0.",
)


def _full(x: Any, number: float) -> Any:
    """`number` in the shape and dtype of x; a number where x is one, so that it goes with arrays of every device."""
    y = np.full_like(x, number)
    return y if y.shape else y[()]


def _everywhere(number: float, x: Any, *others: Any) -> Any:
    """`number` in the dtype of x, and in the shape that operands broadcast to: an array without memory of its own."""
    shape = np.broadcast_shapes(*[shape_of(operand) for operand in (x, *others)])
    if not shape:
        return _full(x, number)
    source = next(operand for operand in (x, *others) if shape_of(operand))  # x may be a number beside arrays of a GPU
    return np.broadcast_to(np.full_like(source, number, dtype=dtype_of(x), shape=(1,)), shape)


def _nan_times(t: Any, at: Any, x: Any) -> Any:
    """NaN where `at` is true, 0 elsewhere, also for an infinite t."""
    return np.where(at, t * nan_where(at, x), 0)


# NaN where x0 is true, with the derivative NaN; 0 elsewhere.
nan_where: Elementwise = elementwise(
    "nan_where",
    None,
    lambda t, x0, x1: _nan_times(t, x0, x1),
    c="x0 ? 0.0 / 0.0 : 0",
    impl=lambda at, x: np.where(at, _full(x, math.nan), 0),
    expand=True,
)


# Kinks
class _Kinked(Elementwise):
    """A slope whose rule is NaN at a kink. A tangent of 0 stays on the kink, so it moves nothing."""

    def push(self, y: Any, args: list[Any], tangents: list[Any], params: dict[str, Any]) -> Any:
        moved = super().push(y, args, tangents, params)
        return np.where(tangents[0] == 0, 0, moved)


slope_of_absolute: Elementwise = _Kinked(
    "slope_of_absolute",
    lambda t, x0: _nan_times(t, x0 == 0, x0),
    c="x0 > 0 ? 1 : x0 < 0 ? -1 : x0 == 0 ? 0 : x0",
    impl=np.sign,
    expand=True,
    doc="The sign of x0, as the slope of |x0|: its derivative at 0 is NaN.",
)


class _Tie(Elementwise):
    """The share of each of two operands where they are equal. Its derivative is NaN where they do not stay equal."""

    def push(self, y: Any, args: list[Any], tangents: list[Any], params: dict[str, Any]) -> Any:
        if any(t is None for t in tangents):  # one of them is a constant: all slopes between the two sides will do
            return np.zeros_like(y)
        moved = super().push(y, args, tangents, params)
        return np.where(tangents[0] == tangents[1], 0, moved)

    def pull(self, cotangent: Any, node: Any) -> list[tuple[Any, Any]]:
        return super().pull(cotangent, node) if all(parent is not None for parent in node.parents) else []


tie: Elementwise = _Tie(
    "tie",
    lambda t, x0, x1: _nan_times(t, x0 == x1, x0),
    lambda t, x0, x1: _nan_times(t, x0 == x1, x1),
    c="0.5",
    impl=lambda x0, x1: _everywhere(0.5, x0, x1),
    expand=True,
    doc="0.5, the share of each of two equal operands.",
)


def _divided(t: Any, x: Any) -> Any:
    with np.errstate(divide="ignore", invalid="ignore"):
        return t / x


def _share(x: Any, length: Any) -> Any:
    nowhere = length == 0
    return np.where(nowhere, x * 0, x / np.where(nowhere, 1, length))  # an infinite or NaN x does not vanish


# x0 / x1, the slope of a length x1 by its part x0. It is 0 where the length is 0, but its derivatives there are those of a quotient.
share: Elementwise = elementwise(
    "share",
    lambda t, x1: _divided(t, x1),
    lambda t, y, x1: -_divided(t * y, x1),
    c="x1 == 0 ? x0 * 0 : x0 / x1",
    impl=_share,
    expand=True,
    doc="x0 / x1, and 0 where the length x1 is 0.",
)
# The square root, with the derivative 0 at 0: lengths are roots of sums of squares.
root: Elementwise = elementwise("root", lambda t, y: share(t * 0.5, y), c="sqrt(x0)", impl=lambda x: np.sqrt(x), expand=True)


def _flat(at: Any, x: Any) -> Any:
    return _everywhere(0, x, at)


# 0, with the derivative 0 and no further ones: it stands for a function of x at a point where the first derivative is a convention.
flat: Elementwise = elementwise("flat", None, lambda t, x0, x1: t * corner(x0, x1), c="0", impl=_flat, expand=True)
# 0, with two derivatives 0 and no further ones.
flatter: Elementwise = elementwise("flatter", None, lambda t, x0, x1: t * flat(x0, x1), c="0", impl=_flat, expand=True)
# 0, and x1 itself, with the derivative NaN where x0 is true.
corner: Elementwise = elementwise(
    "corner", None, lambda t, x0, x1: _nan_times(t, x0, x1), c="0", impl=_flat, expand=True
)
settled: Elementwise = elementwise(
    "settled",
    None,
    lambda t, x0, x1: np.where(x0, t * nan_where(x0, x1), t),
    c="x1",
    impl=lambda at, x: np.where(at, x, x),
    expand=True,
)


def power_slope(x: Any, exponent: Any) -> Any:
    """exponent * x ** (exponent - 1), and 0 for 0 ** 0. No value decides that an outer transform traces."""
    is_plain = not isinstance(exponent, Tracer)
    if is_plain:
        if not hasattr(exponent, "shape"):
            return exponent * power(x, exponent - 1) if exponent else np.zeros_like(x)
        constant = (exponent == 0) & (x == 0)
        return np.where(constant, 0, exponent * x ** np.where(constant, 1, exponent - 1))
    is_number = not hasattr(unwrap(exponent), "shape")
    constant = (exponent == 0) & ((x == 0) | (x != x) if is_number else x == 0)  # a plain number 0 has the slope 0 everywhere
    jump = corner(constant, exponent)  # 0 where it counts; the slope by the exponent is infinite
    if not is_number:
        return np.where(constant, jump, exponent * x ** np.where(constant, 1, exponent - 1))
    # A number, whose dtype is weak: NumPy has special powers for 0.5, -1 and others.
    with np.errstate(divide="ignore", invalid="ignore"):
        slope = exponent * power(x, exponent - 1)
    slope = np.where((exponent == 0) & (x == x), slope + 0, slope)  # not -0 for a negative x, as for a plain exponent
    return np.where(constant, jump.astype(slope.dtype) if hasattr(slope, "dtype") else jump, slope)


def power_slope_of_exponent(t: Any, y: Any, x: Any) -> Any:
    """t * y * log(x), and 0 where y is 0. A negative x has no power near an integer exponent: NaN."""
    x = x + 0j if is_complex(y) else x
    return times_log(scaled(y, t), x)  # a y of 0 stays 0, also for an infinite t
