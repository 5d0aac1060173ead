"""A chain of 1,000 small operations on a scalar and on 100 numbers, forward and backward: what an operation costs in itself."""

from collections.abc import Callable
from typing import Any

import numpy as np

import fdezero as fd

from .measure import Times, interleaved, median, peer, ratio, table

LINKS, REPETITIONS = 250, 31  # four operations a link
FLOOR = "NumPy by hand (floor)"


def chain(sin: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def function(x: Any) -> Any:
        for _ in range(LINKS):
            x = sin(x * 1.0001 + 0.0001) * 0.9999
        return x

    return function


def floor(x: Any) -> Any:
    """The forward pass with what it must remember, and the backward pass by hand."""
    remembered = []
    for _ in range(LINKS):
        y = x * 1.0001 + 0.0001
        remembered.append(y)
        x = np.sin(y) * 0.9999
    t = np.ones_like(x)
    for y in reversed(remembered):
        t = t * 0.9999 * np.cos(y) * 1.0001
    return t


def legs_for(x: Any) -> dict[str, Callable[[], Any]]:
    def summed(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
        return (lambda v: function(v).sum()) if np.ndim(x) else function

    ours = fd.grad(summed(chain(fd.numpy.sin)))
    legs: dict[str, Callable[[], Any]] = {FLOOR: lambda: floor(x), "fdezero": lambda: ours(x)}
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
        torch.set_num_threads(1)

        def torch_leg() -> Any:
            v = torch.tensor(x, dtype=torch.float64, requires_grad=True)
            chain(torch.sin)(v).sum().backward()
            return v.grad.numpy()

        legs["PyTorch"] = torch_leg
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
    results = []
    for x in (np.float64(0.5), np.linspace(0.1, 0.9, 100)):
        legs = legs_for(x)
        expected = floor(x)
        for name, leg in legs.items():
            np.testing.assert_allclose(leg(), expected, rtol=1e-10, err_msg=name)
        results.append(interleaved(legs, REPETITIONS))

    def cells(times: Times, name: str) -> list[str]:
        taken = median(times[name])
        microseconds = (1e6 * seconds / (4 * LINKS) for seconds in taken)
        return [*(f"{number:.2f}" for number in microseconds), f"{ratio(times[name], times[FLOOR]):.1f}"]

    heads = [f"{what}, {column}" for what in ("scalar", "100 float64") for column in ("CPU us", "wall us", "ratio")]
    rows = [[name, *(cell for times in results for cell in cells(times, name))] for name in results[0]]
    return table(["one operation, forward and backward", *heads], rows)
