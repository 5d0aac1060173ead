"""Train a small network on MNIST, 60,000 handwritten digits, by pure functions."""

import argparse
import importlib.util
from pathlib import Path
from typing import Any

import fdezero as fd
from fdezero import functions as F
from fdezero import nn, optim, training
from fdezero.data import DataLoader, mnist
from fdezero.examples._terminal import Parser, devices, folder, number, output, run, saved


def loss_fn(model: nn.MLP, x: Any, t: Any, key: Any) -> Any:
    return F.softmax_cross_entropy(model(x, key=key, train=True), t)


def train(model: nn.MLP, data: Any, options: argparse.Namespace, device: str) -> tuple[nn.MLP, list[dict[str, Any]]]:
    """Train on one device, print a line per epoch, and save at the end, even after Ctrl-C: the model, and numbers by epoch."""
    images, test = data
    opt = optim.sgd(options.lr)

    @fd.compile(native=options.native)  # optional: the same bits, faster
    def step(state: training.State, batch: Any) -> tuple[training.State, dict[str, Any]]:
        x, t = batch
        key = fd.random.fold_in(state.key, state.step) if options.dropout else None
        loss, grads = fd.value_and_grad(loss_fn)(state.model, x, t, key)
        model, optimiser = opt.step(state.model, grads, state.optimiser)
        return state.replace(model=model, optimiser=optimiser, step=state.step + 1), {"loss": loss}

    order_key, dropout_key = fd.random.split(fd.random.key(options.seed + 1))
    loader = DataLoader(images, options.batch_size, key=order_key, device=device)
    state = fd.to_device(training.State.init(model, opt, dropout_key), device)
    checkpoints = fd.io.Checkpoints(options.checkpoints, every=200) if options.checkpoints else None
    log = training.open_log(options.log) if options.log else None
    if checkpoints and (latest := checkpoints.latest()):
        state = checkpoints.restore(like=state)
        print(f"goes on from {options.checkpoints / latest.path.name}, in epoch {state.epoch + 1}", flush=True)
    history: list[dict[str, Any]] = []
    try:
        for epoch in range(state.epoch, options.epochs):
            start = state.step - epoch * len(loader)
            name = f"epoch {epoch + 1} of {options.epochs}"
            bar = training.progress(loader.epoch(epoch, start), name, leave=False)
            for batch in bar:
                state, metrics = step(state, batch)
                bar.show(metrics)
                if checkpoints:
                    checkpoints.save(state, state.step)  # every 200 steps
            state = state.replace(epoch=epoch + 1)
            row = {"epoch": epoch + 1, **bar.results(), "seconds": bar.seconds, "accuracy": accuracy(state.model, test)}
            line = "epoch: {epoch}, loss: {loss:.4f}, time: {seconds:.4f}[sec], test accuracy: {accuracy:.4f}"
            print(line.format(**{"loss": float("nan"), **row}), flush=True)
            history.append(row)
            if log:
                log(state.step, row)
    finally:
        if checkpoints:
            checkpoints.save(state, state.step, force=True)
            saved(options.checkpoints / checkpoints.all()[-1].path.name)
        if options.weights:
            fd.save(options.weights, state.model)
            like = f"fd.nn.MLP.init(fd.random.key(0), (784, {options.hidden}, 10))"
            saved(options.weights)
            print(f"to load it: model = fd.load({str(options.weights)!r}, like={like})", flush=True)
    return state.model, history


def accuracy(model: nn.MLP, data: Any) -> float:
    """The fraction of a data set that the model gets right; without `train=True` nothing is dropped."""
    right = training.Accuracy()
    for x, t in DataLoader(data, 1000, shuffle=False, device=fd.device_of(model)):
        right = right.update(model(x), t)
    return float(right.result())


def plot(path: Path, model: nn.MLP, history: list[dict[str, Any]], test: Any) -> None:
    """Draw loss and accuracy over the epochs, and in a second file test digits below the model's predictions."""
    training.plot_history(history, to_file=path)
    saved(path)
    images, labels = test[0][:24], test[1][:24]
    predictions = fd.numpy.argmax(model(fd.to_device(images, fd.device_of(model))), axis=-1)
    digits = path.with_stem(f"{path.stem}-digits")
    training.plot_images(images, predictions, labels, to_file=digits)
    saved(digits)


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
    add("--native", action="store_true", help="compile to native code, with a C++ compiler")
    add("--weights", type=output(".npz"), metavar="FILE.npz", help="load it if it exists, save it at the end")
    add("--checkpoints", type=Path, metavar="FOLDER", help="save the run there every 200 steps, and go on from there")
    add("--log", type=output(".csv", ".jsonl"), metavar="FILE", help="write a row for each epoch, .csv or .jsonl")
    add("--plot", type=output(".png"), metavar="FILE.png", help="draw curves and predictions")
    add("--data-dir", type=folder, metavar="DIR", help="read the idx files from here")
    options = parser.parse_args(arguments)
    if options.plot and not importlib.util.find_spec("matplotlib"):
        parser.error("--plot needs matplotlib: pip install 'fdezero[plot]'")
    if len(options.device) > 1 and (options.checkpoints or options.log):
        parser.error("--checkpoints and --log keep one run: choose one device")
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
    images, test = data = [mnist(split, data_dir=options.data_dir) for split in ("train", "test")]
    print(f"{len(images[0]):,} images to train on, {len(test[0]):,} to test with", flush=True)
    averages = {}
    for device in options.device:
        if len(options.device) > 1:
            print(f"device: {device}")
        trained, history = train(model, data, options, device)
        averages[device] = sum(row["seconds"] for row in history) / max(1, len(history))
    if len(averages) > 1:
        for device, average in averages.items():
            print(f"average time on {device}: {average:.4f}[sec]")
        print(f"GPU speedup over CPU: {averages['cpu'] / averages['gpu']:.1f}x")
    if options.plot and history:
        plot(options.plot, trained, history, test)
    if not (options.weights or options.checkpoints):
        print("the parameters are not saved: to keep them, add --weights mlp.npz")


if __name__ == "__main__":
    run(main)
