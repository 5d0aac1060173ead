"""The table of metrics: how each one is made, and examples for its `update`. A metric needs one row or more."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from fdezero import training


class Row(NamedTuple):
    """A metric by its class, the call that makes it empty, and the arguments of `update` for n examples."""

    name: str
    variant: str
    make: Callable[[], Any]
    examples: Callable[[np.random.Generator, int], tuple[Any, ...]]

    def __str__(self) -> str:
        return f"{self.name} {self.variant}".strip()


def numbers(rng: np.random.Generator, n: int) -> tuple[Any, ...]:
    return (rng.normal(size=n).astype(np.float32),)


def scores(rng: np.random.Generator, n: int) -> tuple[Any, ...]:
    return rng.normal(size=(n, 4)).astype(np.float32), rng.integers(0, 4, n)


def classes(rng: np.random.Generator, n: int) -> tuple[Any, ...]:
    return rng.integers(0, 4, n).astype(np.uint8), rng.integers(0, 3, n)  # class 3 is never a label


def two(rng: np.random.Generator, n: int) -> tuple[Any, ...]:
    return rng.random(n) < 0.4, rng.random(n) < 0.5


def several(rng: np.random.Generator, n: int) -> tuple[Any, ...]:
    return rng.random((n, 4)) < 0.4, rng.random((n, 4)) < 0.5


def probabilities(rng: np.random.Generator, n: int) -> tuple[Any, ...]:
    p = rng.random(n).astype(np.float32)
    return p, (rng.random(n) < p).astype(np.int64)


def logits(rng: np.random.Generator, n: int) -> tuple[Any, ...]:
    x = 5 * rng.normal(size=n).astype(np.float32)
    return x, rng.normal(size=n) < x


METRICS = [
    Row("Accuracy", "of scores", training.Accuracy, scores),
    Row("Accuracy", "of classes", training.Accuracy, classes),
    Row("AUC", "", lambda: training.AUC(64), probabilities),
    Row("AUC", "of logits", lambda: training.AUC(64, logits=True), logits),
    Row("AUC", "pr", lambda: training.AUC(64, curve="pr"), probabilities),
    Row("ConfusionMatrix", "of scores", lambda: training.ConfusionMatrix(4), scores),
    Row("ConfusionMatrix", "of classes", lambda: training.ConfusionMatrix(4), classes),
    Row("F1", "", lambda: training.F1(4), scores),
    Row("F1", "micro", lambda: training.F1(4, "micro"), classes),
    Row("Mean", "", training.Mean, numbers),
    Row("Perplexity", "", training.Perplexity, scores),
    Row("Precision", "of each class", lambda: training.Precision(4, average=None), classes),
    Row("Precision", "binary", lambda: training.Precision(2, "binary"), two),
    Row("Precision", "of several labels", lambda: training.Precision(4, multilabel=True), several),
    Row("Recall", "weighted", lambda: training.Recall(4, "weighted"), classes),
    Row("Recall", "macro", lambda: training.Recall(4), classes),
    Row("TopKAccuracy", "", lambda: training.TopKAccuracy(2), scores),
]
