"""Draws of positions: permutations, and choices with or without replacement."""

import math
import operator
from typing import Any

import numpy as np

from ..core import discrete
from ..errors import DTypeError, RangeError, ShapeError
from ..messages import describe
from ..numpy.arguments import ArrayOrNumber, trailing_axis
from ..numpy.shape import moveaxis
from ..ops.indexing import gather
from ..ops.reductions import argsort
from ..values import shape_of, with_shape
from .draws import fraction, randint
from .source import DRAW, UINT64, Array, Key, Shape, check_key, check_shape, random_bits


def permutation(key: Key, x: Any, axis: int = 0) -> Array:
    """For an integer n, the numbers 0 to n - 1 in random order: int64 (n,). For an array, the array in such an order along `axis`.

    The order is the stable argsort of one 64-bit word for each entry, so it is the same on every device.
    """
    what = "fd.random.permutation"
    check_key(key, what)
    n, of_array = _population(x, what, axis)
    return _pick(x, of_array, _order(key, n), axis)


def _order(key: Key, n: int) -> Array:
    return argsort(random_bits(key, 0, shape=(n,), dtype=UINT64, domain=DRAW), axis=-1)


def _population(x: Any, what: str, axis: int) -> tuple[int, bool]:
    """The size to draw from, and whether `x` is an array to draw from rather than a number."""
    if shape := shape_of(x):
        return shape[trailing_axis(axis, len(shape))], True
    try:
        n = operator.index(x)
    except TypeError:
        raise DTypeError(
            f"{what} draws from an integer, or an array along its first axis, got {describe(x)}."
        ) from None
    if n < 0:
        raise RangeError(f"{what}: cannot draw from {n} entries.")
    return n, False


def _pick(x: Any, of_array: bool, order: Array, axis: int) -> Array:
    if not of_array:
        return order
    axis = trailing_axis(axis, len(x.shape)) + len(x.shape)
    picked = gather(moveaxis(x, axis, 0) if axis else x, order, points=order.ndim, rest=len(x.shape) - 1)
    return moveaxis(picked, range(order.ndim), range(axis, axis + order.ndim)) if axis else picked


def _weighted_index(u: Array, p: Array) -> Array:
    """The first position where the running sum of p exceeds u times the whole sum: u (..., m), p (..., n) -> (..., m)."""
    running = np.cumsum(p, axis=-1, dtype=np.float64)
    target = u * running[..., -1:]
    if running.ndim == 1:
        return np.searchsorted(running, target, side="right")
    return (target[..., :, None] >= running[..., None, :]).sum(axis=-1)


def _weighted_order(u: Array, p: Array) -> Array:
    """Positions in the order of a race whose rates are p; rate 0 comes last: u (..., n), p (..., n) -> (..., n)."""
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        time = -np.log1p(-u) / p
    return np.argsort(np.where(p > 0, time, math.inf), axis=-1, kind="stable")


weighted_index = discrete("random_weighted_index", _weighted_index, core=1)
weighted_order = discrete("random_weighted_order", _weighted_order, core=1)


def choice(key: Key, x: Any, shape: Shape = (), replace: bool = True, p: Any = None, axis: int = 0) -> ArrayOrNumber:
    """Draws from 0 to n - 1 for an integer n, or along an axis of an array: int64 `shape`, or the array with `shape` for its `axis`.

    `p` (n,) are weights, which need not sum to 1; an entry with weight 0 is never drawn. Without `replace` no entry is drawn
    twice. Raises RangeError if there are too few entries to draw from, ShapeError if `p` is not one weight for each entry.
    Source: P. Efraimidis, P. Spirakis, Inf. Process. Lett. 97 (2006) 181, for weights without replacement.
    """
    what = "fd.random.choice"
    check_key(key, what)
    sizes = check_shape(shape, what)
    n, of_array = _population(x, what, axis)
    count = math.prod(sizes)
    if p is not None:
        p = with_shape(p)
        if tuple(p.shape) != (n,):
            raise ShapeError(f"{what} needs one weight for each of {n} entries, got {describe(p)}.")
    if count > (n if not replace else n * count):
        raise RangeError(
            f"{what} cannot draw {count} from {n}" + ("." if replace else " without replacement: say replace=True.")
        )
    if p is None and replace:
        return _pick(x, of_array, randint(key, sizes, 0, max(n, 1)), axis)
    if p is None:
        order = _order(key, n)
    else:
        words = random_bits(key, 0, shape=(count if replace else n,), dtype=UINT64, domain=DRAW)
        order = (weighted_index if replace else weighted_order)(fraction(words, dtype=np.dtype(np.float64)), p)
    return _pick(x, of_array, order[:count].reshape(sizes), axis)
