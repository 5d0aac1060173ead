"""Data sets: their values, the cache, and folders of a user's own files."""

import errno
import functools
import gzip
import hashlib
import lzma
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fdezero as fd
from fdezero.data import mnist, spiral
from fdezero.data.sets.mnist import FILES
from fdezero.data.sets.packaged import PACKAGED
from fdezero.errors import (
    DTypeError,
    FileError,
    KeyMissingError,
)
from fdezero.io.cache import cache_folder
from fdezero.testing import assert_trees_equal

LABELS = "t10k-labels.idx1-ubyte"


@functools.cache
def images() -> bytes:
    """The images to test with, as the package has them."""
    return lzma.decompress((PACKAGED / "t10k-images.idx3-ubyte.xz").read_bytes())


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FDEZERO_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_mnist_training_images(cache: Path) -> None:
    x, t = mnist("train")
    assert (x.shape, x.dtype, t.shape, t.dtype) == ((60000, 784), np.float32, (60000,), np.int64)
    assert (x.min(), x.max(), list(t[:5]), np.bincount(t).min()) == (0.0, 1.0, [5, 0, 4, 1, 9], 5421)
    assert x.mean(dtype=float) == pytest.approx(0.1307, abs=5e-5)
    head = bytes([0, 0, 8, 3]) + np.array((*x.shape[:1], 28, 28), ">u4").tobytes()
    pixels = np.rint(x * 255).astype(np.uint8)
    assert hashlib.sha256(head + pixels.tobytes()).hexdigest() == FILES["train-images.idx3-ubyte"]
    assert (x[0] == pixels[0].astype(np.float32) / np.float32(255)).all()


def test_mnist_test_images(cache: Path) -> None:
    x, t = mnist("test", flatten=False, dtype=np.float64)
    assert (x.shape, x.dtype, len(t), list(t[:5])) == ((10000, 1, 28, 28), np.float64, 10000, [7, 2, 1, 0, 4])
    np.testing.assert_array_equal(x[:9].reshape(9, 784).astype(np.float32), mnist("test")[0][:9])
    x[0], t[0] = 1.0, 9  # the arrays are the caller's own
    assert mnist("test")[1][0] == 7


def test_mnist_refuses_other_splits_and_whole_numbers() -> None:
    with pytest.raises(ValueError, match="'train' or 'test', got 'valid'"):
        mnist("valid")
    with pytest.raises(DTypeError, match=r"fractions from 0 to 1, which int64 cannot hold.*dtype=np\.uint8"):
        mnist("test", dtype=np.int64)


def test_mnist_as_bytes() -> None:
    x, _ = mnist("test", dtype=np.uint8)
    assert (x.dtype, x.min(), x.max()) == (np.uint8, 0, 255)
    np.testing.assert_array_equal(x[:20] / np.float32(255), mnist("test")[0][:20])


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


@pytest.mark.parametrize("place", ["os.open", "os.replace"])
@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(errno.ENOSPC, "No space left on device")], ids=repr)
def test_a_cache_that_breaks_off_leaves_no_rubbish(
    cache: Path, monkeypatch: pytest.MonkeyPatch, place: str, error: BaseException
) -> None:
    def fail(path: Any, *args: Any) -> Any:
        if str(path).endswith(".tmp"):
            raise error
        return working(path, *args)

    working = getattr(os, place.removeprefix("os."))
    monkeypatch.setattr(place, fail)
    if isinstance(error, OSError):
        assert list(mnist("test")[1][:3]) == [7, 2, 1]
    else:
        with pytest.raises(KeyboardInterrupt):
            mnist("test")
    assert list(cache.iterdir()) == []


