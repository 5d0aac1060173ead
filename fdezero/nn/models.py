"""Layers composed: Sequential and MLP."""

from collections.abc import Callable, Sequence
from typing import Any, Self

import attrs
import numpy as np

from .. import functions as F
from .. import random
from ..errors import FdezeroError, RangeError, StructureError, describe
from ..numpy.arguments import Array
from ..tree import Module, module, static
from .layers import Dropout, Function, Linear


def _as_layers(layers: Sequence[Any]) -> tuple[Any, ...]:
    for i, layer in enumerate(layers):
        if not callable(layer) or isinstance(layer, type):
            got = f"the class {layer.__name__}: say {layer.__name__}.init(key, ...)" if isinstance(layer, type) else describe(layer)
            raise StructureError(f"Sequential takes layers and functions, got {got}.").under(f"layers/{i}")
    return tuple(layer if attrs.has(type(layer)) else Function(layer) for layer in layers)


@module
class Sequential(Module):
    """Layers one after the other: `Sequential([Linear.init(key, 784, 10), F.relu, Dropout(0.5)])`.

    A plain function becomes a `Function` layer. Each layer gets a key of its own.
    Raises StructureError for anything that cannot be called.
    """

    layers: tuple[Any, ...] = attrs.field(converter=_as_layers)

    def __call__(self, x: Array, *, key: Array = None, train: bool = False) -> Array:
        keys = random.split(key, len(self.layers)) if train and key is not None else [None] * len(self.layers)
        for i, layer in enumerate(self.layers):
            try:
                x = layer(x, key=keys[i], train=train)
            except FdezeroError as error:
                error.under(f"layers/{i}")
                raise
        return x


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
