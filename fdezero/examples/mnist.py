"""Train a small network on MNIST by pure functions: `python -m fdezero.examples.mnist --help`."""

import argparse
import contextlib
import os
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import fdezero as fd
from fdezero import functions as F
from fdezero import nn, optim
from fdezero.data import DataLoader
from fdezero.data.sets import mnist
from fdezero.errors import FdezeroError, MissingExtraError


class Run(NamedTuple):
    """What a training run leaves behind."""

    model: nn.MLP
    losses: list[float]
    times: list[float]


def loss_fn(model: nn.MLP, x: Any, t: Any, key: Any) -> Any:
    return F.softmax_cross_entropy(model(x, key=key, train=True), t)


def train(model: nn.MLP, data: Any, options: argparse.Namespace, device: str, weights: Path | None) -> Run:
    """Train for `options.epochs`, print a line an epoch, and save the model at the end, also on Ctrl-C."""
    opt = optim.sgd(options.lr)

    def train_step(model: nn.MLP, state: Any, x: Any, t: Any, key: Any) -> tuple[nn.MLP, Any, Any]:
        loss, grads = fd.value_and_grad(loss_fn)(model, x, t, key)
        model, state = opt.step(model, grads, state)
        return model, state, loss

    order_key, dropout_key = fd.random.split(fd.random.key(options.seed + 1))
    dropout_key = fd.to_device(dropout_key, device)
    loader = DataLoader(data, options.batch_size, key=order_key, device=device)
    model = fd.to_device(model, device)
    state = opt.init(model)
    losses, times = [], []
    try:
        for epoch in range(options.epochs):
            start, total = time.perf_counter(), np.float64(0)  # 600 float32 losses would add up their roundings
            for step, (x, t) in enumerate(progress(loader.epoch(epoch), len(loader), f"epoch {epoch + 1}")):
                key = fd.random.fold_in(dropout_key, epoch * len(loader) + step) if options.dropout else None
                model, state, loss = train_step(model, state, x, t, key)
                total = total + loss * len(x)
            losses.append(float(total) / loader.size)
            times.append(time.perf_counter() - start)
            print(f"epoch: {epoch + 1}, loss: {losses[-1]:.4f}, time: {times[-1]:.4f}[sec]", flush=True)
    finally:
        if weights:
            fd.save(weights, model)
    return Run(model, losses, times)


def progress(batches: Iterator[Any], total: int, name: str) -> Iterable[Any]:
    """A progress bar on a terminal, where tqdm is installed."""
    if not sys.stderr.isatty():
        return batches
    with contextlib.suppress(ImportError):
        from tqdm import tqdm

        bar: Iterable[Any] = tqdm(batches, name, total, leave=False)
        return bar
    return batches


def accuracy(model: nn.MLP, data: Any, batch_size: int = 1000) -> float:
    """The fraction of a data set that the model gets right, in test mode."""
    batches = DataLoader(data, batch_size, shuffle=False, device=fd.device_of(model))
    return sum(float(F.accuracy(model(x), t)) * len(x) for x, t in batches) / batches.size


def plot(path: Path, run: Run, data: Any) -> None:
    """Draw the losses, and a grid of test digits with their predictions, red where wrong."""
    pyplot = load_pyplot()
    rows = [["loss", *range(start, start + 4)] for start in (0, 4, 8)]
    figure, axes = pyplot.subplot_mosaic(rows, figsize=(11, 5), width_ratios=[3, 1, 1, 1, 1])
    axes["loss"].plot(range(1, len(run.losses) + 1), run.losses, marker="o")
    axes["loss"].set(xlabel="epoch", ylabel="training loss")
    images, labels = data[0][:12], data[1][:12]
    predictions = fd.to_numpy(fd.numpy.argmax(run.model(fd.to_device(images, fd.device_of(run.model))), axis=-1))
    for i, (image, label, prediction) in enumerate(zip(images, labels, predictions, strict=True)):
        axes[i].imshow(image.reshape(28, 28), cmap="gray_r")
        axes[i].set_title(f"{prediction}", color="black" if prediction == label else "red")
        axes[i].axis("off")
    figure.tight_layout()
    figure.savefig(path)
    pyplot.close(figure)


