"""Train an LSTM to foresee a noisy sine curve, by backpropagation through pieces of time; then it follows a cosine."""

import argparse
import math
from pathlib import Path
from typing import Any

import numpy as np

import fdezero as fd
from fdezero import functions as F
from fdezero import nn, optim, training
from fdezero.examples._terminal import drawing, example_parser, figure, first_line, number, output, run, saved

POINTS, NOISE = 1000, 0.05


class Forecaster(fd.Module):
    """The next value of each sequence, after each of its steps: x (N, T, 1) -> (N, T, 1). The state comes and goes with the values."""

    lstm: nn.LSTM
    head: nn.Linear

    @classmethod
    def init(cls, key: Any, hidden: int) -> "Forecaster":
        first, second = fd.random.split(key)
        return cls(nn.LSTM.init(first, 1, hidden), nn.Linear.init(second, hidden, 1))

    def __call__(self, x: Any, state: Any = None) -> tuple[Any, Any]:
        y, state = self.lstm(x, state)
        return self.head(y), state


def curve(key: Any) -> np.ndarray:
    """One period of a sine, with uniform noise: float32 (points,)."""
    noise = fd.random.uniform(key, (POINTS,), -NOISE, NOISE)
    return np.sin(np.linspace(0, 2 * math.pi, POINTS)).astype(np.float32) + noise


def tracks(values: np.ndarray, count: int) -> np.ndarray:
    """The curve from `count` starts, which lie evenly on it, each once around and one step more: (count, points + 1, 1)."""
    starts = np.arange(count) * (len(values) // count)
    return values[(starts[:, None] + np.arange(len(values) + 1)) % len(values), None]


def loss_fn(model: Forecaster, state: Any, x: Any, t: Any) -> tuple[Any, Any]:
    # The state goes on into the next piece, and the gradient ends here: this is what "truncated" means.
    y, state = model(x, fd.stop_gradient(state))
    return F.mean_squared_error(y, t), state


def train(model: Forecaster, values: np.ndarray, options: argparse.Namespace) -> Forecaster:
    """Train piece by piece, print a line per epoch, and save the parameters at the end, even after Ctrl-C."""
    opt = optim.adam(options.lr)

    @fd.compile  # optional: the same bits, faster
    def train_step(model: Any, opt_state: Any, state: Any, x: Any, t: Any) -> tuple[Any, ...]:
        (loss, state), grads = fd.value_and_grad(loss_fn, has_aux=True)(model, state, x, t)
        model, opt_state = opt.step(model, grads, opt_state)
        return model, opt_state, state, loss

    x, length = tracks(values, options.batch_size), options.bptt
    pieces = [x[:, start : start + length + 1] for start in range(0, POINTS - length + 1, length)]
    opt_state = opt.init(model)
    try:
        for epoch in range(options.epochs):
            state = model.lstm.initial_state(len(x))
            bar = training.progress(pieces, f"epoch {epoch + 1} of {options.epochs}", leave=False)
            for piece in bar:
                model, opt_state, state, loss = train_step(model, opt_state, state, piece[:, :-1], piece[:, 1:])
                bar.show({"loss": loss})
            line = "epoch: {}, loss: {:.6f}, time: {:.4f}[sec], error on a cosine: {:.4f}"
            print(line.format(epoch + 1, bar.results()["loss"], bar.seconds, error_of(model)), flush=True)
    finally:
        if options.weights:
            fd.save(options.weights, model)
            saved(options.weights)
    return model


def foreseen(model: Forecaster) -> tuple[np.ndarray, np.ndarray]:
    """Two periods of a cosine without noise, and what the model says of each point from those before."""
    truth = np.cos(np.linspace(0, 4 * math.pi, POINTS)).astype(np.float32)
    return truth[1:], model(truth[None, :-1, None])[0][0, :, 0]


def error_of(model: Forecaster) -> float:
    """The root of the mean squared error on the cosine, which the model was not trained on."""
    truth, found = foreseen(model)
    return math.sqrt(float(np.mean((found - truth) ** 2)))


def plot(path: Path, model: Forecaster) -> None:
    """Draw the cosine and what the model foresees."""
    truth, found = foreseen(model)
    with drawing(path, 9, 4) as picture:
        axes = picture.subplots()
        axes.plot(truth, label="cos(x)")
        axes.plot(found, label="foreseen from the points before")
        axes.set(xlabel="step", title="A curve that the model was not trained on")
        axes.legend()


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = example_parser("sine", __doc__, saves=(".svg", ".png"), device=False)
    add = parser.add_argument
    add("--epochs", type=number(int, 1), default=20, quick=1, help="how often every piece is seen (%(default)s)")
    add("--batch-size", type=number(int, 1, POINTS + 1), default=30, help="sequences side by side (%(default)s)")
    add("--bptt", type=number(int, 1, POINTS + 1), default=30, help="steps of a piece (%(default)s)")
    add("--hidden", type=number(int, 1), default=100, quick=8, help="units of the LSTM (%(default)s)")
    add("--lr", type=number(float, 0), default=0.005, help="learning rate (%(default)s)")
    add("--weights", type=output(".npz"), metavar="FILE.npz", help="load it if it exists, save it at the end")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    options = parse(arguments)
    model_key, noise_key = fd.random.split(fd.random.key(options.seed))
    model = Forecaster.init(model_key, options.hidden)
    size = sum(leaf.size for leaf in fd.tree.leaves(model))
    pieces = f"{options.batch_size} sequences in pieces of {options.bptt} steps"
    text = f"sine: LSTM with {options.hidden} units and {size:,} parameters, {pieces}, epochs: {options.epochs}"
    first_line(options, text)
    if options.weights and options.weights.exists():
        model = fd.load(options.weights, like=model)
        print(f"loaded {options.weights}", flush=True)
    model = train(model, curve(noise_key), options)
    figure("error on a cosine", error_of(model), at_most=0.04, stated=options.stated)
    if options.save:
        plot(options.save, model)


if __name__ == "__main__":
    run(main)
