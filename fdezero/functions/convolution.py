"""Convolution and its transpose over one, two or three axes in space, and the windows that they see (im2col, col2im)."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import numpy as fnp
from ..errors import RangeError, ShapeError
from ..messages import describe
from ..numpy.arguments import whole_number
from ..ops import unfolding, windows
from .window_arguments import Ints, Padding, Pairs, Sizes, convolved_size, for_each_axis, padding_pairs

__all__ = [
    "col2im", "conv1d", "conv2d", "conv3d", "conv_output_size", "conv_transpose1d", "conv_transpose2d",
    "conv_transpose3d", "conv_transpose_output_size", "im2col",
]  # fmt: skip


def conv1d(
    x: Any, W: Any, b: Any = None, stride: Sizes = 1, padding: Padding = 0, dilation: Sizes = 1, groups: int = 1
) -> Any:
    """The convolution of x (N, C, L) with W (K, C / groups, width), plus b (K,) or None -> (N, K, length). See `conv2d`."""
    return _conv("conv1d", 1, x, W, b, stride, padding, dilation, groups)


def conv2d(
    x: Any, W: Any, b: Any = None, stride: Sizes = 1, padding: Padding = 0, dilation: Sizes = 1, groups: int = 1
) -> Any:
    """The convolution of images: x (N, C, H, W), W (K, C / groups, KH, KW), b (K,) or None -> (N, K, OH, OW).

    Entry (h, w) sums the products of W with the window of x that begins at (h, w) * stride - padding. An image without
    the axis N gives a result without it. `padding` with zeros is a number, a number or a pair for each axis, "valid" (0)
    or "same" (the result has ceil(H / stride) rows). Each of the `groups` of channels has kernels of its own.
    The result is channels last in memory. float16 is summed in float32.

    Raises ShapeError for shapes that do not fit, RangeError for other arguments.
    """
    return _conv("conv2d", 2, x, W, b, stride, padding, dilation, groups)


def conv3d(
    x: Any, W: Any, b: Any = None, stride: Sizes = 1, padding: Padding = 0, dilation: Sizes = 1, groups: int = 1
) -> Any:
    """The convolution of x (N, C, D, H, W) with W (K, C / groups, KD, KH, KW), plus b (K,) or None. See `conv2d`."""
    return _conv("conv3d", 3, x, W, b, stride, padding, dilation, groups)


def conv_transpose1d(
    x: Any, W: Any, b: Any = None, stride: Sizes = 1, padding: Padding = 0, output_padding: Sizes = 0, groups: int = 1,
    dilation: Sizes = 1,
) -> Any:  # fmt: skip
    """The transpose of `conv1d`: x (N, K, L), W (K, C / groups, width), b (C,) -> (N, C, length). See `conv_transpose2d`."""
    return _conv_transpose("conv_transpose1d", 1, x, W, b, stride, padding, output_padding, groups, dilation)


def conv_transpose2d(
    x: Any, W: Any, b: Any = None, stride: Sizes = 1, padding: Padding = 0, output_padding: Sizes = 0, groups: int = 1,
    dilation: Sizes = 1,
) -> Any:  # fmt: skip
    """The transpose of `conv2d`: x (N, K, H, W), W (K, C / groups, KH, KW), b (C,) or None -> (N, C, OH, OW).

    It is the linear map whose matrix is that of conv2d transposed: every entry of x adds its multiple of W to a window of
    the result. `stride`, `padding` and `dilation` are those of conv2d. Several sizes lead to one through conv2d with a
    stride; `output_padding` chooses among them, by adding that many entries at the end of each axis.

    Raises ShapeError for shapes that do not fit, RangeError for other arguments.
    """
    return _conv_transpose("conv_transpose2d", 2, x, W, b, stride, padding, output_padding, groups, dilation)


def conv_transpose3d(
    x: Any, W: Any, b: Any = None, stride: Sizes = 1, padding: Padding = 0, output_padding: Sizes = 0, groups: int = 1,
    dilation: Sizes = 1,
) -> Any:  # fmt: skip
    """The transpose of `conv3d`: x (N, K, D, H, W), W (K, C / groups, KD, KH, KW), b (C,). See `conv_transpose2d`."""
    return _conv_transpose("conv_transpose3d", 3, x, W, b, stride, padding, output_padding, groups, dilation)


def im2col(
    x: Any, kernel_size: Sizes, stride: Sizes = 1, padding: Padding = 0, dilation: Sizes = 1, to_matrix: bool = True
) -> Any:
    """The windows of images: x (N, C, H, W) -> (N * OH * OW, C * KH * KW), one row for each window.

    With `to_matrix=False` the result is (N, C, KH, KW, OH, OW). x may have any number of axes in space.
    """
    x = fnp.asarray(x)
    rank = _rank_of("im2col", x, x.ndim - 2)
    kernel = for_each_axis("im2col", "kernel_size", kernel_size, rank, 1)
    strides, gaps = (
        for_each_axis("im2col", "stride", stride, rank, 1),
        for_each_axis("im2col", "dilation", dilation, rank, 1),
    )
    pairs = padding_pairs("im2col", padding, rank, x.shape[2:], kernel, strides, gaps)
    size = convolved_size("im2col", x.shape[2:], kernel, strides, pairs, gaps, x)
    before = tuple([before for before, _ in pairs])
    y = unfolding.unfold(x, window=kernel, size=size, strides=strides, before=before, dilation=gaps)
    if not to_matrix:
        return y
    order = (0, *range(2 + rank, 2 + 2 * rank), *range(1, 2 + rank))
    return y.transpose(order).reshape(x.shape[0] * math.prod(size), x.shape[1] * math.prod(kernel))


def col2im(
    x: Any, input_shape: Sequence[int], kernel_size: Sizes, stride: Sizes = 1, padding: Padding = 0,
    dilation: Sizes = 1, to_matrix: bool = True,
) -> Any:  # fmt: skip
    """The sum of windows put back into images of `input_shape` (N, C, H, W): the transpose of `im2col`.

    x (N * OH * OW, C * KH * KW), or (N, C, KH, KW, OH, OW) with `to_matrix=False`, -> (N, C, H, W).
    """
    x, shape = fnp.asarray(x), tuple(map(int, input_shape))
    rank = len(shape) - 2
    if rank < 1:
        raise ShapeError(f"col2im: input_shape must be (N, C, *S) with at least one axis in space, got {shape}.")
    kernel = for_each_axis("col2im", "kernel_size", kernel_size, rank, 1)
    strides, gaps = (
        for_each_axis("col2im", "stride", stride, rank, 1),
        for_each_axis("col2im", "dilation", dilation, rank, 1),
    )
    pairs = padding_pairs("col2im", padding, rank, shape[2:], kernel, strides, gaps)
    size = convolved_size("col2im", shape[2:], kernel, strides, pairs, gaps)
    expected: Ints = (*shape[:2], *kernel, *size)
    if to_matrix:
        expected = shape[0] * math.prod(size), shape[1] * math.prod(kernel)
    if x.shape != expected:
        raise ShapeError(
            f"col2im expects x of shape {expected} for input_shape={shape}, kernel_size={kernel}, stride={strides} and "
            f"{'to_matrix=True' if to_matrix else 'to_matrix=False'}, got {describe(x)}."
        )
    if to_matrix:
        order = (0, 1 + rank, *range(2 + rank, 2 + 2 * rank), *range(1, 1 + rank))
        x = x.reshape(shape[0], *size, shape[1], *kernel).transpose(order)
    before = tuple([before for before, _ in pairs])
    return unfolding.fold(x, shape=shape[2:], strides=strides, before=before, dilation=gaps)


def conv_output_size(
    size: Sizes, kernel_size: Sizes, stride: Sizes = 1, padding: Padding = 0, dilation: Sizes = 1
) -> int | Ints:
    """The size of a convolution's result along each axis: (size + padding - dilation * (kernel - 1) - 1) // stride + 1.

    `size` is a number, or a tuple with one for each axis; the result is of the same kind.
    """
    name, sizes = "conv_output_size", (size,) if isinstance(size, int | np.integer) else tuple(size)
    rank = len(sizes)
    kernel, strides = (
        for_each_axis(name, "kernel_size", kernel_size, rank, 1),
        for_each_axis(name, "stride", stride, rank, 1),
    )
    gaps = for_each_axis(name, "dilation", dilation, rank, 1)
    pairs = padding_pairs(name, padding, rank, sizes, kernel, strides, gaps)
    result = convolved_size(name, sizes, kernel, strides, pairs, gaps)
    return result if isinstance(size, Sequence) else result[0]


def conv_transpose_output_size(
    size: Sizes, kernel_size: Sizes, stride: Sizes = 1, padding: Padding = 0, output_padding: Sizes = 0,
    dilation: Sizes = 1,
) -> int | Ints:  # fmt: skip
    """The size of a transposed convolution's result along each axis.

    It is (size - 1) * stride - padding on both sides + dilation * (kernel - 1) + 1 + output_padding. `size` is a number,
    or a tuple with one for each axis; the result is of the same kind.
    """
    name, sizes = "conv_transpose_output_size", (size,) if isinstance(size, int | np.integer) else tuple(size)
    rank = len(sizes)
    kernel, strides = (
        for_each_axis(name, "kernel_size", kernel_size, rank, 1),
        for_each_axis(name, "stride", stride, rank, 1),
    )
    gaps = for_each_axis(name, "dilation", dilation, rank, 1)
    pairs = padding_pairs(name, padding, rank, None, kernel, strides, gaps)
    result = _transposed_size(name, sizes, kernel, strides, pairs, gaps, output_padding)
    return result if isinstance(size, Sequence) else result[0]


def _conv(
    name: str, rank: int, x: Any, W: Any, b: Any, stride: Sizes, padding: Padding, dilation: Sizes, groups: int
) -> Any:
    x, W = fnp.asarray(x), fnp.asarray(W)
    _check_kernel(name, rank, W, "(out, in / groups, *kernel_size)")
    _rank_of(name, x, rank)
    groups = whole_number(name, "groups", groups, 1)
    channels, kernel = x.shape[-rank - 1], W.shape[2:]
    if W.shape[0] % groups or channels != W.shape[1] * groups:
        _refuse_channels(name, rank, x, W, groups)
    strides, gaps = for_each_axis(name, "stride", stride, rank, 1), for_each_axis(name, "dilation", dilation, rank, 1)
    pairs = padding_pairs(name, padding, rank, x.shape[-rank:], kernel, strides, gaps)
    size = convolved_size(name, x.shape[-rank:], kernel, strides, pairs, gaps, x)
    images = x if x.ndim == rank + 2 else x[None]
    before = tuple([before for before, _ in pairs])
    y = windows.conv(images, W, size=size, strides=strides, before=before, dilation=gaps, groups=groups)
    return _shifted(name, y if x.ndim == rank + 2 else y[0], b, W, W.shape[0], rank)


def _conv_transpose(
    name: str, rank: int, x: Any, W: Any, b: Any, stride: Sizes, padding: Padding, output_padding: Sizes, groups: int,
    dilation: Sizes,
) -> Any:  # fmt: skip
    x, W = fnp.asarray(x), fnp.asarray(W)
    _check_kernel(name, rank, W, "(in, out / groups, *kernel_size)")
    _rank_of(name, x, rank)
    groups = whole_number(name, "groups", groups, 1)
    if x.shape[-rank - 1] != W.shape[0]:
        raise ShapeError(
            f"{name}: x {describe(x)} has {x.shape[-rank - 1]} channels, but W {describe(W)} takes {W.shape[0]}. The kernel of a "
            f"transposed convolution is (in, out / groups, *kernel_size).{_hint_of_layout(rank, x, W.shape[0])}"
        )
    if W.shape[0] % groups:
        raise ShapeError(
            f"{name}: the {W.shape[0]} channels of W {describe(W)} cannot be divided into {groups} groups."
        )
    strides, gaps = for_each_axis(name, "stride", stride, rank, 1), for_each_axis(name, "dilation", dilation, rank, 1)
    pairs = padding_pairs(name, padding, rank, None, W.shape[2:], strides, gaps)
    size = _transposed_size(name, x.shape[-rank:], W.shape[2:], strides, pairs, gaps, output_padding)
    images = x if x.ndim == rank + 2 else x[None]
    before = tuple([before for before, _ in pairs])
    y = windows.conv_input(W, images, size=size, strides=strides, before=before, dilation=gaps, groups=groups)
    return _shifted(name, y if x.ndim == rank + 2 else y[0], b, W, W.shape[1] * groups, rank)


def _shifted(name: str, y: Any, b: Any, W: Any, channels: int, rank: int) -> Any:
    if b is None:
        return y
    b = fnp.asarray(b)
    if b.shape != (channels,):
        raise ShapeError(f"{name} expects a bias of shape {(channels,)}, got {describe(b)} for W {describe(W)}.")
    return y + b.reshape(channels, *(1,) * rank)


def _transposed_size(
    name: str, sizes: Ints, kernel: Ints, strides: Ints, pairs: Pairs, dilation: Ints, output_padding: Sizes
) -> Ints:
    """The size of the result of a transposed convolution in space."""
    extra = for_each_axis(name, "output_padding", output_padding, len(kernel), 0)
    if any(e >= max(s, d) for e, s, d in zip(extra, strides, dilation, strict=True)):
        raise RangeError(
            f"{name}: output_padding must be smaller than the stride or the dilation ({strides}, {dilation}), got {extra}."
        )
    size = tuple([
        (n - 1) * s - p - q + (k - 1) * d + 1 + e
        for n, s, (p, q), k, d, e in zip(sizes, strides, pairs, kernel, dilation, extra, strict=True)
    ])  # fmt: skip
    if min(size) < 1:
        raise ShapeError(
            f"{name}: the padding {pairs} leaves nothing of the result for an input of size {tuple(sizes)}."
        )
    return size


def _rank_of(name: str, x: Any, rank: int) -> int:
    """The number of axes in space; ShapeError if x does not have that many."""
    single = rank + 1 if name != "im2col" else rank + 2
    if rank < 1 or x.ndim not in (single, rank + 2):
        axes = {1: "(N, C, L)", 2: "(N, C, H, W)", 3: "(N, C, D, H, W)"}.get(rank, "(N, C, *S)")
        raise ShapeError(f"{name} expects x of shape {axes}, got {describe(x)}. One image is x[None].")
    return rank


def _check_kernel(name: str, rank: int, W: Any, form: str) -> None:
    if W.ndim != rank + 2 or 0 in W.shape:
        raise ShapeError(
            f"{name} expects a kernel W of shape {form} with {rank + 2} axes, none of them empty, got {describe(W)}."
            + (
                ""
                if W.ndim
                else f" nn.{''.join(map(str.capitalize, name.split('_')))}.init(key, in_channels, out_channels, kernel_size) draws one."
            )
        )


def _refuse_channels(name: str, rank: int, x: Any, W: Any, groups: int) -> None:
    channels = x.shape[-rank - 1]
    if W.shape[0] % groups or channels % groups:
        raise ShapeError(
            f"{name}: {groups} groups must divide the channels of x and those of the result, got {channels} for x {describe(x)} "
            f"and {W.shape[0]} for W {describe(W)}."
        )
    each = f" in each of {groups} groups" if groups > 1 else ""
    raise ShapeError(
        f"{name}: x {describe(x)} has {channels // groups} channels{each}, but W {describe(W)} takes {W.shape[1]}. The axis of channels "
        f"stands before those in space.{_hint_of_layout(rank, x, W.shape[1] * groups)}"
    )


def _hint_of_layout(rank: int, x: Any, channels: int) -> str:
    """What to write for images that come with their channels last."""
    if x.shape[-1] != channels:
        return ""
    first = x.ndim - rank - 1
    order = (*range(first), x.ndim - 1, *range(first, x.ndim - 1))
    return f" For images with their channels last write x.transpose{order}."
