"""Random numbers as pure functions of an explicit key: the same key and shape always give the same array.

A key is a uint64 array of shape (2,). Its random words are those of NumPy's `Philox(key=key)` bit generator,
Philox4x64-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011), on the CPU and on the GPU alike.
Use a key once: two draws with one key are the same numbers. `split` and `fold_in` derive new ones.
"""

from .bits import bits, fold_in, key, split
from .draws import bernoulli, choice, keep_mask, normal, permutation, randint, uniform

__all__ = [
    "bernoulli", "bits", "choice", "fold_in", "keep_mask", "key", "normal", "permutation", "randint", "split", "uniform"
]  # fmt: skip
