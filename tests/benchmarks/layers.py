"""Single convolutions of known networks: forward, the gradient of the images (dx) and that of the kernel (dw), in GFLOP/s."""

import functools
from typing import Any, NamedTuple

import numpy as np

import fdezero as fd
from fdezero import functions as F

from .measure import JAX, Legs, agree, compiled_ways, interleaved, jitted, median, peer, table, winograd_way

REPETITIONS = 5
FIRST, LAST = "PyTorch, channels first", "PyTorch, channels last"
DIRECTIONS = ("forward", "dx", "dw")


class Layer(NamedTuple):
    """A convolution of square images; padding keeps their size, divided by the stride."""

    examples: int
    channels: int
    size: int
    filters: int
    kernel: int
    stride: int = 1

    @property
    def padding(self) -> int:
        return self.kernel // 2

    @property
    def out(self) -> int:
        return -(-self.size // self.stride)

    @property
    def operations(self) -> int:
        return 2 * self.examples * self.channels * self.filters * (self.kernel * self.out) ** 2


LAYERS = {
    "3x3, 1 > 32 @ 28, batch 64": Layer(64, 1, 28, 32, 3),
    "3x3, 32 > 64 @ 14, batch 64": Layer(64, 32, 14, 64, 3),
    "3x3, 64 @ 56, batch 16": Layer(16, 64, 56, 64, 3),
    "3x3, 256 @ 14, batch 16": Layer(16, 256, 14, 256, 3),
    "1x1, 256 > 64 @ 56, batch 16": Layer(16, 256, 56, 64, 1),
    "1x1, 1024 > 256 @ 14, batch 16": Layer(16, 1024, 14, 256, 1),
    "7x7 / 2, 3 > 64 @ 224, batch 4": Layer(4, 3, 224, 64, 7, 2),
    "3x3 / 2, 128 @ 56, batch 16": Layer(16, 128, 56, 128, 3, 2),
    "3x3, 3 > 64 @ 224, batch 4": Layer(4, 3, 224, 64, 3),
    "3x3, 64 @ 224, batch 2": Layer(2, 64, 224, 64, 3),
    "3x3, 256 @ 56, batch 4": Layer(4, 256, 56, 256, 3),
}


def fdezero_form(layer: Layer, direction: str) -> Any:
    """Of images x, kernels w and cotangents g. The compiler drops the forward pass where only a gradient is wanted."""
    conv = functools.partial(F.conv2d, stride=layer.stride, padding=layer.padding)
    return {
        "forward": lambda x, w, g: conv(x, w),
        "dx": lambda x, w, g: fd.vjp(lambda x: conv(x, w), x)[1](g)[0],
        "dw": lambda x, w, g: fd.vjp(lambda w: conv(x, w), w)[1](g)[0],
    }[direction]


def jax_form(jax: Any, layer: Layer, direction: str) -> Any:
    """Images channels last, kernels (height, width, channels, filters): the faster of JAX's layouts on a CPU."""
    pads, steps = [(layer.padding, layer.padding)] * 2, (layer.stride,) * 2
    conv = lambda x, w: jax.lax.conv_general_dilated(x, w, steps, pads, dimension_numbers=("NHWC", "HWIO", "NHWC"))
    return {
        "forward": lambda x, w, g: conv(x, w),
        "dx": lambda x, w, g: jax.vjp(lambda x: conv(x, w), x)[1](g)[0],
        "dw": lambda x, w, g: jax.vjp(lambda w: conv(x, w), w)[1](g)[0],
    }[direction]


def torch_leg(torch: Any, layer: Layer, direction: str, arrays: Any, is_last: bool) -> Any:
    form = torch.channels_last if is_last else torch.contiguous_format
    x, w, g = [torch.from_numpy(np.ascontiguousarray(z)).to(memory_format=form) for z in arrays]
    steps, pads = (layer.stride,) * 2, (layer.padding,) * 2
    if direction == "forward":
        return lambda: torch.nn.functional.conv2d(x, w, stride=steps, padding=pads)
    wanted = [direction == "dx", direction == "dw", False]
    back = torch.ops.aten.convolution_backward
    index = DIRECTIONS.index(direction) - 1
    return lambda: back(g, x, w, None, steps, pads, (1, 1), False, (0, 0), 1, wanted)[index]


def channels_last(z: np.ndarray) -> np.ndarray:
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(z, 1, -1)), -1, 1)


def legs_of(layer: Layer, direction: str) -> Legs:
    rng, normal = np.random.default_rng(0), np.random.Generator.standard_normal
    shapes = [(layer.examples, layer.channels, layer.size, layer.size), (layer.filters, layer.channels, layer.kernel, layer.kernel)]
    shapes += [(layer.examples, layer.filters, layer.out, layer.out)]
    arrays = [channels_last(normal(rng, shape, np.float32)) for shape in shapes]
    function = fdezero_form(layer, direction)
    ways = {**compiled_ways(), **winograd_way()}
    legs: Legs = {name: functools.partial(way(function), *arrays) for name, way in ways.items()}
    if (torch := peer("torch")) is not None:
        legs |= {name: torch_leg(torch, layer, direction, arrays, name == LAST) for name in (FIRST, LAST)}
    if (jax := peer("jax")) is not None:
        x, w, g = arrays
        given = [x.transpose(0, 2, 3, 1), w.transpose(2, 3, 1, 0), g.transpose(0, 2, 3, 1)]
        back = (3, 2, 0, 1) if direction == "dw" else (0, 3, 1, 2)
        leg = jitted(jax, jax_form(jax, layer, direction), *given)
        agree({**legs, JAX: lambda: np.asarray(leg()).transpose(back)}, rtol=1e-2, atol=1e-3 * layer.operations**0.5)
        return {**legs, JAX: leg}
    agree(legs, rtol=1e-2, atol=1e-3 * layer.operations**0.5)
    return legs


def run() -> str:
    found = {}
    for name, layer in LAYERS.items():
        for direction in DIRECTIONS:
            times = interleaved(legs_of(layer, direction), REPETITIONS)
            found[f"{name}, {direction}"] = {leg: f"{layer.operations / median(t).cpu / 1e9:.0f}" for leg, t in times.items()}
    heads = list(dict.fromkeys(leg for cells in found.values() for leg in cells))
    return table(["GFLOP/s", *heads], [[name, *(cells.get(leg, "") for leg in heads)] for name, cells in found.items()])
