"""Track a target with a Kalman filter that is one `fd.scan`, and learn its noise by the gradient of the likelihood.

Positions in the plane are measured with noise; the target's speed wanders. Both noise levels are unknown. The filter gives the
likelihood of all measurements, L-BFGS climbs it, and a second scan, back in time, smooths the track.
Source: Kalman (1960); Rauch, Tung and Striebel (1965).
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

SECONDS = 1.0  # from one measurement to the next
SPEED_NOISE, SENSOR_NOISE = 0.5, 20.0  # the truth that is to be found


class Model(fd.Module):
    """x' = A x + noise with covariance Q, and measurements C x + noise with covariance R."""

    A: Any
    C: Any
    Q: Any
    R: Any


def model_of(log_noise: dict[str, Any]) -> Model:
    """The motion of x = (position, speed), each in the plane, for logarithms of the two noise levels: any number is allowed."""
    dt, one, zero = SECONDS, np.eye(2), np.zeros((2, 2))
    speed, sensor = np.exp(2 * log_noise["speed"]), np.exp(2 * log_noise["sensor"])
    # The covariance that a random walk of the speed adds to position and speed.
    wander = np.block([[dt**3 / 3 * one, dt**2 / 2 * one], [dt**2 / 2 * one, dt * one]])
    return Model(np.block([[one, dt * one], [zero, one]]), np.block([one, zero]), speed * wander, sensor * one)


def simulate(model: Model, steps: int, key: Any) -> tuple[Any, Any]:
    """The states (steps, 4) of a target, and measurements of its positions (steps, 2)."""

    def move(x: Any, noise: Any) -> tuple[Any, Any]:
        x = model.A @ x + np.linalg.cholesky(model.Q) @ noise
        return x, x

    state_key, sensor_key = fd.random.split(key)
    _, x = fd.scan(move, np.zeros(4), fd.random.normal(state_key, (steps, 4), dtype=np.float64))
    noise = fd.random.normal(sensor_key, (steps, 2), dtype=np.float64) @ np.linalg.cholesky(model.R).T
    return x, x @ model.C.T + noise


def kalman_filter(model: Model, y: Any) -> tuple[Any, Any]:
    """The log-likelihood of measurements (T, 2); and before and after each one the mean (T, 4) and covariance (T, 4, 4) of the state."""
    A, C, Q, R = model.A, model.C, model.Q, model.R

    def step(state: Any, y: Any) -> Any:
        mean, covariance = state
        mean, covariance = A @ mean, A @ covariance @ A.T + Q  # foresee
        S = C @ covariance @ C.T + R
        gain = np.linalg.solve(S, C @ covariance).T
        surprise = y - C @ mean
        new = mean + gain @ surprise, covariance - gain @ C @ covariance  # correct
        _, logdet = np.linalg.slogdet(S)
        log_density = -0.5 * (surprise @ np.linalg.solve(S, surprise) + logdet + len(y) * math.log(2 * math.pi))
        return new, (log_density, (mean, covariance), new)

    start = np.zeros(4), 100.0 * np.eye(4)  # nothing is known of the first position and speed
    _, (log_densities, foreseen, corrected) = fd.scan(step, start, y)
    return log_densities.sum(), (foreseen, corrected)


def smooth(model: Model, foreseen: Any, corrected: Any) -> Any:
    """The mean of each state (T, 4) with all measurements known, also later ones."""

    def step(later: Any, given: Any) -> Any:
        (mean, covariance), (next_mean, next_covariance) = given
        gain = np.linalg.solve(next_covariance, model.A @ covariance).T
        mean = mean + gain @ (later - next_mean)
        return mean, mean

    last = corrected[0][-1]
    pairs = fd.tree.map(lambda x: x[:-1], corrected), fd.tree.map(lambda x: x[1:], foreseen)
    _, means = fd.scan(step, last, pairs, reverse=True)
    return np.concatenate([means, last[None]])


def draw_picture(path: Path, x: Any, y: Any, smoothed: Any) -> None:
    with drawing(path, 8, 5) as picture:
        axes = picture.subplots()
        axes.plot(*y.T, ".", markersize=3, alpha=0.5, label="measured")
        axes.plot(*x[:, :2].T, label="true")
        axes.plot(*smoothed[:, :2].T, label="smoothed")
        axes.set(xlabel="metres", ylabel="metres")
        axes.set_aspect("equal", adjustable="datalim")
        axes.legend()


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = example_parser("kalman", __doc__, device=False)  # matrices of four rows, one after the other
    add = parser.add_argument
    add("--steps", type=number(int, 2), default=200, quick=40, help="measurements, one a second (%(default)s)")
    add("--rounds", type=number(int, 1), default=20, quick=4, help="of L-BFGS (%(default)s)")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    options = parse(arguments)
    first_line(options, f"Kalman: {options.steps} measurements, {options.rounds} rounds of L-BFGS")
    truth = {"speed": math.log(SPEED_NOISE), "sensor": math.log(SENSOR_NOISE)}
    x, y = simulate(model_of(truth), options.steps, fd.random.key(options.seed))
    opt = optim.lbfgs()

    @fd.compile
    def climb(log_noise: Any, state: Any, y: Any) -> Any:
        return opt.step(lambda log_noise: -kalman_filter(model_of(log_noise), y)[0] / len(y), log_noise, state)

    log_noise = {"speed": np.float64(0), "sensor": np.float64(0)}  # noise levels of 1
    state = opt.init(log_noise)
    for turn in range(1, options.rounds + 1):
        began = time.perf_counter()
        log_noise, state = climb(log_noise, state, y)
        if turn <= 3 or turn == options.rounds:
            found = {name: math.exp(float(value)) for name, value in log_noise.items()}
            print(
                f"round: {turn}, log-likelihood: {-float(state['value']) * len(y):.3f}, speed noise: {found['speed']:.4f}, "
                f"sensor noise: {found['sensor']:.4f}, time: {time.perf_counter() - began:.2f}[sec]",
                flush=True,
            )
    _, (foreseen, corrected) = kalman_filter(model_of(log_noise), y)
    smoothed = smooth(model_of(log_noise), foreseen, corrected)
    errors = [float(np.sqrt(np.mean((found[:, :2] - x[:, :2]) ** 2))) for found in (y, corrected[0], smoothed)]
    print("error of measured, filtered, smoothed positions: {:.3f}, {:.3f}, {:.3f}".format(*errors))
    figure("smoothed error as a share of the measured one", errors[2] / errors[0], at_most=0.35, stated=options.stated)
    if options.save:
        draw_picture(options.save, x, y, smoothed)


if __name__ == "__main__":
    run(main)
