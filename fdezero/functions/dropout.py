"""Dropout, and the check of its rate."""

import math
from typing import Any

import numpy as np

from .. import numpy as fnp
from .. import random
from ..errors import KeyMissingError, RangeError
from ..messages import describe, told
from ..numpy.arguments import trailing_axes
from ..numpy.precision import in_single
from ..ops.checks import checked
from ..random.source import check_key

__all__ = ["dropout"]


@told(lambda *_, **__: "Write F.dropout(x, 0.5, key=key, train=True), or train=False without a key.")
def dropout(x: Any, rate: Any, *, key: Any = None, train: bool = False, shared_axes: int | tuple[int, ...] = ()) -> Any:
    """Set entries of `x` to 0 with probability `rate` and divide the others by 1 - rate; with train=False, return `x` itself.

    x (...), rate a number or a 0-d array in [0, 1), which may change from call to call -> (...) in the dtype of x. The
    expectation is exactly that of x: the probability drawn is the multiple of 2**-16 nearest to 1 - rate, and the scale
    is its inverse. CPU and GPU draw the same mask, bit for bit. `rate` gets no derivative. Entries along `shared_axes` are
    dropped together: with (2, 3), or (-2, -1), whole channels of x (N, C, H, W).
    Raises KeyMissingError when a key is needed and none is given, RangeError for a rate outside [0, 1).
    Source: Srivastava et al., "Dropout", JMLR 15, 2014.
    """
    if not train:
        return x
    if isinstance(rate, int | float | np.generic | np.ndarray):
        rate = checked_rate(rate, of="dropout")
        if rate == 0:
            return x
    else:  # traced: in the precision of the plain one
        rate = fnp.astype(checked(rate, test=_is_rate, error=lambda rate: _refused(rate, "dropout")), np.float64)
    if key is None:
        raise missing_key("dropout")
    check_key(key, "dropout")
    x = fnp.asarray(x)
    shape = x.shape
    if shared_axes != ():
        shared = trailing_axes(shared_axes, len(shape))
        shape = tuple(1 if i - len(shape) in shared else n for i, n in enumerate(shape))
    mask, kept = random.keep_mask(key, 1 - rate, shape)
    return _scaled_where(x, mask, 1 / kept)


@in_single
def _scaled_where(x: Any, mask: Any, scale: Any) -> Any:
    """x * scale where `mask`, 0 elsewhere. In float16 the scale itself would be off by up to 2**-12."""
    if hasattr(scale, "dtype"):
        scale = fnp.astype(scale, x.dtype)
    return fnp.where(mask, x * scale, 0)


def missing_key(of: str) -> KeyMissingError:
    """The error of dropout without a key; `of` says which dropout."""
    return KeyMissingError(
        f"{of} with train=True needs a random key: pass key=fd.random.fold_in(key, step), or train=False."
    )


def checked_rate(rate: Any, of: str) -> float:
    """`rate` as a Python float. Raises RangeError, which says that it is a rate `of` this function or layer."""
    is_number = isinstance(rate, int | float | np.generic | np.ndarray) and np.ndim(rate) == 0
    number = float(rate) if is_number else math.nan
    if not _is_rate(number):
        raise _refused(rate, of)
    return number


def _is_rate(rate: Any) -> Any:
    return (rate >= 0) & (rate < 1)


def _refused(rate: Any, of: str) -> RangeError:
    return RangeError(
        f"{of}: the rate is the probability to drop, from 0 up to but not including 1; got {describe(rate)}."
    )
