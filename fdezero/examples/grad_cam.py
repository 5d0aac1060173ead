"""Ask a network which pixels decided: Grad-CAM, on digits that hide between pieces of other digits.

The gradient of a class by the last feature maps says how much each map speaks for the class. The maps, weighed like this and
added, are a heat map of the image. Here it can be checked: only one place has a digit. Source: Selvaraju et al. 2017.
"""

import argparse
from pathlib import Path
from typing import Any, Self

import numpy as np

import fdezero as fd
from fdezero import functions as F
from fdezero import nn, optim, training
from fdezero.data import DataLoader, mnist
from fdezero.examples._terminal import drawing, example_parser, figure, first_line, number, output, run, show_images

SIDE, PIECE = 56, 9  # of an image, and of the pieces that distract


class Network(fd.Module):
    """Four convolutions, then the mean over all places: x (N, 1, 56, 56) -> logits (N, 10)."""

    convs: nn.Sequential
    head: nn.Linear

    @classmethod
    def init(cls, key: Any, width: int) -> Self:
        layers = [nn.Conv2d.lazy(width, 5, stride=2, padding=2), nn.BatchNorm.lazy(), F.relu, nn.MaxPool2d(2)]
        for _ in range(3):
            layers += [nn.Conv2d.lazy(2 * width, 3, padding=1), nn.BatchNorm.lazy(), F.relu]
        return nn.init(cls(nn.Sequential(layers), nn.Linear.lazy(10)), key, np.zeros((2, 1, SIDE, SIDE), np.float32))

    def __call__(self, x: Any, *, train: bool = False) -> Any:
        return self.head(self.convs(x, train=train).mean(axis=(-1, -2)))


