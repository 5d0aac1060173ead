"""One array within a layer, named by its path: read it, or put another in its place."""

from typing import Any

import attrs

from .. import numpy as fnp
from ..errors import StructureError
from ..messages import describe
from ..tree import Module, paths
from . import standing

__all__: list[str] = []


def field_of(layer: Any, path: str, of: str) -> Any:
    """The array at `path` within `layer`, such as "W" or "layers/0/W". Raises StructureError, naming the wrapper, if there is none."""
    value = layer
    for name in path.split("/"):
        value = _child(value, name)
    if not hasattr(value, "shape"):
        places = [*map(repr, paths(layer)[:8]), *(["..."] if len(paths(layer)) > 8 else [])] or ["no arrays"]
        raise StructureError(f"{of}: {type(layer).__name__} has no array at {path!r}; it has {', '.join(places)}.")
    return value


def with_field(layer: Any, path: str, array: Any) -> Any:
    """`layer` with another array at `path`. All that lies beside the path stays as it is."""
    name, _, rest = path.partition("/")
    value = with_field(_child(layer, name), rest, array) if rest else array
    if isinstance(layer, dict):
        return layer | {name: value}
    if isinstance(layer, list | tuple):
        return type(layer)(value if str(i) == name else part for i, part in enumerate(layer))
    if isinstance(layer, Module):
        return layer.replace(**{name: value})  # seen by nn.step, nn.capture and nn.summary as the layer itself
    return standing.copied(layer, type(layer), {name: value})


def _child(value: Any, name: str) -> Any:
    if isinstance(value, dict):
        return value.get(name)
    if isinstance(value, list | tuple):
        return value[int(name)] if name.isdecimal() and int(name) < len(value) else None
    return getattr(value, name, None) if attrs.has(type(value)) else None


def rows_first(W: Any, axis: int) -> Any:
    """W as a matrix, one row for each entry along `axis`: (..., n, ...) -> (n, m)."""
    return fnp.moveaxis(W, axis, 0).reshape(W.shape[axis], -1)


def output_axis(layer: Any, path: str, axis: int | None, of: str) -> int:
    """The axis of the array at `path` that counts outputs, unless one is given.

    It is the last of a matrix, the first of a convolution's kernel, or what the class of its layer says by `output_axis`.
    """
    W = field_of(layer, path, of)
    if axis is None:
        owner, _, _ = path.rpartition("/")
        for name in owner.split("/") if owner else ():
            layer = _child(layer, name)
        axis = getattr(type(layer), "output_axis", -1 if W.ndim <= 2 else 0)
    if isinstance(axis, bool) or not isinstance(axis, int) or not -W.ndim <= axis < W.ndim:
        raise StructureError(f"{of}: W {describe(W)} has no axis {axis!r}.")
    return axis
