"""LeNet: two convolutions and three linear layers, for small images."""

from collections.abc import Callable, Mapping
from typing import Any, Self

import numpy as np

from .. import functions as F
from .. import nn, random
from ..io.files import PathLike
from ..nn import initial
from ..numpy.arguments import Array, whole_number
from ..tree import Module, static
from .loading import Arrays, Form, as_they_are, load_model, size_of

__all__ = ["LeNet"]


class LeNet(Module):
    """LeNet-5 with relu and maxima, 62 thousand parameters: x (N, channels, size, size) -> logits (N, classes).

    The paper has tanh and learned averages; `activation=F.tanh` gives the first of them.
    Source: LeCun, Bottou, Bengio, Haffner, "Gradient-based learning applied to document recognition", Proc. IEEE 1998.
    """

    convs: tuple[nn.Conv2d, nn.Conv2d]
    head: nn.MLP
    activation: Callable[[Array], Array] = static(default=F.relu)

    @classmethod
    def init(
        cls,
        key: Array,
        classes: int = 10,
        *,
        channels: int = 1,
        size: int = 28,
        activation: Callable[[Array], Array] = F.relu,
        weight_init: initial.Initialiser = initial.he_normal,
        dtype: Any = np.float32,
    ) -> Self:
        """Draw the network for images of `size` x `size`.

        Raises RangeError for a size that is not an integer of at least 1 (`size`: 12, the least that leaves something).
        """
        whole_number("LeNet", "size", size, 12)
        first, second, third = random.split(key, 3)
        options: dict[str, Any] = {"weight_init": weight_init, "dtype": dtype}
        convs = (
            nn.Conv2d.init(first, channels, 6, 5, padding=2, **options),
            nn.Conv2d.init(second, 6, 16, 5, **options),
        )
        grid = (int(size) // 2 - 4) // 2
        head = nn.MLP.init(third, (16 * grid * grid, 120, 84, classes), activation=activation, **options)
        return cls(convs, head, activation)

    @classmethod
    def load(cls, path: PathLike, *, dtype: Any = None) -> Self:
        """The network in a file of `fd.save`, with relu. Raises FileError for another file, OSError if there is none."""
        return load_model(cls, path, dtype, FORMS, _options)

    def features(self, x: Array) -> Array:
        """The output of the second pooling: x (N, channels, H, W) -> (N, 16, (H / 2 - 4) / 2, (W / 2 - 4) / 2)."""
        for conv in self.convs:
            x = F.max_pool2d(self.activation(conv(x)), 2)
        return x

    def __call__(self, x: Array, *, key: Array | None = None, train: bool = False) -> Array:
        x = self.features(x)
        return self.head(x.reshape(x.shape[0], -1), key=key, train=train)


FORMS = (Form("fd.save", "convs/0/W", as_they_are),)


def _options(form: str, arrays: Arrays) -> Mapping[str, Any]:
    grid = int(max(1, size_of(arrays, "head/layers/0/W", 0, 400) // 16) ** 0.5 + 0.5)
    return {
        "classes": size_of(arrays, "head/layers/2/b", 0, 10),
        "channels": size_of(arrays, "convs/0/W", 1, 1),
        "size": 4 * grid + 8,
    }
