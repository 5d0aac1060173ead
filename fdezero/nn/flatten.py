"""The layer that joins axes."""

from typing import Any

import numpy as np

from .. import functions as F
from ..errors import RangeError
from ..messages import describe
from ..numpy.arguments import Array
from ..tree import Module, static

__all__ = ["Flatten"]


def _as_axis(axis: Any) -> int:
    if isinstance(axis, bool) or not isinstance(axis, int | np.integer):
        raise RangeError(f"Flatten: an axis is an integer, got {describe(axis)}.")
    return int(axis)


class Flatten(Module):
    """Joins the axes from `start_axis` to `end_axis`, by default all but the batch axis: x (N, ...) -> (N, n).

    For examples without a batch axis, as within `fd.vmap`, count from the end: `Flatten(-3)` of (C, H, W).
    """

    start_axis: int = static(default=1, converter=_as_axis)
    end_axis: int = static(default=-1, converter=_as_axis)

    def __call__(self, x: Array) -> Array:
        return F.flatten(x, self.start_axis, self.end_axis)
