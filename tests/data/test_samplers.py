"""Samplers: which examples an epoch has, and which share a batch."""

import functools
import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fdezero as fd
from fdezero import data
from fdezero.data import Balanced, Buckets, DataLoader, Weighted
from fdezero.errors import DTypeError, KeyMissingError, RangeError, ShapeError
from fdezero.testing import assert_trees_equal, keys

KEY = fd.random.key(5)


def test_weights_are_probabilities() -> None:
    weights = np.array([1.0, 0.0, 3.0, 4.0])
    order = DataLoader(np.arange(4), 10, key=KEY, sampler=Weighted(weights, 8000)).order(0)
    np.testing.assert_allclose(np.bincount(order, minlength=4) / 8000, weights / 8, atol=0.02)
    assert 1 not in order
    whole = Weighted(weights, 3, replace=False)
    assert all(sorted(whole(KEY, epoch)) == [0, 2, 3] for epoch in range(5))
    assert len(Weighted(weights)) == 4


@given(key=keys(), labels=st.lists(st.integers(0, 4), min_size=1, max_size=40), size=st.integers(1, 60))
def test_classes_are_balanced(key: Any, labels: list[int], size: int) -> None:
    array = np.array(labels)
    order = Balanced(array, size)(key, 3)
    assert order.shape == (size,)
    counts = [int(np.isin(order, np.flatnonzero(array == label)).sum()) for label in set(labels)]
    assert max(counts) - min(counts) <= 1
    for label in set(labels):
        times = np.bincount(order, minlength=len(labels))[array == label]
        assert times.max() - times.min() <= 1


@given(
    key=keys(), lengths=st.lists(st.integers(0, 30), min_size=1, max_size=60), batch_size=st.integers(1, 9), drop_last=st.booleans(),
    bounds=st.sampled_from([None, (5, 10, 30), (30,)]),
)  # fmt: skip
def test_buckets_hold_every_example_once_and_similar_lengths(
    key: Any, lengths: list[int], batch_size: int, drop_last: bool, bounds: Any
) -> None:
    sampler = Buckets(np.array(lengths), bounds)
    if drop_last and not sampler.steps(batch_size, True):
        return
    loader = DataLoader(np.arange(len(lengths)), batch_size, key=key, sampler=sampler, drop_last=drop_last)
    batches = [batch.tolist() for batch in loader.epoch(1)]
    assert len(batches) == len(loader)
    edges = [-1, *sampler.bounds]  # type: ignore[misc]  # a tuple once it is made
    bucket = np.searchsorted(edges, lengths)
    assert all(len(set(bucket[batch].tolist())) == 1 for batch in batches)
    seen = sorted(i for batch in batches for i in batch)
    if not drop_last:
        assert seen == list(range(len(lengths)))
    else:
        assert all(len(batch) == batch_size for batch in batches)
        assert len(set(seen)) == len(seen)
    assert sum(len(batch) < batch_size for batch in batches) <= len(edges) - 1


def test_buckets_give_few_shapes_in_an_order_that_differs_by_epoch() -> None:
    sequences = [list(range(n % 17)) for n in range(100)]
    lengths = np.array(list(map(len, sequences)))
    bounds = (4, 8, 16)
    collate = functools.partial(data.pad, length=bounds)
    loader = DataLoader(sequences, 10, key=KEY, sampler=Buckets(lengths, bounds), collate=collate, drop_last=True)
    epochs = [[batch.shape for batch in loader.epoch(epoch)] for epoch in range(3)]
    assert all(set(shapes) == {(10, 4), (10, 8), (10, 16)} for shapes in epochs)
    assert len({tuple(shapes) for shapes in epochs}) > 1
    assert len(DataLoader(sequences, 10, key=KEY, sampler=Buckets(lengths), collate=data.pad)) <= 18


def test_orders_are_functions_of_key_and_epoch() -> None:
    for sampler in (Weighted(np.ones(30)), Balanced(np.arange(30) % 4), Buckets(np.arange(30) % 9)):
        orders = [tuple(sampler(fd.random.key(seed), epoch)) for seed in (0, 1) for epoch in (0, 1)]
        assert len(set(orders)) == 4
        assert tuple(sampler(fd.random.key(0), 1)) == orders[1]
        again = pickle.loads(pickle.dumps(sampler))
        assert tuple(again(fd.random.key(0), 1)) == orders[1]
        with pytest.raises(KeyMissingError, match=rf"sampler={type(sampler).__name__}\(\.\.\.\) needs a random key"):
            DataLoader(np.arange(30), 4, sampler=sampler)


