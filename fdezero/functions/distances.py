"""Losses of vectors: similarity and distance over the last axis. What all losses share is said in `losses.py`."""

import math
from typing import Any

from .. import numpy as fnp
from ..errors import RangeError, ShapeError
from ..messages import describe
from ..numpy import linalg
from ..numpy.precision import in_single
from ..ops import elementwise
from ..values import is_floating
from .reduction import in_dtype_of_first, mask_of, reduced, signs

__all__ = ["cosine_embedding_loss", "cosine_similarity", "triplet_margin_loss"]


@in_single
def cosine_similarity(a: Any, b: Any, axis: int = -1, eps: float = 1e-8) -> Any:
    """The cosine of the angle between the vectors along `axis`: a (..., n), b (..., n), which broadcast -> (...).

    Lengths below eps count as eps, so the zero vector has similarity 0. No square of a large or tiny entry is computed.
    """
    a, b = fnp.asarray(a), fnp.asarray(b)
    if not a.ndim or not b.ndim or a.shape[axis] != b.shape[axis]:
        raise ShapeError(
            f"cosine_similarity: {describe(a)} and {describe(b)} must have equal lengths along axis {axis}."
        )
    (a, size), (b, other) = _scaled(a, axis), _scaled(b, axis)
    return fnp.sum(a * b, axis=axis) / (_length(a, eps / size, axis) * _length(b, eps / other, axis))


def _length(x: Any, least: Any, axis: int) -> Any:
    """The length of vectors, at least `least`. That of a zero vector is constant, where a norm does not have second derivatives."""
    is_zero = ~fnp.any(elementwise.stop_gradient(x) != 0, axis=axis, keepdims=True)
    length = linalg.norm(fnp.where(is_zero, 1, x), axis=axis, keepdims=True)
    return fnp.squeeze(fnp.where(is_zero, least, fnp.maximum(length, least)), axis)


def _scaled(x: Any, axis: int) -> tuple[Any, Any]:
    """x divided by its greatest |entry| along the axis, and that entry: a constant, because a cosine does not depend on it."""
    size = fnp.max(abs(elementwise.stop_gradient(x)), axis=axis, keepdims=True, initial=0)
    size = fnp.where((size > 0) & (size < math.inf), size, 1)
    return x / size, size


@in_dtype_of_first
def cosine_embedding_loss(
    a: Any, b: Any, targets: Any, *, margin: float = 0.0, mask: Any = None, reduction: str = "mean"
) -> Any:
    """The mean of 1 - cos(a, b) where the target is 1, of max(0, cos(a, b) - margin) where it is -1.

    a (..., n), b (..., n), targets (...) -> a scalar. The mean divides by the number of pairs; the derivative in the corner is 0.
    Raises RangeError for other targets, with their place (not on a GPU, where looking would wait).
    """
    name = "cosine_embedding_loss"
    a, b, mask = _vectors(name, mask, a=a, b=b)
    targets = fnp.asarray(targets)
    if targets.shape != a.shape[:-1]:
        raise ShapeError(
            f"{name}: vectors {describe(a)} need targets of shape {a.shape[:-1]}, got {describe(targets)}."
        )
    similar = cosine_similarity(a, b)
    losses = fnp.where(signs(name, targets, mask) == 1, 1 - similar, elementwise.relu(similar - margin))
    return reduced(name, losses, reduction, mask)


@in_dtype_of_first
def triplet_margin_loss(
    anchor: Any, positive: Any, negative: Any, *, margin: float = 1.0, p: float = 2.0, eps: float = 1e-6, swap: bool = False,
    mask: Any = None, reduction: str = "mean",
) -> Any:  # fmt: skip
    """The mean of max(0, d(anchor, positive) - d(anchor, negative) + margin): three times (..., n) -> a scalar.

    d is the norm of order p of the difference + eps, as in PyTorch. With `swap`, the negative is compared with the positive
    where that is nearer. The mean divides by the number of triplets; the derivative in the corner is 0.
    Raises RangeError for a margin that is not positive.

    Source: Balntas et al., "Learning local feature descriptors with triplets and shallow convolutional neural networks", 2016.
    """
    name = "triplet_margin_loss"
    if not margin > 0:
        raise RangeError(f"{name}: margin must be positive, got {margin!r}.")
    anchor, positive, negative, mask = _vectors(name, mask, anchor=anchor, positive=positive, negative=negative)
    near, far = (linalg.norm(anchor - x + eps, p, axis=-1) for x in (positive, negative))
    if swap:
        far = fnp.minimum(far, linalg.norm(positive - negative + eps, p, axis=-1))
    return reduced(name, elementwise.relu(near - far + margin), reduction, mask)


def _vectors(name: str, mask: Any, **given: Any) -> list[Any]:
    """The arrays in the dtype of the first, 1 where the mask is false, and the mask. Raises ShapeError unless they have one shape."""
    arrays = {what: fnp.asarray(x) for what, x in given.items()}
    shapes = {x.shape for x in arrays.values()}
    if len(shapes) > 1 or () in shapes:
        said = ", ".join(f"{what} {describe(x)}" for what, x in arrays.items())
        raise ShapeError(f"{name}: vectors (..., n) of one shape are needed, got {said}.")
    first, *others = arrays.values()
    vectors = [first, *[fnp.astype(x, first.dtype, copy=False) if is_floating(first.dtype) else x for x in others]]
    if mask is None:
        return [*vectors, None]
    mask = mask_of(name, mask, first.shape[:-1])
    return [*[fnp.where(fnp.expand_dims(mask, -1), x, 1) for x in vectors], mask]
