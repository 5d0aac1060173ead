"""The linear layer."""

from typing import Any, Self

import numpy as np

from .. import functions as F
from .. import random
from ..numpy.arguments import Array, whole_number
from . import initial
from .lazy import SizedByFeatures

__all__ = ["Linear"]


class Linear(SizedByFeatures):
    """y = x @ W + b over the last axis: x (..., in_size) -> (..., out_size)."""

    W: Array  # (in_size, out_size)
    b: Array | None = None  # (out_size,)

    @classmethod
    def init(
        cls,
        key: Array,
        in_size: int,
        out_size: int,
        *,
        bias: bool = True,
        weight_init: initial.Initialiser = initial.lecun_normal,
        bias_init: initial.Initialiser = initial.zeros,
        dtype: Any = np.float32,
    ) -> Self:
        """Draw W and b on the key's device; by default W is normal with variance 1 / in_size, and b is zero.

        Raises RangeError for a size that is not an integer of at least 1.
        Source: LeCun et al., "Efficient backprop", 1998.
        """
        check_sizes("Linear", in_size=in_size, out_size=out_size)
        W = initial.draw(weight_init, key, (in_size, out_size), dtype, of="Linear: weight_init")
        if not bias:
            return cls(W)
        return cls(W, initial.draw(bias_init, random.fold_in(key, 0), (out_size,), dtype, of="Linear: bias_init"))

    def __call__(self, x: Array) -> Array:
        return F.linear(x, self.W, self.b)


def check_sizes(of: str, **sizes: Any) -> None:
    """Raise RangeError, naming the layer, unless all `sizes` are integers of at least 1."""
    for name, size in sizes.items():
        whole_number(of, name, size)
