"""Several processes: the same script on one core, many cores, many machines.

Nothing here imports MPI before `world()` finds that a launcher started the process.
"""

import typing as _typing

from ..messages import DISTRIBUTED_ELSEWHERE as _ELSEWHERE
from ..messages import unknown_name as _unknown_name
from . import equality, gradients, operations, tensor, wholes, worlds
from .equality import *
from .gradients import *
from .operations import *
from .tensor import *
from .wholes import *
from .worlds import *

# Type checkers follow these lines; a name is listed once, in the file that defines it.
__all__: list[str] = []
__all__ += worlds.__all__
__all__ += operations.__all__
__all__ += gradients.__all__
__all__ += equality.__all__
__all__ += wholes.__all__
__all__ += tensor.__all__


if not _typing.TYPE_CHECKING:  # to a type checker an unknown name stays unknown

    def __getattr__(name: str) -> _typing.Any:
        raise AttributeError(_unknown_name(__name__, name, _ELSEWHERE))


def __dir__() -> list[str]:
    return __all__
