"""Learn the equation of motion of a pendulum from noisy measurements: a small network inside `fd.odeint`.

The network is the right-hand side of a differential equation. Gradients come from the adjoint equation, solved back in time.
Source: Chen, Rubanova, Bettencourt and Duvenaud, Neural Ordinary Differential Equations (NeurIPS 2018).
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

SECONDS, EVERY, NOISE = 4.0, 0.1, 0.02  # how long each swing is watched, how often, and how exactly
TOLERANCES = {"rtol": 1e-4, "atol": 1e-5}


def pendulum(y: Any, t: Any) -> Any:
    """The truth: y (..., 2) is the angle and its speed, and friction slows the pendulum down."""
    angle, speed = y[..., 0], y[..., 1]
    return np.stack([speed, -5.0 * np.sin(angle) - 0.2 * speed], axis=-1)


def field(y: Any, t: Any, model: nn.MLP) -> Any:
    """What is learnt: the same without a word about physics."""
    return model(y)


def measure(swings: int, key: Any) -> Any:
    """Angles and speeds of swings from random starts, with noise: (times, swings, 2)."""
    start_key, noise_key = fd.random.split(key)
    starts = fd.random.uniform(start_key, (swings, 2), -2.5, 2.5, dtype=np.float64)
    y = fd.odeint(pendulum, starts, np.arange(0, SECONDS + EVERY / 2, EVERY))
    return (y + NOISE * fd.random.normal(noise_key, y.shape, dtype=np.float64)).astype(np.float32)


def pieces(y: Any, count: int, length: int, key: Any) -> Any:
    """Random pieces of swings, `length` steps and their start: (length + 1, count, 2)."""
    start_key, swing_key = fd.random.split(key)
    starts = fd.random.randint(start_key, (count,), 0, len(y) - length)
    swings = fd.random.randint(swing_key, (count,), 0, y.shape[1])
    return y[starts + np.arange(length + 1)[:, None], swings]


def loss_fn(model: nn.MLP, y: Any, ts: Any) -> Any:
    """How far the solution from the first measurement is away from the others."""
    return F.mean_squared_error(fd.odeint(field, y[0], ts, model, **TOLERANCES), y)


def draw_picture(path: Path, model: nn.MLP, ts: Any, truth: Any, found: Any) -> None:
    """Draw the forecast over time, and the learnt directions in the plane of angle and speed."""
    angle, speed = np.meshgrid(np.linspace(-2.5, 2.5, 17), np.linspace(-5, 5, 17))
    arrows = fd.to_numpy(model(np.stack([angle, speed], axis=-1).astype(np.float32)))
    with drawing(path, 10, 4) as picture:
        left, right = picture.subplots(1, 2)
        left.plot(ts, truth[:, 0], label="true")
        left.plot(ts, found[:, 0], "--", label="foreseen")
        left.axvspan(0, SECONDS, alpha=0.1, label="as long as a swing was watched")
        left.set(xlabel="seconds", ylabel="angle")
        left.legend(loc="upper right")
        right.quiver(angle, speed, arrows[..., 0], arrows[..., 1], color="gray")
        right.plot(*truth.T)
        right.plot(*found.T, "--")
        right.set(xlabel="angle", ylabel="speed", title="the field that was learnt")


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = example_parser("neural_ode", __doc__)
    add = parser.add_argument
    add("--swings", type=number(int, 1), default=32, quick=2, help="that are measured (%(default)s)")
    add("--steps", type=number(int, 1), default=1000, quick=2, help="of training (%(default)s)")
    add("--length", type=number(int, 1, 40), default=10, quick=1, help="measurements to foresee from one (%(default)s)")
    add("--hidden", type=number(int, 1), default=64, quick=8, help="units of each of two layers (%(default)s)")
    add("--lr", type=number(float, 0), default=0.01, help="learning rate of Adam at the start (%(default)s)")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    options = parse(arguments)
    data_key, model_key, piece_key = fd.random.split(fd.random.key(options.seed), 3)
    model = nn.MLP.init(model_key, (2, options.hidden, options.hidden, 2), activation=F.tanh)
    size = sum(leaf.size for leaf in fd.tree.leaves(model))
    first_line(options, f"neural ODE: {size:,} parameters, {options.swings} swings, {options.steps} steps")
    opt = optim.adam(optim.schedules.cosine(options.lr, options.steps))

    @fd.compile
    def train_step(model: nn.MLP, state: Any, y: Any, ts: Any) -> tuple[nn.MLP, Any, Any]:
        loss, grads = fd.value_and_grad(loss_fn)(model, y, ts)
        model, state = opt.step(model, grads, state)
        return model, state, loss

    y = measure(options.swings, data_key)
    ts = np.arange(options.length + 1, dtype=np.float32) * np.float32(EVERY)
    model, ts = fd.to_device((model, ts), options.device)
    state, began = opt.init(model), time.perf_counter()
    for step in range(1, options.steps + 1):
        batch = pieces(y, 64, options.length, fd.random.fold_in(piece_key, step))
        model, state, loss = train_step(model, state, fd.to_device(batch, options.device), ts)
        if step == 1 or step % 100 == 0:
            print(f"step: {step}, loss: {float(loss):.6f}, time: {time.perf_counter() - began:.1f}[sec]", flush=True)
    start, later = np.array([2.0, 0.0]), np.arange(0, 10.01, 0.05)  # a swing of its own, over more than twice the time
    truth = fd.odeint(pendulum, start, later)
    start, ts = fd.to_device((start.astype(np.float32), later.astype(np.float32)), options.device)
    found = fd.to_numpy(fd.odeint(field, start, ts, model, **TOLERANCES))
    error = np.sqrt(((found - truth)[:, 0] ** 2).mean())
    figure("error of the angle over ten seconds, in radians", error, at_most=0.1, stated=options.stated)
    if options.save:
        draw_picture(options.save, fd.to_device(model, "cpu"), later, truth, found)


if __name__ == "__main__":
    run(main)
