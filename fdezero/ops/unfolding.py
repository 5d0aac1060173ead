"""Windows of arrays over trailing axes (im2col), and the sum of windows put back (col2im): linear, each the adjoint of the other."""

from typing import Any

import numpy as np

from ..core import Linear, linear
from .patches import Ints


def _places(
    tap: Ints, shape: Ints, size: Ints, strides: Ints, before: Ints, dilation: Ints
) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Where entry `tap` of all windows lies: slices of the array, and slices of the windows whose entry is inside it."""
    inside, windows = [], []
    for i, n, o, s, b, d in zip(tap, shape, size, strides, before, dilation, strict=True):
        shift = i * d - b  # window j has entry j * s + shift
        first = min(o, max(0, -(shift // s)))
        last = max(first, min(o, (n - 1 - shift) // s + 1))
        start = first * s + shift
        inside.append(slice(start, start + (last - first) * s, s) if last > first else slice(0, 0))
        windows.append(slice(first, last))
    return tuple(inside), tuple(windows)


def _loops(x: Any, count: int) -> Ints:
    shape: Ints = x.shape
    return shape[: len(shape) - count]


def _unfold(x: Any, *, window: Ints, **params: Any) -> Any:
    out = np.empty_like(x, shape=(*_loops(x, len(window)), *window, *params["size"]), order="C")
    _write_unfold(out, x, window=window, **params)
    return out


def _write_unfold(out: Any, x: Any, *, window: Ints, size: Ints, strides: Ints, before: Ints, dilation: Ints) -> None:
    shape = x.shape[x.ndim - len(window) :]
    reach = [(o - 1) * s + (k - 1) * d + 1 for o, s, k, d in zip(size, strides, window, dilation, strict=True)]
    if any(before) or any(n > length for n, length in zip(reach, shape, strict=True)):
        out.fill(0)
    for tap in np.ndindex(*window):
        inside, windows = _places(tap, shape, size, strides, before, dilation)
        out[(..., *tap, *windows)] = x[(..., *inside)]


def _fold(y: Any, *, shape: Ints, **params: Any) -> Any:
    x = np.empty_like(y, shape=(*_loops(y, 2 * len(shape)), *shape), order="C")
    _write_fold(x, y, shape=shape, **params)
    return x


def _write_fold(out: Any, y: Any, *, shape: Ints, strides: Ints, before: Ints, dilation: Ints) -> None:
    rank = len(shape)
    window, size = y.shape[y.ndim - 2 * rank : y.ndim - rank], y.shape[y.ndim - rank :]
    out.fill(0)
    for tap in np.ndindex(*window):
        inside, windows = _places(tap, shape, size, strides, before, dilation)
        out[(..., *inside)] += y[(..., *tap, *windows)]


def _unfold_adjoint(t: Any, x: Any, *, window: Ints, size: Ints, **rest: Any) -> Any:
    return fold(t, shape=tuple(x.shape[len(x.shape) - len(window) :]), **rest)


def _fold_adjoint(t: Any, y: Any, *, shape: Ints, **rest: Any) -> Any:
    lengths = tuple(y.shape[len(y.shape) - 2 * len(shape) :])
    return unfold(t, window=lengths[: len(shape)], size=lengths[len(shape) :], **rest)


# x (..., *S) -> (..., *window, *size): entry i of window o is x[o * strides + i * dilation - before], and 0 outside x.
unfold: Linear = linear("unfold", _unfold, _unfold_adjoint, write=_write_unfold, fresh=True)

# y (..., *window, *size) -> (..., *shape): every entry of a window is added where it comes from.
fold: Linear = linear("fold", _fold, _fold_adjoint, write=_write_fold, fresh=True)
