"""Pytrees: immutable nested containers of arrays, and functions of all their leaves."""

import typing as _typing

from ..values import is_differentiable
from .keyed import flatten_to_dict, unflatten_from_dict, update
from .structure import (
    TRAINABLE,
    combine,
    flatten,
    flatten_trainable,
    flatten_with_path,
    leaves,
    map,
    partition,
    paths,
    structure_error,
    trainable,
    unflatten,
)

if _typing.TYPE_CHECKING:
    from .module import Frozen, Module, static, statistic
else:

    def __getattr__(name: str) -> _typing.Any:
        if name not in ("Frozen", "Module", "static", "statistic"):
            from ..elsewhere import unknown_name

            raise AttributeError(unknown_name(__name__, name))
        from . import module  # on first use: it loads attrs, which takes a seventh of NumPy's import time

        value = globals()[name] = getattr(module, name)
        return value


__all__ = [
    "TRAINABLE",
    "Frozen",
    "Module",
    "combine",
    "flatten",
    "flatten_to_dict",
    "flatten_trainable",
    "flatten_with_path",
    "is_differentiable",
    "leaves",
    "map",
    "partition",
    "paths",
    "static",
    "statistic",
    "structure_error",
    "trainable",
    "unflatten",
    "unflatten_from_dict",
    "update",
]


def __dir__() -> list[str]:
    return __all__
