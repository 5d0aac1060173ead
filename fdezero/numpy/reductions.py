"""Reductions under NumPy's names and signatures, the cumulative sum, and argsort."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..core import Primitive
from ..messages import refuse_out
from ..ops import elementwise, reductions
from ..values import is_complex
from .arguments import Array, ArrayOrNumber, Axis, as_array, axis_of_number, trailing_axes
from .elementwise import cast, imag, real
from .shape import broadcast_to, flip, line_along

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
    return x if where is True else elementwise.where(as_array(where), x, neutral)


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

    `where` selects the entries that count, and `initial` is added.
    """
    a = _chosen(_given(a, out, dtype), where, 0)
    y = _over(reductions.sum_axes, a, axis, keepdims)
    y = y if type(initial) is int and initial == 0 else elementwise.add(y, initial)
    return y if dtype is None else cast(y, dtype)  # the reduction widens small integers, whatever `dtype` is


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
    y = y if type(initial) is int and initial == 1 else elementwise.multiply(y, initial)
    return y if dtype is None else cast(y, dtype)


def _extreme(
    reduction: Primitive, beyond: Primitive, x: Array, axis: Axis, keepdims: bool, initial: Any, where: Any
) -> ArrayOrNumber:
    if initial is None:
        if where is not True:
            raise ValueError(f"{reduction.name} with where= also needs initial=, the result if no entry is chosen.")
        return _over(reduction, x, axis, keepdims)
    x = elementwise.where(as_array(where), x, elementwise.stop_gradient(initial))
    if not x.size:  # NumPy's own reductions raise for an empty array
        return broadcast_to(as_array(initial), sum(x, axis, None, None, keepdims).shape)
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
    return cast(count, np.finfo(x.dtype).dtype)


def mean(
    a: Any, axis: Axis = None, dtype: Any = None, out: None = None, keepdims: bool = False, *, where: Any = True
) -> ArrayOrNumber:
    """The mean over `axis` (all axes when None): a (..., n) -> (...). `where` selects the entries that count.

    float16 is summed in float32, and integers give float64, as in NumPy.
    """
    a = _given(a, out, dtype)
    if str(a.dtype) == "float16":
        return cast(mean(a, axis, "float32", None, keepdims, where=where), a.dtype)
    if a.dtype.kind not in "fc":  # a sum of integers could overflow
        a = cast(a, np.float64)
    axes = trailing_axes(axis, a.ndim)
    return reductions.sum_axes(_chosen(a, where, 0), axes=axes, keepdims=keepdims) / _count(a, axes, keepdims, where)


def squared_size(x: Array) -> ArrayOrNumber:
    """|x|^2, entry by entry: (...) -> (...)."""
    if not is_complex(x):
        return elementwise.square(x)
    return elementwise.add(elementwise.square(real(x)), elementwise.square(imag(x)))


def var(
    a: Any,
    axis: Axis = None,
    dtype: Any = None,
    out: None = None,
    ddof: float = 0,
    keepdims: bool = False,
    *,
    where: Any = True,
    correction: float = 0,
) -> ArrayOrNumber:
    """The variance over `axis` (all axes when None): a (..., n) -> (...).

    The sum of |a - mean|^2, divided by the count of entries minus `ddof`, which `correction` names as well. `where` and
    dtypes are as for `mean`.
    """
    a = _given(a, out, dtype)
    if str(a.dtype) == "float16":
        return cast(var(a, axis, "float32", None, ddof, keepdims, where=where, correction=correction), a.dtype)
    axes = trailing_axes(axis, a.ndim)
    centred = _chosen(elementwise.subtract(a, mean(a, axes, None, None, True, where=where)), where, 0)
    freedom = _count(centred, axes, keepdims, where) - (ddof or correction)
    return reductions.sum_axes(squared_size(centred), axes=axes, keepdims=keepdims) / freedom


def std(
    a: Any,
    axis: Axis = None,
    dtype: Any = None,
    out: None = None,
    ddof: float = 0,
    keepdims: bool = False,
    *,
    where: Any = True,
    correction: float = 0,
) -> ArrayOrNumber:
    """The square root of `var`: a (..., n) -> (...). Its derivative is infinite where the variance is 0."""
    return elementwise.sqrt(var(a, axis, dtype, out, ddof, keepdims, where=where, correction=correction))


def logsumexp(x: Any, axis: Axis = None, keepdims: bool = False) -> ArrayOrNumber:
    """log(sum(exp(x))) over `axis` (all axes when None), without overflow: x (..., n) -> (...)."""
    return _over(reductions.logsumexp, x, axis, keepdims)


def cumsum(a: Any, axis: int | None = None, dtype: Any = None, out: None = None) -> Array:
    """The cumulative sum along `axis` (of the flattened array when None): a (..., n) -> (..., n)."""
    a, axis = line_along(_given(a, out, dtype), axis)
    return reductions.cumsum(a, axis=axis)


def argmax(a: Any, axis: int | None = None, out: None = None, *, keepdims: bool = False) -> ArrayOrNumber:
    """The index of the first greatest entry along `axis` (of the flattened array when None)."""
    a, axis = line_along(_given(a, out), axis)
    return reductions.argmax(a, axis=axis, keepdims=keepdims)


def argmin(a: Any, axis: int | None = None, out: None = None, *, keepdims: bool = False) -> ArrayOrNumber:
    """The index of the first least entry along `axis` (of the flattened array when None)."""
    a, axis = line_along(_given(a, out), axis)
    return reductions.argmin(a, axis=axis, keepdims=keepdims)


def argsort(
    a: Any,
    axis: int | None = -1,
    kind: str | None = None,
    order: None = None,
    *,
    descending: bool = False,
    stable: bool = True,
) -> Array:
    """The indices that sort `a` along `axis` (of the flattened array when None), NaN last; always stable."""
    a, axis = line_along(a, axis)
    if not descending:
        return reductions.argsort(a, axis=axis)
    # Reversed before and after the sort, equal entries keep their order.
    return elementwise.subtract(a.shape[axis] - 1, flip(reductions.argsort(flip(a, axis), axis=axis), axis))
