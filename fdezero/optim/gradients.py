"""Transformations of gradients that any method may use: scaling, descent, clipping, weight decay."""

from typing import Any, NamedTuple

import numpy as np

from .. import numpy as fnp
from .. import tree as trees
from .transformation import GradientTransformation, Rate, Scaling, global_norm, stateless, times, times_all, weak

__all__ = ["clip_by_global_norm", "descend", "scale", "weight_decay"]


def scale(factor: Any) -> GradientTransformation:
    """Gradients times a number."""
    factor = weak(factor)
    return Scaling(lambda params: (), lambda grads, state, params: (times_all(grads, factor), state), factor)


class Count(NamedTuple):
    """The number of steps taken, int64."""

    step: Any


def descend(lr: Rate) -> GradientTransformation:
    """Turn a direction into a move of -lr times the direction: the last part of every method.

    `lr` is a number or a schedule, such as `lambda step: 0.1 * 0.99**step`. AdamW, for example, is
    `chain(moments(), weight_decay(0.01), descend(1e-3))`.
    """
    if not callable(lr):
        return scale(-lr)

    def update(grads: Any, state: Count, params: Any) -> tuple[Any, Count]:
        return times_all(grads, weak(-lr(state.step))), Count(state.step + 1)

    return GradientTransformation(lambda params: Count(np.int64(0)), update)


def clip_by_global_norm(max_norm: float) -> GradientTransformation:
    """Gradients scaled down so that their global norm is at most `max_norm`."""

    def clip(grads: Any, params: Any) -> Any:
        norm = global_norm(grads)
        above = norm > max_norm
        return times_all(grads, weak(fnp.where(above, max_norm / fnp.where(above, norm, 1), 1)))  # no 0 / 0 at norm 0

    return stateless(clip)


def weight_decay(rate: float) -> GradientTransformation:
    """Add rate * params to the gradients of all leaves.

    Before a method this is L2 regularisation, `chain(weight_decay(1e-4), sgd(0.1))`; between a method's direction
    and `descend` it is decoupled weight decay, as in AdamW.
    """
    rate = weak(rate)

    def decay(grads: Any, params: Any) -> Any:
        return trees.map(lambda g, p: g + times(p, rate), grads, trees.trainable(params), names=("grads", "params"))

    return stateless(decay)
