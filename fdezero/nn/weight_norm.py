"""Weight normalisation: a wrapper that learns the length and the direction of a layer's weights apart."""

from typing import Any, Self

import numpy as np

from .. import numpy as fnp
from ..errors import RangeError
from ..numpy.arguments import Array
from ..numpy.precision import in_single
from ..ops.checks import checked
from ..tree import static
from .containers import apply_at
from .fields import field_of, output_axis, with_field
from .lazy import Lazy, Sized, made_for

__all__ = ["WeightNorm"]


class WeightNorm(Sized):
    """A layer whose W is g v / |v|, with a length g for each output: called as the layer itself.

    `layer` holds the direction v in the place of W. `plain()` is the layer with its W, for inference.
    Source: Salimans and Kingma, "Weight normalization", NeurIPS 2016, equation 2.
    """

    layer: Any
    g: Array  # (n,), the lengths along `axis`
    field: str = static(default="W")
    axis: int = static(default=-1)

    @classmethod
    def init(cls, layer: Any, field: str = "W", *, axis: int | None = None) -> Self:
        """Wrap `layer`, which computes the same as before. `field` is the path of the array, such as "W" or "layers/0/W".

        `axis` counts the outputs: by default the last axis of a matrix, the first of a convolution's kernel, and the second of a
        transposed convolution's.
        Raises StructureError if the layer does not have this array or axis.
        """
        if isinstance(layer, Lazy):
            return cls.lazy(layer, field, axis=axis)
        W = field_of(layer, field, "WeightNorm")
        axis = output_axis(layer, field, axis, "WeightNorm")
        g = checked(_length(W, axis).reshape(-1), test=_is_length, error=_no_direction)
        return cls(layer, g, field, axis)

    @classmethod
    def init_for(cls, key: Array | None, x: Array, *args: Any, **options: Any) -> Self:
        """The wrapper around the layer for inputs like `x`."""
        layer, *rest = args
        return cls.init(made_for(layer, key, x), *rest, **options)

    def plain(self) -> Any:
        """The layer itself, with the W that the wrapper computes."""
        v = field_of(self.layer, self.field, "WeightNorm")
        return with_field(self.layer, self.field, _scaled(v, self.g, self.axis))

    def __call__(self, x: Array, *more: Any, key: Array | None = None, train: bool = False) -> Any:
        return apply_at("layer", self.plain(), x, *more, key=key, train=train)


def _is_length(lengths: Any) -> Any:
    return lengths > 0


def _no_direction(lengths: Any) -> RangeError:
    where = np.flatnonzero(np.equal(lengths, 0)).tolist()
    return RangeError(
        f"WeightNorm: the weights of outputs {where} are 0, so they have no direction. Draw them by another initialiser."
    )


@in_single
def _length(v: Any, axis: int) -> Any:
    others = tuple(i for i in range(v.ndim) if i != axis % v.ndim)
    return fnp.linalg.vector_norm(v, axis=others, keepdims=True)


@in_single
def _scaled(v: Any, g: Any, axis: int) -> Any:
    length = _length(v, axis)
    return v * (g.reshape(length.shape) / length)
