"""The different values of an array, under NumPy's names: their number depends on the values, so not under vmap or compile."""

from typing import Any

import numpy as np

from .. import tree as trees
from ..devices import array_module, to_numpy
from ..ops import elementwise
from .arguments import Array, as_array, plain_values
from .creation import zeros_like
from .elementwise import astype
from .indexing import take
from .shape import ravel
from .sorting import searchsorted, sort

__all__ = [
    "intersect1d", "isin", "setdiff1d", "setxor1d", "union1d", "unique", "unique_all", "unique_counts",
    "unique_inverse", "unique_values",
]  # fmt: skip


def _call(name: str, *arrays: Any, **keywords: Any) -> Any:
    values = [plain_values(as_array(x), name) for x in arrays]
    module = array_module(*values)
    if module is np or name == "unique":
        return getattr(module, name)(*values, **keywords)
    # CuPy has few of these. The number of values waits for the device in any case, so they may take the way over the CPU.
    return trees.map(module.asarray, getattr(np, name)(*to_numpy(values), **keywords))


def unique(x: Any, return_index: bool = False, return_inverse: bool = False, return_counts: bool = False, axis: int | None = None) -> Any:
    """The different values of `x`, sorted, without derivative; with the indices, the inverse and the counts asked for."""
    return _call("unique", x, return_index=return_index, return_inverse=return_inverse, return_counts=return_counts, axis=axis)


def unique_all(x: Any) -> Any:
    """The different values of `x`, where each is first, which of them each entry is, and how often each occurs."""
    return _call("unique_all", x)


def unique_counts(x: Any) -> Any:
    """The different values of `x`, and how often each occurs."""
    return _call("unique_counts", x)


def unique_inverse(x: Any) -> Any:
    """The different values of `x`, and which of them each entry is."""
    return _call("unique_inverse", x)


def unique_values(x: Any) -> Array:
    """The different values of `x`."""
    return _call("unique_values", x)


def union1d(x: Any, y: Any) -> Array:
    """The different values of both arrays, sorted."""
    return _call("union1d", x, y)


def intersect1d(x: Any, y: Any, assume_unique: bool = False) -> Array:
    """The values that both arrays have, sorted."""
    return _call("intersect1d", x, y, assume_unique=assume_unique)


def setdiff1d(x: Any, y: Any, assume_unique: bool = False) -> Array:
    """The values of `x` that `y` has not, sorted."""
    return _call("setdiff1d", x, y, assume_unique=assume_unique)


def setxor1d(x: Any, y: Any, assume_unique: bool = False) -> Array:
    """The values that one of the arrays has and the other has not, sorted."""
    return _call("setxor1d", x, y, assume_unique=assume_unique)


def isin(x: Any, values: Any, assume_unique: bool = False, invert: bool = False) -> Array:
    """Whether each entry of `x` is one of `values`; of any shapes, under vmap and within compile too."""
    x, values = as_array(x), ravel(values)
    dtype = np.result_type(x.dtype, values.dtype)
    beyond = dtype.kind == "f" and x.dtype.kind in "iu" and values.dtype.kind in "iu"
    if beyond:  # Only numbers from 0 to 2 ** 63 - 1 can be in both of uint64 and a signed dtype, and float64 would round them.
        dtype = np.dtype(np.int64)
    if not values.size:
        found = zeros_like(x, bool)
    else:
        x, ordered = astype(x, dtype), sort(astype(values, dtype))
        place = elementwise.minimum(searchsorted(ordered, x), values.size - 1)
        found = elementwise.equal(take(ordered, place), x)
        found = elementwise.logical_and(found, elementwise.greater_equal(x, 0)) if beyond else found
    return elementwise.logical_not(found) if invert else found
