"""`value_and_grad(..., reproducible=True)`: the same bits on any number of ranks, and the gradient of the whole batch."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fdezero as fd
from fdezero import functions as F
from fdezero import nn, optim, training
from fdezero.data import DataLoader
from fdezero.testing import assert_trees_equal

from .ranks import on_ranks

KEY = fd.random.key(0)
WAYS: dict[str, Callable[..., Any]] = {
    "eager": lambda f: f,
    "compiled": fd.compile,
    "native": lambda f: fd.compile(f, native=True, threads=1),
}


def data(n: int = 90, *shape: int) -> tuple[Any, Any]:
    rng = np.random.default_rng(n)
    return rng.normal(size=(n, *(shape or (6,)))).astype(np.float32), rng.integers(0, 3, n)


def mlp() -> Any:
    return nn.MLP.init(KEY, (6, 9, 7, 3), activation=F.relu, dropout=0.3)


def cnn() -> Any:
    layers = [
        nn.Conv2d.lazy(4, 3, padding=1), nn.BatchNorm.lazy(), F.relu, nn.MaxPool2d(2), nn.Dropout(0.2), nn.Flatten(), nn.Linear.lazy(3),
    ]  # fmt: skip
    return nn.init(nn.Sequential(layers), KEY, np.ones((1, 1, 6, 6), np.float32))


KINDS: dict[str, tuple[Callable[[], Any], tuple[int, ...]]] = {"mlp": (mlp, (6,)), "cnn": (cnn, (1, 6, 6))}


def train(
    world: Any, kind: str, way: str, steps: int, opt: Any = None, shards: int = 8, batch_size: int = 21
) -> list[Any]:
    """The run's model and state, and all that its steps returned. The last batch of an epoch, of 6, has shards without an example."""
    make, shape = KINDS[kind]
    opt = optim.adam(1e-2) if opt is None else opt(world)
    model = make()

    def loss_fn(model: Any, x: Any, t: Any, key: Any) -> Any:
        y, model = nn.step(model, x, key=key)
        metrics = {"accuracy": training.Accuracy().update(y, t), "right": fd.numpy.sum(fd.numpy.argmax(y, -1) == t)}
        return F.softmax_cross_entropy(y, t), (model, metrics, {"mean": fd.numpy.mean(y)})

    gradient = fd.distributed.value_and_grad(loss_fn, world, has_aux=True, reproducible=True, shards=shards)

    def step(model: Any, state: Any, x: Any, t: Any, key: Any) -> Any:
        (loss, (model, metrics, means)), grads = gradient(model, x, t, key)
        model, state = opt.step(model, grads, state)
        return model, state, (loss, metrics, means)

    step = WAYS[way](step)
    loader = DataLoader(data(90, *shape), batch_size, key=KEY, shard=world.share)
    state, seen = opt.init(model), []
    for epoch in range(steps):
        for x, t in loader.epoch(epoch):
            if len(seen) == steps:
                return [model, state, seen]
            model, state, said = step(model, state, x, t, fd.random.fold_in(KEY, len(seen)))
            seen.append(said)
    return [model, state, seen]


def alone() -> Any:
    return fd.distributed.world("none")


def all_agree(world: Any, tree: Any) -> None:
    """Every rank has the same bits as rank 0."""
    assert_trees_equal(world.broadcast(tree), tree)


@on_ranks(2, 4)
@pytest.mark.parametrize(
    ("kind", "way", "steps"), [("mlp", "compiled", 100), ("cnn", "compiled", 100), ("mlp", "eager", 9)]
)
def test_bits_do_not_depend_on_the_number_of_ranks(world: Any, kind: str, way: str, steps: int) -> None:
    found = train(world, kind, way, steps)
    all_agree(world, found)
    if not world.rank:
        assert_trees_equal(found, train(alone(), kind, way, steps))


@on_ranks(1)
@pytest.mark.parametrize("kind", KINDS)
def test_compiled_steps_have_the_bits_of_eager_ones(world: Any, kind: str) -> None:
    assert_trees_equal(train(world, kind, "compiled", 6), train(world, kind, "eager", 6))
