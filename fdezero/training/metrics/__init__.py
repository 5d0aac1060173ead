"""Metrics that add up: frozen trees of sums with `update`, `merge` and `result`."""

from . import base, classes, means, ranking
from .base import *
from .classes import *
from .means import *
from .ranking import *

# Type checkers follow these lines; a name is listed once, in the file that defines it.
__all__: list[str] = []
__all__ += base.__all__
__all__ += means.__all__
__all__ += classes.__all__
__all__ += ranking.__all__


def __dir__() -> list[str]:
    return __all__
