"""Pytrees: immutable nested containers of arrays, and functions of all their leaves."""

from ..values import is_differentiable
from .keyed import flatten_to_dict, unflatten_from_dict, update
from .module import Frozen, Module, static
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
    "structure_error",
    "trainable",
    "unflatten",
    "unflatten_from_dict",
    "update",
]
