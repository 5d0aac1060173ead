"""`colour_jitter`: brightness, contrast, saturation and hue, drawn for each image."""

from typing import Any, ClassVar

import attrs
import numpy as np

from ... import numpy as fnp
from ...devices import array_module
from ...errors import RangeError
from .batches import between, colours, rounded, top, uniform, working
from .settings import is_number, setting
from .transform import Transform

__all__ = ["colour_jitter"]

GREY = (0.299, 0.587, 0.114)  # the shares of red, green and blue in what the eye takes for bright: ITU-R BT.601
# Y, I and Q of NTSC: brightness, and the plane of colours
YIQ = np.array([GREY, (0.5959, -0.2746, -0.3213), (0.2115, -0.5227, 0.3112)])
PROJECTION = np.ones((3, 1)) * np.array(GREY)  # of a colour on its grey
QUARTER_TURN = np.linalg.inv(YIQ) @ np.array([[0, 0, 0], [0, 0, -1], [0, 1, 0]]) @ YIQ  # of I to Q

NEUTRAL = ((1.0, 1.0), (1.0, 1.0), (1.0, 1.0), (0.0, 0.0))


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
    0.5. Images are uint8, or fractions from 0 to 1, so they are not normalised yet. All changes together are one matrix for
    each image, and what lies outside is cut off once, at the end. The hue turns about grey, in the plane of I and Q, as in NVIDIA's
    DALI, so the brightness stays; torchvision turns it in HSV, draws the order as well, and cuts off after each change.
    """

    brightness: tuple[float, float] = setting(_factors, default=0.0)
    contrast: tuple[float, float] = setting(_factors, default=0.0)
    saturation: tuple[float, float] = setting(_factors, default=0.0)
    hue: tuple[float, float] = setting(_turns, default=0.0)

    draws: ClassVar[bool] = True

    def draw(self, keys: Any) -> Any:
        return uniform(keys, 4)

    def apply(self, x: Any, drawn: Any) -> Any:
        x = colours(x, self)
        if (self.brightness, self.contrast, self.saturation, self.hue) == NEUTRAL:
            return x
        y, channels = working(x), x.shape[1]
        bright, contrast, colour, turn = (
            between(drawn[:, k], ends)
            for k, ends in enumerate((self.brightness, self.contrast, self.saturation, self.hue))
        )
        flat = y.reshape(len(x), channels, x.shape[2] * x.shape[3])
        grey = fnp.asarray(GREY if channels == 3 else (1.0,))
        # Grey is scaled by brightness and contrast alone, and what differs from it also by saturation, and turned.
        parts = [PROJECTION, np.eye(3) - PROJECTION, QUARTER_TURN] if channels == 3 else [np.eye(1)]
        scale = bright * contrast
        angle = turn * (-2 * np.pi)  # from red to green is backwards in the plane of I and Q
        factors = [scale, scale * colour * fnp.cos(angle), scale * colour * fnp.sin(angle)]
        beside = array_module(x).asarray
        matrix = sum(factor[:, None, None] * beside(part) for factor, part in zip(factors, parts, strict=False))
        mean = (fnp.astype(flat.mean(axis=2), np.float64) * beside(grey)).sum(axis=1)
        shift = fnp.astype((1 - contrast) * bright * mean, y.dtype)[:, None, None]
        y = fnp.matmul(fnp.astype(matrix, y.dtype), flat) + shift
        return rounded(fnp.clip(y, 0, top(x)).reshape(x.shape), x.dtype)
