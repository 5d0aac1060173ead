"""`value_and_grad` and `mean` over ranks: the gradient of the whole batch, however it is divided, also within BatchNorm."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fdezero as fd
from fdezero import functions as F
from fdezero import nn, optim
from fdezero.data import DataLoader
from fdezero.errors import DTypeError, RangeError, ShapeError, StructureError
from fdezero.testing import assert_trees_close, assert_trees_equal

from .ranks import on_ranks

WAYS: dict[str, Callable[..., Any]] = {"eager": lambda f: f, "compiled": fd.compile}
KEY = fd.random.key(0)
way_law = pytest.mark.parametrize("way", WAYS)


def batch(n: int, dtype: Any = np.float64) -> tuple[Any, Any, Any]:
    """Inputs, labels, and a mask that gives shares of a batch different weights."""
    rng = np.random.default_rng(n)
    mask = rng.random(n) < 0.6
    mask[0] = True
    return rng.normal(size=(n, 4)).astype(dtype), rng.integers(0, 3, n), mask


def share(tree: Any, world: Any) -> Any:
    """This rank's part of a batch, as the loader makes it."""
    n = len(fd.tree.leaves(tree)[0])
    return DataLoader(tree, n, shuffle=False, shard=world.share).batch(0, 0)


def network(dtype: Any = np.float64, **options: Any) -> Any:
    k1, k2, k3 = fd.random.split(KEY, 3)
    norm = nn.BatchNorm.init(k2, 5, dtype=dtype, **options)
    return nn.Sequential([nn.Linear.init(k1, 4, 5, dtype=dtype), norm, F.tanh, nn.Linear.init(k3, 5, 3, dtype=dtype)])


def mlp(dtype: Any = np.float64) -> Any:
    return nn.MLP.init(KEY, (4, 5, 3), dtype=dtype)


def mean_loss(model: Any, x: Any, t: Any, mask: Any = None) -> Any:
    return F.softmax_cross_entropy(model(x), t)


def sum_loss(model: Any, x: Any, t: Any, mask: Any = None) -> Any:
    return F.softmax_cross_entropy(model(x), t, reduction="sum")


def masked_loss(model: Any, x: Any, t: Any, mask: Any) -> Any:
    return F.softmax_cross_entropy(model(x), t, mask=mask)


def own_loss(model: Any, x: Any, t: Any, mask: Any) -> Any:
    """A loss of a user's own, which is 0 / 0 without examples."""
    return ((model(x) - 0.5) ** 2).mean()


LOSSES: dict[str, tuple[Any, dict[str, Any]]] = {
    "a mean": (mean_loss, {}),
    "a sum": (sum_loss, {"reduction": "sum"}),
    "a mean with a mask": (masked_loss, {"weight": lambda model, x, t, mask: mask.sum()}),
    "a mean of one's own": (own_loss, {}),
}


@way_law
@pytest.mark.parametrize("loss", LOSSES)
@on_ranks(1, 2, 4)
def test_value_and_gradient_are_those_of_the_whole_batch(world: Any, loss: str, way: str) -> None:
    function, options = LOSSES[loss]
    model, differentiated = mlp(), WAYS[way](fd.distributed.value_and_grad(function, world, **options))
    for n in (8, 7, 5, 2, 1):  # two and one leave ranks without an example
        if way == "compiled" and loss == "a mean of one's own" and n < world.size:
            continue  # a program divides 0 by 0, and NumPy warns
        value, gradient = differentiated(model, *share(batch(n), world))
        whole = fd.value_and_grad(function)(model, *batch(n))
        assert_trees_close((value, gradient), whole, 1e-13)
        every = world.all_gather(fd.tree.map(lambda x: np.asarray(x)[None], (value, gradient)))
        for rank in range(world.size):  # ranks never drift apart
            assert_trees_equal(fd.tree.map(lambda x, rank=rank: x[rank], every), fd.tree.map(np.asarray, (value, gradient)), bits=True)


