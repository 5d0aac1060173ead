"""The sine curve of *Deep Learning from Scratch 3*: a sequence whose next value a recurrent network learns."""

from typing import Any

import numpy as np

from ... import numpy as fnp
from ... import random
from ...devices import array_module
from ...random.source import check_dtype, check_key
from ..transforms.settings import whole
from .fetching import check_split

__all__ = ["sine_curve"]


def sine_curve(
    key: Any, split: str = "train", *, points: int = 1000, noise: float = 0.05, dtype: Any = np.float32
) -> tuple[Any, Any]:
    """Values in a row and the values that follow them: x (points - 1, 1) and t (points - 1, 1), in time order.

    The split "train" is sin from 0 to 2 pi with uniform noise from -noise to noise, drawn from the key; "test" is cos, without
    noise, and its key may be None. The arrays lie on the device of the key. DeZero's `SinCurve`, which is float64.
    Raises KeyMissingError for "train" without a key, RangeError for another split or fewer than 2 points.
    """
    check_split("sine_curve", split)
    whole(2)(points, "sine_curve: points")
    dtype = check_dtype(dtype, "f", "sine_curve")
    xp = np if key is None else array_module(key)
    angle = xp.arange(points) * (2 * np.pi / (points - 1))
    if split == "test":
        y = fnp.cos(angle)
    else:
        check_key(key, "sine_curve")
        y = fnp.sin(angle) + random.uniform(key, (points,), -float(noise), float(noise), dtype="float64")
    y = y.astype(dtype)[:, None]
    return y[:-1].copy(), y[1:].copy()
