"""Losses of classes: logits or probabilities against labels. What all losses share is said in `losses.py`.

Labels are integers (...) for logits (..., classes). `weight` (classes,) weighs each example by the class of its label, and the mean
divides by the sum of these weights, as in PyTorch. Examples outside the mask, and those whose label is `ignore_index`, count for
nothing. `axis` is the axis of the classes in the logits: 1 for images (N, classes, H, W) with labels (N, H, W).
"""

import math
from typing import Any

import numpy as np

from .. import numpy as fnp
from .. import special
from ..devices import array_module, backend_of
from ..errors import DTypeError, RangeError, ShapeError
from ..messages import describe
from ..ops import elementwise
from ..ops.checks import checked
from ..ops.indexing import labels as labels_of
from ..values import is_floating, limits
from .reduction import broadcast_factor, first_wrong, in_dtype_of_first, mask_of, paired, reduced

__all__ = [
    "accuracy", "binary_cross_entropy", "kl_divergence", "multi_margin_loss", "nll_loss", "sigmoid_cross_entropy", "sigmoid_focal_loss",
    "softmax_cross_entropy",
]  # fmt: skip

FEW = 1024  # classes


def _checked_labels(name: str, logits: Any, labels: Any, taking_part: Any = None) -> Any:
    if getattr(labels, "dtype", np.dtype("O")).kind not in "iu":
        hint = "labels.argmax(axis=-1)" if getattr(labels, "shape", None) == logits.shape else "labels.astype(int)"
        raise DTypeError(f"{name} takes integer labels, got {describe(labels)}. Use {hint}.")
    if labels.shape != logits.shape[:-1]:
        hint = " For one-hot labels, use labels.argmax(axis=-1)." if labels.shape == logits.shape else ""
        raise ShapeError(
            f"{name}: logits {describe(logits)} need labels of shape {logits.shape[:-1]}, got {describe(labels)}.{hint}"
        )
    if taking_part is not None:
        labels = fnp.where(taking_part, labels, 0)
    return labels_of(labels, classes=logits.shape[-1], of=name)


class _Classes:
    """Logits with the classes last, checked labels, class weights, and which examples take part (None: all)."""

    def __init__(
        self, name: str, logits: Any, labels: Any, axis: int, weight: Any, ignore_index: int | None, mask: Any
    ) -> None:
        logits, labels = fnp.asarray(logits), fnp.asarray(labels)
        if not logits.ndim:
            raise ShapeError(f"{name}: logits have an axis of classes, got {describe(logits)}.")
        if axis not in (-1, logits.ndim - 1):
            logits = fnp.moveaxis(logits, axis, -1)
        self.name, self.part = name, None
        if mask is not None:
            self.part = mask_of(name, mask, logits.shape[:-1])
        if ignore_index is not None:
            kept = labels != ignore_index
            self.part = kept if self.part is None else self.part & kept
        self.labels = _checked_labels(name, logits, labels, self.part)
        if self.part is not None:  # NaN of an example that does not take part must not reach a gradient
            self.part = fnp.broadcast_to(self.part, self.labels.shape)
            logits = fnp.where(fnp.expand_dims(self.part, -1), logits, 0)
        self.logits, self.weight = logits, None
        if weight is not None:
            self.weight = fnp.asarray(weight)
            if self.weight.shape != logits.shape[-1:]:
                raise ShapeError(
                    f"{name}: weight has a number for each class, shape {logits.shape[-1:]}; got {describe(self.weight)}. "
                    "For a weight for each example, use reduction='none' and multiply."
                )
            self.weight = (
                fnp.astype(self.weight, logits.dtype, copy=False) if is_floating(logits.dtype) else self.weight
            )

    def reduced(self, losses: Any, reduction: str, weights: Any = None) -> Any:
        losses = _nan_if_unknown(losses, self.labels, self.logits.shape[-1])
        return reduced(self.name, losses, reduction, self.part, weights)


@in_dtype_of_first
def softmax_cross_entropy(
    logits: Any, labels: Any, *, axis: int = -1, weight: Any = None, label_smoothing: float = 0.0, ignore_index: int | None = None,
    mask: Any = None, reduction: str = "mean",
) -> Any:  # fmt: skip
    """The mean of -log softmax(logits)[label]: logits (..., classes), integer labels (...) -> a scalar.

    The mean divides by the number of examples that take part, or by the sum of the weights of their labels. With `label_smoothing` a, the
    label has the probability 1 - a + a / classes, every other class a / classes.

    Raises DTypeError for labels that are not integers, ShapeError for shapes that do not fit, and RangeError for labels
    outside the classes. On a GPU, where that check would wait, such a label makes the loss NaN, and the gradient of its row.
    Source of smoothing: Szegedy et al., "Rethinking the Inception architecture", 2016.
    """
    of = _Classes("softmax_cross_entropy", logits, labels, axis, weight, ignore_index, mask)
    # Both terms are relative to the greatest logit: large logits that they share would leave rounding errors behind.
    below = special.below_greatest(of.logits, -1)
    picked = _picked(below, of.labels)
    log_sums = fnp.log(fnp.sum(fnp.exp(below), axis=-1))
    rows, weights = log_sums - picked, None
    if of.weight is not None:
        weights = fnp.take(of.weight, of.labels)
        rows = weights * rows
    if label_smoothing:
        if not 0 <= label_smoothing <= 1:
            raise RangeError(f"softmax_cross_entropy: label_smoothing lies between 0 and 1, got {label_smoothing!r}.")
        classes = below.shape[-1]
        if of.weight is None:
            spread = classes * log_sums - fnp.sum(below, axis=-1)
        else:
            spread = fnp.sum(of.weight) * log_sums - fnp.sum(of.weight * fnp.where(of.weight == 0, 0, below), axis=-1)
        rows = (1 - label_smoothing) * rows + (label_smoothing / classes) * spread
    return of.reduced(rows, reduction, weights)


