"""Reductions under NumPy's names and signatures, the cumulative sum, and argsort."""

import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from ..core import Primitive, unwrap
from ..core.tracer import is_shown
from ..errors import ShapeError
from ..messages import describe, refuse_out
from ..ops import elementwise, reductions
from ..values import WIDE, is_complex, is_half, is_inexact, limits
from .arguments import Array, ArrayOrNumber, Axis, as_array, axis_of_number, inexact, trailing_axes
from .elementwise import cast, imag, real
from .precision import in_single
from .shape import broadcast_to, flip, line_along, reshape

__all__ = [
    "all", "amax", "amin", "any", "argmax", "argmin", "argsort", "cumsum", "logsumexp", "max", "mean", "min",
    "prod", "std", "sum", "var",
]  # fmt: skip


def _over(operation: Callable[..., Array], x: Any, axis: Axis, keepdims: bool) -> ArrayOrNumber:
    x = as_array(x)
    return operation(x, axes=trailing_axes(axis_of_number(axis, x.ndim), x.ndim), keepdims=keepdims)


def _given(x: Any, out: None, dtype: Any = None) -> Array:
    """Convert `x` to an array, cast to `dtype` if given. Raises ImmutableError for `out`."""
    refuse_out(out)
    return as_array(x) if dtype is None else cast(x, dtype)


def _chosen(x: Array, where: Any, neutral: Any) -> Array:
    """Replace the entries that `where` excludes with `neutral`, which does not change the result."""
    if where is True:
        return x
    where = as_array(where)
    if where.ndim > x.ndim:
        raise ShapeError(f"where= {describe(where)} has more axes than the array {describe(x)}.")
    return elementwise.where(where, x, neutral)


def _as_entry(initial: Any, x: Array) -> Any:
    """`initial` in the dtype of the entries of `x`, so that it does not widen the result."""
    if isinstance(initial, bool | int | float) and (is_inexact(x.dtype) or isinstance(initial, int)):
        return initial if is_inexact(x.dtype) else x.dtype.type(initial)  # OverflowError if it does not fit
    return cast(initial, x.dtype)


def sum(
    a: Any,
    axis: Axis = None,
    dtype: Any = None,
    out: None = None,
    keepdims: bool = False,
    initial: Any = 0,
    where: Any = True,
) -> ArrayOrNumber:
    """The sum over `axis` (all axes when None): a (..., n) -> (...).

    `where` selects the entries that count, and `initial` is added. float16 and bfloat16 are summed in float32 and rounded once.
    """
    a = _given(a, out, dtype)
    if a.dtype not in WIDE and is_half(a.dtype):
        return cast(sum(a, axis, "float32", None, keepdims, initial, where), a.dtype)
    a = _chosen(a, where, 0)
    y = _over(reductions.sum_axes, a, axis, keepdims)
    y = y if dtype is None else cast(y, dtype)  # the reduction widens small integers, whatever `dtype` is
    return (
        y if initial is None or (type(initial) is int and initial == 0) else elementwise.add(y, _as_entry(initial, y))
    )


def prod(
    a: Any,
    axis: Axis = None,
    dtype: Any = None,
    out: None = None,
    keepdims: bool = False,
    initial: Any = 1,
    where: Any = True,
) -> ArrayOrNumber:
    """The product over `axis` (all axes when None): a (..., n) -> (...). Its derivative is exact at zeros.

    `where` selects the entries that count, and `initial` is one more factor.
    """
    a = _chosen(_given(a, out, dtype), where, 1)
    y = _over(reductions.product_of, a, axis, keepdims)
    y = y if dtype is None else cast(y, dtype)
    return (
        y
        if initial is None or (type(initial) is int and initial == 1)
        else elementwise.multiply(y, _as_entry(initial, y))
    )


def _extreme(
    reduction: Primitive, beyond: Primitive, x: Array, axis: Axis, keepdims: bool, initial: Any, where: Any
) -> ArrayOrNumber:
    if initial is None:
        if where is not True:
            raise ValueError(f"{reduction.name} with where= also needs initial=, the result if no entry is chosen.")
        return _over(reduction, x, axis, keepdims)
    initial = _as_entry(initial, x)
    x = _chosen(x, where, elementwise.stop_gradient(initial))
    if not x.size:  # NumPy's own reductions raise for an empty array
        return broadcast_to(cast(initial, x.dtype), sum(x, axis, None, None, keepdims).shape)
    return beyond(_over(reduction, x, axis, keepdims), initial)


def max(
    a: Any, axis: Axis = None, out: None = None, keepdims: bool = False, initial: Any = None, where: Any = True
) -> ArrayOrNumber:
    """The greatest entry over `axis` (all axes when None): a (..., n) -> (...). Ties share the derivative evenly.

    `where` selects the entries that count, and `initial` is one more candidate.
    """
    return _extreme(reductions.maximum_of, elementwise.maximum, _given(a, out), axis, keepdims, initial, where)


