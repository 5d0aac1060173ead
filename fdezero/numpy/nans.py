"""Reductions that ignore NaN, under NumPy's names. A line of nothing but NaN gives NaN, without a warning."""

from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import RangeError
from ..messages import refuse_out
from ..ops import elementwise
from ..ops.checks import checked
from ..values import is_complex, is_floating, is_inexact
from . import reductions, running
from .arguments import Array, ArrayOrNumber, Axis, as_array, beside, inexact
from .creation import zeros_like
from .elementwise import cast
from .indexing import getitem
from .shape import broadcast_to
from .statistics import check_booleans, check_shares, ordered_lines, quantile_of_lines, spoiled, weighted_quantile

__all__ = [
    "nanargmax", "nanargmin", "nancumprod", "nancumsum", "nanmax", "nanmean", "nanmedian", "nanmin",
    "nanpercentile", "nanprod", "nanquantile", "nanstd", "nansum", "nanvar",
]  # fmt: skip


def _filled(x: Any, value: float, where: Any = True) -> tuple[Array, Array]:
    """(`x` with `value` in place of NaN, mask of NaN and of what `where` excludes)."""
    x = as_array(x)
    missing = elementwise.isnan(x) if is_inexact(x.dtype) else elementwise.not_equal(x, x)
    filled = elementwise.where(missing, value, x) if is_inexact(x.dtype) else x
    return filled, missing if where is True else elementwise.logical_or(missing, elementwise.logical_not(where))


def nansum(
    a: Any,
    axis: Axis = None,
    dtype: Any = None,
    out: None = None,
    keepdims: bool = False,
    initial: Any = 0,
    where: Any = True,
) -> ArrayOrNumber:
    """The sum over `axis` (all axes when None), with NaN as 0: a (..., n) -> (...).

    `where` selects the entries that count, and `initial` is added.
    """
    return reductions.sum(_filled(a, 0)[0], axis, dtype, out, keepdims, initial, where)


def nanprod(
    a: Any,
    axis: Axis = None,
    dtype: Any = None,
    out: None = None,
    keepdims: bool = False,
    initial: Any = 1,
    where: Any = True,
) -> ArrayOrNumber:
    """The product over `axis` (all axes when None), with NaN as 1: a (..., n) -> (...).

    `where` selects the entries that count, and `initial` is one more factor.
    """
    return reductions.prod(_filled(a, 1)[0], axis, dtype, out, keepdims, initial, where)


def nancumsum(a: Any, axis: int | None = None, dtype: Any = None, out: None = None) -> Array:
    """The cumulative sum along `axis` (of the flattened array when None), with NaN as 0: a (..., n) -> (..., n)."""
    return reductions.cumsum(_filled(a, 0)[0], axis, dtype, out)


def nancumprod(a: Any, axis: int | None = None, dtype: Any = None, out: None = None) -> Array:
    """The cumulative product along `axis` (of the flattened array when None), with NaN as 1: a (..., n) -> (..., n)."""
    return running.cumprod(_filled(a, 1)[0], axis, dtype, out)


def _extreme(
    extreme: Callable[..., Array], a: Any, axis: Axis, out: None, keepdims: bool, initial: Any, where: Any, fill: float
) -> ArrayOrNumber:
    filled, missing = _filled(a, fill, where)
    y = extreme(filled, axis, out, keepdims, initial, where)
    if not is_inexact(y.dtype) or initial is not None:
        return y
    y = elementwise.where(reductions.all(missing, axis, None, keepdims), np.nan, y)
    return _with_lost_lines(y, as_array(a), missing, axis, keepdims, where)


def _with_lost_lines(y: Array, a: Array, missing: Array, axis: Axis, keepdims: bool, where: Any) -> ArrayOrNumber:
    """`y`, but the maximum of a line of nothing but NaN: it is NaN, and its derivative is NaN as well, not 0."""
    if where is not True or not is_floating(a.dtype) or not a.size:
        return y
    lost = reductions.all(missing, axis, None, keepdims)
    return elementwise.where(lost, reductions.max(a, axis, None, keepdims), y)


def nanmax(
    a: Any, axis: Axis = None, out: None = None, keepdims: bool = False, initial: Any = None, where: Any = True
) -> ArrayOrNumber:
    """The greatest entry over `axis` (all axes when None), ignoring NaN: a (..., n) -> (...).

    Equal greatest entries share the derivative evenly. `where` selects the entries that count, and `initial` is one
    more candidate.
    """
    return _extreme(reductions.max, a, axis, out, keepdims, initial, where, -np.inf)


def nanmin(
    a: Any, axis: Axis = None, out: None = None, keepdims: bool = False, initial: Any = None, where: Any = True
) -> ArrayOrNumber:
    """The least entry over `axis` (all axes when None), ignoring NaN: a (..., n) -> (...).

    Equal least entries share the derivative evenly. `where` selects the entries that count, and `initial` is one more
    candidate.
    """
    return _extreme(reductions.min, a, axis, out, keepdims, initial, where, np.inf)


def _extreme_index(
    argextreme: Callable[..., Array], x: Any, axis: int | None, out: None, keepdims: bool, fill: float
) -> ArrayOrNumber:
    filled, missing = _filled(x, fill)
    lost = reductions.any(reductions.all(missing, axis))
    complaint = f"nan{argextreme.__name__}: a line along axis {axis} holds nothing but NaN."
    checked(lost, test=np.logical_not, error=lambda _: RangeError(complaint))
    return argextreme(filled, axis, out, keepdims=keepdims)


def nanargmax(a: Any, axis: int | None = None, out: None = None, *, keepdims: bool = False) -> ArrayOrNumber:
    """The index of the first greatest entry along `axis` (of the flattened array when None), ignoring NaN.

    Raises RangeError for a line of nothing but NaN.
    """
    return _extreme_index(reductions.argmax, a, axis, out, keepdims, -np.inf)


