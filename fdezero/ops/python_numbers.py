"""Python's operators, with NumPy's answers where Python refuses: 1.0 / 0.0 is inf, (-2.0) ** 2.5 is NaN, 10.0 ** 400 is inf.

A Python number in a tracer stays one, so its dtype stays weak and its arithmetic fast. Its values must still be those of an
array of this number. One answer stays Python's: 2 ** -1 is 0.5, where NumPy refuses integers.
"""

from typing import Any

import numpy as np


def divide(x: Any, y: Any) -> Any:
    """x / y."""
    try:
        return x / y
    except ZeroDivisionError:
        return np.true_divide(x, y).item()


def floor_divide(x: Any, y: Any) -> Any:
    """x // y."""
    try:
        return x // y
    except ZeroDivisionError:
        return np.floor_divide(x, y).item()


def remainder(x: Any, y: Any) -> Any:
    """x % y."""
    try:
        return x % y
    except ZeroDivisionError:
        return np.remainder(x, y).item()


def power(x: Any, y: Any) -> Any:
    """x ** y. The power of a real number is real: NaN for a fractional power of a negative number."""
    try:
        z = x**y
    except (ZeroDivisionError, OverflowError):
        if hasattr(x, "dtype") or hasattr(y, "dtype"):  # an array of small integers and a number that they cannot hold
            raise
        return np.power(x * 1.0, y * 1.0).item()
    if z.__class__ is complex and x.__class__ is not complex and y.__class__ is not complex:
        return np.power(float(x), float(y)).item()
    return z


OPERATORS = frozenset({divide, floor_divide, remainder, power})
