"""Roots of sums of squares, which are right although a square in between overflows: the operations of optimisers."""

import math
from typing import Any

import numpy as np

from ..core import elementwise, reduction
from ..devices import array_module


def _ratio(x: Any, y: Any) -> Any:
    """x / y, and 0 where y is 0."""
    nowhere = y == 0
    return np.where(nowhere, 0, x / np.where(nowhere, 1, y))


OPERANDS: set[type] = {np.ndarray, np.float32, np.float64, float}  # an array beside a number is computed as two arrays are


def _root_of_mean(x: Any, y: Any, a: Any, b: Any) -> Any:
    kinds = {x.__class__, y.__class__}
    if np.ndarray not in kinds or not kinds <= OPERANDS:
        return array_module(x, y).hypot(a**0.5 * x, b**0.5 * y)
    try:
        with np.errstate(over="raise", under="ignore"):  # the processor notes an overflow, so no pass looks for one
            return np.sqrt(x * x * a + y * y * b)
    except FloatingPointError:
        root = _with_overflow(x, y, a, b)
        return root if root.ndim else root[()]


def _write_root_of_mean(out: Any, x: Any, y: Any, a: Any, b: Any) -> None:
    try:
        with np.errstate(over="raise"):
            total = x * x
            total *= a
            other = y * y
            other *= b
            total += other
    except FloatingPointError:
        out[...] = _with_overflow(x, y, a, b)
    else:
        np.sqrt(total, out)


def _with_overflow(x: Any, y: Any, a: Any, b: Any) -> Any:
    """The entries whose squares overflow by hypot, which is ten times as slow, the others by their squares."""
    with np.errstate(over="ignore", under="ignore"):
        total = x * x * a + y * y * b
        return np.where(np.isinf(total), np.hypot(a**0.5 * x, b**0.5 * y), np.sqrt(total))


def _of(number: str) -> str:
    """A number of float32 in C++, and its eighth power in float64, whose exponents have eight times the range."""
    return f"(sizeof(x0) == 4 ? {number} : {' * '.join([number] * 8)})"


# Where a square might overflow, a power of 2, here 2**66, makes both numbers smaller, which changes no digit.
IS_LARGE = f"fabs(x0) + fabs(x1) > {_of('1.0e18')}"
SCALE, BACK = (f"({IS_LARGE} ? {_of(number)} : 1.0)" for number in ("1.3552527156068805e-20", "7.378697629483821e19"))

root_of_mean = elementwise(
    "root_of_mean",
    lambda t, y, x0, x2: t * x2 * _ratio(x0, y),
    lambda t, y, x1, x3: t * x3 * _ratio(x1, y),
    lambda t, y, x0: t * 0.5 * _ratio(x0, y) * x0,
    lambda t, y, x1: t * 0.5 * _ratio(x1, y) * x1,
    # Unlike hypot, this makes a loop over vectors.
    c=f"sqrt(x0 * {SCALE} * (x0 * {SCALE}) * x2 + x1 * {SCALE} * (x1 * {SCALE}) * x3) * {BACK}",
    loop=lambda dtypes, y: (y, y, y, y),
    impl=_root_of_mean,
    write=_write_root_of_mean,
    doc="sqrt(x2 * x0 ** 2 + x3 * x1 ** 2) without overflow.",
)


# Sums of squares from here on have all their digits.
LEAST: dict[Any, Any] = {np.dtype("g"): np.finfo("g").tiny / np.finfo("g").eps ** 2}  # too small for a Python number
LEAST |= {np.dtype(kind): float(np.finfo(kind).tiny) / float(np.finfo(kind).eps) ** 2 for kind in ("f2", "f4", "f8")}


def _length(x: Any, *, axes: tuple[int, ...], keepdims: bool) -> Any:
    with np.errstate(over="ignore", under="ignore"):
        return _length_under_any_errors(x, axes, keepdims)


def _length_under_any_errors(x: Any, axes: tuple[int, ...], keepdims: bool) -> Any:
    total = (x * x).sum(axis=axes, keepdims=keepdims)
    if x.__class__ is np.ndarray:  # here Python can look at the values without waiting
        low, high = (total.min(initial=1), total.max(initial=1)) if total.ndim else (total, total)
        if (low > LEAST[x.dtype] and high < math.inf) or not x.any():
            return np.sqrt(total)
    if not x.size:
        return np.sqrt(total)
    greatest = abs(x).max(axis=axes, keepdims=True)
    scale = np.where((greatest > 0) & np.isfinite(greatest), greatest, 1).astype(x.dtype)
    x = x / scale
    return (np.sqrt((x * x).sum(axis=axes, keepdims=True)) * scale).reshape(total.shape)[()]


def _write_length(out: Any, x: Any, *, axes: tuple[int, ...], keepdims: bool) -> None:
    out[...] = _length_under_any_errors(x, axes, keepdims)


# The Euclidean norm of real numbers over `axes`, from 0 or tiny entries up to the greatest ones.
length = reduction("length", lambda t, y, x, axes: t * _ratio(x, y), _length, write=_write_length, fresh=True)
