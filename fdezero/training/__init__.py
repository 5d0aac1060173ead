"""What a training run needs around its step: the state of a run as one tree, and metrics that add up."""

from . import metrics, state
from .metrics import *
from .state import *

# Type checkers follow these lines; a name is listed once, in the file that defines it.
__all__: list[str] = []
__all__ += state.__all__
__all__ += metrics.__all__


def __dir__() -> list[str]:
    return __all__