def test_files_are_decompressed_once(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = mnist("test")
    assert {name: hashlib.sha256((cache / name).read_bytes()).hexdigest() for name in os.listdir(cache)} == {
        name: digest for name, digest in FILES.items() if name.startswith("t10k")
    }

    def fail(*args: Any) -> None:
        raise AssertionError("decompressed again")

    monkeypatch.setattr(lzma, "decompress", fail)
    assert_trees_equal(mnist("test"), expected)


def test_several_processes_fill_one_cache(cache: Path) -> None:
    script = "import fdezero as fd; x, t = fd.data.mnist('test'); print(x.sum(dtype=float), t.sum())"
    runs = [subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    x, t = mnist("test")
    assert {run.communicate(timeout=100)[0] for run in runs} == {f"{x.sum(dtype=float)} {t.sum()}\n"}
    assert sorted(os.listdir(cache)) == [name for name in sorted(FILES) if name.startswith("t10k")]


def test_a_damaged_package_is_noticed(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FILES, LABELS, "0" * 64)
    with pytest.raises(FileError, match=rf"the packaged {LABELS}.xz is damaged: install fdezero again"):
        mnist("test")
    assert LABELS not in os.listdir(cache)


@pytest.mark.parametrize(
    ("platform", "environment", "expected"),
    [
        ("linux", {}, "HOME/.cache/fdezero"),
        ("linux", {"XDG_CACHE_HOME": ""}, "HOME/.cache/fdezero"),
        ("linux", {"XDG_CACHE_HOME": "/xdg"}, "/xdg/fdezero"),
        ("linux", {"XDG_CACHE_HOME": "/xdg", "FDEZERO_CACHE": "/own"}, "/own"),
        ("linux", {"FDEZERO_CACHE": "~/own"}, "HOME/own"),
        ("darwin", {"XDG_CACHE_HOME": "/xdg"}, "HOME/Library/Caches/fdezero"),
        ("win32", {"LOCALAPPDATA": "/local"}, "/local/fdezero"),
        ("win32", {}, "HOME/AppData/Local/fdezero"),
    ],
)
def test_the_cache_folder(
    monkeypatch: pytest.MonkeyPatch, platform: str, environment: dict[str, str], expected: str
) -> None:
    for name in ("FDEZERO_CACHE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    home = os.path.expanduser("~")
    monkeypatch.setattr(sys, "platform", platform)
    assert cache_folder() == Path(expected.replace("HOME", home))


IMAGES = np.arange(3 * 784, dtype=np.uint32).astype(np.uint8).reshape(3, 28, 28)


def write_idx(folder: Path, images: np.ndarray = IMAGES, count: int = 3) -> dict[str, bytes]:
    """Write uncompressed idx files of `images` and `count` labels into `folder`."""
    labels = np.arange(count, dtype=np.uint8)
    files = {}
    for array, name in ((images, "train-images.idx3-ubyte"), (labels, "train-labels.idx1-ubyte")):
        files[name] = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes() + array.tobytes()
        (folder / name).write_bytes(files[name])
    return files


@pytest.mark.parametrize("ending", ["", ".gz", ".xz"])
@pytest.mark.parametrize("hyphen", [True, False])
def test_data_dir_reads_every_spelling(tmp_path: Path, ending: str, hyphen: bool) -> None:
    files = write_idx(tmp_path)
    compress = {"": bytes, ".gz": gzip.compress, ".xz": lzma.compress}[ending]
    for name, data in files.items():
        (tmp_path / name).unlink()
        (tmp_path / ((name.replace(".", "-") if hyphen else name) + ending)).write_bytes(compress(data))
    x, t = mnist("train", flatten=False, data_dir=str(tmp_path))
    assert_trees_equal((x, t), ((IMAGES / 255).astype(np.float32)[:, None], np.arange(3)))


@pytest.mark.parametrize(
    ("images", "count", "said"),
    [
        (IMAGES, 2, r"train images \(3, 28, 28\) and labels \(2,\) are not \(n, 28, 28\) and \(n,\)"),
        (IMAGES[:, :14], 3, r"images \(3, 14, 28\)"),
        (IMAGES.reshape(3, 784), 3, r"images \(3, 784\)"),
    ],
)
def test_data_dir_checks_shapes(tmp_path: Path, images: np.ndarray, count: int, said: str) -> None:
    write_idx(tmp_path, images, count)
    with pytest.raises(FileError, match=said):
        mnist("train", data_dir=tmp_path)


@pytest.mark.parametrize("cut", [0, 5, -1])
@pytest.mark.parametrize("ending", [".gz", ".xz"])
def test_data_dir_names_a_damaged_archive(tmp_path: Path, ending: str, cut: int) -> None:
    files = write_idx(tmp_path)
    name = "train-labels.idx1-ubyte"
    (tmp_path / name).unlink()
    compressed = {".gz": gzip.compress, ".xz": lzma.compress}[ending](files[name])
    (tmp_path / (name + ending)).write_bytes(compressed[:cut])
    with pytest.raises(FileError, match=name):
        mnist("train", data_dir=tmp_path)


def test_data_dir_without_the_files(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(FileError, match=rf"no train-images\.idx3-ubyte in {folder}: not plain, not \.gz, not \.xz"):
            mnist("train", data_dir=folder)


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
    (tmp_path / "t10k-images.idx3-ubyte").write_bytes(images())
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


def test_the_spiral_has_the_arms_of_the_book() -> None:
    x, t = spiral(fd.random.key(1))
    assert (x.shape, list(np.bincount(t))) == ((300, 2), [100, 100, 100])
    radius = np.hypot(*x.astype(float).T)
    for arm in range(3):
        np.testing.assert_allclose(np.sort(radius[t == arm]), np.arange(100) / 100, atol=1e-6)
    far = radius > 0.05
    noise = np.arctan2(*x.T) - 4 * t - 4 * radius
    noise = (noise[far] + np.pi) % (2 * np.pi) - np.pi
    assert noise.std() == pytest.approx(0.2, abs=0.03)
    assert abs(noise.mean()) < 0.04
    assert (np.diff(t) != 0).sum() > 100  # in random order


def test_the_spiral_is_a_function_of_its_key_that_can_be_mapped() -> None:
    both = fd.random.split(fd.random.key(2))
    x, t = fd.vmap(spiral)(both)
    assert (x.shape, t.shape) == ((2, 300, 2), (2, 300))
    assert not np.array_equal(x[0], x[1])
    for i in range(2):
        assert_trees_equal((x[i], t[i]), spiral(both[i]))
    with pytest.raises(KeyMissingError):
        spiral(None)


def test_the_spiral_lies_on_the_device_of_its_key(gpu: Any) -> None:
    there = spiral(fd.to_device(fd.random.key(0), "gpu"))
    assert fd.device_of(there) == "gpu:0"
    x, t = fd.to_numpy(there)
    np.testing.assert_allclose(x, spiral(fd.random.key(0))[0], atol=1e-6)
    assert_trees_equal(t, spiral(fd.random.key(0))[1])
