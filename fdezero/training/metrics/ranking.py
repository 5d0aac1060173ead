"""The area under curves of ranked scores, from counts of binned scores."""

from typing import Any, Self

import attrs
import numpy as np

from ... import numpy as fnp
from ...errors import DTypeError, RangeError, ShapeError
from ...functions.reduction import first_wrong, mask_of
from ...messages import describe
from ...numpy.elementwise import cast
from ...ops.checks import checked
from ...tree import static
from ...values import is_floating, kind_of
from .base import Metric, plus, ratio, weights_of, whole

__all__ = ["AUC"]


def _empty(metric: Any) -> Any:
    return np.zeros(metric.bins)


class AUC(Metric):
    """The area under the ROC curve, or with `curve="pr"` the average precision, of scores for the class 1.

    Scores are probabilities, or any numbers with `logits=True`. They are counted in `bins`, so the result is that of scores rounded to
    bins: exact if no bin has scores of both classes. `bound()` says how far the exact area can be. Probabilities have bins of equal
    width, and numbers x those of x / (1 + |x|), which are finest at 0.
    """

    bins: int = static(default=4096)
    curve: str = static(default="roc", kw_only=True)
    logits: bool = static(default=False, kw_only=True)
    positives: Any = attrs.field(default=attrs.Factory(_empty, takes_self=True), kw_only=True)
    negatives: Any = attrs.field(default=attrs.Factory(_empty, takes_self=True), kw_only=True)

    def __attrs_post_init__(self) -> None:
        whole(self.bins, "AUC: the number of bins", 2)
        if self.curve not in ("roc", "pr"):
            raise RangeError(f'AUC: curve is "roc" or "pr", got {self.curve!r}.')

    def update(self, scores: Any, labels: Any, *, weight: Any = None, mask: Any = None) -> Self:
        """With further examples: scores (...), labels (...) of 0 and 1, or truth values. A NaN among the scores makes the result NaN.

        Raises RangeError, with the place, for labels that are neither and for probabilities outside 0 to 1 (on a GPU, where looking would
        wait, they make the result NaN).
        """
        scores, labels = fnp.asarray(scores), fnp.asarray(labels)
        if scores.shape != labels.shape:
            hint = " Pass the scores of class 1: scores[..., 1]." if scores.shape[:-1] == labels.shape else ""
            raise ShapeError(
                f"AUC: scores {describe(scores)} and labels {describe(labels)} must have the same shape.{hint}"
            )
        if not is_floating(scores.dtype) or kind_of(labels.dtype) not in "biuf":
            raise DTypeError(
                f"AUC takes floating scores and labels of 0 and 1, got {describe(scores)} and {describe(labels)}."
            )
        if mask is not None:
            mask = mask_of("AUC", mask, labels.shape, "examples")
            scores, labels = fnp.where(mask, scores, 0), fnp.where(mask, labels, 0)
        x = cast(scores, np.float64)
        if labels.dtype.kind != "b":
            labels = checked(labels, test=_is_label, error=_not_a_label)
        if self.logits:
            x = 0.5 + 0.5 * fnp.where(abs(x) == np.inf, fnp.sign(x), x / (1 + fnp.where(abs(x) == np.inf, 0, abs(x))))
        else:
            x = checked(x, test=_is_probability, error=_not_a_probability)
        weights = weights_of("AUC", labels, weight, mask)
        weights = fnp.ones_like(x) if weights is None else weights
        positive = labels == 1
        known = (x >= 0) & (x <= 1) & (positive | (labels == 0))
        place = cast(fnp.minimum(fnp.floor(fnp.where(known, x, 0.0) * self.bins), self.bins - 1), np.int64)
        weights = fnp.where(known, weights, np.nan)
        new = [
            fnp.bincount(
                fnp.reshape(place, (-1,)), fnp.reshape(fnp.where(chosen, weights, 0.0), (-1,)), length=self.bins
            )
            for chosen in (positive | ~known, ~positive)
        ]
        return self.replace(positives=plus(self.positives, new[0]), negatives=plus(self.negatives, new[1]))

    def result(self) -> Any:
        """The area so far; NaN if one of the classes has no examples."""
        positives, negatives = self.positives, self.negatives
        p, n = fnp.sum(positives), fnp.sum(negatives)
        if self.curve == "roc":
            below = fnp.cumsum(negatives) - negatives
            return ratio(fnp.sum(positives * (below + negatives / 2)), p * n)
        hits, predicted = (fnp.cumsum(x[::-1]) for x in (positives, positives + negatives))
        precision = hits / fnp.where(predicted == 0, 1.0, predicted)
        return ratio(fnp.sum(positives[::-1] * precision), fnp.where(n == 0, 0.0, p))

    def bound(self) -> Any:
        """How far the area under the ROC curve can be from that of scores that are not binned."""
        p, n = fnp.sum(self.positives), fnp.sum(self.negatives)
        return ratio(fnp.sum(self.positives * self.negatives) / 2, p * n)


def _is_label(t: Any) -> Any:
    return (t == 0) | (t == 1)


def _not_a_label(t: Any) -> RangeError:
    return RangeError(
        f"AUC: labels are 0 or 1, got {first_wrong(t, _is_label)}. For labels of several classes, use t == k."
    )


def _is_probability(p: Any) -> Any:
    return ~((p < 0) | (p > 1))  # NaN passes, and shows in the result


def _not_a_probability(p: Any) -> RangeError:
    return RangeError(
        f"AUC: probabilities lie between 0 and 1, got {first_wrong(p, _is_probability)}. For other scores, use AUC(logits=True)."
    )
