"""VGG: convolutions 3x3 and poolings in five blocks, then three linear layers."""

import math
import re
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np

from .. import functions as F
from .. import nn, random
from ..errors import RangeError
from ..io.files import PathLike
from ..messages import describe
from ..nn import initial
from ..numpy.arguments import Array
from ..tree import Module, static
from .chain import chain
from .loading import Arrays, Form, as_they_are, load_model, size_of

__all__ = ["VGG", "VGG11", "VGG13", "VGG16", "VGG19"]

WIDTHS = (1, 2, 4, 8, 8)  # channels of the blocks, in units of the first one's


class Block(Module):
    """Convolutions 3x3 that keep the size, each followed by relu, then a maximum over 2x2: (N, C, H, W) -> (N, D, H/2, W/2)."""

    convs: tuple[nn.Conv2d, ...]
    norms: tuple[nn.BatchNorm, ...] = ()  # one for each convolution, or none

    def __call__(self, x: Array, *, train: bool = False) -> Array:
        for i, conv in enumerate(self.convs):
            x = conv(x)
            if self.norms:
                x = self.norms[i](x, train=train)
            x = F.relu(x)
        return F.max_pool2d(x, 2)


class VGG(Module):
    """The networks of Simonyan and Zisserman: x (N, channels, H, W) -> logits (N, classes).

    `nn.capture` finds a block at `blocks/4`, its last convolution at `blocks/4/convs/2`, a linear layer at `head/layers/0`.
    Source: "Very deep convolutional networks for large-scale image recognition", ICLR 2015.
    """

    DEPTHS: ClassVar[tuple[int, ...]] = ()  # convolutions in each block
    blocks: tuple[Block, ...]
    head: nn.MLP
    grid: int = static(default=7)  # height and width of what the head gets
    checkpoint: bool = static(default=False, kw_only=True)

    @classmethod
    def init(
        cls,
        key: Array,
        classes: int = 1000,
        *,
        channels: int = 3,
        size: int = 224,
        width: int = 64,
        hidden_size: int = 4096,
        dropout: float = 0.5,
        norm: bool = False,
        checkpoint: bool = False,
        weight_init: initial.Initialiser = initial.he_normal,
        dtype: Any = np.float32,
    ) -> Self:
        """Draw the network for images of `size` x `size`; images of other sizes are averaged to the same grid.

        `width` counts the channels of the first block, `hidden_size` the units of the head. `norm` puts a BatchNorm behind each
        convolution. With `checkpoint`, gradients compute the blocks again instead of keeping what lies within.
        Raises RangeError for a size that is not an integer of at least 1 (`size`: 32, because it is halved five times).
        """
        if not isinstance(size, int | np.integer) or size < 32:
            raise RangeError(
                f"{cls.__name__}: size must be an integer of at least 32, because five poolings halve it; got {describe(size)}."
            )
        if not cls.DEPTHS:
            raise RangeError("VGG has no depth of its own: write VGG16.init(key), or VGG11, VGG13, VGG19.")
        keys = iter(random.split(key, 2 * sum(cls.DEPTHS) + 1))
        blocks, inputs = [], channels
        for depth, factor in zip(cls.DEPTHS, WIDTHS, strict=True):
            convs = []
            for _ in range(depth):
                options: dict[str, Any] = {"padding": 1, "weight_init": weight_init, "dtype": dtype}
                convs.append(nn.Conv2d.init(next(keys), inputs, factor * width, 3, **options))
                inputs = factor * width
            norms = tuple(nn.BatchNorm.init(next(keys), inputs, dtype=dtype) for _ in range(depth)) if norm else ()
            blocks.append(Block(tuple(convs), norms))
        grid = int(size) // 32
        sizes = (inputs * grid * grid, hidden_size, hidden_size, classes)
        head = nn.MLP.init(next(keys), sizes, activation=F.relu, dropout=dropout, weight_init=weight_init, dtype=dtype)
        return cls(tuple(blocks), head, grid, checkpoint=checkpoint)

    @classmethod
    def load(cls, path: PathLike, *, dtype: Any = None) -> Self:
        """The network in a file: of `fd.save`, of DeZero's `save_weights` (npz), or of torchvision or timm (safetensors).

        Sizes, classes and, without `dtype`, the dtype are those of the file. Raises FileError for another file, OSError if there is none.
        """
        return load_model(cls, path, dtype, FORMS, _options)

    def features(self, x: Array, *, train: bool = False) -> Array:
        """The output of the last block: x (N, channels, H, W) -> (N, 8 * width, H / 32, W / 32)."""
        return chain("blocks", self.blocks, x, train=train, checkpoint=self.checkpoint)

    def __call__(self, x: Array, *, key: Array | None = None, train: bool = False) -> Array:
        x = self.features(x, train=train)
        if x.shape[-2:] != (self.grid, self.grid):
            x = F.adaptive_avg_pool2d(x, self.grid)
        return self.head(x.reshape(x.shape[0], -1), key=key, train=train)


