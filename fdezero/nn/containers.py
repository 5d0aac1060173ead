"""Layers composed: Sequential and MLP."""

from collections.abc import Sequence
from typing import Any

import attrs

from .. import random
from ..errors import FdezeroError, StructureError
from ..messages import describe
from ..numpy.arguments import Array
from ..tree import Module, module
from .function import Function


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
