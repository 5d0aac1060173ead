"""Leaves of a tree as bytes, one leaf at a time: what both formats of files share."""

from collections.abc import Callable
from typing import Any

import numpy as np

from ..devices import to_numpy

CHUNK = 1 << 22  # bytes that are written or read at once: large enough for the system, small beside a leaf


class Pending:
    """A leaf that is read only when its turn has come, such as an entry of another file."""

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype, read: Callable[[], np.ndarray]) -> None:
        self.shape, self.dtype, self.read = shape, dtype, read


def to_array(leaf: Any) -> np.ndarray:
    """The NumPy array of a leaf, which may be a number, lie on a GPU, or be pending."""
    return leaf.read() if isinstance(leaf, Pending) else np.asarray(to_numpy(leaf))


def in_order(array: np.ndarray) -> np.ndarray:
    """The array with its entries side by side in C or Fortran order: itself, or a copy."""
    if array.flags.c_contiguous or array.flags.f_contiguous:
        return array
    return np.array(array, order="C")


def flat_bytes(array: np.ndarray) -> memoryview:
    """The bytes of an array in their order in memory: a view. Its entries lie side by side in C or Fortran order."""
    if not array.dtype.itemsize:
        return memoryview(b"")
    return (array if array.flags.c_contiguous else array.T).reshape(-1).view(np.uint8).data
