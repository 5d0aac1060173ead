"""Train a ResNet-18 on MNIST resized to 32 x 32 to 97 % in about a minute: batch norm by nn.step, a compiled step."""

import argparse
from typing import Any

import numpy as np

import fdezero as fd
from fdezero import functions as F
from fdezero import nn, optim, training
from fdezero.data import DataLoader, mnist
from fdezero.examples._terminal import example_parser, figure, first_line, folder, number, output, run, saved
from fdezero.models import ResNet18


def loss_fn(model: ResNet18, x: Any, t: Any) -> tuple[Any, ResNet18]:
    """The loss, and the model with the new statistics of its norms."""
    y, model = nn.step(model, x, train=True)
    return F.softmax_cross_entropy(y, t), model


def train(model: ResNet18, data: Any, options: argparse.Namespace) -> training.ConfusionMatrix:
    """Train, print a line per epoch, and save at the end, even after Ctrl-C: which digit is taken for which one."""
    images, test = data
    loader = DataLoader(images, options.batch_size, key=fd.random.key(options.seed + 1), device=options.device)
    steps = options.epochs * len(loader)
    opt = optim.adam(lambda step: options.lr * (1 - step / steps))  # falls to 0, so that the last steps settle

    @fd.compile  # optional: the same bits, faster
    def train_step(model: ResNet18, state: Any, x: Any, t: Any) -> tuple[ResNet18, Any, Any]:
        (loss, successor), grads = fd.value_and_grad(loss_fn, has_aux=True)(model, x, t)
        model, state = opt.step(successor, grads, state)
        return model, state, loss

    model = fd.to_device(model, options.device)
    state = opt.init(model)
    try:
        for epoch in range(options.epochs):
            bar = training.progress(loader.epoch(epoch), f"epoch {epoch + 1}", leave=False)
            for x, t in bar:
                model, state, loss = train_step(model, state, x, t)
                bar.show({"loss": loss})
            matrix = confusion(model, test)
            loss, right = bar.results()["loss"], f"test accuracy: {accuracy(matrix):.4f}"
            print(f"epoch: {epoch + 1}, loss: {loss:.4f}, time: {bar.seconds:.1f}[sec], {right}", flush=True)
    finally:
        if options.weights:
            fd.save(options.weights, model)
            saved(options.weights)
            print(f"to load it: model = fd.models.ResNet18.load({str(options.weights)!r})", flush=True)
    return matrix


def confusion(model: ResNet18, data: Any) -> training.ConfusionMatrix:
    """How often each digit is taken for each other one, with the statistics of training."""
    predict, matrix = fd.compile(lambda model, x: model(x)), training.ConfusionMatrix(10)
    for x, t in DataLoader(data, 200, shuffle=False, device=fd.device_of(model)):
        matrix = matrix.update(predict(model, x), t)
    return matrix


def accuracy(matrix: training.ConfusionMatrix) -> float:
    """The fraction of images on the diagonal."""
    return float(np.trace(matrix.result()) / np.sum(matrix.result()))


def resized(images: np.ndarray, size: int) -> np.ndarray:
    """Images (N, 1, 28, 28) -> (N, 1, size, size), by linear interpolation along both axes."""
    before = images.shape[-1]
    places = np.clip((np.arange(size) + 0.5) * before / size - 0.5, 0, before - 1)
    matrix = np.maximum(0, 1 - np.abs(places[:, None] - np.arange(before))).astype(images.dtype)
    return matrix @ images @ matrix.T


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = example_parser("resnet", __doc__)
    add = parser.add_argument
    add("--epochs", type=number(int, 1), default=1, help="how often every image is seen (%(default)s)")
    add("--batch-size", type=number(int, 2), default=64, quick=10, help="images in a step (%(default)s)")
    add("--width", type=number(int, 1), default=32, quick=2, help="channels at first; the paper has 64 (%(default)s)")
    add("--size", type=number(int, 1), default=32, quick=16, help="height and width of the images (%(default)s)")
    add("--images", type=number(int, 2), default=20000, quick=40, help="train on the first images alone (%(default)s)")
    add("--lr", type=number(float, 0), default=0.002, help="learning rate of Adam (%(default)s)")
    add("--weights", type=output(".npz"), metavar="FILE.npz", help="load it if it exists, save it at the end")
    add("--data-dir", type=folder, metavar="DIR", help="read the idx files from here")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    options = parse(arguments)
    model = ResNet18.init(fd.random.key(options.seed), classes=10, channels=1, width=options.width)
    size = sum(leaf.size for leaf in fd.tree.leaves(model))
    first_line(options, f"MNIST: ResNet18 with {size:,} numbers")
    if options.weights and options.weights.exists():
        model = fd.load(options.weights, like=model)
        print(f"loaded {options.weights}", flush=True)
    pairs = (mnist(split, flatten=False, data_dir=options.data_dir) for split in ("train", "test"))
    images, test = (
        (resized(x[:count], options.size), t[:count])
        for (x, t), count in zip(pairs, (options.images, 40 if options.quick else None), strict=True)
    )
    print(f"{len(images[0]):,} images to train on, {len(test[0]):,} to test with, {test[0].shape[1:]} each", flush=True)
    matrix = train(model, (images, test), options)
    figure("test accuracy", accuracy(matrix), at_least=0.97, stated=options.stated)
    if options.save:
        training.plot_confusion_matrix(matrix, to_file=options.save)
        saved(options.save)


if __name__ == "__main__":
    run(main)
