"""Draw the derivatives of tanh, one order after the other, and the graph that computes one of them.

A gradient is a function like any other, so it has a gradient. Its program grows with each order, and the compiler shortens it.
Source: *Deep Learning from Scratch 3*, steps 33 to 35.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.polynomial import Polynomial

import fdezero as fd
from fdezero.examples._terminal import drawing, example_parser, figure, first_line, number, run, saved


def derivative(f: Callable[..., Any], order: int) -> Callable[..., Any]:
    """The derivative of a function of a number: `grad`, as often as the order says."""
    for _ in range(order):
        f = fd.grad(f)
    return f


def exact(x: np.ndarray, order: int) -> np.ndarray:
    """The same by hand: each derivative is a polynomial p of t = tanh(x), and the next one is p'(t) (1 - t**2)."""
    p = Polynomial([0, 1])
    for _ in range(order):
        p = p.deriv() * Polynomial([1, 0, -1])
    return p(np.tanh(x))


def operations(f: Callable[..., Any]) -> tuple[int, int]:
    """How many operations the program of a function has: as it is recorded, and after the compiler has shortened it."""
    compiled = fd.compile(f)
    compiled(1.0)
    return len(fd.trace(f)(1.0).instructions), compiled.source.count(" = ")


def draw(path: Path, x: np.ndarray, curves: list[np.ndarray], graph_of: int) -> None:
    """Draw the curves, each on a scale of its own, and into a second file the graph of one derivative."""
    with drawing(path, 9, 4.5) as picture:
        axes = picture.subplots()
        for order, y in enumerate(curves):
            axes.plot(x, y / abs(y).max(), label=f"tanh{chr(39) * order if order < 4 else f' ({order})'}")
        axes.set(xlabel="x", title="tanh and its derivatives, each divided by its greatest value")
        axes.legend(loc="upper left", fontsize=8)
    graph = path.with_name(f"{path.stem}-graph.svg")
    fd.plot(derivative(np.tanh, graph_of))(1.0, to_file=graph, verbose=False)
    saved(graph)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = example_parser("tanh", __doc__, device=False)
    add = parser.add_argument
    add("--order", type=number(int, 1, 11), default=8, quick=3, help="of the highest derivative (%(default)s)")
    add("--graph", type=number(int, 0, 11), default=2, quick=1, help="the order whose graph is drawn (%(default)s)")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    options = parse(arguments)
    first_line(options, f"the derivatives of tanh up to order {options.order}, at 400 points")
    x = np.linspace(-3.0, 3.0, 400)
    curves, errors = [], []
    print("order  operations recorded, compiled  greatest value  error", flush=True)
    for order in range(options.order + 1):
        f = derivative(np.tanh, order)
        y, truth = fd.vmap(f)(x), exact(x, order)  # f takes a number; vmap makes it a function of all points at once
        greatest = abs(truth).max()
        curves.append(y)
        errors.append(abs(y - truth).max() / greatest)
        recorded, compiled = operations(f)
        print(f"{order:>5}{recorded:>21,}{compiled:>10,}{greatest:>16.4g}{errors[-1]:>7.0e}", flush=True)
    figure("greatest error against the formula", max(errors), at_most=1e-12, stated=options.stated)
    if options.save:
        draw(options.save, x, curves, options.graph)


if __name__ == "__main__":
    run(main)
