"""A layer with a shortcut around it."""

from typing import Any

import attrs

from .. import random
from ..errors import ShapeError
from ..messages import describe
from ..numpy.arguments import Array
from ..tree import Module
from .containers import apply_at, as_layer

__all__ = ["Residual"]


def _as_layer(layer: Any) -> Any:
    return as_layer(layer, "Residual")


class Residual(Module):
    """layer(x) + x, or layer(x) + shortcut(x) for a layer that changes the shape: x (...) -> (...).

    Both may be layers or functions; each gets a key of its own. Raises ShapeError if the two results differ in shape.
    Source: He et al., "Deep residual learning for image recognition", CVPR 2016, equations 1 and 2.
    """

    layer: Any = attrs.field(converter=_as_layer)
    shortcut: Any = attrs.field(default=None, converter=attrs.converters.optional(_as_layer))

    def __call__(self, x: Array, *, key: Array | None = None, train: bool = False) -> Array:
        keys = [None, None] if key is None or not train else random.split(key)
        y = apply_at("layer", self.layer, x, key=keys[0], train=train)
        around = x if self.shortcut is None else apply_at("shortcut", self.shortcut, x, key=keys[1], train=train)
        if y.shape != around.shape:
            hint = ". Give it a shortcut that ends in the same shape" if self.shortcut is None else " of its shortcut"
            raise ShapeError(
                f"Residual: the layer makes {describe(y)} of x {describe(x)}, which cannot be added to {describe(around)}{hint}."
            )
        return y + around
