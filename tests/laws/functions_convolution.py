"""Cases of `fdezero.functions`: convolutions and the windows that they see, with loops in plain NumPy as their references."""

import math
from types import SimpleNamespace
from typing import Any

import numpy as np

from fdezero import functions as F

from .cases import Case, cases_of

RNG = np.random.default_rng(29)


def each(value: Any, rank: int) -> tuple[Any, ...]:
    return (value,) * rank if isinstance(value, int) else tuple(value)


def padded(x: np.ndarray, padding: Any, rank: int, kernel: Any, stride: Any, dilation: Any) -> np.ndarray:
    """x with zeros around the last `rank` axes."""
    if padding == "same":
        sizes = x.shape[-rank:]
        totals = [max(0, (math.ceil(n / s) - 1) * s + (k - 1) * d + 1 - n) for n, k, s, d in zip(sizes, kernel, stride, dilation, strict=True)]
        padding = [(total // 2, total - total // 2) for total in totals]
    pairs = [p if isinstance(p, tuple) else (p, p) for p in each(0 if padding == "valid" else padding, rank)]
    return np.pad(x, [(0, 0)] * (x.ndim - rank) + pairs)


def conv(rank: int, x: Any, W: Any, b: Any = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1) -> np.ndarray:
    """A loop over the entries of the result and of the kernel."""
    if x.ndim == rank + 1:
        return conv(rank, x[None], W, b, stride, padding, dilation, groups)[0]
    s, d, kernel = each(stride, rank), each(dilation, rank), W.shape[2:]
    x = padded(x, padding, rank, kernel, s, d)
    size = [(n - (k - 1) * e - 1) // t + 1 for n, k, t, e in zip(x.shape[2:], kernel, s, d, strict=True)]
    y = np.zeros((len(x), len(W), *size), np.result_type(x, W))
    inputs, outputs = W.shape[1], len(W) // groups
    for g in range(groups):
        of_x, of_y = slice(g * inputs, (g + 1) * inputs), slice(g * outputs, (g + 1) * outputs)
        for o in np.ndindex(*size):
            for i in np.ndindex(*kernel):
                at = [j * t + k * e for j, t, k, e in zip(o, s, i, d, strict=True)]
                y[(slice(None), of_y, *o)] += x[(slice(None), of_x, *at)] @ W[(of_y, slice(None), *i)].T
    return y if b is None else y + b.reshape(-1, *[1] * rank)


def conv_transpose(
    rank: int, x: Any, W: Any, b: Any = None, stride: Any = 1, padding: Any = 0, output_padding: Any = 0, groups: int = 1, dilation: Any = 1
) -> np.ndarray:
    """A loop that adds a multiple of the kernel for every entry of x, and then cuts the padding off."""
    if x.ndim == rank + 1:
        return conv_transpose(rank, x[None], W, b, stride, padding, output_padding, groups, dilation)[0]
    s, d, extra = each(stride, rank), each(dilation, rank), each(output_padding, rank)
    pairs = [p if isinstance(p, tuple) else (p, p) for p in each(padding, rank)]
    kernel, inputs, outputs = W.shape[2:], len(W) // groups, W.shape[1]
    full = [(n - 1) * t + (k - 1) * e + 1 + more for n, t, k, e, more in zip(x.shape[2:], s, kernel, d, extra, strict=True)]
    y = np.zeros((len(x), outputs * groups, *full), np.result_type(x, W))
    for g in range(groups):
        of_x, of_y = slice(g * inputs, (g + 1) * inputs), slice(g * outputs, (g + 1) * outputs)
        for j in np.ndindex(*x.shape[2:]):
            for i in np.ndindex(*kernel):
                at = [a * t + k * e for a, t, k, e in zip(j, s, i, d, strict=True)]
                y[(slice(None), of_y, *at)] += x[(slice(None), of_x, *j)] @ W[(of_x, slice(None), *i)]
    y = y[(slice(None), slice(None), *[slice(p, n - q) for n, (p, q) in zip(full, pairs, strict=True)])]
    return y if b is None else y + b.reshape(-1, *[1] * rank)


def im2col(x: Any, kernel_size: Any, stride: Any = 1, padding: Any = 0, dilation: Any = 1, to_matrix: bool = True) -> np.ndarray:
    rank = x.ndim - 2
    kernel, s, d = each(kernel_size, rank), each(stride, rank), each(dilation, rank)
    x = padded(x, padding, rank, kernel, s, d)
    size = [(n - (k - 1) * e - 1) // t + 1 for n, k, t, e in zip(x.shape[2:], kernel, s, d, strict=True)]
    y = np.zeros((*x.shape[:2], *kernel, *size), x.dtype)
    for i in np.ndindex(*kernel):
        for o in np.ndindex(*size):
            y[(slice(None), slice(None), *i, *o)] = x[(slice(None), slice(None), *[j * t + k * e for j, t, k, e in zip(o, s, i, d, strict=True)])]
    return np.moveaxis(y, range(2 + rank, y.ndim), range(1, 1 + rank)).reshape(len(x) * math.prod(size), -1) if to_matrix else y


def col2im(x: Any, input_shape: Any, kernel_size: Any, stride: Any = 1, padding: Any = 0, dilation: Any = 1, to_matrix: bool = True) -> np.ndarray:
    """The transpose of `im2col`: its matrix, written down column by column."""
    y = np.zeros(input_shape)
    for place in np.ndindex(*input_shape):
        unit = np.zeros(input_shape)
        unit[place] = 1
        y[place] = (im2col(unit, kernel_size, stride, padding, dilation, to_matrix) * x).sum()
    return y


FORMULAS = SimpleNamespace(
    **{f"conv{rank}d": lambda *args, rank=rank, **options: conv(rank, *args, **options) for rank in (1, 2, 3)},
    **{f"conv_transpose{rank}d": lambda *args, rank=rank, **options: conv_transpose(rank, *args, **options) for rank in (1, 2, 3)},
    im2col=im2col,
    col2im=col2im,
    conv_output_size=lambda size, *args: tuple(im2col(np.zeros((1, 1, *size)), *args, to_matrix=False).shape[-len(size) :]),
    conv_transpose_output_size=lambda size, kernel, *args: conv_transpose(len(size), np.zeros((1, 1, *size)), np.zeros((1, 1, *kernel)), None, *args).shape[2:],
)
case = cases_of("functions", F, FORMULAS)


def normal(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape)


X, W, B = normal(2, 3, 5, 4), normal(4, 3, 3, 2), normal(4)
OF_ONE_AXIS: list[Case] = [
    case("conv1d", normal(2, 3, 6), normal(4, 3, 3), B, d=(0, 1, 2)), case("conv1d", normal(3, 7), normal(2, 3, 2), d=(0, 1), stride=3, padding=((1, 2),)),
    case("conv1d", normal(1, 8, 5), normal(4, 2, 2), d=(0, 1), groups=4, dilation=2, padding="same"),
    case("conv_transpose1d", normal(2, 3, 4), normal(3, 2, 3), normal(2), d=(0, 1, 2), stride=2, padding=1, output_padding=1),
    case("conv_transpose1d", normal(4, 3), normal(4, 1, 2), d=(0, 1), dilation=3, groups=2),
]  # fmt: skip
OF_TWO_AXES: list[Case] = [
    case("conv2d", X, W, B, d=(0, 1, 2)), case("conv2d", X, W, d=(0, 1), stride=2, padding=1), case("conv2d", X[0], W, B, d=(0, 1, 2), padding=(2, 0)),
    case("conv2d", X, W, d=(0, 1), padding="same", stride=(1, 3), dilation=(2, 1)), case("conv2d", X, W, d=(0, 1), padding="valid"),
    case("conv2d", X, normal(6, 1, 2, 2), normal(6), d=(0, 1, 2), groups=3, padding=((0, 1), (2, 1))),
    case("conv2d", normal(2, 9, 3, 3), normal(2, 9, 1, 1), d=(0, 1)), case("conv2d", normal(1, 9, 4, 4), normal(2, 9, 2, 2), d=(0, 1), stride=2),
    case("conv2d", normal(1, 2, 3, 3) + 1j * normal(1, 2, 3, 3), normal(2, 2, 2, 2) + 1j * normal(2, 2, 2, 2), d=(0, 1)),
    case("conv2d", X, np.arange(72).reshape(4, 3, 3, 2) % 5, d=0),
    case("conv_transpose2d", normal(2, 4, 3, 2), W, normal(3), d=(0, 1, 2)), case("conv_transpose2d", normal(4, 3, 2), W, d=(0, 1), stride=(2, 3), padding=((1, 0), (0, 1))),
    case("conv_transpose2d", normal(1, 4, 2, 2), normal(4, 2, 2, 3), normal(4), d=(0, 1, 2), stride=2, groups=2, dilation=(3, 1), output_padding=(2, 1)),
]  # fmt: skip
OF_THREE_AXES: list[Case] = [
    case("conv3d", normal(1, 2, 3, 4, 3), normal(2, 2, 2, 1, 3), normal(2), d=(0, 1, 2), padding=(1, 0, 1), stride=(1, 2, 1)),
    case("conv_transpose3d", normal(1, 2, 2, 1, 2), normal(2, 3, 2, 2, 1), normal(3), d=(0, 1, 2), stride=(1, 2, 2)),
]  # fmt: skip
WINDOWS: list[Case] = [
    case("im2col", X, 2), case("im2col", X, (3, 2), 2, 1, to_matrix=False), case("im2col", normal(2, 2, 5), 3, padding="same", dilation=2),
    case("col2im", normal(24, 12), (2, 3, 5, 4), 2), case("col2im", normal(2, 1, 3, 2, 2, 4), (2, 1, 3, 4), (3, 2), (2, 2), (1, 2), to_matrix=False),
    case("conv_output_size", (7, 6), (3, 2), 2, 1, d=None), case("conv_output_size", (9,), 3, 2, "same", 2, d=None),
    case("conv_transpose_output_size", (4, 3), (3, 2), 2, 1, 1, d=None),
]  # fmt: skip
CASES = OF_ONE_AXIS + OF_TWO_AXES + OF_THREE_AXES + WINDOWS
