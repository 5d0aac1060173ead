"""The networks of torchvision in plain `torch.nn`, with torchvision's names of parameters and with fewer channels on request."""

from typing import Any

import torch

nn: Any = torch.nn


class VGG(nn.Module):  # type: ignore[misc]  # torch may be missing
    def __init__(self, depths: tuple[int, ...], norm: bool, width: int, hidden: int, classes: int) -> None:
        super().__init__()
        layers: list[Any] = []
        channels = 3
        for depth, factor in zip(depths, (1, 2, 4, 8, 8), strict=True):
            for _ in range(depth):
                layers.append(nn.Conv2d(channels, factor * width, kernel_size=3, padding=1))
                channels = factor * width
                layers += [nn.BatchNorm2d(channels)] if norm else []
                layers.append(nn.ReLU())
            layers.append(nn.MaxPool2d(kernel_size=2, stride=2))
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d((7, 7))
        self.classifier = nn.Sequential(
            nn.Linear(channels * 49, hidden), nn.ReLU(), nn.Dropout(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Dropout(), nn.Linear(hidden, classes)
        )

    def forward(self, x: Any) -> Any:
        return self.classifier(torch.flatten(self.avgpool(self.features(x)), 1))


class Block(nn.Module):  # type: ignore[misc]  # as above
    def __init__(self, channels: int, middle: int, stride: int, bottleneck: bool) -> None:
        super().__init__()
        out = 4 * middle if bottleneck else middle
        shapes = [(channels, middle, 1, 1), (middle, middle, 3, stride), (middle, out, 1, 1)] if bottleneck else [(channels, out, 3, stride), (out, out, 3, 1)]
        self.count = len(shapes)
        for i, (before, after, size, step) in enumerate(shapes, 1):
            setattr(self, f"conv{i}", nn.Conv2d(before, after, size, stride=step, padding=size // 2, bias=False))
            setattr(self, f"bn{i}", nn.BatchNorm2d(after))
        self.downsample = None
        if stride != 1 or channels != out:
            self.downsample = nn.Sequential(nn.Conv2d(channels, out, 1, stride=stride, bias=False), nn.BatchNorm2d(out))

    def forward(self, x: Any) -> Any:
        y = x
        for i in range(1, self.count + 1):
            y = getattr(self, f"bn{i}")(getattr(self, f"conv{i}")(y))
            y = torch.relu(y) if i < self.count else y
        return torch.relu(y + (x if self.downsample is None else self.downsample(x)))


class ResNet(nn.Module):  # type: ignore[misc]  # as above
    def __init__(self, depths: tuple[int, ...], bottleneck: bool, width: int, classes: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False), nn.BatchNorm2d(width)
        self.maxpool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
        channels = width
        for i, depth in enumerate(depths):
            blocks = []
            for j in range(depth):
                blocks.append(Block(channels, 2**i * width, 2 if i and not j else 1, bottleneck))
                channels = 2**i * width * (4 if bottleneck else 1)
            setattr(self, f"layer{i + 1}", nn.Sequential(*blocks))
        self.fc = nn.Linear(channels, classes)

    def forward(self, x: Any) -> Any:
        x = self.maxpool(torch.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(x.mean((2, 3)))


class Fire(nn.Module):  # type: ignore[misc]  # as above
    def __init__(self, channels: int, squeeze: int, expand: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(channels, squeeze, 1)
        self.expand1x1, self.expand3x3 = nn.Conv2d(squeeze, expand, 1), nn.Conv2d(squeeze, expand, 3, padding=1)

    def forward(self, x: Any) -> Any:
        x = torch.relu(self.squeeze(x))
        return torch.cat([torch.relu(self.expand1x1(x)), torch.relu(self.expand3x3(x))], 1)


class SqueezeNet(nn.Module):  # type: ignore[misc]  # as above
    def __init__(self, version: str, divide: int, classes: int) -> None:
        super().__init__()

        def fire(channels: int, squeeze: int, expand: int) -> Fire:
            return Fire(channels // divide, squeeze // divide, expand // divide)

        def pool() -> Any:
            return nn.MaxPool2d(kernel_size=3, stride=2, ceil_mode=True)

        layers = {
            "1.0": lambda: [nn.Conv2d(3, 96 // divide, 7, stride=2), nn.ReLU(), pool(), fire(96, 16, 64), fire(128, 16, 64), fire(128, 32, 128), pool(),
                            fire(256, 32, 128), fire(256, 48, 192), fire(384, 48, 192), fire(384, 64, 256), pool(), fire(512, 64, 256)],
            "1.1": lambda: [nn.Conv2d(3, 64 // divide, 3, stride=2), nn.ReLU(), pool(), fire(64, 16, 64), fire(128, 16, 64), pool(),
                            fire(128, 32, 128), fire(256, 32, 128), pool(), fire(256, 48, 192), fire(384, 48, 192), fire(384, 64, 256), fire(512, 64, 256)],
        }  # fmt: skip
        self.features = nn.Sequential(*layers[version]())
        self.classifier = nn.Sequential(nn.Dropout(), nn.Conv2d(512 // divide, classes, 1), nn.ReLU(), nn.AdaptiveAvgPool2d((1, 1)))

    def forward(self, x: Any) -> Any:
        return torch.flatten(self.classifier(self.features(x)), 1)


def randomised(network: Any, seed: int = 0) -> Any:
    """The network in inference, with random biases, scales and statistics."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            if name.endswith("num_batches_tracked"):
                continue
            if name.endswith("running_var"):
                tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)
            elif tensor.ndim == 1:
                tensor.copy_(torch.rand(tensor.shape, generator=generator) * 0.4 + (0.0 if "bias" in name or "mean" in name else 0.3))
    return network.eval()
