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
from .methods import adadelta as _adadelta
from .methods import adafactor as _adafactor
from .methods import adagrad as _adagrad
from .methods import adam as _adam
from .methods import adamax as _adamax
from .methods import adamw as _adamw
from .methods import lamb as _lamb
from .methods import lars as _lars
from .methods import lbfgs as _lbfgs
from .methods import lion as _lion
from .methods import momentum as _momentum
from .methods import nadam as _nadam
from .methods import radam as _radam
from .methods import rmsprop as _rmsprop
from .methods import scipy_bridge as _scipy_bridge
from .methods import sgd as _sgd
from .methods import sign as _sign
from .methods.adadelta import *
from .methods.adafactor import *
from .methods.adagrad import *
from .methods.adam import *
from .methods.adamax import *
from .methods.adamw import *
from .methods.lamb import *
from .methods.lars import *
from .methods.lbfgs import *
from .methods.lion import *
from .methods.momentum import *
from .methods.nadam import *
from .methods.radam import *
from .methods.rmsprop import *
from .methods.scipy_bridge import *
from .methods.sgd import *
from .methods.sign import *
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
__all__ += _adadelta.__all__
__all__ += _adafactor.__all__
__all__ += _adagrad.__all__
__all__ += _adam.__all__
__all__ += _adamax.__all__
__all__ += _adamw.__all__
__all__ += _lamb.__all__
__all__ += _lars.__all__
__all__ += _lbfgs.__all__
__all__ += _lion.__all__
__all__ += _momentum.__all__
__all__ += _nadam.__all__
__all__ += _radam.__all__
__all__ += _rmsprop.__all__
__all__ += _scipy_bridge.__all__
__all__ += _sgd.__all__
__all__ += _sign.__all__

if not _typing.TYPE_CHECKING:

    def __getattr__(name: str) -> _typing.Any:
        if name != "precision":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return _importlib.import_module(f"{__name__}.precision")  # on first use: it loads the layers


def __dir__() -> list[str]:
    return [*__all__, "precision"]
