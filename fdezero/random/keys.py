"""Keys: random numbers are functions of a key, and new keys come from old ones.

A key is a uint64 array of shape (2,), a leaf of a tree like any other. The same key and shape always give the same
numbers, so use each key once: `split` it for the next use, or `fold_in` a number such as the step.
"""

import operator
from typing import Any

import numpy as np

from ..core import unwrap
from ..errors import DTypeError, RangeError
from ..messages import describe
from ..ops.checks import checked
from .source import FOLD, SPLIT, UINT64, Array, Key, check_key, check_shape, random_bits


def key(seed: int) -> Key:
    """The key of a seed, an integer from 0 to 2**128 - 1: uint64 (2,), the key (seed, 0) of Philox4x64 below 2**64.

    Raises DTypeError if the seed is not an integer, RangeError outside the range.
    """
    if isinstance(seed, bool | np.bool_) or not hasattr(type(seed), "__index__"):
        raise DTypeError(f"fd.random.key takes an integer, got {describe(seed)}: say fd.random.key(0).")
    number = operator.index(seed)
    if not 0 <= number < 2**128:
        raise RangeError(
            f"fd.random.key takes a seed from 0 to 2**128 - 1, got {number}: say fd.random.key({abs(number) % 2**128})."
        )
    return np.array([number % 2**64, number >> 64], np.uint64)


def split(key: Key, n: int = 2) -> Array:
    """`n` new keys, independent of each other and of all draws from `key`: uint64 (n, 2).

    The first keys are the same for every `n`. Raises KeyMissingError if `key` is not a key.
    """
    check_key(key, "fd.random.split")
    return random_bits(key, 0, shape=(*check_shape(n, "fd.random.split"), 4), dtype=UINT64, domain=SPLIT)[:, :2]


def fold_in(key: Key, data: Any) -> Array:
    """The key of the number `data` under `key`: uint64 (2,), or (..., 2) for an integer array `data` (...).

    Numbers must not be negative (numbers in an array count modulo 2**64). A key from `fold_in` never equals a key from `split`.
    Raises DTypeError unless `data` consists of integers, RangeError outside 0 to 2**64 - 1.
    """
    check_key(key, "fd.random.fold_in")
    whole = data.dtype.kind in "iu" if hasattr(data, "dtype") else isinstance(data, int) and not isinstance(data, bool)
    if not whole:
        raise DTypeError(f"fd.random.fold_in takes an integer or an array of integers, got {describe(data)}.")
    if isinstance(unwrap(data), int | np.integer):
        data = int(data) if isinstance(data, np.integer) else data
        checked(data, test=_is_word, error=_not_a_word)
    return random_bits(key, data, shape=(4,), dtype=UINT64, domain=FOLD)[..., :2]


def _is_word(number: Any) -> bool:
    return 0 <= int(number) < 2**64


def _not_a_word(number: Any) -> RangeError:
    return RangeError(f"fd.random.fold_in takes a number from 0 to 2**64 - 1, got {number}.")