def load_pyplot() -> Any:
    try:
        import matplotlib

        matplotlib.use("Agg")
        from matplotlib import pyplot
    except ImportError as error:
        raise MissingExtraError("--plot needs matplotlib: pip install 'fdezero[plot]'") from error
    return pyplot


def parse(arguments: list[str] | None) -> argparse.Namespace:
    def number(kind: type, low: float, below: float = float("inf")) -> Any:
        def parse_number(text: str) -> Any:
            value = kind(text)
            if not low <= value < below:
                raise argparse.ArgumentTypeError(f"{text} is not in [{low}, {below})")
            return value

        parse_number.__name__ = "whole number" if kind is int else "number"
        return parse_number

    parser = argparse.ArgumentParser(prog="python -m fdezero.examples.mnist", description="Train an MLP on MNIST by pure functions.")
    parser.add_argument("--epochs", type=number(int, 1), default=5)
    parser.add_argument("--batch-size", type=number(int, 1), default=100)
    parser.add_argument("--hidden", type=number(int, 1), default=1000, help="units of the hidden layer (1000)")
    parser.add_argument("--lr", type=number(float, 0), default=0.01, help="learning rate (0.01)")
    parser.add_argument("--dropout", type=number(float, 0, 1), default=0.0, help="rate of dropout after the hidden layer (0)")
    parser.add_argument("--seed", type=number(int, 0), default=0)
    parser.add_argument("--device", choices=["auto", "cpu", "gpu", "both"], default="auto")
    parser.add_argument("--weights", type=Path, metavar="FILE.npz", help="load if it exists, save at the end")
    parser.add_argument("--plot", type=Path, metavar="FILE.png", help="draw losses and predictions")
    parser.add_argument("--data-dir", type=Path, metavar="DIR", help="read the idx files from here")
    options = parser.parse_args(arguments)
    for path in (options.weights, options.plot):
        if path and not path.parent.is_dir():
            parser.error(f"there is no folder {path.parent} for {path.name}")
        if path and (path.is_dir() or not os.access(path.parent, os.W_OK)):
            parser.error(f"{path} cannot be written: it is a folder, or in one that is read-only")
    if options.plot and options.plot.suffix != ".png":
        parser.error(f"--plot draws a PNG file, got {options.plot}")
    return options


def main(arguments: list[str] | None = None) -> None:
    options = parse(arguments)
    if options.plot:
        load_pyplot()
    if options.device in ("gpu", "both"):
        fd.to_device((), "gpu")
    training, test = mnist("train", data_dir=options.data_dir), mnist("test", data_dir=options.data_dir)
    model = nn.MLP.init(fd.random.key(options.seed), (784, options.hidden, 10), dropout=options.dropout)
    if options.weights and options.weights.exists():
        model = fd.load(options.weights, like=model)
    auto = "gpu" if options.device == "auto" and fd.gpu_available() else "cpu"
    devices = {"auto": [auto], "both": ["cpu", "gpu"]}.get(options.device, [options.device])
    runs = {}
    for device in devices:
        if len(devices) > 1:
            print(f"device: {device}")
        runs[device] = run = train(model, training, options, device, options.weights)
        print(f"test accuracy: {accuracy(run.model, test):.4f}")
    if len(devices) > 1:
        averages = {device: sum(run.times) / len(run.times) for device, run in runs.items()}
        for device, average in averages.items():
            print(f"average time on {device}: {average:.4f}[sec]")
        print(f"GPU speedup over CPU: {averages['cpu'] / averages['gpu']:.1f}x")
    if options.plot:
        plot(options.plot, run, test)


if __name__ == "__main__":
    try:
        main()
    except (FdezeroError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
