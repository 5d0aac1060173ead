"""Train a small network on MNIST, 60,000 handwritten digits, by pure functions."""

import argparse
import importlib.util
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import fdezero as fd
from fdezero import functions as F
from fdezero import nn, optim
from fdezero.data import DataLoader, mnist
from fdezero.examples._terminal import Parser, Progress, devices, folder, number, output, run, saved


def loss_fn(model: nn.MLP, x: Any, t: Any, key: Any) -> Any:
    return F.softmax_cross_entropy(model(x, key=key, train=True), t)


class Epoch(NamedTuple):
    """The numbers of an epoch that are printed and drawn."""

    loss: float
    seconds: float
    accuracy: float


def train(model: nn.MLP, data: Any, options: argparse.Namespace, device: str) -> tuple[nn.MLP, list[Epoch]]:
    """Train on one device, print a line per epoch, and save the parameters at the end, even after Ctrl-C."""
    training, test = data
    opt = optim.sgd(options.lr)

    @fd.compile  # optional: the same bits, faster
    def train_step(model: nn.MLP, state: Any, x: Any, t: Any, key: Any) -> tuple[nn.MLP, Any, Any]:
        loss, grads = fd.value_and_grad(loss_fn)(model, x, t, key)
        model, state = opt.step(model, grads, state)
        return model, state, loss

    order_key, dropout_key = fd.random.split(fd.random.key(options.seed + 1))
    loader = DataLoader(training, options.batch_size, key=order_key, device=device)
    model, dropout_key = fd.to_device((model, dropout_key), device)
    state = opt.init(model)
    epochs: list[Epoch] = []
    progress = Progress()
    try:
        for epoch in range(options.epochs):
            start, seen = time.perf_counter(), 0
            total = np.float64(0)  # in float32, 600 rounding errors would add up
            for step, (x, t) in enumerate(loader.epoch(epoch)):
                key = fd.random.fold_in(dropout_key, epoch * len(loader) + step) if options.dropout else None
                model, state, loss = train_step(model, state, x, t, key)
                total, seen = total + loss * len(x), seen + len(x)
                if progress.is_due():
                    where = f"epoch {epoch + 1} of {options.epochs}, step {step + 1} of {len(loader)}"
                    progress.show(f"{where}, loss: {float(total) / seen:.4f}")
            loss, seconds = float(total) / seen, time.perf_counter() - start
            epochs.append(Epoch(loss, seconds, accuracy(model, test)))
            line = "epoch: {}, loss: {:.4f}, time: {:.4f}[sec], test accuracy: {:.4f}"
            progress.finish(line.format(len(epochs), *epochs[-1]))
    finally:
        progress.leave()
        if options.weights:
            fd.save(options.weights, model)
            like = f"fd.nn.MLP.init(fd.random.key(0), (784, {options.hidden}, 10))"
            saved(options.weights)
            print(f"to load it: model = fd.load({str(options.weights)!r}, like={like})", flush=True)
    return model, epochs


def accuracy(model: nn.MLP, data: Any) -> float:
    """The fraction of a data set that the model gets right; without `train=True` nothing is dropped."""
    batches = DataLoader(data, 1000, shuffle=False, device=fd.device_of(model))
    return sum(float(F.accuracy(model(x), t)) * len(x) for x, t in batches) / batches.size


def plot(path: Path, model: nn.MLP, epochs: list[Epoch], test: Any) -> None:
    """Draw loss and accuracy over the epochs, and twelve test digits with the model's answers."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 5), layout="constrained")
    rows = [["curves", *range(first, first + 4)] for first in (0, 4, 8)]
    axes = figure.subplot_mosaic(rows, width_ratios=[3, 1, 1, 1, 1])
    numbers = range(1, len(epochs) + 1)
    axes["curves"].plot(numbers, [epoch.loss for epoch in epochs], "o-", label="training loss")
    axes["curves"].plot(numbers, [epoch.accuracy for epoch in epochs], "s-", label="test accuracy")
    axes["curves"].set(xlabel="epoch", ylim=(0, None))
    axes["curves"].xaxis.get_major_locator().set_params(integer=True)
    axes["curves"].legend()
    figure.suptitle("Loss and accuracy, and test digits below their predictions (red: wrong)")
    images, labels = test[0][:12], test[1][:12]
    predictions = fd.to_numpy(fd.numpy.argmax(model(fd.to_device(images, fd.device_of(model))), axis=-1))
    for i, (image, label, prediction) in enumerate(zip(images, labels, predictions, strict=True)):
        axes[i].imshow(image.reshape(28, 28), cmap="gray_r")
        axes[i].set_title(f"{prediction}", color="black" if prediction == label else "red")
        axes[i].axis("off")
    figure.savefig(path)
    saved(path)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = Parser("mnist", __doc__)
    add = parser.add_argument
    add("--epochs", type=number(int, 1), default=5, help="how often every image is seen (%(default)s)")
    add("--batch-size", type=number(int, 1), default=100, help="images in a step (%(default)s)")
    add("--hidden", type=number(int, 1), default=1000, help="units of the hidden layer (%(default)s)")
    add("--lr", type=number(float, 0), default=0.01, help="learning rate (%(default)s)")
    add("--dropout", type=number(float, 0, 1), default=0.0, help="rate of dropout, hidden units (%(default)s)")
    add("--seed", type=number(int, 0), default=0, help="for parameters, order and dropout (%(default)s)")
    add("--device", type=devices, default="auto", help="cpu, gpu, both, or auto: the GPU if it works")
    add("--weights", type=output(".npz"), metavar="FILE.npz", help="load it if it exists, save it at the end")
    add("--plot", type=output(".png"), metavar="FILE.png", help="draw curves and predictions")
    add("--data-dir", type=folder, metavar="DIR", help="read the idx files from here")
    options = parser.parse_args(arguments)
    if options.plot and not importlib.util.find_spec("matplotlib"):
        parser.error("--plot needs matplotlib: pip install 'fdezero[plot]'")
    return options


def main(arguments: list[str] | None = None) -> None:
    options = parse(arguments)
    model = nn.MLP.init(fd.random.key(options.seed), (784, options.hidden, 10), dropout=options.dropout)
    size = sum(leaf.size for leaf in fd.tree.leaves(model))
    where = " and ".join(options.device)
    print(f"MNIST: MLP 784-{options.hidden}-10 with {size:,} parameters, device: {where}, ", end="")
    print(f"batch size: {options.batch_size}, epochs: {options.epochs}", flush=True)
    if options.weights and options.weights.exists():
        model = fd.load(options.weights, like=model)
        print(f"loaded {options.weights}", flush=True)
    training, test = data = [mnist(split, data_dir=options.data_dir) for split in ("train", "test")]
    print(f"{len(training[0]):,} images to train on, {len(test[0]):,} to test with", flush=True)
    averages = {}
    for device in options.device:
        if len(options.device) > 1:
            print(f"device: {device}")
        trained, epochs = train(model, data, options, device)
        averages[device] = sum(epoch.seconds for epoch in epochs) / len(epochs)
    if len(averages) > 1:
        for device, average in averages.items():
            print(f"average time on {device}: {average:.4f}[sec]")
        print(f"GPU speedup over CPU: {averages['cpu'] / averages['gpu']:.1f}x")
    if options.plot:
        plot(options.plot, trained, epochs, test)
    if not options.weights:
        print("the parameters are not saved: to keep them, add --weights mlp.npz")


if __name__ == "__main__":
    run(main)