@on_ranks(2, 4)
def test_the_mean_of_means_is_wrong_where_parts_differ(world: Any) -> None:
    """The classic mistake, so that the law above can fail."""
    model, parts = mlp(), share(batch(7), world)
    means = world.all_reduce(fd.value_and_grad(mean_loss)(model, *parts), "mean")
    whole = fd.value_and_grad(mean_loss)(model, *batch(7))
    assert abs(float(means[0]) - float(whole[0])) > 1e-3


@way_law
@on_ranks(1, 2, 4)
def test_statistics_of_all_ranks_within_the_loss(world: Any, way: str) -> None:
    def loss(model: Any, x: Any, t: Any) -> Any:
        y, model = nn.step(model, x, train=True)
        return F.softmax_cross_entropy(y, t), model

    for n in (9, 8, 2):
        x, t, _ = batch(n)
        differentiated = WAYS[way](fd.distributed.value_and_grad(loss, world, has_aux=True))
        (value, after), gradient = differentiated(network(world=world), *share((x, t), world))
        (expected, whole), slope = fd.value_and_grad(loss, has_aux=True)(network(), x, t)
        leaves = [fd.tree.leaves(tree) for tree in ((value, after, gradient), (expected, whole, slope))]
        assert_trees_close(*leaves, 1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@on_ranks(2)
def test_dtypes_frozen_leaves_and_several_arguments(world: Any, dtype: Any) -> None:
    model = nn.freeze(mlp(dtype), "layers/0")
    x, t, _ = batch(5, dtype)

    def loss(x: Any, model: Any, scale: Any, *, t: Any) -> Any:
        return scale * F.softmax_cross_entropy(model(x), t)

    mine, labels = share((x, t), world)
    value, (of_model, of_scale) = fd.distributed.value_and_grad(loss, world, argnums=(1, -1))(mine, model, dtype(2), t=labels)
    expected, slopes = fd.value_and_grad(loss, argnums=(1, -1))(x, model, dtype(2), t=t)
    assert_trees_close((value, of_model, of_scale), (expected, *slopes), 1e-6 if dtype == np.float32 else 5e-3)
    assert value.dtype == of_scale.dtype == of_model.layers[1].W.dtype == dtype
    assert of_model.layers[0].W is None
    optim.sgd(0.1).step(model, of_model, {})


@on_ranks(1, 2)
def test_a_gradient_of_the_gradient_is_that_of_the_sum_over_ranks(world: Any) -> None:
    x, t, _ = batch(5)

    def norm(model: Any, *batch: Any, over: Any = None) -> Any:
        gradient = (fd.value_and_grad(mean_loss) if over is None else fd.distributed.value_and_grad(mean_loss, over))(model, *batch)[1]
        return sum((g**2).sum() for g in fd.tree.leaves(gradient))

    mine = fd.grad(lambda model: norm(model, *share((x, t), world), over=world))(mlp())
    whole = fd.grad(lambda model: norm(model, x, t))(mlp())
    assert_trees_close(world.all_reduce(mine, "mean"), whole, 1e-12)


@way_law
@on_ranks(1, 2, 4)
def test_mean_stands_before_any_optimiser(world: Any, way: str) -> None:
    opt, alone = optim.chain(fd.distributed.mean(world), optim.adam(0.01)), optim.adam(0.01)

    def step(model: Any, state: Any, x: Any, t: Any) -> Any:
        return opt.step(model, fd.grad(mean_loss)(model, x, t), state)

    run, (x, t, _) = WAYS[way](step), batch(8)
    model, state = mlp(), opt.init(mlp())
    expected, expected_state = mlp(), alone.init(mlp())
    assert state.keys() == expected_state.keys()  # a file of one fits the other
    for _ in range(3):
        model, state = run(model, state, *share((x, t), world))
        expected, expected_state = alone.step(expected, fd.grad(mean_loss)(expected, x, t), expected_state)
    assert_trees_close((model, state), (expected, expected_state), 1e-12)


@way_law
@on_ranks(1, 2)
def test_a_loss_scale_skips_a_step_on_all_ranks(world: Any, way: str) -> None:
    """One rank alone has a number that is not finite."""
    opt = optim.sgd(0.1)

    def step(model: Any, scale: Any, x: Any, t: Any) -> Any:
        loss, grads = fd.distributed.value_and_grad(lambda model, x, t: scale.scale(mean_loss(model, x, t)), world)(model, x, t)
        model, _, after = scale.step(opt, model, scale.unscale(grads), {})
        return model, after, loss / scale.value

    run, (x, t, _) = WAYS[way](step), batch(5, np.float16)
    model, scale = mlp(np.float16), optim.precision.LossScale.init(2.0**10)
    expected, _, loss = step(model, scale, x, t) if world.size == 1 else (None, None, None)
    found, after, value = run(model, scale, *share((x, t), world))
    assert int(after.skipped) == 0
    exact, slope = fd.value_and_grad(mean_loss)(mlp(), x.astype(np.float64), t)
    assert_trees_close((value, found.layers[1].b), (exact, (mlp().layers[1].b - 0.1 * slope.layers[1].b)), 5e-3)
    if expected is not None:
        assert_trees_equal((found, value), (expected, loss), bits=True)
    x[-1] = np.inf  # an example of the last rank
    with np.errstate(over="ignore", invalid="ignore"):
        same, after, _ = run(found, after, *share((x, t), world))
    assert_trees_equal(same, found, bits=True)
    assert (int(after.skipped), float(after.value)) == (1, 2.0**9)


def test_a_world_of_one_gives_the_bits_of_the_usual_gradient() -> None:
    world, (x, t, _) = fd.distributed.world(), batch(5, np.float32)
    value, gradient = fd.distributed.value_and_grad(mean_loss, world)(mlp(np.float32), x, t)
    assert_trees_equal((value, gradient), fd.value_and_grad(mean_loss)(mlp(np.float32), x, t), bits=True)
    assert fd.distributed.value_and_grad(mean_loss, world).__name__ == "mean_loss"
    assert repr(optim.chain(fd.distributed.mean(world), optim.sgd(0.1))).startswith("chain(mean(world=<world: rank 0 of 1")


def test_mistakes_are_found_when_things_are_made() -> None:
    world = fd.distributed.world()
    make = fd.distributed.value_and_grad
    for call, error, words in (
        (lambda: make(world, mean_loss), TypeError, "a function and a world, got World for the function"),
        (lambda: make(mean_loss, fd.distributed.world), StructureError, "Call it: fd.distributed.world()"),
        (lambda: make(mean_loss, 4), StructureError, "got int 4"),
        (lambda: make(mean_loss, world, reduction="none"), RangeError, "'mean' or 'sum'; got 'none'"),
        (lambda: make(mean_loss, world, weight=3.0), TypeError, "weight is a function of the same arguments"),
        (lambda: make(mean_loss, world, weight=len, reduction="sum"), RangeError, "sums are added as they are"),
        (lambda: make(lambda m: m * 2.0, world)(1.0), StructureError, "no argument beside those"),
        (lambda: make(lambda m, key: m * 2.0, world)(1.0, KEY), StructureError, "weight=lambda model: len\\(x\\)"),
        (lambda: make(mean_loss, world, weight=lambda m, x, t: t)(mlp(), *batch(3)[:2]), ShapeError, "one real number"),
        (lambda: make(mean_loss, world, weight=lambda m, x, t: 1j)(mlp(), *batch(3)[:2]), DTypeError, "complex 1j"),
        (lambda: fd.distributed.mean(3), StructureError, "distributed.mean: a world is"),
        (lambda: fd.distributed.check_equal(mlp(), 3), StructureError, "check_equal: a world is"),
    ):
        with pytest.raises(error, match=words):
            call()