class VGG11(VGG):
    """VGG with 8 convolutions and 3 linear layers."""

    DEPTHS = (1, 1, 2, 2, 2)


class VGG13(VGG):
    """VGG with 10 convolutions and 3 linear layers."""

    DEPTHS = (2, 2, 2, 2, 2)


class VGG16(VGG):
    """VGG with 13 convolutions and 3 linear layers: 138 million parameters."""

    DEPTHS = (2, 2, 3, 3, 3)


class VGG19(VGG):
    """VGG with 16 convolutions and 3 linear layers."""

    DEPTHS = (2, 2, 4, 4, 4)


# Files


def _of_dezero(names: Mapping[str, Any]) -> Mapping[str, str]:
    """`conv2_1/W` is `blocks/1/convs/0/W`, `fc6/W` is `head/layers/0/W`."""
    keys: dict[str, str] = {}
    for name in names:
        if match := re.fullmatch(r"conv(\d)_(\d)/(W|b)", name):
            keys[name] = f"blocks/{int(match[1]) - 1}/convs/{int(match[2]) - 1}/{match[3]}"
        elif match := re.fullmatch(r"fc([678])/(W|b)", name):
            keys[name] = f"head/layers/{int(match[1]) - 6}/{match[2]}"
    return keys


FIELDS = {"weight": "W", "bias": "b"}
NORM_FIELDS = {"weight": "scale", "bias": "shift", "running_mean": "mean", "running_var": "variance"}
HEADS = ("classifier.0", "classifier.3", "classifier.6"), ("pre_logits.fc1", "pre_logits.fc2", "head.fc")


def _of_torch(arrays: Mapping[str, Any]) -> Mapping[str, str]:
    """`features.5.weight` is `blocks/1/convs/0/W`: between two convolutions lie a relu, a norm (if any), a pooling (if any)."""
    numbers = sorted(
        int(name.split(".")[1])
        for name, array in arrays.items()
        if re.match(r"features\.\d+\.weight", name) and array.ndim == 4
    )
    has_norms = any(name.endswith("running_mean") for name in arrays)
    keys: dict[str, str] = {}
    block = place = 0
    for before, number in zip([None, *numbers], numbers, strict=False):
        if before is not None:
            pooled = number - before > (3 if has_norms else 2)
            block, place = (block + 1, 0) if pooled else (block, place + 1)
        keys |= {
            f"features.{number}.{theirs}": f"blocks/{block}/convs/{place}/{ours}" for theirs, ours in FIELDS.items()
        }
        keys |= {
            f"features.{number + 1}.{theirs}": f"blocks/{block}/norms/{place}/{ours}"
            for theirs, ours in NORM_FIELDS.items()
        }
    for heads in HEADS:
        keys |= {
            f"{head}.{theirs}": f"head/layers/{i}/{ours}"
            for i, head in enumerate(heads)
            for theirs, ours in FIELDS.items()
        }
    return keys


FORMS = (
    Form("fd.save", "blocks/0/convs/0/W", as_they_are),
    Form("DeZero", "conv1_1/W", _of_dezero),
    Form("torchvision", "features.0.weight", _of_torch, turned=True),
)


def _options(form: str, arrays: Arrays) -> Mapping[str, Any]:
    """The options of `init` that give arrays of these shapes."""
    width = size_of(arrays, "blocks/0/convs/0/W", 0, 64)
    inputs = size_of(arrays, "head/layers/0/W", 0, 49 * 8 * width)
    return {
        "classes": size_of(arrays, "head/layers/2/b", 0, 1000),
        "channels": size_of(arrays, "blocks/0/convs/0/W", 1, 3),
        "size": 32 * math.isqrt(max(1, inputs // (8 * width))),
        "width": width,
        "hidden_size": size_of(arrays, "head/layers/0/b", 0, 4096),
        "norm": "blocks/0/norms/0/scale" in arrays,
    }
