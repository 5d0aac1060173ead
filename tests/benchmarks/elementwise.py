"""Value and gradient of sum(sin(x) exp(-x²) + tanh(x)) at 10 million float32: what it is to run in blocks that fit the cache."""

import functools
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np

import fdezero as fd

from .measure import EAGER, FLOOR, JAX, TORCH, Legs, agree, compiled_ways, interleaved, jitted, peer, rows_of, timed

SIZE, REPETITIONS = 10**7, 5
BLOCKS = (8192, 16384, 32768, 65536)
TWO = ", two threads"
MEMORY = "beyond input and output, arrays"


def value(np: Any) -> Callable[[Any], Any]:
    def function(x: Any) -> Any:
        return np.sum(np.sin(x) * np.exp(-(x**2)) + np.tanh(x))

    return function


def floor(x: np.ndarray, block: int) -> Callable[[], tuple[Any, np.ndarray]]:
    """By hand, `block` entries at a time, with as much scratch memory as one block needs."""
    gradient, scratch = np.empty_like(x), np.empty((3, block), x.dtype)

    def value_and_grad() -> tuple[Any, np.ndarray]:
        total = 0.0
        for start in range(0, x.size, block):
            v, g = x[start : start + block], gradient[start : start + block]
            bell, wave, t = scratch[:, : v.size]
            np.multiply(v, v, out=bell)
            np.negative(bell, out=bell)
            np.exp(bell, out=bell)
            np.sin(v, out=wave)
            np.cos(v, out=g)
            np.multiply(v, wave, out=t)
            np.add(t, t, out=t)
            np.subtract(g, t, out=g)
            np.multiply(g, bell, out=g)
            np.multiply(wave, bell, out=wave)
            np.tanh(v, out=t)
            np.add(wave, t, out=wave)
            total += float(wave.sum())
            np.multiply(t, t, out=t)
            np.subtract(1, t, out=t)
            np.add(g, t, out=g)
        return total, gradient

    return value_and_grad


def torch_leg(torch: Any, x: np.ndarray) -> Callable[[], Any]:
    v = torch.from_numpy(x).requires_grad_()

    def leg() -> Any:
        v.grad = None
        y = value(torch)(v)
        y.backward()
        return y.detach(), v.grad

    return leg


def held(make: Callable[[], Callable[[], Any]], unit: int) -> str:
    """What NumPy holds at most in the second call of what `make` gives, without the gradient, in units of one array."""
    tracemalloc.start()
    try:
        leg = make()
        leg()
        tracemalloc.reset_peak()
        leg()
        return f"{tracemalloc.get_traced_memory()[1] / unit - 1:.2f}"
    finally:
        tracemalloc.stop()


def run() -> str:
    x = 2 * np.random.default_rng(0).random(SIZE, np.float32)
    function = fd.value_and_grad(value(np))
    best = min(BLOCKS, key=lambda block: min(timed(floor(x, block)).cpu for _ in range(2)))
    blocked = f"the same in blocks of {best}"

    def compiled(way: Callable[..., Any], threads: int) -> Callable[[], Any]:
        program = way(function, threads=threads)
        return lambda: program(x)

    makers = {
        FLOOR: lambda: floor(x, SIZE), blocked: lambda: floor(x, best), EAGER: lambda: lambda: function(x),
    }  # fmt: skip
    for name, way in compiled_ways().items():
        for threads in (1, 2):
            makers[name + TWO * (threads == 2)] = functools.partial(compiled, way, threads)
    memory = {name: held(make, x.nbytes) for name, make in makers.items()}
    legs: Legs = {name: make() for name, make in makers.items()}
    if (jax := peer("jax")) is not None:
        legs[JAX] = jitted(jax, jax.value_and_grad(value(jax.numpy)), x)
    if (torch := peer("torch")) is not None:
        legs[TORCH] = torch_leg(torch, x)
    agree(legs, rtol=1e-5, atol=1e-5)
    return rows_of("value and gradient", {"": interleaved(legs, REPETITIONS)}, "ms", extra={MEMORY: memory})