def nanargmin(a: Any, axis: int | None = None, out: None = None, *, keepdims: bool = False) -> ArrayOrNumber:
    """The index of the first least entry along `axis` (of the flattened array when None), ignoring NaN.

    Raises RangeError for a line of nothing but NaN.
    """
    return _extreme_index(reductions.argmin, a, axis, out, keepdims, np.inf)


def _floating(x: Any, dtype: Any) -> Array:
    """Cast `x` to `dtype`, if given; else integers, whose sum could overflow, to float64."""
    x = as_array(x)
    return cast(x, dtype) if dtype is not None else x if is_inexact(x.dtype) else cast(x, np.float64)


def _mean(x: Any, missing: Array, axis: Axis, keepdims: bool, ddof: float = 0) -> ArrayOrNumber:
    """The sum of `x` over the entries that are not missing, divided by their count minus `ddof`."""
    count = reductions.sum(elementwise.logical_not(missing), axis, None, None, keepdims)
    total = reductions.sum(elementwise.where(missing, 0, x), axis, None, None, keepdims)
    count = cast(count, total.dtype if is_inexact(total.dtype) else np.float64) - ddof
    enough = elementwise.greater(count, 0)
    return elementwise.where(enough, elementwise.divide(total, elementwise.where(enough, count, 1)), np.nan)


def nanmean(
    a: Any, axis: Axis = None, dtype: Any = None, out: None = None, keepdims: bool = False, *, where: Any = True
) -> ArrayOrNumber:
    """The mean over `axis` (all axes when None), ignoring NaN: a (..., n) -> (...).

    `where` selects the entries that count.
    """
    refuse_out(out)
    a = _floating(a, dtype)
    filled, missing = _filled(a, 0, where)
    y = _mean(filled, broadcast_to(missing, filled.shape), axis, keepdims)
    return _with_lost_lines(y, a, missing, axis, keepdims, where)


def nanvar(
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
    """The variance over `axis` (all axes when None), ignoring NaN: a (..., n) -> (...).

    The sum of |a - mean|^2, divided by the count of entries minus `ddof`; NaN if `ddof` leaves no entry. Parameters
    are those of `var`.
    """
    refuse_out(out)
    ddof = reductions.one_of("nanvar and nanstd", ddof, correction)
    if not is_inexact(as_array(a).dtype):
        return reductions.var(a, axis, dtype, None, ddof, keepdims, where=where, mean=mean)
    whole = _filled(a, 0)[0]
    a = _floating(a, dtype)
    filled, missing = _filled(a, 0, where)
    missing = broadcast_to(missing, filled.shape)
    centre = _mean(filled, missing, axis, True) if mean is None else as_array(mean)
    # As for `var`, a real `dtype` is that of the mean and of the sum.
    spread = elementwise.subtract(whole if is_complex(whole) else filled, centre)
    y = _mean(reductions.squared_size(elementwise.where(missing, 0, spread)), missing, axis, keepdims, ddof)
    y = (
        y
        if dtype is None or (is_floating(y.dtype) and is_floating(filled.dtype) and y.dtype == filled.dtype)
        else cast(y, dtype)
    )
    return _with_lost_lines(y, a, missing, axis, keepdims, where)


def nanstd(
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
    """The square root of `nanvar`: a (..., n) -> (...)."""
    y = nanvar(a, axis, dtype, out, ddof, keepdims, where=where, mean=mean, correction=correction)
    return elementwise.sqrt(y)


def nanquantile(
    a: Any,
    q: Any,
    axis: Axis = None,
    out: None = None,
    overwrite_input: bool = False,
    method: str = "linear",
    keepdims: bool = False,
    *,
    weights: Any = None,
) -> ArrayOrNumber:
    """The quantiles `q` over `axis` (all axes when None), ignoring NaN; parameters as for `quantile`."""
    refuse_out(out)
    if weights is not None:
        q = beside(q, a)
        return weighted_quantile("nanquantile", a, q, axis, method, keepdims, weights, ignores_nan=True)
    q = beside(q, a)
    check_shares(q)
    check_booleans(a, method)
    lines, shape = ordered_lines(a, axis, method)  # NaN last
    if not lines.shape[-1]:
        return zeros_like(lines, shape=(*q.shape, *(shape if keepdims else lines.shape[:-1]))) + np.nan
    lines = spoiled(lines, elementwise.isnan(getitem(lines, (..., slice(0, 1)))))  # the first is NaN where all are
    count = reductions.sum(elementwise.logical_not(elementwise.isnan(lines)), -1, None, None, True)
    return quantile_of_lines(lines, elementwise.maximum(count, 1), q, shape, method, keepdims)


def nanpercentile(
    a: Any,
    q: Any,
    axis: Axis = None,
    out: None = None,
    overwrite_input: bool = False,
    method: str = "linear",
    keepdims: bool = False,
    *,
    weights: Any = None,
) -> ArrayOrNumber:
    """The percentiles `q` over `axis` (all axes when None), ignoring NaN; parameters as for `quantile`."""
    q = elementwise.divide(beside(q, a), 100)
    return nanquantile(a, q, axis, out, method=method, keepdims=keepdims, weights=weights)


def nanmedian(
    a: Any, axis: Axis = None, out: None = None, overwrite_input: bool = False, keepdims: bool = False
) -> ArrayOrNumber:
    """The median over `axis` (all axes when None), ignoring NaN: a (..., n) -> (...). Nothing is overwritten."""
    return nanquantile(inexact(a), 0.5, axis, out, keepdims=keepdims)
