"""Convolution on a GPU: patches by one kernel, one matrix product, sums of patches by one kernel.

A product of all patches at once costs memory, but the launches of blocks would cost more time. Blocks of whole examples begin where
the patches take more than a quarter of a gigabyte.
"""

import math
from collections.abc import Iterator
from typing import Any

from ..devices import backend_of
from . import window_kernels as kernels

Ints = tuple[int, ...]
BLOCK = 1 << 28  # bytes of patches


def by_library(form: str, a: Any, b: Any, out: Any, windows: kernels.Windows, space: Ints) -> bool:
    """Whether a library of the device has written one of the three forms into `out`. `space` is the shape in space of the images."""
    rank = len(windows)
    if any(z.ndim != rank + 2 for z in (a, b, out)):  # loop axes
        return False
    padding = [
        (before, max(0, (size - 1) * stride + (kernel - 1) * gap + 1 - n - before))
        for (size, kernel, stride, before, gap), n in zip(windows, space, strict=True)
    ]
    strides, dilation = (tuple([window[i] for window in windows]) for i in (2, 4))
    return backend_of(out).convolved(form, a, b, out, strides=strides, padding=tuple(padding), dilation=dilation)


def _blocks(examples: int, nbytes: int) -> Iterator[slice]:
    """Examples in blocks, for patches of so many bytes in all."""
    step = max(1, examples * BLOCK // max(nbytes, 1))
    for start in range(0, examples, step):
        yield slice(start, min(start + step, examples))


def _is_identity(windows: kernels.Windows, space: Ints) -> bool:
    """Whether every window is one entry, and there is one for each entry."""
    return all(
        kernel == 1 and stride == 1 and not before and size == n
        for (size, kernel, stride, before, _), n in zip(windows, space, strict=True)
    )


def _columns(x: Any, windows: kernels.Windows, dtype: Any, channels_first: bool = False) -> Any:
    """The patches of x (L, N, *S, G, C): (L, G, pixels, taps * C), or C * taps."""
    (stacks, examples), space, (groups, channels) = x.shape[:2], x.shape[2:-2], x.shape[-2:]
    size, taps = tuple(w[0] for w in windows), tuple(w[1] for w in windows)
    if groups == 1 and x.dtype == dtype and _is_identity(windows, space) and _is_in_order(x):
        return x.reshape(stacks, 1, -1, channels)
    columns = backend_of(x).module.empty((stacks, groups, examples * math.prod(size), math.prod(taps) * channels), dtype)
    if columns.size:
        kernels.write_columns(columns, x, windows, channels_first)
    return columns


def _matrices(w: Any, dtype: Any) -> tuple[Any, bool]:
    """w (L, G, K, *I, C) as (L, G, K, taps * C) or (L, G, K, C * taps), as it lies in memory, and whether channels come first."""
    turned = w.transpose(0, 1, 2, w.ndim - 1, *range(3, w.ndim - 1))
    channels_first = not _is_in_order(w) and _is_in_order(turned)
    w = turned if channels_first else backend_of(w).module.ascontiguousarray(w)
    return w.astype(dtype, copy=False).reshape(*w.shape[:3], -1), channels_first


def _is_in_order(x: Any) -> bool:
    """Whether x lies in memory in the order of its axes, without gaps."""
    step = x.itemsize
    for n, stride in zip(x.shape[::-1], x.strides[::-1], strict=True):
        if n != 1 and stride != step:
            return False
        step *= n
    return True


def _product(a: Any, b: Any, out: Any = None) -> Any:
    """The matrix products of stacks (L, G, n, k) and (L, G, k, m); a single one is a single call of the library."""
    xp = backend_of(a).module
    if a.shape[:2] != (1, 1) or b.shape[:2] != (1, 1):
        return xp.matmul(a, b) if out is None else xp.matmul(a, b, out=out)
    if out is None:
        return xp.matmul(a[0, 0], b[0, 0])[None, None]
    return xp.matmul(a[0, 0], b[0, 0], out=out[0, 0])


def convolve(y: Any, x: Any, w: Any, windows: kernels.Windows, dtype: Any) -> None:
    """Write y (L, N, *O, G, K), given in any layout, for x (L, N, *S, G, C) and w (L, G, K, *I, C)."""
    groups, k = y.shape[-2:]
    matrices, channels_first = _matrices(w, dtype)
    matrices = matrices.swapaxes(-1, -2)
    total = math.prod(y.shape[:-1]) * matrices.shape[-2] * dtype.itemsize
    for part in _blocks(x.shape[1], total):
        columns, target = _columns(x[:, part], windows, dtype, channels_first), y[:, part]
        if groups == 1 and y.dtype == dtype and _is_in_order(target):
            _product(columns, matrices, target.reshape(target.shape[0], 1, -1, k))
        else:
            target[...] = _product(columns, matrices).swapaxes(1, 2).reshape(target.shape)


def adjoint_of_images(x: Any, w: Any, y: Any, windows: kernels.Windows, dtype: Any) -> None:
    """Write x (L, N, *S, G, C), given in any layout, for w (L, G, K, *I, C) and y (L, N, *O, G, K)."""
    xp, stacks, (groups, channels) = backend_of(x).module, x.shape[0], x.shape[-2:]
    matrices, channels_first = _matrices(w, dtype)
    total = math.prod(y.shape[:-1]) * matrices.shape[-1] * dtype.itemsize
    identity = groups == 1 and x.dtype == dtype and _is_identity(windows, x.shape[2:-2])
    for part in _blocks(x.shape[1], total):
        target, given = x[:, part], y[:, part].astype(dtype, copy=False)
        pixels = given.reshape(given.shape[0], -1, *given.shape[-2:]).swapaxes(1, 2)
        if identity and _is_in_order(target):
            _product(pixels, matrices, target.reshape(stacks, 1, -1, channels))
            continue
        columns = _product(pixels, matrices)
        kernels.write_folded(target, xp.ascontiguousarray(columns), windows, channels_first)


def adjoint_of_kernels(w: Any, x: Any, y: Any, windows: kernels.Windows, dtype: Any) -> None:
    """Write w (L, G, K, taps * C), given in any layout, for x (L, N, *S, G, C) and y (L, N, *O, G, K)."""
    total = math.prod(y.shape[:-1]) * w.shape[-1] * dtype.itemsize
    is_first = True
    for part in _blocks(x.shape[1], total):
        given = y[:, part].astype(dtype, copy=False)
        rows = given.reshape(given.shape[0], -1, *given.shape[-2:]).transpose(0, 2, 3, 1)
        columns = _columns(x[:, part], windows, dtype)
        if not is_first:
            w += _product(rows, columns)
        elif w.dtype == dtype and _is_in_order(w):
            _product(rows, columns, w)
        else:
            w[...] = _product(rows, columns)
        is_first = False
    if is_first:
        w[...] = 0
