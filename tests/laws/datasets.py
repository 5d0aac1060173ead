"""The table of data sets: the call for each one, and its expected contents. A data set needs one row or more."""

import atexit
import functools
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import fdezero as fd
from fdezero import data

from ..data.original_files import write_cifar, write_fashion


class Row(NamedTuple):
    """A data set by its name in `data`, a word for its variant, the call, shape and dtype of the inputs, and the number of classes."""

    name: str
    variant: str
    load: Callable[[], Any]
    shape: tuple[int, ...]
    dtype: Any
    classes: int | None  # None: the targets are like the inputs

    def __str__(self) -> str:
        return f"{self.name} {self.variant}".strip()


@functools.cache
def _folder() -> Path:
    """The files of sets that are not in the package, as the tests write them; removed when the program ends."""
    folder = tempfile.TemporaryDirectory()
    atexit.register(folder.cleanup)
    write_cifar(Path(folder.name))
    write_fashion(Path(folder.name))
    return Path(folder.name)


def _characters() -> tuple[np.ndarray, np.ndarray]:
    ids = data.shakespeare().ids
    return ids[:-1].copy(), ids[1:].copy()


NAMES = {"class_names", "imagenet_labels"}  # functions that return names
DATASETS = [
    Row("mnist", "train", lambda: data.mnist("train"), (60000, 784), np.float32, 10),
    Row("mnist", "test images", lambda: data.mnist("test", flatten=False, dtype=np.float64), (10000, 1, 28, 28), np.float64, 10),
    Row("spiral", "", lambda: data.spiral(fd.random.key(0)), (300, 2), np.float32, 3),
    Row("spiral", "of four", lambda: data.spiral(fd.random.key(1), points=20, classes=4), (80, 2), np.float32, 4),
    Row("fashion_mnist", "train", lambda: data.fashion_mnist("train", data_dir=_folder()), (20, 784), np.float32, 10),
    Row("cifar10", "train", lambda: data.cifar10("train", data_dir=_folder()), (100, 3, 32, 32), np.float32, 10),
    Row("cifar10", "test bytes", lambda: data.cifar10("test", dtype=np.uint8, data_dir=_folder()), (20, 3, 32, 32), np.uint8, 10),
    Row("cifar100", "fine", lambda: data.cifar100("train", data_dir=_folder()), (100, 3, 32, 32), np.float32, 100),
    Row("cifar100", "coarse", lambda: data.cifar100("test", "coarse", data_dir=_folder()), (100, 3, 32, 32), np.float32, 20),
    Row("sine_curve", "train", lambda: data.sine_curve(fd.random.key(0)), (999, 1), np.float32, None),
    Row("sine_curve", "test", lambda: data.sine_curve(None, "test", dtype=np.float64), (999, 1), np.float64, None),
    Row("shakespeare", "", _characters, (1246481,), np.int64, 76),
]
