"""Correlation over trailing axes, the sums of products of an array with a shifted one. It is linear in each of them."""

import math
from typing import Any

import numpy as np

from ..core import Multilinear, multilinear
from ..values import WIDE, is_half

Around = tuple[tuple[int, int], ...]  # for each trailing axis, how far w reaches over the ends of x
Lengths = tuple[int, ...]


def _flipped(x: Any, count: int) -> Any:
    """The last `count` axes in reverse order."""
    return x[(..., *[slice(None, None, -1)] * count)]


def _of_vectors(x: Any, w: Any, before: int, after: int) -> Any:
    """By NumPy's loop in C. CuPy's would go by FFT, where one infinity spoils every entry."""
    w = w.conj() if w.dtype.kind == "c" else w
    if before == after == 0:
        return np.correlate(x, w, mode="valid")
    start = w.shape[0] - 1 - before
    return np.correlate(x, w, mode="full")[start : start + x.shape[0] + before + after - w.shape[0] + 1]


def _correlate(x: Any, w: Any, *, around: Around) -> Any:
    ndim = len(around)
    n, m = x.shape[x.ndim - ndim :], w.shape[w.ndim - ndim :]
    count = tuple(i + before + after - j + 1 for i, j, (before, after) in zip(n, m, around, strict=True))
    if x.ndim == w.ndim == 1 and isinstance(x, np.ndarray) and x.dtype in WIDE and n >= m and 0 <= min(around[0]) <= max(around[0]) < m[0]:
        return _of_vectors(x, w, *around[0])
    dtype = np.result_type(x.dtype, w.dtype)
    loops = np.broadcast_shapes(x.shape[: x.ndim - ndim], w.shape[: w.ndim - ndim])
    if is_half(dtype):  # sums in single precision
        x, w = x.astype(np.float32), w.astype(np.float32)
    y: Any = np.zeros_like(x, shape=(*loops, *count), dtype=np.result_type(x.dtype, w.dtype))
    # Python loops over the smallest of the three: the entries of the result, of w, or of x.
    sizes = [math.prod(count), math.prod(m), math.prod(n)]
    if sizes[0] == min(sizes):
        axes = tuple(range(-ndim, 0))
        for place in np.ndindex(count):
            from_x, from_w = _overlap([p - before for p, (before, _) in zip(place, around, strict=True)], n, m)
            y[(..., *place)] = (x[(..., *from_x)] * w[(..., *from_w)]).sum(axis=axes)
    elif sizes[1] <= sizes[2]:
        for place in np.ndindex(m):
            from_x, into = _overlap([j - before for j, (before, _) in zip(place, around, strict=True)], n, count)
            y[(..., *into)] += x[(..., *from_x)] * w[(..., *[slice(j, j + 1) for j in place])]
    else:  # the same sum with x and w exchanged, which gives the result in reverse order
        turned = tuple((k - 1 - before, i - j + before) for i, j, k, (before, _) in zip(n, m, count, around, strict=True))
        y = _flipped(_correlate(w, x, around=turned), ndim)
    return y if y.dtype == dtype else y.astype(dtype)


def _overlap(shifts: list[int], first: Lengths, second: Lengths) -> tuple[list[slice], list[slice]]:
    """Slices of two boxes: the part where entry i + shift of the first meets entry i of the second."""
    starts = [max(0, -shift) for shift in shifts]
    stops = [max(start, min(j, i - shift)) for start, shift, i, j in zip(starts, shifts, first, second, strict=True)]
    moved = [slice(start + shift, stop + shift) for start, stop, shift in zip(starts, stops, shifts, strict=True)]
    return moved, list(map(slice, starts, stops))


def _correlate_adjoint(t: Any, x: Any, w: Any, *, around: Around) -> Any:
    lengths = w.shape[len(w.shape) - len(around) :]
    turned = tuple((m - 1 - before, m - 1 - after) for m, (before, after) in zip(lengths, around, strict=True))
    return correlate(t, _flipped(w, len(around)), around=turned)


# x (..., *n), w (..., *m) -> (..., *(n + before + after - m + 1)), over as many trailing axes as there are pairs (before, after)
# in `around`: the sum of x[i + j - before] * w[j] over the j for which x has an entry. So nothing is multiplied with padding, and
# an infinity or a NaN stays where it belongs.
correlate: Multilinear = multilinear(
    "correlate",
    _correlate,
    _correlate_adjoint,
    lambda t, x, w, *, around: correlate(x, t, around=around),
    core=lambda args, params: (len(params["around"]),) * 2,
)
