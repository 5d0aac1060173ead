"""Metrics that are means: of anything, of right predictions, of the surprise at each token."""

from typing import Any, Self

import attrs
import numpy as np

from ... import numpy as fnp
from ...devices import array_module
from ...errors import DTypeError, ShapeError
from ...functions import softmax_cross_entropy
from ...messages import describe
from ...numpy.elementwise import cast
from ...tree import static
from ...values import kind_of
from .base import Metric, ratio, summed, weights_of, whole
from .predictions import checked_labels, chosen

__all__ = ["Accuracy", "Mean", "Perplexity", "TopKAccuracy"]


class _Ratio(Metric):
    """The weighted sum of a number for each example, and the sum of the weights; both are float64 scalars."""

    total: Any = attrs.field(default=np.float64(0), kw_only=True)
    count: Any = attrs.field(default=np.float64(0), kw_only=True)

    def _with(self, values: Any, weights: Any) -> Self:
        """With further values (...), and their weights (...) or None."""
        if weights is None:
            total = summed(values)
            size = fnp.full_like(total, values.size)  # on the device of the values
            return self.replace(total=self.total + total, count=self.count + size)
        values = fnp.where(weights == 0, 0.0, cast(values, np.float64))  # so a NaN that does not count does no harm
        return self.replace(total=self.total + fnp.sum(values * weights), count=self.count + fnp.sum(weights))

    def result(self) -> Any:
        """The mean so far; NaN if there is nothing."""
        return ratio(self.total, self.count)


class Mean(_Ratio):
    """The mean of numbers: `Mean().update(loss, weight=len(x))` for the mean of a batch, `Mean().update(losses)` for losses (...).

    `weight` and `mask` broadcast to the numbers. Sums are float64, so ten million float32 numbers lose no digits.
    """

    def update(self, values: Any, *, weight: Any = None, mask: Any = None) -> Self:
        """With further numbers (...). Raises DTypeError for complex ones, ShapeError for weights that do not fit."""
        numbers = fnp.asarray(values)
        if kind_of(numbers.dtype) not in "biuf":
            raise DTypeError(f"Mean: the numbers are real, got {describe(values)}.")
        return self._with(numbers, weights_of("Mean", numbers, weight, mask))


class Accuracy(_Ratio):
    """The fraction of examples whose prediction is the label. A row of scores with a NaN is a wrong one."""

    def update(self, predictions: Any, labels: Any, *, weight: Any = None, mask: Any = None) -> Self:
        """With further examples: scores (..., classes) or predicted classes (...), and integer labels (...).

        Raises RangeError for a label that is no class, with its place; on a GPU, where looking would wait, it is a wrong prediction.
        """
        predictions = fnp.asarray(predictions)
        labels, part = checked_labels("Accuracy", predictions, labels, mask)
        right = chosen("Accuracy", predictions, labels, part) == labels
        if predictions.ndim > labels.ndim:
            greatest = fnp.max(predictions, axis=-1)
            right = right & (greatest == greatest)
        return self._with(right, weights_of("Accuracy", labels, weight, part))


class TopKAccuracy(_Ratio):
    """The fraction of examples whose label is among the k greatest scores: `TopKAccuracy(5)`.

    Of equal scores the first counts as the greatest, so k = 1 is `Accuracy`. A NaN counts as greater than
    every number, and never as a right prediction.
    """

    k: int = static()

    def __attrs_post_init__(self) -> None:
        whole(self.k, "TopKAccuracy: k", 1)

    def update(self, scores: Any, labels: Any, *, weight: Any = None, mask: Any = None) -> Self:
        """With further examples: scores (..., classes), integer labels (...). Raises as `Accuracy` does."""
        scores = fnp.asarray(scores)
        labels, part = checked_labels("TopKAccuracy", scores, labels, mask)
        if scores.ndim != labels.ndim + 1:
            raise ShapeError(
                f"TopKAccuracy takes scores (..., classes), got {describe(scores)} for {describe(labels)}."
            )
        label = fnp.expand_dims(labels, -1)
        classes = array_module(labels).arange(scores.shape[-1])
        here = label == classes
        own = fnp.sum(fnp.where(here, scores, 0), axis=-1, keepdims=True)
        before = (scores > own) | (scores != scores) | ((scores == own) & (classes < label))
        right = (fnp.sum(before & ~here, axis=-1) < self.k) & (own == own)[..., 0] & fnp.any(here, axis=-1)
        return self._with(right, weights_of("TopKAccuracy", labels, weight, part))


class Perplexity(_Ratio):
    """The exponential of the mean cross entropy: how many tokens the model hesitates between."""

    def update(self, logits: Any, labels: Any, *, weight: Any = None, mask: Any = None) -> Self:
        """With further tokens: logits (..., classes), integer labels (...). A mask leaves out padding, whatever its label.

        Raises as `fd.functions.softmax_cross_entropy` does.
        """
        losses = softmax_cross_entropy(logits, labels, mask=mask, reduction="none")
        return self._with(losses, weights_of("Perplexity", losses, weight, mask))

    def result(self) -> Any:
        """The perplexity so far; NaN if there is nothing."""
        return fnp.exp(super().result())
