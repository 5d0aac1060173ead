"""Data sets and batches: values, caches, orders, and runs resumed in the middle of an epoch."""

import lzma
import shutil
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fdezero as fd
from fdezero.data import DataLoader, mnist, spiral
from fdezero.errors import DTypeError, FileError, KeyMissingError, ShapeError, StructureError
from fdezero.testing import assert_trees_equal, keys

PACKAGED = Path(str(resources.files("fdezero.data"))) / "files"
LABELS = "t10k-labels.idx1-ubyte"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FDEZERO_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_mnist_training_images(cache: Path) -> None:
    x, t = mnist("train")
    assert (x.shape, x.dtype, t.shape, t.dtype) == ((60000, 784), np.float32, (60000,), np.int64)
    assert (x.min(), x.max(), list(t[:5]), np.bincount(t).min()) == (0.0, 1.0, [5, 0, 4, 1, 9], 5421)
    assert x.mean(dtype=float) == pytest.approx(0.1307, abs=5e-5)


def test_mnist_test_images(cache: Path) -> None:
    x, t = mnist("test", flatten=False, dtype=np.float64)
    assert (x.shape, x.dtype, len(t), list(t[:5])) == ((10000, 1, 28, 28), np.float64, 10000, [7, 2, 1, 0, 4])
    np.testing.assert_array_equal(x[:9].reshape(9, 784).astype(np.float32), mnist("test")[0][:9])
    x[0], t[0] = 1.0, 9  # the arrays are the caller's own
    assert mnist("test")[1][0] == 7


def test_mnist_refuses_other_splits_and_whole_numbers() -> None:
    with pytest.raises(ValueError, match="'train' or 'test', got 'valid'"):
        mnist("valid")
    with pytest.raises(DTypeError, match="uint8"):
        mnist("test", dtype=np.uint8)


def test_a_damaged_cache_is_written_anew(cache: Path) -> None:
    expected = mnist("test")
    whole = (cache / LABELS).read_bytes()
    for damaged in (whole[:100], b"", whole[:-1] + b"\xff"):
        (cache / LABELS).write_bytes(damaged)
        assert_trees_equal(mnist("test"), expected)
        assert (cache / LABELS).read_bytes() == whole
    assert {path.name for path in cache.iterdir()} == {LABELS, "t10k-images.idx3-ubyte"}


def test_a_cache_that_cannot_be_written_is_done_without(cache: Path) -> None:
    cache.write_text("a file where the folder should be")
    assert list(mnist("test")[1][:3]) == [7, 2, 1]
    assert cache.is_file()


def test_an_interrupted_cache_leaves_no_rubbish(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*args: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("os.replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        mnist("test")
    assert list(cache.iterdir()) == []


def test_data_dir_reads_plain_and_compressed_files(tmp_path: Path, cache: Path) -> None:
    shutil.copy(PACKAGED / "t10k-images.idx3-ubyte.xz", tmp_path)
    (tmp_path / LABELS).write_bytes(lzma.decompress((PACKAGED / f"{LABELS}.xz").read_bytes()))
    assert_trees_equal(mnist("test", data_dir=tmp_path), mnist("test"))


@pytest.mark.parametrize(
    "damaged",
    [
        b"",
        b"\0\0",
        b"\0\0\x08\x01\0\0",  # cut short in the header
        b"\0\0\x08\x01\0\0\0\x05abc",  # cut short in the labels
        b"\0\0\x0d\x01\0\0\0\0",  # of floats
        b"\0\0\x08\x01\0\0\0\0",  # no labels
    ],
)
def test_data_dir_names_the_damaged_file(tmp_path: Path, damaged: bytes) -> None:
    shutil.copy(PACKAGED / "t10k-images.idx3-ubyte.xz", tmp_path)
    with pytest.raises(FileError, match=LABELS):
        mnist("test", data_dir=tmp_path)
    (tmp_path / LABELS).write_bytes(damaged)
    with pytest.raises(FileError, match=r"t10k.*labels"):
        mnist("test", data_dir=tmp_path)
    (tmp_path / LABELS).unlink()
    (tmp_path / f"{LABELS}.xz").write_bytes((PACKAGED / f"{LABELS}.xz").read_bytes()[:1000] * bool(damaged) + damaged)
    with pytest.raises(FileError, match=r"t10k.*labels"):
        mnist("test", data_dir=tmp_path)


def test_spiral() -> None:
    x, t = spiral(fd.random.key(0), points=50, classes=4)
    assert (x.shape, x.dtype, t.dtype) == ((200, 2), np.float32, np.int64)
    np.testing.assert_array_equal(np.bincount(t), [50] * 4)
    assert np.linalg.norm(x, axis=1).max() == pytest.approx(0.98, abs=1e-6)
    assert_trees_equal(spiral(fd.random.key(0), 50, 4), (x, t))


@given(
    key=keys(), size=st.integers(0, 40), batch_size=st.integers(1, 50), drop_last=st.booleans(), shuffle=st.booleans()
)
def test_an_epoch_has_every_example_once(key: Any, size: int, batch_size: int, drop_last: bool, shuffle: bool) -> None:
    dataset = {"x": np.arange(size) * 10, "t": [np.arange(size)]}
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
        ([1, 2, 3], StructureError, "0 is int 1"),
        ({}, StructureError, "holds no array"),
    ],
)
def test_what_is_no_data_set(dataset: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        DataLoader(dataset, 2, shuffle=False)


@pytest.mark.parametrize("batch_size", [0, -1, 2.0, "2"])
def test_what_is_no_batch_size(batch_size: Any) -> None:
    with pytest.raises((ValueError, TypeError), match="batch size"):
        DataLoader(np.ones(3), batch_size, shuffle=False)


def test_shuffling_needs_a_key() -> None:
    with pytest.raises(KeyMissingError, match="key="):
        DataLoader(np.ones(3), 2)


@pytest.mark.parametrize(("method", "step"), [("epoch", -1), ("epoch", 3), ("batch", -1), ("batch", 2)])
def test_steps_outside_the_epoch_are_refused(method: str, step: int) -> None:
    loader = DataLoader(np.ones(4), 2, shuffle=False)
    with pytest.raises((ValueError, IndexError), match=f"step {step}"):
        getattr(loader, method)(0, step)
