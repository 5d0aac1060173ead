"""Solve Burgers' equation with a network that knows no data, only the equation; then compare with the exact solution.

u_t + u u_x = (0.01 / pi) u_xx for x in -1 to 1 and t in 0 to 1, from u = -sin(pi x): a wave that steepens into a shock.
Source: Raissi, Perdikaris and Karniadakis, Journal of Computational Physics 378 (2019) 686.
"""

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np

import fdezero as fd
from fdezero import functions as F
from fdezero import nn, optim
from fdezero.examples._terminal import drawing, example_parser, figure, first_line, number, run

VISCOSITY = 0.01 / np.pi


def u(model: nn.MLP, t: Any, x: Any) -> Any:
    """The network's solution at one point. The first term is 0 at t = 0 and at both ends, so these conditions always hold."""
    return (1 - x**2) * t * model(fd.numpy.stack([t, x]))[0] - np.sin(np.pi * x)


def residual(model: nn.MLP, t: Any, x: Any) -> Any:
    """How far u is from a solution at one point: 0 if the equation holds."""
    one = np.ones_like(x)
    value_and_u_x = lambda x: fd.jvp(lambda x: u(model, t, x), (x,), (one,))
    (value, u_x), (_, u_xx) = fd.jvp(value_and_u_x, (x,), (one,))
    _, u_t = fd.jvp(lambda t: u(model, t, x), (t,), (one,))
    return u_t + value * u_x - VISCOSITY * u_xx


def at_points(function: Any, model: nn.MLP, t: Any, x: Any) -> Any:
    """A function of one point at many: t (N,), x (N,) -> (N,)."""
    return fd.vmap(function, in_axes=(None, 0, 0))(model, t, x)


def loss_fn(model: nn.MLP, t: Any, x: Any) -> Any:
    return (at_points(residual, model, t, x) ** 2).mean()


def exact(t: np.ndarray, x: np.ndarray, nodes: int = 100) -> np.ndarray:
    """The solution of Cole and Hopf, a quotient of two integrals, by Gauss-Hermite quadrature. Times are greater than 0."""
    roots, weights = np.polynomial.hermite.hermgauss(nodes)
    y = np.pi * (x[..., None] - np.sqrt(4 * VISCOSITY * t)[..., None] * roots)
    weights = weights * np.exp(-np.cos(y) / (2 * np.pi * VISCOSITY))
    return -(np.sin(y) * weights).sum(-1) / weights.sum(-1)


def draw_picture(path: Path, t: np.ndarray, x: np.ndarray, found: np.ndarray, truth: np.ndarray) -> None:
    with drawing(path, 10, 4) as picture:
        left, right = picture.subplots(1, 2)
        mesh = left.pcolormesh(t, x, found, cmap="RdBu_r", vmin=-1, vmax=1, rasterized=True)
        picture.colorbar(mesh, ax=left, label="u")
        left.set(xlabel="t", ylabel="x", title="the network")
        for row in (24, 49, 99):
            (line,) = right.plot(x[row], truth[row], alpha=0.5, label=f"exact, t = {t[row, 0]:.2f}")
            right.plot(x[row], found[row], "--", color=line.get_color())
        right.set(xlabel="x", title="dashed: the network")
        right.legend()


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = example_parser("pinn", __doc__)
    add = parser.add_argument
    add("--rounds", type=number(int, 1), default=2500, quick=2, help="of L-BFGS (%(default)s)")
    add("--points", type=number(int, 1), default=4000, quick=20, help="where the equation should hold (%(default)s)")
    add("--hidden", type=number(int, 1), default=20, quick=5, help="units of each of four layers (%(default)s)")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    options = parse(arguments)
    model = nn.MLP.init(fd.random.key(options.seed), (2, *[options.hidden] * 4, 1), activation=F.tanh)
    model = fd.to_device(fd.tree.map(lambda leaf: leaf.astype(np.float64), model), options.device)
    size = sum(leaf.size for leaf in fd.tree.leaves(model))
    first_line(options, f"Burgers: {size:,} parameters, {options.points:,} points, {options.rounds:,} rounds of L-BFGS")
    t_key, x_key = fd.random.split(fd.random.key(options.seed + 1))
    t = fd.random.uniform(t_key, (options.points,), dtype=np.float64)
    x = fd.random.uniform(x_key, (options.points,), -1, 1, dtype=np.float64)
    grid = np.meshgrid(np.linspace(0.01, 1, 100), np.linspace(-1, 1, 257), indexing="ij")
    t, x, *axes = fd.to_device((t, x, *[axis.ravel() for axis in grid]), options.device)
    truth = exact(*grid)
    opt = optim.lbfgs(memory_size=30)
    step = fd.compile(lambda model, state, t, x: opt.step(lambda model: loss_fn(model, t, x), model, state))
    solution = fd.compile(lambda model, t, x: at_points(u, model, t, x))
    state, began = opt.init(model), time.perf_counter()
    for turn in range(1, options.rounds + 1):
        model, state = step(model, state, t, x)
        if turn % 500 == 0 or turn == options.rounds:
            found = fd.to_numpy(solution(model, *axes)).reshape(truth.shape)
            error = np.sqrt(((found - truth) ** 2).sum() / (truth**2).sum())
            line = "round: {}, loss: {:.6f}, relative error: {:.4f}, time: {:.1f}[sec]"
            print(line.format(turn, float(state["value"]), error, time.perf_counter() - began), flush=True)
    figure("relative error of the solution", error, at_most=0.02, stated=options.stated)
    if options.save:
        draw_picture(options.save, *grid, found, truth)


if __name__ == "__main__":
    run(main)
