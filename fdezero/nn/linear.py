"""The linear layer."""

import math
from typing import Any, Self

import numpy as np

from .. import functions as F
from .. import numpy as fnp
from .. import random
from ..errors import RangeError
from ..messages import describe
from ..numpy.arguments import Array
from ..tree import Module

__all__ = ["Linear"]


class Linear(Module):
    """y = x @ W + b over the last axis: x (..., in_size) -> (..., out_size)."""

    W: Array  # (in_size, out_size)
    b: Array | None = None  # (out_size,)

    @classmethod
    def init(cls, key: Array, in_size: int, out_size: int, *, bias: bool = True, dtype: Any = np.float32) -> Self:
        """Draw W normal with variance 1 / in_size, on the key's device; b is zero.

        Raises RangeError for a size that is not an integer of at least 1.
        Source: LeCun et al., "Efficient backprop", 1998.
        """
        for name, size in (("in_size", in_size), ("out_size", out_size)):
            if not isinstance(size, int | np.integer) or size < 1:
                raise RangeError(f"Linear: {name} must be an integer of at least 1, got {describe(size)}.")
        W = random.normal(key, (in_size, out_size), dtype) * math.sqrt(1 / in_size)
        return cls(W, fnp.zeros_like(W[0]) if bias else None)

    def __call__(self, x: Array) -> Array:
        return F.linear(x, self.W, self.b)
