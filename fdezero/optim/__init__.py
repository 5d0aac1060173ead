"""Optimisers, pure gradient transformations: `state = opt.init(params)`, `params, state = opt.step(params, grads, state)`.

A name is loaded on first use, so a program pays only for the methods that it uses. Type checkers and editors read the import
statements, and Python reads the table below them. A test compares the two.
"""

import typing as _typing
from importlib import import_module as _import_module

from ..elsewhere import OPTIMISERS_ELSEWHERE as _ELSEWHERE
from ..elsewhere import unknown_name as _unknown_name

if _typing.TYPE_CHECKING:
    from . import precision as precision
    from . import schedules as schedules
    from .averages import *
    from .chains import *
    from .clipping import *
    from .gradients import *
    from .inspecting import *
    from .leaves import *
    from .masks import *
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
    from .sharding import *
    from .transformation import *
    from .wrappers import *
else:
    _MODULES = ("precision", "schedules")
    _NAMES = {
        "averages": "Averages ema polyak swa",
        "chains": "chain",
        "clipping": "adaptive_clip centralise clip clip_by_global_norm clip_by_norm",
        "gradients": "descend scale",
        "inspecting": "inspect",
        "leaves": "apply_updates global_norm",
        "masks": "by_path freeze weight_decay",
        "plateaus": "reduce_on_plateau",
        "sharding": "sharded",
        "transformation": "GradientTransformation",
        "wrappers": "accumulate lookahead monitor skip_nonfinite",
        "methods.adadelta": "adadelta adadelta_direction",
        "methods.adafactor": "adafactor adafactor_direction",
        "methods.adagrad": "adagrad adagrad_direction",
        "methods.adam": "adam moments",
        "methods.adamax": "adamax adamax_direction",
        "methods.adamw": "adamw",
        "methods.lamb": "lamb",
        "methods.lars": "lars trust_ratio",
        "methods.lbfgs": "lbfgs",
        "methods.lion": "lion lion_direction",
        "methods.momentum": "momentum velocity",
        "methods.nadam": "nadam nadam_direction",
        "methods.radam": "radam radam_direction",
        "methods.rmsprop": "rmsprop rmsprop_direction",
        "methods.scipy_bridge": "Minimum scipy_minimize",
        "methods.sgd": "sgd",
        "methods.sign": "sign sign_sgd",
    }
    _MODULE_OF = {name: module for module, names in _NAMES.items() for name in names.split()}

    def __getattr__(name: str) -> _typing.Any:
        if name in _MODULES:
            return _import_module(f".{name}", __name__)  # the import also makes it an attribute of this module
        if name not in _MODULE_OF:
            raise AttributeError(_unknown_name(__name__, name, _ELSEWHERE))
        value = globals()[name] = getattr(_import_module(f".{_MODULE_OF[name]}", __name__), name)
        return value

    __all__ = [*_MODULE_OF, *_MODULES]

    def __dir__() -> list[str]:
        return __all__
