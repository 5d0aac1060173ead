"""Let two networks compete until one draws handwritten digits: a generative adversarial network, with convolutions.

The generator makes images of random numbers. The discriminator tells them from real ones, and each step improves both.
Source: Goodfellow et al. 2014, "Generative adversarial nets"; layers as in Radford et al. 2016, "DCGAN".
"""

import argparse
from typing import Any, NamedTuple

import numpy as np

import fdezero as fd
from fdezero import functions as F
from fdezero import nn, optim, training
from fdezero.data import DataLoader, mnist
from fdezero.examples._terminal import drawing, example_parser, figure, first_line, number, run, show_images

NOISE = 64  # random numbers for an image


class Game(NamedTuple):
    """The two networks, and the states of their optimisers."""

    generator: nn.Sequential
    discriminator: nn.Sequential
    states: tuple[Any, Any]


def as_images(x: Any) -> Any:
    return x.reshape(len(x), -1, 7, 7)


def make_generator(key: Any, width: int) -> nn.Sequential:
    """Noise (N, 64) -> images (N, 1, 28, 28) of values from 0 to 1: a transposed convolution doubles height and width."""
    layers = [nn.Linear.lazy(2 * width * 7 * 7), as_images, nn.BatchNorm.lazy(), F.relu]
    layers += [nn.ConvTranspose2d.lazy(width, 4, stride=2, padding=1), nn.BatchNorm.lazy(), F.relu]
    layers += [nn.ConvTranspose2d.lazy(1, 4, stride=2, padding=1), F.sigmoid]
    return nn.init(nn.Sequential(layers), key, np.zeros((2, NOISE), np.float32))


def make_discriminator(key: Any, width: int) -> nn.Sequential:
    """Images (N, 1, 28, 28) -> logits (N, 1), above 0 for those that look real."""
    layers = [nn.Conv2d.lazy(width, 4, stride=2, padding=1), F.leaky_relu]
    layers += [nn.Conv2d.lazy(2 * width, 4, stride=2, padding=1), F.leaky_relu, nn.Flatten(), nn.Linear.lazy(1)]
    return nn.init(nn.Sequential(layers), key, np.zeros((2, 1, 28, 28), np.float32))


def says(logits: Any, real: float) -> Any:
    """How far the discriminator is from saying `real` (1 or 0) of each image."""
    return F.sigmoid_cross_entropy(logits, np.full_like(logits, real))


def train(game: Game, images: Any, options: argparse.Namespace) -> Game:
    """Train both networks and print a line per epoch."""
    order, noise_key = fd.random.split(fd.random.key(options.seed + 1))
    game, noise_key = fd.to_device((game, noise_key), options.device)
    loader = DataLoader(images, options.batch_size, key=order, drop_last=True, device=options.device)
    steps = options.epochs * len(loader)
    opt = optim.adam(lambda step: options.lr * (1 - step / steps), b1=0.5)  # a long memory (b1) would swing

    @fd.compile
    def train_step(game: Game, real: Any, key: Any) -> tuple[Game, Any]:
        noise = fd.random.normal(key, (len(real), NOISE))

        def generator_loss(generator: nn.Sequential) -> tuple[Any, Any]:
            fake, successor = nn.step(generator, noise, train=True)  # the norms get new statistics
            return says(game.discriminator(fake), 1.0), (fake, successor)

        def discriminator_loss(discriminator: nn.Sequential) -> Any:
            # 0.9 in place of 1: a discriminator that is never quite sure still tells the generator where to go
            return says(discriminator(real), 0.9) + says(discriminator(fake), 0.0)

        (fooled, (fake, generator)), grads = fd.value_and_grad(generator_loss, has_aux=True)(game.generator)
        generator, mine = opt.step(generator, grads, game.states[0])
        caught, grads = fd.value_and_grad(discriminator_loss)(game.discriminator)
        discriminator, yours = opt.step(game.discriminator, grads, game.states[1])
        return Game(generator, discriminator, (mine, yours)), {"generator": fooled, "discriminator": caught}

    game = game._replace(states=(opt.init(game.generator), opt.init(game.discriminator)))
    for epoch in range(options.epochs):
        bar = training.progress(loader.epoch(epoch), f"epoch {epoch + 1}", leave=False)
        for step, real in enumerate(bar):
            game, losses = train_step(game, real, fd.random.fold_in(noise_key, epoch * len(loader) + step))
            bar.show(losses)
        results = ", ".join(f"{name}: {value:.3f}" for name, value in bar.results().items())
        print(f"epoch: {epoch + 1}, losses of {results}, time: {bar.seconds:.1f}[sec]", flush=True)
    return game


