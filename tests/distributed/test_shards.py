"""`value_and_grad(..., reproducible=True)`: the same bits on any number of ranks, and the gradient of the whole batch."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fdezero as fd
from fdezero import functions as F
from fdezero import nn, optim, training
from fdezero.data import DataLoader
from fdezero.errors import DisagreementError, DTypeError, RangeError, ShapeError, StructureError, TraceError
from fdezero.optim.precision import LossScale
from fdezero.testing import assert_trees_close, assert_trees_equal
from tests.native.compilers import needs_compiler
from tests.profiles import NIGHTLY, nightly

from .ranks import on_ranks
from .shard_cases import KEY, WAYS, Greatest, alone, batch, mean_loss, of_shards, share, small


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


def all_agree(world: Any, tree: Any) -> None:
    """Every rank has the same bits as rank 0."""
    assert_trees_equal(world.broadcast(tree), tree)


@on_ranks(*((2, 4) if NIGHTLY else (4,)))
@pytest.mark.parametrize(
    ("kind", "way", "steps"), [("mlp", "compiled", 100), ("cnn", "compiled", 100), ("mlp", "eager", 9)]
)
def test_bits_do_not_depend_on_the_number_of_ranks(world: Any, kind: str, way: str, steps: int) -> None:
    found = train(world, kind, way, steps)
    all_agree(world, found)
    if not world.rank:
        assert_trees_equal(found, train(alone(), kind, way, steps))


@needs_compiler
@on_ranks(2)
def test_native_code_has_bits_of_its_own_and_they_do_not_depend_either(world: Any) -> None:
    few = {"steps": 5, "batch_size": 16}  # of one size, because each one is compiled
    assert_trees_equal(train(world, "mlp", "native", **few), train(alone(), "mlp", "native", **few))


@nightly
@needs_compiler
@on_ranks(2, 4, 8, limit=600.0)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("way", WAYS)
def test_bits_on_up_to_eight_ranks(world: Any, kind: str, way: str) -> None:
    found = train(world, kind, way, 100)
    all_agree(world, found)
    if not world.rank:
        assert_trees_equal(found, train(alone(), kind, way, 100))


@on_ranks(1)
@pytest.mark.parametrize("kind", KINDS)
def test_compiled_steps_have_the_bits_of_eager_ones(world: Any, kind: str) -> None:
    assert_trees_equal(train(world, kind, "compiled", 6), train(world, kind, "eager", 6))


# --- what is computed ------------------------------------------------------------------------------------------------


def masked_loss(model: Any, x: Any, t: Any, mask: Any) -> Any:
    return F.softmax_cross_entropy(model(x), t, mask=mask)


@on_ranks(1, 2, 4)
@pytest.mark.parametrize("way", ["eager", "compiled"])
def test_it_is_the_gradient_of_the_whole_batch(world: Any, way: str) -> None:
    """Where shards differ in size, have masks without a true entry, or have no example at all."""
    model = small()
    of_mean, of_sum, of_mask = (
        WAYS[way](f)
        for f in (
            of_shards(mean_loss, world),
            of_shards(lambda m, x, t: F.softmax_cross_entropy(m(x), t, reduction="sum"), world, reduction="sum"),
            of_shards(masked_loss, world, shards=4, weight=lambda m, x, t, mask: fd.numpy.sum(mask)),
        )
    )
    for n in (16, 13, 3):
        x, t, mask = whole = batch(n)
        x_, t_, mask_ = share(whole, world)
        expected = fd.value_and_grad(mean_loss)(model, x, t)
        assert_trees_close(of_mean(model, x_, t_), expected)
        value, grads = of_sum(model, x_, t_)
        assert_trees_close((value / n, fd.tree.map(lambda g: g / n, grads)), expected)
        assert_trees_close(of_mask(model, x_, t_, mask_), fd.value_and_grad(masked_loss)(model, x, t, mask))


@on_ranks(2)
def test_the_bits_of_every_kind_of_gradient(world: Any) -> None:
    """With masks, sums, float16 and complex parameters, gradients by several arguments, and aux of every kind."""

    def complex_loss(z: Any, scale: Any, x: Any, *, t: Any) -> Any:
        y = fd.numpy.mean(fd.numpy.abs(x @ z) ** 2) * scale
        return y, [y, {"n": len(x), "all": fd.numpy.sum(t), "text": "as it is", "z": z}]

    z = np.random.default_rng(0).normal(size=(4, 2)) * (1 + 2j)
    for n in (32, 11):
        full = batch(n, np.float32)
        part = share(full, world)
        for function, arguments, options, rest in [
            (masked_loss, (small(np.float32),), {"weight": lambda m, x, t, mask: fd.numpy.sum(mask)}, {}),
            (lambda m, x, t, mask: masked_loss(m, x, t, mask), (small(np.float16),), {"reduction": "sum"}, {}),
            (complex_loss, (z, 3.0), {"has_aux": True, "argnums": (0, 1)}, {"t": 1}),
        ]:
            found, alone_ = (
                of_shards(function, each, **options)(
                    *arguments, *data[: 1 if rest else 3], **{name: data[i] for name, i in rest.items()}
                )
                for each, data in ((world, part), (alone(), full))
            )
            assert_trees_equal(found, alone_)
            all_agree(world, fd.tree.leaves(found[1]))


def test_the_aux_is_that_of_the_whole_batch() -> None:
    x, t, _ = batch(21)
    model = small()

    def loss_fn(model: Any, x: Any, t: Any) -> Any:
        y = model(x)
        accuracy, mean = training.Accuracy().update(y, t), fd.numpy.mean(y)
        return F.softmax_cross_entropy(y, t), {
            "m": model,
            "a": accuracy,
            "mean": mean,
            "n": len(x),
            "s": "s",
            "x": None,
        }

    _, aux = of_shards(loss_fn, alone(), has_aux=True)(model, x, t)[0]
    assert aux["m"].layers[0].W is model.layers[0].W  # parameters stay as they are: no mean of equal numbers is taken
    assert (aux["n"], aux["s"], aux["x"]) == (21, "s", None)
    assert_trees_equal(aux["a"], training.Accuracy().update(model(x), t))
    assert_trees_close(aux["mean"], np.mean(model(x)))


def test_statistics_are_those_of_shards() -> None:
    """Each shard is normalised by its own statistics, and the running ones move to the mean over shards."""
    x = np.random.default_rng(0).normal(size=(16, 3)).astype(np.float32)
    norm = nn.BatchNorm.init(KEY, 3)

    def loss_fn(norm: Any, x: Any) -> Any:
        y, norm = nn.step(norm, x)
        return fd.numpy.mean(y**3), norm

    (value, new), grads = of_shards(loss_fn, alone(), has_aux=True, shards=4)(norm, x)
    parts = [fd.value_and_grad(loss_fn, has_aux=True)(norm, part) for part in np.split(x, 4)]
    assert_trees_close(value, np.mean([value for (value, _), _ in parts]))
    assert_trees_close(new.mean, 0.1 * x.mean(0))
    assert_trees_close(new.variance, 0.9 + 0.1 * np.mean([part.var(0, ddof=1) for part in np.split(x, 4)], 0))
    assert_trees_close(grads.scale, np.mean([grads.scale for _, grads in parts], 0))


@pytest.mark.parametrize("way", ["eager", "compiled"])
def test_sums_leave_arrays_of_the_caller_alone(way: str) -> None:
    """A metric that is not updated, and one that the aux has twice: no array is a place for a sum."""
    x, t, _ = batch(16)
    known = training.ConfusionMatrix(3).update(np.eye(3), np.arange(3))

    def loss_fn(model: Any, x: Any, t: Any) -> Any:
        y = model(x)
        fresh = training.ConfusionMatrix(3).update(y, t)
        return F.softmax_cross_entropy(y, t), (known, fresh, fresh)

    (_, found), _ = WAYS[way](of_shards(loss_fn, alone(), has_aux=True))(small(), x, t)
    assert_trees_equal(known.counts, np.eye(3))
    assert_trees_equal([each.counts for each in found], [8 * np.eye(3), *2 * [loss_fn(small(), x, t)[1][1].counts]])


def test_every_shard_has_its_own_key() -> None:
    keys: list[Any] = []

    def loss_fn(w: Any, x: Any, key: Any) -> Any:
        keys.append(key)
        return fd.numpy.mean(x * w)

    of_shards(loss_fn, alone(), shards=4)(1.0, np.ones((8, 2)), KEY)
    assert_trees_equal(keys, [fd.random.fold_in(KEY, i) for i in range(4)])


@pytest.mark.parametrize("n", [16, 13])
def test_derivatives_and_batches_of_gradients(n: int) -> None:
    """A reproducible gradient is a function like any other, eagerly and inside compiled functions."""
    x, t, _ = batch(n)
    model = small()

    def size(gradient: Any) -> Any:
        return lambda model: sum(fd.numpy.sum(g**2) for g in fd.tree.leaves(gradient(model, x, t)[1]))

    ours, plain = size(of_shards(mean_loss, alone(), shards=4)), size(fd.value_and_grad(mean_loss))
    expected = fd.grad(plain)(model)
    models = fd.tree.map(lambda p: np.stack([p, 2 * p]), model)
    for way in (WAYS["eager"], WAYS["compiled"]):
        assert_trees_close(way(fd.grad(ours))(model), expected)
        assert_trees_close(fd.grad(way(ours))(model), expected)
        assert_trees_close(way(lambda m: fd.jvp(ours, (m,), (m,)))(model), fd.jvp(plain, (model,), (model,)))
        assert_trees_close(way(fd.vmap(ours))(models), fd.vmap(plain)(models))


@on_ranks(2)
def test_it_composes_with_accumulation_and_loss_scales(world: Any) -> None:
    opt = lambda world: optim.chain(optim.clip_by_global_norm(1.0), optim.accumulate(optim.adam(1e-2), 2))
    assert_trees_equal(train(world, "mlp", "compiled", 6, opt), train(alone(), "mlp", "compiled", 6, opt))
    # each rank has its own part of the moments, but all have the model
    opt = lambda world: optim.sharded(optim.adam(1e-2), world)
    (model, _, seen), (expected, _, seen_alone) = (train(each, "mlp", "compiled", 6, opt) for each in (world, alone()))
    assert_trees_equal((model, seen), (expected, seen_alone))
    scale, x, t = LossScale.init(), *share(batch(20, np.float32), world)[:2]
    scaled = of_shards(lambda m, x, t: scale.scale(mean_loss(m, x, t)), world)
    assert_trees_equal(
        scale.unscale(scaled(small(np.float32), x, t)[1]), of_shards(mean_loss, world)(small(np.float32), x, t)[1]
    )


def test_on_a_gpu(strict_cupy: Any) -> None:
    model = nn.MLP.init(KEY, (4, 5, 3), activation=F.tanh, dropout=0.3)
    x, t, mask = batch(13, np.float32)

    def loss_fn(model: Any, x: Any, t: Any, mask: Any, key: Any) -> Any:
        y = model(x, key=key, train=True)
        return F.softmax_cross_entropy(y, t, mask=mask), training.Accuracy().update(y, t)

    for options in ({}, {"weight": lambda m, x, t, mask, key: fd.numpy.sum(mask)}):
        gradient = of_shards(loss_fn, alone(), has_aux=True, shards=4, **options)
        expected = gradient(model, x, t, mask, KEY)
        for way in ("eager", "compiled"):
            found = WAYS[way](gradient)(*fd.to_device((model, x, t, mask, KEY), "gpu"))
            assert_trees_close(fd.to_device(found, "cpu"), expected)


# --- what goes wrong -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shards", [0, 6, -8, 2.0, True, "8"])
def test_a_number_of_shards_is_a_power_of_two(shards: Any) -> None:
    with pytest.raises(RangeError, match="power of two"):
        of_shards(mean_loss, alone(), shards=shards)
    with pytest.raises(RangeError, match="belongs to reproducible=True"):
        fd.distributed.value_and_grad(mean_loss, alone(), shards=shards)


@on_ranks(2)
def test_ranks_agree_on_the_number_of_shards(world: Any) -> None:
    x, t, _ = share(batch(16, np.float32), world)
    part = world.split(0)  # which the error leaves unusable
    with pytest.raises(DisagreementError, match=r"sum_of_shards\(shards=4\)"):
        of_shards(mean_loss, part, shards=4 if world.rank else 8)(small(np.float32), x, t)


@on_ranks(4)
def test_shards_that_ranks_cannot_share(world: Any) -> None:
    with pytest.raises(RangeError, match="2 shards cannot be divided among 4 ranks. With 4 ranks, say shards=4,"):
        of_shards(mean_loss, world, shards=2)
    three = world.split(int(world.rank == 3))
    if three.size == 3:
        with pytest.raises(RangeError, match=r"8 shards cannot be divided among 3 ranks\. Start 1, 2, 4"):
            of_shards(mean_loss, three)


def test_what_is_no_batch_and_what_is_no_sum() -> None:
    x, t, _ = batch(16)
    model = small()
    with pytest.raises(StructureError, match="Pass the batch as an argument, not through the closure"):
        of_shards(lambda model: mean_loss(model, x, t), alone())(model)
    with pytest.raises(ShapeError, match=r"weights/b is float64\[3\], but the batch has 16 examples"):
        of_shards(lambda model, x, weights: 0.0, alone())(model, x, {"a": t, "b": np.ones(3)})
    with pytest.raises(ShapeError, match="t is int64"):
        of_shards(mean_loss, alone())(model, x, t=t[:4])
    for aux in ({"y": x}, {"right": np.zeros(3)}, {"y": np.array(True)}, {"n": np.arange(3)}):
        name = next(iter(aux))
        with pytest.raises(StructureError, match=f"the aux {name} is .*, of one shard"):
            of_shards(lambda m, x, t, aux=aux: (mean_loss(m, x, t), fd.tree.map(np.copy, aux)), alone(), has_aux=True)(
                model, x, t
            )
    # an aux may return an argument, such as the model, but no examples: each rank has its own
    with pytest.raises(StructureError, match="the aux itself is .*, of one shard"):
        of_shards(lambda m, x, t: (mean_loss(m, x, t), x), alone(), has_aux=True)(model, x, t)
    with pytest.raises(DTypeError, match=r"t is uint64\[16\], but two numbers of uint64 are a key"):
        of_shards(mean_loss, alone())(model, x, t.astype(np.uint64))
    with pytest.raises(StructureError, match=r"the aux value belongs to a metric with a merge of its own"):
        of_shards(lambda m, x, t: (mean_loss(m, x, t), Greatest(fd.numpy.max(x))), alone(), has_aux=True)(model, x, t)
    with pytest.raises(ShapeError, match="weight returns one real number"):
        of_shards(mean_loss, alone(), weight=lambda m, x, t: x)(model, x, t)


@on_ranks(2)
def test_shards_do_not_talk(world: Any) -> None:
    x, t, _ = share(batch(16, np.float32), world)
    model = nn.Sequential([nn.Linear.init(KEY, 4, 3), nn.BatchNorm.init(KEY, 3, world=world)])

    def loss_fn(model: Any, x: Any, t: Any) -> Any:
        y, model = nn.step(model, x)
        return F.softmax_cross_entropy(y, t), model

    for way in ("eager", "compiled"):
        with pytest.raises(TraceError, match="BatchNorm leaves out world="):
            WAYS[way](of_shards(loss_fn, world, has_aux=True))(model, x, t)
    with pytest.raises(TraceError, match="all_reduce over 2 ranks was called within"):
        of_shards(lambda m, x, t: world.all_reduce(mean_loss(m, x, t)), world)(small(np.float32), x, t)
    # a part of the world that this rank has to itself, such as the other side of a mesh, may talk
    own = world.split(world.rank)
    expected = of_shards(mean_loss, world)(small(np.float32), x, t)
    assert_trees_equal(
        of_shards(lambda m, x, t: own.all_reduce(mean_loss(m, x, t)), world)(small(np.float32), x, t), expected
    )
