"""Stochastic gradient descent."""

from ..gradients import descend

__all__ = ["sgd"]


class sgd(descend):
    """params - lr * grads; `lr` is a number or a schedule, such as `lambda step: 0.1 * 0.99**step`."""
