"""What a training run needs around its step: its state as one tree, metrics that add up, a display, a loop, logs and plots."""

import typing as _typing

from ..elsewhere import unknown_name as _unknown_name
from . import bars, fitting, logs, plots, state, stopping
from .bars import *
from .fitting import *
from .logs import *
from .metrics import base as _base
from .metrics import classes as _classes
from .metrics import means as _means
from .metrics import ranking as _ranking
from .metrics.base import *
from .metrics.classes import *
from .metrics.means import *
from .metrics.ranking import *
from .plots import *
from .state import *
from .stopping import *

# Type checkers follow these lines; a name is listed once, in the file that defines it.
__all__: list[str] = []
__all__ += state.__all__
__all__ += _base.__all__
__all__ += _means.__all__
__all__ += _classes.__all__
__all__ += _ranking.__all__
__all__ += bars.__all__
__all__ += fitting.__all__
__all__ += stopping.__all__
__all__ += logs.__all__
__all__ += plots.__all__


if not _typing.TYPE_CHECKING:  # to a type checker an unknown name stays unknown

    def __getattr__(name: str) -> _typing.Any:
        raise AttributeError(_unknown_name(__name__, name))


def __dir__() -> list[str]:
    return __all__
