"""Runs of a model on shapes: operations run on an empty batch of inputs, so every shape is right and nothing is computed."""

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import tree as trees
from ..devices import array_module
from ..errors import StructureError
from ..messages import describe
from ..transforms import vmap
from .containers import apply, options_of_function

__all__ = ["Shape"]


class Shape:
    """The description of an array, which `nn.init` and `nn.summary` take in place of an input: `nn.Shape((32, 784), np.float32)`."""

    __slots__ = ("dtype", "shape")

    def __init__(self, shape: tuple[int, ...], dtype: Any = np.float32) -> None:
        self.shape = tuple(shape)
        self.dtype = np.dtype(dtype)

    def __repr__(self) -> str:
        return f"Shape({describe(self)})"


def run_on_shapes(
    run: Callable[..., Any], x: Any, more: tuple[Any, ...], key: Any = None, around: Callable[[Any], Any] | None = None
) -> None:
    """`run(x, *more)` on inputs of the shapes and dtypes of the leaves; `around` is applied to each of them.

    Code that refuses an empty batch runs again on the inputs themselves, or on ones. `key` says on which device.
    """
    leaves, treedef = trees.flatten((x, more))
    places = [i for i, leaf in enumerate(leaves) if hasattr(leaf, "shape") and hasattr(leaf, "dtype")]
    if isinstance(x, tuple | list) and x and all(isinstance(n, int) for n in x):
        raise StructureError(
            f"an input is an array or its description, got {x!r}. For the shape write nn.Shape({tuple(x)})."
        )
    module = array_module(*[leaf for leaf in trees.leaves((leaves, key)) if not isinstance(leaf, Shape)])

    def on(*given: Any) -> tuple[()]:
        full = list(leaves)
        for place, leaf in zip(places, given, strict=True):
            full[place] = leaf if around is None else around(leaf)
        x, more = trees.unflatten(treedef, full)
        run(x, *more)
        return ()

    given = [leaves[i] for i in places]
    if given:
        try:
            vmap(on)(*[module.zeros((0, *leaf.shape), leaf.dtype) for leaf in given])
        except Exception:  # of any kind: code that counts examples, or that looks at values
            pass
        else:
            return
    on(*[module.ones(leaf.shape, leaf.dtype) if isinstance(leaf, Shape) else leaf for leaf in given])


def check_model(model: Any) -> None:
    """Raise StructureError for a class in place of its instance, and for what cannot be called."""
    if isinstance(model, type):
        make = f"{model.__name__}.init(key, ...)" if hasattr(model, "init") else f"{model.__name__}(...)"
        raise StructureError(f"a model is expected, got the class {model.__name__}: write {make}.")
    if not callable(model):
        raise StructureError(
            f"a model is expected, got {describe(model)}, which cannot be called. The model comes first."
        )


def called(
    model: Any,
    x: Any,
    more: tuple[Any, ...],
    key: Any = None,
    train: bool = False,
    call: Callable[..., Any] | None = None,
) -> Any:
    """The model's result, with `key` and `train` if it takes them. Raises StructureError for what is no model."""
    if call is None:
        check_model(model)
        return apply(model, x, *more, key=key, train=train)
    options = {"key": key, "train": train}
    return call(model, x, *more, **{name: options[name] for name in options_of_function(call)})