def hidden_digits(images: Any, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Each digit at a random place (N, 2) of an empty image, among six pieces of other digits: (N, 1, 56, 56), places."""
    rng = np.random.default_rng(seed)
    count = len(images)
    canvas, places = np.zeros((count, 1, SIDE, SIDE), np.float32), rng.integers(0, SIDE - 28 + 1, (count, 2))
    for image, digit, (y, x) in zip(canvas, images, places, strict=True):
        for other in rng.integers(0, count, 6):
            (top, left), (i, j) = rng.integers(0, SIDE - PIECE + 1, 2), rng.integers(5, 24 - PIECE, 2)
            image[:, top : top + PIECE, left : left + PIECE] = images[other, :, i : i + PIECE, j : j + PIECE]
        image[:, y : y + 28, x : x + 28] = np.maximum(digit, image[:, y : y + 28, x : x + 28])
    return canvas, places


def explained(model: Network, x: Any) -> tuple[Any, Any]:
    """The class of each image (N,), and where the image speaks for it: (N, 1, 56, 56) -> (N, 14, 14), nowhere negative."""
    logits, outputs = nn.capture(model, x, paths="convs")
    features, classes = outputs["convs"], np.argmax(logits, -1)

    def score(features: Any) -> Any:
        logits, _ = nn.capture(model, x, replace={"convs": features})
        return logits[np.arange(len(x)), classes].sum()  # the images do not meet, so this is a gradient for each

    weights = fd.grad(score)(features).mean(axis=(2, 3), keepdims=True)
    return classes, F.relu((weights * features).sum(axis=1))


def shares(heat: np.ndarray, places: np.ndarray) -> tuple[float, float]:
    """The mean share of the heat that falls on the digit's 28 x 28 pixels, and how often the hottest pixel does."""
    # For each row and each column of the image: is it one of the digit's 28?
    y, x = (np.arange(SIDE) - places.T[..., None]) // 28 == 0
    box = y[:, :, None] & x[:, None, :]
    inside = (heat * box).sum((1, 2)) / np.maximum(heat.sum((1, 2)), 1e-12)
    hottest = heat.reshape(len(heat), -1).argmax(-1)
    return float(inside.mean()), float(box.reshape(len(box), -1)[np.arange(len(box)), hottest].mean())


def train(model: Network, data: Any, options: argparse.Namespace) -> Network:
    """Train and print a line per epoch."""
    loader = DataLoader(data, options.batch_size, key=fd.random.key(options.seed + 1), device=options.device)
    opt = optim.adam(lambda step: 0.003 * (1 - step / (options.epochs * len(loader))))

    @fd.compile
    def train_step(model: Network, state: Any, x: Any, t: Any) -> tuple[Network, Any, Any]:
        def loss_fn(model: Network) -> tuple[Any, Network]:
            y, model = nn.step(model, x, train=True)  # the model with new statistics of its norms
            return F.softmax_cross_entropy(y, t), model

        (loss, model), grads = fd.value_and_grad(loss_fn, has_aux=True)(model)
        model, state = opt.step(model, grads, state)
        return model, state, loss

    model = fd.to_device(model, options.device)
    state = opt.init(model)
    for epoch in range(options.epochs):
        bar = training.progress(loader.epoch(epoch), f"epoch {epoch + 1}", leave=False)
        for x, t in bar:
            model, state, loss = train_step(model, state, x, t)
            bar.show({"loss": loss})
        print(f"epoch: {epoch + 1}, loss: {bar.results()['loss']:.4f}, time: {bar.seconds:.1f}[sec]", flush=True)
    return fd.to_device(model, "cpu")


def draw(path: Path, images: np.ndarray, heat: np.ndarray, answers: np.ndarray) -> None:
    images, heat = images[:8], heat[:8, None] / np.maximum(heat[:8].max((1, 2)), 1e-12)[:, None, None, None]
    red = np.concatenate([np.maximum(images, heat), images * (1 - heat), images * (1 - heat)], 1)
    with drawing(path, 10, 3) as picture:
        above, below = picture.subplots(2, 1)
        show_images(above, images, columns=8, title="Which pixels say what it is?")
        show_images(below, red, columns=8, title="Those for " + ", ".join(map(str, answers[:8])))


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = example_parser("grad_cam", __doc__)
    add = parser.add_argument
    add("--epochs", type=number(int, 1), default=6, quick=1, help="how often every image is seen (%(default)s)")
    add("--batch-size", type=number(int, 1), default=50, quick=20, help="images in a step (%(default)s)")
    add("--images", type=number(int, 1), default=10000, quick=100, help="to train with (%(default)s)")
    add("--width", type=number(int, 1), default=16, quick=4, help="channels of the first convolution (%(default)s)")
    add("--weights", type=output(".npz"), metavar="FILE.npz", help="load them if the file exists, else save them there")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    options = parse(arguments)
    model = Network.init(fd.random.key(options.seed), options.width)
    size = sum(leaf.size for leaf in fd.tree.leaves(model))
    first_line(options, f"Grad-CAM: a network with {size:,} parameters, digits between pieces of digits")
    test, test_labels = fd.tree.map(lambda a: a[: 100 if options.quick else 2000], mnist("test", flatten=False))
    if options.weights and options.weights.exists():
        model = fd.load(options.weights, like=model)
        print(f"loaded {options.weights}", flush=True)
    else:
        images, labels = fd.tree.map(lambda a: a[: options.images], mnist("train", flatten=False))
        model = train(model, (hidden_digits(images, options.seed)[0], labels), options)
        if options.weights:
            fd.save(options.weights, model)
            print(f"saved to {options.weights}", flush=True)
    x, places = hidden_digits(test, options.seed + 1)
    find = fd.compile(explained)
    found = [find(model, x[start : start + 100]) for start in range(0, len(x), 100)]
    answers, heat = (np.concatenate(parts) for parts in zip(*found, strict=True))
    heat = heat.repeat(SIDE // heat.shape[1], 1).repeat(SIDE // heat.shape[2], 2)  # as large as the images
    inside, hottest = shares(heat, places)
    figure("test accuracy", np.mean(answers == test_labels), at_least=0.85, stated=options.stated)
    figure("share of the heat on the digit, a quarter of the image", inside, at_least=0.7, stated=options.stated)
    figure("share of images whose hottest pixel is on the digit", hottest, at_least=0.95, stated=options.stated)
    if options.save:
        draw(options.save, x, heat, answers)


if __name__ == "__main__":
    run(main)
