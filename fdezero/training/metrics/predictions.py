"""Predictions and labels as the metrics of classes take them: checked, and the chosen class of each example."""

import math
from typing import Any

import numpy as np

from ... import numpy as fnp
from ...errors import DTypeError, RangeError, ShapeError
from ...functions.reduction import first_wrong, mask_of
from ...messages import describe
from ...numpy.elementwise import cast
from ...ops.checks import checked
from ...ops.indexing import labels as labels_of

__all__: list[str] = []  # helpers of the metrics


def checked_labels(name: str, predictions: Any, labels: Any, mask: Any, classes: int | None = None) -> tuple[Any, Any]:
    """Integer labels (...) that fit the predictions, and the mask in full or None. A label outside the mask is 0.

    The number of classes is that of the scores, or `classes`; without both, labels are not limited.
    """
    labels = fnp.asarray(labels)
    if labels.dtype.kind == "f" and predictions.dtype.kind in "iu" and predictions.ndim < labels.ndim:
        raise DTypeError(
            f"{name}: the scores come first, then the labels; got {describe(predictions)}, then {describe(labels)}."
        )
    if labels.dtype.kind not in "iub":
        hint = (
            "labels.argmax(axis=-1)" if labels.shape == predictions.shape and labels.ndim > 1 else "labels.astype(int)"
        )
        raise DTypeError(f"{name} takes integer labels, got {describe(labels)}. Use {hint}.")
    if predictions.ndim == labels.ndim + 1 and predictions.shape[:-1] == labels.shape:
        count: int | None = predictions.shape[-1]
        if classes is not None and count != classes:
            raise ShapeError(f"{name} of {classes} classes got scores of {count} classes, {describe(predictions)}.")
    elif predictions.shape == labels.shape:
        count = classes
    else:
        hint = " For one-hot labels, use labels.argmax(axis=-1)." if predictions.ndim < labels.ndim else ""
        if predictions.ndim == labels.ndim and math.prod(predictions.shape[:-1]) == labels.size:
            hint = f" Use labels.reshape({predictions.shape[:-1]})."
        raise ShapeError(
            f"{name}: scores (..., classes) or predicted classes (...) go with labels (...), got {describe(predictions)} and "
            f"{describe(labels)}.{hint}"
        )
    if labels.dtype.kind == "b":
        labels = cast(labels, np.int64)
    if mask is not None:
        mask = fnp.broadcast_to(mask_of(name, mask, labels.shape, "examples"), labels.shape)
        labels = fnp.where(mask, labels, 0)
    return (labels if count is None else labels_of(labels, classes=count, of=name)), mask


def chosen(name: str, predictions: Any, labels: Any, mask: Any = None, classes: int | None = None) -> Any:
    """The predicted class of each example, (...): the place of the greatest score, or the given integers; 0 outside the mask."""
    if predictions.ndim > labels.ndim:
        return fnp.argmax(predictions, axis=-1)
    if predictions.dtype.kind not in "iub":
        raise DTypeError(
            f"{name}: predicted classes are integers, got {describe(predictions)}. For probabilities of one class, use p > 0.5."
        )
    predictions = cast(predictions, np.int64) if predictions.dtype.kind == "b" else predictions
    if mask is not None:
        predictions = fnp.where(mask, predictions, 0)
    if classes is None:
        return predictions

    def is_class(x: Any) -> Any:
        return (x >= 0) & (x < classes)

    def error(x: Any) -> RangeError:
        return RangeError(f"{name}: predicted classes are 0 to {classes - 1}, got {first_wrong(x, is_class)}.")

    return checked(predictions, test=is_class, error=error)
