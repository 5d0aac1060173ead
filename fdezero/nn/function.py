"""A function as a layer without parameters."""

import functools
from collections.abc import Callable
from typing import Any

from ..errors import StructureError
from ..messages import describe
from ..numpy.arguments import Array
from ..tree import Module, static
from ..tree.display import one_line

__all__ = ["Function"]


class Function(Module):
    """A function as a layer without parameters, with options by name: `Function(F.leaky_relu, slope=0.1)`.

    Two are alike if their functions and options are, so models that were made apart have the same structure. A
    `functools.partial` with named arguments becomes a function with options.
    """

    function: Callable[..., Array] = static()
    options: tuple[tuple[str, Any], ...] = static(default=())

    def __init__(self, function: Callable[..., Array], options: tuple[tuple[str, Any], ...] = (), **named: Any) -> None:
        if not callable(function) or not isinstance(options, tuple):
            given = function if not callable(function) else options
            raise StructureError(
                f"Function takes a function, and its options by name: Function(F.leaky_relu, slope=0.1); got {describe(given)}."
            )
        if isinstance(function, functools.partial) and not function.args:
            options, function = (*function.keywords.items(), *options), function.func
        self.__attrs_init__(function, (*options, *named.items()))  # type: ignore[attr-defined]  # what attrs has made of the fields

    def __repr__(self) -> str:
        given = ", ".join(f"{name}={one_line(value)}" for name, value in self.options)
        return f"Function({one_line(self.function)}{f'({given})' if given else ''})"

    def __call__(self, x: Array) -> Array:
        return self.function(x, **dict(self.options))
