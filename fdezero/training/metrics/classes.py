"""Metrics of classes: the confusion matrix, and precision, recall and F1, by class or averaged."""

from typing import Any, Self

import attrs
import numpy as np

from ... import numpy as fnp
from ...devices import backend_of
from ...errors import DTypeError, RangeError, ShapeError
from ...messages import describe
from ...numpy.elementwise import cast
from ...tree import static
from .base import Metric, plus, ratio, weights_of, whole
from .predictions import checked_labels, chosen

__all__ = ["F1", "ConfusionMatrix", "Precision", "Recall"]

AVERAGES = ("macro", "micro", "weighted", "binary", None)


def _counted(metric: Any) -> int:
    """The number of classes of a metric, checked."""
    return whole(metric.classes, f"{type(metric).__name__}: the number of classes", 1)


def _examples(name: str, predictions: Any, labels: Any, weight: Any, mask: Any, classes: int) -> tuple[Any, Any, Any]:
    """Predicted classes, labels and weights of all examples, each (n,). The weight of a label that is no class is NaN."""
    predictions = fnp.asarray(predictions)
    labels, part = checked_labels(name, predictions, labels, mask, classes)
    predictions = chosen(name, predictions, labels, part, classes)
    weights = weights_of(name, labels, weight, part)
    weights = fnp.ones_like(labels, dtype=np.float64) if weights is None else weights
    if not backend_of(labels).reads_at_once:  # nobody has looked whether they are classes
        known = (labels >= 0) & (labels < classes)
        weights, labels = fnp.where(known, weights, np.nan), fnp.where(known, labels, 0)
        predictions = fnp.clip(predictions, 0, classes - 1)
    return tuple([fnp.reshape(x, (-1,)) for x in (predictions, labels, weights)])  # type: ignore[return-value]  # three


class ConfusionMatrix(Metric):
    """How often a label got which prediction: `ConfusionMatrix(10)`, whose result is (classes, classes), with a row for each label."""

    classes: int = static()
    counts: Any = attrs.field(
        default=attrs.Factory(lambda metric: np.zeros((_counted(metric),) * 2), takes_self=True), kw_only=True
    )

    def update(self, predictions: Any, labels: Any, *, weight: Any = None, mask: Any = None) -> Self:
        """With further examples: scores (..., classes) or predicted classes (...), and integer labels (...).

        Raises RangeError for labels and predictions that are no classes, with the place; on a GPU, where looking would wait, such a label
        makes entries NaN.
        """
        predictions, labels, weights = _examples("ConfusionMatrix", predictions, labels, weight, mask, self.classes)
        place = cast(labels, np.int64) * self.classes + cast(predictions, np.int64)
        counts = fnp.bincount(place, weights, length=self.classes**2)
        return self.replace(counts=plus(self.counts, fnp.reshape(counts, (self.classes, self.classes))))

    def result(self) -> Any:
        """The counts, (classes, classes) float64: entry [i, j] for label i and prediction j."""
        return self.counts


def _none_of(metric: Any) -> Any:
    return np.zeros(_counted(metric))


