"""Find the minimum of a curve by methods of first, second and higher order, then differentiate the minimum itself.

Newton's method needs a second derivative: the gradient of a gradient. Methods that converge faster need higher ones, and get them
in the same way. Source: *Deep Learning from Scratch 3*, steps 29, 33 and 36; Householder, 1970.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import fdezero as fd
from fdezero.examples._terminal import drawing, example_parser, figure, first_line, number, run

Function = Callable[..., Any]


def f(x: Any, a: Any = 2.0) -> Any:
    """A curve with two valleys, at plus and minus sqrt(a / 2), and a hill at 0."""
    return x**4 - a * x**2


def gradient_descent(f: Function, rate: float) -> Function:
    slope = fd.grad(f)
    return lambda x, *rest: x - rate * slope(x, *rest)


def householder(f: Function, order: int) -> Function:
    """The step of Householder's method, which multiplies the number of right digits by order + 1.

    It looks for a root of the slope, g = f', by derivatives of h = 1 / g: x + order * h^(order - 1)(x) / h^(order)(x).
    Order 1 is Newton's method, x - g(x) / g'(x), and order 2 is Halley's.
    """
    slope = fd.grad(f)

    def above(x: Any, *rest: Any) -> Any:
        return 1.0 / slope(x, *rest)

    for _ in range(order - 1):
        above = fd.grad(above)
    below = fd.grad(above)
    return lambda x, *rest: x + order * above(x, *rest) / below(x, *rest)


def trail(step: Function, start: float, steps: int, slope: Function) -> np.ndarray:
    """The start, and the points after each of the steps; the method stops where the slope is exactly 0."""
    points = [start]
    for _ in range(steps):
        x = points[-1]
        points.append(float(step(x)) if slope(x) else x)
    return np.array(points)


def minimum(a: Any, start: float, steps: int) -> Any:
    """The place of the minimum as a function of `a`: some steps of Newton's method, which is as differentiable as f itself."""
    x, slope = start, fd.grad(f)
    for _ in range(steps):
        x = x - slope(x, a) / fd.grad(slope)(x, a)
    return x


def draw(path: Path, trails: dict[str, np.ndarray]) -> None:
    with drawing(path, 9, 4) as picture:
        left, right = picture.subplots(1, 2)
        x = np.linspace(-1.8, 2.05, 200)
        left.plot(x, f(x), color="0.6")
        for name, points in trails.items():
            left.plot(points, f(points), "o-", markersize=3, linewidth=0.8)
            right.semilogy(np.maximum(abs(points - 1), 1e-17), "o-", markersize=3, label=name)
        left.set(title="x**4 - 2 * x**2", xlabel="x")
        right.set(title="Distance from the minimum", xlabel="step", ylim=(1e-17, 3))
        right.legend()


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = example_parser("newton", __doc__, device=False)
    add = parser.add_argument
    add("--start", type=number(float, 0.6), default=2.0, help="where all methods begin (%(default)s)")
    add("--steps", type=number(int, 1), default=7, quick=6, help="of each method (%(default)s)")
    add("--order", type=number(int, 2, 7), default=3, quick=2, help="of the highest method (%(default)s)")
    add("--rate", type=number(float, 0), default=0.01, help="learning rate of gradient descent (%(default)s)")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    options = parse(arguments)
    first_line(
        options, f"the minimum of x**4 - 2 * x**2, from x = {options.start:g}, {options.steps} steps of each method"
    )
    slope = fd.grad(f)
    names = {1: "Newton", 2: "Halley"}
    methods = {"descent": gradient_descent(f, options.rate)}
    methods |= {names.get(order, f"order {order}"): householder(f, order) for order in range(1, options.order + 1)}
    trails = {name: trail(fd.compile(step), options.start, options.steps, slope) for name, step in methods.items()}
    print("the distance from the minimum at x = 1:")
    print("step", *(f"{name:>9}" for name in trails))
    for i in range(options.steps + 1):
        print(f"{i:>4}", *(f"{abs(points[i] - 1):9.1e}" for points in trails.values()), flush=True)
    figure("distance of Newton's method", abs(trails["Newton"][-1] - 1), at_most=1e-12, stated=options.stated)

    # The minimum lies at sqrt(a / 2), so its derivatives are known. Here they go through every step, and through the
    # gradients in it: this is what the book calls double backpropagation.
    place = lambda a: minimum(a, options.start, options.steps)
    first, second = fd.compile(fd.grad(place)), fd.compile(fd.grad(fd.grad(place)))
    print(
        f"the minimum moves with a: {first(2.0):.6f} (exactly 1/4), and its change with a changes by {second(2.0):.6f} (-1/16)"
    )
    error = max(abs(float(first(2.0)) - 1 / 4), abs(float(second(2.0)) + 1 / 16))
    figure("error of the derivatives of the minimum", error, at_most=1e-9, stated=options.stated)
    if options.save:
        draw(options.save, trails)


if __name__ == "__main__":
    run(main)
