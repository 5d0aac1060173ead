"""Optimisers, pure gradient transformations: `state = opt.init(params)`, `params, state = opt.step(params, grads, state)`."""

import importlib as _importlib
import typing as _typing

from . import (
    averages,
    chains,
    clipping,
    gradients,
    inspecting,
    leaves,
    masks,
    plateaus,
    schedules,
    transformation,
    wrappers,
)
from .averages import *
from .chains import *
from .clipping import *
from .gradients import *
from .inspecting import *
from .leaves import *
from .masks import *
from .methods import adam as _adam
from .methods import momentum as _momentum
from .methods import sgd as _sgd
from .methods.adam import *
from .methods.momentum import *
from .methods.sgd import *
from .plateaus import *
from .transformation import *
from .wrappers import *

# Type checkers follow these lines; a name is listed once, in the file that defines it.
__all__: list[str] = ["schedules"]
__all__ += transformation.__all__
__all__ += leaves.__all__
__all__ += chains.__all__
__all__ += gradients.__all__
__all__ += clipping.__all__
__all__ += masks.__all__
__all__ += wrappers.__all__
__all__ += averages.__all__
__all__ += plateaus.__all__
__all__ += inspecting.__all__
__all__ += _sgd.__all__
__all__ += _momentum.__all__
__all__ += _adam.__all__

if not _typing.TYPE_CHECKING:

    def __getattr__(name: str) -> _typing.Any:
        if name != "precision":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return _importlib.import_module(f"{__name__}.precision")  # on first use: it loads the layers


def __dir__() -> list[str]:
    return [*__all__, "precision"]
