"""Losses: the mean over all examples, a scalar in the dtype of the predictions. float16 is computed in float32."""

import math
from typing import Any

import numpy as np

from .. import numpy as fnp
from .. import special
from ..devices import array_module, backend_of
from ..errors import DTypeError, ShapeError
from ..messages import describe
from ..numpy.precision import in_single
from ..ops.indexing import labels as labels_of
from .activations import softplus

__all__ = ["accuracy", "binary_cross_entropy", "mean_squared_error", "sigmoid_cross_entropy", "softmax_cross_entropy"]

FEW = 1024  # classes


def _checked_labels(name: str, logits: Any, labels: Any) -> Any:
    if getattr(labels, "dtype", np.dtype("O")).kind not in "iu":
        hint = "labels.argmax(axis=-1)" if getattr(labels, "shape", None) == logits.shape else "labels.astype(int)"
        raise DTypeError(f"{name} takes integer labels, got {describe(labels)}. Use {hint}.")
    if labels.shape != logits.shape[:-1]:
        hint = " For one-hot labels, use labels.argmax(axis=-1)." if labels.shape == logits.shape else ""
        raise ShapeError(
            f"{name}: logits {describe(logits)} need labels of shape {logits.shape[:-1]}, got {describe(labels)}.{hint}"
        )
    return labels_of(labels, classes=logits.shape[-1], of=name)


@in_single
def softmax_cross_entropy(logits: Any, labels: Any) -> Any:
    """The mean of -log softmax(logits)[label]: logits (..., classes), integer labels (...) -> a scalar.

    Raises DTypeError for labels that are not integers, ShapeError for shapes that do not fit, and RangeError for labels
    outside the classes. On a GPU, where that check would wait, such a label makes the loss NaN, and the gradient of its row.
    """
    logits, labels = fnp.asarray(logits), fnp.asarray(labels)
    labels = _checked_labels("softmax_cross_entropy", logits, labels)
    # Both terms are relative to the greatest logit: large logits that they share would leave rounding errors behind.
    below = special.below_greatest(logits, -1)
    picked = _picked(below, labels)
    rows = fnp.log(fnp.sum(fnp.exp(below), axis=-1)) - picked
    return fnp.mean(_nan_if_unknown(rows, labels, logits.shape[-1]))


def _picked(x: Any, labels: Any) -> Any:
    """The entries of x (..., n) at the labels (...).

    On a GPU, labels of few classes are compared: a comparison joins the kernels around it, a gather and its adjoint do not.
    """
    if backend_of(labels).reads_at_once or x.shape[-1] > FEW:
        return fnp.take_along_axis(x, fnp.expand_dims(labels, -1), axis=-1).reshape(labels.shape)
    classes = array_module(labels).arange(x.shape[-1])
    return fnp.sum(fnp.where(fnp.expand_dims(labels, -1) == classes, x, 0), axis=-1)


def _nan_if_unknown(rows: Any, labels: Any, classes: int) -> Any:
    """The losses of rows, times NaN on a device that does not check labels where the label is none."""
    if backend_of(labels).reads_at_once:
        return rows
    return rows * fnp.where((labels >= 0) & (labels < classes), rows.dtype.type(1), np.nan)


def _check_same_shape(name: str, x: Any, targets: Any) -> tuple[Any, Any]:
    x, targets = fnp.asarray(x), fnp.asarray(targets)
    if x.shape != targets.shape:
        raise ShapeError(f"{name}: predictions {describe(x)} and targets {describe(targets)} must have the same shape.")
    return x, fnp.astype(targets, x.dtype, copy=False) if x.dtype.kind == "f" else targets


@in_single
def sigmoid_cross_entropy(logits: Any, targets: Any) -> Any:
    """The mean of -t log s - (1 - t) log(1 - s) with s = sigmoid(logits), without overflow: (...), (...) -> a scalar."""
    logits, targets = _check_same_shape("sigmoid_cross_entropy", logits, targets)
    # softplus(x) - t x would be the difference of large numbers for large logits. It is softplus(-x) + (1 - t) x as well.
    positive = logits > 0
    rest = logits * fnp.where(positive, 1 - targets, -targets)
    return fnp.mean(softplus(fnp.where(positive, -logits, logits)) + rest)


@in_single
def binary_cross_entropy(probabilities: Any, targets: Any) -> Any:
    """The mean of -t log p - (1 - t) log(1 - p): (...), (...) -> a scalar.

    Logarithms are cut off at the smallest normal number of the dtype (of float32 for float16), so p = 0 and p = 1 give
    finite values. A term that is cut off has derivative 0. If p is a sigmoid, use sigmoid_cross_entropy of its logits,
    which is exact.
    """
    p, t = _check_same_shape("binary_cross_entropy", probabilities, targets)
    tiny = float(np.finfo(p.dtype).tiny if p.dtype.kind == "f" else np.finfo(float).tiny)
    sure = p >= 1
    rest = fnp.where(
        sure, math.log(tiny), fnp.log1p(-fnp.where(sure, 0, fnp.maximum(p, 0)))
    )  # log(1 - p), also for small p
    return -fnp.mean(t * fnp.log(fnp.clip(p, tiny, 1.0)) + (1 - t) * rest)


@in_single
def mean_squared_error(x: Any, targets: Any) -> Any:
    """The mean of (x - targets)**2: (...), (...) -> a scalar."""
    x, targets = _check_same_shape("mean_squared_error", x, targets)
    return fnp.mean(fnp.square(x - targets))


def accuracy(logits: Any, labels: Any) -> Any:
    """The fraction of examples whose largest logit is at the label, without a derivative: (..., classes), (...) -> a scalar."""
    logits, labels = fnp.asarray(logits), fnp.asarray(labels)
    labels = _checked_labels("accuracy", logits, labels)
    return fnp.mean(fnp.argmax(logits, axis=-1) == labels)
