"""Transforms that move pixels as they are: crops, flips, squares that are cut out."""

from typing import Any, ClassVar

import attrs
import numpy as np

from ... import numpy as fnp
from ...devices import array_module
from ...errors import RangeError, ShapeError
from ...messages import describe
from .batches import below, column, images, is_plain, name_of, uniform
from .settings import number, one_of, pair, probability, setting, whole
from .transform import Transform

__all__ = ["centre_crop", "cutout", "horizontal_flip", "random_crop", "vertical_flip"]

PADDINGS = ("constant", "edge", "reflect", "symmetric")


def _check_fits(size: tuple[int, int], x: Any, of: Any, padded: str = "") -> None:
    if size[0] > x.shape[2] or size[1] > x.shape[3]:
        raise ShapeError(f"{name_of(of)}: a crop of {size} does not fit into {describe(x)}{padded}.")


@attrs.frozen
class centre_crop(Transform):
    """The centre of images (N, C, H, W) -> (N, C, h, w). `size` is a number or (h, w). It begins at row (H - h) // 2, as in DeZero."""

    size: tuple[int, int] = setting(pair(1))

    def apply(self, x: Any, drawn: Any) -> Any:
        x, (h, w) = images(x, self), self.size
        _check_fits(self.size, x, self)
        top, left = (x.shape[2] - h) // 2, (x.shape[3] - w) // 2
        return x[:, :, top : top + h, left : left + w]


@attrs.frozen
class random_crop(Transform):
    """A random part of each image, (N, C, H, W) -> (N, C, h, w), after `padding` at all four sides, a number or (rows, columns).

    `mode` of padding is NumPy's: "constant" with `value`, "edge", "reflect", "symmetric". Every place is equally likely.
    """

    size: tuple[int, int] = setting(pair(1))
    padding: tuple[int, int] = setting(pair(0), default=0)
    mode: str = setting(one_of(*PADDINGS), default="constant", kw_only=True)
    value: float = setting(number, default=0.0, kw_only=True)

    draws: ClassVar[bool] = True

    def draw(self, keys: Any) -> Any:
        return uniform(keys, 2)

    def apply(self, x: Any, drawn: Any) -> Any:
        x = images(x, self)
        rows, columns = self.padding
        if rows or columns:
            filled = {"constant_values": paint(self.value, x, self)} if self.mode == "constant" else {}
            x = fnp.pad(x, ((0, 0), (0, 0), (rows, rows), (columns, columns)), self.mode, **filled)
        _check_fits(self.size, x, self, " with its padding" if rows or columns else "")
        tops, lefts = (below(drawn[:, k], x.shape[2 + k] - self.size[k] + 1) for k in (0, 1))
        return cropped(x, tops, lefts, self.size)


def cropped(x: Any, tops: Any, lefts: Any, size: tuple[int, int]) -> Any:
    """x (N, C, H, W) from row tops[n] and column lefts[n] on -> (N, C, *size)."""
    h, w = size
    if is_plain(x, tops, lefts):
        y = np.empty((*x.shape[:2], h, w), x.dtype)
        for whole_, part, top, left in zip(x, y, tops.tolist(), lefts.tolist(), strict=True):
            part[...] = whole_[:, top : top + h, left : left + w]
        return y
    xp = array_module(x)
    rows, columns = tops[:, None] + xp.arange(h), lefts[:, None] + xp.arange(w)
    y = fnp.take_along_axis(x, rows[:, None, :, None], axis=2)
    return fnp.take_along_axis(y, columns[:, None, None, :], axis=3)


@attrs.frozen
class horizontal_flip(Transform):
    """Left and right change places, in each image (N, C, H, W) with probability `p`."""

    p: float = setting(probability, default=0.5)

    draws: ClassVar[bool] = True
    axis: ClassVar[int] = 3

    def draw(self, keys: Any) -> Any:
        return uniform(keys, 1)

    def apply(self, x: Any, drawn: Any) -> Any:
        x = images(x, self)
        chosen = drawn[:, 0] < self.p
        if is_plain(x, chosen):
            y = x.copy()
            back = np.flip(x, self.axis)
            for n in chosen.nonzero()[0].tolist():
                y[n] = back[n]
            return y
        return fnp.where(column(chosen, bool), fnp.flip(x, self.axis), x)


@attrs.frozen
class vertical_flip(horizontal_flip):
    """Top and bottom change places, in each image (N, C, H, W) with probability `p`."""

    axis: ClassVar[int] = 2


@attrs.frozen
class cutout(Transform):
    """`count` rectangles of `size`, a number or (h, w), get one `value` in each image (N, C, H, W).

    Centres are drawn over all pixels, so a rectangle may lie partly outside. Source: DeVries and Taylor, arXiv:1708.04552, 2017.
    """

    size: tuple[int, int] = setting(pair(0))
    count: int = setting(whole(1), default=1)
    value: float = setting(number, default=0.0)

    draws: ClassVar[bool] = True

    def draw(self, keys: Any) -> Any:
        return uniform(keys, 2 * self.count)

    def apply(self, x: Any, drawn: Any) -> Any:
        x = images(x, self)
        value = paint(self.value, x, self)
        tops, lefts = (below(drawn[:, k::2], x.shape[2 + k]) - self.size[k] // 2 for k in (0, 1))
        if is_plain(x, tops, lefts):
            y = x.copy()
            h, w = self.size
            for image, rows, columns in zip(y, tops.tolist(), lefts.tolist(), strict=True):
                for top, left in zip(rows, columns, strict=True):
                    image[:, max(top, 0) : max(top + h, 0), max(left, 0) : max(left + w, 0)] = value
            return y
        rows, columns = (
            inside(array_module(x).arange(x.shape[2 + k]), start[:, :, None], self.size[k])
            for k, start in enumerate((tops, lefts))
        )
        covered = (rows[:, :, :, None] & columns[:, :, None, :]).any(axis=1)
        return fnp.where(covered[:, None], value, x)


def inside(places: Any, start: Any, length: Any) -> Any:
    """Whether each place lies in the range from `start` on."""
    return (places >= start) & (places < start + length)


def paint(value: float, x: Any, of: Any) -> Any:
    """A value in the dtype of images. Raises RangeError if uint8 cannot hold the value."""
    if x.dtype == np.uint8 and not (0 <= value <= 255 and value == int(value)):
        raise RangeError(
            f"{name_of(of)}: the value {value} is not a whole number from 0 to 255, as images of uint8 need."
        )
    return x.dtype.type(value)