def min(
    a: Any, axis: Axis = None, out: None = None, keepdims: bool = False, initial: Any = None, where: Any = True
) -> ArrayOrNumber:
    """The least entry over `axis` (all axes when None): a (..., n) -> (...). Ties share the derivative evenly.

    `where` selects the entries that count, and `initial` is one more candidate.
    """
    return _extreme(reductions.minimum_of, elementwise.minimum, _given(a, out), axis, keepdims, initial, where)


amax, amin = max, min


def any(a: Any, axis: Axis = None, out: None = None, keepdims: bool = False, *, where: Any = True) -> ArrayOrNumber:
    """Whether any entry over `axis` (all axes when None) is true: a (..., n) -> (...)."""
    return _over(reductions.any_of, _chosen(_given(a, out), where, False), axis, keepdims)


def all(a: Any, axis: Axis = None, out: None = None, keepdims: bool = False, *, where: Any = True) -> ArrayOrNumber:
    """Whether all entries over `axis` (all axes when None) are true: a (..., n) -> (...)."""
    return _over(reductions.all_of, _chosen(_given(a, out), where, True), axis, keepdims)


def _count(x: Array, axes: tuple[int, ...], keepdims: bool, where: Any) -> Any:
    """The number of entries over `axes` that count: an int, or with `where` an array in x's real dtype."""
    if where is True:
        return math.prod(x.shape[axis] for axis in axes)
    count = sum(broadcast_to(as_array(where), x.shape), axes, None, None, keepdims)
    return cast(count, limits(x.dtype).dtype)


def mean(
    a: Any, axis: Axis = None, dtype: Any = None, out: None = None, keepdims: bool = False, *, where: Any = True
) -> ArrayOrNumber:
    """The mean over `axis` (all axes when None): a (..., n) -> (...). `where` selects the entries that count.

    float16 and bfloat16 are summed in float32, and integers give float64, as in NumPy.
    """
    a = _given(a, out, dtype)
    if is_half(a.dtype):
        return cast(mean(a, axis, "float32", None, keepdims, where=where), a.dtype)
    if not is_inexact(a.dtype):  # a sum of integers could overflow
        y = mean(cast(a, np.float64), axis, None, None, keepdims, where=where)
        return y if dtype is None else cast(y, dtype)
    axes = trailing_axes(axis, a.ndim)
    return reductions.sum_axes(_chosen(a, where, 0), axes=axes, keepdims=keepdims) / _count(a, axes, keepdims, where)


_mean = mean  # which var and std have as a parameter


def squared_size(x: Array) -> ArrayOrNumber:
    """|x|^2, entry by entry: (...) -> (...)."""
    if not is_complex(x):
        return elementwise.square(x)
    return elementwise.add(elementwise.square(real(x)), elementwise.square(imag(x)))


def freedom_of(count: Any, ddof: Any) -> Any:
    """`count` entries minus `ddof` degrees of freedom, at least 0. Warns, as NumPy does, where nothing is left."""
    if isinstance(count, int):
        freedom, lost = (count - ddof if count > ddof else 0), count <= ddof
    else:
        freedom = elementwise.maximum(elementwise.subtract(count, ddof), 0)
        plain = unwrap(freedom) if is_shown(freedom) else None
        lost = isinstance(plain, np.ndarray | np.generic) and not plain.all()  # on a GPU the answer would be waited for
    if lost:
        warnings.warn("Degrees of freedom <= 0 for slice", RuntimeWarning, stacklevel=3)
    return freedom


def one_of(name: str, ddof: float, correction: float | None) -> float:
    """The number that is taken from the count of entries, under either of its names. Raises ValueError for both."""
    if correction is None:
        return ddof
    if ddof:
        raise ValueError(f"{name}: ddof and correction are two names of one number. Give one of them.")
    return correction


def var(
    a: Any,
    axis: Axis = None,
    dtype: Any = None,
    out: None = None,
    ddof: float = 0,
    keepdims: bool = False,
    *,
    where: Any = True,
    mean: Any = None,
    correction: float | None = None,
) -> ArrayOrNumber:
    """The variance over `axis` (all axes when None): a (..., n) -> (...).

    The sum of |a - mean|^2, divided by the count of entries minus `ddof`, which `correction` names as well. `where` and
    dtypes are as for `mean`. With `mean`, of a result with keepdims, the mean is not computed again. If `ddof` leaves no
    entry, you get inf or NaN and a RuntimeWarning.
    """
    ddof = one_of("var and std", ddof, correction)
    whole = as_array(a)
    a = _given(a, out, dtype)
    if is_half(a.dtype):
        spread = whole if is_complex(whole) else a
        return cast(var(spread, axis, "float32", None, ddof, keepdims, where=where, mean=mean), a.dtype)
    axes = trailing_axes(axis, a.ndim)
    centre = _mean(a, axes, None, None, True, where=where) if mean is None else as_array(mean)
    # A real `dtype` is that of the mean and of the sum; as in NumPy, imaginary parts are spread all the same.
    spread = elementwise.subtract(whole if is_complex(whole) else a, centre)
    centred = _chosen(spread, where, 0)
    y = reductions.sum_axes(squared_size(centred), axes=axes, keepdims=keepdims)
    y = y / freedom_of(_count(centred, axes, keepdims, where), ddof)
    return cast(y, dtype) if dtype is not None and (a.dtype.kind in "biu" or is_complex(whole)) else y


