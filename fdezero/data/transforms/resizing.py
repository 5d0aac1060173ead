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
from .batches import between, images, rounded, uniform, working
from .cropping import inside
from .settings import is_number, one_of, pair, setting
from .transform import Transform

__all__ = ["random_resized_crop", "resize"]

ROWS = 32  # results for each product: few enough that most of their weights are not 0


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

    def apply(self, x: Any, keys: Any) -> Any:
        x = images(x, self)
        height, width = x.shape[2:]
        h, w = self.size
        if self.shorter:
            short = min(height, width)
            h, w = h * height // short, w * width // short
        if self.mode == "nearest":
            for axis, (there, here) in ((2, (height, h)), (3, (width, w))):
                places = ((np.arange(here) + 0.5) * (there / here)).astype(np.int64)
                x = fnp.take(x, array_module(x).asarray(places), axis=axis)
            return x
        y = _columns(working(x), width, w, self)
        return rounded(_rows(y, height, h, self), x.dtype)


@functools.lru_cache(256)
def _bands(there: int, here: int, axis: int, of: resize, dtype: Any) -> list[tuple[slice, np.ndarray]]:
    """The weights of `here` results from `there` pixels: for each few results the pixels they need, and a matrix.

    It is (results, pixels) for axis 2, the rows, and (pixels, results) for axis 3.
    """
    ratio = there / here
    centres = (np.arange(here) + 0.5) * ratio
    weights = weights_at(np.arange(there), centres, max(ratio, 1.0) if of.antialias else 1.0, of.mode)
    found = []
    for start in range(0, here, ROWS):
        results = slice(start, min(start + ROWS, here))
        needed = weights[results].any(axis=0).nonzero()[0]
        pixels = slice(int(needed[0]), int(needed[-1]) + 1)
        matrix = weights[results, pixels].astype(dtype)
        found.append((pixels, matrix if axis == 2 else np.ascontiguousarray(matrix.T)))
    return found


def weights_at(pixels: Any, centres: Any, scale: Any, mode: str) -> Any:
    """The weights of all pixels for results at these centres, (..., results, pixels), whose sum is 1."""
    curve, reach = FILTERS[mode]
    distance = (pixels + 0.5 - centres[..., None]) / scale
    weights = np.where(np.abs(distance) <= reach, curve(distance), 0.0)
    return weights / weights.sum(axis=-1, keepdims=True)


def _columns(x: Any, there: int, here: int, of: resize) -> Any:
    if there == here:
        return x
    bands = _bands(there, here, 3, of, x.dtype)
    return _joined([fnp.matmul(x[..., pixels], array_module(x).asarray(matrix)) for pixels, matrix in bands], 3)


def _rows(x: Any, there: int, here: int, of: resize) -> Any:
    if there == here:
        return x
    bands = _bands(there, here, 2, of, x.dtype)
    return _joined([fnp.matmul(array_module(x).asarray(matrix), x[..., pixels, :]) for pixels, matrix in bands], 2)


def _joined(parts: list[Any], axis: int) -> Any:
    return parts[0] if len(parts) == 1 else fnp.concatenate(parts, axis=axis)


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

    def apply(self, x: Any, keys: Any) -> Any:
        x = images(x, self)
        height, width = x.shape[2:]
        u = uniform(keys, 4)
        area = between(u[:, 0], self.scale) * (height * width)
        ratio = fnp.exp(between(u[:, 1], (math.log(self.ratio[0]), math.log(self.ratio[1]))))
        rows, columns = (
            fnp.clip(fnp.rint(fnp.sqrt(side)), 1, whole)
            for side, whole in ((area / ratio, height), (area * ratio, width))
        )
        y = working(x)
        across = self._weights(x, width, columns, u[:, 2], self.size[1], y.dtype)
        down = self._weights(x, height, rows, u[:, 3], self.size[0], y.dtype)
        return rounded(fnp.matmul(down[:, None], fnp.matmul(y, fnp.swapaxes(across, 1, 2)[:, None])), x.dtype)

    def _weights(self, x: Any, there: int, length: Any, u: Any, here: int, dtype: Any) -> Any:
        """The weights of all pixels of a side in each result: (N, here, there)."""
        xp = array_module(x)
        start = fnp.floor(u * (there - length + 1))[:, None]
        ratio = (length / here)[:, None]
        pixels = xp.arange(there)
        centres = start + (xp.arange(here) + 0.5) * ratio
        curve, reach = FILTERS[self.mode]
        distance = (pixels + 0.5 - centres[:, :, None]) / fnp.maximum(ratio, 1.0)[:, :, None]
        near = inside(pixels, start, length[:, None])[:, None] & (abs(distance) <= reach)
        weights = fnp.where(near, curve(distance), 0.0)
        return fnp.astype(weights / weights.sum(axis=-1, keepdims=True), dtype)
