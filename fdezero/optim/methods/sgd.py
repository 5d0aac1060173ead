"""Stochastic gradient descent."""

from ..gradients import descend
from ..settings import Rate, rate

__all__ = ["sgd"]


class sgd(descend):
    """params - lr * grads; `lr` is a number or a schedule, such as `lambda step: 0.1 * 0.99**step`."""

    lr: Rate = rate(default=1e-2)
