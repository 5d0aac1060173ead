"""Train a convolutional network on MNIST to 98.9 % in under two minutes: a model of your own, a compiled step, a loop."""

import argparse
from pathlib import Path
from typing import Any, Self

import numpy as np

import fdezero as fd
from fdezero import functions as F
from fdezero import nn, optim, training
from fdezero.data import DataLoader, mnist
from fdezero.examples._terminal import (
    drawing,
    example_parser,
    figure,
    first_line,
    folder,
    number,
    output,
    run,
    saved,
    show_images,
)


class CNN(fd.Module):
    """Two convolutions with pooling, then two linear layers: x (N, 1, 28, 28) -> logits (N, 10)."""

    conv1: nn.Conv2d
    conv2: nn.Conv2d
    hidden: nn.Linear
    out: nn.Linear
    dropout: nn.Dropout = nn.Dropout(0.5)

    @classmethod
    def init(cls, key: Any, channels: int = 16) -> Self:
        k1, k2, k3, k4 = fd.random.split(key, 4)
        return cls(
            conv1=nn.Conv2d.init(k1, 1, channels, kernel_size=3, padding=1),
            conv2=nn.Conv2d.init(k2, channels, 2 * channels, kernel_size=3, padding=1),
            hidden=nn.Linear.init(k3, 2 * channels * 7 * 7, 128),
            out=nn.Linear.init(k4, 128, 10),
        )

    def __call__(self, x: Any, *, key: Any = None, train: bool = False) -> Any:
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)  # (N, 16, 14, 14)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)  # (N, 32, 7, 7)
        x = F.relu(self.hidden(x.reshape(x.shape[0], -1)))
        return self.out(self.dropout(x, key=key, train=train))


def loss_fn(model: CNN, x: Any, t: Any, key: Any) -> Any:
    return F.softmax_cross_entropy(model(x, key=key, train=True), t)


def train(model: CNN, data: Any, options: argparse.Namespace) -> CNN:
    """Train, print a line per epoch, and save the parameters at the end, even after Ctrl-C."""
    images, test = data
    order_key, dropout_key = fd.random.split(fd.random.key(options.seed + 1))
    loader = DataLoader(images, options.batch_size, key=order_key, device=options.device)
    steps = options.epochs * len(loader)
    opt = optim.adam(lambda step: options.lr * (1 - step / steps))  # falls to 0, so that the last steps settle

    @fd.compile  # optional: the same bits, faster
    def train_step(model: CNN, state: Any, x: Any, t: Any, key: Any) -> tuple[CNN, Any, Any]:
        loss, grads = fd.value_and_grad(loss_fn)(model, x, t, key)
        model, state = opt.step(model, grads, state)
        return model, state, loss

    model, dropout_key = fd.to_device((model, dropout_key), options.device)
    state = opt.init(model)
    try:
        for epoch in range(options.epochs):
            bar = training.progress(loader.epoch(epoch), f"epoch {epoch + 1}", leave=False)
            for step, (x, t) in enumerate(bar):
                key = fd.random.fold_in(dropout_key, epoch * len(loader) + step)
                model, state, loss = train_step(model, state, x, t, key)
                bar.show({"loss": loss})
            loss, right = bar.results()["loss"], f"test accuracy: {accuracy(model, test):.4f}"
            print(f"epoch: {epoch + 1}, loss: {loss:.4f}, time: {bar.seconds:.1f}[sec], {right}", flush=True)
    finally:
        if options.weights:
            fd.save(options.weights, model)
            saved(options.weights)
    return model


def accuracy(model: CNN, data: Any) -> float:
    """The fraction of a data set that the model gets right; without `train=True` nothing is dropped."""
    predict = fd.compile(lambda model, x: model(x))
    batches = DataLoader(data, 500, shuffle=False, device=fd.device_of(model))
    return sum(float(F.accuracy(predict(model, x), t)) * len(x) for x, t in batches) / batches.size


def draw(path: Path, model: CNN, data: Any) -> None:
    """Draw the test images for which the model gives the right digit the least probability."""
    images, labels = data
    model = fd.to_device(model, "cpu")
    logits = np.concatenate([model(images[start : start + 500]) for start in range(0, len(images), 500)])
    right = F.softmax(logits)[np.arange(len(labels)), labels]
    worst = np.argsort(right, stable=True)[:40]
    said = [f"{label}>{found}" for label, found in zip(labels[worst], np.argmax(logits[worst], -1), strict=True)]
    print("the hardest images, digit > answer:", *said, flush=True)
    with drawing(path, 8, 3.6) as picture:
        show_images(picture.subplots(), images[worst], title="The hardest test images, row by row as printed")


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = example_parser("cnn", __doc__)
    add = parser.add_argument
    add("--epochs", type=number(int, 1), default=3, quick=1, help="how often every image is seen (%(default)s)")
    add("--batch-size", type=number(int, 1), default=64, help="images in a step (%(default)s)")
    add("--channels", type=number(int, 1), default=16, quick=4, help="of the first convolution (%(default)s)")
    add("--images", type=number(int, 1), quick=500, help="train on the first images alone (all)")
    add("--lr", type=number(float, 0), default=0.002, help="learning rate of Adam (%(default)s)")
    add("--weights", type=output(".npz"), metavar="FILE.npz", help="load it if it exists, save it at the end")
    add("--data-dir", type=folder, metavar="DIR", help="read the idx files from here")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    options = parse(arguments)
    model = CNN.init(fd.random.key(options.seed), options.channels)
    size = sum(leaf.size for leaf in fd.tree.leaves(model))
    first_line(options, f"MNIST: CNN with {size:,} parameters")
    if options.weights and options.weights.exists():
        model = fd.load(options.weights, like=model)
        print(f"loaded {options.weights}", flush=True)
    images, test = (mnist(split, flatten=False, data_dir=options.data_dir) for split in ("train", "test"))
    images = fd.tree.map(lambda a: a[: options.images], images)
    test = fd.tree.map(lambda a: a[: 500 if options.quick else None], test)
    print(f"{len(images[0]):,} images to train on, {len(test[0]):,} to test with", flush=True)
    model = train(model, (images, test), options)
    figure("test accuracy", accuracy(model, test), at_least=0.985, stated=options.stated)
    if options.save:
        draw(options.save, model, test)


if __name__ == "__main__":
    run(main)
