"""The special functions that NumPy has: sinc and i0, with derivatives of every order and without SciPy."""

import math
from typing import Any

import numpy as np

from ..devices import array_module
from ..ops import elementwise
from ..values import is_floating
from .arguments import ArrayOrNumber, as_array
from .elementwise import cast
from .reductions import mean
from .shape import expand_dims

__all__ = ["i0", "sinc"]


def sinc(x: Any) -> ArrayOrNumber:
    """sin(pi x) / (pi x), and 1 at 0, where every derivative is exact: x (...) -> (...)."""
    z = elementwise.multiply(as_array(x), np.pi)
    near = elementwise.less(elementwise.absolute(z), 0.15)  # where derivatives of the quotient would cancel
    safe = elementwise.where(near, 1, z)
    small = elementwise.where(near, z, 0)  # the series of a large z would overflow, and 0 times its slope is NaN
    w = elementwise.multiply(small, small)
    series = 1 - w / 6 * (1 - w / 20 * (1 - w / 42 * (1 - w / 72 * (1 - w / 110 * (1 - w / 156)))))
    return elementwise.where(near, series, elementwise.divide(elementwise.sin(safe), safe))


def i0(x: Any) -> ArrayOrNumber:
    """The modified Bessel function of the first kind, of order 0: x (...) -> (...).

    Computed as the mean of cosh(x cos t) over a quarter circle. The midpoint rule converges exponentially for a
    periodic function: 64 points give every digit, up to the overflow. Source: Abramowitz and Stegun 9.6.16.
    """
    x = as_array(x)
    if not is_floating(x.dtype):
        x = cast(x, np.float64)
    angles = (np.arange(64) + 0.5) * (math.pi / 128)
    nodes = array_module(x).asarray(np.cos(angles).astype(x.dtype))
    return mean(elementwise.cosh(elementwise.multiply(expand_dims(x, -1), nodes)), axis=-1)