@in_dtype_of_first
def nll_loss(
    log_probabilities: Any, labels: Any, *, axis: int = -1, weight: Any = None, ignore_index: int | None = None, mask: Any = None,
    reduction: str = "mean",
) -> Any:  # fmt: skip
    """The mean of -log_probabilities[label]: (..., classes), integer labels (...) -> a scalar.

    The mean divides by the number of examples that take part, or by the sum of the weights of their labels. Errors are those of
    softmax_cross_entropy, which is nll_loss of log_softmax.
    """
    of = _Classes("nll_loss", log_probabilities, labels, axis, weight, ignore_index, mask)
    rows, weights = -_picked(of.logits, of.labels), None
    if of.weight is not None:
        weights = fnp.take(of.weight, of.labels)
        rows = weights * rows
    return of.reduced(rows, reduction, weights)


@in_dtype_of_first
def multi_margin_loss(
    x: Any, labels: Any, *, p: int = 1, margin: float = 1.0, axis: int = -1, weight: Any = None, ignore_index: int | None = None,
    mask: Any = None, reduction: str = "mean",
) -> Any:  # fmt: skip
    """The hinge loss of several classes: the mean of sum(max(0, margin - x[label] + x[other])**p) / classes.

    x (..., classes), integer labels (...) -> a scalar. The mean divides by the number of examples, also with weights, as in PyTorch.
    The derivative in a corner is 0. Raises RangeError unless p is 1 or 2; other errors are those of softmax_cross_entropy.

    Source: Crammer and Singer, "On the algorithmic implementation of multiclass kernel-based vector machines", 2001.
    """
    if p not in (1, 2):
        raise RangeError(f"multi_margin_loss: p is 1 or 2, got {p!r}.")
    of = _Classes("multi_margin_loss", x, labels, axis, weight, ignore_index, mask)
    labels = fnp.expand_dims(of.labels, -1)
    gaps = elementwise.relu(margin - fnp.expand_dims(_picked(of.logits, of.labels), -1) + of.logits)
    gaps = fnp.where(labels == array_module(of.labels).arange(of.logits.shape[-1]), 0, gaps)
    rows = fnp.sum(gaps if p == 1 else fnp.square(gaps), axis=-1) / of.logits.shape[-1]
    return of.reduced(rows if of.weight is None else fnp.take(of.weight, of.labels) * rows, reduction)


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


# Two classes


@in_dtype_of_first
def sigmoid_cross_entropy(
    logits: Any, targets: Any, *, weight: Any = None, pos_weight: Any = None, mask: Any = None, reduction: str = "mean"
) -> Any:
    """The mean of -t log s - (1 - t) log(1 - s) with s = sigmoid(logits), without overflow: (...), (...) -> a scalar.

    `weight` multiplies the losses, `pos_weight` the terms of t; both broadcast. Also with weights the mean divides by the number of
    entries, as in PyTorch. DeZero divides by len(logits).
    """
    logits, targets, mask = paired("sigmoid_cross_entropy", logits, targets, mask)
    return _binary("sigmoid_cross_entropy", _terms_of_logits(logits, targets, pos_weight), weight, mask, reduction)


def _terms_of_logits(logits: Any, targets: Any, pos_weight: Any = None) -> Any:
    # softplus(x) - t x would be the difference of large numbers for large logits. It is softplus(-x) + (1 - t) x as well.
    positive = logits > 0
    curved = fnp.log1p(fnp.exp(fnp.where(positive, -logits, logits)))
    if pos_weight is None:  # 1 - t or -t without a choice, whose branch is mispredicted half of the time
        return curved + logits * (fnp.astype(positive, curved.dtype) - targets)
    p = broadcast_factor("sigmoid_cross_entropy", "pos_weight", pos_weight, logits)
    return (1 + (p - 1) * targets) * curved + logits * fnp.where(positive, 1 - targets, -p * targets)


def _binary(name: str, losses: Any, weight: Any, mask: Any, reduction: str) -> Any:
    if weight is not None:
        losses = broadcast_factor(name, "weight", weight, losses) * losses
    return reduced(name, losses, reduction, mask)


