"""What compiling adds: to a call, where there is next to nothing to compute, and to the first two, which record and write the source."""

import statistics
from collections.abc import Callable
from typing import Any

import numpy as np

import fdezero as fd
from fdezero import nn, optim

from .measure import peer, table, timed
from .mnist import BATCH, RATE, step_of

LAYERS, CALLS, REPETITIONS = 50, 200, 15
FIRST = 5


def small_model() -> nn.MLP:
    rng = np.random.default_rng(0)
    return nn.MLP(tuple(nn.Linear(rng.random((2, 2), np.float32), rng.random(2, np.float32)) for _ in range(LAYERS)))


def grown(model: Any) -> Any:
    return fd.tree.map(lambda w: w * 1.0001, model)


def per_call(bare: Callable[[], Any], leg: Callable[[], Any], calls: int, repetitions: int) -> tuple[float, float]:
    """The medians of CPU seconds a call, of `bare` and of what `leg` adds to it, both in turn."""

    def repeated(function: Callable[[], Any]) -> float:
        def loop() -> None:
            for _ in range(calls):
                function()  # no result is kept: one that is held is an array more to make

        return timed(loop).cpu / calls

    pairs = [(repeated(bare), repeated(leg)) for _ in range(repetitions)]
    return statistics.median(pair[0] for pair in pairs), statistics.median(pair[1] - pair[0] for pair in pairs)


def leaves_rows() -> list[list[str]]:
    model = small_model()
    leaves = fd.tree.leaves(model)
    pairs, factor = [(w, np.empty_like(w)) for w in leaves], np.float32(1.0001)

    def bare() -> None:
        for w, out in pairs:
            np.multiply(w, factor, out=out)

    compiled = fd.compile(grown, threads=1)
    legs = {"fdezero": lambda: compiled(model)}
    if (jax := peer("jax")) is not None:
        there, jitted = jax.device_put(leaves), jax.jit(lambda leaves: [w * 1.0001 for w in leaves])
        legs["JAX"] = lambda: jax.block_until_ready(jitted(there))
    rows = []
    for name, leg in legs.items():
        for mine, w in zip(fd.tree.leaves(leg()), leaves, strict=True):
            np.testing.assert_allclose(np.asarray(mine), w * 1.0001, 1e-6)
        floor, added = per_call(bare, leg, CALLS, REPETITIONS)
        rows.append([f"a call on {len(leaves)} leaves, each times 1.0001: {name}, us", f"{floor * 1e6:.1f}", f"{added * 1e6:.1f}"])
    return rows


def first_calls_row() -> list[str]:
    rng = np.random.default_rng(0)
    model, opt = nn.MLP.init(fd.random.key(0), (784, 1000, 10)), optim.sgd(RATE)
    arguments = model, opt.init(model), rng.random((BATCH, 784), np.float32), rng.integers(0, 10, BATCH)
    step = step_of(opt)

    def twice(step: Callable[..., Any]) -> None:
        step(*arguments)
        step(*arguments)

    twice(step)
    eager, added = per_call(lambda: twice(step), lambda: twice(fd.compile(step, threads=1)), 1, FIRST)
    return ["the first two calls of the MNIST step, ms", f"{eager * 1e3:.1f}", f"{added * 1e3:.1f}"]


def run() -> str:
    return table(["", "CPU of the bare NumPy calls, or of the eager step", "what compiling adds"], [*leaves_rows(), first_calls_row()])
