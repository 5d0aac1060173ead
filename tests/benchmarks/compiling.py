"""The first call of a compiled function: its time and its memory, for programs of 100 to 20,000 operations, each in a fresh process."""

import os
from collections.abc import Callable
from multiprocessing import get_context
from typing import Any

import numpy as np

import fdezero as fd

from .lstm import cell
from .measure import JAX, NATIVE, compiled_ways, peer, table
from .memory import forget_peak, held, most_held

LENGTHS = (100, 1000, 5000, 20_000)
# The longest programs for which a way is measured: JAX needs more than 30 GB for an LSTM of 5,000 operations.
MOST = {NATIVE: 5000, JAX: 5000}
MOST_OF_LSTM = {NATIVE: 5000, JAX: 1000}
OF_A_STEP = 16  # operations of an LSTM's cell, and of what is around it
HIDDEN = 128


def chain(sin: Callable[[Any], Any], length: int) -> Callable[[Any], Any]:
    def function(x: Any) -> Any:
        for _ in range(length // 4):
            x = sin(x * 1.0001 + 0.0001) * 0.9999
        return x.sum()

    return function


def lstm(sigmoid: Callable[[Any], Any], tanh: Callable[[Any], Any], length: int) -> Callable[[Any], Any]:
    step = cell(sigmoid, tanh)

    def function(given: Any) -> Any:
        inputs, W = given
        h = c = inputs[0, :, :HIDDEN] * 0.0
        for k in range(length // OF_A_STEP):
            h, c = step(c, inputs[k] + h @ W)
        return h.sum()

    return function


def example(program: str, length: int) -> Any:
    if program == "number":
        return np.float64(0.3)
    if program == "chain":
        return np.linspace(0, 1, 8)
    rng = np.random.default_rng(0)
    return rng.standard_normal((length // OF_A_STEP, 4, 4 * HIDDEN), np.float32), 0.1 * rng.standard_normal((HIDDEN, 4 * HIDDEN), np.float32)


def _first_call(way: str, program: str, length: int) -> tuple[float, float]:
    """CPU seconds, those of a C++ compiler included, and MB of the first call of a gradient, after one of a tiny program."""
    x = example(program, length)
    if way == JAX:
        jax = peer("jax")
        nn, transform, wait = jax.nn, lambda f: jax.jit(jax.grad(f)), jax.block_until_ready
        sin, sigmoid, tanh = jax.numpy.sin, nn.sigmoid, jax.numpy.tanh
    else:
        compiled = compiled_ways()[way]
        transform, wait = lambda f: compiled(fd.grad(f)), lambda y: y
        sin, sigmoid, tanh = np.sin, fd.functions.sigmoid, np.tanh
    function = lstm(sigmoid, tanh, length) if program == "lstm" else chain(sin, length)
    tiny = transform(lambda x: sin(x).sum())
    for _ in range(2):
        wait(tiny(np.ones(3)))
    forget_peak()
    before, start = held(), os.times()
    gradient = transform(function)
    for _ in range(2):  # a library is loaded with the second
        wait(gradient(x))
    end = os.times()
    used = sum(getattr(end, name) - getattr(start, name) for name in ("user", "system", "children_user", "children_system"))
    return used, most_held() - before


PROGRAMS = {
    "a chain on 8 float64": "chain",
    "a chain on one number": "number",
    "an LSTM, 128 units": "lstm",
}


def run() -> str:
    os.environ["FDEZERO_NATIVE_CACHE"] = "0"
    ways = [*compiled_ways(), *([JAX] if peer("jax") is not None else [])]
    rows = []
    for name, program in PROGRAMS.items():
        for way in ways:
            cells: list[str] = []
            most = (MOST_OF_LSTM if program == "lstm" else MOST).get(way, max(LENGTHS))
            for length in LENGTHS:
                if length > most:
                    cells += ["", ""]
                    continue
                with get_context("spawn").Pool(1) as pool:
                    used, mb = pool.apply(_first_call, (way, program, length))
                cells += [f"{used:.2f}", f"{mb:.0f}"]
            rows.append([f"{name}: {way}", *cells])
    heads = [text for length in LENGTHS for text in (f"{length:,} operations, CPU s", "MB")]
    return table(["the gradient's first two calls", *heads], rows)
