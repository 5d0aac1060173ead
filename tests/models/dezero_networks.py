"""DeZero's own VGG16 and ResNet with fewer channels, random parameters, and one mistake of its release mended.

`dezero.models.ResNet` of 0.0.13 cannot be made: it calls `L.Conv2d(in, out, size, stride, pad)`, but the class takes
`(out, size, stride, pad)` and finds the number of channels in by itself. Here `L.Conv2d` gets what it takes; the networks, their
forward runs and `save_weights` are DeZero's.
"""

import importlib
from types import SimpleNamespace
from typing import Any

import numpy as np

from ..nn.dezero_reference import dezero

models = importlib.import_module("dezero.models")
L: Any = dezero.layers


def vgg16(width: int, hidden: int, classes: int) -> Any:
    network = models.VGG16()
    for block in range(1, 6):
        for i in range(1, 4):
            if hasattr(network, name := f"conv{block}_{i}"):
                channels = getattr(network, name).out_channels * width // 64
                setattr(network, name, L.Conv2d(channels, kernel_size=3, stride=1, pad=1))
    network.fc6, network.fc7, network.fc8 = L.Linear(hidden), L.Linear(hidden), L.Linear(classes)
    return network


def resnet(depth: int, width: int, classes: int) -> Any:
    def narrow(channels: int) -> int:
        return channels if channels == 3 else channels * width // 64

    def conv(channels: int, out: int, size: int, stride: int, pad: int, nobias: bool = False) -> Any:
        return L.Conv2d(narrow(out), size, stride, pad, nobias, in_channels=narrow(channels))

    layers, models.L = models.L, SimpleNamespace(Conv2d=conv, BatchNorm=L.BatchNorm, Linear=lambda _: L.Linear(classes))
    try:
        return getattr(models, f"ResNet{depth}")()
    finally:
        models.L = layers


def logits(network: Any, x: np.ndarray) -> np.ndarray:
    with dezero.test_mode(), dezero.no_grad():
        return np.asarray(network(x).data)


def randomised(network: Any, x: np.ndarray, seed: int = 0) -> Any:
    """The network with random biases, scales and statistics. It runs once, because DeZero draws parameters at the first call."""
    logits(network, x)
    rng = np.random.default_rng(seed)
    for parameter in network.params():
        low, high = {"avg_var": (0.5, 1.5), "gamma": (0.3, 0.7)}.get(parameter.name, (0, 0.4))
        parameter.data = parameter.data.astype(x.dtype) if parameter.name == "W" else rng.uniform(low, high, parameter.shape).astype(x.dtype)
    return network
