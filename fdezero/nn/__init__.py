"""Layers: immutable pytrees of their parameters, called as `layer(x)`; layers that draw also take `key` and `train`."""

from . import (
    abstract,
    cells,
    containers,
    convolution,
    dropout,
    function,
    initial,
    lazy,
    linear,
    mlp,
    recurrent,
    state,
)
from .abstract import *
from .cells import *
from .containers import *
from .convolution import *
from .dropout import *
from .function import *
from .lazy import *
from .linear import *
from .mlp import *
from .recurrent import *
from .state import *

# Type checkers follow these lines; a name is listed once, in the file that defines it.
__all__: list[str] = ["initial"]
__all__ += linear.__all__
__all__ += function.__all__
__all__ += convolution.__all__
__all__ += cells.__all__
__all__ += recurrent.__all__
__all__ += dropout.__all__
__all__ += containers.__all__
__all__ += mlp.__all__
__all__ += state.__all__
__all__ += lazy.__all__
__all__ += abstract.__all__


def __dir__() -> list[str]:
    return __all__
