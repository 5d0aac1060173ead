"""What functions of windows are told: sizes, strides, dilation, padding, each for all axes in space or for each of them."""

from collections.abc import Sequence
from typing import Any

from ..errors import RangeError, ShapeError
from ..messages import describe
from ..numpy.arguments import whole_number

__all__: list[str] = []  # helpers of convolution and pooling
Ints = tuple[int, ...]
Pairs = tuple[tuple[int, int], ...]
Sizes = int | Sequence[int]  # one number for all axes, or one for each
Padding = str | int | Sequence[Any]  # "same", "valid", a number, a number for each axis, or a pair for each axis


def for_each_axis(name: str, argument: str, value: Any, rank: int, least: int) -> Ints:
    """One number for each axis in space."""
    if not isinstance(value, Sequence) or isinstance(value, str):
        return (whole_number(name, argument, value, least),) * rank
    if len(value) != rank:
        raise RangeError(f"{name}: {argument} must be a number, or one number for each of {rank} axes, got {value!r}.")
    return tuple([whole_number(name, argument, n, least) for n in value])


def padding_pairs(
    name: str, padding: Padding, rank: int, sizes: Ints | None, kernel: Ints, strides: Ints, dilation: Ints
) -> Pairs:
    """The padding before and after each axis. `sizes` are those of the images; without them "same" does not have a meaning."""
    if padding == "valid":
        return ((0, 0),) * rank
    if padding == "same" and sizes is not None:
        totals = [
            max(0, (-(-n // s) - 1) * s + (k - 1) * d + 1 - n)
            for n, k, s, d in zip(sizes, kernel, strides, dilation, strict=True)
        ]
        return tuple([(total // 2, total - total // 2) for total in totals])
    if isinstance(padding, str):
        known = '"valid" or "same"' if sizes is not None else '"valid"'
        raise RangeError(
            f"{name}: padding must be a number, numbers or pairs of numbers for the axes, or {known}, got {padding!r}."
        )
    if not isinstance(padding, Sequence):
        padding = (padding,) * rank
    if len(padding) != rank:
        hint = (
            f" Write ({tuple(padding)},) for the two ends of the only axis." if rank == 1 and len(padding) == 2 else ""
        )
        raise RangeError(
            f"{name}: padding must be a number, or a number or a pair for each of {rank} axes, got {tuple(padding)}.{hint}"
        )
    pairs = [tuple(p) if isinstance(p, Sequence) else (p, p) for p in padding]
    if any(len(pair) != 2 for pair in pairs):
        raise RangeError(f"{name}: the padding of an axis is a number or a pair (before, after), got {tuple(padding)}.")
    return tuple([(whole_number(name, "padding", p, 0), whole_number(name, "padding", q, 0)) for p, q in pairs])


def convolved_size(
    name: str, sizes: Ints, kernel: Ints, strides: Ints, pairs: Pairs, dilation: Ints, x: Any = None
) -> Ints:
    """The size of the result of a convolution in space, for images of `sizes` in space. An error shows the images x, if given."""
    padded = [n + p + q for n, (p, q) in zip(sizes, pairs, strict=True)]
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    if any(k > n for k, n in zip(reach, padded, strict=True)):
        gaps = f" with dilation {dilation}" if max(dilation) > 1 else ""
        around = f" with padding {pairs}" if any(map(any, pairs)) else ""
        raise ShapeError(
            f"{name}: the kernel of size {kernel}{gaps} covers {tuple(reach)} entries, but the input has only {tuple(padded)} in space"
            f"{around}{'' if x is None else f': {describe(x)}'}. Use a smaller kernel, or more padding (padding='same' keeps the size)."
        )
    return tuple([(n - k) // s + 1 for n, k, s in zip(padded, reach, strides, strict=True)])
