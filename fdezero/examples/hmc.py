"""Sample a posterior by Hamiltonian Monte Carlo: many chains at once, each of them one `fd.scan`; then compare with the exact one.

The model is a parabola with an unknown noise level and a conjugate prior, so its posterior is known in closed form.
Source: Neal, MCMC using Hamiltonian dynamics (2011); Gelman et al., Bayesian Data Analysis (2013), sections 3.2 and 11.4.
"""

import argparse
import math
import time
from pathlib import Path
from typing import Any

import numpy as np

import fdezero as fd
from fdezero.examples._terminal import drawing, example_parser, figure, first_line, number, run

POINTS, COEFFICIENTS, NOISE = 40, (0.5, -1.0, 2.0), 0.4  # what the data is drawn from
# The prior: noise**2 is InverseGamma(SHAPE, SCALE), and each coefficient has variance noise**2 / PRECISION.
SHAPE, SCALE, PRECISION = 2.0, 0.5, 0.01


def draw_data(key: Any) -> tuple[Any, Any]:
    """The powers 1, x, x**2 of points in -1 to 1 (points, 3), and noisy values of a parabola there (points,)."""
    x_key, noise_key = fd.random.split(key)
    x = fd.random.uniform(x_key, (POINTS,), -1, 1, dtype=np.float64)
    powers = np.stack([np.ones(POINTS), x, x**2], axis=1)
    return powers, powers @ np.array(COEFFICIENTS) + NOISE * fd.random.normal(noise_key, (POINTS,), dtype=np.float64)


def log_posterior(params: dict[str, Any], powers: Any, y: Any) -> Any:
    """The logarithm of prior times likelihood, up to a constant. The noise is a logarithm, so that any number is allowed."""
    w, log_noise = params["w"], params["log_noise"]
    misfit = y - powers @ w
    squares = misfit @ misfit + PRECISION * (w @ w) + 2 * SCALE
    return -0.5 * squares * np.exp(-2 * log_noise) - (len(y) + len(w) + 2 * SHAPE) * log_noise


def exact_posterior(powers: Any, y: Any) -> dict[str, Any]:
    """In closed form: noise**2 is InverseGamma(shape, scale); w is Student's t around `mean` with this covariance."""
    precision = powers.T @ powers + PRECISION * np.eye(powers.shape[1])
    mean = np.linalg.solve(precision, powers.T @ y)
    shape, scale = SHAPE + len(y) / 2, SCALE + (y @ y - mean @ precision @ mean) / 2
    variance = scale / (shape - 1)
    covariance = variance * np.linalg.inv(precision)
    std = np.append(np.sqrt(np.diag(covariance)), variance / math.sqrt(shape - 2))
    mean = np.append(mean, variance)  # of the coefficients, and of noise**2
    return {"mean": mean, "std": std, "covariance": covariance, "shape": shape, "scale": scale}


def transition(log_density: Any, q: Any, key: Any, step: Any, leaps: int) -> tuple[Any, Any]:
    """The next draw after q (D,), and the chance that it moved: throw a ball with a random momentum and follow it downhill."""
    momentum_key, step_key, accept_key = fd.random.split(key, 3)
    force = fd.grad(log_density)
    step = step * fd.random.uniform(step_key, (), 0.8, 1.2, dtype=np.float64)  # so that no orbit closes

    def leap(state: Any, _: Any) -> Any:
        q, p = state
        q = q + step * p
        return (q, p + step * force(q)), None

    start = fd.random.normal(momentum_key, q.shape, dtype=np.float64)
    (end, p), _ = fd.scan(leap, (q, start + step / 2 * force(q)), None, length=leaps)
    p = p - step / 2 * force(end)  # the last half step was one too many
    gain = (start @ start - p @ p) / 2 + log_density(end) - log_density(q)  # 0 if the steps were exact
    chance = fd.numpy.where(gain > -700, np.exp(np.clip(gain, -700, 0)), 0.0)  # 0 for a NaN, when the ball flew away
    accepted = fd.random.uniform(accept_key, (), dtype=np.float64) < chance
    return fd.numpy.where(accepted, end, q), chance


