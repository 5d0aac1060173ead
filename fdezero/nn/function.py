"""A function as a layer without parameters."""

from collections.abc import Callable

from ..numpy.arguments import Array
from ..tree import Module, module, static


@module
class Function(Module):
    """A function as a layer without parameters: an activation, a reshape."""

    function: Callable[[Array], Array] = static()

    def __call__(self, x: Array, *, key: Array = None, train: bool = False) -> Array:
        return self.function(x)
