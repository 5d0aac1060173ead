"""`colour_jitter`: brightness, contrast, saturation and hue, drawn for each image."""

from typing import Any, ClassVar

import attrs

from ... import numpy as fnp
from ...errors import RangeError
from .batches import between, colours, column, rounded, top, uniform, working
from .settings import is_number, setting
from .transform import Transform

__all__ = ["colour_jitter"]

GREY = (0.299, 0.587, 0.114)  # the shares of red, green and blue in what the eye takes for bright: ITU-R BT.601


def _factors(value: Any, what: str) -> tuple[float, float]:
    """The ends of a factor. One number d stands for max(0, 1 - d) to 1 + d."""
    ends = tuple(value) if isinstance(value, tuple | list) else ()
    if is_number(value) and value >= 0:
        ends = (max(0.0, 1 - value), 1 + value)
    if len(ends) != 2 or not all(is_number(end) and end >= 0 for end in ends) or ends[0] > ends[1]:
        raise RangeError(f"{what} is a number d >= 0, for factors from 1 - d to 1 + d, or (low, high), got {value!r}.")
    return float(ends[0]), float(ends[1])


def _turns(value: Any, what: str) -> tuple[float, float]:
    """The ends of a shift of the hue, in turns."""
    ends = tuple(value) if isinstance(value, tuple | list) else (-value, value) if is_number(value) else ()
    if len(ends) != 2 or not all(is_number(end) and abs(end) <= 0.5 for end in ends) or ends[0] > ends[1]:
        raise RangeError(f"{what} is a number d from 0 to 0.5, for -d to d, or (low, high), got {value!r}.")
    return float(ends[0]), float(ends[1])


@attrs.frozen
class colour_jitter(Transform):
    """Brightness, contrast, saturation and hue of each image (N, 3, H, W) or (N, 1, H, W), changed in this order.

    The first three are factors, from 1 - d to 1 + d, or (low, high); `hue` is a share of the colour wheel, from -d to d, at most
    0.5. Images are uint8, or fractions from 0 to 1, so they are not normalised yet. Each step cuts off what lies outside.
    torchvision draws the order as well. Grey images have no saturation and no hue.
    """

    brightness: tuple[float, float] = setting(_factors, default=0.0)
    contrast: tuple[float, float] = setting(_factors, default=0.0)
    saturation: tuple[float, float] = setting(_factors, default=0.0)
    hue: tuple[float, float] = setting(_turns, default=0.0)

    draws: ClassVar[bool] = True

    def apply(self, x: Any, keys: Any) -> Any:
        x = colours(x, self)
        u, y = uniform(keys, 4), working(x)
        steps = (
            (self.brightness, 1.0, _brightened),
            (self.contrast, 1.0, _contrasted),
            (self.saturation, 1.0, _saturated),
            (self.hue, 0.0, _turned),
        )
        for k, (ends, neutral, change) in enumerate(steps):
            if ends == (neutral, neutral) or (k > 1 and x.shape[1] == 1):
                continue
            y = fnp.clip(change(y, column(between(u[:, k], ends), y.dtype), top(x)), 0, top(x))
        return rounded(y, x.dtype)


def _grey(x: Any) -> Any:
    """(N, 3, H, W) -> (N, 1, H, W)."""
    if x.shape[1] == 1:
        return x
    red, green, blue = GREY
    return x[:, :1] * red + x[:, 1:2] * green + x[:, 2:] * blue


def _brightened(x: Any, factor: Any, white: int) -> Any:
    return x * factor


def _contrasted(x: Any, factor: Any, white: int) -> Any:
    return x * factor + (1 - factor) * _grey(x).mean(axis=(1, 2, 3), keepdims=True)


def _saturated(x: Any, factor: Any, white: int) -> Any:
    return x * factor + (1 - factor) * _grey(x)


def _turned(x: Any, turn: Any, white: int) -> Any:
    """The hue is the angle of a hexagon: six sides, on each of which one colour rises or falls while the others stay."""
    red, green, blue = x[:, :1], x[:, 1:2], x[:, 2:]
    most, least = fnp.maximum(fnp.maximum(red, green), blue), fnp.minimum(fnp.minimum(red, green), blue)
    chroma = most - least
    safe = fnp.where(chroma == 0, 1, chroma)
    angle = fnp.where(
        most == red, (green - blue) / safe, fnp.where(most == green, 2 + (blue - red) / safe, 4 + (red - green) / safe)
    )
    angle = angle + 6 * turn

    def colour(offset: int) -> Any:
        place = fnp.remainder(angle + offset, 6)
        return most - chroma * fnp.clip(fnp.minimum(place, 4 - place), 0, 1)

    return fnp.concatenate([colour(5), colour(3), colour(1)], axis=1)
