"""Flattening several axes into one."""

import math
from typing import Any

from .. import numpy as fnp
from ..errors import RangeError, ShapeError
from ..messages import describe

__all__ = ["flatten"]


def flatten(x: Any, start_axis: int = 1, end_axis: int = -1) -> Any:
    """Join the axes from `start_axis` to `end_axis` into one; by default all but the batch axis: x (N, ...) -> (N, n).

    A scalar has no axes to join. For one axis of all entries, write x.reshape(-1).
    Raises ShapeError for axes that x does not have, RangeError if the end comes before the start.
    """
    x = fnp.asarray(x)
    ndim = x.ndim
    for name, axis in (("start_axis", start_axis), ("end_axis", end_axis)):
        if not -ndim <= axis < ndim:
            hint = " Within fd.vmap an example has no batch axis: count from the end, start_axis=-3 for (C, H, W)."
            raise ShapeError(f"flatten: x {describe(x)} has no axis {axis}, which is {name}.{hint if ndim else ''}")
    start, end = start_axis % ndim, end_axis % ndim
    if end < start:
        raise RangeError(
            f"flatten: end_axis {end_axis} of x {describe(x)} comes before start_axis {start_axis}; nothing would be joined."
        )
    shape = x.shape
    return x.reshape(*shape[:start], math.prod(shape[start : end + 1]), *shape[end + 1 :])
