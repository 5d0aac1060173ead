"""Pooling over windows of the last one, two or three axes: the greatest entry or the mean of each window.

Arguments have PyTorch's words and meanings; a number serves every axis. Padding is nothing: it is never the greatest entry, and
counts in a mean only as one more 0. If several entries of a window are the greatest, the derivative belongs to the first of them
in C order, as in PyTorch and DeZero. A NaN is the greatest entry, and the first NaN gets the derivative.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import numpy as fnp
from ..devices import array_module
from ..errors import DTypeError, RangeError, ShapeError
from ..messages import describe
from ..numpy.arguments import Array, Axis, inexact, trailing_axes
from ..numpy.precision import in_single
from ..ops import pooling as ops
from ..ops.window_steps import Windows, all_have_entries
from ..values import kind_of
from .window_arguments import Sizes, for_each_axis

__all__ = [
    "adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d", "adaptive_max_pool1d", "adaptive_max_pool2d",
    "adaptive_max_pool3d", "average_pooling", "avg_pool1d", "avg_pool2d", "avg_pool3d", "global_avg_pool", "global_max_pool",
    "max_pool1d", "max_pool2d", "max_pool3d", "pooling",
]  # fmt: skip

OutputSizes = int | None | Sequence[int | None]


def _as_images(name: str, x: Any, count: int) -> Array:
    x = fnp.asarray(x)
    if x.ndim <= count:
        axes = ", ".join("DHW"[3 - count :]) if count > 1 else "L"
        missing = ", ".join(["None"] * (count + 2 - x.ndim))
        hint = f" Write x[{missing}] for one example of one channel." if x.ndim == count else ""
        raise ShapeError(f"{name} expects x of shape (N, C, {axes}), got {describe(x)}.{hint}")
    return x


def _ordered(name: str, x: Array) -> Array:
    if kind_of(x.dtype) not in "biuf":
        raise DTypeError(f"{name} takes real numbers, which have an order; got {describe(x)}. Pool x.real or abs(x).")
    return x


def _windows(
    name: str, x: Array, kernel_size: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool, count: int
) -> Windows:
    kernels = for_each_axis(name, "kernel_size", kernel_size, count, 1)
    strides = kernels if stride is None else for_each_axis(name, "stride", stride, count, 1)
    paddings = for_each_axis(name, "padding", padding, count, 0)
    dilations = for_each_axis(name, "dilation", dilation, count, 1)
    windows = []
    for axis, (n, kernel, step, pad, spread) in enumerate(
        zip(x.shape[-count:], kernels, strides, paddings, dilations, strict=True), -count
    ):
        length = (kernel - 1) * spread + 1
        if 2 * pad > length:
            raise RangeError(
                f"{name}: padding may be at most half of the window, which is {length} long along axis {axis}; "
                f"got padding={pad}. A window must not lie in the padding alone; to pad more, write fd.numpy.pad(x, ...) before."
            )
        room = n + 2 * pad - length
        size = (-(-room // step) if ceil_mode else room // step) + 1
        if ceil_mode and (size - 1) * step >= n + pad:  # the last window would start in the padding behind x
            size -= 1
        if room < 0 and size < 1:
            raise ShapeError(
                f"{name}: the window is {length} long along axis {axis}, but x {describe(x)} has only {n} there"
                f"{f', {n + 2 * pad} with its padding' if pad else ''}. Use a smaller kernel_size, or more padding."
            )
        window = (size, kernel, step, pad, spread)
        if not all_have_entries(window, n):
            raise ShapeError(
                f"{name}: some windows lie in the padding and between the entries of x {describe(x)} along axis {axis}, "
                f"with kernel_size={kernel}, dilation={spread}, padding={pad}. Use less padding or dilation."
            )
        windows.append(window)
    return tuple(windows)


@in_single
def _max_pool(
    x: Any, name: str, count: int, kernel_size: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool
) -> Array:
    x = _ordered(name, _as_images(name, x, count))
    y: Array = ops.greatest(x, windows=_windows(name, x, kernel_size, stride, padding, dilation, ceil_mode, count))
    return y


def max_pool1d(
    x: Any,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
) -> Array:
    """The greatest entry of each window along the last axis: x (N, C, L) -> (N, C, L'). See `max_pool2d`."""
    return _max_pool(x, "max_pool1d", 1, kernel_size, stride, padding, dilation, ceil_mode)


def max_pool2d(
    x: Any,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
) -> Array:
    """The greatest entry of each window: x (N, C, H, W) -> (N, C, H', W'), with any axes in front.

    H' is (H + 2 padding - dilation (kernel_size - 1) - 1) / stride + 1, rounded down, and `stride` is `kernel_size` if it is
    None. With `ceil_mode` it is rounded up, and a window that would start behind x, in the padding, is dropped. The derivative
    belongs to the first of the greatest entries.
    Raises ShapeError for a window larger than x, RangeError for padding of more than half a window, DTypeError for complex x.
    """
    return _max_pool(x, "max_pool2d", 2, kernel_size, stride, padding, dilation, ceil_mode)


def max_pool3d(
    x: Any,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
) -> Array:
    """The greatest entry of each window: x (N, C, D, H, W) -> (N, C, D', H', W'). See `max_pool2d`."""
    return _max_pool(x, "max_pool3d", 3, kernel_size, stride, padding, dilation, ceil_mode)


def _as_divisor(counts: Any, x: Array) -> Any:
    """The numbers of entries of windows, as one number if they are all the same."""
    first = int(counts.flat[0]) if counts.size else 1
    return first if (counts == first).all() else array_module(x).asarray(counts.astype(x.dtype))


def _mean(x: Array, windows: Windows, *, include_pad: bool) -> Array:
    """The means of windows; with `include_pad` an entry of the padding counts as a 0."""
    total: Any = np.ones((), np.int64)
    for (size, kernel, stride, before, _), n in zip(windows, x.shape[-len(windows) :], strict=True):
        pad = before if include_pad else 0
        starts = np.arange(size) * stride - before
        total = np.multiply.outer(total, np.minimum(starts + kernel, n + pad) - np.maximum(starts, -pad))
    y: Array = ops.summed(x, windows=windows) / _as_divisor(total, x)
    return y


@in_single
def _avg_pool(
    x: Any, name: str, count: int, kernel_size: Any, stride: Any, padding: Any, ceil_mode: bool, count_include_pad: bool
) -> Array:
    x = inexact(_as_images(name, x, count))
    windows = _windows(name, x, kernel_size, stride, padding, 1, ceil_mode, count)
    return _mean(x, windows, include_pad=count_include_pad)


def avg_pool1d(
    x: Any,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Array:
    """The mean of each window along the last axis: x (N, C, L) -> (N, C, L'). See `avg_pool2d`."""
    return _avg_pool(x, "avg_pool1d", 1, kernel_size, stride, padding, ceil_mode, count_include_pad)


def avg_pool2d(
    x: Any,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Array:
    """The mean of each window: x (N, C, H, W) -> (N, C, H', W'), with any axes in front. Integers give float64.

    Sizes are those of `max_pool2d`. With `count_include_pad` an entry of the padding counts as a 0, otherwise a mean is over
    the entries of x alone. What `ceil_mode` adds behind the padding never counts.
    Raises ShapeError for a window larger than x, RangeError for padding of more than half a window.
    """
    return _avg_pool(x, "avg_pool2d", 2, kernel_size, stride, padding, ceil_mode, count_include_pad)


def avg_pool3d(
    x: Any,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Array:
    """The mean of each window: x (N, C, D, H, W) -> (N, C, D', H', W'). See `avg_pool2d`."""
    return _avg_pool(x, "avg_pool3d", 3, kernel_size, stride, padding, ceil_mode, count_include_pad)


# Windows that follow from the size of the result


def _adaptive(name: str, x: Array, output_size: Any, count: int, *, sums: bool) -> tuple[Array, Windows, Any]:
    """x, windows that are alike along each axis, and the number of entries in each, broadcast.

    Where an axis is no multiple of its windows, x repeats entries, so that the windows lie side by side. A shorter one ends with
    its last entry again, or with zeros for `sums`.
    """
    sizes = output_size if isinstance(output_size, Sequence) else (output_size,) * count
    if len(sizes) == count:
        sizes = [n if size is None else size for n, size in zip(x.shape[-count:], sizes, strict=True)]
    windows: list[Any] = []
    total: Any = np.ones((), np.int64)
    for axis, (n, size) in enumerate(
        zip(x.shape[-count:], for_each_axis(name, "output_size", sizes, count, 1), strict=True), -count
    ):
        if not n:
            raise ShapeError(f"{name}: x {describe(x)} has no entries along axis {axis}.")
        numbers = np.arange(size)
        starts, stops = numbers * n // size, -(-(numbers + 1) * n // size)
        kernel = int((stops - starts).max())
        if n % size:
            places = starts[:, None] + np.arange(kernel)
            if sums:
                x = fnp.concatenate([x, fnp.zeros_like(fnp.take(x, np.arange(1), axis=axis))], axis=axis)
            last = n if sums else stops[:, None] - 1
            x = fnp.take(x, np.where(places < stops[:, None], places, last).reshape(-1), axis=axis)
        windows.append((size, kernel, kernel, 0, 1))
        total = np.multiply.outer(total, stops - starts)
    return x, tuple(windows), total


@in_single
def _adaptive_max(x: Any, name: str, count: int, output_size: Any) -> Array:
    x, windows, _ = _adaptive(name, _ordered(name, _as_images(name, x, count)), output_size, count, sums=False)
    y: Array = ops.greatest(x, windows=windows)
    return y


@in_single
def _adaptive_avg(x: Any, name: str, count: int, output_size: Any) -> Array:
    x = inexact(_as_images(name, x, count))
    x, windows, counts = _adaptive(name, x, output_size, count, sums=True)
    y: Array = ops.summed(x, windows=windows) / _as_divisor(counts, x)
    return y


def adaptive_max_pool1d(x: Any, output_size: OutputSizes) -> Array:
    """The greatest entry of each of `output_size` windows: x (N, C, L) -> (N, C, L'). See `adaptive_avg_pool2d`."""
    return _adaptive_max(x, "adaptive_max_pool1d", 1, output_size)


def adaptive_max_pool2d(x: Any, output_size: OutputSizes) -> Array:
    """The greatest entry of each of `output_size` windows: x (N, C, H, W) -> (N, C, H', W'). See `adaptive_avg_pool2d`."""
    return _adaptive_max(x, "adaptive_max_pool2d", 2, output_size)


def adaptive_max_pool3d(x: Any, output_size: OutputSizes) -> Array:
    """The greatest entry of each of `output_size` windows: x (N, C, D, H, W) -> (N, C, D', H', W'). See `adaptive_avg_pool2d`."""
    return _adaptive_max(x, "adaptive_max_pool3d", 3, output_size)


def adaptive_avg_pool1d(x: Any, output_size: OutputSizes) -> Array:
    """The mean of each of `output_size` windows: x (N, C, L) -> (N, C, L'). See `adaptive_avg_pool2d`."""
    return _adaptive_avg(x, "adaptive_avg_pool1d", 1, output_size)


def adaptive_avg_pool2d(x: Any, output_size: OutputSizes) -> Array:
    """The mean of each of `output_size` windows: x (N, C, H, W) -> (N, C, H', W'), with any axes in front.

    Window i of H' has the rows from i H / H', rounded down, to (i + 1) H / H', rounded up. So windows overlap where H is not a
    multiple of H'. None in `output_size` keeps the size of an axis.
    Raises RangeError for sizes that are not integers of at least 1, ShapeError for x without entries.
    """
    return _adaptive_avg(x, "adaptive_avg_pool2d", 2, output_size)


def adaptive_avg_pool3d(x: Any, output_size: OutputSizes) -> Array:
    """The mean of each of `output_size` windows: x (N, C, D, H, W) -> (N, C, D', H', W'). See `adaptive_avg_pool2d`."""
    return _adaptive_avg(x, "adaptive_avg_pool3d", 3, output_size)


# Everything at once


def _last(name: str, x: Any, axis: Axis) -> tuple[Array, int]:
    """x with the pooled axes at the end, and their number."""
    x = fnp.asarray(x)
    if axis is None and x.ndim < 3:
        raise ShapeError(
            f"{name} expects x of shape (N, C, ...) with axes to pool behind the channels, got {describe(x)}. "
            "For other axes, say axis=."
        )
    axes = tuple(range(2 - x.ndim, 0)) if axis is None else trailing_axes(axis, x.ndim)
    if not all(x.shape[a] for a in axes):
        raise ShapeError(f"{name}: x {describe(x)} has no entries to pool.")
    return fnp.moveaxis(x, axes, tuple(range(-len(axes), 0))), len(axes)


@in_single
def global_max_pool(x: Any, axis: Axis = None) -> Array:
    """The greatest entry of each channel: x (N, C, ...) -> (N, C), or over the axes `axis`.

    The derivative belongs to the first of the greatest entries. (`fd.numpy.max` splits it evenly.)
    """
    x, count = _last("global_max_pool", x, axis)
    x = _ordered("global_max_pool", x)
    flat = fnp.reshape(x, (*x.shape[: x.ndim - count], -1))
    y: Array = ops.greatest(flat, windows=((1, flat.shape[-1], 1, 0, 1),))
    return fnp.squeeze(y, -1)


def global_avg_pool(x: Any, axis: Axis = None) -> Array:
    """The mean of each channel: x (N, C, ...) -> (N, C), or over the axes `axis`."""
    x, count = _last("global_avg_pool", x, axis)
    return fnp.mean(x, axis=tuple(range(-count, 0)))


# DeZero's names and meanings


def _padded(name: str, x: Any, kernel_size: Sizes, stride: Sizes, pad: Sizes) -> tuple[Array, Windows]:
    x = _as_images(name, x, 2)
    pads = for_each_axis(name, "pad", pad, 2, 0)
    x = fnp.pad(x, [(0, 0)] * (x.ndim - 2) + [(p, p) for p in pads])
    return x, _windows(name, x, kernel_size, stride, 0, 1, False, 2)


@in_single
def pooling(x: Any, kernel_size: Sizes, stride: Sizes = 1, pad: Sizes = 0) -> Array:
    """DeZero's `pooling`: the greatest entry of each window of x (N, C, H, W), where padding counts as zeros.

    `max_pool2d` differs in two points: a padded 0 is never the greatest, and the stride is the kernel's size unless given.
    """
    x, windows = _padded("pooling", x, kernel_size, stride, pad)
    y: Array = ops.greatest(_ordered("pooling", x), windows=windows)
    return y


@in_single
def average_pooling(x: Any, kernel_size: Sizes, stride: Sizes = 1, pad: Sizes = 0) -> Array:
    """DeZero's `average_pooling`: the mean of each window of x (N, C, H, W), where padding counts as zeros.

    `avg_pool2d` has another default stride, the kernel's size.
    """
    x, windows = _padded("average_pooling", x, kernel_size, stride, pad)
    return _mean(inexact(x), windows, include_pad=False)
