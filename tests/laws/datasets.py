"""The table of data sets: the call for each one, and its expected contents. A data set needs one row or more."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import fdezero as fd
from fdezero import data


class Row(NamedTuple):
    """A data set by its name in `data`, a word for its variant, the call, shape and dtype of the inputs, and the number of classes."""

    name: str
    variant: str
    load: Callable[[], Any]
    shape: tuple[int, ...]
    dtype: Any
    classes: int

    def __str__(self) -> str:
        return f"{self.name} {self.variant}".strip()


DATASETS = [
    Row("mnist", "train", lambda: data.mnist("train"), (60000, 784), np.float32, 10),
    Row("mnist", "test images", lambda: data.mnist("test", flatten=False, dtype=np.float64), (10000, 1, 28, 28), np.float64, 10),
    Row("spiral", "", lambda: data.spiral(fd.random.key(0)), (300, 2), np.float32, 3),
    Row("spiral", "of four", lambda: data.spiral(fd.random.key(1), points=20, classes=4), (80, 2), np.float32, 4),
]
