"""Layers that hold layers: how one is called, how several run one after the other, and Sequential."""

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any

import attrs

from .. import random
from ..errors import FdezeroError, StructureError
from ..messages import describe
from ..numpy.arguments import Array
from ..tree import Frozen, Module
from .function import Function

__all__ = ["Sequential", "apply"]


def apply(layer: Callable[..., Any], x: Any, *more: Any, key: Array | None = None, train: bool = False) -> Any:
    """`layer(x, *more)`, with `key` and `train` if its `__call__` takes them. So a container can call any layer."""
    names = options_of(layer)
    if not names:
        return layer(x, *more)
    options = {"key": key, "train": train}
    return layer(x, *more, **{name: options[name] for name in names})


def options_of(layer: Any) -> tuple[str, ...]:
    """The names of the options, `key` and `train`, that a layer takes."""
    while isinstance(layer, Frozen):
        layer = layer.value
    cls: Any = type(layer)
    return _options_of_class(cls)


@functools.lru_cache(1024)
def _options_of_class(cls: Any) -> tuple[str, ...]:
    if not attrs.has(cls):  # a plain function, which takes x alone
        return ()
    return options_of_function(cls.__call__)


def options_of_function(function: Callable[..., Any]) -> tuple[str, ...]:
    """The names of the options, `key` and `train`, that a function takes."""
    parameters = inspect.signature(function).parameters
    takes_all = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    return tuple(name for name in ("key", "train") if takes_all or name in parameters)


def run(step: Callable[[int, Array, Array | None], Array], count: int, x: Array, key: Array | None) -> Array:
    """`x` through `count` steps, `step(i, x, key)`, each with a key of its own, if there is one. An error in step i is at layers/i."""
    keys = [None] * count if key is None else random.split(key, count)
    for i in range(count):
        try:
            x = step(i, x, keys[i])
        except FdezeroError as error:
            error.under(f"layers/{i}")
            raise
    return x


def _as_layers(layers: Sequence[Any]) -> tuple[Any, ...]:
    for i, layer in enumerate(layers):
        if not callable(layer) or isinstance(layer, type):
            got = (
                f"the class {layer.__name__}: write {layer.__name__}.init(key, ...)"
                if isinstance(layer, type)
                else describe(layer)
            )
            raise StructureError(f"Sequential takes layers and functions, got {got}.").under(f"layers/{i}")
    return tuple(layer if attrs.has(type(layer)) else Function(layer) for layer in layers)


class Sequential(Module):
    """Layers one after the other: `Sequential([Linear.init(key, 784, 10), F.relu, Dropout(0.5)])`.

    A plain function becomes a `Function` layer. Each layer gets a key of its own.
    Raises StructureError for anything that cannot be called.
    """

    layers: Sequence[Any] = attrs.field(converter=_as_layers)

    def __call__(self, x: Array, *, key: Array | None = None, train: bool = False) -> Array:
        def step(i: int, x: Array, key: Array | None) -> Array:
            return apply(self.layers[i], x, key=key, train=train)

        return run(step, len(self.layers), x, key if train else None)
