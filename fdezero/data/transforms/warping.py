"""Transforms that turn, shift, scale and shear images: each pixel of the result is read from between pixels of the image."""

import math
from typing import Any, ClassVar

import attrs
import numpy as np

from ... import numpy as fnp
from ...devices import array_module
from ...errors import RangeError
from .batches import between, images, is_plain, rounded, uniform, working
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
    outside have the value `fill`. `mode` is "bilinear" or "nearest".
    """

    degrees: tuple[float, float] = setting(span, default=0.0)
    translate: tuple[float, float] = setting(_shares, default=0.0)
    scale: tuple[float, float] = setting(_scales, default=1.0)
    shear: tuple[float, float] = setting(span, default=0.0)
    shear_columns: tuple[float, float] = setting(span, default=0.0, kw_only=True)
    mode: str = setting(one_of("bilinear", "nearest"), default="bilinear", kw_only=True)
    fill: float = setting(number, default=0.0, kw_only=True)

    draws: ClassVar[bool] = True

    def apply(self, x: Any, keys: Any) -> Any:
        x = images(x, self)
        fill = paint(self.fill, x, self)
        u = uniform(keys, 6)
        angle, shear, shear_columns = (
            between(u[:, k], ends) * (math.pi / 180)
            for k, ends in enumerate((self.degrees, self.shear, self.shear_columns))
        )
        size = between(u[:, 3], self.scale)
        down, across = (between(u[:, 4 + k], (-part, part)) * x.shape[2 + k] for k, part in enumerate(self.translate))
        # The way back from a result to its pixel: the shift, the rotation and both shears are undone, in this order.
        cos, sin = fnp.cos(angle) / size, fnp.sin(angle) / size
        by_columns = fnp.tan(shear_columns)
        row = (sin + by_columns * cos, cos - by_columns * sin)
        by_rows = fnp.tan(shear)
        column_ = (cos + by_rows * row[0], -sin + by_rows * row[1])
        return warped(x, column_, row, (across, down), self.mode, fill)


@attrs.frozen
class rotation(Transform):
    """Images (N, C, H, W), each turned about its centre by an angle of its own, against the clock.

    `degrees` is a number d, for -d to d, or (low, high). `mode` and `fill` are those of `affine`.
    """

    degrees: tuple[float, float] = setting(span)
    mode: str = setting(one_of("bilinear", "nearest"), default="bilinear", kw_only=True)
    fill: float = setting(number, default=0.0, kw_only=True)

    draws: ClassVar[bool] = True

    def apply(self, x: Any, keys: Any) -> Any:
        return affine(self.degrees, mode=self.mode, fill=self.fill).apply(images(x, self), keys)


def warped(x: Any, column: Any, row: Any, shift: Any, mode: str, fill: Any) -> Any:
    """The images read at (column . p, row . p), where p is the place of a result, from the centre, less the shift.

    Parts of column, row and shift are (N,); the first counts along a row.
    """
    xp, dtype = array_module(x), working(x[:0]).dtype
    height, width = x.shape[2:]
    across = xp.arange(width) - (width - 1) / 2 - shift[0][:, None]
    down = xp.arange(height) - (height - 1) / 2 - shift[1][:, None]

    def read_at(factors: Any, size: int) -> Any:
        along, along_too = (
            fnp.astype(factor[:, None] * part, dtype) for factor, part in zip(factors, (across, down), strict=True)
        )
        place = along[:, None, :] + along_too[:, :, None] + (size - 1) / 2
        return fnp.clip(place, -1, size)  # further outside there is nothing else

    columns, rows = read_at(column, width), read_at(row, height)
    padded = fnp.pad(x, ((0, 0), (0, 0), (1, 2), (1, 2)), constant_values=fill)
    if mode == "nearest":
        return _read(padded, fnp.rint(rows), fnp.rint(columns), [0])[0].reshape(x.shape)
    first_row, first_column = fnp.floor(rows), fnp.floor(columns)
    corners = _read(working(padded), first_row, first_column, [0, 1, width + 3, width + 4])
    right, low = (
        (place - first).reshape(len(x), 1, -1) for place, first in ((columns, first_column), (rows, first_row))
    )
    upper, lower = _mixed(corners[0], corners[1], right), _mixed(corners[2], corners[3], right)
    return rounded(_mixed(upper, lower, low).reshape(x.shape), x.dtype)


def _mixed(a: Any, b: Any, share: Any) -> Any:
    """a + share * (b - a)."""
    if is_plain(a, b, share):
        b -= a  # both were made by `_read`, or here
        b *= share
        b += a
        return b
    return a + share * (b - a)


def _read(padded: Any, rows: Any, columns: Any, steps: list[int]) -> list[Any]:
    """The pixels at rows and columns, which count from -1, and those that follow after some steps: (N, C, places) each."""
    n, channels, height, width = padded.shape
    index = (fnp.astype(rows, np.int64) + 1) * width + fnp.astype(columns, np.int64) + 1
    index = index.reshape(n, 1, -1)
    if is_plain(padded, index):
        flat = padded.reshape(-1)
        index = index + (np.arange(n * channels) * (height * width)).reshape(n, channels, 1)
        return [flat[step:].take(index) for step in steps]
    flat = padded.reshape(n, channels, height * width)
    return [fnp.take_along_axis(flat, index + step, axis=2) for step in steps]
