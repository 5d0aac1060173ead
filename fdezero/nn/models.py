"""Layers composed: Sequential and MLP."""

from collections.abc import Callable, Sequence
from typing import Any, Self

import numpy as np

from .. import functions as F
from .. import random
from ..errors import FdezeroError, StructureError, describe
from ..tree import Module, module, static
from .layers import Dropout, Function, Linear

Array = Any


def _layer(layer: Any) -> Any:
    if isinstance(layer, Module):
        return layer
    if callable(layer) and not isinstance(layer, type):
        return Function(layer)
    raise StructureError(f"Sequential takes layers and functions, got {describe(layer)}; did you forget .init(key, ...)?")


@module
class Sequential(Module):
    """Layers one after the other; plain functions become `Function` layers. Each layer gets a key of its own."""

    layers: tuple[Any, ...]

    @classmethod
    def of(cls, *layers: Any) -> Self:
        """`Sequential.of(Linear.init(...), F.relu, Dropout(0.5))`."""
        return cls(tuple(_layer(layer) for layer in layers))

    def __call__(self, x: Array, *, key: Array = None, train: bool = False) -> Array:
        return _run(self.layers, x, key, train)


def _run(layers: Sequence[Any], x: Array, key: Array, train: bool) -> Array:
    keys = [None] * len(layers) if key is None or not train else random.split(key, len(layers))
    for i, layer in enumerate(layers):
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
        """An MLP with the given sizes of its axes, input first: `MLP.init(key, (784, 1000, 10))`."""
        if len(sizes) < 2:
            raise ValueError(f"MLP needs at least the sizes of its input and output, got {tuple(sizes)}.")
        keys = random.split(key, len(sizes) - 1)
        layers = tuple(Linear.init(k, n, m, dtype=dtype) for k, n, m in zip(keys, sizes[:-1], sizes[1:], strict=True))
        return cls(layers, activation, Dropout(dropout))

    def __call__(self, x: Array, *, key: Array = None, train: bool = False) -> Array:
        *hidden, last = range(len(self.layers))
        keys = random.split(key, len(hidden)) if train and key is not None and self.dropout.rate and hidden else None
        for i in [*hidden, last]:
            try:
                x = self.layers[i](x)
                if i != last:
                    x = self.dropout(self.activation(x), key=None if keys is None else keys[i], train=train)
            except FdezeroError as error:
                error.under(f"layers/{i}")
                raise
        return x
