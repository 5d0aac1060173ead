"""`pad` with every mode of NumPy. All modes go axis by axis: what one axis adds, the next one continues."""

from collections.abc import Callable
from typing import Any

import numpy as np

from ..messages import describe
from ..ops import shape as shapes
from .arguments import Array, as_array, beside
from .creation import linspace
from .elementwise import cast, round
from .indexing import take
from .reductions import max, mean, min
from .shape import broadcast_to, concatenate, flip, slice_axis, squeeze
from .statistics import median

__all__ = ["pad"]

# The parameters that each mode takes, beside pad_width.
PARAMETERS = {
    "constant": ("constant_values",), "linear_ramp": ("end_values",), "edge": (), "wrap": (), "empty": (),
    "maximum": ("stat_length",), "minimum": ("stat_length",), "mean": ("stat_length",), "median": ("stat_length",),
    "reflect": ("reflect_type",), "symmetric": ("reflect_type",),
}  # fmt: skip
STATISTICS: dict[str, Callable[..., Array]] = {"maximum": max, "minimum": min, "mean": mean, "median": median}


def pad(
    array: Any,
    pad_width: Any,
    mode: str = "constant",
    *,
    constant_values: Any = None,
    end_values: Any = None,
    stat_length: Any = None,
    reflect_type: str | None = None,
) -> Array:
    """Put entries around `array`: before and after along each axis, as many as `pad_width` says.

    `pad_width` is one number, a pair (before, after), a pair for each axis, or a dict of pairs by axis. So are
    `constant_values` and `end_values` (0 by default) and `stat_length` (the whole axis). Modes:
    "constant"; "edge"; "linear_ramp", from the edge to `end_values`; "maximum", "minimum", "mean" and "median" of the
    `stat_length` entries beside the edge; "reflect" and "symmetric", mirrored at the last entry or behind it, with the
    `reflect_type` "even" or "odd"; "wrap"; "empty", which is zeros here. Constants and end values are differentiable.
    """
    array = as_array(array)
    given = {
        "constant_values": constant_values, "end_values": end_values, "stat_length": stat_length,
        "reflect_type": reflect_type,
    }  # fmt: skip
    _check(mode, [name for name, value in given.items() if value is not None], reflect_type)
    widths = _numbers_for_axes("pad_width", _by_axis(pad_width, array.ndim), array.ndim)
    if mode == "empty" or (mode == "constant" and _is_zero(constant_values)):
        return _with_zeros(array, widths)
    if mode in ("constant", "linear_ramp"):
        return _with_values(array, widths, mode, constant_values if mode == "constant" else end_values)
    lengths: list[Any] = [(None, None)] * array.ndim
    if stat_length is not None:
        lengths = _numbers_for_axes("stat_length", stat_length, array.ndim)
        if mode in ("maximum", "minimum") and any(0 in pair for pair in lengths):
            raise ValueError(f"pad: a stat_length of 0 has no {mode}.")
    for axis, width in zip(range(-array.ndim, 0), widths, strict=True):
        if not any(width):
            continue
        if not array.shape[axis]:
            raise ValueError(
                f"pad: mode {mode!r} needs an entry along axis {axis + array.ndim}, got {describe(array)}."
            )
        if mode in STATISTICS:
            array = _with_statistics(array, axis, width, mode, lengths[axis])
        elif reflect_type == "odd" and array.shape[axis] > 1:
            array = _with_odd_reflections(array, axis, width, int(mode == "reflect"))
        else:
            array = take(array, np.pad(np.arange(array.shape[axis]), width, mode=mode), axis)  # type: ignore[call-overload]  # it lists modes one by one
    return array


def _check(mode: Any, given: list[str], reflect_type: str | None) -> None:
    if callable(mode):
        raise TypeError(
            "pad: a function as mode writes into an array, but arrays are immutable here. Join the parts with concatenate."
        )
    if mode not in PARAMETERS:
        raise ValueError(f"pad: mode must be one of {', '.join(map(repr, PARAMETERS))}, got {mode!r}.")
    if unused := [name for name in given if name not in PARAMETERS[mode]]:
        takes = " and ".join(PARAMETERS[mode]) or "no further parameter"
        raise ValueError(f"pad: mode {mode!r} takes {takes}, got {' and '.join(unused)}.")
    if reflect_type not in (None, "even", "odd"):
        raise ValueError(f"pad: reflect_type must be 'even' or 'odd', got {reflect_type!r}.")


