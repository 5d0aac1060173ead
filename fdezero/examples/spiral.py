"""Separate three arms of a spiral, and draw which class the network gives to every point of the plane.

No line separates the arms, so a linear model gets half of the points right. One hidden layer bends the plane until lines
do. Source: the book's step 48.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np

import fdezero as fd
from fdezero import functions as F
from fdezero import nn, optim, training
from fdezero.data import DataLoader, spiral
from fdezero.examples._terminal import drawing, example_parser, figure, first_line, number, run

COLOURS = ("tab:blue", "tab:orange", "tab:green")


def loss_fn(model: nn.MLP, x: Any, t: Any) -> Any:
    return F.softmax_cross_entropy(model(x), t)


def train(model: nn.MLP, points: Any, test: Any, options: argparse.Namespace) -> tuple[nn.MLP, dict[int, nn.MLP]]:
    """The trained model, and models of epochs on the way, for the picture."""
    loader = DataLoader(points, options.batch_size, key=fd.random.key(options.seed + 2), device=options.device)
    opt = optim.adam(options.lr)

    @fd.compile  # optional: the same bits, faster
    def train_step(model: nn.MLP, state: Any, x: Any, t: Any) -> tuple[nn.MLP, Any, Any]:
        loss, grads = fd.value_and_grad(loss_fn)(model, x, t)
        model, state = opt.step(model, grads, state)
        return model, state, loss

    model, test = fd.to_device((model, test), options.device)
    state, kept = opt.init(model), {0: model}
    shown = (options.epochs // 20, options.epochs // 5, options.epochs)
    for epoch in range(1, options.epochs + 1):
        mean = training.Mean()
        for x, t in loader.epoch(epoch):
            model, state, loss = train_step(model, state, x, t)
            mean = mean.update(loss)
        if epoch in shown:
            kept[epoch] = model
        if epoch % max(1, options.epochs // 5) == 0:
            right = F.accuracy(model(test[0]), test[1])
            print(f"epoch: {epoch}, loss: {float(mean.result()):.4f}, test accuracy: {float(right):.4f}", flush=True)
    return model, kept


def draw(path: Path, models: dict[int, nn.MLP], test: Any) -> None:
    """The regions that each model gives to the classes, below the points that it was not trained on."""
    side = np.linspace(-1.15, 1.15, 200, dtype=np.float32)
    plane = np.stack(np.meshgrid(side, side), -1).reshape(-1, 2)
    x, t = test
    with drawing(path, 3 * len(models), 3.2) as picture:
        for axes, (epoch, model) in zip(
            picture.subplots(1, len(models), squeeze=False)[0], models.items(), strict=True
        ):
            classes = np.argmax(fd.to_device(model, "cpu")(plane), -1).reshape(len(side), -1)
            axes.contourf(side, side, classes, levels=[-0.5, 0.5, 1.5, 2.5], colors=COLOURS, alpha=0.3)
            for label, colour in enumerate(COLOURS):
                axes.plot(*x[t == label].T, ".", color=colour, markersize=3)
            axes.set(title=f"after {epoch} epochs" if epoch else "at the start", xticks=[], yticks=[], aspect="equal")


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = example_parser("spiral", __doc__, saves=(".svg", ".png"))
    add = parser.add_argument
    add("--epochs", type=number(int, 1), default=200, quick=2, help="how often every point is seen (%(default)s)")
    add("--batch-size", type=number(int, 1), default=30, help="points in a step (%(default)s)")
    add("--hidden", type=number(int, 1), default=32, help="units of the hidden layer (%(default)s)")
    add("--points", type=number(int, 1), default=100, quick=20, help="points of each arm (%(default)s)")
    add("--lr", type=number(float, 0), default=0.01, help="learning rate of Adam (%(default)s)")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    options = parse(arguments)
    first_line(options, f"spiral: MLP 2-{options.hidden}-3, {3 * options.points} points of three arms")
    points, test = (spiral(fd.random.key(options.seed + n), points=options.points, classes=3) for n in (10, 11))
    model = nn.MLP.init(fd.random.key(options.seed), (2, options.hidden, 3), activation=F.relu)
    model, kept = train(model, points, test, options)
    right = F.accuracy(fd.to_device(model, "cpu")(test[0]), test[1])
    figure("accuracy on points that were not seen", right, at_least=0.95, stated=options.stated)
    if options.save:
        draw(options.save, kept, test)


if __name__ == "__main__":
    run(main)
