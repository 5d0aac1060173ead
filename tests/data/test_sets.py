"""Data sets from outside, read from files in their original formats that the tests write; damaged and hostile ones are refused."""

import hashlib
import http.server
import importlib
import os
import pickle
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fdezero as fd
from fdezero.data import cifar10, cifar100, class_names, fashion_mnist, imagenet_labels, shakespeare, sine_curve
from fdezero.data.sets import cifar
from fdezero.data.sets.fetching import Remote
from fdezero.data.sets.shakespeare import Text
from fdezero.data.sets.unpickling import unpickled
from fdezero.errors import (
    DownloadError,
    DTypeError,
    FileError,
    KeyMissingError,
    MissingExtraError,
    RangeError,
    StructureError,
)

from .original_files import new_pickle, old_pickle, write_archive, write_cifar, write_fashion

fashion: Any = importlib.import_module("fdezero.data.sets.fashion_mnist")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("sets")
    write_cifar(place)
    write_fashion(place)
    return place


# Formats


def test_fashion_mnist_is_read_like_mnist(tmp_path: Path) -> None:
    arrays = write_fashion(tmp_path)
    x, t = fashion_mnist("train", data_dir=tmp_path)
    assert (x.shape, x.dtype, t.dtype) == ((20, 784), np.float32, np.int64)
    np.testing.assert_array_equal(x, (arrays["train-images"].reshape(20, 784) / np.float32(255)).astype(np.float32))
    np.testing.assert_array_equal(t, arrays["train-labels"])
    x, _ = fashion_mnist("test", flatten=False, dtype=np.uint8, data_dir=str(tmp_path))
    np.testing.assert_array_equal(x, arrays["t10k-images"][:, None])
    assert x.dtype == np.uint8


@pytest.mark.parametrize("form", ["archive", "folder", "inside", "new pickles"])
def test_cifar_is_read_in_each_of_its_forms(tmp_path: Path, form: str) -> None:
    contents = write_cifar(tmp_path)
    where = tmp_path
    if form != "archive":
        for path, content in contents.items():
            (tmp_path / path).parent.mkdir(exist_ok=True)
            (tmp_path / path).write_bytes((new_pickle if form == "new pickles" else old_pickle)(content))
        for archive in tmp_path.glob("*.gz"):
            archive.unlink()
    ten = tmp_path / "cifar-10-batches-py" if form == "inside" else where
    x, t = cifar10("train", data_dir=ten)
    files = [contents[f"cifar-10-batches-py/data_batch_{i}"] for i in range(1, 6)]
    assert (x.shape, x.dtype, t.dtype) == ((100, 3, 32, 32), np.float32, np.int64)
    np.testing.assert_array_equal(t, [label for file in files for label in file["labels"]])
    for i, file in enumerate(files):  # the channels of an image one after the other, each row by row
        np.testing.assert_array_equal(x[20 * i + 3, 1, 5, 7], np.float32(file["data"][3, 1024 + 5 * 32 + 7] / np.float32(255)))
    test = contents["cifar-10-batches-py/test_batch"]
    np.testing.assert_array_equal(cifar10("test", dtype=np.uint8, data_dir=ten)[0].reshape(20, -1), test["data"])
    hundred = tmp_path / "cifar-100-python" if form == "inside" else where
    for kind in ("fine", "coarse"):
        x, t = cifar100("train", kind, dtype="float64", data_dir=hundred)
        np.testing.assert_array_equal(t, contents["cifar-100-python/train"][f"{kind}_labels"])
        assert x.dtype == np.float64


def test_splits_labels_and_dtypes_are_checked(folder: Path) -> None:
    for load in (cifar10, cifar100, fashion_mnist):
        with pytest.raises(RangeError, match=rf"{load.__name__}: the split is 'train' or 'test', got 'valid'"):
            load("valid", data_dir=folder)
        with pytest.raises(DTypeError, match=rf"{load.__name__}: images are fractions.*dtype=np\.uint8"):
            load("test", dtype=np.int32, data_dir=folder)
    with pytest.raises(RangeError, match="'fine' or 'coarse', got 'all'"):
        cifar100("test", "all", data_dir=folder)


