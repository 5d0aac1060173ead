"""Momentum, plain and Nesterov's."""

from typing import Any, NamedTuple

from ... import numpy as fnp
from ... import tree as trees
from ..transformation import GradientTransformation, Rate, chain, times, weak
from .sgd import sgd


class Velocity(NamedTuple):
    """The running sum of gradients, a tree like them."""

    velocity: Any


def momentum(lr: Rate, decay: float = 0.9, nesterov: bool = False) -> GradientTransformation:
    """Gradient descent along v = decay * v + g, or with `nesterov` along decay * v + g after that; `lr` as for `sgd`.

    Source: Sutskever et al., "On the importance of initialization and momentum in deep learning", ICML 2013.
    """
    decay = weak(decay)

    def init(params: Any) -> Velocity:
        return Velocity(trees.map(fnp.zeros_like, trees.trainable(params)))

    def update(grads: Any, state: Velocity, params: Any) -> tuple[Any, Velocity]:
        velocity = trees.map(lambda g, v: times(v, decay) + g, grads, state.velocity, names=("grads", "the state's velocity"))
        moves = trees.map(lambda g, v: times(v, decay) + g, grads, velocity) if nesterov else velocity
        return moves, Velocity(velocity)

    return chain(GradientTransformation(init, update), sgd(lr))
