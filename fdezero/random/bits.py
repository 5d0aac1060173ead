"""Keys, and the random bits they stand for."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..core import discrete
from ..devices import array_module
from ..errors import KeyMissingError, describe
from .philox import words_on_cpu, words_on_gpu

DRAW, SPLIT, FOLD = 0, 1 << 63, 1 << 62  # domains of the counter


def _words(key: Any, *, count: int, start: int, domain: int) -> Any:
    keys, xp = key.reshape(-1, 2), array_module(key)
    if xp is np:
        found = words_on_cpu(keys, count, start, domain)
    else:
        found = words_on_gpu(xp, keys, count, start, domain)
    return found.reshape(*key.shape[:-1], count)


# key (..., 2) -> (..., count), the words after block `start` in a domain of the counter
random_words = discrete("random_words", _words, core=1)


def check_key(key: Any, where: str) -> Any:
    """`key` if it is one. Raises KeyMissingError that says how to make one."""
    if key is None:
        raise KeyMissingError(f"{where} needs a random key: pass key=fd.random.key(0), or one split from your own.")
    if getattr(key, "shape", None) != (2,) or key.dtype != np.uint64:
        raise KeyMissingError(f"{where} needs a random key, a uint64 array of shape (2,), got {describe(key)}: say fd.random.key(0).")
    return key


def key(seed: int) -> np.ndarray:
    """The key of a seed, any whole number from 0 to 2**128 - 1: a uint64 array of shape (2,), on the CPU.

    `numpy.random.Philox(key=seed)` gives the same words.
    """
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer):
        raise TypeError(f"a seed is a whole number, got {describe(seed)}.")
    seed = int(seed)
    if not 0 <= seed < 1 << 128:
        raise ValueError(f"a seed lies between 0 and 2**128 - 1, got {seed}.")
    return np.array([seed & (1 << 64) - 1, seed >> 64], np.uint64)


def split(key: Any, count: int = 2) -> Any:
    """`count` new keys, independent of each other and of all draws with `key`: key (2,) -> (count, 2)."""
    check_key(key, "split")
    words = random_words(key, count=4 * count, start=0, domain=SPLIT)
    return words.reshape(count, 4)[:, :2]


def fold_in(key: Any, data: int) -> Any:
    """A new key from `key` and a whole number `data` >= 0, such as an epoch or a step: key (2,) -> (2,)."""
    check_key(key, "fold_in")
    if isinstance(data, bool) or not isinstance(data, int | np.integer) or not 0 <= int(data) < 1 << 64:
        raise ValueError(f"fold_in takes a whole number from 0 to 2**64 - 1, got {describe(data)}.")
    return random_words(key, count=2, start=(int(data) - 1) % (1 << 64), domain=FOLD)


def bits(key: Any, shape: int | Sequence[int] = (), dtype: Any = np.uint64) -> Any:
    """Uniform random integers of an unsigned dtype: the words of `key`, cut into lanes, the low one first."""
    check_key(key, "bits")
    shape = (shape,) if isinstance(shape, int) else tuple(shape)
    dtype, size = np.dtype(dtype), math.prod(shape)
    if dtype.kind != "u":
        raise TypeError(f"bits are of an unsigned integer dtype, got {dtype}.")
    lanes = 8 // dtype.itemsize
    found = random_words(key, count=-(-size // lanes), start=0, domain=DRAW)
    return lanes_of(found, dtype=dtype)[..., :size].reshape(shape)


def _lanes(words: Any, *, dtype: Any) -> Any:
    if words.dtype == dtype:
        return words
    if array_module(words) is np:  # low lane first on every machine
        words = words.astype(words.dtype.newbyteorder("<"), copy=False)
        return words.view(dtype.newbyteorder("<")).astype(dtype, copy=False)
    return words.view(dtype)


# words (..., n) -> (..., n * 8 / itemsize)
lanes_of = discrete("random_lanes", _lanes, core=1)

