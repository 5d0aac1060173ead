"""The idx format of MNIST and of the sets that took its place: arrays of bytes, plain or compressed."""

import importlib
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import FileError
from .fetching import as_images, check_split, image_dtype

__all__: list[str] = []

DECOMPRESSORS = {"": None, ".gz": "gzip", ".xz": "lzma"}  # imported when needed: a Python may lack them
SIDE = 28


def pair_of(
    of: str, split: str, flatten: bool, dtype: Any, folder: Path | None, read: Callable[[str], bytes]
) -> tuple[np.ndarray, np.ndarray]:
    """Images and labels of a split. The files come from `folder`, or by `read(name)` if that is None."""
    check_split(of, split)
    dtype = image_dtype(of, dtype)
    stem = "train" if split == "train" else "t10k"
    images, labels = (
        array_of(f"{stem}-{name}-ubyte", folder, read if folder is None else lambda name: from_folder(folder, name))
        for name in ("images.idx3", "labels.idx1")
    )
    if images.shape[1:] != (SIDE, SIDE) or labels.shape != images.shape[:1]:
        raise FileError(
            f"{folder}: {stem} images {images.shape} and labels {labels.shape} are not (n, 28, 28) and (n,)."
        )
    shape = (len(images), SIDE * SIDE) if flatten else (len(images), 1, SIDE, SIDE)
    return as_images(images, shape, dtype), labels.astype(np.int64)


def array_of(name: str, folder: Path | None, read: Callable[[str], bytes]) -> np.ndarray:
    """The array in an idx file: big-endian magic 0x0800 + number of axes, the lengths of the axes, then bytes."""
    data = read(name)
    ndim = data[3] if len(data) > 3 and data[:3] == b"\x00\x00\x08" else 0
    start = 4 + 4 * ndim
    shape = tuple(np.frombuffer(data[4:start], ">u4").tolist()) if ndim and len(data) >= start else ()
    if not shape or len(data) != start + math.prod(shape):
        raise FileError(f"{name} in {folder} is not an idx file of bytes, or is cut short.")
    return np.frombuffer(data, np.uint8, offset=start).reshape(shape)


def from_folder(folder: Path, name: str) -> bytes:
    """The bytes of an idx file in a folder, in any of its spellings."""
    for spelling in (name, name.replace(".idx", "-idx")):  # both are in use
        for ending in DECOMPRESSORS:
            path = folder / (spelling + ending)
            if path.is_file():
                return decompressed(path.read_bytes(), ending, f"{path} is damaged")
    raise FileError(f"no {name} in {folder}: not plain, not .gz, not .xz.")


def decompressed(data: bytes, ending: str, damaged: str) -> bytes:
    """The plain bytes. Raises FileError, which begins with the words `damaged`."""
    if not (module := DECOMPRESSORS[ending]):
        return data
    decompress = importlib.import_module(module).decompress
    try:
        plain: bytes = decompress(data)
    except Exception as error:  # OSError, EOFError, zlib.error or LZMAError: all mean one thing
        raise FileError(f"{damaged}: {error}") from error
    return plain
