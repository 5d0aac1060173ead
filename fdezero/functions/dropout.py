"""Dropout."""

from typing import Any

import numpy as np

from .. import numpy as fnp
from .. import random
from ..errors import KeyMissingError, RangeError


def dropout(x: Any, rate: Any, *, key: Any = None, train: bool = False) -> Any:
    """Entries of `x` set to 0 with probability `rate`, the others divided by 1 - rate; with train=False, `x` itself.

    x (...), rate a number or a 0-d array in [0, 1), which may change from call to call -> (...) in the dtype of x. The
    expectation is that of x exactly: the probability drawn is the multiple of 2**-16 nearest to 1 - rate, and the scale
    its inverse. The mask is the same on CPU and GPU, bit for bit. No derivative goes to `rate`.
    Raises KeyMissingError when a key is needed and none is given, RangeError for a rate outside [0, 1).
    Source: Srivastava et al., "Dropout", JMLR 15, 2014.
    """
    if not train:
        return x
    if isinstance(rate, int | float | np.generic | np.ndarray):
        rate = float(rate)
        if not 0 <= rate < 1:
            raise RangeError(f"dropout: the rate is the probability to drop, from 0 up to but not including 1; got {rate}.")
        if rate == 0:
            return x
    else:  # traced: in the precision of the plain one
        rate = fnp.astype(rate, np.float64)
    if key is None:
        raise KeyMissingError("dropout with train=True needs a random key: pass key=fd.random.fold_in(key, step), or train=False.")
    x = fnp.asarray(x)
    mask, kept = random.keep_mask(key, 1 - rate, x.shape)
    scale = 1 / kept
    if hasattr(scale, "dtype"):
        scale = fnp.astype(scale, x.dtype)
    return fnp.where(mask, x * scale, 0)
