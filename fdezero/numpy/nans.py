"""Reductions that ignore NaN, under NumPy's names. A line of nothing but NaN gives NaN, without a warning."""

from collections.abc import Callable
from typing import Any

import numpy as np

from ..core import Tracer
from ..errors import RangeError
from ..ops import elementwise
from . import reductions, running
from .arguments import Array, ArrayOrNumber, Axis, as_array, beside
from .creation import zeros_like
from .elementwise import cast
from .statistics import ordered_lines, quantile_of_lines

__all__ = [
    "nanargmax", "nanargmin", "nancumprod", "nancumsum", "nanmax", "nanmean", "nanmedian", "nanmin",
    "nanpercentile", "nanprod", "nanquantile", "nanstd", "nansum", "nanvar",
]  # fmt: skip


def _filled(x: Any, value: float) -> tuple[Array, Array]:
    """(`x` with `value` in place of NaN, mask of NaN)."""
    x = as_array(x)
    missing = elementwise.isnan(x) if x.dtype.kind in "fc" else elementwise.not_equal(x, x)
    return (elementwise.where(missing, value, x) if x.dtype.kind in "fc" else x), missing


def nansum(a: Any, axis: Axis = None, dtype: Any = None, keepdims: bool = False) -> ArrayOrNumber:
    """The sum over `axis` (all axes when None), with NaN as 0: a (..., n) -> (...)."""
    return reductions.sum(_filled(a, 0)[0], axis, dtype, None, keepdims)


def nanprod(a: Any, axis: Axis = None, dtype: Any = None, keepdims: bool = False) -> ArrayOrNumber:
    """The product over `axis` (all axes when None), with NaN as 1: a (..., n) -> (...)."""
    return reductions.prod(_filled(a, 1)[0], axis, dtype, None, keepdims)


def nancumsum(a: Any, axis: int | None = None, dtype: Any = None) -> Array:
    """The cumulative sum along `axis` (of the flattened array when None), with NaN as 0: a (..., n) -> (..., n)."""
    return reductions.cumsum(_filled(a, 0)[0], axis, dtype)


def nancumprod(a: Any, axis: int | None = None, dtype: Any = None) -> Array:
    """The cumulative product along `axis` (of the flattened array when None), with NaN as 1: a (..., n) -> (..., n)."""
    return running.cumprod(_filled(a, 1)[0], axis, dtype)


def _extreme(extreme: Callable[..., Array], x: Any, axis: Axis, keepdims: bool, fill: float) -> ArrayOrNumber:
    filled, missing = _filled(x, fill)
    y = extreme(filled, axis, None, keepdims)
    if y.dtype.kind not in "fc":
        return y
    return elementwise.where(reductions.all(missing, axis, None, keepdims), np.nan, y)


def nanmax(a: Any, axis: Axis = None, keepdims: bool = False) -> ArrayOrNumber:
    """The greatest entry over `axis` (all axes when None), ignoring NaN: a (..., n) -> (...).

    Equal greatest entries share the derivative evenly.
    """
    return _extreme(reductions.max, a, axis, keepdims, -np.inf)


def nanmin(a: Any, axis: Axis = None, keepdims: bool = False) -> ArrayOrNumber:
    """The least entry over `axis` (all axes when None), ignoring NaN: a (..., n) -> (...).

    Equal least entries share the derivative evenly.
    """
    return _extreme(reductions.min, a, axis, keepdims, np.inf)


def _extreme_index(
    argextreme: Callable[..., Array], x: Any, axis: int | None, keepdims: bool, fill: float
) -> ArrayOrNumber:
    filled, missing = _filled(x, fill)
    lost = reductions.any(reductions.all(missing, axis))
    if not isinstance(lost, Tracer) and lost:
        raise RangeError(f"nan{argextreme.__name__}: a line along axis {axis} holds nothing but NaN.")
    return argextreme(filled, axis, keepdims=keepdims)


