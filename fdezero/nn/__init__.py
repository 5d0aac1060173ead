"""Layers: immutable pytrees of their parameters, called as `layer(x)`; layers that draw also take `key` and `train`."""

import typing as _typing

from ..elsewhere import NETWORKS_ELSEWHERE as _NETWORKS_ELSEWHERE
from ..elsewhere import unknown_name as _unknown_name
from . import (
    abstract,
    attention,
    bilinear,
    capturing,
    cells,
    containers,
    convolution,
    dropout,
    embedding,
    flatten,
    freezing,
    function,
    initial,
    lazy,
    linear,
    mlp,
    normalisation,
    pooling,
    prelu,
    recurrent,
    residual,
    spectral_norm,
    state,
    summarising,
    transformer,
    weight_norm,
)
from .abstract import *
from .attention import *
from .bilinear import *
from .capturing import *
from .cells import *
from .containers import *
from .convolution import *
from .dropout import *
from .embedding import *
from .flatten import *
from .freezing import *
from .function import *
from .lazy import *
from .linear import *
from .mlp import *
from .normalisation import *
from .pooling import *
from .prelu import *
from .recurrent import *
from .residual import *
from .spectral_norm import *
from .state import *
from .summarising import *
from .transformer import *
from .weight_norm import *

if not _typing.TYPE_CHECKING:  # to a type checker an unknown name stays unknown

    def __getattr__(name: str) -> _typing.Any:
        raise AttributeError(_unknown_name(__name__, name, _NETWORKS_ELSEWHERE))


# Type checkers follow these lines; a name is listed once, in the file that defines it.
__all__: list[str] = ["initial"]
__all__ += linear.__all__
__all__ += function.__all__
__all__ += convolution.__all__
__all__ += cells.__all__
__all__ += pooling.__all__
__all__ += normalisation.__all__
__all__ += recurrent.__all__
__all__ += dropout.__all__
__all__ += containers.__all__
__all__ += mlp.__all__
__all__ += state.__all__
__all__ += summarising.__all__
__all__ += lazy.__all__
__all__ += abstract.__all__
__all__ += embedding.__all__
__all__ += attention.__all__
__all__ += transformer.__all__
__all__ += flatten.__all__
__all__ += residual.__all__
__all__ += bilinear.__all__
__all__ += prelu.__all__
__all__ += weight_norm.__all__
__all__ += spectral_norm.__all__
__all__ += capturing.__all__
__all__ += freezing.__all__


def __dir__() -> list[str]:
    return __all__
