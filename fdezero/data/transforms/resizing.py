"""Transforms that change the size of images: weighted sums of rows and columns, with the weights of Pillow."""

import functools
import math
from collections.abc import Callable
from typing import Any, ClassVar

import attrs
import numpy as np

from ... import numpy as fnp
from ...devices import array_module
from ...errors import RangeError
from .batches import between, images, is_plain, rounded, uniform, working
from .settings import is_number, one_of, pair, setting
from .transform import Transform

__all__ = ["random_resized_crop", "resize"]

RESULTS = 16  # of one product: few enough that most of their weights are not 0


def _box(x: Any) -> Any:
    return np.where((x > -0.5) & (x <= 0.5), 1.0, 0.0)


def _triangle(x: Any) -> Any:
    return np.maximum(1 - np.abs(x), 0.0)


def _cubic(x: Any) -> Any:
    """Keys' cubic with a = -1/2."""
    x = np.abs(x)
    return np.where(x < 1, (1.5 * x - 2.5) * x * x + 1, np.where(x < 2, ((-0.5 * x + 2.5) * x - 4) * x + 2, 0.0))


def _lanczos(x: Any) -> Any:
    return np.where(np.abs(x) < 3, np.sinc(x) * np.sinc(x / 3), 0.0)


FILTERS: dict[str, tuple[Callable[[Any], Any], float]] = {  # the curve, and how far it reaches
    "box": (_box, 0.5), "bilinear": (_triangle, 1.0), "bicubic": (_cubic, 2.0), "lanczos": (_lanczos, 3.0),
}  # fmt: skip
MODES = ("nearest", *FILTERS)


@attrs.frozen
class resize(Transform):
    """Images (N, C, H, W) -> (N, C, h, w), antialiased. `size` is (h, w), or n for (n, n). With `shorter`, n is the shorter side.

    `mode` is "bilinear", "bicubic", "box", "lanczos" or "nearest". The weights are Pillow's; torch's
    `interpolate(..., antialias=True)` has the same for the first two. Floating images agree with both to rounding. uint8 is
    rounded once, but Pillow and torch round after the columns and after the rows, so a few values differ by 1. `antialias=False`
    takes the nearest pixels alone also where an image shrinks.
    """

    size: Any = setting(pair(1))
    mode: str = setting(one_of(*MODES), default="bilinear")
    antialias: bool = setting(lambda value, what: bool(value), default=True, kw_only=True)
    shorter: bool = setting(lambda value, what: bool(value), default=False, kw_only=True)

    def __attrs_post_init__(self) -> None:
        if self.shorter and self.size[0] != self.size[1]:
            raise RangeError(f"resize: with shorter=True the size is one number, got {self.size}.")

    def apply(self, x: Any, drawn: Any) -> Any:
        x = images(x, self)
        height, width = x.shape[2:]
        h, w = self.size
        if self.shorter:
            short = min(height, width)
            h, w = h * height // short, w * width // short
        if self.mode == "nearest":
            for axis, (there, here) in ((2, (height, h)), (3, (width, w))):
                places = (2 * np.arange(here) + 1) * there // (2 * here)
                x = fnp.take(x, array_module(x).asarray(places), axis=axis)
            return x
        y = _with_bands(working(x), width, w, 3, self)
        return rounded(_with_bands(y, height, h, 2, self), x.dtype)


@functools.lru_cache(256)
def _bands(there: int, here: int, axis: int, mode: str, antialias: bool, dtype: Any) -> list[tuple[slice, np.ndarray]]:
    """The weights of `here` results from `there` pixels: for each few results the pixels they need, and a matrix.

    It is (results, pixels) for axis 2, the rows, and (pixels, results) for axis 3.
    """
    ratio = there / here
    scale = max(ratio, 1.0) if antialias else 1.0
    centres = (np.arange(here)[None] + 0.5) * ratio
    first, weights = taps_at(centres, np.full((1, 1), scale), count_of(mode, scale, there), mode, 0, there, there)
    whole = np.zeros((here, there))
    np.put_along_axis(whole, first[0, :, None] + np.arange(weights.shape[2]), weights[0], axis=1)
    found = []
    for start in range(0, here, RESULTS):
        results = slice(start, start + RESULTS)
        needed = np.flatnonzero(whole[results].any(axis=0))
        pixels = slice(int(needed[0]), int(needed[-1]) + 1)
        matrix = whole[results, pixels].astype(dtype)
        found.append((pixels, matrix if axis == 2 else np.ascontiguousarray(matrix.T)))
    return found


def _with_bands(x: Any, there: int, here: int, axis: int, of: resize) -> Any:
    """x with `here` pixels along an axis, by one product for each band."""
    if there == here:
        return x
    parts = []
    for pixels, matrix in _bands(there, here, axis, of.mode, of.antialias, x.dtype):
        beside = array_module(x).asarray(matrix)
        parts.append(fnp.matmul(beside, x[..., pixels, :]) if axis == 2 else fnp.matmul(x[..., pixels], beside))
    return parts[0] if len(parts) == 1 else fnp.concatenate(parts, axis=axis)


