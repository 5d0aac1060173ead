"""The laws that every metric obeys, over the table of metrics."""

import functools
import inspect
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fdezero as fd
from fdezero import training
from fdezero.testing import assert_trees_close, assert_trees_equal

from .metrics import METRICS, Row

law = pytest.mark.parametrize("row", METRICS, ids=str)


def test_the_table_has_every_metric() -> None:
    made = {name for name in training.__all__ if inspect.isclass(kind := getattr(training, name)) and issubclass(kind, training.Metric)}
    assert {row.name for row in METRICS} == made - {"Metric"}


def examples(row: Row, n: int = 60) -> tuple[Any, ...]:
    return row.examples(np.random.default_rng(7), n)


def cut(given: tuple[Any, ...], *bounds: int) -> list[tuple[Any, ...]]:
    """The examples in pieces, which end at these places."""
    return [tuple(x[i:j] for x in given) for i, j in zip((0, *bounds), (*bounds, len(given[0])), strict=True)]


@law
def test_examples_in_pieces_are_the_examples_at_once(row: Row) -> None:
    given = examples(row)
    pieces = functools.reduce(lambda metric, piece: metric.update(*piece), cut(given, 1, 30, 30), row.make())
    assert_trees_close(pieces, row.make().update(*given), 1e-12)
    assert_trees_close(pieces.result(), row.make().update(*given).result(), 1e-12)


@law
def test_metrics_merge_in_any_order_and_grouping(row: Row) -> None:
    given = examples(row)
    a, b, c = (row.make().update(*piece) for piece in cut(given, 20, 27))
    whole = row.make().update(*given)
    for merged in (a.merge(b).merge(c), a.merge(b.merge(c)), c.merge(a, b), training.merge({"m": a}, {"m": c}, {"m": b})["m"], row.make().merge(a, b, c)):
        assert_trees_close(merged, whole, 1e-12)
    assert_trees_equal(a.merge(row.make()), a, bits=True)
    summed = fd.tree.map(lambda *leaves: sum(leaves), a, b, c)  # what an all-reduce over processes does
    assert_trees_close(summed, whole, 1e-12)


@law
def test_compiled_updates_have_the_bits_of_eager_ones_and_are_recorded_once(row: Row) -> None:
    update = fd.compile(lambda metric, *given: metric.update(*given), max_recordings=1)
    result = fd.compile(lambda metric: metric.result(), max_recordings=1)
    compiled = eager = row.make()
    for piece in cut(examples(row), 20, 40):
        compiled, eager = update(compiled, *piece), eager.update(*piece)
        assert_trees_equal(compiled, eager, bits=True)
        assert_trees_equal(result(compiled), eager.result(), bits=True)


@law
def test_a_metric_made_within_a_compiled_step_is_the_same(row: Row) -> None:
    step = fd.compile(lambda *given: row.make().update(*given), max_recordings=1)
    pieces = cut(examples(row), 20, 40)
    steps = [step(*piece) for piece in pieces]
    assert_trees_close(steps[0].merge(*steps[1:]), row.make().update(*examples(row)), 1e-12)


@law
def test_a_saved_metric_goes_on_with_the_same_bits(row: Row, tmp_path: Path) -> None:
    first, second = cut(examples(row), 33)
    metric = row.make().update(*first)
    fd.save(tmp_path / "metric.npz", {"metric": metric})
    loaded = fd.load(tmp_path / "metric.npz", like={"metric": row.make()})["metric"]
    for copy in (loaded, pickle.loads(pickle.dumps(metric))):
        assert_trees_equal(copy, metric, bits=True)
        assert_trees_equal(copy.update(*second), metric.update(*second), bits=True)


@law
def test_metrics_run_on_the_device_of_the_examples(row: Row, gpu: Any) -> None:
    given = examples(row)
    there = row.make()
    for piece in cut(fd.to_device(given, "gpu"), 20):
        there = there.update(*piece)
    assert {fd.device_of(leaf) for leaf in fd.tree.leaves(there)} == {"gpu:0"}
    assert fd.device_of(there.result()) == "gpu:0"
    weight, mask = np.arange(60) % 4, np.arange(60) % 3 != 0
    of_both = row.make().update(*fd.to_device(given, "gpu"), weight=fd.to_device(weight, "gpu"), mask=fd.to_device(mask, "gpu"))
    assert_trees_close(fd.to_numpy(of_both), row.make().update(*given, weight=weight, mask=mask), 1e-6)
    of_number = row.make().update(*fd.to_device(given, "gpu"), weight=2)
    assert_trees_close(fd.to_numpy(of_number), row.make().update(*given, weight=2.0), 1e-6)
    merged = row.make().merge(there)
    expected = row.make().update(*given)
    assert_trees_close(fd.to_numpy(merged), expected, 1e-6)
    assert training.results({"m": there})["m"] == pytest.approx(expected.result(), rel=1e-6)


