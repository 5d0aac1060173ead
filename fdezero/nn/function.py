"""A function as a layer without parameters."""

from collections.abc import Callable

from ..numpy.arguments import Array
from ..tree import Module, static
from ..tree.display import one_line

__all__ = ["Function"]


class Function(Module):
    """A function as a layer without parameters: an activation, a reshape."""

    function: Callable[[Array], Array] = static()

    def __repr__(self) -> str:
        return f"Function({one_line(self.function)})"

    def __call__(self, x: Array) -> Array:
        return self.function(x)