def test_a_folder_without_the_files_says_what_it_needs(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"no cifar-10-python\.tar\.gz and no folder cifar-10-batches-py with test_batch in .*kriz/cifar-10"):
        cifar10("test", data_dir=tmp_path)
    (tmp_path / "data_batch_1").write_bytes(old_pickle(_content()))  # one of five
    with pytest.raises(FileError, match=r"with data_batch_1, data_batch_2, data_batch_3, data_batch_4, data_batch_5 in"):
        cifar10("train", data_dir=tmp_path)
    with pytest.raises(FileError, match=r"no t10k-images\.idx3-ubyte in"):
        fashion_mnist("test", data_dir=tmp_path)


# Damaged and hostile files


def _content(**changes: Any) -> dict[str, Any]:
    return {"labels": [1, 2], "data": np.zeros((2, 3072), np.uint8)} | changes


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (old_pickle(_content())[:-40], "damaged"),
        (b"", "damaged"),
        (b"not a pickle", "damaged"),
        (pickle.dumps([1, 2]), "it holds list, not a dict"),
        (old_pickle(_content(data=np.zeros((2, 3000), np.uint8))), r"does not have images \(n, 3072\) under 'data'"),
        (old_pickle(_content(labels=[1])), "does not have 2 labels under 'labels'"),
        (old_pickle(_content(labels=[1, 10])), r"labels under 'labels' are not whole numbers from 0 to 9"),
        (new_pickle(_content(labels=[1, 2.0])), "not whole numbers"),
        (new_pickle(_content(data=np.zeros((2, 3072)))), "an array is not of uint8"),
        (new_pickle({"labels": [1, 2]}), "does not have images"),
    ],
)
def test_damaged_files_are_named(tmp_path: Path, data: bytes, said: str) -> None:
    (tmp_path / "test_batch").write_bytes(data)
    with pytest.raises(FileError, match=said) as caught:
        cifar10("test", data_dir=tmp_path)
    assert str(tmp_path / "test_batch") in str(caught.value)


class Hostile:
    """Runs what it likes when it is unpickled in the usual way."""

    def __init__(self, call: Any, *args: Any) -> None:
        self.call = (call, args)

    def __reduce__(self) -> Any:
        return self.call


RAN: list[str] = []


@pytest.mark.parametrize(
    "make",
    [
        lambda: pickle.dumps({b"labels": Hostile(os.system, "touch ran")}),
        lambda: pickle.dumps({b"labels": Hostile(eval, "RAN.append(1)")}, protocol=0),
        lambda: pickle.dumps({b"labels": Hostile(np.load, "x.npy")}),
        lambda: pickle.dumps({b"labels": Hostile(getattr, b"", "decode")}, protocol=2),
        lambda: b"\x80\x04\x8c\x05numpy\x8c\x0cndarray.dump\x93.",
        lambda: b"\x80\x02cnumpy\nndarray\n(" + b"I9999999999\n" * 3 + b"tR.",
        lambda: b"\x80\x02}U\x04dataK\x05s.",
        lambda: b"\x80\x02]r\xff\xff\xff\x7f.",  # a memo with room for 2 ** 31 objects
        lambda: b"\x80\x04\x8e" + (2**62).to_bytes(8, "little") + b"abc.",
        lambda: b"\x80\x05\x96" + (2**62).to_bytes(8, "little") + b"abc.",
        lambda: b"\x80\x05\x96" + (2**36).to_bytes(8, "little") + b"abc.",
        lambda: pickle.dumps({b"data": np.arange(6, dtype=np.uint8)}, protocol=5).replace(b"\x01C\x94", b"\x01K\x94"),
        lambda: b"\x80\x02\x82\x01.",  # an extension
        lambda: b"Psomething\n.",  # something outside
        lambda: old_pickle(_content()).replace(b"u1", b"O8"),
        lambda: old_pickle(_content()).replace(b"cnumpy\ndtype", b"cposix\nsystem"),
        lambda: (b"\x80\x02" + b"(" * 100_000 + b"t" * 100_000 + b"."),
    ],
)
def test_hostile_pickles_run_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Any) -> None:
    monkeypatch.chdir(tmp_path)
    RAN.clear()
    (tmp_path / "test_batch").write_bytes(make())
    with pytest.raises(FileError, match="test_batch"):
        cifar10("test", data_dir=tmp_path)
    assert os.listdir(tmp_path) == ["test_batch"]
    assert not RAN


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_arrays_keep_their_entries_in_both_orders(protocol: int) -> None:
    x = np.arange(6, dtype=np.uint8).reshape(2, 3)
    for kept in (x, np.asfortranarray(x), x[:, ::2]):
        np.testing.assert_array_equal(unpickled(pickle.dumps({b"data": kept}, protocol), "x")["data"], kept)