def make_judge(data: Any, options: argparse.Namespace) -> nn.MLP:
    """A classifier of real digits, who will look at those that the generator makes."""
    model, opt = nn.MLP.init(fd.random.key(options.seed), (784, 100, 10)), optim.adam(0.002)
    state = opt.init(model)

    @fd.compile
    def step(model: nn.MLP, state: Any, x: Any, t: Any) -> tuple[nn.MLP, Any]:
        grads = fd.grad(lambda model: F.softmax_cross_entropy(model(x.reshape(len(x), -1)), t))(model)
        return opt.step(model, grads, state)

    for x, t in DataLoader(data, 100, key=fd.random.key(options.seed)).epoch(0):
        model, state = step(model, state, x, t)
    return model


def judge(model: nn.MLP, images: Any) -> tuple[float, float]:
    """The share of images that the classifier is 90 % sure of, and how many digits there are: 10 if all are equally frequent."""
    p = F.softmax(model(images.reshape(len(images), -1)))
    shares = np.bincount(np.argmax(p, -1), minlength=10) / len(p)
    entropy = -sum(share * np.log(share) for share in shares if share)
    return float(np.mean(p.max(-1) > 0.9)), float(np.exp(entropy))


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = example_parser("gan", __doc__)
    add = parser.add_argument
    add("--epochs", type=number(int, 1), default=3, quick=1, help="how often every image is seen (%(default)s)")
    add("--batch-size", type=number(int, 2), default=32, help="images in a step (%(default)s)")
    add("--width", type=number(int, 1), default=16, quick=2, help="channels of the images in between (%(default)s)")
    add("--lr", type=number(float, 0), default=0.001, help="learning rate of Adam, at first (%(default)s)")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    options = parse(arguments)
    first, second = fd.random.split(fd.random.key(options.seed))
    game = Game(make_generator(first, options.width), make_discriminator(second, options.width), ((), ()))
    sizes = [sum(leaf.size for leaf in fd.tree.leaves(network)) for network in game[:2]]
    first_line(options, "GAN: generator with {:,} parameters, discriminator with {:,}".format(*sizes))
    images, labels = fd.tree.map(lambda a: a[: 320 if options.quick else None], mnist("train", flatten=False))
    game = train(game, images, options)
    made = fd.to_device(game.generator, "cpu")(fd.random.normal(fd.random.key(options.seed + 2), (1000, NOISE)))
    classifier = make_judge((images, labels), options)
    sure, digits = judge(classifier, mnist("test", flatten=False)[0][:1000])
    print(f"of 1,000 real images a classifier is sure of {sure:.2f}, and finds {digits:.1f} digits")
    sure, digits = judge(classifier, made)
    figure("share of drawn digits that a classifier is sure of", sure, at_least=0.15, stated=options.stated)
    figure("how many digits are drawn, by entropy", digits, at_least=9, stated=options.stated)
    if options.save:
        with drawing(options.save, 9, 4.7) as picture:
            left, right = picture.subplots(1, 2)
            show_images(left, images[:100], title="real")
            show_images(right, made[:100], title="drawn")


if __name__ == "__main__":
    run(main)
