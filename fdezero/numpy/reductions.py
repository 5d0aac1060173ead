"""Reductions under NumPy's names and signatures."""

from typing import Any

import numpy as np

from ..ops import elementwise as ops
from ..ops import reductions as reduce
from ._common import Array, Axis, as_array, trailing_axes, trailing_axis
from .elementwise import astype, imag, is_complex, real
from .shape import flip, ravel


def _cast(x: Any, dtype: Any) -> Array:
    return as_array(x) if dtype is None else astype(x, dtype)


def sum(x: Any, axis: Axis = None, dtype: Any = None, out: None = None, keepdims: bool = False) -> Array:
    """The sum over `axis` (all axes when None): x (..., n) -> (...). Empty sums are 0."""
    x = _cast(x, dtype)
    y = reduce.sum_axes(x, axes=trailing_axes(axis, x.ndim), keepdims=keepdims)
    return y if dtype is None else astype(y, dtype)  # NumPy sums small integers in large ones


def prod(x: Any, axis: Axis = None, dtype: Any = None, out: None = None, keepdims: bool = False) -> Array:
    """The product over `axis`. Zeros among the entries are no trouble to the derivative."""
    x = _cast(x, dtype)
    y = reduce.product_of(x, axes=trailing_axes(axis, x.ndim), keepdims=keepdims)
    return y if dtype is None else astype(y, dtype)


def max(x: Any, axis: Axis = None, out: None = None, keepdims: bool = False) -> Array:
    """The greatest entry over `axis`; its derivative is split evenly over ties."""
    x = as_array(x)
    return reduce.maximum_of(x, axes=trailing_axes(axis, x.ndim), keepdims=keepdims)


def min(x: Any, axis: Axis = None, out: None = None, keepdims: bool = False) -> Array:
    """The least entry over `axis`; its derivative is split evenly over ties."""
    x = as_array(x)
    return reduce.minimum_of(x, axes=trailing_axes(axis, x.ndim), keepdims=keepdims)


amax, amin = max, min


def any(x: Any, axis: Axis = None, out: None = None, keepdims: bool = False) -> Array:
    """Whether any entry over `axis` is true."""
    x = as_array(x)
    return reduce.any_of(x, axes=trailing_axes(axis, x.ndim), keepdims=keepdims)


def all(x: Any, axis: Axis = None, out: None = None, keepdims: bool = False) -> Array:
    """Whether all entries over `axis` are true."""
    x = as_array(x)
    return reduce.all_of(x, axes=trailing_axes(axis, x.ndim), keepdims=keepdims)


def _count(x: Array, axes: tuple[int, ...]) -> int:
    count = 1
    for axis in axes:
        count *= x.shape[axis]
    return count


def mean(x: Any, axis: Axis = None, dtype: Any = None, out: None = None, keepdims: bool = False) -> Array:
    """The mean over `axis`; float16 is summed in float32, integers give float64, as in NumPy."""
    x = _cast(x, dtype)
    if str(x.dtype) == "float16":
        return astype(mean(x, axis, "float32", None, keepdims), x.dtype)
    if x.dtype.kind not in "fc":  # whose sum may be too large for an integer
        x = astype(x, np.float64)
    axes = trailing_axes(axis, x.ndim)
    return reduce.sum_axes(x, axes=axes, keepdims=keepdims) / _count(x, axes)


def var(
    x: Any, axis: Axis = None, dtype: Any = None, out: None = None, ddof: float = 0, keepdims: bool = False, *, correction: float = 0
) -> Array:
    """The variance over `axis`: the mean squared distance |x - mean|^2, divided by n - ddof; in the dtypes of `mean`."""
    x = _cast(x, dtype)
    if str(x.dtype) == "float16":
        return astype(var(x, axis, "float32", None, ddof, keepdims, correction=correction), x.dtype)
    axes = trailing_axes(axis, x.ndim)
    centred = ops.subtract(x, mean(x, axes, None, None, True))
    squared = ops.add(ops.square(real(centred)), ops.square(imag(centred))) if is_complex(x) else ops.square(centred)
    return reduce.sum_axes(squared, axes=axes, keepdims=keepdims) / (_count(x, axes) - (ddof or correction))


def std(
    x: Any, axis: Axis = None, dtype: Any = None, out: None = None, ddof: float = 0, keepdims: bool = False, *, correction: float = 0
) -> Array:
    """The square root of `var`; its derivative is infinite where the variance is 0."""
    return ops.sqrt(var(x, axis, dtype, None, ddof, keepdims, correction=correction))


def logsumexp(x: Any, axis: Axis = None, keepdims: bool = False) -> Array:
    """log(sum(exp(x))) over `axis`, without overflow; its derivative is the softmax."""
    x = as_array(x)
    return reduce.logsumexp(x, axes=trailing_axes(axis, x.ndim), keepdims=keepdims)


def _flat_unless(x: Any, axis: int | None) -> tuple[Array, int]:
    x = as_array(x)
    return (ravel(x), -1) if axis is None else (x, trailing_axis(axis, x.ndim))


def cumsum(x: Any, axis: int | None = None, dtype: Any = None, out: None = None) -> Array:
    """The running sums along `axis` (of the flattened array when None)."""
    x, axis = _flat_unless(_cast(x, dtype), axis)
    return reduce.cumsum(x, axis=axis)


def argmax(x: Any, axis: int | None = None, out: None = None, *, keepdims: bool = False) -> Array:
    """The index of the first greatest entry along `axis` (of the flattened array when None)."""
    x, axis = _flat_unless(x, axis)
    return reduce.argmax(x, axis=axis, keepdims=keepdims)


def argmin(x: Any, axis: int | None = None, out: None = None, *, keepdims: bool = False) -> Array:
    """The index of the first least entry along `axis` (of the flattened array when None)."""
    x, axis = _flat_unless(x, axis)
    return reduce.argmin(x, axis=axis, keepdims=keepdims)


def argsort(
    x: Any, axis: int | None = -1, kind: str | None = None, order: None = None, *, descending: bool = False, stable: bool = True
) -> Array:
    """The indices that sort `x` along `axis` (of the flattened array when None), NaN last; always stable."""
    x, axis = _flat_unless(x, axis)
    if not descending:
        return reduce.argsort(x, axis=axis)
    # The last of equal entries is the first of the reversed array.
    return ops.subtract(x.shape[axis] - 1, flip(reduce.argsort(flip(x, axis), axis=axis), axis))
