"""The parametric rectifier as a layer."""

from typing import Any, Self

import numpy as np

from .. import functions as F
from ..numpy.arguments import Array
from ..tree import static
from . import initial
from .lazy import Sized
from .linear import check_sizes

__all__ = ["PReLU"]


class PReLU(Sized):
    """x where x is positive, slope * x elsewhere, with one slope, or one for each channel along `axis`: x (N, C, ...) -> (N, C, ...).

    Source: He et al., "Delving deep into rectifiers", ICCV 2015, equation 1.
    """

    slope: Array  # () or (C,)
    axis: int = static(default=1)

    @classmethod
    def init(
        cls,
        key: Array,
        channels: int | None = None,
        *,
        axis: int = 1,
        weight_init: initial.Initialiser = initial.constant(0.25),
        dtype: Any = np.float32,
    ) -> Self:
        """One slope, or `channels` of them, on the key's device; by default 0.25.

        Raises RangeError for a number of channels that is not an integer of at least 1.
        """
        if channels is not None:
            check_sizes("PReLU", channels=channels)
        shape = () if channels is None else (channels,)
        return cls(initial.draw(weight_init, key, shape, dtype, of="PReLU: weight_init"), axis)

    @staticmethod
    def sizes_of(x: Array, axis: int = 1, **options: Any) -> tuple[int, ...]:
        """(channels,) of an input."""
        return (x.shape[axis],)

    def __call__(self, x: Array) -> Array:
        return F.prelu(x, self.slope, self.axis)
