"""Reductions over trailing axes. The rule of a `reduction` is the partial derivative of y for each entry, times t."""

import math
from typing import Any

import numpy as np

from ..core import Linear, cotangents, discrete, linear, reduction
from ..values import is_half
from .elementwise import stop_gradient
from .shape import cut, slice_axes

Axes = tuple[int, ...]


def _sum_adjoint(t: Any, x: Any, *, axes: Axes, keepdims: bool) -> Any:
    return np.broadcast_to(t if keepdims else np.expand_dims(t, axes), x.shape)


def _write(method: str) -> str:
    return f"{{0}}.{method}(axis={{axes}}, keepdims={{keepdims}}, out={{out}})"


sum_axes = linear("sum", lambda x, *, axes, keepdims: x.sum(axis=axes, keepdims=keepdims), _sum_adjoint, write=_write("sum"), fresh=True)


def _sum_in_front(x: Any, *, count: int, ndim: int, out: Any = None) -> Any:
    loops = x.ndim - count - ndim
    return x.sum(axis=tuple(range(loops, loops + count)), out=out) if loops else cotangents.sum_in_front(x, count, out)


# The sum over the `count` axes in front of the last `ndim`, in any order: the adjoint of broadcasting, such as that of a bias.
sum_in_front: Linear = linear(
    "sum_in_front",
    _sum_in_front,
    lambda t, x, *, count, ndim: np.broadcast_to(np.expand_dims(t, tuple(range(-ndim - count, -ndim))), x.shape),
    core=lambda args, params: (params["count"] + params["ndim"],),
    write=lambda out, x, *, count, ndim: _sum_in_front(x, count=count, ndim=ndim, out=out),
    fresh=True,
)


def _share_of_extreme(t: Any, y: Any, x: Any, axes: Axes) -> Any:
    """t, split evenly over the entries that equal the extreme; NaN for all entries where the extreme is NaN, unless t is 0."""
    known = y == y
    chosen = (x == y) | np.logical_not(known)
    share = t / chosen.sum(axis=axes, keepdims=True).astype(x.dtype)
    return np.where(chosen, np.where(known | (t == 0), share, math.nan), 0)


maximum_of = reduction(
    "max", _share_of_extreme, lambda x, *, axes, keepdims: x.max(axis=axes, keepdims=keepdims), write=_write("max"), fresh=True
)
minimum_of = reduction(
    "min", _share_of_extreme, lambda x, *, axes, keepdims: x.min(axis=axes, keepdims=keepdims), write=_write("min"), fresh=True
)


def product_of_others(x: Any) -> Any:
    """The product of all other entries along the last axis, by halves. There is no division, so zeros need no care."""
    n = x.shape[-1]
    if n == 1:
        return np.ones_like(x)
    left, right = x[..., : n // 2], x[..., n // 2 :]
    of_left, of_right = (x.prod(axis=-1, keepdims=True) for x in (left, right))
    return np.concatenate([product_of_others(left) * of_right, product_of_others(right) * of_left], axis=-1)


def _product_rule(t: Any, y: Any, x: Any, axes: Axes) -> Any:
    if not x.size:
        return t * x
    kept = tuple(i for i in range(-len(x.shape), 0) if i not in axes)
    order = tuple(i + len(x.shape) for i in (*kept, *axes))
    moved = np.transpose(x, order)
    shape = moved.shape
    others = product_of_others(moved.reshape((*shape[: len(kept)], -1))).reshape(shape)
    return t * np.transpose(others, tuple(order.index(i) for i in range(len(order))))


product_of = reduction("prod", _product_rule, lambda x, *, axes, keepdims: x.prod(axis=axes, keepdims=keepdims), write=_write("prod"))


def _logsumexp(x: Any, *, axes: Axes, keepdims: bool) -> Any:
    top = x.max(axis=axes, keepdims=True)
    top = np.where(np.isfinite(top), top, 0)
    with np.errstate(divide="ignore"):  # log(0) = -inf if all entries are -inf
        y = np.log(np.exp(x - top).sum(axis=axes, keepdims=True)) + top.astype(x.dtype)
    return y if keepdims else y.reshape([n for i, n in enumerate(y.shape, -y.ndim) if i not in axes])


def _share_of_sum(t: Any, y: Any, x: Any, axes: Axes) -> Any:
    """t times softmax(x); 0 if all entries are -inf.

    exp(x - y) alone would have the rounding of y, which is large if y is. Its division by its own sum takes that out. So y
    is only a shift, a constant for the next derivative.
    """
    e = np.exp(x - stop_gradient(np.where(y == -math.inf, 0, y)))
    total = e.sum(axis=axes, keepdims=True)
    return t / np.where(total == 0, 1, total) * e


logsumexp = reduction("logsumexp", _share_of_sum, _logsumexp, expand=True)


def _flip(x: Any, axis: int) -> Any:
    return slice_axes(x, index=cut(axis, None, None, -1))


# Running sums along the trailing axis number `axis`.
cumsum: Linear = linear(
    "cumsum",
    lambda x, *, axis: np.cumsum(x, axis=axis),
    lambda t, x, *, axis: _flip(cumsum(_flip(t, axis), axis=axis), axis),
    write="xp.cumsum({0}, axis={axis}, out={out})",
)

any_of = discrete("any", lambda x, *, axes, keepdims: x.any(axis=axes, keepdims=keepdims), write=_write("any"))
all_of = discrete("all", lambda x, *, axes, keepdims: x.all(axis=axes, keepdims=keepdims), write=_write("all"))
argmax = discrete("argmax", lambda x, *, axis, keepdims: _keep(x.argmax(axis=axis), axis, keepdims))
argmin = discrete("argmin", lambda x, *, axis, keepdims: _keep(x.argmin(axis=axis), axis, keepdims))


def _ordered(x: Any) -> Any:
    """x as NumPy can sort it: it does not know where the NaN of bfloat16 belongs."""
    return x.astype(np.float32) if is_half(x.dtype) else x


argsort = discrete("argsort", lambda x, *, axis: np.argsort(_ordered(x), axis=axis, kind="stable"))
argpartition = discrete("argpartition", lambda x, *, kth, axis: np.argpartition(_ordered(x), kth, axis=axis))


def _keep(y: Any, axis: int, keepdims: bool) -> Any:
    return np.expand_dims(y, axis) if keepdims else y
