"""Spectral normalisation: a wrapper that divides a layer's weights by their greatest singular value."""

from typing import Any, Self

from .. import numpy as fnp
from .. import random
from ..numpy.arguments import Array, whole_number
from ..numpy.precision import in_single
from ..transforms import stop_gradient
from ..tree import static, statistic
from .containers import apply_at
from .fields import field_of, output_axis, rows_first, with_field
from .lazy import Lazy, Sized, made_for
from .state import Stateful

__all__ = ["SpectralNorm"]

FIRST_ITERATIONS = 15  # as PyTorch: so many when the vectors are drawn


class SpectralNorm(Stateful, Sized):
    """A layer whose W is divided by its greatest singular value, estimated by power iteration: called as the layer itself.

    The singular vectors u and v are statistics: `nn.step` refines them in training by some `iterations`. They get no gradient, and
    the derivative of the singular value u W v is that by W alone. `plain()` is the layer with its W, for inference.
    Source: Miyato et al., "Spectral normalization for generative adversarial networks", ICLR 2018, algorithm 1.
    """

    layer: Any
    u: Array = statistic()  # (n,), one entry for each output
    v: Array = statistic()  # (m,), one for each of the others
    field: str = static(default="W")
    axis: int = static(default=-1)
    iterations: int = static(default=1)

    @classmethod
    def init(cls, key: Array, layer: Any, field: str = "W", *, axis: int | None = None, iterations: int = 1) -> Self:
        """Wrap `layer` and draw u, v, which 15 iterations improve. `field` is the path of the array, such as "W" or "layers/0/W".

        `axis` counts the outputs: by default the last axis of a matrix, the first of a convolution's kernel, and the second of a
        transposed convolution's.
        Raises StructureError if the layer does not have this array or axis, RangeError for fewer iterations than 1.
        """
        iterations = whole_number("SpectralNorm", "iterations", iterations)
        if isinstance(layer, Lazy):
            return cls.lazy(layer, field, axis=axis, iterations=iterations)
        W = field_of(layer, field, "SpectralNorm")
        axis = output_axis(layer, field, axis, "SpectralNorm")
        v = random.normal(key, (W.size // max(1, W.shape[axis]),), W.dtype)
        u, v = _iterated(stop_gradient(W), v, axis, FIRST_ITERATIONS)
        return cls(layer, u, v, field, axis, iterations)

    @classmethod
    def init_for(cls, key: Array | None, x: Array, *args: Any, **options: Any) -> Self:
        """The wrapper around the layer for inputs like `x`."""
        layer, *rest = args
        keys = [None, None] if key is None else random.split(key)
        return cls.init(keys[1], made_for(layer, keys[0], x), *rest, **options)  # type: ignore[arg-type]  # says so

    def plain(self) -> Any:
        """The layer itself, with the W that the wrapper computes."""
        W = field_of(self.layer, self.field, "SpectralNorm")
        return with_field(self.layer, self.field, _divided(W, self.u, self.v, self.axis))

    def step(self, x: Array, *more: Any, key: Array | None = None, train: bool = False) -> tuple[Any, Self]:
        """The result, and the successor, whose u and v are closer to the singular vectors."""
        successor = self
        if train:
            W = stop_gradient(field_of(self.layer, self.field, "SpectralNorm"))
            u, v = _iterated(W, self.v, self.axis, self.iterations)
            successor = self.replace(u=u, v=v)
        return apply_at("layer", successor.plain(), x, *more, key=key, train=train), successor


@in_single
def _iterated(W: Any, v: Any, axis: int, count: int) -> tuple[Any, Any]:
    """u and v after `count` iterations, in PyTorch's order: v (m,) -> (n,), (m,)."""
    matrix = rows_first(W, axis)
    for _ in range(count):
        u = _unit(fnp.matmul(matrix, v))
        v = _unit(fnp.matmul(u, matrix))
    return u, v


@in_single
def _unit(x: Any) -> Any:
    return x / fnp.maximum(fnp.linalg.vector_norm(x), 1e-12)


@in_single
def _divided(W: Any, u: Any, v: Any, axis: int) -> Any:
    return W / fnp.matmul(u, fnp.matmul(rows_first(W, axis), v))
