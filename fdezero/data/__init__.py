"""Data sets and their batches."""

from . import loader, padding, prefetching, samplers, sequences, splitting, stacking, transforms
from .loader import *
from .padding import *
from .prefetching import *
from .samplers import *
from .sequences import *
from .sets import mnist as _mnist
from .sets import spiral as _spiral
from .sets.mnist import *
from .sets.spiral import *
from .splitting import *
from .stacking import *

# Type checkers follow these lines; a name is listed once, in the file that defines it.
__all__: list[str] = ["transforms"]
__all__ += loader.__all__
__all__ += padding.__all__
__all__ += prefetching.__all__
__all__ += samplers.__all__
__all__ += sequences.__all__
__all__ += splitting.__all__
__all__ += stacking.__all__
__all__ += _mnist.__all__
__all__ += _spiral.__all__


def __dir__() -> list[str]:
    return __all__
