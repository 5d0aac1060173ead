"""Transforms that turn, shift, scale and shear images: each pixel of the result is read from between pixels of the image."""

import math
from typing import Any, ClassVar

import attrs
import numpy as np

from ... import numpy as fnp
from ...devices import array_module
from ...errors import RangeError
from .batches import between, images, is_plain, uniform, working
from .cropping import paint
from .settings import is_number, number, one_of, setting, span
from .transform import Transform

__all__ = ["affine", "rotation"]


def _scales(value: Any, what: str) -> tuple[float, float]:
    ends = tuple(value) if isinstance(value, tuple | list) else (value, value)
    if len(ends) != 2 or not all(is_number(end) and end > 0 for end in ends) or ends[0] > ends[1]:
        raise RangeError(f"{what} is a number above 0, or (low, high), got {value!r}.")
    return float(ends[0]), float(ends[1])


def _shares(value: Any, what: str) -> tuple[float, float]:
    both = tuple(value) if isinstance(value, tuple | list) else (value, value)
    if len(both) != 2 or not all(is_number(part) and 0 <= part <= 1 for part in both):
        raise RangeError(f"{what} is a share of the image from 0 to 1, or (rows, columns), got {value!r}.")
    return float(both[0]), float(both[1])


@attrs.frozen
class affine(Transform):
    """Images (N, C, H, W), turned, scaled, sheared and shifted about their centre, each by numbers of its own.

    `degrees` counts against the clock: a number d for -d to d, or (low, high); so does `shear`, along rows, and `shear_columns`.
    `translate` is the largest shift as a share of the image, a number or (rows, columns). `scale` is (low, high). Pixels from
    outside have the `value`. `mode` is "bilinear" or "nearest".
    """

    degrees: tuple[float, float] = setting(span, default=0.0)
    translate: tuple[float, float] = setting(_shares, default=0.0)
    scale: tuple[float, float] = setting(_scales, default=1.0)
    shear: tuple[float, float] = setting(span, default=0.0)
    shear_columns: tuple[float, float] = setting(span, default=0.0, kw_only=True)
    mode: str = setting(one_of("bilinear", "nearest"), default="bilinear", kw_only=True)
    value: float = setting(number, default=0.0, kw_only=True)

    draws: ClassVar[bool] = True

    def draw(self, keys: Any) -> Any:
        return uniform(keys, 6)

    def apply(self, x: Any, drawn: Any) -> Any:
        x = images(x, self)
        value = paint(self.value, x, self)
        angle, shear, shear_columns = (
            between(drawn[:, k], ends) * (math.pi / 180)
            for k, ends in enumerate((self.degrees, self.shear, self.shear_columns))
        )
        size = between(drawn[:, 3], self.scale)
        down, across = (
            between(drawn[:, 4 + k], (-part, part)) * x.shape[2 + k] for k, part in enumerate(self.translate)
        )
        # The way back from a result to its pixel: the shift, the rotation and both shears are undone, in this order.
        cos, sin = fnp.cos(angle) / size, fnp.sin(angle) / size
        by_columns = fnp.tan(shear_columns)
        row = (sin + by_columns * cos, cos - by_columns * sin)
        by_rows = fnp.tan(shear)
        column_ = (cos + by_rows * row[0], -sin + by_rows * row[1])
        return warped(x, column_, row, (across, down), self.mode, value)


@attrs.frozen
class rotation(Transform):
    """Images (N, C, H, W), each turned about its centre by an angle of its own, against the clock.

    `degrees` is a number d, for -d to d, or (low, high). `mode` and `value` are those of `affine`.
    """

    degrees: tuple[float, float] = setting(span)
    mode: str = setting(one_of("bilinear", "nearest"), default="bilinear", kw_only=True)
    value: float = setting(number, default=0.0, kw_only=True)

    draws: ClassVar[bool] = True

    def draw(self, keys: Any) -> Any:
        return uniform(keys, 6)

    def apply(self, x: Any, drawn: Any) -> Any:
        value = paint(self.value, images(x, self), self)
        return affine(self.degrees, mode=self.mode, value=value).apply(x, drawn)


def warped(x: Any, column: Any, row: Any, shift: Any, mode: str, value: Any) -> Any:
    """The images read at (column . p, row . p), where p is the place of a result, from the centre, less the shift.

    Parts of column, row and shift are (N,); the first counts along a row.
    """
    xp, dtype = array_module(x), working(x[:0]).dtype
    n, (height, width) = len(x), x.shape[2:]
    across = xp.arange(width) - (width - 1) / 2 - shift[0][:, None]
    down = xp.arange(height) - (height - 1) / 2 - shift[1][:, None]

    def read_at(factors: Any, size: int) -> Any:
        along_row = fnp.astype(factors[0][:, None] * across + (size - 1) / 2, dtype)
        along_column = fnp.astype(factors[1][:, None] * down, dtype)
        places = along_row[:, None, :] + along_column[:, :, None]
        return fnp.clip(places, -1, size)  # further outside there is nothing else

    columns, rows = read_at(column, width), read_at(row, height)
    nearest = mode == "nearest"
    first_row, first_column = (fnp.rint(place) if nearest else fnp.floor(place) for place in (rows, columns))
    # All examples side by side in each channel, with a frame of one pixel, and one more at the end for the neighbours
    framed = _framed(x if nearest else working(x), value)
    line = width + 3
    index = fnp.astype(first_row * line + (first_column + (line + 1)), np.int64)
    index = (index + xp.arange(n)[:, None, None] * (line * (height + 3))).reshape(-1)
    corners = [_taken(framed, index + step) for step in ((0,) if nearest else (0, 1, line, line + 1))]
    if nearest:
        return _apart(corners[0], x.shape)
    right, low = ((place - first).reshape(-1) for place, first in ((columns, first_column), (rows, first_row)))
    y = _mixed(_mixed(corners[0], corners[1], right), _mixed(corners[2], corners[3], right), low)
    return _apart(fnp.astype(fnp.rint(y), x.dtype) if x.dtype == np.uint8 else fnp.astype(y, x.dtype), x.shape)


def _framed(x: Any, value: Any) -> Any:
    """(N, C, H, W) -> (C, N * (H + 3) * (W + 3)), with a value around each image."""
    n, channels, height, width = x.shape
    if is_plain(x):
        y = np.full((channels, n, height + 3, width + 3), value, x.dtype)
        y[:, :, 1:-2, 1:-2] = x.swapaxes(0, 1)
    else:
        y = fnp.pad(fnp.swapaxes(x, 0, 1), ((0, 0), (0, 0), (1, 2), (1, 2)), constant_values=value)
    return y.reshape(channels, -1)


def _taken(x: Any, index: Any) -> Any:
    """x (C, size) at places (n,) -> (C, n)."""
    if is_plain(x, index):
        return np.take(x, index, axis=1, out=np.empty((len(x), len(index)), x.dtype), mode="clip")  # none is outside
    return fnp.take(x, index, axis=1)


def _apart(y: Any, shape: tuple[int, ...]) -> Any:
    """(C, N * H * W) -> (N, C, H, W)."""
    y = fnp.swapaxes(y.reshape(shape[1], shape[0], *shape[2:]), 0, 1)
    return np.ascontiguousarray(y) if is_plain(y) else y


def _mixed(a: Any, b: Any, share: Any) -> Any:
    """a + share * (b - a)."""
    if is_plain(a, b, share):  # all were made here
        b -= a
        b *= share
        b += a
        return b
    return a + share * (b - a)
