"""A multi-layer perceptron."""

from collections.abc import Callable, Sequence
from typing import Any, Self

import numpy as np

from .. import functions as F
from .. import random
from ..errors import FdezeroError, RangeError, StructureError
from ..numpy.arguments import Array
from ..tree import Module, module, static
from .dropout import Dropout
from .linear import Linear


@module
class MLP(Module):
    """Linear layers with an activation, and dropout if asked for, after each but the last: x (..., sizes[0]) -> (..., sizes[-1])."""

    layers: tuple[Linear, ...]
    activation: Callable[[Array], Array] = static(default=F.sigmoid)
    dropout: Dropout = Dropout(0.0)

    @classmethod
    def init(
        cls,
        key: Array,
        sizes: Sequence[int],
        *,
        activation: Callable[[Array], Array] = F.sigmoid,
        dropout: float = 0.0,
        dtype: Any = np.float32,
    ) -> Self:
        """An MLP with the given sizes of its axes, input first: `MLP.init(key, (784, 1000, 10))`.

        Raises RangeError for fewer than two sizes, or one that is no whole number from 1 on.
        """
        if not isinstance(sizes, Sequence) or len(sizes) < 2:
            raise RangeError(f"MLP needs at least the sizes of its input and output, such as (784, 10); got {sizes!r}.")
        if not callable(activation):
            raise StructureError(f"MLP: the activation is a function such as fd.functions.relu, got {activation!r}.")
        keys = random.split(key, len(sizes) - 1)
        layers = tuple(Linear.init(k, n, m, dtype=dtype) for k, n, m in zip(keys, sizes[:-1], sizes[1:], strict=True))
        return cls(layers, activation, Dropout(dropout))

    def __call__(self, x: Array, *, key: Array = None, train: bool = False) -> Array:
        count = len(self.layers)
        keys = random.split(key, count) if train and key is not None and self.dropout.rate else [None] * count
        for i, layer in enumerate(self.layers):
            try:
                x = layer(x)
                if i < count - 1:
                    x = self.dropout(self.activation(x), key=keys[i], train=train)
            except FdezeroError as error:
                error.under(f"layers/{i}")
                raise
        return x