def test_archives_that_are_damaged_or_write_elsewhere(tmp_path: Path) -> None:
    path = tmp_path / "cifar-10-python.tar.gz"
    good = old_pickle(_content())
    write_archive(path, {"../../escaped/test_batch": good, "/absolute": b"x"})
    assert len(cifar10("test", data_dir=tmp_path)[0]) == 2  # read in memory: its path does not matter
    assert os.listdir(tmp_path) == [path.name]
    for data in (b"", b"no archive", path.read_bytes()[:60]):
        path.write_bytes(data)
        with pytest.raises(FileError, match="cifar-10-python.tar.gz"):
            cifar10("test", data_dir=tmp_path)
    write_archive(path, {"cifar-10-batches-py/other": good})
    with pytest.raises(FileError, match=r"tar\.gz does not have test_batch"):
        cifar10("test", data_dir=tmp_path)


def test_a_file_far_too_large_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cifar, "MOST", 1000)
    write_archive(tmp_path / "cifar-10-python.tar.gz", {"test_batch": old_pickle(_content())})
    with pytest.raises(FileError, match=r"test_batch has \d+ bytes, more than the file of the set"):
        cifar10("test", data_dir=tmp_path)


# Downloads


class Handler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def site(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A server with the files of the tests, and a cache folder of its own."""
    pytest.importorskip("pooch")
    monkeypatch.setenv("FDEZERO_CACHE", str(tmp_path / "cache"))
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), lambda *args: Handler(*args, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    thread.join()
    server.server_close()


def remote(file: Remote, site: str, folder: Path) -> Remote:
    return Remote(file.name, site, hashlib.sha256((folder / file.name).read_bytes()).hexdigest())


def test_files_come_once_into_the_cache_folder(site: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cifar, "CIFAR10", remote(cifar.CIFAR10, site, folder))
    monkeypatch.setattr(fashion, "FILES", {name: remote(file, site, folder) for name, file in fashion.FILES.items()})
    for _ in range(2):
        np.testing.assert_array_equal(cifar10("test")[0], cifar10("test", data_dir=folder)[0])
        np.testing.assert_array_equal(fashion_mnist("test")[1], fashion_mnist("test", data_dir=folder)[1])
    assert os.listdir(tmp_path / "cache" / "cifar10") == ["cifar-10-python.tar.gz"]
    assert sorted(os.listdir(tmp_path / "cache" / "fashion_mnist")) == ["t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"]
    monkeypatch.setitem(sys.modules, "pooch", None)  # what is there needs no package
    assert len(cifar10("test")[1]) == 20
    with pytest.raises(MissingExtraError, match=r"pip install 'fdezero\[data\]'. Or put http://.*train-images-idx3-ubyte\.gz at .*cache"):
        fashion_mnist("train")


def test_another_file_at_the_address_is_refused(site: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cifar, "CIFAR100", cifar.CIFAR100._replace(site=site))  # with the checksum of the real archive
    with pytest.raises(FileError, match=r"cifar-100-python\.tar\.gz is not the file that it was"):
        cifar100("test")


def test_without_a_network_the_files_and_their_place_are_named(site: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {name: file._replace(site=f"{site}missing/") for name, file in fashion.FILES.items()}
    monkeypatch.setattr(fashion, "FILES", files)
    with pytest.raises(DownloadError) as caught:
        fashion_mnist("test")
    for word in (*(file.name for file in files.values()), str(tmp_path / "cache" / "fashion_mnist"), "data_dir=folder", "FDEZERO_CACHE"):
        assert word in str(caught.value)


def test_checksums_have_their_form() -> None:
    for file in (cifar.CIFAR10, cifar.CIFAR100, *fashion.FILES.values()):
        assert file.sha256 is not None
        assert len(bytes.fromhex(file.sha256)) == 32


# Names


def test_names_of_classes() -> None:
    assert class_names("cifar10")[5] == "dog"
    assert class_names("fashion_mnist")[8] == "Bag"
    assert class_names("mnist") == tuple("0123456789")
    for labels, count in (("fine", 100), ("coarse", 20)):
        names = class_names("cifar100", labels)
        assert len(set(names)) == count
        assert sorted(names) == list(names)  # the authors numbered them in this order
    with pytest.raises(RangeError, match="'cifar100' with 'coarse'; got 'svhn' with 'fine'"):
        class_names("svhn")


def test_names_of_imagenet(tmp_path: Path) -> None:
    path = tmp_path / "labels.txt"
    path.write_text(repr({i: f"class {i}" for i in range(1000)}))
    assert imagenet_labels(path)[999] == "class 999"
    assert fd.models.imagenet.labels(path) == imagenet_labels(path)


# Sequences


def test_the_sine_curve_is_that_of_the_book() -> None:
    x, t = sine_curve(fd.random.key(0), dtype="float64")
    angle = np.linspace(0, 2 * np.pi, 1000)
    assert (x.shape, t.shape) == ((999, 1), (999, 1))
    np.testing.assert_array_equal(x[1:], t[:-1])
    noise = x[:, 0] - np.sin(angle)[:-1]
    assert 0.045 < np.abs(noise).max() <= 0.05
    assert abs(noise.mean()) < 0.005
    x, t = sine_curve(None, "test", points=5, dtype="float64")
    np.testing.assert_allclose(np.append(x[:, 0], t[-1]), np.cos(np.linspace(0, 2 * np.pi, 5)), atol=1e-15)
    assert fd.vmap(sine_curve)(fd.random.split(fd.random.key(1)))[0].shape == (2, 999, 1)


def test_the_sine_curve_checks_its_arguments(gpu: Any) -> None:
    with pytest.raises(KeyMissingError, match="sine_curve"):
        sine_curve(None)
    with pytest.raises(RangeError, match="at least 2, got int 1"):
        sine_curve(None, "test", points=1)
    with pytest.raises(RangeError, match="'train' or 'test', got True"):
        sine_curve(fd.random.key(0), True)
    there = sine_curve(fd.to_device(fd.random.key(0), "gpu"))
    assert fd.device_of(there) == "gpu:0"
    np.testing.assert_allclose(fd.to_numpy(there[0]), sine_curve(fd.random.key(0))[0], atol=1e-6)


def test_shakespeare() -> None:
    text = shakespeare()
    assert (len(text), len(text.vocabulary)) == (1_246_482, 76)
    assert hashlib.sha256(text.text.encode()).hexdigest() == "3c9ee57a13796cfb7eadf4f17ed5f1fa85c076a92756bed36fd7c7474337d6d2"
    assert text.text.startswith("HAMLET, PRINCE OF DENMARK")
    assert text.decode(text.ids[-200:]) == text.text[-200:]
    assert len(repr(text)) < 200


def test_a_text_numbers_its_characters() -> None:
    text = Text.of("züüß\U0001f600a")
    assert text.vocabulary == ("a", "z", "ß", "ü", "\U0001f600")
    np.testing.assert_array_equal(text.ids, [1, 3, 3, 2, 4, 0])
    assert (text.ids.dtype, text.ids.flags.writeable) == (np.int64, False)
    assert text.decode(text.encode("az\U0001f600")) == "az\U0001f600"
    assert text.decode(np.array([[0, 1]])) == "az"
    assert (text.decode([]), text.encode("").shape) == ("", (0,))
    assert pickle.loads(pickle.dumps(text)) == text == Text(text.text, text.vocabulary)
    for other in ("b", "\U0001f601", "\u4e00"):
        with pytest.raises(RangeError, match=rf"does not have '{other}', character 1 of the text"):
            text.encode("a" + other)
    for ids, said in (([5], "there is no character 5: the vocabulary has 0 to 4"), ([-1], "no character -1")):
        with pytest.raises(RangeError, match=said):
            text.decode(ids)
    with pytest.raises(DTypeError, match=r"decode takes integers, got float64\[1\]"):
        text.decode([1.0])
    with pytest.raises(StructureError, match="twice"):
        Text("a", ("a", "a"))
    with pytest.raises(StructureError, match="single characters"):
        Text("a", ("ab",))
    with pytest.raises(DTypeError, match="takes a str, got bytes"):
        Text.of(b"abc")  # type: ignore[arg-type]
