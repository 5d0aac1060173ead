"""Order statistics, weighted means and covariances under NumPy's names."""

import math
from typing import Any

import numpy as np

from ..errors import DTypeError, RangeError, ShapeError
from ..messages import describe, refuse_out
from ..ops import elementwise, indexing
from ..ops.checks import checked
from ..values import is_floating, is_inexact
from .arguments import Array, ArrayOrNumber, Axis, as_array, beside, inexact, trailing_axes, trailing_axis
from .creation import zeros_like
from .elementwise import cast, clip, conjugate, round
from .indexing import getitem, take_along_axis
from .products import matmul
from .reductions import all as all_of
from .reductions import any as any_of
from .reductions import argsort, cumsum, freedom_of, mean
from .reductions import max as max_of
from .reductions import min as min_of
from .reductions import sum as sum_of
from .shape import broadcast_to, concatenate, expand_dims, matrix_transpose, moveaxis, reshape, squeeze, transpose
from .sorting import sort

__all__ = ["average", "corrcoef", "cov", "median", "percentile", "ptp", "quantile"]

# alpha and beta of the continuous estimates in Hyndman and Fan, Sample quantiles in statistical packages (1996).
ESTIMATES = {
    "interpolated_inverted_cdf": (0.0, 1.0), "hazen": (0.5, 0.5), "weibull": (0.0, 0.0), "linear": (1.0, 1.0),
    "median_unbiased": (1 / 3, 1 / 3), "normal_unbiased": (3 / 8, 3 / 8),
}  # fmt: skip
METHODS = (
    *ESTIMATES, "lower", "higher", "nearest", "midpoint", "inverted_cdf", "averaged_inverted_cdf", "closest_observation"
)  # fmt: skip

PICKING = ("lower", "higher", "nearest", "inverted_cdf", "closest_observation")  # the result is an entry


def _lines(x: Array, axis: Axis) -> Array:
    """The axes `axis` of `x` merged into a last one."""
    axes = trailing_axes(axis, x.ndim)
    kept = [i for i in range(-x.ndim, 0) if i not in axes]
    shape = (*[x.shape[i] for i in kept], math.prod(x.shape[i] for i in axes))
    return reshape(transpose(x, (*kept, *axes)), shape)


def ordered_lines(x: Any, axis: Axis, method: str = "linear") -> tuple[Array, tuple[int, ...]]:
    """(lines, shape): the axes `axis` of `x` merged into a last one and sorted; the shape of a result with keepdims.

    The entries are floating numbers, unless `method` picks one of them as it is.
    """
    if method not in METHODS:
        raise ValueError(f"quantile: method must be one of {', '.join(METHODS)}; got {method!r}.")
    x = as_array(x)
    if method not in PICKING:
        x = inexact(x)
    axes = trailing_axes(axis, x.ndim)
    return sort(_lines(x, axis)), tuple(1 if i in axes else x.shape[i] for i in range(-x.ndim, 0))


def spoiled(lines: Array, where: Array) -> Array:
    """`lines` (..., n), but NaN in those that `where` (..., 1) names, and NaN as the derivative of all their entries."""
    if not is_inexact(lines.dtype):
        return lines
    # A quotient, because its derivative stays 0 for what nothing depends on.
    y = elementwise.divide(lines, cast(elementwise.where(where, np.nan, 1.0), lines.dtype))
    return y if is_floating(lines.dtype) else elementwise.where(where, y, lines)  # a complex infinity over 1 is NaN


def _places(q: Array, n: Any, method: str) -> tuple[Array, Array]:
    """The two neighbours of each quantile in a line of `n` entries, and the weight of the second."""
    if method in ("lower", "higher", "nearest", "midpoint", "linear"):
        place = elementwise.multiply(n - 1, q)
    elif method in ESTIMATES:
        alpha, beta = ESTIMATES[method]
        place = n * q + (alpha + q * (1 - alpha - beta)) - 1
    else:
        place = n * q - (1.5 if method == "closest_observation" else 1.0)
    place = elementwise.minimum(elementwise.maximum(place, 0.0 if method != "closest_observation" else -1.0), n - 1)
    low = elementwise.floor(place)
    weight = elementwise.subtract(place, elementwise.stop_gradient(low))
    if method == "lower":
        weight = elementwise.multiply(weight, 0)
    elif method == "higher" or method == "inverted_cdf":
        weight = elementwise.where(elementwise.greater(weight, 0), 1.0, 0.0)
    elif method == "nearest":
        weight = elementwise.subtract(round(place), low)
    elif method == "midpoint":
        weight = elementwise.where(elementwise.greater(weight, 0), 0.5, 0.0)
    elif method == "averaged_inverted_cdf":
        weight = elementwise.where(
            elementwise.greater(weight, 0), 1.0, elementwise.where(elementwise.less(n * q - 1.0, 0), 0.0, 0.5)
        )
    elif method == "closest_observation":
        weight = elementwise.where(
            elementwise.logical_and(elementwise.equal(weight, 0), elementwise.equal(elementwise.remainder(low, 2), 1)),
            0.0,
            1.0,
        )
    return low, weight


