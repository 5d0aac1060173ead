"""Trees in files: npz or safetensors, keyed by slash-joined paths."""

import typing as _typing

from ..tree import flatten_to_dict, unflatten_from_dict

if _typing.TYPE_CHECKING:
    from .trees import load, save
else:

    def __getattr__(name: str) -> _typing.Any:
        if name not in ("load", "save"):
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from . import trees  # on first use: compiled functions need the cache folder alone

        value = globals()[name] = getattr(trees, name)
        return value


__all__ = ["flatten_to_dict", "load", "save", "unflatten_from_dict"]
