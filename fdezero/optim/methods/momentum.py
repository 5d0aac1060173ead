"""Momentum, plain and Nesterov's."""

from typing import Any, NamedTuple

from ... import tree as trees
from ..gradients import descend
from ..transformation import GradientTransformation, Rate, chain, times, weak, zeros_of

__all__ = ["momentum", "velocity"]


class Velocity(NamedTuple):
    """The running sum of gradients, a tree like the gradients; float32 for float16 parameters."""

    velocity: Any


def momentum(lr: Rate, decay: float = 0.9, nesterov: bool = False) -> GradientTransformation:
    """Gradient descent along the velocity: `chain(velocity(decay, nesterov), descend(lr))`; `lr` as for `sgd`.

    Source: Sutskever et al., "On the importance of initialization and momentum in deep learning", ICML 2013.
    """
    return chain(_velocity(decay, nesterov, alone=False), descend(lr))


def velocity(decay: float = 0.9, nesterov: bool = False) -> GradientTransformation:
    """The direction of `momentum`: v = decay * v + g, or with `nesterov` decay * v + g for that new v."""
    return _velocity(decay, nesterov, alone=True)


def _velocity(decay: float, nesterov: bool, *, alone: bool) -> GradientTransformation:
    """`velocity`. If the direction is not `alone`, it may share memory with the state."""
    decay = weak(decay)

    def init(params: Any) -> Velocity:
        return Velocity(trees.map(zeros_of, trees.trainable(params)))

    def update(grads: Any, state: Velocity, params: Any) -> tuple[Any, Velocity]:
        v = trees.map(lambda g, v: times(v, decay) + g, grads, state.velocity, names=("grads", "the state's velocity"))
        direction = trees.map(lambda g, v: times(v, decay) + g, grads, v) if nesterov else v
        if alone and not nesterov:
            direction = trees.map(lambda v: v.copy("K") if hasattr(v, "copy") else v, v)
        return direction, Velocity(v)

    return GradientTransformation(init, update)
