"""Programs for others: a function as an ONNX model, or as a Python file that needs NumPy alone."""

from . import models
from .models import *

# Type checkers follow these lines; a name is listed once, in the file that defines it.
__all__: list[str] = []
__all__ += models.__all__


def __dir__() -> list[str]:
    return __all__