def quantile_of_lines(
    lines: Array, n: Any, q: Any, shape: tuple[int, ...], method: str, keepdims: bool
) -> ArrayOrNumber:
    """The quantiles `q` of each of the sorted `lines` (..., m), whose first `n` entries count: (*q.shape, ...)."""
    flat = reshape(q, (-1,))
    low, weight = _places(flat, n, method)
    first = cast(elementwise.maximum(low, 0), np.int64)
    second = elementwise.minimum(
        elementwise.maximum(cast(low, np.int64) + 1, 0), n - 1 if isinstance(n, int) else cast(n - 1, np.int64)
    )
    loops = lines.shape[:-1]
    first, second = (broadcast_to(i, (*loops, flat.shape[0])) for i in (first, second))
    a, b = take_along_axis(lines, first), take_along_axis(lines, second)
    if method in PICKING:
        y = elementwise.where(elementwise.greater(weight, 0.5), b, a)
    else:
        alike = elementwise.logical_and(elementwise.isinf(a), elementwise.equal(a, b))  # inf - inf would be NaN
        gap = elementwise.subtract(*[elementwise.where(alike, 0, end) for end in (b, a)])
        # As in NumPy, one quantile has the dtype of the entries, and several quantiles widen it to theirs.
        share, weight = weight, cast(weight, np.result_type(a.dtype, q.dtype) if q.ndim else a.dtype)
        # From the nearer end, so that the weight 1 gives b itself, but never from an infinite one: inf - inf would be NaN.
        near = elementwise.logical_and(elementwise.less(share, 0.5), elementwise.isfinite(a))
        upwards = elementwise.logical_or(near, elementwise.isinf(b))
        y = elementwise.where(upwards, a + gap * weight, b - gap * (1 - weight))
        # No part of an infinite gap is none of it; 0 * inf would be NaN.
        y = elementwise.where(elementwise.logical_and(elementwise.isinf(gap), elementwise.equal(share, 1)), b, y)
        on_first = elementwise.logical_or(
            alike, elementwise.logical_and(elementwise.isinf(gap), elementwise.equal(weight, 0))
        )
        y = elementwise.where(on_first, a, y)
    y = moveaxis(y, -1, 0)
    return reshape(y, (*q.shape, *(shape if keepdims else loops)))


def check_shares(q: Array) -> None:
    """Raise RangeError unless the quantiles lie between 0 and 1."""
    checked(
        q,
        test=lambda q: (q >= 0) & (q <= 1),
        error=lambda q: RangeError(f"quantile: q must lie between 0 and 1, got {q}."),
    )


def check_booleans(a: Any, method: str) -> None:
    """Raise DTypeError for truth values, unless `method` picks one of them."""
    if method not in PICKING and as_array(a).dtype == bool:
        raise DTypeError(
            f"quantile: there is nothing between False and True. Use one of the methods {', '.join(PICKING)}."
        )


