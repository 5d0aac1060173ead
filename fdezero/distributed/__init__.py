"""Several processes: the same script on one core, many cores, many machines.

Nothing here imports MPI before `world()` finds that a launcher started the process. A name is loaded on first use, so that ranks
which only exchange arrays start in half the time. Type checkers and editors read the import statements, and Python reads the
table below them. A test compares the two.
"""

import typing as _typing
from importlib import import_module as _import_module

from ..elsewhere import DISTRIBUTED_ELSEWHERE as _ELSEWHERE
from ..elsewhere import unknown_name as _unknown_name

if _typing.TYPE_CHECKING:
    from .equality import *
    from .gradients import *
    from .operations import *
    from .tensor import *
    from .wholes import *
    from .worlds import *
else:
    _NAMES = {
        "equality": "check_equal",
        "gradients": "mean value_and_grad",
        "operations": "all_gather all_reduce barrier broadcast permute reduce_scatter",
        "tensor": "ColumnLinear RowLinear",
        "wholes": "gathered",
        "worlds": "World world",
    }
    _MODULE_OF = {name: module for module, names in _NAMES.items() for name in names.split()}

    def __getattr__(name: str) -> _typing.Any:
        if name not in _MODULE_OF:
            raise AttributeError(_unknown_name(__name__, name, _ELSEWHERE))
        value = globals()[name] = getattr(_import_module(f".{_MODULE_OF[name]}", __name__), name)
        return value

    __all__ = [*_MODULE_OF]

    def __dir__() -> list[str]:
        return __all__
