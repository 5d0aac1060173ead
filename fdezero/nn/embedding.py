"""A table of rows for symbols: words, characters, users."""

from typing import Any, Self

import numpy as np

from .. import functions as F
from .. import numpy as fnp
from ..functions.embedding import check_padding_index
from ..numpy.arguments import Array
from ..tree import static
from . import initial
from .linear import check_sizes
from .made import Made

__all__ = ["Embedding"]


class Embedding(Made):
    """The rows of W at integers: ids (...) -> (..., size). DeZero's `EmbedID`.

    The row at `padding_index` gets no gradient. Logits from the same table are `x @ layer.W.T`.
    """

    W: Array  # (count, size)
    padding_index: int | None = static(default=None)

    @classmethod
    def init(
        cls,
        key: Array,
        count: int,
        size: int,
        *,
        padding_index: int | None = None,
        weight_init: initial.Initialiser = initial.normal(1.0),
        dtype: Any = np.float32,
    ) -> Self:
        """Draw W on the key's device; by default it is normal with variance 1. The row at `padding_index` is zero.

        Raises RangeError for a count or size that is not an integer of at least 1, or an index that is not the number of a row.
        """
        check_sizes("Embedding", count=count, size=size)
        check_padding_index(padding_index, count, "Embedding")
        W = initial.draw(weight_init, key, (count, size), dtype, of="Embedding: weight_init")
        if padding_index is not None:
            W = fnp.at(W)[padding_index].set(0)
        return cls(W, padding_index)

    def __call__(self, ids: Array) -> Array:
        return F.embedding(ids, self.W, self.padding_index)
