"""Train a small network on MNIST, 60,000 handwritten digits, by pure functions; with mpiexec on several processes."""

import argparse
from pathlib import Path
from typing import Any

import fdezero as fd
from fdezero import functions as F
from fdezero import nn, optim, training
from fdezero.data import DataLoader, mnist
from fdezero.examples._terminal import devices, example_parser, figure, folder, number, output, run, saved


def loss_fn(model: nn.MLP, x: Any, t: Any, keys: Any = None) -> Any:
    """The mean loss of a batch. Each example has a key of its own, so what is dropped does not depend on its process."""
    y = model(x) if keys is None else fd.vmap(lambda x, key: model(x, key=key, train=True))(x, keys)
    return F.softmax_cross_entropy(y, t)


def train(model: nn.MLP, data: Any, options: argparse.Namespace, device: str) -> tuple[nn.MLP, list[dict[str, Any]]]:
    """Train on one device, print a line per epoch, and save at the end, even after Ctrl-C: the model, and numbers by epoch."""
    images, test = data
    world = fd.distributed.world(device=device)  # one process, unless mpiexec has started several
    opt = optim.sgd(options.lr)

    @fd.compile(native=options.native)  # optional: the same bits, faster
    def step(state: training.State, batch: Any) -> tuple[training.State, dict[str, Any]]:
        loss, grads = fd.distributed.value_and_grad(loss_fn, world)(state.model, *batch)
        model, optimiser = opt.step(state.model, grads, state.optimiser)
        return state.replace(model=model, optimiser=optimiser, step=state.step + 1), {"loss": loss}

    key, add_keys = fd.random.key(options.seed + 1), (lambda batch, key: (*batch, key)) if options.dropout else None
    loader = DataLoader(images, options.batch_size, key=key, device=world.device, shard=world.share, transform=add_keys)
    state = fd.to_device(training.State.init(model, opt), world.device)
    checkpoints = fd.io.Checkpoints(options.checkpoints, every=200, world=world) if options.checkpoints else None
    log = training.open_log(options.log, world=world) if options.log else None
    if checkpoints and (latest := checkpoints.latest()):
        state = checkpoints.restore(like=state)
        print(f"goes on from {options.checkpoints / latest.path.name}, in epoch {state.epoch + 1}", flush=True)
    history: list[dict[str, Any]] = []
    ended = False
    try:
        for epoch in range(state.epoch, options.epochs):
            start = state.step - epoch * len(loader)
            name = f"epoch {epoch + 1} of {options.epochs}"
            bar = training.progress(loader.epoch(epoch, start), name, leave=False, world=world)
            for batch in bar:
                state, metrics = step(state, batch)
                bar.show(metrics)
                if checkpoints:
                    checkpoints.save(state, state.step)  # every 200 steps
            state = state.replace(epoch=epoch + 1)
            right = accuracy(state.model, test, world)
            row = {"epoch": epoch + 1, **bar.results(), "seconds": bar.seconds, "accuracy": right}
            line = "epoch: {epoch}, loss: {loss:.4f}, time: {seconds:.4f}[sec], test accuracy: {accuracy:.4f}"
            print(line.format(**{"loss": float("nan"), **row}), flush=True)
            history.append(row)
            if log:
                log(state.step, row)
        ended = True
    finally:
        together = ended or world.size == 1  # after an error the processes are in different places
        if checkpoints and together:
            checkpoints.save(state, state.step, force=True)
            last = checkpoints.all()[-1]
            if world.rank == 0:
                saved(options.checkpoints / last.path.name)
        if options.weights and together and world.rank == 0:
            fd.save(options.weights, state.model)
            like = f"fd.nn.MLP.init(fd.random.key(0), (784, {options.hidden}, 10))"
            saved(options.weights)
            print(f"to load it: model = fd.load({str(options.weights)!r}, like={like})", flush=True)
    return state.model, history


def accuracy(model: nn.MLP, data: Any, world: Any) -> float:
    """The fraction of a data set that the model gets right. Each process tests a part."""
    right = training.Accuracy()
    for x, t in DataLoader(data, 1000, shuffle=False, device=fd.device_of(model), shard=world.share):
        right = right.update(model(x), t)
    return float(training.merge(right, world=world).result())


def plot(path: Path, model: nn.MLP, history: list[dict[str, Any]], test: Any) -> None:
    """Draw loss and accuracy over the epochs, and in a second file test digits below the model's predictions."""
    training.plot_history(history, to_file=path)
    saved(path)
    images, labels = test[0][:16], test[1][:16]
    predictions = fd.numpy.argmax(model(fd.to_device(images, fd.device_of(model))), axis=-1)
    digits = path.with_stem(f"{path.stem}-digits")
    training.plot_images(images, predictions, labels, to_file=digits)
    saved(digits)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = example_parser("mnist", __doc__, device=False)
    add = parser.add_argument
    add("--epochs", type=number(int, 1), default=5, quick=1, help="how often every image is seen (%(default)s)")
    add("--batch-size", type=number(int, 1), default=100, help="images in a step (%(default)s)")
    add("--hidden", type=number(int, 1), default=1000, quick=32, help="units of the hidden layer (%(default)s)")
    add("--images", type=number(int, 1), quick=500, help="train on the first images alone (all)")
    add("--lr", type=number(float, 0), default=0.01, quick=0.1, help="learning rate (%(default)s)")
    add("--dropout", type=number(float, 0, 1), default=0.0, help="rate of dropout, hidden units (%(default)s)")
    add("--device", type=devices, default="auto", help="cpu, gpu, both, or auto: the GPU if it works")
    add("--native", action="store_true", help="compile to native code, with a C++ compiler")
    add("--weights", type=output(".npz"), metavar="FILE.npz", help="load it if it exists, save it at the end")
    add("--checkpoints", type=Path, metavar="FOLDER", help="save the run there every 200 steps, and go on from there")
    add("--log", type=output(".csv", ".jsonl"), metavar="FILE", help="write a row for each epoch, .csv or .jsonl")
    add("--data-dir", type=folder, metavar="DIR", help="read the idx files from here")
    options = parser.parse_args(arguments)
    if len(options.device) > 1 and (options.checkpoints or options.log):
        parser.error("--checkpoints and --log keep one run: choose one device")
    return options


def main(arguments: list[str] | None = None) -> None:
    options = parse(arguments)
    model = nn.MLP.init(fd.random.key(options.seed), (784, options.hidden, 10), dropout=options.dropout)
    size = sum(leaf.size for leaf in fd.tree.leaves(model))
    where, processes = " and ".join(options.device), fd.distributed.world().size
    where += f", processes: {processes}" if processes > 1 else ""
    print("quick form of " * options.quick, end="")
    print(f"MNIST: MLP 784-{options.hidden}-10 with {size:,} parameters, device: {where}, ", end="")
    print(f"batch size: {options.batch_size}, epochs: {options.epochs}", flush=True)
    if options.weights and options.weights.exists():
        model = fd.load(options.weights, like=model)
        print(f"loaded {options.weights}", flush=True)
    images, test = data = [mnist(split, data_dir=options.data_dir) for split in ("train", "test")]
    data[0] = images = fd.tree.map(lambda a: a[: options.images], images)
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
    if history:
        figure("test accuracy", history[-1]["accuracy"], at_least=0.86, stated=options.stated)
    if options.save and history and fd.distributed.world().rank == 0:
        plot(options.save, trained, history, test)
    if not (options.weights or options.checkpoints):
        print("the parameters are not saved: to keep them, add --weights mlp.npz")


if __name__ == "__main__":
    run(main, together=True)
