"""Forecast a curve with a Gaussian process, whose length scales, amplitudes and noise are learnt by gradients.

Ten years of monthly values, with a trend, a season and noise, are known; three more years are foreseen. L-BFGS finds the
hyperparameters that make the known values most likely. Source: Rasmussen and Williams, Gaussian Processes (2006), sections 2.3, 5.4.
"""

import argparse
import math
import time
from pathlib import Path
from typing import Any

import numpy as np

import fdezero as fd
from fdezero import optim
from fdezero.examples._terminal import drawing, example_parser, figure, first_line, number, run

NOISE, FORESEEN = 0.5, 36  # the standard deviation of the noise, and the months to forecast


def world(t: Any) -> Any:
    """The truth at t (years), which the model does not know."""
    return 0.05 * t**2 + 0.5 * t + 3 * np.sin(2 * np.pi * t) + 0.8 * np.cos(4 * np.pi * t)


class Kernel(fd.Module):
    """Covariances of a smooth trend plus a season of one year. The fields are logarithms, so any number is allowed."""

    trend: Any = np.log(3.0)  # the amplitude
    trend_years: Any = np.log(3.0)  # how far values of the trend resemble each other
    season: Any = np.log(1.0)
    season_width: Any = np.log(1.0)  # small if the season has sharp corners
    noise: Any = np.log(1.0)

    def __call__(self, s: Any, t: Any) -> Any:
        """The covariance of the curve at s (M,) with the curve at t (N,): (M, N)."""
        apart = s[:, None] - t
        trend = np.exp(2 * self.trend - apart**2 / 2 * np.exp(-2 * self.trend_years))
        return trend + np.exp(2 * self.season - 2 * np.sin(np.pi * apart) ** 2 * np.exp(-2 * self.season_width))

    def factor(self, t: Any) -> Any:
        """The Cholesky factor of the covariance of noisy values at t (N,)."""
        return np.linalg.cholesky(self(t, t) + np.exp(2 * self.noise) * np.diag(fd.numpy.ones_like(t)))


def log_likelihood(kernel: Kernel, t: Any, y: Any) -> Any:
    """log p(y) of noisy values y (N,) at t (N,): equation 2.30 of the book. Gradients go through the Cholesky factor."""
    factor = kernel.factor(t)
    white = fd.numpy.linalg.solve_triangular(factor, y, lower=True)
    return -0.5 * white @ white - np.log(np.diagonal(factor)).sum() - len(t) / 2 * math.log(2 * math.pi)


def forecast(kernel: Kernel, t: Any, y: Any, new: Any) -> tuple[Any, Any]:
    """Mean and standard deviation of the curve at `new` (M,), given noisy values: equations 2.25 and 2.26."""
    factor = kernel.factor(t)
    white = fd.numpy.linalg.solve_triangular(factor, y, lower=True)
    cross = fd.numpy.linalg.solve_triangular(factor, kernel(t, new), lower=True)
    return cross.T @ white, np.sqrt(np.diagonal(kernel(new, new)) - (cross**2).sum(0))


def draw_picture(path: Path, t: Any, y: Any, known: int, mean: Any, band: Any) -> None:
    with drawing(path, 9, 4) as picture:
        axes = picture.subplots()
        axes.fill_between(t, mean - band, mean + band, alpha=0.3, label="95 % of new values")
        axes.plot(t, mean, label="forecast", linewidth=1)
        axes.plot(t[:known], y[:known], "k.", markersize=3, label="known")
        axes.plot(t[known:], y[known:], "r.", markersize=3, label="kept back")
        axes.set(xlabel="years")
        axes.legend(loc="upper left")


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = example_parser("gaussian_process", __doc__)
    add = parser.add_argument
    add("--months", type=number(int, 24), default=120, quick=48, help="known values (%(default)s)")
    add("--rounds", type=number(int, 1), default=30, quick=5, help="of L-BFGS (%(default)s)")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    options = parse(arguments)
    known = options.months
    first_line(
        options, f"Gaussian process: {known} months known, {FORESEEN} foreseen, {options.rounds} rounds of L-BFGS"
    )
    t = np.arange(known + FORESEEN) / 12
    y = world(t) + NOISE * fd.random.normal(fd.random.key(options.seed), t.shape, dtype=np.float64)
    shift = y[:known].mean()
    past, values, all_times = fd.to_device((t[:known], y[:known] - shift, t), options.device)
    opt = optim.lbfgs()

    @fd.compile
    def climb(kernel: Kernel, state: Any, t: Any, y: Any) -> Any:
        return opt.step(lambda kernel: -log_likelihood(kernel, t, y), kernel, state)

    kernel = fd.to_device(Kernel(), options.device)
    state = opt.init(kernel)
    for turn in range(1, options.rounds + 1):
        began = time.perf_counter()
        kernel, state = climb(kernel, state, past, values)
        if turn % 10 == 1 or turn == options.rounds:
            line = "round: {}, log-likelihood: {:.3f}, noise: {:.4f}, time: {:.2f}[sec]"
            print(line.format(turn, -state["value"], np.exp(kernel.noise), time.perf_counter() - began), flush=True)
    numbers = {name: f"{math.exp(float(value)):.3f}" for name, value in fd.tree.flatten_to_dict(kernel).items()}
    print("found:", ", ".join(f"{name} {value}" for name, value in numbers.items()), f"(the true noise is {NOISE})")
    mean, std = fd.to_numpy(forecast(kernel, past, values, all_times))
    mean, band = mean + shift, 1.96 * np.sqrt(std**2 + math.exp(2 * float(kernel.noise)))
    inside = np.mean(abs(y - mean)[known:] < band[known:])
    print(f"{inside:.0%} of the values that were kept back lie in the band of 95 %")
    error = np.sqrt(np.mean((mean - world(t))[known:] ** 2))
    figure("error of the forecast, in units of the noise", error / NOISE, at_most=0.5, stated=options.stated)
    if options.save:
        draw_picture(options.save, t, y, known, mean, band)


if __name__ == "__main__":
    run(main)
