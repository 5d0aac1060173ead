"""A function as a layer without parameters."""

from collections.abc import Callable

from ..numpy.arguments import Array
from ..tree import Module, static

__all__ = ["Function"]


class Function(Module):
    """A function as a layer without parameters: an activation, a reshape."""

    function: Callable[[Array], Array] = static()

    def __call__(self, x: Array) -> Array:
        return self.function(x)
