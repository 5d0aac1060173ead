"""Programs for others: a function as an ONNX model, or as a Python file that needs NumPy alone."""

from . import models, sources
from .models import *
from .sources import *

# Type checkers follow these lines; a name is listed once, in the file that defines it.
__all__: list[str] = []
__all__ += models.__all__
__all__ += sources.__all__


def __dir__() -> list[str]:
    return __all__
