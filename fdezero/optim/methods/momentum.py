"""Momentum, plain and Nesterov's."""

from typing import Any, NamedTuple

from ... import numpy as fnp
from ... import tree as trees
from ..gradients import descend
from ..transformation import GradientTransformation, Rate, chain, times, weak

__all__ = ["momentum", "velocity"]


class Velocity(NamedTuple):
    """The running sum of gradients, a tree like the gradients."""

    velocity: Any


def momentum(lr: Rate, decay: float = 0.9, nesterov: bool = False) -> GradientTransformation:
    """Gradient descent along the velocity: `chain(velocity(decay, nesterov), descend(lr))`; `lr` as for `sgd`.

    Source: Sutskever et al., "On the importance of initialization and momentum in deep learning", ICML 2013.
    """
    return chain(velocity(decay, nesterov), descend(lr))


def velocity(decay: float = 0.9, nesterov: bool = False) -> GradientTransformation:
    """The direction of `momentum`: v = decay * v + g, or with `nesterov` decay * v + g for that new v."""
    decay = weak(decay)

    def init(params: Any) -> Velocity:
        return Velocity(trees.map(fnp.zeros_like, trees.trainable(params)))

    def update(grads: Any, state: Velocity, params: Any) -> tuple[Any, Velocity]:
        v = trees.map(lambda g, v: times(v, decay) + g, grads, state.velocity, names=("grads", "the state's velocity"))
        direction = trees.map(lambda g, v: times(v, decay) + g, grads, v) if nesterov else v
        return direction, Velocity(v)

    return GradientTransformation(init, update)
