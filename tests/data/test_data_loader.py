"""Batches: every example once an epoch, in an order fixed by key and epoch; you can resume anywhere."""

from typing import Any

import attrs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fdezero as fd
from fdezero.data import DataLoader
from fdezero.errors import DeviceError, DTypeError, KeyMissingError, RangeError, ShapeError, StructureError
from fdezero.testing import assert_trees_equal, keys

from ..devices.strict_cupy_array import TRANSFERS


@given(
    key=keys(), size=st.integers(1, 40), batch_size=st.integers(1, 50), drop_last=st.booleans(), shuffle=st.booleans()
)
def test_an_epoch_has_every_example_once(key: Any, size: int, batch_size: int, drop_last: bool, shuffle: bool) -> None:
    drop_last = drop_last and size >= batch_size
    dataset = {"x": np.arange(size) * 10, "t": (np.arange(size),)}
    loader = DataLoader(dataset, batch_size, key=key, shuffle=shuffle, drop_last=drop_last)
    batches = list(loader.epoch(3))
    assert len(batches) == len(loader)
    seen = [int(i) for batch in batches for i in batch["t"][0]]
    assert len(set(seen)) == len(seen) == (size // batch_size * batch_size if drop_last else size)
    assert seen == list(loader.order(3)[: len(seen)])
    assert all(np.array_equal(batch["x"], batch["t"][0] * 10) for batch in batches)


@given(key=keys(), epoch=st.integers(0, 1000), data=st.data())
def test_an_epoch_resumes_anywhere(key: Any, epoch: int, data: Any) -> None:
    dataset = (np.arange(23.0), np.arange(23))
    whole = list(DataLoader(dataset, 5, key=key).epoch(epoch))
    start = data.draw(st.integers(0, len(whole)))
    again = DataLoader(dataset, 5, key=key)
    assert_trees_equal(list(again.epoch(epoch, start=start)), whole[start:])
    assert_trees_equal([again.batch(epoch, step) for step in range(len(again))], whole)


def test_an_epoch_draws_its_order_once(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn, permutation = [], fd.random.permutation
    monkeypatch.setattr(fd.random, "permutation", lambda key, n: drawn.append(n) or permutation(key, n))
    loader = DataLoader(np.arange(50), 5, key=fd.random.key(0))
    assert len(list(loader.epoch(0))) == 10
    assert drawn == [50]
    list(loader.epoch(0, start=4))
    assert drawn == [50, 50]


@given(key=keys(), epoch=st.integers(0, 2**40), size=st.integers(3, 60))
def test_the_order_is_the_permutation_of_the_folded_key(key: Any, epoch: int, size: int) -> None:
    order = DataLoader(np.zeros((size, 2)), 7, key=key).order(epoch)
    assert_trees_equal(order, fd.random.permutation(fd.random.fold_in(key, epoch), size))
    assert_trees_equal(DataLoader({"other": np.zeros(size)}, 3, key=key, drop_last=True).order(epoch), order)


def test_orders_differ_by_epoch_and_key() -> None:
    orders = [DataLoader(np.arange(50), 5, key=fd.random.key(seed)).order(epoch) for seed in (0, 1) for epoch in (0, 1)]
    assert len({tuple(order) for order in orders}) == 4


def test_without_shuffle_the_loader_is_iterated() -> None:
    assert_trees_equal(
        list(DataLoader(np.arange(5), 2, shuffle=False)), [np.array([0, 1]), np.array([2, 3]), np.array([4])]
    )
    with pytest.raises(TypeError, match=r"loader.epoch\(0\)"):
        iter(DataLoader(np.arange(5), 2, key=fd.random.key(0)))


def test_batches_share_nothing_with_the_data_set() -> None:
    dataset = np.arange(6.0)
    for batch in DataLoader(dataset, 3, shuffle=False, device="cpu"):
        batch += 1
    np.testing.assert_array_equal(dataset, np.arange(6.0))


@pytest.mark.parametrize(
    ("dataset", "error", "message"),
    [
        ({"x": np.ones(3), "t": np.ones(4)}, ShapeError, "t has 4 examples.* but x has 3 examples"),
        ({"x": np.ones(3), "t": np.float64(1)}, StructureError, "t is float64"),
        ((np.ones(1), 1), StructureError, "got int 1 at 1"),
        ({}, StructureError, "holds no array"),
        ([], ShapeError, r"no examples \(list of 0 examples\)"),
        (np.ones((0, 3)), ShapeError, r"no examples \(float64\[0,3\]\)"),
        (np.float64(1), StructureError, "the data set is float64"),
        (np.array(1.0), StructureError, r"the data set is float64\[\], not an array of examples"),
        ({"x": np.array(1.0)}, StructureError, r"x is float64\[\], not an array of examples"),
        ("abc", StructureError, "got str.$"),
        (DataLoader(np.ones(3), 2, shuffle=False), StructureError, "got a DataLoader, which makes batches, in place of the data set"),
        ({"x": {1, 2}}, StructureError, "got set at x. Make a list of it"),
        (iter([1]), StructureError, "got list_iterator. Make a list of it"),
        ({"x": [np.ones(3)], "t": np.ones(3)}, ShapeError, "t has 3 examples.* but x has 1 examples.*write a tuple"),
        (lambda: 0, StructureError, "a list of examples, a table, or an object with .* got function"),
    ],
)
def test_invalid_data_sets_are_refused(dataset: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        DataLoader(dataset, 2, shuffle=False)


@pytest.mark.parametrize("batch_size", [0, -1, 2.0, "2", True, None])
def test_invalid_batch_sizes_are_refused(batch_size: Any) -> None:
    with pytest.raises((RangeError, DTypeError), match="batch size"):
        DataLoader(np.ones(3), batch_size, shuffle=False)


def test_shuffling_needs_a_key() -> None:
    with pytest.raises(KeyMissingError, match="key="):
        DataLoader(np.ones(3), 2)


@pytest.mark.parametrize(("method", "step"), [("epoch", -1), ("epoch", 3), ("batch", -1), ("batch", 2)])
def test_steps_outside_the_epoch_are_refused(method: str, step: int) -> None:
    loader = DataLoader(np.ones(4), 2, shuffle=False)
    with pytest.raises(RangeError, match=f"step {step}"):
        getattr(loader, method)(0, step)


def test_a_loader_is_immutable_and_shows_what_it_holds() -> None:
    loader = DataLoader({"x": np.zeros((6, 2), np.float32), "t": np.arange(6)}, np.int64(4), key=fd.random.key(0))
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        loader.batch_size = 3  # type: ignore[misc]
    assert "'x': 'float32[6,2]'" in repr(loader)
    assert (loader.size, len(loader)) == (6, 2)
    with pytest.raises(TypeError):
        DataLoader(np.zeros(3), 2, fd.random.key(0))  # type: ignore[misc]


def test_a_data_set_that_fits_is_copied_to_the_gpu_once(strict_cupy: Any) -> None:
    dataset = {"x": np.arange(40.0).reshape(20, 2), "t": np.arange(20)}
    loader = DataLoader(dataset, 5, key=fd.random.key(0), device="gpu")
    expected = list(DataLoader(dataset, 5, key=fd.random.key(0)).epoch(0))
    assert_trees_equal(fd.to_numpy(list(loader.epoch(0))), expected)
    TRANSFERS.clear()
    batches = loader.epoch(1)
    assert TRANSFERS == ["upload"]  # of the order
    list(batches)
    loader.batch(1, 2)
    assert TRANSFERS == ["upload", "upload"]
    second = DataLoader(dataset, 5, key=fd.random.key(0), device="gpu:1")
    assert all(fd.device_of(batch) == "gpu:1" for batch in second.epoch(0))


def test_a_data_set_that_does_not_fit_stays_on_the_cpu(strict_cupy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = (np.arange(40.0).reshape(20, 2), np.arange(20))
    monkeypatch.setattr(strict_cupy.cuda.runtime, "memGetInfo", lambda: (2 * (320 + 160) - 1, 1 << 30))
    loader = DataLoader(dataset, 5, key=fd.random.key(0), device="gpu")
    TRANSFERS.clear()
    assert_trees_equal(fd.to_numpy(list(loader.epoch(0))), list(DataLoader(dataset, 5, key=fd.random.key(0)).epoch(0)))
    assert TRANSFERS.count("upload") == 8  # two arrays in each of four batches


def test_batches_are_placed_on_the_device(gpu: Any) -> None:
    dataset = (np.arange(10.0), np.arange(10))
    key = fd.random.key(0)
    here = list(DataLoader(dataset, 3, key=key).epoch(2))
    on_gpu = fd.to_device(dataset, "gpu")
    for loader in (
        DataLoader(dataset, 3, key=key, device="gpu"),
        DataLoader(on_gpu, 3, key=key),
        DataLoader(on_gpu, 3, key=fd.to_device(key, "gpu")),
        DataLoader(dataset, 3, key=fd.to_device(key, "gpu"), device="gpu"),
        fd.to_device(DataLoader(dataset, 3, key=key), "gpu"),
    ):
        batches = list(loader.epoch(2))
        assert {fd.device_of(batch) for batch in batches} == {"gpu:0"}
        assert_trees_equal(fd.to_numpy(batches), here)
        assert isinstance(loader.order(2), np.ndarray)
    back = list(DataLoader(on_gpu, 3, key=key, device="cpu").epoch(2))
    assert {fd.device_of(batch) for batch in back} == {"cpu"}
    assert_trees_equal(back, here)


def test_a_device_that_is_not_there_is_refused_at_once(strict_cupy: Any) -> None:
    for device in ("gpu:7", "cuda"):
        with pytest.raises(DeviceError, match=device):
            DataLoader(np.arange(3), 2, shuffle=False, device=device)
    with pytest.raises(DeviceError, match="1 .*is on gpu:0"):
        DataLoader((np.arange(3), strict_cupy.asarray([1, 2, 3])), 2, shuffle=False).epoch(0)


def test_tables_without_columns_are_refused() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(np.ones((2, 2)), columns=["a", "a"])
    with pytest.raises(StructureError, match="the data set has two columns of the name 'a'"):
        DataLoader(frame, 2, shuffle=False)
    with pytest.raises(StructureError, match="t has no columns"):
        DataLoader({"t": pandas.DataFrame(index=[1, 2])}, 2, shuffle=False)


def test_columns_of_text_and_missing_numbers_come_as_they_are() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"name": ["a", "b", None], "n": pandas.array([1, 2, None], "Int64"), "c": pandas.Categorical([3, 4, 3])})
    batch = DataLoader(frame, 3, shuffle=False).batch(0, 0)
    assert (batch["name"].tolist()[:2], batch["c"].tolist()) == (["a", "b"], [3, 4, 3])
    assert batch["n"].tolist()[:2] == [1, 2]


def test_labels_are_checked_with_their_paths() -> None:
    x, t = np.ones((5, 2)), np.array([0, 1, 2, 3, 1])
    for dataset, classes, message in (
        ((x, t), 3, "example 3 has the label 3 at 1, but classes are 0 to 2"),
        ({"x": x, "t": -t}, {"t": 4}, "example 1 has the label -1 at t, but"),
        (t, {"": 3}, "example 3 has the label 3, but"),
        ({"x": x, "t": np.stack([t, t], 1)}, {"t": 3}, "example 3 has the label 3 at t"),
    ):
        with pytest.raises(RangeError, match=message):
            DataLoader(dataset, 2, shuffle=False, classes=classes)  # type: ignore[arg-type]
    lazy = DataLoader(list(zip(x, t, strict=True)), 2, shuffle=False, classes=3)
    assert len(next(lazy.epoch(0))[1]) == 2
    with pytest.raises(RangeError, match="example 3 has the label 3 at 1"):
        list(lazy)
    with pytest.raises(StructureError, match="classes= names y, but a batch has t, x"):
        DataLoader({"x": x, "t": t}, 2, shuffle=False, classes={"y": 3})
    with pytest.raises(DTypeError, match=r"labels are whole numbers, got float64\[5\] at t"):
        DataLoader({"x": x, "t": t / 2}, 2, shuffle=False, classes={"t": 3})
    for wrong in (0, -1, 2.0, True):
        with pytest.raises(RangeError, match="number of classes"):
            DataLoader((x, t), 2, shuffle=False, classes=wrong)  # type: ignore[arg-type]
    assert len(DataLoader((x, t), 2, shuffle=False, classes=4)) == 3


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"transform": 3}, DTypeError, "transform is a function, got int 3"),
        ({"collate": "pad"}, DTypeError, "collate is a function"),
        ({"transform_example": lambda example, key: example}, KeyMissingError, "transform_example=<lambda> draws"),
        ({"key": 3}, KeyMissingError, r"int 3 is a seed. Pass fd.random.key\(3\)"),
        ({"shard": (2, 2)}, RangeError, "no rank 2 of 2"),
        ({"shard": (-1, 2)}, RangeError, "no rank -1 of 2"),
        ({"shard": 3}, DTypeError, r"\(rank, size\), got 3"),
        ({"shard": (0, 1, 2)}, DTypeError, "got \\(0, 1, 2\\)"),
        ({"drop_last": True}, RangeError, "4 examples do not fill a batch of 5, and drop_last=True"),
    ],
)
def test_options_are_checked_when_a_loader_is_made(options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        DataLoader(np.ones(4), 5, **{"shuffle": False, **options})


def test_columns_of_lists_of_different_lengths_hold_examples() -> None:
    dataset = {"ids": [[1, 2], [3], [4, 5, 6]], "t": [1, 0, 1]}
    with pytest.raises(ShapeError, match=r"examples 0 and 1 cannot be stacked: int64\[2\] and int64\[1\]. Pad them") as caught:
        DataLoader(dataset, 2, shuffle=False).batch(0, 0)
    assert caught.value.__notes__ == ["in the data set at ids"]
    batch = DataLoader(dataset, 2, shuffle=False, collate=fd.data.pad).batch(0, 0)
    assert (batch["ids"].tolist(), batch["t"].tolist()) == ([[1, 2], [3, 0]], [1, 0])


def test_examples_that_cannot_be_stacked_are_named() -> None:
    class Strange:
        pass

    for examples, error, message in (
        ([(np.ones(2), 1), (np.ones(3), 1)], ShapeError, r"examples 0 and 1 cannot be stacked at 0: float64\[2\] and float64\[3\].*collate="),
        ([([1, 2], 0), ([1, 2, 3], 0)], ShapeError, r"cannot be stacked at 0: int64\[2\] and int64\[3\]. Pad them with collate=fd.data.pad"),
        ([{"x": 1}, {"y": 1}], StructureError, "structures of example 0 and example 1 differ at 'x'"),
        ([(1, 2), (1,)], StructureError, "example 0 and example 1"),
        ([np.ones((2, 3)), np.ones(2)], ShapeError, r"write a tuple \(x, t\)"),
        ([(1, Strange()), (1, Strange())], DTypeError, "example 0 has Strange at 1.*transform_example="),
        ([([1, 2], 0), ([[1], [2, 3]], 0)], ValueError, "inhomogeneous"),
    ):
        with pytest.raises(error, match=message):
            next(iter(DataLoader(examples, 2, shuffle=False)))

    class Few(list[Any]):
        def __getitems__(self, indices: list[int]) -> list[Any]:
            return [0]

    with pytest.raises(ShapeError, match="Few.__getitems__ returned 1 examples, but 2 were asked for"):
        next(iter(DataLoader(Few([1, 2]), 2, shuffle=False)))


def test_a_loader_goes_through_pickle_and_stays_as_it_was() -> None:
    import pickle

    loader = DataLoader((np.arange(10), np.arange(10)), 3, key=fd.random.key(4), drop_last=True)
    again = pickle.loads(pickle.dumps(loader))
    assert_trees_equal(list(again.epoch(2)), list(loader.epoch(2)), bits=True)
    assert repr(again) == repr(loader) == "DataLoader(('int64[10]', 'int64[10]'), 3, key=uint64[2], drop_last=True)"
