"""Learn a plane in which every point is a handwritten digit: a variational autoencoder.

An encoder gives each image a normal distribution on the plane, and a decoder draws the image of a point. Both learn to keep
images (reconstruction) and to fill the plane without holes (divergence). Source: Kingma & Welling 2014.
"""

import argparse
from pathlib import Path
from statistics import NormalDist
from typing import Any, Self

import numpy as np

import fdezero as fd
from fdezero import functions as F
from fdezero import nn, optim, training
from fdezero.data import DataLoader, mnist
from fdezero.examples._terminal import drawing, example_parser, figure, first_line, number, run, show_images


class VAE(fd.Module):
    """Images x (N, 784) and points z (N, 2) of the plane: `encode` goes there, `decode` comes back."""

    encoder: nn.MLP
    decoder: nn.MLP

    @classmethod
    def init(cls, key: Any, hidden: int, latent: int = 2) -> Self:
        first, second = fd.random.split(key)
        return cls(
            nn.MLP.init(first, (784, hidden, hidden, 2 * latent), activation=F.relu),
            nn.MLP.init(second, (latent, hidden, hidden, 784), activation=F.relu),
        )

    def encode(self, x: Any) -> tuple[Any, Any]:
        """The mean and the logarithm of the variance of each image's distribution, both (N, 2)."""
        both = self.encoder(x)
        return both[:, : both.shape[-1] // 2], both[:, both.shape[-1] // 2 :]

    def decode(self, z: Any) -> Any:
        """Logits (N, 784): their sigmoid says how bright each pixel is."""
        return self.decoder(z)


def elbo(model: VAE, x: Any, key: Any) -> Any:
    """The evidence lower bound: no more than the mean log probability of an image, in nats."""
    mean, log_variance = model.encode(x)
    # The random numbers do not depend on the parameters, so the gradient goes through the mean and the deviation.
    z = mean + np.exp(log_variance / 2) * fd.random.normal(key, mean.shape)
    reconstruction = -F.sigmoid_cross_entropy(model.decode(z), x, reduction="sum") / len(x)
    divergence = 0.5 * np.sum(mean**2 + np.exp(log_variance) - log_variance - 1) / len(x)  # from a standard normal
    return reconstruction - divergence


def train(model: VAE, images: Any, test: Any, options: argparse.Namespace) -> VAE:
    """Train, and print a line per epoch; after Ctrl-C nothing is lost but the picture."""
    order, noise = fd.random.split(fd.random.key(options.seed + 1))
    loader = DataLoader(images, options.batch_size, key=order, device=options.device)
    steps = options.epochs * len(loader)
    opt = optim.adam(lambda step: options.lr * (1 - step / steps))  # falls to 0, so that the last steps settle

    @fd.compile
    def train_step(model: VAE, state: Any, x: Any, key: Any) -> tuple[VAE, Any, Any]:
        loss, grads = fd.value_and_grad(lambda model: -elbo(model, x, key))(model)
        model, state = opt.step(model, grads, state)
        return model, state, loss

    model, noise = fd.to_device((model, noise), options.device)
    state = opt.init(model)
    for epoch in range(options.epochs):
        bar = training.progress(loader.epoch(epoch), f"epoch {epoch + 1}", leave=False)
        for step, x in enumerate(bar):
            key = fd.random.fold_in(noise, epoch * len(loader) + step)
            model, state, loss = train_step(model, state, x, key)
            bar.show({"loss": loss})
        bound = mean_bound(model, test, options)
        print(
            f"epoch: {epoch + 1}, ELBO: {-bar.results()['loss']:.2f}, of test images: {bound:.2f}, "
            f"time: {bar.seconds:.1f}[sec]",
            flush=True,
        )
    return fd.to_device(model, "cpu")


def mean_bound(model: VAE, images: Any, options: argparse.Namespace) -> float:
    """The mean bound of images that the model was not trained on."""
    bound, key = fd.compile(elbo), fd.to_device(fd.random.key(options.seed + 2), fd.device_of(model))
    batches = DataLoader(images, 500, shuffle=False, device=fd.device_of(model))
    return sum(float(bound(model, x, key)) * len(x) for x in batches) / len(images)


def draw(path: Path, model: VAE, images: Any, labels: Any, side: int = 20) -> None:
    """Draw where the digits of the test images lie, and the image of each point of a lattice."""
    # The lattice divides the plane into cells that are equally probable.
    cuts = np.array([NormalDist().inv_cdf((i + 0.5) / side) for i in range(side)], np.float32)
    across, up = np.meshgrid(cuts, cuts[::-1])
    drawn = F.sigmoid(model.decode(np.stack([across, up], -1).reshape(-1, 2)))
    with drawing(path, 10, 5) as picture:
        left, right = picture.subplots(1, 2)
        where = model.encode(images)[0]
        for digit in range(10):
            left.scatter(*where[labels == digit].T, s=2, label=str(digit), color=f"C{digit}")
        left.set(xlim=(-3.5, 3.5), ylim=(-3.5, 3.5), aspect="equal", title="Where test images lie")
        left.legend(markerscale=4, loc="upper right", fontsize="small")
        show_images(right, drawn.reshape(-1, 28, 28), columns=side, title="What points of the plane look like")


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = example_parser("vae", __doc__)
    add = parser.add_argument
    add("--epochs", type=number(int, 1), default=15, quick=1, help="how often every image is seen (%(default)s)")
    add("--batch-size", type=number(int, 1), default=100, help="images in a step (%(default)s)")
    add("--hidden", type=number(int, 1), default=400, quick=16, help="units of each hidden layer (%(default)s)")
    add("--lr", type=number(float, 0), default=0.001, help="learning rate of Adam, at first (%(default)s)")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    options = parse(arguments)
    model = VAE.init(fd.random.key(options.seed), options.hidden)
    size = sum(leaf.size for leaf in fd.tree.leaves(model))
    first_line(options, f"VAE: digits on a plane, {size:,} parameters")
    (images, _), test = (
        fd.tree.map(lambda a: a[: 500 if options.quick else None], mnist(split)) for split in ("train", "test")
    )
    model = train(model, images, test[0], options)
    bound = mean_bound(model, test[0], options)
    figure("evidence lower bound of a test image, in nats", bound, at_least=-145, stated=options.stated)
    if options.save:
        draw(options.save, model, *test)


if __name__ == "__main__":
    run(main)