def count_of(mode: str, scale: float, there: int) -> int:
    """How many pixels a result needs at most."""
    return min(max(1, math.ceil(2 * FILTERS[mode][1] * scale)), there)


def taps_at(centres: Any, scale: Any, count: int, mode: str, start: Any, stop: Any, there: int) -> tuple[Any, Any]:
    """For results at `centres` (N, here) the first pixel of each, and the weights of `count` pixels from there on.

    The filter is wider by `scale` (N, 1). Pixels outside `start` to `stop` have no weight. Weights have the sum 1.
    """
    curve, reach = FILTERS[mode]
    first = fnp.clip(fnp.floor(centres - reach * scale - 0.5) + 1, 0, there - count)
    pixels = first[:, :, None] + array_module(centres).arange(count)
    distance = (pixels + 0.5 - centres[:, :, None]) / scale[:, :, None]
    near = (pixels >= start) & (pixels < stop)
    weights = fnp.where(near, curve(distance), 0.0)
    return fnp.astype(first, np.int64), weights / weights.sum(axis=-1, keepdims=True)


def _along_rows(x: Any, first: Any, weights: Any) -> Any:
    """Weighted sums of rows: (N, C, H, W) -> (N, C, h, W)."""
    n, channels, height, width = x.shape
    h = first.shape[1]
    weights = fnp.astype(weights, x.dtype)
    total = None
    for k in range(weights.shape[2]):
        if is_plain(x, first):
            rows = (np.arange(n * channels).reshape(n, channels, 1) * height + (first[:, None] + k)).reshape(-1)
            part = x.reshape(-1, width).take(rows, axis=0).reshape(n, channels, h, width)
            part *= weights[:, None, :, k, None]
        else:
            part = fnp.take_along_axis(x, first[:, None, :, None] + k, axis=2) * weights[:, None, :, k, None]
        total = part if total is None else added(total, part)
    return total


def added(total: Any, part: Any) -> Any:
    """total + part; plain arrays, which were made here, are added in place."""
    if is_plain(total, part):
        total += part
        return total
    return total + part


def _swapped(x: Any) -> Any:
    """Rows and columns exchanged, also in memory."""
    return np.ascontiguousarray(x.swapaxes(2, 3)) if is_plain(x) else fnp.swapaxes(x, 2, 3)


def _range(least: float) -> Callable[[Any, str], tuple[float, float]]:
    """The check of two numbers above 0, in order."""

    def check(value: Any, what: str) -> tuple[float, float]:
        ends = tuple(value) if isinstance(value, tuple | list) else ()
        if len(ends) != 2 or not all(is_number(end) and end > least for end in ends) or ends[0] > ends[1]:
            raise RangeError(f"{what} is (low, high), two numbers above {least:g}, got {value!r}.")
        return float(ends[0]), float(ends[1])

    return check


@attrs.frozen
class random_resized_crop(Transform):
    """A random part of each image, resized and antialiased: (N, C, H, W) -> (N, C, h, w).

    The part has a share of the area in `scale`, and width / height in `ratio`, drawn on a logarithmic scale. A part that would
    not fit is cut to the image; torchvision draws again instead. `mode` is that of `resize`, but not "nearest".
    """

    size: tuple[int, int] = setting(pair(1))
    scale: tuple[float, float] = setting(_range(0), default=(0.08, 1.0))
    ratio: tuple[float, float] = setting(_range(0), default=(3 / 4, 4 / 3))
    mode: str = setting(one_of(*FILTERS), default="bilinear", kw_only=True)

    draws: ClassVar[bool] = True

    def draw(self, keys: Any) -> Any:
        return uniform(keys, 4)

    def apply(self, x: Any, drawn: Any) -> Any:
        x = images(x, self)
        height, width = x.shape[2:]
        area = between(drawn[:, 0], self.scale) * (height * width)
        ratio = fnp.exp(between(drawn[:, 1], (math.log(self.ratio[0]), math.log(self.ratio[1]))))
        rows, columns = (
            fnp.clip(fnp.rint(fnp.sqrt(side)), 1, whole)
            for side, whole in ((area / ratio, height), (area * ratio, width))
        )
        y = _swapped(working(x))
        y = _swapped(_along_rows(y, *self._taps(width, columns, drawn[:, 2], self.size[1])))
        return rounded(_along_rows(y, *self._taps(height, rows, drawn[:, 3], self.size[0])), x.dtype)

    def _taps(self, there: int, length: Any, u: Any, here: int) -> tuple[Any, Any]:
        """The pixels and weights of the results along a side. Each image has a part of its own length there."""
        start = fnp.floor(u * (there - length + 1))[:, None]
        ratio = (length / here)[:, None]
        centres = start + (array_module(length).arange(here) + 0.5) * ratio
        count = count_of(self.mode, max(there / here, 1.0), there)
        stop = start + length[:, None]
        return taps_at(centres, fnp.maximum(ratio, 1.0), count, self.mode, start[:, :, None], stop[:, :, None], there)
