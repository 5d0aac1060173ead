"""`early_stopping`: whether a metric has stopped getting better, as a value that is updated once an epoch."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..errors import RangeError
from ..io.checkpoints import UNSURE as LOWER  # words in names of metrics whose lowest value is the best
from ..messages import describe
from ..tree import Module, static

__all__ = ["EarlyStopping", "early_stopping"]

HIGHER = ("accuracy", "auc", "f1", "precision", "recall")


class EarlyStopping(Module):
    """The state of `early_stopping`: the best value so far, and the number of updates since. Its counters are leaves, so it is saved."""

    metric: str = static()
    patience: int = static()
    min_delta: float = static()
    mode: str = static()
    best: Any = math.nan
    waited: Any = 0

    @property
    def stopped(self) -> bool:
        """Whether it is time to stop."""
        return int(self.waited) >= self.patience

    def update(self, metrics: Any) -> tuple[bool, "EarlyStopping"]:
        """Whether to stop, and the next state, for the metrics of an epoch (a dict, or the number itself). A NaN is never better.

        Raises RangeError if the dict does not have the metric, or if it is no number.
        """
        if isinstance(metrics, Mapping) and self.metric not in metrics:
            raise RangeError(
                f"early_stopping watches {self.metric!r}, but the metrics of an epoch are {', '.join(metrics) or 'none'}."
            )
        given, best = metrics[self.metric] if isinstance(metrics, Mapping) else metrics, float(self.best)
        if np.ndim(given) or isinstance(given, str) or not (hasattr(given, "dtype") or isinstance(given, int | float)):
            raise RangeError(f"early_stopping: {self.metric} is a number, got {describe(given)}.")
        value = float(given)
        gain = best - value if self.mode == "min" else value - best
        if gain > self.min_delta or (math.isnan(best) and not math.isnan(value)):
            return False, self.replace(best=value, waited=0)
        later = self.replace(waited=int(self.waited) + 1)
        return later.stopped, later


def early_stopping(metric: str, *, patience: int = 5, min_delta: float = 0.0, mode: str | None = None) -> EarlyStopping:
    """A pure state machine that says when to stop: after `patience` updates without a value better by more than `min_delta`.

        stop = training.early_stopping("val_loss", patience=3)
        done, stop = stop.update({"val_loss": 0.5})

    `mode` is "min" or "max". Names with loss, error or perplexity in them mean "min", and those with accuracy, auc, f1, precision or
    recall "max".
    Raises RangeError for settings that make no sense, and for a name that does not tell the mode.
    """
    if not isinstance(metric, str):
        raise RangeError(f"early_stopping watches a metric by its name, such as 'val_loss'; got {metric!r}.")
    if isinstance(patience, bool) or not isinstance(patience, int) or patience < 1:
        raise RangeError(f"early_stopping: patience is a number of epochs, 1 or more; got {patience!r}.")
    if not 0 <= min_delta < math.inf:
        raise RangeError(f"early_stopping: min_delta is 0 or more; got {min_delta!r}.")
    if mode is None:
        lower, higher = (any(word in metric.lower() for word in words) for words in (LOWER, HIGHER))
        if lower == higher:
            raise RangeError(f"is the best {metric} the highest or the lowest? Say mode='min' or mode='max'.")
        mode = "min" if lower else "max"
    if mode not in ("min", "max"):
        raise RangeError(f"early_stopping: mode is 'min' or 'max'; got {mode!r}.")
    return EarlyStopping(metric, patience, float(min_delta), mode)
