"""Files in the original formats of data sets, written anew: idx, and the pickles of CIFAR as Python 2 wrote them."""

import gzip
import io
import pickle
import struct
import tarfile
from pathlib import Path
from typing import Any

import numpy as np

RNG = np.random.default_rng(5)


def idx(array: np.ndarray) -> bytes:
    """An idx file of bytes."""
    return bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes() + array.astype(np.uint8).tobytes()


def write_fashion(folder: Path, count: int = 20) -> dict[str, np.ndarray]:
    """The four files of Fashion-MNIST, with images of their own. Their arrays by name."""
    folder.mkdir(parents=True, exist_ok=True)
    arrays = {}
    for stem, n in (("train", count), ("t10k", count // 2)):
        for name, array in (("images-idx3", RNG.integers(0, 256, (n, 28, 28))), ("labels-idx1", np.arange(n) % 10)):
            arrays[f"{stem}-{name[:6]}"] = array
            (folder / f"{stem}-{name}-ubyte.gz").write_bytes(gzip.compress(idx(array), 1))
    return arrays


def _text(text: bytes) -> bytes:
    return b"U" + bytes([len(text)]) + text


def _number(n: int) -> bytes:
    return b"J" + struct.pack("<i", n)


def old_pickle(content: dict[str, Any]) -> bytes:
    """What cPickle of Python 2 wrote for a dict of arrays of uint8 and lists of numbers, by protocol 2."""
    parts = [b"\x80\x02}("]
    for key, value in content.items():
        parts.append(_text(key.encode()))
        if isinstance(value, np.ndarray):
            parts.append(b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n" + _number(0) + b"\x85" + _text(b"b") + b"tR")
            parts.append(b"(" + _number(1) + b"(" + b"".join(map(_number, value.shape)) + b"t")
            parts.append(b"cnumpy\ndtype\n(" + _text(b"u1") + _number(0) + _number(1) + b"tR")
            parts.append(b"(" + _number(3) + _text(b"|") + b"NNN" + _number(-1) + _number(-1) + _number(0) + b"tb")
            data = value.tobytes()
            parts.append(b"\x89T" + struct.pack("<i", len(data)) + data + b"tb")
        elif isinstance(value, list):
            parts.append(b"](" + b"".join(map(_number, value)) + b"e")
        else:
            parts.append(_text(str(value).encode()))
    return b"".join([*parts, b"u."])


def cifar_files(per_file: int = 20) -> dict[str, dict[str, Any]]:
    """The contents of the files of CIFAR-10 and CIFAR-100, with images of their own."""
    found: dict[str, dict[str, Any]] = {}
    for i, name in enumerate([*(f"data_batch_{k}" for k in range(1, 6)), "test_batch"]):
        images = RNG.integers(0, 256, (per_file, 3072)).astype(np.uint8)
        found[f"cifar-10-batches-py/{name}"] = {"batch_label": name, "labels": [(i + k) % 10 for k in range(per_file)], "data": images}
    for name in ("train", "test"):
        images = RNG.integers(0, 256, (5 * per_file, 3072)).astype(np.uint8)
        fine, coarse = [k % 100 for k in range(5 * per_file)], [k % 20 for k in range(5 * per_file)]
        found[f"cifar-100-python/{name}"] = {"fine_labels": fine, "coarse_labels": coarse, "data": images}
    return found


def write_archive(path: Path, files: dict[str, bytes]) -> None:
    """A .tar.gz of these files."""
    with tarfile.open(path, "w:gz", compresslevel=1) as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))


def write_cifar(folder: Path) -> dict[str, dict[str, Any]]:
    """Both archives of CIFAR. The contents of their files by name."""
    folder.mkdir(parents=True, exist_ok=True)
    contents = cifar_files()
    for start, name in (("cifar-10-", "cifar-10-python.tar.gz"), ("cifar-100-", "cifar-100-python.tar.gz")):
        write_archive(folder / name, {path: old_pickle(content) for path, content in contents.items() if path.startswith(start)})
    return contents


def new_pickle(content: dict[str, Any]) -> bytes:
    """The same content, as this Python and this NumPy write it."""
    return pickle.dumps({key.encode(): value for key, value in content.items()}, protocol=2)
