"""Stochastic gradient descent."""

from ..gradients import descend
from ..transformation import GradientTransformation, Rate

__all__ = ["sgd"]


def sgd(lr: Rate) -> GradientTransformation:
    """params - lr * grads; `lr` is a number or a schedule, such as `lambda step: 0.1 * 0.99**step`."""
    return descend(lr)
