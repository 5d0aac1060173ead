"""`random_bits`, the one operation behind all random numbers, and the checks of its arguments."""

import math
import operator
from typing import Any

import numpy as np

from ..core import discrete
from ..devices import backend_of
from ..errors import DTypeError, KeyMissingError, ShapeError
from ..messages import describe
from ..numpy.arguments import Array
from . import philox

Key = Array  # of dtype uint64 and shape (2,)
Shape = int | tuple[int, ...]

# The highest word of the counter. So no derived key equals a number that was drawn from its parent.
DRAW, SPLIT, FOLD = 0, 1, 2
UINT64 = np.dtype(np.uint64)


def _random_bits(key: Array, start: Array, *, shape: tuple[int, ...], dtype: np.dtype[Any], domain: int) -> Array:
    count = -(-math.prod(shape) * dtype.itemsize // 8)
    words = backend_of(key).random_words(key, start, count=count, domain=domain)
    if words is None:
        words = philox.words(key, np.asarray(start).astype(UINT64), count=count, domain=domain)
    return philox.cut(words, shape, dtype)


# key (..., 2), start (...) -> (..., *shape), unsigned integers
random_bits = discrete("random_bits", _random_bits, core=lambda args, params: (1, 0))


def check_key(key: Any, what: str) -> None:
    """Raise, naming the function `what`, unless `key` is a single key."""
    if isinstance(key, int | np.integer):
        raise KeyMissingError(f"{what} needs a key, but {describe(key)} is a seed. Pass fd.random.key({int(key)}).")
    if not hasattr(key, "dtype"):
        raise KeyMissingError(f"{what} needs a key, got {describe(key)}. Pass fd.random.key(0).")
    if key.dtype != UINT64:
        raise DTypeError(f"{what} needs a key uint64[2], got {describe(key)}. Pass fd.random.key(0).")
    if tuple(key.shape) != (2,):
        hint = (
            "pass one of them, keys[0], or map over them with fd.vmap."
            if key.shape[-1:] == (2,)
            else "pass fd.random.key(0)."
        )
        raise ShapeError(f"{what} needs one key uint64[2], got {describe(key)}: {hint}")


def check_shape(shape: Any, what: str) -> tuple[int, ...]:
    """`shape` as a tuple of non-negative integers."""
    try:
        sizes = tuple(map(operator.index, shape)) if isinstance(shape, tuple | list) else (operator.index(shape),)
    except TypeError:
        raise ShapeError(f"{what} needs a shape of integers, such as (2, 3), got {shape!r}.") from None
    if any(size < 0 for size in sizes):
        raise ShapeError(f"{what} cannot make the shape {sizes}: sizes must not be negative.")
    return sizes


def check_dtype(dtype: Any, kinds: str, what: str) -> np.dtype[Any]:
    """`dtype` as a NumPy dtype whose kind is among `kinds` ("f" floating, "i" and "u" integers)."""
    asked = {
        "f": "a floating dtype such as 'float32'",
        "iu": "an integer dtype such as 'int64'",
        "u": "an unsigned dtype such as 'uint32'",
    }
    hint = " Several sizes make one tuple, (2, 3)." if isinstance(dtype, int) else ""
    try:
        found = np.dtype(dtype)
    except TypeError:
        raise DTypeError(f"{what} needs {asked[kinds]}, got {dtype!r}.{hint}") from None
    if found.kind not in kinds or found.itemsize > 8:
        raise DTypeError(f"{what} needs {asked[kinds]}, got {found}.")
    return found
