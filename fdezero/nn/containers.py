"""Layers that hold layers: how one is called, how several run one after the other, and Sequential."""

import functools
import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Self, SupportsIndex, overload

import attrs

from .. import random
from ..errors import FdezeroError, StructureError
from ..messages import describe
from ..numpy.arguments import Array
from ..tree import Frozen, Module
from .function import Function

__all__ = ["Sequential", "apply"]

AT = "in the layer at "


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


def apply_at(path: str, layer: Any, x: Any, *more: Any, key: Array | None = None, train: bool = False) -> Any:
    """`apply`, with `path` in front of the path of an error."""
    try:
        return apply(layer, x, *more, key=key, train=train)
    except Exception as error:
        place(error, path)
        raise


@contextmanager
def at(path: str) -> Iterator[None]:
    """An error within has `path` in front of its path."""
    try:
        yield
    except Exception as error:
        place(error, path)
        raise


def place(error: Exception, path: str) -> None:
    """Put `path` in front of the path of an error. An error that is not fdezero's has its path in a note."""
    if isinstance(error, FdezeroError):
        error.under(path)
        return
    notes = getattr(error, "__notes__", [])
    for i, note in enumerate(notes):
        if note.startswith(AT):
            notes[i] = f"{AT}{path}/{note.removeprefix(AT)}"
            return
    error.add_note(f"{AT}{path}")


def run(step: Callable[[int, Array, Array | None], Array], count: int, x: Array, key: Array | None) -> Array:
    """`x` through `count` steps, `step(i, x, key)`, each with a key of its own, if there is one. An error in step i is at layers/i."""
    keys = [None] * count if key is None else random.split(key, count)
    for i in range(count):
        try:
            x = step(i, x, keys[i])
        except Exception as error:
            place(error, f"layers/{i}")
            raise
    return x


def as_layer(layer: Any, of: str = "Sequential") -> Any:
    """A layer as it is, a plain function as a `Function`. Raises StructureError for anything that cannot be called."""
    if isinstance(layer, type):
        made = f"{layer.__name__}.init(key, ...)" if hasattr(layer, "init") else f"{layer.__name__}(...)"
        raise StructureError(f"{of} takes layers and functions, got the class {layer.__name__}: write {made}.")
    if not callable(layer):
        hint = "" if not isinstance(layer, list | tuple) else ": write nn.Sequential([...])"
        raise StructureError(f"{of} takes layers and functions, got {describe(layer)}{hint}.")
    return layer if attrs.has(type(layer)) else Function(layer)


def _as_layers(layers: Any) -> tuple[Any, ...]:
    made = []
    for i, layer in enumerate(layers):
        with at(f"layers/{i}"):
            made.append(as_layer(layer))
    return tuple(made)


class Sequential(Module):
    """Layers one after the other: `Sequential(Linear.init(key, 784, 10), F.relu, Dropout(0.5))`, or one list of them.

    A plain function becomes a `Function` layer. Each layer gets a key of its own. `model[0]` is a layer, `model[:3]` a Sequential of
    the first three, and `model[:-1] + head` has another last layer. Raises StructureError for anything that cannot be called.
    """

    layers: Sequence[Any] = attrs.field(converter=_as_layers)

    def __init__(self, *layers: Any, **fields: Any) -> None:
        if "layers" not in fields:  # as `replace` names it
            fields["layers"] = layers[0] if len(layers) == 1 and isinstance(layers[0], list | tuple) else layers
        elif layers:
            raise TypeError("Sequential: pass the layers by position, or layers=[...], but not both.")
        self.__attrs_init__(**fields)  # type: ignore[attr-defined]  # what attrs has made of the fields

    def __call__(self, x: Array, *, key: Array | None = None, train: bool = False) -> Array:
        def step(i: int, x: Array, key: Array | None) -> Array:
            layer = self.layers[i]
            if i + 1 < len(self.layers) and getattr(type(layer), "returns_state", False):
                name = type(layer).__name__
                raise StructureError(
                    f"{name} returns (y, state), but the next layer takes an array: write nn.Outputs({name}.init(...)) for the outputs "
                    f'of all steps, nn.Outputs({name}.init(...), "last") for that of the last one.'
                )
            return apply(layer, x, key=key, train=train)

        return run(step, len(self.layers), x, key if train else None)

    def __len__(self) -> int:
        return len(self.layers)

    def __bool__(self) -> bool:
        return True  # a model, also without layers

    def __iter__(self) -> Iterator[Any]:
        return iter(self.layers)

    @overload
    def __getitem__(self, index: slice) -> Self: ...
    @overload
    def __getitem__(self, index: SupportsIndex) -> Any: ...
    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return self.replace(layers=self.layers[index])
        try:
            return self.layers[index]
        except IndexError:
            raise IndexError(f"Sequential has {len(self)} layers, and none at {index}.") from None

    def __add__(self, more: Any) -> Self:
        """A new Sequential with the layers of another, of a list, or with one more layer or function, behind its own."""
        return self.replace(layers=(*self.layers, *_several(more)))

    def __radd__(self, before: Any) -> Self:
        return self.replace(layers=(*_several(before), *self.layers))


def _several(layers: Any) -> Sequence[Any]:
    return (
        layers.layers if isinstance(layers, Sequential) else layers if isinstance(layers, list | tuple) else (layers,)
    )