def weighted_quantile(
    name: str, a: Any, q: Array, axis: Axis, method: str, keepdims: bool, weights: Any, ignores_nan: bool
) -> ArrayOrNumber:
    """The first entries at which the share of the weights up to there reaches `q`: (*q.shape, ...)."""
    a = inexact(a)
    weights = weights_like(name, a, axis, weights)
    if method != "inverted_cdf":
        raise ValueError(f"{name}: weights= needs the method 'inverted_cdf', got {method!r}.")
    checked(weights, test=lambda w: ~(w < 0), error=lambda _: RangeError(f"{name}: the weights must not be negative."))
    shape = mean(a, axis=axis, keepdims=True).shape if keepdims else None
    lines, weights = _lines(a, axis), cast(_lines(weights, axis), np.float64)
    missing = elementwise.isnan(lines)
    if ignores_nan:
        weights = elementwise.where(missing, 0, weights)
    order = argsort(lines)
    lines, share = take_along_axis(lines, order), cumsum(take_along_axis(weights, order), -1)
    total = getitem(share, (..., slice(-1, None)))
    lost = all_of(missing, -1, None, True) if ignores_nan else any_of(missing, -1, None, True)
    checked(
        elementwise.where(lost, 1.0, total) if ignores_nan else total,
        test=lambda sums: np.isfinite(sums) & (sums > 0),
        error=lambda _: RangeError(f"{name}: the sum of the weights must be finite and above 0."),
    )
    share = elementwise.divide(share, elementwise.where(elementwise.greater(total, 0), total, 1.0))
    share = elementwise.where(elementwise.equal(share, 0), -1, share)  # so that q = 0 finds an entry with a weight
    loops, flat = lines.shape[:-1], reshape(cast(q, np.float64), (-1,))
    place = indexing.searchsorted(share, broadcast_to(flat, (*loops, flat.shape[0])), points=1, side="left")
    y = take_along_axis(lines, elementwise.minimum(place, lines.shape[-1] - 1))
    y = moveaxis(elementwise.where(lost, np.nan, y), -1, 0)
    return reshape(y, (*q.shape, *(loops if shape is None else shape)))


def weights_like(name: str, a: Array, axis: Axis, weights: Any) -> Array:
    """`weights` of a's shape, or of the shape of its axes `axis` in that order, broadcast to a's shape."""
    weights = beside(weights, a)
    if weights.shape == a.shape:
        return weights
    axes = [] if axis is None else [trailing_axis(int(i), a.ndim) for i in np.atleast_1d(axis)]
    if not axes or weights.shape != tuple(a.shape[i] for i in axes):
        raise ShapeError(
            f"{name}: weights {describe(weights)} must have the shape of {describe(a)}, or of its axis={axis}."
        )
    weights = transpose(weights, sorted(range(len(axes)), key=lambda i: axes[i]))
    return broadcast_to(reshape(weights, tuple(n if i in axes else 1 for i, n in enumerate(a.shape, -a.ndim))), a.shape)


