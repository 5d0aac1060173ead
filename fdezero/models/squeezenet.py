"""SqueezeNet: few parameters, by modules that first narrow the channels and then widen them."""

import re
from collections.abc import Mapping
from typing import Any, Self

import numpy as np

from .. import functions as F
from .. import nn, random
from .. import numpy as fnp
from ..errors import RangeError
from ..io.files import PathLike
from ..nn import initial
from ..numpy.arguments import Array
from ..tree import Module, static
from .chain import chain
from .loading import Arrays, Form, as_they_are, load_model, size_of

__all__ = ["SqueezeNet"]

FIRES = (
    (16, 64),
    (16, 64),
    (32, 128),
    (32, 128),
    (48, 192),
    (48, 192),
    (64, 256),
    (64, 256),
)  # squeezed and expanded channels
# The stem's channels and kernel, and the numbers of the modules that a pooling comes before
VERSIONS = {"1.0": (96, 7, (0, 3, 7)), "1.1": (64, 3, (0, 2, 4))}


class Fire(Module):
    """A convolution 1x1 to few channels, then 1x1 and 3x3 side by side, with relu: (N, C, H, W) -> (N, 2 * expanded, H, W)."""

    squeeze: nn.Conv2d
    expand1: nn.Conv2d
    expand3: nn.Conv2d

    def __call__(self, x: Array) -> Array:
        x = F.relu(self.squeeze(x))
        return F.relu(fnp.concatenate([self.expand1(x), self.expand3(x)], axis=-3))


class SqueezeNet(Module):
    """The network of Iandola et al., 1.2 million parameters: x (N, channels, H, W) -> logits (N, classes).

    `nn.capture` finds a module at `fires/7`. H and W are at least 21, or 17 for version 1.1.
    Source: "SqueezeNet: AlexNet-level accuracy with 50x fewer parameters", arXiv:1602.07360, and its release 1.1.
    """

    stem: nn.Conv2d
    fires: tuple[Fire, ...]
    head: nn.Conv2d
    dropout: nn.Dropout = nn.Dropout(0.5)
    version: str = static(default="1.1")
    checkpoint: bool = static(default=False, kw_only=True)

    @classmethod
    def init(
        cls,
        key: Array,
        classes: int = 1000,
        *,
        version: str = "1.1",
        channels: int = 3,
        divide: int = 1,
        dropout: float = 0.5,
        checkpoint: bool = False,
        weight_init: initial.Initialiser = initial.he_normal,
        dtype: Any = np.float32,
    ) -> Self:
        """Draw the network; `divide` divides the numbers of channels within it, at most by 16.

        Version 1.1 has the accuracy of 1.0 at two fifths of the work. With `checkpoint`, gradients compute the modules again
        instead of keeping what lies within. Raises RangeError for another version, or sizes that are not integers of at least 1.
        """
        if version not in VERSIONS:
            raise RangeError(f"SqueezeNet: the version is '1.0' or '1.1', got {version!r}.")
        if not isinstance(divide, int | np.integer) or divide < 1 or 16 % divide:
            raise RangeError(f"SqueezeNet: divide must be 1, 2, 4, 8 or 16, got {divide!r}.")
        keys = iter(random.split(key, 3 * len(FIRES) + 2))

        def conv(inputs: int, outputs: int, size: int, **options: Any) -> nn.Conv2d:
            return nn.Conv2d.init(next(keys), inputs, outputs, size, weight_init=weight_init, dtype=dtype, **options)

        width, size, _ = VERSIONS[version]
        inputs = width // divide
        stem, fires = conv(channels, inputs, size, stride=2), []
        for narrow, wide in ((n // divide, m // divide) for n, m in FIRES):
            fires.append(Fire(conv(inputs, narrow, 1), conv(narrow, wide, 1), conv(narrow, wide, 3, padding=1)))
            inputs = 2 * wide
        head = conv(inputs, classes, 1)
        return cls(stem, tuple(fires), head, nn.Dropout(dropout), version, checkpoint=checkpoint)

    @classmethod
    def load(cls, path: PathLike, *, dtype: Any = None) -> Self:
        """The network in a file: of `fd.save`, or of torchvision (safetensors).

        Sizes, classes, version and, without `dtype`, the dtype are those of the file.
        Raises FileError for another file, OSError if there is none.
        """
        return load_model(cls, path, dtype, FORMS, _options)

    def features(self, x: Array, *, train: bool = False) -> Array:
        """The output of the last module: x (N, channels, H, W) -> (N, 512, H', W'), where H' is about H / 16."""
        x = F.relu(self.stem(x))
        starts = VERSIONS[self.version][2]
        for start, stop in zip(starts, (*starts[1:], len(self.fires)), strict=True):
            x = F.max_pool2d(x, 3, stride=2, ceil_mode=True)
            x = chain("fires", self.fires[start:stop], x, train=train, checkpoint=self.checkpoint, first=start)
        return x

    def __call__(self, x: Array, *, key: Array | None = None, train: bool = False) -> Array:
        x = self.dropout(self.features(x, train=train), key=key, train=train)
        return F.global_avg_pool(F.relu(self.head(x)))


# Files


def _of_torch(names: Mapping[str, Any]) -> Mapping[str, str]:
    """`features.3.squeeze.weight` is `fires/0/squeeze/W`: the modules are numbered with the poolings between them."""
    numbers = sorted({int(name.split(".")[1]) for name in names if re.match(r"features\.\d+\.squeeze\.", name)})
    keys: dict[str, str] = {}
    for theirs, ours in (("weight", "W"), ("bias", "b")):
        keys |= {f"features.0.{theirs}": f"stem/{ours}", f"classifier.1.{theirs}": f"head/{ours}"}
        for i, number in enumerate(numbers):
            for part, field in (("squeeze", "squeeze"), ("expand1x1", "expand1"), ("expand3x3", "expand3")):
                keys[f"features.{number}.{part}.{theirs}"] = f"fires/{i}/{field}/{ours}"
    return keys


FORMS = (
    Form("fd.save", "fires/0/squeeze/W", as_they_are),
    Form("torchvision", "features.3.squeeze.weight", _of_torch, turned=True),
)


def _options(form: str, arrays: Arrays) -> Mapping[str, Any]:
    """The options of `init` that give arrays of these shapes. The kernel of the stem tells the version."""
    return {
        "classes": size_of(arrays, "head/b", 0, 1000),
        "channels": size_of(arrays, "stem/W", 1, 3),
        "version": "1.0" if size_of(arrays, "stem/W", 2, 3) == 7 else "1.1",
        "divide": max(1, 16 // max(1, size_of(arrays, "fires/0/squeeze/W", 0, 16))),
    }