def sample(log_density: Any, q: Any, key: Any, warm_up: int, draws: int, leaps: int) -> tuple[Any, Any]:
    """The draws (draws, D) of one chain from q (D,), and how often it moved. Warming up finds a step that succeeds 4 times in 5."""
    # Robbins and Monro (1951). After warming up the step stays, because a chain that adapts for ever samples another density.
    rates = np.append((1 + np.arange(warm_up)) ** -0.6, np.zeros(draws))

    def one(state: Any, given: Any) -> Any:
        (q, log_step), (key, rate) = state, given
        q, chance = transition(log_density, q, key, np.exp(log_step), leaps)
        return (q, log_step + rate * (chance - 0.8)), (q, chance)

    start = (q, fd.numpy.full_like(q[0], math.log(0.05)))
    _, (samples, chances) = fd.scan(one, start, (fd.random.split(key, len(rates)), rates))
    return samples[warm_up:], chances[warm_up:].mean()


def draw_picture(path: Path, found: Any, exact: dict[str, Any]) -> None:
    """Draw two coefficients with the exact ellipse of two standard deviations, and the noise with its exact density."""
    shape, scale, angles = exact["shape"], exact["scale"], np.linspace(0, 2 * np.pi, 200)
    ellipse = 2 * np.linalg.cholesky(exact["covariance"][1:, 1:]) @ [np.cos(angles), np.sin(angles)]
    v = np.linspace(found[:, 3].min(), found[:, 3].max(), 200)
    log_density = shape * math.log(scale) - math.lgamma(shape) - (shape + 1) * np.log(v) - scale / v
    with drawing(path, 9, 4) as picture:
        left, right = picture.subplots(1, 2)
        left.plot(*found[:: max(1, len(found) // 2000), 1:3].T, ".", markersize=3, alpha=0.4, label="draws")
        left.plot(*(exact["mean"][1:3, None] + ellipse), label="exact: two standard deviations")
        left.set(xlabel="w1", ylabel="w2")
        right.hist(found[:, 3], 80, density=True, alpha=0.5, label="draws")
        right.plot(v, np.exp(log_density), label="exact density")
        right.set(xlabel="noise²")
        for axes in (left, right):
            axes.legend(loc="upper right")


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = example_parser("hmc", __doc__)
    add = parser.add_argument
    add("--chains", type=number(int, 2), default=64, quick=4, help="side by side (%(default)s)")
    add("--draws", type=number(int, 2), default=1000, quick=50, help="of each chain (%(default)s)")
    add("--warm-up", type=number(int, 1), default=300, quick=50, help="draws before, that are dropped (%(default)s)")
    add("--leaps", type=number(int, 1), default=16, quick=4, help="along the path of one step (%(default)s)")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    options = parse(arguments)
    chains, draws = options.chains, options.draws
    first_line(options, f"HMC: {chains} chains of {draws:,} draws, {options.leaps} leaps for each")
    data_key, chain_key = fd.random.split(fd.random.key(options.seed))
    data = draw_data(data_key)
    exact = exact_posterior(*data)
    start, unravel = fd.ravel({"log_noise": 0.0, "w": np.zeros(3)})  # HMC walks in vectors, the model has names

    @fd.compile
    def sample_all(starts: Any, keys: Any, data: Any) -> Any:
        density = lambda q: log_posterior(unravel(q), *data)
        return fd.vmap(lambda q, key: sample(density, q, key, options.warm_up, draws, options.leaps))(starts, keys)

    starts = start + fd.random.normal(fd.random.fold_in(chain_key, 0), (chains, start.size), dtype=np.float64)
    keys, began = fd.random.split(chain_key, chains), time.perf_counter()
    samples, chances = fd.to_numpy(sample_all(*fd.to_device((starts, keys, data), options.device)))
    print(f"{chains * draws:,} draws in {time.perf_counter() - began:.1f}[sec], accepted: {chances.mean():.0%}")
    found = np.concatenate([samples[..., 1:], np.exp(2 * samples[..., :1])], axis=-1)  # coefficients, noise**2
    flat = found.reshape(-1, found.shape[-1])
    for i, name in enumerate(["w0", "w1", "w2", "noise**2"]):
        both = [f"{kind[i]:.4f}" for kind in (flat.mean(0), exact["mean"], flat.std(0), exact["std"])]
        print("{:8}  mean {:>7} (exact {:>7}), standard deviation {} (exact {})".format(name, *both))
    between, within = found.mean(1).var(0, ddof=1), found.var(1, ddof=1).mean(0)
    print(f"R of Gelman and Rubin: {np.sqrt(1 + between / within).max():.4f} (near 1: the chains cannot be told apart)")
    off = np.maximum(abs(flat.mean(0) - exact["mean"]), abs(flat.std(0) - exact["std"])) / exact["std"]
    figure("worst error, in exact standard deviations", off.max(), at_most=0.03, stated=options.stated)
    if options.save:
        draw_picture(options.save, flat, exact)


if __name__ == "__main__":
    run(main)