@in_dtype_of_first
def binary_cross_entropy(
    probabilities: Any, targets: Any, *, weight: Any = None, mask: Any = None, reduction: str = "mean"
) -> Any:
    """The mean of -t log p - (1 - t) log(1 - p): (...), (...) -> a scalar.

    Logarithms are cut off at the smallest normal number of the dtype (of float32 for float16), so p = 0 and p = 1 give
    finite values. A term that is cut off has derivative 0. If p is a sigmoid, use sigmoid_cross_entropy of its logits,
    which is exact. `weight` multiplies the losses, and the mean divides by the number of entries also then. DeZero divides by len(p).
    Raises RangeError for p outside 0 to 1, with its place (not on a GPU, where looking would wait).
    """
    p, t, mask = paired("binary_cross_entropy", probabilities, targets, mask, filler=0.5)
    checked(p, test=_is_probability, error=_not_a_probability)
    tiny = float(limits(p.dtype).tiny if is_floating(p.dtype) else np.finfo(float).tiny)
    sure = p >= 1
    rest = fnp.where(
        sure, math.log(tiny), fnp.log1p(-fnp.where(sure, 0, fnp.maximum(p, 0)))
    )  # log(1 - p), also for small p
    return _binary(
        "binary_cross_entropy", -(t * fnp.log(fnp.clip(p, tiny, 1.0)) + (1 - t) * rest), weight, mask, reduction
    )


def _is_probability(p: Any) -> Any:
    return ~((p < 0) | (p > 1))  # NaN passes, and shows in the loss


def _not_a_probability(p: Any) -> RangeError:
    return RangeError(
        f"binary_cross_entropy: probabilities lie between 0 and 1, got {first_wrong(p, _is_probability)}. For logits use "
        "sigmoid_cross_entropy."
    )


@in_dtype_of_first
def sigmoid_focal_loss(
    logits: Any,
    targets: Any,
    *,
    alpha: float | None = 0.25,
    gamma: float = 2.0,
    mask: Any = None,
    reduction: str = "mean",
) -> Any:
    """The mean of (1 - q)**gamma times the cross entropy, where q is the probability given to the target: (...), (...) -> a scalar.

    Entries of target 1 are multiplied by alpha, those of target 0 by 1 - alpha; None: by 1. Raises RangeError for a negative gamma.

    Source: Lin et al., "Focal loss for dense object detection", 2017.
    """
    if not gamma >= 0:
        raise RangeError(f"sigmoid_focal_loss: gamma must not be negative, got {gamma!r}.")
    x, t, mask = paired("sigmoid_focal_loss", logits, targets, mask)
    losses = _terms_of_logits(x, t)
    if gamma:
        wrong = elementwise.sigmoid(x) * (1 - t) + elementwise.sigmoid(-x) * t  # 1 - q, without cancellation
        tiny = (
            float(limits(wrong.dtype).tiny) ** 0.5
        )  # the slopes of a root at 0 are infinite; the cross entropy there is smaller still
        losses = losses * (fnp.square(wrong) if gamma == 2 else fnp.maximum(wrong, tiny) ** gamma)
    if alpha is not None:
        losses = losses * (alpha * t + (1 - alpha) * (1 - t))
    return reduced("sigmoid_focal_loss", losses, reduction, mask)


# Distributions


@in_dtype_of_first
def kl_divergence(
    log_predictions: Any,
    targets: Any,
    *,
    axis: int = -1,
    log_target: bool = False,
    mask: Any = None,
    reduction: str = "mean",
) -> Any:
    """The mean of sum(targets * (log(targets) - log_predictions)) over the classes along `axis`: (..., classes) twice -> a scalar.

    Targets are probabilities, or their logarithms with `log_target`; a target of probability 0 adds 0. The mean divides by the number of
    distributions, which PyTorch calls "batchmean"; its "mean" also divides by the classes. `mask` and "none" also count distributions.

    Source: Kullback and Leibler, "On information and sufficiency", 1951.
    """
    q, targets = fnp.asarray(log_predictions), fnp.asarray(targets)
    if q.ndim and axis not in (-1, q.ndim - 1):
        q, targets = fnp.moveaxis(q, axis, -1), fnp.moveaxis(targets, axis, -1) if targets.ndim == q.ndim else targets
    if mask is not None:
        mask = mask_of("kl_divergence", mask, q.shape[:-1])
    q, t, _ = paired("kl_divergence", q, targets, None if mask is None else fnp.expand_dims(mask, -1))
    if not q.ndim:
        raise ShapeError(f"kl_divergence: predictions have an axis of classes, got {describe(q)}.")
    absent = t == (-math.inf if log_target else 0)
    logs = fnp.where(absent, 0, t) if log_target else fnp.log(fnp.where(absent, 1, t))
    terms = (fnp.exp(logs) if log_target else t) * (logs - fnp.where(absent, 0, q))
    return reduced("kl_divergence", fnp.sum(fnp.where(absent, 0, terms), axis=-1), reduction, mask)


def accuracy(logits: Any, labels: Any) -> Any:
    """The fraction of examples whose largest logit is at the label, without a derivative: (..., classes), (...) -> a scalar."""
    logits, labels = fnp.asarray(logits), fnp.asarray(labels)
    labels = _checked_labels("accuracy", logits, labels)
    return fnp.mean(fnp.argmax(logits, axis=-1) == labels)
