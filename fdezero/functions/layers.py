"""What layers compute: linear and dropout."""

from typing import Any

from .. import numpy as fnp
from .. import random
from ..errors import KeyMissingError, ShapeError, describe


def linear(x: Any, W: Any, b: Any = None) -> Any:
    """x @ W + b over the last axis: x (..., n), W (n, m), b (m,) or None -> (..., m)."""
    x = fnp.asarray(x)
    if not x.ndim or x.shape[-1] != W.shape[0]:
        flat = [i for i in range(1, x.ndim) if x.size and x.size // _product(x.shape[:i]) == W.shape[0]]
        hint = f" Flatten first: x.reshape({', '.join(map(str, (*x.shape[: flat[0]], W.shape[0])))})." if flat else ""
        raise ShapeError(f"Linear expects a last axis of {W.shape[0]}, got x {describe(x)} for W {describe(W)}.{hint}")
    y = fnp.matmul(x, W)
    return y if b is None else y + b


def _product(lengths: tuple[int, ...]) -> int:
    product = 1
    for length in lengths:
        product *= length
    return product


def dropout(x: Any, rate: Any, *, key: Any = None, train: bool = False) -> Any:
    """Entries of `x` set to 0 with probability `rate`, the others divided by 1 - rate; with train=False, `x` itself.

    `rate` in [0, 1) may change from call to call. The expectation is that of x exactly: the probability drawn is the
    multiple of 2**-16 nearest to 1 - rate, and the scale its inverse. The mask is the same on CPU and GPU, bit for bit.
    Raises KeyMissingError when train=True and no key is given.
    Source: Srivastava et al., "Dropout", JMLR 15, 2014.
    """
    if not train:
        return x
    concrete = isinstance(rate, int | float)
    if concrete and not 0 <= rate < 1:
        raise ValueError(f"dropout: the rate is the probability to drop, from 0 up to but not including 1; got {rate}.")
    if concrete and rate == 0:
        return x
    if key is None:
        raise KeyMissingError("dropout with train=True needs a random key: pass key=fd.random.fold_in(key, step), or train=False.")
    x = fnp.asarray(x)
    mask, kept = random.keep_mask(key, 1 - rate, x.shape)
    scale = 1 / kept
    if hasattr(scale, "dtype"):
        scale = fnp.astype(scale, x.dtype)
    return fnp.where(mask, x * scale, 0)