def nanargmax(a: Any, axis: int | None = None, *, keepdims: bool = False) -> ArrayOrNumber:
    """The index of the first greatest entry along `axis` (of the flattened array when None), ignoring NaN.

    Raises RangeError for a line of nothing but NaN.
    """
    return _extreme_index(reductions.argmax, a, axis, keepdims, -np.inf)


def nanargmin(a: Any, axis: int | None = None, *, keepdims: bool = False) -> ArrayOrNumber:
    """The index of the first least entry along `axis` (of the flattened array when None), ignoring NaN.

    Raises RangeError for a line of nothing but NaN.
    """
    return _extreme_index(reductions.argmin, a, axis, keepdims, np.inf)


def _floating(x: Any, dtype: Any) -> Array:
    """Cast `x` to `dtype`, if given; else integers, whose sum could overflow, to float64."""
    x = as_array(x)
    return cast(x, dtype) if dtype is not None else x if x.dtype.kind in "fc" else cast(x, np.float64)


def _mean(x: Any, missing: Array, axis: Axis, keepdims: bool, ddof: float = 0) -> ArrayOrNumber:
    count = reductions.sum(elementwise.logical_not(missing), axis, None, None, keepdims)
    total = reductions.sum(x, axis, None, None, keepdims)
    count = cast(count, total.dtype if total.dtype.kind in "fc" else np.float64) - ddof
    enough = elementwise.greater(count, 0)
    return elementwise.where(enough, elementwise.divide(total, elementwise.where(enough, count, 1)), np.nan)


def nanmean(a: Any, axis: Axis = None, dtype: Any = None, keepdims: bool = False) -> ArrayOrNumber:
    """The mean over `axis` (all axes when None), ignoring NaN: a (..., n) -> (...)."""
    filled, missing = _filled(_floating(a, dtype), 0)
    return _mean(filled, missing, axis, keepdims)


def nanvar(a: Any, axis: Axis = None, dtype: Any = None, ddof: float = 0, keepdims: bool = False) -> ArrayOrNumber:
    """The variance over `axis` (all axes when None), ignoring NaN: a (..., n) -> (...).

    The sum of |a - mean|^2, divided by the count of entries minus `ddof`.
    """
    filled, missing = _filled(_floating(a, dtype), 0)
    centred = elementwise.where(missing, 0, elementwise.subtract(filled, _mean(filled, missing, axis, True)))
    return _mean(reductions.squared_size(centred), missing, axis, keepdims, ddof)


def nanstd(a: Any, axis: Axis = None, dtype: Any = None, ddof: float = 0, keepdims: bool = False) -> ArrayOrNumber:
    """The square root of `nanvar`: a (..., n) -> (...)."""
    return elementwise.sqrt(nanvar(a, axis, dtype, ddof, keepdims))


def nanquantile(a: Any, q: Any, axis: Axis = None, method: str = "linear", keepdims: bool = False) -> ArrayOrNumber:
    """The quantiles `q` over `axis` (all axes when None), ignoring NaN; `q` and `method` as for `quantile`."""
    lines, shape = ordered_lines(a, axis)  # NaN last
    if not lines.shape[-1]:
        q = as_array(q)
        return zeros_like(lines, shape=(*q.shape, *(shape if keepdims else lines.shape[:-1]))) + np.nan
    count = reductions.sum(elementwise.logical_not(elementwise.isnan(lines)), -1, None, None, True)
    return quantile_of_lines(lines, elementwise.maximum(count, 1), beside(q, a), shape, method, keepdims)


def nanpercentile(a: Any, q: Any, axis: Axis = None, method: str = "linear", keepdims: bool = False) -> ArrayOrNumber:
    """The percentiles `q` over `axis` (all axes when None), ignoring NaN; `q` and `method` as for `percentile`."""
    return nanquantile(a, elementwise.divide(beside(q, a), 100), axis, method, keepdims)


def nanmedian(a: Any, axis: Axis = None, keepdims: bool = False) -> ArrayOrNumber:
    """The median over `axis` (all axes when None), ignoring NaN: a (..., n) -> (...)."""
    return nanquantile(a, 0.5, axis, "linear", keepdims)
