"""What tests of several ranks share: ways to run a gradient, a small network, batches, this rank's part of one, and a metric."""

from collections.abc import Callable
from typing import Any

import numpy as np

import fdezero as fd
from fdezero import functions as F
from fdezero import nn
from fdezero.data import DataLoader

KEY = fd.random.key(0)
WAYS: dict[str, Callable[..., Any]] = {
    "eager": lambda f: f,
    "compiled": fd.compile,
    "native": lambda f: fd.compile(f, native=True, threads=1),
}


def alone() -> Any:
    return fd.distributed.world("none")


def mean_loss(model: Any, x: Any, t: Any) -> Any:
    return F.softmax_cross_entropy(model(x), t)


def small(dtype: Any = np.float64) -> Any:
    return nn.MLP.init(KEY, (4, 5, 3), activation=F.tanh, dtype=dtype)


def batch(n: int, dtype: Any = np.float64) -> tuple[Any, Any, Any]:
    rng = np.random.default_rng(n)
    mask = np.arange(n) % 3 == 1
    return rng.normal(size=(n, 4)).astype(dtype), rng.integers(0, 3, n), mask


def share(tree: Any, world: Any) -> Any:
    """This rank's part of a batch, as the loader makes it."""
    return DataLoader(tree, len(tree[0]), shuffle=False, shard=world.share).batch(0, 0)


def of_shards(function: Any, world: Any, **options: Any) -> Any:
    return fd.distributed.value_and_grad(function, world, reproducible=True, **options)


class Greatest(fd.Module):
    """A metric of one's own, whose merge is no addition."""

    value: Any

    def merge(self, *others: Any) -> "Greatest":
        return Greatest(np.maximum.reduce([each.value for each in (self, *others)]))

    def result(self) -> Any:
        return self.value
