"""Reductions under NumPy's names and signatures."""

from collections.abc import Callable
from typing import Any

from ..errors import refuse_out
from ..ops import elementwise as ops
from ..ops import reductions as reduce
from ..values import is_complex
from .arguments import Array, Axis, as_array, trailing_axes
from .elementwise import astype, imag, real
from .shape import flip, line_of


def _over(operation: Callable[..., Array], x: Any, axis: Axis, keepdims: bool) -> Array:
    x = as_array(x)
    return operation(x, axes=trailing_axes(axis, x.ndim), keepdims=keepdims)


def _given(x: Any, out: None, dtype: Any = None) -> Array:
    """`x` as an array, cast to `dtype` if one is named. Raises ImmutableError for an array to be written into."""
    refuse_out(out)
    return as_array(x) if dtype is None else astype(x, dtype)


def sum(x: Any, axis: Axis = None, dtype: Any = None, out: None = None, keepdims: bool = False) -> Array:
    """The sum over `axis` (all axes when None): x (..., n) -> (...). Empty sums are 0."""
    x = _given(x, out, dtype)
    y = _over(reduce.sum_axes, x, axis, keepdims)
    return y if dtype is None else astype(y, dtype)  # NumPy sums small integers in large ones


def prod(x: Any, axis: Axis = None, dtype: Any = None, out: None = None, keepdims: bool = False) -> Array:
    """The product over `axis`. Zeros among the entries are no trouble to the derivative. x (..., n) -> (...), all axes when None."""
    x = _given(x, out, dtype)
    y = _over(reduce.product_of, x, axis, keepdims)
    return y if dtype is None else astype(y, dtype)


def max(x: Any, axis: Axis = None, out: None = None, keepdims: bool = False) -> Array:
    """The greatest entry over `axis`; its derivative is split evenly over ties. x (..., n) -> (...), all axes when None."""
    return _over(reduce.maximum_of, _given(x, out), axis, keepdims)


def min(x: Any, axis: Axis = None, out: None = None, keepdims: bool = False) -> Array:
    """The least entry over `axis`; its derivative is split evenly over ties. x (..., n) -> (...), all axes when None."""
    return _over(reduce.minimum_of, _given(x, out), axis, keepdims)


amax, amin = max, min


def any(x: Any, axis: Axis = None, out: None = None, keepdims: bool = False) -> Array:
    """Whether any entry over `axis` is true: x (..., n) -> (...), all axes when None."""
    return _over(reduce.any_of, _given(x, out), axis, keepdims)


def all(x: Any, axis: Axis = None, out: None = None, keepdims: bool = False) -> Array:
    """Whether all entries over `axis` are true: x (..., n) -> (...), all axes when None."""
    return _over(reduce.all_of, _given(x, out), axis, keepdims)


def _count(x: Array, axes: tuple[int, ...]) -> int:
    count = 1
    for axis in axes:
        count *= x.shape[axis]
    return count


def mean(x: Any, axis: Axis = None, dtype: Any = None, out: None = None, keepdims: bool = False) -> Array:
    """The mean over `axis`; float16 is summed in float32, integers give float64, as in NumPy. x (..., n) -> (...), all axes when None."""
    x = _given(x, out, dtype)
    if str(x.dtype) == "float16":
        return astype(mean(x, axis, "float32", None, keepdims), x.dtype)
    axes = trailing_axes(axis, x.ndim)
    return reduce.sum_axes(x, axes=axes, keepdims=keepdims) / _count(x, axes)


def squared_size(x: Array) -> Array:
    """|x|^2, entry by entry."""
    return ops.add(ops.square(real(x)), ops.square(imag(x))) if is_complex(x) else ops.square(x)


def var(
    x: Any, axis: Axis = None, dtype: Any = None, out: None = None, ddof: float = 0, keepdims: bool = False, *, correction: float = 0
) -> Array:
    """The variance over `axis`: the mean squared distance |x - mean|^2, divided by n - ddof. x (..., n) -> (...), all axes when None."""
    x = _given(x, out, dtype)
    axes = trailing_axes(axis, x.ndim)
    centred = ops.subtract(x, mean(x, axes, None, None, True))
    return reduce.sum_axes(squared_size(centred), axes=axes, keepdims=keepdims) / (_count(x, axes) - (ddof or correction))


def std(
    x: Any, axis: Axis = None, dtype: Any = None, out: None = None, ddof: float = 0, keepdims: bool = False, *, correction: float = 0
) -> Array:
    """The square root of `var`; its derivative is infinite where the variance is 0. x (..., n) -> (...), all axes when None."""
    return ops.sqrt(var(x, axis, dtype, out, ddof, keepdims, correction=correction))


def logsumexp(x: Any, axis: Axis = None, keepdims: bool = False) -> Array:
    """log(sum(exp(x))) over `axis`, without overflow; its derivative is the softmax."""
    return _over(reduce.logsumexp, x, axis, keepdims)


def cumsum(x: Any, axis: int | None = None, dtype: Any = None, out: None = None) -> Array:
    """The running sums along `axis` (of the flattened array when None)."""
    x, axis = line_of(_given(x, out, dtype), axis)
    return reduce.cumsum(x, axis=axis)


def argmax(x: Any, axis: int | None = None, out: None = None, *, keepdims: bool = False) -> Array:
    """The index of the first greatest entry along `axis` (of the flattened array when None)."""
    x, axis = line_of(_given(x, out), axis)
    return reduce.argmax(x, axis=axis, keepdims=keepdims)


def argmin(x: Any, axis: int | None = None, out: None = None, *, keepdims: bool = False) -> Array:
    """The index of the first least entry along `axis` (of the flattened array when None)."""
    x, axis = line_of(_given(x, out), axis)
    return reduce.argmin(x, axis=axis, keepdims=keepdims)


def argsort(
    x: Any, axis: int | None = -1, kind: str | None = None, order: None = None, *, descending: bool = False, stable: bool = True
) -> Array:
    """The indices that sort `x` along `axis` (of the flattened array when None), NaN last; always stable."""
    x, axis = line_of(x, axis)
    if not descending:
        return reduce.argsort(x, axis=axis)
    # The last of equal entries is the first of the reversed array.
    return ops.subtract(x.shape[axis] - 1, flip(reduce.argsort(flip(x, axis), axis=axis), axis))
