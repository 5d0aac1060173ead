"""What data sets from outside share: their files in the cache folder or in a folder of the user, and images as fractions or bytes."""

import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ...errors import DTypeError, RangeError
from ...io.cache import cache_folder
from ...io.download import downloaded

__all__: list[str] = []


class Remote(NamedTuple):
    """A file by its name, the address of its folder, and its SHA-256, which several public projects state."""

    name: str
    site: str
    sha256: str | None = None


def how_to_choose(*_: Any, **__: Any) -> str:
    """What to write in place of a call of a data set that does not fit, such as `mnist(train=True)`."""
    return "The split comes first: mnist('train') or mnist('test'). Options go by name."


def fetched(of: str, file: Remote, others: tuple[str, ...] = ()) -> Path:
    """The file of the data set `of` in the cache folder, downloaded once.

    Raises DownloadError or MissingExtraError that says which files to put where.
    """
    folder = cache_folder() / of
    needed = ", ".join((file.name, *others))
    instead = (
        f"If not, put {needed} into {os.fspath(folder)}, or into a folder of yours: {of}(..., data_dir=folder). "
        "$FDEZERO_CACHE chooses another cache folder."
    )
    return downloaded(file.site + file.name, f"{of}/{file.name}", sha256=file.sha256, extra="data", instead=instead)


def check_split(of: str, split: str) -> None:
    """Raise RangeError unless the split is "train" or "test"."""
    if split not in ("train", "test"):
        raise RangeError(f"{of}: the split is 'train' or 'test', got {split!r}.")


def image_dtype(of: str, dtype: Any) -> np.dtype[Any]:
    """The dtype of images. Raises DTypeError unless it is floating, or uint8."""
    dtype = np.dtype(dtype)
    if dtype.kind != "f" and dtype != np.uint8:
        raise DTypeError(
            f"{of}: images are fractions from 0 to 1, which {dtype} cannot hold: write dtype=np.float32. "
            "Or take the bytes from 0 to 255 themselves: dtype=np.uint8."
        )
    return dtype


def as_images(data: np.ndarray, shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray:
    """Bytes as images of this shape: fractions from 0 to 1, or uint8, in memory of their own."""
    images = data.reshape(shape)
    return images.copy() if dtype == np.uint8 else np.divide(images, 255, dtype=dtype)
