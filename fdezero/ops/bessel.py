"""Bessel functions of SciPy, or of CuPy, and their derivatives by the argument. An order has no derivative here."""

from typing import Any, NoReturn

import numpy as np

from ..core import Elementwise
from .slopes import slope_of_absolute
from .special import no_derivative, special


def _of_order(name: str) -> Any:
    """The rule of the first argument of `name`."""

    def rule(x0: Any) -> NoReturn:
        no_derivative(name, "its order")

    return rule


def _double(x: Any) -> Any:
    """x in double precision: functions without their exponential are differences of numbers that are almost equal."""
    return x * np.float64(1)


def _by_x(first: Any, x: Any, sign: int, scale: Any) -> Any:
    """A Bessel function of order 1 over x; near 0, the series of I1(x) / x (sign 1) or J1(x) / x (sign -1) times `scale`."""
    near = abs(x) < 0.5
    w = sign * (x * x) / 4
    series: Any = 1.0
    for k in range(7, 0, -1):
        series = 1 + w / (k * (k + 1)) * series
    return np.where(near, 0.5 * scale * series, first / np.where(near, 1, x))


# Of the first and the second kind
j0: Elementwise = special("j0", lambda x0: -j1(x0), c="j0(x0)", doc="The Bessel function of the first kind, of order 0.")
j1: Elementwise = special(
    "j1", lambda y, x0: j0(x0) - _by_x(y, x0, -1, 1), c="j1(x0)", doc="The Bessel function of the first kind, of order 1."
)
y0: Elementwise = special("y0", lambda x0: -y1(x0), c="y0(x0)", doc="The Bessel function of the second kind, of order 0.")
y1: Elementwise = special("y1", lambda y, x0: y0(x0) - y / x0, c="y1(x0)", doc="The Bessel function of the second kind, of order 1.")
jv: Elementwise = special(
    "jv",
    _of_order("jv"),
    lambda x0, x1: (jv(x0 - 1, x1) - jv(x0 + 1, x1)) / 2,
    doc="The Bessel function of the first kind, of order x0, at x1; not differentiable in x0.",
)
yv: Elementwise = special(
    "yv",
    _of_order("yv"),
    lambda x0, x1: (yv(x0 - 1, x1) - yv(x0 + 1, x1)) / 2,
    doc="The Bessel function of the second kind, of order x0, at x1; not differentiable in x0.",
)
yn: Elementwise = special(
    "yn",
    _of_order("yn"),
    lambda x0, x1: (yn(x0 - 1, x1) - yn(x0 + 1, x1)) / 2,
    doc="The Bessel function of the second kind, of integer order x0, at x1.",
)

# Modified; those with an e are without their exponential growth or decay
i0 = special(
    "i0", lambda x0: i1(x0), called="bessel_i0", c="cyl_bessel_i0(x0)", doc="The modified Bessel function of the first kind, of order 0."
)
i1: Elementwise = special(
    "i1",
    lambda y, x0: i0(x0) - _by_x(y, x0, 1, 1),
    called="bessel_i1",
    c="cyl_bessel_i1(x0)",
    doc="The modified Bessel function of the first kind, of order 1.",
)
iv: Elementwise = special(
    "iv",
    _of_order("iv"),
    lambda x0, x1: (iv(x0 - 1, x1) + iv(x0 + 1, x1)) / 2,
    doc="The modified Bessel function of the first kind, of order x0, at x1; not differentiable in x0.",
)
kv: Elementwise = special(
    "kv",
    _of_order("kv"),
    lambda x0, x1: -(kv(x0 - 1, x1) + kv(x0 + 1, x1)) / 2,
    doc="The modified Bessel function of the second kind, of order x0, at x1; not differentiable in x0.",
)


def _slope_of_i0e(x: Any) -> Any:
    return i1e(x) - slope_of_absolute(x) * i0e(x)


def _slope_of_i1e(x: Any) -> Any:
    y = i1e(x)
    return i0e(x) - _by_x(y, x, 1, np.exp(-abs(x))) - slope_of_absolute(x) * y


i0e: Elementwise = special("i0e", lambda x0: _slope_of_i0e(_double(x0)), called="bessel_i0e", doc="exp(-|x0|) * i0(x0), without overflow.")
i1e: Elementwise = special("i1e", lambda x0: _slope_of_i1e(_double(x0)), called="bessel_i1e", doc="exp(-|x0|) * i1(x0), without overflow.")


def _slope_of_ive(v: Any, x: Any) -> Any:
    return (ive(v - 1, x) + ive(v + 1, x)) / 2 - slope_of_absolute(x) * ive(v, x)


def _slope_of_kve(v: Any, x: Any) -> Any:
    return kve(v, x) - (kve(v - 1, x) + kve(v + 1, x)) / 2


ive: Elementwise = special(
    "ive",
    _of_order("ive"),
    lambda x0, x1: _slope_of_ive(x0, _double(x1)),
    doc="exp(-|x1|) * iv(x0, x1), without overflow; not differentiable in x0.",
)
kve: Elementwise = special(
    "kve",
    _of_order("kve"),
    lambda x0, x1: _slope_of_kve(x0, _double(x1)),
    doc="exp(x1) * kv(x0, x1), without underflow; not differentiable in x0.",
)
