"""MNIST from the compressed files in this package, decompressed once into a cache folder."""

import importlib
import math
import os
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import DTypeError, FileError, RangeError
from ...io.cache import cached

__all__ = ["mnist"]

PACKAGED = Path(__file__).parents[1] / "files"
# SHA-256 checksums of the uncompressed files
FILES = {
    "train-images.idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels.idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images.idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels.idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
DECOMPRESSORS = {"": None, ".gz": "gzip", ".xz": "lzma"}  # imported when needed: a Python may lack them


def mnist(
    split: str, *, flatten: bool = True, dtype: Any = np.float32, data_dir: str | os.PathLike[str] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Images (n, 784) in [0, 1], or (n, 1, 28, 28) with `flatten=False`, in `dtype`, and labels (n,) int64.

    n is 60,000 for the split "train", 10,000 for "test". The files come with the package. They are decompressed once, into
    $FDEZERO_CACHE or the user's cache folder; if that folder cannot be written, they are decompressed in memory. With `data_dir`,
    idx files of the same names are read from there: plain, .gz or .xz, with any number of images of 28 x 28.

    Raises RangeError for another split, DTypeError for a dtype that has no fractions, FileError for a file that is
    missing or damaged.
    Source: LeCun, Cortes, Burges, "The MNIST database of handwritten digits", 1998; licence CC BY-SA 3.0.
    """
    if split not in ("train", "test"):
        raise RangeError(f"mnist: the split is 'train' or 'test', got {split!r}.")
    dtype = np.dtype(dtype)
    if dtype.kind != "f":
        raise DTypeError(f"mnist: images are fractions from 0 to 1, which {dtype} cannot hold: write dtype=np.float32.")
    stem = "train" if split == "train" else "t10k"
    folder = None if data_dir is None else Path(data_dir)
    images, labels = (_idx(f"{stem}-{name}-ubyte", folder) for name in ("images.idx3", "labels.idx1"))
    if images.shape[1:] != (28, 28) or labels.shape != images.shape[:1]:
        raise FileError(
            f"{folder}: {stem} images {images.shape} and labels {labels.shape} are not (n, 28, 28) and (n,)."
        )
    shape = (len(images), 784) if flatten else (len(images), 1, 28, 28)
    return np.divide(images.reshape(shape), 255, dtype=dtype), labels.astype(np.int64)


def _idx(name: str, folder: Path | None) -> np.ndarray:
    """The array in an idx file: big-endian magic 0x0800 + number of axes, the lengths of the axes, then bytes."""
    data = _packaged(name) if folder is None else _from_folder(folder, name)
    ndim = data[3] if len(data) > 3 and data[:3] == b"\x00\x00\x08" else 0
    start = 4 + 4 * ndim
    shape = tuple(np.frombuffer(data[4:start], ">u4").tolist()) if ndim and len(data) >= start else ()
    if not shape or len(data) != start + math.prod(shape):
        raise FileError(f"{name} in {folder} is not an idx file of bytes, or is cut short.")
    return np.frombuffer(data, np.uint8, offset=start).reshape(shape)


def _from_folder(folder: Path, name: str) -> bytes:
    for spelling in (name, name.replace(".idx", "-idx")):  # both are in use
        for ending in DECOMPRESSORS:
            path = folder / (spelling + ending)
            if path.is_file():
                return _decompressed(path.read_bytes(), ending, f"{path} is damaged")
    raise FileError(f"no {name} in {folder}: not plain, not .gz, not .xz.")


def _decompressed(data: bytes, ending: str, damaged: str) -> bytes:
    if not (module := DECOMPRESSORS[ending]):
        return data
    decompress = importlib.import_module(module).decompress
    try:
        plain: bytes = decompress(data)
    except Exception as error:  # OSError, EOFError, zlib.error or LZMAError: all mean one thing
        raise FileError(f"{damaged}: {error}") from error
    return plain


def _packaged(name: str) -> bytes:
    damaged = f"the packaged {name}.xz is damaged: install fdezero again"
    compressed = PACKAGED / f"{name}.xz"
    return cached(name, FILES[name], lambda: _decompressed(compressed.read_bytes(), ".xz", damaged), damaged=damaged)
