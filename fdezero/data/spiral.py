"""The spiral of *Deep Learning from Scratch 3*: a small set of points that no straight line separates."""

from typing import Any

from .. import numpy as fnp
from .. import random


def spiral(key: Any, points: int = 100, classes: int = 3) -> tuple[Any, Any]:
    """Points on `classes` arms, in random order: x (points * classes, 2) float32 and labels int64.

    The angle of a point at radius r of arm j is 4 j + 4 r, with normal noise of standard deviation 0.2.
    """
    noise_key, order_key = random.split(key)
    n = points * classes
    labels = fnp.repeat(fnp.arange(classes), points)
    radius = fnp.tile(fnp.arange(points) / points, classes)
    angle = 4.0 * labels + 4.0 * radius + 0.2 * random.normal(noise_key, n)
    x = fnp.stack([radius * fnp.sin(angle), radius * fnp.cos(angle)], axis=-1).astype("float32")
    order = random.permutation(order_key, n)
    return x[order], labels[order]