class _ByClass(Metric):
    """For each class: how often it was predicted rightly, was predicted, and was the label; (classes,) float64 each."""

    classes: int = static()
    average: str | None = static(default="macro")
    multilabel: bool = static(default=False, kw_only=True)
    hits: Any = attrs.field(default=attrs.Factory(_none_of, takes_self=True), kw_only=True)
    predicted: Any = attrs.field(default=attrs.Factory(_none_of, takes_self=True), kw_only=True)
    labelled: Any = attrs.field(default=attrs.Factory(_none_of, takes_self=True), kw_only=True)

    def __attrs_post_init__(self) -> None:
        name = type(self).__name__
        if self.average not in AVERAGES:
            raise RangeError(f"{name}: average is one of {', '.join(map(repr, AVERAGES))}; got {self.average!r}.")
        if self.average == "binary" and (self.classes != 2 or self.multilabel):
            raise RangeError(f'{name}: average="binary" is the value of class 1 of two classes: {name}(2, "binary").')

    def update(self, predictions: Any, labels: Any, *, weight: Any = None, mask: Any = None) -> Self:
        """With further examples: scores (..., classes) or predicted classes (...), and integer labels (...).

        With `multilabel` both are truth values (..., classes); weights and masks are (...). Raises as `ConfusionMatrix` does.
        """
        count = self._several if self.multilabel else self._one
        new = count(fnp.asarray(predictions), fnp.asarray(labels), weight, mask)
        hits, predicted, labelled = map(plus, (self.hits, self.predicted, self.labelled), new)
        return self.replace(hits=hits, predicted=predicted, labelled=labelled)

    def _one(self, predictions: Any, labels: Any, weight: Any, mask: Any) -> tuple[Any, ...]:
        name = type(self).__name__
        predictions, labels, weights = _examples(name, predictions, labels, weight, mask, self.classes)
        right = fnp.where(predictions == labels, weights, 0.0 * weights)  # 0 times NaN stays NaN
        pairs = ((labels, right), (predictions, weights), (labels, weights))
        return tuple([fnp.bincount(places, w, length=self.classes) for places, w in pairs])

    def _several(self, predictions: Any, labels: Any, weight: Any, mask: Any) -> tuple[Any, ...]:
        name, shape = type(self).__name__, labels.shape
        if not predictions.dtype.kind == labels.dtype.kind == "b":
            raise DTypeError(
                f"{name}(multilabel=True) takes truth values, got {describe(predictions)} and {describe(labels)}: pass p > 0.5, t == 1."
            )
        if predictions.shape != shape or not shape or shape[-1] != self.classes:
            raise ShapeError(
                f"{name}(multilabel=True) takes predictions and labels (..., {self.classes}), got {describe(predictions)} and "
                f"{describe(labels)}."
            )
        weights = weights_of(name, labels[..., 0], weight, mask)
        weights = 1.0 if weights is None else fnp.expand_dims(weights, -1)
        axes = tuple(range(len(shape) - 1))
        return tuple([fnp.sum(x * weights, axis=axes) for x in (predictions & labels, predictions, labels)])

    def _value(self, hits: Any, predicted: Any, labelled: Any) -> Any:
        raise NotImplementedError

    def result(self) -> Any:
        """The value of all classes (`average=None`: (classes,)), or their mean; NaN where there is nothing to divide by.

        "macro" is the mean over the classes that occur, "weighted" the same weighted by how often they are labels, "micro" the value of
        all classes counted together, "binary" the value of class 1.
        """
        sums = self.hits, self.predicted, self.labelled
        if self.average == "micro":
            return self._value(*map(fnp.sum, sums))
        values = self._value(*sums)
        if self.average is None:
            return values
        if self.average == "binary":
            return values[..., 1]
        occurs = (self.predicted + self.labelled) != 0  # NaN occurs
        weights = self.labelled if self.average == "weighted" else cast(occurs, np.float64)
        return ratio(fnp.sum(fnp.where(occurs, values, 0.0) * weights), fnp.sum(weights))


def _share(hits: Any, of: Any, occurs: Any) -> Any:
    """hits / of: 0 where there is nothing to divide by, but NaN for a class that does not occur at all."""
    return fnp.where(of == 0, fnp.where(occurs == 0, np.nan, 0.0), hits / fnp.where(of == 0, 1.0, of))


class Precision(_ByClass):
    """Of the examples predicted as a class, the fraction that has it as label: `Precision(10)`, `Precision(2, "binary")`.

    A class that is never predicted, but is a label, has precision 0.
    """

    def _value(self, hits: Any, predicted: Any, labelled: Any) -> Any:
        return _share(hits, predicted, labelled)


class Recall(_ByClass):
    """Of the examples with a class as label, the fraction predicted as it. A class that is predicted, but never a label, has 0."""

    def _value(self, hits: Any, predicted: Any, labelled: Any) -> Any:
        return _share(hits, labelled, predicted)


class F1(_ByClass):
    """The harmonic mean of precision and recall of a class: `F1(10, average=None)` has all of them."""

    def _value(self, hits: Any, predicted: Any, labelled: Any) -> Any:
        return ratio(2 * hits, predicted + labelled)
