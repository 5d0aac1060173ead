"""A chain of 1,000 small operations on a scalar, on 8 and on 100 numbers, forward and backward: what an operation costs in itself."""

from collections.abc import Callable
from typing import Any

import numpy as np

import fdezero as fd

from .measure import FLOOR, JAX, TORCH, Legs, compared, jitted, ours, peer

LINKS, REPETITIONS = 250, 31  # four operations a link


def chain(sin: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def function(x: Any) -> Any:
        for _ in range(LINKS):
            x = sin(x * 1.0001 + 0.0001) * 0.9999
        return x

    return function


def floor(x: Any) -> Callable[[], Any]:
    """The forward pass, which leaves in one buffer what the backward pass needs; NumPy's numbers have no place to be written into."""
    if np.ndim(x) == 0:
        return lambda: scalar_floor(x)
    remembered, last, t = np.empty((LINKS, *x.shape)), np.empty_like(x), np.empty_like(x)
    rows = list(remembered)
    add, cos, multiply, ones, sin = np.add, np.cos, np.multiply, np.ones_like(x), np.sin
    a, b, c = np.array(1.0001), np.array(0.0001), np.array(0.9999)  # NumPy would make arrays of Python's numbers in every call

    def gradient() -> Any:
        y = x
        for row in rows:
            multiply(y, a, row)
            add(row, b, row)
            sin(row, last)
            y = multiply(last, c, last)
        cos(remembered, remembered)
        y = ones
        for row in reversed(rows):
            multiply(y, c, t)
            multiply(t, row, t)
            y = multiply(t, a, t)
        return t

    return gradient


def scalar_floor(x: Any) -> Any:
    remembered = []
    for _ in range(LINKS):
        y = x * 1.0001 + 0.0001
        remembered.append(y)
        x = np.sin(y) * 0.9999
    t = np.ones_like(x)
    for y in reversed(remembered):
        t = t * 0.9999 * np.cos(y) * 1.0001
    return t


def legs_for(x: Any) -> Legs:
    def summed(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def total(v: Any) -> Any:
            return function(v).sum()

        return total if np.ndim(x) else function

    legs = {FLOOR: floor(x), **ours(fd.grad(summed(chain(np.sin))), x)}
    if (jax := peer("jax")) is not None:
        legs[JAX] = jitted(jax, jax.grad(summed(chain(jax.numpy.sin))), x)
    if (autograd := peer("autograd")) is not None:
        theirs = autograd.grad(summed(chain(peer("autograd.numpy").sin)))
        legs["autograd"] = lambda: theirs(x)
    if (mygrad := peer("mygrad")) is not None:

        def mygrad_leg() -> Any:
            v = mygrad.tensor(x)
            chain(mygrad.sin)(v).sum().backward()
            return v.grad

        legs["mygrad"] = mygrad_leg
    if (torch := peer("torch")) is not None:

        def torch_leg() -> Any:
            v = torch.tensor(x, dtype=torch.float64, requires_grad=True)
            chain(torch.sin)(v).sum().backward()
            return v.grad.numpy()

        legs[TORCH] = torch_leg
    if (dezero := peer("dezero")) is not None:
        functions = peer("dezero.functions")

        def dezero_leg() -> Any:
            v = dezero.Variable(np.array(x))
            y = functions.sum(chain(functions.sin)(v))
            y.backward()
            return v.grad.data

        legs["DeZero"] = dezero_leg
    return legs


def run() -> str:
    cases = {"scalar": np.float64(0.5), "8 float64": np.linspace(0.1, 0.9, 8), "100 float64": np.linspace(0.1, 0.9, 100)}
    legs = {name: legs_for(x) for name, x in cases.items()}
    return compared("one operation, forward and backward", legs, REPETITIONS, unit="us", parts=4 * LINKS, rtol=1e-10)
