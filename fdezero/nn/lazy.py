"""Sizes from the first input: layers described without the sizes of their inputs, and `init`, which makes the layers."""

import hashlib
import inspect
from collections.abc import Callable
from typing import Any, ClassVar

from .. import random
from ..errors import KeyMissingError, StructureError
from ..messages import describe
from ..numpy.arguments import Array
from ..tree import Module, static
from . import standing
from .abstract import called, check_model, run_on_shapes
from .containers import options_of_function
from .made import Made

__all__ = ["Lazy", "Sized", "init"]


class Sized(Made):
    """Base of layers whose `init(key, sizes..., ...)` begins with sizes of the input: they can be described by `Layer.lazy(...)`."""

    @staticmethod
    def sizes_of(x: Array, **options: Any) -> tuple[int, ...]:
        """The first arguments of `init` after the key, read from an input; none by default. `options` are those given to `lazy`."""
        return ()

    @classmethod
    def init_for(cls, key: Array | None, x: Array, *args: Any, **options: Any) -> Any:
        """The layer for inputs like `x`: `init` with the sizes in front of `args`."""
        return _initialised(cls, key, (*cls.sizes_of(x, **options), *args), options)

    @classmethod
    def lazy(cls, *args: Any, **options: Any) -> Any:
        """What `init` takes, without the key and the sizes of the input; `nn.init(model, key, x)` makes the layer of it."""
        return Lazy(cls, args, tuple(options.items()))


class SizedByFeatures(Sized):
    """Base of layers whose first size is that of the last axis of their input: x (..., size)."""

    @staticmethod
    def sizes_of(x: Array, **options: Any) -> tuple[int, ...]:
        """(size,) of an input."""
        return x.shape[-1:]


def _initialised(cls: Any, key: Array | None, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
    if "key" not in inspect.signature(cls.init).parameters:
        return cls.init(*args, **options)
    if key is None:
        raise KeyMissingError(
            f"{cls.__name__}.init draws numbers, so nn.init needs a key: nn.init(model, fd.random.key(0), x)."
        )
    return cls.init(key, *args, **options)


class Lazy(Module):
    """A layer without parameters yet: `nn.Linear.lazy(10)`. In a model, `nn.init(model, key, x)` puts the layer in its place."""

    # For files, which know no layer.
    unmade: ClassVar[str] = "make the model's layers first: model = nn.init(model, key, x)"
    layer: type = static()
    args: tuple[Any, ...] = static(default=())
    options: tuple[tuple[str, Any], ...] = static(default=())

    def __repr__(self) -> str:
        given = [*map(_short, self.args), *[f"{name}={_short(value)}" for name, value in self.options]]
        return f"{self.layer.__name__}.lazy({', '.join(given)})"

    def __call__(self, *args: Any, key: Array | None = None, train: bool = False, **options: Any) -> Any:
        raise StructureError(
            f"{self!r} does not know the size of its input yet. Make the model's layers first: model = nn.init(model, key, x)."
        )


def made_for(layer: Any, key: Array | None, x: Array) -> Any:
    """The layer that `layer` describes, for inputs like `x`; `layer` itself if it is not lazy."""
    if not isinstance(layer, Lazy):
        return layer
    made: Any = layer.layer
    if not hasattr(x, "shape"):
        raise StructureError(f"{layer!r} reads its sizes from an array, got {describe(x)}.")
    return made.init_for(key, x, *layer.args, **dict(layer.options))


def _short(value: Any) -> str:
    return str(value.__name__) if callable(value) and hasattr(value, "__name__") else repr(value)


def init(model: Any, key: Array | None, x: Any, *more: Any, call: Callable[..., Any] | None = None) -> Any:
    """`model` with a layer in place of each `Lazy` one. The sizes come from one run on shapes, which computes nothing on `x`.

    x: an array, a tree of arrays, or of `nn.Shape((32, 784), np.float32)`. Every layer draws with a key of
    its own, made of `key` and its path. A layer that stands at several paths is made once. `call(model, x, *more)` runs in place of
    `model(x, *more)`.

    Raises StructureError, with the path, for a lazy layer that the run does not reach.
    """
    if call is None:
        check_model(model)
    makers: dict[int, _Maker] = {}

    def replace(copy: Any, node: standing.Node) -> Any:
        if not isinstance(copy, Lazy):
            return copy
        maker = makers[id(node.value)] = _Maker(node, key)
        return standing.stand_in(copy, maker, node.path)

    running = standing.rebuilt(model, replace)
    if not makers:
        return model
    run_on_shapes(lambda x, *more: called(running, x, more, call=call), x, more, key)
    if missing := [maker.node.path for maker in makers.values() if maker.layer is None]:
        raise StructureError(
            f"nn.init: the run did not reach the lazy layers at {', '.join(path or 'the root' for path in missing)}. Call the part of the "
            "model that holds them: nn.init(model, key, x, call=lambda model, x: model.part(x))."
        )
    return standing.rebuilt(
        model, lambda copy, node: makers[id(node.value)].layer if id(node.value) in makers else copy
    )


class _Maker:
    """Makes one layer when its first input arrives."""

    def __init__(self, node: standing.Node, key: Array | None) -> None:
        self.node, self.key, self.layer = node, key, None
        self.detached = _refuse

    def call(self, stand: Any, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        """The result of the layer, made if this is its first call."""
        if self.layer is None:
            key = None if self.key is None else random.fold_in(self.key, number_of(self.node.path))
            self.layer = made_for(stand, key, args[0])
        layer: Any = self.layer
        names = options_of_function(type(layer).__call__)
        return layer(
            *args, **{name: value for name, value in options.items() if name in names or name not in ("key", "train")}
        )


def _refuse(layer: Any, path: str, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
    raise StructureError(
        f"{layer!r} at {path or 'the root'} was given to a transform inside the model (fd.scan, fd.vmap, fd.checkpoint, "
        "fd.compile), so nn.init would lose the layer. Let a closure hold the layer, or give it its sizes."
    )


def number_of(path: str) -> int:
    """A number that stands for a path: the same in every process."""
    return int.from_bytes(hashlib.blake2b(path.encode(), digest_size=8).digest(), "big")
