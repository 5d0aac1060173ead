"""Training on several ranks: metrics, displays, logs and `fit` give what one process gives, and rank 0 alone speaks."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fdezero as fd
from fdezero import functions as F
from fdezero import nn, optim, training
from fdezero.data import DataLoader
from fdezero.errors import DisagreementError, StructureError
from fdezero.testing import assert_trees_close, assert_trees_equal
from tests.laws.metrics import METRICS

from .ranks import on_ranks
from .shard_cases import Greatest

X, T = fd.data.spiral(fd.random.key(0), points=20, classes=3)
KEY = fd.random.key(3)
OPT = optim.adam(0.02)


def loader(world: Any = None, **options: Any) -> DataLoader:
    """Steps of 16, 16, 16 and 12; with keys of examples, those of the epoch and the number of the example."""
    share = (0, 1) if world is None else world.share
    return DataLoader((X, T), 16, shard=share, transform=lambda batch, key: (*batch, key), **{"key": KEY, **options})


def make(world: Any = None) -> Any:
    """A network with a BatchNorm over the examples of all ranks, and dropout. A bias before the norm would have noise for a gradient."""
    layers = [nn.Linear.lazy(8, bias=False), nn.BatchNorm.lazy(axis_name="batch", world=world), F.relu, nn.Dropout(0.3), nn.Linear.lazy(3)]
    return nn.init(nn.Sequential(layers), KEY, X)


def loss_fn(model: Any, x: Any, t: Any, keys: Any) -> Any:
    def one(x: Any, key: Any) -> Any:
        y, after = nn.step(model, x[None], key=key, train=True)
        return y[0], after

    y, after = fd.vmap(one, axis_name="batch", out_axes=(0, None))(x, keys)
    return F.softmax_cross_entropy(y, t), (after, y)


def steps(world: Any = None) -> Any:
    """The step of one process, or of a rank: the script differs in one line."""
    differentiated = fd.value_and_grad(loss_fn, has_aux=True)
    if world is not None:
        differentiated = fd.distributed.value_and_grad(loss_fn, world, has_aux=True)

    def step(state: training.State, batch: Any) -> Any:
        (loss, (model, y)), grads = differentiated(state.model, *batch)
        model, optimiser = OPT.step(model, grads, state.optimiser)
        metrics = {"loss": loss, "more": {"accuracy": training.Accuracy().update(y, batch[1])}}
        return state.replace(model=model, optimiser=optimiser, step=state.step + 1), metrics

    return step


def begin(world: Any = None) -> training.State:
    return training.State.init(make(world), OPT)


def evaluate_on(world: Any) -> Any:
    """Each rank looks at its share of the data."""
    share = (0, 1) if world is None else world.share

    def evaluate(state: training.State) -> Any:
        found = training.Accuracy(), training.Mean()
        for x, t in DataLoader((X, T), 25, shuffle=False, shard=share):
            y = state.model(x)
            found = found[0].update(y, t), found[1].update(F.softmax_cross_entropy(y, t, reduction="none"))
        return {"val_accuracy": found[0], "val": {"loss": found[1]}, "size": len(X)}

    return evaluate


@on_ranks(1, 2, 4)
def test_fit_gives_the_run_of_one_process(world: Any, tmp_path: Path) -> None:
    place = tmp_path / f"{world.size}.csv"
    rows: list[Any] = []
    state, history = training.fit(
        fd.compile(steps(world)), begin(world), loader(world), epochs=3, evaluate=evaluate_on(world), world=world,
        log=[place, lambda step, row: rows.append(row)], progress="none", stop=training.early_stopping("val/loss", patience=9),
    )  # fmt: skip
    expected, known = training.fit(
        steps(), begin(), loader(), epochs=3, evaluate=evaluate_on(None), progress="none", stop=training.early_stopping("val/loss")
    )
    assert_trees_close(fd.tree.leaves(state), fd.tree.leaves(expected.replace(extra={"stop": state.extra["stop"]})), 1e-4)
    for row, other in zip(history, known, strict=True):
        assert row.keys() == other.keys()
        assert [row[name] for name in row if name != "seconds"] == pytest.approx([other[name] for name in row if name != "seconds"], abs=1e-5)
    numbers = np.array([[row[name] for name in sorted(row)] for row in history])
    assert (world.all_gather(numbers[None]) == numbers).all()  # the same bits on every rank, also of seconds
    assert_trees_equal(world.all_reduce(state.model, "max"), state.model, bits=True)  # ranks never drift apart
    assert len(rows) == (0 if world.rank else 3)
    world.barrier()
    assert [row["epoch"] for row in training.read_log(place)] == [1, 2, 3]


@on_ranks(1, 2)
def test_fit_takes_metrics_of_whole_batches_as_they_are(world: Any) -> None:
    def loss_fn(model: Any, x: Any, t: Any) -> Any:
        y = model(x)
        return F.softmax_cross_entropy(y, t), training.ConfusionMatrix(3).update(y, t)

    gradient = fd.distributed.value_and_grad(loss_fn, world, has_aux=True, reproducible=True, shards=2)

    def step(state: Any, batch: Any) -> Any:
        (loss, confusion), _ = gradient(state.model, *batch[:2])
        return state.replace(step=state.step + 1), {"loss": loss, "more": {"loss": fd.numpy.asarray(loss)}, "confusion": confusion}

    model = nn.Linear.init(fd.random.key(0), 2, 3)
    odd = DataLoader((X, T), 25, shuffle=False, shard=world.share)  # 25, 25 and 10: the shares of the ranks differ
    _, (row,) = training.fit(step, training.State.init(model, OPT), odd, epochs=1, world=world, progress="none", merge_metrics=False)
    assert row["confusion"].sum() == len(X)
    assert row["loss"] == row["more/loss"] == pytest.approx(float(loss_fn(model, X, T)[0]), abs=1e-6)


@pytest.mark.parametrize("row", range(len(METRICS)), ids=[str(row) for row in METRICS])
@on_ranks(2, 4)
def test_metrics_of_all_ranks_are_those_of_all_examples(world: Any, row: int) -> None:
    metric, columns = METRICS[row].make(), METRICS[row].examples(np.random.default_rng(0), 3 * world.size + 1)
    share = DataLoader(columns, 100, shuffle=False, shard=world.share).batch(0, 0)
    merged = training.merge({"a": {"b": metric.update(*share)}}, world=world)
    assert_trees_close(training.results(merged), training.results({"a": {"b": metric.update(*columns)}}), 1e-12)
    assert_trees_close(fd.tree.leaves(metric.update(*columns)), fd.tree.leaves(merged), 1e-12)


@on_ranks(1, 2)
def test_metrics_with_a_merge_of_their_own(world: Any) -> None:
    merged = training.merge({"greatest": Greatest(np.float64(world.rank + 0.5))}, world=world)
    assert training.results(merged) == {"greatest": world.size - 0.5}
    with pytest.raises(StructureError, match="loss is float 0.5, not a metric"):
        training.merge({"loss": 0.5}, world=world)


@on_ranks(1, 2, 4)
def test_progress_adds_up_over_ranks_and_the_first_rank_draws(world: Any) -> None:
    out, log = io.StringIO(), training.open_log("unwritten.csv", world=world) if world.rank else None
    bar = training.progress(loader(world).epoch(0), "epoch 1", style="lines", interval=0, file=out, world=world)
    losses = np.random.default_rng(0).normal(size=len(X))
    order = loader().order(0)
    for step, (x, _, _) in enumerate(bar):
        rows = losses[order[16 * step : 16 * step + 16]]
        mine = DataLoader(rows, 16, shuffle=False, shard=world.share).batch(0, 0)
        assert len(mine) == len(x)
        # a global number, a mean over this rank's examples (NaN if it has none), and a metric
        own = mine.mean() if len(mine) else np.nan
        bar.show({"all": rows.mean(), "own": own, "metric": training.Mean().update(mine)})
    assert bar.results() == pytest.approx(dict.fromkeys(("all", "own", "metric"), losses.mean()), abs=1e-12)
    assert bool(out.getvalue()) == (world.rank == 0)
    if log is not None:
        log(1, bar.results())
        log.close()
        assert not Path("unwritten.csv").exists()


@on_ranks(2)
def test_mistakes_of_fit(world: Any, tmp_path: Path) -> None:
    whole = DataLoader((X, T), 16, key=KEY)
    for options, words in (
        ({"loader": whole}, r"the part \(0, 1\) of each batch, but this is rank . of 2. Write DataLoader\(..., shard=world.share\)"),
        ({"loader": loader(world, key=fd.random.key(world.rank))}, r"fit, the loader: .* At key, rank 1 and rank 0 differ. The order of"),
        ({"checkpoints": fd.io.Checkpoints(tmp_path)}, r"each rank would write these checkpoints. Write Checkpoints\(folder, world=world\)"),
        ({"world": 2}, "world is what fd.distributed.world"),
        ({"step": steps()}, r"after epoch 1: .* At layers/0/W, rank 1 and rank 0 differ. The step needs the gradient of all ranks: fd"),
        ({"evaluate": lambda state: {"mine": world.rank / 2}}, r"'mine' 0.\d on rank ., and another number on another rank"),
        ({"evaluate": lambda state: 3.0}, r"evaluate\(state\) returns metrics by name"),
    ):
        given = {"step": steps(world), "loader": loader(world), "world": world, **options}
        with pytest.raises((StructureError, DisagreementError), match=words):
            training.fit(given.pop("step"), begin(world), given.pop("loader"), epochs=1, progress="none", **given)


@on_ranks(1, 2, 4)
def test_check_equal_names_the_leaf_and_the_ranks(world: Any) -> None:
    tree = {"a": np.arange(3), "b": [np.float32(1), None, 2.0], "c": np.zeros((2, 2), np.float16).T}
    fd.distributed.check_equal(tree, world)
    fd.distributed.check_equal({}, world)
    for other in ({"b": [np.float32(1), None, 2.0 + (world.rank == 1) * 1e-9]}, {"b": [np.float32(1) - (world.rank == 1), None, 2.0]}):
        if world.size == 1:
            fd.distributed.check_equal(tree | other, world)
            continue
        rest = {2: "rank 0", 4: "ranks 0, 2 and 3"}[world.size]
        with pytest.raises(DisagreementError, match=rf"check_equal: .* At b/[02], rank 1 and {rest} differ"):
            fd.distributed.check_equal(tree | other, world)


@on_ranks(1, 2, 4)
def test_dropout_by_example_does_not_depend_on_ranks(world: Any) -> None:
    """The loader hands out a key for each example; a model under vmap drops by it."""
    for step in range(len(loader())):
        x, _, keys = loader(world).batch(4, step)
        whole, _, all_keys = loader().batch(4, step)
        drop = fd.vmap(lambda x, key: F.dropout(x, 0.5, key=key, train=True))
        share = DataLoader(drop(whole, all_keys), 16, shuffle=False, shard=world.share).batch(0, 0)
        assert_trees_equal(drop(x, keys), share, bits=True)
    assert len(np.unique(all_keys, axis=0)) == len(all_keys)
