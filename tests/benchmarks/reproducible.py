"""What `reproducible=True` costs on one process, by the number of shards: steps with Adam, beside the ordinary gradient of the batch."""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

import fdezero as fd
from fdezero import functions as F
from fdezero import nn, optim

from .measure import Legs, compared, compiled_ways

SHARDS = (1, 2, 4, 8)
CASES = {"784-1000-10, 128 images": ((784, 1000, 10), 128), "784-4096-4096-10, 512 images": ((784, 4096, 4096, 10), 512)}


def loss_of(model: Any, x: Any, t: Any) -> Any:
    return F.softmax_cross_entropy(model(x), t)


def step_of(gradient: Callable[..., Any], opt: Any) -> Callable[..., Any]:
    def step(model: Any, state: Any, x: Any, t: Any) -> Any:
        loss, grads = gradient(model, x, t)
        model, state = opt.step(model, grads, state)
        return loss, model, state

    return step


def legs(widths: tuple[int, ...], batch: int) -> Legs:
    """Steps from one state: of the whole batch, and of its shards."""
    rng, opt = np.random.default_rng(0), optim.adam(1e-4)
    model = nn.MLP.init(fd.random.key(0), widths, activation=F.relu)
    x, t = rng.random((batch, widths[0]), np.float32), rng.integers(0, widths[-1], batch)
    world = fd.distributed.world("none")
    made = {"the whole batch (floor)": fd.value_and_grad(loss_of)}
    for shards in SHARDS:
        name = f"{shards} shard{'s' * (shards > 1)}"
        made[name] = fd.distributed.value_and_grad(loss_of, world, reproducible=True, shards=shards)
    way = list(compiled_ways().values())[-1]  # native, where there is a compiler
    return {
        name: functools.partial(_loss, way(step_of(gradient, opt)), model, opt.init(model), x, t)
        for name, gradient in made.items()
    }


def _loss(step: Callable[..., Any], *args: Any) -> Any:
    return step(*args)[0]


def run() -> str:
    """Milliseconds of a step."""
    return compared("a step on one process", {name: legs(*case) for name, case in CASES.items()}, 7, rtol=1e-4)
