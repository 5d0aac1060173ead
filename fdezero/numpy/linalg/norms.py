"""Norms of vectors and matrices, the condition number, and the rank, under NumPy's names."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ...core import Tracer
from ...errors import MatrixError, ShapeError
from ...messages import describe
from ...ops import elementwise, linalg, slopes
from .. import shape as shapes
from ..arguments import Array, ArrayOrNumber, as_array, beside, inexact, trailing_axis
from ..elementwise import absolute, cast, real
from ..precision import in_single
from ..reductions import max as max_of
from ..reductions import min as min_of
from ..reductions import squared_size
from ..reductions import sum as sum_of
from .arguments import matrices, numbers, squares
from .factors import svdvals

__all__ = ["cond", "matrix_norm", "matrix_rank", "norm", "vector_norm"]

Order = int | float | str | None
Axes = tuple[int, ...]


def norm(x: Any, ord: Order = None, axis: int | Sequence[int] | None = None, keepdims: bool = False) -> ArrayOrNumber:
    """The norm over one axis (of vectors), two axes (of matrices), or all entries when `axis` and `ord` are None.

    Vectors: a number p is sum(|x|^p)^(1/p), inf and -inf the greatest and least |x|, 0 the count of nonzero entries,
    and None is 2. Matrices: "fro" (None), "nuc", 2 and -2 (singular values), 1 and -1 (columns), inf and -inf (rows).
    The derivative at the zero vector is 0.
    """
    x = inexact(x)
    if axis is None:
        axes: Axes = tuple(range(-x.ndim, 0))
        if ord is None:
            return _length(x, axes, keepdims)
    else:
        axes = tuple(trailing_axis(int(a), x.ndim) for a in ([axis] if isinstance(axis, int | np.integer) else axis))
    if len(axes) == 1:
        return _vector_norm(x, ord, axes, keepdims)
    if len(axes) == 2 and axes[0] != axes[1]:
        return _matrix_norm(x, ord, axes, keepdims)
    raise ShapeError(
        f"linalg.norm of order {ord!r} needs one axis or two, got {describe(x)} and axis={axis}. Pass axis=."
    )


def vector_norm(
    x: Any, /, *, axis: int | Sequence[int] | None = None, keepdims: bool = False, ord: int | float = 2
) -> ArrayOrNumber:
    """The norm of order `ord` of the entries over `axis` (all axes when None), taken as one vector."""
    x = inexact(x)
    named = range(x.ndim) if axis is None else [axis] if isinstance(axis, int | np.integer) else axis
    return _vector_norm(x, ord, tuple(trailing_axis(int(a), x.ndim) for a in named), keepdims)


def matrix_norm(x: Any, /, *, keepdims: bool = False, ord: Order = "fro") -> ArrayOrNumber:
    """The norm of order `ord` of matrices: x (..., m, n) -> (...)."""
    return norm(x, ord, (-2, -1), keepdims)


def _unless_zero(function: Callable[[Array], Array], x: Array, at_zero: Any) -> ArrayOrNumber:
    """function(x), but 0 with the derivatives of `at_zero` where x is 0."""
    zero = elementwise.equal(x, 0)
    return elementwise.where(zero, real(at_zero(zero, x)), function(elementwise.where(zero, 1, x)))


@in_single
def _length(x: Array, axes: Axes, keepdims: bool) -> ArrayOrNumber:
    return slopes.root(sum_of(squared_size(x), axis=axes, keepdims=keepdims))


def _vector_norm(x: Array, ord: Order, axes: Axes, keepdims: bool) -> ArrayOrNumber:
    if isinstance(ord, str):
        raise ValueError(f"linalg.norm: the order of a vector norm must be a number, inf or -inf, got {ord!r}.")
    if isinstance(
        ord, Tracer
    ):  # no special value decides, because the derivative by the order needs the general formula
        return _general_norm(x, ord, axes, keepdims)
    if ord is None or ord == 2:
        return _length(x, axes, keepdims)
    size = absolute(x)
    if ord == math.inf:
        return _greatest(size, axes, keepdims)
    if ord == -math.inf:
        return min_of(size, axis=axes, keepdims=keepdims)
    if ord == 0:
        return sum_of(cast(elementwise.not_equal(size, 0), size.dtype), axis=axes, keepdims=keepdims)
    if ord == 1:
        return sum_of(size, axis=axes, keepdims=keepdims)
    if ord < 0:
        return elementwise.power(sum_of(elementwise.power(size, ord), axis=axes, keepdims=keepdims), 1 / ord)
    return _general_norm(x, ord, axes, keepdims)


def _greatest(sizes: Array, axes: Any, keepdims: bool) -> ArrayOrNumber:
    """The greatest size over `axes`, and 0 if there is none."""
    return max_of(sizes, axis=axes, keepdims=keepdims, initial=None if sizes.size else 0)


@in_single
def _general_norm(x: Array, ord: Any, axes: Axes, keepdims: bool) -> ArrayOrNumber:
    settled = slopes.flatter if not isinstance(ord, Tracer) and ord > 2 else slopes.flat
    sizes = _unless_zero(lambda entries: elementwise.power(absolute(entries), ord), x, settled)
    total = sum_of(sizes, axis=axes, keepdims=keepdims)
    return _unless_zero(lambda sums: elementwise.power(sums, 1 / ord), total, slopes.flat)


def _matrix_norm(x: Array, ord: Order, axes: Axes, keepdims: bool) -> ArrayOrNumber:
    if ord in (None, "fro", "f"):
        return _length(x, axes, keepdims)
    if ord in (1, -1, math.inf, -math.inf):
        within, over = axes if ord in (1, -1) else axes[::-1]
        sums = sum_of(absolute(x), axis=within, keepdims=True)
        y = _greatest(sums, over, True) if ord in (1, math.inf) else min_of(sums, axis=over, keepdims=True)
        return y if keepdims else shapes.squeeze(y, axes)
    if ord not in (2, -2, "nuc"):
        raise ValueError(
            f"linalg.norm: the order of a matrix norm must be 'fro', 'nuc', 1, 2, inf, -1, -2 or -inf, got {ord!r}."
        )
    s = svdvals(shapes.moveaxis(numbers("norm", x), axes, (-2, -1)))
    y = _greatest(s, -1, False) if ord == 2 else (sum_of if ord == "nuc" else min_of)(s, axis=-1)
    return shapes.expand_dims(y, [axis + x.ndim for axis in axes]) if keepdims else y


def cond(x: Any, p: Order = None) -> ArrayOrNumber:
    """The condition number |x| * |x^-1| in the norm p: x (..., n, n) -> (...).

    For p None, 2 and -2 it is a ratio of singular values: x (..., m, n) need not be square, and singular matrices give
    inf. Other norms raise MatrixError for singular matrices.
    """
    if p not in (None, 2, -2) and as_array(x).size:
        x = squares("cond", x, "Use the norm 2, or -2, for other matrices.")
        return elementwise.multiply(norm(x, p, (-2, -1)), norm(linalg.inv(x), p, (-2, -1)))
    x = matrices("cond", x)
    if not x.size:
        raise MatrixError(f"linalg.cond is not defined for empty matrices, got {describe(x)}.")
    s = svdvals(x)
    most, least = s[..., 0], s[..., -1]
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = elementwise.divide(least, most) if p == -2 else elementwise.divide(most, least)
    return elementwise.where(
        elementwise.logical_and(elementwise.equal(most, 0), elementwise.equal(least, 0)), math.inf, ratio
    )


def rank_of(s: Array, cutoff: Any) -> ArrayOrNumber:
    """The number of singular values above `cutoff` times the greatest: s (..., k) -> (...)."""
    if not s.shape[-1]:
        return sum_of(elementwise.greater(s, 0), axis=-1)
    return sum_of(elementwise.greater(s, elementwise.multiply(max_of(s, axis=-1, keepdims=True), cutoff)), axis=-1)


def matrix_rank(A: Any, tol: Any = None, hermitian: bool = False, *, rtol: Any = None) -> ArrayOrNumber:
    """The number of singular values above `tol`, or above `rtol` times the greatest: A (..., m, n) -> (...).

    `rtol` defaults to eps * max(m, n).
    """
    if tol is not None and rtol is not None:
        raise ValueError("matrix_rank: tol and rtol cannot both be given.")
    A = as_array(A)
    if A.ndim < 2:
        return sum_of(max_of(elementwise.not_equal(A, 0)))
    A = linalg.hermitian(squares("matrix_rank", A)) if hermitian else matrices("matrix_rank", A)
    s = svdvals(A)
    if tol is not None:
        return sum_of(elementwise.greater(s, beside(tol, s)[..., None]), axis=-1)
    if rtol is None:
        rtol = max(A.shape[-2:]) * float(np.finfo(A.dtype).eps)
    return rank_of(s, rtol if isinstance(rtol, float) else beside(rtol, s)[..., None])
