"""Draws of counts and classes: Poisson, binomial, multinomial and categorical numbers. Integers do not have a derivative."""

from typing import Any

import numpy as np

from .. import numpy as fnp
from ..errors import RangeError, ShapeError
from ..messages import describe
from ..numpy.arguments import ArrayOrNumber, trailing_axis
from ..ops.elementwise import stop_gradient
from .inverse import counted, gumbel
from .keys import split
from .rejection import random_binomial, random_poisson
from .source import (
    FLOAT64,
    Key,
    Shape,
    as_parameter,
    check_dtype,
    check_key,
    check_parameters,
    check_shape,
    own_key,
)


def poisson(key: Key, lam: Any, shape: Shape | None = None, dtype: Any = np.int64) -> ArrayOrNumber:
    """Poisson numbers of mean `lam`: `shape`, by default that of `lam`; integer or floating `dtype`.

    A mean below 0 or from 2**53 on gives -1, or NaN for a floating dtype. Raises ShapeError if `lam` does not broadcast to `shape`.
    Source: W. Hormann, Insur. Math. Econ. 12 (1993) 39.
    """
    what = "fd.random.poisson"
    check_key(key, what)
    sizes, dtype = check_parameters(shape, what, lam=lam), check_dtype(dtype, "iuf", what)
    rate = stop_gradient(fnp.broadcast_to(as_parameter(lam, what, key), sizes))
    return counted(random_poisson(own_key(key), rate, shape=sizes), dtype)


def binomial(key: Key, n: Any, p: Any, shape: Shape | None = None, dtype: Any = np.int64) -> ArrayOrNumber:
    """Successes in `n` trials of probability `p`: `shape`, by default that of n and p; integer or floating `dtype`.

    A probability outside 0 to 1 and a negative n give -1, or NaN for a floating dtype. Raises ShapeError if n and p do not
    broadcast to `shape`. Source: W. Hormann, J. Stat. Comput. Simul. 46 (1993) 101.
    """
    what = "fd.random.binomial"
    check_key(key, what)
    sizes, dtype = check_parameters(shape, what, n=n, p=p), check_dtype(dtype, "iuf", what)
    trials, p = (stop_gradient(fnp.broadcast_to(as_parameter(x, what, key), sizes)) for x in (n, p))
    return counted(random_binomial(own_key(key), trials, p, shape=sizes), dtype)


def multinomial(key: Key, n: Any, p: Any, shape: Shape | None = None, dtype: Any = np.int64) -> ArrayOrNumber:
    """How often each of k results comes in `n` trials: n (...), p (..., k) -> (*shape, k), integer or floating `dtype`.

    The probabilities p need not sum to 1. `shape` is by default that of n and of p without k. Raises ShapeError unless p has
    an axis, and n and p broadcast to `shape`.
    """
    what = "fd.random.multinomial"
    check_key(key, what)
    dtype, n, p = check_dtype(dtype, "iuf", what), as_parameter(n, what, key), as_parameter(p, what, key)
    if not p.ndim or not p.shape[-1]:
        raise ShapeError(f"{what} needs one probability for each result on the last axis, got {describe(p)}.")
    sizes = np.broadcast_shapes(n.shape, p.shape[:-1]) if shape is None else check_shape(shape, what)
    check_parameters((*sizes, p.shape[-1]), what, p=p)
    check_parameters(sizes, what, n=n)
    left, rest = fnp.broadcast_to(n, sizes), fnp.flip(fnp.cumsum(fnp.flip(p, -1), axis=-1), -1)
    counts = []
    for number, own in enumerate(split(key, p.shape[-1] - 1) if p.shape[-1] > 1 else ()):
        total = rest[..., number]
        share = fnp.where(total > 0, fnp.minimum(p[..., number] / fnp.where(total > 0, total, 1.0), 1.0), 0.0)
        counts.append(binomial(own, left, share, sizes, FLOAT64))
        left = left - counts[-1]
    return counted(fnp.stack([*counts, left], axis=-1), dtype)


def categorical(key: Key, logits: Any, axis: int = -1, shape: Shape | None = None) -> ArrayOrNumber:
    """Classes drawn with probabilities softmax(logits) along `axis`: int64 `shape`, by default logits' shape without `axis`.

    A class with -inf is never drawn, unless all are. Logits have no derivative. Raises ShapeError unless logits' shape without
    `axis` broadcasts to `shape`, RangeError if there is no class to draw.
    Source: the maximum of logits + Gumbel numbers, E. J. Gumbel, "Statistical theory of extreme values", 1954.
    """
    what = "fd.random.categorical"
    check_key(key, what)
    logits = as_parameter(logits, what, key)
    if not logits.ndim:
        raise ShapeError(f"{what} needs logits with an axis of classes, got {describe(logits)}.")
    logits = stop_gradient(fnp.moveaxis(logits, trailing_axis(axis, logits.ndim), -1))
    *own, classes = logits.shape
    if not classes:
        raise RangeError(f"{what}: there is no class along axis {axis} of {describe(logits)}.")
    sizes = tuple(own) if shape is None else check_shape(shape, what)
    check_parameters((*sizes, classes), what, logits=logits)
    return fnp.argmax(logits + gumbel(key, (*sizes, classes), FLOAT64), axis=-1)
