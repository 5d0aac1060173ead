"""Distributions: what is made of the random bits."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import numpy as fnp
from ..devices import array_module
from ..errors import ShapeError, describe
from .bits import bits, check_key

Shape = int | Sequence[int]


def _shape(shape: Shape) -> tuple[int, ...]:
    return (shape,) if isinstance(shape, int | np.integer) else tuple(shape)


def _unit(key: Any, shape: tuple[int, ...], dtype: np.dtype) -> Any:
    """Uniform in [0, 1) with as many bits as the significand holds."""
    if dtype.kind != "f":
        raise TypeError(f"random numbers are of a floating dtype, got {dtype}; randint draws integers.")
    lane, kept = {2: (np.uint16, 11), 4: (np.uint32, 24), 8: (np.uint64, 53)}[dtype.itemsize]
    shift = 8 * np.dtype(lane).itemsize - kept
    drawn = bits(key, shape, lane) >> np.dtype(lane).type(shift)
    return drawn.astype(dtype) * dtype.type(2.0**-kept)


def uniform(key: Any, shape: Shape = (), low: Any = 0.0, high: Any = 1.0, dtype: Any = np.float32) -> Any:
    """Numbers in [low, high). float64 draws equal `Generator(Philox(key)).random()` of NumPy; bits are equal on all devices."""
    unit = _unit(check_key(key, "uniform"), _shape(shape), np.dtype(dtype))
    return unit if isinstance(low, float) and low == 0.0 and isinstance(high, float) and high == 1.0 else low + (high - low) * unit


def normal(key: Any, shape: Shape = (), dtype: Any = np.float32) -> Any:
    """Standard normal numbers, by Box and Muller (1958) in float64, rounded to `dtype`.

    Logarithm and cosine differ in the last bits from device to device: float64 draws agree to a few units in the last
    place, float32 draws but for the rarest rounding.
    """
    check_key(key, "normal")
    shape = _shape(shape)
    half = -(-math.prod(shape) // 2)
    unit = _unit(key, (2, half), np.dtype(np.float64))
    radius = fnp.sqrt(-2.0 * fnp.log1p(-unit[0]))
    angle = (2.0 * math.pi) * unit[1]
    both = fnp.concatenate([radius * fnp.cos(angle), radius * fnp.sin(angle)])
    return fnp.astype(both[: math.prod(shape)].reshape(shape), dtype)


def bernoulli(key: Any, p: Any = 0.5, shape: Shape | None = None) -> Any:
    """True with probability `p`, which may be an array; `shape` is that of `p` unless given."""
    check_key(key, "bernoulli")
    wanted = getattr(p, "shape", ()) if shape is None else _shape(shape)
    return _unit(key, wanted, np.dtype(np.float64)) < p


def keep_mask(key: Any, keep: Any, shape: Shape) -> tuple[Any, Any]:
    """A mask that is True with probability `keep`, from 16 bits an entry, and that probability as it is drawn.

    `keep` is rounded to a multiple of 2**-16; scaling by the inverse of what is returned keeps the expectation exact.
    """
    check_key(key, "keep_mask")
    threshold = fnp.round(keep * 65536.0) if hasattr(keep, "shape") else round(keep * 65536.0)
    return bits(key, shape, np.uint16) < threshold, threshold / 65536.0


def randint(key: Any, shape: Shape, low: int, high: int, dtype: Any = np.int64) -> Any:
    """Whole numbers in [low, high), each with equal probability to within 2**-64."""
    check_key(key, "randint")
    low, high, dtype = int(low), int(high), np.dtype(dtype)
    if high <= low:
        raise ValueError(f"randint draws from [low, high), which is empty for low={low}, high={high}.")
    limits = np.iinfo(dtype)
    if low < limits.min or high - 1 > limits.max:
        raise ValueError(f"randint: [{low}, {high}) does not fit into {dtype}, which holds {limits.min} to {limits.max}.")
    span = high - low
    words = bits(key, shape)
    scaled = words if span == 1 << 64 else _multiply_high(words, span)
    return (scaled + np.uint64(low % (1 << 64))).astype(dtype)


def _multiply_high(words: Any, span: int) -> Any:
    """The upper 64 bits of words * span, by halves of 32 bits."""
    mask, shift = np.uint64(0xFFFFFFFF), np.uint64(32)
    a, b = words >> shift, words & mask
    c, d = np.uint64(span >> 32), np.uint64(span & 0xFFFFFFFF)
    middle = a * d + (b * d >> shift)
    return a * c + (middle >> shift) + (((middle & mask) + b * c) >> shift)


def permutation(key: Any, x: Any) -> Any:
    """The numbers 0..x-1 in random order, or an array with its first axis in random order."""
    check_key(key, "permutation")
    order = fnp.argsort(bits(key, x if isinstance(x, int | np.integer) else x.shape[0]))
    return order if isinstance(x, int | np.integer) else fnp.take(x, order, 0)


def choice(key: Any, a: Any, shape: Shape = (), replace: bool = True, p: Any = None) -> Any:
    """Entries of `a` (its first axis, or the numbers 0..a-1), with or without replacement, with probabilities `p`."""
    check_key(key, "choice")
    n = int(a) if isinstance(a, int | np.integer) else a.shape[0]
    shape = _shape(shape)
    size = math.prod(shape)
    if n < 1 or (not replace and size > n):
        raise ShapeError(f"choice: cannot take {size} of {n} entries{'' if replace else ' without replacement'}.")
    if p is not None and getattr(p, "shape", (len(p),)) != (n,):
        raise ShapeError(f"choice: p must have the shape ({n},), got {describe(p)}.")
    if p is None:
        index = randint(key, shape, 0, n) if replace else permutation(key, n)[:size].reshape(shape)
    elif replace:
        total = fnp.cumsum(fnp.asarray(p))
        draws = _unit(key, (size,), np.dtype(np.float64)) * total[-1]
        index = array_module(total).searchsorted(total, draws, side="right").reshape(shape)
    else:  # the order of exponential clocks with the rates p (Efraimidis and Spirakis 2006)
        clocks = -fnp.log1p(-_unit(key, (n,), np.dtype(np.float64)))
        index = fnp.argsort(clocks / fnp.asarray(p))[:size].reshape(shape)
    if isinstance(a, int | np.integer):
        return index
    return fnp.take(a, index, 0)


