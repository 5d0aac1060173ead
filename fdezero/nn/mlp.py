"""A multi-layer perceptron."""

from collections.abc import Callable, Sequence
from typing import Any, Self

import numpy as np

from .. import functions as F
from .. import random
from ..errors import RangeError, StructureError
from ..numpy.arguments import Array
from ..tree import static
from ..tree.display import one_line
from . import initial
from .containers import at, run
from .dropout import Dropout
from .lazy import Sized
from .linear import Linear

__all__ = ["MLP"]


class MLP(Sized):
    """Linear layers, each but the last followed by an activation and dropout: x (..., sizes[0]) -> (..., sizes[-1])."""

    layers: tuple[Linear, ...]
    activation: Callable[[Array], Array] = static(default=F.sigmoid)
    dropout: Dropout = Dropout(0.0)

    @classmethod
    def init(
        cls,
        key: Array,
        sizes: Sequence[int],
        *,
        activation: Callable[[Array], Array] = F.sigmoid,
        dropout: float = 0.0,
        weight_init: initial.Initialiser = initial.lecun_normal,
        bias_init: initial.Initialiser = initial.zeros,
        dtype: Any = np.float32,
    ) -> Self:
        """Draw an MLP by its sizes, input first: `MLP.init(key, (784, 1000, 10))`.

        Raises RangeError for fewer than two sizes, or a size that is not an integer of at least 1.
        """
        if not isinstance(sizes, Sequence) or len(sizes) < 2:
            raise RangeError(
                f"MLP needs at least the sizes of its input and output, such as (784, 10); got {one_line(sizes, 80)}."
            )
        if not callable(activation):
            raise StructureError(
                f"MLP: the activation is a function such as fd.functions.relu, got {one_line(activation, 80)}."
            )
        keys = random.split(key, len(sizes) - 1)
        layers = []
        for i, (k, n, m) in enumerate(zip(keys, sizes[:-1], sizes[1:], strict=True)):
            with at(f"layers/{i}"):
                layers.append(Linear.init(k, n, m, weight_init=weight_init, bias_init=bias_init, dtype=dtype))
        return cls(tuple(layers), activation, Dropout(dropout))

    @classmethod
    def init_for(cls, key: Any, x: Array, *args: Any, **options: Any) -> Self:
        """The MLP for inputs like `x`; the sizes begin with that of the first layer's output."""
        sizes, *others = args or ((),)
        if not isinstance(sizes, Sequence):
            raise RangeError(f"MLP.lazy takes a tuple of sizes, such as (1000, 10), got {one_line(sizes, 80)}.")
        return super().init_for(key, x, (x.shape[-1], *sizes), *others, **options)

    def __call__(self, x: Array, *, key: Array | None = None, train: bool = False) -> Array:
        last = len(self.layers) - 1

        def step(i: int, x: Array, key: Array | None) -> Array:
            y = self.layers[i](x)
            return y if i == last else self.dropout(self.activation(y), key=key, train=train)

        return run(step, len(self.layers), x, key if train and self.dropout.rate else None)
