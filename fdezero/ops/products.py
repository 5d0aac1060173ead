"""Products of matrices, and `einsum`, which generalises them. They are linear in each factor."""

import functools
import math
from typing import Any

import numpy as np

from ..core import Multilinear, multilinear


def transposed(x: Any) -> Any:
    """The matrices with their last two axes exchanged."""
    return x.swapaxes(-1, -2)


def _product(x: Any, y: Any) -> Any:
    # A column times a row is a product of entries. NumPy's matmul has a loop for it that is three times as slow.
    return x * y if x.shape[-1] == 1 else matmul(x, y)


Around = tuple[tuple[int, int], ...]


def _flipped(x: Any, count: int) -> Any:
    """The last `count` axes in reverse order."""
    return x[(..., *[slice(None, None, -1)] * count)]


def _correlate(x: Any, w: Any, *, around: Around) -> Any:
    ndim = len(around)
    n, m = x.shape[x.ndim - ndim :], w.shape[w.ndim - ndim :]
    count = tuple(i + before + after - j + 1 for i, j, (before, after) in zip(n, m, around, strict=True))
    if x.ndim == w.ndim == 1 and isinstance(x, np.ndarray) and n[0] >= m[0] and max(around[0]) < m[0] and min(around[0]) >= 0:
        w = w.conj() if w.dtype.kind == "c" else w
        if around == ((0, 0),):
            return np.correlate(x, w, mode="valid")
        start = m[0] - 1 - around[0][0]
        return np.correlate(x, w, mode="full")[start : start + count[0]]
    dtype = np.result_type(x.dtype, w.dtype)
    loops = np.broadcast_shapes(x.shape[: x.ndim - ndim], w.shape[: w.ndim - ndim])
    y = np.zeros_like(x, shape=(*loops, *count), dtype=np.float32 if dtype == np.float16 else dtype)
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
        return _flipped(_correlate(w, x, around=turned), ndim)
    return y if y.dtype == dtype else y.astype(dtype)


def _overlap(shifts: list[int], first: tuple[int, ...], second: tuple[int, ...]) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Slices of two boxes of lengths `first` and `second`, of the part where entry i + shift of the first meets entry i of the second."""
    cuts = [(max(0, -shift), max(0, -shift, min(k, i - shift))) for shift, i, k in zip(shifts, first, second, strict=True)]
    return tuple(slice(start + shift, stop + shift) for shift, (start, stop) in zip(shifts, cuts, strict=True)), tuple(slice(*cut) for cut in cuts)


def _correlate_adjoint(t: Any, x: Any, w: Any, *, around: Around) -> Any:
    m = w.shape[len(w.shape) - len(around) :]
    return correlate(t, _flipped(w, len(around)), around=tuple((j - 1 - before, j - 1 - after) for j, (before, after) in zip(m, around, strict=True)))


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


# (..., n, k), (..., k, m) -> (..., n, m)
matmul: Multilinear = multilinear(
    "matmul",
    np.matmul,
    lambda t, x0, x1: _product(t, transposed(x1)),
    lambda t, x0, x1: _product(transposed(x0), t),
    core=2,
    write="xp.matmul({0}, {1}, out={out})",
    fresh=True,
)


def _einsum(*arrays: Any, inputs: tuple[str, ...], output: str) -> Any:
    subscripts = ",".join("..." + letters for letters in inputs) + "->..." + output
    return np.einsum(subscripts, *arrays, optimize=len(arrays) > 1)


def _einsum_adjoint(t: Any, i: int, *arrays: Any, inputs: tuple[str, ...], output: str) -> Any:
    others = [j for j in range(len(arrays)) if j != i]
    return einsum(t, *[arrays[j] for j in others], inputs=(output, *[inputs[j] for j in others]), output=inputs[i])


# Letters name trailing axes. No letter stands twice in one factor, and each is in the output or in another factor.
einsum: Multilinear = multilinear(
    "einsum",
    _einsum,
    variadic=_einsum_adjoint,
    core=lambda args, params: tuple(map(len, params["inputs"])),
)


@functools.lru_cache(1024)
def letters_of(subscripts: str) -> tuple[tuple[str, ...], str | None]:
    """The inputs of an einsum string, and its output if the string names one."""
    left, arrow, right = subscripts.replace(" ", "").partition("->")
    return tuple(left.split(",")), right if arrow else None
