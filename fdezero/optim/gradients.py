"""Transformations of gradients: scaling, clipping, weight decay."""

from typing import Any

from .. import numpy as fnp
from .. import tree as trees
from .transformation import GradientTransformation, Scaling, global_norm, stateless, times, times_all, weak


def scale(factor: Any) -> GradientTransformation:
    """Gradients times a number."""
    factor = weak(factor)
    return Scaling(lambda params: (), lambda grads, state, params: (times_all(grads, factor), state), factor)


def clip_by_global_norm(max_norm: float) -> GradientTransformation:
    """Gradients scaled down so that their global norm is at most `max_norm`."""

    def clip(grads: Any, params: Any) -> Any:
        norm = global_norm(grads)
        above = norm > max_norm
        return times_all(grads, weak(fnp.where(above, max_norm / fnp.where(above, norm, 1), 1)))  # no 0 / 0 at norm 0

    return stateless(clip)


def weight_decay(rate: float) -> GradientTransformation:
    """rate * params added to the gradients of all leaves: L2 regularisation, as in `chain(weight_decay(1e-4), sgd(0.1))`."""
    rate = weak(rate)

    def decay(grads: Any, params: Any) -> Any:
        return trees.map(lambda g, p: g + times(p, rate), grads, trees.trainable(params), names=("grads", "params"))

    return stateless(decay)
