"""Numbers of bfloat16 in files: arrays of the package ml_dtypes where it is installed, float32 where it is not."""

import functools
import importlib
from typing import Any

import numpy as np

NAME = "bfloat16"
RECORD = np.dtype([(NAME, "<u2")])  # what an npz member of such numbers holds: NumPy reads it without the package
BITS = np.dtype("<u2")


def is_bfloat16(dtype: Any) -> bool:
    """Whether a dtype is that of bfloat16. No package is loaded for the question: whoever has such an array has loaded it."""
    return getattr(dtype, "name", "") == NAME and getattr(dtype, "itemsize", 0) == 2


@functools.cache
def loaded_dtype() -> np.dtype:
    """The dtype that bfloat16 entries of a file get: float32, which holds each of their numbers, without ml_dtypes."""
    try:
        return np.dtype(importlib.import_module("ml_dtypes").bfloat16)
    except ImportError:
        return np.dtype(np.float32)


def of_bits(bits: np.ndarray) -> np.ndarray:
    """The numbers whose bits are those of 16-bit integers: a view of them, or new memory of float32."""
    dtype = loaded_dtype()
    if dtype.itemsize == BITS.itemsize:
        return bits.view(dtype)
    wide = bits.astype(np.uint32) << np.uint32(16)  # a bfloat16 is the upper half of a float32
    return np.asarray(wide).view(np.float32)


def widened(array: np.ndarray) -> np.ndarray:
    """The array with bfloat16 made float32; any other array as it is."""
    return array.astype(np.float32) if is_bfloat16(array.dtype) else array
