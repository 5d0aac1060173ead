"""Train a small network on all processes that mpiexec starts, or on one: the script is the same, and so is what it learns."""

import argparse
from pathlib import Path
from typing import Any

import numpy as np

import fdezero as fd
from fdezero import functions as F
from fdezero import nn, optim, training
from fdezero.data import DataLoader, spiral
from fdezero.examples._terminal import example_parser, figure, first_line, number, run, saved


def make_model(key: Any, x: Any, world: Any) -> nn.Sequential:
    """A network with dropout, and a BatchNorm over the examples of all processes."""
    norm = nn.BatchNorm.lazy(axis_name="batch", world=world)
    layers = [
        nn.Linear.lazy(64),
        F.relu,
        nn.Linear.lazy(64, bias=False),
        norm,
        F.relu,
        nn.Dropout(0.2),
        nn.Linear.lazy(3),
    ]
    return nn.init(nn.Sequential(layers), key, x)


def loss_fn(model: Any, x: Any, t: Any, keys: Any) -> Any:
    """The mean loss of a batch; the model with new statistics, and how many are right.

    Each example has a key of its own, so what is dropped does not depend on how many processes there are.
    """

    def one(x: Any, key: Any) -> Any:
        y, successor = nn.step(model, x[None], key=key, train=True)
        return y[0], successor

    y, successor = fd.vmap(one, axis_name="batch", out_axes=(0, None))(x, keys)
    return F.softmax_cross_entropy(y, t), (successor, training.Accuracy().update(y, t))


def train(data: Any, test: Any, options: argparse.Namespace, world: Any) -> tuple[training.State, Any]:
    """Train on all processes: each sees its share of every batch, and all compute the same new parameters; rows of epochs."""
    key, order = fd.random.split(fd.random.key(options.seed))
    opt = optim.adam(options.lr)

    # With options.reproducible the parameters have the same bits on 1, 2, 4 and 8 processes. Then each shard has its own statistics.
    model = make_model(key, data[0], None if options.reproducible else world)
    differentiated = fd.distributed.value_and_grad(loss_fn, world, has_aux=True, reproducible=options.reproducible)

    @fd.compile
    def step(state: training.State, batch: Any) -> tuple[training.State, dict[str, Any]]:
        (loss, (model, accuracy)), grads = differentiated(state.model, *batch)
        model, optimiser = opt.step(model, grads, state.optimiser)
        return state.replace(model=model, optimiser=optimiser, step=state.step + 1), {
            "loss": loss,
            "accuracy": accuracy,
        }

    def evaluate(state: training.State) -> dict[str, Any]:
        """Each process looks at its share of the test data; `fit` adds up the metrics of all."""
        right = training.Accuracy()
        for x, t in DataLoader(test, 500, shuffle=False, shard=world.share):
            right = right.update(state.model(x), t)
        return {"test_accuracy": right}

    # The batch size is that of all processes together. The last batch of 1,500 examples is smaller, and may not divide evenly.
    batches = DataLoader(
        data, options.batch_size, key=order, shard=world.share, transform=lambda batch, key: (*batch, key)
    )
    state = training.State.init(model, opt)
    return training.fit(
        step, state, batches, epochs=options.epochs, evaluate=evaluate, checkpoints=options.checkpoints, world=world
    )


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = example_parser("distributed", __doc__, saves=(".svg", ".png"), device=False)
    add = parser.add_argument
    add("--epochs", type=number(int, 1), default=10, quick=1, help="how often every example is seen (%(default)s)")
    add("--batch-size", type=number(int, 1), default=64, help="examples in a step, of all processes (%(default)s)")
    add("--lr", type=number(float, 0), default=0.01, help="learning rate of Adam (%(default)s)")
    add("--reproducible", action="store_true", help="the same bits on 1, 2, 4 and 8 processes")
    add("--checkpoints", type=Path, metavar="FOLDER", help="save each epoch there, and go on from there")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    options = parse(arguments)
    world = fd.distributed.world()
    first_line(options, f"{world.size} process{'es' if world.size > 1 else ''}, backend: {world.backend}")
    points = 50 if options.quick else 500
    data, test = (spiral(fd.random.key(n), points=points, classes=3) for n in (10, 11))
    state, history = train(data, test, options, world)
    fd.distributed.check_equal(state.model, world)  # an error, if a line above had forgotten the other processes
    total = sum(float(np.sum(leaf, dtype=np.float64)) for leaf in fd.tree.leaves(state.model))
    print(f"all processes hold the same parameters, whose sum is {total!r}")
    if history:  # none, if checkpoints say that all epochs are done
        stated = options.stated and len(history) == options.epochs  # Ctrl-C ends `fit` early, without an error
        figure("test accuracy", history[-1]["test_accuracy"], at_least=0.95, stated=stated)
    if options.save and history and world.rank == 0:
        training.plot_history(history, to_file=options.save)
        saved(options.save)


if __name__ == "__main__":
    run(main, together=True)
