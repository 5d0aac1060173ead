"""Stochastic gradient descent."""

from typing import Any

import numpy as np

from ..gradients import scale
from ..transformation import Count, GradientTransformation, Rate, times_all, weak


def sgd(lr: Rate) -> GradientTransformation:
    """params - lr * grads; `lr` is a number or a schedule, such as `lambda step: 0.1 * 0.99**step`."""
    if not callable(lr):
        return scale(-lr)

    def update(grads: Any, state: Count, params: Any) -> tuple[Any, Count]:
        return times_all(grads, weak(-lr(state.step))), Count(state.step + 1)

    return GradientTransformation(lambda params: Count(np.int64(0)), update)
