"""Convolution and correlation over any number of axes, under SciPy's names: `signal.convolve(in1, in2, mode, method)`.

They are differentiable to every order, batched, compiled, and run on the CPU and the GPU. SciPy itself is not needed.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from . import numpy as fnp
from .errors import DTypeError, ShapeError
from .messages import describe
from .numpy.arguments import Array, Axis, as_array, inexact, trailing_axes
from .numpy.elementwise import cast
from .numpy.shape import promoted, slice_axis
from .ops import convolution
from .values import is_floating

__all__ = ["convolve", "correlate", "fftconvolve"]


def __dir__() -> list[str]:
    return __all__


MODES, METHODS = ("full", "same", "valid"), ("auto", "direct", "fft")


def convolve(in1: Any, in2: Any, mode: str = "full", method: str = "auto") -> Array:
    """The convolution over all axes, of two arrays with equally many: in1 (*n), in2 (*m) -> (*(n + m - 1)).

    The mode "same" keeps in1's shape, the middle of the full result. "valid" keeps the entries that do not depend on
    a border: |n - m| + 1 along each axis. The method "direct" sums the products, "fft" multiplies Fourier transforms,
    and "auto" takes the faster one, by the shapes. By FFT, errors are relative to the greatest entry of the result,
    and an infinity or a NaN spreads to every entry. Integers stay integers, and "auto" takes the direct sums for them.
    Raises ShapeError if the numbers of axes differ, or if neither array of "valid" is as long along every axis.
    """
    in1, in2 = _pair("convolve", in1, in2, mode)
    if not in1.ndim or not in1.size or not in2.size:
        return in1 * in2 if not in1.ndim else fnp.zeros_like(in1, shape=(0,))
    if _method(in1, in2, mode, method) == "direct":
        return _direct(in1, fnp.flip(in2), mode)
    y = fftconvolve(in1, in2, mode)
    dtype = np.result_type(in1.dtype, in2.dtype)
    return cast(fnp.round(y), dtype) if dtype.kind in "iu" else cast(y, dtype)


def correlate(in1: Any, in2: Any, mode: str = "full", method: str = "auto") -> Array:
    """The sums over i of in1[i + k] * conj(in2[i]), for every shift k along all axes: (*n), (*m) -> (*(n + m - 1)).

    Modes, methods and errors are as for `convolve`.
    """
    in1, in2 = _pair("correlate", in1, in2, mode)
    return convolve(in1, _reversed(in2), mode, method)


def fftconvolve(in1: Any, in2: Any, mode: str = "full", axes: Axis = None) -> Array:
    """The convolution along `axes` (all when None) by Fourier transforms: in1 (*n), in2 (*m) -> (*(n + m - 1)).

    The other axes are broadcast. Modes are as for `convolve`. Integers give floating results, float16 gives float32.
    """
    in1, in2 = _pair("fftconvolve", inexact(in1), inexact(in2), mode, axes)
    along = trailing_axes(axes, in1.ndim)
    if not in1.size or not in2.size:
        return fnp.zeros_like(in1, shape=(0,))
    if not along:
        return in1 * in2
    in1, in2 = (cast(x, np.result_type(x.dtype, np.float32)) for x in (in1, in2))
    sizes = [in1.shape[axis] + in2.shape[axis] - 1 for axis in along]
    padded = [_fast_length(size) for size in sizes]
    if is_floating(in1.dtype) and is_floating(in2.dtype):
        product = fnp.fft.rfftn(in1, padded, along) * fnp.fft.rfftn(in2, padded, along)
        y = fnp.fft.irfftn(product, padded, along)
    else:
        y = fnp.fft.ifftn(fnp.fft.fftn(in1, padded, along) * fnp.fft.fftn(in2, padded, along), axes=along)
    for axis, (before, after) in zip(along, _around(in1, in2, mode, along), strict=True):
        n, m = in1.shape[axis], in2.shape[axis]
        start = m - 1 - before
        y = slice_axis(y, axis, start, start + n + before + after - m + 1)
    return y


def _reversed(x: Array) -> Array:
    return fnp.flip(fnp.conjugate(x) if x.dtype.kind == "c" else x)


def _pair(name: str, in1: Any, in2: Any, mode: str, axes: Axis = None) -> list[Array]:
    """Both arrays in one dtype. Raises an error unless they go together in `mode`, along `axes`."""
    in1, in2 = promoted([as_array(in1), as_array(in2)])
    if mode not in MODES:
        raise ValueError(f"{name}: mode must be 'full', 'same' or 'valid', got {mode!r}.")
    if in1.ndim != in2.ndim:
        raise ShapeError(
            f"{name} expects arrays with equally many axes, got {describe(in1)} and {describe(in2)}. "
            "x[None] adds an axis, and fd.vmap maps over one."
        )
    if in1.dtype == bool:
        raise DTypeError(f"{name} takes numbers, got {describe(in1)}. Cast it first: x.astype(int).")
    along = trailing_axes(axes, in1.ndim)
    longer = [in1.shape[axis] >= in2.shape[axis] for axis in along]
    shorter = [in1.shape[axis] <= in2.shape[axis] for axis in along]
    if mode == "valid" and not all(longer) and not all(shorter):
        raise ShapeError(
            f"{name} with mode='valid': one of {describe(in1)} and {describe(in2)} must be at least as long as the other "
            "along every axis."
        )
    return [in1, in2]


def _around(in1: Array, in2: Array, mode: str, along: Sequence[int]) -> tuple[tuple[int, int], ...]:
    """How far in2 reaches over the ends of in1, for each axis."""
    pairs = []
    for axis in along:
        n, m = in1.shape[axis], in2.shape[axis]
        pairs.append({"full": (m - 1, m - 1), "same": (m // 2, m - 1 - m // 2), "valid": (max(0, m - n),) * 2}[mode])
    return tuple(pairs)


def _direct(in1: Array, kernel: Array, mode: str) -> Array:
    return convolution.correlate(in1, kernel, around=_around(in1, kernel, mode, range(-in1.ndim, 0)))


def _method(in1: Array, in2: Array, mode: str, method: str) -> str:
    if method not in METHODS:
        raise ValueError(f"convolve and correlate: method must be 'auto', 'direct' or 'fft', got {method!r}.")
    if method != "auto":
        return method
    if in1.dtype.kind in "iu":
        return "direct"
    axes = range(-in1.ndim, 0)
    around = _around(in1, in2, mode, axes)
    out = math.prod(in1.shape[i] + b + a - in2.shape[i] + 1 for i, (b, a) in zip(axes, around, strict=True))
    length = math.prod(in1.shape[i] + in2.shape[i] - 1 for i in axes)
    kernel = min(in1.size, in2.size)
    # Times in microseconds, measured: one pass over the result for each entry of the kernel, against three transforms.
    passes = kernel * out * 0.0005 if in1.ndim == 1 else kernel * (6 + out * 0.0015)
    return "direct" if passes <= 60 + length * math.log2(length + 1) * 0.006 else "fft"


def _fast_length(n: int) -> int:
    """The least number from n on with no prime factor above 5, for which Fourier transforms are fast."""
    best = 1 << max(0, n - 1).bit_length()
    fives = 1
    while fives < best:
        threes = fives
        while threes < best:
            twos = threes << max(0, -(-n // threes) - 1).bit_length()
            best = min(best, twos)
            threes *= 3
        fives *= 5
    return best