def _by_axis(pad_width: Any, ndim: int) -> Any:
    """Pairs for all axes from a dict of axes, whose values are numbers or pairs."""
    if not isinstance(pad_width, dict):
        return pad_width
    widths = [(0, 0)] * ndim
    for axis, width in pad_width.items():
        widths[axis] = tuple(np.broadcast_to(width, (2,)))
    return widths


def _numbers_for_axes(name: str, numbers: Any, ndim: int) -> list[tuple[int, int]]:
    """A pair (before, after) for each axis."""
    found = np.asarray(numbers)
    if found.dtype.kind not in "iu":
        raise TypeError(f"pad: {name} must hold integers, got {numbers!r}.")
    if found.size and found.min() < 0:
        raise ValueError(f"pad: {name} must not hold negative numbers, got {numbers!r}.")
    return [(int(before), int(after)) for before, after in np.broadcast_to(found, (ndim, 2))]


def _is_zero(value: Any) -> bool:
    return value is None or (isinstance(value, int | float) and value == 0)


def _with_zeros(x: Array, widths: list[tuple[int, int]]) -> Array:
    shape = tuple(n + before + after for n, (before, after) in zip(x.shape, widths, strict=True))
    cuts = tuple((before, before + n, 1) for n, (before, _) in zip(x.shape, widths, strict=True))
    return shapes.unslice_axes(x, index=cuts, shape=shape)


def _with_values(x: Array, widths: list[tuple[int, int]], mode: str, values: Any) -> Array:
    """Constants, or ramps from the edge to the values, on both sides of each axis."""
    values = broadcast_to(beside(0 if values is None else values, x), (x.ndim, 2))
    for axis, (before, after) in enumerate(widths):
        left = _block(x, axis, values[axis, 0], before, 0, mode) if before else None
        right = _block(x, axis, values[axis, 1], after, -1, mode) if after else None
        x = concatenate([part for part in (left, x, right) if part is not None], axis)
    return x


def _block(x: Array, axis: int, value: Any, width: int, edge: int, mode: str) -> Array:
    """`width` entries of the constant `value`, or a ramp from it towards the entry `edge` of x (0 or -1)."""
    if mode == "constant":
        return broadcast_to(cast(value, x.dtype), _lengthened(x, axis, width))
    if not x.shape[axis]:
        raise ValueError(f"pad: mode {mode!r} needs an entry along axis {axis}, got {describe(x)}.")
    stop = squeeze(slice_axis(x, axis, edge, None if edge else 1), axis)
    ramp = linspace(value, stop, width, endpoint=False, dtype=x.dtype, axis=axis)
    return flip(ramp, axis) if edge else ramp


def _lengthened(x: Array, axis: int, length: int) -> tuple[int, ...]:
    return tuple(length if i == axis else n for i, n in enumerate(x.shape))


def _with_statistics(x: Array, axis: int, width: tuple[int, int], mode: str, lengths: Any) -> Array:
    parts = [x]
    n = x.shape[axis]
    for count, length, left in ((width[0], lengths[0], True), (width[1], lengths[1], False)):
        length = n if length is None else int(np.minimum(length, n))
        line = slice_axis(x, axis, 0, length) if left else slice_axis(x, axis, n - length, n)
        value = STATISTICS[mode](line, axis=axis, keepdims=True)
        if x.dtype.kind in "iu" and value.dtype != x.dtype:
            value = round(value)
        block = broadcast_to(cast(value, x.dtype), _lengthened(x, axis + x.ndim, count))
        parts = [block, *parts] if left else [*parts, block]
    return concatenate(parts, axis)


def _with_odd_reflections(x: Array, axis: int, width: tuple[int, int], skipped: int) -> Array:
    """Mirror x at its edges and turn it around: 2 edge - x, again where it is too short. `skipped` entries do not repeat."""
    before, after = width
    period = x.shape[axis] - skipped
    dtype, x = x.dtype, cast(x, np.int64) if x.dtype == bool else x
    whole = x
    while before or after:
        n = whole.shape[axis]
        length = (n - skipped) // period * period
        left, right = (length if length < rest else rest for rest in (before, after))
        start = flip(slice_axis(whole, axis, skipped, skipped + left), axis)
        end = flip(slice_axis(whole, axis, n - skipped - right, n - skipped), axis)
        first, last = slice_axis(whole, axis, 0, 1), slice_axis(whole, axis, n - 1, n)
        parts = [2 * first - start] if left else []
        parts += [whole] + ([2 * last - end] if right else [])
        whole, before, after = concatenate(parts, axis), before - left, after - right
    return cast(whole, dtype)
