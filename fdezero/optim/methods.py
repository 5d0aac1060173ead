"""The methods: scale, sgd, momentum, adam, clip_by_global_norm, weight_decay.

A learning rate is a number, a 0-d array, or a schedule: a function of the step, counted from 0.
"""

from typing import Any, NamedTuple, TypeAlias

import numpy as np

from .. import numpy as fnp
from .. import tree as trees
from .transformation import GradientTransformation, as_dtype, chain, global_norm, stateless

Rate: TypeAlias = Any  # float | Array | Callable[[step], float | Array]


class Count(NamedTuple):
    """The number of steps taken, an int64 array."""

    step: Any


class Trace(NamedTuple):
    """The running sum of gradients, a tree like them."""

    velocity: Any


class Moments(NamedTuple):
    """Adam's state: the steps taken, and the running means of gradients and of their squares."""

    step: Any
    mean: Any
    square: Any


def _times(x: Any, factor: Any) -> Any:
    return as_dtype(x * factor, x)


def scale(factor: Any) -> GradientTransformation:
    """Gradients times a number."""
    return stateless(lambda grads, params: trees.map(lambda g: _times(g, factor), grads))


def _descend(lr: Rate) -> GradientTransformation:
    if not callable(lr):
        return scale(-lr)

    def update(grads: Any, state: Count, params: Any) -> tuple[Any, Count]:
        factor = -lr(state.step)
        return trees.map(lambda g: _times(g, factor), grads), Count(state.step + 1)

    return GradientTransformation(lambda params: Count(np.asarray(0)), update)


def sgd(lr: Rate) -> GradientTransformation:
    """params - lr * grads."""
    return _descend(lr)


def momentum(lr: Rate, decay: float = 0.9, nesterov: bool = False) -> GradientTransformation:
    """Gradient descent along v = decay * v + g, or with `nesterov` along decay * v + g after that (Sutskever et al. 2013)."""

    def init(params: Any) -> Trace:
        return Trace(trees.map(fnp.zeros_like, trees.trainable(params)))

    def update(grads: Any, state: Trace, params: Any) -> tuple[Any, Trace]:
        velocity = trees.map(lambda g, v: decay * v + g, grads, state.velocity, names=("grads", "the state's velocity"))
        moves = trees.map(lambda g, v: decay * v + g, grads, velocity) if nesterov else velocity
        return moves, Trace(velocity)

    return chain(GradientTransformation(init, update), _descend(lr))


def adam(lr: Rate = 1e-3, b1: float = 0.9, b2: float = 0.999, eps: float = 1e-8) -> GradientTransformation:
    """Adam with bias correction. Source: Kingma and Ba, "Adam", ICLR 2015, algorithm 1."""

    def init(params: Any) -> Moments:
        zeros = trees.map(fnp.zeros_like, trees.trainable(params))
        return Moments(np.asarray(0), zeros, zeros)

    def update(grads: Any, state: Moments, params: Any) -> tuple[Any, Moments]:
        names = ("grads", "the state's moments")
        step = state.step + 1
        mean = trees.map(lambda g, m: b1 * m + (1 - b1) * g, grads, state.mean, names=names)
        square = trees.map(lambda g, s: b2 * s + (1 - b2) * fnp.square(g), grads, state.square, names=names)
        first, second = 1 - b1**step, 1 - b2**step

        def move(m: Any, s: Any) -> Any:
            return _times(m, 1 / first) / (fnp.sqrt(_times(s, 1 / second)) + eps)

        return trees.map(move, mean, square), Moments(step, mean, square)

    return chain(GradientTransformation(init, update), _descend(lr))


def clip_by_global_norm(max_norm: float) -> GradientTransformation:
    """Gradients scaled down so that their global norm is at most `max_norm`."""

    def clip(grads: Any, params: Any) -> Any:
        norm = global_norm(grads)
        factor = fnp.where(norm > max_norm, max_norm / fnp.where(norm > max_norm, norm, 1), 1)
        return trees.map(lambda g: _times(g, factor), grads)

    return stateless(clip)


def weight_decay(rate: float) -> GradientTransformation:
    """rate * params added to the gradients: L2 regularisation before an optimiser, decoupled decay after its scaling."""

    def decay(grads: Any, params: Any) -> Any:
        return trees.map(lambda g, p: g + rate * p, grads, trees.trainable(params), names=("grads", "params"))

    return stateless(decay)


