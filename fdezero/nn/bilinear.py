"""The bilinear layer."""

from typing import Any, Self

import numpy as np

from .. import functions as F
from .. import random
from ..numpy.arguments import Array
from . import initial
from .linear import check_sizes
from .made import Made

__all__ = ["Bilinear"]


class Bilinear(Made):
    """The sum over i and j of x_i W_ijk y_j, plus b_k: x (..., n), y (..., m) -> (..., out_size).

    It is called as `layer(x, y)`; `layer(x)` is the quadratic form `layer(x, x)`.
    """

    W: Array  # (n, m, out_size)
    b: Array | None = None  # (out_size,)

    @classmethod
    def init(
        cls,
        key: Array,
        first_size: int,
        second_size: int,
        out_size: int,
        *,
        bias: bool = True,
        weight_init: initial.Initialiser = initial.lecun_normal,
        bias_init: initial.Initialiser = initial.zeros,
        dtype: Any = np.float32,
    ) -> Self:
        """Draw W and b on the key's device; by default W is normal with variance 1 / (first_size second_size), and b is zero.

        Raises RangeError for a size that is not an integer of at least 1.
        """
        check_sizes("Bilinear", first_size=first_size, second_size=second_size, out_size=out_size)
        shape = (first_size, second_size, out_size)
        W = initial.draw(weight_init, key, shape, dtype, in_axis=(0, 1), out_axis=2, of="Bilinear: weight_init")
        if not bias:
            return cls(W)
        return cls(W, initial.draw(bias_init, random.fold_in(key, 0), (out_size,), dtype, of="Bilinear: bias_init"))

    def __call__(self, x: Array, y: Array | None = None) -> Array:
        return F.bilinear(x, x if y is None else y, self.W, self.b)
