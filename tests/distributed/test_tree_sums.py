"""The tree of additions behind reproducible gradients: its order over shards and ranks, the length of its program, its memory."""

import functools
import tracemalloc
from typing import Any

import numpy as np
import pytest

import fdezero as fd
from fdezero.distributed.engines.engine import Engine

from .ranks import on_ranks
from .shard_cases import WAYS, alone, batch, mean_loss, of_shards, small


def in_tree(items: list[Any]) -> Any:
    """The definition: halves are added, each in the same way."""
    half = len(items) // 2
    return items[0] if half == 0 else in_tree(items[:half]) + in_tree(items[half:])


@on_ranks(1, 2, 4)
@pytest.mark.parametrize("n", [1, 7, 2048, 5003, 20011])
def test_ranks_add_in_one_binary_tree(world: Any, n: int) -> None:
    rng = np.random.default_rng(n)
    if world.engine.watch is not None:
        world.engine.watch.meet_for("test")  # as a collective does first: a rank that waits long says in which call
    for dtype in (np.float32, np.float64, np.complex64, np.int32):
        items = [(1e4 * rng.normal(size=n)).astype(dtype) for _ in range(world.size)]
        for item in items:
            item[:1] = -0.0
        for tree_sum in (world.engine.tree_sum, functools.partial(Engine.tree_sum, world.engine)):
            mine, out = items[world.rank].copy(), np.empty(n, dtype)
            tree_sum(mine, out)
            assert out.tobytes() == in_tree(items).tobytes()
            assert mine.tobytes() == items[world.rank].tobytes()
            tree_sum(mine, mine)
            assert mine.tobytes() == out.tobytes()


@pytest.mark.parametrize("way", ["eager", "compiled"])
@pytest.mark.parametrize("shards", [1, 2, 4, 16])
def test_shards_add_in_one_binary_tree(way: str, shards: int) -> None:
    x = np.random.default_rng(0).normal(size=(2 * shards, 5)).astype(np.float32)
    gradient = WAYS[way](of_shards(lambda w, x: fd.numpy.sum(x.sum(0) * w), alone(), shards=shards, reduction="sum"))
    for _ in range(2):
        _, grads = gradient(np.ones(5, np.float32), x)
        assert grads.tobytes() == in_tree([part.sum(0) for part in np.split(x, shards)]).tobytes()


def test_a_program_holds_the_function_once() -> None:
    lengths = set()
    x, t, _ = batch(64, np.float32)
    for shards in (4, 8, 32):
        step = fd.compile(of_shards(mean_loss, alone(), shards=shards))
        step(small(np.float32), x, t)
        lengths.add(len(step.graph.instructions))
    assert len(lengths) == 1


@pytest.mark.parametrize("way", ["eager", "compiled"])
def test_memory_grows_with_the_logarithm(way: str) -> None:
    shards = 32
    w, x = np.ones(1 << 18, np.float32), np.ones((shards, 1), np.float32)

    def peak(gradient: Any) -> float:
        """The memory of one call, in gradients."""
        gradient(w, x)
        tracemalloc.start()
        try:
            gradient(w, x)
            return tracemalloc.get_traced_memory()[1] / w.nbytes
        finally:
            tracemalloc.stop()

    def loss_fn(w: Any, x: Any) -> Any:
        return fd.numpy.mean(x) * fd.numpy.sum(w * w)

    plain = peak(WAYS[way](fd.value_and_grad(loss_fn)))
    assert peak(WAYS[way](of_shards(loss_fn, alone(), shards=shards))) < plain + np.log2(shards) + 1.1
