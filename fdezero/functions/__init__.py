"""Activations, losses, dropout, pooling, normalisation: pure functions of arrays."""

import typing as _typing

from ..elsewhere import NETWORKS_ELSEWHERE as _NETWORKS_ELSEWHERE
from ..elsewhere import unknown_name as _unknown_name
from . import activations, cells, classification, convolution, ctc, distances, losses, recurrent
from . import attention as _attention
from . import batch_statistics as _batch_statistics
from . import dropout as _dropout
from . import embedding as _embedding
from . import flatten as _flatten
from . import linear as _linear
from . import normalisation as _normalisation
from . import pooling as _pooling
from . import prelu as _prelu
from .activations import *
from .attention import *
from .batch_statistics import *
from .cells import *
from .classification import *
from .convolution import *
from .ctc import *
from .distances import *
from .dropout import *
from .embedding import *
from .flatten import *
from .linear import *
from .losses import *
from .normalisation import *
from .pooling import *
from .prelu import *
from .recurrent import *

if not _typing.TYPE_CHECKING:  # to a type checker an unknown name stays unknown

    def __getattr__(name: str) -> _typing.Any:
        raise AttributeError(_unknown_name(__name__, name, _NETWORKS_ELSEWHERE))


# Type checkers follow these lines; a name is listed once, in the file that defines it.
__all__: list[str] = []
__all__ += activations.__all__
__all__ += convolution.__all__
__all__ += losses.__all__
__all__ += classification.__all__
__all__ += distances.__all__
__all__ += ctc.__all__
__all__ += _linear.__all__
__all__ += _dropout.__all__
__all__ += _embedding.__all__
__all__ += cells.__all__
__all__ += recurrent.__all__
__all__ += _pooling.__all__
__all__ += _batch_statistics.__all__
__all__ += _normalisation.__all__
__all__ += _flatten.__all__
__all__ += _prelu.__all__
__all__ += _attention.__all__


def __dir__() -> list[str]:
    return __all__
