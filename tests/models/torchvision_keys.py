"""The names and shapes of torchvision's state dicts, written down from its published models; with fewer channels on request."""

from collections.abc import Iterator

Shapes = dict[str, tuple[int, ...]]

# The numbers in `features` of the convolutions, and their channels in units of the first one's
VGG = {
    "vgg11": ((0, 1), (3, 2), (6, 4), (8, 4), (11, 8), (13, 8), (16, 8), (18, 8)),
    "vgg13": ((0, 1), (2, 1), (5, 2), (7, 2), (10, 4), (12, 4), (15, 8), (17, 8), (20, 8), (22, 8)),
    "vgg16": ((0, 1), (2, 1), (5, 2), (7, 2), (10, 4), (12, 4), (14, 4), (17, 8), (19, 8), (21, 8), (24, 8), (26, 8), (28, 8)),
    "vgg19": ((0, 1), (2, 1), (5, 2), (7, 2), (10, 4), (12, 4), (14, 4), (16, 4), (19, 8), (21, 8), (23, 8), (25, 8), (28, 8), (30, 8), (32, 8), (34, 8)),
    "vgg11_bn": ((0, 1), (4, 2), (8, 4), (11, 4), (15, 8), (18, 8), (22, 8), (25, 8)),
    "vgg16_bn": ((0, 1), (3, 1), (7, 2), (10, 2), (14, 4), (17, 4), (20, 4), (24, 8), (27, 8), (30, 8), (34, 8), (37, 8), (40, 8)),
}
RESNET = {"resnet18": (2, 2, 2, 2), "resnet34": (3, 4, 6, 3), "resnet50": (3, 4, 6, 3), "resnet101": (3, 4, 23, 3), "resnet152": (3, 8, 36, 3)}
# The numbers in `features` of the fire modules
SQUEEZENET = {"squeezenet1_0": (3, 4, 5, 7, 8, 9, 10, 12), "squeezenet1_1": (3, 4, 6, 7, 9, 10, 11, 12)}
# Some of our names beside theirs: one of each kind, early and late
PLACES = {
    "vgg16": {"blocks/0/convs/1/b": "features.2.bias", "blocks/2/convs/0/W": "features.10.weight", "blocks/4/convs/2/W": "features.28.weight",
              "head/layers/0/W": "classifier.0.weight", "head/layers/1/W": "classifier.3.weight", "head/layers/2/b": "classifier.6.bias"},
    "vgg16_bn": {"blocks/0/norms/1/scale": "features.4.weight", "blocks/4/norms/2/variance": "features.41.running_var", "blocks/4/convs/2/b": "features.40.bias"},
    "resnet18": {"stem/W": "conv1.weight", "norm/shift": "bn1.bias", "stages/0/layers/1/convs/1/W": "layer1.1.conv2.weight", "head/W": "fc.weight",
                 "stages/3/layers/0/shortcut/W": "layer4.0.downsample.0.weight", "stages/3/layers/1/norms/0/mean": "layer4.1.bn1.running_mean"},
    "resnet50": {"stages/0/layers/0/shortcut_norm/variance": "layer1.0.downsample.1.running_var", "stages/2/layers/5/convs/2/W": "layer3.5.conv3.weight",
                 "stages/2/layers/5/norms/2/scale": "layer3.5.bn3.weight", "head/b": "fc.bias"},
    "squeezenet1_0": {"stem/W": "features.0.weight", "fires/2/expand3/W": "features.5.expand3x3.weight", "fires/3/squeeze/b": "features.7.squeeze.bias"},
    "squeezenet1_1": {"fires/2/expand1/W": "features.6.expand1x1.weight", "fires/7/expand3/b": "features.12.expand3x3.bias", "head/W": "classifier.1.weight"},
}  # fmt: skip


def _layer(name: str, *weight: int, bias: bool = True) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield f"{name}.weight", weight
    if bias:
        yield f"{name}.bias", weight[:1]


def _norm(name: str, size: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    for field in ("weight", "bias", "running_mean", "running_var"):
        yield f"{name}.{field}", (size,)
    yield f"{name}.num_batches_tracked", ()


def shapes(name: str, width: int, hidden: int, classes: int) -> Shapes:
    """The shapes by their names. In SqueezeNet, `width` divides the channels."""
    if name in VGG:
        return dict(_vgg(name, width, hidden, classes))
    return dict(_resnet(name, width, classes) if name in RESNET else _squeezenet(name, width, classes))


def keys(name: str) -> list[str]:
    return [*shapes(name, 4, 24, 7)]


def _vgg(name: str, width: int, hidden: int, classes: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    before = 3
    for number, factor in VGG[name]:
        yield from _layer(f"features.{number}", factor * width, before, 3, 3)
        before = factor * width
        if name.endswith("bn"):
            yield from _norm(f"features.{number + 1}", before)
    yield from _layer("classifier.0", hidden, before * 49)
    yield from _layer("classifier.3", hidden, hidden)
    yield from _layer("classifier.6", classes, hidden)


def _resnet(name: str, width: int, classes: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield from _layer("conv1", width, 3, 7, 7, bias=False)
    yield from _norm("bn1", width)
    before, deep = width, name not in ("resnet18", "resnet34")
    for stage, depth in enumerate(RESNET[name]):
        middle = width << stage
        out = 4 * middle if deep else middle
        for block in range(depth):
            sizes = [(middle, before, 1), (middle, middle, 3), (out, middle, 1)] if deep else [(out, before, 3), (out, out, 3)]
            place = f"layer{stage + 1}.{block}"
            for i, (after, inside, size) in enumerate(sizes, 1):
                yield from _layer(f"{place}.conv{i}", after, inside, size, size, bias=False)
                yield from _norm(f"{place}.bn{i}", after)
            if block == 0 and (deep or stage):
                yield from _layer(f"{place}.downsample.0", out, before, 1, 1, bias=False)
                yield from _norm(f"{place}.downsample.1", out)
            before = out
    yield from _layer("fc", classes, before)


def _squeezenet(name: str, divide: int, classes: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    before, size = (96, 7) if name.endswith("0") else (64, 3)
    yield from _layer("features.0", before // divide, 3, size, size)
    for number, (squeeze, expand) in zip(SQUEEZENET[name], ((16, 64), (16, 64), (32, 128), (32, 128), (48, 192), (48, 192), (64, 256), (64, 256)), strict=True):
        yield from _layer(f"features.{number}.squeeze", squeeze // divide, before // divide, 1, 1)
        for part, side in (("expand1x1", 1), ("expand3x3", 3)):
            yield from _layer(f"features.{number}.{part}", expand // divide, squeeze // divide, side, side)
        before = 2 * expand
    yield from _layer("classifier.1", classes, before // divide, 1, 1)