def test_orders_are_the_same_on_a_gpu(gpu: Any) -> None:
    dataset = (np.arange(30), np.arange(30) % 4)
    for sampler in (Weighted(np.arange(30)), Balanced(dataset[1]), Buckets(dataset[1], (1, 4))):
        here = list(DataLoader(dataset, 4, key=KEY, sampler=sampler).epoch(2))
        there = DataLoader(dataset, 4, key=KEY, sampler=sampler, device="gpu")
        assert_trees_equal(fd.to_numpy(list(there.epoch(2))), here, bits=True)
        assert_trees_equal(fd.to_numpy(list(fd.to_device(there, "gpu").epoch(2))), here, bits=True)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Weighted([1.0, -2.0]), RangeError, "weight 1 is -2.0"),
        (lambda: Weighted([1.0, np.nan]), RangeError, "weight 1 is nan"),
        (lambda: Weighted([0.0, 0.0]), RangeError, "0 weights are positive"),
        (lambda: Weighted([1.0, 0.0], 2, replace=False), RangeError, "2 examples are drawn without replacement, but 1 weights"),
        (lambda: Weighted([[1.0]]), ShapeError, r"\(n,\), got float64\[1,1\]"),
        (lambda: Weighted(["a"]), DTypeError, "weights are numbers"),
        (lambda: Weighted([1.0], 0), RangeError, "the size is 1 or more"),
        (lambda: Weighted([1.0], 1.5), DTypeError, "the size is a whole number"),
        (lambda: Balanced([0.5]), DTypeError, "classes, not fractions"),
        (lambda: Balanced([]), ShapeError, "labels is empty"),
        (lambda: Buckets([1.5]), DTypeError, "whole numbers"),
        (lambda: Buckets([1, 9], (4, 8)), RangeError, "example 1 has length 9, more than the greatest bound 8"),
        (lambda: Buckets([1], (8, 4)), RangeError, "bounds increase"),
        (lambda: Buckets([1], ()), RangeError, "bounds increase"),
    ],
)
def test_mistakes_are_found_when_a_sampler_is_made(make: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize(
    ("order", "error", "message"),
    [
        (lambda key, epoch: [0, 1, 4], RangeError, "example 4 in place 2 of epoch 7, but there are 3"),
        (lambda key, epoch: [0, 1, -1], RangeError, "example -1"),
        (lambda key, epoch: [0, 1], ShapeError, r"int64\[2\] for epoch 7, but an epoch has 3 examples.*__len__"),
        (lambda key, epoch: [0.0, 1.0, 2.0], DTypeError, "float64"),
    ],
)
def test_what_a_sampler_returns_is_checked(order: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        DataLoader(np.arange(3), 1, key=KEY, sampler=order).epoch(7)


@pytest.mark.parametrize("sampler", [Weighted([1.0, 2.0]), Balanced([0, 1]), Balanced([0, 1], 3), Buckets([4, 5])])
def test_a_sampler_for_another_data_set_is_an_error(sampler: Any) -> None:
    with pytest.raises(ShapeError, match=f"sampler {type(sampler).__name__} is made for 2 examples, but the data set has 3"):
        DataLoader(np.arange(3), 1, key=KEY, sampler=sampler)


def test_a_sampler_may_be_any_function() -> None:
    loader = DataLoader(np.arange(5), 2, sampler=lambda key, epoch: (np.arange(5) + epoch) % 5)
    assert [batch.tolist() for batch in loader.epoch(1)] == [[1, 2], [3, 4], [0]]
    with pytest.raises(TypeError, match=r"loader.epoch\(0\)"):
        iter(loader)
    with pytest.raises(DTypeError, match="order"):
        DataLoader(np.arange(5), 2, key=KEY, sampler=[1, 2])

    class Half:
        def __len__(self) -> int:
            return 2

        def __call__(self, key: Any, epoch: int) -> Any:
            return np.array([0, 4])

    assert [batch.tolist() for batch in DataLoader(np.arange(5), 2, sampler=Half()).epoch(0)] == [[0, 4]]
