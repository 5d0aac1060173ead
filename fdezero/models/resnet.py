"""ResNet: blocks that add their input to what they compute of it."""

import re
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np

from .. import functions as F
from .. import nn, random
from ..errors import RangeError
from ..io.files import PathLike
from ..nn import initial
from ..nn.containers import at
from ..numpy.arguments import Array
from ..tree import Module, static
from .chain import chain
from .loading import Arrays, Form, as_they_are, load_model, size_of

__all__ = ["ResNet", "ResNet18", "ResNet34", "ResNet50", "ResNet101", "ResNet152"]

STAGES = ((1, 1), (2, 2), (4, 2), (8, 2))  # channels in units of the stem's, and the stride of the first block
EXPANSION = 4  # of a bottleneck: its last convolution has so many times the channels of the others
FORMS_OF_BLOCKS = ("torchvision", "dezero")


class Block(Module):
    """relu(x + f(x)), where f is convolutions and norms with relu between them: (N, C, H, W) -> (N, D, H / stride, W / stride).

    A shortcut, a convolution 1x1 with its norm, stands for x where sizes change.
    """

    convs: tuple[nn.Conv2d, ...]
    norms: tuple[nn.BatchNorm, ...]
    shortcut: nn.Conv2d | None = None
    shortcut_norm: nn.BatchNorm | None = None

    def __call__(self, x: Array, *, train: bool = False) -> Array:
        y = x
        for i, (conv, norm) in enumerate(zip(self.convs, self.norms, strict=True)):
            y = norm(conv(y if i == 0 else F.relu(y)), train=train)
        if self.shortcut is not None and self.shortcut_norm is not None:
            x = self.shortcut_norm(self.shortcut(x), train=train)
        return F.relu(x + y)


class Stage(Module):
    """Blocks one after the other; with `checkpoint`, gradients keep only what lies between them."""

    layers: tuple[Block, ...]

    def __call__(self, x: Array, *, train: bool = False, checkpoint: bool = False) -> Array:
        return chain("layers", self.layers, x, train=train, checkpoint=checkpoint)


class ResNet(Module):
    """The networks of He, Zhang, Ren and Sun: x (N, channels, H, W) -> logits (N, classes).

    `nn.capture` finds a stage at `stages/3` and a block at `stages/3/layers/1`.
    With train=True the norms compute statistics: call it in `nn.step`.
    Source: "Deep residual learning for image recognition", CVPR 2016.
    """

    DEPTHS: ClassVar[tuple[int, ...]] = ()  # blocks in each stage
    BOTTLENECK: ClassVar[bool] = True  # blocks of 1x1, 3x3, 1x1; otherwise of two 3x3
    stem: nn.Conv2d
    norm: nn.BatchNorm
    stages: tuple[Stage, ...]
    head: nn.Linear
    pool_padding: int = static(default=1)
    checkpoint: bool = static(default=False, kw_only=True)

    @classmethod
    def init(
        cls,
        key: Array,
        classes: int = 1000,
        *,
        channels: int = 3,
        width: int = 64,
        form: str = "torchvision",
        checkpoint: bool = False,
        weight_init: initial.Initialiser = initial.he_normal,
        dtype: Any = np.float32,
    ) -> Self:
        """Draw the network; `width` counts the channels of the stem.

        `form` says where the published variants differ. "torchvision": the 3x3 of a bottleneck has the stride. "dezero", as
        in the paper: the first 1x1 has it; the stem has a bias, its pooling no padding, and the norms eps=2e-5.
        With `checkpoint`, gradients compute the blocks again instead of keeping what lies within.
        Raises RangeError for another form, or a size that is not an integer of at least 1.
        """
        if form not in FORMS_OF_BLOCKS:
            raise RangeError(f"{cls.__name__}: the form is 'torchvision' or 'dezero', got {form!r}.")
        if not cls.DEPTHS:
            raise RangeError("ResNet has no depth of its own: write ResNet18.init(key), or ResNet34, 50, 101, 152.")
        make = _Maker(random.split(key, 8 * sum(cls.DEPTHS) + 3), form, weight_init, dtype)
        stem = make.conv(channels, width, 7, 2, bias=form == "dezero")
        stages, inputs = [], width
        for depth, (factor, stride) in zip(cls.DEPTHS, STAGES, strict=True):
            blocks = []
            for i in range(depth):
                outputs = factor * width * (EXPANSION if cls.BOTTLENECK else 1)
                blocks.append(make.block(inputs, factor * width, outputs, stride if i == 0 else 1, cls.BOTTLENECK))
                inputs = outputs
            stages.append(Stage(tuple(blocks)))
        head = nn.Linear.init(make.key(), inputs, classes, weight_init=weight_init, dtype=dtype)
        padding = 0 if form == "dezero" else 1
        return cls(stem, make.norm(width), tuple(stages), head, padding, checkpoint=checkpoint)

    @classmethod
    def load(cls, path: PathLike, *, dtype: Any = None) -> Self:
        """The network in a file: of `fd.save`, of DeZero's `save_weights` (npz), or of torchvision or timm (safetensors).

        Sizes, classes, form and, without `dtype`, the dtype are those of the file.
        Raises FileError for another file, OSError if there is none.
        """
        return load_model(cls, path, dtype, FORMS, _options)

    def features(self, x: Array, *, train: bool = False) -> Array:
        """The output of the last stage: x (N, channels, H, W) -> (N, C, H / 32, W / 32)."""
        x = F.relu(self.norm(self.stem(x), train=train))
        x = F.max_pool2d(x, 3, stride=2, padding=self.pool_padding)
        for i, stage in enumerate(self.stages):
            with at(f"stages/{i}"):
                x = stage(x, train=train, checkpoint=self.checkpoint)
        return x

    def __call__(self, x: Array, *, key: Array | None = None, train: bool = False) -> Array:
        x = self.features(x, train=train)
        return self.head(F.global_avg_pool(x))


