"""Walk down the curved valley of Rosenbrock's function by gradient descent, momentum, Adam and Newton's method.

The valley is steep across and almost flat along, so gradients point across. The Hessian knows how the valley bends.
Source: Rosenbrock, 1960; *Deep Learning from Scratch 3*, steps 28 and 29.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import fdezero as fd
from fdezero import optim
from fdezero.examples._terminal import drawing, example_parser, figure, first_line, number, run

START, MINIMUM = np.array([0.0, 2.0]), np.array([1.0, 1.0])


def rosenbrock(x: Any) -> Any:
    """A valley along x1 = x0 ** 2, whose lowest point is (1, 1): x (2,) -> ()."""
    return 100.0 * (x[1] - x[0] ** 2) ** 2 + (1.0 - x[0]) ** 2


def descent(opt: Any) -> Callable[..., Any]:
    """A step of an optimiser, with its state: (x, state) -> (x, state)."""

    def step(x: Any, state: Any) -> tuple[Any, Any]:
        return opt.step(x, fd.grad(rosenbrock)(x), state)

    return step


def newton(x: Any, state: Any) -> tuple[Any, Any]:
    """A step to the lowest point of the parabola that has the function's gradient and Hessian at x."""
    return x - np.linalg.solve(fd.hessian(rosenbrock)(x), fd.grad(rosenbrock)(x)), state


def walk(step: Callable[..., Any], state: Any, steps: int) -> np.ndarray:
    """The start, and where each step leads: (steps + 1, 2). The loop is a single operation of a compiled program."""

    @fd.compile
    def points(x: Any, state: Any) -> Any:
        def once(carry: Any, _: None) -> tuple[Any, Any]:
            carry = step(*carry)
            return carry, carry[0]

        return fd.scan(once, (x, state), length=steps)[1]

    return np.concatenate([START[None], points(START, state)])


def distance(point: np.ndarray) -> float:
    return float(np.linalg.norm(point - MINIMUM))


def draw(path: Path, walks: dict[str, np.ndarray]) -> None:
    with drawing(path, 10, 4.5) as picture:
        left, right = picture.subplots(1, 2)
        x0, x1 = np.meshgrid(np.linspace(-1.0, 1.6, 200), np.linspace(-0.7, 2.3, 200))
        heights = rosenbrock(np.stack([x0, x1]))
        left.contour(x0, x1, heights, levels=np.logspace(-1, 3, 9), colors="0.8", linewidths=0.8)
        for name, points in walks.items():
            # As pixels: an SVG of so many points would have megabytes.
            left.plot(points[:, 0], points[:, 1], ".-", markersize=3, linewidth=0.8, rasterized=True)
            right.loglog(np.arange(1, len(points) + 1), [max(distance(point), 1e-16) for point in points], label=name)
        left.plot(*MINIMUM, "k*", markersize=12)
        left.set(title="The ways down", xlabel="x0", ylabel="x1", xlim=(-1.0, 1.6), ylim=(-0.7, 2.3))
        right.set(title="Distance from the minimum", xlabel="points visited")
        right.legend()


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = example_parser("rosenbrock", __doc__, device=False)
    add = parser.add_argument
    add("--steps", type=number(int, 10), default=10_000, quick=100, help="of the methods of first order (%(default)s)")
    add("--rate", type=number(float, 0), default=0.001, help="of gradient descent and momentum (%(default)s)")
    add("--adam-rate", type=number(float, 0), default=0.01, help="of Adam (%(default)s)")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    options = parse(arguments)
    first_line(options, f"the minimum of Rosenbrock's function, from (0, 2), {options.steps:,} steps of each method")
    methods = {
        "gradient descent": optim.sgd(options.rate),
        "momentum": optim.momentum(options.rate, 0.9),
        "Adam": optim.adam(options.adam_rate),
    }
    walks = {name: walk(descent(opt), opt.init(START), options.steps) for name, opt in methods.items()}
    walks["Newton"] = walk(newton, None, 6)
    marks = [10**power for power in range(1, 10) if 10**power < options.steps] + [options.steps]
    print(f"{'distance after':20}", *(f"{mark:>9,}" for mark in marks), "steps")
    for name in methods:
        print(f"{name:20}", *(f"{distance(walks[name][mark]):9.1e}" for mark in marks), flush=True)
    print(f"{'Newton, steps 1 to 6':20}", *(f"{distance(point):9.1e}" for point in walks["Newton"][1:]))
    figure("distance of gradient descent", distance(walks["gradient descent"][-1]), at_most=0.02, stated=options.stated)
    figure(
        "distance of Newton's method after 6 steps", distance(walks["Newton"][-1]), at_most=1e-9, stated=options.stated
    )
    if options.save:
        draw(options.save, walks)


if __name__ == "__main__":
    run(main)
