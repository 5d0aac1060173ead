"""The spiral of *Deep Learning from Scratch 3*: points in classes that no straight line separates."""

from typing import Any

from ... import numpy as fnp
from ... import random
from ...devices import array_module

__all__ = ["spiral"]


def spiral(key: Any, points: int = 100, classes: int = 3) -> tuple[Any, Any]:
    """Points on `classes` arms, in random order: x (points * classes, 2) float32 and labels (points * classes,) int64.

    A point at radius r of arm j has the angle 4 j + 4 r, plus normal noise of standard deviation 0.2. The arrays lie on the
    device of the key. Raises KeyMissingError if `key` is not a key.
    """
    noise_key, order_key = random.split(key)
    n, xp = points * classes, array_module(key)
    labels = xp.repeat(xp.arange(classes, dtype="int64"), points)
    radius = xp.tile(xp.arange(points) / points, classes)
    angle = 4.0 * labels + 4.0 * radius + 0.2 * random.normal(noise_key, n)
    x = fnp.stack([radius * fnp.sin(angle), radius * fnp.cos(angle)], axis=-1).astype("float32")
    order = random.permutation(order_key, n)
    return fnp.take(x, order, axis=0), fnp.take(labels, order, axis=0)