@law
def test_leaves_are_float64_and_inputs_stay(row: Row) -> None:
    given, metric = examples(row), row.make()
    leaves = [*given, *fd.tree.leaves(metric)]
    before = [x.copy() for x in leaves]
    for x in leaves:
        if isinstance(x, np.ndarray):
            x.flags.writeable = False
    later = metric.update(*given)
    assert {leaf.dtype for leaf in fd.tree.leaves(later)} == {np.dtype(np.float64)}
    assert [leaf.shape for leaf in fd.tree.leaves(later)] == [leaf.shape for leaf in fd.tree.leaves(metric)]
    later.result()
    for x, y in zip(leaves, before, strict=True):
        np.testing.assert_array_equal(x, y)


@law
def test_a_mask_leaves_examples_out_whatever_they_are(row: Row) -> None:
    given = examples(row)
    mask = np.arange(60) % 3 != 0
    spoiled = [x.copy() for x in given]
    for x in spoiled:
        if x.dtype.kind == "f":
            x[~mask] = np.nan
        elif x.dtype.kind == "i":
            x[~mask] = -1
    expected = row.make().update(*[x[mask] for x in given])
    assert_trees_close(row.make().update(*spoiled, mask=mask), expected, 1e-12)
    nothing = row.make().update(*spoiled, mask=np.zeros(60, bool))
    assert_trees_equal(nothing, row.make())


@law
def test_whole_weights_are_repetitions(row: Row) -> None:
    given = examples(row)
    weight = np.arange(60) % 4
    expected = row.make().update(*[np.repeat(x, weight, axis=0) for x in given])
    assert_trees_close(row.make().update(*given, weight=weight), expected, 1e-12)
    mask = np.arange(60) % 3 != 0
    both = row.make().update(*given, weight=weight, mask=mask)
    assert_trees_close(both, row.make().update(*given, weight=weight * mask), 1e-12)


@law
def test_any_leading_axes_will_do(row: Row) -> None:
    given = examples(row)
    folded = [x.reshape(5, 12, *x.shape[1:]) for x in given]
    assert_trees_close(row.make().update(*folded, mask=np.ones((5, 1), bool)), row.make().update(*given), 1e-12)
    each = fd.vmap(lambda *piece: row.make().update(*piece))(*folded)
    assert_trees_close(fd.tree.map(lambda x: x.sum(0), each), row.make().update(*given), 1e-12)


@law
def test_without_examples_there_is_no_value_and_no_warning(row: Row) -> None:
    for metric in (row.make(), row.make().update(*examples(row, 0))):
        value = metric.result()
        assert (np.isnan(value) | (value == 0 if row.name == "ConfusionMatrix" else False)).all()


@law
def test_metrics_are_values_beside_a_gradient(row: Row) -> None:
    given = examples(row)

    def loss(w: Any) -> Any:
        first = given[0] * w if given[0].dtype.kind == "f" else given[0]
        return w * w, row.make().update(first, *given[1:])

    (_, metric), slope = fd.value_and_grad(loss, has_aux=True)(np.float32(1))
    assert slope == 2
    assert_trees_close(metric, row.make().update(*given), 1e-12)


# A law that cannot fail proves nothing


class Largest(training.Mean):
    """No metric: a maximum does not add up."""

    def update(self, values: Any, **options: Any) -> Any:
        return self.replace(total=np.float64(max(self.total, np.max(np.asarray(values), initial=0))), count=self.count + 1)


class InSingle(training.Mean):
    """A sum in float32."""

    def update(self, values: Any, **options: Any) -> Any:
        return self.replace(total=np.float32(self.total + np.sum(values)), count=np.float32(self.count + values.size))


PLANTED = {
    test_examples_in_pieces_are_the_examples_at_once: Largest,
    test_metrics_merge_in_any_order_and_grouping: Largest,
    test_leaves_are_float64_and_inputs_stay: InSingle,
    test_a_mask_leaves_examples_out_whatever_they_are: InSingle,
    test_whole_weights_are_repetitions: InSingle,
}


@pytest.mark.parametrize("test", PLANTED, ids=lambda test: test.__name__)
def test_a_planted_wrong_metric_is_caught(test: Any) -> None:
    (mean,) = [row for row in METRICS if str(row) == "Mean"]
    test(mean)
    with pytest.raises(AssertionError):
        test(mean._replace(make=PLANTED[test]))
