"""MNIST from the compressed files in this package, decompressed once into a cache folder."""

import contextlib
import hashlib
import lzma
import math
import os
import sys
import tempfile
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DTypeError, FileError

# SHA-256 of the uncompressed files
FILES = {
    "train-images.idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels.idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images.idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels.idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}


def mnist(
    split: str = "train", *, flatten: bool = True, dtype: Any = np.float32, data_dir: str | os.PathLike[str] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Images in [0, 1], (n, 784) or (n, 1, 28, 28) in `dtype`, and labels (n,) int64; n is 60,000 ("train") or 10,000 ("test").

    The files come with the package and are decompressed once into $FDEZERO_CACHE, else the user's cache folder; where
    that cannot be written, in memory. `data_dir` reads idx files (plain or .xz) from another folder instead.
    Raises FileError for a file that is missing or damaged, DTypeError for a dtype that has no fractions.
    Source: LeCun, Cortes, Burges, "The MNIST database of handwritten digits", 1998; licence CC BY-SA 3.0.
    """
    if split not in ("train", "test"):
        raise ValueError(f"mnist: the split is 'train' or 'test', got {split!r}.")
    if np.dtype(dtype).kind != "f":
        raise DTypeError(f"mnist: images are fractions from 0 to 1, which {np.dtype(dtype)} cannot hold: say dtype=np.float32.")
    stem = "train" if split == "train" else "t10k"
    folder = None if data_dir is None else Path(data_dir)
    images = _idx(f"{stem}-images.idx3-ubyte", folder)
    labels = _idx(f"{stem}-labels.idx1-ubyte", folder)
    if images.shape[1:] != (28, 28) or labels.shape != images.shape[:1]:
        raise FileError(f"{folder}: {stem} images {images.shape} and labels {labels.shape} are not (n, 28, 28) and (n,).")
    shape = (len(images), 784) if flatten else (len(images), 1, 28, 28)
    return images.reshape(shape).astype(dtype) / np.dtype(dtype).type(255), labels.astype(np.int64)


def _idx(name: str, folder: Path | None) -> np.ndarray:
    """The array in an idx file: big-endian magic 0x0800 + number of axes, the lengths of the axes, then bytes."""
    data = _packaged(name) if folder is None else _read_from(folder, name)
    ndim = data[3] if len(data) > 3 and data[:3] == b"\x00\x00\x08" else 0
    start = 4 + 4 * ndim
    shape = tuple(np.frombuffer(data[4:start], ">u4").tolist()) if ndim and len(data) >= start else ()
    if not shape or len(data) != start + math.prod(shape):
        raise FileError(f"{name} in {folder} is no idx file of bytes, or is cut short.")
    return np.frombuffer(data, np.uint8, offset=start).reshape(shape)


def _read_from(folder: Path, name: str) -> bytes:
    if (folder / name).is_file():
        return (folder / name).read_bytes()
    if (folder / f"{name}.xz").is_file():
        return _decompressed((folder / f"{name}.xz").read_bytes(), f"{name}.xz in {folder} is damaged")
    raise FileError(f"no {name} and no {name}.xz in {folder}.")


def _decompressed(data: bytes, damaged: str) -> bytes:
    try:
        return lzma.decompress(data)
    except lzma.LZMAError as error:
        raise FileError(f"{damaged}: {error}") from error


def _packaged(name: str) -> bytes:
    cached = cache_folder() / name
    with contextlib.suppress(OSError):
        data = cached.read_bytes()
        if hashlib.sha256(data).hexdigest() == FILES[name]:
            return data
    damaged = f"the packaged {name}.xz is damaged: install fdezero again"
    data = _decompressed((resources.files(__package__) / "files" / f"{name}.xz").read_bytes(), damaged)
    if hashlib.sha256(data).hexdigest() != FILES[name]:
        raise FileError(damaged)
    with contextlib.suppress(OSError):  # a read-only or full disk: memory serves as well
        _write(cached, data)
    return data


def cache_folder() -> Path:
    """Where decompressed files are kept: $FDEZERO_CACHE, or `fdezero` in the user's cache folder."""
    if chosen := os.environ.get("FDEZERO_CACHE"):
        return Path(os.path.expanduser(chosen))
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA", "~/AppData/Local")
    elif sys.platform == "darwin":
        base = "~/Library/Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(os.path.expanduser(base)) / "fdezero"  # unlike Path.expanduser, raises nothing for a user without a home


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