def quantile(
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
    """The quantiles `q`, from 0 to 1, over `axis` (all axes when None): a (..., n) -> (*q.shape, ...).

    `method` is one of NumPy's thirteen. A quantile is differentiable in the sorted entries beside it and in q. A line
    with NaN gives NaN. `weights`, of a's shape or of the lengths of `axis`, go with the method "inverted_cdf". Nothing
    is overwritten. Source: Hyndman and Fan (1996).
    """
    refuse_out(out)
    q = beside(q, a)
    check_shares(q)
    if weights is not None:
        return weighted_quantile("quantile", a, q, axis, method, keepdims, weights, ignores_nan=False)
    check_booleans(a, method)
    lines, shape = ordered_lines(a, axis, method)
    lines = spoiled(lines, elementwise.isnan(getitem(lines, (..., slice(-1, None)))))
    return quantile_of_lines(lines, lines.shape[-1], q, shape, method, keepdims)


def percentile(
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
    """The percentiles `q`, from 0 to 100, otherwise as `quantile`: a (..., n) -> (*q.shape, ...)."""
    q = elementwise.divide(beside(q, a), 100)
    return quantile(a, q, axis, out, method=method, keepdims=keepdims, weights=weights)


def median(
    a: Any, axis: Axis = None, out: None = None, overwrite_input: bool = False, keepdims: bool = False
) -> ArrayOrNumber:
    """The median over `axis` (all axes when None): a (..., n) -> (...). Nothing is overwritten.

    It is the middle entry, or the mean of the middle two. A line with NaN, or without entries, gives NaN.
    """
    refuse_out(out)
    lines, shape = ordered_lines(a, axis)
    n = lines.shape[-1]
    if not n:
        return zeros_like(lines, shape=shape if keepdims else lines.shape[:-1]) + np.nan
    lines = spoiled(lines, elementwise.isnan(getitem(lines, (..., slice(-1, None)))))
    y = mean(getitem(lines, (..., slice((n - 1) // 2, n // 2 + 1))), axis=-1)
    return reshape(y, shape) if keepdims else y


def average(a: Any, axis: Axis = None, weights: Any = None, returned: bool = False, *, keepdims: bool = False) -> Any:
    """The mean over `axis` (all axes when None), weighted by `weights` of a's shape, or of the length of `axis`.

    With `returned`, you also get the sum of the weights.
    """
    a = as_array(a)
    if weights is None:
        y = mean(a, axis=axis, keepdims=keepdims)
        total = zeros_like(y) + a.size / max(y.size, 1)
    else:
        trailing_axes(axis, a.ndim)  # an axis of a number is an error here
        weights = weights_like("average", a, axis, weights)
        dtype = np.result_type(a.dtype, weights.dtype, *[np.float64] * (a.dtype.kind in "biu"))
        a, weights = cast(a, dtype), cast(weights, dtype)
        total = sum_of(weights, axis=axis, keepdims=keepdims)
        checked(total, test=lambda x: x != 0, error=lambda _: ZeroDivisionError("average: the weights sum to 0."))
        y = elementwise.divide(sum_of(elementwise.multiply(a, weights), axis=axis, keepdims=keepdims), total)
    return (y, total) if returned else y


def ptp(a: Any, axis: Axis = None, out: None = None, keepdims: bool = False) -> ArrayOrNumber:
    """The greatest minus the least entry over `axis` (all axes when None): a (..., n) -> (...)."""
    refuse_out(out)
    return elementwise.subtract(max_of(a, axis=axis, keepdims=keepdims), min_of(a, axis=axis, keepdims=keepdims))


def cov(
    m: Any,
    y: Any = None,
    rowvar: bool = True,
    bias: bool = False,
    ddof: int | None = None,
    fweights: Any = None,
    aweights: Any = None,
    *,
    dtype: Any = None,
) -> ArrayOrNumber:
    """The covariances of variables, the rows of `m` (k, n) and of `y`, or the columns unless `rowvar`: (k, k).

    `fweights` (n,) says how often each observation occurs, `aweights` (n,) how much it counts.
    The result is of `dtype`, by default float64, or complex128, as in NumPy. If `ddof` leaves no entry, you get inf or
    NaN and a RuntimeWarning.
    """
    rows = []
    for x in (m, y):
        if x is not None:
            x = as_array(x)
            x = cast(x, np.result_type(x.dtype, np.float64) if dtype is None else dtype)
            rows.append(reshape(x, (1, x.size)) if x.ndim < 2 else x if rowvar else matrix_transpose(x))
    x = rows[0] if len(rows) == 1 else concatenate(rows, 0)
    if ddof is not None and ddof != int(ddof):
        raise ValueError(f"cov: ddof must be an integer, got {ddof}.")
    ddof = (0 if bias else 1) if ddof is None else int(ddof)
    weights = None
    for name, given in (("fweights", fweights), ("aweights", aweights)):
        if given is not None:
            given = _weights_of_observations(name, given, x)
            weights = given if weights is None else elementwise.multiply(weights, given)
    if weights is None:
        centred = x - mean(x, axis=1, keepdims=True)
        factor, weighted = freedom_of(x.shape[1], ddof), centred
    else:
        total = inexact(sum_of(weights))
        checked(total, test=lambda sums: sums != 0, error=lambda _: ZeroDivisionError("cov: the weights sum to 0."))
        centred = cast(x - sum_of(x * weights, axis=1, keepdims=True) / total, x.dtype)
        factor = freedom_of(total, ddof if aweights is None else ddof * sum_of(weights * aweights) / total)
        weighted = centred * weights
    other = matrix_transpose(weighted)
    products = matmul(centred, conjugate(other))
    return squeeze(elementwise.divide(products, factor))


def _weights_of_observations(name: str, weights: Any, x: Array) -> Array:
    weights = beside(weights, x)
    if weights.shape != x.shape[1:]:
        raise ShapeError(
            f"cov: {name} {describe(weights)} must have one entry for each of the {x.shape[1]} observations."
        )
    checked(weights, test=lambda w: ~(w < 0), error=lambda _: RangeError(f"cov: {name} must not be negative."))
    if name == "fweights" and is_floating(weights.dtype):
        checked(weights, test=lambda w: w == np.round(w), error=lambda _: TypeError("cov: fweights must be integers."))
    return weights


def corrcoef(x: Any, y: Any = None, rowvar: bool = True, *, dtype: Any = None) -> ArrayOrNumber:
    """The correlations of variables, given as for `cov`: (k, k), between -1 and 1."""
    c = cov(x, y, rowvar, dtype=dtype)
    if not c.ndim:
        return elementwise.divide(c, c)
    deviations = elementwise.sqrt(getitem(c, (np.arange(c.shape[0]), np.arange(c.shape[0]))))
    r = elementwise.divide(elementwise.divide(c, expand_dims(deviations, 1)), deviations)
    return clip(r, -1, 1)
