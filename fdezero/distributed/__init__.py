"""Several processes: the same script on one core, many cores, many machines.

Nothing here imports MPI before `world()` finds that a launcher started the process.
"""

from . import gradients, operations, wholes, worlds
from .gradients import *
from .operations import *
from .wholes import *
from .worlds import *

# Type checkers follow these lines; a name is listed once, in the file that defines it.
__all__: list[str] = []
__all__ += worlds.__all__
__all__ += operations.__all__
__all__ += gradients.__all__
__all__ += wholes.__all__


def __dir__() -> list[str]:
    return __all__
