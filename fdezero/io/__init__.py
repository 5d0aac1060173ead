"""Trees in files: npz or safetensors, keyed by slash-joined paths; the checkpoints of a run."""

import typing as _typing
from importlib import import_module as _import_module

from ..elsewhere import unknown_name as _unknown_name
from ..tree import flatten_to_dict, unflatten_from_dict

if _typing.TYPE_CHECKING:
    from .checkpoints import Checkpoints
    from .trees import load, save
else:
    _MODULE_OF = {"Checkpoints": "checkpoints", "load": "trees", "save": "trees"}

    def __getattr__(name: str) -> _typing.Any:
        if name not in _MODULE_OF:
            raise AttributeError(_unknown_name(__name__, name))
        # On first use: compiled functions need the cache folder alone.
        value = globals()[name] = getattr(_import_module(f".{_MODULE_OF[name]}", __name__), name)
        return value


__all__ = ["Checkpoints", "flatten_to_dict", "load", "save", "unflatten_from_dict"]


def __dir__() -> list[str]:
    return __all__
