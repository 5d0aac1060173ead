"""What a training run needs around its step: its state as one tree, metrics that add up, a display, a loop, logs and plots."""

from . import bars, fitting, logs, metrics, plots, state, stopping
from .bars import *
from .fitting import *
from .logs import *
from .metrics import *
from .plots import *
from .state import *
from .stopping import *

# Type checkers follow these lines; a name is listed once, in the file that defines it.
__all__: list[str] = []
__all__ += state.__all__
__all__ += metrics.__all__
__all__ += bars.__all__
__all__ += fitting.__all__
__all__ += stopping.__all__
__all__ += logs.__all__
__all__ += plots.__all__


def __dir__() -> list[str]:
    return __all__
