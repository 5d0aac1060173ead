"""Random numbers as pure functions of a key: the same key and shape always give the same array, on every device.

A key is a uint64 array of shape (2,), the key of NumPy's Philox4x64-10. Use each key once, because two draws with one key give
the same numbers. `split` and `fold_in` derive new keys.
"""

from .draws import bernoulli, bits, keep_mask, normal, randint, uniform
from .keys import fold_in, key, split
from .order import choice, permutation

__all__ = [
    "bernoulli", "bits", "choice", "fold_in", "keep_mask", "key", "normal", "permutation", "randint", "split", "uniform"
]  # fmt: skip
