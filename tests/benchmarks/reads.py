"""The gradient of a loop that reads a value row by row: what a row costs, for 64, 256 and 1,024 rows."""

from collections.abc import Callable
from typing import Any

import numpy as np

import fdezero as fd

from .measure import FLOOR, JAX, TORCH, Legs, compared, jitted, ours, peer

LENGTHS, WIDTH, REPETITIONS = (64, 256, 1024), 128, 7


def loop(sin: Callable[[Any], Any], length: int) -> Callable[[Any], Any]:
    def total(x: Any) -> Any:
        y = 0.0
        for k in range(length):
            y = y + (sin(x[k]) * 0.5).sum()
        return y

    return total


def legs_for(length: int) -> Legs:
    x = np.random.default_rng(0).standard_normal((length, WIDTH))

    def floor() -> Any:
        y, gradient = 0.0, np.empty_like(x)
        for row, t in zip(x, gradient, strict=True):
            y += np.multiply(np.sin(row), 0.5).sum()
            np.multiply(np.cos(row, out=t), 0.5, out=t)
        return y, gradient

    legs: Legs = {FLOOR: floor, **ours(fd.value_and_grad(loop(np.sin, length)), x)}
    if (autograd := peer("autograd")) is not None:
        theirs = autograd.value_and_grad(loop(peer("autograd.numpy").sin, length))
        legs["autograd"] = lambda: theirs(x)
    if (torch := peer("torch")) is not None:
        x_torch, total = torch.tensor(x), loop(torch.sin, length)

        def torch_leg() -> Any:
            v = x_torch.detach().requires_grad_()
            y = total(v)
            y.backward()
            return y.detach(), v.grad

        legs[TORCH] = torch_leg
    if (jax := peer("jax")) is not None:
        legs[JAX] = jitted(jax, jax.value_and_grad(loop(jax.numpy.sin, length)), x)
    return legs


def run() -> str:
    cases = {f"{length:,} rows of {WIDTH}": legs_for(length) for length in LENGTHS}
    return compared("value and gradient of a loop", cases, REPETITIONS, rtol=1e-9, atol=1e-12)
