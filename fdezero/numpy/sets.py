"""Distinct values and sets under NumPy's names. The size of a result depends on the values: not under vmap or compile."""

from typing import Any

import numpy as np

from .. import tree as trees
from ..devices import backend_of, to_numpy
from ..ops import elementwise
from ..values import is_floating
from .arguments import Array, ArrayOrNumber, as_array, plain_values
from .creation import zeros_like
from .elementwise import cast
from .indexing import take
from .precision import in_single
from .shape import ravel
from .sorting import searchsorted, sort

__all__ = [
    "intersect1d", "isin", "setdiff1d", "setxor1d", "union1d", "unique", "unique_all", "unique_counts",
    "unique_inverse", "unique_values",
]  # fmt: skip


@in_single  # because NumPy does not sort NaN of bfloat16
def _call(name: str, *arrays: Any, **keywords: Any) -> Any:
    values = [plain_values(as_array(x), name) for x in arrays]
    backend = backend_of(*values)
    if backend.has_set_functions or (name == "unique" and "equal_nan" not in keywords):
        return getattr(backend.module, name)(*values, **keywords)
    # The number of values needs a wait for the device anyway, so compute on the CPU.
    return trees.map(backend.from_host, getattr(np, name)(*to_numpy(values), **keywords))


def unique(
    ar: Any,
    return_index: bool = False,
    return_inverse: bool = False,
    return_counts: bool = False,
    axis: int | None = None,
    *,
    equal_nan: bool = True,
    sorted: bool = True,
) -> Any:
    """The distinct values of `ar`, sorted; on request also their first indices, the inverse and their counts.

    With `equal_nan`, NaN counts as one value. Values come sorted also with `sorted=False`, which leaves their order open.
    """
    options = {} if equal_nan else {"equal_nan": False}
    return _call(
        "unique",
        ar,
        return_index=return_index,
        return_inverse=return_inverse,
        return_counts=return_counts,
        axis=axis,
        **options,
    )


def unique_all(x: Any) -> Any:
    """The distinct values of `x`, the index of each, the inverse (which value each entry is), and the counts."""
    return _call("unique_all", x)


def unique_counts(x: Any) -> Any:
    """The distinct values of `x`, and how often each occurs."""
    return _call("unique_counts", x)


def unique_inverse(x: Any) -> Any:
    """The distinct values of `x`, and which of them each entry is."""
    return _call("unique_inverse", x)


def unique_values(x: Any) -> Array:
    """The distinct values of `x`."""
    return _call("unique_values", x)


def union1d(ar1: Any, ar2: Any) -> Array:
    """The distinct values of both arrays, sorted."""
    return _call("union1d", ar1, ar2)


def intersect1d(ar1: Any, ar2: Any, assume_unique: bool = False, return_indices: bool = False) -> Any:
    """The values that are in both arrays, sorted. With `return_indices`, also the first index of each in both arrays."""
    options = {"return_indices": True} if return_indices else {}
    return _call("intersect1d", ar1, ar2, assume_unique=assume_unique, **options)


def setdiff1d(ar1: Any, ar2: Any, assume_unique: bool = False) -> Array:
    """The values of `ar1` that are not in `ar2`, sorted."""
    return _call("setdiff1d", ar1, ar2, assume_unique=assume_unique)


def setxor1d(ar1: Any, ar2: Any, assume_unique: bool = False) -> Array:
    """The values that are in exactly one of the arrays, sorted."""
    return _call("setxor1d", ar1, ar2, assume_unique=assume_unique)


def isin(
    element: Any, test_elements: Any, assume_unique: bool = False, invert: bool = False, *, kind: str | None = None
) -> ArrayOrNumber:
    """Whether each entry of `element` is one of `test_elements`: (...), (...) -> bool, of element's shape.

    Unlike the other functions of sets, it also works under vmap and compile. `assume_unique` and `kind` ("sort" or
    "table") say how to search in NumPy; the result is the same.
    """
    if kind not in (None, "sort", "table"):
        raise ValueError(f"isin: kind must be None, 'sort' or 'table', got {kind!r}.")
    element, test_elements = as_array(element), ravel(test_elements)
    dtype = np.result_type(element.dtype, test_elements.dtype)
    beyond = is_floating(dtype) and element.dtype.kind in "iu" and test_elements.dtype.kind in "iu"
    if beyond:  # uint64 and a signed dtype, which only share numbers from 0 to 2 ** 63 - 1; float64 would round them
        dtype = np.dtype(np.int64)
    if not test_elements.size:
        found = zeros_like(element, bool)
    else:
        element, ordered = cast(element, dtype), sort(cast(test_elements, dtype))
        place = elementwise.minimum(searchsorted(ordered, element), test_elements.size - 1)
        found = elementwise.equal(take(ordered, place), element)
        found = elementwise.logical_and(found, elementwise.greater_equal(element, 0)) if beyond else found
    return elementwise.logical_not(found) if invert else found