def std(
    a: Any,
    axis: Axis = None,
    dtype: Any = None,
    out: None = None,
    ddof: float = 0,
    keepdims: bool = False,
    *,
    where: Any = True,
    mean: Any = None,
    correction: float | None = None,
) -> ArrayOrNumber:
    """The square root of `var`: a (..., n) -> (...). Its derivative is infinite where the variance is 0."""
    y = var(a, axis, dtype, out, ddof, keepdims, where=where, mean=mean, correction=correction)
    return elementwise.sqrt(y)


@in_single
def logsumexp(x: Any, axis: Axis = None, keepdims: bool = False) -> ArrayOrNumber:
    """log(sum(exp(x))) over `axis` (all axes when None), without overflow: x (..., n) -> (...).

    The derivative is the softmax of x, computed without y. If all entries are -inf, y is -inf and every derivative is 0.
    The sum of no entries gives -inf.
    """
    x = inexact(x)
    if not x.size:
        return elementwise.add(_over(reductions.sum_axes, x, axis, keepdims), -math.inf)
    return _over(reductions.logsumexp, x, axis, keepdims)


def cumsum(a: Any, axis: int | None = None, dtype: Any = None, out: None = None) -> Array:
    """The cumulative sum along `axis` (of the flattened array when None): a (..., n) -> (..., n).

    float16 and bfloat16 are summed in float32, and each sum is rounded.
    """
    a, axis = line_along(_given(a, out, dtype), axis)
    if is_half(a.dtype):
        return cast(reductions.cumsum(cast(a, "float32"), axis=axis), a.dtype)
    y = reductions.cumsum(a, axis=axis)
    return y if dtype is None else cast(y, dtype)  # the operation widens small integers


def _extreme_index(operation: Primitive, a: Any, axis: int | None, out: None, keepdims: bool) -> ArrayOrNumber:
    a = _given(a, out)
    line, along = line_along(a, axis)
    if axis is None:
        y = operation(line, axis=along, keepdims=False)
        return reshape(y, (1,) * a.ndim) if keepdims else y
    return operation(line, axis=along, keepdims=keepdims and a.ndim > 0)


def argmax(a: Any, axis: int | None = None, out: None = None, *, keepdims: bool = False) -> ArrayOrNumber:
    """The index of the first greatest entry along `axis` (of the flattened array when None)."""
    return _extreme_index(reductions.argmax, a, axis, out, keepdims)


def argmin(a: Any, axis: int | None = None, out: None = None, *, keepdims: bool = False) -> ArrayOrNumber:
    """The index of the first least entry along `axis` (of the flattened array when None)."""
    return _extreme_index(reductions.argmin, a, axis, out, keepdims)


def check_sort(kind: Any, order: Any, stable: Any) -> None:
    """Refuse what NumPy refuses; every choice that it accepts gives the same stable sort here."""
    if order is not None:
        raise ValueError(f"sort and argsort: order={order!r} names fields, which the array does not have.")
    if kind is not None and stable is not None:
        raise ValueError("sort and argsort: kind and stable say the same. Give one of them.")
    if kind is not None and str(kind).lower()[:1] not in ("q", "h", "m", "s"):
        raise ValueError(f"sort and argsort: kind must be 'quicksort', 'heapsort' or 'stable', got {kind!r}.")


def argsort(
    a: Any,
    axis: int | None = -1,
    kind: str | None = None,
    order: None = None,
    *,
    stable: bool | None = None,
    descending: bool | None = False,
) -> Array:
    """The indices that sort `a` along `axis` (of the flattened array when None), NaN last; always stable."""
    check_sort(kind, order, stable)
    a, axis = line_along(a, axis)
    if not descending:
        return reductions.argsort(a, axis=axis)
    if a.dtype.kind not in "biu":
        return reductions.argsort(elementwise.negative(a), axis=axis)  # NaN has no negative, so it stays last
    # Reversed before and after the sort, equal entries keep their order.
    return elementwise.subtract(a.shape[axis] - 1, flip(reductions.argsort(flip(a, axis), axis=axis), axis))
