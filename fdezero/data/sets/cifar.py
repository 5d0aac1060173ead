"""CIFAR-10 and CIFAR-100: small photographs, from the archives of their authors."""

import importlib
import os
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import FileError, RangeError
from ...messages import told
from .fetching import Remote, as_images, check_split, fetched, how_to_choose, image_dtype
from .unpickling import unpickled

__all__ = ["cifar10", "cifar100"]

SITE = "https://www.cs.toronto.edu/~kriz/"
# Keras and torchvision state these checksums.
CIFAR10 = Remote("cifar-10-python.tar.gz", SITE, "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce")
CIFAR100 = Remote("cifar-100-python.tar.gz", SITE, "85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7")
FOLDERS = {CIFAR10.name: "cifar-10-batches-py", CIFAR100.name: "cifar-100-python"}
PIXELS = 3 * 32 * 32
MOST = 1 << 28  # bytes of a file in an archive: the largest has 155 MB


@told(how_to_choose)
def cifar10(
    split: str, *, dtype: Any = np.float32, data_dir: str | os.PathLike[str] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Images (n, 3, 32, 32) in [0, 1] in `dtype`, and labels (n,) int64 from 0 to 9; n is 50,000 or 10,000.

    With `dtype=np.uint8` the images are bytes from 0 to 255: a quarter of the memory, and what transforms take as well. The
    archive (170 MB) is downloaded once into the cache folder, which needs the extra `data`; with `data_dir`, the archive or its
    folder cifar-10-batches-py is read from there. Nothing in the archive is run. `class_names("cifar10")` has the ten names.

    Raises RangeError for another split, DTypeError for a dtype that has no fractions, FileError for a damaged file,
    DownloadError (an OSError) without a network, with the name of the archive and its place.
    Source: Krizhevsky, "Learning multiple layers of features from tiny images", 2009.
    """
    check_split("cifar10", split)
    names = [f"data_batch_{i}" for i in range(1, 6)] if split == "train" else ["test_batch"]
    return _pair("cifar10", CIFAR10, names, "labels", 10, dtype, data_dir)


@told(how_to_choose)
def cifar100(
    split: str, labels: str = "fine", *, dtype: Any = np.float32, data_dir: str | os.PathLike[str] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Images as those of `cifar10`, and labels (n,) int64: "fine" from 0 to 99, or "coarse" from 0 to 19.

    The archive has 169 MB, and its folder is cifar-100-python. `class_names("cifar100")` and `class_names("cifar100", "coarse")`
    have the names. Errors are those of `cifar10`, and RangeError for other labels.
    """
    check_split("cifar100", split)
    if labels not in ("fine", "coarse"):
        raise RangeError(f"cifar100: the labels are 'fine' or 'coarse', got {labels!r}.")
    return _pair("cifar100", CIFAR100, [split], f"{labels}_labels", 100 if labels == "fine" else 20, dtype, data_dir)


def _pair(
    of: str,
    archive: Remote,
    names: list[str],
    key: str,
    classes: int,
    dtype: Any,
    data_dir: str | os.PathLike[str] | None,
) -> tuple[np.ndarray, np.ndarray]:
    dtype = image_dtype(of, dtype)
    parts = [_part(where, data, key, classes) for where, data in _files(of, archive, names, data_dir)]
    images = np.concatenate([images for images, _ in parts]) if len(parts) > 1 else parts[0][0]
    return as_images(images, (-1, 3, 32, 32), dtype), np.concatenate([labels for _, labels in parts])


def _files(
    of: str, archive: Remote, names: list[str], data_dir: str | os.PathLike[str] | None
) -> list[tuple[str, bytes]]:
    """The files of these names, with the words for each of them in errors."""
    if data_dir is None:
        return _members(fetched(of, archive), names)
    folder = Path(data_dir)
    for place in (folder / FOLDERS[archive.name], folder):
        if all((place / name).is_file() for name in names):
            return [(os.fspath(place / name), (place / name).read_bytes()) for name in names]
    for place in (folder, folder.parent) if folder.name == FOLDERS[archive.name] else (folder,):
        if (place / archive.name).is_file():
            return _members(place / archive.name, names)
    raise FileError(
        f"{of}: no {archive.name} and no folder {FOLDERS[archive.name]} with {', '.join(names)} in {folder}. "
        f"The archive comes from {archive.site}{archive.name}."
    )


def _members(path: Path, names: list[str]) -> list[tuple[str, bytes]]:
    """The files of these names in an archive, read in memory: nothing is written, whatever paths the archive names."""
    found: dict[str, bytes] = {}
    tarfile: Any = importlib.import_module("tarfile")  # which loads all compressions
    try:
        with tarfile.open(path, "r:gz") as archive:
            for member in archive:
                name = member.name.rpartition("/")[2]
                if name in names and member.isfile() and name not in found:
                    if member.size > MOST or (file := archive.extractfile(member)) is None:
                        raise FileError(
                            f"{path}: {member.name} has {member.size} bytes, more than the file of the set."
                        )
                    found[name] = file.read()
                if len(found) == len(names):
                    break
    except FileError:
        raise
    except Exception as error:  # TarError, OSError, EOFError or zlib.error: all mean one thing
        raise FileError(f"{path} is damaged: {error}.") from error
    if missing := [name for name in names if name not in found]:
        raise FileError(f"{path} does not have {', '.join(missing)}.")
    return [(f"{name} in {path}", found[name]) for name in names]


def _part(where: str, data: bytes, key: str, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Images (n, 3072) uint8 and labels (n,) int64 of one file."""
    content = unpickled(data, where)
    images, labels = content.get("data"), content.get(key)
    if not isinstance(images, np.ndarray) or images.ndim != 2 or images.shape[1] != PIXELS:
        raise FileError(f"{where} does not have images (n, {PIXELS}) under 'data'.")
    if not isinstance(labels, list) or len(labels) != len(images):
        raise FileError(f"{where} does not have {len(images)} labels under {key!r}.")
    if not all(type(label) is int and 0 <= label < classes for label in labels):
        raise FileError(f"{where}: labels under {key!r} are not whole numbers from 0 to {classes - 1}.")
    return images, np.array(labels, np.int64)
