"""Train a recurrent network to continue noisy sines, then let it run on alone: its forecasts become its inputs.

The cell is written here, in three lines; `fd.scan` makes a network of it that reads a sequence of any length. The state goes on
from piece to piece, and the gradient ends with each piece. Source: *Deep Learning from Scratch 3*, step 59; Elman, 1990.
"""

import argparse
import math
from pathlib import Path
from typing import Any

import numpy as np

import fdezero as fd
from fdezero import functions as F
from fdezero import nn, optim
from fdezero.examples._terminal import drawing, example_parser, figure, first_line, number, run

POINTS, PERIODS, NOISE = 50, 4, 0.05  # points in a period, periods in a sequence, the noise of each point


class RNN(fd.Module):
    """A recurrent network's cell: state (..., hidden), x (..., 1) -> the next state, and the forecast of the next x."""

    of_x: nn.Linear
    of_state: nn.Linear
    output: nn.Linear

    @classmethod
    def init(cls, key: Any, hidden: int) -> "RNN":
        first, second, third = fd.random.split(key, 3)
        return cls(
            nn.Linear.init(first, 1, hidden),
            nn.Linear.init(second, hidden, hidden, bias=False),
            nn.Linear.init(third, hidden, 1),
        )

    def __call__(self, state: Any, x: Any) -> tuple[Any, Any]:
        state = np.tanh(self.of_x(x) + self.of_state(state))
        return state, self.output(state)


def noisy_sines(key: Any, count: int) -> Any:
    """Sines from random places of their curve, with noise: (points, count, 1), the time first, as `fd.scan` goes along it."""
    phase_key, noise_key = fd.random.split(key)
    phase = fd.random.uniform(phase_key, (count, 1), 0, 2 * math.pi)
    time = fd.array_module(key).arange(PERIODS * POINTS + 1, dtype=np.float32)[:, None, None]
    noise = fd.random.uniform(noise_key, (len(time), count, 1), -NOISE, NOISE)
    return np.sin(time * (2 * math.pi / POINTS) + phase) + noise


def loss_fn(model: RNN, state: Any, x: Any, t: Any) -> tuple[Any, Any]:
    state, y = fd.scan(model, fd.stop_gradient(state), x)
    return F.mean_squared_error(y, t), state


def train(model: RNN, options: argparse.Namespace) -> RNN:
    pieces = PERIODS * POINTS // options.bptt
    rate = optim.schedules.cosine(options.lr, options.epochs * pieces)
    opt = optim.chain(optim.clip_by_global_norm(1.0), optim.adam(rate))

    @fd.compile
    def train_step(model: Any, opt_state: Any, state: Any, x: Any, t: Any) -> tuple[Any, ...]:
        (loss, state), grads = fd.value_and_grad(loss_fn, has_aux=True)(model, state, x, t)
        model, opt_state = opt.step(model, grads, opt_state)
        return model, opt_state, state, loss

    opt_state, key = opt.init(model), fd.to_device(fd.random.key(options.seed + 1), options.device)
    for epoch in range(options.epochs):
        x = noisy_sines(fd.random.fold_in(key, epoch), options.batch_size)  # new noise each time
        state, losses = fd.numpy.zeros_like(x, shape=(options.batch_size, options.hidden)), []
        for start in range(0, pieces * options.bptt, options.bptt):
            stop = start + options.bptt
            model, opt_state, state, loss = train_step(model, opt_state, state, x[start:stop], x[start + 1 : stop + 1])
            losses.append(loss)
        if (epoch + 1) % max(1, options.epochs // 5) == 0:
            print(f"epoch {epoch + 1} of {options.epochs}, loss {float(sum(losses)) / pieces:.5f}", flush=True)
    return model


@fd.compile
def run_on(model: RNN, x: Any, state: Any, steps: Any) -> Any:
    """The forecasts that follow x (T, 1): the first from x, and then each from the one before, as many as `steps` is long."""

    def once(carry: Any, _: Any) -> tuple[Any, Any]:
        state, y = model(*carry)
        return (state, y), y

    state, y = fd.scan(model, state, x)
    return fd.scan(once, (state, y[-1]), steps)[1]


def draw(path: Path, heard: np.ndarray, truth: np.ndarray, found: np.ndarray) -> None:
    with drawing(path, 10, 3.6) as picture:
        axes = picture.subplots()
        start = np.arange(len(heard))
        after = len(heard) + 1 + np.arange(len(truth))
        axes.plot(start, heard, ".", color="0.5", markersize=3, label="what it was given")
        axes.plot(after, truth, color="0.7", linewidth=4, label="the sine")
        axes.plot(after, found, linewidth=1, label="the network, alone")
        axes.set(xlabel="step", title="A noisy beginning, and ten periods without any input", ylim=(-1.3, 1.6))
        axes.legend(ncols=3, loc="upper left", fontsize=8)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = example_parser("sine_rnn", __doc__)
    add = parser.add_argument
    add("--epochs", type=number(int, 1), default=500, quick=3, help="sets of sequences to train on (%(default)s)")
    add("--batch-size", type=number(int, 1), default=16, quick=4, help="sequences side by side (%(default)s)")
    add("--bptt", type=number(int, 1, PERIODS * POINTS + 1), default=25, help="steps of a piece (%(default)s)")
    add("--hidden", type=number(int, 1), default=100, quick=10, help="numbers in the state (%(default)s)")
    add("--lr", type=number(float, 0), default=0.003, help="learning rate of Adam, at first (%(default)s)")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    options = parse(arguments)
    model = RNN.init(fd.random.key(options.seed), options.hidden)
    first_line(
        options, f"sine_rnn: {options.hidden} units, {options.batch_size} noisy sines in pieces of {options.bptt} steps"
    )
    model = fd.to_device(train(fd.to_device(model, options.device), options), "cpu")
    curve = np.sin(np.arange(14 * POINTS + 1, dtype=np.float32) * np.float32(2 * math.pi / POINTS))
    noise = fd.random.uniform(fd.random.key(options.seed + 2), (4 * POINTS,), -NOISE, NOISE)
    heard, truth = curve[: 4 * POINTS] + noise, curve[4 * POINTS + 1 :]
    state = np.zeros(options.hidden, np.float32)
    found = run_on(model, heard[:, None], state, np.zeros(len(truth)))[:, 0]
    errors = np.sqrt(np.mean((found - truth).reshape(10, POINTS) ** 2, axis=1))
    print("error in each period that follows, without input:", *(f"{error:.3f}" for error in errors), flush=True)
    figure("error in the tenth period", errors[-1], at_most=0.05, stated=options.stated)
    if options.save:
        draw(options.save, heard, truth, found)


if __name__ == "__main__":
    run(main)