class _Maker:
    """Draws convolutions, norms and blocks, each with the next key."""

    def __init__(self, keys: Any, form: str, weight_init: initial.Initialiser, dtype: Any) -> None:
        self.keys, self.form, self.weight_init, self.dtype = iter(keys), form, weight_init, dtype

    def key(self) -> Array:
        return next(self.keys)

    def conv(self, inputs: int, outputs: int, size: int, stride: int, *, bias: bool = False) -> nn.Conv2d:
        options: dict[str, Any] = {"weight_init": self.weight_init, "dtype": self.dtype}
        return nn.Conv2d.init(self.key(), inputs, outputs, size, stride=stride, padding=size // 2, bias=bias, **options)

    def norm(self, size: int) -> nn.BatchNorm:
        return nn.BatchNorm.init(self.key(), size, eps=2e-5 if self.form == "dezero" else 1e-5, dtype=self.dtype)

    def block(self, inputs: int, middle: int, outputs: int, stride: int, bottleneck: bool) -> Block:
        if bottleneck:
            first, second = (stride, 1) if self.form == "dezero" else (1, stride)
            convs: tuple[nn.Conv2d, ...] = (
                self.conv(inputs, middle, 1, first),
                self.conv(middle, middle, 3, second),
                self.conv(middle, outputs, 1, 1),
            )
            norms: tuple[nn.BatchNorm, ...] = (self.norm(middle), self.norm(middle), self.norm(outputs))
        else:
            convs = (self.conv(inputs, outputs, 3, stride), self.conv(outputs, outputs, 3, 1))
            norms = (self.norm(outputs), self.norm(outputs))
        if stride == 1 and inputs == outputs:
            return Block(convs, norms)
        return Block(convs, norms, self.conv(inputs, outputs, 1, stride), self.norm(outputs))


class ResNet18(ResNet):
    """ResNet with 2, 2, 2, 2 blocks of two convolutions: 11.7 million parameters."""

    DEPTHS = (2, 2, 2, 2)
    BOTTLENECK = False


class ResNet34(ResNet):
    """ResNet with 3, 4, 6, 3 blocks of two convolutions: 21.8 million parameters."""

    DEPTHS = (3, 4, 6, 3)
    BOTTLENECK = False


class ResNet50(ResNet):
    """ResNet with 3, 4, 6, 3 bottlenecks: 25.6 million parameters."""

    DEPTHS = (3, 4, 6, 3)


class ResNet101(ResNet):
    """ResNet with 3, 4, 23, 3 bottlenecks: 44.5 million parameters."""

    DEPTHS = (3, 4, 23, 3)


class ResNet152(ResNet):
    """ResNet with 3, 8, 36, 3 bottlenecks: 60.2 million parameters."""

    DEPTHS = (3, 8, 36, 3)


# Files

DEZERO_FIELDS = {"gamma": "scale", "beta": "shift", "avg_mean": "mean", "avg_var": "variance"}
TORCH_FIELDS = {"weight": "scale", "bias": "shift", "running_mean": "mean", "running_var": "variance"}


def _part(kind: str, number: int, field: str, fields: Mapping[str, str]) -> str:
    """The name within a block: `convs/0/W`, `norms/2/scale`; the fourth of DeZero's stands in the shortcut."""
    if kind == "conv":
        return f"shortcut/{field}" if number == 4 else f"convs/{number - 1}/{field}"
    return f"shortcut_norm/{fields[field]}" if number == 4 else f"norms/{number - 1}/{fields[field]}"


def _of_dezero(names: Mapping[str, Any]) -> Mapping[str, str]:
    """`res2/b1/conv1/W` is `stages/0/layers/1/convs/0/W`, `bn1/avg_var` is `norm/variance`."""
    keys = {"conv1/W": "stem/W", "conv1/b": "stem/b", "fc6/W": "head/W", "fc6/b": "head/b"}
    keys |= {f"bn1/{theirs}": f"norm/{ours}" for theirs, ours in DEZERO_FIELDS.items()}
    for name in names:
        pattern = r"res([2-5])/(?:a|b(\d+))/(?:(conv)([1-4])/(W|b)|(bn)([1-4])/(gamma|beta|avg_mean|avg_var))"
        if match := re.fullmatch(pattern, name):
            stage, block, *parts = match.groups()
            kind, number, field = [part for part in parts if part]
            place = f"stages/{int(stage) - 2}/layers/{int(block or 0)}"
            keys[name] = f"{place}/{_part(kind, int(number), field, DEZERO_FIELDS)}"
    return keys


def _of_torch(names: Mapping[str, Any]) -> Mapping[str, str]:
    """`layer1.1.conv1.weight` is `stages/0/layers/1/convs/0/W`, `layer2.0.downsample.1.bias` `stages/1/layers/0/shortcut_norm/shift`."""
    keys = {"conv1.weight": "stem/W", "conv1.bias": "stem/b", "fc.weight": "head/W", "fc.bias": "head/b"}
    keys |= {f"bn1.{theirs}": f"norm/{ours}" for theirs, ours in TORCH_FIELDS.items()}
    for name in names:
        if match := re.fullmatch(r"layer([1-4])\.(\d+)\.(?:(conv|bn)([1-3])|downsample\.([01]))\.(\w+)", name):
            stage, block, kind, number, down, field = match.groups()
            kind, number = (kind, int(number)) if kind else (("conv", "bn")[int(down)], 4)
            field = {"weight": "W", "bias": "b"}.get(field, field) if kind == "conv" else field
            if kind == "conv" or field in TORCH_FIELDS:
                keys[name] = f"stages/{int(stage) - 1}/layers/{block}/{_part(kind, number, field, TORCH_FIELDS)}"
    return keys


FORMS = (
    Form("fd.save", "stem/W", as_they_are),
    Form("DeZero", "res2/a/conv1/W", _of_dezero),
    Form("torchvision", "layer1.0.conv1.weight", _of_torch, turned=True),
)


def _options(form: str, arrays: Arrays) -> Mapping[str, Any]:
    """The options of `init` that give arrays of these shapes. A bias of the stem tells the form."""
    return {
        "classes": size_of(arrays, "head/b", 0, 1000),
        "channels": size_of(arrays, "stem/W", 1, 3),
        "width": size_of(arrays, "stem/W", 0, 64),
        "form": "dezero" if form == "DeZero" or "stem/b" in arrays else "torchvision",
    }
